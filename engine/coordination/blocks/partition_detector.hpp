// PartitionDetector: tells a loss of many members at one time from the deaths of single ones, by
// the share of the last stable membership that can be reached.
//
//   connected --below share_min for `checks` checks--> suspected --share_min again--> healing
//       ^------------------------------- end_healing() --------------------------------|
//
// Callers     one thread.  Progress  wait-free.
// Units       members, this one among them. Who belongs to the stable membership the caller says.
// Limits      It does not name a majority side, and does not tell partitioned from suspected: what
//             asks for those is the gossip engine, which has the members' own states.
#pragma once

#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

enum class PartitionState : std::uint8_t { connected, suspected, healing };
constexpr PartitionState last_of(PartitionState) noexcept { return PartitionState::healing; }

struct PartitionRule {
  double share_min = 0.5;
  std::uint32_t checks = 3;  // in a row
};

class PartitionDetector {
 public:
  explicit PartitionDetector(const PartitionRule& rule = {}) noexcept : rule_(rule) {}

  // One check. True: the state has changed.
  bool check(std::uint32_t reachable, std::uint32_t members) noexcept {
    const bool is_low = static_cast<double>(reachable) < rule_.share_min * members;
    low_checks_ = is_low ? low_checks_ + 1 : 0;
    const PartitionState before = state_;
    if (is_low && low_checks_ >= rule_.checks) {
      low_checks_ = rule_.checks;
      state_ = PartitionState::suspected;
    } else if (!is_low && state_ == PartitionState::suspected) {
      state_ = PartitionState::healing;
    }
    return state_ != before;
  }
  // What was apart has been merged.
  void end_healing() noexcept {
    if (state_ == PartitionState::healing) state_ = PartitionState::connected;
  }
  [[nodiscard]] PartitionState state() const noexcept { return state_; }

  void save(StateWriter& writer) const {
    writer.put(state_);
    writer.put(low_checks_);
  }
  void load(StateReader& reader) {
    state_ = reader.get_enum(PartitionState::healing);
    reader.get(low_checks_);
    if (low_checks_ > rule_.checks) reader.fail();
  }

 private:
  PartitionRule rule_;
  PartitionState state_ = PartitionState::connected;
  std::uint32_t low_checks_ = 0;
};

}  // namespace mesh::coordination
