#include "engine/memory_map.hpp"

#include <algorithm>
#include <bit>
#include <span>
#include <string>
#include <utility>

#include "engine/agent_columns.hpp"
#include "engine/health/health_columns.hpp"
#include "engine/pipeline.hpp"
#include "queues/payload_log_layout.hpp"
#include "queues/ring_description.hpp"
#include "sched/clock_layout.hpp"
#include "sched/gather_layout.hpp"
#include "sched/predictor.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

constexpr const char* kScheduler = "engine, scheduler thread";
constexpr const char* kService = "engine, service thread";
constexpr const char* kControl = "engine, control thread";
constexpr const char* kOffice = "engine, conflict office";
constexpr const char* kPump = "station N, its pump";

constexpr std::uint64_t ceil_div(std::uint64_t value, std::uint64_t by) noexcept {
  return (value + by - 1) / by;
}

shm::RegionOptions meaning(shm::RegionOptions region, std::string text) {
  region.meaning = std::move(text);
  return region;
}
// Rows of a struct that only its owner names: so many bytes each.
shm::RegionOptions rows_of(std::size_t row_bytes, std::string name, std::size_t count,
                           std::string writer) {
  shm::RegionOptions region;
  region.name = std::move(name);
  region.type.append("u8[").append(std::to_string(row_bytes)).append("]");
  region.element_bytes = row_bytes;
  region.count = count;
  region.writer = std::move(writer);
  return region;
}
// A store of bodies, in cache lines.
shm::RegionOptions bytes_of(std::size_t bytes, std::string name, std::string writer) {
  return rows_of(kCacheLine, std::move(name), bytes / kCacheLine, std::move(writer));
}

void add_columns(shm::LayoutBuilder& builder, std::span<const ColumnDescription> columns,
                 const std::string& prefix, std::pair<std::uint64_t, const char*> rows_and_writer) {
  for (const ColumnDescription& column : columns) {
    shm::RegionOptions region;
    region.name = prefix + std::string(column.name);
    region.type = std::string(column.type);
    if (column.values_per_row > 1) {
      region.type.append("[").append(std::to_string(column.values_per_row)).append("]");
    }
    region.element_bytes = column.row_bytes();
    region.count = rows_and_writer.first;
    region.writer = rows_and_writer.second;
    region.meaning = std::string(column.meaning);
    builder.add(std::move(region));
  }
}

shm::LayoutBuilder builder_of(MemoryKind kind) {
  std::string name(kMemories[static_cast<std::size_t>(kind) - 1].name);
  if (kind == MemoryKind::station_in) name = "station.in";  // one layout for every N
  if (kind == MemoryKind::station_out) name = "station.out";
  return shm::LayoutBuilder({.name = std::move(name), .kind = static_cast<std::uint32_t>(kind)});
}

std::size_t payload_bytes(std::uint64_t agents) noexcept {
  return std::clamp<std::size_t>(std::bit_ceil(agents * kBodyBytesPerAgent), kPayloadBytesMin,
                                 kPayloadBytesMax);
}
std::size_t station_body_bytes(std::uint64_t agents) noexcept {
  return std::clamp<std::size_t>(std::bit_ceil(agents * kBodyBytesPerAgent), kStationBodyBytesMin,
                                 kStationBodyBytesMax);
}

std::uint64_t unanswered_entries(std::uint64_t agents) noexcept {
  return std::max<std::uint64_t>(kUnansweredMin, std::bit_ceil(kUnansweredPerAgent * agents));
}

Status check_count(std::uint64_t count, std::uint64_t most, const std::string& what) {
  if (count >= 1 && count <= most) return {};
  return fail(Errc::invalid_argument,
              std::to_string(count) + " " + what + ": a mesh has 1 to " + std::to_string(most),
              static_cast<std::int64_t>(most));
}

Status check(const MeshSize& size) {
  MESH_CHECK_OK(check_count(size.agents, kMaxAgents, "agents"));
  MESH_CHECK_OK(check_count(size.stations, kMaxStations, "stations"));
  MESH_CHECK_OK(
      check_count(size.clusters_per_sector, kClustersPerSectorMost, "clusters of a sector"));
  MESH_CHECK_OK(check_count(size.agents_per_cluster, kAgentsPerClusterMost, "agents of a cluster"));
  // What one sector may hold, all may: kMaxAgents and a sector's more are within 32 bits.
  return check_count(std::uint64_t{size.clusters_per_sector} * size.agents_per_cluster, kMaxAgents,
                     "agents of a sector");
}

// What is kept of each target of an operation, by its place: in a wide one that is its row of the
// table, in a narrow one the place of its row in `rows`, which ascend.
void add_operations(shm::LayoutBuilder& builder, const std::string& prefix, std::size_t operations,
                    std::uint64_t targets) {
  const auto add = [&](shm::RegionOptions region, const char* text) {
    builder.add(meaning(std::move(region), text));
  };
  add(rows_of(sched::gather_bytes(static_cast<std::uint32_t>(targets)), prefix + "gather",
              operations, kScheduler),
      "scheduled, ready, conflict, spent: a bit for each target; arrival errors");
  const std::uint64_t places = operations * targets;
  add(shm::region_of<std::int32_t>(prefix + "lead", places, kScheduler),
      "lead of each target, in 16 ns");
  add(shm::region_of<std::int32_t>(prefix + "predicted", places, kScheduler),
      "sent to READY as predicted, in 16 ns");
  add(shm::region_of<ShmWord<std::int32_t>>(prefix + "sent", places, kScheduler),
      "T - sent of each target, in 16 ns; the lowest numbers: not sent, to be sent again");
  add(shm::region_of<ShmWord<std::uint32_t>>(prefix + "place", places, kScheduler),
      "low half of where its delivery stands in the inbox");
  add(shm::region_of<std::uint16_t>(prefix + "bucket", places, kScheduler),
      "its bucket, or why it has none");
  add(shm::region_of<std::uint8_t>(prefix + "queue", places, kScheduler),
      "its queue depth when it was planned, at most 255");
}

}  // namespace

std::uint32_t sectors_of(const MeshSize& size) noexcept {
  return static_cast<std::uint32_t>(
      ceil_div(size.agents, std::uint64_t{size.agents_per_cluster} * size.clusters_per_sector));
}

Result<shm::Layout> station_in_layout(std::uint64_t agents) {
  MESH_CHECK_OK(check_count(agents, kMaxAgents, "agents of a station"));
  const auto slots = queues::ring_slots_for(static_cast<std::uint32_t>(agents));
  return builder_of(MemoryKind::station_in)
      .add(meaning(
          shm::region_of(queues::kRingReaderPageDescription, "outbox_reader", 1, kScheduler),
          "the engine's cursor into station N's outbox"))
      .add(meaning(shm::region_of(queues::kRingSlotDescription, "inbox", slots, kScheduler),
                   "deliveries"))
      .add(meaning(
          shm::region_of(queues::kPayloadLogHeaderDescription, "bodies.header", 1, kScheduler),
          "tail and head of the bodies"))
      .add(meaning(bytes_of(station_body_bytes(agents), "bodies", kScheduler),
                   "headers and bodies for station N alone"))
      .build();
}

Result<shm::Layout> station_out_layout(std::uint64_t agents) {
  MESH_CHECK_OK(check_count(agents, kMaxAgents, "agents of a station"));
  const auto slots = queues::ring_slots_for(static_cast<std::uint32_t>(agents));
  shm::LayoutBuilder builder = builder_of(MemoryKind::station_out);
  builder
      .add(meaning(shm::region_of(queues::kRingReaderPageDescription, "inbox_reader", 1, kPump),
                   "station N's cursor into its inbox"))
      .add(meaning(shm::region_of(queues::kRingSlotDescription, "outbox", slots, kPump),
                   "answers, sends and commands"))
      .add(meaning(shm::region_of(queues::kPayloadLogHeaderDescription, "bodies.header", 1, kPump),
                   "tail and head of the bodies"))
      .add(meaning(bytes_of(station_body_bytes(agents), "bodies", kPump),
                   "headers and bodies of what station N sends"));
  add_columns(builder, kStationColumns, "self.", {agents, kPump});
  add_columns(builder, kActivityColumns, "activity.", {agents, kPump});
  return builder.build();
}

Result<shm::Layout> table_layout(const MeshSize& size) {
  MESH_CHECK_OK(check(size));
  const std::uint64_t sectors = sectors_of(size);
  const std::uint64_t clusters = sectors * size.clusters_per_sector;
  shm::LayoutBuilder builder = builder_of(MemoryKind::table);
  builder.add(meaning(shm::region_of(sched::kClockWordsDescription, "clock", 1, kScheduler),
                      "the time of this host"));
  add_columns(builder, health::kBreakerColumns, "breaker.", {1 + sectors + clusters, kScheduler});
  add_columns(builder, health::kGlobalColumns, "mesh.", {1, kScheduler});
  add_columns(builder, health::kSectorColumns, "sector.", {sectors, kScheduler});
  add_columns(builder, health::kClusterColumns, "cluster.", {clusters, kScheduler});
  add_columns(builder, kAgentColumns, "agent.", {size.agents, kScheduler});
  builder
      .add(meaning(shm::region_of<ShmWord<std::uint8_t>>("chaos.armed", 1, kScheduler),
                   "1: the rows below may hold a fault; 0: nobody looks there"))
      .add(meaning(shm::region_of<ShmWord<std::uint64_t>>("chaos.generation", 1, kScheduler),
                   "how often those rows were changed"));
  add_columns(builder, kFaultColumns, "chaos.", {kFaultRows, kScheduler});
  builder
      .add(meaning(rows_of(64, "capability_names", kCapabilities, kScheduler),
                   "name of each capability bit"))
      .add(meaning(rows_of(64, "stations", size.stations, kControl), "who is attached"))
      .add(
          meaning(shm::region_of<ShmWord<std::uint8_t>>("inbox_full", kMaxStations + 1, kScheduler),
                  "by station number: 1 while it takes nothing more"))
      .add(meaning(rows_of(64, "views", kServiceViews, kService),
                   "state that coordination services publish"));
  for (const auto& [thread, writer] :
       {std::pair{"scheduler", kScheduler}, {"service", kService}, {"control", kControl}}) {
    builder.add(meaning(shm::region_of<ShmWord<std::uint64_t>>(std::string("counters.") + thread,
                                                               kCountersPerThread, writer),
                        "counters of one thread"));
  }
  for (const auto& [thread, writer] : {std::pair{"scheduler", kScheduler}, {"control", kControl}}) {
    builder.add(meaning(rows_of(256, std::string("errors.") + thread, kDistinctErrors / 2, writer),
                        "distinct errors of one thread with count, first and last time"));
  }
  return builder
      .add(meaning(rows_of(64, "events", kEventSlots, kScheduler), "what happened, for observers"))
      .build();
}

Result<shm::Layout> payload_layout(const MeshSize& size) {
  MESH_CHECK_OK(check(size));
  return builder_of(MemoryKind::payload)
      .add(
          meaning(shm::region_of(queues::kPayloadLogHeaderDescription, "log.header", 1, kScheduler),
                  "tail and head of the log"))
      .add(meaning(bytes_of(payload_bytes(size.agents), "log", kScheduler),
                   "headers and bodies, written once however many recipients"))
      .build();
}

Result<shm::Layout> engine_layout(const MeshSize& size) {
  MESH_CHECK_OK(check(size));
  // Five sixteenths of the payload log: what a mesh of 30,000 may have within its 256 MiB.
  const std::size_t parked_bytes = payload_bytes(size.agents) / 16 * 5;
  shm::LayoutBuilder builder = builder_of(MemoryKind::engine);
  builder
      .add(meaning(rows_of(128, "stations", size.stations, kScheduler),
                   "uid, attach token and identity of each station-N.out"))
      .add(meaning(rows_of(256, "operations", kMaxOperations, kScheduler),
                   "operations in flight, the wide ones first"));
  add_operations(builder, "wide.", kMaxWideOperations, size.agents);
  const std::uint64_t narrow = kMaxOperations - kMaxWideOperations;
  const std::uint64_t targets = std::min<std::uint64_t>(kWideTargets, size.agents);
  add_operations(builder, "narrow.", narrow, targets);
  builder.add(meaning(shm::region_of<std::uint32_t>("narrow.rows", narrow * targets, kScheduler),
                      "row of each target, ascending"));
  add_columns(builder, kOwnerColumns, "agent.", {size.agents, kScheduler});
  const std::uint64_t places = sectors_of(size) * (std::uint64_t{1} + size.clusters_per_sector);
  return builder
      .add(meaning(rows_of(256, "cascades", kMaxCascades, kScheduler), "cascades in flight"))
      .add(meaning(rows_of(16, "cascade.units", kMaxCascades * places, kScheduler),
                   "of each cascade: every sector, then every cluster: how far it is, its leader, "
                   "counts"))
      .add(meaning(rows_of(128, "pipelines", kMaxPipelines, kScheduler), "pipelines in flight"))
      .add(meaning(rows_of(kCacheLine, "pipeline.steps",
                           std::size_t{kMaxPipelines} * kPipelineStepsMax, kScheduler),
                   "of each pipeline: who, when, and what became of it"))
      .add(meaning(rows_of(kCacheLine, "unanswered", unanswered_entries(size.agents), kScheduler),
                   "direct messages accepted and not over: what is sent, or sent again"))
      .add(meaning(shm::region_of<ShmWord<std::uint32_t>>(
                       "parked.index", parked_bytes / kBodyBytesPerAgent, kScheduler),
                   "the block that follows each in its body"))
      .add(meaning(bytes_of(parked_bytes, "parked.bodies", kScheduler),
                   "bodies that their log had to give up"))
      .add(meaning(bytes_of(sched::predictor_bytes(static_cast<std::uint32_t>(size.agents)),
                            "predictor", kScheduler),
                   "each agent's last arrivals and misses, what its class has learned"))
      .add(meaning(rows_of(kConflictNoteBytes, "conflicts.notes", kConflictNotes, kScheduler),
                   "conflicts of answers, until their records are durable"))
      .add(meaning(
          shm::region_of(queues::kRingReaderPageDescription, "conflicts.reader", 1, kOffice),
          "the conflict office's cursor into them"))
      .add(meaning(shm::region_of(queues::kPayloadLogHeaderDescription, "conflicts.bodies.header",
                                  1, kScheduler),
                   "tail and head of the bodies"))
      .add(meaning(bytes_of(kConflictBodyBytes, "conflicts.bodies", kScheduler),
                   "what conflicting answers, and the work they refused, carried"))
      .build();
}

std::uint64_t MemoryMap::total_bytes() const noexcept {
  std::uint64_t bytes = 0;
  for (const MemoryPlan& memory : memories) bytes += memory.bytes();
  return bytes;
}

std::uint64_t MemoryMap::hash() const {
  std::string text;
  for (const MemoryPlan& memory : memories) text += memory.layout.canonical_text();
  return shm::hash64(text);
}

std::uint64_t reference_layout_hash() {
  static const std::uint64_t hash = memory_map(kReferenceMesh).value().hash();
  return hash;
}

Result<MemoryMap> memory_map(const MeshSize& size) {
  MESH_CHECK_OK(check(size));
  MemoryMap map;
  map.size = size;
  if (size.agents_per_station == 0) {
    map.size.agents_per_station = ceil_div(size.agents, size.stations);
  }
  MESH_TRY(shm::Layout table, table_layout(size));
  MESH_TRY(shm::Layout payload, payload_layout(size));
  MESH_TRY(shm::Layout station_in, station_in_layout(map.size.agents_per_station));
  MESH_TRY(shm::Layout station_out, station_out_layout(map.size.agents_per_station));
  MESH_TRY(shm::Layout engine, engine_layout(size));
  map.memories.push_back({&kMemories[0], std::move(table), 1});
  map.memories.push_back({&kMemories[1], std::move(payload), 1});
  map.memories.push_back({&kMemories[2], std::move(station_in), size.stations});
  map.memories.push_back({&kMemories[3], std::move(station_out), size.stations});
  map.memories.push_back({&kMemories[4], std::move(engine), 1});
  return map;
}

}  // namespace mesh::engine
