// DottedValues: the values of one key that were written concurrently, each with the dot of its
// write, and the context of all that was ever written.
//
// Callers     one thread a key.
// Cost        O(values) a write; a value that a writer has seen is gone, so there are as many as
//             there are concurrent writers, not as many as there are clients.
// Guarantees  values() are the maximal concurrent writes, exactly. sync() is idempotent,
//             commutative and associative.
// Errors      update -> overflow of an actor's counter; capacity beyond kValuesMax siblings: the
//             writer reads, merges and writes with that context.
// Source      dotted version vectors: Preguica et al. 2010; the set of them as Riak's dvvset.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "engine/coordination/blocks/version_vector.hpp"

namespace mesh::coordination {

struct Dot {
  std::uint64_t actor = 0;
  std::uint64_t counter = 0;
  friend auto operator<=>(const Dot&, const Dot&) = default;
};

template <class Value>
class DottedValues {
 public:
  static constexpr std::size_t kValuesMax = 64;
  struct Sibling {
    Dot dot;
    Value value;
  };

  // A write by `actor` of a client that had read `context`: what it had seen it replaces.
  Errc update(const VectorClock& context, Value value, std::uint64_t actor) {
    const std::uint64_t last = std::max(context_.at(actor), context.at(actor));
    if (last == UINT64_MAX) return Errc::overflow;
    const auto seen = [&](const Sibling& one) {
      return one.dot.counter <= context.at(one.dot.actor);
    };
    const auto left = std::count_if(siblings_.begin(), siblings_.end(), std::not_fn(seen));
    if (static_cast<std::size_t>(left) >= kValuesMax) return Errc::capacity;
    siblings_.erase(std::remove_if(siblings_.begin(), siblings_.end(), seen), siblings_.end());
    context_.merge_inplace(context);
    context_.set(actor, last + 1);
    insert({{actor, last + 1}, std::move(value)});
    return Errc::ok;
  }
  // What another replica holds: the union, less what either has seen replaced.
  void sync(const DottedValues& other) {
    const auto has = [](const std::vector<Sibling>& all, const Dot& dot) {
      return std::any_of(all.begin(), all.end(),
                         [&](const Sibling& one) { return one.dot == dot; });
    };
    const std::vector<Sibling> mine = siblings_;
    const auto replaced = [&](const Sibling& one) {
      return !has(other.siblings_, one.dot) && one.dot.counter <= other.context_.at(one.dot.actor);
    };
    siblings_.erase(std::remove_if(siblings_.begin(), siblings_.end(), replaced), siblings_.end());
    for (const auto& one : other.siblings_) {
      if (!has(mine, one.dot) && one.dot.counter > context_.at(one.dot.actor)) insert(one);
    }
    context_.merge_inplace(other.context_);
  }
  // By dot, and the context to write with.
  [[nodiscard]] const std::vector<Sibling>& siblings() const noexcept { return siblings_; }
  [[nodiscard]] const VectorClock& context() const noexcept { return context_; }

 private:
  void insert(Sibling one) {
    const auto at = std::find_if(siblings_.begin(), siblings_.end(),
                                 [&](const Sibling& other) { return one.dot < other.dot; });
    siblings_.insert(at, std::move(one));
  }

  std::vector<Sibling> siblings_;
  VectorClock context_;
};

}  // namespace mesh::coordination
