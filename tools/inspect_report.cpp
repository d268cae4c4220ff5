#include "tools/inspect_report.hpp"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/station/control_protocol.hpp"
#include "engine/station/station_memory.hpp"
#include "sched/clock.hpp"
#include "shm/uuid.hpp"

namespace mesh::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kOnlyItsTwo = "unknown: a memfd, which the engine and the station have";

std::string hex(std::uint64_t value) { return fmt::format("{:016x}", value); }

// "2026-11-25T14:32:47Z"; nothing of a time that no calendar has.
Json wall_time(std::int64_t ns) {
  const std::time_t seconds = ns / kNsPerSecond;
  std::tm parts{};
  char text[32];
  if (ns <= 0 || gmtime_r(&seconds, &parts) == nullptr) return nullptr;
  if (std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) return nullptr;
  return text;
}

template <class T>
Json or_unknown(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// The eight bytes as they stand in memory, where they are text.
std::string magic_text(std::uint64_t magic) {
  std::string text(reinterpret_cast<const char*>(&magic), sizeof magic);
  const bool is_text =
      std::all_of(text.begin(), text.end(), [](char byte) { return byte >= ' ' && byte <= '~'; });
  return is_text ? text : hex(magic);
}

Json json_of(const std::string& name, const Result<shm::MappingHeader>& header,
             const shm::MappingHeader& table) {
  Json object = {{"memory", name}};
  if (!header) {
    for (const char* const key : {"magic", "layout_hash", "layout_version", "page_bytes", "bytes",
                                  "instance", "created", "created_ns", "mesh_uuid", "boot_id"}) {
      object[key] = nullptr;
    }
    object["state"] = header.error().sentence;
    return object;
  }
  object.update({{"magic", magic_text(header->magic)},
                 {"layout_hash", hex(header->layout_hash)},
                 {"layout_version", header->layout_version},
                 {"page_bytes", header->page_bytes},
                 {"bytes", header->total_bytes},
                 {"instance", header->instance},
                 {"created", wall_time(header->created_ns)},
                 {"created_ns", header->created_ns},
                 {"mesh_uuid", shm::to_text(header->mesh_uuid)},
                 {"boot_id", shm::to_text(header->boot_id)},
                 {"state", header->mesh_uuid == table.mesh_uuid ? "whole" : "of another mesh"}});
  return object;
}

// What every report begins with.
Json head_of(const ObservedMesh& mesh) {
  const engine::EngineSeen engine = mesh.engine();
  return {{"directory", mesh.directory()},
          {"engine_running", or_unknown(engine.running)},
          {"engine_process", or_unknown(engine.process)}};
}

struct NamedLayout {
  std::string memory;
  shm::Layout layout;
};

void add_regions(Json& list, const NamedLayout& of) {
  for (const shm::Region& region : of.layout.regions()) {
    list.push_back({{"memory", of.memory},
                    {"offset", region.offset},
                    {"bytes", region.size_bytes},
                    {"region", region.name},
                    {"count", region.count},
                    {"type", region.type},
                    {"writer", region.writer}});
  }
}

// Where the smallest stamp stands is what the writer publishes next (queues/spsc_ring.hpp); a run
// that is being filled stands behind it and is not counted. Nothing where the stamps are no ring's.
std::optional<std::uint64_t> head_of_ring(std::span<const engine::Ring::Slot> slots) {
  if (slots.empty()) return std::nullopt;
  std::optional<std::uint64_t> oldest;
  for (std::uint64_t index = 0; index < slots.size(); ++index) {
    // relaxed: a look from outside orders nothing; what it saw is of some moment.
    const std::uint64_t stamp =
        engine::Ring::effective(slots[index].stamp.load_relaxed(), index, slots.size());
    if (((stamp - 1) & (slots.size() - 1)) != index) return std::nullopt;
    if (!oldest || before(stamp, *oldest)) oldest = stamp;
  }
  return *oldest - 1 + slots.size();
}

struct LogSeen {
  std::optional<std::uint64_t> tail, head, used, capacity;
  std::optional<std::uint64_t> entries, skips, body_bytes;
  std::string state;
};

LogSeen look_at(std::span<const engine::BodyWord> words, const engine::BodyLog::Header* header) {
  LogSeen seen;
  const auto reader = engine::BodyLog::Reader::attach(words, header);
  if (!reader) {
    seen.state = reader.error().sentence;
    return seen;
  }
  seen.capacity = reader->capacity();
  // relaxed: a look from outside; verify() below has its own acquires.
  seen.tail = header->tail.load_relaxed();
  seen.head = header->head.load_relaxed();  // relaxed: as above
  if (*seen.head - *seen.tail <= *seen.capacity) seen.used = *seen.head - *seen.tail;
  const auto counts = reader->verify();
  if (!counts) {
    seen.state = counts.error().sentence;
    return seen;
  }
  seen.entries = counts->entries;
  seen.skips = counts->skips;
  seen.body_bytes = counts->body_bytes;
  seen.state = "whole";
  return seen;
}

}  // namespace

Result<Json> inspect_header(const ObservedMesh& mesh) {
  MESH_TRY(const shm::MappingHeader table, mesh.header("table"));
  MESH_TRY(const std::vector<std::uint16_t> stations, mesh.stations());
  Json report = head_of(mesh);
  const auto parameter = [&](engine::MemoryParameter which) {
    return table.parameters[static_cast<std::size_t>(which)];
  };
  report.update({{"mesh_uuid", shm::to_text(table.mesh_uuid)},
                 {"boot_id", shm::to_text(table.boot_id)},
                 {"agents", parameter(engine::MemoryParameter::agents)},
                 {"stations", mesh.size().stations},
                 {"clusters_per_sector", mesh.size().clusters_per_sector},
                 {"agents_per_cluster", mesh.size().agents_per_cluster},
                 {"agents_per_station", parameter(engine::MemoryParameter::agents_per_station)},
                 {"start_ns", parameter(engine::MemoryParameter::start_ns)}});
  Json memories = Json::array();
  for (const char* const name : {"table", "payload", "engine"}) {
    memories.push_back(json_of(name, mesh.header(name), table));
  }
  for (const std::uint16_t station : stations) {
    const std::string in = fmt::format("station-{}.in", station);
    memories.push_back(json_of(in, mesh.header(in), table));
    memories.push_back(json_of(fmt::format("station-{}.out", station),
                               fail(Errc::not_found, std::string(kOnlyItsTwo)), table));
  }
  report["memories"] = std::move(memories);
  return report;
}

Result<Json> inspect_layout(const ObservedMesh& mesh) {
  MESH_TRY(const ObservedMesh::Memory table, mesh.table());
  MESH_TRY(const ObservedMesh::Memory payload, mesh.payload());
  MESH_TRY(const shm::Layout engine, engine::engine_layout(mesh.size()));
  MESH_TRY(const std::vector<std::uint16_t> stations, mesh.stations());
  Json report = head_of(mesh);
  Json regions = Json::array();
  add_regions(regions, {"table", table.layout});
  add_regions(regions, {"payload", payload.layout});
  add_regions(regions, {"engine", engine});
  for (const std::uint16_t station : stations) {
    MESH_TRY(const ObservedMesh::Memory in, mesh.station_in(station));
    add_regions(regions, {fmt::format("station-{}.in", station), in.layout});
  }
  report["regions"] = std::move(regions);
  return report;
}

Result<Json> inspect_clock(const ObservedMesh& mesh) {
  MESH_TRY(const ObservedMesh::Memory table, mesh.table());
  MESH_TRY(const std::span<const sched::ClockWords> words,
           table.layout.array<sched::ClockWords>(table.mapping.bytes(), "clock"));
  sched::ClockReader<> reader(words.front());
  const std::int64_t now_ns = reader.now_ns();
  const std::int64_t monotonic_ns = sched::HostCounters::monotonic_ns();
  const sched::ClockLine& line = reader.line();
  const bool stands = line.counter != sched::ClockCounter::none;
  const auto known = [&](auto value) { return stands ? Json(value) : Json(nullptr); };
  Json report = head_of(mesh);
  report["counter"] = line.counter == sched::ClockCounter::ticks       ? Json("ticks")
                      : line.counter == sched::ClockCounter::monotonic ? Json("monotonic")
                                                                       : Json(nullptr);
  // relaxed: a number for people; the line itself was read under it.
  report["sequence"] = words.front().sequence.load_relaxed();
  report["tick0"] = known(line.tick0);
  report["ns0"] = known(line.ns0);
  report["mult"] = known(line.mult);
  report["shift"] = known(line.shift);
  report["ns_per_tick"] =
      known(std::ldexp(static_cast<double>(line.mult), -static_cast<int>(line.shift)));
  // relaxed: as above.
  report["error_ns"] = known(words.front().error_ns.load_relaxed());
  report["now_ns"] = known(now_ns);
  report["behind_monotonic_ns"] = known(monotonic_ns - now_ns);
  report["published_ago_ns"] = known(now_ns - line.ns0);
  return report;
}

Result<Json> inspect_rings(const ObservedMesh& mesh) {
  MESH_TRY(const std::vector<std::uint16_t> stations, mesh.stations());
  Json report = head_of(mesh);
  Json rings = Json::array();
  for (const std::uint16_t station : stations) {
    MESH_TRY(const ObservedMesh::Memory memory, mesh.station_in(station));
    const std::span<const std::byte> bytes = memory.mapping.bytes();
    MESH_TRY(const auto inbox, memory.layout.array<engine::Ring::Slot>(bytes, "inbox"));
    MESH_TRY(const auto page,
             memory.layout.array<engine::Ring::ReaderPage>(bytes, "outbox_reader"));
    MESH_TRY(const auto log, memory.layout.array<engine::BodyLog::Header>(bytes, "bodies.header"));
    // relaxed: looks from outside.
    const std::uint64_t tail = log.front().tail.load_relaxed();
    const std::uint64_t head = log.front().head.load_relaxed();  // relaxed: as above
    rings.push_back(
        {{"station", station},
         {"inbox_slots", inbox.size()},
         {"inbox_head", or_unknown(head_of_ring(inbox))},
         // In station-N.out, which only the station and the engine have.
         {"inbox_cursor", nullptr},
         {"unread", nullptr},
         {"bodies_tail", tail},
         {"bodies_head", head},
         {"bodies_used_bytes", head - tail},
         // relaxed: as above.
         {"outbox_cursor", page.front().cursor.load_relaxed()},
         {"engine_parked", page.front().parked.load_relaxed() != 0}});  // relaxed: ditto
  }
  report["rings"] = std::move(rings);
  return report;
}

Result<Json> inspect_payload(const ObservedMesh& mesh) {
  MESH_TRY(const ObservedMesh::Memory payload, mesh.payload());
  MESH_TRY(const engine::PayloadView view,
           engine::PayloadView::over(mesh.size(), payload.mapping.bytes()));
  const LogSeen seen = look_at(view.words, view.header);
  Json report = head_of(mesh);
  report.update({{"capacity_bytes", or_unknown(seen.capacity)},
                 {"tail", or_unknown(seen.tail)},
                 {"head", or_unknown(seen.head)},
                 {"used_bytes", or_unknown(seen.used)},
                 {"entries", or_unknown(seen.entries)},
                 {"body_bytes", or_unknown(seen.body_bytes)},
                 {"skips", or_unknown(seen.skips)},
                 {"state", seen.state}});
  return report;
}

}  // namespace mesh::tools
