// Activity: what an agent says that it is doing: its task, whom or what it waits for, and since
// when. It stands in its station's own memory: the station's pump writes it, the engine reads it
// when an operator asks (mesh who), and nobody copies it meanwhile.
//
// Callers     ActivityColumns::write: the station's pump. ActivityViews::read: any thread of the
//             engine.
// Progress    write: wait-free, some twenty stores. read: at most shm::kReadAttempts tries.
// Ordering    a row is read as one (shm/row_seqlock.hpp).
// Units       HostTime of the mesh's clock.
// If the      dies while it writes: that row is not read any more. It lies: the row says whose it
// other side  is, texts are checked as names are, and whether the agent is this station's is the
// dies        reader's to ask the table.
// or lies
// Errors      check -> invalid_argument. over -> as Layout::column.
// Layout      docs/SHM_LAYOUT.md: station.out, activity.*.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/agent_columns.hpp"
#include "engine/agent_name.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/columns.hpp"
#include "shm/layout.hpp"
#include "shm/row_seqlock.hpp"

namespace mesh::engine {

// It may have begun before this host's clock did.
inline constexpr Nanos kActivityAgeMax{std::int64_t{3'650} * 86'400 * kNsPerSecond};

// Both texts as names are: UTF-8 of one line, at most kAgentNameBytes.
struct Activity {
  std::string_view task;             // empty: it says nothing
  std::string_view waiting_on = {};  // an agent's name, or any words; empty: for nothing
  HostTime since{};                  // at most kActivityAgeMax ago; zero: now
};

struct SeenActivity {
  AgentId agent{};
  std::string task;
  std::string waiting_on;
  std::int64_t since_ns = 0;
};

struct ActivityColumns {
  static Result<ActivityColumns> over(const shm::Layout& layout, std::span<std::byte> out);
  // `activity` was checked. `since_ns`: what stands for it.
  void write(std::size_t place, AgentId agent, const Activity& activity,
             std::int64_t since_ns) const noexcept;

  shm::Column<HostMemory, std::uint32_t> sequence;
  shm::Column<HostMemory, AgentId> agent;
  shm::Column<HostMemory, std::int64_t> since_ns;
  shm::Column<HostMemory, std::uint64_t> task, waiting_on;  // kNameWords a row
};

struct ActivityViews {
  static Result<ActivityViews> over(std::uint32_t agents, std::span<const std::byte> out);
  [[nodiscard]] std::size_t rows() const noexcept { return sequence.rows(); }
  // None: nothing is said there, or nothing that can be.
  [[nodiscard]] std::optional<SeenActivity> read(std::size_t place) const;

  shm::ColumnView<HostMemory, std::uint32_t> sequence;
  shm::ColumnView<HostMemory, AgentId> agent;
  shm::ColumnView<HostMemory, std::int64_t> since_ns;
  shm::ColumnView<HostMemory, std::uint64_t> task, waiting_on;
};

// Whether it can be said, at `now`.
Status check(const Activity& activity, HostTime now);

}  // namespace mesh::engine
