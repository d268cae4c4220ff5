#include "engine/coordination/blocks/memory_journal.hpp"

#include <algorithm>
#include <optional>
#include <string>

namespace mesh::coordination {
namespace {

struct Frame {
  std::uint64_t sequence = 0;
  std::span<const std::byte> record;
  std::size_t size_bytes = 0;  // with its header
};

// The frame at the start of `bytes`, if it is whole.
std::optional<Frame> frame_at(std::span<const std::byte> bytes) {
  StateReader reader(bytes);
  Frame frame;
  frame.sequence = reader.get<std::uint64_t>();
  const auto sum = reader.get<std::uint64_t>();
  frame.record = reader.get_bytes();
  if (reader.failed() || checksum(frame.record) != sum) return std::nullopt;
  frame.size_bytes = bytes.size() - reader.left();
  return frame;
}

}  // namespace

Result<std::uint64_t> MemoryJournal::append(std::span<const std::byte> record) {
  StateWriter writer;
  writer.put(++last_sequence_);
  writer.put(checksum(record));
  writer.put(record);
  log_.insert(log_.end(), writer.bytes().begin(), writer.bytes().end());
  return last_sequence_;
}

Status MemoryJournal::sync() {
  synced_ = log_.size();
  ++sync_count_;
  return {};
}

Status MemoryJournal::replace_snapshot(const StoredSnapshot& stored) {
  if (stored.last_sequence > last_sequence_ || stored.last_sequence < forgotten_sequence_) {
    return fail(Errc::invalid_argument, "journal: a snapshot of record " +
                                            std::to_string(stored.last_sequence) + ", there are " +
                                            std::to_string(last_sequence_));
  }
  snapshot_ = stored;
  std::size_t at = 0;
  while (const auto frame = frame_at(std::span(log_).subspan(at))) {
    if (frame->sequence > stored.last_sequence) break;
    at += frame->size_bytes;
  }
  log_.erase(log_.begin(), log_.begin() + static_cast<std::ptrdiff_t>(at));
  forgotten_sequence_ = stored.last_sequence;
  synced_ = log_.size();
  return {};
}

Result<StoredSnapshot> MemoryJournal::newest_snapshot() const { return snapshot_; }

Status MemoryJournal::replay(std::uint64_t sequence, JournalVisitor& visitor) const {
  if (sequence < forgotten_sequence_) {
    return fail(Errc::not_found,
                "journal: records up to " + std::to_string(forgotten_sequence_) + " are forgotten",
                static_cast<std::int64_t>(forgotten_sequence_));
  }
  std::span<const std::byte> rest = log_;
  while (const auto frame = frame_at(rest)) {
    rest = rest.subspan(frame->size_bytes);
    if (frame->sequence > sequence) MESH_CHECK_OK(visitor.visit(frame->sequence, frame->record));
  }
  if (!rest.empty()) return fail(Errc::corrupt, "journal: a record does not match its checksum");
  return {};
}

void MemoryJournal::crash(std::size_t kept_bytes) {
  log_.resize(synced_ + std::min(kept_bytes, unsynced_bytes()));
  cut_torn_tail();
}

void MemoryJournal::cut_torn_tail() {
  std::size_t at = 0;
  last_sequence_ = forgotten_sequence_;
  while (const auto frame = frame_at(std::span(log_).subspan(at))) {
    at += frame->size_bytes;
    last_sequence_ = frame->sequence;
  }
  log_.resize(std::max(at, synced_));
  synced_ = log_.size();
}

}  // namespace mesh::coordination
