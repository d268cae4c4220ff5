#include "engine/chaos/live_meter.hpp"

#include <algorithm>
#include <string>

namespace mesh::engine {
namespace {

namespace chaos = coordination::chaos;

enum Metric : std::size_t {
  engine_up,
  availability,
  messages_open,
  throughput,
  overdue,
  answered_twice,
  lost
};

}  // namespace

Status LiveMeter::begin(Nanos now) {
  for (std::size_t i = 0; i < kMetrics.size(); ++i) {
    const auto added = harness_.apply(chaos::AddMetric{std::string(kMetrics[i])}, now);
    if (added.code != Errc::ok)
      return fail(added.code, "live meter: the harness does not take the metric " +
                                  std::string(kMetrics[i]) + ": " +
                                  std::string(name_of(added.code)));
    ids_[i] = added.id;
  }
  return {};
}

void LiveMeter::say(std::size_t metric, double value, Nanos now) {
  harness_.apply(chaos::Sample{ids_[metric], value}, now);
}

void LiveMeter::sample(const std::function<CallerCounts()>& callers_say, Nanos now) {
  const auto seen = driver_.look();
  const CallerCounts callers = callers_say();
  say(engine_up, seen ? 1 : 0, now);
  const double enrolled = seen ? static_cast<double>(seen->agents_enrolled) : 0;
  say(availability, enrolled > 0 ? static_cast<double>(seen->agents_active) / enrolled : 0, now);
  say(overdue, static_cast<double>(callers.overdue), now);
  say(answered_twice, static_cast<double>(callers.answered_twice), now);
  const bool has_period = last_ && now > last_at_;
  if (has_period) {
    const auto more = static_cast<double>(callers.answered - last_->answered);
    say(throughput, more * 1e9 / static_cast<double>((now - last_at_).count()), now);
  }
  last_ = callers;
  last_at_ = now;
  if (!seen) return;
  say(messages_open, static_cast<double>(seen->messages_open), now);
  const std::uint64_t given = callers.overdue_given;
  const std::uint64_t gone = given - std::min(given, seen->messages_open);
  say(lost, static_cast<double>(gone), now);
}

}  // namespace mesh::engine
