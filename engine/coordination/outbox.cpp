#include "engine/coordination/outbox.hpp"

#include <algorithm>

#include "engine/coordination/blocks/backoff.hpp"
#include "engine/coordination/blocks/jump_hash.hpp"
#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/names.hpp"

namespace mesh::coordination {
namespace {

constexpr std::size_t kErrorBytesMax = 240;  // one chunk of the store

std::span<const std::byte> bytes_of(std::string_view text) noexcept {
  return std::as_bytes(std::span(text));
}
// The store's form of a record: LogBody, with a count before each of four parts.
constexpr std::size_t kBodyOverhead = 5 * sizeof(std::uint32_t);

}  // namespace

Outbox::Outbox(const Config& config, std::uint64_t seed)
    : ServiceForm(config),
      partitions_(config.partition_count),
      records_(config.events_capacity),
      index_(config.events_capacity),
      latest_(config.key_compaction ? config.events_capacity : 1),
      chains_(config.head_of_line == HeadOfLine::none ? 0 : config.events_capacity),
      chain_index_(chains_.size()),
      deadlines_(config.events_capacity),
      store_(config.store_bytes),
      entities_(config.entities_max),
      entity_index_(config.entities_max),
      workers_(config.workers_max),
      cursors_(config.cursors_max),
      topics_(config.topics_max),
      inbox_(config.inbox_max, config.inbox_window_ns.count()),
      rng_(seed) {
  const auto all_of = [](std::size_t size, std::vector<std::uint32_t>& free) {
    free.reserve(size);
    for (auto i = static_cast<std::uint32_t>(size); i != 0; --i) free.push_back(i - 1);
  };
  all_of(records_.size(), free_records_);
  all_of(chains_.size(), free_chains_);
  all_of(entities_.size(), free_entities_);
  const auto reserve_names = [](auto& table) {
    for (auto& row : table) row.name.reserve(kNameBytesMax);
  };
  reserve_names(entities_);
  reserve_names(workers_);
  reserve_names(cursors_);
  reserve_names(topics_);
  for (auto& cursor : cursors_) cursor.offsets.resize(config.partition_count);
  const std::vector<std::byte> largest(2 * std::size_t{config.payload_bytes_max} + 4'096);
  scratch_.append(largest);  // so that no body makes it grow
  scratch_.clear();
}

std::uint32_t Outbox::partition_of(std::string_view key) const noexcept {
  return jump_hash(checksum(bytes_of(key)), config_.partition_count);
}

// --- commits -----------------------------------------------------------------------------------

Errc Outbox::check(std::span<const outbox::Put> puts) const noexcept {
  for (std::size_t i = 0; i < puts.size(); ++i) {
    if (!is_name(puts[i].entity)) return Errc::invalid_id;
    if (puts[i].value.size() > config_.payload_bytes_max) return Errc::invalid_argument;
    const auto same = [&](const outbox::Put& other) { return other.entity == puts[i].entity; };
    if (std::any_of(puts.begin(), puts.begin() + static_cast<std::ptrdiff_t>(i), same)) {
      return Errc::invalid_argument;
    }
  }
  return Errc::ok;
}

Errc Outbox::check(const Item& item) const noexcept {
  if (!is_name(item.key) || !is_name(item.topic)) return Errc::invalid_id;
  const bool fits = item.payload.size() <= config_.payload_bytes_max &&
                    item.metadata.size() <= config_.payload_bytes_max;
  return fits ? Errc::ok : Errc::invalid_argument;
}

std::size_t Outbox::chunks_of(const Item& item) noexcept {
  return ChunkStore::chunks_for(item.key.size() + item.topic.size() + item.payload.size() +
                                item.metadata.size() + kBodyOverhead);
}

bool Outbox::is_as_expected(const outbox::Commit& command, Reply& reply) const noexcept {
  for (std::size_t i = 0; i < command.puts.size(); ++i) {
    const outbox::Put& put = command.puts[i];
    const std::uint32_t at = entity_index_.find(hash_of(put.entity));
    const std::uint64_t version = at == kNone ? 0 : entities_[at].version;
    const bool may = put.version_expected == outbox::kAnyVersion || put.version_expected == version;
    if (may || MESH_MUTANT("outbox.version")) continue;
    reply.index = static_cast<std::uint32_t>(i);
    reply.version = version;
    return false;
  }
  return true;
}

// The wait until there may be room again; 0: there is.
Nanos Outbox::wait_for(const Need& need, std::int64_t now_ns) const noexcept {
  const bool fits = need.records <= free_records_.size() && need.chunks <= store_.free_count() &&
                    need.entities <= free_entities_.size();
  return fits ? Nanos{0} : Nanos{std::max<std::int64_t>(1, next_compaction_ns_ - now_ns)};
}

// A commit of several to one partition may pass the mark by their number.
bool Outbox::is_backed_up(std::string_view key) const noexcept {
  const Partition& partition = partitions_[partition_of(key)];
  return partition.pending + partition.dispatched >= config_.pending_max;
}

Nanos Outbox::wait_for(const outbox::Commit& command, std::int64_t now_ns) const noexcept {
  Need need;
  for (const auto& put : command.puts) {
    const bool is_new = entity_index_.find(hash_of(put.entity)) == kNone;
    need.entities += is_new && !put.is_erase ? 1U : 0U;
    need.chunks += ChunkStore::chunks_for(put.value.size());
    if (!config_.cdc) continue;
    ++need.records;
    need.chunks += ChunkStore::chunks_for(put.entity.size() + kBodyOverhead);
  }
  for (const auto& append : command.appends) {
    if (is_backed_up(append.key)) return config_.poll_interval_ns;
    ++need.records;
    need.chunks += chunks_of(item_of(append));
  }
  return wait_for(need, now_ns);
}

std::uint32_t Outbox::schema_of(const Item& item) const noexcept {
  if (item.schema != 0) return item.schema;
  const auto named = std::find_if(topics_.begin(), topics_.end(),
                                  [&](const Topic& topic) { return topic.name == item.topic; });
  return named == topics_.end() ? 0 : named->schema;
}

std::uint32_t Outbox::new_record(std::uint32_t partition, std::int64_t now_ns) noexcept {
  const std::uint32_t at = free_records_.back();
  free_records_.pop_back();
  Record& record = records_[at];
  record = {};
  record.id = std::uint64_t{partition} << 48 | ++partitions_[partition].sequence;
  record.appended_ns = now_ns;
  index_.set(hash_of(record.id, 0), at);
  into_log(at);
  return at;
}

ChunkStore::Bytes Outbox::store_body(const Item& item, std::uint32_t schema) noexcept {
  scratch_.clear();
  scratch_.put(item.key);
  scratch_.put(item.topic);
  scratch_.put(schema);
  scratch_.put(item.metadata);
  scratch_.put(item.payload);
  return store_.put(scratch_.bytes());
}

std::uint64_t Outbox::append(const Item& item, std::int64_t now_ns) noexcept {
  const std::uint32_t at = new_record(partition_of(item.key), now_ns);
  Record& record = records_[at];
  record.key = hash_of(item.key);
  record.state = EventState::pending;
  record.body = store_body(item, schema_of(item));
  if (config_.key_compaction) latest_.set(record.key, at);
  ++partitions_[partition_of(record.id)].pending;
  ++pending_;
  ++counters_.appended;
  into_chain(at);
  if (is_first_of_chain(at)) make_ready(at);
  return record.id;
}

void Outbox::put(const outbox::Put& put, std::int64_t now_ns) noexcept {
  const IdHash name = hash_of(put.entity);
  std::uint32_t at = entity_index_.find(name);
  const std::uint64_t before = at == kNone ? 0 : entities_[at].hash;
  std::uint64_t after = 0;
  if (put.is_erase) {
    if (at != kNone) {
      store_.free(entities_[at].value);
      entities_[at].name.clear();
      entity_index_.erase(name);
      free_entities_.push_back(at);  // reserved
    }
  } else {
    if (at == kNone) {
      at = free_entities_.back();
      free_entities_.pop_back();
      entities_[at].name = put.entity;
      entity_index_.set(name, at);
    }
    Entity& entity = entities_[at];
    store_.free(entity.value);
    entity.value = store_.put(put.value);
    entity.hash = after = checksum(put.value);
    entity.version = version_;
  }
  if (!config_.cdc) return;
  const std::uint32_t change = new_record(partition_of(put.entity), now_ns);
  Record& record = records_[change];
  record.is_change = true;
  record.key = name;
  record.state = EventState::confirmed;  // nobody has to deliver it
  record.due_ns = now_ns;
  record.hash_before = before;
  record.hash_after = after;
  record.body = store_body({put.entity, {}, {}, {}, 0}, 0);
  ++counters_.changes;
}

Outbox::Reply Outbox::refuse_full(Nanos retry_after) noexcept {
  Reply reply = refuse(Errc::capacity);
  reply.retry_after = retry_after;
  return reply;
}

Errc Outbox::check(const outbox::Commit& command) const noexcept {
  const std::size_t items = command.puts.size() + command.appends.size();
  const bool is_nothing = items == 0 && command.consumed == 0;
  if (is_nothing || items > config_.commit_items_max) return Errc::invalid_argument;
  Errc bad = check(command.puts);
  for (const auto& one : command.appends) bad = bad == Errc::ok ? check(item_of(one)) : bad;
  return bad;
}

void Outbox::consume(std::uint64_t event, std::int64_t now_ns) noexcept {
  static_cast<void>(inbox_.accept(event, now_ns));  // as peek() has said
  ++counters_.consumed;
}

Outbox::Reply Outbox::refuse_consumed(const IdempotencyRegistry::Verdict& verdict) noexcept {
  counters_.consumed_again += verdict.code == Errc::duplicate ? 1U : 0U;
  Reply reply = refuse(verdict.code);
  reply.retry_after = Nanos{verdict.retry_after_ns};
  return reply;
}

Outbox::Reply Outbox::commit(const outbox::Commit& command, std::int64_t now_ns) noexcept {
  const Errc bad = check(command);
  if (bad != Errc::ok) return refuse(bad);
  const auto verdict = command.consumed == 0 ? IdempotencyRegistry::Verdict{}
                                             : inbox_.peek(command.consumed, now_ns);
  if (verdict.code != Errc::ok && !MESH_MUTANT("outbox.inbox")) return refuse_consumed(verdict);
  Reply reply;
  if (!is_as_expected(command, reply)) {
    ++counters_.conflicts;
    ++counters_.refused;
    reply.code = Errc::conflict;
    return reply;
  }
  const Nanos wait = wait_for(command, now_ns);
  if (wait.count() != 0) return refuse_full(wait);
  if (command.consumed != 0) consume(command.consumed, now_ns);
  if (!command.puts.empty()) reply.version = ++version_;
  for (const auto& one : command.puts) put(one, now_ns);
  for (const auto& one : command.appends) {
    const std::uint64_t id = append(item_of(one), now_ns);
    if (reply.count++ == 0) reply.event = id;
    if (command.appends.size() > 1) reply.events.push_back(id);
  }
  ++counters_.commits;
  reply.state = reply.count == 0 ? EventState::unknown : EventState::pending;
  view_changed_ = true;
  return reply;
}

// --- reports -----------------------------------------------------------------------------------

std::pair<Errc, std::uint32_t> Outbox::dispatched(std::uint64_t event,
                                                  std::uint64_t fence) const noexcept {
  const std::uint32_t at = index_.find(hash_of(event, 0));
  if (at == kNone || records_[at].is_change) return {Errc::not_found, kNone};
  const Record& record = records_[at];
  const bool holds = record.state == EventState::dispatched &&
                     (record.fence == fence || MESH_MUTANT("outbox.fence"));
  return {holds ? Errc::ok : Errc::stale_token, at};
}

Outbox::Reply Outbox::confirm(const outbox::Confirm& report, std::int64_t now_ns) noexcept {
  const auto [code, at] = dispatched(report.event, report.fence);
  if (code == Errc::stale_token) {
    // The same report again, of the attempt that was confirmed: the same answer.
    Record& record = records_[at];
    Reply reply;
    reply.state = record.state;
    if (record.state == EventState::confirmed && record.fence == report.fence) return reply;
    ++counters_.stale_tokens;
  }
  if (code != Errc::ok) return refuse(code);
  Record& record = records_[at];
  Partition& partition = partitions_[partition_of(record.id)];
  undispatch(record);
  deadlines_.clear(at);
  out_of_chain(at);
  record.state = EventState::confirmed;
  record.due_ns = now_ns;
  ++partition.confirmed;
  ++counters_.confirmed;
  partition.latency.add(static_cast<std::uint64_t>(now_ns - record.appended_ns));
  if (!record.in_log) free_record(at);
  view_changed_ = true;
  Reply reply;
  reply.state = EventState::confirmed;
  return reply;
}

void Outbox::note_error(Record& record, std::string_view error) noexcept {
  store_.free(record.last_error);
  const auto text = bytes_of(error.substr(0, kErrorBytesMax));
  if (2 * ChunkStore::chunks_for(text.size()) > store_.free_count()) return;
  record.last_error = store_.put(text);
  if (record.first_error.size_bytes == 0) record.first_error = store_.put(text);
}

// After a failure or a timeout: once more at a later time, or dead.
void Outbox::try_again(std::uint32_t at, std::int64_t now_ns) noexcept {
  Record& record = records_[at];
  if (config_.attempts_max != 0 && record.attempts >= config_.attempts_max &&
      !MESH_MUTANT("outbox.attempts")) {
    return bury(at, now_ns);
  }
  const BackoffConfig backoff{static_cast<double>(config_.retry_base_ns.count()),
                              config_.retry_multiplier,
                              static_cast<double>(config_.retry_cap_ns.count())};
  if (config_.retry_jitter == RetryJitter::none) {
    record.wait_ns = static_cast<std::int64_t>(backoff_exponential(backoff, record.attempts - 1));
  } else {
    const std::int64_t last = record.wait_ns == 0 ? config_.retry_base_ns.count() : record.wait_ns;
    record.wait_ns =
        static_cast<std::int64_t>(backoff_decorrelated(backoff, static_cast<double>(last), rng_));
  }
  record.state = EventState::pending;
  ++partitions_[partition_of(record.id)].pending;
  ++pending_;
  wait_until(at, now_ns + record.wait_ns);
}

Outbox::Reply Outbox::failed(const outbox::Fail& report, std::int64_t now_ns) noexcept {
  if (!is_utf8(report.error)) return refuse(Errc::invalid_argument);
  const auto [code, at] = dispatched(report.event, report.fence);
  counters_.stale_tokens += code == Errc::stale_token ? 1U : 0U;
  if (code != Errc::ok) return refuse(code);
  Record& record = records_[at];
  note_error(record, report.error);
  ++counters_.failures;
  undispatch(record);
  deadlines_.clear(at);
  if (report.is_permanent) {
    bury(at, now_ns);
  } else {
    try_again(at, now_ns);
  }
  view_changed_ = true;
  Reply reply;
  reply.state = records_[at].state;
  const bool waits = reply.state == EventState::pending;
  reply.retry_after = Nanos{waits ? record.due_ns - now_ns : 0};
  return reply;
}

// --- commands ----------------------------------------------------------------------------------

Outbox::Reply Outbox::append_event(const outbox::AppendEvent& command,
                                   std::int64_t now_ns) noexcept {
  const Item item{command.key, command.topic, command.payload, {}, 0};
  const Errc bad = check(item);
  if (bad != Errc::ok) return refuse(bad);
  if (is_backed_up(command.key)) return refuse_full(config_.poll_interval_ns);
  const Nanos wait = wait_for(Need{1, chunks_of(item), 0}, now_ns);
  if (wait.count() != 0) return refuse_full(wait);
  Reply reply;
  reply.event = append(item, now_ns);
  reply.count = 1;
  reply.state = EventState::pending;
  ++counters_.commits;
  view_changed_ = true;
  return reply;
}

Outbox::Reply Outbox::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  if (const auto* tx = std::get_if<outbox::Commit>(&command)) return commit(*tx, now_ns);
  if (const auto* one = std::get_if<outbox::AppendEvent>(&command)) {
    return append_event(*one, now_ns);
  }
  if (const auto* done = std::get_if<outbox::Confirm>(&command)) return confirm(*done, now_ns);
  if (const auto* bad = std::get_if<outbox::Fail>(&command)) return failed(*bad, now_ns);
  if (const auto* again = std::get_if<outbox::Replay>(&command)) return replay(*again, now_ns);
  if (const auto* gone = std::get_if<outbox::Purge>(&command)) return purge(*gone, now_ns);
  if (const auto* read = std::get_if<outbox::Advance>(&command)) return advance(*read, now_ns);
  if (const auto* closed = std::get_if<outbox::StationClosed>(&command)) {
    return close_station(closed->station, now_ns);
  }
  const bool is_of_worker = std::holds_alternative<outbox::AddWorker>(command) ||
                            std::holds_alternative<outbox::Heartbeat>(command) ||
                            std::holds_alternative<outbox::Drain>(command) ||
                            std::holds_alternative<outbox::RemoveWorker>(command);
  return is_of_worker ? of_worker(command, now_ns) : of_cursor(command, now_ns);
}

}  // namespace mesh::coordination
