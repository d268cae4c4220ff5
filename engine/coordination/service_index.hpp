// ServiceIndex: the live instances of each type as plain rows, those of one type in blocks next to
// each other: what a registry publishes, and what a question about a type runs over.
//
// Callers     one thread writes. A copy is whole by itself: no pointer, no name, nothing of the
//             registry's is needed to choose by it; `record` says what to ask the registry for.
// Progress    wait-free.
// Cost        append, erase: one row of two cache lines. A walk reads two lines an instance, and
//             the next block is on its way meanwhile. No allocation after construction.
// Units       rows for all instances and one block to spare for each list.
// Invariants  only the last block of a list is not full; each row stands in one list.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/coordination/blocks/id_hash.hpp"
#include "engine/coordination/blocks/semver.hpp"
#include "engine/coordination/service_discovery_terms.hpp"

namespace mesh::coordination {

struct alignas(64) ServiceRow {
  IdHash id;
  std::int64_t expires_ns = 0;
  std::uint64_t region = 0;  // hashes; 0: none
  std::uint64_t zone = 0;
  std::uint64_t rack = 0;
  double health = 1;
  std::uint32_t load_ppm = 0;
  std::uint32_t record = 0;  // the registry's number of it: endpoint and all else
  Semver version;
  std::int64_t latency_ns = -1;  // below 0: none was seen
  InstanceStatus status = InstanceStatus::ready;
  friend bool operator==(const ServiceRow&, const ServiceRow&) = default;
};
static_assert(sizeof(ServiceRow) == 128);

class ServiceIndex {
 public:
  static constexpr std::uint32_t kNone = 0xFFFF'FFFF;
  static constexpr std::uint32_t kBlockRows = 8;
  struct List {
    std::uint32_t first = kNone;
    std::uint32_t last = kNone;
    std::uint32_t count = 0;
  };

  ServiceIndex(std::size_t rows, std::size_t lists) : blocks_(rows / kBlockRows + lists + 1) {
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      blocks_[i].next = i + 1 < blocks_.size() ? static_cast<std::uint32_t>(i + 1) : kNone;
    }
  }

  [[nodiscard]] ServiceRow& operator[](std::uint32_t place) noexcept {
    return blocks_[place / kBlockRows].rows[place % kBlockRows];
  }
  [[nodiscard]] const ServiceRow& operator[](std::uint32_t place) const noexcept {
    return blocks_[place / kBlockRows].rows[place % kBlockRows];
  }
  // Its place.
  std::uint32_t append(List& list, const ServiceRow& row) noexcept {
    const std::uint32_t at = list.count % kBlockRows;
    if (at == 0) add_block(list);
    ++list.count;
    const std::uint32_t place = list.last * kBlockRows + at;
    (*this)[place] = row;
    return place;
  }
  // The list's last row takes its place. Which record that one is of; its own: it was the last.
  std::uint32_t erase(List& list, std::uint32_t place) noexcept {
    const std::uint32_t last = list.last * kBlockRows + (list.count - 1) % kBlockRows;
    (*this)[place] = (*this)[last];
    const std::uint32_t moved = (*this)[last].record;
    --list.count;
    if (list.count % kBlockRows == 0) drop_block(list);
    return moved;
  }
  // Calls visit(row) for each.
  template <class Visit>
  void for_each(const List& list, Visit&& visit) const {
    std::uint32_t left = list.count;
    for (std::uint32_t at = list.first; left != 0; at = blocks_[at].next) {
      const Block& block = blocks_[at];
      if (block.next != kNone) prefetch(blocks_[block.next]);
      const std::uint32_t rows = left < kBlockRows ? left : kBlockRows;
      for (std::uint32_t i = 0; i < rows; ++i) visit(block.rows[i]);
      left -= rows;
    }
  }
  void prefetch(const List& list) const noexcept {
    if (list.first != kNone) prefetch(blocks_[list.first]);
  }

 private:
  struct Block {
    std::array<ServiceRow, kBlockRows> rows{};
    std::uint32_t next = kNone;
    std::uint32_t previous = kNone;
  };
  static void prefetch(const Block& block) noexcept {
    __builtin_prefetch(&block.next);
    for (const ServiceRow& row : block.rows) {
      __builtin_prefetch(&row);
      __builtin_prefetch(&row.version);
    }
  }
  void add_block(List& list) noexcept {
    const std::uint32_t fresh = free_;
    free_ = blocks_[fresh].next;
    blocks_[fresh].next = kNone;
    blocks_[fresh].previous = list.last;
    (list.last == kNone ? list.first : blocks_[list.last].next) = fresh;
    list.last = fresh;
  }
  void drop_block(List& list) noexcept {
    const std::uint32_t gone = list.last;
    list.last = blocks_[gone].previous;
    (list.last == kNone ? list.first : blocks_[list.last].next) = kNone;
    blocks_[gone].next = free_;
    free_ = gone;
  }

  std::vector<Block> blocks_;
  std::uint32_t free_ = 0;
};

}  // namespace mesh::coordination
