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
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/credit_pool.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/ols.hpp"
#include "engine/coordination/blocks/refusal.hpp"
#include "engine/coordination/blocks/sample_window.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/water_fill.hpp"
#include "engine/coordination/blocks/window_counter.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

inline constexpr std::uint32_t kFederationPriorities = 4;
inline constexpr std::uint32_t kAnyNetwork = UINT32_MAX;

struct FederationConfig {
  std::uint32_t burst_ppm = 250'000;                                // of the quota
  std::uint32_t reserve_ppm = 100'000;                              // never lent
  std::array<std::uint32_t, 3> shed_ppm{250'000, 100'000, 30'000};  // of it left: low, normal, high
  std::uint32_t requester_share_ppm = 400'000;  // of the budget, while others have queued demand
  std::uint32_t donate_ppm = 500'000;           // of the surplus
  Nanos idle_after_ns{5'000'000'000};           // without a request: its surplus is offered to all
  Nanos coalesce_window_ns{10'000'000};
  std::uint32_t coalesce_max = 64;  // followers of one leader
  std::uint32_t breaker_429 = 3;    // in a row
  Nanos breaker_open_ns{30'000'000'000};
  Nanos aging_ns{2'000'000'000};
  std::uint32_t queue_max = 5'000;
  std::uint32_t min_trust_ppm = 0;
  std::uint32_t hedge_ppm = 20'000;    // of what is dispatched, at most; 0: never
  Nanos credit_expiry_ns{20'000'000};  // of what a station was granted ahead of time
  std::uint32_t grants_max = 64;       // live at once, of a network
  std::uint32_t networks_max = 64;
  std::uint32_t loans_max = 256;
  std::uint32_t events_max = 64;

  static Result<FederationConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

enum class RequestOutcome : std::uint8_t { ok, failed, rate_limited, cancelled };
constexpr RequestOutcome last_of(RequestOutcome) noexcept { return RequestOutcome::cancelled; }
enum class QuotaRisk : std::uint8_t { low, medium, high, critical };

namespace federation {
// So many millionths of it, rounded down.
[[nodiscard]] constexpr std::uint64_t share_of(std::uint64_t whole, std::uint64_t ppm) noexcept {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(static_cast<Wide>(whole) * ppm / 1'000'000);
}

struct AddNetwork {
  std::string name;
  std::uint64_t capabilities = 0;  // bits; the host interns their names
  std::uint32_t trust_ppm = 1'000'000;
  std::uint64_t quota = 0;
  Nanos window{0};
  std::uint64_t price = 0;  // of a request, in any unit that all share
};
struct Submit {
  std::uint32_t network = 0;     // kAnyNetwork: where one that succeeds is cheapest
  std::uint32_t capability = 0;  // a bit's number
  std::uint32_t priority = 1;
  std::uint32_t requester = 0;
  std::uint64_t coalesce_key = 0;  // 0: none
  std::uint64_t payload = 0;       // the host's reference
  Nanos deadline{0};               // 0: none; queued beyond it: cancelled
  bool may_hedge = false;  // it may be executed twice: a slow one is sent to a second network
};
struct Cancel {
  std::uint64_t request = 0;
};
struct Complete {
  std::uint64_t request = 0;
  RequestOutcome outcome = RequestOutcome::ok;
  Nanos retry_after{0};                 // of a 429
  std::uint32_t network = kAnyNetwork;  // which answered, where it was hedged; else its own
};
struct StationClosed {
  std::uint32_t requester = 0;
};
// A bilateral loan: as much of `count` as the lender's surplus, its donate share and the borrower's
// trust allow, until the lender's window ends.
struct Borrow {
  std::uint32_t lender = 0;
  std::uint32_t borrower = 0;
  std::uint64_t count = 0;
  std::uint64_t lender_forecast = 0;  // what the lender will use itself
};
// The lender is busy: what of its loans is unspent comes back.
struct Reclaim {
  std::uint32_t lender = 0;
};
// All at once: the surplus of those that are idle and do not ask, split among those that ask by
// their trust, none above what it asks for.
struct Ask {
  std::uint32_t network = 0;
  std::uint64_t count = 0;
};
struct Negotiate {
  std::vector<Ask> asks;
};
// A station asks for requests to a network ahead of time. What is granted counts as used, whatever
// comes of it, and ends with the window.
struct WantCredit {
  std::uint32_t network = 0;
  std::uint32_t station = 0;
  std::uint64_t count = 0;
};
// The one form of dispatch() and of take_completions() that a journal knows: one request.
struct DispatchNext {};
struct TakeCompletion {};
// With no state of before: the window that runs counts as fully used.
struct AssumeFull {};
// Nobody will report any more what was sent there: the bridge died, or the engine did and this was
// restored. What is in flight is returned as cancelled, followers with their leader; a hedged one
// goes on where its other network still answers. Its budget stays spent.
struct BridgeDied {
  std::uint32_t network = kAnyNetwork;  // kAnyNetwork: to all of them
};
}  // namespace federation

struct Dispatched {
  std::uint64_t request = 0;
  std::uint32_t network = 0;
  std::uint32_t capability = 0;
  std::uint64_t payload = 0;
  bool is_hedge = false;  // the second one of this request: the first answer counts
};
struct Completion {
  std::uint64_t request = 0;
  std::uint32_t requester = 0;
  RequestOutcome outcome = RequestOutcome::ok;
};

struct FederationReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  std::uint64_t id = 0;  // of the network or the request
  bool is_follower = false;
  std::uint64_t granted = 0;  // Borrow, Reclaim, Negotiate; StationClosed, BridgeDied: how many
  Nanos retry_after{0};
  bool any = false;                     // DispatchNext, TakeCompletion: there was one
  Dispatched dispatched;                // DispatchNext
  Completion completion;                // TakeCompletion
  std::uint32_t network = kAnyNetwork;  // Submit: where to
  Grant grant;                          // WantCredit
};

struct FederationView {
  std::uint32_t remaining_ppm = 0;
  std::uint32_t shed_below = 0;  // priorities below this one are shed
  BreakerView breaker;
  std::int64_t window_end_ns = 0;
};

struct FederationForecast {
  double mean = 0;  // requests a window
  double share = 0;
  QuotaRisk risk = QuotaRisk::low;
  double exhaust_at_s = -1;  // when the rate crosses the quota; below 0: it does not
  bool low_confidence = false;
};
[[nodiscard]] QuotaRisk risk_of(double share) noexcept;
// From a line of rates (requests a window, over seconds).
[[nodiscard]] FederationForecast forecast_of(const Line& rates, double quota, double now_s,
                                             double horizon_s) noexcept;

struct FederationCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t submitted = 0;  // accepted ones, followers included
  std::uint64_t followers = 0;
  std::uint64_t shed = 0;
  std::uint64_t exhausted = 0;
  std::uint64_t rejected = 0;  // by breaker, capability, trust or fairness
  std::uint64_t dispatched = 0;
  std::uint64_t completed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t rate_limited = 0;
  std::uint64_t loans = 0;
  std::uint64_t hedges = 0;
  std::uint64_t credited = 0;  // units granted ahead
};

struct FederationActions {
  std::uint64_t completions_ready = 0;
};

using FederationCommand =
    std::variant<federation::AddNetwork, federation::Submit, federation::Cancel,
                 federation::Complete, federation::StationClosed, federation::Borrow,
                 federation::Reclaim, federation::DispatchNext, federation::TakeCompletion,
                 federation::AssumeFull, federation::Negotiate, federation::WantCredit,
                 federation::BridgeDied>;

class FederationRouter final
    : public ServiceForm<FederationRouter, FederationConfig, FederationCommand, FederationReply,
                         FederationCounters, FederationActions> {
 public:
  // breaker_opened: a network, b until when (ns). loan, loan_returned: a lender, b borrower, c how
  // many.
  enum class Event : std::uint16_t { breaker_opened = 1, loan = 2, loan_returned = 3 };

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
  static constexpr SnapshotKind kKind{"federation_router", 3};
  static constexpr std::string_view kWho = "federation router";
  static constexpr std::uint32_t kNone = UINT32_MAX;
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
    std::uint64_t sample_count = 0;        // dispatched in this sixth of a window
    double level = 0;                      // EWMA of the rates
    SampleRing rates;                      // requests a window, over seconds
    std::array<std::uint32_t, 64> used{};  // of the budget in this window, by requester modulo 64
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
  [[nodiscard]] bool is_over_share(const Request& request) const noexcept;
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
