#include "engine/observer.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "engine/station/control_protocol.hpp"
#include "engine/station/handed_over.hpp"
#include "shm/row_seqlock.hpp"

namespace mesh::engine {

struct Observer::Columns {
  template <class T>
  using View = shm::ColumnView<HostMemory, T>;
  View<std::uint32_t> sequence, incarnation, sector, cluster, queue_depth, heartbeat_mesh_ms;
  View<AgentId> id;
  View<StationId> station;
  View<std::uint8_t> agent_class, state;
  View<float> latency_ms, processing_ms, drift, reliability;
  View<std::uint16_t> score, confidence, confidence_by_t;
  View<std::uint64_t> name;
};

Observer::Observer(ControlClient engine, shm::Layout layout, shm::Mapping table)
    : engine_(std::move(engine)), layout_(std::move(layout)), table_(std::move(table)) {}
Observer::~Observer() = default;

Result<std::unique_ptr<Observer>> Observer::open(const std::string& directory,
                                                 const ConnectOptions& options) {
  MESH_TRY(ControlClient engine, ControlClient::connect(directory, options));
  MESH_TRY(const nlohmann::json request, request_of("observe"));
  MESH_TRY(const ControlAnswer answer, engine.request_descriptors(text_of(request)));
  MESH_TRY(const MeshIdentity mesh, mesh_in(nlohmann::json::parse(answer.json, nullptr, false)));
  if (answer.descriptors.size() != 1) {
    return fail(Errc::wrong_descriptor_count, "observe: the engine passed " +
                                                  std::to_string(answer.descriptors.size()) +
                                                  " descriptors, agreed was 1");
  }
  MESH_TRY(shm::Layout layout, table_layout(mesh.size));
  MESH_TRY(shm::Mapping table, map_memory(answer.descriptors.front(),
                                          {layout, shm::Access::kReadOnly, 0}, mesh.identity));
  std::unique_ptr<Observer> made(
      new Observer(std::move(engine), std::move(layout), std::move(table)));
  made->mesh_ = mesh.size;
  MESH_CHECK_OK(made->bind());
  return made;
}

Status Observer::bind() {
  MESH_TRY(header_, shm::inspect(table()));
  MESH_TRY(const auto clock, layout_.array<sched::ClockWords>(table(), "clock"));
  clock_.emplace(clock.front());
  columns_ = std::make_unique<Columns>();
#define MESH_BIND(what, T) MESH_TRY(columns_->what, layout_.column<T>(table(), "agent." #what))
  MESH_BIND(sequence, std::uint32_t);
  MESH_BIND(incarnation, std::uint32_t);
  MESH_BIND(sector, std::uint32_t);
  MESH_BIND(cluster, std::uint32_t);
  MESH_BIND(queue_depth, std::uint32_t);
  MESH_BIND(heartbeat_mesh_ms, std::uint32_t);
  MESH_BIND(id, AgentId);
  MESH_BIND(station, StationId);
  MESH_BIND(agent_class, std::uint8_t);
  MESH_BIND(state, std::uint8_t);
  MESH_BIND(latency_ms, float);
  MESH_BIND(processing_ms, float);
  MESH_BIND(drift, float);
  MESH_BIND(reliability, float);
  MESH_BIND(score, std::uint16_t);
  MESH_BIND(confidence, std::uint16_t);
  MESH_BIND(confidence_by_t, std::uint16_t);
#undef MESH_BIND
  const shm::Region* const name = layout_.find("agent.name");
  if (name == nullptr) return fail(Errc::not_found, layout_.name() + " has no region agent.name");
  MESH_TRY(const auto bytes,
           shm::resolve(table(), shm::Offset<std::byte>{name->offset}, name->size_bytes));
  MESH_TRY(columns_->name, Columns::View<std::uint64_t>::over(bytes, name->count * kNameWords));
  return {};
}

std::optional<ObservedAgent> Observer::agent(AgentIndex row) {
  const Columns& columns = *columns_;
  ObservedAgent seen;
  std::array<std::uint64_t, kNameWords> name{};
  std::uint32_t heartbeat_mesh_ms = 0;
  const shm::RowReader<HostMemory> reader(columns.sequence);
  const auto status = reader.read(row_of(row), [&](const shm::RowLoads<HostMemory>& loads) {
    seen.id = loads.load(columns.id);
    seen.state = static_cast<AgentState>(loads.load(columns.state));
    seen.agent_class = static_cast<sched::AgentClass>(loads.load(columns.agent_class));
    seen.station = loads.load(columns.station);
    seen.incarnation = loads.load(columns.incarnation);
    seen.sector = loads.load(columns.sector);
    seen.cluster = loads.load(columns.cluster);
    seen.latency_ms = loads.load(columns.latency_ms);
    seen.processing_ms = loads.load(columns.processing_ms);
    seen.drift = loads.load(columns.drift);
    seen.reliability = loads.load(columns.reliability);
    seen.queue_depth = loads.load(columns.queue_depth);
    seen.score = loads.load(columns.score);
    seen.confidence = loads.load(columns.confidence);
    seen.confidence_by_t = loads.load(columns.confidence_by_t);
    heartbeat_mesh_ms = loads.load(columns.heartbeat_mesh_ms);
    for (std::size_t i = 0; i < kNameWords; ++i) {
      name[i] = shm::RowLoads<HostMemory>(row_of(row) * kNameWords + i).load(columns.name);
    }
  });
  if (status != shm::ReadStatus::kRead || NameBytes::length_of(name[0]) == 0) return std::nullopt;
  const auto decoded = decode("agent.name", name);
  if (!decoded) return std::nullopt;
  seen.name = std::string(decoded->view());
  const auto start_ns = static_cast<std::int64_t>(
      header_.parameters[static_cast<std::size_t>(MemoryParameter::start_ns)]);
  const auto mesh_ms = static_cast<std::uint32_t>((to_ns(now()) - start_ns) / kNsPerMs);
  const std::uint32_t age = mesh_ms - heartbeat_mesh_ms;
  seen.heartbeat_age_ms = age < 1U << 31 ? age : 0;  // a moment ahead of our look at the clock
  return seen;
}

std::span<const ShmWord<std::uint64_t>> Observer::counters(std::string_view thread) const {
  const auto words =
      layout_.array<ShmWord<std::uint64_t>>(table(), "counters." + std::string(thread));
  return words ? *words : std::span<const ShmWord<std::uint64_t>>();
}

bool Observer::engine_is_there() { return engine_.try_receive().has_value(); }

}  // namespace mesh::engine
