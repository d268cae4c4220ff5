#include "engine/health/health_view.hpp"

#include <string>

namespace mesh::engine::health {
namespace {

using coordination::PlainScorer;

struct AllRows {
  std::size_t count = 0;
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (std::size_t row = 0; row < count; ++row) visit(static_cast<std::uint32_t>(row));
  }
};

// One state of a row that was ever written.
template <class Read>
bool read_row(const Viewed<std::uint32_t>& sequence, std::size_t row, Read&& read) noexcept {
  if (row >= sequence.rows()) return false;
  if (sequence.load_relaxed(row) == 0) return false;  // relaxed: not written yet, or read below
  const shm::RowReader<HostMemory> reader(sequence);
  return reader.read(row, read) == shm::ReadStatus::kRead;
}

}  // namespace

Result<HealthView> HealthView::over(const shm::Layout& layout, std::span<const std::byte> table) {
  HealthView view;
  MESH_TRY(view.clusters_, decltype(view.clusters_)::in(layout, table));
  MESH_TRY(view.sectors_, decltype(view.sectors_)::in(layout, table));
  MESH_TRY(view.mesh_, decltype(view.mesh_)::in(layout, table));
  MESH_TRY(view.breakers_, decltype(view.breakers_)::in(layout, table));
  MESH_TRY(view.state_, layout.column<std::uint8_t>(table, "agent.state"));
  MESH_TRY(view.routing_, layout.column<std::uint8_t>(table, "agent.routing"));
  MESH_TRY(view.agent_class_, layout.column<std::uint8_t>(table, "agent.agent_class"));
  MESH_TRY(view.score_, layout.column<std::uint16_t>(table, "agent.score"));
  MESH_TRY(view.sector_, layout.column<std::uint32_t>(table, "agent.sector"));
  MESH_TRY(view.cluster_, layout.column<std::uint32_t>(table, "agent.cluster"));
  const shm::Region* const names = layout.find("agent.capabilities");
  if (names == nullptr)
    return fail(Errc::not_found, layout.name() + " has no region agent.capabilities");
  MESH_TRY(const auto bytes,
           shm::resolve(table, shm::Offset<std::byte>{names->offset}, names->size_bytes));
  MESH_TRY(view.capabilities_, Viewed<std::uint64_t>::over(bytes, names->count * kCapabilityWords));
  return view;
}

std::optional<ClusterSeen> HealthView::cluster(std::uint32_t cluster) const noexcept {
  ClusterSeen seen;
  const bool is_read =
      read_row(clusters_.sequence, cluster, [&](const shm::RowLoads<HostMemory>& row) {
        seen.mesh_ms = row.load(clusters_.summarized_mesh_ms);
        seen.summary = {.agents = row.load(clusters_.agents),
                        .active = row.load(clusters_.active),
                        .degraded = row.load(clusters_.degraded),
                        .unstable = row.load(clusters_.unstable),
                        .mean = row.load(clusters_.mean),
                        .p95 = row.load(clusters_.p95),
                        .slowest = row.load(clusters_.slowest),
                        .fastest = row.load(clusters_.fastest)};
        seen.lead = row.load(clusters_.lead);
      });
  return is_read ? std::optional(seen) : std::nullopt;
}

std::optional<SectorSeen> HealthView::sector(std::uint32_t sector) const noexcept {
  SectorSeen seen;
  const bool is_read =
      read_row(sectors_.sequence, sector, [&](const shm::RowLoads<HostMemory>& row) {
        seen.mesh_ms = row.load(sectors_.summarized_mesh_ms);
        seen.summary = {.clusters = row.load(sectors_.clusters),
                        .agents = row.load(sectors_.agents),
                        .active = row.load(sectors_.active),
                        .mean = row.load(sectors_.mean),
                        .healthiest = row.load(sectors_.healthiest),
                        .sickest = row.load(sectors_.sickest),
                        .is_healthy = row.load(sectors_.healthy) == 1};
        seen.coordinator = row.load(sectors_.coordinator);
      });
  return is_read ? std::optional(seen) : std::nullopt;
}

std::optional<MeshSeen> HealthView::mesh() const noexcept {
  MeshSeen seen;
  std::uint32_t mode = 0;
  const bool is_read = read_row(mesh_.sequence, 0, [&](const shm::RowLoads<HostMemory>& row) {
    seen.mesh_ms = row.load(mesh_.summarized_mesh_ms);
    seen.summary = {.agents = row.load(mesh_.agents),
                    .active = row.load(mesh_.active),
                    .mean = row.load(mesh_.mean),
                    .p95 = row.load(mesh_.p95),
                    .healthy_sectors = row.load(mesh_.healthy_sectors),
                    .degraded_sectors = row.load(mesh_.degraded_sectors)};
    mode = row.load(mesh_.mode);
    seen.mode_since_mesh_ms = row.load(mesh_.mode_since_mesh_ms);
  });
  if (!is_read) return std::nullopt;
  if (mode != 0 && mode <= kOperatingModes) seen.mode = static_cast<OperatingMode>(mode - 1);
  return seen;
}

bool HealthView::is_open(std::size_t breaker) const noexcept {
  if (breaker >= breakers_.word.rows()) return false;
  // relaxed: a word that stands alone.
  const auto state = coordination::BreakerView::state_of(breakers_.word.load_relaxed(breaker));
  return state == coordination::BreakerState::open ||
         state == coordination::BreakerState::forced_open;
}

// One that was never written is closed, and has been all the time.
std::optional<coordination::BreakerView> HealthView::breaker(std::size_t place) const noexcept {
  if (place >= breakers_.sequence.rows()) return std::nullopt;
  coordination::BreakerView seen;
  const shm::RowReader<HostMemory> reader(breakers_.sequence);
  const auto status = reader.read(place, [&](const shm::RowLoads<HostMemory>& row) {
    seen.word = row.load(breakers_.word);
    seen.open_until_ns = row.load(breakers_.open_until_ns);
  });
  return status == shm::ReadStatus::kRead ? std::optional(seen) : std::nullopt;
}

bool HealthView::is_routable(AgentIndex agent) const noexcept {
  const std::size_t row = row_of(agent);
  if (row >= state_.rows()) return false;
  // relaxed, all: each stands alone; where the agent was a moment ago is as good.
  const auto state = static_cast<AgentState>(state_.load_relaxed(row));
  if (state != AgentState::active && state != AgentState::degraded) return false;
  if (routing_.load_relaxed(row) != 0) return false;       // relaxed: as above
  const std::size_t sector = sector_.load_relaxed(row);    // relaxed: as above
  const std::size_t cluster = cluster_.load_relaxed(row);  // relaxed: as above
  return !is_open(0) && (sector >= sectors() || !is_open(1 + sector)) &&
         !is_open(1 + sectors() + cluster);
}

bool HealthView::has(std::size_t row, const CapabilitySet& wanted) const noexcept {
  const CapabilitySet::Words& words = wanted.words();
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == 0) continue;
    // relaxed: set when the agent came.
    const std::uint64_t its = capabilities_.load_relaxed(row * kCapabilityWords + i);
    if ((its & words[i]) != words[i]) return false;
  }
  return true;
}

bool HealthView::is_of(std::size_t row, std::optional<sched::AgentClass> wanted) const noexcept {
  // relaxed: set when the agent came.
  return !wanted || agent_class_.load_relaxed(row) == static_cast<std::uint8_t>(*wanted);
}

// By impedance alone a score is what was read: whoever changes meanwhile stands in its order.
std::vector<Candidate> HealthView::find_best(const Wanted& wanted) const {
  const auto score = [&](std::uint32_t row) {
    const double impedance = score_.load_relaxed(row);  // relaxed: a value that stands alone
    if (!wanted.reputation) return -impedance;
    return coordination::select_score({.reputation = wanted.reputation(agent_index(row)),
                                       .impedance = coordination::impedance_term(impedance)},
                                      kBestWeights);
  };
  const auto admits = [&](std::uint32_t row) {
    return score_.load_relaxed(row) <= wanted.score_max &&  // relaxed: as above
           is_routable(agent_index(row)) && has(row, wanted.capabilities) &&
           is_of(row, wanted.agent_class);
  };
  std::vector<Candidate> best;
  for (const coordination::Ranked& one :
       coordination::pick_top(AllRows{score_.rows()}, PlainScorer{score}, admits, wanted.count))
    best.push_back({agent_index(one.row), wanted.reputation
                                              ? score_.load_relaxed(one.row)  // relaxed: as above
                                              : static_cast<std::uint16_t>(-one.score)});
  return best;
}

std::vector<AgentIndex> HealthView::find_routable(const CapabilitySet& capabilities) const {
  std::vector<AgentIndex> found;
  for (std::size_t row = 0; row < score_.rows(); ++row) {
    const AgentIndex agent = agent_index(row);
    if (is_routable(agent) && has(row, capabilities)) found.push_back(agent);
  }
  return found;
}

Result<Candidate> HealthView::best_in_cluster(std::uint32_t cluster,
                                              const CapabilitySet& capabilities) const {
  const auto score = [&](std::uint32_t row) {
    return -static_cast<double>(score_.load_relaxed(row));  // relaxed: a value that stands alone
  };
  const auto admits = [&](std::uint32_t row) {
    return cluster_.load_relaxed(row) == cluster &&  // relaxed: a value that stands alone
           is_routable(agent_index(row)) && has(row, capabilities);
  };
  const auto best = coordination::pick_top(AllRows{cluster_.rows()}, PlainScorer{score}, admits, 1);
  if (!best.empty())
    return Candidate{agent_index(best.front().row),
                     static_cast<std::uint16_t>(-best.front().score)};
  return fail(
      Errc::no_capable_agent,
      "cluster " + std::to_string(cluster) + ": no agent that is active, routable and capable",
      cluster);
}

}  // namespace mesh::engine::health
