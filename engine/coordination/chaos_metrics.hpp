// MetricWindows: the last samples of each metric, and what a window of them comes to; Welford, the
// mean and deviation of a baseline; how a value is judged.
//
// Callers     one thread.  Progress  wait-free.
// Cost        record: one store. aggregate: the samples of the window, and for a percentile their
//             partial sort. Allocates at construction alone.
// Units       a window is the samples with from < t <= to. Percentiles by nearest rank.
// Errors      none: a window without samples, or one whose samples are not all kept, says so.
// Source      Welford 1962.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/blocks/id_hash.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/state_codec.hpp"
#include "engine/coordination/chaos_terms.hpp"

namespace mesh::coordination {

struct Welford {
  std::uint64_t n = 0;
  double mean = 0;
  double m2 = 0;

  void add(double value) noexcept {
    ++n;
    const double delta = value - mean;
    mean += delta / static_cast<double>(n);
    m2 += delta * (value - mean);
  }
  // Of a sample: n - 1. 0 of fewer than two.
  [[nodiscard]] double stddev() const noexcept {
    return n < 2 ? 0 : std::sqrt(m2 / static_cast<double>(n - 1));
  }
};

// The ceil(q n)-th smallest. Sorts `values` in part; they are not empty.
[[nodiscard]] double nearest_rank(std::span<double> values, std::uint32_t q_ppm) noexcept;
// floor(assertions * tolerance) of them may fail.
[[nodiscard]] constexpr std::uint32_t failures_allowed(std::uint64_t assertions,
                                                       std::uint32_t tolerance_ppm) noexcept {
  return static_cast<std::uint32_t>(assertions * tolerance_ppm / 1'000'000);
}

// `value` and `value_high` as ChaosAssertion has them.
struct Bound {
  AssertionOp op = AssertionOp::gte;
  double value = 0;
  double value_high = 0;
};
[[nodiscard]] Verdict judge(const Bound& bound, double actual, const Welford& baseline) noexcept;

struct MetricSpan {
  std::int64_t from_ns = 0;
  std::int64_t to_ns = 0;
};
struct MetricValue {
  bool has_data = false;
  bool is_overrun = false;
  double value = 0;
};

class MetricWindows {
 public:
  static constexpr std::uint32_t kNone = IdTable::kNone;

  MetricWindows(std::uint32_t metrics_max, std::uint32_t samples_max);

  // kNone: there is no room. The name is new.
  std::uint32_t add(const IdHash& name) noexcept;
  [[nodiscard]] std::uint32_t find(const IdHash& name) const noexcept { return index_.find(name); }
  [[nodiscard]] std::uint32_t count() const noexcept {
    return static_cast<std::uint32_t>(metrics_.size());
  }
  void record(std::uint32_t metric, std::int64_t now_ns, double value) noexcept;
  [[nodiscard]] MetricValue aggregate(std::uint32_t metric, Aggregation how,
                                      const MetricSpan& span) noexcept;

  void save(StateWriter& writer) const;
  void load(StateReader& reader);

 private:
  struct Kept {
    std::int64_t at_ns = 0;
    double value = 0;
  };
  struct Metric {
    IdHash name;
    std::uint64_t recorded = 0;
    std::vector<Kept> ring;
  };
  [[nodiscard]] std::uint64_t kept(const Metric& metric) const noexcept {
    return metric.recorded < samples_max_ ? metric.recorded : samples_max_;
  }

  std::uint32_t metrics_max_;
  std::uint32_t samples_max_;
  std::vector<Metric> metrics_;
  std::vector<std::vector<Kept>> free_rings_;
  IdTable index_;
  std::vector<double> scratch_;
};

}  // namespace mesh::coordination
