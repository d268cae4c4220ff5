#include "engine/station/station.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <poll.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "engine/station/control_protocol.hpp"
#include "engine/station/fork_guard.hpp"
#include "engine/station/handed_over.hpp"
#include "engine/station/station_events.hpp"
#include "shm/attach.hpp"
#include "shm/base/point.hpp"

namespace mesh::engine {
// What the engine answered to `attach`.
struct Attached {
  std::uint64_t station = 0;
  MeshIdentity mesh;
  std::array<std::uint64_t, 2> token{};
  Nanos reconnect{};  // how long the next engine will wait for us
};

namespace {

using nlohmann::json;

constexpr std::size_t kPostedMax = 4'096;
constexpr std::uint64_t kReconnectMsMax = 3'600'000;
// Whether the engine is still there, and asks something: of who polls, and of who sleeps, which it
// wakes for that.
constexpr Nanos kLookEvery{20 * kNsPerMs};
constexpr Nanos kLookAsleep{100 * kNsPerMs};

Result<Attached> parse_attached(const std::string& answer) {
  const json object = json::parse(answer, nullptr, false);
  Attached attached;
  MESH_TRY(attached.mesh, mesh_in(object));
  MESH_TRY(attached.station, number_in(object, "station"));
  MESH_TRY(attached.token, token_in(object));
  MESH_TRY(const std::uint64_t reconnect_ms, number_in(object, "reconnect_ms"));
  attached.reconnect =
      Nanos{static_cast<std::int64_t>(std::min(reconnect_ms, kReconnectMsMax)) * kNsPerMs};
  return attached;
}

}  // namespace

struct Station::Memories {
  Attached attached;
  std::string directory;
  shm::Mapping table, payload, in, out;
  std::array<shm::MemoryIdentity, 3> engine_files;  // table, payload, in
  shm::Descriptor out_to_return;
  std::shared_ptr<const shm::EventFd> wake;
  shm::EventFd engine_wake;
  std::optional<ForkGuard> connection_guard, engine_wake_guard;
  ForkGuard out_guard, wake_guard;
  pid_t owner;
  std::unique_ptr<StationEvents> events{};  // once fd() was asked for
};

Result<std::unique_ptr<Station>> Station::attach(const std::string& directory,
                                                 const StationOptions& options) {
  MESH_TRY(json request, request_of("attach"));
  request["name"] = options.name;
  request["agents"] = options.agents;
  request["loads_context"] = options.load_context != nullptr;
  const std::int64_t start_ns = sched::HostCounters::monotonic_ns();
  for (;;) {
    auto attached = attach_once(directory, options, text_of(request));
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
  MESH_POINT("station.attach:after_answer");
  MESH_TRY(std::vector<shm::Descriptor> passed, control.receive_descriptors());
  MESH_POINT("station.attach:after_descriptors");
  const auto at = [&](StationDescriptor which) -> shm::Descriptor& {
    return passed[static_cast<std::size_t>(which)];
  };
  using Which = StationDescriptor;
  const auto& [size, identity] = attached.mesh;
  MESH_TRY(shm::Mapping table, map_memory(at(Which::table), {table_layout(size)}, identity));
  MESH_TRY(shm::Mapping payload, map_memory(at(Which::payload), {payload_layout(size)}, identity));
  MESH_TRY(shm::Mapping in,
           map_memory(at(Which::in),
                      {station_in_layout(options.agents), shm::Access::kReadOnly, attached.station},
                      identity));
  MESH_TRY(shm::Mapping out, map_memory(at(Which::out),
                                        {station_out_layout(options.agents),
                                         shm::Access::kReadWrite, attached.station},
                                        identity));
  MESH_TRY(shm::EventFd wake, shm::EventFd::adopt(std::move(at(Which::station_wake))));
  MESH_TRY(shm::EventFd engine_wake, shm::EventFd::adopt(std::move(at(Which::engine_wake))));
  std::array<shm::MemoryIdentity, 3> files;
  MESH_TRY(files[0], shm::identity_of(at(Which::table).get(), "table"));
  MESH_TRY(files[1], shm::identity_of(at(Which::payload).get(), "payload"));
  MESH_TRY(files[2], shm::identity_of(at(Which::in).get(), "in"));
  MESH_TRY(const TableView view, TableView::over(size, table.bytes()));
  const int out_fd = at(Which::out).get();
  const int wake_fd = wake.fd();
  std::unique_ptr<Memories> memories(
      new Memories{attached, directory, std::move(table), std::move(payload), std::move(in),
                   std::move(out), files, std::move(at(Which::out)),
                   std::make_shared<const shm::EventFd>(std::move(wake)), std::move(engine_wake),
                   std::nullopt, std::nullopt, ForkGuard(out_fd), ForkGuard(wake_fd), ::getpid()});
  memories->connection_guard.emplace(control.fd());
  memories->engine_wake_guard.emplace(memories->engine_wake.fd());
  MESH_POINT("station.attach:before_core");
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
  // A forked child has neither the connection nor the memory: its addresses may be other memory of
  // the child's by now, which is not to be unmapped with this.
  if (::getpid() != memories_->owner) {
    static auto& left = *new std::vector<std::unique_ptr<Memories>>;
    left.push_back(std::move(memories_));
    return;
  }
  if (core_ == nullptr) return;
  reveal();
  control_.say(R"({"op": "leave"})");
}

StationId Station::id() const noexcept {
  return static_cast<StationId>(memories_->attached.station);
}
const MeshSize& Station::mesh() const noexcept { return memories_->attached.mesh.size; }

int Station::fd() const noexcept {
  if (memories_->events == nullptr) {
    auto made = StationEvents::create(memories_->wake->fd());
    if (!made) return memories_->wake->fd();
    memories_->events = std::move(*made);
    follow_engine();
  }
  return memories_->events->fd();
}

// What fd() goes by, apart from the eventfd: after each change of it.
void Station::follow_engine() const noexcept {
  if (memories_->events == nullptr) return;
  if (lost_)
    memories_->events->stay_readable();
  else if (search_)
    memories_->events->tick(kSeekEvery);
  else
    memories_->events->watch(control_.fd());
}

void Station::close_connection() {
  if (memories_->events != nullptr) memories_->events->leave(control_.fd());
  memories_->connection_guard.reset();
  control_.close();
}

// Of this engine, or of the next: what is asked may be asked again.
Result<std::string> Station::ask(const std::string& request, std::span<const int> descriptors) {
  for (;;) {
    MESH_CHECK_OK(wait_for_engine());
    auto got = control_.request_descriptors(request, descriptors);
    adopt_late();
    if (got) return std::move(got->json);
    if (got.error().code != Errc::closed) {
      if (got.error().code == Errc::evicted) lose(got.error());
      return tl::unexpected<Error>(std::move(got).error());
    }
    seek(now());
  }
}

SendStatus Station::send_until(HostTime deadline, const SendOptions& options,
                               std::span<const std::byte> body) {
  for (;;) {
    const SendStatus status = send(options, body);
    if (status != SendStatus::full || now() >= deadline || is_lost()) return status;
    flush();
    ::sched_yield();  // the engine frees slots; it does not wake us for that
  }
}

void Station::flush() {
  reveal();
  look_if_due();
}

void Station::reveal() {
  const bool engine_sleeps = core_->flush();
  MESH_POINT("station.flush:before_wake");
  if (engine_sleeps) static_cast<void>(memories_->engine_wake.signal());
}

// The engine.

bool Station::look(HostTime now) {
  if (lost_) return false;
  if (!search_) {
    look_due_ = now + kLookEvery;
    auto heard = control_.try_receive();
    for (; heard && *heard; heard = control_.try_receive())
      questions_.push_back(std::move(**heard));
    adopt_late();
    if (heard) return true;
    // What ends the connection with a reason was meant for us; else the engine is gone.
    if (heard.error().code == Errc::evicted || heard.error().code == Errc::no_mesh) {
      return lose(heard.error());
    }
    seek(now);
  }
  look_due_ = now + kSeekEvery;
  if (memories_->events != nullptr) memories_->events->take_tick();
  switch (search_->step(to_ns(now))) {
    case Reattachment::Step::kSeeking:
      break;
    case Reattachment::Step::kRefused:
      return lose(search_->reason());
    case Reattachment::Step::kBack:
      if (const Status resumed = resume(); !resumed) return lose(resumed.error());
      break;
  }
  return true;
}

void Station::seek(HostTime now) {
  const Attached& attached = memories_->attached;
  keep_unanswered();
  close_connection();
  questions_.clear();  // the next engine asks again
  Reattachment::Options options;
  options.directory = memories_->directory;
  options.connect = options_.connect;
  options.given_back = {memories_->out_to_return.get(), memories_->wake->fd()};
  options.until_ns = to_ns(now + attached.reconnect + options_.engine_patience);
  auto request = request_of("reattach");
  if (request) {
    (*request)["station"] = attached.station;
    (*request)["token"] = attached.token;
    (*request)["loads_context"] = options_.load_context != nullptr;
    (*request)["mesh_uuid"] = attached.mesh.identity.mesh_uuid;
    options.request = text_of(*request);
  }
  search_.emplace(std::move(options));
  follow_engine();
}

// The engine has taken us back. Its files must be those that are mapped here: it may have been
// given a copy of its directory.
Status Station::resume() {
  std::vector<shm::Descriptor> passed = search_->take_descriptors();
  if (passed.size() != kResumeDescriptors) {
    return fail(Errc::wrong_descriptor_count,
                "station: the engine gave back " + std::to_string(passed.size()) +
                    " descriptors, agreed were " + std::to_string(kResumeDescriptors));
  }
  for (std::size_t i = 0; i < memories_->engine_files.size(); ++i) {
    MESH_TRY(const shm::MemoryIdentity found, shm::identity_of(passed[i].get(), "engine's file"));
    if (found == memories_->engine_files[i]) continue;
    return fail(Errc::not_yours, "station: the engine came back with other files: inode " +
                                     std::to_string(found.inode) + ", expected " +
                                     std::to_string(memories_->engine_files[i].inode));
  }
  MESH_TRY(shm::EventFd engine_wake,
           shm::EventFd::adopt(
               std::move(passed[static_cast<std::size_t>(ResumeDescriptor::engine_wake)])));
  memories_->engine_wake_guard.reset();
  memories_->engine_wake = std::move(engine_wake);
  memories_->engine_wake_guard.emplace(memories_->engine_wake.fd());
  control_ = search_->take_client();
  memories_->connection_guard.emplace(control_.fd());
  search_.reset();
  follow_engine();
  ++reattached_;
  ask_unanswered();
  static_cast<void>(memories_->engine_wake.signal());  // for what was sent meanwhile
  return {};
}

bool Station::lose(Error reason) {
  lost_ = true;
  // What was delivered comes first, then that the engine has gone. Who was evicted, or finds
  // another mesh, has no agents any more: what they had not answered is for whoever has them next.
  gives_rest_ = reason.code == Errc::no_mesh || reason.code == Errc::closed;
  lost_reason_ = std::move(reason);
  search_.reset();
  look_due_ = {};
  follow_engine();
  return false;
}

Error Station::lost_reason() const {
  if (lost_) return lost_reason_;
  return {Errc::corrupt, 0, "station: the engine's cursor into its outbox makes no sense"};
}

// For set-up: as long as the search takes.
Status Station::wait_for_engine() {
  while (!lost_ && search_) {
    if (look(now()) && search_) ::poll(nullptr, 0, static_cast<int>(kSeekEvery.count() / kNsPerMs));
  }
  if (lost_) return tl::unexpected<Error>(lost_reason_);
  return {};
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

bool Station::arm() noexcept {
  Source source{*this};
  if (source.prepare_to_park()) return true;
  source.unpark();  // else the engine would signal each of its runs to a loop that is awake
  return false;
}

queues::WaitResult Station::wait(HostTime deadline) {
  const HostTime due = std::min(deadline, core_->due());
  Source source{*this};
  for (;;) {
    const bool may_poll = !lost_ || gives_rest_;  // also of an engine that has gone
    if (may_poll && source.ready()) return queues::WaitResult::kReady;
    const bool was_seeking = is_seeking();
    if (!look_if_due()) return queues::WaitResult::kFailed;
    if (was_seeking && !is_seeking()) return queues::WaitResult::kSignalled;  // back
    if (!questions_.empty()) return queues::WaitResult::kSignalled;
    const bool may_sleep = !search_ && options_.wait.policy != queues::WaitPolicy::kSpin;
    const HostTime look =
        std::min(due, look_due_ + (may_sleep ? kLookAsleep - kLookEvery : Nanos{}));
    const auto result = queues::wait_until(source, {*memories_->wake, options_.wait}, look,
                                           [this] { return clock_.now(); });
    if (result == queues::WaitResult::kSignalled) look_due_ = {};  // perhaps by its control thread
    if (result != queues::WaitResult::kTimedOut) return result;
    if (now() < due) continue;
    return due < deadline ? queues::WaitResult::kSignalled : queues::WaitResult::kTimedOut;
  }
}

void Station::disarm() noexcept {
  core_->unpark();
  memories_->wake->drain();
  look_due_ = {};
}

bool Station::post(std::function<void()> work) {
  if (!posted_.try_push(std::move(work))) return false;
  MESH_POINT("station.post:before_bell");
  posted_bell_.ring();
  return true;
}

void Station::run_posted() {
  if (!posted_bell_.take()) return;
  std::array<std::function<void()>, 64> work;
  for (std::size_t taken = work.size(); taken == work.size();) {
    taken = posted_.pop(work);
    MESH_POINT("station.post:before_work");
    for (std::size_t i = 0; i < taken; ++i) {
      try {
        std::exchange(work[i], nullptr)();
      } catch (...) {  // what went wrong is its own to say; what was posted with it runs
        ++work_threw_;
      }
    }
  }
}

}  // namespace mesh::engine
