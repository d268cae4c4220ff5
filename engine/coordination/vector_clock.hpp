// VectorClockCausality: delivers the events of a group in an order that never puts an effect before
// its cause, knows what everybody has seen, and lets go of it then.
//
//   received --all causes here--> delivered --known everywhere, read--> truncated
//      |---- a cause is missing ----> buffered ----^
//
// Callers     one thread, which owns the machine.
// Progress    wait-free. Receive: O(members), and for each event that it sets free one walk over
//             the buffer. Allocates nothing after construction but the bytes of a reply.
// Cost        compare of two clocks of 16 entries 15 ns (blocks/version_vector.hpp).
// Units       Nanos of the host clock; sequences ("dots") of an agent from 1; hybrid stamps in ms.
// Guarantees  what is delivered is a linear extension of happened-before; of several that may be
//             delivered the lowest (sum of the clock, origin, sequence) comes first, so replicas
//             with the same input go the same way. A duplicate is dropped and counted. merge never
//             ticks: receive, then emit leaves no gap.
//             A dot is given out once: it lies below a bound that was reserved before. After a
//             restart without a journal the next dot is above the bound, and `gap` says how many
//             were left out.
// Limits      a removed member keeps its place among members_max: events may still name it. With
//             prune_idle_ns it gives it back once everybody has its events, it was silent for so
//             long, and nothing here names it; what leaves it out comes after all of it, so take
//             its entry out of an older clock before comparing. An event of an earlier life that
//             no answer to Reconstruct has is lost to who lacks it.
// If the      peer dies: what it had not seen stays (gc_blocked_by names it) until RemoveMember.
// other side  It lies: a clock that claims more of this agent than it emitted, or a hybrid stamp
// dies,       from the future, is refused and told as a paradox.
// or lies
// Invariants  no event is delivered twice or before its causes; nothing is truncated that a member
//             may lack or a reader has not read. own dots <= the reserved bound.
// Errors      not_found (an unknown member, reader, barrier), duplicate, capacity (the buffer or
//             the log is full: the sender keeps the event and sends it again), overflow,
//             invalid_argument (a paradox, a clock that does not fit its event), wrong_state.
//             No dots left, a barrier not reached: Refusal::would_block.
// Source      causal broadcast: Birman, Schiper & Stephenson 1991; matrix clocks: Wuu & Bernstein
//             1984; hybrid clocks: Kulkarni 2014.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/chunk_store.hpp"
#include "engine/coordination/blocks/dotted_values.hpp"
#include "engine/coordination/blocks/hybrid_clock.hpp"
#include "engine/coordination/blocks/refusal.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/version_vector.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

struct CausalityConfig {
  std::uint64_t self = 0;  // this agent; a member from the start
  std::uint32_t members_max = 32;
  std::uint32_t buffer_max = 1'024;     // events whose causes are missing
  std::uint32_t log_max = 4'096;        // delivered and not yet truncated
  bool matrix = true;                   // what each member knows: what can be let go
  std::uint32_t plausible_entries = 0;  // for agents outside this domain; 0: none
  std::uint32_t readers_max = 16;
  std::uint32_t barriers_max = 64;
  std::uint32_t dots_block = 1'024;  // reserved at once
  std::uint32_t faults_max = 1;      // Reconstruct needs one answer more
  Nanos prune_idle_ns{0};            // of a removed member whose events all have; 0: never
  Nanos skew_max_ns{500'000'000};
  std::uint32_t payload_bytes_max = 65'536;
  std::uint64_t store_bytes = 16U << 20;
  std::uint32_t events_max = 64;

  static Result<CausalityConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

namespace causal {
using Bytes = std::vector<std::byte>;
using Clock = std::vector<ClockEntry>;
struct AddMember {
  std::uint64_t agent = 0;
};
// Membership says that it is dead: its row goes, and with it what it held up.
struct RemoveMember {
  std::uint64_t agent = 0;
};
struct Emit {
  Bytes payload;
};
struct Receive {
  std::uint64_t origin = 0;
  std::uint64_t sequence = 0;
  std::uint64_t gap = 0;  // dots that were never given out, right before this one
  Clock clock;            // with the origin's own entry
  Bytes payload;
};
struct Row {
  std::uint64_t agent = 0;
  Clock clock;
};
// What members know, as a peer tells it.
struct Hear {
  std::vector<Row> rows;
};
struct Wait {
  std::uint64_t barrier = 0;
  Clock clock;
  Nanos deadline{0};  // 0: none
};
struct Cancel {
  std::uint64_t barrier = 0;
};
struct AddReader {
  std::uint64_t reader = 0;
};
struct Advance {
  std::uint64_t reader = 0;
  std::uint64_t position = 0;  // of the log, from 1
};
struct RemoveReader {
  std::uint64_t reader = 0;
};
// A late joiner or a new life: what at least faults_max + 1 members have delivered.
struct Reconstruct {
  std::vector<Clock> answers;
};
// Dots from `first` to `bound` stand in the host's journal as taken. In a new life `first` lies
// above every bound of those before.
struct Reserve {
  std::uint64_t first = 1;
  std::uint64_t bound = 0;
};
struct Stamp {};
struct HearStamp {
  std::uint64_t word = 0;
};
}  // namespace causal

using CausalityCommand =
    std::variant<causal::AddMember, causal::RemoveMember, causal::Emit, causal::Receive,
                 causal::Hear, causal::Wait, causal::Cancel, causal::AddReader, causal::Advance,
                 causal::RemoveReader, causal::Reconstruct, causal::Reserve, causal::Stamp,
                 causal::HearStamp>;

struct CausalityReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  Dot dot;                     // Emit: of the new event
  std::uint64_t gap = 0;       // Emit: what Receive is told
  causal::Clock clock;         // Emit: with its own entry
  std::vector<Dot> delivered;  // Emit, Receive: in this order
  std::uint64_t stamp = 0;     // Stamp, HearStamp
  Guarantee guarantee = Guarantee::exact;
};

struct CausalityCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t emitted = 0;
  std::uint64_t received = 0;
  std::uint64_t delivered = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t buffer_full = 0;
  std::uint64_t paradoxes = 0;
  std::uint64_t truncated = 0;
  std::uint64_t barriers_met = 0;
  std::uint64_t barriers_late = 0;
  std::uint64_t pruned = 0;
};

struct BarrierEnd {
  std::uint64_t barrier = 0;
  bool is_met = false;  // or its deadline has passed
};
struct CausalityActions {
  causal::Reserve reserve;           // journal this, then send it; bound 0: enough are left
  std::uint64_t paradoxes = 0;       // since the last tick: TEMPORAL_PARADOX, priority 4
  std::vector<BarrierEnd> barriers;  // grows once to barriers_max
  // In this order: what had waited for room in the log. Grows once to buffer_max.
  std::vector<Dot> delivered;
  bool view_changed = false;
};

struct CausalityView {
  std::uint64_t delivered = 0;  // events in all
  std::uint64_t buffered = 0;
  std::uint64_t stable = 0;  // events known everywhere
  std::uint64_t stamp = 0;
};

// Events of `origin` from `first` to `last` are missing here: ask for them.
struct MissingDots {
  std::uint64_t origin = 0;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};
struct CausalEvent {
  std::uint64_t position = 0;
  Dot dot;
  causal::Clock clock;
  causal::Bytes payload;
};

class VectorClockCausality final
    : public ServiceForm<VectorClockCausality, CausalityConfig, CausalityCommand, CausalityReply,
                         CausalityCounters, CausalityActions> {
 public:
  enum class Event : std::uint16_t { paradox = 1, member_gone = 2 };  // a: of whom, b: how far

  static Status validate(const Config& config);
  explicit VectorClockCausality(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] VectorClock delivered() const;
  // Of each member's events up to here everybody has all. Without the matrix: nothing is known.
  [[nodiscard]] VectorClock stable_prefix() const;
  // Who has not said that it has all that is delivered here of `agent`.
  [[nodiscard]] std::vector<std::uint64_t> gc_blocked_by(std::uint64_t agent) const;
  [[nodiscard]] std::vector<MissingDots> missing() const;
  [[nodiscard]] std::vector<CausalEvent> read(std::uint64_t reader, std::size_t max) const;
  [[nodiscard]] std::vector<causal::Row> rows() const;
  // What Wait's clock would be told now.
  [[nodiscard]] bool is_reached(std::span<const ClockEntry> clock) const noexcept;
  [[nodiscard]] CausalityView view() const noexcept;
  [[nodiscard]] Guarantee guarantee() const noexcept { return guarantee_; }
  [[nodiscard]] PlausibleClock plausible() const;
  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"vector_clock", 2};
  static constexpr std::string_view kWho = "vector clock";
  static constexpr std::uint32_t kNone = UINT32_MAX;

  struct Member {
    std::uint64_t agent = 0;
    bool is_live = false;      // gone: its column stays while events name it
    std::uint64_t count = 0;   // delivered here
    std::int64_t last_ns = 0;  // of its last event here, or of its removal
  };
  struct Held {
    Dot dot;
    std::uint64_t gap = 0;
    std::uint64_t position = 0;  // 0: buffered
    bool is_used = false;
    ChunkStore::Bytes payload;
  };
  struct Reader {
    std::uint64_t id = 0;
    std::uint64_t position = 0;
  };
  struct Barrier {
    std::uint64_t id = 0;
    std::int64_t deadline_ns = 0;
    std::vector<std::uint64_t> clock;  // by member
  };

  Reply emit_event(const causal::Emit& command, std::int64_t now_ns) noexcept;
  Reply receive(const causal::Receive& event, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc judge(const causal::Receive& event) const noexcept;
  Reply paradox(std::uint64_t agent, std::uint64_t ahead, std::int64_t now_ns) noexcept;
  Reply membership(const Command& command, std::int64_t now_ns) noexcept;
  Reply hear(const causal::Hear& command) noexcept;
  Reply of_barrier(const Command& command, std::int64_t now_ns) noexcept;
  Reply of_reader(const Command& command) noexcept;
  Reply reconstruct(const causal::Reconstruct& command) noexcept;
  Reply reserve(const causal::Reserve& dots) noexcept;
  Reply of_stamp(const Command& command, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t member(std::uint64_t agent) const noexcept;
  [[nodiscard]] bool knows_all(std::span<const ClockEntry> clock) const noexcept;
  [[nodiscard]] std::uint32_t hold(const Dot& dot, std::span<const std::byte> payload) noexcept;
  [[nodiscard]] bool is_deliverable(std::uint32_t at) const noexcept;
  [[nodiscard]] bool comes_before(std::uint32_t a, std::uint32_t b) const noexcept;
  void deliver(std::uint32_t at, std::vector<Dot>& delivered) noexcept;
  void deliver_all(std::vector<Dot>& delivered) noexcept;
  void truncate() noexcept;
  [[nodiscard]] bool is_quiet(std::uint32_t member, std::int64_t now_ns) const noexcept;
  [[nodiscard]] bool is_named(std::uint32_t member) const noexcept;
  void drop_member(std::uint32_t member) noexcept;
  void prune(std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint64_t pruned_count(std::uint64_t agent) const noexcept;
  std::uint64_t take_pruned(std::uint64_t agent) noexcept;
  void let_go(std::uint32_t at) noexcept;
  [[nodiscard]] std::uint64_t stable(std::uint32_t column) const noexcept;
  [[nodiscard]] causal::Clock clock_of(std::span<const std::uint64_t> row) const;
  [[nodiscard]] std::span<std::uint64_t> row_of(std::uint32_t held) noexcept {
    return std::span(clocks_).subspan(std::size_t{held} * config_.members_max, config_.members_max);
  }
  [[nodiscard]] std::span<const std::uint64_t> row_of(std::uint32_t held) const noexcept {
    return std::span(clocks_).subspan(std::size_t{held} * config_.members_max, config_.members_max);
  }
  [[nodiscard]] std::uint64_t& known(std::uint32_t row, std::uint32_t column) noexcept {
    return matrix_[std::size_t{row} * config_.members_max + column];
  }
  [[nodiscard]] std::uint64_t known(std::uint32_t row, std::uint32_t column) const noexcept {
    return matrix_[std::size_t{row} * config_.members_max + column];
  }
  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void save_held(std::uint32_t at, StateWriter& writer) const;
  void load_held(StateReader& reader);
  void load_pruned(StateReader& reader);

  std::vector<Member> members_;  // 0 is self; at most members_max
  std::vector<std::uint64_t> matrix_;
  std::vector<Held> held_;
  std::vector<std::uint64_t> clocks_;  // of each held event, by member
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> waiting_;  // the buffered ones, in no order to go by
  std::vector<std::uint32_t> order_;    // delivered ones, by position; at most log_max
  ChunkStore store_;
  std::vector<Reader> readers_;
  std::vector<Barrier> barriers_;
  HybridClock hybrid_;
  std::uint64_t position_ = 0;  // of the last delivered
  std::uint64_t last_dot_ = 0;  // given out
  std::uint64_t bound_ = 0;     // up to here dots may be given out
  std::uint64_t new_paradoxes_ = 0;
  Guarantee guarantee_ = Guarantee::exact;
  std::vector<bool> heard_;         // since Reconstruct, by member
  std::vector<ClockEntry> pruned_;  // how far each had come; at most members_max
  bool view_changed_ = true;
};

static_assert(DurableService<VectorClockCausality>);

extern template class ServiceForm<VectorClockCausality, CausalityConfig, CausalityCommand,
                                  CausalityReply, CausalityCounters, CausalityActions>;

}  // namespace mesh::coordination
