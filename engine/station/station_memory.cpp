#include "engine/station/station_memory.hpp"

#include <string>

namespace mesh::engine {
namespace {

struct alignas(kCacheLine) BodyLine {
  BodyWord words[kCacheLine / sizeof(BodyWord)];
};
static_assert(sizeof(BodyLine) == kCacheLine);

// A log's cache lines as the words that PayloadLog takes. `Byte` is const on the reading side.
template <class Byte, class Word>
Status bind_log(const shm::Layout& layout, std::span<Byte> mapping, const char* region,
                std::span<Word>& words) {
  using Line = std::conditional_t<std::is_const_v<Word>, const BodyLine, BodyLine>;
  MESH_TRY(const std::span<Line> lines, layout.array<BodyLine>(mapping, region));
  words = {lines.data()->words, lines.size_bytes() / sizeof(BodyWord)};
  return {};
}

template <class Byte, class T>
Status bind_one(const shm::Layout& layout, std::span<Byte> mapping, const char* region, T*& one) {
  MESH_TRY(const std::span<T> found, layout.array<std::remove_const_t<T>>(mapping, region));
  if (found.empty()) return fail(Errc::truncated, std::string("region ") + region + " is empty");
  one = found.data();
  return {};
}

// What stands in `in`, from either side.
template <class Side, class Byte>
Status bind_in(Side& side, std::uint32_t agents, std::span<Byte> in) {
  MESH_TRY(const shm::Layout layout, station_in_layout(agents));
  MESH_TRY(side.inbox, layout.array<Ring::Slot>(in, "inbox"));
  MESH_CHECK_OK(bind_one(layout, in, "outbox_reader", side.outbox_reader));
  MESH_CHECK_OK(bind_log(layout, in, "bodies", side.in_bodies));
  return bind_one(layout, in, "bodies.header", side.in_bodies_header);
}

template <class Side, class Byte>
Status bind_out(Side& side, std::uint32_t agents, std::span<Byte> out) {
  MESH_TRY(const shm::Layout layout, station_out_layout(agents));
  MESH_TRY(side.outbox, layout.array<Ring::Slot>(out, "outbox"));
  MESH_CHECK_OK(bind_one(layout, out, "inbox_reader", side.inbox_reader));
  MESH_CHECK_OK(bind_log(layout, out, "bodies", side.out_bodies));
  MESH_CHECK_OK(bind_one(layout, out, "bodies.header", side.out_bodies_header));
#define MESH_BIND_SELF(name, T, values, meaning) \
  MESH_TRY(side.self.name, layout.column<T>(out, "self." #name));
  MESH_STATION_COLUMNS(MESH_BIND_SELF)
#undef MESH_BIND_SELF
  return {};
}

}  // namespace

Result<StationSide> StationSide::over(std::uint32_t agents, std::span<const std::byte> in,
                                      std::span<std::byte> out) {
  StationSide side;
  MESH_CHECK_OK(bind_in(side, agents, in));
  MESH_CHECK_OK(bind_out(side, agents, out));
  MESH_TRY(const shm::Layout layout, station_out_layout(agents));
  MESH_TRY(side.activity, ActivityColumns::over(layout, out));
  return side;
}

Result<EngineSide> EngineSide::over(std::uint32_t agents, std::span<std::byte> in,
                                    std::span<const std::byte> out) {
  EngineSide side;
  MESH_CHECK_OK(bind_in(side, agents, in));
  MESH_CHECK_OK(bind_out(side, agents, out));
  return side;
}

Result<TableView> TableView::over(const MeshSize& size, std::span<const std::byte> table) {
  MESH_TRY(const shm::Layout layout, table_layout(size));
  TableView view;
  MESH_CHECK_OK(bind_one(layout, table, "clock", view.clock));
  MESH_TRY(view.breakers, layout.array<BodyWord>(table, "breaker.word"));
  MESH_TRY(view.open_until_ns, layout.array<ShmWord<std::int64_t>>(table, "breaker.open_until_ns"));
  const shm::Region* const sectors = layout.find("sector.sequence");
  view.sectors = sectors == nullptr ? 0 : sectors->count;
  MESH_TRY(view.id, layout.column<AgentId>(table, "agent.id"));
  MESH_TRY(view.sector, layout.column<std::uint32_t>(table, "agent.sector"));
  MESH_TRY(view.cluster, layout.column<std::uint32_t>(table, "agent.cluster"));
  MESH_TRY(view.station, layout.column<StationId>(table, "agent.station"));
  MESH_TRY(view.inbox_full, layout.array<ShmWord<std::uint8_t>>(table, "inbox_full"));
  MESH_TRY(view.faults, FaultView::over(layout, table));
  return view;
}

Result<PayloadView> PayloadView::over(const MeshSize& size, std::span<const std::byte> payload) {
  MESH_TRY(const shm::Layout layout, payload_layout(size));
  PayloadView view;
  MESH_CHECK_OK(bind_log(layout, payload, "log", view.words));
  MESH_CHECK_OK(bind_one(layout, payload, "log.header", view.header));
  return view;
}

}  // namespace mesh::engine
