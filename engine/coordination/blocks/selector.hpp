// Selector: which agents take a piece of work: candidates -> filters -> score -> pick.
//
//   candidates   bitmaps over the rows: one a capability, active, routable, quarantined
//   filters      in the order of SelectFilter; how many each removed is in the result
//   score        the caller's: a weighted sum of terms in 0..1 (select_score), or its own
//   pick         p2c: two distinct ones drawn, the better wins. argmax. weighted: in proportion to
//                score^gamma. thompson: the best of one draw each. pick_top: the best n at once,
//                for who reads the rows elsewhere (find_best: engine/health/health_view.hpp).
//
// Callers     one thread. The inputs are columns that anybody may read, so a station selects by
//             itself, and the engine checks again when it forwards.
// Progress    wait-free, but weighted, which draws again with a chance below 1 each time, at most
//             kWeightedDraws times, then walks the candidates once.
// Cost        filters over bitmaps: under 1 us at 30,000 rows; one over a column adds a load for
//             each candidate left. p2c, weighted: a few draws. argmax, thompson: all candidates.
// Errors      select -> no_candidate (which filter emptied the set is in `removed`),
//             invalid_argument (nothing asked for, a bound that is no number).
// Invariants  what is selected passes every filter; argmax ties end at the lower row.
// Source      Mitzenmacher 2001 (power of two choices); Thompson 1933. Weighted draws by rejection,
//             not by an alias table: scores age with every instant, and a table is of the past.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/coordination/blocks/candidate_set.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "shm/base/errc.hpp"

namespace mesh::coordination {

enum class PickPolicy : std::uint8_t { p2c, argmax, weighted, thompson };
[[nodiscard]] std::string_view to_string(PickPolicy policy) noexcept;

// --- score -------------------------------------------------------------------------------------

// Each in 0..1, the more the better.
struct SelectTerms {
  double reputation = 0;
  double health = 0;
  double latency = 0;
  double load = 0;
  double locality = 0;
  double impedance = 0;
  double version = 0;
};
[[nodiscard]] constexpr double select_score(const SelectTerms& terms,
                                            const SelectTerms& weights) noexcept {
  return terms.reputation * weights.reputation + terms.health * weights.health +
         terms.latency * weights.latency + terms.load * weights.load +
         terms.locality * weights.locality + terms.impedance * weights.impedance +
         terms.version * weights.version;
}
// 1 at no latency, .5 at the reference.
[[nodiscard]] constexpr double latency_term(double latency, double reference) noexcept {
  return reference / (reference + latency);  // 1 / (1 + latency / reference)
}
[[nodiscard]] constexpr double load_term(double utilisation) noexcept { return 1 - utilisation; }
[[nodiscard]] constexpr double impedance_term(double impedance) noexcept {
  return 1 - impedance / 1'000;
}

// --- pick --------------------------------------------------------------------------------------

// What a policy asks: the score of a row now, and one draw of what it may be.
template <class S>
concept Scorer = requires(const S& scorer, std::uint32_t row, Rng& rng) {
  { scorer.score(row) } -> std::convertible_to<double>;
  { scorer.sample(row, rng) } -> std::convertible_to<double>;
};

// A scorer without uncertainty, from a callable.
template <class Call>
struct PlainScorer {
  Call call;
  [[nodiscard]] double score(std::uint32_t row) const { return call(row); }
  [[nodiscard]] double sample(std::uint32_t row, Rng&) const { return call(row); }
};
template <class Call>
PlainScorer(Call) -> PlainScorer<Call>;

inline constexpr unsigned kWeightedDraws = 64;

struct Pick {
  PickPolicy policy = PickPolicy::p2c;
  double gamma = 1;   // weighted: score^gamma
  double margin = 0;  // p2c: scores nearer than this share are alike: either wins
};

template <class Set, Scorer S>
[[nodiscard]] std::uint32_t pick_best(const Set& set, const S& scorer) {
  std::uint32_t best = kNoRow;
  double most = 0;
  set.for_each([&](std::uint32_t row) {
    const double score = scorer.score(row);
    if (best != kNoRow && !(score > most)) return;  // rows come in order: the lower one stays
    best = row;
    most = score;
  });
  return best;
}

// The best `count` of those that `admits`, best first, as argmax would pick them one by one: ties
// end at the lower row. One pass; who would be none of them is not asked whether it is admitted.
struct Ranked {
  std::uint32_t row = kNoRow;
  double score = 0;
  friend bool operator<(const Ranked& a, const Ranked& b) noexcept {  // a comes before b
    return a.score != b.score ? a.score > b.score : a.row < b.row;
  }
};
template <class Set, Scorer S, class Admits>
[[nodiscard]] std::vector<Ranked> pick_top(const Set& set, const S& scorer, Admits&& admits,
                                           std::size_t count) {
  std::vector<Ranked> best;  // a heap: the worst of them in front
  if (count == 0) return best;
  set.for_each([&](std::uint32_t row) {
    const Ranked candidate{row, scorer.score(row)};
    if (best.size() == count && !(candidate < best.front())) return;
    if (!admits(row)) return;
    if (best.size() == count) {
      std::pop_heap(best.begin(), best.end());
      best.pop_back();
    }
    best.push_back(candidate);
    std::push_heap(best.begin(), best.end());
  });
  std::sort_heap(best.begin(), best.end());
  return best;
}

// Two distinct members, each pair as likely.
template <class Set>
[[nodiscard]] std::pair<std::uint32_t, std::uint32_t> draw_two(const Set& set, Rng& rng) {
  constexpr std::uint32_t kFew = 32;
  constexpr int kDraws = 16;  // all alike with a chance below 2^-80
  const std::uint32_t count = set.count();
  if (count >= kFew) {
    const std::uint32_t first = set.draw(rng);
    for (int i = 0; i < kDraws; ++i) {
      const std::uint32_t second = set.draw(rng);
      if (second != first) return {first, second};
    }
  }
  const auto first = static_cast<std::uint32_t>(rng.below(count));
  auto second = static_cast<std::uint32_t>(rng.below(count - 1));
  second += second >= first ? 1U : 0U;
  return {set.select(first), set.select(second)};
}

// Of two alike the one drawn first wins, which is either as often: always the lower row would herd.
template <class Set, Scorer S>
[[nodiscard]] std::uint32_t pick_two_choices(const Set& set, const S& scorer, double margin,
                                             Rng& rng) {
  if (set.count() == 1) return set.select(0);
  const auto [one, other] = draw_two(set, rng);
  if constexpr (requires { scorer.prefetch(std::uint32_t{}); }) {
    scorer.prefetch(one);
    scorer.prefetch(other);
  }
  if constexpr (requires { scorer.prefetch_next(std::uint32_t{}); }) {
    scorer.prefetch_next(one);
    scorer.prefetch_next(other);
  }
  return scorer.score(other) * (1 - margin) > scorer.score(one) ? other : one;
}

// Scores are in 0..1: a candidate drawn is taken with the chance score^gamma, so that whatever is
// taken is taken in proportion to it. The walk, if it comes to that, has the same chances.
template <class Set, Scorer S>
[[nodiscard]] std::uint32_t pick_weighted(const Set& set, const S& scorer, double gamma, Rng& rng) {
  const auto weight = [&](std::uint32_t row) {
    const double score = scorer.score(row);
    return gamma == 1 ? score : gamma == 2 ? score * score : std::pow(score, gamma);
  };
  for (unsigned i = 0; i < kWeightedDraws; ++i) {
    const std::uint32_t row = set.draw(rng);
    if (rng.u01() < weight(row)) return row;
  }
  double sum = 0;
  set.for_each([&](std::uint32_t row) { sum += weight(row); });
  double left = rng.u01() * sum;
  std::uint32_t chosen = set.select(0);
  bool found = false;
  set.for_each([&](std::uint32_t row) {
    if (found || weight(row) <= 0) return;
    chosen = row;
    left -= weight(row);
    found = left < 0;
  });
  return chosen;
}

template <class Set, Scorer S>
[[nodiscard]] std::uint32_t pick_sampled(const Set& set, const S& scorer, Rng& rng) {
  const auto draw = [&](std::uint32_t row) { return scorer.sample(row, rng); };
  return pick_best(set, PlainScorer{draw});
}

// One of the set; kNoRow from an empty one.
template <class Set, Scorer S>
[[nodiscard]] std::uint32_t pick_from(const Set& set, const Pick& pick, const S& scorer, Rng& rng) {
  if (set.count() == 0) return kNoRow;
  switch (pick.policy) {
    case PickPolicy::p2c:
      return pick_two_choices(set, scorer, pick.margin, rng);
    case PickPolicy::weighted:
      return pick_weighted(set, scorer, pick.gamma, rng);
    case PickPolicy::thompson:
      return pick_sampled(set, scorer, rng);
    case PickPolicy::argmax:
      break;
  }
  return pick_best(set, scorer);
}

// --- candidates and filters --------------------------------------------------------------------

enum class SelectFilter : std::uint8_t {
  capability,
  inactive,
  breaker,
  quarantined,
  excluded,
  region,
  health,
  impedance,
};
inline constexpr std::size_t kSelectFilters = 8;
using SelectRemoved = std::array<std::uint32_t, kSelectFilters>;  // candidates that each took out
[[nodiscard]] std::string_view to_string(SelectFilter filter) noexcept;

inline constexpr std::uint32_t kAnyRegion = 0xFFFF'FFFF;

struct SelectQuery {
  std::uint64_t capabilities = 0;  // a bit each: all of them are asked for
  std::uint32_t region = kAnyRegion;
  double impedance_max = 1'000;
  double health_min = 0;
  std::span<const std::uint32_t> exclude;
};

// What the filters read, by row; an empty column filters nothing.
struct SelectColumns {
  std::span<const std::uint32_t> region;
  std::span<const float> health;
  std::span<const float> impedance;
};

struct SelectRequest {
  SelectQuery query;
  SelectColumns columns;
  Pick pick;
};

struct SelectResult {
  Errc code = Errc::ok;
  std::uint32_t count = 0;  // rows written, best first under argmax
  bool explored = false;
  SelectRemoved removed{};  // no_candidate
};

class Selector {
 public:
  static constexpr std::size_t kCapabilitiesMax = 64;

  // explore_every: each n-th select takes the least recently tried candidate instead; 0: none does.
  explicit Selector(std::size_t rows, std::uint64_t explore_every = 0);

  void offer(std::uint32_t row, unsigned capability, bool offers) noexcept;
  void set_active(std::uint32_t row, bool active) noexcept;
  void set_routable(std::uint32_t row, bool routable) noexcept;
  void set_quarantined(std::uint32_t row, bool quarantined) noexcept;

  // Fills `out` with as many distinct rows as it holds and there are candidates.
  template <Scorer S>
  SelectResult select(const SelectRequest& request, const S& scorer, Rng& rng,
                      std::span<std::uint32_t> out) {
    SelectResult result = filter(request.query, request.columns);
    if (out.empty()) result.code = Errc::invalid_argument;
    if (result.code != Errc::ok) return result;
    result.explored = explore_every_ != 0 && ++selects_ % explore_every_ == 0;
    const PlainScorer idle{[this](std::uint32_t row) { return -static_cast<double>(tried_[row]); }};
    while (result.count < out.size() && mask_.count() != 0) {
      const bool explore = result.explored && result.count == 0;
      const std::uint32_t row =
          explore ? pick_best(mask_, idle) : pick_from(mask_, request.pick, scorer, rng);
      out[result.count++] = row;
      mask_.erase(row);
      tried_[row] = selects_ + 1;
    }
    return result;
  }
  // The filters alone: candidates() is what is left.
  SelectResult filter(const SelectQuery& query, const SelectColumns& columns) noexcept;
  [[nodiscard]] const CandidateMask& candidates() const noexcept { return mask_; }
  // How many each filter takes out, one after the other: what a result without candidates has.
  SelectRemoved explain(const SelectQuery& query, const SelectColumns& columns) noexcept;

 private:
  // Calls step(filter) after each filter that asks for something.
  template <class Step>
  void apply_filters(const SelectQuery& query, const SelectColumns& columns, Step&& step) noexcept;
  void keep_columns(const SelectQuery& query, const SelectColumns& columns,
                    SelectFilter filter) noexcept;

  std::size_t rows_;
  std::uint64_t explore_every_;
  std::uint64_t selects_ = 0;
  std::vector<CandidateSet> offers_;  // by capability
  CandidateSet active_;
  CandidateSet routable_;
  CandidateSet calm_;                 // not quarantined
  std::vector<std::uint64_t> tried_;  // the select that took it last; 0: none has
  CandidateMask mask_;
};

}  // namespace mesh::coordination
