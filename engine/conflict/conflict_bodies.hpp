// ConflictBodies: room for what conflicting answers, and the messages they answer, carried: their
// quarantine. The loop copies it in and passes the place on in its note; who takes the note frees
// the place.
//
// Callers     take_place, room: the scheduler thread. room, free_place: whoever takes the notes.
// Progress    lock-free; nothing is allocated after construction. kNone: all places are taken.
// Ordering    as ConflictSink's queue: what was written before take() is seen by who pops the note.
// Units       bytes; places of two parts of kPartBytes. Pages that no conflict ever used are never
//             touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "queues/local/hand_over.hpp"
#include "shm/base/assert.hpp"

namespace mesh::engine {

class ConflictBodies {
 public:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  static constexpr std::uint32_t kPlaces = 256;
  static constexpr std::size_t kPartBytes = std::size_t{64} << 10;
  enum class Part : std::uint8_t { answer = 0, message };

  ConflictBodies()
      : bytes_(new std::byte[std::size_t{kPlaces} * 2 * kPartBytes]), free_(kPlaces, 1, 2) {
    for (std::uint32_t place = 0; place < kPlaces; ++place) free_place(place);
  }

  [[nodiscard]] std::uint32_t take_place() noexcept {
    std::uint32_t place = kNone;
    static_cast<void>(free_.pop(std::span(&place, 1)));
    return place;
  }
  void free_place(std::uint32_t place) noexcept {
    MESH_ASSERT(place < kPlaces);
    const bool is_free = free_.try_push(place);
    MESH_ASSERT(is_free);  // there are no more places than room for them
  }
  [[nodiscard]] std::span<std::byte> room(std::uint32_t place, Part part) noexcept {
    MESH_ASSERT(place < kPlaces);
    const std::size_t at = (std::size_t{place} * 2 + static_cast<std::size_t>(part)) * kPartBytes;
    return {bytes_.get() + at, kPartBytes};
  }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  queues::local::HandOver<std::uint32_t> free_;
};

}  // namespace mesh::engine
