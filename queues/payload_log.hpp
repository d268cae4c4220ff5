// PayloadLog: message bodies written once by one process, read by many that map them read-only.
//
// Callers     Writer: the process that owns the region, one thread. Reader: any thread of any
//             process.
// Progress    append, reserve, commit, advance_tail, copy, view: wait-free. walk, verify: at most
//             one step for each 16 bytes of the region.
// Ordering    a position must reach a reader by a way that orders (a ring's publish does): then
//             the entry's words happen-before the copy() of that position.
//             whoever loads a word sees the tail that made room for it.       SYNC payload.word
//             a tail is never seen without the head that it may equal.        SYNC payload.tail
//             entries up to the head happen-before a verify() that finds it.  SYNC payload.head
// Cost        append: a store for each 8 bytes and three more, no load. copy: a load for each 8
//             bytes, two of the entry, two of the tail; it never looks at the head, which changes
//             with each append. No system call, no allocation. On ARM the words are stlr and ldar.
// Units       positions are bytes from the log's start modulo 2^64, multiples of 16; capacity in
//             bytes (power of two); a body takes at most half of it, less 16.
// If the      writer dies: an entry not committed is neither visible nor in the way; tail and head
// other side  stand in the header, each right at any instant. A new writer calls take_over.
// dies,       writer laps a reader: kGone, never torn bytes. reader dies or stalls: the writer
// stalls,     knows no reader; it frees what its owner tells it to.
// or lies     writer lies: any bytes and any answer, never outside the region or `out`, never
//             without end. A position is input too: kCorrupt where no entry stands.
// Errors      reserve, append -> kFull (free `bytes_short` bytes first), kTooLong. copy -> kGone,
//             kTooSmall, kCorrupt. walk -> kOutside, kCorrupt. take_over, attach, verify ->
//             Errc::misaligned, invalid_argument, corrupt.
// Layout      docs/SHM_LAYOUT.md, PayloadLogHeader and PayloadEntry.
// Source      a log buffer that skips at its end, as Aeron's; the check after the copy as in
//             shm/row_seqlock.hpp.
//
// Invariant: tail <= head <= tail + capacity, both at entry boundaries; entries and skips fill
// [tail, head) without a gap. An entry never wraps: what is left at the region's end is skipped.
//
// Why a read is never torn. The words of the entry at p are overwritten only by stores that follow
// a store of a tail above p: in the same writer, or in a successor that learned of its
// predecessor's end from the kernel. Each of them is a release store. The reader loads each word
// with acquire and the tail after them. Were one of the words newer than the entry, that tail would
// be visible, and coherence gives a tail above p: kGone. None is older, for p came by a way that
// orders the entry before the read. So what comes back is the entry, or kGone. The words need
// acquire; the tail may be relaxed, for no load overtakes an acquire load before it.
//
// The stamp is not what makes an entry visible: it tells a position that names no entry. One that
// no commit() returned may hit bytes of a body that look like an entry, and then reads those.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "queues/payload_body.hpp"
#include "queues/payload_log_layout.hpp"
#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/result.hpp"
#include "shm/base/sequence.hpp"
#include "shm/base/word.hpp"

namespace mesh::queues {

enum class BodyStatus : std::uint8_t {
  kRead,
  kGone,      // freed, and perhaps overwritten, before or during the read
  kTooSmall,  // `out` is shorter than the body, whose length is given
  kCorrupt,   // no entry stands at this position
};

enum class WalkStatus : std::uint8_t {
  kDone,
  kStopped,  // the callback declined an entry
  kOutside,  // the position is not in [tail, head]
  kCorrupt,  // something else than an entry stands where one should
};

// What verify() found between tail and head.
struct PayloadCounts {
  std::uint64_t entries = 0;
  std::uint64_t skips = 0;
  std::uint64_t body_bytes = 0;
};

template <class Memory = HostMemory>
class PayloadLog {
 public:
  using Header = PayloadLogHeader<Memory>;
  using Word = typename Memory::template Word<std::uint64_t>;
  using Body = PayloadBody<Memory>;
  using Reservation = PayloadReservation<Memory>;
  static constexpr bool kNoThrow = Memory::kNoThrow;  // false only where a test injects a death

  class Writer;
  class Reader;

  struct Appended {
    AppendStatus status = AppendStatus::kFull;
    std::uint64_t position = 0;     // names the entry for ever, if kOk
    std::uint64_t bytes_short = 0;  // if kFull: the tail must move on at least so far
  };

  // Makes the log start at `position` instead of 0. Only for zeroed memory that nobody else has
  // mapped yet.
  static void format(Header& header, std::uint64_t position) noexcept(kNoThrow) {
    MESH_ASSERT(position % kPayloadAlignment == 0);
    // relaxed: nobody else has this memory yet; handing it over is the synchronisation.
    header.tail.store_relaxed(position);
    header.head.store_relaxed(position);  // relaxed: as above
  }

 private:
  static Status check(std::span<const Word> words, const Header* header) {
    constexpr bool kHost = sizeof(Word) == sizeof(std::uint64_t);
    return check_payload_log({words.data(), kHost ? kCacheLine : alignof(Word),
                              words.size() * sizeof(std::uint64_t), header,
                              kHost ? kIsolation : alignof(Header)});
  }
};

template <class Memory>
class PayloadLog<Memory>::Writer {
 public:
  Writer() = default;

  // Takes the log over from whoever wrote it before (nobody: a fresh mapping). Writes nothing, so
  // it may die anywhere. Whether the entries make sense is verify()'s to say.
  static Result<Writer> take_over(std::span<Word> words, Header* header) {
    MESH_CHECK_OK(PayloadLog::check(words, header));
    Writer writer;
    writer.words_ = words;
    writer.header_ = header;
    writer.mask_ = words.size() * sizeof(std::uint64_t) - 1;
    // relaxed: a dead predecessor's end was learned from the kernel, which orders all it stored.
    writer.head_ = header->head.load_relaxed();
    writer.tail_ = header->tail.load_relaxed();  // relaxed: as above
    MESH_CHECK_OK(check_payload_bounds({writer.tail_, writer.head_, writer.capacity()}));
    return writer;
  }

  // Room for a body to be built in place. Not visible before commit(); reserving again drops it.
  [[nodiscard]] Reservation reserve(std::uint32_t length,
                                    std::uint32_t kind = 0) noexcept(kNoThrow) {
    MESH_ASSERT(kind != kPayloadSkipKind);
    is_reserved_ = false;
    if (length > body_bytes_max()) return {AppendStatus::kTooLong, head_, 0, {}};
    const std::uint64_t size = payload_entry_bytes(length);
    const std::uint64_t to_end = capacity() - (head_ & mask_);
    const std::uint64_t skipped = size <= to_end ? 0 : to_end;
    const std::uint64_t free = free_bytes();
    if (skipped + size > free) return {AppendStatus::kFull, head_, skipped + size - free, {}};
    if (skipped != 0) {
      const auto padding = static_cast<std::uint32_t>(skipped - kPayloadEntryHeaderBytes);
      store_entry(head_, padding, kPayloadSkipKind);
      MESH_POINT("payload.reserve:after_skip");
    }
    reserved_ = head_ + skipped;
    reserved_length_ = length;
    reserved_kind_ = kind;
    is_reserved_ = true;
    const std::uint64_t first = (reserved_ & mask_) / sizeof(std::uint64_t) + 2;
    const std::uint64_t count = size / sizeof(std::uint64_t) - 2;
    return {AppendStatus::kOk, reserved_, 0, PayloadStores<Memory>(words_.subspan(first, count))};
  }

  // Makes the reserved entry stand and returns its position, which may be told from now on.
  std::uint64_t commit() noexcept(kNoThrow) {
    MESH_ASSERT(is_reserved_);
    is_reserved_ = false;
    MESH_POINT("payload.commit:before_entry");
    store_entry(reserved_, reserved_length_, reserved_kind_);
    MESH_POINT("payload.commit:before_head");
    head_ = reserved_ + payload_entry_bytes(reserved_length_);
    // SYNC payload.head release: the entry, and the skip before it, stand.
    header_->head.store_release(head_);
    MESH_POINT("payload.commit:after_head");
    return reserved_;
  }

  // The parts one after the other, as one body.
  [[nodiscard]] Appended append(std::span<const std::span<const std::byte>> parts,
                                std::uint32_t kind = 0) noexcept(kNoThrow) {
    std::uint64_t length = 0;
    for (const auto part : parts) length += std::min<std::uint64_t>(part.size(), kTooLongForSure);
    if (length > body_bytes_max()) return {AppendStatus::kTooLong, head_, 0};
    Reservation room = reserve(static_cast<std::uint32_t>(length), kind);
    if (room.status != AppendStatus::kOk) return {room.status, room.position, room.bytes_short};
    for (const auto part : parts) room.body.put(part);
    return {AppendStatus::kOk, commit(), 0};
  }
  [[nodiscard]] Appended append(std::span<const std::byte> body,
                                std::uint32_t kind = 0) noexcept(kNoThrow) {
    return append(std::span(&body, 1), kind);
  }

  // Calls fn(const Body&) for each entry that starts in [tail, to), oldest first: what is still
  // needed is copied elsewhere before it is freed. fn may return bool: false leaves that entry and
  // ends the walk. `position` is the entry boundary where it ended: what advance_tail() takes.
  struct Walked {
    WalkStatus status = WalkStatus::kDone;
    std::uint64_t position = 0;
  };
  template <class Fn>
  Walked walk(std::uint64_t to, Fn&& fn) const noexcept(kNoThrow) {
    if (!is_within(to)) return {WalkStatus::kOutside, tail_};
    std::uint64_t at = tail_;
    while (before(at, to)) {
      const std::uint64_t index = (at & mask_) / sizeof(std::uint64_t);
      // relaxed: this writer's own past stores, or those of a dead predecessor.
      const std::uint64_t stamp = words_[index + 1].load_relaxed();
      const PayloadShape shape =
          decode_payload(words_[index].load_relaxed(), at, capacity());  // relaxed: as above
      const std::uint64_t size = payload_entry_bytes(shape.length);
      if (stamp != at + 1 || !shape.fits || size > head_ - at) return {WalkStatus::kCorrupt, at};
      if (shape.kind != kPayloadSkipKind) {
        const Body body{at, shape.length, shape.kind, &words_[index] + 2};
        if constexpr (std::is_void_v<std::invoke_result_t<Fn&, const Body&>>) {
          fn(body);
        } else {
          if (!fn(body)) return {WalkStatus::kStopped, at};
        }
      }
      at += size;
    }
    return {WalkStatus::kDone, at};
  }

  // Frees everything before `to`: the head, or where an entry starts. False, and nothing is freed,
  // for any other position. Whoever reads what was freed gets kGone from now on.
  [[nodiscard]] bool advance_tail(std::uint64_t to) noexcept(kNoThrow) {
    if (!is_within(to) || to % kPayloadAlignment != 0) return false;
    // relaxed: this writer's own past stores, or those of a dead predecessor.
    const auto stamp = [&] { return words_[(to & mask_) / 8 + 1].load_relaxed(); };
    if (to != head_ && stamp() != to + 1) return false;
    tail_ = to;
    MESH_POINT("payload.advance_tail:before_tail");
    // SYNC payload.tail release: the head, which it may equal, was stored before.
    header_->tail.store_release(to);
    MESH_POINT("payload.advance_tail:after_tail");
    return true;
  }

  [[nodiscard]] std::uint64_t capacity() const noexcept { return mask_ + 1; }
  [[nodiscard]] std::uint64_t tail() const noexcept { return tail_; }
  [[nodiscard]] std::uint64_t head() const noexcept { return head_; }
  [[nodiscard]] std::uint64_t used_bytes() const noexcept { return head_ - tail_; }
  [[nodiscard]] std::uint64_t free_bytes() const noexcept { return capacity() - used_bytes(); }
  [[nodiscard]] std::uint32_t body_bytes_max() const noexcept {
    return payload_body_bytes_max(capacity());
  }

 private:
  static constexpr std::uint64_t kTooLongForSure = kPayloadLogBytesMax;  // so that sums stay small

  [[nodiscard]] bool is_within(std::uint64_t position) const noexcept {
    return position - tail_ <= head_ - tail_;
  }
  void store_entry(std::uint64_t position, std::uint32_t length,
                   std::uint32_t kind) noexcept(kNoThrow) {
    const std::uint64_t index = (position & mask_) / sizeof(std::uint64_t);
    // SYNC payload.word release: as in PayloadStores; these words were a body's a lap ago.
    words_[index].store_release(std::uint64_t{kind} << 32 | length);
    MESH_POINT("payload.entry:before_stamp");
    words_[index + 1].store_release(position + 1);  // SYNC payload.word release: as above
  }

  std::span<Word> words_;
  Header* header_ = nullptr;
  std::uint64_t mask_ = 0;
  std::uint64_t tail_ = 0;
  std::uint64_t head_ = 0;
  std::uint64_t reserved_ = 0;  // position of the open reservation
  std::uint32_t reserved_length_ = 0;
  std::uint32_t reserved_kind_ = 0;
  bool is_reserved_ = false;
};

template <class Memory>
class PayloadLog<Memory>::Reader {
 public:
  Reader() = default;

  static Result<Reader> attach(std::span<const Word> words, const Header* header) {
    MESH_CHECK_OK(PayloadLog::check(words, header));
    Reader reader;
    reader.words_ = words;
    reader.header_ = header;
    reader.mask_ = words.size() * sizeof(std::uint64_t) - 1;
    return reader;
  }

  struct Copied {
    BodyStatus status = BodyStatus::kCorrupt;
    std::uint32_t length = 0;  // of the body, if kRead or kTooSmall
    std::uint32_t kind = 0;
  };
  // Copies the body of the entry at `position` to private memory. Unless kRead, `out` holds nothing
  // of use.
  [[nodiscard]] Copied copy(std::uint64_t position, std::span<std::byte> out) const
      noexcept(kNoThrow) {
    const View found = view(position);
    if (found.status != BodyStatus::kRead) return {found.status, 0, 0};
    const std::uint32_t length = found.body.length;
    if (length > out.size()) return {BodyStatus::kTooSmall, length, found.body.kind};
    const Word* from = found.body.words;
    std::byte* to = out.data();
    std::uint32_t left = length;
    for (; left >= sizeof(std::uint64_t); left -= 8, to += 8, ++from) {
      const std::uint64_t word = from->load_acquire();  // SYNC payload.word acquire: as in view()
      std::memcpy(to, &word, sizeof word);
    }
    if (left != 0) {
      const std::uint64_t word = from->load_acquire();  // SYNC payload.word acquire: as in view()
      std::memcpy(to, &word, left);
    }
    MESH_POINT("payload.copy:before_tail");
    const BodyStatus status = still(position, BodyStatus::kRead);
    if (status != BodyStatus::kRead) return {status, 0, 0};
    return {status, length, found.body.kind};
  }

  struct View {
    BodyStatus status = BodyStatus::kCorrupt;  // never kTooSmall
    Body body;
  };
  // The body in place, for a reader whose own cursor keeps the entry from being freed (DESIGN: a
  // handler that finishes inside poll()), and whose writer is trusted not to change it meanwhile.
  // For all others: copy().
  [[nodiscard]] View view(std::uint64_t position) const noexcept(kNoThrow) {
    if (position % kPayloadAlignment != 0) return {};
    const std::uint64_t index = (position & mask_) / sizeof(std::uint64_t);
    // SYNC payload.word acquire: if it is another entry's, that entry's tail is visible.
    const std::uint64_t stamp = words_[index + 1].load_acquire();
    if (stamp != position + 1) return {still(position, BodyStatus::kCorrupt), {}};
    // SYNC payload.word acquire: as above. Loaded once: the length checked is the length used.
    const PayloadShape shape = decode_payload(words_[index].load_acquire(), position, capacity());
    MESH_POINT("payload.view:before_tail");
    const bool stands = shape.fits && shape.kind != kPayloadSkipKind;
    const auto status = still(position, stands ? BodyStatus::kRead : BodyStatus::kCorrupt);
    if (status != BodyStatus::kRead) return {status, {}};
    return {status, {position, shape.length, shape.kind, &words_[index] + 2}};
  }

  // The position whose low 32 bits are `low`: what a record with 4 bytes for it means. Sound while
  // the entry stands; of a freed one it is a position where nothing stands yet.
  [[nodiscard]] std::uint64_t widen(std::uint32_t low) const noexcept(kNoThrow) {
    const std::uint64_t tail = header_->tail.load_relaxed();  // relaxed: checked when it is read
    return tail + static_cast<std::uint32_t>(low - static_cast<std::uint32_t>(tail));
  }

  // Walks from tail to head while the writer goes on; what it frees meanwhile is passed over.
  [[nodiscard]] Result<PayloadCounts> verify() const {
    // SYNC payload.tail acquire: the head loaded next is not behind this tail.
    const std::uint64_t tail_then = header_->tail.load_acquire();
    // SYNC payload.head acquire: every entry up to this head, and a tail close enough to it.
    const std::uint64_t head = header_->head.load_acquire();
    std::uint64_t at = header_->tail.load_relaxed();  // relaxed: the head carries it
    if (before(head, at) && !before(head, tail_then)) return PayloadCounts{};  // all freed since
    const PayloadBounds bounds{at, head, capacity()};
    MESH_CHECK_OK(check_payload_bounds(bounds));
    PayloadCounts counts;
    while (before(at, head)) {
      // A hostile tail stands at no entry's place: the words behind it may not be ours.
      if (at % kPayloadAlignment != 0) return foreign_payload_entry(at, bounds);
      const std::uint64_t index = (at & mask_) / sizeof(std::uint64_t);
      const std::uint64_t stamp = words_[index + 1].load_acquire();  // SYNC payload.word acquire
      // SYNC payload.word acquire: as in view().
      const PayloadShape shape = decode_payload(words_[index].load_acquire(), at, capacity());
      const std::uint64_t size = payload_entry_bytes(shape.length);
      const std::uint64_t tail = header_->tail.load_relaxed();  // relaxed: the words carry it
      if (before(at, tail)) {
        at = tail;
        continue;
      }
      if (stamp != at + 1 || !shape.fits || size > head - at)
        return foreign_payload_entry(at, bounds);
      const bool skips = shape.kind == kPayloadSkipKind;
      (skips ? counts.skips : counts.entries) += 1;
      if (!skips) counts.body_bytes += shape.length;
      at += size;
    }
    return counts;
  }

  [[nodiscard]] std::uint64_t capacity() const noexcept { return mask_ + 1; }

 private:
  // `otherwise`, or kGone when the tail has passed the position.
  [[nodiscard]] BodyStatus still(std::uint64_t position, BodyStatus otherwise) const
      noexcept(kNoThrow) {
    // relaxed: the acquire loads of the words come before it, and coherence does the rest.
    return before(position, header_->tail.load_relaxed()) ? BodyStatus::kGone : otherwise;
  }

  std::span<const Word> words_;
  const Header* header_ = nullptr;
  std::uint64_t mask_ = 0;
};

}  // namespace mesh::queues
