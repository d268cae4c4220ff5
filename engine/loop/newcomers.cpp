#include "engine/loop/newcomers.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "engine/loop/expected.hpp"
#include "engine/loop/own_operations.hpp"
#include "engine/loop/state.hpp"
#include "sched/lead_time.hpp"

namespace mesh::engine {
namespace {

constexpr float kUnstableDrift = 0.5F;     // mesh.md part 10
constexpr std::uint32_t kScoreStep = 5;    // ms
constexpr std::uint32_t kScoreTenth = 10;  // of the score
constexpr Nanos kWarmUpTime{5 * kNsPerSecond};

bool is_held_otherwise(const EngineLoop::State& loop, std::uint32_t row) noexcept {
  return (own(loop.agents.routing, row) & ~(kNewcomer | kSpiking)) != 0;
}

std::uint32_t measured_answers(const EngineLoop::State& loop, std::uint32_t row) noexcept {
  const StationLink* const link = loop.link_of_row(row);
  if (link == nullptr || loop.self_place[row] >= link->self.samples.rows()) return 0;
  return peer(link->self.samples, loop.self_place[row]);
}

bool is_fresh(const EngineLoop::State& loop, std::uint32_t row, std::int64_t within_ns) noexcept {
  const std::uint32_t age_ms = loop.mesh_ms() - own(loop.agents.heartbeat_mesh_ms, row);
  return std::int64_t{age_ms} * kNsPerMs < within_ns;
}

bool scatters(const EngineLoop::State& loop, std::uint32_t row) noexcept {
  const float drift = own(loop.agents.drift, row);
  const float spread_ms = drift * own(loop.agents.latency_ms, row);
  return !(drift <= kUnstableDrift) && !(spread_ms * static_cast<float>(kNsPerMs) <=
                                         static_cast<float>(loop.options.tolerance.count()));
}

// Scores are made once an upkeep: between two of them none has moved.
void look_at_score(const EngineLoop::State& loop, std::uint32_t row, Newcomer& newcomer) noexcept {
  if (loop.now_ns - newcomer.seen_ns < loop.options.upkeep.count()) return;
  const std::uint32_t score = own(loop.agents.score, row);
  const std::uint32_t before = std::exchange(newcomer.score, score);
  const std::uint32_t moved = score > before ? score - before : before - score;
  newcomer.is_steady = moved <= std::max(kScoreStep, before / kScoreTenth);
  newcomer.seen_ns = loop.now_ns;
}

bool is_stable(const EngineLoop::State& loop, std::uint32_t row, Newcomer& newcomer) noexcept {
  look_at_score(loop, row, newcomer);
  return newcomer.is_steady && !scatters(loop, row) &&
         is_fresh(loop, row, sched::kHeartbeatFreshNs) &&
         measured_answers(loop, row) >= loop.options.newcomers.warm_ups;
}

void admit(EngineLoop::State& loop, std::uint32_t row) noexcept {
  release_hold(loop, row, kNewcomer);
  const Place place = loop.topology->place_of(agent_index(row));
  if (place.cluster != kNoPlace)
    loop.topology->fill({.cluster = place.cluster, .sector = place.sector});
  ++loop.counters.newcomers_admitted;
}

// It has nothing but what was never answered.
bool is_idle(const EngineLoop::State& loop, std::uint32_t row, Newcomer& newcomer) noexcept {
  const std::uint32_t queue = own(loop.agents.queue_depth, row);
  newcomer.in_vain = std::min(newcomer.in_vain, queue);
  const bool is_over = loop.now_ns - newcomer.asked_ns >= kWarmUpTime.count();
  if (is_over && queue <= kInVainMost) newcomer.in_vain = queue;
  return queue == newcomer.in_vain;
}

// Whether it stays a newcomer.
bool look_at(EngineLoop::State& loop, Newcomer& newcomer) noexcept {
  Newcomers& of = loop.gate.newcomers;
  const AgentIndex index = loop.registry->resolve(newcomer.id);
  const auto row = static_cast<std::uint32_t>(index);
  if (index == kNoAgent || (own(loop.agents.routing, row) & kNewcomer) == 0) return false;
  if (!loop.is_active(row) || is_held_otherwise(loop, row)) return true;
  const bool stable = is_stable(loop, row, newcomer);
  if (stable && of.wave != 0) {
    --of.wave;
    admit(loop, row);
    return false;
  }
  // One at a time; who is in line is kept fresh.
  if (is_idle(loop, row, newcomer) &&
      !(stable && is_fresh(loop, row, sched::kHeartbeatFreshNs / 2))) {
    newcomer.asked_ns = loop.now_ns;
    of.list.push_back(newcomer.id);
  }
  return true;
}

void warm_up(EngineLoop::State& loop) noexcept {
  Newcomers& of = loop.gate.newcomers;
  if (of.list.empty()) return;
  sched::MessageHeader header = loop.own_header(AgentId{}, {});
  header.strategy = sched::Strategy::broadcast;
  header.verb = sched::Verb::sync;
  // Where there is no room for it, the next round has some.
  static_cast<void>(loop.open_operation({.targets = sched::selector(sched::SelectorKind::list),
                                         .list = of.list,
                                         .timeout = kWarmUpTime,
                                         .verb = header.verb,
                                         .at_once = true,
                                         .to_newcomers = true,
                                         .part_of = kWarmUpPart},
                                        header, {}));
}

void begin_round(EngineLoop::State& loop) noexcept {
  Newcomers& of = loop.gate.newcomers;
  const std::size_t share = of.came * loop.options.newcomers.share_percent / 100;
  of.wave = static_cast<std::uint32_t>(std::max<std::size_t>(share, 1));
  of.round_ns = loop.now_ns + loop.options.newcomers.every.count();
  of.next = of.kept = 0;
}

}  // namespace

void tend_newcomers(EngineLoop::State& loop) noexcept {
  Newcomers& of = loop.gate.newcomers;
  if (of.all.empty()) return;
  if (of.next == of.all.size()) {
    if (loop.now_ns < of.round_ns) return;
    begin_round(loop);
  }
  of.list.clear();
  const std::size_t end = std::min(of.all.size(), of.next + kNewcomersPerTick);
  for (; of.next != end; ++of.next) {
    Newcomer newcomer = of.all[of.next];
    if (look_at(loop, newcomer)) of.all[of.kept++] = newcomer;
  }
  warm_up(loop);
  if (of.next != of.all.size()) return;
  of.all.resize(of.kept);
  of.next = of.all.size();
  if (of.all.empty()) of.came = 0;
}

void adopt_newcomers(EngineLoop::State& loop) {
  Newcomers& of = loop.gate.newcomers;
  const std::size_t before = of.all.size();
  std::vector<Newcomer> all;
  for (std::uint32_t row = 0; row < loop.row_count; ++row)
    if ((own(loop.agents.routing, row) & kNewcomer) != 0)
      all.push_back(
          {.id = loop.registry->id_of(agent_index(row)), .score = own(loop.agents.score, row)});
  of.came += all.size() > before ? all.size() - before : 0;
  of.all = std::move(all);
  of.next = of.kept = of.all.size();
  of.round_ns = 0;
  of.list.reserve(kNewcomersPerTick);
}

std::size_t room_for_agents(const EngineLoop& loop) noexcept {
  const Registry& registry = *loop.state().registry;
  return registry.rows() - registry.taken();
}

StandsIn place_of(const EngineLoop& loop, AgentId agent) noexcept {
  const AgentIndex index = loop.state().registry->resolve(agent);
  if (index == kNoAgent) return {};
  const Place place = loop.state().topology->place_of(index);
  return {place.sector, place.cluster};
}

std::vector<std::uint32_t> agents_by_cluster(const EngineLoop& loop) {
  const Topology& topology = *loop.state().topology;
  std::vector<std::uint32_t> agents(topology.cluster_count());
  for (std::uint32_t cluster = 0; cluster < agents.size(); ++cluster)
    agents[cluster] = topology.cluster(cluster).agents;
  return agents;
}

Placement placement_of(const EngineLoop& loop, std::span<const AgentId> agents,
                       std::span<const std::uint32_t> before) {
  Placement placement;
  std::set<std::uint32_t> clusters;
  std::set<std::uint32_t> sectors;
  for (const AgentId id : agents) {
    const StandsIn where = place_of(loop, id);
    if (where.cluster >= before.size()) {
      ++placement.without_cluster;
      continue;
    }
    clusters.insert(where.cluster);
    sectors.insert(where.sector);
  }
  for (const std::uint32_t cluster : clusters)
    ++(before[cluster] == 0 ? placement.clusters_created : placement.clusters_filled);
  placement.sectors = static_cast<std::uint32_t>(sectors.size());
  return placement;
}

Result<std::vector<AgentId>> make_newcomers(EngineLoop& loop, std::span<const Making> newcomers,
                                            std::uint32_t uid, HostTime now) {
  if (const std::size_t room = room_for_agents(loop); newcomers.size() > room)
    return fail(Errc::capacity,
                "newcomers: " + std::to_string(newcomers.size()) +
                    " agents; the mesh has room for " + std::to_string(room) + " more",
                static_cast<std::int64_t>(room));
  std::vector<KeptAgent> agents;
  agents.reserve(newcomers.size());
  for (const Making& one : newcomers) {
    MESH_CHECK_OK(check_name("a newcomer", one.name));
    if (loop.find(one.name)) return fail(Errc::name_taken, "newcomer " + one.name + ": it is here");
    if (!sched::is_known(one.agent_class))
      return fail(Errc::invalid_argument, "newcomer " + one.name + ": it is of an unknown class");
    agents.push_back(
        {.name = one.name, .uid = uid, .agent_class = one.agent_class, .routing = kNewcomer});
  }
  return expect_agents(loop, agents, now);
}

}  // namespace mesh::engine
