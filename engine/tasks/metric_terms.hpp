// What MetricStore is told, and what it answers: the standard metrics, config, commands, views.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shm/base/errc.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

// X(enumerator, kind, name): what a store has from the beginning, in this order. New ones come at
// the end.
#define MESH_METRIC_LIST(X)                                    \
  X(task_active, gauge, "task.active")                         \
  X(task_queued, gauge, "task.queued")                         \
  X(task_completed, counter, "task.completed")                 \
  X(task_failed, counter, "task.failed")                       \
  X(task_cancelled, counter, "task.cancelled")                 \
  X(task_duration, histogram, "task.duration")                 \
  X(agent_total, gauge, "agent.total")                         \
  X(agent_active, gauge, "agent.active")                       \
  X(agent_running, gauge, "agent.running")                     \
  X(agent_capacity, gauge, "agent.capacity")                   \
  X(resource_held, gauge, "resource.held")                     \
  X(resource_waiting, gauge, "resource.waiting")               \
  X(resource_capacity, gauge, "resource.capacity")             \
  X(resource_acquired, counter, "resource.acquired")           \
  X(resource_contended, counter, "resource.contended")         \
  X(message_sent, counter, "message.sent")                     \
  X(message_delivered, counter, "message.delivered")           \
  X(message_failed, counter, "message.failed")                 \
  X(message_latency, histogram, "message.latency")             \
  X(coordination_conflicts, counter, "coordination.conflicts") \
  X(coordination_deadlocks, counter, "coordination.deadlocks") \
  X(coordination_steals, counter, "coordination.steals")       \
  X(coordination_breaker_trips, counter, "coordination.breaker_trips")

namespace mesh::tasks {

enum class MetricKind : std::uint8_t {
  counter,    // only grows, also over restarts
  gauge,      // as last set; a second in which it was not set is a gap
  histogram,  // of durations; its history is that of its number of samples
};
constexpr MetricKind last_of(MetricKind) noexcept { return MetricKind::histogram; }
[[nodiscard]] std::string_view to_string(MetricKind kind) noexcept;

enum class StandardMetric : std::uint32_t {
#define MESH_METRIC_ENUMERATOR(enumerator, kind, name) enumerator,
  MESH_METRIC_LIST(MESH_METRIC_ENUMERATOR)
#undef MESH_METRIC_ENUMERATOR
};
struct MetricDefinition {
  std::string_view name;
  MetricKind kind = MetricKind::counter;
};
[[nodiscard]] std::span<const MetricDefinition> standard_metrics() noexcept;

struct MetricStoreConfig {
  std::uint32_t metrics_max = 256;
  std::uint32_t histograms_max = 64;   // among them
  std::uint32_t columns_max = 4'096;   // of writers elsewhere, each of one counter
  std::uint32_t seconds_kept = 3'600;  // points of one second
  std::uint32_t minutes_kept = 1'440;  // and of 60
  bool standard = true;                // it begins with the standard metrics
  std::uint32_t events_max = 1;        // it has none: its numbers are what there is to say

  static Result<MetricStoreConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

// Set by whoever defines the metric, or empty: then it is absent.
struct MetricLabels {
  std::string priority;
  std::string type;
  std::string agent_class;
  friend bool operator==(const MetricLabels&, const MetricLabels&) = default;
};

namespace metric {
struct Define {
  std::string name;
  MetricKind kind = MetricKind::counter;
  MetricLabels labels;
};
struct Add {
  std::uint32_t metric = 0;
  std::uint64_t amount = 1;
};
struct Set {
  std::uint32_t metric = 0;
  std::int64_t value = 0;
};
struct Observe {
  std::uint32_t metric = 0;
  Nanos duration{0};
  std::uint64_t exemplar = 0;  // the message or task behind it; 0: none
};
// The counter of one writer elsewhere, as it stands: what is new of it is added. One that stands
// lower began anew.
struct Report {
  std::uint32_t writer = 0;
  std::uint32_t metric = 0;
  std::uint64_t value = 0;
};
struct BucketCount {
  std::uint32_t bucket = 0;  // of LogHistogram
  std::uint32_t count = 0;
};
// Samples that were counted elsewhere.
struct Merge {
  std::uint32_t metric = 0;
  std::vector<BucketCount> buckets;
  std::uint64_t sum_ns = 0;
};
// What it stood at before a restart, at least.
struct Adopt {
  std::uint32_t metric = 0;
  std::uint64_t value = 0;
};
struct WriterGone {  // what it counted stays
  std::uint32_t writer = 0;
};
}  // namespace metric

using MetricCommand =
    std::variant<metric::Define, metric::Add, metric::Set, metric::Observe, metric::Report,
                 metric::Merge, metric::Adopt, metric::WriterGone>;
struct MetricReply {
  Errc code = Errc::ok;
  std::uint32_t metric = 0;
};
struct MetricStoreCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t seconds = 0;  // points of one second that were closed
  std::uint64_t missed = 0;   // seconds in which nobody called: gaps
  std::uint64_t unkept = 0;   // points that changed too much, too often: gaps
};
struct MetricStoreActions {
  bool view_changed = false;
  Nanos next_tick{0};
};

// Points in order of time; nothing: a gap.
struct MetricHistory {
  Nanos start{0};
  Nanos step{0};
  std::vector<std::optional<std::int64_t>> points;
};
// The slowest sample of an octave, and whose it was.
struct MetricExemplar {
  std::uint64_t duration_ns = 0;
  std::uint64_t id = 0;
};
struct MetricTop {
  std::uint32_t metric = 0;
  std::uint64_t grown = 0;
};
struct LatencyView {  // of the last minute and this one; nothing: no sample
  std::optional<std::uint64_t> p50_ns;
  std::optional<std::uint64_t> p95_ns;
  std::optional<std::uint64_t> p99_ns;
};
// A number that cannot be known, for want of samples, is nothing.
struct CurrentMetrics {
  struct Tasks {
    std::int64_t active = 0;
    std::int64_t queued = 0;
    std::uint64_t completed = 0;
    std::uint64_t failed = 0;
    std::uint64_t cancelled = 0;
    std::optional<double> throughput_per_s;
    std::optional<double> duration_mean_s;
    std::optional<double> success_rate;
    std::optional<double> active_by_little;
  } task;
  struct Agents {
    std::int64_t total = 0;
    std::int64_t active = 0;
    std::int64_t idle = 0;
    std::optional<double> utilization;
  } agent;
  struct Resources {
    std::int64_t held = 0;
    std::int64_t waiting = 0;
    std::optional<double> utilization;
    std::optional<double> contention_rate;
  } resource;
  struct Messages {
    std::uint64_t sent = 0;
    std::uint64_t delivered = 0;
    std::uint64_t failed = 0;
    std::optional<double> throughput_per_s;
    LatencyView latency;
  } message;
  struct Coordination {
    std::uint64_t conflicts = 0;
    std::uint64_t deadlocks = 0;
    std::uint64_t steals = 0;
    std::uint64_t breaker_trips = 0;
  } coordination;
};

}  // namespace mesh::tasks
