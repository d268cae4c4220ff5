// ClassMemory: what each class has learned, in memory that outlives the engine.
//
// Numbers that belong together (a sum and its count) are never seen half new: there are two copies
// of each class, and one word says which of them stands.
//
//     commit   writes the copy that does not stand, then turns the word
//
// Callers     one thread; a successor loads after its death.
// Progress    wait-free; no allocation.
// Ordering    the copy is stored before the word that points to it, with release (tag
//             class_memory.stands).
// Cost        commit: kClassWords + 1 stores, once a turn for each class that learned something.
// If the      writer dies in commit(): the copy before it stands; what was learned in that turn is
// other side  lost.
// dies
// Errors      over -> truncated, misaligned. load -> corrupt.
// Layout      for each class a word (0 or 1: which copy) and two copies of ClassLearning, doubles
//             as their bits, the whole padded to cache lines. A copy with 0 commits is nobody's:
//             what the class started with.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "sched/class_learning.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"

namespace mesh::sched {

inline constexpr std::size_t kClassMemoryBytes =
    (kAgentClassCount * (1 + 2 * kClassWords) * sizeof(std::uint64_t) + kCacheLine - 1) /
    kCacheLine * kCacheLine;

template <class Memory = HostMemory>
class ClassMemory {
 public:
  static Result<ClassMemory> over(std::span<std::byte> bytes) {
    if (bytes.size() < kClassMemoryBytes) {
      return fail(Errc::truncated,
                  "class memory: " + std::to_string(kClassMemoryBytes) +
                      " bytes are needed, there are " + std::to_string(bytes.size()),
                  static_cast<std::int64_t>(bytes.size()));
    }
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % kCacheLine != 0) {
      return fail(Errc::misaligned, "class memory: its first byte is not on a cache line of " +
                                        std::to_string(kCacheLine) + " bytes");
    }
    ClassMemory memory;
    memory.words_ = reinterpret_cast<Word*>(bytes.data());
    return memory;
  }

  [[nodiscard]] Result<ClassLearning> load(std::size_t agent_class) const {
    Word* const words = of(agent_class);
    // SYNC class_memory.stands acquire: pairs with commit() of the writer that died.
    const std::uint64_t stands = words[0].load_acquire();
    if (stands > 1) return corrupt(agent_class, "copy " + std::to_string(stands) + " stands");
    std::array<std::uint64_t, kClassWords> bits{};
    for (std::size_t i = 0; i < kClassWords; ++i) {
      bits[i] = words[1 + stands * kClassWords + i].load_relaxed();  // relaxed: the word above
    }
    const auto learned = std::bit_cast<ClassLearning>(bits);
    if (learned.commits == 0) return ClassLearning{};
    if (!learned.is_sane()) return corrupt(agent_class, "no learning comes to its numbers");
    return learned;
  }

  void commit(std::size_t agent_class, ClassLearning& learned) noexcept {
    learned.commits += 1;
    Word* const words = of(agent_class);
    const std::uint64_t other = 1 - words[0].load_relaxed();  // relaxed: the only writer
    const auto bits = std::bit_cast<std::array<std::uint64_t, kClassWords>>(learned);
    for (std::size_t i = 0; i < kClassWords; ++i) {
      words[1 + other * kClassWords + i].store_relaxed(bits[i]);  // relaxed: the word publishes it
    }
    MESH_POINT("class_memory.commit:before_stands");
    words[0].store_release(other);  // SYNC class_memory.stands release: the copy is whole
  }

 private:
  using Word = typename Memory::template Word<std::uint64_t>;
  ClassMemory() = default;
  [[nodiscard]] Word* of(std::size_t agent_class) const noexcept {
    return words_ + agent_class * (1 + 2 * kClassWords);
  }
  static tl::unexpected<Error> corrupt(std::size_t agent_class, const std::string& what) {
    return fail(
        Errc::corrupt,
        "class memory: class " + std::string(1, kAgentClasses[agent_class].letter) + ": " + what,
        static_cast<std::int64_t>(agent_class));
  }

  Word* words_ = nullptr;
};

}  // namespace mesh::sched
