#include "engine/tasks/metric_store.hpp"

#include <algorithm>

#include "engine/coordination/blocks/names.hpp"

namespace mesh::tasks {
namespace {

IdHash hash_of_column(std::uint32_t writer, std::uint32_t metric) noexcept {
  return hash_of(writer, metric);
}
IdHash hash_of_title(std::string_view name, const MetricLabels& labels) noexcept {
  IdHash id = hash_of(name);
  for (const std::string* label : {&labels.priority, &labels.type, &labels.agent_class}) {
    const IdHash more = hash_of(std::string_view(*label));
    id = hash_of(id.low ^ more.high, id.high ^ more.low);
  }
  return id;
}
bool is_label(std::string_view label) noexcept { return label.empty() || is_name(label); }

}  // namespace

MetricStore::MetricStore(const Config& config, std::uint64_t)
    : ServiceForm(config),
      metrics_(config.metrics_max),
      histograms_(config.histograms_max),
      titles_(config.metrics_max),
      index_(config.metrics_max),
      seconds_(config.metrics_max, config.seconds_kept),
      minutes_(config.metrics_max, config.minutes_kept),
      columns_(config.columns_max),
      column_slots_(config.columns_max),
      column_index_(config.columns_max) {
  if (!config.standard) return;
  for (const MetricDefinition& one : standard_metrics()) define(one.name, one.kind, {});
}

// There is room for it.
void MetricStore::define(std::string_view name, MetricKind kind,
                         const MetricLabels& labels) noexcept {
  Metric& fresh = metrics_[count_];
  fresh.kind = kind;
  if (kind == MetricKind::histogram) fresh.histogram = histogram_count_++;
  titles_[count_] = {std::string(name), labels};
  index_.set(hash_of_title(name, labels), count_);
  ++count_;
}

Result<std::uint32_t> MetricStore::find(std::string_view name, const MetricLabels& labels) const {
  const std::uint32_t at = index_.find(hash_of_title(name, labels));
  if (at != kNone) return at;
  return fail(Errc::not_found, "metric store: no metric \"" +
                                   std::string(name.substr(0, kNameBytesMax)) +
                                   "\" with these labels");
}

// --- time ----------------------------------------------------------------------------------------

void MetricStore::close_second() noexcept {
  for (std::uint32_t at = 0; at < count_; ++at) {
    Metric& one = metrics_[at];
    const bool is_gap = one.kind == MetricKind::gauge && !one.was_set;
    const auto point = is_gap ? std::nullopt : std::optional<std::int64_t>(one.value);
    counters_.unkept += seconds_.push(at, point) ? 0U : 1U;
    one.was_set = false;
    if (is_gap) continue;
    one.minute_set = true;
    one.minute_value = one.value;
  }
  seconds_.close_slot();
  ++counters_.seconds;
}

void MetricStore::close_minute() noexcept {
  for (std::uint32_t at = 0; at < count_; ++at) {
    Metric& one = metrics_[at];
    const auto point =
        one.minute_set ? std::optional<std::int64_t>(one.minute_value) : std::nullopt;
    counters_.unkept += minutes_.push(at, point) ? 0U : 1U;
    one.minute_set = false;
  }
  minutes_.close_slot();
}

// To the second of `now`. Seconds and minutes between are gaps.
void MetricStore::roll(std::int64_t now_ns) noexcept {
  const std::int64_t second = now_ns / kNsPerSecond;
  const std::int64_t minute = second / kMinute;
  next_second_ns_ = (second + 1) * kNsPerSecond;
  view_changed_ = true;
  if (second_ == kNotBegun) {
    begun_ = second_ = second;
    seconds_.begin(second);
    minutes_.begin(minute);
    return;
  }
  close_second();
  const std::int64_t passed = second - second_ - 1;
  counters_.missed += static_cast<std::uint64_t>(passed);
  seconds_.skip(passed, count_);
  const std::int64_t minutes = minute - second_ / kMinute;
  second_ = second;
  if (minutes == 0) return;
  close_minute();
  minutes_.skip(minutes - 1, count_);
  for (std::uint32_t at = 0; at < histogram_count_; ++at) {
    Histogram& one = histograms_[at];
    one.before = one.recent;
    if (minutes > 1) one.before.clear();
    one.recent.clear();
  }
}

// --- commands ------------------------------------------------------------------------------------

Errc MetricStore::on(const metric::Define& order) noexcept {
  const MetricLabels& labels = order.labels;
  if (!is_name(order.name) || !is_label(labels.priority) || !is_label(labels.type) ||
      !is_label(labels.agent_class)) {
    return Errc::invalid_id;
  }
  if (order.kind > last_of(MetricKind{})) return Errc::invalid_argument;
  if (index_.find(hash_of_title(order.name, labels)) != kNone) return Errc::already_exists;
  const bool is_full =
      count_ == config_.metrics_max ||
      (order.kind == MetricKind::histogram && histogram_count_ == config_.histograms_max);
  if (is_full) return Errc::capacity;
  define(order.name, order.kind, labels);
  view_changed_ = true;
  return Errc::ok;
}

Errc MetricStore::on_observe(const metric::Observe& sample) noexcept {
  if (sample.metric >= count_) return Errc::not_found;
  Metric& one = metrics_[sample.metric];
  const bool is_possible = one.kind == MetricKind::histogram && is_duration(sample.duration);
  if (!is_possible) return Errc::invalid_argument;
  const auto duration_ns = static_cast<std::uint64_t>(sample.duration.count());
  Histogram& samples = histograms_[one.histogram];
  samples.all.add(duration_ns);
  samples.recent.add(duration_ns);
  samples.sum_ns += duration_ns;
  ++one.value;
  if (sample.exemplar == 0) return Errc::ok;
  MetricExemplar& slowest =
      samples.exemplars[LogHistogram::index_of(duration_ns) >> LogHistogram::kSubBits];
  if (slowest.id == 0 || duration_ns >= slowest.duration_ns) {
    slowest = {duration_ns, sample.exemplar};
  }
  return Errc::ok;
}

Errc MetricStore::on(const metric::Report& order) noexcept {
  if (order.metric >= count_) return Errc::not_found;
  if (metrics_[order.metric].kind != MetricKind::counter) return Errc::invalid_argument;
  const IdHash id = hash_of_column(order.writer, order.metric);
  const std::uint32_t known = column_index_.find(id);
  const std::uint64_t before = known == kNone ? 0 : columns_[known].value;
  const std::uint64_t more = order.value < before ? order.value : order.value - before;
  if (known == kNone && column_slots_.left() == 0) return Errc::capacity;
  const Errc added = on_add(order.metric, more);
  if (added != Errc::ok) return added;
  const std::uint32_t at = known == kNone ? column_slots_.take() : known;
  if (known == kNone) {
    columns_[at] = {order.writer, order.metric, 0, 0};
    column_index_.set(id, at);
  }
  columns_[at].value = order.value;
  columns_[at].counted += static_cast<std::int64_t>(more);
  metrics_[order.metric].from_writers += static_cast<std::int64_t>(more);
  return Errc::ok;
}

Errc MetricStore::on(const metric::Merge& order) noexcept {
  if (order.metric >= count_) return Errc::not_found;
  Metric& one = metrics_[order.metric];
  if (one.kind != MetricKind::histogram) return Errc::invalid_argument;
  std::array<std::uint32_t, LogHistogram::kBuckets> counts{};
  for (const metric::BucketCount& bucket : order.buckets) {
    if (bucket.bucket >= counts.size()) return Errc::invalid_argument;
    if (bucket.count > UINT32_MAX - counts[bucket.bucket]) return Errc::overflow;
    counts[bucket.bucket] += bucket.count;
  }
  LogHistogram more;
  StateReader reader(std::as_bytes(std::span(counts)));
  more.load(reader);
  Histogram& samples = histograms_[one.histogram];
  samples.all.merge(more);
  samples.recent.merge(more);
  samples.sum_ns += order.sum_ns;
  one.value += static_cast<std::int64_t>(more.total());
  return Errc::ok;
}

Errc MetricStore::on(const metric::Adopt& order) noexcept {
  if (order.metric >= count_) return Errc::not_found;
  Metric& one = metrics_[order.metric];
  if (one.kind != MetricKind::counter) return Errc::invalid_argument;
  if (order.value > static_cast<std::uint64_t>(INT64_MAX)) return Errc::overflow;
  one.value = std::max(one.value, static_cast<std::int64_t>(order.value));
  one.adopted = one.value;
  return Errc::ok;
}

Errc MetricStore::on(const metric::WriterGone& order) noexcept {
  bool is_known = false;
  for (std::uint32_t at = 0; at < config_.columns_max; ++at) {
    if (!column_slots_.is_used(at) || columns_[at].writer != order.writer) continue;
    metrics_[columns_[at].metric].retired += columns_[at].counted;
    column_index_.erase(hash_of_column(order.writer, columns_[at].metric));
    column_slots_.free(at);
    is_known = true;
  }
  return is_known ? Errc::ok : Errc::not_found;
}

// --- entry ---------------------------------------------------------------------------------------

MetricStore::Reply MetricStore::apply(const Command& command, Nanos now) noexcept {
  Reply reply;
  reply.code = heard(enter(now) ? std::visit([&](const auto& order) { return on(order); }, command)
                                : Errc::invalid_argument);
  if (reply.code == Errc::ok && std::holds_alternative<metric::Define>(command)) {
    reply.metric = count_ - 1;
  }
  return reply;
}

void MetricStore::tick(Nanos now, Actions& out) noexcept {
  enter(now);
  out.view_changed = view_changed_;
  view_changed_ = false;
  out.next_tick = Nanos{next_second_ns_};
}

}  // namespace mesh::tasks
