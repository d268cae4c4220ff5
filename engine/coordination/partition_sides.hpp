// PartitionSides: tells that the mesh has come apart from the deaths of single members, on which
// side of it this one is, and when the two find each other again.
//
//   connected --share_min of the reference silent within one suspicion--> suspected
//      ^  ^--- they are heard again ---|                                     | sweep_ns
//      |                                                                     v
//      |<-- together again -- healing <--heard from the other side-- majority | minority
//
// Callers     one thread, once a period. Usable alone: who is there is told with each check.
// Progress    wait-free; no allocation after construction.
// Units       members are numbers, not 0, this one among them. ns.
// Guarantees  of sides with the same reference at most one says majority: only who was heard from
//             since the sweep began counts, so a side never counts members of the other. Of two
//             even sides the one with the reference's lowest member is the majority.
// Limits      while apart the reference stands still: members that are gone for good leave it by
//             forget() alone, or the minority would come to hold itself for the whole. A single
//             death is none: at least two must fall silent, but where the reference is of two.
// Invariants  reachable <= reference. Majority: 2 reachable >= reference.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/blocks/state_codec.hpp"
#include "engine/coordination/swim_membership.hpp"

namespace mesh::coordination {

enum class SideState : std::uint8_t { connected, suspected, majority, minority, healing };
constexpr SideState last_of(SideState) noexcept { return SideState::healing; }
[[nodiscard]] std::string_view to_string(SideState state) noexcept;

struct SidesConfig {
  std::uint64_t self = 1;
  double share_min = 0.2;            // of the reference, silent at one time
  Nanos sweep_ns{3 * kNsPerSecond};  // how long all are asked for a sign of life
  std::uint32_t stable_windows = 3;  // suspicions without a change: the membership is a reference
  std::uint32_t members_max = 64;
};
// What is known of another member; in ascending order of members.
struct SidesRow {
  std::uint64_t member = 0;
  MemberState state = MemberState::alive;
  std::int64_t since_ns = 0;
  std::int64_t last_contact_ns = -1;
};

class PartitionSides {
 public:
  explicit PartitionSides(const SidesConfig& config);

  // One check. True: the state has changed.
  bool check(std::span<const SidesRow> rows, Nanos suspicion_max, std::int64_t now_ns) noexcept;
  void forget(std::uint64_t member) noexcept;

  [[nodiscard]] SideState state() const noexcept { return state_; }
  [[nodiscard]] bool is_apart() const noexcept {
    return state_ == SideState::majority || state_ == SideState::minority;
  }
  [[nodiscard]] bool is_even() const noexcept {
    return is_apart() && 2 * reachable_ == reference_.size();
  }
  // All are to be asked for a sign of life.
  [[nodiscard]] bool is_sweeping() const noexcept { return state_ == SideState::suspected; }
  [[nodiscard]] std::uint64_t healed_with() const noexcept { return healed_with_; }
  [[nodiscard]] std::uint32_t reachable() const noexcept { return reachable_; }
  [[nodiscard]] std::span<const std::uint64_t> reference() const noexcept { return reference_; }
  [[nodiscard]] bool is_of_reference(std::uint64_t member) const noexcept {
    return std::binary_search(reference_.begin(), reference_.end(), member);
  }

  void save(StateWriter& writer) const;
  void load(StateReader& reader);
  [[nodiscard]] bool is_sound() const noexcept;

 private:
  [[nodiscard]] static const SidesRow* row_of(std::span<const SidesRow> rows,
                                              std::uint64_t member) noexcept;
  [[nodiscard]] std::uint32_t silent(std::span<const SidesRow> rows,
                                     std::int64_t since_ns) const noexcept;
  [[nodiscard]] std::uint32_t enough() const noexcept;
  void watch_membership(std::span<const SidesRow> rows, std::int64_t stable_ns,
                        std::int64_t now_ns) noexcept;
  void take_reference(std::span<const SidesRow> rows) noexcept;
  void drop_those_that_left(std::span<const SidesRow> rows) noexcept;
  void judge_side(std::span<const SidesRow> rows) noexcept;
  [[nodiscard]] std::uint64_t heard_from_beyond(std::span<const SidesRow> rows) const noexcept;
  [[nodiscard]] std::uint64_t came_back(std::span<const SidesRow> rows) const noexcept;
  void begin(SideState state, std::int64_t now_ns) noexcept;
  void step(std::span<const SidesRow> rows, std::int64_t window_ns, std::int64_t now_ns) noexcept;

  SidesConfig config_;
  std::vector<std::uint64_t> reference_;  // ascending, with this one
  std::vector<std::uint64_t> last_;       // who was there at the last check
  std::vector<std::uint64_t> beyond_;     // who of the reference is dead, while apart
  std::int64_t changed_ns_ = 0;
  std::int64_t state_ns_ = 0;
  std::int64_t sweep_begin_ns_ = 0;
  std::uint64_t healed_with_ = 0;
  std::uint32_t reachable_ = 0;
  SideState state_ = SideState::connected;
};

}  // namespace mesh::coordination
