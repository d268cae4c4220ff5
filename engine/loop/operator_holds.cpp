#include "engine/loop/operator_holds.hpp"

#include <bit>
#include <string>

#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

bool is_around(const EngineLoop::State& loop, std::uint32_t row) noexcept {
  return (own(loop.agents.routing, row) & kRoutedAround) != 0;
}

}  // namespace

void adopt_holds(EngineLoop::State& loop) {
  OperatorHolds& holds = loop.gate.holds;
  holds.around.assign(loop.active.size(), 0);
  holds.around_count = 0;
  for (std::uint32_t row = 0; row < loop.row_count; ++row) {
    if (!is_around(loop, row)) continue;
    holds.around[row / 64] |= std::uint64_t{1} << (row % 64);
    ++holds.around_count;
  }
}

std::uint32_t drop_routed_around(EngineLoop::State& loop) noexcept {
  const OperatorHolds& holds = loop.gate.holds;
  if (holds.around_count == 0) return 0;
  std::uint32_t dropped = 0;
  std::uint64_t* const words = loop.eligible.front().words;
  for (std::size_t word = 0; word < holds.around.size(); ++word) {
    dropped += static_cast<std::uint32_t>(std::popcount(words[word] & holds.around[word]));
    words[word] &= ~holds.around[word];
  }
  return dropped;
}

Status verify_holds(const EngineLoop::State& loop) {
  std::uint32_t counted = 0;
  for (std::uint32_t row = 0; row < loop.row_count; ++row) {
    counted += is_around(loop, row) ? 1U : 0U;
    if (is_around(loop, row) == loop.gate.holds.is_around(row)) continue;
    return fail(Errc::corrupt,
                "holds: row " + std::to_string(row) +
                    " is routed around in the table or here, not "
                    "in both",
                row);
  }
  if (counted == loop.gate.holds.around_count) return {};
  return fail(Errc::corrupt, "holds: " + std::to_string(counted) + " agents are routed around, " +
                                 std::to_string(loop.gate.holds.around_count) + " counted");
}

// The column is stored first: whoever dies here has held the agent for his successor.
Result<bool> EngineLoop::route_around(AgentId agent, bool around) {
  State& state = *state_;
  MESH_TRY(const AgentIndex index, state.registry->find(agent));
  const auto row = static_cast<std::uint32_t>(index);
  OperatorHolds& holds = state.gate.holds;
  if (holds.is_around(row) == around) return false;
  const std::uint8_t others =
      own(state.agents.routing, row) & static_cast<std::uint8_t>(~kRoutedAround);
  put(state.agents.routing, row,
      static_cast<std::uint8_t>(around ? others | kRoutedAround : others));
  holds.around[row / 64] ^= std::uint64_t{1} << (row % 64);
  holds.around_count += around ? 1U : ~std::uint32_t{0};
  return true;
}

}  // namespace mesh::engine
