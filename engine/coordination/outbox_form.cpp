// What an outbox looks like from outside: its presets, the range of its config, its bytes.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/outbox.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 6> kPresets{"agent-event-bus",       "audit-log",
                                                   "high-volume-telemetry", "low-latency",
                                                   "high-throughput",       "reliable-delivery"};
constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

OutboxConfig audit_log() {
  OutboxConfig config;
  config.partition_count = 1;
  config.head_of_line = HeadOfLine::block_partition;
  config.retention_ns = kForever;
  config.attempts_max = 0;
  return config;
}
OutboxConfig telemetry() {
  OutboxConfig config;
  config.partition_count = 64;
  config.burst_max = 1'000;
  config.head_of_line = HeadOfLine::none;
  config.retention_ns = ms(300'000);
  return config;
}
OutboxConfig low_latency() {
  OutboxConfig config;
  config.push = true;
  config.poll_interval_ns = ms(5);
  config.burst_max = 16;
  return config;
}
// The names that users of neighbouring packages know, with the numbers that they expect.
OutboxConfig high_throughput() {
  OutboxConfig config;
  config.burst_max = 200;
  config.poll_interval_ns = ms(50);
  config.attempts_max = 3;
  config.retry_base_ns = ms(200);
  config.retry_cap_ns = ms(10'000);
  config.head_of_line = HeadOfLine::none;
  config.heartbeat_timeout_ns = ms(15'000);
  config.inbox_max = 50'000;
  config.inbox_window_ns = ms(30 * 60'000);
  return config;
}
OutboxConfig reliable_delivery() {
  OutboxConfig config;
  config.partition_count = 4;
  config.burst_max = 20;
  config.poll_interval_ns = ms(500);
  config.attempts_max = 10;
  config.retry_base_ns = ms(1'000);
  config.retry_cap_ns = ms(120'000);
  config.retention_ns = ms(7 * 86'400'000LL);
  config.cdc = false;
  config.heartbeat_timeout_ns = ms(60'000);
  config.inbox_max = 100'000;
  return config;
}

}  // namespace

std::string_view to_string(EventState state) noexcept {
  constexpr std::array<std::string_view, 6> kNames{"unknown",   "pending",       "dispatched",
                                                   "confirmed", "dead_lettered", "stuck"};
  const auto index = static_cast<std::size_t>(state);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::span<const std::string_view> OutboxConfig::names() noexcept { return kPresets; }

Result<OutboxConfig> OutboxConfig::preset(std::string_view name) {
  if (name == "agent-event-bus") return OutboxConfig{};
  if (name == "audit-log") return audit_log();
  if (name == "high-volume-telemetry") return telemetry();
  if (name == "low-latency") return low_latency();
  if (name == "high-throughput") return high_throughput();
  if (name == "reliable-delivery") return reliable_delivery();
  return unknown_preset("outbox", name, kPresets);
}

Status Outbox::validate(const Config& config) {
  const auto within = [](std::uint64_t value, std::uint64_t most) {
    return value >= 1 && value <= most;
  };
  const std::array checks{
      Check{within(config.partition_count, kPartitionsMax), "partition_count is outside 1..1024"},
      Check{within(config.burst_max, 65'536), "burst_max is outside 1..65536"},
      Check{is_positive_duration(config.poll_interval_ns),
            "poll_interval_ns is outside 1 ns..36 years"},
      Check{is_positive_duration(config.retry_base_ns) &&
                config.retry_cap_ns >= config.retry_base_ns && is_duration(config.retry_cap_ns),
            "retry_base_ns is not above 0, or retry_cap_ns below it or above 36 years"},
      Check{config.retry_multiplier >= 1 && config.retry_multiplier <= 100,
            "retry_multiplier is outside 1..100"},
      Check{config.retry_jitter <= RetryJitter::decorrelated &&
                config.head_of_line <= HeadOfLine::block_partition,
            "retry_jitter or head_of_line is no such value"},
      Check{is_positive_duration(config.confirm_timeout_ns),
            "confirm_timeout_ns is outside 1 ns..36 years"},
      Check{is_positive_duration(config.heartbeat_timeout_ns),
            "heartbeat_timeout_ns is outside 1 ns..36 years"},
      Check{is_duration(config.retention_ns) || config.retention_ns == kForever,
            "retention_ns is outside 0..36 years and not for ever"},
      Check{is_positive_duration(config.compaction_interval_ns),
            "compaction_interval_ns is outside 1 ns..36 years"},
      Check{is_positive_duration(config.cursor_idle_max_ns),
            "cursor_idle_max_ns is outside 1 ns..36 years"},
      Check{within(config.events_capacity, 1U << 24), "events_capacity is outside 1..16777216"},
      Check{within(config.pending_max, config.events_capacity),
            "pending_max is outside 1..events_capacity"},
      Check{within(config.dead_max, config.events_capacity),
            "dead_max is outside 1..events_capacity"},
      Check{within(config.entities_max, 1U << 24), "entities_max is outside 1..16777216"},
      Check{within(config.cursors_max, 1'024) && within(config.workers_max, 1'024) &&
                within(config.topics_max, 65'536),
            "cursors_max, workers_max or topics_max is outside 1..1024, 1024, 65536"},
      Check{within(config.inbox_max, 1U << 24) && is_positive_duration(config.inbox_window_ns),
            "inbox_max is outside 1..16777216, or inbox_window_ns outside 1 ns..36 years"},
      Check{within(config.payload_bytes_max, 16U << 20),
            "payload_bytes_max is outside 1..16777216"},
      Check{within(config.commit_items_max, 4'096), "commit_items_max is outside 1..4096"},
      Check{config.store_bytes >= config.payload_bytes_max && config.store_bytes <= 1ULL << 36,
            "store_bytes is outside payload_bytes_max..64 GiB"},
      events_in_range(config),
  };
  return all_hold(Errc::invalid_config, checks);
}

// --- state -------------------------------------------------------------------------------------

void Outbox::save_record(std::uint32_t at, StateWriter& writer) const {
  const Record& record = records_[at];
  writer.put(record.id);
  record.key.save(writer);
  writer.put(record.state);
  writer.put(record.is_change);
  writer.put(record.in_log);
  writer.put(deadlines_.has(at));
  for (const auto number : {record.attempts, record.replays, record.worker}) writer.put(number);
  for (const auto number :
       {record.fence, record.rank, record.chain_rank, record.hash_before, record.hash_after}) {
    writer.put(number);
  }
  for (const auto ns : {record.appended_ns, record.due_ns, record.wait_ns}) writer.put(ns);
  for (const auto* bytes : {&record.body, &record.first_error, &record.last_error}) {
    put_fields(store_.get(*bytes), writer);
  }
}

void Outbox::load_record(StateReader& reader) {
  if (free_records_.empty()) return reader.fail();
  Record record;
  reader.get(record.id);
  record.key.load(reader);
  record.state = reader.get_enum(EventState::stuck);
  reader.get(record.is_change);
  const bool in_log = reader.get<bool>();
  const bool is_timed = reader.get<bool>();
  for (auto* number : {&record.attempts, &record.replays, &record.worker}) reader.get(*number);
  for (auto* number :
       {&record.fence, &record.rank, &record.chain_rank, &record.hash_before, &record.hash_after}) {
    reader.get(*number);
  }
  for (auto* ns : {&record.appended_ns, &record.due_ns, &record.wait_ns}) reader.get(*ns);
  const bool is_known = partition_of(record.id) < partitions_.size() &&
                        sequence_of(record.id) != 0 && index_.find(hash_of(record.id, 0)) == kNone;
  if (!is_known || record.state == EventState::unknown) return reader.fail();
  for (auto* bytes : {&record.body, &record.first_error, &record.last_error}) {
    const auto read = reader.get_bytes();
    if (reader.failed() || !store_.fits(read.size())) return reader.fail();
    *bytes = store_.put(read);
  }
  const std::uint32_t at = free_records_.back();
  free_records_.pop_back();
  records_[at] = record;
  index_.set(hash_of(record.id, 0), at);
  if (in_log) into_log(at);
  if (is_timed) deadlines_.set(at, record.due_ns, record.id);
  Partition& partition = partitions_[partition_of(record.id)];
  const auto count = [&](EventState state, std::uint64_t& one, std::uint64_t& all) {
    one += record.state == state ? 1U : 0U;
    all += record.state == state ? 1U : 0U;
  };
  count(EventState::pending, partition.pending, pending_);
  count(EventState::dispatched, partition.dispatched, dispatched_);
  count(EventState::dead, partition.dead, dead_);
  count(EventState::stuck, partition.dead, stuck_);
}

void Outbox::save_state(StateWriter& writer) const {
  rng_.save(writer);
  fence_.save(writer);
  writer.put(version_);
  writer.put(rank_);
  writer.put(next_poll_ns_);
  writer.put(next_compaction_ns_);
  std::vector<std::uint32_t> used;
  for (std::uint32_t at = 0; at < records_.size(); ++at) {
    if (records_[at].id != 0) used.push_back(at);
  }
  std::sort(used.begin(), used.end(),
            [&](std::uint32_t a, std::uint32_t b) { return records_[a].id < records_[b].id; });
  for (const auto& partition : partitions_) {
    for (const auto number :
         {partition.sequence, partition.floor, partition.epoch, partition.confirmed}) {
      writer.put(number);
    }
    writer.put(partition.owner);
  }
  writer.put(static_cast<std::uint32_t>(used.size()));
  for (const auto at : used) save_record(at, writer);
  save_tables(writer);
  inbox_.save(writer);
}

void Outbox::save_tables(StateWriter& writer) const {
  const StateCopy copy = state();
  writer.put(static_cast<std::uint32_t>(copy.entities.size()));
  for (const auto& [name, entity] : copy.entities) {
    writer.put(name);
    put_fields(entity, writer);
  }
  for (const auto& worker : workers_) {
    writer.put(worker.name);
    if (worker.name.empty()) continue;
    writer.put(worker.station);
    writer.put(worker.is_draining);
    writer.put(worker.heard_ns);
  }
  for (const auto& cursor : cursors_) {
    writer.put(cursor.name);
    if (cursor.name.empty()) continue;
    writer.put(cursor.is_stale);
    writer.put(cursor.moved_ns);
    for (const auto offset : cursor.offsets) writer.put(offset);
  }
  for (const auto& topic : topics_) {
    writer.put(topic.name);
    if (!topic.name.empty()) writer.put(topic.schema);
  }
}

void Outbox::load_tables(StateReader& reader) {
  const std::size_t entities = reader.get_count(4 + 8 + 4);
  if (entities > free_entities_.size()) return reader.fail();
  for (std::size_t i = 0; i < entities && !reader.failed(); ++i) {
    const auto name = reader.get<std::string>();
    EntityState state;
    get_fields(state, reader);
    const bool is_new = is_name(name) && entity_index_.find(hash_of(name)) == kNone;
    if (!is_new || !store_.fits(state.value.size())) return reader.fail();
    const std::uint32_t at = free_entities_.back();
    free_entities_.pop_back();
    entities_[at].name.assign(name);
    entities_[at].version = state.version;
    entities_[at].hash = checksum(state.value);
    entities_[at].value = store_.put(state.value);
    entity_index_.set(hash_of(name), at);
  }
  for (auto& worker : workers_) {
    worker.name.assign(reader.get<std::string>());
    if (worker.name.empty()) continue;
    worker.hash = hash_of(worker.name).low;
    reader.get(worker.station);
    reader.get(worker.is_draining);
    reader.get(worker.heard_ns);
  }
  for (auto& cursor : cursors_) {
    cursor.name.assign(reader.get<std::string>());
    if (cursor.name.empty()) continue;
    reader.get(cursor.is_stale);
    reader.get(cursor.moved_ns);
    for (auto& offset : cursor.offsets) reader.get(offset);
  }
  for (auto& topic : topics_) {
    topic.name.assign(reader.get<std::string>());
    if (!topic.name.empty()) reader.get(topic.schema);
  }
}

void Outbox::load_state(StateReader& reader) {
  rng_.load(reader);
  fence_.load(reader);
  reader.get(version_);
  reader.get(rank_);
  reader.get(next_poll_ns_);
  reader.get(next_compaction_ns_);
  for (auto& partition : partitions_) {
    for (auto* number :
         {&partition.sequence, &partition.floor, &partition.epoch, &partition.confirmed}) {
      reader.get(*number);
    }
    reader.get(partition.owner);
    if (partition.owner != kNone && partition.owner >= workers_.size()) return reader.fail();
  }
  const std::size_t records = reader.get_count(8 + 16 + 4 + 3 * 4 + 5 * 8 + 3 * 8 + 3 * 4);
  for (std::size_t i = 0; i < records && !reader.failed(); ++i) load_record(reader);
  load_tables(reader);
  inbox_.load(reader);
  if (!reader.failed()) relink();
}

// Chains and ready lists stand in the order in which their members came.
void Outbox::relink() {
  std::map<std::uint64_t, std::uint32_t> chained;
  std::map<std::uint64_t, std::uint32_t> ready;
  for (std::uint32_t at = 0; at < records_.size(); ++at) {
    if (records_[at].id == 0) continue;
    if (records_[at].chain_rank != 0) chained[records_[at].chain_rank] = at;
    if (records_[at].rank != 0) ready[records_[at].rank] = at;
    const bool is_event = config_.key_compaction && !records_[at].is_change;
    const std::uint32_t last = is_event ? latest_.find(records_[at].key) : kNone;
    const bool is_newer = last == kNone || records_[last].id < records_[at].id;
    if (is_event && is_newer) latest_.set(records_[at].key, at);
  }
  const std::uint64_t last_rank = rank_;
  for (const auto& [rank, at] : chained) {
    into_chain(at);
    records_[at].chain_rank = rank;
  }
  for (const auto& [rank, at] : ready) {
    make_ready(at);
    records_[at].rank = rank;
  }
  rank_ = last_rank;
}

bool Outbox::is_counted() const {
  std::uint64_t pending = 0;
  std::uint64_t dispatched = 0;
  std::uint64_t dead = 0;
  std::uint64_t confirmed = 0;
  for (const auto& partition : partitions_) {
    pending += partition.pending;
    dispatched += partition.dispatched;
    dead += partition.dead;
    confirmed += partition.confirmed;
  }
  return pending == pending_ && dispatched == dispatched_ && dead == dead_ + stuck_ &&
         confirmed == counters_.confirmed;
}

bool Outbox::is_record_sound(std::uint32_t at) const {
  const Record& record = records_[at];
  const bool may_go = record.state == EventState::pending && is_first_of_chain(at);
  return record.fence <= fence_.last() && index_.find(hash_of(record.id, 0)) == at &&
         (record.rank == 0 || may_go);
}

// In the order of sequences, each of them in the log, nothing gone that a cursor has not read.
bool Outbox::is_log_sound(std::uint32_t p, std::size_t& listed) const {
  const Partition& partition = partitions_[p];
  std::uint64_t last = 0;
  for (std::uint32_t at = partition.log_first; at != kNone; at = records_[at].log_next) {
    if (!records_[at].in_log || records_[at].id <= last || ++listed > records_.size()) return false;
    last = records_[at].id;
  }
  return sequence_of(last) <= partition.sequence && partition.floor <= held_up_at(p);
}

std::size_t Outbox::chunks_in_use() const {
  std::size_t chunks = 0;
  for (const auto& record : records_) {
    for (const auto* bytes : {&record.body, &record.first_error, &record.last_error}) {
      chunks += ChunkStore::chunks_for(bytes->size_bytes);
    }
  }
  for (const auto& entity : entities_) {
    if (!entity.name.empty()) chunks += ChunkStore::chunks_for(entity.value.size_bytes);
  }
  return chunks;
}

Status Outbox::verify() const {
  std::array<std::uint64_t, 6> states{};
  std::size_t used = 0;
  std::size_t in_log = 0;
  bool is_sound = true;
  for (std::uint32_t at = 0; at < records_.size(); ++at) {
    if (records_[at].id == 0) continue;
    ++used;
    in_log += records_[at].in_log ? 1U : 0U;
    if (!records_[at].is_change) ++states[static_cast<std::size_t>(records_[at].state)];
    is_sound = is_sound && is_record_sound(at);
  }
  std::size_t listed = 0;
  bool is_read = true;
  for (std::uint32_t p = 0; p < partitions_.size(); ++p)
    is_read = is_log_sound(p, listed) && is_read;
  const bool is_known = states[1] == pending_ && states[2] == dispatched_ && states[4] == dead_ &&
                        states[5] == stuck_;
  const std::array checks{
      Check{is_sound, "a fence from the future, or one ready that may not go"},
      Check{is_known && is_counted(), "the counts are not those of the records"},
      Check{counters_.appended ==
                pending_ + dispatched_ + counters_.confirmed + dead_ + stuck_ + counters_.purged,
            "appended is not pending + dispatched + confirmed + dead + purged"},
      Check{used == index_.count() && used + free_records_.size() == records_.size(),
            "the records are not those of the index"},
      Check{chunks_in_use() + store_.free_count() == store_.chunk_count(),
            "bytes are lost or used twice"},
      Check{listed == in_log && is_read,
            "the log is not whole, or something was compacted that a cursor has not read"},
      Check{dead_ <= config_.dead_max, "more dead than there are places"},
  };
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<Outbox, OutboxConfig, OutboxCommand, OutboxReply, OutboxCounters,
                           OutboxActions>;

}  // namespace mesh::coordination
