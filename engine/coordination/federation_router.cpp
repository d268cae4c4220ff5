#include "engine/coordination/federation_router.hpp"

#include <algorithm>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/ppm.hpp"

namespace mesh::coordination {
namespace {

constexpr std::uint32_t kHigh = 2;
constexpr std::uint32_t kCritical = 3;
constexpr std::uint64_t kHedgesSaved = 8;  // what calm times may save up

CircuitBreakerConfig breaker_of(const FederationConfig& config) {
  CircuitBreakerConfig breaker = CircuitBreakerConfig::preset("rate-limit").value();
  breaker.consecutive_threshold = config.breaker_429;
  breaker.open_ns = config.breaker_open_ns;
  breaker.open_ns_max = std::max(breaker.open_ns_max, breaker.open_ns);
  return breaker;
}

double rate_of(std::uint64_t quota, Nanos window) noexcept {
  return static_cast<double>(quota) / (static_cast<double>(window.count()) * 1e-9);
}

std::uint64_t burst_of(std::uint64_t quota, const FederationConfig& config) noexcept {
  return std::max<std::uint64_t>(1, federation::share_of(quota, config.burst_ppm));
}

CreditConfig credit_of(const federation::AddNetwork& wanted, const FederationConfig& config) {
  CreditConfig credit;
  credit.rate_per_s = rate_of(wanted.quota, wanted.window);
  credit.burst = burst_of(wanted.quota, config);
  credit.expiry_ns = config.credit_expiry_ns.count();
  credit.grants_max = config.grants_max;
  return credit;
}

}  // namespace

FederationRouter::Network::Network(const federation::AddNetwork& wanted,
                                   const FederationConfig& config)
    : name(wanted.name),
      capabilities(wanted.capabilities),
      trust_ppm(wanted.trust_ppm),
      quota(wanted.quota),
      price(wanted.price),
      window(wanted.window.count()),
      bucket(credit_of(wanted, config)),
      breaker(breaker_of(config)) {
  success.fill(-1);
}

FederationRouter::FederationRouter(const Config& config, std::uint64_t /*seed*/)
    : ServiceForm(config),
      requests_(config.queue_max),
      loans_(config.loans_max),
      items_(config.networks_max),
      offers_(config.networks_max),
      filled_(config.networks_max),
      scratch_(2 * std::size_t{config.networks_max}) {
  networks_.reserve(config.networks_max);
}

FederationRouter::Reply FederationRouter::reject(Refusal refusal, Nanos retry_after,
                                                 std::uint64_t& counter) noexcept {
  ++counter;
  Reply reply;
  reply.refusal = refusal;
  reply.retry_after = retry_after;
  return reply;
}

// --- budgets -----------------------------------------------------------------------------------

std::uint64_t FederationRouter::budget(const Network& network) const noexcept {
  return federation::share_of(network.quota + network.borrowed - network.lent, network.start_ppm);
}

std::uint32_t FederationRouter::remaining_ppm(const Network& network,
                                              std::int64_t now_ns) const noexcept {
  const std::uint64_t quota = budget(network);
  if (quota == 0) return 0;
  HybridWindow window = network.window;  // to look ahead in time moves nothing
  const double left = static_cast<double>(quota) - window.estimate(now_ns);
  return left <= 0 ? 0 : static_cast<std::uint32_t>(left / static_cast<double>(quota) * 1e6 + 1e-6);
}

bool FederationRouter::may_send(Network& network, std::int64_t now_ns) noexcept {
  const BreakerState state = network.breaker.state();
  if (state == BreakerState::open && now_ns < network.breaker.open_until().count()) return false;
  if (state == BreakerState::half_open && network.breaker.probes_out() != 0) return false;
  const bool fits = network.window.ask(1, budget(network), now_ns).fits;
  if (!fits && !MESH_MUTANT("federation.window")) return false;
  return network.bucket.available(now_ns) > 0 || MESH_MUTANT("federation.bucket");
}

bool FederationRouter::is_possible(const federation::AddNetwork& wanted) const noexcept {
  const bool ranged = wanted.trust_ppm <= kPpm && wanted.quota > 0 && wanted.quota <= UINT32_MAX &&
                      is_positive_duration(wanted.window);
  return ranged && GcraBucket::is_valid(rate_of(wanted.quota, wanted.window),
                                        burst_of(wanted.quota, config_));
}

FederationRouter::Reply FederationRouter::add_network(const federation::AddNetwork& wanted,
                                                      std::int64_t now_ns) noexcept {
  if (!is_name(wanted.name)) return refuse(Errc::invalid_id);
  if (!is_possible(wanted)) return refuse(Errc::invalid_config);
  const auto same = [&](const Network& network) { return network.name == wanted.name; };
  if (std::any_of(networks_.begin(), networks_.end(), same)) return refuse(Errc::already_exists);
  if (networks_.size() >= config_.networks_max) return refuse(Errc::capacity);
  networks_.emplace_back(wanted, config_);
  Network& network = networks_.back();
  network.window.roll(now_ns);
  network.window_end_ns = network.window.end_ns();
  network.sample_end_ns = now_ns + wanted.window.count() / kSamplesAWindow;
  network.last_sent_ns = now_ns;
  Reply reply;
  reply.id = networks_.size() - 1;
  return reply;
}

// --- requests ----------------------------------------------------------------------------------

std::uint64_t FederationRouter::id_of(std::uint32_t slot) const noexcept {
  return std::uint64_t{requests_[slot].serial} << 32 | slot;
}

std::uint32_t FederationRouter::slot_of(std::uint64_t id) const noexcept {
  const auto slot = static_cast<std::uint32_t>(id);
  const bool known = slot < requests_.size() && requests_[slot].stage != Stage::free &&
                     requests_[slot].serial == id >> 32;
  return known ? slot : kNone;
}

std::uint32_t FederationRouter::leader_for(const federation::Submit& wanted,
                                           std::int64_t now_ns) const noexcept {
  if (wanted.coalesce_key == 0) return kNone;
  for (std::uint32_t slot = 0; slot < requests_.size(); ++slot) {
    const Request& one = requests_[slot];
    const bool leads = one.stage == Stage::queued || one.stage == Stage::in_flight;
    if (leads && one.key == wanted.coalesce_key && one.network == wanted.network &&
        one.capability == wanted.capability &&
        (one.followers < config_.coalesce_max || MESH_MUTANT("federation.coalesce_max")) &&
        now_ns - one.since_ns < config_.coalesce_window_ns.count()) {
      return slot;
    }
  }
  return kNone;
}

bool FederationRouter::is_full() const noexcept {
  return std::none_of(requests_.begin(), requests_.end(),
                      [](const Request& request) { return request.stage == Stage::free; });
}

FederationRouter::Reply FederationRouter::submit(const federation::Submit& wanted,
                                                 std::int64_t now_ns) noexcept {
  const bool is_any = wanted.network == kAnyNetwork;
  if (!is_any && wanted.network >= networks_.size()) return refuse(Errc::not_found);
  if (wanted.priority >= kFederationPriorities || wanted.capability >= 64 ||
      !ServiceClock::is_valid(wanted.deadline)) {
    return refuse(Errc::invalid_argument);
  }
  if (wanted.deadline.count() != 0 && wanted.deadline.count() < now_ns) {
    return refuse(Errc::expired);
  }
  if (!is_any) return submit_to(wanted, now_ns);
  Request like;
  like.priority = static_cast<std::uint8_t>(wanted.priority);
  like.capability = wanted.capability;
  federation::Submit chosen = wanted;
  chosen.network = cheapest(like, now_ns, kNone);
  return chosen.network == kNone ? refuse(Errc::no_candidate) : submit_to(chosen, now_ns);
}

FederationRouter::Reply FederationRouter::submit_to(const federation::Submit& wanted,
                                                    std::int64_t now_ns) noexcept {
  Network& network = networks_[wanted.network];
  const BreakerState state = network.breaker.state();
  const std::int64_t open_ns = network.breaker.open_until().count() - now_ns;
  if (state == BreakerState::open && open_ns > 0) {
    return reject(Refusal::rejected_open, Nanos{open_ns}, counters_.rejected);
  }
  if ((network.capabilities >> wanted.capability & 1U) == 0) {
    return refuse(Errc::no_candidate);
  }
  if (network.trust_ppm < config_.min_trust_ppm && !MESH_MUTANT("federation.trust")) {
    return reject(Refusal::rejected_policy, Nanos{0}, counters_.rejected);
  }
  if (is_full()) return refuse(Errc::capacity);
  const std::uint32_t leader = leader_for(wanted, now_ns);
  if (leader != kNone) return enqueue(wanted, leader, now_ns);
  const HybridVerdict verdict = network.window.ask(1, budget(network), now_ns);
  if (!verdict.fits && !MESH_MUTANT("federation.window")) {
    return reject(Refusal::quota_exhausted, Nanos{verdict.retry_after_ns}, counters_.exhausted);
  }
  if (wanted.priority < kCritical && !MESH_MUTANT("federation.shed") &&
      remaining_ppm(network, now_ns) < config_.shed_ppm[wanted.priority]) {
    return shed(wanted.network, wanted.priority, now_ns);
  }
  const bool is_unfair = is_over_share(wanted.network, wanted.requester) &&
                         others_wait(wanted.network, wanted.requester);
  if (is_unfair && !MESH_MUTANT("federation.unfair")) {
    return reject(Refusal::rejected_policy, Nanos{network.window.end_ns() - now_ns},
                  counters_.rejected);
  }
  return enqueue(wanted, kNone, now_ns);
}

FederationRouter::Reply FederationRouter::shed(std::uint32_t id, std::uint32_t priority,
                                               std::int64_t now_ns) noexcept {
  Network& network = networks_[id];
  if (priority >= network.shed_told) {
    network.shed_told = priority + 1;
    emit(Event::shed, Severity::warning, now_ns, {id, priority, remaining_ppm(network, now_ns)});
  }
  return reject(Refusal::rejected_pressure, Nanos{network.window.end_ns() - now_ns},
                counters_.shed);
}

FederationRouter::Reply FederationRouter::enqueue(const federation::Submit& wanted,
                                                  std::uint32_t leader,
                                                  std::int64_t now_ns) noexcept {
  const auto free = std::find_if(requests_.begin(), requests_.end(), [](const Request& request) {
    return request.stage == Stage::free;
  });
  if (free == requests_.end()) return refuse(Errc::capacity);
  *free = Request{};
  free->stage = leader == kNone ? Stage::queued : Stage::following;
  free->priority = static_cast<std::uint8_t>(wanted.priority);
  free->network = wanted.network;
  free->capability = wanted.capability;
  free->requester = wanted.requester;
  free->leader = leader;
  free->serial = last_serial_ = last_serial_ + 1;
  free->key = wanted.coalesce_key;
  free->payload = wanted.payload;
  free->since_ns = now_ns;
  free->deadline_ns = wanted.deadline.count();
  free->may_hedge = wanted.may_hedge;
  ++counters_.submitted;
  if (leader == kNone) {
    ++queued_;
  } else {
    ++counters_.followers;
    ++requests_[leader].followers;
    requests_[leader].priority = std::max(requests_[leader].priority, free->priority);
  }
  Reply reply;
  reply.id = id_of(static_cast<std::uint32_t>(free - requests_.begin()));
  reply.is_follower = leader != kNone;
  reply.network = wanted.network;
  return reply;
}

// Base priority, one more for each aging_ns of waiting, and one when its deadline is near or it
// promises more than most there; never critical by either.
std::uint32_t FederationRouter::urgency(const Request& request,
                                        std::int64_t now_ns) const noexcept {
  if (request.priority >= kHigh) return request.priority;
  const bool late =
      request.deadline_ns != 0 && request.deadline_ns - now_ns < config_.aging_ns.count();
  const bool hurried = late || is_promising(request);
  const std::int64_t aged =
      (now_ns - request.since_ns) / config_.aging_ns.count() + (hurried ? 1 : 0);
  const std::uint32_t most = MESH_MUTANT("federation.aging_cap") ? kCritical : kHigh;
  return static_cast<std::uint32_t>(std::min<std::int64_t>(most, request.priority + aged));
}

bool FederationRouter::is_over_share(std::uint32_t id, std::uint32_t requester) const noexcept {
  const Network& network = networks_[id];
  const std::uint64_t most = federation::share_of(budget(network), config_.requester_share_ppm);
  return network.used[requester % kShares] + 1 > most && !MESH_MUTANT("federation.share");
}

bool FederationRouter::others_wait(std::uint32_t network, std::uint32_t requester) const noexcept {
  return std::any_of(requests_.begin(), requests_.end(), [&](const Request& one) {
    return one.stage == Stage::queued && one.network == network && one.requester != requester;
  });
}

// The most urgent, then the oldest; who has had its share only when nobody else can use the budget.
std::uint32_t FederationRouter::next_to_send(std::int64_t now_ns) noexcept {
  std::uint32_t best = kNone;
  bool best_over = false;
  for (std::uint32_t slot = 0; slot < requests_.size(); ++slot) {
    const Request& one = requests_[slot];
    if (one.stage != Stage::queued || !may_send(networks_[one.network], now_ns)) continue;
    const bool over = is_over_share(one.network, one.requester);
    const auto before = [&](const Request& other) {
      if (over != best_over) return best_over;
      const std::uint32_t mine = urgency(one, now_ns);
      const std::uint32_t others = urgency(other, now_ns);
      if (mine != others) return mine > others;
      return one.since_ns != other.since_ns ? one.since_ns < other.since_ns
                                            : one.serial < other.serial;
    };
    if (best != kNone && !before(requests_[best])) continue;
    best = slot;
    best_over = over;
  }
  return best;
}

void FederationRouter::spend(Network& network, std::uint32_t requester, std::uint64_t count,
                             std::int64_t now_ns) noexcept {
  network.window.spend(count);
  network.used[requester % kShares] += static_cast<std::uint32_t>(count);
  network.sample_count += count;
  network.last_sent_ns = now_ns;
}

void FederationRouter::send(Request& request, std::int64_t now_ns) noexcept {
  spend(networks_[request.network], request.requester, 1, now_ns);
  request.stage = Stage::in_flight;
  request.is_out = true;
  request.sent_ns = now_ns;
  hedge_budget_ = std::min<std::uint64_t>(hedge_budget_ + config_.hedge_ppm, kHedgesSaved * kPpm);
  --queued_;
  ++counters_.dispatched;
}

std::size_t FederationRouter::dispatch(Nanos now, std::span<Dispatched> out) noexcept {
  if (!ServiceClock::is_valid(now)) return 0;
  const std::int64_t now_ns = clock_.at(now);
  roll(now_ns);
  std::size_t count = 0;
  while (count < out.size()) {
    const std::uint32_t slot = next_to_send(now_ns);
    if (slot == kNone) break;
    Request& request = requests_[slot];
    Network& network = networks_[request.network];
    const BreakerReply admitted = network.breaker.allow(now);
    if (admitted.refusal != Refusal::none) break;
    const bool is_taken = network.bucket.take(now_ns).status == TakeStatus::kTaken;
    if (!is_taken && !MESH_MUTANT("federation.bucket")) break;
    request.permit = admitted.permit;
    send(request, now_ns);
    out[count++] = {id_of(slot), request.network, request.capability, request.payload, false};
  }
  while (count < out.size() && hedge(now, out[count])) ++count;
  return count;
}

// Its leader is gone: the oldest follower takes its place, with the highest priority of those that
// are left, and the others follow that one.
void FederationRouter::promote_follower(std::uint32_t slot) noexcept {
  std::uint32_t heir = kNone;
  for (std::uint32_t i = 0; i < requests_.size(); ++i) {
    Request& one = requests_[i];
    if (one.stage != Stage::following || one.leader != slot) continue;
    if (heir == kNone || one.serial < requests_[heir].serial) heir = i;
  }
  if (heir == kNone) return;
  for (auto& one : requests_) {
    if (one.stage != Stage::following || one.leader != slot) continue;
    one.leader = heir;
    ++requests_[heir].followers;
    requests_[heir].priority = std::max(requests_[heir].priority, one.priority);
  }
  --requests_[heir].followers;  // itself
  requests_[heir].leader = kNone;
  requests_[heir].stage = Stage::queued;
  ++queued_;
}

FederationRouter::Reply FederationRouter::cancel(std::uint64_t id) noexcept {
  const std::uint32_t slot = slot_of(id);
  if (slot == kNone) return refuse(Errc::not_found);
  Request& request = requests_[slot];
  if (request.stage == Stage::in_flight || request.stage == Stage::answered) {
    return refuse(Errc::wrong_state);
  }
  if (request.stage == Stage::following) {
    --requests_[request.leader].followers;
  } else {
    --queued_;
    promote_follower(slot);
  }
  request.stage = Stage::answered;
  request.outcome = RequestOutcome::cancelled;
  return {};
}

// --- commands ----------------------------------------------------------------------------------

FederationRouter::Reply FederationRouter::apply_rest(const Command& command, Nanos now) noexcept {
  Reply reply;
  if (std::holds_alternative<federation::DispatchNext>(command)) {
    reply.any = dispatch(now, std::span(&reply.dispatched, 1)) == 1;
    return reply;
  }
  if (std::holds_alternative<federation::TakeCompletion>(command)) {
    reply.any = take_completions(std::span(&reply.completion, 1)) == 1;
    return reply;
  }
  const std::int64_t now_ns = clock_.at(now);
  if (const auto* closed = std::get_if<federation::StationClosed>(&command)) {
    return close_station(closed->requester, now_ns);
  }
  if (const auto* dead = std::get_if<federation::BridgeDied>(&command)) {
    return lose_bridge(dead->network, now_ns);
  }
  if (const auto* asked = std::get_if<federation::Negotiate>(&command)) {
    return negotiate(*asked, now_ns);
  }
  if (const auto* wanted = std::get_if<federation::WantCredit>(&command)) {
    return want_credit(*wanted, now_ns);
  }
  for (auto& network : networks_) {  // AssumeFull
    network.window.roll(now_ns);
    network.window.fill(network.quota);
    network.bucket.drain(now_ns);
  }
  return reply;
}

FederationRouter::Reply FederationRouter::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  if (const auto* wanted = std::get_if<federation::Submit>(&command))
    return submit(*wanted, now_ns);
  if (const auto* done = std::get_if<federation::Complete>(&command))
    return complete(*done, now_ns);
  if (const auto* gone = std::get_if<federation::Cancel>(&command)) return cancel(gone->request);
  if (const auto* added = std::get_if<federation::AddNetwork>(&command)) {
    return add_network(*added, now_ns);
  }
  if (const auto* loan = std::get_if<federation::Borrow>(&command)) return borrow(*loan, now_ns);
  if (const auto* back = std::get_if<federation::Reclaim>(&command)) {
    return reclaim(back->lender, now_ns);
  }
  return apply_rest(command, now);
}

}  // namespace mesh::coordination
