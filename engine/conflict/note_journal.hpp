// NoteJournal: conflicts on their way from the loop to the store, in the `engine` memory, which
// outlives the engine. A note stands here until its record is durable.
//
//     loop ── put() ─▶ ring of notes, log of what they carried ── take() ─▶ conflict office
//                              ▲                                                 │
//                              └────────── done_until(): durable ────────────────┘
//
// Callers     has_room, put, tend: the scheduler thread. take, done_until: the conflict office's.
// Progress    has_room, put: wait-free while there is room. A put() that finds none, of an answer
//             that cannot stay in its outbox because its station is gone, goes to private memory
//             (allocates) and follows when there is room: tend().
// Ordering    notes are taken in the order of their puts. What put() wrote happens-before the
//             take() that shows it (ring.published); what take() showed was read before put() uses
//             its place again (ring.freed).
// Cost        put: three cache lines, and a store for each 8 bytes carried. has_room: a load.
// Units       positions count notes modulo 2^64.
// If the      engine dies: its successor takes every note again that was not done. The same
// other side  conflict has the same subject, and a store keeps it once.
// dies        Both, engine and station: what waits in private memory is gone with them.
// Errors      over -> those of the ring and the log, corrupt.
//             put -> false: private memory is full as well.
// Layout      conflicts.* of the `engine` memory, docs/SHM_LAYOUT.md; a slot is 24 words.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/conflict/conflict_note.hpp"
#include "queues/payload_log.hpp"
#include "queues/spsc_ring.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

class NoteJournal {
 public:
  static constexpr std::size_t kSlotWords = 23;  // and the stamp
  using Ring = queues::SpscRing<HostMemory, kSlotWords>;
  using Log = queues::PayloadLog<HostMemory>;
  // Kept free of answers, for what cannot wait in an outbox: the loop's own findings.
  static constexpr std::uint64_t kReservedNotes = 512;
  static constexpr std::uint64_t kPrivateNotesMax = 65'536;
  static constexpr std::uint64_t kPrivateBytesMax = std::uint64_t{64} << 20;

  struct Place {
    std::span<Ring::Slot> slots{};
    Ring::ReaderPage* page = nullptr;
    std::span<Log::Word> words{};
    Log::Header* header = nullptr;
  };
  // Goes on with what stands there; zeroed memory is an empty one.
  static Result<std::unique_ptr<NoteJournal>> over(const Place& place);
  // In memory of its own, which dies with the process.
  static Result<std::unique_ptr<NoteJournal>> make(std::size_t notes, std::size_t carried_bytes);

  NoteJournal(const NoteJournal&) = delete;
  NoteJournal& operator=(const NoteJournal&) = delete;

  [[nodiscard]] bool has_room() noexcept {
    return private_.empty() && free_notes() > reserved_ && bodies_.free_bytes() >= kRoomBytes;
  }
  [[nodiscard]] bool put(const ConflictNote& note, const Carried& carried) noexcept;
  void tend() noexcept;

  // Up to `limit` that were not taken before by this object: fn(note, carried, end). Both stand
  // until done_until(end), or a later one.
  template <class Fn>
  std::size_t take(std::size_t limit, Fn&& fn) {
    return taken_.take(limit, [&](auto view) {
      const Stored stored = view.template read_as<Stored>();
      fn(stored.note, carried_of(stored), view.position() + 1);
    });
  }
  // All before `end`, which take() named, are durable.
  void done_until(std::uint64_t end) noexcept {
    done_ = end;
    page_->cursor.store_release(end);  // SYNC ring.freed release: our reads of them are done
  }
  [[nodiscard]] std::uint64_t taken_not_done() const noexcept { return taken_.cursor() - done_; }
  // Of both threads' sides: once one of them is gone.
  [[nodiscard]] std::uint64_t not_taken() const noexcept {
    return notes_.head() - taken_.cursor() + private_.size();
  }

 private:
  struct Stored {
    std::uint64_t position = 0;
    std::uint64_t bodies_end = 0;  // all that was carried by this note and those before it
    std::uint64_t body = 0;        // where what this one carried stands
    std::uint32_t answer_bytes = 0;
    std::uint32_t message_bytes = 0;
    ConflictNote note{};
    std::array<std::byte, kSlotWords * 8 - 32 - sizeof(ConflictNote)> reserved{};
  };
  static_assert(sizeof(Stored) == kSlotWords * 8 && std::is_trivially_copyable_v<Stored>);
  // Two parts, and as much again that the end of the log may have to be skipped.
  static constexpr std::uint64_t kRoomBytes =
      2 * queues::payload_entry_bytes(static_cast<std::uint32_t>(2 * kCarriedBytesMax));
  struct Waiting {
    ConflictNote note{};
    std::vector<std::byte> answer;
    std::vector<std::byte> message;
  };
  struct alignas(kIsolation) Block {
    std::byte bytes[kIsolation];
  };

  NoteJournal() = default;
  [[nodiscard]] std::uint64_t free_notes() noexcept;
  [[nodiscard]] bool free_bodies(std::uint64_t read) noexcept;
  [[nodiscard]] bool put_in_ring(const ConflictNote& note, const Carried& carried) noexcept;
  [[nodiscard]] Carried carried_of(const Stored& stored) const noexcept;

  std::vector<Block> memory_;  // of make()
  std::uint64_t reserved_ = kReservedNotes;
  // The scheduler thread's.
  alignas(kIsolation) Ring::Writer notes_;
  Log::Writer bodies_;
  std::uint64_t freed_ = 0;  // notes whose bodies were given back
  std::deque<Waiting> private_;
  std::uint64_t private_bytes_ = 0;
  // The office's.
  alignas(kIsolation) Ring::Reader taken_;
  Log::Reader bodies_again_;
  Ring::ReaderPage* page_ = nullptr;
  std::uint64_t done_ = 0;
};

}  // namespace mesh::engine
