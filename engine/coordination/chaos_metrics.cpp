#include "engine/coordination/chaos_metrics.hpp"

#include <algorithm>
#include <utility>

#include "engine/coordination/blocks/ppm.hpp"

namespace mesh::coordination {
namespace {

constexpr double kEqual = 1e-9;

double sum_of(std::span<const double> values) noexcept {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum;
}

}  // namespace

double nearest_rank(std::span<double> values, std::uint32_t q_ppm) noexcept {
  const std::uint64_t rank = std::max<std::uint64_t>(1, (values.size() * q_ppm + kPpm - 1) / kPpm);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(rank - 1);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

Verdict judge(const Bound& bound, double actual, const Welford& baseline) noexcept {
  const auto said = [](bool holds) { return holds ? Verdict::passed : Verdict::failed; };
  switch (bound.op) {
    case AssertionOp::lt:
      return said(actual < bound.value);
    case AssertionOp::lte:
      return said(actual <= bound.value + kEqual);
    case AssertionOp::gt:
      return said(actual > bound.value);
    case AssertionOp::gte:
      return said(actual >= bound.value - kEqual);
    case AssertionOp::eq:
      return said(std::abs(actual - bound.value) <= kEqual);
    case AssertionOp::between:
      return said(actual >= bound.value && actual <= bound.value_high);
    case AssertionOp::within_stddev:
      break;
  }
  if (baseline.n < 2) return Verdict::invalid;
  return said(std::abs(actual - baseline.mean) <= bound.value * baseline.stddev() + kEqual);
}

MetricWindows::MetricWindows(std::uint32_t metrics_max, std::uint32_t samples_max)
    : metrics_max_(metrics_max), samples_max_(samples_max), index_(metrics_max) {
  metrics_.reserve(metrics_max);
  scratch_.reserve(samples_max);
  for (std::uint32_t i = 0; i < metrics_max; ++i) free_rings_.emplace_back(samples_max);
}

std::uint32_t MetricWindows::add(const IdHash& name) noexcept {
  if (metrics_.size() == metrics_max_) return kNone;
  const auto metric = static_cast<std::uint32_t>(metrics_.size());
  metrics_.push_back({name, 0, std::move(free_rings_[metric])});  // reserved
  index_.set(name, metric);
  return metric;
}

void MetricWindows::record(std::uint32_t metric, std::int64_t now_ns, double value) noexcept {
  Metric& its = metrics_[metric];
  its.ring[its.recorded++ % samples_max_] = {now_ns, value};
}

MetricValue MetricWindows::aggregate(std::uint32_t metric, Aggregation how,
                                     const MetricSpan& span) noexcept {
  const Metric& its = metrics_[metric];
  scratch_.clear();
  bool is_whole = its.recorded <= samples_max_;
  for (std::uint64_t back = 1; back <= kept(its); ++back) {
    const Kept& one = its.ring[(its.recorded - back) % samples_max_];
    if (one.at_ns <= span.from_ns) {
      is_whole = true;
      break;
    }
    if (one.at_ns <= span.to_ns) scratch_.push_back(one.value);
  }
  if (scratch_.empty()) return {};
  std::reverse(scratch_.begin(), scratch_.end());  // sums in the order in which they came
  const std::span<double> values(scratch_);
  MetricValue said{true, !is_whole, 0};
  switch (how) {
    case Aggregation::avg:
      said.value = sum_of(values) / static_cast<double>(values.size());
      break;
    case Aggregation::min:
      said.value = *std::min_element(values.begin(), values.end());
      break;
    case Aggregation::max:
      said.value = *std::max_element(values.begin(), values.end());
      break;
    case Aggregation::sum:
      said.value = sum_of(values);
      break;
    case Aggregation::count:
      said.value = static_cast<double>(values.size());
      break;
    case Aggregation::p50:
      said.value = nearest_rank(values, 500'000);
      break;
    case Aggregation::p95:
      said.value = nearest_rank(values, 950'000);
      break;
    case Aggregation::p99:
      said.value = nearest_rank(values, 990'000);
      break;
    case Aggregation::rate:
      said.value = sum_of(values) * 1e9 / static_cast<double>(span.to_ns - span.from_ns);
      break;
  }
  return said;
}

void MetricWindows::save(StateWriter& writer) const {
  writer.put(count());
  for (const Metric& its : metrics_) {
    its.name.save(writer);
    writer.put(its.recorded);
    writer.put(static_cast<std::uint32_t>(kept(its)));
    for (std::uint64_t back = kept(its); back != 0; --back) {
      const Kept& one = its.ring[(its.recorded - back) % samples_max_];
      writer.put(one.at_ns);
      writer.put(one.value);
    }
  }
}

void MetricWindows::load(StateReader& reader) {
  const std::size_t metrics = reader.get_count(28);
  for (std::size_t i = 0; i < metrics && !reader.failed(); ++i) {
    IdHash name;
    name.load(reader);
    if (find(name) != kNone || add(name) == kNone) return reader.fail();
    Metric& its = metrics_.back();
    const auto recorded = reader.get<std::uint64_t>();
    its.recorded = recorded;
    const std::size_t samples = reader.get_count(16);
    if (samples != kept(its)) return reader.fail();
    its.recorded -= samples;
    for (std::size_t k = 0; k < samples; ++k) {
      const auto at_ns = reader.get<std::int64_t>();
      record(static_cast<std::uint32_t>(i), at_ns, reader.get<double>());
    }
  }
}

}  // namespace mesh::coordination
