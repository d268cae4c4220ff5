// fuzz_one: the one function of a fuzz target, and how it takes its input apart.
//
// A target is a file X_fuzz.cpp that defines fuzz_one() and states with MESH_ASSERT what must hold
// whatever the bytes are. It becomes two programs: one that libFuzzer drives (./dev fuzz), and a
// test that runs it over tests/corpus/X and over random bytes (fuzz_smoke_test.cpp).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

namespace mesh::testing {

void fuzz_one(std::span<const std::byte> input);

class FuzzInput {
 public:
  explicit FuzzInput(std::span<const std::byte> bytes) : bytes_(bytes) {}

  // The next T; what is missing at the end is zeros.
  template <class T>
  T take() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    const std::size_t count = std::min(sizeof(T), bytes_.size());
    if (count != 0) std::memcpy(&value, bytes_.data(), count);
    bytes_ = bytes_.subspan(count);
    return value;
  }
  [[nodiscard]] std::span<const std::byte> rest() const { return bytes_; }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }

 private:
  std::span<const std::byte> bytes_;
};

// Memory of exactly `size_bytes`, so that a sanitizer sees the first byte read beyond it.
class ExactMemory {
 public:
  ExactMemory(std::size_t size_bytes, std::size_t alignment)
      : size_bytes_(size_bytes), alignment_(alignment) {
    bytes_ = static_cast<std::byte*>(::operator new (size_bytes, std::align_val_t{alignment}));
    if (size_bytes != 0) std::memset(bytes_, 0, size_bytes);
  }
  ~ExactMemory() { ::operator delete (bytes_, std::align_val_t{alignment_}); }
  ExactMemory(const ExactMemory&) = delete;
  ExactMemory& operator=(const ExactMemory&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const { return {bytes_, size_bytes_}; }

 private:
  std::size_t size_bytes_;
  std::size_t alignment_;
  std::byte* bytes_ = nullptr;
};

}  // namespace mesh::testing
