// ResourceContentionArbiter: divides what too many want, in rounds, by a rule that is stated.
//
//   request --free, nobody waits--> allocated --release | max_hold_ns | preempted--> free
//      |--else--> waiting --round--> allocated, at least its minimum; or timed out, cancelled
//      |--younger than who is in its way (wait-die)--> refused, and comes again as old as it was
//
// Callers     one thread, which owns the machine; hosted by JournaledService it is durable.
// Progress    wait-free. Ordering: what is due at `now` happens before the command.
// Cost        a request that is met at once 150 ns; a round n log n, indivisible units * n. No
//             allocation after construction but a reply's news.
// Units       whole units below 2^40; where a resource is divisible, choose them fine. Utility in
//             millionths. A larger priority is more urgent. Agents are numbers below agents_max,
//             resources by the number that RegisterResource answers.
// Guarantees  never more than the capacity is out. Nobody gets less than its minimum,
//             ceil(quantity (1 - flexibility)): less would be worthless. nash: no other division
//             has a larger weighted product of gains; what a unit is worth to one does not matter
//             (scale invariance), its bargaining power w = 1 + priority / 10 does. Budgets are
//             charged for what was granted, never for what was refused. Who is starved counts
//             double until it is served.
// If the      holder stalls: after max_hold_ns its units are taken. Its station dies: at once. It
// other side  is preempted: it is warned, loses them after grace_ns, and its fence is refused.
// dies
// Invariants  active + free == capacity. Each allocation ends once; each wait ends once.
// Errors      invalid_id, invalid_argument, not_found, no_such_agent, already_exists, capacity,
//             insufficient_quantity (more than there is), deadlock_victim (wait-die), not_owner (a
//             second release), expired, stale_token, not_authorized. Refusal::quota_exhausted with
//             the wait; would_block with a ticket.
// Source      Nash 1950, Kelly 1998 (proportional fairness), Rosenkrantz, Stearns & Lewis 1978
//             (wait-die), Gini 1912.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/arbiter_terms.hpp"
#include "engine/coordination/blocks/auction_core.hpp"
#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/ols.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/blocks/water_fill.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

// 0: all alike; (n - 1) / n: one has it all.
[[nodiscard]] double gini_index(std::span<double> shares) noexcept;  // sorts them
[[nodiscard]] double jain_index(std::span<const double> shares) noexcept;
struct NashClaim {
  double weight = 1;
  double base = 0;  // disagreement over utility
  std::uint64_t floor = 0;
  std::uint64_t cap = 0;
};
// Whole units, one by one to whom the next is worth most; ties to the larger weight, then to the
// first. Optimal, because the gains fall.
void nash_integer(std::uint64_t total, std::span<const NashClaim> claims,
                  std::span<std::uint64_t> shares) noexcept;

class ResourceContentionArbiter final
    : public ServiceForm<ResourceContentionArbiter, ContentionConfig, ContentionCommand,
                         ContentionReply, ContentionCounters, ContentionActions> {
 public:
  // a: agent or resource, b: allocation or severity, c: fence.
  enum class Event : std::uint16_t { preempted = 1, expired, severity };
  static constexpr std::uint32_t kPriorityMax = 10;
  static constexpr std::uint64_t kUnitsMax = std::uint64_t{1} << 40;

  static Status validate(const Config& config);
  explicit ResourceContentionArbiter(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] ArbiterView view(std::uint32_t resource) const noexcept;
  [[nodiscard]] DemandForecast forecast(std::uint32_t resource, Nanos now) const noexcept;
  [[nodiscard]] double satisfaction(std::uint32_t agent) const noexcept;
  [[nodiscard]] bool is_starved(std::uint32_t agent, Nanos now) const noexcept;
  [[nodiscard]] std::uint64_t held(std::uint32_t agent, std::uint32_t resource) const noexcept;
  // Of a ticket or an allocation, among the last 256 decisions; unknown: older, or never.
  [[nodiscard]] Explanation explain(std::uint64_t id) const noexcept;
  // Of an agent's last request that got neither units nor a ticket, among the last 256 of all: no
  // state of the arbiter's, so a restart forgets them.
  [[nodiscard]] RefusedRequest last_refusal(std::uint32_t agent) const noexcept;
  // True: of any two, one that waits for another is the older (wait_die always).
  [[nodiscard]] bool waits_only_for_younger() const noexcept;

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"contention_arbiter", 1};
  static constexpr std::string_view kWho = "contention arbiter";
  static constexpr std::uint32_t kNone = IdTable::kNone;
  static constexpr std::int64_t kNever = INT64_MAX;

  struct Resource {
    IdHash id;
    std::uint64_t capacity = 0;
    std::uint64_t active = 0;
    std::uint64_t fence = 0;
    std::uint32_t waiting = 0;
    std::int64_t round_ns = kNever;  // when the next is
    std::int64_t sampled_ns = -1;
    double demand = 0;  // EWMA
    bool divisible = false;
    bool preemptible = false;
    Contention severity = Contention::none;
    double gini = 0;
    SampleRing samples;
  };
  struct Allocation {
    std::uint64_t id = 0;
    std::uint64_t fence = 0;
    std::uint64_t units = 0;
    std::uint64_t asked = 0;
    std::int64_t since_ns = 0;
    std::int64_t expires_ns = 0;
    std::int64_t revoke_ns = kNever;
    std::int64_t timestamp_ns = 0;
    std::uint32_t agent = 0;
    std::uint32_t resource = 0;
    std::uint32_t station = 0;
    std::uint32_t priority = 0;
  };
  struct Demand {
    std::uint64_t ticket = 0;
    std::uint64_t quantity = 0;
    std::uint64_t floor = 0;
    std::uint64_t utility = 0;
    std::uint64_t disagreement = 0;
    std::int64_t since_ns = 0;
    std::int64_t deadline_ns = kNever;
    std::int64_t timestamp_ns = 0;
    std::uint32_t agent = 0;
    std::uint32_t resource = 0;
    std::uint32_t station = 0;
    std::uint32_t priority = 0;
  };
  struct Budget {
    std::uint64_t units = 0;
    std::uint64_t left = 0;
    std::int64_t period_ns = 0;
    std::int64_t refilled_ns = 0;
    std::uint32_t agent = 0;
    std::uint32_t resource = 0;
  };
  struct Standing {  // of an agent
    double satisfaction = 1;
    std::int64_t below_since_ns = -1;
    std::uint32_t allocations = 0;
  };
  struct Decision {
    std::uint64_t id = 0;
    Explanation why;
  };

  Reply on(const contention::RegisterResource& order, std::int64_t now_ns) noexcept;
  Reply on(const contention::SetBudget& order, std::int64_t now_ns) noexcept;
  Reply on(const contention::Request& order, std::int64_t now_ns) noexcept;
  Reply on(const contention::Release& order, std::int64_t now_ns) noexcept;
  Reply on(const contention::Cancel& order, std::int64_t now_ns) noexcept;
  Reply on(const contention::Validate& order, std::int64_t now_ns) noexcept;
  Reply on(const contention::StationClosed& order, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc check(const contention::Request& order, std::int64_t now_ns) const noexcept;
  [[nodiscard]] std::uint32_t older_in_the_way(const Demand& demand) const noexcept;
  Reply refuse_request(const contention::Request& order, ArbiterReason reason,
                       std::uint32_t in_its_way = kNobody) noexcept;
  [[nodiscard]] Budget* budget_of(std::uint32_t agent, std::uint32_t resource) noexcept;
  [[nodiscard]] const Budget* budget_of(std::uint32_t agent, std::uint32_t resource) const noexcept;
  void refill(Budget& budget, std::int64_t now_ns) noexcept;
  std::uint32_t allocate(const Demand& demand, std::uint64_t units, std::int64_t now_ns) noexcept;
  void end(std::uint32_t slot, ArbiterReason why, std::int64_t now_ns) noexcept;
  void end_wait(std::uint32_t slot, ArbiterReason why, std::int64_t now_ns) noexcept;
  void drop_demand(std::uint32_t slot) noexcept;
  void decide(std::uint64_t id, const Demand& demand, ArbiterReason reason,
              std::uint64_t granted) noexcept;
  void note_satisfaction(std::uint32_t agent, double sample, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t effective_priority(const Demand& demand,
                                                 std::int64_t now_ns) const noexcept;
  void want_round(std::uint32_t resource, std::int64_t at_ns) noexcept;
  void catch_up(std::int64_t now_ns) noexcept;
  void sample(std::uint32_t resource, std::int64_t now_ns) noexcept;

  // arbiter_round.cpp
  void round(std::uint32_t resource, std::int64_t now_ns) noexcept;
  void gather(std::uint32_t resource, std::int64_t now_ns) noexcept;
  void admit(std::uint64_t free, std::int64_t now_ns) noexcept;
  void round_shares(std::uint64_t free) noexcept;
  void share_out(const Resource& on, std::int64_t now_ns) noexcept;
  void share_by_auction(std::uint64_t free) noexcept;
  void serve(std::uint32_t resource, std::int64_t now_ns) noexcept;
  void serve_by_priority(std::uint32_t resource, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool preempt(const Demand& demand, std::int64_t now_ns) noexcept;
  void note_fairness(std::uint32_t resource, std::int64_t now_ns) noexcept;

  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_allocations(StateReader& reader);
  void load_demands(StateReader& reader);
  void load_rest(StateReader& reader);

  std::vector<Resource> resources_;
  SlotSet resource_slots_;
  IdTable resource_index_;
  std::vector<Allocation> allocations_;
  SlotSet allocation_slots_;
  IdTable allocation_index_;
  std::vector<Demand> demands_;
  SlotSet demand_slots_;
  std::vector<Budget> budgets_;
  IdTable budget_index_;
  std::vector<Standing> standings_;
  DeadlineHeap hold_ends_;
  DeadlineHeap wait_ends_;
  std::array<Decision, 256> decisions_{};
  std::uint64_t decision_count_ = 0;
  std::uint64_t last_id_ = 0;
  struct Refused {
    std::uint32_t agent = kNobody;
    RefusedRequest request;
  };
  std::array<Refused, 256> refused_{};
  std::uint64_t refused_count_ = 0;
  // Of a round, in its order.
  std::vector<std::uint32_t> queue_;
  std::vector<FillItem> items_;
  std::vector<double> fills_;
  std::vector<double> scratch_;
  std::vector<NashClaim> claims_;
  std::vector<FlatBid> bids_;
  std::vector<std::uint64_t> shares_;
  std::vector<std::uint64_t> prices_;
  std::vector<ArbiterNews> news_;
  bool view_changed_ = true;
};

static_assert(DurableService<ResourceContentionArbiter>);

extern template class ServiceForm<ResourceContentionArbiter, ContentionConfig, ContentionCommand,
                                  ContentionReply, ContentionCounters, ContentionActions>;

}  // namespace mesh::coordination
