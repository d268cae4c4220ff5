// Between ticks: stations come, go, come back, or belong to an engine that was.
#include <algorithm>
#include <string>

#include "engine/loop/account.hpp"
#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

// Whether what was placed at the position with this low half stands before `head`.
bool is_before_head(std::uint32_t low, std::uint64_t head) noexcept {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(head) - low) > 0;
}

}  // namespace

Status EngineLoop::State::attach(StationId station, const StationMemory& memory,
                                 std::uint32_t uid) {
  const auto number = static_cast<std::size_t>(station);
  if (number == 0 || number > kMaxStations)
    return fail(Errc::capacity,
                "attach station " + std::to_string(number) + ": stations are numbered from 1 to " +
                    std::to_string(kMaxStations),
                kMaxStations);
  if (stations[number] != nullptr)
    return fail(Errc::already_exists,
                "attach station " + std::to_string(number) + ": it is attached");
  if (live.size() == stations_max)
    return fail(Errc::capacity,
                "attach station " + std::to_string(number) + ": " + std::to_string(live.size()) +
                    " are attached, as many as this mesh has",
                static_cast<std::int64_t>(stations_max));
  MESH_TRY(StationLink link, StationLink::open(station, memory, uid));
  link.heard_ns = now_ns;
  PendingPool::clear(link);
  link.pressure.emplace(link.agents_declared);
  // relaxed: a word that stands alone; a dead engine may have left it.
  inbox_full[number].store_relaxed(0);
  stations[number] = std::make_unique<StationLink>(std::move(link));
  live.push_back(stations[number].get());
  return {};
}

// Its records are its last: what they ask for is done, its own inbox is gone.
void EngineLoop::State::drain(StationLink& link) {
  for (std::uint64_t left = link.outbox.capacity(); left != 0 && !link.is_corrupt;) {
    const std::size_t taken = link.outbox.take(
        kBurst, [&](auto view) { take_record(link, view.read(), view.position()); });
    if (taken == 0) return;
    counters.records_in += taken;
    left -= std::min<std::uint64_t>(left, taken);
    for (const std::uint32_t slot : answered_slots) answered_of[slot] = 0;
    answered_slots.clear();
  }
}

void EngineLoop::State::detach(StationLink& link, HostTime now, Departure departure) {
  advance_to(now);
  drain(link);
  reveal_staged();
  free_over();
  read_marks(link);
  const StationId station = link.number;
  keep_unread(link);
  hold_delivered(station, link.own_bodies_again);
  rewind_operations(link.rows);
  for (; link.mark_tail != link.mark_head; ++link.mark_tail) {
    const InboxMark& mark = link.marks[link.mark_tail % link.marks.size()];
    if (mark.body != kNoBody) bodies[mark.body % kBodies].unread -= mark.count;
  }
  for (std::uint32_t priority = 0; priority < kPriorities; ++priority)
    while (const PendingNode* const node = pending->front(link, priority)) {
      if (node->kind == PendingNode::Kind::entry && !is_over[node->first]) {
        ++held[static_cast<std::uint32_t>(index_of(entries.get(node->first).target))];
        ++held_count;
      }
      pending->take(link, priority, node->count);
    }
  set_full(link, false);
  note_departure(*this, link, departure);
  std::erase(live, &link);
  stations[static_cast<std::size_t>(station)].reset();
  rows_go_offline(station, now, departure);
}

void EngineLoop::State::rows_go_offline(StationId station, HostTime now, Departure departure) {
  std::vector<AgentIndex> rows(kUpkeepRowsPerTick);
  std::vector<Vacancy> vacancies;
  gate.watch->breakers().begin_crash();
  for (bool more = true; more;) {
    const Registry::Detached detached = registry->detach(station, now, rows);
    for (std::size_t i = 0; i < detached.count; ++i) {
      const auto row = static_cast<std::uint32_t>(rows[i]);
      set_active(row, false);
      end_context_hold(*this, row);
      // A newcomer is missed by nobody, whether it has come or not.
      const bool is_missed = departure == Departure::lost && !gate.holds.is_newcomer(row);
      put(owners.departed, row,
          static_cast<std::uint8_t>(is_missed ? Departure::lost : Departure::left));
      if (is_missed)
        gate.watch->lost(row, agents, now);
      else
        gate.watch->answered(row);  // a new process begins with nothing unanswered
      move_owed(row, station, kNoStation);
      put(agents.queue_depth, row, 0);  // its inbox is gone; what was in it waits elsewhere
      const Vacancy vacancy = topology->refresh(rows[i]);
      if (!(vacancy == Vacancy{})) vacancies.push_back(vacancy);
    }
    more = detached.more;
  }
  // Once all of them are known to be gone: nobody of them is promoted.
  for (const Vacancy& vacancy : vacancies) topology->fill(vacancy);
  cascades.has_lost_leaders |= !vacancies.empty();
  end_trials_of_gone(*this, departure);
  order_is_stale = true;
}

// Replies and results that nobody has read: they wait for their agents' return. Messages are held
// by hold_delivered(); reports are not kept.
void EngineLoop::State::keep_unread(StationLink& link) {
  if (link.is_corrupt) return;
  for (std::uint64_t at = link.inbox.cursor(); at != link.inbox.revealed(); ++at) {
    const auto record = link.inbox.at(at).template read_as<sched::DeliveryRecord>();
    if (record.kind != sched::RecordKind::reply && record.kind != sched::RecordKind::result)
      continue;
    if (sched::has(record.flags, sched::RecordFlags::bare)) {
      const Letter letter{.kind = record.kind,
                          .priority = sched::Priority::high,
                          .marks = kEntryRedelivered | kEntryBare,
                          .source = sched::bare_source(record),
                          .target = record.target,
                          .id = {0, static_cast<std::uint64_t>(record.message)},
                          .body_bytes = record.body_bytes,
                          .bare = sched::bare_words(record)};
      if (keep_waiting(&link, letter, {}) != Errc::ok) ++counters.lost_replies;
      continue;
    }
    const auto found = link.own_bodies_again.view(sched::position_of(record.message));
    if (found.status != queues::BodyStatus::kRead || found.body.length < sched::kMessageHeaderBytes)
      continue;
    sched::MessageHeader header{};
    std::memcpy(&header, found.body.bytes().data(), sizeof header);
    const std::span<const std::byte> whole = found.body.bytes();
    const Letter letter{.kind = record.kind,
                        .priority = header.priority,
                        .marks = kEntryRedelivered,
                        .source = header.source,
                        .target = record.target,
                        .id = header.id,
                        .body_bytes = record.body_bytes};
    if (keep_waiting(&link, letter, std::span(&whole, 1)) != Errc::ok) ++counters.lost_replies;
  }
}

// A delivered message waits again, its body parked. False: there is no room for that; its sender is
// told.
bool EngineLoop::State::hold_entry(std::uint32_t at, const BodyLog::Reader& bodies_again) {
  const Entry entry = entries.get(at);
  if (entry.parked == parked.kNone && !entry.is_bare()) {
    const auto found = bodies_again.view(sched::position_of(entry.message));
    const bool is_whole =
        found.status == queues::BodyStatus::kRead && found.body.length == entry.size_bytes();
    const std::uint32_t first = is_whole ? parked.put(found.body.bytes()) : parked.kNone;
    if (first == parked.kNone) {
      ++counters.parked_full;
      drop_entry(at, Errc::parked_full);
      return false;
    }
    ++counters.parked;
    entries.park(at, first);
  }
  entries.hold(at, next_turn++);
  return true;
}

StationLink* EngineLoop::State::link_of_target(const Entry& entry) const noexcept {
  const AgentIndex index = registry->resolve(entry.target);
  return index == kNoAgent ? nullptr : link_of(registry->station_of(index));
}

// What stood in this station's inbox and was not answered waits from now on, in the order in which
// it stood there, before what waited already. `bodies_again`: its `.in`.
void EngineLoop::State::hold_delivered(StationId station, const BodyLog::Reader& bodies_again) {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> delivered;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> waiting;
  entries.for_each([&](std::uint32_t at, const Entry& entry) {
    if (is_over[at]) return;
    if (entry.state == EntryState::delivered && entry.station == station)
      delivered.emplace_back(entry.place, at);
    const AgentIndex index = registry->resolve(entry.target);
    if (entry.state == EntryState::waiting && index != kNoAgent &&
        registry->station_of(index) == station)
      waiting.emplace_back(entry.place, at);
  });
  std::sort(delivered.begin(), delivered.end());
  std::sort(waiting.begin(), waiting.end());
  for (const auto& [place_in_inbox, at] : delivered) {
    if (!hold_entry(at, bodies_again)) continue;
    const AgentIndex index = registry->resolve(entries.get(at).target);
    if (index == kNoAgent) {
      drop_entry(at, Errc::no_such_agent);
      continue;
    }
    ++held[static_cast<std::uint32_t>(index)];
    ++held_count;
    ++counters.held;
  }
  for (const auto& [turn, at] : waiting) entries.hold(at, next_turn++);
}

// Of these rows, what operations had sent them and they had not answered is sent again.
void EngineLoop::State::rewind_operations(std::span<const std::uint32_t> rows) {
  for (Operation& operation : operations) {
    if (operation.state == OperationState::free || operation.is_settled()) continue;
    for (const std::uint32_t row : rows) {
      const std::uint32_t place = operation.place_of(row);
      if (place >= operation.targets || !operation.is_outstanding(place)) continue;
      // SYNC operation.sent release: before it is sent once more.
      if (operation.is_sent(place)) operation.sent[place].store_release(kSentBefore);
    }
  }
}

// What waits for these rows goes on its way: messages in their turn, and what operations have to
// send them since their bucket has left.
void EngineLoop::State::bring(StationLink& link, std::span<const std::uint32_t> rows) {
  if (held_count != 0) bring_messages(rows);
  for (std::uint32_t slot = 0; slot < operations.size(); ++slot) {
    const Operation& operation = operations[slot];
    if (operation.state == OperationState::free || operation.is_settled()) continue;
    for (const std::uint32_t row : rows) {
      const std::uint32_t at = operation.place_of(row);
      if (at >= operation.targets || !is_owed(operation, at) || gate.holds.is_frozen(row)) continue;
      if (!pending->push(link, static_cast<std::uint32_t>(operation.priority),
                         {.kind = PendingNode::Kind::place,
                          .slot = static_cast<std::uint16_t>(slot),
                          .first = at,
                          .serial = operation.serial}))
        ++counters.target_full;
    }
  }
}

void EngineLoop::State::bring_messages(std::span<const std::uint32_t> rows) {
  std::vector<bool> is_here(row_count);
  for (const std::uint32_t row : rows) is_here[row] = held[row] != 0 && !gate.holds.is_frozen(row);
  std::vector<std::pair<std::uint64_t, std::uint32_t>> waiting;
  entries.for_each([&](std::uint32_t at, const Entry& entry) {
    const auto row = static_cast<std::uint32_t>(index_of(entry.target));
    if (entry.state == EntryState::waiting && !is_over[at] && row < row_count && is_here[row])
      waiting.emplace_back(entry.place, at);
  });
  std::sort(waiting.begin(), waiting.end());
  for (const auto& [turn, at] : waiting) enqueue(at, entries.get(at));
  for (const std::uint32_t row : rows) {
    if (!is_here[row]) continue;
    held_count -= held[row];
    held[row] = 0;
  }
}

// Its turn has come, and it was not sent to, or to a station that is gone.
bool EngineLoop::State::is_owed(const Operation& operation, std::uint32_t place) noexcept {
  if (!operation.is_outstanding(place) || operation.is_sent(place)) return false;
  // relaxed: our own past store.
  const bool has_left = operation.key[place] < operation.words->next_key.load_relaxed();
  return has_left || operation.state == OperationState::ended ||
         operation.sent_units(place) == kSentBefore || is_leaving(operation, place);
}

// Its bucket is leaving, and this place has had its turn.
bool EngineLoop::State::is_leaving(const Operation& operation, std::uint32_t place) noexcept {
  if (!operation.has_bucket_left()) return false;
  const std::uint32_t key = operation.next_key();
  if (operation.key[place] != key) return false;
  for (std::uint32_t at = operation.next_order; at-- != 0;) {
    const std::uint32_t had_turn = operation.order[at];
    if (operation.key[had_turn] != key) return false;
    if (had_turn == place) return true;
  }
  return false;
}

// A station of the engine before this one.

std::vector<StationId> EngineLoop::awaited() const {
  std::vector<StationId> numbers;
  const State& state = *state_;
  for (std::uint32_t row = 0; row < state.row_count; ++row) {
    const StationId station = state.registry->station_of(agent_index(row));
    if (station == kNoStation || state.link_of(station) != nullptr) continue;
    if (std::find(numbers.begin(), numbers.end(), station) == numbers.end())
      numbers.push_back(station);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// What the inbox holds unread, as marks. Bodies before the first of them have been read.
void EngineLoop::State::mark_unread(StationLink& link) {
  link.marks.resize(std::max<std::size_t>(link.marks.size(), link.inbox.capacity()));  // none yet
  link.own_read = link.own_bodies.head();
  for (std::uint64_t at = link.inbox.cursor(); at != link.inbox.revealed(); ++at) {
    const auto record = link.inbox.at(at).template read_as<sched::DeliveryRecord>();
    if (sched::has(record.flags, sched::RecordFlags::bare)) continue;
    InboxMark mark{.inbox_end = at + 1};
    const std::uint64_t position = sched::position_of(record.message);
    if (sched::is_in_payload_log(record.message)) {
      mark.body = body_at(position);
      if (mark.body == kNoBody) continue;
      mark.count = 1;
      ++bodies[mark.body].unread;
    } else {
      mark.own_end = position + 1;  // at least so far
      link.own_read = std::min(link.own_read, position);
    }
    link.add_unread(mark);
  }
}

// Of the common log's bodies the one at this position, or kNoBody.
std::uint32_t EngineLoop::State::body_at(std::uint64_t position) const noexcept {
  for (std::uint64_t i = body_tail; i != body_head; ++i)
    if (bodies[i % kBodies].position == position) return static_cast<std::uint32_t>(i % kBodies);
  return kNoBody;
}

Status EngineLoop::State::readopt(StationId station, const StationMemory& memory,
                                  std::uint32_t uid) {
  MESH_CHECK_OK(attach(station, memory, uid));
  StationLink& link = *link_of(station);
  std::vector<std::pair<std::uint32_t, std::uint32_t>> by_place;
  for (std::uint32_t row = 0; row < row_count; ++row)
    if (registry->station_of(agent_index(row)) == station)
      by_place.emplace_back(own(owners.place, row), row);
  std::sort(by_place.begin(), by_place.end());
  for (const auto& [at, row] : by_place) {
    self_place[row] = at;
    copied_rows[row] = {};
    link.rows.push_back(row);
    link.next_place = std::max(link.next_place, at + 1);
    set_active(row, state_of(row) != AgentState::quarantined);
    put(agents.queue_depth, row, 0);  // counted again below
  }
  order_is_stale = true;
  const std::uint64_t head = link.inbox.revealed();
  mark_unread(link);
  find_again(link, head);
  link.read_again_until = link.outbox.cursor() + kBurst;
  find_applied(link);
  bring(link, link.rows);
  for (std::uint32_t slot = 0; slot < operations.size(); ++slot) {
    const Operation& operation = operations[slot];
    // relaxed: its writer is dead, or this thread.
    const auto told_state = static_cast<ResultState>(operation.words->result.load_relaxed());
    if (operation.state != OperationState::ended || told_state != ResultState::due) continue;
    const AgentIndex index = registry->resolve(operation.source);
    if (index != kNoAgent && registry->station_of(index) == station) tell_result(slot, true);
  }
  return {};
}

// What the dead engine had placed in this inbox and not shown is sent again; the rest is as it was.
void EngineLoop::State::find_again(StationLink& link, std::uint64_t head) {
  find_messages_again(link, head);
  for (Operation& operation : operations) {
    if (operation.state == OperationState::free) continue;
    for (const std::uint32_t row : link.rows) {
      const std::uint32_t at = operation.place_of(row);
      if (at >= operation.targets || !operation.is_outstanding(at) || !operation.is_sent(at))
        continue;
      // relaxed: its writer is dead.
      if (is_before_head(operation.inbox_place[at].load_relaxed(), head)) {
        put(agents.queue_depth, row, own(agents.queue_depth, row) + 1);
      } else {
        // SYNC operation.sent release: before it is sent once more.
        operation.sent[at].store_release(kSentBefore);
      }
    }
  }
}

void EngineLoop::State::find_messages_again(StationLink& link, std::uint64_t head) {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> unseen;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> waiting;
  entries.for_each([&](std::uint32_t at, const Entry& entry) {
    if (entry.state == EntryState::waiting && link_of_target(entry) == &link)
      waiting.emplace_back(entry.place, at);
    if (entry.state != EntryState::delivered || entry.station != link.number) return;
    if (!before(entry.place, head)) {
      unseen.emplace_back(entry.place, at);
    } else if (entry.kind == sched::RecordKind::message) {
      const auto row = static_cast<std::uint32_t>(index_of(entry.target));
      put(agents.queue_depth, row, own(agents.queue_depth, row) + 1);
    } else {
      is_over[at] = true;  // a reply that is visible
      over.push_back(at);
    }
  });
  std::sort(unseen.begin(), unseen.end());
  std::sort(waiting.begin(), waiting.end());
  for (const auto& [at_place, at] : unseen) {
    if (!hold_entry(at, link.own_bodies_again)) continue;
    ++held[static_cast<std::uint32_t>(index_of(entries.get(at).target))];
    ++held_count;
  }
  for (const auto& [turn, at] : waiting) entries.hold(at, next_turn++);  // behind those
}

// Which records of a burst that is read again have been applied.
void EngineLoop::State::find_applied(StationLink& link) {
  const auto is_of = [&](std::uint64_t low) {
    return static_cast<StationId>(low >> 48) == link.number;
  };
  link.applied.clear();
  entries.for_each([&](std::uint32_t, const Entry& entry) {
    if (is_of(entry.id.low)) link.applied.push_back(entry.id.low);
  });
  for (const Operation& operation : operations)
    if (operation.state != OperationState::free && is_of(operation.id.low))
      link.applied.push_back(operation.id.low);
  std::sort(link.applied.begin(), link.applied.end());
}

Status EngineLoop::State::give_up(StationId station, std::span<std::byte> in,
                                  std::uint32_t declared, HostTime now) {
  if (link_of(station) != nullptr)
    return fail(
        Errc::already_exists,
        "give up station " + std::to_string(static_cast<unsigned>(station)) + ": it is attached");
  advance_to(now);
  BodyLog::Reader bodies_again;
  if (!in.empty()) {
    MESH_TRY(const shm::Layout layout, station_in_layout(declared));
    MESH_TRY(const auto header, layout.array<BodyLog::Header>(in, "bodies.header"));
    const shm::Region* const region = layout.find("bodies");
    MESH_TRY(const auto words, shm::resolve(in, shm::Offset<BodyLog::Word>{region->offset},
                                            region->size_bytes / sizeof(BodyLog::Word)));
    MESH_TRY(bodies_again, BodyLog::Reader::attach(words, header.data()));
  }
  std::vector<std::uint32_t> rows;
  for (std::uint32_t row = 0; row < row_count; ++row)
    if (registry->station_of(agent_index(row)) == station) rows.push_back(row);
  hold_or_drop(station, bodies_again, in.empty());
  rewind_operations(rows);
  rows_go_offline(station, now, Departure::lost);
  free_over();
  return {};
}

// Without its `.in` only what is parked can be kept.
void EngineLoop::State::hold_or_drop(StationId station, const BodyLog::Reader& bodies_again,
                                     bool is_gone) {
  if (is_gone) {
    std::vector<std::uint32_t> lost;
    entries.for_each([&](std::uint32_t at, const Entry& entry) {
      if (entry.state == EntryState::delivered && entry.station == station &&
          entry.parked == parked.kNone && !entry.is_bare())
        lost.push_back(at);
    });
    for (const std::uint32_t at : lost) drop_entry(at, Errc::evicted);
  }
  hold_delivered(station, bodies_again);
}

}  // namespace mesh::engine
