// How an outbox brings its events to workers: who owns a partition, who may leave, what comes back,
// and what becomes of an event that nobody takes.
#include <algorithm>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/outbox.hpp"

namespace mesh::coordination {

// --- chains ------------------------------------------------------------------------------------

void Outbox::into_chain(std::uint32_t at) noexcept {
  Record& record = records_[at];
  if (config_.head_of_line == HeadOfLine::none) return;
  const bool is_by_key = config_.head_of_line == HeadOfLine::block_key;
  const IdHash key = is_by_key ? record.key : hash_of(partition_of(record.id), 1);
  std::uint32_t chain = chain_index_.find(key);
  if (chain == kNone) {
    chain = free_chains_.back();  // as many as records
    free_chains_.pop_back();
    chains_[chain] = {key, kNone, kNone};
    chain_index_.set(key, chain);
  }
  Chain& line = chains_[chain];
  record.chain = chain;
  record.chain_rank = ++rank_;
  record.chain_next = kNone;
  (line.first == kNone ? line.first : records_[line.last].chain_next) = at;
  line.last = at;
}

bool Outbox::is_first_of_chain(std::uint32_t at) const noexcept {
  const std::uint32_t chain = records_[at].chain;
  return chain == kNone || chains_[chain].first == at || MESH_MUTANT("outbox.head_of_line");
}

// The first one leaves; whoever is next may go.
void Outbox::out_of_chain(std::uint32_t at) noexcept {
  Record& record = records_[at];
  if (record.chain == kNone) return;
  Chain& line = chains_[record.chain];
  line.first = record.chain_next;
  if (line.first == kNone) {
    chain_index_.erase(line.key);
    free_chains_.push_back(record.chain);  // reserved
  } else {
    make_ready(line.first);
  }
  record.chain = kNone;
  record.chain_rank = 0;
  record.chain_next = kNone;
}

void Outbox::make_ready(std::uint32_t at) noexcept {
  Record& record = records_[at];
  Partition& partition = partitions_[partition_of(record.id)];
  record.rank = ++rank_;
  record.ready_next = kNone;
  (partition.ready_first == kNone ? partition.ready_first
                                  : records_[partition.ready_last].ready_next) = at;
  partition.ready_last = at;
}

void Outbox::wait_until(std::uint32_t at, std::int64_t due_ns) noexcept {
  Record& record = records_[at];
  record.due_ns = due_ns;
  deadlines_.set(at, due_ns, record.id);
}

// --- dispatch ----------------------------------------------------------------------------------

void Outbox::dispatch(Partition& partition, std::int64_t now_ns, Actions& out) noexcept {
  if (partition.owner == kNone) return;
  for (std::uint32_t i = 0; i < config_.burst_max && partition.ready_first != kNone; ++i) {
    const std::uint32_t at = partition.ready_first;
    Record& record = records_[at];
    partition.ready_first = record.ready_next;
    record.ready_next = kNone;
    record.rank = 0;
    record.state = EventState::dispatched;
    record.worker = partition.owner;
    record.fence = fence_.next();
    ++record.attempts;
    wait_until(at, now_ns + config_.confirm_timeout_ns.count());
    --partition.pending;
    --pending_;
    ++partition.dispatched;
    ++dispatched_;
    ++counters_.dispatched;
    view_changed_ = true;
    out.deliveries.push_back({record.id, record.fence, record.worker, record.attempts});
  }
}

// Back to pending, whatever comes next; its fence is void.
void Outbox::undispatch(Record& record) noexcept {
  Partition& partition = partitions_[partition_of(record.id)];
  --partition.dispatched;
  --dispatched_;
  record.worker = kNone;
  record.state = EventState::unknown;
}

void Outbox::expire(std::int64_t now_ns) noexcept {
  for (std::uint32_t at = deadlines_.pop_due(now_ns); at != kNone;
       at = deadlines_.pop_due(now_ns)) {
    Record& record = records_[at];
    if (record.state == EventState::pending) {
      make_ready(at);
      continue;
    }
    ++counters_.timeouts;
    note_error(record, "no confirmation in time");
    undispatch(record);
    try_again(at, now_ns);
    view_changed_ = true;
  }
}

void Outbox::tick(Nanos now, Actions& out) noexcept {
  out.deliveries.clear();
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    for (std::uint32_t i = 0; i < workers_.size(); ++i) {
      const Worker& worker = workers_[i];
      const bool is_lost = now_ns - worker.heard_ns >= config_.heartbeat_timeout_ns.count();
      if (worker.name.empty() || !is_lost || MESH_MUTANT("outbox.silent_worker")) continue;
      lose_worker(i, now_ns);
    }
    expire(now_ns);
    if (config_.push || now_ns >= next_poll_ns_) {
      for (auto& partition : partitions_) dispatch(partition, now_ns, out);
      next_poll_ns_ = now_ns + config_.poll_interval_ns.count();
    }
    if (now_ns >= next_compaction_ns_) {
      compact(now_ns);
      next_compaction_ns_ = now_ns + config_.compaction_interval_ns.count();
    }
  }
  const std::int64_t poll_ns = pending_ == 0 ? INT64_MAX : next_poll_ns_;
  out.next_tick = Nanos{std::min({deadlines_.next_ns(), poll_ns, next_compaction_ns_})};
  out.view_changed = std::exchange(view_changed_, false);
}

// --- dead letters ------------------------------------------------------------------------------

// Where the dead have no place left the event stays where it is, and its key stands still: it is
// never dropped.
void Outbox::bury(std::uint32_t at, std::int64_t now_ns) noexcept {
  Record& record = records_[at];
  Partition& partition = partitions_[partition_of(record.id)];
  ++partition.dead;
  if (dead_ >= config_.dead_max && !MESH_MUTANT("outbox.dead_full")) {
    record.state = EventState::stuck;
    ++stuck_;
    emit(Event::dead_full, Severity::error, now_ns, {record.id});
    return;
  }
  record.state = EventState::dead;
  ++dead_;
  ++counters_.dead;
  if (!config_.dead_halts_key) out_of_chain(at);
  emit(Event::died, Severity::warning, now_ns, {record.id, record.attempts});
}

// A place is free: for the one that has waited for it longest.
void Outbox::bury_stuck(std::int64_t now_ns) noexcept {
  if (stuck_ == 0 || dead_ >= config_.dead_max) return;
  std::uint32_t oldest = kNone;
  for (std::uint32_t i = 0; i < records_.size(); ++i) {
    const Record& record = records_[i];
    if (record.id == 0 || record.state != EventState::stuck) continue;
    const bool is_older = oldest == kNone || record.fence < records_[oldest].fence;
    if (is_older) oldest = i;
  }
  --stuck_;
  --partitions_[partition_of(records_[oldest].id)].dead;
  bury(oldest, now_ns);
}

void Outbox::revive(std::uint32_t at, std::int64_t now_ns) noexcept {
  Record& record = records_[at];
  Partition& partition = partitions_[partition_of(record.id)];
  --partition.dead;
  --dead_;
  ++partition.pending;
  ++pending_;
  record.state = EventState::pending;
  record.attempts = 0;
  record.wait_ns = 0;
  ++record.replays;
  ++counters_.replays;
  if (record.chain == kNone) into_chain(at);  // behind its key's others
  if (is_first_of_chain(at)) make_ready(at);
  view_changed_ = true;
  bury_stuck(now_ns);
}

Outbox::Reply Outbox::replay(const outbox::Replay& command, std::int64_t now_ns) noexcept {
  Reply reply;
  reply.state = EventState::pending;
  if (command.event != 0) {
    const std::uint32_t at = index_.find(hash_of(command.event, 0));
    if (at == kNone) return refuse(Errc::not_found);
    if (records_[at].state != EventState::dead) return refuse(Errc::wrong_state);
    revive(at, now_ns);
    reply.count = 1;
    return reply;
  }
  for (const auto& letter : dead(command.max)) {
    revive(index_.find(hash_of(letter.event, 0)), now_ns);
    ++reply.count;
  }
  return reply;
}

Outbox::Reply Outbox::purge(const outbox::Purge& command, std::int64_t now_ns) noexcept {
  const std::uint32_t at = index_.find(hash_of(command.event, 0));
  if (at == kNone) return refuse(Errc::not_found);
  Record& record = records_[at];
  if (record.state != EventState::dead) return refuse(Errc::wrong_state);
  --partitions_[partition_of(record.id)].dead;
  --dead_;
  ++counters_.purged;
  out_of_chain(at);
  if (record.in_log) out_of_log(at);
  free_record(at);
  view_changed_ = true;
  bury_stuck(now_ns);
  Reply reply;
  reply.count = 1;
  return reply;
}

// --- workers -----------------------------------------------------------------------------------

std::uint32_t Outbox::worker_named(std::string_view name) const noexcept {
  for (std::uint32_t i = 0; i < workers_.size(); ++i) {
    if (!workers_[i].name.empty() && workers_[i].name == name) return i;
  }
  return kNone;
}

// Each partition goes to the worker whose hash with it is the highest: who comes or goes moves only
// what it wins or held.
void Outbox::assign() noexcept {
  for (std::uint32_t p = 0; p < partitions_.size(); ++p) {
    std::uint32_t best = kNone;
    std::uint64_t best_score = 0;
    for (std::uint32_t i = 0; i < workers_.size(); ++i) {
      if (workers_[i].name.empty() || workers_[i].is_draining) continue;
      const std::uint64_t score = hash_of(workers_[i].hash, p).low;
      if (best != kNone && score <= best_score) continue;
      best = i;
      best_score = score;
    }
    if (partitions_[p].owner == best) continue;
    partitions_[p].owner = best;
    ++partitions_[p].epoch;
    view_changed_ = true;
  }
}

// What it held goes back, in the order of the log, and at once: the attempt was not its own.
std::uint64_t Outbox::lose_worker(std::uint32_t worker, std::int64_t now_ns) noexcept {
  std::uint64_t back = 0;
  for (std::uint32_t i = 0; i < records_.size() && dispatched_ != 0; ++i) {
    Record& record = records_[i];
    if (record.id == 0 || record.state != EventState::dispatched || record.worker != worker) {
      continue;
    }
    deadlines_.clear(i);
    undispatch(record);
    record.state = EventState::pending;
    wait_until(i, now_ns);  // by its id among the due: in the order of the log
    ++partitions_[partition_of(record.id)].pending;
    ++pending_;
    ++back;
  }
  workers_[worker].name.clear();
  counters_.taken_back += back;
  emit(Event::worker_lost, back == 0 ? Severity::info : Severity::warning, now_ns, {worker, back});
  assign();
  return back;
}

Outbox::Reply Outbox::add_worker(const outbox::AddWorker& command, std::int64_t now_ns) noexcept {
  if (!is_name(command.name)) return refuse(Errc::invalid_id);
  if (worker_named(command.name) != kNone) return refuse(Errc::already_exists);
  const auto free = std::find_if(workers_.begin(), workers_.end(),
                                 [](const Worker& worker) { return worker.name.empty(); });
  if (free == workers_.end()) return refuse(Errc::capacity);
  free->name.assign(command.name);
  free->hash = hash_of(command.name).low;
  free->station = command.station;
  free->is_draining = false;
  free->heard_ns = now_ns;
  assign();
  Reply reply;
  reply.index = static_cast<std::uint32_t>(free - workers_.begin());
  return reply;
}

Outbox::Reply Outbox::of_worker(const Command& command, std::int64_t now_ns) noexcept {
  if (const auto* added = std::get_if<outbox::AddWorker>(&command)) {
    return add_worker(*added, now_ns);
  }
  Reply reply;
  if (const auto* heard = std::get_if<outbox::Heartbeat>(&command)) {
    reply.index = worker_named(heard->name);
    if (reply.index == kNone) return refuse(Errc::not_found);
    workers_[reply.index].heard_ns = now_ns;
  } else if (const auto* drained = std::get_if<outbox::Drain>(&command)) {
    reply.index = worker_named(drained->name);
    if (reply.index == kNone) return refuse(Errc::not_found);
    workers_[reply.index].is_draining = true;
    assign();
  } else if (const auto* gone = std::get_if<outbox::RemoveWorker>(&command)) {
    reply.index = worker_named(gone->name);
    if (reply.index == kNone) return refuse(Errc::not_found);
    reply.count = static_cast<std::uint32_t>(lose_worker(reply.index, now_ns));
  }
  return reply;
}

Outbox::Reply Outbox::close_station(std::uint32_t station, std::int64_t now_ns) noexcept {
  Reply reply;
  for (std::uint32_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].name.empty() || workers_[i].station != station) continue;
    reply.count += static_cast<std::uint32_t>(lose_worker(i, now_ns));
  }
  return reply;
}

}  // namespace mesh::coordination
