// MetricStore: counters, gauges and histograms by name, and what they were: a point each second for
// an hour, a point each minute for a day.
//
// Callers     one thread, which owns it: the engine's. Writers elsewhere have columns of their own
//             and are summed by Report and Merge. The host copies what is shown into the table.
// Progress    wait-free. What is due at `now` (a second is over) happens before the command.
// Cost        add, set: under 10 ns; observe: a few more. The first call of a second closes the
//             last: a few ns a metric. A metric is at most 40 KiB. Questions decode, and allocate.
// Units       a second is floor(now / 1 s) of the host's clock. Durations in ns, in exports in s.
// Guarantees  a counter never decreases, also over a restart that adopts it. A second in which
//             nobody called, or a gauge was not set, is a gap: nothing, never 0. Percentiles come
//             from histograms. A rate is the difference over the last 10 whole seconds.
// If the      writer stands lower than it did: it began anew, what it counted before stays. The
// other side  owner dies: snapshot and journal; the seconds until it is there again are gaps.
// dies
// Errors      not_found, already_exists, invalid_id, invalid_argument (another kind of metric; a
//             negative duration), capacity, overflow.
// Source      HDR histograms (blocks/log_histogram.hpp); RRDtool's tiers; Little 1961; the text
//             format of Prometheus 0.0.4.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/log_histogram.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/service.hpp"
#include "engine/tasks/metric_rings.hpp"
#include "engine/tasks/metric_terms.hpp"

namespace mesh::tasks {

class MetricStore final : public ServiceForm<MetricStore, MetricStoreConfig, MetricCommand,
                                             MetricReply, MetricStoreCounters, MetricStoreActions> {
 public:
  static constexpr std::int64_t kRateSeconds = 10;
  static constexpr std::int64_t kTopSeconds = 300;
  static constexpr std::size_t kMetricBytesMax = std::size_t{40} << 10;
  static constexpr std::size_t kOctaves = LogHistogram::kBuckets >> LogHistogram::kSubBits;

  static Status validate(const Config& config);
  explicit MetricStore(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;
  // What apply() does, without a command.
  Errc add(std::uint32_t metric, std::uint64_t amount, Nanos now) noexcept {
    return heard(enter(now) ? on_add(metric, amount) : Errc::invalid_argument);
  }
  Errc set(std::uint32_t metric, std::int64_t value, Nanos now) noexcept {
    return heard(enter(now) ? on_set(metric, value) : Errc::invalid_argument);
  }
  Errc observe(const metric::Observe& sample, Nanos now) noexcept {
    return heard(enter(now) ? on_observe(sample) : Errc::invalid_argument);
  }

  [[nodiscard]] Result<std::uint32_t> find(std::string_view name,
                                           const MetricLabels& labels = {}) const;
  [[nodiscard]] static constexpr std::uint32_t of(StandardMetric metric) noexcept {
    return static_cast<std::uint32_t>(metric);
  }
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  // Of a counter or gauge; of a histogram its samples. 0: there is no such metric.
  [[nodiscard]] std::int64_t value(std::uint32_t metric) const noexcept {
    return metric < count_ ? metrics_[metric].value : 0;
  }
  // What stands in its memory for one metric at most, its names apart.
  [[nodiscard]] static std::size_t bytes_of_metric(const Config& config) noexcept;

  // metric_views.cpp
  [[nodiscard]] CurrentMetrics current() const;
  // From the second of `since` to now, in seconds where that is within what is kept of them, else
  // in minutes. not_found.
  [[nodiscard]] Result<MetricHistory> history(std::string_view name, Nanos since,
                                              Nanos until = Nanos{INT64_MAX},
                                              const MetricLabels& labels = {}) const;
  // A second, over the last 10 whole ones, or those that there are; nothing: there is none.
  [[nodiscard]] std::optional<double> rate(std::uint32_t metric) const;
  // The counters that grew most in the last 5 minutes, the most first; of two alike the lower.
  [[nodiscard]] std::vector<MetricTop> top(std::size_t count) const;
  // Of the samples of this minute and the last. not_found: there is none.
  [[nodiscard]] Result<std::uint64_t> quantile(std::uint32_t metric, double q) const;
  [[nodiscard]] std::vector<MetricExemplar> exemplars(std::uint32_t metric) const;
  [[nodiscard]] std::string prometheus(std::string_view prefix = "mesh") const;
  [[nodiscard]] std::string json() const;
  // As many as are there at once: Little's law.
  [[nodiscard]] static double little(double per_second, double seconds) noexcept {
    return per_second * seconds;
  }

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"metric_store", 1};
  static constexpr std::string_view kWho = "metric store";
  static constexpr std::uint32_t kNone = IdTable::kNone;
  static constexpr std::int64_t kNotBegun = -1;

  struct Metric {
    std::int64_t value = 0;
    std::int64_t from_writers = 0;  // of it
    std::int64_t retired = 0;       // of that, of writers that are gone
    std::int64_t adopted = 0;       // it stood there when it was adopted
    std::int64_t minute_value = 0;
    std::uint32_t histogram = kNone;
    MetricKind kind = MetricKind::counter;
    bool was_set = false;     // in this second
    bool minute_set = false;  // there is a point in this minute
  };
  struct Histogram {
    LogHistogram all;
    LogHistogram recent;  // of this minute
    LogHistogram before;  // of the last
    std::uint64_t sum_ns = 0;
    std::array<MetricExemplar, kOctaves> exemplars{};
  };
  struct Title {
    std::string name;
    MetricLabels labels;
  };
  struct Column {
    std::uint32_t writer = 0;
    std::uint32_t metric = 0;
    std::uint64_t value = 0;   // as it was reported last
    std::int64_t counted = 0;  // in all its lives
  };

  // False: it is no instant.
  bool enter(Nanos now) noexcept {
    if (!ServiceClock::is_valid(now)) return false;
    const std::int64_t now_ns = clock_.at(now);
    if (now_ns >= next_second_ns_) [[unlikely]]
      roll(now_ns);
    return true;
  }
  Errc heard(Errc code) noexcept {
    ++counters_.commands;
    counters_.refused += code == Errc::ok ? 0U : 1U;
    return code;
  }
  Errc on_add(std::uint32_t metric, std::uint64_t amount) noexcept {
    if (metric >= count_) return Errc::not_found;
    Metric& one = metrics_[metric];
    if (one.kind != MetricKind::counter) return Errc::invalid_argument;
    if (amount > static_cast<std::uint64_t>(INT64_MAX - one.value)) return Errc::overflow;
    one.value += static_cast<std::int64_t>(amount);
    return Errc::ok;
  }
  Errc on_set(std::uint32_t metric, std::int64_t value) noexcept {
    if (metric >= count_) return Errc::not_found;
    Metric& one = metrics_[metric];
    if (one.kind != MetricKind::gauge) return Errc::invalid_argument;
    one.value = value;
    one.was_set = true;
    return Errc::ok;
  }
  Errc on_observe(const metric::Observe& sample) noexcept;
  Errc on(const metric::Define& order) noexcept;
  Errc on(const metric::Add& order) noexcept { return on_add(order.metric, order.amount); }
  Errc on(const metric::Set& order) noexcept { return on_set(order.metric, order.value); }
  Errc on(const metric::Observe& order) noexcept { return on_observe(order); }
  Errc on(const metric::Report& order) noexcept;
  Errc on(const metric::Merge& order) noexcept;
  Errc on(const metric::Adopt& order) noexcept;
  Errc on(const metric::WriterGone& order) noexcept;
  void define(std::string_view name, MetricKind kind, const MetricLabels& labels) noexcept;
  void roll(std::int64_t now_ns) noexcept;
  void close_second() noexcept;
  void close_minute() noexcept;
  [[nodiscard]] std::int64_t grown(std::uint32_t metric, std::int64_t seconds) const;
  [[nodiscard]] LogHistogram recent(std::uint32_t metric) const;
  [[nodiscard]] LatencyView latency(std::uint32_t metric) const;

  void save_state(StateWriter& writer) const;
  void save_histograms(StateWriter& writer) const;
  void load_state(StateReader& reader);
  [[nodiscard]] bool load_metric(StateReader& reader);
  void load_histograms(StateReader& reader);
  void load_columns(StateReader& reader);

  std::int64_t next_second_ns_ = 0;
  std::vector<Metric> metrics_;
  std::uint32_t count_ = 0;
  std::uint32_t histogram_count_ = 0;
  std::vector<Histogram> histograms_;
  std::vector<Title> titles_;
  IdTable index_;
  std::int64_t second_ = kNotBegun;  // that is not over
  std::int64_t begun_ = 0;           // the first second
  MetricRings seconds_;
  MetricRings minutes_;
  std::vector<Column> columns_;
  SlotSet column_slots_;
  IdTable column_index_;
  bool view_changed_ = true;
};

static_assert(DurableService<MetricStore>);

}  // namespace mesh::tasks

namespace mesh::coordination {
extern template class ServiceForm<tasks::MetricStore, tasks::MetricStoreConfig,
                                  tasks::MetricCommand, tasks::MetricReply,
                                  tasks::MetricStoreCounters, tasks::MetricStoreActions>;
}  // namespace mesh::coordination
