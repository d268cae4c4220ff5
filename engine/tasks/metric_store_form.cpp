// What a metric store looks like from outside: its presets, its bytes, what must hold.
#include <algorithm>

#include "engine/coordination/blocks/names.hpp"
#include "engine/tasks/metric_store.hpp"

namespace mesh::tasks {
namespace {

constexpr std::array<std::string_view, 2> kStorePresets{"standard", "pi4b"};
constexpr std::array<std::string_view, 3> kMetricKinds{"counter", "gauge", "histogram"};
constexpr std::array kStandardMetrics{
#define MESH_METRIC_DEFINITION(enumerator, kind, name) MetricDefinition{name, MetricKind::kind},
    MESH_METRIC_LIST(MESH_METRIC_DEFINITION)
#undef MESH_METRIC_DEFINITION
};
constexpr std::uint32_t kStandardHistograms = static_cast<std::uint32_t>(
    std::count_if(kStandardMetrics.begin(), kStandardMetrics.end(),
                  [](const auto& one) { return one.kind == MetricKind::histogram; }));

// The buckets that have any.
void save_sparse(StateWriter& writer, const LogHistogram& histogram) {
  StateWriter whole;
  histogram.save(whole);
  StateReader reader(whole.bytes());
  std::vector<metric::BucketCount> buckets;
  for (std::uint32_t i = 0; i < LogHistogram::kBuckets; ++i) {
    const auto count = reader.get<std::uint32_t>();
    if (count != 0) buckets.push_back({i, count});
  }
  fields::put(writer, buckets);
}
void load_sparse(StateReader& reader, LogHistogram& histogram) {
  std::vector<metric::BucketCount> buckets;
  fields::get(reader, buckets);
  std::array<std::uint32_t, LogHistogram::kBuckets> counts{};
  for (const metric::BucketCount& one : buckets) {
    if (one.bucket >= counts.size()) return reader.fail();
    counts[one.bucket] = one.count;
  }
  StateReader whole(std::as_bytes(std::span(counts)));
  histogram.load(whole);
}
void words_of_metric(auto& one, auto&& visit) {
  visit(one.value);
  visit(one.from_writers);
  visit(one.retired);
  visit(one.adopted);
  visit(one.minute_value);
  visit(one.kind);
  visit(one.was_set);
  visit(one.minute_set);
}

}  // namespace

std::string_view to_string(MetricKind kind) noexcept {
  const auto index = static_cast<std::size_t>(kind);
  return index < kMetricKinds.size() ? kMetricKinds[index] : "unknown";
}
std::span<const MetricDefinition> standard_metrics() noexcept { return kStandardMetrics; }

std::span<const std::string_view> MetricStoreConfig::names() noexcept { return kStorePresets; }

Result<MetricStoreConfig> MetricStoreConfig::preset(std::string_view name) {
  MetricStoreConfig config;
  if (name == "standard") return config;
  if (name == "pi4b") {
    config.metrics_max = 128;
    config.histograms_max = 16;
    config.columns_max = 1'024;
    return config;
  }
  return unknown_preset("metric store", name, kStorePresets);
}

Status MetricStore::validate(const Config& config) {
  const std::array<Check, 7> checks{{
      {config.metrics_max >= 1 && config.metrics_max <= 65'536, "metrics_max is outside 1..65536"},
      {config.histograms_max <= config.metrics_max, "histograms_max is outside 0..metrics_max"},
      {config.columns_max >= 1 && config.columns_max <= SlotSet::kSlotsMax,
       "columns_max is outside 1..262144"},
      {config.seconds_kept >= kRateSeconds + 1 && config.seconds_kept <= 3'600,
       "seconds_kept is outside 11..3600"},
      {config.minutes_kept >= 1 && config.minutes_kept <= 1'440, "minutes_kept is outside 1..1440"},
      {!config.standard || (config.metrics_max >= kStandardMetrics.size() &&
                            config.histograms_max >= kStandardHistograms),
       "standard: the standard metrics do not fit"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

std::size_t MetricStore::bytes_of_metric(const Config& config) noexcept {
  static_assert(sizeof(Metric) + sizeof(Histogram) + 2 * MetricRings::kTrackBytes +
                    (3'600 + 1'440) * MetricRings::kPointBytes <=
                kMetricBytesMax);
  return sizeof(Metric) + sizeof(Histogram) + 2 * MetricRings::kTrackBytes +
         (std::size_t{config.seconds_kept} + config.minutes_kept) * MetricRings::kPointBytes;
}

// --- bytes ---------------------------------------------------------------------------------------

void MetricStore::save_state(StateWriter& writer) const {
  writer.put(second_);
  writer.put(begun_);
  writer.put(count_);
  for (std::uint32_t at = 0; at < count_; ++at) {
    writer.put(titles_[at].name);
    fields::put(writer, titles_[at].labels);
    words_of_metric(metrics_[at], [&](const auto& word) { writer.put(word); });
  }
  save_histograms(writer);
  seconds_.save(writer, count_);
  minutes_.save(writer, count_);
  writer.put(column_slots_.used());
  for (std::uint32_t at = 0; at < config_.columns_max; ++at) {
    if (!column_slots_.is_used(at)) continue;
    writer.put(at);
    fields::put(writer, columns_[at]);
  }
}

void MetricStore::save_histograms(StateWriter& writer) const {
  for (std::uint32_t at = 0; at < histogram_count_; ++at) {
    const Histogram& one = histograms_[at];
    save_sparse(writer, one.all);
    save_sparse(writer, one.recent);
    save_sparse(writer, one.before);
    writer.put(one.sum_ns);
    fields::put(writer, one.exemplars);
  }
}

// False: it cannot be. Those that a store begins with stand first, as they always do.
bool MetricStore::load_metric(StateReader& reader) {
  std::string name;
  MetricLabels labels;
  Metric one;
  fields::get(reader, name);
  fields::get(reader, labels);
  words_of_metric(one, [&](auto& word) { fields::get(reader, word); });
  const bool is_possible =
      !reader.failed() && is_name(name) && count_ < config_.metrics_max && !find(name, labels) &&
      (one.kind != MetricKind::histogram || histogram_count_ < config_.histograms_max);
  if (!is_possible) return false;
  define(name, one.kind, labels);
  one.histogram = metrics_[count_ - 1].histogram;
  metrics_[count_ - 1] = one;
  return true;
}

void MetricStore::load_histograms(StateReader& reader) {
  for (std::uint32_t at = 0; at < histogram_count_ && !reader.failed(); ++at) {
    Histogram& one = histograms_[at];
    load_sparse(reader, one.all);
    load_sparse(reader, one.recent);
    load_sparse(reader, one.before);
    reader.get(one.sum_ns);
    fields::get(reader, one.exemplars);
  }
}

void MetricStore::load_columns(StateReader& reader) {
  const std::size_t count = reader.get_count(28);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto at = reader.get<std::uint32_t>();
    if (!column_slots_.use(at)) return reader.fail();
    Column& one = columns_[at];
    fields::get(reader, one);
    const IdHash id = hash_of(one.writer, one.metric);
    if (one.metric >= count_ || column_index_.find(id) != kNone) return reader.fail();
    column_index_.set(id, at);
  }
}

void MetricStore::load_state(StateReader& reader) {
  reader.get(second_);
  reader.get(begun_);
  const bool is_possible = second_ >= kNotBegun && second_ <= kInstantMaxNs / kNsPerSecond &&
                           begun_ >= 0 && begun_ <= std::max<std::int64_t>(second_, 0);
  if (!is_possible) return reader.fail();
  next_second_ns_ = (second_ + 1) * kNsPerSecond;
  const std::size_t count = reader.get_count(50);
  index_ = IdTable(config_.metrics_max);
  count_ = histogram_count_ = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!load_metric(reader)) return reader.fail();
  }
  load_histograms(reader);
  seconds_.load(reader, count_);
  if (!reader.failed()) minutes_.load(reader, count_);
  if (!reader.failed()) load_columns(reader);
}

// --- what must hold ------------------------------------------------------------------------------

Status MetricStore::verify() const {
  std::vector<std::int64_t> counted(count_);
  for (std::uint32_t at = 0; at < config_.columns_max; ++at) {
    if (column_slots_.is_used(at)) counted[columns_[at].metric] += columns_[at].counted;
  }
  bool adds_up = true;
  bool has_samples = true;
  for (std::uint32_t at = 0; at < count_; ++at) {
    const Metric& one = metrics_[at];
    if (one.kind == MetricKind::counter) {
      adds_up = adds_up && counted[at] + one.retired == one.from_writers &&
                one.from_writers <= one.value && one.adopted <= one.value;
    } else if (one.kind == MetricKind::histogram) {
      const Histogram& samples = histograms_[one.histogram];
      has_samples = has_samples && samples.all.total() == static_cast<std::uint64_t>(one.value) &&
                    samples.recent.total() + samples.before.total() <= samples.all.total();
    }
  }
  const bool is_in_step =
      second_ == kNotBegun || (seconds_.next() == second_ && minutes_.next() == second_ / 60);
  const std::array<Check, 5> checks{{
      {adds_up, "a counter is less than what its writers counted"},
      {has_samples, "a histogram has other samples than it counted"},
      {seconds_.is_sound(count_) && minutes_.is_sound(count_),
       "a history does not end where its metric stood"},
      {is_in_step, "a history has another second than the store"},
      {index_.count() == count_ && column_index_.count() == column_slots_.used(),
       "a metric or a column is there twice"},
  }};
  return all_hold(Errc::corrupt, checks);
}

}  // namespace mesh::tasks

namespace mesh::coordination {
template class ServiceForm<tasks::MetricStore, tasks::MetricStoreConfig, tasks::MetricCommand,
                           tasks::MetricReply, tasks::MetricStoreCounters,
                           tasks::MetricStoreActions>;
}  // namespace mesh::coordination
