// ShmWord<T>, ShmPlain<T>, HostMemory: how shared bytes are touched. Nothing else touches them.
//
// Algorithms on shared words are templates on a memory policy that names three things: Word<T> (one
// aligned word that two processes share), Plain<T> (data that a Word publishes) and point(name) (a
// named place where tests interfere). HostMemory ships; tests add CrashMemory, which kills at the
// k-th access, and RelacyMemory, which a model checker drives. One header is shipped,
// crash-enumerated and model-checked.
//
// Ordering    stands in the method's name. There is no read-modify-write: no word is written by two
//             processes.
// Cost        x86: loads and store_release are mov, store_seq_cst is xchg. ARMv8: ldr, ldar, stlr;
//             no dmb.
// Layout      exactly T, so structs of words stay trivially copyable and free of hidden padding.
//             Floats fail that assert: store their bits (std::bit_cast).
// Source      atomic_ref so that the struct stays a POD (iceoryx Atomic<T> wraps instead); orders
//             in method names after mimalloc/atomic.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "shm/base/point.hpp"

namespace mesh {

template <class T>
struct ShmWord {
  static_assert(std::is_trivially_copyable_v<T>);
  static_assert(sizeof(T) <= 8, "wider words are not lock-free everywhere");
  static_assert(std::atomic_ref<T>::is_always_lock_free);

  [[nodiscard]] T load_relaxed() const noexcept { return ref().load(std::memory_order_relaxed); }
  [[nodiscard]] T load_acquire() const noexcept { return ref().load(std::memory_order_acquire); }
  [[nodiscard]] T load_seq_cst() const noexcept { return ref().load(std::memory_order_seq_cst); }
  void store_relaxed(T value) noexcept { ref().store(value, std::memory_order_relaxed); }
  void store_release(T value) noexcept { ref().store(value, std::memory_order_release); }
  void store_seq_cst(T value) noexcept { ref().store(value, std::memory_order_seq_cst); }

  alignas(sizeof(T)) T raw;  // public so that the struct stays an aggregate; nobody touches it bare

 private:
  // C++20's atomic_ref needs a non-const T, also to load. That is a mov, so read-only pages do.
  std::atomic_ref<T> ref() const noexcept { return std::atomic_ref<T>(const_cast<T&>(raw)); }
};

// Data that a Word publishes. get() is a volatile read: one fetch, so a hostile peer that flips the
// bytes cannot make a checked value differ from the used one. TSan sees both as plain accesses and
// reports a missing order.
template <class T>
struct ShmPlain {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);

  [[nodiscard]] T get() const noexcept { return *static_cast<const volatile T*>(&raw); }
  void set(T value) noexcept { raw = value; }

  alignas(sizeof(T)) T raw;
};

struct HostMemory {
  template <class T>
  using Word = ShmWord<T>;
  template <class T>
  using Plain = ShmPlain<T>;
  static constexpr bool kNoThrow = true;  // false where a test injects a death as an exception
  static void point([[maybe_unused]] const char* name) noexcept {
#ifdef MESH_FAULTS
    points::reached(name);
#endif
  }
};

// What MESH_POINT finds outside templates on a memory policy.
using Memory = HostMemory;

static_assert(sizeof(ShmWord<std::uint64_t>) == 8 && alignof(ShmWord<std::uint64_t>) == 8);
static_assert(std::is_trivially_copyable_v<ShmWord<std::uint32_t>>);
static_assert(std::is_trivially_default_constructible_v<ShmWord<std::uint32_t>>);
static_assert(std::has_unique_object_representations_v<ShmWord<std::uint32_t>>);

}  // namespace mesh
