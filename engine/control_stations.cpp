// ControlServer: stations: how they attach, come back after a restart, and go.
#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "engine/control_jobs.hpp"
#include "engine/control_json.hpp"
#include "engine/control_orders.hpp"
#include "shm/descriptor_passing.hpp"

namespace mesh::engine {
namespace {

nlohmann::json mesh_json(const MeshSize& size, const shm::MappingIdentity& identity) {
  return {{"ok", true},
          {"mesh_agents", size.agents},
          {"mesh_stations", size.stations},
          {"agents_per_station", size.agents_per_station},
          {"clusters_per_sector", size.clusters_per_sector},
          {"agents_per_cluster", size.agents_per_cluster},
          {"mesh_uuid", identity.mesh_uuid},
          {"boot_id", identity.boot_id}};
}

std::string named(std::uint64_t station) { return "station " + std::to_string(station); }

}  // namespace

// Whoever is given a memory has to see in it what we see.
Status ControlServer::check_build(const std::string& op, const nlohmann::json& request) {
  MESH_TRY(const std::uint64_t version, count_field(request, "version"));
  if (version != kControlVersion) {
    return fail(Errc::version_skew,
                op + ": the station speaks version " + std::to_string(version) +
                    " of the control protocol, this engine " + std::to_string(kControlVersion),
                kControlVersion);
  }
  MESH_TRY(const std::uint64_t page_bytes, count_field(request, "page_bytes"));
  if (page_bytes != shm::system_page_bytes()) {
    return fail(Errc::page_size_mismatch,
                op + ": the station has pages of " + std::to_string(page_bytes) +
                    " bytes, this engine of " + std::to_string(shm::system_page_bytes()),
                static_cast<std::int64_t>(shm::system_page_bytes()));
  }
  MESH_TRY(const std::string hash, text_field(request, "layout_hash"));
  const std::string ours = hex_of(reference_layout_hash());
  if (hash != ours) {
    return fail(Errc::layout_mismatch, op + ": the station's layouts have the hash " + hash +
                                           ", this engine's " + ours +
                                           ": built from other definitions");
  }
  return {};
}

// Attach.

Result<StationEntry> ControlServer::entry_for(const Connection& connection,
                                              const nlohmann::json& request) const {
  if (connection.station != 0) {
    return fail(Errc::already_exists,
                "attach: this connection is " + named(connection.station) + " already");
  }
  MESH_CHECK_OK(check_build("attach", request));
  MESH_TRY(const std::uint64_t agents, count_field(request, "agents"));
  if (agents == 0 || agents > options_.size.agents) {
    return fail(Errc::capacity,
                "attach: " + std::to_string(agents) + " agents, this mesh has room for 1 to " +
                    std::to_string(options_.size.agents),
                static_cast<std::int64_t>(options_.size.agents));
  }
  const std::uint64_t most = options_.size.stations;
  if (stations_.size() + awaited_.size() >= most) {
    return fail(
        Errc::capacity,
        "attach: " + std::to_string(most) + " stations are attached, as many as this mesh has",
        static_cast<std::int64_t>(most));
  }
  if (last_number_ >= kMaxStations) {
    return fail(Errc::capacity,
                "attach: this mesh has given all of its station numbers, 1 to " +
                    std::to_string(kMaxStations) +
                    ", and gives none twice; take it down and up again",
                kMaxStations);
  }
  StationEntry entry;
  entry.number = static_cast<std::uint16_t>(last_number_ + 1);
  entry.agents = static_cast<std::uint32_t>(agents);
  entry.uid = connection.peer.user;
  entry.name = station_name(text_field(request, "name").value_or(""));
  return entry;
}

void ControlServer::handle_attach(Connection& connection, const nlohmann::json& request) {
  auto wanted = entry_for(connection, request);
  if (!wanted) return refuse(connection, wanted.error());
  const auto loads = flag_field(request, "loads_context", false);
  if (!loads) return refuse(connection, loads.error());
  connection.loads_context = *loads;
  auto station = AttachedStation::create(files_, std::move(*wanted), options_.format);
  if (!station) return refuse(connection, station.error());
  last_number_ = (*station)->entry().number;
  const AttachedStation& made = hold(connection, std::move(*station));
  // relaxed: as at its accessor.
  stations_ever_.fetch_add(1, std::memory_order_relaxed);
  post(std::make_unique<AttachJob>(*this, connection.number, made, AttachJob::Kind::kNew));
}

const AttachedStation& ControlServer::hold(Connection& connection,
                                           std::unique_ptr<AttachedStation> station) {
  const std::uint16_t number = station->entry().number;
  connection.station = number;
  connection.is_busy = true;
  owners_[number] = connection.number;
  orders_->set_loads(StationId{number}, connection.loads_context);
  return *stations_.emplace(number, std::move(station)).first->second;
}

void ControlServer::on_attached(std::uint64_t number, std::uint16_t station, const Status& status) {
  Connection* const connection = find(number);
  if (!status) {
    stations_.erase(station);
    owners_.erase(station);
    if (connection == nullptr) return;
    connection->station = 0;
    return refuse(*connection, status.error());
  }
  if (connection == nullptr) return detach(station, Departure::lost);  // gone meanwhile
  connection->is_attached = true;
  AttachedStation& attached = *stations_.at(station);
  nlohmann::json object = mesh_json(options_.size, options_.format.identity);
  object["station"] = station;
  object["token"] = attached.entry().token;
  object["reconnect_ms"] = options_.reconnect.count() / kNsPerMs;
  answer(*connection, dump(object));
  const Status passed = pass_memories(*connection, attached);
  attached.forget_descriptors();
  if (!passed || connection->is_broken) drop(number);
}

Status ControlServer::pass_memories(Connection& connection, const AttachedStation& station) {
  const std::uint64_t number = station.entry().number;
  std::array<int, kStationDescriptors> descriptors{};
  const auto put = [&](StationDescriptor which, int fd) {
    descriptors[static_cast<std::size_t>(which)] = fd;
  };
  put(StationDescriptor::table, table_to_pass_.get());
  put(StationDescriptor::payload, payload_to_pass_.get());
  put(StationDescriptor::in, station.in_to_pass());
  put(StationDescriptor::out, station.out_to_pass());
  put(StationDescriptor::station_wake, station.wake().fd());
  put(StationDescriptor::engine_wake, options_.engine_wake->fd());
  return shm::send_descriptors(connection.socket.get(), std::as_bytes(std::span(&number, 1)),
                               descriptors);
}

// Return.

Result<LeftStation*> ControlServer::left_station(const Connection& connection,
                                                 const nlohmann::json& request) {
  if (connection.station != 0) {
    return fail(Errc::already_exists,
                "reattach: this connection is " + named(connection.station) + " already");
  }
  MESH_CHECK_OK(check_build("reattach", request));
  MESH_TRY(const std::uint64_t number, count_field(request, "station"));
  const std::string who = "reattach " + named(number) + ": ";
  const auto uuid = request.find("mesh_uuid");
  if (uuid == request.end() || *uuid != nlohmann::json(options_.format.identity.mesh_uuid)) {
    return fail(Errc::not_yours, who + "it was attached to another mesh than this one, " +
                                     shm::to_text(options_.format.identity.mesh_uuid) +
                                     ", which began anew since");
  }
  const auto found =
      number <= kMaxStations ? awaited_.find(static_cast<std::uint16_t>(number)) : awaited_.end();
  if (found == awaited_.end()) {
    if (number <= kMaxStations && stations_.contains(static_cast<std::uint16_t>(number))) {
      return fail(Errc::already_exists, who + "it is attached");
    }
    return fail(Errc::evicted, who + "it is not attached any more: dropped, or back too late");
  }
  const LeftStation& left = found->second.station;
  if (found->second.is_given_up) return fail(Errc::evicted, who + "it came back too late");
  if (left.entry.uid != connection.peer.user) {
    return fail(Errc::not_yours, who + "it is uid " + std::to_string(left.entry.uid) +
                                     "'s, not uid " + std::to_string(connection.peer.user) + "'s");
  }
  const auto token = request.find("token");
  if (token == request.end() || *token != nlohmann::json(left.entry.token)) {
    return fail(Errc::not_yours, who + "its attach token is another one");
  }
  return &found->second.station;
}

void ControlServer::handle_reattach(Connection& connection, const nlohmann::json& request,
                                    std::span<shm::Descriptor> given_back) {
  auto left = left_station(connection, request);
  if (!left) {
    ++refused_back_;
    return refuse(connection, left.error());
  }
  connection.loads_context = flag_field(request, "loads_context", false).value_or(false);
  auto station = AttachedStation::take_back(files_, **left, given_back);
  if (!station) {
    ++refused_back_;
    return refuse(connection, station.error());
  }
  awaited_.erase((*station)->entry().number);
  const AttachedStation& made = hold(connection, std::move(*station));
  post(std::make_unique<AttachJob>(*this, connection.number, made, AttachJob::Kind::kReturned));
}

void ControlServer::on_returned(std::uint64_t number, std::uint16_t station, const Status& status) {
  Connection* const connection = find(number);
  if (!status) {
    ++refused_back_;
    on_detached(station);
    if (connection == nullptr) return;
    connection->station = 0;
    return refuse(*connection, status.error());
  }
  if (connection == nullptr) return detach(station, Departure::lost);
  connection->is_attached = true;
  connection->is_busy = false;
  ++returned_;
  AttachedStation& attached = *stations_.at(station);
  std::array<int, kResumeDescriptors> descriptors{};
  const auto put = [&](ResumeDescriptor which, int fd) {
    descriptors[static_cast<std::size_t>(which)] = fd;
  };
  put(ResumeDescriptor::table, table_to_pass_.get());
  put(ResumeDescriptor::payload, payload_to_pass_.get());
  put(ResumeDescriptor::in, attached.in_to_pass());
  put(ResumeDescriptor::engine_wake, options_.engine_wake->fd());
  const std::string text = dump({{"ok", true}, {"station", station}});
  const Status passed =
      shm::send_descriptors(connection->socket.get(), std::as_bytes(std::span(text)), descriptors);
  attached.forget_descriptors();
  if (!passed) return drop(number);
  static_cast<void>(attached.wake().signal());  // its last wake-up may have died with its engine
}

// Those that did not come: what the loop keeps of them is for their agents' return.
void ControlServer::give_up_awaited() {
  if (awaited_.empty() || sched::HostCounters::monotonic_ns() < await_until_ns_) return;
  for (auto& [number, awaited] : awaited_) {
    if (awaited.is_given_up) continue;
    awaited.is_given_up = true;
    ++not_back_;
    note({Errc::closed, number,
          named(number) + ": it did not come back to the engine after " +
              std::to_string(options_.reconnect.count() / kNsPerMs) + " ms"});
    note_crash(awaited.station.entry);
    post(std::make_unique<DetachJob>(*this, number, Departure::lost, &awaited.station));
  }
}

int ControlServer::wait_ms() const {
  const bool waits = std::any_of(awaited_.begin(), awaited_.end(),
                                 [](const auto& one) { return !one.second.is_given_up; });
  if (!waits) return -1;
  const std::int64_t left_ns = await_until_ns_ - sched::HostCounters::monotonic_ns();
  return static_cast<int>(std::max<std::int64_t>(left_ns, 0) / kNsPerMs) + 1;
}

// Eviction and the end.

void ControlServer::detach(std::uint16_t station, Departure departure) {
  const auto found = stations_.find(station);
  if (departure == Departure::lost && found != stations_.end()) note_crash(found->second->entry());
  post(std::make_unique<DetachJob>(*this, station, departure, nullptr));
}

// Nothing of it is looked at any more: its memories and its file go.
void ControlServer::on_detached(std::uint16_t station) {
  tell_crash(station);
  orders_->forget(StationId{station});
  stations_.erase(station);
  owners_.erase(station);
  const auto awaited = awaited_.find(station);
  if (awaited == awaited_.end()) return;
  files_.remove(station_in_file(station));
  awaited_.erase(awaited);
}

void ControlServer::evict_now(const Eviction& eviction) {
  const auto number = static_cast<std::uint16_t>(eviction.station);
  const auto owner = owners_.find(number);
  if (owner == owners_.end()) return;
  if (Connection* const connection = find(owner->second)) {
    refuse(*connection,
           {Errc::evicted, number,
            named(number) + (eviction.why == Eviction::Why::kStuck
                                 ? ": it has taken nothing from its inbox for " +
                                       std::to_string(options_.stuck_after.count() / kNsPerMs) +
                                       " ms, and was evicted"
                                 : ": its memory makes no sense, and it was evicted")});
  }
  // relaxed: as at its accessor.
  evicted_ever_.fetch_add(1, std::memory_order_relaxed);
  drop(owner->second);
}

void ControlServer::say_goodbye() {
  for (const auto& [number, connection] : connections_) {
    if (!connection->is_attached) continue;
    answer(*connection,
           error_json({Errc::no_mesh, 0, "the engine in " + files_.path() + " was taken down"}));
  }
}

// Observers.

void ControlServer::handle_observe(Connection& connection, const nlohmann::json& request) {
  if (const Status checked = check_build("observe", request); !checked) {
    return refuse(connection, checked.error());
  }
  const std::string text = dump(mesh_json(options_.size, options_.format.identity));
  const int table = table_to_pass_.get();
  if (!shm::send_descriptors(connection.socket.get(), std::as_bytes(std::span(text)),
                             std::span(&table, 1))) {
    drop(connection.number);
  }
}

}  // namespace mesh::engine
