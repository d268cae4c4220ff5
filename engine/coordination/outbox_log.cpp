// What stands in an outbox's log, who reads it, and when it goes.
#include <algorithm>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/outbox.hpp"

namespace mesh::coordination {
namespace {

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void Outbox::into_log(std::uint32_t at) noexcept {
  Record& record = records_[at];
  Partition& partition = partitions_[partition_of(record.id)];
  record.in_log = true;
  record.log_last = partition.log_last;
  record.log_next = kNone;
  (partition.log_last == kNone ? partition.log_first : records_[partition.log_last].log_next) = at;
  partition.log_last = at;
}

void Outbox::out_of_log(std::uint32_t at) noexcept {
  Record& record = records_[at];
  Partition& partition = partitions_[partition_of(record.id)];
  (record.log_last == kNone ? partition.log_first : records_[record.log_last].log_next) =
      record.log_next;
  (record.log_next == kNone ? partition.log_last : records_[record.log_next].log_last) =
      record.log_last;
  record.in_log = false;
}

void Outbox::free_record(std::uint32_t at) noexcept {
  Record& record = records_[at];
  if (config_.key_compaction && latest_.find(record.key) == at) latest_.erase(record.key);
  index_.erase(hash_of(record.id, 0));
  store_.free(record.body);
  store_.free(record.first_error);
  store_.free(record.last_error);
  record = {};
  free_records_.push_back(at);  // reserved
}

bool Outbox::is_last_of_key(std::uint32_t at) const noexcept {
  return config_.key_compaction && !records_[at].is_change && latest_.find(records_[at].key) == at;
}

std::uint64_t Outbox::held_up_at(std::uint32_t partition) const noexcept {
  std::uint64_t least = UINT64_MAX;
  for (const auto& cursor : cursors_) {
    if (!cursor.name.empty() && !cursor.is_stale)
      least = std::min(least, cursor.offsets[partition]);
  }
  return least;
}

void Outbox::compact(std::int64_t now_ns) noexcept {
  for (std::uint32_t i = 0; i < cursors_.size(); ++i) {
    Cursor& cursor = cursors_[i];
    const bool is_idle = now_ns - cursor.moved_ns >= config_.cursor_idle_max_ns.count();
    if (cursor.name.empty() || cursor.is_stale || !is_idle) continue;
    cursor.is_stale = true;
    emit(Event::cursor_stale, Severity::warning, now_ns, {i});
  }
  if (config_.retention_ns == kForever) return;
  for (std::uint32_t p = 0; p < partitions_.size(); ++p) {
    Partition& partition = partitions_[p];
    const std::uint64_t held = MESH_MUTANT("outbox.cursor") ? UINT64_MAX : held_up_at(p);
    for (std::uint32_t at = partition.log_first; at != kNone;) {
      const Record& record = records_[at];
      const std::uint32_t next = record.log_next;
      const std::uint64_t sequence = sequence_of(record.id);
      const bool is_old = record.state == EventState::confirmed &&
                          now_ns - record.due_ns >= config_.retention_ns.count();
      if (sequence > held || !(is_old || record.state == EventState::dead)) break;
      if (!is_last_of_key(at)) {
        if (!config_.key_compaction) partition.floor = sequence;
        out_of_log(at);
        if (is_old) free_record(at);  // a dead one stays until it is replayed or purged
        ++counters_.compacted;
        view_changed_ = true;
      }
      at = next;
    }
  }
}

// --- cursors -----------------------------------------------------------------------------------

std::uint32_t Outbox::cursor_named(std::string_view name) const noexcept {
  for (std::uint32_t i = 0; i < cursors_.size(); ++i) {
    if (!cursors_[i].name.empty() && cursors_[i].name == name) return i;
  }
  return kNone;
}

Outbox::Reply Outbox::advance(const outbox::Advance& command, std::int64_t now_ns) noexcept {
  const std::uint32_t at = cursor_named(command.name);
  if (at == kNone) return refuse(Errc::not_found);
  if (command.partition >= partitions_.size()) return refuse(Errc::invalid_argument);
  const Partition& partition = partitions_[command.partition];
  if (command.offset > partition.sequence) return refuse(Errc::invalid_argument);
  if (command.offset < partition.floor) {
    Reply reply = refuse(Errc::expired);
    reply.floor = partition.floor;
    return reply;
  }
  Cursor& cursor = cursors_[at];
  cursor.offsets[command.partition] = command.offset;
  cursor.moved_ns = now_ns;
  if (cursor.is_stale) {  // what was compacted meanwhile it has missed elsewhere too
    for (std::uint32_t p = 0; p < partitions_.size(); ++p) {
      if (cursor.offsets[p] < partitions_[p].floor) return {};
    }
    cursor.is_stale = false;
  }
  return {};
}

Outbox::Reply Outbox::set_topic(const outbox::SetTopic& topic) noexcept {
  if (!is_name(topic.name)) return refuse(Errc::invalid_id);
  if (topic.schema == 0) return refuse(Errc::invalid_argument);
  auto place = std::find_if(topics_.begin(), topics_.end(),
                            [&](const Topic& one) { return one.name == topic.name; });
  if (place == topics_.end()) {
    place = std::find_if(topics_.begin(), topics_.end(),
                         [](const Topic& one) { return one.name.empty(); });
  }
  if (place == topics_.end()) return refuse(Errc::capacity);
  place->name.assign(topic.name);
  place->schema = topic.schema;
  return {};
}

Outbox::Reply Outbox::of_cursor(const Command& command, std::int64_t now_ns) noexcept {
  if (const auto* gone = std::get_if<outbox::RemoveCursor>(&command)) {
    const std::uint32_t at = cursor_named(gone->name);
    if (at == kNone) return refuse(Errc::not_found);
    cursors_[at].name.clear();
    return {};
  }
  if (const auto* topic = std::get_if<outbox::SetTopic>(&command)) return set_topic(*topic);
  const auto& added = std::get<outbox::AddCursor>(command);
  if (!is_name(added.name)) return refuse(Errc::invalid_id);
  if (cursor_named(added.name) != kNone) return refuse(Errc::already_exists);
  const auto free = std::find_if(cursors_.begin(), cursors_.end(),
                                 [](const Cursor& cursor) { return cursor.name.empty(); });
  if (free == cursors_.end()) return refuse(Errc::capacity);
  free->name.assign(added.name);
  free->is_stale = false;
  free->moved_ns = now_ns;
  for (std::uint32_t p = 0; p < partitions_.size(); ++p) free->offsets[p] = partitions_[p].floor;
  return {};
}

// --- what is read ------------------------------------------------------------------------------

// The first record of the log behind `id`, which may be gone.
std::uint32_t Outbox::after(const Partition& partition, std::uint64_t id) const noexcept {
  const std::uint32_t at = index_.find(hash_of(id, 0));
  if (at != kNone && records_[at].in_log) return records_[at].log_next;
  std::uint32_t next = partition.log_first;
  while (next != kNone && records_[next].id <= id) next = records_[next].log_next;
  return next;
}

LogRecord Outbox::shown(const Record& record) const {
  LogRecord shown;
  shown.event = record.id;
  shown.sequence = sequence_of(record.id);
  shown.is_change = record.is_change;
  shown.state = record.state;
  shown.appended_ns = record.appended_ns;
  shown.attempts = record.attempts;
  shown.hash_before = record.hash_before;
  shown.hash_after = record.hash_after;
  const auto body = store_.get(record.body);
  StateReader reader(body);
  reader.get(shown.key);
  reader.get(shown.topic);
  reader.get(shown.schema);
  get_fields(shown.metadata, reader);
  get_fields(shown.payload, reader);
  return shown;
}

Result<LogRecord> Outbox::event(std::uint64_t id) const {
  const std::uint32_t at = index_.find(hash_of(id, 0));
  if (at == kNone) return complain(Errc::not_found, "no such event, or it is compacted");
  return shown(records_[at]);
}

Result<EntityState> Outbox::entity(std::string_view name) const {
  const std::uint32_t at = entity_index_.find(hash_of(name));
  if (at == kNone) return complain(Errc::not_found, "no such entity");
  return EntityState{entities_[at].version, store_.get(entities_[at].value)};
}

StateCopy Outbox::state() const {
  StateCopy copy;
  for (const auto& entity : entities_) {
    if (entity.name.empty()) continue;
    copy.entities[entity.name] = {entity.version, store_.get(entity.value)};
  }
  for (const auto& partition : partitions_) copy.sequences.push_back(partition.sequence);
  return copy;
}

std::vector<DeadEvent> Outbox::dead(std::size_t max) const {
  std::vector<const Record*> letters;
  for (const auto& record : records_) {
    if (record.id != 0 && record.state == EventState::dead) letters.push_back(&record);
  }
  // Each dispatch has a fence of its own, so this is the order in which they were given up.
  std::sort(letters.begin(), letters.end(),
            [](const Record* a, const Record* b) { return a->fence < b->fence; });
  letters.resize(std::min(max, letters.size()));
  std::vector<DeadEvent> dead;
  for (const auto* letter : letters) {
    dead.push_back({letter->id, letter->attempts, letter->replays,
                    text_of(store_.get(letter->first_error)),
                    text_of(store_.get(letter->last_error))});
  }
  return dead;
}

Result<std::vector<LogRecord>> Outbox::read(std::string_view name, std::uint32_t p,
                                            std::size_t max) const {
  const std::uint32_t at = cursor_named(name);
  if (at == kNone) return complain(Errc::not_found, "no such cursor");
  if (p >= partitions_.size()) return complain(Errc::invalid_argument, "no such partition");
  const Partition& partition = partitions_[p];
  const std::uint64_t offset = cursors_[at].offsets[p];
  if (offset < partition.floor) {
    return fail(Errc::expired,
                "outbox: the log is compacted up to " + std::to_string(partition.floor) +
                    "; take state() and go on from its sequences",
                static_cast<std::int64_t>(partition.floor));
  }
  std::vector<LogRecord> records;
  std::uint32_t next = after(partition, std::uint64_t{p} << 48 | offset);
  for (; next != kNone && records.size() < max; next = records_[next].log_next) {
    records.push_back(shown(records_[next]));
  }
  return records;
}

Result<std::uint64_t> Outbox::lag(std::string_view name, std::uint32_t p) const {
  const std::uint32_t at = cursor_named(name);
  if (at == kNone) return complain(Errc::not_found, "no such cursor");
  if (p >= partitions_.size()) return complain(Errc::invalid_argument, "no such partition");
  return partitions_[p].sequence - cursors_[at].offsets[p];
}

OutboxView Outbox::view(std::uint32_t p) const noexcept {
  OutboxView view;
  if (p >= partitions_.size()) return view;
  const Partition& partition = partitions_[p];
  view.appended = partition.sequence;
  view.dispatched = partition.dispatched;
  view.confirmed = partition.confirmed;
  view.pending = partition.pending;
  view.dead = partition.dead;
  view.floor = partition.floor;
  view.epoch = partition.epoch;
  for (std::uint32_t at = partition.log_first; at != kNone && partition.pending != 0;
       at = records_[at].log_next) {
    if (records_[at].state != EventState::pending) continue;
    view.oldest_pending_ns = records_[at].appended_ns;
    break;
  }
  return view;
}

}  // namespace mesh::coordination
