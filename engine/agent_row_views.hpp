// AgentRowViews: every column of the table's agents, to read: what an observer of a mesh sees.
//
// Callers     any thread of any process that maps the table, read-only or not.
// Progress    read: at most shm::kReadAttempts tries, then kBusy.
// Ordering    what the engine stores between RowWriter::begin and end is read as one. A value that
//             stands alone (a queue depth, a score) is the one of some moment of the read.
// If the      dies while it writes a row: that row reads kBusy until a successor writes it.
// engine      shows a name that is none, or a state that does not exist: that is input, and the
// dies,       caller's to judge.
// or lies
// Errors      in() -> not_found, layout_mismatch, corrupt (the mapping is too short), misaligned.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/agent_rows.hpp"
#include "shm/base/result.hpp"
#include "shm/columns.hpp"
#include "shm/layout.hpp"
#include "shm/row_seqlock.hpp"

namespace mesh::engine {

namespace agent_row_views_detail {
// A column of several values a row is words, as in AgentRows.
template <class T, std::size_t values>
struct ReadAs {
  using Column = std::uint64_t;
  static constexpr std::size_t kWords = sizeof(T) * values / 8;
  using Value = std::array<std::uint64_t, kWords>;
};
template <class T>
struct ReadAs<T, 1> {
  using Column = T;
  static constexpr std::size_t kWords = 1;
  using Value = T;
};
}  // namespace agent_row_views_detail

// One row, in private memory.
struct AgentRow {
#define MESH_ROW_MEMBER(name, T, values, meaning) \
  agent_row_views_detail::ReadAs<T, values>::Value name{};
  MESH_AGENT_COLUMNS(MESH_ROW_MEMBER)
#undef MESH_ROW_MEMBER

  [[nodiscard]] bool is_free() const noexcept { return NameBytes::length_of(name[0]) == 0; }
};

class AgentRowViews {
 public:
  static Result<AgentRowViews> in(const shm::Layout& layout, std::span<const std::byte> mapping);

  [[nodiscard]] std::size_t rows() const noexcept { return sequence_.rows(); }
  // `row` is below rows(). Unless kRead, `copy` holds nothing of use.
  [[nodiscard]] shm::ReadStatus read(std::size_t row, AgentRow& copy) const noexcept;

 private:
#define MESH_VIEW_MEMBER(name, T, values, meaning) \
  shm::ColumnView<HostMemory, agent_row_views_detail::ReadAs<T, values>::Column> name##_;
  MESH_AGENT_COLUMNS(MESH_VIEW_MEMBER)
#undef MESH_VIEW_MEMBER
};

}  // namespace mesh::engine
