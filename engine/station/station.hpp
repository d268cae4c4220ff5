// Station: an agent process's way into a mesh. It attaches over the control socket, then sends and
// receives through shared memory.
//
// Callers     one thread, the pump; post() and Reply: any thread.
// Progress    poll, send, flush: as StationCore's, and one system call where the engine sleeps, and
//             one each 20 ms that looks whether it is still there, or asks something. attach,
//             enrol, set_context: set-up, they wait for the engine. wait: until its deadline.
// Ordering    as StationCore's.
// Units       HostTime, by the engine's clock.
// If the      engine dies: the station looks for the next one in wait(), poll() and flush(), shows
// other side  it what it has in hand, and goes on with the same rings and agents: sends go into the
// dies        outbox meanwhile, until it is full. No engine in time, one that began anew, or one
//             that has dropped us: is_lost(), and lost_reason() says why; attach again. Who sleeps
//             on fd() is woken by all of it: the engine's end, each try to find the next one, an
//             eviction; wait() looks ten times a second.
//             This process dies: the engine marks the agents offline and keeps what waits for them.
//             It forks: the child has neither the connection nor any other descriptor of it, and
//             none of the memory; a Station is not to be used there, but may be destroyed.
// Errors      attach -> no_mesh, permission_denied, layout_mismatch, version_skew,
//             page_size_mismatch, capacity, no_space, closed, timed_out. enrol -> name_taken,
//             capacity, invalid_argument, and lost_reason()'s. lost_reason() -> evicted, not_yours,
//             no_mesh (taken down), closed (gone, and nobody came), corrupt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/station/control_client.hpp"
#include "engine/station/reattachment.hpp"
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
  // How long the engine may be away, beyond the time that it waits for us once it is back.
  Nanos engine_patience{10 * kNsPerSecond};
  // Makes this the context of one of our agents, as it was handed over once: quarantine, healing
  // and the merging of branches end so. On the pump's thread, in poll(), outside any handler; the
  // bytes stand until it returns. An error, or what it throws, is told to the engine. None: what
  // would need it is a person's task.
  std::function<Status(AgentId agent, std::span<const std::byte> context)> load_context{};
};

struct ContextReceipt {
  std::uint64_t version = 0;  // of this agent's, from 1; the newest one's bytes again are that one
  std::uint64_t hash = 0;     // XXH3-64 of the bytes
  bool in_store = false;      // false: the engine keeps it in memory, as long as it runs
};

struct AgentDeclaration {
  std::string name{};
  sched::AgentClass agent_class = sched::AgentClass::edge;
  std::vector<std::string> capabilities{};  // what it can do; at most 256 names in a mesh
};

class Station {
 public:
  static Result<std::unique_ptr<Station>> attach(const std::string& directory,
                                                 const StationOptions& options);
  ~Station();
  Station(const Station&) = delete;
  Station& operator=(const Station&) = delete;

  // As many as were declared, over all calls; one that is here already counts once and keeps its
  // place. On an error those before the refused packet stay. timed_out: perhaps enrolled all the
  // same. Once the engine has answered after all they are this station's, and poll() gives what is
  // for them to its handler, which knows them by Delivery::target; until then that waits in the
  // inbox, and what stands behind it. Ask again for their handles: the same names are the same
  // agents.
  Result<std::vector<AgentId>> enrol(std::span<const AgentDeclaration> agents);

  // Adds a capability to what a message asks of its targets. Set-up: it waits for the engine.
  // not_found: no agent ever had it.
  Status require(const std::string& capability, SendOptions& options);

  // Hands the engine the context of one of our agents, at most 1 MiB: it is what the agent's is to
  // be from now on, and the last 3 are kept. Set-up: it waits for the engine, which waits for its
  // store; the loop has no part in the bytes. no_such_agent; truncated (too long); no_space, busy,
  // not_ready (the store is away): nothing is kept, try again.
  Result<ContextReceipt> set_context(AgentId agent, std::span<const std::byte> context);
  // What an agent finds its context to be, by its hash, whenever it has looked; 0: it does not say.
  // Another than was handed over or loaded last is a failure: the agent goes into quarantine, and
  // is given its last good context (docs/CONTEXTS.md). Told with the next heartbeat.
  Status report_context(AgentId agent, std::uint64_t hash) {
    return core_->say_context(agent, hash);
  }

  // Runs what was posted, gives up to `limit` deliveries to `handler` (see StationCore::poll), and
  // flushes. Of a station that was evicted, or whose mesh began anew: none; of one that is lost
  // because its engine has gone: what was delivered before.
  template <class Handler>
  std::size_t poll(std::size_t limit, Handler&& handler) {
    run_posted();
    if (!look_if_due() && !gives_rest_) return 0;
    if (!questions_.empty()) answer_questions();
    const std::size_t taken = core_->poll(limit, std::forward<Handler>(handler));
    reveal();
    if (taken == 0) gives_rest_ = false;
    return taken;
  }
  // The pump answers what a handler kept its Reply of: the engine sees it with the next poll() or
  // flush(), and no queue between threads, and no signal, is paid for. Replies of other threads
  // answer for themselves.
  void answer(Reply reply, const Answer& answer) { core_->answer(std::move(reply), answer); }
  // What one of our agents is doing from now on: StationCore::report().
  Status report(AgentId agent, const Activity& activity) { return core_->report(agent, activity); }
  SendStatus send(const SendOptions& options, std::span<const std::byte> body) {
    return is_lost() ? SendStatus::lost : core_->send(options, body);
  }
  // Waits for room as long as the outbox is full.
  SendStatus send_until(HostTime deadline, const SendOptions& options,
                        std::span<const std::byte> body);
  // Shows the engine what was staged, and wakes it if it sleeps.
  void flush();

  // Until there is something to poll, `deadline`, or the station is lost (kFailed).
  queues::WaitResult wait(HostTime deadline);
  // Runs in the pump's next poll(). What it throws is counted, as a handler's is, and goes no
  // further. False: as many wait as fit.
  bool post(std::function<void()> work);

  // For an event loop of the caller's: readable when there is something to poll, or to learn: the
  // engine is gone or has evicted us. Of a station that is lost it stays so, like a socket at its
  // end. It is an epoll descriptor, made when it is first asked for (with a timer: two
  // descriptors); where none can be made the eventfd alone, and its owner polls once a second
  // besides. Nothing is to be read from it. Between arm() and disarm()
  // the loop may sleep; arm() false: there is something, poll, and nothing is to be disarmed. A
  // level-triggered loop that disarms when fd() is readable, polls until nothing is left and arms
  // again sleeps while nothing comes, and misses nothing that comes at whatever moment.
  [[nodiscard]] int fd() const noexcept;
  [[nodiscard]] bool arm() noexcept;
  void disarm() noexcept;

  [[nodiscard]] HostTime now() noexcept { return clock_.now(); }
  [[nodiscard]] StationId id() const noexcept;
  [[nodiscard]] bool is_lost() const noexcept { return lost_ || core_->is_broken(); }
  // Of a station that is lost.
  [[nodiscard]] Error lost_reason() const;
  // Whether it looks for its next engine just now, and how many it has found so.
  [[nodiscard]] bool is_seeking() const noexcept { return search_.has_value(); }
  [[nodiscard]] std::uint64_t reattached() const noexcept { return reattached_; }
  // Pieces of posted work that threw.
  [[nodiscard]] std::uint64_t work_threw() const noexcept { return work_threw_; }
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
  Result<std::string> ask(const std::string& request, std::span<const int> descriptors = {});
  void answer_questions();
  Result<std::uint64_t> load(const ControlAnswer& question);
  Result<std::vector<AgentId>> enrol_packet(const std::string& request, std::size_t count);
  Result<std::vector<AgentId>> add_enrolled(const std::string& answer, std::size_t count);
  void adopt_late();
  void keep_unanswered();
  void ask_unanswered();
  void run_posted();
  struct Source;  // what wait() looks at: the inbox, late answers, what was posted
  void reveal();
  // False: lost.
  bool look_if_due() {
    const HostTime now = clock_.now();
    return now < look_due_ || look(now);
  }
  bool look(HostTime now);
  void seek(HostTime now);
  Status resume();
  bool lose(Error reason);
  void follow_engine() const noexcept;
  void close_connection();
  Status wait_for_engine();

  StationOptions options_;
  ControlClient control_;
  std::unique_ptr<Memories> memories_;
  sched::ClockReader<> clock_;
  queues::local::HandOver<std::function<void()>> posted_;
  Bell posted_bell_;
  std::unique_ptr<StationCore> core_;
  std::optional<Reattachment> search_;
  std::vector<ControlAnswer> questions_;  // of the engine, for the next poll()
  std::string unanswered_;                // an enrolment that the engine left so when it died
  HostTime look_due_{};
  bool gives_rest_ = false;  // lost, and what stands in its inbox is its own all the same
  std::uint64_t reattached_ = 0;
  std::uint64_t work_threw_ = 0;
  bool lost_ = false;
  Error lost_reason_;
};

}  // namespace mesh::engine
