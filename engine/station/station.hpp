// Station: an agent process's way into a mesh. It attaches over the control socket, then sends and
// receives through shared memory.
//
// Callers     one thread, the pump; post() and Reply: any thread.
// Progress    poll, send, flush: as StationCore's, and one system call where the engine sleeps.
//             attach, enrol: set-up, they wait for the engine. wait: until its deadline.
// Ordering    as StationCore's.
// Units       HostTime, by the engine's clock.
// If the      engine dies: is_lost() once wait() has looked; nothing new comes. Sends go on until
// other side  the outbox is full.
// dies        This process dies: the engine marks the agents offline and keeps what waits for them.
//             It forks: the child closes the connection and has none of the memory; a Station is
//             not to be used there.
// Errors      attach -> no_mesh, permission_denied, layout_mismatch, version_skew,
//             page_size_mismatch, capacity, no_space, closed, timed_out. enrol -> name_taken,
//             capacity, invalid_argument.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/station/control_client.hpp"
#include "engine/station/station_core.hpp"
#include "queues/wait_strategy.hpp"
#include "sched/agent_class.hpp"
#include "sched/clock.hpp"
#include "shm/event_fd.hpp"
#include "shm/mapping.hpp"

namespace mesh::engine {

struct StationOptions {
  std::string name = "station";  // for status
  std::uint32_t agents = 1;      // at most so many are enrolled: rings and columns follow from it
  ConnectOptions connect{};
  queues::WaitOptions wait{};
};

struct AgentDeclaration {
  std::string name{};
  sched::AgentClass agent_class = sched::AgentClass::edge;
};

class Station {
 public:
  static Result<std::unique_ptr<Station>> attach(const std::string& directory,
                                                 const StationOptions& options);
  ~Station();
  Station(const Station&) = delete;
  Station& operator=(const Station&) = delete;

  // As many as were declared, over all calls. On an error those before the refused one stay.
  Result<std::vector<AgentId>> enrol(std::span<const AgentDeclaration> agents);

  // Runs what was posted, gives up to `limit` deliveries to `handler` (see StationCore::poll), and
  // flushes.
  template <class Handler>
  std::size_t poll(std::size_t limit, Handler&& handler) {
    run_posted();
    const std::size_t taken = core_->poll(limit, std::forward<Handler>(handler));
    flush();
    return taken;
  }
  SendStatus send(const SendOptions& options, std::span<const std::byte> body) {
    return core_->send(options, body);
  }
  // Waits for room as long as the outbox is full.
  SendStatus send_until(HostTime deadline, const SendOptions& options,
                        std::span<const std::byte> body);
  // Shows the engine what was staged, and wakes it if it sleeps.
  void flush();

  // Until there is something to poll, `deadline`, or the engine is gone (kFailed).
  queues::WaitResult wait(HostTime deadline);
  // Runs in the pump's next poll(). False: as many wait as fit.
  bool post(std::function<void()> work);

  // For an event loop of the caller's: readable when there is something. Between arm() (false: do
  // not sleep, poll) and disarm() the loop may sleep.
  [[nodiscard]] int fd() const noexcept;
  [[nodiscard]] bool arm() noexcept;
  void disarm() noexcept;

  [[nodiscard]] HostTime now() noexcept { return clock_.now(); }
  [[nodiscard]] StationId id() const noexcept;
  [[nodiscard]] bool is_lost() const noexcept { return lost_ || core_->is_broken(); }
  [[nodiscard]] StationCore& core() noexcept { return *core_; }
  [[nodiscard]] const MeshSize& mesh() const noexcept;

 private:
  struct Memories;
  struct Made {
    const StationOptions& options;
    const sched::ClockWords* clock;
  };
  Station(ControlClient control, std::unique_ptr<Memories> memories, const Made& made);
  static Result<std::unique_ptr<Station>> attach_once(const std::string& directory,
                                                      const StationOptions& options,
                                                      const std::string& request);
  Status make_core(const TableView& table);
  Result<std::vector<AgentId>> enrol_packet(const std::string& request, std::size_t count);
  void run_posted();
  struct Source;  // what wait() looks at: the inbox, late answers, what was posted
  [[nodiscard]] bool look_for_engine() noexcept;

  StationOptions options_;
  ControlClient control_;
  std::unique_ptr<Memories> memories_;
  sched::ClockReader<> clock_;
  queues::local::HandOver<std::function<void()>> posted_;
  Bell posted_bell_;
  std::unique_ptr<StationCore> core_;
  bool lost_ = false;
};

}  // namespace mesh::engine
