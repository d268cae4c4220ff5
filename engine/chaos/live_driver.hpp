// LiveDriver: a FaultDriver on a mesh of real processes.
//
// What acts how:
//     latency-spike       the agent's station hands its messages over later (fault words, below)
//     packet-loss         it does not hand them over; nobody answers while the fault lasts
//     duplicate           it has them twice, as if they had been sent again
//     reorder             each is later by a time of its own
//     message-corruption  bits of the body are flipped
//     partition           nothing is handed over, nothing gets out; one way: nothing gets out
//     byzantine-behavior  of variant flip_vote: READY becomes CONFLICT
//     agent-crash         SIGKILL; its command starts it after `restart_after`, or at the end
//     station-death       the same; of variant for_good nobody starts it again. At step `count`, 2
//                         or 3, of its next message it ends itself (StationStep)
//     engine-death        SIGKILL of the engine; its command starts the successor over the same
//                         directory after `restart_after`, or at the end. At step `count`, 2 to 5,
//                         of its next message it ends itself (StepDeath::Step)
//     agent-hang          SIGSTOP
//     agent-slowdown      SIGSTOP and SIGCONT in turn: it runs for one `factor`th of the time
// All else is refused: unsupported. So is what is between hosts: there is no bridge that could be
// cut.
//
// Ramps: delays, shares and slow-downs grow and fade in kRampSteps equal steps of time, each a
// request when its time has come and advance() is called. The first step acts at once. What either
// acts or does not (crashes, hangs, deaths, partitions, flipped votes) has no ramp: unsupported.
//
// Fault words stand in the table, written by the engine at our request, with the instant at which
// they end by themselves: stations look at them (station/fault_gate.hpp). Processes are the guard's
// (process_guard.hpp), which lets go of them at that instant, or at once when we are gone. A
// process has all its agents: a fault of processes that does not name all of them is refused. The
// engine has every agent of its mesh: its death is refused unless all of them have agreed. A death
// at step 1 comes at once. One at a later step waits for a message: where none comes, nobody dies.
// A process that was started anew does not die again.
//
// Callers     one thread. open() has a child: while this process has few other threads.
// Progress    inject, undo, is_gone: a request to the engine or the guard each.
// Units       agents are rows of the table; Nanos of CLOCK_MONOTONIC, as the mesh's clock has it.
// If the      engine dies: fault words stand until their time; inject says closed. The guard dies:
// other side  inject says closed, and what was stopped goes on. This process dies: processes go on
// dies        at once, words lapse at their time.
// Errors      open -> not_authorized (not allowed here, or by the mesh), not_yours (`engine` is not
//             who answers in the directory), as Observer and ProcessGuard. inject ->
//             unsupported, not_authorized (an agent without the label, a process that is not
//             registered, a mesh that does not allow it), no_such_agent, invalid_argument (over
//             already), capacity, closed.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/agent_row_views.hpp"
#include "engine/chaos/process_guard.hpp"
#include "engine/coordination/chaos_driver.hpp"
#include "engine/observer.hpp"
#include "engine/station/control_client.hpp"

namespace mesh::engine {

struct LiveChaosOptions {
  std::string directory{};
  bool allow_live = false;
  std::vector<GuardedProcess> processes{};  // those that may be killed, stopped and slowed
  std::optional<GuardedProcess> engine{};   // the mesh's, where it may be killed
  ConnectOptions connect{};
};

class LiveDriver final : public coordination::FaultDriver {
 public:
  static constexpr std::uint32_t kRampSteps = 16;

  static Result<std::unique_ptr<LiveDriver>> open(const LiveChaosOptions& options);
  // Nobody is left to die at a step for whom nobody would be there.
  ~LiveDriver() override;

  // Tells the harness which agents there are, where they stand, and who may be struck. Its
  // agents_max is at least rows().
  Status describe(coordination::ChaosHarness& harness, Nanos now);
  [[nodiscard]] std::size_t rows() const noexcept { return observer_->rows(); }
  [[nodiscard]] Nanos now() noexcept { return Nanos{to_ns(observer_->now())}; }

  // Whether such a fault is one that it can do, whoever is to be struck.
  [[nodiscard]] static Errc check(coordination::FaultType type,
                                  const coordination::FaultParams& params) noexcept;

  [[nodiscard]] Errc inject(const coordination::ChaosOrder& order,
                            std::span<const std::uint32_t> targets) override;
  void undo(std::uint64_t injection) override;
  void advance(Nanos now) override;
  [[nodiscard]] bool is_gone(std::uint64_t injection) const override;
  [[nodiscard]] bool works(std::uint32_t agent) const override;
  [[nodiscard]] ProcessGuard& guard() noexcept { return guard_; }
  // What the engine counts; none: no engine answers.
  struct Sight {
    std::uint64_t agents_active = 0;
    std::uint64_t agents_enrolled = 0;
    std::uint64_t messages_open = 0;  // direct ones that it has accepted, and that are not over
  };
  [[nodiscard]] std::optional<Sight> look() const;

 private:
  struct Fault {
    std::vector<std::uint32_t> targets;  // ascending
    coordination::FaultType type{};
    coordination::ChaosOrder order{};
    Nanos since{0};
    Nanos fades{0};                // 0: it is not being undone
    std::uint32_t step = 0;        // of kRampSteps, as it acts now
    std::uint32_t peak = 0;        // its step when it began to fade
    std::set<std::uint32_t> keys;  // of processes
  };
  LiveDriver(std::string directory, std::unique_ptr<Observer> observer, AgentRowViews views,
             ProcessGuard guard);
  // What the engine answers, this one or, where it has gone, the next.
  Result<nlohmann::json> request(const nlohmann::json& request) const;
  // A number of it.
  Result<std::uint64_t> ask(const nlohmann::json& request, const char* field) const;
  // Who answers in the directory.
  Result<pid_t> engine_process() const;
  Result<bool> is_allowed() const;  // as the mesh's engine was started
  [[nodiscard]] Errc check_mesh(coordination::FaultType type) const;
  [[nodiscard]] std::optional<AgentRow> row(std::uint32_t agent) const;
  [[nodiscard]] Errc find(std::span<const std::uint32_t> targets,
                          std::vector<AgentRow>& rows) const;
  [[nodiscard]] Errc inject_words(const coordination::ChaosOrder& order,
                                  const std::vector<AgentRow>& rows);
  [[nodiscard]] Errc inject_processes(const coordination::ChaosOrder& order,
                                      const std::vector<AgentRow>& rows,
                                      std::set<std::uint32_t>& struck);
  [[nodiscard]] Errc kill_engine(const coordination::ChaosOrder& order);
  // The one that was registered, or the one that its command has started since, answers.
  [[nodiscard]] Errc find_engine() const;
  // live_steps.cpp
  [[nodiscard]] static bool is_at_step(const coordination::ChaosOrder& order) noexcept;
  [[nodiscard]] Errc strike_at_step(const coordination::ChaosOrder& order,
                                    const std::vector<AgentRow>& rows,
                                    std::set<std::uint32_t>& struck);
  [[nodiscard]] Errc end_engine_at(const coordination::ChaosOrder& order);
  void spare(std::uint64_t injection);
  [[nodiscard]] bool engine_is_running() const;
  [[nodiscard]] bool is_attached(std::uint32_t agent) const;
  // Keys of the processes that host these agents and nobody else.
  Result<std::set<std::uint32_t>> processes_of(const std::vector<AgentRow>& rows);
  Result<std::map<StationId, pid_t>> hosts() const;
  [[nodiscard]] static std::uint32_t step_at(const Fault& fault, Nanos now) noexcept;
  [[nodiscard]] bool set_step(const Fault& fault, std::uint32_t step);
  void remove(std::uint64_t injection);

  std::string directory_;
  mutable std::optional<ControlClient> engine_;
  std::unique_ptr<Observer> observer_;
  AgentRowViews views_;
  mutable ProcessGuard guard_;  // is_gone() asks it
  std::vector<std::uint32_t> keys_;
  std::optional<std::uint32_t> engine_key_;
  std::map<std::uint64_t, Fault> faults_;
};

}  // namespace mesh::engine
