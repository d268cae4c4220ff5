#include "engine/station/station.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "engine/station/control_protocol.hpp"
#include "engine/station/fork_guard.hpp"
#include "shm/attach.hpp"

namespace mesh::engine {
namespace {

using nlohmann::json;

constexpr std::size_t kPostedMax = 4'096;
constexpr Nanos kLookEvery{100 * kNsPerMs};  // whether the engine is still there, while we sleep
constexpr std::size_t kRequestBytes = kControlPacketBytes - 1'024;

std::string hex_of(std::uint64_t value) {
  std::array<char, 24> text{};
  const int size =
      std::snprintf(text.data(), text.size(), "0x%016llx", static_cast<unsigned long long>(value));
  return {text.data(), static_cast<std::size_t>(size)};
}

// What the engine answered to `attach`.
struct Attached {
  std::uint64_t station = 0;
  MeshSize size;
  shm::MappingIdentity identity;
};

Result<std::uint64_t> number_in(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) {
    return fail(Errc::corrupt,
                std::string("attach: the engine's answer has no number '") + key + "'");
  }
  return found->get<std::uint64_t>();
}

Result<shm::Uuid> uuid_in(const json& object, const char* key) {
  const auto found = object.find(key);
  shm::Uuid uuid{};
  if (found != object.end() && found->is_array() && found->size() == uuid.size()) {
    bool sound = true;
    for (std::size_t i = 0; i < uuid.size(); ++i) {
      const json& byte = (*found)[i];
      sound = sound && byte.is_number_unsigned() && byte.get<std::uint64_t>() <= 255;
      if (sound) uuid[i] = byte.get<std::uint8_t>();
    }
    if (sound) return uuid;
  }
  return fail(Errc::corrupt, std::string("attach: the engine's answer has no uuid '") + key + "'");
}

Result<Attached> parse_attached(const std::string& answer) {
  const json object = json::parse(answer, nullptr, false);
  Attached attached;
  MESH_TRY(attached.station, number_in(object, "station"));
  MESH_TRY(attached.size.agents, number_in(object, "mesh_agents"));
  MESH_TRY(attached.size.stations, number_in(object, "mesh_stations"));
  MESH_TRY(attached.size.agents_per_station, number_in(object, "agents_per_station"));
  MESH_TRY(attached.identity.mesh_uuid, uuid_in(object, "mesh_uuid"));
  MESH_TRY(attached.identity.boot_id, uuid_in(object, "boot_id"));
  return attached;
}

// Mapped, and its header checked against the layout that these numbers give here.
struct Wanted {
  StationDescriptor which;
  Result<shm::Layout> layout;
  shm::Access access;
  std::uint64_t instance;
};
Result<shm::Mapping> map_memory(std::span<const shm::Descriptor> descriptors, const Wanted& wanted,
                                shm::MappingIdentity identity) {
  if (!wanted.layout) return tl::unexpected<Error>(wanted.layout.error());
  const shm::Layout& layout = *wanted.layout;
  shm::MappingOptions options;
  options.name = layout.name();
  options.size_bytes = layout.total_bytes();
  options.access = wanted.access;
  MESH_TRY(shm::Mapping mapping,
           shm::Mapping::map(descriptors[static_cast<std::size_t>(wanted.which)].get(), options));
  identity.instance = wanted.instance;
  MESH_CHECK_OK(shm::attach(mapping.bytes(), layout, identity));
  return mapping;
}

// A name that is no UTF-8 is refused: replaced, it would be another agent's.
Result<std::string> strict_text(const json& object) {
  try {
    return object.dump();
  } catch (const json::exception& error) {
    return fail(Errc::invalid_argument, std::string("enrol: a name is not UTF-8: ") + error.what());
  }
}

}  // namespace

struct Station::Memories {
  Attached attached;
  shm::Mapping table, payload, in, out;
  std::shared_ptr<const shm::EventFd> wake;
  shm::EventFd engine_wake;
  ForkGuard guard;
  pid_t owner;
};

Result<std::unique_ptr<Station>> Station::attach(const std::string& directory,
                                                 const StationOptions& options) {
  MESH_TRY(const MemoryMap reference, memory_map(kReferenceMesh));
  const json request = {{"op", "attach"},
                        {"version", kControlVersion},
                        {"name", options.name},
                        {"agents", options.agents},
                        {"layout_hash", hex_of(reference.hash())},
                        {"page_bytes", shm::system_page_bytes()}};
  const std::int64_t start_ns = sched::HostCounters::monotonic_ns();
  for (;;) {
    auto attached = attach_once(directory, options,
                                request.dump(-1, ' ', false, json::error_handler_t::replace));
    // A dying engine's listener may take the connection and then reset it: only its answer counts.
    const std::int64_t waited_ns = sched::HostCounters::monotonic_ns() - start_ns;
    if (attached || attached.error().code != Errc::closed ||
        waited_ns >= options.connect.patience.count()) {
      return attached;
    }
  }
}

Result<std::unique_ptr<Station>> Station::attach_once(const std::string& directory,
                                                      const StationOptions& options,
                                                      const std::string& request) {
  MESH_TRY(ControlClient control, ControlClient::connect(directory, options.connect));
  MESH_TRY(const std::string answer, control.request(request));
  MESH_TRY(const Attached attached, parse_attached(answer));
  MESH_TRY(std::vector<shm::Descriptor> passed, control.receive_descriptors());
  const auto at = [&](StationDescriptor which) -> shm::Descriptor& {
    return passed[static_cast<std::size_t>(which)];
  };
  using shm::Access;
  const MeshSize& size = attached.size;
  const std::uint64_t station = attached.station;
  MESH_TRY(shm::Mapping table,
           map_memory(passed, {StationDescriptor::table, table_layout(size), Access::kReadOnly, 0},
                      attached.identity));
  MESH_TRY(
      shm::Mapping payload,
      map_memory(passed, {StationDescriptor::payload, payload_layout(size), Access::kReadOnly, 0},
                 attached.identity));
  MESH_TRY(shm::Mapping in, map_memory(passed,
                                       {StationDescriptor::in, station_in_layout(options.agents),
                                        Access::kReadOnly, station},
                                       attached.identity));
  MESH_TRY(shm::Mapping out, map_memory(passed,
                                        {StationDescriptor::out, station_out_layout(options.agents),
                                         Access::kReadWrite, station},
                                        attached.identity));
  MESH_TRY(shm::EventFd wake, shm::EventFd::adopt(std::move(at(StationDescriptor::station_wake))));
  MESH_TRY(shm::EventFd engine_wake,
           shm::EventFd::adopt(std::move(at(StationDescriptor::engine_wake))));
  MESH_TRY(const TableView view, TableView::over(size, table.bytes()));
  const int socket = control.fd();
  std::unique_ptr<Memories> memories(
      new Memories{attached, std::move(table), std::move(payload), std::move(in), std::move(out),
                   std::make_shared<const shm::EventFd>(std::move(wake)), std::move(engine_wake),
                   ForkGuard(socket), ::getpid()});
  std::unique_ptr<Station> made(
      new Station(std::move(control), std::move(memories), {options, view.clock}));
  MESH_CHECK_OK(made->make_core(view));
  return made;
}

Station::Station(ControlClient control, std::unique_ptr<Memories> memories, const Made& made)
    : options_(made.options),
      control_(std::move(control)),
      memories_(std::move(memories)),
      clock_(*made.clock),
      posted_(kPostedMax, 0, 16),
      posted_bell_(memories_->wake) {}

Status Station::make_core(const TableView& table) {
  MESH_TRY(const shm::MappingHeader header, shm::inspect(memories_->table.bytes()));
  CoreOptions core;
  core.agents = options_.agents;
  core.mesh_agents = mesh().agents;
  core.table = table;
  core.mesh_start_ns = static_cast<std::int64_t>(
      header.parameters[static_cast<std::size_t>(MemoryParameter::start_ns)]);
  core.read_clock = [](void* clock) noexcept {
    return static_cast<sched::ClockReader<>*>(clock)->now_ns();
  };
  core.clock_context = &clock_;
  core.wake = memories_->wake;
  MESH_TRY(core.side, StationSide::over(options_.agents, memories_->in.bytes(),
                                        memories_->out.writable_bytes()));
  MESH_TRY(core.payload, PayloadView::over(mesh(), memories_->payload.bytes()));
  MESH_TRY(core_, StationCore::create(core));
  return {};
}

Station::~Station() {
  // A forked child has neither the connection nor the memory.
  if (core_ == nullptr || ::getpid() != memories_->owner) return;
  flush();
}

StationId Station::id() const noexcept {
  return static_cast<StationId>(memories_->attached.station);
}
const MeshSize& Station::mesh() const noexcept { return memories_->attached.size; }
int Station::fd() const noexcept { return memories_->wake->fd(); }

Result<std::vector<AgentId>> Station::enrol(std::span<const AgentDeclaration> agents) {
  std::vector<AgentId> enrolled;
  while (!agents.empty()) {
    const std::size_t count = std::min(agents.size(), kEnrolAgentsMax);
    json list = json::array();
    std::size_t bytes = 0;
    for (const AgentDeclaration& agent : agents.first(count)) {
      json one = {{"name", agent.name}, {"class", static_cast<unsigned>(agent.agent_class)}};
      MESH_TRY(const std::string text, strict_text(one));
      bytes += text.size() + 1;
      if (bytes > kRequestBytes) break;  // names full of escapes: fewer a packet
      list.push_back(std::move(one));
    }
    MESH_TRY(const std::string request, strict_text({{"op", "enrol"}, {"agents", list}}));
    MESH_TRY(const std::vector<AgentId> packet, enrol_packet(request, list.size()));
    MESH_CHECK_OK(core_->add_agents(packet));
    enrolled.insert(enrolled.end(), packet.begin(), packet.end());
    agents = agents.subspan(packet.size());
  }
  return enrolled;
}

Result<std::vector<AgentId>> Station::enrol_packet(const std::string& request, std::size_t count) {
  MESH_TRY(const std::string answer, control_.request(request));
  const json object = json::parse(answer, nullptr, false);
  const auto ids = object.find("ids");
  std::vector<AgentId> enrolled;
  if (ids != object.end() && ids->is_array()) {
    for (const json& id : *ids) {
      if (id.is_number_unsigned()) enrolled.push_back(AgentId{id.get<std::uint64_t>()});
    }
  }
  if (enrolled.size() != count) {
    return fail(Errc::corrupt, "enrol: the engine answered with " +
                                   std::to_string(enrolled.size()) + " handles for " +
                                   std::to_string(count) + " agents");
  }
  return enrolled;
}

SendStatus Station::send_until(HostTime deadline, const SendOptions& options,
                               std::span<const std::byte> body) {
  for (;;) {
    const SendStatus status = core_->send(options, body);
    if (status != SendStatus::full || now() >= deadline || is_lost()) return status;
    flush();
    ::sched_yield();  // the engine frees slots; it does not wake us for that
  }
}

void Station::flush() {
  if (core_->flush()) static_cast<void>(memories_->engine_wake.signal());
}

bool Station::look_for_engine() noexcept {
  lost_ = lost_ || control_.is_closed();
  return !lost_;
}

struct Station::Source {
  Station& station;

  [[nodiscard]] bool ready() const noexcept {
    return station.core_->ready() || station.posted_bell_.raised();
  }
  [[nodiscard]] bool prepare_to_park() const noexcept {
    return station.core_->prepare_to_park() && !station.posted_bell_.raised_ordered();
  }
  void unpark() const noexcept { station.core_->unpark(); }
};

bool Station::arm() noexcept { return Source{*this}.prepare_to_park(); }

queues::WaitResult Station::wait(HostTime deadline) {
  const HostTime due = std::min(deadline, core_->upkeep_due());
  Source source{*this};
  for (;;) {
    const HostTime look = std::min(due, now() + kLookEvery);
    const auto result = queues::wait_until(source, {*memories_->wake, options_.wait}, look,
                                           [this] { return clock_.now(); });
    if (result != queues::WaitResult::kTimedOut) return result;
    if (!look_for_engine()) return queues::WaitResult::kFailed;
    if (now() < due) continue;
    return due < deadline ? queues::WaitResult::kSignalled : queues::WaitResult::kTimedOut;
  }
}

void Station::disarm() noexcept {
  core_->unpark();
  memories_->wake->drain();
}

bool Station::post(std::function<void()> work) {
  if (!posted_.try_push(std::move(work))) return false;
  posted_bell_.ring();
  return true;
}

void Station::run_posted() {
  if (!posted_bell_.take()) return;
  std::array<std::function<void()>, 64> work;
  for (std::size_t taken = work.size(); taken == work.size();) {
    taken = posted_.pop(work);
    for (std::size_t i = 0; i < taken; ++i) std::exchange(work[i], nullptr)();
  }
}

}  // namespace mesh::engine
