// ChaosMesh: the callers, and what they do where an agent fails them.
#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/simulation/chaos_mesh.hpp"

namespace mesh::engine::simulation {
namespace {

using coordination::FaultType;
using coordination::FaultVariant;

constexpr std::int64_t kRetryAfterNs = 5 * kNsPerSecond;  // as an answer of 429 says
constexpr std::int64_t kWeightsEveryNs = 500 * kNsPerMs;
constexpr std::size_t kRefusedMax = 64;  // that a caller passes over before its attempt has failed

// A number, and what it must come with.
std::array<std::byte, 16> body_of(std::uint64_t number) {
  const std::array<std::uint64_t, 2> words{number, coordination::SplitMix64(number).next()};
  std::array<std::byte, 16> body{};
  std::memcpy(body.data(), words.data(), body.size());
  return body;
}

}  // namespace

std::uint32_t ChaosMesh::free_slots() const {
  std::uint32_t taken = 0;
  for (const auto& [injection, fault] : faults_) {
    if (fault.order.type != FaultType::resource_exhaustion) continue;
    const double share = intensity(fault) * fault.order.params.fill_ppm / 1e6;
    taken = std::max(taken, static_cast<std::uint32_t>(share * options_.slots));
  }
  const auto used = static_cast<std::uint32_t>(attempts_.size()) + taken;
  return used >= options_.slots ? 0 : options_.slots - used;
}

void ChaosMesh::open_request() {
  at(clock_.true_ns() + options_.request_every.count(), Step::request, 0);
  Request request;
  request.number = ++last_request_;
  request.since_ns = clock_.true_ns();
  const bool is_ready = free_slots() != 0 && waiting_.empty() && mesh_->has_engine();
  if (is_ready) return attempt(std::move(request));
  if (options_.guards.waits && waiting_.size() < options_.waiting_max) {
    waiting_.push_back(std::move(request));
    return;
  }
  ++period_.lost;
  end_request(request, false);
}

void ChaosMesh::begin_waiting() {
  while (!waiting_.empty() && free_slots() != 0 && mesh_->has_engine()) {
    Request request = std::move(waiting_.front());
    waiting_.pop_front();
    attempt(std::move(request));
  }
}

// Where the mesh lets nobody pass, somebody is asked all the same: it is by such a message that its
// breakers find out whether all is well again.
bool ChaosMesh::choose(const Request& request, Attempt& attempt) {
  return choose(request, attempt, options_.guards.breakers) ||
         (options_.guards.breakers && choose(request, attempt, false));
}

bool ChaosMesh::may_ask(const Request& request, std::uint32_t agent, bool only_routable) const {
  const auto is_among = [agent](const std::vector<std::uint32_t>& agents) {
    return std::find(agents.begin(), agents.end(), agent) != agents.end();
  };
  if (is_among(request.tried)) return false;
  const auto& refused = request.refused;
  const bool is_refused =
      std::find(refused.begin(), refused.end(), mesh_->cluster(agent)) != refused.end();
  if (is_refused) return false;
  if (only_routable && !mesh_->is_routable(agent)) return false;  // gone, or behind a breaker
  if (!options_.guards.backoff) return true;
  const auto quiet = quiet_until_ns_.find(mesh_->cluster(agent));
  return quiet == quiet_until_ns_.end() || clock_.true_ns() >= quiet->second;
}

// Another agent than those that were tried, whose breaker lets it pass; false: there is none. Of
// several that are drawn it begins with the cheapest.
bool ChaosMesh::choose(const Request& request, Attempt& attempt, bool only_routable) {
  auto first = static_cast<std::uint32_t>(rng_.below(agents()));
  for (std::uint32_t i = 1; i < options_.choices; ++i) {
    const auto other = static_cast<std::uint32_t>(rng_.below(agents()));
    const std::int64_t now_ns = clock_.true_ns();
    if (weights_.weight(other, now_ns) < weights_.weight(first, now_ns)) first = other;
  }
  for (std::uint32_t i = 0; i < agents(); ++i) {
    const std::uint32_t agent = (first + i) % agents();
    if (!may_ask(request, agent, only_routable)) continue;
    if (options_.guards.breakers) {
      const auto said =
          breakers_[agent].apply(coordination::breaker::Allow{1}, Nanos{clock_.true_ns()});
      if (said.refusal != coordination::Refusal::none) continue;
      attempt.permit = said.permit;
    }
    attempt.agent = agent;
    return true;
  }
  return false;
}

Result<sched::MessageId> ChaosMesh::post(const Request& request, std::uint32_t agent) {
  const std::array<std::byte, 16> body = body_of(request.number);
  EngineLoop::MessageRequest message;
  message.target = mesh_->id(agent);
  message.priority = sched::Priority::critical;
  message.ttl = options_.attempt_timeout;
  message.body = body;
  return mesh_->loop().post(message, from_ns(clock_.mesh_ns()));
}

// Who is told at once that a breaker of the mesh lets nobody pass, or not this one, has asked
// nobody, and knows nothing of that agent: one of another cluster is asked. Half-open a breaker is
// routable and refuses nine of ten; asked for each of its agents it would let through whom it
// should hold back.
Result<sched::MessageId> ChaosMesh::ask(Request& request, Attempt& attempt) {
  auto posted = post(request, attempt.agent);
  const auto is_refused = [&] { return !posted && posted.error().code == Errc::open; };
  while (options_.guards.breakers && is_refused() && request.refused.size() < kRefusedMax) {
    request.refused.push_back(mesh_->cluster(attempt.agent));
    Attempt next;
    if (!choose(request, next)) break;
    ++period_.refused;
    tell_breaker(attempt, coordination::CallOutcome::ignored);
    attempt.agent = next.agent;
    attempt.permit = next.permit;
    posted = post(request, attempt.agent);
  }
  request.refused.clear();
  attempt.is_refused = is_refused();
  return posted;
}

void ChaosMesh::attempt(Request request) {
  if (!mesh_->has_engine()) {  // it goes on when there is one
    waiting_.push_front(std::move(request));
    return;
  }
  const std::uint64_t id = ++last_attempt_;
  Attempt fresh;
  if (!choose(request, fresh)) return end_request(request, false);
  ++period_.attempts;
  fresh.since_ns = clock_.true_ns();
  const auto posted = ask(request, fresh);
  request.tried.push_back(fresh.agent);
  fresh.request = std::move(request);
  look_at_ns_ = std::min(look_at_ns_, clock_.true_ns() + 1);
  if (posted) {
    fresh.message = *posted;
    attempt_of_[key_of(*posted)] = id;
    posted_[key_of(*posted)] = clock_.true_ns();
    at(clock_.true_ns() + options_.attempt_timeout.count(), Step::late, id);
  } else {
    at(clock_.true_ns() + kNsPerMs, Step::late, id);  // refused: known soon
  }
  attempts_.emplace(id, std::move(fresh));
  reach(LoopStep::accepted);
}

void ChaosMesh::tell_breaker(const Attempt& attempt, coordination::CallOutcome outcome) {
  if (!options_.guards.breakers) return;
  breakers_[attempt.agent].apply(
      coordination::breaker::Record{attempt.permit, outcome,
                                    Nanos{clock_.true_ns() - attempt.since_ns}, Nanos{0}},
      Nanos{clock_.true_ns()});
}

void ChaosMesh::collect() {
  bool has_heard = false;
  while (mesh_->has_engine()) {
    const auto answered = mesh_->loop().take_answered();
    if (!answered) break;
    has_heard = true;
    posted_.erase(key_of(answered->question));
    period_.twice += heard_.insert(key_of(answered->question)).second ? 0U : 1U;
    const auto found = attempt_of_.find(key_of(answered->question));
    if (found == attempt_of_.end()) continue;  // it came too late
    const std::uint64_t id = found->second;
    if (answered->state == sched::TrinaryState::conflict) ++period_.conflicts;
    if (answered->state != sched::TrinaryState::ready) {
      const bool is_limit = limited_.erase(key_of(answered->question)) != 0;
      if (is_limit) hear_limit(id);
      fail_attempt(id,
                   is_limit ? coordination::CallOutcome::ignored : coordination::CallOutcome::fail);
      continue;
    }
    attempt_of_.erase(found);
    const auto its = attempts_.find(id);
    const Attempt done = std::move(its->second);
    attempts_.erase(its);
    note_cost(done);
    tell_breaker(done, coordination::CallOutcome::ok);
    end_request(done.request, true);
  }
  if (has_heard) reach(LoopStep::collected);
}

// Its network is left alone for as long as its answer said.
void ChaosMesh::hear_limit(std::uint64_t id) {
  const auto found = attempts_.find(id);
  if (found == attempts_.end()) return;
  quiet_until_ns_[mesh_->cluster(found->second.agent)] = clock_.true_ns() + kRetryAfterNs;
}

// What its agent says that it took; of a liar nothing, and it says so each period, asked or not.
void ChaosMesh::note_cost(const Attempt& done) {
  const auto lies = [](const Fault& fault) {
    return fault.order.type == FaultType::byzantine_behavior &&
           fault.order.params.variant == FaultVariant::impedance_lie;
  };
  const Fault* which = nullptr;
  const bool is_liar =
      acts_on(FaultType::byzantine_behavior, done.agent, &which) > 0 && lies(*which);
  const double took_ms = static_cast<double>(clock_.true_ns() - done.since_ns) / kNsPerMs;
  weights_.say(done.agent, is_liar ? 0 : took_ms);
  if (clock_.true_ns() < weights_ns_) return;
  weights_ns_ = clock_.true_ns() + kWeightsEveryNs;
  for (const auto& [injection, fault] : faults_) {
    if (!lies(fault)) continue;
    for (const std::uint32_t agent : fault.targets) weights_.say(agent, 0);
  }
  weights_.close_period(clock_.true_ns());
}

void ChaosMesh::fail_attempt(std::uint64_t id, coordination::CallOutcome outcome) {
  const auto found = attempts_.find(id);
  if (found == attempts_.end()) return;  // answered
  Attempt failed = std::move(found->second);
  attempts_.erase(found);
  attempt_of_.erase(key_of(failed.message));
  ++period_.attempts_failed;
  log(ChaosLogKind::attempt_failed, failed.request.number, failed.agent);
  effects_.push_back({++last_effect_, failed.request.failure, failed.agent});
  failed.request.failure = last_effect_;
  tell_breaker(failed, failed.is_refused ? coordination::CallOutcome::ignored : outcome);
  const bool goes_on =
      options_.guards.retries && failed.request.tried.size() < options_.attempts_max;
  if (goes_on) return attempt(std::move(failed.request));
  end_request(failed.request, false);
}

void ChaosMesh::end_request(const Request& request, bool has_succeeded) {
  ++period_.finished;
  if (has_succeeded) {
    const std::int64_t took_ns = clock_.true_ns() - request.since_ns;
    ++period_.succeeded;
    period_.latency_ns += took_ns;
    period_.latency_ns_max = std::max(period_.latency_ns_max, took_ns);
  }
  log(ChaosLogKind::request_done, request.number, has_succeeded ? 1 : 0);
  begin_waiting();
}

}  // namespace mesh::engine::simulation
