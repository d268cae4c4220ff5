#include "queues/ring_checks.hpp"

#include <bit>
#include <string>

#include "shm/base/limits.hpp"

namespace mesh::queues {

Status check_ring(const RingPlace& place) {
  if (place.slot_count < 2 || !std::has_single_bit(place.slot_count) ||
      place.slot_count > kRingSlotsMax)
    return fail(Errc::invalid_argument,
                "ring: " + std::to_string(place.slot_count) + " slots; a power of two from 2 to " +
                    std::to_string(kRingSlotsMax) + " is needed",
                static_cast<std::int64_t>(place.slot_count));
  const auto past_line = reinterpret_cast<std::uintptr_t>(place.slots) % place.slot_alignment;
  if (place.slots == nullptr || past_line != 0)
    return fail(Errc::misaligned,
                place.slots == nullptr
                    ? "ring: the slots' address is null"
                    : "ring: the slots start " + std::to_string(past_line) +
                          " bytes past a multiple of " + std::to_string(place.slot_alignment),
                static_cast<std::int64_t>(past_line));
  const auto past_word = reinterpret_cast<std::uintptr_t>(place.page) % place.page_alignment;
  if (place.page == nullptr || past_word != 0)
    return fail(Errc::misaligned,
                place.page == nullptr
                    ? "ring: the reader page's address is null"
                    : "ring: the reader page starts " + std::to_string(past_word) +
                          " bytes past a multiple of " + std::to_string(place.page_alignment),
                static_cast<std::int64_t>(past_word));
  return {};
}

tl::unexpected<Error> foreign_cursor(std::uint64_t cursor, std::uint64_t head,
                                     std::uint64_t capacity) {
  return fail(Errc::corrupt,
              "ring: the reader's cursor is " + std::to_string(cursor) + ", the head " +
                  std::to_string(head) + ": not within " + std::to_string(capacity) + " slots",
              static_cast<std::int64_t>(cursor));
}

tl::unexpected<Error> foreign_stamp(std::uint64_t index, std::uint64_t position,
                                    std::uint64_t expected) {
  return fail(Errc::corrupt,
              "ring: slot " + std::to_string(index) + " carries position " +
                  std::to_string(position) + ", the ring stands at " + std::to_string(expected),
              static_cast<std::int64_t>(index));
}

}  // namespace mesh::queues
