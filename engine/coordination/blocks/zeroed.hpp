// Zeroed: a vector whose elements are zero when it is made and cost no memory until they are
// touched: the system hands out its pages as they are first written.
//
// Callers     as of a vector. T's zero bytes are its initial value; it is not grown.
// Cost        of a large one: address space at once, a page (4 KiB, about a microsecond) at its
//             first touch, and never an allocation.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace mesh::coordination {

template <class T>
class ZeroedAllocator {
 public:
  using value_type = T;
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);
  static_assert(alignof(T) <= alignof(std::max_align_t));

  ZeroedAllocator() = default;
  template <class U>
  explicit(false) ZeroedAllocator(const ZeroedAllocator<U>& /*other*/) noexcept {}

  [[nodiscard]] T* allocate(std::size_t count) {
    void* const bytes = std::calloc(count, sizeof(T));
    if (bytes == nullptr) throw std::bad_alloc();
    return static_cast<T*>(bytes);
  }
  void deallocate(T* bytes, std::size_t /*count*/) noexcept { std::free(bytes); }
  // Nothing to write: it is zero.
  template <class U>
  void construct(U* /*place*/) noexcept {}
  template <class U, class... Args>
  void construct(U* place, Args&&... args) {
    std::construct_at(place, std::forward<Args>(args)...);
  }
  friend bool operator==(const ZeroedAllocator&, const ZeroedAllocator&) { return true; }
};

template <class T>
using Zeroed = std::vector<T, ZeroedAllocator<T>>;

}  // namespace mesh::coordination
