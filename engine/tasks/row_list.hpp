// RowList: rows of a table in a list, by their numbers. `next` and `last` stand in the rows.
//
// Callers     the thread that owns the table. A row is in one such list at most.
// Cost        a few words; no allocation.
#pragma once

#include <cstdint>
#include <vector>

namespace mesh::tasks {

struct RowList {
  static constexpr std::uint32_t kNone = UINT32_MAX;

  std::uint32_t first = kNone;
  std::uint32_t last = kNone;
  std::uint32_t count = 0;

  template <class Row>
  void push(std::vector<Row>& rows, std::uint32_t at) noexcept {
    rows[at].last = last;
    rows[at].next = kNone;
    (last == kNone ? first : rows[last].next) = at;
    last = at;
    ++count;
  }
  // Behind `after`; kNone: in front of all.
  template <class Row>
  void insert(std::vector<Row>& rows, std::uint32_t at, std::uint32_t after) noexcept {
    const std::uint32_t before = after == kNone ? first : rows[after].next;
    rows[at].last = after;
    rows[at].next = before;
    (after == kNone ? first : rows[after].next) = at;
    (before == kNone ? last : rows[before].last) = at;
    ++count;
  }
  template <class Row>
  void take_out(std::vector<Row>& rows, std::uint32_t at) noexcept {
    const Row& one = rows[at];
    (one.last == kNone ? first : rows[one.last].next) = one.next;
    (one.next == kNone ? last : rows[one.next].last) = one.last;
    --count;
  }
};

}  // namespace mesh::tasks
