#include "engine/coordination/partition_sides.hpp"

namespace mesh::coordination {
namespace {

bool is_here(const SidesRow& row) noexcept {
  return row.state == MemberState::alive || row.state == MemberState::suspect;
}

}  // namespace

std::string_view to_string(SideState state) noexcept {
  constexpr std::string_view kNames[] = {"connected", "suspected", "majority", "minority",
                                         "healing"};
  const auto index = static_cast<std::size_t>(state);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

PartitionSides::PartitionSides(const SidesConfig& config) : config_(config) {
  reference_.reserve(config.members_max);
  last_.reserve(config.members_max);
  beyond_.reserve(config.members_max);
}

const SidesRow* PartitionSides::row_of(std::span<const SidesRow> rows,
                                       std::uint64_t member) noexcept {
  const auto at = std::lower_bound(
      rows.begin(), rows.end(), member,
      [](const SidesRow& row, std::uint64_t wanted) { return row.member < wanted; });
  return at != rows.end() && at->member == member ? &*at : nullptr;
}

// Of the reference, and not alive since then or later.
std::uint32_t PartitionSides::silent(std::span<const SidesRow> rows,
                                     std::int64_t since_ns) const noexcept {
  std::uint32_t count = 0;
  for (const SidesRow& row : rows) {
    const bool is_silent = row.state == MemberState::suspect || row.state == MemberState::dead;
    if (is_silent && row.since_ns >= since_ns && is_of_reference(row.member)) ++count;
  }
  return count;
}
std::uint32_t PartitionSides::enough() const noexcept {
  const auto size = static_cast<double>(reference_.size());
  const auto share = static_cast<std::uint32_t>(std::ceil(config_.share_min * size));
  return std::max<std::uint32_t>(share, reference_.size() <= 2 ? 1 : 2);
}

void PartitionSides::take_reference(std::span<const SidesRow> rows) noexcept {
  reference_.clear();
  const auto add = [&](std::uint64_t member) { reference_.push_back(member); };  // reserved
  bool is_in = false;
  for (const SidesRow& row : rows) {
    if (!is_in && row.member > config_.self) {
      add(config_.self);
      is_in = true;
    }
    if (is_here(row)) add(row.member);
  }
  if (!is_in) add(config_.self);
  reachable_ = static_cast<std::uint32_t>(reference_.size());
}
void PartitionSides::watch_membership(std::span<const SidesRow> rows, std::int64_t stable_ns,
                                      std::int64_t now_ns) noexcept {
  std::size_t at = 0;
  bool is_same = true;
  for (const SidesRow& row : rows) {
    if (!is_here(row)) continue;
    is_same = is_same && at < last_.size() && last_[at] == row.member;
    ++at;
  }
  if (is_same && at == last_.size()) {
    if (state_ == SideState::connected && now_ns - changed_ns_ >= stable_ns) take_reference(rows);
    return;
  }
  changed_ns_ = now_ns;
  last_.clear();
  for (const SidesRow& row : rows) {
    if (is_here(row)) last_.push_back(row.member);  // reserved
  }
}

void PartitionSides::forget(std::uint64_t member) noexcept {
  for (auto* list : {&reference_, &beyond_}) {
    list->erase(std::remove(list->begin(), list->end(), member), list->end());
  }
  reachable_ = std::min(reachable_, static_cast<std::uint32_t>(reference_.size()));
}
void PartitionSides::drop_those_that_left(std::span<const SidesRow> rows) noexcept {
  for (const SidesRow& row : rows) {
    if (row.state == MemberState::left && is_of_reference(row.member)) forget(row.member);
  }
}

void PartitionSides::judge_side(std::span<const SidesRow> rows) noexcept {
  reachable_ = 0;
  beyond_.clear();
  bool has_lowest = false;
  for (const std::uint64_t member : reference_) {
    const SidesRow* const row = row_of(rows, member);
    const bool is_reached =
        member == config_.self || (row != nullptr && row->state == MemberState::alive &&
                                   row->last_contact_ns >= sweep_begin_ns_);
    const bool is_dead = row != nullptr && row->state == MemberState::dead;
    if (is_dead) beyond_.push_back(member);  // reserved
    if (!is_reached) continue;
    ++reachable_;
    has_lowest = has_lowest || member == reference_.front();
  }
  const std::size_t all = reference_.size();
  const bool is_majority = 2 * reachable_ > all || (2 * reachable_ == all && has_lowest);
  state_ = is_majority ? SideState::majority : SideState::minority;
}

// A member that was dead when this was last looked at, and was heard from since it died.
std::uint64_t PartitionSides::heard_from_beyond(std::span<const SidesRow> rows) const noexcept {
  for (const std::uint64_t member : beyond_) {
    const SidesRow* const row = row_of(rows, member);
    if (row == nullptr) continue;
    if (row->state == MemberState::alive || row->last_contact_ns > row->since_ns) return member;
  }
  return 0;
}
// One that was only suspected when the mesh came apart, and refuted.
std::uint64_t PartitionSides::came_back(std::span<const SidesRow> rows) const noexcept {
  for (const SidesRow& row : rows) {
    const bool is_back = row.state == MemberState::alive && row.since_ns > sweep_begin_ns_;
    if (is_back && is_of_reference(row.member)) return row.member;
  }
  return 0;
}

void PartitionSides::begin(SideState state, std::int64_t now_ns) noexcept {
  state_ = state;
  state_ns_ = now_ns;
  if (state == SideState::suspected) sweep_begin_ns_ = now_ns;
}

bool PartitionSides::check(std::span<const SidesRow> rows, Nanos suspicion_max,
                           std::int64_t now_ns) noexcept {
  const SideState before = state_;
  drop_those_that_left(rows);
  watch_membership(rows, config_.stable_windows * suspicion_max.count(), now_ns);
  if (reference_.size() > 1) step(rows, suspicion_max.count(), now_ns);
  return state_ != before;
}

void PartitionSides::step(std::span<const SidesRow> rows, std::int64_t window_ns,
                          std::int64_t now_ns) noexcept {
  const bool is_over = now_ns - state_ns_ >= config_.sweep_ns.count();
  const bool are_many_silent = silent(rows, INT64_MIN) >= enough();
  switch (state_) {
    case SideState::connected:
      if (silent(rows, now_ns - window_ns) >= enough()) begin(SideState::suspected, now_ns);
      return;
    case SideState::suspected:
      if (!are_many_silent) {
        begin(SideState::connected, now_ns);
      } else if (is_over) {
        judge_side(rows);
        state_ns_ = now_ns;
      }
      return;
    case SideState::healing:
      if (!is_over) return;
      if (!are_many_silent) {
        begin(SideState::connected, now_ns);
      } else if (now_ns - state_ns_ >= window_ns) {
        begin(SideState::suspected, now_ns);
      }
      return;
    default:
      break;
  }
  healed_with_ = heard_from_beyond(rows);
  if (healed_with_ == 0 && !are_many_silent) healed_with_ = came_back(rows);
  if (healed_with_ != 0) {
    begin(SideState::healing, now_ns);
  } else if (!are_many_silent) {
    begin(SideState::connected, now_ns);  // those that were missing are forgotten, or have left
  } else {
    judge_side(rows);
  }
}

// --- state -------------------------------------------------------------------------------------

void PartitionSides::save(StateWriter& writer) const {
  for (const auto* list : {&reference_, &last_, &beyond_}) {
    writer.put(static_cast<std::uint32_t>(list->size()));
    for (const std::uint64_t member : *list) writer.put(member);
  }
  writer.put(changed_ns_);
  writer.put(state_ns_);
  writer.put(sweep_begin_ns_);
  writer.put(healed_with_);
  writer.put(reachable_);
  writer.put(state_);
}
void PartitionSides::load(StateReader& reader) {
  for (auto* list : {&reference_, &last_, &beyond_}) {
    const std::size_t count = reader.get_count(8);
    if (count > config_.members_max) return reader.fail();
    list->clear();
    for (std::size_t i = 0; i < count; ++i) list->push_back(reader.get<std::uint64_t>());
  }
  reader.get(changed_ns_);
  reader.get(state_ns_);
  reader.get(sweep_begin_ns_);
  reader.get(healed_with_);
  reader.get(reachable_);
  state_ = reader.get_enum(SideState::healing);
}
bool PartitionSides::is_sound() const noexcept {
  return std::is_sorted(reference_.begin(), reference_.end()) && reachable_ <= reference_.size() &&
         (state_ != SideState::majority || 2 * reachable_ >= reference_.size());
}

}  // namespace mesh::coordination
