// OperatorHolds: agents that the operator has taken out of the traffic: as a bit a row, for the
// loop. The column `routing` governs; a successor makes the bits anew from it.
//
// Callers     the phases of the loop, and between ticks.
// Progress    is_around(): a compare while nobody is held, a load otherwise. No allocation.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/loop/engine_loop.hpp"

namespace mesh::engine {

struct OperatorHolds {
  std::vector<std::uint64_t> around;  // a bit for each row that the operator routes around
  std::uint32_t around_count = 0;

  [[nodiscard]] bool is_around(std::uint32_t row) const noexcept {
    return around_count != 0 && (around[row / 64] >> (row % 64) & 1U) != 0;
  }
};

// At set-up, from the table.
void adopt_holds(EngineLoop::State& loop);
// Of those eligible for an operation: how many are routed around, and are eligible no longer.
[[nodiscard]] std::uint32_t drop_routed_around(EngineLoop::State& loop) noexcept;
[[nodiscard]] Status verify_holds(const EngineLoop::State& loop);

}  // namespace mesh::engine
