// FederationRouter: sends requests to other networks (hosts, clusters, providers) within the
// budgets that those grant: who is shed, who waits, who shares an answer, who lends to whom.
//
// Callers     one thread. It does no I/O: dispatch() returns what to send, the bridge sends it and
//             reports with Complete. Any process may read what view() says.
// Progress    wait-free. submit, complete and each request that dispatch() lets leave: one walk
//             over the queue's slots. Nothing is allocated but by AddNetwork, a cold command.
// Units       quota in requests a window; ppm; priorities 0 low, 1 normal, 2 high, 3 critical.
// Budget      accepted while gcra(quota / window, burst_ppm of it) and the sliding estimate + 1 <=
//             quota: the bucket smooths, the window keeps the provider's contract. Spent at
//             dispatch: what is cancelled in the queue costs nothing.
// If the      provider says 429: counted as rate_limited, not as failure; its breaker opens for
// other side  Retry-After, and the budget starts again at half. A station closes: its requests are
// dies        cancelled, but for one in flight that others follow. The bridge dies, or the engine
//             comes back: BridgeDied cancels what was in flight. After a power cut: AssumeFull.
// Invariants  submitted == queued + in_flight + completed + cancelled, followers included.
//             The sum of effective quotas == the sum of granted quotas: loans are zero-sum.
//             A follower completes with its leader, never before.
// Errors      validate -> invalid_config. Unknown network or request: not_found. Trust above 1, a
//             window or quota of 0: invalid_config. Queue or tables full: capacity. A deadline
//             that has passed: expired. No network takes a request to kAnyNetwork: no_candidate.
// Source      sliding window counter and GCRA; coalescing as "single flight"; water-filling by
//             trust; hedged requests: Dean & Barroso, The Tail at Scale, 2013.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/coordination/blocks/credit_pool.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/ols.hpp"
#include "engine/coordination/blocks/sample_window.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/water_fill.hpp"
#include "engine/coordination/blocks/window_counter.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/coordination/federation_terms.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

class FederationRouter final
    : public ServiceForm<FederationRouter, FederationConfig, FederationCommand, FederationReply,
                         FederationCounters, FederationActions> {
 public:
  // breaker_opened: a network, b until when (ns). loan, loan_returned: a lender, b borrower, c how
  // many. shed: a network, b priority, c what is left (ppm); where a window's first of that
  // priority or of one below it is shed, and not each one.
  enum class Event : std::uint16_t { breaker_opened = 1, loan = 2, loan_returned = 3, shed = 4 };

  static Status validate(const Config& config);
  explicit FederationRouter(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  // What may leave now, the most urgent first; fills at most out.size(), returns how many.
  std::size_t dispatch(Nanos now, std::span<Dispatched> out) noexcept;
  // Answers since the last call, followers after their leader; at most out.size().
  std::size_t take_completions(std::span<Completion> out) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] FederationView view(std::uint32_t network, Nanos now) const noexcept;
  [[nodiscard]] FederationForecast forecast(std::uint32_t network, Nanos horizon) const noexcept;
  [[nodiscard]] std::uint64_t effective_quota(std::uint32_t network) const noexcept;
  // Of this capability's outcomes there, lately; 1 while none is known.
  [[nodiscard]] double success(std::uint32_t network, std::uint32_t capability) const noexcept;
  [[nodiscard]] std::uint32_t queued() const noexcept { return queued_; }
  // Sent and not answered; O(slots).
  [[nodiscard]] std::uint32_t in_flight() const noexcept;

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"federation_router", 4};
  static constexpr std::string_view kWho = "federation router";
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr std::int64_t kSamplesAWindow = 6;
  static constexpr std::size_t kShares = 1'024;  // requesters are told apart modulo this
  enum class Stage : std::uint8_t { free, queued, in_flight, following, answered };
  struct Request {
    Stage stage = Stage::free;
    std::uint8_t priority = 0;
    std::uint32_t network = 0;
    std::uint32_t capability = 0;
    std::uint32_t requester = 0;
    std::uint32_t leader = kNone;  // following: its slot
    std::uint32_t followers = 0;
    RequestOutcome outcome = RequestOutcome::ok;
    std::uint32_t serial = 0;
    std::uint64_t key = 0;
    std::uint64_t payload = 0;
    std::int64_t since_ns = 0;
    std::int64_t deadline_ns = 0;
    Permit permit;
    bool may_hedge = false;
    bool is_out = false;  // in flight: its own network has not answered yet
    bool hedge_is_out = false;
    std::uint32_t hedge_network = kNone;
    Permit hedge_permit;
    std::int64_t sent_ns = 0;
  };
  struct Network {
    Network(const federation::AddNetwork& wanted, const FederationConfig& config);
    std::string name;
    std::uint64_t capabilities = 0;
    std::uint32_t trust_ppm = 0;
    std::uint64_t quota = 0;  // granted
    std::uint64_t lent = 0;
    std::uint64_t borrowed = 0;
    std::uint64_t price = 0;
    HybridWindow window;
    CreditPool bucket;
    CircuitBreaker breaker;
    std::uint32_t start_ppm = 1'000'000;  // of the quota, after a 429; doubles each clean window
    std::int64_t window_end_ns = 0;
    std::int64_t sample_end_ns = 0;
    std::uint64_t sample_count = 0;             // dispatched in this sixth of a window
    double level = 0;                           // EWMA of the rates
    SampleRing rates;                           // requests a window, over seconds
    std::array<std::uint32_t, kShares> used{};  // of the budget in this window, by requester
    bool is_clean = true;                       // nobody said 429 in this window
    std::uint32_t shed_told = 0;                // of this window: the priorities below it
    std::int64_t last_sent_ns = 0;
    SampleWindow took;                 // from dispatch to answer
    double success_all = 1;            // EWMA
    std::array<double, 64> success{};  // of each capability; below 0: not known
  };
  struct Loan {
    std::uint32_t lender = kNone;  // kNone: free
    std::uint32_t borrower = kNone;
    std::uint64_t count = 0;
    std::int64_t expires_ns = 0;
  };

  Reply reject(Refusal refusal, Nanos retry_after, std::uint64_t& counter) noexcept;
  [[nodiscard]] bool is_possible(const federation::AddNetwork& wanted) const noexcept;
  Reply add_network(const federation::AddNetwork& wanted, std::int64_t now_ns) noexcept;
  Reply submit(const federation::Submit& wanted, std::int64_t now_ns) noexcept;
  Reply submit_to(const federation::Submit& wanted, std::int64_t now_ns) noexcept;
  Reply enqueue(const federation::Submit& wanted, std::uint32_t leader,
                std::int64_t now_ns) noexcept;
  Reply complete(const federation::Complete& answer, std::int64_t now_ns) noexcept;
  Reply cancel(std::uint64_t id) noexcept;
  Reply borrow(const federation::Borrow& wanted, std::int64_t now_ns) noexcept;
  Reply reclaim(std::uint32_t lender, std::int64_t now_ns) noexcept;
  Reply negotiate(const federation::Negotiate& wanted, std::int64_t now_ns) noexcept;
  Reply want_credit(const federation::WantCredit& wanted, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc judge(const federation::Negotiate& wanted) const noexcept;
  std::uint64_t take_offers(std::span<const federation::Ask> asks, std::int64_t now_ns) noexcept;
  bool split(std::uint64_t pool, std::span<const federation::Ask> asks) noexcept;
  [[nodiscard]] std::uint64_t surplus(const Network& network,
                                      std::uint64_t forecast) const noexcept;
  [[nodiscard]] bool is_idle(std::uint32_t network, std::int64_t now_ns) const noexcept;
  void move_budget(Network& from, Network& to, std::int64_t now_ns) noexcept;
  bool lend(std::uint32_t lender, std::uint32_t borrower, std::uint64_t count,
            std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t cheapest(const Request& request, std::int64_t now_ns,
                                       std::uint32_t except) const noexcept;
  bool hedge(Nanos now, Dispatched& out) noexcept;
  [[nodiscard]] bool is_promising(const Request& request) const noexcept;
  void note_time(const Request& request, std::int64_t now_ns) noexcept;
  void learn(std::uint32_t network, const Request& request, const federation::Complete& done,
             std::int64_t now_ns) noexcept;
  void settle(std::uint32_t network, const Permit& permit, const federation::Complete& done,
              std::int64_t now_ns) noexcept;
  Reply close_station(std::uint32_t requester, std::int64_t now_ns) noexcept;
  bool end_for_station(std::uint32_t slot, std::int64_t now_ns) noexcept;
  Reply lose_bridge(std::uint32_t network, std::int64_t now_ns) noexcept;
  void give_up(std::uint32_t slot, std::uint32_t network, std::int64_t now_ns) noexcept;
  Reply apply_rest(const Command& command, Nanos now) noexcept;
  [[nodiscard]] std::uint32_t leader_for(const federation::Submit& wanted,
                                         std::int64_t now_ns) const noexcept;
  [[nodiscard]] std::uint32_t slot_of(std::uint64_t id) const noexcept;
  [[nodiscard]] std::uint64_t id_of(std::uint32_t slot) const noexcept;
  [[nodiscard]] std::uint32_t urgency(const Request& request, std::int64_t now_ns) const noexcept;
  [[nodiscard]] std::uint64_t budget(const Network& network) const noexcept;
  [[nodiscard]] std::uint32_t remaining_ppm(const Network& network,
                                            std::int64_t now_ns) const noexcept;
  [[nodiscard]] bool is_over_share(std::uint32_t network, std::uint32_t requester) const noexcept;
  [[nodiscard]] bool others_wait(std::uint32_t network, std::uint32_t requester) const noexcept;
  Reply shed(std::uint32_t id, std::uint32_t priority, std::int64_t now_ns) noexcept;
  void spend(Network& network, std::uint32_t requester, std::uint64_t count,
             std::int64_t now_ns) noexcept;
  void send(Request& request, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t next_to_send(std::int64_t now_ns) noexcept;
  [[nodiscard]] bool may_send(Network& network, std::int64_t now_ns) noexcept;
  void answer(std::uint32_t slot, RequestOutcome outcome) noexcept;
  void promote_follower(std::uint32_t slot) noexcept;
  void return_loan(Loan& loan, std::uint64_t count, std::int64_t now_ns) noexcept;
  void roll(std::int64_t now_ns) noexcept;
  void roll_network(Network& network, std::int64_t now_ns) noexcept;
  void drop_late(std::int64_t now_ns) noexcept;
  [[nodiscard]] bool is_full() const noexcept;
  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_requests(StateReader& reader);
  void load_request(Request& request, StateReader& reader);
  static void save_network(const Network& network, StateWriter& writer);
  static void save_request(const Request& request, StateWriter& writer);

  std::vector<Network> networks_;
  std::vector<Request> requests_;  // slots: queued, in flight, following, or answered and not taken
  std::vector<Loan> loans_;
  std::uint32_t queued_ = 0;
  std::uint32_t last_serial_ = 0;
  std::uint64_t hedge_budget_ = 0;  // millionths of a request; one dispatched adds hedge_ppm
  std::vector<FillItem> items_;     // of a negotiation
  std::vector<std::uint64_t> offers_;
  std::vector<double> filled_;
  std::vector<double> scratch_;
};

static_assert(DurableService<FederationRouter>);

extern template class ServiceForm<FederationRouter, FederationConfig, FederationCommand,
                                  FederationReply, FederationCounters, FederationActions>;

}  // namespace mesh::coordination
