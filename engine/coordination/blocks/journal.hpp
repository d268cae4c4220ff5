// Journal: where a durable service's commands stand before they are applied.
//
// Callers     the service thread that owns the service; one journal a service.
// Ordering    append(r) alone promises nothing. What was appended before a sync() that returned ok
//             survives a crash, in order and whole. A record that was not synced is there whole
//             or not at all: a torn tail is cut off when the journal is opened again.
// Cost        append: a copy. sync: one group commit; call it once a burst.
// If the      process dies at any instant: replay() gives a prefix of what was appended, that holds
// other side  everything synced. replace_snapshot() is atomic: the old snapshot or the new one.
// dies
// Errors      append, sync, replace_snapshot -> Errc::io_error, no_space, or corrupt (open). After
//             one of them has failed the service must not answer the commands of that burst.
// Source      write-ahead logging: journal, then apply, then answer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/blocks/snapshot.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

// A snapshot and the last record whose effect it holds.
struct StoredSnapshot {
  std::uint64_t last_sequence = 0;  // 0: there is no snapshot
  Snapshot snapshot;
};

class JournalVisitor {
 public:
  virtual Status visit(std::uint64_t sequence, std::span<const std::byte> record) = 0;

 protected:
  ~JournalVisitor() = default;
};

class Journal {
 public:
  Journal() = default;
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  virtual ~Journal() = default;

  // The record's sequence, from 1, without gaps.
  [[nodiscard]] virtual Result<std::uint64_t> append(std::span<const std::byte> record) = 0;
  [[nodiscard]] virtual Status sync() = 0;
  // Atomic, and durable when it returns. Records up to `last_sequence` may be forgotten.
  [[nodiscard]] virtual Status replace_snapshot(const StoredSnapshot& stored) = 0;

  [[nodiscard]] virtual Result<StoredSnapshot> newest_snapshot() const = 0;
  // Every record after `sequence`, in order; stops at the visitor's first error and returns it.
  [[nodiscard]] virtual Status replay(std::uint64_t sequence, JournalVisitor& visitor) const = 0;
};

}  // namespace mesh::coordination
