// An engine after another: what stands in `engine` memory, and what is made anew from it.
#include <algorithm>
#include <bit>
#include <string>

#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

template <class T>
T left_in(const ShmWord<T>& word) noexcept {
  return word.load_acquire();  // SYNC operation.state acquire: its writer is dead
}

}  // namespace

Status EngineLoop::State::adopt() {
  // Bodies of the log, oldest first; operations name them by position.
  bool too_many = false;
  const auto walked = log.walk(log.head(), [&](const BodyLog::Body& body) {
    too_many = body_head == kBodies;
    if (!too_many) bodies[body_head++] = {.position = body.position, .slot = kMaxOperations};
    return !too_many;
  });
  if (walked.status != queues::WalkStatus::kDone)
    return fail(Errc::corrupt,
                "payload: no whole body stands at position " + std::to_string(walked.position),
                static_cast<std::int64_t>(walked.position));
  MESH_TRY(auto sorter, sched::BucketSorter::create(row_count, kBucketsPerOperation));
  for (std::uint32_t slot = 0; slot < operations.size(); ++slot)
    MESH_CHECK_OK(adopt_operation(slot, sorter));
  MESH_CHECK_OK(adopt_entries());
  MESH_CHECK_OK(adopt_cascades(*this));
  MESH_CHECK_OK(adopt_pipelines(*this));
  MESH_CHECK_OK(predictor->adopt());
  parked.seal();
  adoption.agents = static_cast<std::uint32_t>(registry->taken());
  adoption.adopted = adoption.agents != 0 || adoption.operations != 0 || adoption.messages != 0;
  return {};
}

Status EngineLoop::State::adopt_operation(std::uint32_t slot, sched::BucketSorter& sorter) {
  Operation& operation = operations[slot];
  const Operation::Words& words = *operation.words;
  const std::uint64_t state = left_in(words.state);
  operation.serial = static_cast<std::uint32_t>(state >> 32);
  operation.state = static_cast<OperationState>(state & 0xFF);
  operation.body = kNoBody;
  operation.parked = parked.kNone;
  if (operation.state == OperationState::free) return {};
  const std::uint64_t body = left_in(words.body);
  const std::uint64_t about = left_in(words.about);
  operation.targets = static_cast<std::uint32_t>(left_in(words.targets));
  if (operation.state > OperationState::ended || operation.targets > operation.room() ||
      left_in(words.bucket_ns) <= 0 || !(std::bit_cast<double>(left_in(words.weight)) >= 0))
    return fail(Errc::corrupt,
                "operation " + std::to_string(slot) + ": state " + std::to_string(state & 0xFF) +
                    ", " + std::to_string(operation.targets) + " targets of at most " +
                    std::to_string(operation.room()),
                slot);
  operation.source = static_cast<AgentId>(left_in(words.source));
  operation.id = {left_in(words.id_high), left_in(words.id_low)};
  operation.target_ns = left_in(words.target_ns);
  operation.planned_ns = left_in(words.planned_ns);
  operation.bucket_ns = left_in(words.bucket_ns);
  operation.expires_ns = left_in(words.expires_ns);
  operation.weight = std::bit_cast<double>(left_in(words.weight));
  operation.part_of = left_in(words.part_of);
  operation.body_bytes = static_cast<std::uint32_t>(body);
  operation.priority = static_cast<sched::Priority>(about >> 16 & 3);
  operation.marks = static_cast<std::uint8_t>(about >> 24 & 0xFF);
  MESH_CHECK_OK(operation.gather->adopt());
  MESH_CHECK_OK(check_rows(operation, slot));
  if (const auto first = static_cast<std::uint32_t>(body >> 32) - 1; first != parked.kNone) {
    MESH_CHECK_OK(parked.adopt(first, sched::kMessageHeaderBytes + operation.body_bytes));
    operation.parked = first;
  }
  find_body(operation, slot);
  ++adoption.operations;
  order_again(operation, sorter);
  skip_what_left(operation, left_in(words.next_key));
  if (operation.state == OperationState::ended) {
    operation.next_order = operation.order_count;
    return {};
  }
  if (operation.body != kNoBody) bodies[operation.body % kBodies].is_open = true;
  start_sending(slot);
  return {};
}

// A narrow one's rows ascend and are of this mesh.
Status EngineLoop::State::check_rows(const Operation& operation, std::uint32_t slot) const {
  if (operation.is_wide()) return {};
  for (std::uint32_t at = 0; at < operation.targets; ++at) {
    if (operation.rows[at] < row_count && (at == 0 || operation.rows[at - 1] < operation.rows[at]))
      continue;
    return fail(Errc::corrupt,
                "operation " + std::to_string(slot) + ": target " + std::to_string(at) +
                    " is row " + std::to_string(operation.rows[at]),
                slot);
  }
  return {};
}

// Where its body stands in the log, if it still does.
void EngineLoop::State::find_body(Operation& operation, std::uint32_t slot) {
  // relaxed: its writer is dead.
  const std::uint64_t position = operation.words->body_position.load_relaxed();
  if (position == kNowhere || operation.parked != parked.kNone) return;
  for (std::uint64_t i = body_tail; i != body_head; ++i) {
    LoggedBody& body = bodies[i % kBodies];
    if (body.position != position) continue;
    body.slot = slot;
    body.serial = operation.serial;
    operation.body = static_cast<std::uint32_t>(i % kBodies);
    return;
  }
}

// The order in which its targets leave, from their buckets.
void EngineLoop::State::order_again(Operation& operation, sched::BucketSorter& sorter) {
  std::uint32_t last = 0;
  for (std::uint32_t place = 0; place < operation.targets; ++place) {
    std::uint16_t& key = operation.key[place];
    if (key < sched::kKeyFirstReserved && operation.gather->scheduled().test(place))
      last = std::max<std::uint32_t>(last, key);
    else
      key = sched::kKeyNotTargeted;
  }
  sorter.sort(operation.key.first(operation.targets), std::min(last + 1, kBucketsPerOperation), {});
  order_buckets(operation, sorter);
}

// Whole buckets, and of the next one those who had their turn.
void EngineLoop::State::skip_what_left(Operation& operation, std::uint64_t next_key) {
  const auto key_at = [&](std::uint32_t at) { return operation.key[operation.order[at]]; };
  operation.next_order = 0;
  while (operation.has_bucket_left() && operation.next_key() < next_key) ++operation.next_order;
  if (!operation.has_bucket_left()) return;
  std::uint32_t bucket_end = operation.next_order + 1;
  while (bucket_end != operation.order_count && key_at(bucket_end) == operation.next_key())
    ++bucket_end;
  std::uint32_t* const first = operation.order.get() + operation.next_order;
  std::uint32_t* const end = operation.order.get() + bucket_end;
  const std::uint32_t* const rest = std::stable_partition(first, end, [&](std::uint32_t place) {
    return operation.sent_before_death(place) != kNotSent;
  });
  operation.next_order += static_cast<std::uint32_t>(rest - first);
}

Status EngineLoop::State::adopt_entries() {
  return entries.adopt([&](std::uint32_t at, const Entry& entry) -> Status {
    ++adoption.messages;
    if (entry.parked != parked.kNone) MESH_CHECK_OK(parked.adopt(entry.parked, entry.size_bytes()));
    if (entry.state != EntryState::delivered && entry.parked == parked.kNone && !entry.is_bare())
      return fail(Errc::corrupt, "unanswered: entry " + std::to_string(at) + " has no body", at);
    if (static_cast<std::size_t>(index_of(entry.target)) >= row_count)
      return fail(Errc::corrupt,
                  "unanswered: entry " + std::to_string(at) + " is for row " +
                      std::to_string(static_cast<std::uint32_t>(index_of(entry.target))) + " of " +
                      std::to_string(row_count),
                  at);
    count_owed(static_cast<std::uint32_t>(index_of(entry.target)));
    if (entry.state == EntryState::waiting) {
      next_turn = std::max(next_turn, entry.place + 1);
      ++held[static_cast<std::uint32_t>(index_of(entry.target))];
      ++held_count;
    } else if (entry.state == EntryState::timed) {
      ++timed_count;
      gate.queued += (entry.marks & kEntryModeQueued) != 0 ? 1 : 0;
      static_cast<void>(wheel->schedule({.operation = kMaxOperations + at,
                                         .bucket = kTimedEntry,
                                         .due_ns = static_cast<std::int64_t>(entry.place)}));
    }
    return {};
  });
}

// What is owed is counted for each agent and for each station.
Status EngineLoop::State::verify_owed() const {
  std::vector<std::uint32_t> by_station(owed_of.size());
  for (std::uint32_t row = 0; row < row_count; ++row)
    by_station[static_cast<std::size_t>(registry->station_of(agent_index(row)))] += owed[row];
  if (by_station == owed_of) return {};
  return fail(Errc::corrupt, "unanswered: what agents owe and what their stations do differ");
}

Status EngineLoop::State::verify() const {
  MESH_CHECK_OK(verify_owed());
  MESH_CHECK_OK(registry->verify());
  MESH_CHECK_OK(topology->verify());
  MESH_CHECK_OK(gate.watch->breakers().verify());
  MESH_CHECK_OK(verify_holds(*this));
  std::size_t blocks = 0;
  for (const Operation& operation : operations) {
    if (operation.state == OperationState::free) continue;
    MESH_CHECK_OK(operation.gather->verify());
    if (operation.parked != parked.kNone)
      blocks += parked.blocks_of(sched::kMessageHeaderBytes + operation.body_bytes);
  }
  blocks += cascades.parked_blocks() + pipelines.parked_blocks();
  std::size_t in_use = 0;
  std::size_t held_here = 0;
  Status status;
  entries.for_each([&](std::uint32_t at, const Entry& entry) {
    ++in_use;
    if (entry.parked != parked.kNone) blocks += parked.blocks_of(entry.size_bytes());
    const auto row = static_cast<std::uint32_t>(index_of(entry.target));
    if (entry.state == EntryState::waiting && !is_over[at] && row < row_count &&
        route_of(*this, row) == nullptr)
      ++held_here;
    if (entry.state == EntryState::delivered && entries.find(entry.message, entry.target) != at)
      status = fail(Errc::corrupt, "unanswered: entry " + std::to_string(at) + " is not found", at);
  });
  MESH_CHECK_OK(status);
  if (in_use != entries.in_use())
    return fail(Errc::corrupt, "unanswered: " + std::to_string(in_use) + " entries in use, " +
                                   std::to_string(entries.in_use()) + " counted");
  if (held_here != held_count)
    return fail(Errc::corrupt, "unanswered: " + std::to_string(held_here) +
                                   " wait for agents that are away, " + std::to_string(held_count) +
                                   " counted");
  if (blocks + parked.free_blocks() != parked.blocks())
    return fail(Errc::corrupt, "parked store: " + std::to_string(blocks) + " blocks named, " +
                                   std::to_string(parked.free_blocks()) + " free, of " +
                                   std::to_string(parked.blocks()));
  return {};
}

}  // namespace mesh::engine
