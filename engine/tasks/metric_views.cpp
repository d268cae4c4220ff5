// What a metric store shows: its groups, history, rates, and its texts for others.
#include <algorithm>
#include <cstdio>

#include "engine/tasks/metric_store.hpp"

namespace mesh::tasks {
namespace {

constexpr double kNsPerS = 1e9;

std::string number_text(double value) {
  std::array<char, 40> text{};
  const int size = std::snprintf(text.data(), text.size(), "%.9g", value);
  return {text.data(), static_cast<std::size_t>(std::max(size, 0))};
}
// What stands between quotes, there and in JSON.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (code < 0x20) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04x", code);
      out += escape.data();
    } else {
      out += c;
    }
  }
  return out + '"';
}
std::string exported_name(std::string_view prefix, std::string_view name) {
  std::string out(prefix);
  out += '_';
  for (const char c : name) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '_' || c == ':';
    out += is_plain ? c : '_';
  }
  return out;
}
using LabelList = std::vector<std::pair<std::string_view, std::string_view>>;
LabelList listed(const MetricLabels& labels) {
  LabelList list;
  if (!labels.priority.empty()) list.emplace_back("priority", labels.priority);
  if (!labels.type.empty()) list.emplace_back("type", labels.type);
  if (!labels.agent_class.empty()) list.emplace_back("class", labels.agent_class);
  return list;
}
std::string braced(const LabelList& labels) {
  if (labels.empty()) return "";
  std::string out = "{";
  for (const auto& [key, value] : labels) {
    out += out.size() == 1 ? "" : ",";
    out += std::string(key) + '=' + quoted(value);
  }
  return out + '}';
}
std::vector<std::uint32_t> counts_of(const LogHistogram& histogram) {
  StateWriter writer;
  histogram.save(writer);
  StateReader reader(writer.bytes());
  std::vector<std::uint32_t> counts(LogHistogram::kBuckets);
  for (auto& count : counts) reader.get(count);
  return counts;
}
// Cumulative, a bound an octave: no more of them than are of use.
std::string octave_lines(const std::string& name, LabelList labels, const LogHistogram& samples) {
  const std::vector<std::uint32_t> counts = counts_of(samples);
  std::string out;
  std::uint64_t below = 0;
  labels.emplace_back("le", "");
  for (std::size_t octave = 0; octave < MetricStore::kOctaves; ++octave) {
    constexpr std::size_t kEach = std::size_t{1} << LogHistogram::kSubBits;
    for (std::size_t i = octave * kEach; i < (octave + 1) * kEach; ++i) below += counts[i];
    const std::uint64_t high = LogHistogram::bucket((octave + 1) * kEach - 1).high;
    const std::string bound = number_text(static_cast<double>(high) / kNsPerS);
    labels.back().second = bound;
    out += name + "_bucket" + braced(labels) + ' ' + std::to_string(below) + '\n';
  }
  labels.back().second = "+Inf";
  return out + name + "_bucket" + braced(labels) + ' ' + std::to_string(below) + '\n';
}
std::optional<double> share(std::int64_t part, std::int64_t whole) {
  if (whole <= 0) return std::nullopt;
  return static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

// --- numbers -------------------------------------------------------------------------------------

// In the last so many whole seconds; what was adopted did not grow in them.
std::int64_t MetricStore::grown(std::uint32_t metric, std::int64_t seconds) const {
  const std::int64_t end = seconds_.at(metric, second_ - 1).value_or(0);
  const std::int64_t start = seconds_.at(metric, second_ - 1 - seconds).value_or(0);
  return std::max<std::int64_t>(0, end - std::max(start, metrics_[metric].adopted));
}

std::optional<double> MetricStore::rate(std::uint32_t metric) const {
  if (metric >= count_ || second_ == kNotBegun || second_ == begun_) return std::nullopt;
  if (metrics_[metric].kind == MetricKind::gauge) return std::nullopt;
  const std::int64_t whole = std::min(kRateSeconds, second_ - begun_);
  return static_cast<double>(grown(metric, whole)) / static_cast<double>(whole);
}

std::vector<MetricTop> MetricStore::top(std::size_t count) const {
  std::vector<MetricTop> all;
  for (std::uint32_t at = 0; at < count_ && second_ != kNotBegun; ++at) {
    if (metrics_[at].kind != MetricKind::counter) continue;
    const std::int64_t more = grown(at, kTopSeconds);
    if (more > 0) all.push_back({at, static_cast<std::uint64_t>(more)});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const MetricTop& a, const MetricTop& b) { return a.grown > b.grown; });
  all.resize(std::min(all.size(), count));
  return all;
}

LogHistogram MetricStore::recent(std::uint32_t metric) const {
  LogHistogram both = histograms_[metrics_[metric].histogram].recent;
  both.merge(histograms_[metrics_[metric].histogram].before);
  return both;
}

Result<std::uint64_t> MetricStore::quantile(std::uint32_t metric, double q) const {
  const bool is_histogram = metric < count_ && metrics_[metric].kind == MetricKind::histogram;
  if (is_histogram) return recent(metric).quantile(q);
  return complain(metric < count_ ? Errc::invalid_argument : Errc::not_found,
                  "only a histogram has quantiles");
}

LatencyView MetricStore::latency(std::uint32_t metric) const {
  const LogHistogram samples = recent(metric);
  LatencyView view;
  if (samples.total() == 0) return view;
  view.p50_ns = samples.quantile(0.5).value();
  view.p95_ns = samples.quantile(0.95).value();
  view.p99_ns = samples.quantile(0.99).value();
  return view;
}

std::vector<MetricExemplar> MetricStore::exemplars(std::uint32_t metric) const {
  std::vector<MetricExemplar> all;
  if (metric >= count_ || metrics_[metric].kind != MetricKind::histogram) return all;
  for (const MetricExemplar& one : histograms_[metrics_[metric].histogram].exemplars) {
    if (one.id != 0) all.push_back(one);
  }
  return all;
}

CurrentMetrics MetricStore::current() const {
  CurrentMetrics now;
  if (!config_.standard) return now;
  using enum StandardMetric;
  const auto level = [this](StandardMetric metric) { return value(of(metric)); };
  const auto sum = [&](StandardMetric metric) { return static_cast<std::uint64_t>(level(metric)); };
  now.task = {
      level(task_active),  level(task_queued),
      sum(task_completed), sum(task_failed),
      sum(task_cancelled), rate(of(task_completed)),
      std::nullopt,        share(level(task_completed), level(task_completed) + level(task_failed)),
      std::nullopt};
  const Histogram& durations = histograms_[metrics_[of(task_duration)].histogram];
  if (durations.all.total() != 0) {
    now.task.duration_mean_s = static_cast<double>(durations.sum_ns) / kNsPerS /
                               static_cast<double>(durations.all.total());
    if (now.task.throughput_per_s) {
      now.task.active_by_little = little(*now.task.throughput_per_s, *now.task.duration_mean_s);
    }
  }
  now.agent = {level(agent_total), level(agent_active), level(agent_total) - level(agent_active),
               share(level(agent_running), level(agent_capacity))};
  now.resource = {level(resource_held), level(resource_waiting),
                  share(level(resource_held), level(resource_capacity)),
                  share(level(resource_contended), level(resource_acquired))};
  now.message = {sum(message_sent), sum(message_delivered), sum(message_failed),
                 rate(of(message_delivered)), latency(of(message_latency))};
  now.coordination = {sum(coordination_conflicts), sum(coordination_deadlocks),
                      sum(coordination_steals), sum(coordination_breaker_trips)};
  return now;
}

// --- history -------------------------------------------------------------------------------------

Result<MetricHistory> MetricStore::history(std::string_view name, Nanos since, Nanos until,
                                           const MetricLabels& labels) const {
  MESH_TRY(const std::uint32_t metric, find(name, labels));
  if (!ServiceClock::is_valid(since) || until < since) {
    return complain(Errc::invalid_argument,
                    "a history begins at an instant and does not end "
                    "before it");
  }
  MetricHistory history;
  if (second_ == kNotBegun) return history;
  const Metric& one = metrics_[metric];
  const std::int64_t from_s = std::max(since.count() / kNsPerSecond, begun_);
  const std::int64_t to_s = std::min(until.count() / kNsPerSecond, second_);
  const bool in_seconds = from_s >= seconds_.oldest();
  const MetricRings& rings = in_seconds ? seconds_ : minutes_;
  const std::int64_t step_s = in_seconds ? 1 : kMinute;
  const std::int64_t from = std::max(from_s / step_s, rings.oldest());
  const std::int64_t to = to_s / step_s;
  history.step = Nanos{step_s * kNsPerSecond};
  history.start = Nanos{from * history.step.count()};
  rings.each(metric, from, [&](std::int64_t slot, std::optional<std::int64_t> point) {
    if (slot <= to) history.points.push_back(point);
  });
  if (to < rings.next()) return history;
  // The one that is not over.
  std::optional<std::int64_t> open;
  if (!in_seconds && one.minute_set) open = one.minute_value;
  if (one.kind != MetricKind::gauge || one.was_set) open = one.value;
  history.points.push_back(open);
  return history;
}

// --- texts ---------------------------------------------------------------------------------------

std::string MetricStore::prometheus(std::string_view prefix) const {
  std::string out;
  std::vector<std::string> names(count_);
  for (std::uint32_t at = 0; at < count_; ++at) {
    names[at] = exported_name(prefix, titles_[at].name);
    if (metrics_[at].kind == MetricKind::histogram) names[at] += "_seconds";
  }
  const auto write = [&](std::uint32_t at) {
    const LabelList labels = listed(titles_[at].labels);
    if (metrics_[at].kind != MetricKind::histogram) {
      out += names[at] + braced(labels) + ' ' + std::to_string(metrics_[at].value) + '\n';
      return;
    }
    const Histogram& samples = histograms_[metrics_[at].histogram];
    out += octave_lines(names[at], labels, samples.all);
    out += names[at] + "_sum" + braced(labels) + ' ' +
           number_text(static_cast<double>(samples.sum_ns) / kNsPerS) + '\n';
    out += names[at] + "_count" + braced(labels) + ' ' + std::to_string(metrics_[at].value) + '\n';
  };
  std::vector<bool> is_written(count_);
  for (std::uint32_t at = 0; at < count_; ++at) {
    if (is_written[at]) continue;  // with the first of its name
    out += "# TYPE " + names[at] + ' ' + std::string(to_string(metrics_[at].kind)) + '\n';
    for (std::uint32_t other = at; other < count_; ++other) {
      if (names[other] != names[at] || metrics_[other].kind != metrics_[at].kind) continue;
      is_written[other] = true;
      write(other);
    }
  }
  return out;
}

std::string MetricStore::json() const {
  std::string out = "{\"metrics\":[";
  for (std::uint32_t at = 0; at < count_; ++at) {
    const Metric& one = metrics_[at];
    out += at == 0 ? "" : ",";
    out += "{\"name\":" + quoted(titles_[at].name) + ",\"kind\":" + quoted(to_string(one.kind)) +
           ",\"labels\":{";
    bool is_first = true;
    for (const auto& [key, label] : listed(titles_[at].labels)) {
      out += std::exchange(is_first, false) ? "" : ",";
      out += quoted(key) + ':' + quoted(label);
    }
    out += "},\"value\":" + std::to_string(one.value);
    if (const auto per_second = rate(at)) out += ",\"per_s\":" + number_text(*per_second);
    if (one.kind == MetricKind::histogram) {
      const LatencyView view = latency(at);
      const auto text = [](const std::optional<std::uint64_t>& ns) {
        return ns ? std::to_string(*ns) : std::string("null");
      };
      out += ",\"p50_ns\":" + text(view.p50_ns) + ",\"p95_ns\":" + text(view.p95_ns) +
             ",\"p99_ns\":" + text(view.p99_ns) + ",\"exemplars\":[";
      for (const MetricExemplar& slowest : exemplars(at)) {
        out += out.back() == '[' ? "" : ",";
        out += "{\"ns\":" + std::to_string(slowest.duration_ns) +
               ",\"id\":" + std::to_string(slowest.id) + '}';
      }
      out += ']';
    }
    out += '}';
  }
  return out + "]}";
}

}  // namespace mesh::tasks
