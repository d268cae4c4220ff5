// ThreadMemory: the memory policy of what threads of one process share on their heap. As HostMemory
// (shm/base/word.hpp) for shared memory: tests put a model checker's in its place, so one header is
// shipped and model-checked. Here is a read-modify-write, which shared memory does not have.
//
// Callers     algorithms on such words, templates on the policy. Any thread.
// Ordering    stands in the method's name.
#pragma once

#include <atomic>

namespace mesh::queues::local {

struct ThreadMemory {
  template <class T>
  struct Word {
    static_assert(std::atomic<T>::is_always_lock_free);

    [[nodiscard]] T load_relaxed() const noexcept { return raw.load(std::memory_order_relaxed); }
    [[nodiscard]] T load_acquire() const noexcept { return raw.load(std::memory_order_acquire); }
    [[nodiscard]] T load_seq_cst() const noexcept { return raw.load(std::memory_order_seq_cst); }
    void store_relaxed(T value) noexcept { raw.store(value, std::memory_order_relaxed); }
    void store_release(T value) noexcept { raw.store(value, std::memory_order_release); }
    void store_seq_cst(T value) noexcept { raw.store(value, std::memory_order_seq_cst); }
    // False: it was not `seen`, and is as it was.
    [[nodiscard]] bool replace_relaxed(T seen, T value) noexcept {
      return raw.compare_exchange_strong(seen, value, std::memory_order_relaxed,
                                         std::memory_order_relaxed);
    }
    [[nodiscard]] bool replace_seq_cst(T seen, T value) noexcept {
      return raw.compare_exchange_strong(seen, value, std::memory_order_seq_cst,
                                         std::memory_order_relaxed);
    }

    std::atomic<T> raw{};
  };
  static constexpr bool kNoThrow = true;
};

}  // namespace mesh::queues::local
