// ColumnScorer: what Selector's policies ask of a row, from columns that anybody may read: the
// weighted mean of the terms whose columns there are. Impedance alone is `find_best`; health alone
// is the best provider; all of them is routing by everything that is known.
//
// Callers     any; it holds spans, which must outlive it.  Progress  wait-free.
// Cost        a load and a product for each term that is weighed and has a column.
// Units       terms in 0..1, the more the better, and so is the score: fit for every policy. A row
//             that a column does not reach, and a value that is no number, counts as the worst.
//             A latency below 0 is not known: as at the reference.
// Invariants  in 0..1; never falls when a term rises; a term without a column changes nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "engine/coordination/blocks/selector.hpp"

namespace mesh::coordination {

// By row. An empty one: its term is not weighed.
struct TermColumns {
  std::span<const float> reputation;
  std::span<const float> health;
  std::span<const float> latency_ms;
  std::span<const float> utilisation;
  std::span<const float> impedance;  // 0..1000
  std::span<const std::uint32_t> region;
  std::span<const std::uint32_t> zone;     // with `region`: a zone is of its region
  std::span<const std::uint32_t> version;  // a newer one is a higher number
};

struct TermWishes {
  SelectTerms weights;
  double latency_ref_ms = 200;
  std::uint32_t region = kAnyRegion;
  std::uint32_t zone = kAnyRegion;
  std::uint32_t newest_version = 0;
};

class ColumnScorer {
 public:
  ColumnScorer(const TermColumns& columns, const TermWishes& wishes) noexcept
      : columns_(columns), wishes_(wishes) {
    SelectTerms& weights = wishes_.weights;
    const auto weigh = [this](double& weight, bool has_column) {
      weight = has_column ? std::max(weight, 0.0) : 0;
      sum_ += weight;
    };
    weigh(weights.reputation, !columns.reputation.empty());
    weigh(weights.health, !columns.health.empty());
    weigh(weights.latency, !columns.latency_ms.empty());
    weigh(weights.load, !columns.utilisation.empty());
    weigh(weights.locality, !columns.region.empty());
    weigh(weights.impedance, !columns.impedance.empty());
    weigh(weights.version, !columns.version.empty());
  }

  [[nodiscard]] double score(std::uint32_t row) const noexcept {
    return sum_ > 0 ? select_score(terms(row), wishes_.weights) / sum_ : 0;
  }
  // Nothing of it is uncertain.
  [[nodiscard]] double sample(std::uint32_t row, Rng&) const noexcept { return score(row); }

  // The breakdown: what each term is worth before it is weighed.
  [[nodiscard]] SelectTerms terms(std::uint32_t row) const noexcept {
    SelectTerms terms;
    terms.reputation = share(columns_.reputation, row);
    terms.health = share(columns_.health, row);
    terms.latency = latency(row);
    if (row < columns_.utilisation.size())
      terms.load = within(load_term(columns_.utilisation[row]));
    terms.locality = locality(row);
    if (row < columns_.impedance.size()) {
      terms.impedance = within(impedance_term(columns_.impedance[row]));
    }
    const bool is_newest =
        row < columns_.version.size() && columns_.version[row] >= wishes_.newest_version;
    terms.version = is_newest ? 1 : row < columns_.version.size() ? 0.5 : 0;
    return terms;
  }

 private:
  static double within(double term) noexcept { return term > 0 ? std::min(term, 1.0) : 0; }
  static double share(std::span<const float> column, std::uint32_t row) noexcept {
    return row < column.size() ? within(static_cast<double>(column[row])) : 0;
  }
  [[nodiscard]] double latency(std::uint32_t row) const noexcept {
    if (row >= columns_.latency_ms.size()) return 0;
    const auto ms = static_cast<double>(columns_.latency_ms[row]);
    return within(ms < 0 ? 0.5 : latency_term(ms, wishes_.latency_ref_ms));
  }
  // 1 the zone that is asked for, .7 its region, else .2; without a wish all are alike.
  [[nodiscard]] double locality(std::uint32_t row) const noexcept {
    if (wishes_.region == kAnyRegion) return 1;
    if (row >= columns_.region.size()) return 0;
    if (columns_.region[row] != wishes_.region) return 0.2;
    const bool is_there = row < columns_.zone.size() && columns_.zone[row] == wishes_.zone;
    return wishes_.zone == kAnyRegion || !is_there ? 0.7 : 1;
  }

  TermColumns columns_;
  TermWishes wishes_;
  double sum_ = 0;  // of the weights that count
};

static_assert(Scorer<ColumnScorer>);

}  // namespace mesh::coordination
