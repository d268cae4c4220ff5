// Recovery: replaces the processes of agents that crashed, by the command that the operator
// configured, and those that the operator wants healed.
//
//     control thread ── lost() ──▶ ReplacementPlan ── /bin/sh -c SPAWN ──▶ a process that attaches
//                                    ▲                                       with the same names
//                                    └── the table: are they attached again? ──┘
//
// The command finds MESH_DIR, MESH_STATION (what the lost process called itself), MESH_AGENT (its
// first agent), MESH_AGENT_COUNT and MESH_AGENTS (their names, a line each, as many as fit into
// 64 KiB) in its environment; MESH_CLASS, A to F, where they never were here before. What its
// agents had not answered is redelivered when they attach: that is the engine's
// (docs/WHEN_THINGS_DIE.md). Once all are attached they are given their contexts (Outside::sync).
//
// Callers     start, stop: the engine's own. lost, heal, status: any thread.
// Progress    a thread of its own; it looks every 10 ms while a replacement is out, and otherwise
//             sleeps until something is due.
// If the      replacement does not start, ends badly, or does not attach in time: tried again with
// other side  a back-off, `escalate` at the first failure of an incident. The engine dies: what was
// dies        started goes on; its successor waits for those that are away and then begins anew.
// Errors      none: what could not be done is in what heal() and status() say.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/process/child.hpp"
#include "engine/recovery/replacement_plan.hpp"

namespace mesh::engine {

struct RecoveryStatus {
  std::uint64_t lost = 0;     // processes, so far
  std::uint64_t started = 0;  // replacements
  std::uint64_t back = 0;     // processes whose agents are all attached again
  std::uint64_t failed = 0;   // replacements that did not start, ended badly or were late
  std::uint64_t waiting = 0;  // now
  std::uint64_t out = 0;
  std::uint64_t given_up = 0;
  std::string last_failure{};  // of a replacement, whichever failed last; empty: none
};

// What became of one that was to be healed.
struct HealedProcess {
  LostProcess of;
  bool is_back = false;
  std::string why{};                // it is not
  std::vector<std::string> said{};  // of each agent's context, where it is back; empty: not yet
};

class Recovery {
 public:
  struct Outside {
    std::string mesh_directory;
    std::function<HostTime()> now;
    std::function<bool(const LostAgent&)> is_attached;
    // On this thread: the first failure of an incident.
    std::function<void(const LostProcess&, const std::string& why)> escalate;
    // On this thread: all agents of one that was lost are attached. `done`, on any thread, is told
    // of each what came of its context. None: nobody is given one.
    using Synced = std::function<void(std::vector<std::string> said)>;
    std::function<void(const LostProcess&, Synced done)> sync{};
  };
  Recovery(const RecoveryOptions& options, Outside outside);
  ~Recovery() { stop(); }
  Recovery(const Recovery&) = delete;
  Recovery& operator=(const Recovery&) = delete;

  void start();
  void stop();
  void lost(LostProcess process);
  // Processes that never were here: as if they had just been lost, and not counted among those.
  void begin(std::vector<LostProcess> processes);
  // Their processes, as far as they are known, or one for each, are tried now; `done` is told once
  // all are back and have their contexts, or have failed once, or `wait` has passed. An engine that
  // stops first destroys it untold.
  using Done = std::function<void(std::vector<HealedProcess>)>;
  struct Heal {
    std::vector<LostAgent> agents;
    Nanos wait{};
    Done done;
  };
  void heal(Heal heal);
  [[nodiscard]] RecoveryStatus status() const;

 private:
  struct Patient {
    LostProcess of;
    std::uint32_t failures_before = 0;  // what is more is this healing's
  };
  struct Healing {
    std::vector<Patient> patients;
    HostTime until{};
    Done done;
  };
  void run();
  bool nap();  // true: to be stopped
  void take_told();
  void take_synced();
  void sync(const std::string& key);
  [[nodiscard]] std::vector<LostProcess> processes_of(const std::vector<LostAgent>& agents) const;
  void look();
  void act();
  void spawn(const std::string& key);
  void failed(const std::string& key, const std::string& why);
  void end_healings();
  [[nodiscard]] bool is_over(const Healing& healing) const;
  [[nodiscard]] std::vector<HealedProcess> outcome(const Healing& healing) const;
  [[nodiscard]] bool is_whole(const LostProcess& process) const;
  void note();

  RecoveryOptions options_;
  Outside outside_;
  ReplacementPlan plan_;
  std::map<std::string, Child> children_;
  std::vector<Child> leaving_;  // of no interest but to be reaped
  std::vector<Healing> healings_;
  // Of processes that are back: which call of Outside::sync is theirs, and what it said.
  struct Contexts {
    std::uint64_t serial = 0;
    bool is_over = false;
    std::vector<std::string> said{};
  };
  std::map<std::string, Contexts> contexts_;
  std::uint64_t last_sync_ = 0;
  std::thread thread_;
  mutable std::mutex mutex_;  // of what follows
  std::condition_variable wake_;
  std::deque<LostProcess> told_;
  std::deque<Heal> asked_;
  struct Synced {
    std::string key;
    std::uint64_t serial = 0;
    std::vector<std::string> said;
  };
  std::deque<Synced> synced_;
  RecoveryStatus status_;
  bool stopping_ = false;
};

}  // namespace mesh::engine
