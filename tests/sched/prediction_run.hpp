// PredictionRun: operations over simulated agents on virtual time, planned by the calibrated model
// through predictor and plan pass; beside it, from the same answers, what the nominal model and an
// oracle would have come to.
//
// As in the engine: station medians, shrunk, reach the columns late; an operation plans by what
// upkeep has come round to, which of four rows in ten is the operation before last's; runs are
// published up to 0.2 ms late.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sched/predictor.hpp"
#include "sched/send_plan.hpp"
#include "tests/sched/simulated_agents.hpp"
#include "tests/sched/test_mesh.hpp"

namespace mesh::sched::testing {

struct RunOptions {
  Population population = Population::demo;
  std::uint32_t agents = 6'000;
  std::uint32_t operations = 20;
  std::uint64_t seed = 1;
  Aim aim = Aim::kCentre;
  Nanos horizon{1'500 * kNsPerMs};
  Nanos bucket{kNsPerMs};
};

struct Errors {
  std::vector<double> ms;  // absolute
  void add(double error) { ms.push_back(std::fabs(error)); }
  [[nodiscard]] double percentile(double share) const {
    if (ms.empty()) return 0;
    std::vector<double> sorted = ms;
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(ms.size())));
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(rank - 1),
                     sorted.end());
    return sorted[rank - 1];
  }
  [[nodiscard]] double inside(double tolerance_ms = 50) const {
    const auto count =
        std::count_if(ms.begin(), ms.end(), [&](double error) { return error <= tolerance_ms; });
    return ms.empty() ? 0 : static_cast<double>(count) / static_cast<double>(ms.size());
  }
};

struct Figures {
  Errors calibrated, nominal, oracle;
  Errors low_jitter, low_jitter_oracle;  // agents whose own jitter is under 2 ms
  std::uint64_t at_or_before = 0;        // T
  std::uint64_t late = 0;
  std::uint64_t skipped = 0;
  [[nodiscard]] double by_t() const {
    return static_cast<double>(at_or_before) / static_cast<double>(at_or_before + late);
  }
};

// Said in steps of 5 %.
struct Reliability {
  struct Step {
    double said = 0;
    double hit = 0;
    std::uint64_t n = 0;
  };
  std::array<Step, 20> steps{};
  void add(double said, bool is_hit) {
    Step& step = steps[std::min<std::size_t>(static_cast<std::size_t>(said * 20), 19)];
    step.said += said;
    step.hit += is_hit ? 1 : 0;
    ++step.n;
  }
  // The largest distance of said and hit, where so many were said, from 0.5 on.
  [[nodiscard]] double worst(std::uint64_t least = 500) const {
    double worst = 0;
    for (std::size_t i = 10; i < steps.size(); ++i) {
      if (steps[i].n < least) continue;
      worst = std::fmax(worst,
                        std::fabs(steps[i].said - steps[i].hit) / static_cast<double>(steps[i].n));
    }
    return worst;
  }
};

class PredictionRun {
 public:
  explicit PredictionRun(const RunOptions& options)
      : options_(options),
        agents_(options.population, options.agents, options.seed),
        mesh_(options.agents),
        planner_(SendPlanner::create(options.agents).value()),
        nominal_(SendPlanner::create(options.agents).value()),
        bytes_(predictor_bytes(options.agents) + 64),
        predictor_(Predictor<>::create(aligned(), options.agents, {}).value()),
        stations_(options.agents) {
    for (std::uint32_t row = 0; row < options.agents; ++row) {
      const AgentClass label = agents_.agents()[row].label;
      mesh_.set(row, {.agent_class = label,
                      .latency_ms = static_cast<float>(prior_latency_ms(label)),
                      .drift = static_cast<float>(kPriorDrift)});
      mesh_.work[row] = static_cast<float>(base_processing_ms(label));
    }
  }

  // Plays one operation; its figures.
  Figures operate() {
    const PlanRequest request = next_request();
    for (std::uint32_t row = 0; row < options_.agents; ++row) {
      mesh_.heartbeat[row] = request.now_mesh_ms;
      loads_.resize(options_.agents);
      loads_[row] = agents_.load(operation_, request.weight);
      mesh_.queue[row] = loads_[row].queue_depth;
    }
    const PlanParameters parameters = PlanParameters::make(request).value();
    PlanRequest plain = request;
    plain.model = Model::kNominal;
    EXPECT_EQ(planner_.plan(parameters, mesh_.learned_columns(request.aim), {}),
              PlanOutcome::kPlanned);
    EXPECT_EQ(nominal_.plan(PlanParameters::make(plain).value(), mesh_.columns(), {}),
              PlanOutcome::kPlanned);
    Figures figures;
    for (std::uint32_t row = 0; row < options_.agents; ++row) {
      const std::uint16_t key = planner_.key()[row];
      if (key >= kKeyFirstReserved) {
        ++figures.skipped;
        continue;
      }
      deliver(row, key * options_.bucket.count(), figures);
    }
    for (std::uint32_t row = 0; row < options_.agents; ++row) {
      if (agents_.unit() < 0.6) upkeep(row);
    }
    predictor_.commit();
    ++operation_;
    return figures;
  }
  // All operations; figures of the last five together.
  Figures play() {
    Figures last;
    while (operation_ < options_.operations) {
      const bool counts = operation_ + 5 >= options_.operations;
      const Figures figures = operate();
      if (counts) add(figures, last);
    }
    return last;
  }

  [[nodiscard]] const Reliability& reliability() const { return reliability_; }
  [[nodiscard]] const Predictor<>& predictor() const { return predictor_; }
  [[nodiscard]] const TestMesh& mesh() const { return mesh_; }
  [[nodiscard]] SimulatedAgents& agents() { return agents_; }

  // Visits a row as the engine's upkeep does.
  void upkeep(std::uint32_t row) {
    const auto label = static_cast<AgentClass>(mesh_.agent_class[row]);
    Station& station = stations_[row];
    RowFacts facts;
    facts.agent_class = label;
    facts.latency_before_ms = mesh_.latency[row];
    facts.before = {mesh_.work[row],
                    mesh_.residual_centre[row],
                    mesh_.residual_by_t[row],
                    mesh_.learned_confidence[row],
                    mesh_.learned_confidence_by_t[row],
                    mesh_.history[row]};
    if (!station.latency_ms.empty()) {
      const auto n = static_cast<double>(station.latency_ms.size());
      const auto shrunk = [&](double own, double prior) {
        return static_cast<float>((n * own + 8 * prior) / (n + 8));
      };
      mesh_.latency[row] = shrunk(median(station.latency_ms), prior_latency_ms(label));
      mesh_.drift[row] = shrunk(drift(station.latency_ms), kPriorDrift);
      facts.station_processing_ms = static_cast<float>(median(station.processing_ms));
      facts.station_samples = static_cast<std::uint32_t>(n);
    }
    facts.latency_ms = mesh_.latency[row];
    facts.drift = mesh_.drift[row];
    facts.nominal_confidence = nominal(mesh_.inputs(row, mesh_.heartbeat[row]), {}).confidence;
    const auto learned = predictor_.learn(row, facts);
    if (!learned) return;
    mesh_.work[row] = learned->work_ms;
    mesh_.residual_centre[row] = learned->residual_centre_ms;
    mesh_.residual_by_t[row] = learned->residual_by_t_ms;
    mesh_.learned_confidence[row] = learned->confidence;
    mesh_.learned_confidence_by_t[row] = learned->confidence_by_t;
    mesh_.history[row] = learned->history;
  }
  // A direct message: only its station measures it.
  void direct_message(std::uint32_t row) {
    const SimulatedDelivery drawn = agents_.deliver(row, {operation_, 1, 0});
    note(row, drawn);
  }

 private:
  struct Station {
    std::vector<double> latency_ms, processing_ms;
  };

  std::span<std::byte> aligned() {
    void* at = bytes_.data();
    std::size_t space = bytes_.size();
    std::align(64, predictor_bytes(options_.agents), at, space);
    return {static_cast<std::byte*>(at), space};
  }
  PlanRequest next_request() {
    PlanRequest request;
    request.now = from_ns((1'000 + 2 * std::int64_t{operation_}) * kNsPerSecond);
    request.target = request.now + options_.horizon;
    request.now_mesh_ms = 1'000'000 + 2'000 * operation_;
    request.weight = agents_.weight();
    request.bucket_width = options_.bucket;
    request.aim = options_.aim;
    request.model = Model::kCalibrated;
    request.factors = predictor_.all_factors();
    return request;
  }
  void note(std::uint32_t row, const SimulatedDelivery& drawn) {
    Station& station = stations_[row];
    station.latency_ms.push_back(2 * drawn.delay_ms);
    station.processing_ms.push_back(drawn.processing_ms);
  }
  void deliver(std::uint32_t row, std::int64_t bucket_ns, Figures& figures) {
    const SimulatedAgent& agent = agents_.agents()[row];
    const SimulatedDelivery drawn = agents_.deliver(row, loads_[row]);
    const double lateness_ms = 0.2 * agents_.unit();
    const double horizon_ms = static_cast<double>(options_.horizon.count()) / 1e6;
    const double error =
        static_cast<double>(bucket_ns) / 1e6 + lateness_ms + drawn.total_ms() - horizon_ms;
    const bool is_hit = drawn.answered && std::fabs(error) <= 50;
    // The last half of the operations: what was said before evidence is not held to account.
    if (2 * operation_ >= options_.operations && mesh_.history[row] != 0) {
      reliability_.add(planner_.confidence()[row] / 65'535.0, is_hit);
    }
    if (!drawn.answered) {
      predictor_.on_unanswered(row);
      return;
    }
    note(row, drawn);
    predictor_.on_answer(row,
                         {.observed_ns = static_cast<std::int64_t>(drawn.total_ms() * 1e6),
                          .processing_ns = static_cast<std::int64_t>(drawn.processing_ms * 1e6),
                          .weight = loads_[row].weight,
                          .queue_depth = loads_[row].queue_depth});
    const double oracle = drawn.total_ms() - agents_.median_ms(row, loads_[row]);
    figures.calibrated.add(error);
    figures.nominal.add(drawn.total_ms() - nominal_lead_ms(row));
    figures.oracle.add(oracle);
    ++(error <= 0 ? figures.at_or_before : figures.late);
    if (agent.jitter_ms() >= 2) return;
    figures.low_jitter.add(error);
    figures.low_jitter_oracle.add(oracle);
  }
  double nominal_lead_ms(std::uint32_t row) {
    if (nominal_.lead()[row] != kLeadFar) return nominal_.lead()[row] / 62'500.0;
    return nominal(mesh_.inputs(row, mesh_.heartbeat[row]), {.weight = loads_[row].weight}).lead_ms;
  }
  static void add(const Figures& of, Figures& sum) {
    const auto append = [](const Errors& from, Errors& to) {
      to.ms.insert(to.ms.end(), from.ms.begin(), from.ms.end());
    };
    append(of.calibrated, sum.calibrated);
    append(of.nominal, sum.nominal);
    append(of.oracle, sum.oracle);
    append(of.low_jitter, sum.low_jitter);
    append(of.low_jitter_oracle, sum.low_jitter_oracle);
    sum.at_or_before += of.at_or_before;
    sum.late += of.late;
    sum.skipped += of.skipped;
  }
  static double median(std::vector<double> values) {
    const auto at = static_cast<std::ptrdiff_t>((values.size() + 1) / 2 - 1);
    std::nth_element(values.begin(), values.begin() + at, values.end());
    return values[static_cast<std::size_t>(at)];
  }
  static double drift(const std::vector<double>& values) {
    double mean = 0, variance = 0;
    const auto n = static_cast<double>(values.size());
    for (const double value : values) mean += value / n;
    for (const double value : values) variance += (value - mean) * (value - mean) / n;
    return mean > 0 ? std::sqrt(variance) / mean : 0;
  }

  RunOptions options_;
  SimulatedAgents agents_;
  TestMesh mesh_;
  SendPlanner planner_, nominal_;
  std::vector<std::byte> bytes_;
  Predictor<> predictor_;
  std::vector<Station> stations_;
  std::vector<Load> loads_;
  std::uint32_t operation_ = 0;
  Reliability reliability_;
};

}  // namespace mesh::sched::testing
