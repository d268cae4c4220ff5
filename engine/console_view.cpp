#include "engine/console_view.hpp"

#include <algorithm>

#include "engine/coordination/blocks/rng.hpp"

namespace mesh::engine {

Result<ConsoleView> ConsoleView::over(const MeshSize& size, std::span<const std::byte> table) {
  MESH_TRY(const shm::Layout layout, table_layout(size));
  MESH_TRY(AgentRowViews rows, AgentRowViews::in(layout, table));
  MESH_TRY(health::HealthView health, health::HealthView::over(layout, table));
  const shm::Region* const names = layout.find("capability_names");
  if (names == nullptr)
    return fail(Errc::not_found, layout.name() + " has no region capability_names");
  MESH_TRY(const auto bytes,
           shm::resolve(table, shm::Offset<std::byte>{names->offset}, names->size_bytes));
  using Names = shm::ColumnView<HostMemory, std::uint64_t>;
  MESH_TRY(const Names words, Names::over(bytes, names->count * kNameWords));
  return ConsoleView(std::move(rows), std::move(health), words);
}

Result<CapabilitySet> ConsoleView::capabilities(std::span<const std::string> names) const {
  CapabilitySet wanted;
  for (const std::string& name : names) {
    const NameBytes meant = encode(name);
    std::uint32_t bit = 0;
    while (bit < kCapabilities &&
           (meant.length() == 0 ||
            capability_name_at(capability_names_, static_cast<CapabilityBit>(bit)) != meant.words))
      ++bit;
    if (bit == kCapabilities)
      return fail(Errc::not_found, "no agent ever had the capability '" + name + "'");
    wanted.insert(static_cast<CapabilityBit>(bit));
  }
  return wanted;
}

std::vector<std::string> ConsoleView::names_of(const CapabilitySet& capabilities) const {
  std::vector<std::string> names;
  for (std::uint32_t bit = 0; bit < kCapabilities; ++bit) {
    if (!capabilities.contains(static_cast<CapabilityBit>(bit))) continue;
    const auto words = capability_name_at(capability_names_, static_cast<CapabilityBit>(bit));
    if (const auto name = decode("capability", words)) names.emplace_back(name->view());
  }
  return names;
}

std::optional<double> ConsoleView::reliability(AgentId agent) const {
  AgentRow seen;
  const std::size_t row = row_of(index_of(agent));
  if (row >= rows_.rows() || rows_.read(row, seen) != shm::ReadStatus::kRead || seen.is_free() ||
      seen.id != agent)
    return std::nullopt;
  return seen.reliability;
}

std::optional<health::OperatingMode> ConsoleView::mode() const noexcept {
  const auto mesh = health_.mesh();
  return mesh ? mesh->mode : std::nullopt;
}

namespace {
// Quarantine is a hold: it stands beside the state of who is here or away.
AgentState state_of(const AgentRow& row) noexcept {
  return (row.routing & kQuarantined) != 0 ? AgentState::quarantined
                                           : static_cast<AgentState>(row.state);
}
}  // namespace

std::optional<FoundAgent> ConsoleView::agent(AgentIndex row) const {
  AgentRow seen;
  if (row_of(row) >= rows_.rows() || rows_.read(row_of(row), seen) != shm::ReadStatus::kRead)
    return std::nullopt;
  if (seen.is_free()) return std::nullopt;
  const auto name = decode("agent.name", seen.name);
  if (!name || seen.agent_class >= sched::kAgentClassCount) return std::nullopt;
  return FoundAgent{.row = row,
                    .id = seen.id,
                    .name = std::string(name->view()),
                    .agent_class = static_cast<sched::AgentClass>(seen.agent_class),
                    .state = state_of(seen),
                    .is_routed_around = (seen.routing & kRoutedAround) != 0,
                    .station = seen.station,
                    .score = seen.score,
                    .queue_depth = seen.queue_depth,
                    .sector = seen.sector,
                    .cluster = seen.cluster};
}

Result<FoundAgent> ConsoleView::find(const std::string& name) const {
  for (std::size_t row = 0; row < rows(); ++row) {
    auto found = agent(agent_index(row));
    if (found && found->name == name) return std::move(*found);
  }
  return fail(Errc::no_such_agent, "no agent is called '" + name + "'");
}

// Where not everybody is allowed all that fit are looked at, best first.
std::vector<FoundAgent> ConsoleView::find_best(const health::HealthView::Wanted& wanted,
                                               const Allowed& allowed) const {
  health::HealthView::Wanted all = wanted;
  if (allowed) all.count = static_cast<std::uint32_t>(rows());
  std::vector<FoundAgent> best;
  for (const health::Candidate& candidate : health_.find_best(all)) {
    if (best.size() == wanted.count) break;
    auto found = agent(candidate.agent);
    if (found && (!allowed || allowed(*found))) best.push_back(std::move(*found));
  }
  return best;
}

// The first of a shuffle that goes no further than it must.
std::vector<FoundAgent> ConsoleView::sample(const SampleWanted& wanted,
                                            const Allowed& allowed) const {
  std::vector<AgentIndex> all = health_.find_routable(wanted.capabilities);
  coordination::Rng random(wanted.seed);
  std::vector<FoundAgent> taken;
  for (std::size_t at = 0; at < all.size() && taken.size() < wanted.count; ++at) {
    std::swap(all[at], all[at + random.below(all.size() - at)]);
    auto found = agent(all[at]);
    if (found && (!allowed || allowed(*found))) taken.push_back(std::move(*found));
  }
  std::sort(taken.begin(), taken.end(),
            [](const FoundAgent& a, const FoundAgent& b) { return a.row < b.row; });
  return taken;
}

}  // namespace mesh::engine
