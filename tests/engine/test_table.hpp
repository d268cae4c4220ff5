// TestTable: the `table` and `engine` memories of a small mesh, mapped shared, so that a child that
// dies leaves behind what a dead engine would.
#pragma once

#include <new>

#include <sys/mman.h>

#include "engine/agent_rows.hpp"
#include "engine/memory_map.hpp"

namespace mesh::testing {

class SharedBytes {
 public:
  explicit SharedBytes(std::size_t size)
      : size_(size),
        address_(::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
    if (address_ == MAP_FAILED) throw std::bad_alloc();
  }
  ~SharedBytes() { ::munmap(address_, size_); }
  SharedBytes(const SharedBytes&) = delete;
  SharedBytes& operator=(const SharedBytes&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const {
    return {static_cast<std::byte*>(address_), size_};
  }

 private:
  std::size_t size_;
  void* address_;
};

class TestTable {
 public:
  explicit TestTable(std::uint64_t agents)
      : table_layout_(engine::table_layout({.agents = agents, .stations = 1}).value()),
        engine_layout_(engine::engine_layout({.agents = agents, .stations = 1}).value()),
        table_(table_layout_.total_bytes()),
        engine_(engine_layout_.total_bytes()) {}

  template <class Memory = HostMemory>
  [[nodiscard]] engine::AgentRows<Memory> agents() const {
    return engine::AgentRows<Memory>::in(table_layout_, table_.bytes()).value();
  }
  template <class Memory = HostMemory>
  [[nodiscard]] engine::OwnerRows<Memory> owners() const {
    return engine::OwnerRows<Memory>::in(engine_layout_, engine_.bytes()).value();
  }
  [[nodiscard]] std::span<std::byte> table_bytes() const { return table_.bytes(); }
  [[nodiscard]] const shm::Layout& table_layout() const { return table_layout_; }
  [[nodiscard]] const shm::Layout& engine_layout() const { return engine_layout_; }

 private:
  shm::Layout table_layout_;
  shm::Layout engine_layout_;
  SharedBytes table_;
  SharedBytes engine_;
};

}  // namespace mesh::testing
