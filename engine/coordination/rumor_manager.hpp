// RumorManager: news that each passes on to some at random until enough have answered that they
// knew it already. Cheap, and not certain: a share of about 2 % (k = 3) never hears of it.
//
//   active --k duplicate answers | budget spent--> quiet --ttl--> gone
//
// Callers     one thread; messages in, messages out (gossip_wire.hpp). Usable alone: who there is
//             comes with each tick.
// Progress    wait-free; no allocation after construction.
// Units       peers are numbers, not 0. A key names one rumour as long as that lives. ns; on the
//             wire ms of age.
// Guarantees  delivered once within its ttl. No peer sends one more often than its budget.
// If the      creator dies: whoever heard it goes on. Those that no push reached stay without it:
// other side  what must arrive needs anti-entropy beside it.
// dies
// Errors      create -> invalid_id, invalid_argument, already_exists, capacity. hear -> bad_input.
// Source      Demers et al., Epidemic Algorithms, 1987: push with feedback and a counter.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/chunk_store.hpp"
#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/gossip_wire.hpp"
#include "shm/base/errc.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::coordination {

// The share that never hears: the root of s = e^(-(k + 1)(1 - s)) below 1.
[[nodiscard]] double rumor_residue(std::uint32_t k) noexcept;
// Rounds of pushing until all of n know: log2 n + ln n.
[[nodiscard]] double rumor_rounds(std::uint64_t members) noexcept;

struct RumorConfig {
  std::uint64_t self = 1;
  Nanos push_ns{200 * kNsPerMs};
  std::uint32_t fanout = 4;
  std::uint32_t k = 3;
  std::uint32_t pushes_max = 64;  // of one turn, the freshest first
  std::uint32_t rumors_max = 256;
  Nanos ttl_ns_max{3'600 * kNsPerSecond};
  std::uint32_t budget_max = 1'000;
  std::uint32_t payload_bytes_max = 3'072;
  std::uint64_t store_bytes = 1U << 19;
};
struct Rumor {
  std::string_view key{};
  std::span<const std::byte> payload{};
  Nanos ttl{30 * kNsPerSecond};
  std::uint32_t budget = 10;  // transmissions of each peer
};

struct RumorCounters {
  std::uint64_t created = 0;
  std::uint64_t delivered = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t pushed = 0;
  std::uint64_t quiet_by_feedback = 0;
  std::uint64_t quiet_by_budget = 0;
  std::uint64_t expired = 0;
  std::uint64_t full = 0;
};

class RumorManager {
 public:
  enum Kind : std::uint8_t { push = 1, feedback };
  static constexpr std::uint32_t kNone = IdTable::kNone;

  RumorManager(const RumorConfig& config, std::uint64_t seed);

  [[nodiscard]] Errc judge(const Rumor& rumor) const noexcept;
  Errc create(const Rumor& rumor, std::int64_t now_ns) noexcept;
  Errc hear(const Envelope& envelope, StateReader& reader, std::int64_t now_ns,
            GossipOutbox& out) noexcept;
  // `peers` are put in another order.
  void tick(std::int64_t now_ns, std::span<std::uint64_t> peers, GossipOutbox& out) noexcept;
  [[nodiscard]] std::int64_t next_ns() const noexcept;
  [[nodiscard]] bool is_due(std::int64_t now_ns) const noexcept {
    return active_ != 0 && now_ns >= push_ns_;
  }
  void set_fanout(std::uint32_t fanout) noexcept { config_.fanout = fanout; }

  template <class Visit>
  void take_delivery(Visit&& visit) {
    if (fresh_ == kNone) return;
    const Row& one = rows_[fresh_];
    fresh_ = kNone;
    const std::size_t size = store_.copy_head(one.payload, scratch_);
    visit(one.key.view(), std::span<const std::byte>(scratch_).first(size));
  }
  [[nodiscard]] bool knows(std::string_view key) const noexcept {
    return index_.find(hash_of(key)) != kNone;
  }
  [[nodiscard]] bool is_active(std::string_view key) const noexcept;
  [[nodiscard]] std::uint32_t active_count() const noexcept { return active_; }
  [[nodiscard]] const RumorCounters& counters() const noexcept { return counters_; }

  void save(StateWriter& writer) const;
  void load(StateReader& reader);
  [[nodiscard]] bool is_sound() const noexcept;

 private:
  struct Row {
    RowText<kNameBytesMax> key;
    std::int64_t birth_ns = 0;
    std::int64_t ttl_ns = 0;
    std::uint32_t budget = 0;
    std::uint32_t sent = 0;
    std::uint32_t duplicates = 0;
    bool is_active = true;
    ChunkStore::Bytes payload;
  };
  std::uint32_t keep(const Rumor& rumor, std::int64_t birth_ns) noexcept;
  void quiet(Row& one) noexcept;
  void send_push(Row& one, std::uint64_t to, std::int64_t now_ns, GossipOutbox& out) noexcept;
  Errc hear_push(std::uint64_t from, StateReader& reader, std::int64_t now_ns,
                 GossipOutbox& out) noexcept;
  Errc hear_feedback(StateReader& reader) noexcept;

  RumorConfig config_;
  Rng rng_;
  std::vector<Row> rows_;
  SlotSet slots_;
  IdTable index_;
  DeadlineHeap ends_;
  ChunkStore store_;
  std::vector<std::byte> scratch_;
  std::vector<std::uint32_t> order_;
  std::int64_t push_ns_ = 0;
  std::uint32_t active_ = 0;
  std::uint32_t fresh_ = kNone;
  RumorCounters counters_;
};

}  // namespace mesh::coordination
