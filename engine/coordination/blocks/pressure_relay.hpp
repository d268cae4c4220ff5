// PressureRelay: the greatest pressure of those that one sends on to, so that who sends here slows
// before a queue further on is full: hop by hop, as far as anybody passes it on.
//
// Callers     one thread.  Progress  wait-free.  Cost  hear: a store. most: one walk over the
//             children, kept until one of them changes or lapses.
// Units       pressure in ppm; children are numbers below the constructor's.
// If the      child is silent for ttl_ns: it counts as without pressure; what it holds up is then
// other side  found out at its own queue.
// dies
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

class PressureRelay {
 public:
  PressureRelay(std::size_t children, std::int64_t ttl_ns) : ttl_ns_(ttl_ns), heard_(children) {}

  // False: there is no such child.
  bool hear(std::uint32_t child, std::uint32_t ppm, std::int64_t now_ns) noexcept {
    if (child >= heard_.size()) return false;
    heard_[child] = {ppm, now_ns};
    find_most(now_ns);
    return true;
  }
  [[nodiscard]] std::uint32_t most(std::int64_t now_ns) noexcept {
    if (most_ != 0 && now_ns >= lapses_ns_) find_most(now_ns);
    return most_;
  }
  // As of the last call.
  [[nodiscard]] std::uint32_t last_most() const noexcept { return most_; }

  void save(StateWriter& writer) const {
    for (const auto& one : heard_) writer.put(one.ppm), writer.put(one.at_ns);
    writer.put(most_);
    writer.put(lapses_ns_);
  }
  void load(StateReader& reader) {
    for (auto& one : heard_) reader.get(one.ppm), reader.get(one.at_ns);
    reader.get(most_);
    reader.get(lapses_ns_);
  }

 private:
  struct Heard {
    std::uint32_t ppm = 0;
    std::int64_t at_ns = 0;
  };
  void find_most(std::int64_t now_ns) noexcept {
    most_ = 0;
    lapses_ns_ = INT64_MAX;
    for (const auto& one : heard_) {
      if (one.ppm == 0 || now_ns - one.at_ns >= ttl_ns_) continue;
      most_ = std::max(most_, one.ppm);
      lapses_ns_ = std::min(lapses_ns_, one.at_ns + ttl_ns_);
    }
  }

  std::int64_t ttl_ns_;
  std::int64_t lapses_ns_ = INT64_MAX;  // when the first that has pressure is forgotten
  std::uint32_t most_ = 0;
  std::vector<Heard> heard_;
};

}  // namespace mesh::coordination
