// The control socket's protocol: one JSON object a packet, each way. SOCK_SEQPACKET.
//
//     request   {"op": "attach", "version": 2, "layout_hash": "0x...", "page_bytes": 4096,
//                "name": "...", "agents": 8}
//     answer    {"ok": true, "station": 3, "mesh_agents": 64, ..., "token": [7, 9]}, then one
//               packet of 8 bytes (the station's number) that carries kStationDescriptors
//     request   {"op": "reattach", "version", "layout_hash", "page_bytes", "station": 3,
//                "mesh_uuid": [...], "token": [7, 9]}, carrying kReturnDescriptors: to the next
//               engine, from a station of the one that died
//     answer    {"ok": true, "station": 3}, carrying kResumeDescriptors
//     request   {"op": "enrol", "agents": [{"name": "...", "class": "A",
//                "capabilities": ["..."]}, ...]}   at most 500; capabilities may be absent
//     answer    {"ok": true, "ids": [1048576, ...], "places": [0, ...]}: where in the station's own
//               columns the engine looks for what each agent measures
//     request   {"op": "capability", "name": "..."}
//     answer    {"ok": true, "bit": 7}
//     request   {"op": "observe", "version", "layout_hash", "page_bytes"}
//     answer    {"ok": true, "mesh_agents": 64, ...}, carrying the table, open for reading
//     request   {"op": "context", "agent": 1048576, "hash": 77}, carrying the agent's context as
//               sealed bytes (shm/sealed_bytes.hpp), at most 1 MiB
//     answer    {"ok": true, "version": 3, "in_store": true}
//     request   {"op": "leave"}: has no answer. The station's end that follows is no failure
//
// The engine asks, too, of a station that said "loads_context": true as it attached; at any time,
// also while a request of the station's is not answered yet:
//     question  {"ask": "load_context", "agent": 1048576, "number": 9, "hash": 77}, carrying
//               the bytes
//     reply     {"op": "loaded", "number": 9, "hash": 77}, or {..., "error": {...}}: it has no
//               answer
//
//     request   {"op": "status"}, "send", "broadcast", "scatter", "down"
//               (docs/CONSOLE.md), and reports: "stat", "kpi", "health", ... (docs/CONTROL.md)
//     refusal   {"error": {"code": "layout_mismatch", "detail": 0, "sentence": "..."}}
//
// A connection asks one thing at a time. That of a station stays open as long as the station lives;
// a refusal that it did not ask for is the last it hears: evicted, or closed where the engine ends.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mesh::engine {

inline constexpr std::uint32_t kControlVersion = 3;
inline constexpr std::size_t kControlPacketBytes = std::size_t{64} << 10;
inline constexpr std::size_t kEnrolAgentsMax = 500;
inline constexpr std::size_t kContextBytesMost = std::size_t{1} << 20;
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

// What a station gives back to the next engine: its own memory, and the eventfd that it waits on.
enum class ReturnDescriptor : std::size_t { out = 0, station_wake };
inline constexpr std::size_t kReturnDescriptors = 2;
// What it gets for them. The first three are those that it has: the station checks that.
enum class ResumeDescriptor : std::size_t { table = 0, payload, in, engine_wake };
inline constexpr std::size_t kResumeDescriptors = 4;

// MappingHeader::parameters of every memory of a mesh.
enum class MemoryParameter : std::size_t { agents = 0, stations, agents_per_station, start_ns };

}  // namespace mesh::engine
