// What a federation router is told and says: its config, commands, replies, views. The contract:
// federation_router.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/credit_pool.hpp"
#include "engine/coordination/blocks/ols.hpp"
#include "engine/coordination/blocks/refusal.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "shm/base/errc.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

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

}  // namespace mesh::coordination
