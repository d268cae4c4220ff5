// PrivateMemory: zeroed pages of this process alone, where a simulated mesh's memories stand.
//
// Callers     set-up.
// Cost        a page is made when it is touched.
// Errors      create -> no_memory.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "shm/base/result.hpp"

namespace mesh::engine::simulation {

class PrivateMemory {
 public:
  static Result<PrivateMemory> create(std::size_t bytes);
  PrivateMemory() = default;
  ~PrivateMemory();
  PrivateMemory(PrivateMemory&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  PrivateMemory& operator=(PrivateMemory&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  PrivateMemory(const PrivateMemory&) = delete;
  PrivateMemory& operator=(const PrivateMemory&) = delete;

  // Zeros again.
  [[nodiscard]] Status forget() const;
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::span<std::byte> bytes_{};
};

}  // namespace mesh::engine::simulation
