// MerkleSync: a map of keys to values that each replica has whole; two replicas find what differs
// by a few digests, and both end with the newer of each.
//
//   root -> digests of level 0, 1, 2, 3 in turn -> keys of the buckets that differ -> values, wants
//        -> values: four round trips, about 1 KiB for one key that differs
//
// Callers     one thread; messages in, messages out (gossip_wire.hpp). Usable alone.
// Progress    wait-free; no allocation after construction.
// Cost        a comparison that finds nothing: one message of 32 bytes. Each level: 260 bytes a
//             node that differs.
// Units       owners are numbers, not 0. ns; on the wire ms of age.
// Guarantees  of two values of a key the greater (version, owner, sum of the value) stands: merging
//             commutes, associates and repeats without effect. No message depends on one before
//             it: an exchange that breaks off has done no harm, and the next one goes on from
//             there.
// If the      other side lies: it can put any value above ours. Members are trusted as hosts of one
//             mesh are. What is malformed is taken by no part.
// Limits      keys are not removed: an empty value is what says so. Full: left out, counted.
// Errors      put -> invalid_id, invalid_argument, capacity. hear -> bad_input.
// Source      Merkle 1987; DeCandia et al. (Dynamo) 2007; last writer wins: Shapiro 2011.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/chunk_store.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/merkle_map.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/gossip_wire.hpp"
#include "shm/base/errc.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::coordination {

struct MerkleSyncConfig {
  std::uint64_t self = 1;
  std::uint32_t entries_max = 256;
  std::uint32_t value_bytes_max = 2'048;
  std::uint64_t store_bytes = 1U << 19;
};
struct SyncValue {
  std::string_view key{};
  std::uint64_t owner = 0;
  std::uint64_t version = 0;
  std::int64_t birth_ns = 0;  // of this version, by the clock here
  std::span<const std::byte> value{};
};
struct MerkleSyncCounters {
  std::uint64_t merged = 0;
  std::uint64_t stale = 0;
  std::uint64_t left_out = 0;
  std::uint64_t roots_equal = 0;
  std::uint64_t roots_different = 0;
  std::uint64_t digests_sent = 0;
  std::uint64_t values_sent = 0;
};

class MerkleSync {
 public:
  enum Kind : std::uint8_t { root = 1, digests, keys, values, wants };
  static constexpr std::uint32_t kNone = IdTable::kNone;
  static constexpr std::uint64_t kVersionMax = std::uint64_t{1} << 62;

  explicit MerkleSync(const MerkleSyncConfig& config);

  [[nodiscard]] Errc judge(const SyncValue& value) const noexcept;
  [[nodiscard]] bool has_room(const SyncValue& value) const noexcept;
  // True in `is_news`: it stands now.
  Errc put(const SyncValue& value, bool& is_news) noexcept;
  void begin(std::uint64_t to, GossipOutbox& out) noexcept;
  Errc hear(const Envelope& envelope, StateReader& reader, std::int64_t now_ns,
            GossipOutbox& out) noexcept;

  [[nodiscard]] IdHash digest() noexcept { return tree_.root(); }
  // 0: there is no such key.
  [[nodiscard]] std::uint64_t version_of(std::string_view key) const noexcept;
  // `into` takes the value; `found` is good until the next change. False: not there.
  bool find(std::string_view key, SyncValue& found, std::vector<std::byte>& into) const;
  // Calls visit(SyncValue) by slot; its value is in `into`.
  template <class Visit>
  void for_values(std::vector<std::byte>& into, Visit&& visit) const {
    for (std::uint32_t slot = 0; slot < config_.entries_max; ++slot) {
      if (slots_.is_used(slot)) visit(read(slot, into));
    }
  }
  // Keys that the last hear() changed: visit(SyncValue).
  template <class Visit>
  void take_news(std::vector<std::byte>& into, Visit&& visit) {
    for (const std::uint32_t slot : news_) visit(read(slot, into));
    news_.clear();
  }
  [[nodiscard]] std::uint32_t count() const noexcept { return slots_.used(); }
  [[nodiscard]] const MerkleSyncCounters& counters() const noexcept { return counters_; }

  void save(StateWriter& writer) const;
  void load(StateReader& reader);
  [[nodiscard]] bool is_sound() const noexcept;

 private:
  struct Entry {
    RowText<kNameBytesMax> key;
    IdHash hash;
    std::uint64_t owner = 0;
    std::uint64_t version = 0;
    std::uint64_t sum = 0;
    std::int64_t birth_ns = 0;
    ChunkStore::Bytes value;
  };
  struct Standing {
    IdHash hash;
    std::uint64_t version = 0;
    std::uint64_t owner = 0;
    std::uint64_t sum = 0;
  };
  class Answer;  // messages of one kind, as many as it takes
  [[nodiscard]] SyncValue read(std::uint32_t slot, std::vector<std::byte>& into) const;
  [[nodiscard]] static bool is_newer(const Standing& one, const Standing& other) noexcept;
  [[nodiscard]] static Standing standing(const Entry& one) noexcept {
    return {one.hash, one.version, one.owner, one.sum};
  }
  void set_tree(std::uint32_t slot) noexcept;
  Errc hear_root(std::uint64_t from, StateReader& reader, GossipOutbox& out) noexcept;
  Errc hear_digests(std::uint64_t from, StateReader& reader, GossipOutbox& out) noexcept;
  void compare_rows(std::uint64_t from, StateReader& reader, GossipOutbox& out) noexcept;
  Errc hear_keys(std::uint64_t from, StateReader& reader, std::int64_t now_ns,
                 GossipOutbox& out) noexcept;
  Errc hear_values(StateReader& reader, std::int64_t now_ns) noexcept;
  Errc hear_wants(std::uint64_t from, StateReader& reader, std::int64_t now_ns,
                  GossipOutbox& out) noexcept;
  void send_keys(std::uint64_t to, GossipOutbox& out) noexcept;
  void put_row(std::uint32_t level, std::uint32_t index, Answer& answer) noexcept;
  void put_value(std::uint32_t slot, std::int64_t now_ns, Answer& answer) noexcept;

  MerkleSyncConfig config_;
  MerkleMap tree_;
  std::vector<Entry> entries_;
  SlotSet slots_;
  IdTable index_;
  ChunkStore store_;
  std::vector<std::uint32_t> news_;
  std::vector<std::uint32_t> buckets_;  // of the message that is being answered
  std::vector<Standing> theirs_;
  std::vector<std::byte> scratch_;
  MerkleSyncCounters counters_;
};

}  // namespace mesh::coordination
