#include "engine/coordination/exactly_once_queue.hpp"

#include <algorithm>
#include <utility>

#include "engine/coordination/blocks/backoff.hpp"
#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/names.hpp"

namespace mesh::coordination {
namespace {

constexpr Nanos kVisibilityMin{10 * kNsPerMs};
constexpr Nanos kVisibilityMax{12 * 3'600 * kNsPerSecond};

LeaseQueueConfig queue_config(const ExactlyOnceQueueConfig& config) {
  LeaseQueueConfig queue;
  queue.capacity = config.capacity;
  queue.attempts_max = config.attempts_max;
  queue.poison_stations = config.poison_stations;
  queue.priority_levels = config.priority_levels;
  queue.workers_max = config.workers_max;
  queue.aging_ns = config.aging_ns.count();
  queue.steal_after_ns = config.steal_after_ns.count();
  queue.affinity = config.affinity;
  queue.preserve_order = config.preserve_order;
  return queue;
}

BloomShape bloom_shape(const ExactlyOnceQueueConfig& config) {
  if (config.bloom_rate_ppm == 0 || config.dedup_mode != DedupMode::ids) return {64, 1, 1};
  return BloomShape::of(config.dedup_capacity, static_cast<double>(config.bloom_rate_ppm) * 1e-6);
}

}  // namespace

ExactlyOnceQueue::ExactlyOnceQueue(const Config& config, std::uint64_t seed)
    : ServiceForm(config),
      queue_(queue_config(config)),
      store_(config.store_bytes),
      index_(config.dedup_capacity),
      bloom_(bloom_shape(config)),
      entries_(config.dedup_capacity),
      entry_of_slot_(config.capacity, kNone),
      producer_index_(config.producers_max),
      rng_(seed),
      redrives_(std::max(1U, config.redrive_rate_per_s), std::max(1U, config.redrive_rate_per_s)) {
  free_entries_.reserve(config.dedup_capacity);
  for (std::uint32_t i = config.dedup_capacity; i != 0; --i) free_entries_.push_back(i - 1);
  producers_.reserve(config.producers_max);
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::refuse(Errc code, Nanos retry_after) noexcept {
  Reply reply = ServiceForm::refuse(code);
  reply.retry_after = retry_after;
  return reply;
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::refuse_stale() noexcept {
  ++counters_.stale_tokens;
  return refuse(Errc::stale_token);
}

// --- enqueue -----------------------------------------------------------------------------------

Errc ExactlyOnceQueue::check(const once::Enqueue& task) const noexcept {
  if (!is_name(task.id)) return Errc::invalid_id;
  if (!task.affinity_key.empty() && !is_name(task.affinity_key)) return Errc::invalid_id;
  const bool is_possible = task.payload.size() <= config_.payload_bytes_max &&
                           task.priority < config_.priority_levels && task.delay.count() >= 0 &&
                           task.ttl.count() >= 0 && task.delay <= kVisibilityMax * 60 &&
                           task.ttl <= kVisibilityMax * 60;
  return is_possible ? Errc::ok : Errc::invalid_argument;
}

Errc ExactlyOnceQueue::judge_producer(const once::Enqueue& task) const noexcept {
  if (config_.dedup_mode != DedupMode::producer_seq) return Errc::ok;
  const std::uint32_t known = producer_index_.find(hash_of(task.producer, 0));
  if (known == kNone) {
    return producers_.size() < config_.producers_max ? Errc::ok : Errc::capacity;
  }
  const Producer& producer = producers_[known];
  if (task.epoch < producer.epoch) return Errc::stale_token;
  return task.epoch > producer.epoch ? Errc::ok : producer.window.judge(task.sequence);
}

void ExactlyOnceQueue::accept_producer(const once::Enqueue& task) noexcept {
  if (config_.dedup_mode != DedupMode::producer_seq) return;
  const IdHash name = hash_of(task.producer, 0);
  std::uint32_t known = producer_index_.find(name);
  if (known == kNone) {
    known = static_cast<std::uint32_t>(producers_.size());
    producers_.push_back({task.producer, task.epoch, {}});  // reserved
    producer_index_.set(name, known);
  }
  Producer& producer = producers_[known];
  if (task.epoch > producer.epoch) producer = {task.producer, task.epoch, {}};
  producer.window.accept(task.sequence);
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::known(std::uint32_t entry,
                                                std::uint64_t payload_hash) noexcept {
  if (entry != kNone && entries_[entry].payload_hash != payload_hash &&
      !MESH_MUTANT("queue.conflict")) {
    ++counters_.conflicts;
    return refuse(Errc::conflict);
  }
  ++counters_.duplicates;
  Reply reply = refuse(Errc::duplicate);
  if (entry == kNone) return reply;
  const Entry& first = entries_[entry];
  reply.state = state_of(first);
  if (first.slot != kNone) reply.reason = queue_.slot(first.slot).reason;
  if (reply.state == TaskState::completed) reply.result = store_.get(first.body);
  return reply;
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::enqueue(const once::Enqueue& task,
                                                  std::int64_t now_ns) noexcept {
  const Errc bad = check(task);
  if (bad != Errc::ok) return refuse(bad);
  const IdHash id = hash_of(task.id);
  index_.prefetch(id);  // cold: there while the payload is hashed
  const std::uint64_t payload_hash = checksum(task.payload);
  const Errc verdict = judge_producer(task);
  if (verdict == Errc::stale_token && !MESH_MUTANT("queue.epoch")) return refuse_stale();
  if (verdict == Errc::capacity) return refuse(verdict);
  const bool asks_bloom = config_.bloom_rate_ppm != 0 && config_.dedup_mode == DedupMode::ids;
  const bool is_surely_new = asks_bloom && !bloom_.may_contain(id);
  const std::uint32_t entry = is_surely_new ? kNone : find(id, now_ns);
  if (entry != kNone || verdict == Errc::duplicate) return known(entry, payload_hash);
  if (!has_room(now_ns)) {
    const std::int64_t until = oldest_ == kNone ? now_ns : entries_[oldest_].expires_ns;
    return refuse(Errc::capacity, Nanos{std::max<std::int64_t>(0, until - now_ns)});
  }
  const std::size_t name_chunks = ChunkStore::chunks_for(task.id.size());
  const std::size_t chunks = name_chunks + ChunkStore::chunks_for(task.payload.size());
  if (queue_.is_full() || chunks > store_.free_count()) return refuse(Errc::capacity);

  forget_old(now_ns);
  make_room();
  accept_producer(task);
  LeaseItem item;
  item.key = task.affinity_key.empty() ? IdHash{} : hash_of(task.affinity_key);
  item.priority = task.priority;
  item.delay_ns = task.delay.count();
  item.ttl_ns = task.ttl.count() != 0 ? task.ttl.count() : config_.ttl_ns.count();
  const std::uint32_t at = free_entries_.back();
  free_entries_.pop_back();
  Entry& fresh = entries_[at];
  fresh.id = id;
  fresh.payload_hash = payload_hash;
  fresh.expires_ns = now_ns + config_.dedup_window_ns.count();
  fresh.slot = queue_.insert(item, now_ns);
  fresh.set_name(store_.put(std::as_bytes(std::span(task.id))));
  fresh.body = store_.put(task.payload);
  entry_of_slot_[fresh.slot] = at;
  index_.add(id, at);
  to_tail(at);
  remember(id);
  ++counters_.accepted;
  view_changed_ = true;
  Reply reply;
  reply.state = state_of(fresh);
  return reply;
}

// --- leases ------------------------------------------------------------------------------------

void ExactlyOnceQueue::note_deaths(std::int64_t now_ns) noexcept {
  const std::uint64_t died = queue_.deaths() - counters_.deaths;
  if (died == 0) return;
  counters_.deaths = queue_.deaths();
  emit(Event::died, Severity::warning, now_ns, {died, queue_.counts().dead});
}

void ExactlyOnceQueue::expire(std::int64_t now_ns) noexcept {
  const std::uint64_t moved = queue_.expire(now_ns);
  counters_.expired += moved;
  view_changed_ = view_changed_ || moved != 0;
  note_deaths(now_ns);
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::claim(const once::Claim& claim,
                                                std::int64_t now_ns) noexcept {
  if (!is_name(claim.worker)) return refuse(Errc::invalid_id);
  if (claim.max == 0 || claim.max > config_.claim_burst_max) return refuse(Errc::invalid_argument);
  const std::uint32_t worker = queue_.worker(hash_of(claim.worker), claim.station);
  if (worker == kNone) return refuse(Errc::capacity);
  expire(now_ns);
  Reply reply;
  reply.tasks.reserve(std::min<std::uint64_t>(claim.max, queue_.counts().ready));
  for (; reply.count < claim.max; ++reply.count) {
    const std::uint32_t slot = queue_.claim(worker, config_.visibility_ns.count(), now_ns);
    if (slot == kNone) break;
    if (claim.is_ahead) queue_.mark_ahead(slot);
    copy_task(slot, reply.tasks.emplace_back());
    prefetch_behind(slot);
  }
  counters_.claims += reply.count;
  if (reply.count == 0) {
    ++counters_.empty_claims;
    reply.refusal = Refusal::would_block;
    return reply;
  }
  view_changed_ = true;
  reply.state = TaskState::leased;
  return reply;
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::complete(const once::Complete& done,
                                                   std::int64_t now_ns) noexcept {
  if (done.result.size() > config_.payload_bytes_max) return refuse(Errc::invalid_argument);
  const std::uint32_t at = find(hash_of(done.task), now_ns);
  if (at == kNone) return refuse(Errc::not_found);
  Entry& entry = entries_[at];
  Reply reply;
  reply.state = TaskState::completed;
  if (entry.slot == kNone) {
    if (entry.state != TaskState::completed) return refuse(Errc::wrong_state);
    if (done.fence != entry.fence) return refuse_stale();
    ++counters_.completed_again;
    reply.result = store_.get(entry.body);
    return reply;
  }
  // A lease that ran out still counts while nobody else has claimed: the fence alone decides.
  const LeaseSlot& lease = queue_.slot(entry.slot);
  const bool is_stale = done.fence == 0 || lease.fence != done.fence;
  if (is_stale && !MESH_MUTANT("queue.fence")) return refuse_stale();
  if (lease.state == LeaseState::dead) return refuse(Errc::wrong_state);
  const std::size_t freed = ChunkStore::chunks_for(entry.body.size_bytes);
  if (ChunkStore::chunks_for(done.result.size()) > store_.free_count() + freed) {
    return refuse(Errc::capacity);
  }
  drop_bytes(entry);  // the hash is enough for what is over
  entry.body = store_.put(done.result);
  entry.fence = done.fence;
  entry.state = TaskState::completed;
  queue_.finish(entry.slot, now_ns);
  entry_of_slot_[entry.slot] = kNone;
  entry.slot = kNone;
  ++counters_.completed;
  view_changed_ = true;
  reply.result = done.result;
  return reply;
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::complete_all(const once::CompleteAll& done,
                                                       std::int64_t now_ns) noexcept {
  if (done.tasks.empty() || done.tasks.size() > config_.claim_burst_max) {
    return refuse(Errc::invalid_argument);
  }
  Reply reply;
  const std::uint64_t refused = counters_.refused;
  for (const auto& task : done.tasks) {
    reply.codes.push_back(complete(task, now_ns).code);
    reply.count += reply.codes.back() == Errc::ok ? 1U : 0U;
  }
  counters_.refused = refused;  // the command was not
  if (reply.count != 0) reply.state = TaskState::completed;
  return reply;
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::nack(std::uint32_t slot, const once::Nack& nack,
                                               std::int64_t now_ns) noexcept {
  std::int64_t wait_ns = nack.delay.count();
  if (wait_ns == 0 && config_.retry_base_ns.count() != 0) {
    const BackoffConfig backoff{static_cast<double>(config_.retry_base_ns.count()), 2,
                                static_cast<double>(config_.retry_cap_ns.count())};
    const std::uint32_t tried = queue_.slot(slot).attempt - 1;
    wait_ns = static_cast<std::int64_t>(config_.retry_jitter != 0
                                            ? backoff_full_jitter(backoff, tried, rng_)
                                            : backoff_exponential(backoff, tried));
  }
  ++counters_.nacks;
  queue_.void_fence(slot);
  if (nack.is_permanent) {
    queue_.kill(slot, DeathReason::rejected, now_ns);
  } else {
    queue_.retry(slot, now_ns + wait_ns, now_ns);
  }
  note_deaths(now_ns);
  Reply reply;
  reply.state = state_of(entries_[entry_of_slot_[slot]]);
  reply.reason = queue_.slot(slot).reason;
  reply.retry_after = Nanos{reply.state == TaskState::delayed ? wait_ns : 0};
  return reply;
}

// Begin, renew, nack, release: of the task that is leased under this fence, or stale.
ExactlyOnceQueue::Reply ExactlyOnceQueue::of_lease(const Command& command,
                                                   std::int64_t now_ns) noexcept {
  const auto named = [&](const auto& order) {
    const std::uint32_t at = find(hash_of(order.task), now_ns);
    if (at == kNone) return std::pair{Errc::not_found, kNone};
    const std::uint32_t slot = entries_[at].slot;
    const bool holds = slot != kNone && queue_.slot(slot).state == LeaseState::leased &&
                       queue_.slot(slot).fence == order.fence;
    return std::pair{holds ? Errc::ok : Errc::stale_token, slot};
  };
  const auto refused = [&](Errc code) {
    return code == Errc::stale_token ? refuse_stale() : refuse(code);
  };
  Reply reply;
  reply.state = TaskState::leased;
  if (const auto* begin = std::get_if<once::Begin>(&command)) {
    const auto [code, slot] = named(*begin);
    if (code != Errc::ok) return refused(code);
    queue_.begin(slot);
    return reply;
  }
  if (const auto* renew = std::get_if<once::Renew>(&command)) {
    const Nanos extra = renew->extra.count() == 0 ? config_.visibility_ns : renew->extra;
    if (extra < kVisibilityMin || extra > kVisibilityMax) return refuse(Errc::invalid_argument);
    const auto [code, slot] = named(*renew);
    if (code != Errc::ok) return refused(code);
    queue_.renew(slot, now_ns + extra.count());
    reply.expires = Nanos{now_ns} + extra;
    return reply;
  }
  view_changed_ = true;
  if (const auto* tried = std::get_if<once::Nack>(&command)) {
    if (tried->delay.count() < 0 || tried->delay > kVisibilityMax) {
      return refuse(Errc::invalid_argument);
    }
    const auto [code, slot] = named(*tried);
    return code == Errc::ok ? nack(slot, *tried, now_ns) : refused(code);
  }
  const auto [code, slot] = named(std::get<once::Release>(command));
  if (code != Errc::ok) return refused(code);
  queue_.give_back(slot, now_ns);
  ++counters_.released;
  reply.state = TaskState::ready;
  return reply;
}

// --- dead letters, stations --------------------------------------------------------------------

ExactlyOnceQueue::Reply ExactlyOnceQueue::redrive(const once::Redrive& redrive,
                                                  std::int64_t now_ns) noexcept {
  Reply reply;
  // False: so many have gone back lately that what killed them could kill everything else.
  const auto revive = [&](const Entry& entry) {
    const TakeResult taken =
        config_.redrive_rate_per_s == 0 ? TakeResult{} : redrives_.take(now_ns);
    if (taken.status != TakeStatus::kTaken) {
      reply.refusal = Refusal::rejected_rate;
      reply.retry_after = Nanos{taken.retry_after_ns};
      ++counters_.redrives_held;
      return false;
    }
    queue_.revive(entry.slot, now_ns);
    ++reply.count;
    ++counters_.redriven;
    view_changed_ = true;
    return true;
  };
  if (!redrive.task.empty()) {
    const std::uint32_t at = find(hash_of(redrive.task), now_ns);
    if (at == kNone) return refuse(Errc::not_found);
    if (entries_[at].slot == kNone || state_of(entries_[at]) != TaskState::dead) {
      return refuse(Errc::wrong_state);
    }
    revive(entries_[at]);
  }
  for (std::uint32_t at = oldest_; at != kNone && redrive.task.empty(); at = entries_[at].next) {
    if (reply.count == redrive.max) break;
    const bool is_dead = entries_[at].slot != kNone && state_of(entries_[at]) == TaskState::dead;
    if (is_dead && !revive(entries_[at])) break;
  }
  const bool is_held = reply.count == 0 && reply.refusal != Refusal::none;
  reply.state = is_held ? TaskState::dead : TaskState::ready;
  return reply;
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::purge(const once::Purge& purge) noexcept {
  const std::uint32_t at = find(hash_of(purge.task), clock_.last_ns());
  if (at == kNone) return refuse(Errc::not_found);
  Entry& entry = entries_[at];
  if (entry.slot == kNone || state_of(entry) != TaskState::dead) return refuse(Errc::wrong_state);
  queue_.finish(entry.slot, clock_.last_ns());
  entry_of_slot_[entry.slot] = kNone;
  entry.slot = kNone;
  entry.state = TaskState::dead;
  drop_bytes(entry);
  ++counters_.purged;
  view_changed_ = true;
  Reply reply;
  reply.state = TaskState::dead;
  return reply;
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::close_station(std::uint32_t station,
                                                        std::int64_t now_ns) noexcept {
  Reply reply;
  const LeaseQueue::Ended ended = queue_.end_station(station, now_ns);
  reply.count = static_cast<std::uint32_t>(ended.leases);
  counters_.ended_by_station += ended.leases;
  view_changed_ = true;
  note_deaths(now_ns);
  if (ended.poisoned != 0) {
    emit(Event::poisoned, Severity::error, now_ns, {ended.poisoned, station});
  }
  return reply;
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  if (const auto* task = std::get_if<once::Enqueue>(&command)) return enqueue(*task, now_ns);
  if (const auto* wanted = std::get_if<once::Claim>(&command)) return claim(*wanted, now_ns);
  if (const auto* done = std::get_if<once::Complete>(&command)) return complete(*done, now_ns);
  if (const auto* all = std::get_if<once::CompleteAll>(&command)) {
    return complete_all(*all, now_ns);
  }
  if (const auto* again = std::get_if<once::Redrive>(&command)) return redrive(*again, now_ns);
  if (const auto* gone = std::get_if<once::Purge>(&command)) return purge(*gone);
  if (const auto* closed = std::get_if<once::StationClosed>(&command)) {
    return close_station(closed->station, now_ns);
  }
  if (const auto* leaver = std::get_if<once::RemoveWorker>(&command)) {
    return queue_.remove_worker(hash_of(leaver->worker)) ? Reply{} : refuse(Errc::not_found);
  }
  return of_lease(command, now_ns);
}

void ExactlyOnceQueue::tick(Nanos now, Actions& out) noexcept {
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    expire(now_ns);
    forget_old(now_ns);
  }
  out.next_tick = Nanos{queue_.next_deadline_ns()};
  out.view_changed = view_changed_;
  view_changed_ = false;
}

ExactlyOnceQueueView ExactlyOnceQueue::view() const noexcept {
  ExactlyOnceQueueView view{queue_.counts(), counters_.completed, queue_.last_fence(), {}};
  for (std::uint32_t i = 0; i < config_.priority_levels; ++i) view.ready[i] = queue_.ready(i);
  return view;
}

}  // namespace mesh::coordination
