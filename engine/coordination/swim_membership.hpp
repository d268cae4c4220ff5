// SwimMembership: who is there, by probes of one member a period and word that travels on them.
//
//   alive --no answer, direct or indirect--> suspect --suspicion ends--> dead --reap_ns--> gone
//     ^------- a higher incarnation, which only the member itself gives -------|
//   left: it said so itself
//
// Callers     one thread; no I/O: messages in, messages out (gossip_wire.hpp). Usable alone.
// Progress    wait-free; no allocation after construction.
// Cost        tick: O(1) but at a period's end, then O(members) once a shuffle; a message: the
//             pending updates, sorted.
// Units       members are numbers, not 0. ns; the published formulas are in ms.
// Guarantees  a member that is never heard from again is dead at every other within 2N - 1 periods
//             of probing and its suspicion. Of one member's record only that member raises the
//             incarnation, and it never falls; state follows the override table alone.
// If the      member is slow: it refutes with a higher incarnation, and who hears bad of itself,
// other side  or no nack, doubts itself first: its timeouts grow with its awareness (0..8).
// dies,       It restarts: incarnations are reserved ahead (reserve_until), so it never comes back
// or lies     with an old one. A liar can bury others until they refute: members are trusted as
//             hosts of one mesh are. Whoever misses a refutation is set right: it says again whom
//             it suspects before it acts on that, and old word against a member is answered.
// Invariants  the probe order holds each member once; each suspect has a deadline.
// Errors      hear -> bad_input, and nothing is taken. add -> invalid_argument (self, 0),
//             already_exists, capacity.
// Source      SWIM: Das, Gupta & Motivala 2002. Lifeguard: Dadgar et al. 2018, as in
//             hashicorp/memberlist: nacks, suspicion by confirmations, buddies.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/gossip_wire.hpp"
#include "engine/coordination/vivaldi.hpp"
#include "shm/base/errc.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::coordination {

inline constexpr std::size_t kAddressBytesMax = 128;
inline constexpr std::size_t kMetadataBytesMax = 512;
inline constexpr std::uint64_t kGossipIncarnationMax = std::uint64_t{1} << 62;

enum class MemberState : std::uint8_t { alive, suspect, dead, left };
constexpr MemberState last_of(MemberState) noexcept { return MemberState::left; }
[[nodiscard]] std::string_view to_string(MemberState state) noexcept;

// Whether word of a member replaces what is known of it.
[[nodiscard]] constexpr bool swim_overrides(MemberState word, std::uint64_t incarnation,
                                            MemberState known, std::uint64_t standing) noexcept {
  if (known == MemberState::dead || known == MemberState::left) {
    return word == MemberState::alive && incarnation > standing;
  }
  if (word == MemberState::alive) return incarnation > standing;
  if (word == MemberState::suspect && known == MemberState::suspect) return incarnation > standing;
  return incarnation >= standing;
}
// mult * max(1, log10 N) * period.
[[nodiscard]] double suspicion_min_ms(double mult, std::uint64_t members,
                                      double period_ms) noexcept;
// After c distinct confirmations of the k that are hoped for.
[[nodiscard]] double suspicion_timeout_ms(std::uint32_t c, std::uint32_t k, double min_ms,
                                          double max_ms) noexcept;
// How often word of one change is passed on.
[[nodiscard]] std::uint32_t retransmit_limit(std::uint32_t mult, std::uint64_t members) noexcept;
// Of one member in one period, with every other probing one at random.
[[nodiscard]] double swim_probe_chance(std::uint64_t members) noexcept;

struct SwimConfig {
  std::uint64_t self = 1;
  Nanos period_ns{kNsPerSecond};
  Nanos timeout_ns{500 * kNsPerMs};
  std::uint32_t indirect = 3;
  std::uint32_t suspicion_mult = 4;
  std::uint32_t suspicion_max_factor = 6;
  std::uint32_t awareness_max = 8;
  Nanos gossip_ns{200 * kNsPerMs};
  std::uint32_t fanout = 3;
  std::uint32_t retransmit_mult = 4;
  std::uint32_t piggyback_bytes = 1'200;
  Nanos dead_keep_ns{30 * kNsPerSecond};     // word still goes to a dead one: it may refute
  Nanos reap_ns{24 * 3'600 * kNsPerSecond};  // until then it is knocked at, and its row stands
  std::uint32_t members_max = 64;
  std::uint32_t relays_max = 64;        // indirect probes for others at one time
  std::uint64_t incarnation_first = 1;  // above everything an earlier life reserved
  std::uint64_t incarnation_block = 64;
};

struct SwimRecord {
  std::uint64_t member = 0;
  std::uint64_t incarnation = 1;
  std::string_view address{};
  std::string_view metadata{};
};
struct SwimUpdate {
  MemberState state = MemberState::alive;
  std::uint64_t member = 0;
  std::uint64_t incarnation = 0;
  std::uint64_t accuser = 0;  // of a suspect
  std::string_view address{};
  std::string_view metadata{};
};
struct MembershipUpdate {
  std::uint64_t member = 0;
  std::uint64_t incarnation = 0;
  MemberState state = MemberState::alive;
};
struct SwimCounters {
  std::uint64_t probes = 0;  // acknowledged + failed + the one that is out
  std::uint64_t acknowledged = 0;
  std::uint64_t failed = 0;
  std::uint64_t ping_reqs = 0;
  std::uint64_t nacks_missed = 0;
  std::uint64_t suspected = 0;
  std::uint64_t died = 0;
  std::uint64_t refuted = 0;  // word against this member
  std::uint64_t updates_heard = 0;
  std::uint64_t unknown = 0;  // no room for one that joined
};

class SwimMembership {
 public:
  enum Kind : std::uint8_t { ping = 1, ack, ping_req, nack, updates, sync_request, sync_rows };
  static constexpr std::uint32_t kNone = IdTable::kNone;
  static constexpr std::size_t kConfirmersMax = 8;

  SwimMembership(const SwimConfig& config, std::uint64_t seed);

  // Somebody to talk to, told by the owner; it is asked for all that it knows.
  Errc add(const SwimRecord& record, std::int64_t now_ns, GossipOutbox& out) noexcept;
  // The row of a dead one, or of one that left, goes now.
  Errc remove(std::uint64_t member) noexcept;
  Errc set_self(std::string_view address, std::string_view metadata) noexcept;
  void leave() noexcept;
  // Incarnations up to this one are kept where a restart finds them.
  void reserved(std::uint64_t until) noexcept;

  Errc hear(const Envelope& envelope, StateReader& reader, std::int64_t now_ns,
            GossipOutbox& out) noexcept;
  void tick(std::int64_t now_ns, GossipOutbox& out) noexcept;
  [[nodiscard]] std::int64_t next_ns() const noexcept;
  // Asks `to` for all it knows, and says all that is known here.
  void ask_sync(std::uint64_t to, GossipOutbox& out) noexcept;
  // Asks for a sign of life beside the turns: an answer shows in last_contact_ns.
  void knock(std::uint32_t slot, GossipOutbox& out) noexcept;
  // Any message of it is a sign of life.
  void contact(std::uint64_t member, std::int64_t now_ns) noexcept;

  struct Member {
    std::uint64_t id = 0;
    std::uint64_t incarnation = 0;
    std::uint64_t heartbeat = 0;  // signs of life
    std::uint64_t accuser = 0;
    std::int64_t since_ns = 0;          // of its state
    std::int64_t last_contact_ns = -1;  // never
    std::array<std::uint64_t, kConfirmersMax> confirmers{};
    std::uint32_t confirmations = 0;
    std::uint32_t transmits = 0;
    std::uint8_t calls = 0;  // for word against it, while it is a suspect: 0..2
    MemberState state = MemberState::alive;
    bool is_pending = false;  // word of it is to be passed on
    bool has_changed = false;
    VivaldiPoint point;
    RowText<kAddressBytesMax> address;
    RowText<kMetadataBytesMax> metadata;
  };
  // Others than this one; by slot.
  template <class Visit>
  void for_members(Visit&& visit) const {
    for (std::uint32_t slot = 1; slot < config_.members_max; ++slot) {
      if (slots_.is_used(slot)) visit(members_[slot], slot);
    }
  }
  [[nodiscard]] const Member* find(std::uint64_t member) const noexcept;
  [[nodiscard]] std::uint32_t slot_of(std::uint64_t member) const noexcept;
  [[nodiscard]] const Member& at(std::uint32_t slot) const noexcept { return members_[slot]; }
  [[nodiscard]] const Member& self() const noexcept { return members_[0]; }
  // A member that may be talked to, at random; 0: nobody.
  [[nodiscard]] std::uint64_t random_member(Rng& rng, std::uint64_t except = 0) const noexcept;
  // Up to `count` different ones; how many.
  std::size_t random_members(Rng& rng, std::span<std::uint64_t> into) const noexcept;
  // Calls visit(MembershipUpdate) for each whose state has changed since the last call.
  template <class Visit>
  void take_changes(Visit&& visit) {
    if (!any_changed_) return;
    any_changed_ = false;
    for (std::uint32_t slot = 0; slot < config_.members_max; ++slot) {
      Member& one = members_[slot];
      if (!slots_.is_used(slot) || !one.has_changed) continue;
      one.has_changed = false;
      visit(MembershipUpdate{one.id, one.incarnation, one.state});
    }
  }
  [[nodiscard]] std::uint32_t live_count() const noexcept { return live_; }  // with this one
  [[nodiscard]] std::uint32_t count() const noexcept { return slots_.used(); }
  [[nodiscard]] std::uint32_t awareness() const noexcept { return awareness_; }
  [[nodiscard]] bool is_probing() const noexcept { return probe_.phase != Phase::idle; }
  [[nodiscard]] std::uint64_t probed() const noexcept;  // 0: nobody
  [[nodiscard]] Nanos suspicion_min() const noexcept;
  [[nodiscard]] Nanos suspicion_max() const noexcept;
  // What is to be kept so that a restart comes back above it; 0: nothing new.
  [[nodiscard]] std::uint64_t reserve_until() const noexcept { return wanted_until_; }
  [[nodiscard]] const SwimCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] const VivaldiPoint& point() const noexcept { return members_[0].point; }
  [[nodiscard]] const SwimConfig& config() const noexcept { return config_; }

  void save(StateWriter& writer) const;
  void load(StateReader& reader);
  [[nodiscard]] bool is_sound() const noexcept;

 private:
  enum class Phase : std::uint8_t { idle, direct, indirect, answered };
  friend constexpr Phase last_of(Phase) noexcept { return Phase::answered; }
  struct Probe {
    Phase phase = Phase::idle;
    std::uint32_t slot = 0;
    std::uint64_t sequence = 0;
    std::int64_t sent_ns = 0;
    std::int64_t direct_ns = 0;  // until when a direct answer is waited for
    std::uint32_t asked = 0;
    std::uint32_t nacks = 0;
  };
  struct Relay {
    std::uint64_t sequence = 0;  // of our own ping
    std::uint64_t origin = 0;
    std::uint64_t origin_sequence = 0;
    std::int64_t until_ns = 0;
    bool is_used = false;
  };
  [[nodiscard]] static bool is_live(const Member& one) noexcept {
    return one.state == MemberState::alive || one.state == MemberState::suspect;
  }
  std::uint32_t insert(const SwimRecord& record, std::int64_t now_ns) noexcept;
  void drop(std::uint32_t slot) noexcept;
  void spread(std::uint32_t slot) noexcept;
  void apply(const SwimUpdate& update, std::int64_t now_ns) noexcept;
  void turn(std::uint32_t slot, const SwimUpdate& update, std::int64_t now_ns) noexcept;
  void confirm(std::uint32_t slot, std::uint64_t accuser) noexcept;
  [[nodiscard]] std::int64_t suspicion_ends_ns(const Member& one) const noexcept;
  void set_deadline(std::uint32_t slot) noexcept;
  void refute(std::uint64_t seen, bool is_accused) noexcept;
  void doubt(std::int32_t by) noexcept;
  [[nodiscard]] std::int64_t scaled(Nanos span) const noexcept {
    return span.count() * (1 + std::int64_t{awareness_});
  }

  void begin_round(std::int64_t now_ns, GossipOutbox& out) noexcept;
  void end_round(std::int64_t now_ns) noexcept;
  void ask_others(GossipOutbox& out) noexcept;
  void knock_at_dead(GossipOutbox& out) noexcept;
  [[nodiscard]] std::uint32_t next_target() noexcept;
  void gossip(std::int64_t now_ns, GossipOutbox& out) noexcept;
  void expire(std::int64_t now_ns, GossipOutbox& out) noexcept;

  void load_members(StateReader& reader);
  void load_list(std::vector<std::uint32_t>& list, StateReader& reader) const;
  [[nodiscard]] static bool is_whole(const Envelope& envelope, StateReader reader);
  void take_updates(const Envelope& envelope, StateReader reader, std::int64_t now_ns,
                    GossipOutbox& out) noexcept;
  void send_some(std::span<const std::uint32_t> slots, std::uint64_t to,
                 GossipOutbox& out) noexcept;
  void hear_ping_req(const Envelope& envelope, StateReader& reader, std::int64_t now_ns,
                     GossipOutbox& out) noexcept;
  void hear_ack(StateReader& reader, const Envelope& envelope, std::int64_t now_ns,
                GossipOutbox& out) noexcept;
  void hear_nack(std::uint64_t sequence) noexcept;
  void sign_of_life(std::uint64_t from, std::uint64_t incarnation, std::int64_t now_ns,
                    GossipOutbox& out) noexcept;
  StateWriter& begin_to(Kind kind, std::uint64_t to, GossipOutbox& out) noexcept;
  void put_updates(std::uint64_t to, StateWriter& writer, const GossipOutbox& out) noexcept;
  void put_row(const Member& one, StateWriter& writer) const;
  void send_rows(Kind kind, std::uint64_t to, GossipOutbox& out) noexcept;

  SwimConfig config_;
  Rng rng_;
  std::vector<Member> members_;  // this one stands in slot 0
  SlotSet slots_;
  IdTable index_;
  DeadlineHeap deadlines_;            // a suspect's, and until when a dead one's row stands
  std::vector<std::uint32_t> order_;  // of probing
  std::vector<std::uint32_t> pending_;
  std::vector<Relay> relays_;
  std::uint32_t next_ = 0;  // in order_
  Probe probe_;
  std::uint64_t sequence_ = 0;
  std::int64_t round_ns_ = 0;   // when the next period begins
  std::int64_t gossip_ns_ = 0;  // when word goes out next
  std::uint64_t reserved_until_ = 0;
  std::uint64_t wanted_until_ = 0;
  std::uint64_t owed_ = 0;  // an incarnation that waits until it is reserved
  std::uint32_t live_ = 1;
  std::uint32_t awareness_ = 0;
  bool any_changed_ = false;
  bool is_leaving_ = false;
  SwimCounters counters_;
};

}  // namespace mesh::coordination
