#include "engine/tasks/work_stealing.hpp"

#include <algorithm>
#include <utility>

#include "engine/tasks/event_names.hpp"

namespace mesh::tasks {
namespace {

constexpr std::array<std::string_view, 3> kStealingPresets{"standard", "lifelines", "off"};
constexpr std::uint32_t kLifelinesMax = 20;

}  // namespace

std::uint32_t steal_count(std::uint32_t high, std::uint32_t low,
                          const WorkStealingConfig& config) noexcept {
  if (high <= low || high - low <= config.threshold) return 0;
  if (config.half_above != 0 && high - low > config.half_above) return (high - low) / 2;
  return std::min((high - low) / 2, config.burst_max);
}

std::int64_t steal_score(const StealCandidate& one) noexcept {
  const auto tasks = static_cast<std::int64_t>(one.tasks);
  const std::int64_t usual_ms =
      std::min<std::int64_t>(one.usual_time.count() / kNsPerMs, INT64_MAX >> 33);
  return 100'000 - 10'000 * tasks - 50 * std::int64_t{one.cpu_ppt} -
         30 * std::int64_t{one.mem_ppt} + 5'000 * std::int64_t{one.priority} - usual_ms * tasks;
}

Result<std::uint32_t> best_agent(std::span<const StealCandidate> candidates) {
  const StealCandidate* best = nullptr;
  for (const StealCandidate& one : candidates) {
    if (!one.capable) continue;  // whatever its score
    const bool is_better = best == nullptr || steal_score(one) > steal_score(*best) ||
                           (steal_score(one) == steal_score(*best) && one.agent < best->agent);
    if (is_better) best = &one;
  }
  if (best != nullptr) return best->agent;
  return fail(Errc::no_candidate, "work stealing: none of " + std::to_string(candidates.size()) +
                                      " agents has the capabilities");
}

WorkStealing::WorkStealing(const Config& config, std::uint64_t)
    : ServiceForm(config), loads_(config.agents_max), enabled_(config.enabled) {
  order_.reserve(config.agents_max);
}

WorkStealing::Reply WorkStealing::on(const stealing::Report& order, std::int64_t now_ns) noexcept {
  if (order.agent >= config_.agents_max) return refuse(Errc::no_such_agent);
  const bool hangs = config_.lifelines != 0 && order.queued == 0;
  loads_[order.agent] = {now_ns, order.queued, order.cluster, order.sector, hangs};
  counters_.hung += hangs ? 1U : 0U;
  is_stirred_ |= config_.lifelines != 0 && (hangs || order.queued > config_.threshold);
  return {};
}

WorkStealing::Reply WorkStealing::on(const stealing::Leave& order, std::int64_t) noexcept {
  if (order.agent >= config_.agents_max) return refuse(Errc::no_such_agent);
  if (loads_[order.agent].reported_ns == kUnknown) return refuse(Errc::not_found);
  loads_[order.agent] = {};
  return {};
}

WorkStealing::Reply WorkStealing::on(const stealing::Enable& order, std::int64_t) noexcept {
  enabled_ = order.enabled;
  return {};
}

WorkStealing::Reply WorkStealing::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  return std::visit([&](const auto& order) { return on(order, now_ns); }, command);
}

// 0: of one cluster; 1: of one sector; 2: of one mesh.
std::uint32_t WorkStealing::distance(std::uint32_t a, std::uint32_t b) const noexcept {
  if (loads_[a].sector != loads_[b].sector) return 2;
  return loads_[a].cluster != loads_[b].cluster ? 1U : 0U;
}

// The most loaded takes the least loaded as its thief, of several alike the nearest; then the next.
void WorkStealing::round(std::int64_t now_ns, std::vector<task::Steal>& out) noexcept {
  ++counters_.rounds;
  order_.clear();
  for (std::uint32_t at = 0; at < config_.agents_max; ++at) {
    if (is_known(at, now_ns)) order_.push_back(at);
  }
  std::sort(order_.begin(), order_.end(), [this](std::uint32_t a, std::uint32_t b) {
    return std::pair{loads_[b].queued, a} < std::pair{loads_[a].queued, b};
  });
  std::size_t first = 0;
  std::size_t last = order_.size();
  while (last - first >= 2) {
    const std::uint32_t victim = order_[first++];
    // Those that are alike stand together at the end.
    const std::uint32_t least = loads_[order_[last - 1]].queued;
    std::size_t thief = last - 1;
    for (std::size_t i = last; i-- > first && loads_[order_[i]].queued == least;) {
      const auto key = std::pair{distance(victim, order_[i]), order_[i]};
      if (key <= std::pair{distance(victim, order_[thief]), order_[thief]}) thief = i;
    }
    const std::uint32_t count = steal_count(loads_[victim].queued, least, config_);
    if (count == 0) return;  // nor is there any for those after it
    order({victim, order_[thief], count}, now_ns, out);
    std::rotate(order_.begin() + static_cast<std::ptrdiff_t>(thief),
                order_.begin() + static_cast<std::ptrdiff_t>(thief) + 1,
                order_.begin() + static_cast<std::ptrdiff_t>(last));
    --last;
  }
}

// The scheduler says how many it moved by the next report; until then these are the numbers.
void WorkStealing::order(const task::Steal& steal, std::int64_t now_ns,
                         std::vector<task::Steal>& out) noexcept {
  out.push_back(steal);
  loads_[steal.from].queued -= steal.count;
  loads_[steal.to].queued += steal.count;
  loads_[steal.to].hangs = false;
  ++counters_.pairs;
  counters_.ordered += steal.count;
  emit(EventName::workstealing_request, Severity::info, now_ns,
       {steal.from, steal.to, steal.count});
}

// Who hangs gets from the fullest of its lifelines, if that has enough; else it hangs on.
void WorkStealing::pull(std::int64_t now_ns, std::vector<task::Steal>& out) noexcept {
  is_stirred_ = false;
  for (std::uint32_t thief = 0; thief < config_.agents_max; ++thief) {
    if (!loads_[thief].hangs || !is_known(thief, now_ns)) continue;
    std::uint32_t victim = thief;
    for (std::uint32_t line = 0; line < config_.lifelines; ++line) {
      const std::uint32_t at = thief ^ (1U << line);
      if (at >= config_.agents_max || !is_known(at, now_ns)) continue;
      const bool is_fuller = loads_[at].queued > loads_[victim].queued ||
                             (loads_[at].queued == loads_[victim].queued && at < victim);
      if (victim == thief || is_fuller) victim = at;
    }
    const std::uint32_t count = steal_count(loads_[victim].queued, loads_[thief].queued, config_);
    if (count == 0) continue;
    order({victim, thief, count}, now_ns, out);
    ++counters_.pulled;
  }
}

void WorkStealing::tick(Nanos now, Actions& out) noexcept {
  out.steals.clear();
  out.view_changed = false;
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    if (enabled_ && now_ns >= next_ns_) {
      next_ns_ = now_ns + config_.interval_ns.count();
      round(now_ns, out.steals);
      out.view_changed = true;
    }
    if (enabled_ && is_stirred_) pull(now_ns, out.steals);
  }
  out.next_tick = Nanos{next_ns_};
}

// --- form --------------------------------------------------------------------------------------

std::span<const std::string_view> WorkStealingConfig::names() noexcept { return kStealingPresets; }

Result<WorkStealingConfig> WorkStealingConfig::preset(std::string_view name) {
  WorkStealingConfig config;
  if (name == "standard") return config;
  if (name == "lifelines") {
    config.lifelines = 10;  // of 1,024 agents none is further than ten of them from another
    config.half_above = 64;
    return config;
  }
  if (name == "off") {
    config.enabled = false;
    return config;
  }
  return unknown_preset("work stealing", name, kStealingPresets);
}

Status WorkStealing::validate(const Config& config) {
  const std::array<Check, 5> checks{{
      {config.lifelines <= kLifelinesMax, "lifelines is outside 0..20"},
      {config.burst_max >= 1, "burst_max is 0"},
      {is_positive_duration(config.interval_ns) && is_positive_duration(config.stale_ns),
       "interval_ns or stale_ns is outside 1 ns..36 years"},
      {config.agents_max >= 1 && config.agents_max <= 1U << 20, "agents_max is outside 1..1048576"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

void WorkStealing::save_state(StateWriter& writer) const {
  writer.put(next_ns_);
  writer.put(enabled_);
  writer.put(config_.agents_max);
  for (const Load& one : loads_) {
    writer.put(one.reported_ns);
    writer.put(one.queued);
    writer.put(one.cluster);
    writer.put(one.sector);
    writer.put(one.hangs);
  }
  writer.put(is_stirred_);
}

void WorkStealing::load_state(StateReader& reader) {
  reader.get(next_ns_);
  reader.get(enabled_);
  if (reader.get<std::uint32_t>() != config_.agents_max) return reader.fail();
  for (Load& one : loads_) {
    reader.get(one.reported_ns);
    reader.get(one.queued);
    reader.get(one.cluster);
    reader.get(one.sector);
    one.hangs = reader.get<bool>();
    if (one.reported_ns < kUnknown) return reader.fail();
  }
  is_stirred_ = reader.get<bool>();
}

Status WorkStealing::verify() const {
  bool is_past = true;
  bool is_clear = true;
  for (const Load& one : loads_) {
    is_past = is_past && one.reported_ns <= clock_.last_ns();
    is_clear = is_clear && (one.reported_ns != kUnknown || (one.queued == 0 && !one.hangs)) &&
               (!one.hangs || (one.queued == 0 && config_.lifelines != 0));
  }
  const std::array<Check, 4> checks{{
      {is_past, "a load was reported in the future"},
      {is_clear, "an agent that has left has a load, or one hangs that has something"},
      {next_ns_ <= clock_.last_ns() + config_.interval_ns.count(),
       "the next round is further away than an interval"},
      {counters_.ordered >= counters_.pairs &&
           (config_.half_above != 0 || counters_.ordered <= counters_.pairs * config_.burst_max) &&
           counters_.pulled <= counters_.hung && counters_.pulled <= counters_.pairs,
       "a pair moved nothing, or more than a burst, or a lifeline pulled twice"},
  }};
  return all_hold(Errc::corrupt, checks);
}

}  // namespace mesh::tasks

namespace mesh::coordination {
template class ServiceForm<tasks::WorkStealing, tasks::WorkStealingConfig,
                           tasks::WorkStealingCommand, tasks::WorkStealingReply,
                           tasks::WorkStealingCounters, tasks::WorkStealingActions>;
}  // namespace mesh::coordination
