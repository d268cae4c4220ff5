// Phase 6, upkeep: what stations measured of their own agents goes, clamped, into the table.
#include <algorithm>
#include <cmath>

#include "engine/loop/state.hpp"
#include "sched/lead_time.hpp"

namespace mesh::engine {
namespace {

constexpr float kLatencyMsMax = 86'400'000.0F;  // a day
constexpr float kPriorSamples = 8;              // mesh.md part 4: (n own + 8 prior) / (n + 8)

// A station's number is input: what is not a delay is not taken.
bool is_delay(float ms) noexcept { return std::isfinite(ms) && ms >= 0 && ms <= kLatencyMsMax; }

}  // namespace

void EngineLoop::State::upkeep() noexcept {
  const std::uint32_t count = std::min(kUpkeepRowsPerTick, row_count);
  // Every row within options.upkeep, and no more often: a share of the rows for the time passed.
  const std::int64_t due_rows = (now_ns - upkeep_ns) * row_count / options.upkeep.count();
  const auto turn = static_cast<std::uint32_t>(std::clamp<std::int64_t>(due_rows, 0, count));
  if (turn == 0) return;
  upkeep_ns += turn * options.upkeep.count() / row_count;
  if (due_rows > count) upkeep_ns = now_ns;
  for (std::uint32_t i = 0; i < turn; ++i) {
    copy_self(upkeep_row);
    upkeep_row = upkeep_row + 1 == row_count ? 0 : upkeep_row + 1;
  }
}

void EngineLoop::State::copy_self(std::uint32_t row) noexcept {
  if (!is_active(row)) return;
  const StationLink* const link = link_of(registry->station_of(agent_index(row)));
  if (link == nullptr || place[row] >= link->self.samples.rows()) return;
  const std::size_t at = place[row];
  // Each word is loaded once; that they belong to one moment does not matter to a median.
  const std::uint32_t heartbeat = link->self.heartbeat_mesh_ms.load_relaxed(at);
  const float latency = link->self.latency_ms.load_relaxed(at);
  const float processing = link->self.processing_ms.load_relaxed(at);
  const float drift = link->self.drift.load_relaxed(at);
  const std::uint32_t samples = std::min(link->self.samples.load_relaxed(at), 100U);
  // Not from the future: that would be invalid to the planner.
  const std::uint32_t age = mesh_ms() - heartbeat;
  if (age < 1U << 31) agents.heartbeat_mesh_ms.store_relaxed(row, heartbeat);
  if (samples == 0 || !is_delay(latency) || !is_delay(processing) || !is_delay(drift)) return;
  const auto agent_class = static_cast<sched::AgentClass>(agents.agent_class.load_relaxed(row));
  const AgentPriors priors = priors_of(agent_class);
  const auto weight = static_cast<float>(samples);
  const auto shrink = [&](float own, float prior) {
    return (weight * own + kPriorSamples * prior) / (weight + kPriorSamples);
  };
  agents.latency_ms.store_relaxed(row, shrink(latency, priors.latency_ms));
  agents.processing_ms.store_relaxed(row, shrink(processing, priors.processing_ms));
  agents.drift.store_relaxed(row, shrink(drift, 0.1F));
  const sched::NominalPlan plan = sched::nominal(
      {.agent_class = agent_class,
       .latency_ms = agents.latency_ms.load_relaxed(row),
       .drift = agents.drift.load_relaxed(row),
       .reliability = agents.reliability.load_relaxed(row),
       .queue_depth = agents.queue_depth.load_relaxed(row),
       .heartbeat_age =
           Nanos{std::int64_t{mesh_ms() - agents.heartbeat_mesh_ms.load_relaxed(row)} * kNsPerMs}},
      {.weight = 1, .z = options.z, .available = Nanos::max()});
  const double score = std::clamp(std::nearbyint(plan.lead_ms), 0.0, 1000.0);
  agents.score.store_relaxed(row, static_cast<std::uint16_t>(score));
  agents.confidence.store_relaxed(row, sched::confidence_bits(plan.confidence));
}

}  // namespace mesh::engine
