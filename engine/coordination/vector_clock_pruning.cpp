// Members that are gone, and whose events everybody has: they leave the clocks, and give their
// place back.
#include <algorithm>

#include "engine/coordination/vector_clock.hpp"

namespace mesh::coordination {

// Nobody who lives lacks an event of it, and it has been silent for long: no clock need name it.
// What leaves it out comes after all of it.
bool VectorClockCausality::is_quiet(std::uint32_t at, std::int64_t now_ns) const noexcept {
  const Member& gone = members_[at];
  const bool is_idle = config_.prune_idle_ns.count() != 0 && !gone.is_live &&
                       now_ns - gone.last_ns >= config_.prune_idle_ns.count();
  if (!is_idle) return false;
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    if (members_[i].is_live && known(i, at) < gone.count) return false;
  }
  return true;
}

bool VectorClockCausality::is_named(std::uint32_t at) const noexcept {
  for (std::uint32_t held = 0; held < held_.size(); ++held) {
    if (!held_[held].is_used) continue;
    if (held_[held].dot.actor == members_[at].agent || row_of(held)[at] != 0) return true;
  }
  return std::any_of(barriers_.begin(), barriers_.end(), [&](const Barrier& barrier) {
    return barrier.id != 0 && barrier.clock[at] != 0;
  });
}

// The last member takes its place, in every list by member.
void VectorClockCausality::drop_member(std::uint32_t at) noexcept {
  if (pruned_.size() == config_.members_max) pruned_.erase(pruned_.begin());
  pruned_.push_back({members_[at].agent, members_[at].count});  // reserved
  const auto last = static_cast<std::uint32_t>(members_.size() - 1);
  const auto move = [&](auto&& list) {
    list[at] = list[last];
    list[last] = 0;
  };
  for (std::uint32_t held = 0; held < held_.size(); ++held) {
    if (held_[held].is_used) move(row_of(held));
  }
  for (auto& barrier : barriers_) move(barrier.clock);
  for (std::uint32_t i = 0; i <= last; ++i) {
    move(std::span(matrix_).subspan(std::size_t{i} * config_.members_max, config_.members_max));
  }
  for (std::uint32_t i = 0; i <= last; ++i) {
    known(at, i) = known(last, i);
    known(last, i) = 0;
  }
  heard_[at] = heard_[last];
  heard_[last] = false;
  members_[at] = members_[last];
  members_.pop_back();
  ++counters_.pruned;
  view_changed_ = true;
}

void VectorClockCausality::prune(std::int64_t now_ns) noexcept {
  for (auto i = static_cast<std::uint32_t>(members_.size() - 1); i != 0; --i) {
    if (is_quiet(i, now_ns) && !is_named(i)) drop_member(i);
  }
}

std::uint64_t VectorClockCausality::pruned_count(std::uint64_t agent) const noexcept {
  const auto at = std::find_if(pruned_.begin(), pruned_.end(),
                               [&](const ClockEntry& entry) { return entry.agent == agent; });
  return at == pruned_.end() ? 0 : at->count;
}

// One that was pruned and is there again goes on where it was.
std::uint64_t VectorClockCausality::take_pruned(std::uint64_t agent) noexcept {
  const std::uint64_t count = pruned_count(agent);
  std::erase_if(pruned_, [&](const ClockEntry& entry) { return entry.agent == agent; });
  return count;
}

}  // namespace mesh::coordination
