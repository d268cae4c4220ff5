// Unanswered: every direct message that the engine has accepted and that is not over, in `engine`
// memory. An entry is what survives: of its target's station, of the engine, of both.
//
//              accept                 placed in an inbox
//     free ───────────▶ waiting ─────────────────────────▶ delivered
//      ▲                 │   ▲      target's station died     │
//      │  expired,       │   └────────────────────────────────┤
//      └─────────────────┴────────────────────────────────────┘ answered, refused, expired
//
// Of a waiting message the body is parked; of a delivered one it stands in its target's `.in`, or
// is parked once that log had to give it up. `timed` is waiting for its own moment. The body of a
// bare message is in the entry itself, in the two words that it does not need: it is named by its
// id and never parked.
//
// Callers     the scheduler thread; a successor over the same memory.
// Progress    wait-free: find looks at a bounded number of places. No allocation after over().
// Ordering    the other words of an entry are stored before its state.    SYNC entry.state
// Cost        accept: one line. find: a hash, mostly one place.
// Units       see EntryWords.
// If the      writer dies at any store: each entry is free or whole, and in one of its states.
// other side
// dies
// Errors      over -> invalid_argument, truncated. adopt -> corrupt. accept -> kNone: full.
// Layout      region `unanswered`, kUnansweredPerAgent entries for each agent.
// Invariant   entries in use + free == entries; every delivered entry is in the index
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sched/records.hpp"
#include "shm/base/assert.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/point.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"

namespace mesh::engine {

enum class EntryState : std::uint8_t { free = 0, waiting, delivered, timed };

template <class Memory>
struct alignas(kCacheLine) EntryWords {
  template <class T>
  using Word = typename Memory::template Word<T>;
  // EntryState | kind << 8 | priority << 16 | marks << 24 | bytes << 32; bare: bytes in 32-39, the
  // station it was delivered to in 48-63.
  Word<std::uint64_t> state;
  Word<std::uint64_t> target;
  Word<std::uint64_t> source;
  Word<std::uint64_t> id_high;
  Word<std::uint64_t> id_low;  // station << 48 | outbox position: which record made it
  // Delivered: the MessageWord by which the target answers; else T. Bare: body bytes 0-7.
  Word<std::uint64_t> message;
  Word<std::uint64_t> place;  // delivered: in the inbox; timed: when, in ns; waiting: its turn,
                              // which is above all of those
  // First block + 1, 0: none | station it was delivered to << 32. Bare: body bytes 8-15.
  Word<std::uint64_t> parked;
};
static_assert(sizeof(EntryWords<HostMemory>) == kCacheLine);

// Marks of an entry.
inline constexpr std::uint8_t kEntryRedelivered = 1U << 0;  // may have been delivered before
inline constexpr std::uint8_t kEntryCorrelated = 1U << 1;   // its header names a correlation
inline constexpr std::uint8_t kEntryBare = 1U << 2;         // no header; its body is in the entry
inline constexpr std::uint8_t kEntryModeQueued = 1U << 3;   // timed: waits for a better mode

// An entry, loaded.
struct Entry {
  EntryState state = EntryState::free;
  sched::RecordKind kind = sched::RecordKind::message;
  sched::Priority priority = sched::Priority::normal;
  std::uint8_t marks = 0;
  std::uint32_t body_bytes = 0;  // of the body alone, its header not counted
  AgentId target{};
  AgentId source{};
  sched::MessageId id{};
  sched::MessageWord message{};
  std::uint64_t place = 0;
  std::uint32_t parked = ~std::uint32_t{0};  // kNone
  StationId station{};                       // delivered to
  sched::BareWords bare{};                   // body of a bare one

  [[nodiscard]] bool is_bare() const noexcept { return (marks & kEntryBare) != 0; }
  [[nodiscard]] std::size_t size_bytes() const noexcept {  // in a log or parked: not of a bare one
    return sched::kMessageHeaderBytes + body_bytes;
  }
};

template <class Memory = HostMemory>
class Unanswered {
 public:
  using Words = EntryWords<Memory>;
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  Unanswered() = default;
  // Takes no entry for used: adopt() says which are.
  static Result<Unanswered> over(std::span<Words> words) {
    if (words.empty() || words.size() > (std::size_t{1} << 30)) {
      return fail(Errc::invalid_argument,
                  "unanswered: " + std::to_string(words.size()) + " entries, it has at least one");
    }
    Unanswered entries;
    entries.words_ = words;
    entries.index_.assign(std::bit_ceil(2 * words.size()), 0);
    entries.free_.reserve(words.size());
    return entries;
  }
  // Goes on from what stands there: calls visit(index, entry) for each that is in use, which may
  // change it. corrupt: a state that no writer leaves.
  template <class Visit>
  [[nodiscard]] Status adopt(Visit&& visit) {
    free_.clear();
    for (std::uint32_t at = size(); at-- > 0;) {
      // SYNC entry.state acquire: pairs with the writer that died.
      const std::uint64_t state = words_[at].state.load_acquire();
      if ((state & 0xFF) > static_cast<std::uint64_t>(EntryState::timed)) {
        return fail(Errc::corrupt, "unanswered: entry " + std::to_string(at) + " has the state " +
                                       std::to_string(state & 0xFF));
      }
      if ((state & 0xFF) == static_cast<std::uint64_t>(EntryState::free)) free_.push_back(at);
    }
    for (std::uint32_t at = 0; at < size(); ++at) {
      const Entry entry = get(at);
      if (entry.state == EntryState::free) continue;
      if (entry.state == EntryState::delivered) link(at);
      MESH_CHECK_OK(visit(at, entry));
    }
    return {};
  }

  [[nodiscard]] std::uint32_t size() const noexcept {
    return static_cast<std::uint32_t>(words_.size());
  }
  [[nodiscard]] std::uint32_t in_use() const noexcept {
    return size() - static_cast<std::uint32_t>(free_.size());
  }

  // Where the next accept() puts its entry; kNone: full.
  [[nodiscard]] std::uint32_t next_free() const noexcept {
    return free_.empty() ? kNone : free_.back();
  }
  // A free entry becomes `entry`, in its state; kNone: full.
  [[nodiscard]] std::uint32_t accept(const Entry& entry) noexcept {
    if (free_.empty()) return kNone;
    const std::uint32_t at = free_.back();
    free_.pop_back();
    store(at, entry);
    MESH_POINT("unanswered.accept:before_state");
    store_state(at, entry);
    if (entry.state == EntryState::delivered) link(at);
    return at;
  }
  // Waiting or timed: it stands in the inbox of `station` now. Its parked body stays named until
  // drop_parked(), so that at every store it has one somewhere.
  struct Placed {
    sched::MessageWord message{};
    std::uint64_t place = 0;
    StationId station{};
  };
  void deliver(std::uint32_t at, const Placed& placed) noexcept {
    Words& words = words_[at];
    const std::uint64_t station{static_cast<std::uint16_t>(placed.station)};
    const bool bare = is_bare(words);
    if (!bare) {
      put(words.message, static_cast<std::uint64_t>(placed.message));
      put(words.parked, (load(words.parked) & 0xFFFF'FFFF) | station << 32);
    }
    put(words.place, placed.place);
    MESH_POINT("unanswered.deliver:before_state");
    if (bare)
      set_state_bare(at, EntryState::delivered, station);
    else
      set_state(at, EntryState::delivered, 0);
    link(at);
  }
  // Its body stands in the parked store too, or again only there.
  void park(std::uint32_t at, std::uint32_t first_block) noexcept {
    Words& words = words_[at];
    const std::uint64_t station = load(words.parked) & ~std::uint64_t{0xFFFF'FFFF};
    words.parked.store_release(station | (first_block + 1U));  // SYNC entry.state release
  }
  void drop_parked(std::uint32_t at) noexcept { park(at, kNone); }
  // It waits, at this turn; its body is parked. What was delivered may come twice from now on.
  void hold(std::uint32_t at, std::uint64_t turn) noexcept {
    const bool was_delivered = state_of(at) == EntryState::delivered;
    if (was_delivered) unlink(at);
    set_state(at, EntryState::waiting, was_delivered ? kEntryRedelivered : std::uint8_t{0});
    // Dying here it waits with an earlier turn: nothing else hangs on it.
    MESH_POINT("unanswered.hold:before_turn");
    put(words_[at].place, turn);
    if (was_delivered && !is_bare(words_[at])) put(words_[at].message, 0);
  }
  void free(std::uint32_t at) noexcept {
    if (state_of(at) == EntryState::delivered) unlink(at);
    words_[at].state.store_release(0);  // SYNC entry.state release
    free_.push_back(at);
  }

  [[nodiscard]] EntryState state_of(std::uint32_t at) const noexcept {
    // relaxed: this thread is the only writer.
    return static_cast<EntryState>(words_[at].state.load_relaxed() & 0xFF);
  }
  [[nodiscard]] Entry get(std::uint32_t at) const noexcept {
    const Words& words = words_[at];
    const std::uint64_t state = load(words.state);
    const std::uint64_t parked = load(words.parked);
    if ((state >> 24 & kEntryBare) != 0) return bare_of(words, state, parked);
    return {.state = static_cast<EntryState>(state & 0xFF),
            .kind = static_cast<sched::RecordKind>(state >> 8 & 0xFF),
            .priority = static_cast<sched::Priority>(state >> 16 & 0xFF),
            .marks = static_cast<std::uint8_t>(state >> 24 & 0xFF),
            .body_bytes = static_cast<std::uint32_t>(state >> 32),
            .target = static_cast<AgentId>(load(words.target)),
            .source = static_cast<AgentId>(load(words.source)),
            .id = {load(words.id_high), load(words.id_low)},
            .message = static_cast<sched::MessageWord>(load(words.message)),
            .place = load(words.place),
            .parked = static_cast<std::uint32_t>(parked & 0xFFFF'FFFF) - 1,
            .station = static_cast<StationId>(parked >> 32 & 0xFFFF),
            .bare = {}};
  }
  // What a reply needs of a delivered one.
  struct Question {
    bool is_bare = false;
    AgentId source{};
    std::uint64_t id_low = 0;
  };
  [[nodiscard]] Question question(std::uint32_t at) const noexcept {
    const Words& words = words_[at];
    return {is_bare(words), static_cast<AgentId>(load(words.source)), load(words.id_low)};
  }
  // What freeing needs of one.
  struct Owed {
    AgentId target{};
    std::uint32_t parked = kNone;
  };
  [[nodiscard]] Owed owed(std::uint32_t at) const noexcept {
    const Words& words = words_[at];
    const std::uint32_t parked =
        is_bare(words) ? kNone : static_cast<std::uint32_t>(load(words.parked) & 0xFFFF'FFFF) - 1;
    return {static_cast<AgentId>(load(words.target)), parked};
  }
  // Delivered as `message` to `target`; kNone.
  [[nodiscard]] std::uint32_t find(sched::MessageWord message, AgentId target) const noexcept {
    for (std::size_t probe = slot_of(message, target);; ++probe) {
      const std::uint32_t found = index_[probe & (index_.size() - 1)];
      if (found == 0) return kNone;
      const Words& words = words_[found - 1];
      if (name_of(words) == message && load(words.target) == static_cast<std::uint64_t>(target))
        return found - 1;
    }
  }
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (std::uint32_t at = 0; at < size(); ++at)
      if (state_of(at) != EntryState::free) visit(at, get(at));
  }

 private:
  static std::uint64_t load(const typename Words::template Word<std::uint64_t>& word) noexcept {
    return word.load_relaxed();  // relaxed: asked by the only writer
  }
  static void put(typename Words::template Word<std::uint64_t>& word,
                  std::uint64_t value) noexcept {
    word.store_relaxed(value);  // relaxed: the state publishes it
  }
  static bool is_bare(const Words& words) noexcept {
    return (load(words.state) >> 24 & kEntryBare) != 0;
  }
  // By which its target answers it.
  static sched::MessageWord name_of(const Words& words) noexcept {
    return static_cast<sched::MessageWord>(load(is_bare(words) ? words.id_low : words.message));
  }
  static Entry bare_of(const Words& words, std::uint64_t state, std::uint64_t second) noexcept {
    const std::uint64_t low = load(words.id_low);
    return {.state = static_cast<EntryState>(state & 0xFF),
            .kind = static_cast<sched::RecordKind>(state >> 8 & 0xFF),
            .priority = static_cast<sched::Priority>(state >> 16 & 0xFF),
            .marks = static_cast<std::uint8_t>(state >> 24 & 0xFF),
            .body_bytes = static_cast<std::uint32_t>(state >> 32 & 0xFF),
            .target = static_cast<AgentId>(load(words.target)),
            .source = static_cast<AgentId>(load(words.source)),
            .id = {load(words.id_high), low},
            .message = static_cast<sched::MessageWord>(low),
            .place = load(words.place),
            .parked = kNone,
            .station = static_cast<StationId>(state >> 48),
            .bare = {load(words.message), second}};
  }
  void store(std::uint32_t at, const Entry& entry) noexcept {
    Words& words = words_[at];
    put(words.target, static_cast<std::uint64_t>(entry.target));
    put(words.source, static_cast<std::uint64_t>(entry.source));
    put(words.id_high, entry.id.high);
    put(words.id_low, entry.id.low);
    put(words.place, entry.place);
    const bool bare = entry.is_bare();
    put(words.message, bare ? entry.bare[0] : static_cast<std::uint64_t>(entry.message));
    put(words.parked, bare ? entry.bare[1]
                           : std::uint64_t{entry.parked + 1U} |
                                 std::uint64_t{static_cast<std::uint16_t>(entry.station)} << 32);
  }
  void store_state(std::uint32_t at, const Entry& entry) noexcept {
    // SYNC entry.state release: all the rest of the entry stands.
    words_[at].state.store_release(
        static_cast<std::uint64_t>(entry.state) | static_cast<std::uint64_t>(entry.kind) << 8 |
        static_cast<std::uint64_t>(entry.priority) << 16 | std::uint64_t{entry.marks} << 24 |
        std::uint64_t{entry.body_bytes} << 32 |
        (entry.is_bare() ? std::uint64_t{static_cast<std::uint16_t>(entry.station)} << 48 : 0));
  }
  void set_state(std::uint32_t at, EntryState state, std::uint8_t marks) noexcept {
    const std::uint64_t old = load(words_[at].state);
    // SYNC entry.state release: as in store_state().
    words_[at].state.store_release((old & ~std::uint64_t{0xFF}) |
                                   static_cast<std::uint64_t>(state) | std::uint64_t{marks} << 24);
  }

  void set_state_bare(std::uint32_t at, EntryState state, std::uint64_t station) noexcept {
    const std::uint64_t rest = load(words_[at].state) & 0x0000'FFFF'FFFF'FF00;
    // SYNC entry.state release: as in store_state().
    words_[at].state.store_release(rest | static_cast<std::uint64_t>(state) | station << 48);
  }

  // Open addressing, linear; deletion moves back what it may, so a find ends at the first gap.
  [[nodiscard]] std::size_t slot_of(sched::MessageWord message, AgentId target) const noexcept {
    const std::uint64_t mixed =
        (static_cast<std::uint64_t>(message) >> 4 ^ static_cast<std::uint64_t>(target) << 32 ^
         static_cast<std::uint64_t>(target)) *
        0x9E37'79B9'7F4A'7C15ULL;
    return static_cast<std::size_t>(mixed >> 32) & (index_.size() - 1);
  }
  [[nodiscard]] std::size_t home_of(std::uint32_t at) const noexcept {
    return slot_of(name_of(words_[at]), static_cast<AgentId>(load(words_[at].target)));
  }
  void link(std::uint32_t at) noexcept {
    std::size_t slot = home_of(at);
    while (index_[slot] != 0) slot = (slot + 1) & (index_.size() - 1);
    index_[slot] = at + 1;
  }
  void unlink(std::uint32_t at) noexcept {
    const std::size_t mask = index_.size() - 1;
    std::size_t gap = home_of(at);
    while (index_[gap] != at + 1) {
      MESH_ASSERT(index_[gap] != 0);
      gap = (gap + 1) & mask;
    }
    for (std::size_t next = (gap + 1) & mask; index_[next] != 0; next = (next + 1) & mask) {
      const std::size_t home = home_of(index_[next] - 1);
      if (((next - home) & mask) < ((next - gap) & mask)) continue;  // nearer its home than the gap
      index_[gap] = index_[next];
      gap = next;
    }
    index_[gap] = 0;
  }

  std::span<Words> words_;
  std::vector<std::uint32_t> free_;   // its capacity is all entries
  std::vector<std::uint32_t> index_;  // entry + 1 by (message, target); at most half full
};

}  // namespace mesh::engine
