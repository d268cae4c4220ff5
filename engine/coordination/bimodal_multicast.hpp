// BimodalMulticast: a message to all at once, unreliably; then rounds in which each tells a few
// others what it has, and who misses something asks for it. Nearly all get it, or nearly none.
//
//   message   sent or heard --rounds--> kept no longer --rounds again--> forgotten
//
// Callers     one thread; messages in, messages out (gossip_wire.hpp). Usable alone: who there is
//             comes with each call.
// Progress    wait-free; no allocation after construction.
// Cost        a round: one digest of up to `window` ids to `fanout` peers.
// Units       peers and origins are numbers, not 0. Rounds are this one's own.
// Guarantees  delivered once. What r successful exchanges could have brought is missing with
//             loss^(r + 1).
// If the      sender dies while it sends: whoever has it passes it on; if nobody has, nobody gets
// other side  it. A peer that asks for more than it is given: retransmit_max a round bounds it.
// dies,       Full: own messages are refused with capacity; others' are missed, and counted.
// or lies
// Errors      broadcast -> invalid_argument (too long), capacity. hear -> bad_input.
// Source      Birman, Hayden, Ozkasap, Xiao, Budiu & Minsky, Bimodal Multicast, 1999.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/blocks/chunk_store.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/gossip_wire.hpp"
#include "engine/coordination/plumtree.hpp"
#include "shm/base/errc.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::coordination {

// After r rounds of repair that succeeded, at this loss.
[[nodiscard]] double missing_chance(double loss, std::uint32_t rounds) noexcept;

struct BimodalConfig {
  std::uint64_t self = 1;
  std::uint64_t sequence_first = 1;  // above all of an earlier life
  Nanos round_ns{200 * kNsPerMs};
  std::uint32_t window = 64;  // ids of one digest, the latest
  std::uint32_t fanout = 3;
  std::uint32_t rounds = 12;
  std::uint32_t retransmit_max = 32;  // payloads a round
  std::uint32_t messages_max = 512;
  std::uint32_t payload_bytes_max = 3'072;
  std::uint64_t store_bytes = 1U << 19;
};

struct BimodalCounters {
  std::uint64_t broadcast = 0;
  std::uint64_t delivered = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t solicited = 0;
  std::uint64_t retransmitted = 0;
  std::uint64_t refused = 0;  // beyond retransmit_max
  std::uint64_t full = 0;
};

class BimodalMulticast {
 public:
  enum Kind : std::uint8_t { data = 1, digest, solicit };
  static constexpr std::uint32_t kNone = IdTable::kNone;
  static constexpr std::uint32_t kWindowMax = 200;

  BimodalMulticast(const BimodalConfig& config, std::uint64_t seed);

  // To all of `peers`, each once.
  Errc broadcast(std::span<const std::byte> payload, std::span<const std::uint64_t> peers,
                 GossipOutbox& out, BroadcastId* id = nullptr) noexcept;
  Errc hear(const Envelope& envelope, StateReader& reader, GossipOutbox& out) noexcept;
  // A round where one is due: digests go to `fanout` of `peers`, which are put in another order.
  void tick(std::int64_t now_ns, std::span<std::uint64_t> peers, GossipOutbox& out) noexcept;
  [[nodiscard]] std::int64_t next_ns() const noexcept;
  [[nodiscard]] bool is_due(std::int64_t now_ns) const noexcept { return now_ns >= round_ns_; }

  template <class Visit>
  void take_delivery(Visit&& visit) {
    if (fresh_ == kNone) return;
    const Message& one = messages_[fresh_];
    fresh_ = kNone;
    const std::size_t size = store_.copy_head(one.payload, scratch_);
    visit(one.id, std::span<const std::byte>(scratch_).first(size));
  }
  [[nodiscard]] bool has(const BroadcastId& id) const noexcept { return find(id) != kNone; }
  [[nodiscard]] std::size_t known_count() const noexcept { return slots_.used(); }
  [[nodiscard]] const BimodalCounters& counters() const noexcept { return counters_; }

  void save(StateWriter& writer) const;
  void load(StateReader& reader);
  [[nodiscard]] bool is_sound() const noexcept;

 private:
  struct Message {
    BroadcastId id;
    std::uint32_t age = 0;  // rounds
    bool has_payload = false;
    ChunkStore::Bytes payload;
  };
  [[nodiscard]] std::uint32_t find(const BroadcastId& id) const noexcept {
    return index_.find(hash_of(id.origin, id.sequence));
  }
  std::uint32_t keep(const BroadcastId& id, std::uint32_t age,
                     std::span<const std::byte> payload) noexcept;
  void send_data(std::uint32_t slot, std::uint64_t to, GossipOutbox& out) noexcept;
  void grow_older() noexcept;
  void send_digest(std::uint64_t to, GossipOutbox& out) noexcept;
  Errc hear_data(StateReader& reader) noexcept;
  Errc hear_ids(const Envelope& envelope, StateReader& reader, GossipOutbox& out) noexcept;
  void hear_digest(std::uint64_t from, StateReader& reader, GossipOutbox& out) noexcept;

  BimodalConfig config_;
  Rng rng_;
  std::vector<Message> messages_;
  SlotSet slots_;
  IdTable index_;
  ChunkStore store_;
  std::vector<std::uint32_t> latest_;  // slots, in the order in which they came
  std::vector<std::byte> scratch_;
  std::uint64_t sequence_;
  std::int64_t round_ns_ = 0;
  std::uint32_t retransmitted_ = 0;  // this round
  std::uint32_t fresh_ = kNone;
  BimodalCounters counters_;
};

}  // namespace mesh::coordination
