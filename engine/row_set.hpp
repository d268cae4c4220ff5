// RowSet: a set of rows that gives its lowest one.
//
// Which row a new name gets must not depend on the order in which others left: the lowest free one
// is found again after a restart from the rows alone, keeps the table dense, and replays.
//
// Callers     one thread; process-private memory.
// Progress    wait-free: a word a level, at most 4 levels of 64. No allocation after construction.
// Units       rows from 0 to capacity - 1.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"

namespace mesh::engine {

class RowSet {
 public:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  explicit RowSet(std::size_t capacity) : capacity_(capacity) {
    MESH_ASSERT(capacity >= 1);
    MESH_ASSERT(capacity <= kMaxAgents);
    for (auto& level : levels_) {
      capacity = (capacity + 63) / 64;
      level.assign(capacity, 0);
    }
    MESH_ASSERT(capacity == 1);  // the top is one word
  }

  void insert(std::uint32_t row) noexcept {
    MESH_ASSERT(row < capacity_);
    count_ += contains(row) ? 0U : 1U;
    for (auto& level : levels_) {
      level[row / 64] |= std::uint64_t{1} << (row % 64);
      row /= 64;
    }
  }
  void erase(std::uint32_t row) noexcept {
    MESH_ASSERT(row < capacity_);
    count_ -= contains(row) ? 1U : 0U;
    for (auto& level : levels_) {
      level[row / 64] &= ~(std::uint64_t{1} << (row % 64));
      if (level[row / 64] != 0) return;  // the levels above still stand for others
      row /= 64;
    }
  }
  [[nodiscard]] bool contains(std::uint32_t row) const noexcept {
    MESH_ASSERT(row < capacity_);
    return (levels_[0][row / 64] >> (row % 64) & 1U) != 0;
  }
  [[nodiscard]] std::uint32_t lowest() const noexcept {
    if (levels_.back()[0] == 0) return kNone;
    std::uint32_t row = 0;
    for (std::size_t level = levels_.size(); level-- > 0;) {
      row = row * 64 + static_cast<std::uint32_t>(std::countr_zero(levels_[level][row]));
    }
    return row;
  }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

 private:
  std::size_t capacity_;
  std::size_t count_ = 0;
  std::array<std::vector<std::uint64_t>, 4> levels_;  // a bit above says: not all zero below
};
static_assert(std::uint64_t{64} * 64 * 64 * 64 >= kMaxAgents);

}  // namespace mesh::engine
