// OperatorHolds: agents that the operator, or the mesh itself, has taken out of the traffic: as a
// bit a row, for the loop. The column `routing` governs; a successor makes the bits anew from it.
//
// Callers     the phases of the loop, and between ticks.
// Progress    is_around(): a compare while nobody is held, a load otherwise. No allocation.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "engine/console/routing_rules.hpp"
#include "engine/loop/engine_loop.hpp"
#include "sched/agent_class.hpp"

namespace mesh::engine {

struct StationLink;

struct OperatorHolds {
  // A bit for each row that nothing new is sent to: routed around, in quarantine, or a newcomer.
  std::vector<std::uint64_t> around;
  std::vector<std::uint64_t> frozen;         // and for each whose delivery is paused, also these:
  std::vector<std::uint64_t> awaiting;       // and for each not frozen, whose context is awaited
  std::vector<std::uint64_t> quarantined;    // and for each in quarantine
  std::vector<std::uint64_t> routed_around;  // and for each that the operator routes around
  std::vector<std::uint64_t> newcomers;      // and for each that is not admitted yet
  std::vector<std::uint64_t> spiking;        // and for each whose score is over twice its own
  std::uint32_t around_count = 0;
  std::uint32_t frozen_count = 0;
  std::uint32_t awaiting_count = 0;
  std::uint32_t quarantined_count = 0;
  std::uint32_t routed_around_count = 0;
  std::uint32_t newcomer_count = 0;
  std::uint32_t spiking_count = 0;
  std::vector<std::uint64_t> wrong_hash;       // by row: the wrong context hash that was told last
  std::vector<std::int64_t> context_since_ns;  // by row: when what is expected became its context
  // What the routing rules take away, by row; empty while there are none.
  std::vector<CapabilitySet> denied;
  std::array<CapabilitySet, sched::kAgentClassCount> denied_by_class{};
  console::RoutingRules rules;

  [[nodiscard]] bool is_around(std::uint32_t row) const noexcept {
    return around_count != 0 && (around[row / 64] >> (row % 64) & 1U) != 0;
  }
  [[nodiscard]] bool is_frozen(std::uint32_t row) const noexcept {
    return frozen_count != 0 && (frozen[row / 64] >> (row % 64) & 1U) != 0;
  }
  [[nodiscard]] bool is_newcomer(std::uint32_t row) const noexcept {
    return newcomer_count != 0 && (newcomers[row / 64] >> (row % 64) & 1U) != 0;
  }
  [[nodiscard]] bool is_quarantined(std::uint32_t row) const noexcept {
    return quarantined_count != 0 && (quarantined[row / 64] >> (row % 64) & 1U) != 0;
  }
};

// At set-up, from the table.
void adopt_holds(EngineLoop::State& loop);
// What newcomers are to an operation: it is theirs, and being one is no hold; they were named, and
// are held like others; or it is for a place, a class or all, and not meant for them.
enum class ToNewcomers : std::uint8_t { theirs, named, not_meant };
// Of those eligible for an operation: how many are held, either way, and are eligible no longer.
// For whom it is not meant is not eligible, and not among them.
[[nodiscard]] std::uint32_t drop_held(EngineLoop::State& loop, ToNewcomers to) noexcept;
// The same for those that spike: of an operation for a place, a class or all, and of a cascade. Who
// is named by its sender gets it.
[[nodiscard]] std::uint32_t drop_spiking(EngineLoop::State& loop) noexcept;
// Takes one hold away, or adds one. Who leads what is for the caller.
void take_hold(EngineLoop::State& loop, std::uint32_t row, std::uint8_t hold) noexcept;
void release_hold(EngineLoop::State& loop, std::uint32_t row, std::uint8_t hold) noexcept;
// Where a message to this row goes now; null: nowhere, it waits.
[[nodiscard]] StationLink* route_of(const EngineLoop::State& loop, std::uint32_t row) noexcept;
// The rules anew for one row, whose tenant has come, or for all.
void obey_rules(EngineLoop::State& loop, std::uint32_t row);
void obey_rules(EngineLoop::State& loop);
[[nodiscard]] Status verify_holds(const EngineLoop::State& loop);

}  // namespace mesh::engine
