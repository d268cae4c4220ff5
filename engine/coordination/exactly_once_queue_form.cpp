// What a queue looks like from outside: its presets, the range of its config, its bytes.
#include <array>
#include <string>

#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/exactly_once_queue.hpp"

namespace mesh::coordination {
namespace {

constexpr SnapshotKind kKind{"exactly_once_queue", 1};
constexpr std::array<std::string_view, 7> kPresets{
    "default", "strict-fifo-per-key", "high-throughput", "long-tasks", "quick", "durable", "batch"};
constexpr Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }

// The names that users of neighbouring packages know, with the numbers that they expect.
struct Alias {
  Nanos lease;
  std::uint32_t attempts;
  Nanos ttl;
  Nanos window;
  std::uint32_t bloom_ppm;
  Nanos retry_base;
  Nanos retry_cap;
};
ExactlyOnceQueueConfig of_alias(const Alias& alias) {
  ExactlyOnceQueueConfig config;
  config.visibility_ns = alias.lease;
  config.attempts_max = alias.attempts;
  config.ttl_ns = alias.ttl;
  config.dedup_window_ns = alias.window;
  config.bloom_rate_ppm = alias.bloom_ppm;
  config.retry_base_ns = alias.retry_base;
  config.retry_cap_ns = alias.retry_cap;
  config.retry_jitter = 1;
  return config;
}

struct Check {
  bool holds;
  std::string_view sentence;
};

void put_text_or_fence(StateWriter& writer, const std::string& task, std::uint64_t fence) {
  writer.put(task);
  writer.put(fence);
}

once::Bytes bytes_of(StateReader& reader) {
  const auto bytes = reader.get_bytes();
  return {bytes.begin(), bytes.end()};
}
void put_bytes(StateWriter& writer, const once::Bytes& bytes) {
  writer.put(std::span<const std::byte>(bytes));
}

// What most commands carry, whichever they are; then what only some of them do.
template <class Order>
void decode_into(Order& order, StateReader& reader) {
  if constexpr (requires { order.task; }) reader.get(order.task);
  if constexpr (requires { order.fence; }) reader.get(order.fence);
  if constexpr (requires { order.worker; }) reader.get(order.worker);
  if constexpr (requires { order.station; }) reader.get(order.station);
  if constexpr (requires { order.max; }) reader.get(order.max);
  if constexpr (requires { order.is_ahead; }) reader.get(order.is_ahead);
  if constexpr (requires { order.extra; }) reader.get(order.extra);
  if constexpr (requires { order.result; }) order.result = bytes_of(reader);
}
void decode_into(once::Nack& nack, StateReader& reader) {
  reader.get(nack.task);
  reader.get(nack.fence);
  reader.get(nack.is_permanent);
  reader.get(nack.delay);
}
void decode_into(once::Enqueue& task, StateReader& reader) {
  reader.get(task.id);
  reader.get(task.affinity_key);
  reader.get(task.priority);
  task.payload = bytes_of(reader);
  reader.get(task.delay);
  reader.get(task.ttl);
  reader.get(task.producer);
  reader.get(task.epoch);
  reader.get(task.sequence);
}

}  // namespace

std::string_view to_string(TaskState state) noexcept {
  constexpr std::array<std::string_view, 6> kNames{"unknown", "ready",     "delayed",
                                                   "leased",  "completed", "dead"};
  const auto index = static_cast<std::size_t>(state);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::span<const std::string_view> ExactlyOnceQueueConfig::names() noexcept { return kPresets; }

Result<ExactlyOnceQueueConfig> ExactlyOnceQueueConfig::preset(std::string_view name) {
  ExactlyOnceQueueConfig config;
  if (name == "default") return config;
  if (name == "strict-fifo-per-key") {
    config.affinity = Affinity::strict;
    return config;
  }
  if (name == "high-throughput") {
    config.dedup_mode = DedupMode::producer_seq;
    config.visibility_ns = seconds(10);
    config.claim_burst_max = 64;
    return config;
  }
  if (name == "long-tasks") {
    config.visibility_ns = seconds(600);
    return config;
  }
  if (name == "quick") {
    return of_alias({seconds(30), 3, seconds(300), seconds(120), 10'000, seconds(1), seconds(15)});
  }
  if (name == "durable") {
    return of_alias(
        {seconds(300), 5, seconds(3'600), seconds(3'600), 1'000, seconds(5), seconds(300)});
  }
  if (name == "batch") {
    return of_alias(
        {seconds(60), 2, seconds(600), seconds(60), 50'000, Nanos{500 * kNsPerMs}, seconds(5)});
  }
  return unknown_preset("exactly-once queue", name, kPresets);
}

Status ExactlyOnceQueue::validate(const Config& config) {
  const Nanos visibility_max = seconds(12 * 3'600);
  const double window_s = static_cast<double>(config.dedup_window_ns.count()) * 1e-9;
  const bool is_by_id = config.dedup_mode == DedupMode::ids;
  const std::array<Check, 14> checks{{
      {config.capacity >= 1 && config.capacity <= 1U << 24, "capacity is outside 1..16777216"},
      {config.visibility_ns.count() >= 10 * kNsPerMs && config.visibility_ns <= visibility_max,
       "visibility_ns is outside 10 ms..12 h"},
      {config.poison_stations <= LeaseSlot::kStationsMax, "poison_stations is above 4"},
      {config.dedup_window_ns.count() >= kNsPerMs, "dedup_window_ns is below 1 ms"},
      {config.dedup_capacity >= config.capacity && config.dedup_capacity <= 1U << 28,
       "dedup_capacity is outside capacity..268435456"},
      {!is_by_id || config.dedup_capacity >= config.expected_rate_per_s * window_s,
       "dedup_capacity is below expected_rate_per_s times dedup_window_ns"},
      {config.bloom_rate_ppm < 1'000'000, "bloom_rate_ppm is not below 1000000"},
      {config.priority_levels >= 1 && config.priority_levels <= LeaseQueue::kLevelsMax,
       "priority_levels is outside 1..16"},
      {config.aging_ns.count() > 0 && config.steal_after_ns.count() >= 0,
       "aging_ns is not above 0, or steal_after_ns below 0"},
      {config.retry_base_ns.count() >= 0 && config.retry_cap_ns >= config.retry_base_ns &&
           config.retry_cap_ns <= visibility_max,
       "retry_base_ns is below 0 or above retry_cap_ns, or that above 12 h"},
      {config.ttl_ns.count() >= 0, "ttl_ns is below 0"},
      {config.producers_max >= 1 && config.workers_max >= 1 && config.workers_max <= 65'536,
       "producers_max is below 1, or workers_max outside 1..65536"},
      {config.claim_burst_max >= 1 && config.claim_burst_max <= 4'096,
       "claim_burst_max is outside 1..4096"},
      {config.store_bytes >= config.payload_bytes_max && config.store_bytes <= 1ULL << 36,
       "store_bytes is outside payload_bytes_max..64 GiB"},
  }};
  for (const auto& check : checks) {
    if (!check.holds) {
      return fail(Errc::invalid_config, "exactly-once queue: " + std::string(check.sentence));
    }
  }
  return {};
}

// --- state -------------------------------------------------------------------------------------

void ExactlyOnceQueue::save_state(StateWriter& writer) const {
  queue_.save(writer);
  rng_.save(writer);
  writer.put(static_cast<std::uint32_t>(producers_.size()));
  for (const auto& producer : producers_) {
    writer.put(producer.id);
    writer.put(producer.epoch);
    producer.window.save(writer);
  }
  writer.put(static_cast<std::uint32_t>(index_.count()));
  for (std::uint32_t at = oldest_; at != kNone; at = entries_[at].next) {
    const Entry& entry = entries_[at];
    entry.id.save(writer);
    writer.put(entry.payload_hash);
    writer.put(entry.fence);
    writer.put(entry.expires_ns);
    writer.put(entry.state);
    put_bytes(writer, store_.get(entry.name));
    put_bytes(writer, store_.get(entry.body));
    writer.put(entry.slot != kNone);
    if (entry.slot != kNone) queue_.save_slot(entry.slot, writer);
  }
}

void ExactlyOnceQueue::load_entry(StateReader& reader) {
  if (free_entries_.empty()) return reader.fail();
  const std::uint32_t at = free_entries_.back();
  Entry& entry = entries_[at];
  entry.id.load(reader);
  reader.get(entry.payload_hash);
  reader.get(entry.fence);
  reader.get(entry.expires_ns);
  entry.state = reader.get_enum(TaskState::dead);
  const auto name = reader.get_bytes();
  const auto body = reader.get_bytes();
  const std::size_t chunks =
      ChunkStore::chunks_for(name.size()) + ChunkStore::chunks_for(body.size());
  const bool is_impossible = chunks > store_.free_count() || index_.find(entry.id) != kNone;
  if (is_impossible) reader.fail();
  if (reader.failed()) return;
  free_entries_.pop_back();
  entry.name = store_.put(name);
  entry.body = store_.put(body);
  if (reader.get<bool>()) entry.slot = queue_.load_slot(reader);
  if (entry.slot != kNone) entry_of_slot_[entry.slot] = at;
  index_.set(entry.id, at);
  to_tail(at);
  remember(entry.id);
}

void ExactlyOnceQueue::load_state(StateReader& reader) {
  queue_.load(reader);
  rng_.load(reader);
  const std::size_t producers = reader.get_count(8 + 4 + 8 + 128);
  if (producers > config_.producers_max) return reader.fail();
  for (std::size_t i = 0; i < producers; ++i) {
    Producer producer;
    reader.get(producer.id);
    reader.get(producer.epoch);
    producer.window.load(reader);
    producer_index_.set(hash_of(producer.id, 0), static_cast<std::uint32_t>(i));
    producers_.push_back(producer);
  }
  const std::size_t entries = reader.get_count(16 + 3 * 8 + 1 + 8 + 1);
  for (std::size_t i = 0; i < entries && !reader.failed(); ++i) load_entry(reader);
  if (!reader.failed()) queue_.relink();
}

Snapshot ExactlyOnceQueue::snapshot() const {
  StateWriter writer;
  save_state(writer);
  clock_.save(writer);
  save_counters(counters_, writer);
  return seal_snapshot(kKind, writer.bytes());
}

Result<ExactlyOnceQueue> ExactlyOnceQueue::restore(const Config& config, const Snapshot& snapshot) {
  MESH_CHECK_OK(validate(config));
  MESH_TRY(const auto body, open_snapshot(kKind, snapshot.bytes));
  ExactlyOnceQueue queue(config);
  StateReader reader(body);
  queue.load_state(reader);
  queue.clock_.load(reader);
  load_counters(queue.counters_, reader);
  MESH_CHECK_OK(reader.finish("exactly-once queue: snapshot"));
  queue.bloom_window_ = queue.clock_.last_ns() / config.dedup_window_ns.count();
  MESH_CHECK_OK(queue.verify());
  return queue;
}

std::uint64_t ExactlyOnceQueue::state_hash() const {
  StateWriter writer;
  save_state(writer);
  return checksum(writer.bytes());
}

Status ExactlyOnceQueue::verify() const {
  std::size_t chunks = 0;
  std::size_t live = 0;
  std::size_t listed = 0;
  for (std::uint32_t at = oldest_; at != kNone && listed <= entries_.size();
       at = entries_[at].next, ++listed) {
    const Entry& entry = entries_[at];
    chunks += ChunkStore::chunks_for(entry.name.size_bytes);
    chunks += ChunkStore::chunks_for(entry.body.size_bytes);
    live += entry.slot != kNone && entry_of_slot_[entry.slot] == at ? 1U : 0U;
  }
  const std::array<Check, 6> checks{{
      {queue_.is_consistent(), "the lease queue is not whole"},
      {live == queue_.counts().sum(), "a task has no id, or an id another's task"},
      {listed == index_.count() && listed + free_entries_.size() == entries_.size(),
       "the ids by age are not those of the index"},
      {chunks + store_.free_count() == store_.chunk_count(), "bytes are lost or used twice"},
      {counters_.accepted == queue_.counts().sum() + counters_.completed + counters_.purged,
       "accepted is not live + completed + purged"},
      {counters_.deaths == queue_.deaths(), "a death was not counted"},
  }};
  for (const auto& check : checks) {
    if (!check.holds) {
      return fail(Errc::corrupt, "exactly-once queue: " + std::string(check.sentence));
    }
  }
  return {};
}

// --- commands and replies ----------------------------------------------------------------------

void ExactlyOnceQueue::encode(const Command& command, StateWriter& writer) {
  writer.put(static_cast<std::uint8_t>(command.index()));
  if (const auto* task = std::get_if<once::Enqueue>(&command)) {
    writer.put(task->id);
    writer.put(task->affinity_key);
    writer.put(task->priority);
    put_bytes(writer, task->payload);
    writer.put(task->delay);
    writer.put(task->ttl);
    writer.put(task->producer);
    writer.put(task->epoch);
    writer.put(task->sequence);
  } else if (const auto* claim = std::get_if<once::Claim>(&command)) {
    writer.put(claim->worker);
    writer.put(claim->station);
    writer.put(claim->max);
    writer.put(claim->is_ahead);
  } else if (const auto* begin = std::get_if<once::Begin>(&command)) {
    put_text_or_fence(writer, begin->task, begin->fence);
  } else if (const auto* renew = std::get_if<once::Renew>(&command)) {
    put_text_or_fence(writer, renew->task, renew->fence);
    writer.put(renew->extra);
  } else if (const auto* done = std::get_if<once::Complete>(&command)) {
    put_text_or_fence(writer, done->task, done->fence);
    put_bytes(writer, done->result);
  } else if (const auto* nack = std::get_if<once::Nack>(&command)) {
    put_text_or_fence(writer, nack->task, nack->fence);
    writer.put(nack->is_permanent);
    writer.put(nack->delay);
  } else if (const auto* release = std::get_if<once::Release>(&command)) {
    put_text_or_fence(writer, release->task, release->fence);
  } else if (const auto* again = std::get_if<once::Redrive>(&command)) {
    writer.put(again->task);
    writer.put(again->max);
  } else if (const auto* closed = std::get_if<once::StationClosed>(&command)) {
    writer.put(closed->station);
  } else {
    const auto* purge = std::get_if<once::Purge>(&command);
    writer.put(purge != nullptr ? purge->task : std::get<once::RemoveWorker>(command).worker);
  }
}

ExactlyOnceQueue::Command ExactlyOnceQueue::decode_command(StateReader& reader) {
  Command command = command_of_index<Command>(reader);
  std::visit([&](auto& order) { decode_into(order, reader); }, command);
  return command;
}

void ExactlyOnceQueue::encode(const Reply& reply, StateWriter& writer) {
  writer.put(reply.code);
  writer.put(reply.refusal);
  writer.put(reply.state);
  writer.put(reply.reason);
  writer.put(reply.count);
  writer.put(reply.expires);
  writer.put(reply.retry_after);
  put_bytes(writer, reply.result);
  writer.put(static_cast<std::uint32_t>(reply.tasks.size()));
  for (const auto& task : reply.tasks) {
    put_text_or_fence(writer, task.id, task.fence);
    writer.put(task.attempt);
    writer.put(task.expires);
    put_bytes(writer, task.payload);
  }
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::decode_reply(StateReader& reader) {
  Reply reply;
  reader.get(reply.code);
  reply.refusal = reader.get_enum(Refusal::no_credit);
  reply.state = reader.get_enum(TaskState::dead);
  reply.reason = reader.get_enum(DeathReason::rejected);
  reader.get(reply.count);
  reader.get(reply.expires);
  reader.get(reply.retry_after);
  reply.result = bytes_of(reader);
  const std::size_t tasks = reader.get_count(4 + 8 + 4 + 8 + 4);
  for (std::size_t i = 0; i < tasks; ++i) {
    ClaimedTask task;
    reader.get(task.id);
    reader.get(task.fence);
    reader.get(task.attempt);
    reader.get(task.expires);
    task.payload = bytes_of(reader);
    reply.tasks.push_back(std::move(task));
  }
  return reply;
}

}  // namespace mesh::coordination
