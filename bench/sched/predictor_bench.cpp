// What the calibrated model costs: a sample in gather, and upkeep's turn for a row.
//
//     on_answer       30,000 samples in row order, none waiting
//     learn_new       a row with 32 samples and a new one: judge, settle, estimate
//     learn_nothing   a row of which nothing new is known
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include "sched/predictor.hpp"

namespace mesh::sched {
namespace {

constexpr std::uint32_t kRows = 30'000;

struct Mesh {
  Mesh()
      : bytes(static_cast<std::byte*>(std::aligned_alloc(64, size()))),
        predictor(Predictor<>::create(cleared(), kRows, {}).value()),
        rows(kRows) {
    for (RowPrediction& row : rows) row = {50, 0, 0, 40'000, 0};
    std::mt19937_64 random(1);
    for (Arrival& arrival : arrivals) {
      arrival = {.observed_ns = static_cast<std::int64_t>(120 * kNsPerMs + random() % kNsPerMs * 9),
                 .processing_ns = 75 * kNsPerMs,
                 .weight = 1};
    }
    for (unsigned i = 0; i < 40; ++i) {
      for (std::uint32_t row = 0; row < kRows; ++row) answer(row, i), learn(row);
      predictor.commit();
    }
  }
  static std::size_t size() { return (predictor_bytes(kRows) + 63) / 64 * 64; }
  std::span<std::byte> cleared() {
    std::memset(bytes.get(), 0, size());
    return {bytes.get(), size()};
  }
  void answer(std::uint32_t row, unsigned turn) {
    predictor.on_answer(row, arrivals[(row + turn * 7) % arrivals.size()]);
  }
  void learn(std::uint32_t row) {
    RowFacts facts;
    facts.agent_class = AgentClass::serverless;
    facts.latency_ms = facts.latency_before_ms = 90;
    facts.drift = 0.1F;
    facts.nominal_confidence = 0.6;
    facts.before = rows[row];
    if (const auto learned = predictor.learn(row, facts)) rows[row] = *learned;
  }

  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> bytes;
  Predictor<> predictor;
  std::vector<RowPrediction> rows;
  std::array<Arrival, 1'009> arrivals{};
};

Mesh& mesh_of_agents() {
  static Mesh mesh;
  return mesh;
}

void on_answer(benchmark::State& state) {
  Mesh& mesh = mesh_of_agents();
  std::uint32_t row = 0;
  for (auto _ : state) {
    mesh.answer(row, 0);
    if (++row < kRows) continue;
    state.PauseTiming();
    for (row = 0; row < kRows; ++row) mesh.learn(row);
    mesh.predictor.commit();
    row = 0;
    state.ResumeTiming();
  }
}
BENCHMARK(on_answer)->Name("Predictor/on_answer")->Iterations(std::int64_t{20} * kRows);

void learn_new(benchmark::State& state) {
  Mesh& mesh = mesh_of_agents();
  std::uint32_t row = 0;
  unsigned turn = 0;
  for (auto _ : state) {
    mesh.answer(row, turn);
    mesh.learn(row);
    if (++row == kRows) row = 0, ++turn;
  }
}
BENCHMARK(learn_new)->Name("Predictor/learn_new");

void learn_nothing(benchmark::State& state) {
  Mesh& mesh = mesh_of_agents();
  for (std::uint32_t row = 0; row < kRows; ++row) mesh.learn(row);
  std::uint32_t row = 0;
  for (auto _ : state) {
    mesh.learn(row);
    if (++row == kRows) row = 0;
  }
}
BENCHMARK(learn_nothing)->Name("Predictor/learn_nothing");

}  // namespace
}  // namespace mesh::sched
