// Cascades: where they stand in memory, and what the loop's callers see of them.
#include "engine/loop/cascade_book.hpp"

#include <algorithm>
#include <string>

#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

constexpr std::size_t kFinishedKept = std::size_t{4} * kMaxCascades;

}  // namespace

namespace {

template <class T>
T load(const ShmWord<T>& word) noexcept {
  return word.load_relaxed();  // relaxed: its writer is dead
}

Status adopt_cascade(EngineLoop::State& loop, Cascade& cascade) {
  const Cascade::Words& words = *cascade.words;
  const std::uint64_t state = words.state.load_acquire();  // SYNC cascade.state acquire: the dead
  cascade.serial = static_cast<std::uint32_t>(state >> 32);
  cascade.state = static_cast<CascadeState>(state & 0xFF);
  cascade.parked = loop.parked.kNone;
  cascade.started_ns = load(words.started_ns);
  if (cascade.state == CascadeState::free) return {};
  const std::uint64_t about = load(words.about);
  const std::uint64_t body = load(words.body);
  cascade.strategy = static_cast<CascadeStrategy>(about & 0xFF);
  if (cascade.state > CascadeState::ended || cascade.strategy < CascadeStrategy::wave ||
      cascade.strategy > CascadeStrategy::quorum)
    return fail(Errc::corrupt, "cascade: state " + std::to_string(state & 0xFF) + ", strategy " +
                                   std::to_string(about & 0xFF));
  cascade.id = {load(words.id_high), load(words.id_low)};
  cascade.may_ask_leads = (about >> 8 & 1) != 0;
  cascade.phase = static_cast<std::uint32_t>(about >> 16 & 0xFF);
  cascade.cluster = static_cast<std::uint32_t>(about >> 32);
  if (cascade.cluster >= loop.topology->cluster_count())
    return fail(Errc::corrupt, "cascade: cluster " + std::to_string(cascade.cluster));
  cascade.target_ns = load(words.target_ns);
  for (std::size_t i = 0; i < std::size(cascade.windows_ns); ++i)
    cascade.windows_ns[i] = load(words.windows[i]);
  cascade.set_patience();
  cascade.sector_min = {static_cast<std::uint32_t>(load(words.minima))};
  cascade.ready_min = {static_cast<std::uint32_t>(load(words.minima) >> 32)};
  cascade.operations = static_cast<std::uint32_t>(load(words.tally));
  cascade.promoted = static_cast<std::uint32_t>(load(words.tally) >> 32);
  cascade.body_bytes = static_cast<std::uint32_t>(body);
  if (cascade.state == CascadeState::ended) return {};
  cascade.parked = static_cast<std::uint32_t>(body >> 32) - 1;
  ++loop.cascades.running;
  return loop.parked.adopt(cascade.parked, sched::kMessageHeaderBytes + cascade.body_bytes);
}

void count_again(Cascade& cascade) noexcept {
  cascade.under_way = 0;
  for (std::uint32_t unit = 0; unit < cascade.units.size(); ++unit) {
    cascade.under_way += is_under_way(cascade.step(unit)) ? 1U : 0U;
    if (cascade.step(unit) == CascadeStep::agreed) cascade.queue.push_back(unit);
  }
}

}  // namespace

Status adopt_cascades(EngineLoop::State& loop) {
  CascadeBook& book = loop.cascades;
  for (Cascade& cascade : book.all) MESH_CHECK_OK(adopt_cascade(loop, cascade));
  // Parts move their units, then all of them are looked at; a unit that agreed takes its turn.
  for (std::uint32_t slot = 0; slot < loop.operations.size(); ++slot) {
    Operation& operation = loop.operations[slot];
    Cascade* const cascade = operation.state == OperationState::free ? nullptr : book.of(operation);
    if (cascade == nullptr) continue;
    adopt_part(loop, *cascade, operation);
    book.note(slot, operation);
  }
  for (Cascade& cascade : book.all)
    if (cascade.state == CascadeState::running) count_again(cascade);
  book.has_lost_leaders = book.running != 0;  // who is asked may have died with the engine
  return {};
}

Cascade* CascadeBook::of(const Operation& operation) noexcept {
  const CascadePart part = part_of(operation.part_of);
  if (operation.part_of == 0 || part.cascade >= all.size()) return nullptr;
  Cascade& cascade = all[part.cascade];
  const bool is_its = cascade.state == CascadeState::running &&
                      part.serial == static_cast<std::uint16_t>(cascade.serial);
  return is_its ? &cascade : nullptr;
}

namespace {

std::string quorum_refusal(const EngineLoop::State& loop, Errc why, const CascadeRequest& request) {
  const std::uint32_t clusters = loop.topology->cluster_count();
  const std::string who = "quorum of cluster " + std::to_string(request.cluster) + ": ";
  if (request.cluster >= clusters) return who + "the mesh has " + std::to_string(clusters);
  switch (why) {
    case Errc::no_such_agent:
      return who + "nobody is in it";
    case Errc::no_schedulable_agents:
      return who +
             "nobody there can lead it: all are away, held back, or too slow for the lead's window";
    case Errc::capacity:
      return who + std::to_string(kMaxCascades) + " cascades and quorums are in flight";
    case Errc::invalid_argument:
      return who + "a window of nothing or beyond " + std::to_string(kBucketsPerOperation) +
             " buckets, or a weight that cannot be";
    default:
      return who + std::string(to_string(why));
  }
}

}  // namespace

Result<OperationId> EngineLoop::open_cascade(const CascadeRequest& request, HostTime now) {
  State& state = *state_;
  state.advance_to(now);
  const OpenedCascade opened = engine::open_cascade(state, request);
  if (opened.refused == Errc::ok) return opened.id;
  if (request.strategy == CascadeStrategy::quorum)
    return fail(opened.refused, quorum_refusal(state, opened.refused, request));
  switch (opened.refused) {
    case Errc::no_such_agent:
      return fail(opened.refused, "cascade: no agent is enrolled");
    case Errc::capacity:
      return fail(opened.refused,
                  "cascade: " + std::to_string(kMaxCascades) + " cascades are in flight",
                  kMaxCascades);
    case Errc::invalid_argument:
      return fail(opened.refused, "cascade: a window of nothing or beyond " +
                                      std::to_string(kBucketsPerOperation) +
                                      " buckets, a weight or a share that cannot be");
    case Errc::truncated:
      return fail(opened.refused,
                  "cascade: a body of " + std::to_string(request.body.size()) + " bytes");
    case Errc::no_schedulable_agents:
      return fail(opened.refused,
                  "cascade: nobody could be sent anything: all are away, behind a breaker, or too "
                  "slow for its windows");
    default:
      return fail(opened.refused, "cascade: " + std::string(to_string(opened.refused)));
  }
}

AgentId EngineLoop::coordinator_of(AgentId agent) const noexcept {
  const State& state = *state_;
  const AgentIndex index = state.registry->resolve(agent);
  if (index == kNoAgent) return {};
  const Place place = state.topology->place_of(index);
  if (place.sector == kNoPlace) return {};
  const AgentIndex leader = state.topology->coordinator(place.sector);
  return leader == kNoAgent ? AgentId{} : state.registry->id_of(leader);
}

std::optional<FinishedCascade> EngineLoop::take_finished_cascade() {
  CascadeBook& book = state_->cascades;
  if (book.finished_tail == book.finished_head) return std::nullopt;
  return book.finished[book.finished_tail++ % book.finished.size()];
}

std::vector<CascadeUnit> EngineLoop::cascade_units(OperationId id) const {
  const State& state = *state_;
  std::vector<CascadeUnit> units;
  const std::uint32_t at = slot_of(id) - kMaxOperations;
  if (at >= state.cascades.all.size()) return units;
  const Cascade& cascade = state.cascades.all[at];
  if (cascade.serial != serial_of(id) || cascade.state == CascadeState::free) return units;
  for (std::uint32_t unit = 0; unit < cascade.units.size(); ++unit) {
    const bool is_sector = cascade.is_sector(unit);
    const std::uint32_t index = is_sector ? unit : unit - cascade.sectors;
    const GroupCounts& group =
        is_sector ? state.topology->sector(index) : state.topology->cluster(index);
    if (group.targets() == 0) continue;
    const AgentIndex leader = cascade.leader(unit);
    units.push_back({.is_sector = is_sector,
                     .index = index,
                     .step = cascade.step(unit),
                     .leader = leader == kNoAgent ? AgentId{} : state.registry->id_of(leader),
                     .agents = cascade.counts(unit)});
  }
  return units;
}

std::vector<CascadeUnit> EngineLoop::missed_units(OperationId id) const {
  std::vector<CascadeUnit> units = cascade_units(id);
  const std::uint32_t at = slot_of(id) - kMaxOperations;
  if (units.empty() || state_->cascades.all[at].strategy != CascadeStrategy::wave) return {};
  // A cluster of which nothing was asked is behind a sector that is named.
  std::erase_if(units, [](const CascadeUnit& unit) {
    return unit.step == CascadeStep::reached || unit.step == CascadeStep::none;
  });
  return units;
}

std::size_t CascadeBook::parked_blocks() const noexcept {
  std::size_t blocks = 0;
  for (const Cascade& cascade : all)
    if (cascade.state == CascadeState::running)
      blocks += ParkedStore<HostMemory>::blocks_of(sched::kMessageHeaderBytes + cascade.body_bytes);
  return blocks;
}

Result<CascadeBook> bind_cascades(const shm::Layout& engine, std::span<std::byte> memory,
                                  const TopologySize& size) {
  MESH_TRY(const auto words, engine.array<Cascade::Words>(memory, "cascades"));
  MESH_TRY(const auto units, engine.array<Cascade::Unit>(memory, "cascade.units"));
  CascadeBook book;
  const std::size_t each = units.size() / words.size();
  for (std::size_t at = 0; at < words.size(); ++at) {
    Cascade& cascade = book.all.emplace_back();
    cascade.words = &words[at];
    cascade.units = units.subspan(at * each, each);
    cascade.sectors = size.sectors;
    cascade.queue.reserve(each);
  }
  book.noted.reserve(std::size_t{2} * kMaxOperations);
  book.list.reserve(
      std::max(size.sectors, std::max(size.clusters_per_sector, size.agents_per_cluster)));
  book.finished.resize(kFinishedKept);
  return book;
}

}  // namespace mesh::engine
