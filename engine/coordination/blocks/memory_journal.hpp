// MemoryJournal: a journal on the heap, for programs that need no durability and for tests, which
// crash it: what a disk would have kept stays.
//
// Cost        append: a copy into one vector of bytes. sync: one store.
// If the      process dies: all is lost. crash(kept_bytes) does what a power cut does to a file:
// other side  bytes after the last sync may be there or not, the last record may be torn; whole
// dies        records are found by their checksums.
// Errors      none of its own but Errc::corrupt where synced bytes were damaged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/blocks/journal.hpp"

namespace mesh::coordination {

class MemoryJournal final : public Journal {
 public:
  Result<std::uint64_t> append(std::span<const std::byte> record) override;
  Status sync() override;
  Status replace_snapshot(const StoredSnapshot& stored) override;
  Result<StoredSnapshot> newest_snapshot() const override;
  Status replay(std::uint64_t sequence, JournalVisitor& visitor) const override;

  // For tests: the power goes. Of the bytes that were not synced the first `kept_bytes` survive.
  void crash(std::size_t kept_bytes);
  [[nodiscard]] std::size_t unsynced_bytes() const noexcept { return log_.size() - synced_; }
  [[nodiscard]] std::uint64_t last_sequence() const noexcept { return last_sequence_; }
  [[nodiscard]] std::uint64_t sync_count() const noexcept { return sync_count_; }

 private:
  void cut_torn_tail();

  std::vector<std::byte> log_;  // frames of {sequence u64, checksum u64, size u32, record}
  std::size_t synced_ = 0;      // bytes of log_ that survive whatever happens
  std::uint64_t last_sequence_ = 0;
  std::uint64_t forgotten_sequence_ = 0;  // records up to here were dropped with a snapshot
  std::uint64_t sync_count_ = 0;
  StoredSnapshot snapshot_;
};

}  // namespace mesh::coordination
