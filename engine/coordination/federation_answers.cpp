// A federation router's answers: what they say of a network, and the second request that a slow one
// is given.
#include <algorithm>

#include "engine/coordination/federation_router.hpp"

namespace mesh::coordination {
namespace {

constexpr std::uint64_t kHedgeCost = 1'000'000;    // of the hedge budget
constexpr std::uint32_t kStartAfter429 = 500'000;  // of the quota
constexpr std::uint32_t kCriticalPriority = 3;
constexpr double kSuccessAlpha = 0.1;
constexpr double kPromising = 0.95;    // of a capability, where of all
constexpr double kTroubled = 0.8;      // at most this much succeeds
constexpr double kSuccessMin = 0.05;   // for a price: what never succeeds has one too
constexpr std::size_t kTimesMin = 16;  // for a 95th percentile to mean something

}  // namespace

// --- answers -----------------------------------------------------------------------------------

void FederationRouter::answer(std::uint32_t slot, RequestOutcome outcome) noexcept {
  for (auto& one : requests_) {
    if (one.stage != Stage::following || one.leader != slot) continue;
    one.stage = Stage::answered;
    one.outcome = outcome;
  }
  Request& leader = requests_[slot];
  queued_ -= leader.stage == Stage::queued ? 1 : 0;
  leader.stage = Stage::answered;
  leader.outcome = outcome;
}

std::size_t FederationRouter::take_completions(std::span<Completion> out) noexcept {
  std::size_t count = 0;
  // Leaders first: a follower never is answered before its leader.
  for (const bool leaders : {true, false}) {
    for (std::uint32_t slot = 0; slot < requests_.size() && count < out.size(); ++slot) {
      Request& one = requests_[slot];
      if (one.stage != Stage::answered || (one.leader == kNone) != leaders) continue;
      out[count++] = {id_of(slot), one.requester, one.outcome};
      ++(one.outcome == RequestOutcome::cancelled ? counters_.cancelled : counters_.completed);
      one.stage = Stage::free;
    }
  }
  return count;
}

FederationRouter::Reply FederationRouter::complete(const federation::Complete& done,
                                                   std::int64_t now_ns) noexcept {
  const std::uint32_t slot = slot_of(done.request);
  if (slot == kNone) return refuse(Errc::not_found);
  if (requests_[slot].stage != Stage::in_flight) return refuse(Errc::wrong_state);
  if (done.outcome > RequestOutcome::cancelled || done.retry_after.count() < 0) {
    return refuse(Errc::invalid_argument);
  }
  Request& request = requests_[slot];
  const bool by_hedge = request.hedge_network != kNone && done.network == request.hedge_network;
  if (!by_hedge && done.network != kAnyNetwork && done.network != request.network) {
    return refuse(Errc::invalid_argument);
  }
  bool& is_out = by_hedge ? request.hedge_is_out : request.is_out;
  if (!is_out) return refuse(Errc::wrong_state);
  is_out = false;
  const std::uint32_t answered = by_hedge ? request.hedge_network : request.network;
  learn(answered, request, done, now_ns);
  settle(answered, by_hedge ? request.hedge_permit : request.permit, done, now_ns);
  const bool other_is_out = by_hedge ? request.is_out : request.hedge_is_out;
  if (other_is_out && done.outcome != RequestOutcome::ok) return {};  // the other may still succeed
  if (other_is_out) {                          // what it says does not count any more
    if (by_hedge) note_time(request, now_ns);  // its own network takes at least so long
    settle(by_hedge ? request.network : request.hedge_network,
           by_hedge ? request.permit : request.hedge_permit,
           {done.request, RequestOutcome::cancelled, Nanos{0}, kAnyNetwork}, now_ns);
  }
  answer(slot, done.outcome);
  return {};
}

// --- deaths ------------------------------------------------------------------------------------

std::uint32_t FederationRouter::in_flight() const noexcept {
  return static_cast<std::uint32_t>(
      std::count_if(requests_.begin(), requests_.end(),
                    [](const Request& one) { return one.stage == Stage::in_flight; }));
}

// No answer will come from that network (kAnyNetwork: from none); what is out nowhere then is
// cancelled, and its permits go back without an outcome.
void FederationRouter::give_up(std::uint32_t slot, std::uint32_t network,
                               std::int64_t now_ns) noexcept {
  Request& one = requests_[slot];
  const federation::Complete lost{0, RequestOutcome::cancelled, Nanos{0}, kAnyNetwork};
  const bool is_all = network == kAnyNetwork;
  if (one.is_out && (is_all || network == one.network)) {
    one.is_out = false;
    settle(one.network, one.permit, lost, now_ns);
  }
  if (one.hedge_is_out && (is_all || network == one.hedge_network)) {
    one.hedge_is_out = false;
    settle(one.hedge_network, one.hedge_permit, lost, now_ns);
  }
  if (!one.is_out && !one.hedge_is_out) answer(slot, RequestOutcome::cancelled);
}

FederationRouter::Reply FederationRouter::lose_bridge(std::uint32_t network,
                                                      std::int64_t now_ns) noexcept {
  if (network != kAnyNetwork && network >= networks_.size()) return refuse(Errc::not_found);
  Reply reply;
  for (std::uint32_t slot = 0; slot < requests_.size(); ++slot) {
    if (requests_[slot].stage != Stage::in_flight) continue;
    give_up(slot, network, now_ns);
    reply.granted += std::uint64_t{requests_[slot].stage == Stage::answered};
  }
  return reply;
}

// Of a station that is gone; false: it is answered, or goes on for those that follow it.
bool FederationRouter::end_for_station(std::uint32_t slot, std::int64_t now_ns) noexcept {
  const Request& one = requests_[slot];
  if (one.stage == Stage::queued || one.stage == Stage::following) {
    cancel(id_of(slot));
    return true;
  }
  if (one.stage != Stage::in_flight || one.followers != 0) return false;
  give_up(slot, kAnyNetwork, now_ns);
  return true;
}

// What follows goes first: then what others follow is known.
FederationRouter::Reply FederationRouter::close_station(std::uint32_t requester,
                                                        std::int64_t now_ns) noexcept {
  Reply reply;
  for (const bool follows : {true, false}) {
    for (std::uint32_t slot = 0; slot < requests_.size(); ++slot) {
      const Request& one = requests_[slot];
      const bool is_turn = (one.stage == Stage::following) == follows;
      if (one.stage == Stage::free || one.requester != requester || !is_turn) continue;
      reply.granted += std::uint64_t{end_for_station(slot, now_ns)};
    }
  }
  return reply;
}

// What the outcome says to the network's breaker and budget.
void FederationRouter::settle(std::uint32_t id, const Permit& permit,
                              const federation::Complete& done, std::int64_t now_ns) noexcept {
  Network& network = networks_[id];
  const BreakerState before = network.breaker.state();
  const bool limited = done.outcome == RequestOutcome::rate_limited;
  const CallOutcome outcome = limited                                     ? CallOutcome::fail
                              : done.outcome == RequestOutcome::cancelled ? CallOutcome::ignored
                                                                          : CallOutcome::ok;
  network.breaker.record({permit, outcome, Nanos{0}, done.retry_after}, Nanos{now_ns});
  counters_.rate_limited += limited ? 1 : 0;
  network.is_clean = network.is_clean && !limited;
  if (before != BreakerState::closed && network.breaker.state() == BreakerState::closed) {
    network.start_ppm = kStartAfter429;
  }
  if (before != BreakerState::open && network.breaker.state() == BreakerState::open) {
    emit(Event::breaker_opened, Severity::warning, now_ns,
         {id, static_cast<std::uint64_t>(network.breaker.open_until().count())});
  }
}

// --- what is learned ---------------------------------------------------------------------------

void FederationRouter::note_time(const Request& request, std::int64_t now_ns) noexcept {
  const std::int64_t micros = (now_ns - request.sent_ns) / 1'000;
  const auto kept =
      static_cast<std::uint32_t>(std::min<std::int64_t>(micros, SampleWindow::kMicrosMax));
  networks_[request.network].took.add(now_ns, true, kept);
}

// A 429 is no failure, and what was cancelled says nothing.
void FederationRouter::learn(std::uint32_t id, const Request& request,
                             const federation::Complete& done, std::int64_t now_ns) noexcept {
  if (done.outcome != RequestOutcome::ok && done.outcome != RequestOutcome::failed) return;
  Network& network = networks_[id];
  if (id == request.network) note_time(request, now_ns);
  const double outcome = done.outcome == RequestOutcome::ok ? 1 : 0;
  double& success = network.success[request.capability];
  success = success < 0 ? outcome : success + kSuccessAlpha * (outcome - success);
  network.success_all += kSuccessAlpha * (outcome - network.success_all);
}

double FederationRouter::success(std::uint32_t network, std::uint32_t capability) const noexcept {
  if (network >= networks_.size() || capability >= networks_[network].success.size()) return 0;
  const double known = networks_[network].success[capability];
  return known < 0 ? 1 : known;
}

// Where much fails, what mostly succeeds is worth the budget more.
bool FederationRouter::is_promising(const Request& request) const noexcept {
  const Network& network = networks_[request.network];
  return network.success_all <= kTroubled && network.success[request.capability] >= kPromising;
}

// --- choice and hedging ------------------------------------------------------------------------

// Of those that would take it now, where one that succeeds costs least: price / success. Ties: the
// first that was added.
std::uint32_t FederationRouter::cheapest(const Request& request, std::int64_t now_ns,
                                         std::uint32_t except) const noexcept {
  std::uint32_t best = kNone;
  double least = 0;
  for (std::uint32_t id = 0; id < networks_.size(); ++id) {
    const Network& network = networks_[id];
    const bool offers = (network.capabilities >> request.capability & 1U) != 0 &&
                        network.trust_ppm >= config_.min_trust_ppm && id != except;
    if (!offers || network.breaker.state() != BreakerState::closed) continue;
    HybridWindow window = network.window;  // to look ahead in time moves nothing
    const bool is_shed = request.priority < kCriticalPriority &&
                         remaining_ppm(network, now_ns) < config_.shed_ppm[request.priority];
    if (is_shed || window.room(budget(network), now_ns) == 0) continue;
    const double price =
        static_cast<double>(network.price) / std::max(kSuccessMin, success(id, request.capability));
    if (best != kNone && !(price < least)) continue;
    best = id;
    least = price;
  }
  return best;
}

// Of those that may be executed twice, one that takes longer than 95 in 100 do there.
bool FederationRouter::hedge(Nanos now, Dispatched& out) noexcept {
  if (hedge_budget_ < kHedgeCost) return false;
  const std::int64_t now_ns = now.count();
  for (std::uint32_t slot = 0; slot < requests_.size(); ++slot) {
    Request& one = requests_[slot];
    if (one.stage != Stage::in_flight || !one.may_hedge || one.hedge_network != kNone) continue;
    const SampleWindow& took = networks_[one.network].took;
    const std::int64_t usual_ns = std::int64_t{took.p95_micros()} * 1'000;
    if (took.successes() < kTimesMin || now_ns - one.sent_ns <= usual_ns) continue;
    const std::uint32_t id = cheapest(one, now_ns, one.network);
    if (id == kNone || !may_send(networks_[id], now_ns)) continue;
    Network& second = networks_[id];
    const BreakerReply admitted = second.breaker.allow(now);
    if (admitted.refusal != Refusal::none) continue;
    if (second.bucket.take(now_ns).status != TakeStatus::kTaken) continue;
    spend(second, one.requester, 1, now_ns);
    hedge_budget_ -= kHedgeCost;
    ++counters_.hedges;
    one.hedge_network = id;
    one.hedge_permit = admitted.permit;
    one.hedge_is_out = true;
    out = {id_of(slot), id, one.capability, one.payload, true};
    return true;
  }
  return false;
}

}  // namespace mesh::coordination
