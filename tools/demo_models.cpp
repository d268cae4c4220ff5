#include "tools/demo_models.hpp"

#include <algorithm>
#include <iterator>

#include "shm/base/nanos.hpp"

namespace mesh::tools {
namespace {

std::int64_t distance(std::int64_t ns) noexcept { return ns < 0 ? -ns : ns; }

void append(const std::vector<std::int64_t>& from, std::vector<std::int64_t>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

std::optional<ErrorPercentiles> percentiles_ms(std::span<std::int64_t> errors_ns) {
  if (errors_ns.empty()) return std::nullopt;
  std::sort(errors_ns.begin(), errors_ns.end());
  const auto at = [&](std::size_t percent) {
    const std::size_t rank = (errors_ns.size() * percent + 99) / 100;
    return static_cast<double>(errors_ns[rank - 1]) / static_cast<double>(kNsPerMs);
  };
  return ErrorPercentiles{at(50), at(90), at(99)};
}

bool answered(const engine::TargetTrace& trace) noexcept {
  return trace.state != sched::TrinaryState::transit && trace.finished_ns != 0;
}

void DemoErrors::add(const DemoTarget& target, std::int64_t error_ns) {
  all_ns_.push_back(distance(error_ns));
  if (target.drawn.jitter_ms() < kLowJitterMs) low_jitter_ns_.push_back(distance(error_ns));
}

void DemoErrors::add(const DemoErrors& errors) {
  append(errors.all_ns_, all_ns_);
  append(errors.low_jitter_ns_, low_jitter_ns_);
}

ErrorFigures DemoErrors::figures() const {
  ErrorFigures figures;
  std::vector<std::int64_t> all = all_ns_;
  std::vector<std::int64_t> low_jitter = low_jitter_ns_;
  figures.arrival_error_ms = percentiles_ms(all);
  figures.arrival_error_low_jitter_ms = percentiles_ms(low_jitter);
  if (all.empty()) return figures;
  const auto past = std::upper_bound(all.begin(), all.end(), kInsideNs);  // sorted by now
  figures.inside_50ms =
      static_cast<double>(std::distance(all.begin(), past)) / static_cast<double>(all.size());
  return figures;
}

void ModelErrors::add(const DemoTarget& target, HostTime t) {
  const engine::TargetTrace& trace = target.trace;
  const std::int64_t took_ns = trace.finished_ns - trace.sent_ns;
  ran.add(target, trace.finished_ns - to_ns(t));
  nominal.add(target, took_ns - trace.nominal_lead_us * kNsPerUs);
  oracle.add(target, took_ns - target.oracle_lead_ns);
}

void ModelErrors::add(const ModelErrors& errors) {
  ran.add(errors.ran);
  nominal.add(errors.nominal);
  oracle.add(errors.oracle);
}

void Reliability::add(const DemoTarget& target, HostTime t) {
  const engine::TargetTrace& trace = target.trace;
  const double at = std::max(trace.confidence, 0.0) * static_cast<double>(sums_.size());
  Sum& sum = sums_[std::min(static_cast<std::size_t>(at), sums_.size() - 1)];
  sum.said += trace.confidence;
  const bool is_hit = answered(trace) && distance(trace.finished_ns - to_ns(t)) <= kInsideNs;
  sum.hits += is_hit ? 1U : 0U;
  ++sum.n;
}

void Reliability::add(const Reliability& other) {
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    sums_[i].said += other.sums_[i].said;
    sums_[i].hits += other.sums_[i].hits;
    sums_[i].n += other.sums_[i].n;
  }
}

std::vector<Reliability::Step> Reliability::steps() const {
  std::vector<Step> steps;
  for (const Sum& sum : sums_) {
    if (sum.n == 0) continue;
    const auto n = static_cast<double>(sum.n);
    steps.push_back({sum.said / n, static_cast<double>(sum.hits) / n, sum.n});
  }
  return steps;
}

}  // namespace mesh::tools
