// ReplacementPlan: which lost process is replaced when. Deterministic: facts in, actions out.
//
//            ┌────────────── back, and lost again within `calm` ──────────────┐
//            ▼                                                                 │
//     lost ─▶ waiting ──due──▶ out ──all its agents attached──▶ back ──calm──▶ forgotten
//               ▲  ▲            │ did not start, ended badly, or not back in `patience`
//               │  └──back-off──┤   the first such failure of an incident: escalate
//             heal              └── `attempts` failed ──▶ given up
//
// The first replacement starts at once; the n-th failure is followed by a pause of
// backoff * 2^(n-1), at most backoff_max. At most kReplacementsOut are out at a time; others wait.
//
// Callers     one thread. No clock, no I/O.
// Progress    a step a process that is known.
// Units       HostTime of any clock that does not go back.
// Invariant   of one process at most one replacement is out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/recovery/recovery_options.hpp"
#include "sched/agent_class.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::engine {

inline constexpr std::size_t kReplacementsOut = 16;

struct LostAgent {
  std::string name;
  AgentId id{};
};
// Named by its first agent: no other process has an agent of that name.
struct LostProcess {
  std::string station{};  // what it called itself; empty: not known
  std::vector<LostAgent> agents{};
  // Of agents that never were here: what they are to be. Others know it themselves.
  std::optional<sched::AgentClass> agent_class{};
};

enum class ReplacementState : std::uint8_t { waiting, out, back, given_up };

struct ReplacementAction {
  enum class Kind : std::uint8_t { spawn, escalate } kind = Kind::spawn;
  std::string key{};
  std::string why{};  // of an escalation
};

class ReplacementPlan {
 public:
  explicit ReplacementPlan(const RecoveryOptions& options) : options_(options) {}

  void lost(const LostProcess& process, HostTime now);
  // The operator's: tried again, as if nothing had been tried before; at once, or when the one that
  // is out has failed.
  void heal(const LostProcess& process, HostTime now);
  // The replacement, or what it was to be, is no more.
  void failed(const std::string& key, const std::string& why, HostTime now);
  // All its agents are attached.
  void back(const std::string& key, HostTime now);

  // What is to be done now; a process whose spawn is named is out from here on.
  [[nodiscard]] std::vector<ReplacementAction> tick(HostTime now);
  // When tick() will have something to do; nothing: only if somebody tells it something.
  [[nodiscard]] std::optional<HostTime> next_due() const;

  struct Process {
    LostProcess of;
    ReplacementState state = ReplacementState::waiting;
    HostTime since{};               // out, back: from when; waiting: until when
    std::uint32_t failures = 0;     // of this incident
    std::uint32_t failed_ever = 0;  // also before somebody healed it
    bool is_escalated = false;
    bool is_to_begin_anew = false;  // healed while one was out: its failure is not the new one's
    std::string last_failure{};
  };
  [[nodiscard]] const Process* find(const std::string& key) const;
  [[nodiscard]] const std::map<std::string, Process>& all() const noexcept { return known_; }
  [[nodiscard]] std::size_t out() const noexcept { return out_; }

 private:
  void set(Process& process, ReplacementState state, HostTime since) noexcept;
  [[nodiscard]] Nanos pause_after(std::uint32_t failures) const noexcept;

  RecoveryOptions options_;
  std::map<std::string, Process> known_;
  std::vector<ReplacementAction> escalations_;
  std::size_t out_ = 0;
};

[[nodiscard]] std::string key_of(const LostProcess& process);

}  // namespace mesh::engine
