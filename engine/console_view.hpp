// ConsoleView: what the operator's console reads of a mesh's table to say who is meant: the agents
// of a name, the best for a piece of work, a sample of all.
//
// Callers     any thread of a process that has the table mapped; one at a time.
// Progress    every call is one pass over the rows, or less. It asks no engine and stops nobody.
// Ordering    each agent is read as one, one after another: an answer is as old as the reading, and
//             whoever acts on it is told if its agent has gone since.
// Units       scores as in the table.
// Errors      over -> as shm::Layout's. capabilities -> not_found: no agent ever had it. find ->
//             no_such_agent. find_best, sample: nobody fits is an empty list.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/agent_row_views.hpp"
#include "engine/capabilities.hpp"
#include "engine/health/health_view.hpp"
#include "engine/memory_map.hpp"
#include "sched/agent_class.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

struct FoundAgent {
  AgentIndex row = kNoAgent;
  AgentId id{};
  std::string name;
  sched::AgentClass agent_class = sched::AgentClass::edge;
  AgentState state = AgentState::free;
  bool is_routed_around = false;
  StationId station = kNoStation;
  std::uint16_t score = 0;
  std::uint32_t queue_depth = 0;  // delivered and not answered
  std::uint32_t sector = kNoPlace;
  std::uint32_t cluster = kNoPlace;
};

struct SampleWanted {
  CapabilitySet capabilities{};
  std::uint32_t count = 0;
  std::uint64_t seed = 0;  // the same seed over the same agents: the same sample
};

class ConsoleView {
 public:
  static Result<ConsoleView> over(const MeshSize& size, std::span<const std::byte> table);

  [[nodiscard]] Result<CapabilitySet> capabilities(std::span<const std::string> names) const;
  [[nodiscard]] std::vector<std::string> names_of(const CapabilitySet& capabilities) const;
  // Successes / attempts of the last hour; none: the handle names nobody now.
  [[nodiscard]] std::optional<double> reliability(AgentId agent) const;
  // None: not every cluster was looked at yet.
  [[nodiscard]] std::optional<health::OperatingMode> mode() const noexcept;
  // None: the row is free, or cannot be read just now.
  [[nodiscard]] std::optional<FoundAgent> agent(AgentIndex row) const;
  [[nodiscard]] Result<FoundAgent> find(const std::string& name) const;
  // Whom the routing rules leave. Empty: everybody.
  using Allowed = std::function<bool(const FoundAgent&)>;
  // The routable agents with the lowest scores, lowest first.
  [[nodiscard]] std::vector<FoundAgent> find_best(const health::HealthView::Wanted& wanted,
                                                  const Allowed& allowed = {}) const;
  // Each as likely as any other, in order of their rows; fewer where there are not so many.
  [[nodiscard]] std::vector<FoundAgent> sample(const SampleWanted& wanted,
                                               const Allowed& allowed = {}) const;
  [[nodiscard]] std::size_t rows() const noexcept { return rows_.rows(); }

 private:
  ConsoleView(AgentRowViews rows, health::HealthView health,
              shm::ColumnView<HostMemory, std::uint64_t> names)
      : rows_(std::move(rows)), health_(std::move(health)), capability_names_(names) {}

  AgentRowViews rows_;
  health::HealthView health_;
  shm::ColumnView<HostMemory, std::uint64_t> capability_names_;
};

}  // namespace mesh::engine
