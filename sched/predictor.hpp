// Predictor: what the mesh knows of how long its agents take, and what it makes of it: the columns
// by which the calibrated model plans (lead_time_columns.hpp).
//
//     gather    on_answer(), on_unanswered()    a sample, a miss: one store
//     upkeep    learn(row) ... commit()         what they come to, a row at a time
//
// Each new sample is first held against what was predicted without it: that is how classes learn
// how wide residuals spread and how far a probability may be believed. Then it joins the others,
// and estimate() says what they all come to.
//
// Callers     one thread; a successor adopts after its death.
// Progress    bounded. on_answer, on_unanswered: wait-free, no allocation. After create() nothing
//             allocates.
// Cost        on_answer: one store. learn: nothing but a look where nothing is new, else
//             about a microsecond (bench/sched/predictor_bench.cpp).
// Units       milliseconds.
// If the      writer dies anywhere: no sample is lost or doubled, except the one in its hands; of
// other side  what classes learned, the turn it was in. Predictions are made anew from the samples.
// dies
// Errors      create -> invalid_argument, truncated, misaligned, no_memory. adopt -> corrupt.
// Layout      `engine` memory: Arrivals, then ClassMemory.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sched/agent_class.hpp"
#include "sched/agent_estimate.hpp"
#include "sched/arrivals.hpp"
#include "sched/class_memory.hpp"
#include "sched/lead_time_columns.hpp"

namespace mesh::sched {

constexpr std::size_t predictor_bytes(std::uint32_t rows) noexcept {
  return arrivals_bytes(rows) + kClassMemoryBytes;
}

struct PredictorOptions {
  double tolerance_ms = 50;  // `confidence` is the probability of an arrival so near to T
  double z = kDefaultZ;      // of the nominal buffer
};

// One row's prediction: what stands in its columns.
struct RowPrediction {
  float work_ms = 0;             // processing at weight 0 with an empty queue
  float residual_centre_ms = 0;  // beyond one_way + processing, half the time
  float residual_by_t_ms = 0;    // beyond it, 95 times in a hundred
  std::uint16_t confidence = 0;  // in 1/65535: near T by aim centre
  std::uint16_t confidence_by_t = 0;
  std::uint8_t history = 0;  // sends behind it, at most 255; 0: plan by the nominal model
  friend bool operator==(const RowPrediction&, const RowPrediction&) = default;
};

// What else upkeep knows of the row.
struct RowFacts {
  AgentClass agent_class = AgentClass::edge;  // a known one
  float latency_ms = 0;                       // as the column has it from now on
  float latency_before_ms = 0;                // as it had it
  float drift = 0;
  float station_processing_ms = 0;    // median, as its station measured it, at weight 1
  std::uint32_t station_samples = 0;  // behind it
  double nominal_confidence = 0;
  RowPrediction before;  // as the columns have it
};

template <class Memory = HostMemory>
class Predictor {
 public:
  static Result<Predictor> create(std::span<std::byte> bytes, std::uint32_t rows,
                                  const PredictorOptions& options);
  // After a restart, before anything else.
  [[nodiscard]] Status adopt();

  // Gather.
  void on_answer(std::uint32_t row, const Arrival& arrival) noexcept {
    arrivals_.store(row, pack(arrival));
  }
  // The same, packed by who has many of one operation.
  void on_packed(std::span<const std::uint32_t> rows,
                 std::span<const std::uint64_t> packed) noexcept {
    arrivals_.store_all(rows, packed);
  }
  void on_unanswered(std::uint32_t row) noexcept { arrivals_.miss(row); }

  // Upkeep. Nothing: what stands still holds. commit() ends a turn: classes take what its rows
  // taught, and keep it.
  [[nodiscard]] std::optional<RowPrediction> learn(std::uint32_t row,
                                                   const RowFacts& facts) noexcept;
  void commit() noexcept;
  // Whether learn() has something to take in that is the row's own.
  [[nodiscard]] bool waits(std::uint32_t row) const noexcept {
    return arrivals_.waits(row) || arrivals_.has_misses(row);
  }
  // Another one: what learn() says of a row may have changed, though nothing of the row's own did.
  [[nodiscard]] std::uint32_t generation() const noexcept { return generation_; }
  // The row goes to another agent.
  void forget(std::uint32_t row) noexcept {
    arrivals_.forget(row);
    notes_[row] = {};
  }

  void set_z(double z) noexcept {
    options_.z = z;
    ++generation_;
  }

  [[nodiscard]] WorkFactors factors(AgentClass agent_class) const noexcept {
    return classes_[static_cast<std::size_t>(agent_class)].factors;
  }
  [[nodiscard]] std::array<WorkFactors, kAgentClassCount> all_factors() const noexcept {
    std::array<WorkFactors, kAgentClassCount> all;
    for (std::size_t i = 0; i < kAgentClassCount; ++i) all[i] = classes_[i].factors;
    return all;
  }
  [[nodiscard]] const ClassLearning& learned(AgentClass agent_class) const noexcept {
    return classes_[static_cast<std::size_t>(agent_class)];
  }
  [[nodiscard]] const Arrivals<Memory>& arrivals() const noexcept { return arrivals_; }

 private:
  // Of the last estimate; gone with the engine, and made anew with the next.
  struct Note {
    float scale_ms = 0;      // 0: none was made
    std::uint16_t sure = 0;  // before calibration; 0: too little evidence to be held to it
    std::uint16_t sure_by_t = 0;
    float answers = 0;  // as in AgentEstimate
    float inside = 0;
    float inside_prior = 0;
    std::uint16_t revision = 0;  // of its class's factors
    WorkReference reference;
  };

  Predictor(Arrivals<Memory> arrivals, ClassMemory<Memory> memory,
            const PredictorOptions& options) noexcept
      : arrivals_(std::move(arrivals)), memory_(std::move(memory)), options_(options) {}

  using Samples = std::array<ArrivalSample, kArrivalsKept>;
  // All of a row's, newest first.
  std::span<const ArrivalSample> samples_of(std::uint32_t row, Samples& room) const noexcept {
    const std::uint32_t size = arrivals_.size(row);
    for (std::uint32_t age = 0; age < size; ++age) room[age] = unpack(arrivals_.newest(row, age));
    return std::span(room).first(size);
  }
  // Where the samples before the newest one stand, by the factors in force.
  [[nodiscard]] WorkReference reference_before(std::uint32_t row, std::size_t at) const noexcept {
    if (notes_[row].revision == revisions_[at]) return notes_[row].reference;
    Samples room;
    return work_reference(samples_of(row, room).subspan(1), classes_[at].factors);
  }
  void judge(std::uint32_t row, const RowFacts& facts, const ArrivalSample& sample) noexcept;
  void judge_answering(const Note& note, ClassLearning& learned, bool is_answered) noexcept;
  [[nodiscard]] RowPrediction without_samples(std::uint32_t row, const RowFacts& facts) noexcept;
  [[nodiscard]] RowPrediction with_samples(std::uint32_t row, const RowFacts& facts) noexcept;

  Arrivals<Memory> arrivals_;
  ClassMemory<Memory> memory_;
  PredictorOptions options_;
  std::array<ClassLearning, kAgentClassCount> classes_{};
  std::array<std::uint16_t, kAgentClassCount> revisions_{};
  std::array<bool, kAgentClassCount> has_learned_{};
  std::uint32_t generation_ = 1;
  std::vector<Note> notes_;
};

// Confidence as columns and records hold it.
[[nodiscard]] constexpr std::uint16_t probability_bits(double probability) noexcept {
  return static_cast<std::uint16_t>(std::clamp(probability, 0.0, 1.0) * 65'535 + 0.5);
}

template <class Memory>
Result<Predictor<Memory>> Predictor<Memory>::create(std::span<std::byte> bytes, std::uint32_t rows,
                                                    const PredictorOptions& options) {
  MESH_TRY(auto arrivals, Arrivals<Memory>::over(bytes, rows));
  MESH_TRY(auto memory, ClassMemory<Memory>::over(bytes.subspan(arrivals_bytes(rows))));
  Predictor predictor(std::move(arrivals), std::move(memory), options);
  try {
    predictor.notes_.resize(rows);
  } catch (const std::bad_alloc&) {
    return fail(Errc::no_memory, "predictor: no memory for " + std::to_string(rows) + " rows");
  }
  return predictor;
}

template <class Memory>
Status Predictor<Memory>::adopt() {
  MESH_CHECK_OK(arrivals_.adopt());
  for (std::size_t i = 0; i < kAgentClassCount; ++i) {
    MESH_TRY(classes_[i], memory_.load(i));
  }
  return {};
}

// A new sample against what was said before it came.
template <class Memory>
void Predictor<Memory>::judge(std::uint32_t row, const RowFacts& facts,
                              const ArrivalSample& sample) noexcept {
  const Note& note = notes_[row];
  const auto at = static_cast<std::size_t>(facts.agent_class);
  ClassLearning& learned = classes_[at];
  has_learned_[at] = true;
  const double predicted = static_cast<double>(facts.latency_before_ms) / 2 +
                           static_cast<double>(facts.before.work_ms) *
                               learned.factors.of(sample.weight, sample.queue_depth) +
                           static_cast<double>(facts.before.residual_centre_ms);
  const double off = sample.observed_ms - predicted;
  const bool is_hit = std::fabs(off) <= options_.tolerance_ms;
  if (note.scale_ms != 0 && arrivals_.size(row) > kStepSamples) {
    const double standardised = off / static_cast<double>(note.scale_ms);
    learned.learn_spread(standardised);
    learned.learn_off(standardised);
    learned.learn_work(sample, reference_before(row, at));
    learned.arriving.learn(static_cast<double>(note.inside_prior), static_cast<double>(note.inside),
                           is_hit);
  }
  if (note.sure == 0 || sample.late) return;
  judge_answering(note, learned, true);
  learned.learn_hit(Said::centre, note.sure / 65'535.0, is_hit);
  const double aimed_by_t = static_cast<double>(facts.before.residual_by_t_ms) -
                            static_cast<double>(facts.before.residual_centre_ms);
  learned.learn_hit(Said::by_t, note.sure_by_t / 65'535.0,
                    std::fabs(off - aimed_by_t) <= options_.tolerance_ms);
}

// An answer, or a send that found none.
template <class Memory>
void Predictor<Memory>::judge_answering(const Note& note, ClassLearning& learned,
                                        bool is_answered) noexcept {
  if (note.sure == 0) return;
  learned.answering.learn(learned.answer_share(), static_cast<double>(note.answers), is_answered);
  if (is_answered) return;
  learned.learn_hit(Said::centre, note.sure / 65'535.0, false);
  learned.learn_hit(Said::by_t, note.sure_by_t / 65'535.0, false);
}

template <class Memory>
std::optional<RowPrediction> Predictor<Memory>::learn(std::uint32_t row,
                                                      const RowFacts& facts) noexcept {
  const auto at = static_cast<std::size_t>(facts.agent_class);
  MESH_DCHECK(at < kAgentClassCount);
  const bool has_arrived = arrivals_.waits(row);
  const std::uint32_t misses = arrivals_.take_misses(row);
  const bool is_current = notes_[row].revision == revisions_[at] &&
                          facts.latency_ms == facts.latency_before_ms &&
                          (notes_[row].scale_ms != 0 || arrivals_.size(row) == 0);
  if (has_arrived) {
    arrivals_.settle(row);
    const std::uint64_t packed = arrivals_.newest(row, 0);
    judge(row, facts, unpack(packed));
    if (!is_late(packed)) classes_[at].learn_answer(true);
    has_learned_[at] = true;
  }
  for (std::uint32_t i = 0; i < misses; ++i) {
    judge_answering(notes_[row], classes_[at], false);
    classes_[at].learn_answer(false);
    has_learned_[at] = true;
  }
  if (arrivals_.size(row) == 0) {
    const RowPrediction now = without_samples(row, facts);
    return now == facts.before ? std::nullopt : std::optional(now);
  }
  if (is_current && !has_arrived && misses == 0) return std::nullopt;
  return with_samples(row, facts);
}

// What its station measured, or nothing but silence: the nominal buffer stands for the residual.
template <class Memory>
RowPrediction Predictor<Memory>::without_samples(std::uint32_t row,
                                                 const RowFacts& facts) noexcept {
  const ClassLearning& learned = classes_[static_cast<std::size_t>(facts.agent_class)];
  const std::uint32_t unanswered = arrivals_.unanswered(row);
  const double base = base_processing_ms(facts.agent_class);
  const double usual = learned.factors.of(1, 0);  // messages that are of no operation weigh 1
  const auto n = static_cast<double>(facts.station_samples);
  RowPrediction now;
  now.history = static_cast<std::uint8_t>(
      std::min<std::uint32_t>(facts.station_samples + unanswered, kArrivalsKept));
  now.work_ms = static_cast<float>(
      (n * static_cast<double>(facts.station_processing_ms) / usual + kWorkPriorSamples * base) /
      (n + kWorkPriorSamples));
  const double k = learned.answering.prior_samples();
  const double sure = facts.nominal_confidence * k / (unanswered + k);
  const bool is_evident = unanswered >= kEvidence;
  now.confidence = probability_bits(is_evident ? learned.calibrate(Said::centre, sure) : sure);
  now.confidence_by_t = now.confidence;  // there is one residual for both
  notes_[row] = {};
  if (is_evident)
    notes_[row].sure = notes_[row].sure_by_t = std::max<std::uint16_t>(probability_bits(sure), 1);
  if (now.history == 0) return now;
  const double span =
      static_cast<double>(facts.latency_ms) / 2 + static_cast<double>(now.work_ms) * usual;
  now.residual_centre_ms = static_cast<float>(options_.z * static_cast<double>(facts.drift) * span);
  now.residual_by_t_ms = now.residual_centre_ms;
  return now;
}

template <class Memory>
RowPrediction Predictor<Memory>::with_samples(std::uint32_t row, const RowFacts& facts) noexcept {
  const auto at = static_cast<std::size_t>(facts.agent_class);
  std::array<ArrivalSample, kArrivalsKept> samples;
  const std::uint32_t size = arrivals_.size(row);
  for (std::uint32_t age = 0; age < size; ++age) samples[age] = unpack(arrivals_.newest(row, age));
  const AgentEstimate found = estimate({.samples = std::span(samples).first(size),
                                        .unanswered = arrivals_.unanswered(row),
                                        .one_way_ms = static_cast<double>(facts.latency_ms) / 2,
                                        .base_processing_ms = base_processing_ms(facts.agent_class),
                                        .tolerance_ms = options_.tolerance_ms},
                                       classes_[at]);
  if (found.has_stepped) {
    arrivals_.keep_newest(row, found.used);
    classes_[at].learn_step(kStepSamples, found.has_risen);
    has_learned_[at] = true;
  }
  const bool is_evident = found.evidence >= kEvidence;
  const auto said = [&](Said which, double sure) {
    return probability_bits(is_evident ? classes_[at].calibrate(which, sure) : sure);
  };
  notes_[row] = {.scale_ms = static_cast<float>(found.scale_ms),
                 .sure = is_evident ? std::max<std::uint16_t>(probability_bits(found.sure), 1)
                                    : std::uint16_t{0},
                 .sure_by_t = probability_bits(found.sure_by_t),
                 .answers = static_cast<float>(found.answers),
                 .inside = static_cast<float>(found.inside),
                 .inside_prior = static_cast<float>(found.inside_prior),
                 .revision = revisions_[at],
                 .reference = found.reference};
  return {.work_ms = static_cast<float>(found.work_ms),
          .residual_centre_ms = static_cast<float>(found.centre_ms),
          .residual_by_t_ms = static_cast<float>(found.by_t_ms),
          .confidence = said(Said::centre, found.sure),
          .confidence_by_t = said(Said::by_t, found.sure_by_t),
          .history = static_cast<std::uint8_t>(std::min(found.evidence, 255U))};
}

template <class Memory>
void Predictor<Memory>::commit() noexcept {
  bool learned = false;
  for (std::size_t i = 0; i < kAgentClassCount; ++i) {
    if (!has_learned_[i]) continue;
    has_learned_[i] = false;
    learned = true;
    if (classes_[i].solve()) ++revisions_[i];  // its rows are made anew as their turn comes
    memory_.commit(i, classes_[i]);
  }
  if (learned) ++generation_;
}

}  // namespace mesh::sched
