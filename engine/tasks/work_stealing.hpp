// WorkStealing: when an agent has much more to do than another, who takes how much from whom.
//
//   report --> loads --every interval--> pairs: the most loaded with the least, each in one at most
//   a pair --task::Steal--> the scheduler moves what is not begun, under new fences
//   report of 0 --> hangs on its lifelines --one of them reports enough--> a pair, at the next tick
//
// Callers     one thread, which owns it. The host gives its orders to the scheduler: a steal is one
//             command there, so there is no moment in which two have a task, or nobody.
// Progress    wait-free.
// Cost        report 10 ns; a round n log n. No allocation after construction but the orders.
// Units       loads are tasks that are assigned and not begun.
// Guarantees  a pair is made only where the difference is above the threshold; at most half of the
//             difference moves, so the two never change places. What was not reported is unknown,
//             and takes part in nothing. An agent with nothing asks nobody again and again: each
//             report of 0 is answered by its lifelines once at most.
// If the      agent dies: its load goes with leave(); the scheduler has taken its tasks back.
// other side
// dies
// Errors      no_such_agent, not_found, invalid_argument; best_agent -> no_candidate.
// Source      two-level load balancing; power of two choices (Mitzenmacher 2001) for ties;
//             lifelines: Saraswat, Kambadur, Kodali, Grove & Krishnamoorthy 2011.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/service.hpp"
#include "engine/tasks/task_terms.hpp"

namespace mesh::tasks {

struct WorkStealingConfig {
  bool enabled = true;
  std::uint32_t threshold = 3;  // strictly more
  std::uint32_t burst_max = 2;
  Nanos interval_ns{5'000'000'000};
  Nanos stale_ns{15'000'000'000};  // a load that is older is unknown
  std::uint32_t agents_max = 1'024;
  // Of a difference above it half moves at once, whatever burst_max; 0: never.
  std::uint32_t half_above = 0;
  // Each agent has so many: those whose numbers differ from its own in one of the lowest bits, as
  // the corners of a cube. 0: none.
  std::uint32_t lifelines = 0;
  std::uint32_t events_max = 64;

  static Result<WorkStealingConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

namespace stealing {
struct Report {
  std::uint32_t agent = 0;
  std::uint32_t queued = 0;
  std::uint32_t cluster = 0;
  std::uint32_t sector = 0;
};
struct Leave {
  std::uint32_t agent = 0;
};
struct Enable {
  bool enabled = true;
};
}  // namespace stealing

using WorkStealingCommand = std::variant<stealing::Report, stealing::Leave, stealing::Enable>;
struct WorkStealingReply {
  Errc code = Errc::ok;
};
struct WorkStealingCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t rounds = 0;
  std::uint64_t pairs = 0;
  std::uint64_t ordered = 0;  // tasks
  std::uint64_t hung = 0;     // reports of 0, with lifelines
  std::uint64_t pulled = 0;   // pairs by a lifeline, among pairs
};
struct WorkStealingActions {
  std::vector<task::Steal> steals;
  Nanos next_tick{0};
  bool view_changed = false;
};

// How many move from one that has `high` to one that has `low`: half of the difference, where it is
// above the threshold; at most burst_max, unless it is above half_above.
[[nodiscard]] std::uint32_t steal_count(std::uint32_t high, std::uint32_t low,
                                        const WorkStealingConfig& config) noexcept;

// What a choice by score goes by.
struct StealCandidate {
  std::uint32_t agent = 0;
  std::uint32_t tasks = 0;
  std::uint32_t cpu_ppt = 0;
  std::uint32_t mem_ppt = 0;
  std::uint32_t priority = 0;
  Nanos usual_time{0};
  bool capable = false;
};
// In thousandths: 100 - 10 tasks - .5 cpu % - .3 mem % + 5 priority - usual seconds * tasks.
[[nodiscard]] std::int64_t steal_score(const StealCandidate& one) noexcept;
// The best of the capable; of two alike the lower agent. no_candidate: none is.
[[nodiscard]] Result<std::uint32_t> best_agent(std::span<const StealCandidate> candidates);

class WorkStealing final
    : public ServiceForm<WorkStealing, WorkStealingConfig, WorkStealingCommand, WorkStealingReply,
                         WorkStealingCounters, WorkStealingActions> {
 public:
  static Status validate(const Config& config);
  explicit WorkStealing(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;
  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"work_stealing", 2};
  static constexpr std::string_view kWho = "work stealing";
  static constexpr std::int64_t kUnknown = -1;

  struct Load {
    std::int64_t reported_ns = kUnknown;
    std::uint32_t queued = 0;
    std::uint32_t cluster = 0;
    std::uint32_t sector = 0;
    bool hangs = false;  // on its lifelines, with nothing to do
  };
  Reply on(const stealing::Report& order, std::int64_t now_ns) noexcept;
  Reply on(const stealing::Leave& order, std::int64_t now_ns) noexcept;
  Reply on(const stealing::Enable& order, std::int64_t now_ns) noexcept;
  void round(std::int64_t now_ns, std::vector<task::Steal>& out) noexcept;
  void pull(std::int64_t now_ns, std::vector<task::Steal>& out) noexcept;
  void order(const task::Steal& steal, std::int64_t now_ns, std::vector<task::Steal>& out) noexcept;
  [[nodiscard]] bool is_known(std::uint32_t agent, std::int64_t now_ns) const noexcept {
    return loads_[agent].reported_ns != kUnknown &&
           now_ns - loads_[agent].reported_ns <= config_.stale_ns.count();
  }
  [[nodiscard]] std::uint32_t distance(std::uint32_t a, std::uint32_t b) const noexcept;

  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);

  std::vector<Load> loads_;
  std::vector<std::uint32_t> order_;
  std::int64_t next_ns_ = 0;
  bool enabled_ = true;
  bool is_stirred_ = false;  // a report since the last look at the lifelines may be of use there
};

static_assert(DurableService<WorkStealing>);

}  // namespace mesh::tasks

namespace mesh::coordination {
extern template class ServiceForm<tasks::WorkStealing, tasks::WorkStealingConfig,
                                  tasks::WorkStealingCommand, tasks::WorkStealingReply,
                                  tasks::WorkStealingCounters, tasks::WorkStealingActions>;
}  // namespace mesh::coordination
