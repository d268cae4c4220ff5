// Plumtree: one copy of a message to each over a tree that the messages themselves carve out of
// the overlay, and word of it over all other links, which mends the tree where it breaks.
//
//   link      eager --a copy that was here already: prune--> lazy --graft--> eager
//   message   announced --graft_ns--> asked for, each announcer in turn --> here --ttl_ns--> known
//
// Callers     one thread; messages in, messages out (gossip_wire.hpp). Usable alone, over any
//             overlay that says which links there are.
// Progress    wait-free; no allocation after construction.
// Cost        a broadcast: n - 1 payloads over the mesh once the tree stands, and an announcement
//             over each other link, up to ihave_ns of them in one message.
// Units       peers and origins are numbers, not 0. ns; on the wire ms of age and of life.
// Guarantees  what reaches a peer is delivered once: ids are kept for twice their ttl, and no copy
//             older than its ttl is taken. Everything announced on a link that stays up arrives.
// If the      peer dies: peer_down(), and its children ask who announced. A payload that is not
// other side  kept any more: `lost` says so; anti-entropy is left to bring it.
// dies,       Full: own broadcasts are refused with capacity; others' copies pass by, counted.
// or lies     A liar can announce what does not exist: it is asked a few times, then forgotten.
// Errors      broadcast -> invalid_argument (too long), capacity. hear -> bad_input.
// Source      Leitao, Pereira & Rodrigues, Epidemic Broadcast Trees, 2007. Not as there: a copy
//             that the network doubled comes from the parent itself and prunes nothing; of others
//             one in four does (is_drawn), so that senders at the same time do not cut the tree.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/blocks/chunk_store.hpp"
#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/gossip_wire.hpp"
#include "shm/base/errc.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::coordination {

struct BroadcastId {
  std::uint64_t origin = 0;
  std::uint64_t sequence = 0;
  friend bool operator==(const BroadcastId&, const BroadcastId&) = default;
};

struct TreeConfig {
  std::uint64_t self = 1;
  std::uint64_t sequence_first = 1;  // above all of an earlier life
  Nanos ihave_ns{50 * kNsPerMs};
  Nanos graft_ns{300 * kNsPerMs};        // twice the longest round trip
  Nanos graft_again_ns{100 * kNsPerMs};  // to the next that announced it
  std::uint32_t threshold = 3;           // hops: a parent so much farther is exchanged
  Nanos ttl_ns{60 * kNsPerSecond};
  std::uint32_t messages_max = 1'024;  // known at one time: rate * 2 ttl_ns
  std::uint32_t missing_max = 256;
  std::uint32_t payload_bytes_max = 3'072;
  std::uint64_t store_bytes = 1U << 20;
};

struct TreeCounters {
  std::uint64_t broadcast = 0;
  std::uint64_t delivered = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t payloads_sent = 0;
  std::uint64_t announced = 0;
  std::uint64_t grafts = 0;
  std::uint64_t prunes = 0;
  std::uint64_t optimised = 0;
  std::uint64_t lost = 0;     // announced, and nobody had it any more
  std::uint64_t expired = 0;  // too old when it came
  std::uint64_t full = 0;     // no room for it
};

class Plumtree {
 public:
  enum Kind : std::uint8_t { gossip = 1, ihave, prune, graft, lost };
  static constexpr std::uint32_t kNone = IdTable::kNone;
  static constexpr std::size_t kPeersMax = 64;
  static constexpr std::size_t kAnnouncersMax = 8;
  static constexpr std::size_t kAnnouncedMax = 64;  // in one message
  static constexpr std::uint32_t kTriesMax = 24;    // to get one payload

  explicit Plumtree(const TreeConfig& config);

  Errc broadcast(std::span<const std::byte> payload, std::int64_t now_ns, GossipOutbox& out,
                 BroadcastId* id = nullptr) noexcept;
  // The same for another time than ttl_ns, which it is not longer than.
  Errc broadcast_for(Nanos ttl, std::span<const std::byte> payload, std::int64_t now_ns,
                     GossipOutbox& out) noexcept;
  void peer_up(std::uint64_t peer) noexcept;
  void peer_down(std::uint64_t peer) noexcept;

  Errc hear(const Envelope& envelope, StateReader& reader, std::int64_t now_ns,
            GossipOutbox& out) noexcept;
  void tick(std::int64_t now_ns, GossipOutbox& out) noexcept;
  [[nodiscard]] std::int64_t next_ns() const noexcept;

  // The message that the last hear() brought: visit(BroadcastId, payload). Once.
  template <class Visit>
  void take_delivery(Visit&& visit) {
    if (fresh_ == kNone) return;
    const Message& one = messages_[fresh_];
    fresh_ = kNone;
    visit(one.id, payload_of(one));
  }
  [[nodiscard]] bool has(const BroadcastId& id) const noexcept { return find(id) != kNone; }
  [[nodiscard]] bool is_eager(std::uint64_t peer) const noexcept;
  [[nodiscard]] bool is_peer(std::uint64_t peer) const noexcept;
  [[nodiscard]] std::size_t peer_count() const noexcept { return peers_.size(); }
  [[nodiscard]] std::size_t missing_count() const noexcept { return missing_slots_.used(); }
  [[nodiscard]] std::size_t known_count() const noexcept { return message_slots_.used(); }
  [[nodiscard]] const TreeCounters& counters() const noexcept { return counters_; }

  void save(StateWriter& writer) const;
  void load(StateReader& reader);
  [[nodiscard]] bool is_sound() const noexcept;

 private:
  struct Message {
    BroadcastId id;
    std::uint64_t parent = 0;  // who sent it; 0: from here
    std::int64_t birth_ns = 0;
    std::int64_t ttl_ns = 0;
    std::uint32_t round = 0;
    bool has_payload = false;
    ChunkStore::Bytes payload;
  };
  struct Announced {
    BroadcastId id;
    std::uint32_t round = 0;
  };
  struct Peer {
    std::uint64_t id = 0;
    bool is_eager = true;
    std::int64_t flush_ns = INT64_MAX;
    std::uint32_t count = 0;
    std::array<Announced, kAnnouncedMax> announced{};
  };
  struct Announcer {
    std::uint64_t peer = 0;
    std::uint32_t round = 0;
  };
  struct Missing {
    BroadcastId id;
    std::array<Announcer, kAnnouncersMax> announcers{};
    std::uint32_t count = 0;
    std::uint32_t next = 0;
    std::uint32_t tries = 0;
  };
  struct Heard {  // a payload as it stands in a message
    BroadcastId id;
    std::uint32_t round = 0;
    std::uint32_t age_ms = 0;
    std::uint32_t ttl_ms = 0;
    std::span<const std::byte> payload;
  };

  [[nodiscard]] std::uint32_t find(const BroadcastId& id) const noexcept {
    return index_.find(hash_of(id.origin, id.sequence));
  }
  [[nodiscard]] Peer* peer_of(std::uint64_t id) noexcept;
  [[nodiscard]] const Peer* peer_of(std::uint64_t id) const noexcept;
  [[nodiscard]] std::span<const std::byte> payload_of(const Message& one) noexcept;
  std::uint32_t keep(const Heard& heard, std::uint64_t from, std::int64_t now_ns) noexcept;
  void pass_on(std::uint32_t slot, std::int64_t now_ns, GossipOutbox& out) noexcept;
  void send_payload(std::uint32_t slot, std::uint64_t to, std::int64_t now_ns,
                    GossipOutbox& out) noexcept;
  void send_id(Kind kind, std::uint64_t to, const Announced& about, GossipOutbox& out) noexcept;
  void announce(Peer& peer, const Announced& about, std::int64_t now_ns,
                GossipOutbox& out) noexcept;
  void flush(Peer& peer, GossipOutbox& out) noexcept;
  void end_missing(std::uint32_t slot) noexcept;
  void ask_next(std::uint32_t slot, std::int64_t now_ns, GossipOutbox& out) noexcept;

  void hear_gossip(std::uint64_t from, const Heard& heard, std::int64_t now_ns,
                   GossipOutbox& out) noexcept;
  void hear_ihave(std::uint64_t from, const Announced& about, std::int64_t now_ns,
                  GossipOutbox& out) noexcept;
  struct Graft {
    Announced about;
    bool wants_payload = false;
  };
  [[nodiscard]] bool is_drawn(const BroadcastId& id, std::uint64_t from) const noexcept;
  void hear_graft(std::uint64_t from, const Graft& one, std::int64_t now_ns,
                  GossipOutbox& out) noexcept;
  void hear_lost(std::uint64_t from, const BroadcastId& id) noexcept;
  Errc hear_list(std::uint64_t from, StateReader& reader, std::int64_t now_ns,
                 GossipOutbox& out) noexcept;
  void load_messages(StateReader& reader);
  void load_missing(StateReader& reader);
  void load_peers(StateReader& reader);

  TreeConfig config_;
  std::vector<Message> messages_;
  SlotSet message_slots_;
  IdTable index_;
  DeadlineHeap ends_;  // of a payload, then of the id
  ChunkStore store_;
  std::vector<Peer> peers_;
  std::vector<Missing> missing_;
  SlotSet missing_slots_;
  IdTable missing_index_;
  DeadlineHeap grafts_;
  std::vector<std::byte> scratch_;
  std::uint64_t sequence_;
  std::uint32_t fresh_ = kNone;
  TreeCounters counters_;
};

}  // namespace mesh::coordination
