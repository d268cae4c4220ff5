// Observer: a mesh's table as any process may see it, without being one of its stations.
//
// Callers     one thread. open(): set-up; the connection stays open, and tells whether the engine
//             is there.
// Progress    wait-free: a row is read in at most shm::kReadAttempts tries, then it is busy.
// Ordering    the fields of one row belong together (shm/row_seqlock.hpp); rows do not.
// Cost        a row: some thirty loads. No system call.
// If the      engine dies: the last that it wrote stands; engine_is_there() looks. Its successor
// other side  goes on with the same table, or the observer is opened anew.
// dies        It lies: numbers are numbers, names are checked before they are shown.
// or lies
// Errors      open -> no_mesh, permission_denied, version_skew, layout_mismatch,
//             page_size_mismatch, and as shm::attach.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/agent_rows.hpp"
#include "engine/memory_map.hpp"
#include "engine/station/control_client.hpp"
#include "sched/clock.hpp"
#include "shm/mapping.hpp"
#include "shm/mapping_header.hpp"

namespace mesh::engine {

// One agent, at one moment.
struct ObservedAgent {
  AgentId id{};
  std::string name;
  AgentState state = AgentState::free;
  sched::AgentClass agent_class = sched::AgentClass::edge;
  StationId station = kNoStation;
  std::uint32_t incarnation = 0;
  std::uint32_t sector = kNoPlace;
  std::uint32_t cluster = kNoPlace;
  float latency_ms = 0;
  float processing_ms = 0;
  float drift = 0;
  float reliability = 0;
  std::uint32_t queue_depth = 0;
  std::uint16_t score = 0;
  std::uint16_t confidence = 0;  // in 1/65535
  std::uint16_t confidence_by_t = 0;
  std::uint32_t heartbeat_age_ms = 0;
};

class Observer {
 public:
  static Result<std::unique_ptr<Observer>> open(const std::string& directory,
                                                const ConnectOptions& options);

  ~Observer();
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  [[nodiscard]] std::size_t rows() const noexcept { return static_cast<std::size_t>(mesh_.agents); }
  // None: the row is free, or it changes too fast to be read just now.
  [[nodiscard]] std::optional<ObservedAgent> agent(AgentIndex row);
  // Counters of one thread of the engine, "scheduler", "service" or "control", as they stand.
  [[nodiscard]] std::span<const ShmWord<std::uint64_t>> counters(std::string_view thread) const;

  [[nodiscard]] HostTime now() noexcept { return clock_->now(); }
  [[nodiscard]] const MeshSize& mesh() const noexcept { return mesh_; }
  [[nodiscard]] const shm::MappingHeader& header() const noexcept { return header_; }
  [[nodiscard]] const shm::Layout& layout() const noexcept { return layout_; }
  [[nodiscard]] std::span<const std::byte> table() const noexcept { return table_.bytes(); }
  // Asks the socket: a system call.
  [[nodiscard]] bool engine_is_there();

 private:
  Observer(ControlClient engine, shm::Layout layout, shm::Mapping table);
  Status bind();

  struct Columns;

  ControlClient engine_;
  shm::Layout layout_;
  shm::Mapping table_;
  shm::MappingHeader header_{};
  MeshSize mesh_;
  std::unique_ptr<Columns> columns_;
  std::optional<sched::ClockReader<>> clock_;
};

}  // namespace mesh::engine
