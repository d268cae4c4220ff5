// PairCounts: which two agents are in conflict most often, and of what kind, in a table of fixed
// size; and what would put an end to it.
//
// Callers     one thread.  Progress  wait-free.
// Cost        add of a pair that is counted: a look-up; of a new one in a full table: a walk over
//             the counts. No allocation after construction. top: a sort, allocates.
// Guarantees  of n conflicts and k places: a pair that had more than n / k is in the table, and
//             count - error <= what it truly had <= count.
// Source      Space-Saving: Metwally, Agrawal & El Abbadi 2005.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/conflict/conflict_terms.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::tasks {

enum class ConflictAdvice : std::uint8_t {
  none,
  partition,         // they contend for one thing: give each its own part
  acquire_in_order,  // they contend for several: both take them in one order, or all at once
  one_assigner,
  declare_dependency,
  separate_outputs,
  one_source,
  synchronise_clocks,
  share_context,
  mend_capabilities,
};
[[nodiscard]] std::string_view to_string(ConflictAdvice advice) noexcept;

struct RecurringConflict {
  ConflictKind kind = ConflictKind::none;
  std::uint32_t a = 0;  // the lower agent
  std::uint32_t b = 0;
  std::uint64_t count = 0;
  std::uint64_t error = 0;  // so much of it may have been others'
  ConflictAdvice advice = ConflictAdvice::none;
};

class PairCounts {
 public:
  explicit PairCounts(std::uint32_t pairs_max)
      : pairs_max_(pairs_max), counts_(pairs_max), pairs_(pairs_max), index_(pairs_max) {}

  void add(ConflictKind kind, std::uint32_t one, std::uint32_t other,
           std::uint64_t subject) noexcept {
    const Pair key{std::min(one, other), std::max(one, other), kind};
    std::uint32_t place = index_.find(hash_of_pair(key));
    if (place == IdTable::kNone && used_ < pairs_max_) place = put(used_++, key, subject, 0);
    if (place == IdTable::kNone) {
      const auto least = static_cast<std::uint32_t>(
          std::min_element(counts_.begin(), counts_.end()) - counts_.begin());
      index_.erase(hash_of_pair(pairs_[least]));
      place = put(least, key, subject, counts_[least]);
    }
    ++counts_[place];
    pairs_[place].several = pairs_[place].several || pairs_[place].subject != subject;
  }
  // The `most` that recur most; of two alike the lower agents first.
  [[nodiscard]] std::vector<RecurringConflict> top(std::size_t most) const {
    std::vector<RecurringConflict> all;
    for (std::uint32_t place = 0; place < used_; ++place) {
      const Pair& one = pairs_[place];
      all.push_back({one.kind, one.a, one.b, counts_[place], one.error, advice_of(one)});
    }
    std::sort(all.begin(), all.end(), [](const auto& left, const auto& right) {
      if (left.count != right.count) return left.count > right.count;
      if (left.a != right.a) return left.a < right.a;
      return left.b != right.b ? left.b < right.b : left.kind < right.kind;
    });
    if (all.size() > most) all.resize(most);
    return all;
  }

  void save(StateWriter& writer) const {
    writer.put(used_);
    for (std::uint32_t place = 0; place < used_; ++place) {
      const Pair& one = pairs_[place];
      writer.put(one.kind);
      writer.put(one.a);
      writer.put(one.b);
      writer.put(counts_[place]);
      writer.put(one.error);
      writer.put(one.subject);
      writer.put(one.several);
    }
  }
  void load(StateReader& reader) {
    const std::size_t used = reader.get_count(34);
    if (used > pairs_max_) return reader.fail();
    for (std::uint32_t place = 0; place < used && !reader.failed(); ++place) {
      Pair one;
      one.kind = reader.get_enum(last_of(ConflictKind{}));
      reader.get(one.a);
      reader.get(one.b);
      const auto count = reader.get<std::uint64_t>();
      reader.get(one.error);
      reader.get(one.subject);
      reader.get(one.several);
      const bool is_possible =
          one.a < one.b && count > one.error && index_.find(hash_of_pair(one)) == IdTable::kNone;
      if (!is_possible) return reader.fail();
      pairs_[place] = one;
      counts_[place] = count;
      index_.set(hash_of_pair(one), place);
      ++used_;
    }
  }

 private:
  struct Pair {
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    ConflictKind kind = ConflictKind::none;
    bool several = false;       // subjects
    std::uint64_t subject = 0;  // hash of the first
    std::uint64_t error = 0;
  };
  static IdHash hash_of_pair(const Pair& one) noexcept {
    return hash_of(std::uint64_t{one.a} << 32 | one.b, static_cast<std::uint64_t>(one.kind));
  }
  static ConflictAdvice advice_of(const Pair& one) noexcept {
    switch (one.kind) {
      case ConflictKind::resource:
        return one.several ? ConflictAdvice::acquire_in_order : ConflictAdvice::partition;
      case ConflictKind::task_assignment:
        return ConflictAdvice::one_assigner;
      case ConflictKind::task_dependency:
        return ConflictAdvice::declare_dependency;
      case ConflictKind::task_output:
        return ConflictAdvice::separate_outputs;
      case ConflictKind::data_contradiction:
        return ConflictAdvice::one_source;
      case ConflictKind::temporal_paradox:
        return ConflictAdvice::synchronise_clocks;
      case ConflictKind::context_divergence:
      case ConflictKind::hash_mismatch:
        return ConflictAdvice::share_context;
      case ConflictKind::capability_mismatch:
        return ConflictAdvice::mend_capabilities;
      case ConflictKind::none:
      case ConflictKind::other:
        break;
    }
    return ConflictAdvice::none;
  }
  std::uint32_t put(std::uint32_t place, const Pair& key, std::uint64_t subject,
                    std::uint64_t count) noexcept {
    pairs_[place] = key;
    pairs_[place].subject = subject;
    pairs_[place].error = counts_[place] = count;
    index_.set(hash_of_pair(key), place);
    return place;
  }

  std::uint32_t pairs_max_;
  std::uint32_t used_ = 0;
  std::vector<std::uint64_t> counts_;
  std::vector<Pair> pairs_;
  IdTable index_;
};

}  // namespace mesh::tasks
