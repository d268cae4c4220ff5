#include "engine/coordination/chaos_agents.hpp"

#include <utility>

#include "engine/coordination/blocks/rng.hpp"

namespace mesh::coordination {

void draw_targets(std::uint64_t seed, std::uint32_t count, std::span<std::uint32_t> candidates) {
  Rng rng(seed);
  for (std::size_t i = 0; i < count && i < candidates.size(); ++i) {
    std::swap(candidates[i], candidates[i + rng.below(candidates.size() - i)]);
  }
}

ChaosAgents::ChaosAgents(std::uint32_t agents_max) : rows_(agents_max), marks_(agents_max) {
  picked_.reserve(agents_max);
  others_.reserve(agents_max);
}

void ChaosAgents::set(const chaos::SetAgent& described) noexcept {
  Row& row = rows_[described.agent];
  count_ += row.is_present ? 0U : 1U;
  row.is_present = true;
  row.cluster = described.cluster;
  row.sector = described.sector;
  row.role = described.role;
  row.labels = described.labels;
}

void ChaosAgents::remove(std::uint32_t agent) noexcept {
  affected_ -= is_affected(rows_[agent]) ? 1U : 0U;
  rows_[agent] = {};
  --count_;
}

bool ChaosAgents::fits(const Row& row, const Wanted& wanted) const noexcept {
  const bool is_labelled =
      (row.labels & wanted.labels) == wanted.labels && (row.labels & wanted.exclude_labels) == 0;
  if (!row.is_present || !is_labelled) return false;
  switch (wanted.mode) {
    case TargetMode::role:
      return row.role == wanted.role;
    case TargetMode::cluster:
      return row.cluster == wanted.which;
    case TargetMode::sector:
      return row.sector == wanted.which;
    default:
      return true;
  }
}

std::uint32_t ChaosAgents::wanted_of(const Wanted& wanted, std::uint32_t candidates) noexcept {
  std::uint32_t count = candidates;
  if (wanted.mode == TargetMode::random) count = wanted.count;
  if (wanted.mode == TargetMode::role && wanted.count != 0) count = wanted.count;
  if (wanted.mode == TargetMode::percentage) {
    count = std::max(1U, blast_limit(candidates, wanted.percentage_ppm));
  }
  return count <= candidates ? count : 0;
}

std::span<const std::uint32_t> ChaosAgents::smaller_side(std::span<const std::uint32_t> targets) {
  if (2 * targets.size() <= count_) return targets;
  std::fill(marks_.begin(), marks_.end(), std::uint8_t{0});
  for (const std::uint32_t agent : targets) marks_[agent] = 1;
  others_.clear();
  for (std::uint32_t agent = 0; agent < agents_max(); ++agent) {
    if (rows_[agent].is_present && marks_[agent] == 0) others_.push_back(agent);
  }
  return others_;
}

std::uint32_t ChaosAgents::affected_with(std::span<const std::uint32_t> more) const noexcept {
  std::uint32_t sum = affected_;
  for (const std::uint32_t agent : more) sum += is_affected(rows_[agent]) ? 0U : 1U;
  return sum;
}

void ChaosAgents::strike(std::uint32_t agent) noexcept {
  Row& row = rows_[agent];
  affected_ += is_affected(row) ? 0U : 1U;
  ++row.faults;
  row.release_ns = kNever;
}

void ChaosAgents::lift(std::uint32_t agent, bool was_harmed, std::int64_t cooldown_ns) noexcept {
  Row& row = rows_[agent];
  if (!row.is_present || row.faults == 0) return;
  --row.faults;
  if (was_harmed) {
    row.is_harmed = true;
    row.cooldown_ns = std::max(row.cooldown_ns, cooldown_ns);
  }
  affected_ -= is_affected(row) ? 0U : 1U;
}

void ChaosAgents::recover(std::uint32_t agent, std::int64_t now_ns) noexcept {
  Row& row = rows_[agent];
  if (!row.is_harmed || row.release_ns != kNever) return;
  row.release_ns = now_ns + row.cooldown_ns;
  next_release_ns_ = std::min(next_release_ns_, row.release_ns);
}

bool ChaosAgents::release_due(std::int64_t now_ns) noexcept {
  if (now_ns < next_release_ns_) return false;
  next_release_ns_ = kNever;
  bool any = false;
  for (Row& row : rows_) {
    if (row.release_ns > now_ns) {
      next_release_ns_ = std::min(next_release_ns_, row.release_ns);
      continue;
    }
    row.release_ns = kNever;
    row.is_harmed = false;
    row.cooldown_ns = 0;
    affected_ -= is_affected(row) ? 0U : 1U;
    any = true;
  }
  return any;
}

bool ChaosAgents::adds_up() const noexcept {
  std::uint32_t present = 0;
  std::uint32_t affected = 0;
  bool is_sound = true;
  for (const Row& row : rows_) {
    present += row.is_present ? 1U : 0U;
    affected += is_affected(row) ? 1U : 0U;
    const bool is_clean = row.faults == 0 && !row.is_harmed;
    is_sound = is_sound && (row.is_present || is_clean);
    is_sound = is_sound && (row.release_ns == kNever || (row.is_harmed && row.faults == 0));
  }
  return is_sound && present == count_ && affected == affected_;
}

void ChaosAgents::save(StateWriter& writer) const {
  writer.put(count_);
  for (std::uint32_t agent = 0; agent < agents_max(); ++agent) {
    const Row& row = rows_[agent];
    if (!row.is_present) continue;
    writer.put(agent);
    writer.put(row.cluster);
    writer.put(row.sector);
    writer.put(row.role);
    writer.put(row.labels);
    writer.put(row.faults);
    writer.put(row.is_harmed);
    writer.put(row.cooldown_ns);
    writer.put(row.release_ns);
  }
}

void ChaosAgents::load(StateReader& reader) {
  const std::size_t count = reader.get_count(42);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto agent = reader.get<std::uint32_t>();
    if (agent >= agents_max() || rows_[agent].is_present) return reader.fail();
    Row& row = rows_[agent];
    row.is_present = true;
    reader.get(row.cluster);
    reader.get(row.sector);
    row.role = reader.get_enum(last_of(ChaosRole{}));
    reader.get(row.labels);
    reader.get(row.faults);
    reader.get(row.is_harmed);
    reader.get(row.cooldown_ns);
    reader.get(row.release_ns);
    next_release_ns_ = std::min(next_release_ns_, row.release_ns);
    affected_ += is_affected(row) ? 1U : 0U;
    ++count_;
  }
}

}  // namespace mesh::coordination
