// SpscRing: one process publishes 56-byte records, one other process polls them.
//
// Callers     Writer: the process that owns the slots. Reader: the one reader. One thread each.
// Progress    claim, stage, reveal, poll: wait-free.   (words as defined in docs/GLOSSARY.md)
// Ordering    writes to a record happen-before the poll() that returns it    (SYNC ring.published);
//             reads in poll() happen-before the claim() of that slot again       (SYNC ring.freed);
//             of reveal_checked() and prepare_to_park() one sees the other's store (ring.parked).
// Cost        publish: 1 cache line a record. poll: 1 load when empty, 1 cursor store a burst. No
//             system call, no allocation. reveal_checked drains the store buffer: once a flush,
//             never once a message.
// Units       positions count records modulo 2^64; capacity in slots (a power of two).
// If the      writer dies: what was not revealed is not visible, what was revealed stays; the ring
// other side  stays usable. A new writer calls Writer::take_over before it publishes; it wipes the
// dies,       stamps a dead batch left. reader dies in poll: its cursor stands; who takes over sees
// stalls,     the last burst again. reader stalls: claim returns kFull, never blocks. reader lies:
// or lies     a cursor outside [its last value, revealed head] is kCorrupt. writer lies: wild
//             records or none are read, never bytes outside the ring.
// Errors      claim -> kFull, kCorrupt. take_over, attach -> invalid_argument, misaligned, corrupt.
// Layout      docs/SHM_LAYOUT.md, RingSlot and RingReaderPage.
// Source      Lamport 1983; stamps: Vyukov; cached remote cursor: rigtorp/SPSCQueue; first stamp
//             last, and the wipe: docs/decisions/0007.
//
// A slot's stamp is the position of its record plus one, modulo 2^64. A slot never used is zeros
// and counts as holding position index - capacity, so fresh memory needs no formatting. Invariant:
// revealed_ - cursor <= capacity; slots [cursor, revealed_) carry stamps position + 1; the slot of
// revealed_ carries the stamp of the lap before, whatever a dead or open batch left behind it.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

#include "queues/prefetch.hpp"
#include "queues/ring_checks.hpp"
#include "queues/ring_layout.hpp"
#include "queues/ring_view.hpp"
#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/result.hpp"
#include "shm/base/sequence.hpp"
#include "shm/base/word.hpp"

namespace mesh::queues {

enum class ClaimStatus : std::uint8_t {
  kOk,
  kFull,     // the reader has not freed a slot: back off
  kCorrupt,  // the reader's cursor makes no sense; sticky: this ring is finished
};

template <class Memory = HostMemory, std::size_t kWords = kRecordBytes / 8>
class SpscRing {
 public:
  using Slot = RingSlot<Memory, kWords>;
  using ReaderPage = RingReaderPage<Memory>;
  using ParkedWord = typename Memory::template Word<std::uint32_t>;
  // Private copy of a record's bytes, for std::bit_cast.
  using Record = RingRecord<kWords>;
  static constexpr bool kIsHost = sizeof(Slot) == kSlotBytes;  // lines, not a model of them
  static constexpr std::uint64_t kAheadSlots = 12;             // prefetched: enough trips at once
  static constexpr std::uint64_t kAheadFrom = 4;
  // False only where a test injects a death as an exception.
  static constexpr bool kNoThrow = Memory::kNoThrow;

  // Slots that the writer may fill, contiguous in memory. Valid until the next claim, stage or
  // reveal.
  struct Run {
    ClaimStatus status = ClaimStatus::kFull;
    std::uint64_t position = 0;  // of slots[0]
    std::span<Slot> slots;
  };

  class Writer;
  class Reader;

  using View = RingView<Memory, kWords>;

  // The stamp a slot counts as carrying: zero is a slot never used.
  static constexpr std::uint64_t effective(std::uint64_t stamp, std::uint64_t index,
                                           std::uint64_t capacity) noexcept {
    return stamp == 0 ? index + 1 - capacity : stamp;
  }

  // Makes the ring start at `position` instead of 0. Only for memory that nobody else has mapped
  // yet.
  static void format(std::span<Slot> slots, ReaderPage& page,
                     std::uint64_t position) noexcept(kNoThrow) {
    const std::uint64_t capacity = slots.size();
    for (std::uint64_t lap = 0; lap < capacity; ++lap) {
      const std::uint64_t previous = position + lap - capacity;
      // relaxed: nobody else has this memory yet; handing it over is the synchronisation.
      slots[previous & (capacity - 1)].stamp.store_relaxed(previous + 1);
    }
    page.cursor.store_relaxed(position);  // relaxed: as above
    page.parked.store_relaxed(0);         // relaxed: as above
  }

 private:
  static Status check(std::span<const Slot> slots, const ReaderPage* page) {
    return check_ring(RingPlace{slots.data(), slots.size(),
                                sizeof(Slot) == kSlotBytes ? kCacheLine : alignof(Slot), page,
                                alignof(ReaderPage)});
  }
};

template <class Memory, std::size_t kWords>
class SpscRing<Memory, kWords>::Writer {
 public:
  Writer() = default;

  // Takes the ring over from whoever wrote it before (nobody: a fresh mapping). The head is where
  // the smallest stamp stands; it is never taken from the reader's cursor. Then wipes every stamp
  // that a dead batch left at or beyond the head: a reader would run on into them once the head is
  // published. Idempotent: it may die anywhere and be called again. Cost: two passes over the slots
  // (8 us for 4Ki). Corrupt: stamps that no writer leaves, or a cursor outside [head - capacity,
  // head].
  static Result<Writer> take_over(std::span<Slot> slots, const ReaderPage* page) {
    MESH_CHECK_OK(SpscRing::check(slots, page));
    Writer writer;
    writer.slots_ = slots;
    writer.page_ = page;
    writer.parked_ = &page->parked;
    writer.mask_ = slots.size() - 1;
    MESH_CHECK_OK(writer.find_head());
    // SYNC ring.freed acquire: the reader is done with every slot before its cursor.
    writer.cursor_ = page->cursor.load_acquire();
    if (writer.revealed_ - writer.cursor_ > slots.size())
      return foreign_cursor(writer.cursor_, writer.revealed_, slots.size());
    MESH_POINT("spsc.take_over:before_wipe");
    MESH_CHECK_OK(writer.wipe_dead_batch());
    return writer;
  }

  // Up to `wanted` contiguous slots: fewer at the ring's end, when the reader is behind, and above
  // kRunSlotsMax. Claiming again without stage() hands out the same slots. Build each record in its
  // slot.
  [[nodiscard]] Run claim(std::size_t wanted) noexcept(kNoThrow) {
    std::uint64_t free = capacity() - (head_ - cursor_);
    if (free < wanted) {
      if (!refresh_cursor()) return Run{ClaimStatus::kCorrupt, head_, {}};
      free = capacity() - (head_ - cursor_);
      if (free == 0) return Run{ClaimStatus::kFull, head_, {}};
    }
    const std::uint64_t index = head_ & mask_;
    const std::uint64_t count =
        std::min({std::uint64_t{wanted}, free, capacity() - index, std::uint64_t{kRunSlotsMax}});
    return Run{ClaimStatus::kOk, head_, slots_.subspan(index, count)};
  }

  // Builds every slot of the run with build(slot, position) and adds the run to the open batch, in
  // one pass: a line is stamped while it is written.
  template <class Build>
  void fill(const Run& run, Build&& build) noexcept(kNoThrow) {
    MESH_DCHECK(run.position == head_);
    MESH_POINT("spsc.fill:before_records");
    // Locals: a store to a slot might alias our own members.
    const std::uint64_t first = revealed_;
    std::uint64_t position = run.position;
    for (Slot& slot : run.slots) {
      build(slot, position);
      stamp_unless(first, slot, position++);
    }
    head_ = position;
  }
  // Before a record that is built for itself: the lines of the ones after it come meanwhile.
  void prefetch() const noexcept {
    if constexpr (kIsHost) prefetch_for_writing(&slots_[(head_ + kAheadSlots) & mask_]);
  }
  // For slots built by hand: adds the first `count` claimed ones. A second pass over their lines.
  void stage(std::size_t count) noexcept(kNoThrow) {
    MESH_DCHECK(count <= capacity() - (head_ - cursor_));
    MESH_POINT("spsc.stage:before_stamps");
    for (const std::uint64_t end = head_ + count; head_ != end; ++head_)
      stamp_unless(revealed_, slots_[head_ & mask_], head_);
  }

  // Makes the open batch visible, all at once. For a reader that spins, or looks by its own
  // schedule.
  void reveal() noexcept(kNoThrow) {
    if (head_ == revealed_) return;
    MESH_POINT("spsc.reveal:before_stamp");
    // SYNC ring.published release: every record and stamp of the batch is visible to poll().
    slots_[revealed_ & mask_].stamp.store_release(revealed_ + 1);
    MESH_POINT("spsc.reveal:after_stamp");
    revealed_ = head_;
  }
  // The same, and says whether the reader is parked: then the caller signals its eventfd, once.
  [[nodiscard]] bool reveal_checked() noexcept(kNoThrow) {
    if (head_ == revealed_) return false;
    MESH_POINT("spsc.reveal:before_stamp");
    // SYNC ring.published release: as in reveal(). SYNC ring.parked release: the word is looked at
    // next.
    slots_[revealed_ & mask_].stamp.store_seq_cst(revealed_ + 1);
    MESH_POINT("spsc.reveal:after_stamp");
    revealed_ = head_;
    return parked_->load_seq_cst() != 0;  // SYNC ring.parked acquire
  }

  void publish(std::size_t count) noexcept(kNoThrow) { stage(count), reveal(); }
  [[nodiscard]] bool publish_checked(std::size_t count) noexcept(kNoThrow) {
    return stage(count), reveal_checked();
  }

  // Slots free for claim(), by the reader's last known cursor after looking again.
  [[nodiscard]] std::uint64_t free_slots() noexcept(kNoThrow) {
    return refresh_cursor() ? capacity() - (head_ - cursor_) : 0;
  }

  [[nodiscard]] std::uint64_t capacity() const noexcept { return mask_ + 1; }
  // The next positions to claim and to reveal; the reader's cursor as last known; stamps wiped by
  // take_over.
  [[nodiscard]] std::uint64_t head() const noexcept { return head_; }
  [[nodiscard]] std::uint64_t revealed() const noexcept { return revealed_; }
  [[nodiscard]] std::uint64_t cursor() const noexcept { return cursor_; }
  [[nodiscard]] std::uint64_t wiped() const noexcept { return wiped_; }
  // A record of its own in [cursor(), head()).
  [[nodiscard]] View at(std::uint64_t position) const noexcept {
    return View(slots_[position & mask_], position);
  }

 private:
  // The batch's very first stamp is left for reveal(): the reader waits there, and sees no further.
  static void stamp_unless(std::uint64_t first, Slot& slot,
                           std::uint64_t position) noexcept(kNoThrow) {
    // relaxed: ordered by the release store of the batch's first stamp.
    if (position != first) slot.stamp.store_relaxed(position + 1);
  }

  // False when the cursor is outside [its last value, revealed_], now or ever before.
  bool refresh_cursor() noexcept(kNoThrow) {
    if (corrupt_) return false;
    // SYNC ring.freed acquire: the reader's reads of the freed slots happen-before our writes to
    // them.
    const std::uint64_t cursor = page_->cursor.load_acquire();
    corrupt_ = cursor - cursor_ > revealed_ - cursor_;
    if (!corrupt_) cursor_ = cursor;
    return !corrupt_;
  }

  [[nodiscard]] std::uint64_t stamp_at(std::uint64_t index) const noexcept(kNoThrow) {
    // relaxed: the writer's own past stamps; a dead predecessor's end was learned from the kernel.
    return SpscRing::effective(slots_[index].stamp.load_relaxed(), index, capacity());
  }

  Status find_head() {
    std::uint64_t oldest = 0;
    for (std::uint64_t index = 1; index < capacity(); ++index)
      if (before(stamp_at(index), stamp_at(oldest))) oldest = index;
    const std::uint64_t first = stamp_at(oldest) - 1;
    for (std::uint64_t lap = 0; lap < capacity(); ++lap) {
      const std::uint64_t index = (oldest + lap) & mask_;
      const std::uint64_t position = stamp_at(index) - 1;
      const bool published = position == first + lap;
      const bool dead = position == first + lap + capacity() && lap != 0;
      if ((position & mask_) != index || (!published && !dead))
        return foreign_stamp(index, position, first);
    }
    head_ = revealed_ = first + capacity();
    return {};
  }

  // Dead stamps stand in slots that were free, so below cursor + capacity; others are corrupt.
  Status wipe_dead_batch() {
    for (std::uint64_t position = head_ + 1; position != head_ + capacity(); ++position) {
      const std::uint64_t index = position & mask_;
      if (stamp_at(index) != position + 1) continue;
      if (position - cursor_ >= capacity()) return foreign_stamp(index, position, head_);
      // relaxed: ordered before the reader's eyes by the release store of the next reveal.
      slots_[index].stamp.store_relaxed(position + 1 - capacity());
      ++wiped_;
    }
    return {};
  }

  std::span<Slot> slots_;
  const ReaderPage* page_ = nullptr;
  const ParkedWord* parked_ = nullptr;
  std::uint64_t mask_ = 0;
  std::uint64_t head_ = 0;      // next position to claim
  std::uint64_t revealed_ = 0;  // first position not visible; == head_ when no batch is open
  std::uint64_t cursor_ = 0;    // the reader's, as last seen
  std::uint64_t wiped_ = 0;
  bool corrupt_ = false;
};

template <class Memory, std::size_t kWords>
class SpscRing<Memory, kWords>::Reader {
 public:
  using View = SpscRing::View;

  Reader() = default;

  // Goes on where the page's cursor stands (a fresh page: 0). Corrupt: a cursor that its slot
  // contradicts.
  static Result<Reader> attach(std::span<const Slot> slots, ReaderPage* page) {
    MESH_CHECK_OK(SpscRing::check(slots, page));
    Reader reader;
    reader.slots_ = slots;
    reader.page_ = page;
    reader.mask_ = slots.size() - 1;
    reader.cursor_ = page->cursor.load_relaxed();  // relaxed: our own word; nobody else writes it
    const std::uint64_t index = reader.cursor_ & reader.mask_;
    const std::uint64_t seen = slots[index].stamp.load_relaxed();  // relaxed: reads no record by it
    const std::uint64_t stamp = SpscRing::effective(seen, index, slots.size());
    if (stamp != reader.cursor_ + 1 && stamp != reader.cursor_ + 1 - slots.size())
      return foreign_stamp(index, stamp - 1, reader.cursor_);
    return reader;
  }

  // Calls fn(View) for up to `limit` records in order, then frees their slots by one cursor store.
  // fn may return bool: false leaves that record and ends the burst. Dying inside fn loses nothing:
  // the burst is seen again.
  template <class Fn>
  std::size_t poll(std::size_t limit, Fn&& fn) noexcept(kNoThrow) {
    const std::size_t taken = take(limit, std::forward<Fn>(fn));
    if (taken != 0) free_taken();
    return taken;
  }
  // The two halves, for whose effects are shown to others later: until free_taken() whoever takes
  // over sees all that was taken again.
  template <class Fn>
  std::size_t take(std::size_t limit, Fn&& fn) noexcept(kNoThrow) {
    // Locals: after an acquire the compiler would load our own members again, for each record.
    const Slot* const slots = slots_.data();
    const std::uint64_t mask = mask_;
    const std::uint64_t start = cursor_;
    std::uint64_t at = start;
    for (; at - start != limit; ++at) {
      const Slot& slot = slots[at & mask];
      // SYNC ring.published acquire: pairs with reveal(); the record below is the one published.
      if (slot.stamp.load_acquire() != at + 1) break;
      // Not after the first few: beyond them the writer may still be at work on its lines.
      if constexpr (kIsHost)
        if (at - start >= kAheadFrom) prefetch_for_reading(&slots[(at + kAheadSlots) & mask]);
      MESH_POINT("spsc.poll:before_record");
      if constexpr (std::is_void_v<std::invoke_result_t<Fn&, View>>) {
        fn(View(slot, at));
      } else {
        if (!fn(View(slot, at))) break;
      }
    }
    cursor_ = at;
    return static_cast<std::size_t>(at - start);
  }
  void free_taken() noexcept(kNoThrow) {
    MESH_POINT("spsc.poll:before_cursor");
    page_->cursor.store_release(cursor_);  // SYNC ring.freed release: our reads of them are done
    MESH_POINT("spsc.poll:after_cursor");
  }

  // Whether poll() would find something. One load.
  [[nodiscard]] bool ready() const noexcept(kNoThrow) {
    // relaxed: poll() looks again, and its look is the ordered one.
    return slots_[cursor_ & mask_].stamp.load_relaxed() == cursor_ + 1;
  }

  // Says "asleep", then looks once more. True: nothing there, sleep on the eventfd; the next
  // reveal_checked() will see the word and signal. False: a record came; do not sleep. Call
  // unpark() after either.
  [[nodiscard]] bool prepare_to_park() noexcept(kNoThrow) {
    say_parked(*page_);
    MESH_POINT("spsc.park:before_check");
    return is_still_empty(slots_, cursor_);
  }
  // Its two halves, for a reader of many rings: it says so in the page of each, then looks at each.
  static void say_parked(ReaderPage& page) noexcept(kNoThrow) {
    page.parked.store_seq_cst(1);  // SYNC ring.parked release: the other side's word is looked at
  }
  [[nodiscard]] static bool is_still_empty(std::span<const Slot> slots,
                                           std::uint64_t cursor) noexcept(kNoThrow) {
    const Slot& next = slots[cursor & (slots.size() - 1)];
    return next.stamp.load_seq_cst() != cursor + 1;  // SYNC ring.parked acquire
  }
  void unpark() noexcept(kNoThrow) {
    page_->parked.store_relaxed(0);  // relaxed: a late look costs one needless signal, nothing else
  }

  [[nodiscard]] std::uint64_t cursor() const noexcept { return cursor_; }
  [[nodiscard]] std::uint64_t capacity() const noexcept { return mask_ + 1; }

 private:
  std::span<const Slot> slots_;
  ReaderPage* page_ = nullptr;
  std::uint64_t mask_ = 0;
  std::uint64_t cursor_ = 0;
};

}  // namespace mesh::queues
