#include "queues/payload_log.hpp"

#include <string>

namespace mesh::queues {
namespace {

Status check_address(const char* what, const void* address, std::size_t alignment) {
  const auto past = reinterpret_cast<std::uintptr_t>(address) % alignment;
  if (address != nullptr && past == 0) return {};
  const std::string name = std::string("payload log: the ") + what;
  return fail(Errc::misaligned,
              address == nullptr ? name + "'s address is null"
                                 : name + " starts " + std::to_string(past) +
                                       " bytes past a multiple of " + std::to_string(alignment),
              static_cast<std::int64_t>(past));
}

}  // namespace

Status check_payload_log(const PayloadLogPlace& place) {
  if (place.capacity < kPayloadLogBytesMin || !std::has_single_bit(place.capacity) ||
      place.capacity > kPayloadLogBytesMax)
    return fail(Errc::invalid_argument,
                "payload log: a region of " + std::to_string(place.capacity) +
                    " bytes; a power of two from " + std::to_string(kPayloadLogBytesMin) + " to " +
                    std::to_string(kPayloadLogBytesMax) + " is needed",
                static_cast<std::int64_t>(place.capacity));
  MESH_CHECK_OK(check_address("region", place.region, place.region_alignment));
  return check_address("header", place.header, place.header_alignment);
}

Status check_payload_bounds(const PayloadBounds& bounds) {
  const bool aligned = (bounds.tail | bounds.head) % kPayloadAlignment == 0;
  if (aligned && bounds.head - bounds.tail <= bounds.capacity) return {};
  return fail(Errc::corrupt,
              "payload log: tail " + std::to_string(bounds.tail) + ", head " +
                  std::to_string(bounds.head) +
                  (aligned ? ": not within " : ": not multiples of 16 within ") +
                  std::to_string(bounds.capacity) + " bytes",
              static_cast<std::int64_t>(aligned ? bounds.head - bounds.tail : bounds.tail));
}

tl::unexpected<Error> foreign_payload_entry(std::uint64_t position, const PayloadBounds& bounds) {
  return fail(Errc::corrupt,
              "payload log: no entry stands at position " + std::to_string(position) +
                  " between tail " + std::to_string(bounds.tail) + " and head " +
                  std::to_string(bounds.head),
              static_cast<std::int64_t>(position));
}

}  // namespace mesh::queues
