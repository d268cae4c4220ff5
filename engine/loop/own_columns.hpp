// own, put, peer: how the loop's thread reads and writes columns, its own and those of stations.
#pragma once

#include <cstddef>
#include <type_traits>

#include "shm/columns.hpp"

namespace mesh::engine {

// Columns of the table: this thread is their one writer.
template <class T>
T own(const shm::Column<HostMemory, T>& column, std::size_t row) noexcept {
  return column.load_relaxed(row);  // relaxed: our own past store
}
template <class T>
void put(const shm::Column<HostMemory, T>& column, std::size_t row,
         std::type_identity_t<T> value) noexcept {
  column.store_relaxed(row, value);  // relaxed: a value that stands alone
}
// What a row's prediction was made of when upkeep last made it.
struct CopiedRow {
  std::uint32_t sequence = 0;  // of its station's row
  std::uint32_t queue_depth = 0;
  std::uint32_t generation = 0;  // of the predictor, which begins at 1
  bool is_fresh = false;         // its heartbeat is
  friend bool operator==(const CopiedRow&, const CopiedRow&) = default;
};

// A station's own columns: input, each word loaded once.
template <class T>
T peer(const shm::ColumnView<HostMemory, T>& column, std::size_t at) noexcept {
  return column.load_relaxed(at);  // relaxed: a median orders nothing
}

}  // namespace mesh::engine
