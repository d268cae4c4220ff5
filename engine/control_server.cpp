#include "engine/control_server.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "engine/acting_jobs.hpp"
#include "engine/control_jobs.hpp"
#include "engine/control_json.hpp"
#include "engine/control_orders.hpp"
#include "engine/reports/report_requests.hpp"
#include "shm/descriptor_passing.hpp"
#include "shm/hash.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

// What an epoll event is about: a connection's number, and which of its descriptors.
constexpr std::uint64_t kListenerEvent = 0;
constexpr std::uint64_t kWakeEvent = 1;
constexpr std::uint64_t kFirstConnection = 2;
constexpr std::uint64_t kProcessBit = std::uint64_t{1} << 63;
constexpr std::size_t kConsolesMax = 64;
constexpr std::size_t kModesMax = 64;    // changes that are not looked at yet: seconds apart
constexpr std::size_t kLastPackets = 4;  // that may stand unread in a socket whose process ended

Status watch(int epoll, int fd, std::uint64_t event) {
  epoll_event wanted{};
  wanted.events = EPOLLIN;
  wanted.data.u64 = event;
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wanted) != 0) {
    return shm::system_failure("watch a descriptor", errno);
  }
  return {};
}

bool is_leave(const nlohmann::json& object) {
  const auto op = object.is_object() ? object.find("op") : object.end();
  return op != object.end() && *op == "leave";
}

}  // namespace

// A request, and what it carried.
struct ControlServer::Packet {
  std::string text;
  std::vector<shm::Descriptor> descriptors;
};

ControlServer::ControlServer(const ControlOptions& options, const Uses& uses)
    : options_(options),
      files_(uses.files),
      scheduler_(uses.scheduler),
      table_(uses.table),
      next_connection_(kFirstConnection),
      last_number_(uses.table.last_number()),
      evictions_(kMaxStations, 0, 1),
      modes_(kModesMax, 0, 1),
      told_(kJobsMax, 0, 1),
      orders_(std::make_unique<Orders>()),
      packet_(kControlPacketBytes) {}

Result<std::unique_ptr<ControlServer>> ControlServer::create(const ControlOptions& options,
                                                             const Uses& uses) {
  std::unique_ptr<ControlServer> made(new ControlServer(options, uses));
  MESH_CHECK_OK(made->bind_table());
  MESH_CHECK_OK(made->open());
  return made;
}

ControlServer::~ControlServer() { stop(); }

Status ControlServer::open() {
  epoll_ = shm::Descriptor(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return shm::system_failure("epoll_create", errno);
  MESH_TRY(table_to_pass_, files_.open_to_pass("table"));
  MESH_TRY(payload_to_pass_, files_.open_to_pass("payload"));
  MESH_TRY(listener_, files_.listen());
  MESH_CHECK_OK(watch(epoll_.get(), listener_.get(), kListenerEvent));
  return watch(epoll_.get(), options_.wake->fd(), kWakeEvent);
}

void ControlServer::await(std::vector<LeftStation> stations, const AdoptionStatus& adoption) {
  adoption_ = adoption;
  for (LeftStation& station : stations) {
    const std::uint16_t number = station.entry.number;
    awaited_.emplace(number, Awaited{std::move(station)});
  }
}

void ControlServer::start() {
  await_until_ns_ = sched::HostCounters::monotonic_ns() + options_.reconnect.count();
  update_counts();
  thread_ = std::thread([this] { run(); });
}

void ControlServer::stop() {
  stopping_.store(true, std::memory_order_relaxed);  // relaxed: the join orders what follows
  static_cast<void>(options_.wake->signal());
  if (thread_.joinable()) thread_.join();
  say_goodbye();
  connections_.clear();
  listener_.close();
}

void ControlServer::evict(const Eviction& eviction) noexcept {
  static_cast<void>(evictions_.try_push(eviction));  // as many as there can be: it fits
  static_cast<void>(options_.wake->signal());
}

void ControlServer::run() {
  std::array<epoll_event, 64> events{};
  // relaxed: stop() joins.
  while (!stopping_.load(std::memory_order_relaxed)) {
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait_ms());
    for (int i = 0; i < std::max(count, 0); ++i) {
      const std::uint64_t about = events[static_cast<std::size_t>(i)].data.u64;
      if (about == kListenerEvent) {
        accept_all();
      } else if (about == kWakeEvent) {
        options_.wake->drain();
      } else if ((about & kProcessBit) != 0) {
        // Its process is gone, whoever else holds the socket.
        if (Connection* const connection = find(about & ~kProcessBit)) read_last(*connection);
      } else if (Connection* const connection = find(about)) {
        read(*connection);
      }
    }
    give_up_awaited();
    take_done();
    update_counts();
  }
}

void ControlServer::take_done() {
  while (const std::unique_ptr<Job> job = scheduler_.take_done()) job->done();
  for (Eviction eviction; evictions_.pop(std::span(&eviction, 1)) != 0;) evict_now(eviction);
  for (ModeSeen seen; modes_.pop(std::span(&seen, 1)) != 0;) see_mode(seen);
  for (ToldAnswer told; told_.pop(std::span(&told, 1)) != 0;) {
    Connection* const connection = find(told.connection);
    if (connection == nullptr) continue;
    if (const int carried = told.carried.get(); carried >= 0) {
      connection->is_busy = false;
      connection->is_broken = !shm::send_descriptors(
          connection->socket.get(), std::as_bytes(std::span(told.json)), std::span(&carried, 1));
    } else {
      answer(*connection, told.json);
    }
    if (connection->is_broken) drop(told.connection);
  }
  take_orders();
  for (; !unposted_.empty(); unposted_.pop_front()) {
    unposted_.front() = scheduler_.post(std::move(unposted_.front()));
    if (unposted_.front() != nullptr) break;
  }
}

void ControlServer::tell(ToldAnswer told) {
  // One request a connection: there is room for all that there can be, or its client gives up.
  if (told_.try_push_from(told)) static_cast<void>(options_.wake->signal());
}

void ControlServer::post(std::unique_ptr<Job> job) {
  unposted_.push_back(std::move(job));  // in order: a station's detach comes after its enrolments
}

ControlServer::Connection* ControlServer::find(std::uint64_t connection) {
  const auto found = connections_.find(connection);
  return found == connections_.end() ? nullptr : found->second.get();
}

// Connections.

void ControlServer::accept_all() {
  for (;;) {
    shm::Descriptor socket(
        ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      admit(std::move(socket));
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return;  // EAGAIN; or out of descriptors: the next death frees some
    }
  }
}

void ControlServer::admit(shm::Descriptor socket) {
  auto connection = std::make_unique<Connection>();
  connection->number = next_connection_++;
  connection->socket = std::move(socket);
  const auto peer = shm::peer_credentials(connection->socket.get());
  if (!peer) return;
  connection->peer = *peer;
  if (!is_admitted(peer->user)) {
    refuse(*connection,
           {Errc::permission_denied, peer->user,
            "attach: uid " + std::to_string(peer->user) + " is not admitted; this mesh is uid " +
                std::to_string(::geteuid()) + "'s"});
    return;
  }
  if (connections_.size() >= options_.size.stations + kConsolesMax) {
    refuse(*connection, {Errc::capacity, static_cast<std::int64_t>(connections_.size()),
                         "connect: " + std::to_string(connections_.size()) +
                             " connections are open, as many as this mesh has"});
    return;
  }
  // Opened at once, while the process that connected most surely is still the one of this number.
  // Where pid namespaces hide it the socket alone tells its death.
  if (peer->process > 0) {
    connection->process = shm::Descriptor(
        static_cast<int>(::syscall(SYS_pidfd_open, peer->process, 0)));  // close-on-exec by itself
  }
  if (!watch(epoll_.get(), connection->socket.get(), connection->number)) return;
  if (connection->process) {
    static_cast<void>(
        watch(epoll_.get(), connection->process.get(), connection->number | kProcessBit));
  }
  connections_.emplace(connection->number, std::move(connection));
}

bool ControlServer::is_admitted(std::uint32_t uid) const {
  const AttachPolicy& policy = options_.policy;
  if (policy.anyone || uid == ::geteuid()) return true;
  return std::find(policy.uids.begin(), policy.uids.end(), uid) != policy.uids.end();
}

void ControlServer::read(Connection& connection) {
  auto received = shm::receive_packet(connection.socket.get(), packet_, shm::Waiting::kDoNotWait);
  if (!received) {
    if (received.error().code != Errc::not_ready) drop(connection.number);
    return;
  }
  const auto* const text = reinterpret_cast<const char*>(packet_.data());
  handle(connection, {{text, received->size_bytes}, std::move(received->descriptors)});
}

// Of a process that has ended: whether it had said that it leaves. What else it asked is nobody's.
void ControlServer::read_last(Connection& connection) {
  for (std::size_t i = 0; i < kLastPackets && !connection.has_left; ++i) {
    const auto received =
        shm::receive_packet(connection.socket.get(), packet_, shm::Waiting::kDoNotWait);
    if (!received) break;
    const auto* const text = reinterpret_cast<const char*>(packet_.data());
    connection.has_left =
        is_leave(nlohmann::json::parse(text, text + received->size_bytes, nullptr, false));
  }
  drop(connection.number);
}

void ControlServer::answer(Connection& connection, const std::string& text) {
  connection.is_busy = false;
  if (text.size() > kControlPacketBytes) {
    return refuse(connection,
                  {Errc::truncated, static_cast<std::int64_t>(text.size()),
                   "answer: it has " + std::to_string(text.size()) + " bytes, a packet at most " +
                       std::to_string(kControlPacketBytes)});
  }
  const ssize_t sent =
      ::send(connection.socket.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent != static_cast<ssize_t>(text.size())) connection.is_broken = true;
}

void ControlServer::refuse(Connection& connection, const Error& error) {
  ++refusals_;
  note(error);
  answer(connection, error_json(error));
}

void ControlServer::drop(std::uint64_t number) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return;
  const std::uint16_t station = found->second->station;
  const bool is_attached = found->second->is_attached;
  const Departure departure = found->second->has_left ? Departure::left : Departure::lost;
  connections_.erase(found);
  fail_orders(number);
  // Else its AttachJob finds the owner gone.
  if (station != 0 && is_attached) detach(station, departure);
}

void ControlServer::update_counts() noexcept {
  // relaxed: as at their accessors.
  station_count_.store(stations_.size(), std::memory_order_relaxed);
  awaited_count_.store(awaited_.size(), std::memory_order_relaxed);         // relaxed: as above
  connection_count_.store(connections_.size(), std::memory_order_relaxed);  // relaxed: as above
  publish_counters();
}

// What this thread knows stands in the table, for who asks no engine.

Status ControlServer::bind_table() {
  MESH_TRY(const shm::Layout table, table_layout(options_.size));
  MESH_TRY(const auto words, table.array<sched::ClockWords>(options_.table_memory, "clock"));
  clock_.emplace(words.front());
  MESH_TRY(auto page, CounterPage::over(table, options_.table_memory, "control"));
  counter_page_.emplace(std::move(page));
  MESH_TRY(auto errors, ErrorLog::over(table, options_.table_memory, "control"));
  errors_.emplace(std::move(errors));
  return {};
}

void ControlServer::publish_counters() noexcept {
  std::array<std::uint64_t, kControlCounters.size()> values{};
  const auto put = [&](ControlCounter which, std::uint64_t value) {
    values[static_cast<std::size_t>(which)] = value;
  };
  // relaxed, all: written by this thread alone.
  const auto now = [](const auto& count) { return count.load(std::memory_order_relaxed); };
  put(ControlCounter::stations, now(station_count_));
  put(ControlCounter::connections, now(connection_count_));
  put(ControlCounter::stations_ever, now(stations_ever_));
  put(ControlCounter::evicted, now(evicted_ever_));
  put(ControlCounter::awaited, now(awaited_count_));
  put(ControlCounter::returned, now(returned_));
  put(ControlCounter::not_back, now(not_back_));
  put(ControlCounter::refused_back, now(refused_back_));
  put(ControlCounter::refusals, refusals_);
  counter_page_->publish(values, clock_->now());
}

// Distinct by its code and by what was being done, which stands before the first colon.
void ControlServer::note(const Error& error) noexcept {
  const std::string_view what =
      std::string_view(error.sentence).substr(0, error.sentence.find(':'));
  errors_->note({.code = error.code, .about = shm::hash64(what), .text = error.sentence},
                clock_->now());
}

// Requests.

Result<WhoReport> ControlServer::who(const WhoWanted& wanted) const {
  return look_who({options_.size, options_.table, stations_}, wanted);
}

void ControlServer::handle(Connection& connection, Packet packet) {
  const nlohmann::json object = nlohmann::json::parse(packet.text, nullptr, false);
  if (!object.is_object()) {
    return refuse(connection, {Errc::bad_input, 0, "request: it is no JSON object"});
  }
  if (is_leave(object)) {
    connection.has_left = true;
    return drop(connection.number);
  }
  if (object.value("op", nlohmann::json()) == "loaded") return handle_loaded(connection, object);
  if (connection.is_busy) {
    return refuse(connection, {Errc::busy, 0, "request: the one before it is not answered yet"});
  }
  const auto op = text_field(object, "op");
  if (!op) return refuse(connection, op.error());
  if (*op == "reattach") return handle_reattach(connection, object, packet.descriptors);
  if (*op == "attach") return handle_attach(connection, object);
  if (*op == "enrol") return handle_enrol(connection, object);
  if (*op == "context") return handle_context(connection, object, packet.descriptors);
  if (*op == "observe") return handle_observe(connection, object);
  handle_console(connection, *op, object);
}

void ControlServer::handle_enrol(Connection& connection, const nlohmann::json& request) {
  if (!connection.is_attached) {
    return refuse(connection, {Errc::not_ready, 0, "enrol: this connection has not attached"});
  }
  auto agents = agents_field(request);
  if (!agents) return refuse(connection, agents.error());
  connection.is_busy = true;
  post(std::make_unique<EnrolJob>(*this, EnrolJob::Of{connection.number, connection.station},
                                  std::move(*agents)));
}

void ControlServer::handle_console(Connection& connection, const std::string& op,
                                   const nlohmann::json& request) {
  // Those who may attach see how the mesh does; to move it is its owner's.
  if (op != "status" && op != "capability" && connection.peer.user != ::geteuid()) {
    return refuse(connection,
                  {Errc::permission_denied, connection.peer.user,
                   op + ": uid " + std::to_string(connection.peer.user) +
                       " is not this mesh's owner, uid " + std::to_string(::geteuid())});
  }
  if (op == "down") {
    answer(connection, dump({{"ok", true}}));
    return options_.on_down();
  }
  if (ActingJobs::knows(op)) {
    connection.is_busy = true;
    const Status begun = ActingJobs::begin(*this, {connection.number, op}, request);
    return begun ? void() : refuse(connection, begun.error());
  }
  using Begin = Status (ControlServer::*)(const ConsoleRequest&, const nlohmann::json&);
  static constexpr std::pair<std::string_view, Begin> kBegun[] = {
      {"resolve", &ControlServer::begin_resolve},
      {"contexts", &ControlServer::begin_contexts},
      {"backup", &ControlServer::begin_backup},
      {"heal", &ControlServer::begin_heal},
      {"incident", &ControlServer::begin_incident}};
  for (const auto& [name, begin] : kBegun) {
    if (op != name) continue;
    connection.is_busy = true;
    const Status begun = (this->*begin)({connection.number, op}, request);
    return begun ? void() : refuse(connection, begun.error());
  }
  if (reports::is_report(op)) {
    connection.is_busy = true;
    const Status begun = begin_report({connection.number, op}, request);
    return begun ? void() : refuse(connection, begun.error());
  }
  auto job = console_job({connection.number, op}, request);
  if (!job) return refuse(connection, job.error());
  connection.is_busy = true;
  post(std::move(*job));
}

}  // namespace mesh::engine
