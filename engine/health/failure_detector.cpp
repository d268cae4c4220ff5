#include "engine/health/failure_detector.hpp"

#include <algorithm>
#include <string>

#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"

namespace mesh::engine::health {

std::string_view name_of(FailureClass failure) noexcept {
  switch (failure) {
    case FailureClass::transient_network:
      return "TRANSIENT_NETWORK";
    case FailureClass::agent_crash:
      return "AGENT_CRASH";
    case FailureClass::impedance_spike:
      return "IMPEDANCE_SPIKE";
    case FailureClass::context_corruption:
      return "CONTEXT_CORRUPTION";
    case FailureClass::byzantine_behavior:
      return "BYZANTINE_BEHAVIOR";
    case FailureClass::cascade_failure:
      return "CASCADE_FAILURE";
  }
  return "unknown";
}

FailureDetector::FailureDetector(const Size& size, const DetectorConfig& config)
    : config_(config), agents_(size.rows), clusters_(size.clusters), sectors_(size.sectors) {
  cascading_.reserve(size.sectors);
}

Result<FailureDetector> FailureDetector::create(const Size& size, const DetectorConfig& config) {
  const auto refuse = [](const std::string& what, std::int64_t value) {
    return fail(Errc::invalid_argument,
                "failure detector: " + what + ", got " + std::to_string(value), value);
  };
  if (size.rows == 0 || size.rows > kMaxAgents)
    return refuse("1 to " + std::to_string(kMaxAgents) + " rows", size.rows);
  if (config.crashed <= config.heartbeat_missed)
    return refuse("`crashed` is above heartbeat_missed", config.crashed.count());
  for (const auto& [name, value] : {std::pair{"heartbeat_missed", config.heartbeat_missed},
                                    {"spike_bin", config.spike_bin},
                                    {"cascade_window", config.cascade_window},
                                    {"lag_max", config.lag_max}})
    if (value <= Nanos{0}) return refuse(std::string(name) + " is above 0", value.count());
  if (config.settle < Nanos{0}) return refuse("settle is not below 0", config.settle.count());
  if (config.spike_factor < 2) return refuse("spike_factor is 2 or more", config.spike_factor);
  if (config.spike_samples_min == 0) return refuse("spike_samples_min is 1 or more", 0);
  if (config.unanswered_max == 0 || config.unanswered_max > 255)
    return refuse("unanswered_max is 1 to 255", config.unanswered_max);
  return FailureDetector(size, config);
}

Failure FailureDetector::note(Failure failure) noexcept {
  ++counts_[static_cast<std::size_t>(failure.failure)];
  if (failure.counts && failure.where.sector < sectors_.size())
    ++sectors_[failure.where.sector].now;
  return failure;
}

// Facts.

Failure FailureDetector::lost(const Whereabouts& where, HostTime now) noexcept {
  agents_[where.row].silence = Silence::crashed;
  return note({.failure = FailureClass::agent_crash, .where = where, .at = now, .counts = true});
}

Failure FailureDetector::refused(const Whereabouts& where, HostTime now) noexcept {
  return note(
      {.failure = FailureClass::transient_network, .where = where, .at = now, .counts = true});
}

void FailureDetector::answered(const Whereabouts& where) noexcept {
  agents_[where.row].unanswered = 0;
}

Failure FailureDetector::unanswered(const Whereabouts& where, HostTime now) noexcept {
  std::uint8_t& in_a_row = agents_[where.row].unanswered;
  const bool is_last = ++in_a_row == config_.unanswered_max;
  if (is_last) in_a_row = 0;
  return note({.failure = FailureClass::transient_network,
               .where = where,
               .at = now,
               .counts = is_last,
               .escalates = is_last});
}

std::optional<Failure> FailureDetector::context(const Whereabouts& where, std::uint64_t expected,
                                                std::uint64_t found, HostTime now) noexcept {
  if (expected == found) return std::nullopt;
  return note({.failure = FailureClass::context_corruption,
               .where = where,
               .at = now,
               .counts = true,
               .escalates = true,
               .expected = expected,
               .found = found});
}

Failure FailureDetector::differs(const Whereabouts& where, const Outcomes& outcomes,
                                 HostTime now) noexcept {
  return note({.failure = FailureClass::byzantine_behavior,
               .where = where,
               .at = now,
               .escalates = true,
               .expected = outcomes.expected,
               .found = outcomes.found});
}

void FailureDetector::forget(std::uint32_t row, HostTime now) noexcept {
  MESH_ASSERT(row < agents_.size());
  calm(row);
  agents_[row] = {};
  turn_bins(agents_[row], now);
}

// Silence and scores.

std::optional<Failure> FailureDetector::look(const Sight& sight, HostTime now) noexcept {
  MESH_ASSERT(sight.where.row < agents_.size());
  if (is_late(now)) {
    ++suppressed_;
    return std::nullopt;
  }
  auto silence = look_for_silence(sight, now);
  auto spike = look_for_spike(sight, now);
  return silence ? silence : spike;
}

// Once for each heartbeat_missed of silence; then once that it has crashed.
std::optional<Failure> FailureDetector::look_for_silence(const Sight& sight,
                                                         HostTime now) noexcept {
  Agent& agent = agents_[sight.where.row];
  const Nanos silent = now - std::max(sight.heartbeat, heard_since_);
  if (silent < config_.heartbeat_missed) {
    agent.silence = Silence::none;
    agent.missed = 0;
    return std::nullopt;
  }
  if (agent.silence == Silence::crashed) return std::nullopt;
  if (silent >= config_.crashed) return lost(sight.where, now);
  if (agent.silence == Silence::missed && silent / config_.heartbeat_missed <= agent.missed)
    return std::nullopt;
  agent.silence = Silence::missed;
  ++agent.missed;
  return note({.failure = FailureClass::transient_network,
               .where = sight.where,
               .at = now,
               .escalates = agent.missed == config_.unanswered_max});
}

// The average is of what came before: a spike does not hide itself.
std::optional<Failure> FailureDetector::look_for_spike(const Sight& sight, HostTime now) noexcept {
  Agent& agent = agents_[sight.where.row];
  turn_bins(agent, now);
  const bool spikes = is_spike(agent, sight.score);
  const std::size_t bin = agent.bin % kSpikeBins;
  if (agent.count[bin] != 0xFFFF) {
    agent.sum[bin] += sight.score;
    ++agent.count[bin];
  }
  const bool begins = spikes && !agent.spikes;
  if (spikes != agent.spikes || (spikes && agent.cluster != sight.where.cluster)) {
    count_spike(agent, false);
    agent.cluster = sight.where.cluster;
    count_spike(agent, spikes);
  }
  if (!begins) return std::nullopt;
  bool escalates = false;
  if (agent.cluster < clusters_.size()) {
    Cluster& its = clusters_[agent.cluster];
    escalates = its.spiking >= config_.spikes_escalate && !its.is_told;
    its.is_told |= escalates;
  }
  return note({.failure = FailureClass::impedance_spike,
               .where = sight.where,
               .at = now,
               .escalates = escalates});
}

// Exact: an average of 1.9 is not 1.
bool FailureDetector::is_spike(const Agent& agent, std::uint16_t score) const noexcept {
  std::uint64_t sum = 0;
  std::uint64_t count = 0;
  for (std::size_t bin = 0; bin < kSpikeBins; ++bin) {
    sum += agent.sum[bin];
    count += agent.count[bin];
  }
  if (count < config_.spike_samples_min) return false;
  const std::uint64_t seen = score * count;
  return seen > config_.spike_factor * sum && seen > sum + config_.spike_margin * count;
}

void FailureDetector::count_spike(Agent& agent, bool spikes) noexcept {
  if (agent.spikes == spikes) return;
  agent.spikes = spikes;
  if (agent.cluster >= clusters_.size()) return;
  Cluster& its = clusters_[agent.cluster];
  its.spiking += spikes ? 1 : UINT32_MAX;
  its.is_told = its.is_told && its.spiking != 0;
}

void FailureDetector::calm(std::uint32_t row) noexcept {
  MESH_ASSERT(row < agents_.size());
  count_spike(agents_[row], false);
}

std::uint32_t FailureDetector::usual_score(std::uint32_t row) const noexcept {
  const Agent& agent = agents_[row];
  std::uint64_t sum = 0;
  std::uint32_t count = 0;
  for (std::size_t bin = 0; bin < kSpikeBins; ++bin) {
    sum += agent.sum[bin];
    count += agent.count[bin];
  }
  return count < config_.spike_samples_min ? 0 : static_cast<std::uint32_t>(sum / count);
}

void FailureDetector::turn_bins(Agent& agent, HostTime now) const noexcept {
  const auto bin = static_cast<std::uint32_t>(to_ns(now) / config_.spike_bin.count());
  for (std::size_t turned = 0; turned < kSpikeBins && agent.bin != bin; ++turned) {
    const std::uint32_t next = bin - agent.bin > kSpikeBins
                                   ? bin - static_cast<std::uint32_t>(kSpikeBins) + 1
                                   : agent.bin + 1;
    agent.bin = next;
    agent.sum[next % kSpikeBins] = 0;
    agent.count[next % kSpikeBins] = 0;
  }
}

// The detector itself.

void FailureDetector::tick(HostTime due, HostTime now) noexcept {
  cascading_.clear();
  lag_ = now > due ? now - due : Nanos{0};
  if (!begun_) {
    begun_ = heard_since_ = now;
    window_end_ = now + config_.cascade_window;
  }
  if (lag_ > config_.lag_max) {
    quiet_until_ = now + config_.settle;
    heard_since_ = std::max(heard_since_, quiet_until_);
  }
  // A window that was slept through holds what came in a moment: no comparison with it is fair.
  if (now >= window_end_ + config_.cascade_window) {
    for (Sector& sector : sectors_) sector = {};
    window_end_ = now + config_.cascade_window;
  }
  if (now < window_end_) return;
  window_end_ += config_.cascade_window;
  end_window();
}

void FailureDetector::end_window() noexcept {
  for (std::uint32_t at = 0; at < sectors_.size(); ++at) {
    Sector& sector = sectors_[at];
    sector.windows = {sector.windows[1], sector.windows[2], sector.now};
    sector.now = 0;
    const auto& [first, second, third] = sector.windows;
    if (first == 0 || second < 2 * first || third < 2 * second) continue;
    cascading_.push_back(at);
    ++counts_[static_cast<std::size_t>(FailureClass::cascade_failure)];
  }
}

// Boyer and Moore's majority vote, then its count.
Judgement compare(std::span<const Comparable> answers) noexcept {
  if (answers.size() < kComparableMin) return {};
  std::uint64_t candidate = 0;
  std::size_t lead = 0;
  for (const Comparable& answer : answers) {
    if (lead == 0) candidate = answer.outcome;
    lead = answer.outcome == candidate ? lead + 1 : lead - 1;
  }
  const auto count = static_cast<std::size_t>(
      std::count_if(answers.begin(), answers.end(),
                    [&](const Comparable& answer) { return answer.outcome == candidate; }));
  if (count * 3 <= answers.size() * 2) return {Comparison::contradiction, 0, 0};
  return {count == answers.size() ? Comparison::agreed : Comparison::outliers, candidate,
          static_cast<std::uint32_t>(count)};
}

}  // namespace mesh::engine::health
