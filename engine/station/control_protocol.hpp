// The control socket's protocol: one JSON object a packet, each way. SOCK_SEQPACKET.
//
//     request   {"op": "attach", "version": 1, "name": "...", "agents": 8, "layout_hash": "0x...",
//                "page_bytes": 4096}
//     answer    {"ok": true, "station": 3, "size": {...}, ...}, then one packet of 8 bytes (the
//               station's number) that carries kStationDescriptors descriptors
//     request   {"op": "enrol", "agents": [{"name": "...", "class": "A"}, ...]}   at most 500
//     answer    {"ok": true, "ids": [1048576, ...]}
//     request   {"op": "status"}, "send", "broadcast", "scatter", "down"
//     refusal   {"error": {"code": "layout_mismatch", "detail": 0, "sentence": "..."}}
//
// A connection asks one thing at a time. That of a station stays open as long as the station lives.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mesh::engine {

inline constexpr std::uint32_t kControlVersion = 1;
inline constexpr std::size_t kControlPacketBytes = std::size_t{64} << 10;
inline constexpr std::size_t kEnrolAgentsMax = 500;
inline constexpr const char* kSocketFolder = "sock";
inline constexpr const char* kSocketName = "control.sock";

// In the order in which they are passed. What the engine writes is open for reading alone.
enum class StationDescriptor : std::size_t {
  table = 0,
  payload,
  in,
  out,
  station_wake,
  engine_wake
};
inline constexpr std::size_t kStationDescriptors = 6;

// MappingHeader::parameters of every memory of a mesh.
enum class MemoryParameter : std::size_t { agents = 0, stations, agents_per_station, start_ns };

}  // namespace mesh::engine
