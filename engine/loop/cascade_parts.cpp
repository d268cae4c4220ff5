// Cascades: the operations that one is made of.
#include <algorithm>
#include <cstring>

#include "engine/loop/cascade_book.hpp"
#include "engine/loop/state.hpp"
#include "sched/cascade_phases.hpp"

namespace mesh::engine {
namespace {

struct PartRequest {
  CascadePart part;
  AgentId opener{};  // the leader who is told what came of it; 0: nobody
  sched::Selector targets = sched::selector(sched::SelectorKind::list);
  std::int64_t window_ns = 0;
};

std::uint32_t index_in_book(const EngineLoop::State& loop, const Cascade& cascade) noexcept {
  return static_cast<std::uint32_t>(&cascade - loop.cascades.all.data());
}
CascadePart part_for(const EngineLoop::State& loop, const Cascade& cascade, CascadeStage stage,
                     std::uint32_t unit) noexcept {
  return {.cascade = index_in_book(loop, cascade),
          .stage = stage,
          .serial = static_cast<std::uint16_t>(cascade.serial),
          .unit = unit};
}

void store_tally(const Cascade& cascade) noexcept {
  // relaxed: a word that stands alone.
  cascade.words->tally.store_relaxed(cascade.operations | std::uint64_t{cascade.promoted} << 32);
}

// The targets are `loop.cascades.list`, or those of the selector. `slot`: of what was opened.
PartOpened open_part(EngineLoop::State& loop, Cascade& cascade, const PartRequest& request,
                     std::uint32_t& slot) noexcept {
  if (loop.sending.size() + kOperationsLeft >= kMaxOperations - kMaxWideOperations)
    return PartOpened::no_room;
  const std::size_t whole = sched::kMessageHeaderBytes + cascade.body_bytes;
  loop.parked.copy(cascade.parked, 0, loop.scratch.first(whole));
  sched::MessageHeader header{};
  std::memcpy(&header, loop.scratch.data(), sizeof header);
  header.id = loop.own_id();
  header.correlation = header.causation = cascade.id;
  header.source = request.opener;
  header.created_ns = loop.now_ns;
  const EngineLoop::State::Opened opened = loop.open_operation(
      {.source = request.opener,
       .targets = request.targets,
       .list = loop.cascades.list,
       .timeout = Nanos{request.window_ns},
       .weight = header.weight(),
       .verb = header.verb,
       .priority = header.priority,
       .at_once = true,
       .in_time = true,
       .part_of = word_of(request.part)},
      header, std::span<const std::byte>(loop.scratch).subspan(sizeof header, cascade.body_bytes));
  slot = opened.slot;
  switch (opened.refused) {
    case Errc::ok:
      ++cascade.operations;
      store_tally(cascade);
      return PartOpened::opened;
    case Errc::capacity:
    case Errc::no_space:
      return PartOpened::no_room;
    default:
      return PartOpened::nobody;
  }
}

// Of which unit this row is asked as the leader in this step.
std::uint32_t unit_led_by(const EngineLoop::State& loop, const Cascade& cascade, CascadeStage stage,
                          std::uint32_t row) noexcept {
  const Place place = loop.topology->place_of(agent_index(row));
  if (place.cluster == kNoPlace) return kNoUnit;
  return stage == CascadeStage::coordinators ? place.sector
                                             : cascade.unit_of_cluster(place.cluster);
}

// The part is open: of those listed, who has the message is asked, and who has not is too slow.
void mark_asked(EngineLoop::State& loop, Cascade& cascade, const Operation& operation,
                CascadeStage stage) noexcept {
  for (const AgentId id : loop.cascades.list) {
    const AgentIndex index = loop.registry->resolve(id);
    const auto row = static_cast<std::uint32_t>(index);
    const std::uint32_t unit = unit_led_by(loop, cascade, stage, row);
    if (unit == kNoUnit) continue;
    const std::uint32_t place = operation.place_of(row);
    const bool is_sent = place < operation.targets && operation.gather->scheduled().test(place);
    cascade.set_leader(unit, index, is_sent ? CascadeStep::asked : CascadeStep::too_slow);
  }
}
void mark_unasked(EngineLoop::State& loop, Cascade& cascade, CascadeStage stage) noexcept {
  for (const AgentId id : loop.cascades.list) {
    const AgentIndex index = loop.registry->resolve(id);
    const std::uint32_t unit = unit_led_by(loop, cascade, stage, static_cast<std::uint32_t>(index));
    if (unit != kNoUnit) cascade.set_leader(unit, index, CascadeStep::too_slow);
  }
}

AgentId id_of_leader(const EngineLoop::State& loop, const Cascade& cascade,
                     std::uint32_t unit) noexcept {
  const AgentIndex leader = cascade.leader(unit);
  return leader == kNoAgent ? AgentId{} : loop.registry->id_of(leader);
}

// Puts the leader of a place on the list. A place of nobody is no unit.
void list_leader(EngineLoop::State& loop, Cascade& cascade, std::uint32_t unit) noexcept {
  const Topology& topology = *loop.topology;
  const bool is_sector = cascade.is_sector(unit);
  const std::uint32_t cluster = unit - cascade.sectors;
  if ((is_sector ? topology.sector(unit) : topology.cluster(cluster)).targets() == 0) return;
  const AgentIndex leader = is_sector ? topology.coordinator(unit) : topology.lead(cluster);
  if (leader == kNoAgent)
    cascade.set_step(unit, CascadeStep::leaderless);
  else
    loop.cascades.list.push_back(loop.registry->id_of(leader));
}

PartOpened ask(EngineLoop::State& loop, Cascade& cascade, const PartRequest& request) noexcept {
  std::uint32_t slot = 0;
  const PartOpened opened = open_part(loop, cascade, request, slot);
  MESH_POINT("cascade.ask:before_units");
  if (opened == PartOpened::opened)
    mark_asked(loop, cascade, loop.operations[slot], request.part.stage);
  else if (opened == PartOpened::nobody)
    mark_unasked(loop, cascade, request.part.stage);
  return opened;
}

PartOpened open_leads(EngineLoop::State& loop, Cascade& cascade, std::uint32_t sector) noexcept {
  loop.cascades.list.clear();
  const std::uint32_t clusters = loop.topology->size().clusters_per_sector;
  for (std::uint32_t i = 0; i < clusters; ++i)
    list_leader(loop, cascade, cascade.unit_of_cluster(sector * clusters + i));
  if (loop.cascades.list.empty()) return PartOpened::nobody;
  return ask(loop, cascade,
             {.part = part_for(loop, cascade, CascadeStage::leads, sector),
              .opener = id_of_leader(loop, cascade, sector),
              .window_ns = cascade.windows_ns[1]});
}

// Everybody of the cluster who has not had it as a leader.
PartOpened open_agents(EngineLoop::State& loop, Cascade& cascade, std::uint32_t unit) noexcept {
  const std::uint32_t cluster = unit - cascade.sectors;
  const std::uint32_t sector = loop.topology->sector_of(cluster);
  loop.cascades.list.clear();
  for (const std::uint32_t row : loop.topology->agents_of(cluster)) {
    const AgentIndex index = agent_index(row);
    if (index == cascade.leader(unit) || loop.gate.holds.is_newcomer(row)) continue;
    if (index == cascade.leader(sector) && cascade.has_agreed(sector)) continue;
    loop.cascades.list.push_back(loop.registry->id_of(index));
  }
  if (loop.cascades.list.empty()) return PartOpened::nobody;
  std::uint32_t slot = 0;
  const PartOpened opened = open_part(loop, cascade,
                                      {.part = part_for(loop, cascade, CascadeStage::agents, unit),
                                       .opener = id_of_leader(loop, cascade, unit),
                                       .window_ns = cascade.windows_ns[2]},
                                      slot);
  if (opened == PartOpened::opened)
    cascade.below = operation_id(slot, loop.operations[slot].serial);
  return opened;
}

CascadeCounts counts_of(const Operation& operation) noexcept {
  const sched::GatherCounts counts = operation.gather->counts();
  return {static_cast<std::uint32_t>(counts.targeted()), counts.sent, counts.ready,
          counts.conflict};
}

// Once every lead of it has had its say: one that died is not waited for, another was asked.
void close_sector(const EngineLoop::State& loop, Cascade& cascade, std::uint32_t sector) noexcept {
  if (cascade.step(sector) != CascadeStep::open) return;
  const std::uint32_t clusters = loop.topology->size().clusters_per_sector;
  for (std::uint32_t i = 0; i < clusters; ++i) {
    const std::uint32_t unit = cascade.unit_of_cluster(sector * clusters + i);
    if (cascade.step(unit) == CascadeStep::asked) return;
  }
  cascade.set_step(sector, CascadeStep::reached);
}

void take_leaders(EngineLoop::State& loop, Cascade& cascade, const Operation& operation,
                  const CascadePart& part) noexcept {
  const bool is_over = operation.state == OperationState::ended;
  // Where none of its leads could be sent anything there is nobody to tell the sector by.
  const bool is_of_sector = part.stage == CascadeStage::leads && part.unit < cascade.sectors;
  std::uint32_t sector = is_of_sector ? part.unit : kNoUnit;
  operation.gather->scheduled().for_each([&](std::uint32_t place) {
    const std::uint32_t row = operation.row_of(place);
    const std::uint32_t unit = unit_led_by(loop, cascade, part.stage, row);
    if (unit != kNoUnit && part.stage == CascadeStage::leads)
      sector = loop.topology->sector_of(unit - cascade.sectors);
    if (unit == kNoUnit || cascade.step(unit) != CascadeStep::asked ||
        cascade.leader(unit) != agent_index(row))
      return;
    if (operation.gather->ready().test(place)) {
      cascade.set_step(unit, CascadeStep::agreed);
      cascade.queue.push_back(unit);
    } else if (operation.gather->conflict().test(place)) {
      cascade.set_step(unit, CascadeStep::conflict);
    } else if (is_over || operation.gather->spent().test(place)) {
      cascade.set_step(unit, CascadeStep::silent);
    }
  });
  if (sector != kNoUnit) close_sector(loop, cascade, sector);
}

void take_agents(Cascade& cascade, const Operation& operation, const CascadePart& part) noexcept {
  if (operation.state != OperationState::ended || part.unit >= cascade.units.size()) return;
  if (cascade.step(part.unit) != CascadeStep::open) return;
  cascade.set_counts(part.unit, counts_of(operation));
  cascade.set_step(part.unit, CascadeStep::reached);
}

void take_everybody(Cascade& cascade, const Operation& operation,
                    const CascadePart& part) noexcept {
  if (operation.state != OperationState::ended || part.unit != cascade.phase) return;
  const CascadeCounts counts = counts_of(operation);
  auto& words = cascade.words->phases[cascade.phase];
  // relaxed, both: the phase says that they stand, and a phase told twice says the same.
  words[0].store_relaxed(counts.targeted | std::uint64_t{counts.sent} << 32);
  words[1].store_relaxed(counts.ready | std::uint64_t{counts.conflict} << 32);
  cascade.is_phase_open = false;
  ++cascade.phase;
  cascade.store_about();
}

}  // namespace

CascadeCounts Cascade::counts(std::uint32_t unit) const noexcept {
  const std::uint64_t word = units[unit].counts.load_relaxed();  // relaxed: our own store
  return {static_cast<std::uint32_t>(word & 0xFFFF),
          static_cast<std::uint32_t>(word >> 16 & 0xFFFF),
          static_cast<std::uint32_t>(word >> 32 & 0xFFFF), static_cast<std::uint32_t>(word >> 48)};
}
void Cascade::set_counts(std::uint32_t unit, const CascadeCounts& of) noexcept {
  static_assert(kAgentsPerClusterMost <= 0xFFFF && kClustersPerSectorMost <= 0xFFFF);
  // relaxed: its step says that it stands.
  units[unit].counts.store_relaxed(of.targeted | std::uint64_t{of.sent} << 16 |
                                   std::uint64_t{of.ready} << 32 |
                                   std::uint64_t{of.conflict} << 48);
}

PartOpened ask_coordinators(EngineLoop::State& loop, Cascade& cascade) noexcept {
  loop.cascades.list.clear();
  for (std::uint32_t sector = 0; sector < cascade.sectors; ++sector)
    list_leader(loop, cascade, sector);
  if (loop.cascades.list.empty()) return PartOpened::nobody;
  return ask(loop, cascade,
             {.part = part_for(loop, cascade, CascadeStage::coordinators, kNoUnit),
              .window_ns = cascade.windows_ns[0]});
}

PartOpened ask_lead(EngineLoop::State& loop, Cascade& cascade) noexcept {
  loop.cascades.list.clear();
  list_leader(loop, cascade, cascade.unit_of_cluster(cascade.cluster));
  if (loop.cascades.list.empty()) return PartOpened::nobody;
  return ask(loop, cascade,
             {.part = part_for(loop, cascade, CascadeStage::leads, kNoUnit),
              .window_ns = cascade.windows_ns[1]});
}

PartOpened open_phase(EngineLoop::State& loop, Cascade& cascade) noexcept {
  PartRequest request{.part = part_for(loop, cascade, CascadeStage::everybody, cascade.phase),
                      .targets = sched::selector(sched::SelectorKind::all),
                      .window_ns = cascade.windows_ns[3]};
  if (cascade.strategy == CascadeStrategy::priority_first) {
    const sched::CascadePhase& phase = sched::kPriorityFirst[cascade.phase];
    request.targets = sched::selector(sched::SelectorKind::agent_class,
                                      static_cast<std::uint32_t>(phase.agent_class));
    if (phase.needs_time) {
      request.window_ns = cascade.target_ns - loop.now_ns;
      if (request.window_ns <= 0) return PartOpened::nobody;
      request.window_ns =
          std::min(request.window_ns, loop.options.bucket.count() * (kBucketsPerOperation - 1));
    }
  }
  std::uint32_t slot = 0;
  const PartOpened opened = open_part(loop, cascade, request, slot);
  cascade.is_phase_open = opened == PartOpened::opened;
  return opened;
}

PartOpened open_below(EngineLoop::State& loop, Cascade& cascade, std::uint32_t unit) noexcept {
  const PartOpened opened =
      cascade.is_sector(unit) ? open_leads(loop, cascade, unit) : open_agents(loop, cascade, unit);
  MESH_POINT("cascade.below:before_unit");
  if (opened == PartOpened::opened) cascade.set_step(unit, CascadeStep::open);
  if (opened == PartOpened::nobody) cascade.set_step(unit, CascadeStep::reached);
  return opened;
}

bool ask_again(EngineLoop::State& loop, Cascade& cascade, std::uint32_t unit) noexcept {
  if (cascade.asked(unit) >= kLeadersAsked) {
    cascade.set_step(unit, CascadeStep::silent);
    return true;
  }
  loop.cascades.list.clear();
  list_leader(loop, cascade, unit);
  if (loop.cascades.list.empty()) return true;
  const bool is_sector = cascade.is_sector(unit);
  const CascadeStage stage = is_sector ? CascadeStage::coordinators : CascadeStage::leads;
  const std::uint32_t sector = is_sector ? unit : loop.topology->sector_of(unit - cascade.sectors);
  const PartOpened opened =
      ask(loop, cascade,
          {.part = part_for(loop, cascade, stage, kNoUnit),
           .opener = is_sector ? AgentId{} : id_of_leader(loop, cascade, sector),
           .window_ns = cascade.windows_ns[is_sector ? 0 : 1]});
  if (opened == PartOpened::no_room) return loop.now_ns >= cascade.room_until_ns;
  close_sector(loop, cascade, sector);  // that one may not be sent to, either
  ++cascade.promoted;
  store_tally(cascade);
  return true;
}

void take_part(EngineLoop::State& loop, Cascade& cascade, Operation& operation) noexcept {
  const CascadePart part = part_of(operation.part_of);
  switch (part.stage) {
    case CascadeStage::coordinators:
    case CascadeStage::leads:
      take_leaders(loop, cascade, operation, part);
      break;
    case CascadeStage::agents:
      take_agents(cascade, operation, part);
      break;
    case CascadeStage::everybody:
      take_everybody(cascade, operation, part);
      break;
    case CascadeStage::none:
      break;
  }
  if (operation.state != OperationState::ended) return;
  const OperationCost& cost = operation.cost;
  cascade.engine_ns += cost.dispatch_ns + cost.gather_ns;  // its plan was counted as it was opened
  operation.part_of = 0;  // answers that come now are its operation's alone
}

// The part was published, and its engine died before its units said so.
void adopt_part(EngineLoop::State& loop, Cascade& cascade, const Operation& operation) noexcept {
  const CascadePart part = part_of(operation.part_of);
  const bool has_unit = part.unit < cascade.units.size();
  if (part.stage == CascadeStage::everybody)
    cascade.is_phase_open |= part.unit == cascade.phase;
  else if (part.stage == CascadeStage::agents && has_unit &&
           cascade.step(part.unit) == CascadeStep::agreed)
    cascade.set_step(part.unit, CascadeStep::open);
  if (part.stage == CascadeStage::agents && cascade.strategy == CascadeStrategy::quorum)
    cascade.below = operation_id(static_cast<std::uint32_t>(&operation - loop.operations.data()),
                                 operation.serial);
  if (part.stage != CascadeStage::coordinators && part.stage != CascadeStage::leads) return;
  if (part.stage == CascadeStage::leads && has_unit &&
      cascade.step(part.unit) == CascadeStep::agreed)
    cascade.set_step(part.unit, CascadeStep::open);
  operation.gather->scheduled().for_each([&](std::uint32_t place) {
    const std::uint32_t row = operation.row_of(place);
    const std::uint32_t unit = unit_led_by(loop, cascade, part.stage, row);
    if (unit != kNoUnit && cascade.step(unit) == CascadeStep::none)
      cascade.set_leader(unit, agent_index(row), CascadeStep::asked);
  });
}

}  // namespace mesh::engine
