// FaultBoard: the faults that the engine says are to act on agents, as they stand in the table.
//
// Callers     the engine's scheduler thread, the one writer. over(): set-up.
// Progress    wait-free; O(kFaultRows).
// Ordering    rows happen-before the generation that a station loads.          SYNC chaos.rows
// If the      engine dies: what stands acts until it expires; a row that was half written is freed
// other side  by the next engine, which goes on with the others.
// dies
// Errors      over -> as shm::Layout's. inject -> capacity: nothing of it is there.
// Invariant   armed == (a row is in use).
// Layout      chaos.* of the table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/station/agent_fault.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/layout.hpp"

namespace mesh::engine {

class FaultBoard {
 public:
  // Goes on from what stands there: zeros when it is new.
  static Result<FaultBoard> over(const shm::Layout& layout, std::span<std::byte> table);

  // All of one order; given again it is the same.
  Status inject(std::span<const AgentFault> faults);
  // Other figures for an order that acts; its agents, kind and end stay. How many rows it has.
  std::size_t change(const AgentFault& figures) noexcept;
  // How many rows it had.
  std::size_t undo(std::uint64_t injection) noexcept;
  // Frees what does not act any more.
  void sweep(HostTime now) noexcept;
  // Rows of an order that act.
  [[nodiscard]] std::size_t in_force(std::uint64_t injection, HostTime now) const noexcept;
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  template <class Which>
  std::size_t free_rows(Which&& which) noexcept;
  [[nodiscard]] bool is_free(std::size_t row) const noexcept {
    return rows_.agent.load_relaxed(row) == AgentId{};  // relaxed: this thread is the only writer
  }
  void publish() noexcept;

  FaultColumns rows_;
  ShmWord<std::uint8_t>* armed_ = nullptr;
  ShmWord<std::uint64_t>* generation_ = nullptr;
  std::size_t used_ = 0;
};

}  // namespace mesh::engine
