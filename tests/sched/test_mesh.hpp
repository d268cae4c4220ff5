// TestMesh: columns as the table holds them (aligned, padded), filled by hand, realistically or
// with any bits.
#pragma once

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "sched/lead_time_columns.hpp"

namespace mesh::sched::testing {

template <class T>
class AlignedColumn {
 public:
  explicit AlignedColumn(std::size_t rows)
      : bytes_((rows * sizeof(T) + kPlanAlignment - 1) / kPlanAlignment * kPlanAlignment),
        data_(
            static_cast<T*>(std::aligned_alloc(kPlanAlignment, std::max(bytes_, kPlanAlignment)))) {
    std::fill_n(data_.get(), bytes_ / sizeof(T), T{});
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](std::size_t row) { return data_.get()[row]; }
  const T& operator[](std::size_t row) const { return data_.get()[row]; }

 private:
  struct Free {
    void operator()(T* memory) const { std::free(memory); }
  };
  std::size_t bytes_;
  std::unique_ptr<T, Free> data_;
};

struct Agent {
  AgentClass agent_class = AgentClass::edge;
  float latency_ms = 0;
  float drift = 0;
  float reliability = 1;
  std::uint32_t queue_depth = 0;
  std::uint32_t heartbeat_ms = 0;
};

struct TestMesh {
  explicit TestMesh(std::uint32_t count)
      : rows(count),
        latency(count),
        drift(count),
        reliability(count),
        queue(count),
        heartbeat(count),
        agent_class(count),
        eligible(count / 64 + 1),
        work(count),
        residual_centre(count),
        residual_by_t(count),
        learned_confidence(count),
        learned_confidence_by_t(count),
        history(count) {}

  void set(std::size_t row, const Agent& agent) {
    latency[row] = agent.latency_ms;
    drift[row] = agent.drift;
    reliability[row] = agent.reliability;
    queue[row] = agent.queue_depth;
    heartbeat[row] = agent.heartbeat_ms;
    agent_class[row] = static_cast<std::uint8_t>(agent.agent_class);
  }
  ImpedanceColumns columns(bool with_eligible = false) const {
    return {latency.data(),
            drift.data(),
            reliability.data(),
            queue.data(),
            heartbeat.data(),
            agent_class.data(),
            with_eligible ? eligible.data() : nullptr,
            rows,
            {}};
  }
  // With what was learned too.
  ImpedanceColumns learned_columns(Aim aim, bool with_eligible = false) const {
    ImpedanceColumns all = columns(with_eligible);
    all.learned = {work.data(), aim == Aim::kCentre ? residual_centre.data() : residual_by_t.data(),
                   (aim == Aim::kCentre ? learned_confidence : learned_confidence_by_t).data(),
                   history.data()};
    return all;
  }
  CalibratedInputs calibrated_inputs(std::size_t row, const PlanRequest& request) const {
    CalibratedInputs agent;
    agent.nominal = inputs(row, request.now_mesh_ms);
    agent.has_history = history[row] != 0;
    agent.work_ms = work[row];
    agent.residual_ms = (request.aim == Aim::kCentre ? residual_centre : residual_by_t)[row];
    agent.confidence =
        (request.aim == Aim::kCentre ? learned_confidence : learned_confidence_by_t)[row] /
        65'535.0;
    agent.factors = request.factors[agent_class[row] % kAgentClassCount];
    return agent;
  }
  bool is_eligible(std::size_t row) const { return ((eligible[row / 64] >> (row % 64)) & 1) != 0; }
  NominalInputs inputs(std::size_t row, std::uint32_t now_mesh_ms) const {
    return {
        .agent_class = static_cast<AgentClass>(agent_class[row]),
        .latency_ms = latency[row],
        .drift = drift[row],
        .reliability = reliability[row],
        .queue_depth = queue[row],
        .heartbeat_age = Nanos{static_cast<std::int32_t>(now_mesh_ms - heartbeat[row]) * kNsPerMs}};
  }

  std::uint32_t rows;
  AlignedColumn<float> latency, drift, reliability;
  AlignedColumn<std::uint32_t> queue, heartbeat;
  AlignedColumn<std::uint8_t> agent_class;
  AlignedColumn<std::uint64_t> eligible;
  AlignedColumn<float> work, residual_centre, residual_by_t;
  AlignedColumn<std::uint16_t> learned_confidence, learned_confidence_by_t;
  AlignedColumn<std::uint8_t> history;
};

struct TestPlan {
  explicit TestPlan(std::uint32_t rows) : lead(rows), confidence(rows), key(rows), base(rows) {}
  PlanColumns columns() { return {lead.data(), confidence.data(), key.data(), base.data()}; }
  AlignedColumn<std::int32_t> lead;
  AlignedColumn<std::uint16_t> confidence, key;
  AlignedColumn<std::int32_t> base;
};

// Agents as a mesh has them: all valid, classes A-F, leads of 10 ms to some seconds, humans beyond
// 34 s.
inline void fill_realistic(TestMesh& mesh, std::mt19937_64& random, std::uint32_t now_mesh_ms) {
  const auto unit = [&] { return static_cast<float>(random() >> 40) / 16'777'216.0F; };
  for (std::size_t row = 0; row < mesh.rows; ++row) {
    const auto agent_class = static_cast<AgentClass>(random() % kAgentClassCount);
    mesh.set(row,
             {.agent_class = agent_class,
              .latency_ms = static_cast<float>(prior_latency_ms(agent_class)) * (0.5F + unit()),
              .drift = unit() * 0.6F,
              .reliability = unit(),
              .queue_depth = static_cast<std::uint32_t>(random() % 8),
              .heartbeat_ms = now_mesh_ms - static_cast<std::uint32_t>(random() % 20'000)});
  }
}

// What is learned of such agents; one in four without history.
inline void fill_learned(TestMesh& mesh, std::mt19937_64& random) {
  const auto unit = [&] { return static_cast<float>(random() >> 40) / 16'777'216.0F; };
  for (std::size_t row = 0; row < mesh.rows; ++row) {
    const auto agent_class = static_cast<AgentClass>(mesh.agent_class[row]);
    mesh.work[row] = static_cast<float>(base_processing_ms(agent_class)) * (0.4F + 2 * unit());
    mesh.residual_centre[row] = (unit() - 0.5F) * 100;
    mesh.residual_by_t[row] = mesh.residual_centre[row] + unit() * 100;
    mesh.learned_confidence[row] = static_cast<std::uint16_t>(random());
    mesh.learned_confidence_by_t[row] = static_cast<std::uint16_t>(random());
    mesh.history[row] = static_cast<std::uint8_t>(random() % 4 == 0 ? 0 : 1 + random() % 32);
  }
}

// Any bit pattern, spiced with the values where comparisons turn.
inline void fill_any_bits(TestMesh& mesh, std::mt19937_64& random, std::uint32_t now_mesh_ms) {
  static constexpr std::uint32_t kEdges[] = {0x0000'0000, 0x8000'0000, 0x0000'0001, 0x8000'0001,
                                             0x007F'FFFF, 0x0080'0000,  // 0, -0, denormals
                                             0x3F80'0000, 0x3F80'0001, 0x3F7F'FFFF, 0x7F7F'FFFF,
                                             0x7F80'0000, 0xFF80'0000,  // 1, max, inf
                                             0x7FC0'0000, 0xFFC0'0000, 0x7F80'0001, 0x4348'0000,
                                             0x3DCC'CCCD, 0xBF80'0000};  // NaN, 200, 0.1, -1
  const auto word = [&](std::uint32_t usual) {
    switch (random() % 4) {
      case 0:
        return static_cast<std::uint32_t>(random());
      case 1:
        return kEdges[random() % std::size(kEdges)];
      default:
        return usual;
    }
  };
  fill_realistic(mesh, random, now_mesh_ms);
  for (std::size_t row = 0; row < mesh.rows; ++row) {
    mesh.latency[row] = std::bit_cast<float>(word(std::bit_cast<std::uint32_t>(mesh.latency[row])));
    mesh.drift[row] = std::bit_cast<float>(word(std::bit_cast<std::uint32_t>(mesh.drift[row])));
    mesh.reliability[row] =
        std::bit_cast<float>(word(std::bit_cast<std::uint32_t>(mesh.reliability[row])));
    mesh.queue[row] = word(mesh.queue[row]);
    mesh.heartbeat[row] = random() % 4 != 0
                              ? now_mesh_ms - 10'000 + static_cast<std::uint32_t>(random() % 5) - 2
                              : word(mesh.heartbeat[row]);
    if (random() % 8 == 0) mesh.agent_class[row] = static_cast<std::uint8_t>(random());
  }
  fill_learned(mesh, random);
  for (std::size_t row = 0; row < mesh.rows; ++row) {
    mesh.work[row] = std::bit_cast<float>(word(std::bit_cast<std::uint32_t>(mesh.work[row])));
    mesh.residual_centre[row] =
        std::bit_cast<float>(word(std::bit_cast<std::uint32_t>(mesh.residual_centre[row])));
  }
  for (std::size_t word_at = 0; word_at <= mesh.rows / 64; ++word_at)
    mesh.eligible[word_at] = random();
}

}  // namespace mesh::sched::testing
