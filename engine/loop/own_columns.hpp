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
// A station's own columns: input, each word loaded once.
template <class T>
T peer(const shm::ColumnView<HostMemory, T>& column, std::size_t at) noexcept {
  return column.load_relaxed(at);  // relaxed: a median orders nothing
}

}  // namespace mesh::engine
