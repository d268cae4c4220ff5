#include "engine/coordination/reputation_router.hpp"

#include <algorithm>
#include <cmath>

#include "engine/coordination/blocks/beta_sample.hpp"
#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/ppm.hpp"

namespace mesh::coordination {
namespace {

constexpr double kRampBegin = 0.1;          // of its weight, for one that has just come
constexpr double kRounding = 1e-6;          // of a counter that has not decayed yet
constexpr std::uint32_t kEjectionsMax = 8;  // of a capability in one interval
constexpr double kUnknownLatencyTerm = 0.5;
constexpr std::int64_t kSweepEpochs = 64;  // counters tell 256 epochs apart
constexpr std::size_t kPeersMin = 5;       // for an outlier to be one

}  // namespace

ReputationWeightedRouter::ReputationWeightedRouter(const Config& config, std::uint64_t seed)
    : ServiceForm(config),
      rng_(seed),
      agents_(config.agents_max),
      rows_(config.agents_max + config.rows_max),
      remote_(config.origins_max != 0 ? rows_.size() : 0),
      histories_(rows_.size()),
      row_of_(std::size_t{config.agents_max} * config.capabilities_max, kNoRow),
      quarantines_(rows_.size()),
      imports_(config.origins_max * rows_.size()),
      ratings_(std::size_t{config.origins_max + 1} * (config.origins_max + 1)),
      trust_(config.origins_max + 1, 1.0),
      scratch_(2 * trust_.size()) {
  classes_.reserve(config.capabilities_max);
  for (std::uint32_t i = 0; i < config.capabilities_max; ++i) {
    classes_.emplace_back(config.agents_max);
    classes_.back().name.reserve(kNameBytesMax);
  }
  free_rows_.reserve(config.rows_max);
  for (std::uint32_t i = 0; i < config.rows_max; ++i) {
    free_rows_.push_back(config.agents_max + config.rows_max - 1 - i);
  }
}

bool ReputationWeightedRouter::is_joined(std::uint32_t agent) const noexcept {
  return agent < agents_.size() && agents_[agent].joined;
}
bool ReputationWeightedRouter::is_class(std::uint32_t capability) const noexcept {
  return capability < classes_.size() && !classes_[capability].name.empty();
}
std::uint32_t ReputationWeightedRouter::row_of(std::uint32_t agent,
                                               std::uint32_t capability) const noexcept {
  if (capability == kAnyCapability) return agent;
  return row_of_[std::size_t{capability} * agents_.size() + agent];
}
Errc ReputationWeightedRouter::find_row(std::uint32_t agent, std::uint32_t capability,
                                        std::uint32_t& row) const noexcept {
  if (!is_joined(agent)) return Errc::not_found;
  if (capability != kAnyCapability && !is_class(capability)) return Errc::not_found;
  row = row_of(agent, capability);
  return row == kNoRow ? Errc::not_found : Errc::ok;
}

// --- score -------------------------------------------------------------------------------------

// Counters must not lie 256 epochs back, so all are brought near in time.
void ReputationWeightedRouter::enter_step(std::int64_t now_ns) noexcept {
  step_ = DecayStep(now_ns, config_.half_life_ns.count());
  const std::int64_t passed = step_.epoch_number - swept_epoch_;
  if (passed < kSweepEpochs) return;
  sweep(step_.at(now_ns), passed >= 2 * kSweepEpochs);
  swept_epoch_ = step_.epoch_number;
}

void ReputationWeightedRouter::sweep(const DecayScale& at, bool forget) noexcept {
  const auto near = [&](DecayCounter& counter) {
    if (forget) counter = DecayCounter{};
    counter.advance(at);
  };
  for (auto& row : rows_) near(row.successes), near(row.failures);
  for (auto& remote : remote_) near(remote.successes), near(remote.failures);
  for (auto& imported : imports_) near(imported.successes), near(imported.failures);
}

ReputationWeightedRouter::Evidence ReputationWeightedRouter::evidence(
    std::uint32_t row, const DecayScale& at) const noexcept {
  Evidence seen{rows_[row].successes.read(at), rows_[row].failures.read(at)};
  if (!remote_.empty()) {  // else nobody else's count
    seen.successes += remote_[row].successes.read(at);
    seen.failures += remote_[row].failures.read(at);
  }
  return seen;
}

// The row itself, or its agent's while it has seen too little.
ReputationWeightedRouter::Judged ReputationWeightedRouter::judged(
    std::uint32_t row, const DecayScale& at) const noexcept {
  const Row& own = rows_[row];
  const Evidence seen = evidence(row, at);
  if (seen.successes + seen.failures >= config_.observations_min - kRounding) return {&own, seen};
  return {&rows_[own.agent], evidence(own.agent, at)};
}

double ReputationWeightedRouter::reputation_of(const Evidence& seen) const noexcept {
  const double good = seen.successes + config_.prior_success;
  return good / (good + seen.failures + config_.prior_failure);
}

double ReputationWeightedRouter::score_of(const Judged& by) const noexcept {
  const double reference = static_cast<double>(config_.latency_ref_ns.count());
  const double latency =
      by.row->latency_ns < 0 ? kUnknownLatencyTerm : latency_term(by.row->latency_ns, reference);
  return config_.w_success * reputation_of(by.seen) + config_.w_latency * latency;
}

std::uint32_t ReputationWeightedRouter::inflight_at(const Row& whole,
                                                    std::int64_t now_ns) const noexcept {
  const bool forgotten = now_ns - whole.last_event_ns > config_.inflight_forget_ns.count();
  return forgotten ? 0 : whole.in_flight;
}

double ReputationWeightedRouter::standing(const Row& row, std::int64_t now_ns) const noexcept {
  const Row& whole = rows_[row.agent];
  double factor = 1;
  if (whole.inflight_limit != 0) {  // 1 / (1 + in flight / limit)
    const double limit = whole.inflight_limit;
    factor = limit / (limit + inflight_at(whole, now_ns));
  }
  const std::int64_t age = now_ns - row.ramp_from_ns;
  if (age < config_.slow_start_ns.count()) {
    const double share =
        static_cast<double>(age) / static_cast<double>(config_.slow_start_ns.count());
    factor *= kRampBegin + (1 - kRampBegin) * share;
  }
  return factor;
}

double ReputationWeightedRouter::ClassScorer::score(std::uint32_t agent) const noexcept {
  const std::uint32_t row = router->row_of(agent, capability);
  return router->score_of(router->judged(row, at)) * router->standing(router->rows_[row], now_ns);
}

double ReputationWeightedRouter::ClassScorer::sample(std::uint32_t agent, Rng& rng) const noexcept {
  const Config& config = router->config_;
  const std::uint32_t row = router->row_of(agent, capability);
  const Judged by = router->judged(row, at);
  const double drawn = beta_sample(by.seen.successes + config.prior_success,
                                   by.seen.failures + config.prior_failure, rng);
  const double rest = router->score_of(by) - config.w_success * router->reputation_of(by.seen);
  return (config.w_success * drawn + rest) * router->standing(router->rows_[row], now_ns);
}

// --- records -----------------------------------------------------------------------------------

void ReputationWeightedRouter::add_latency(Row& row, double mean_ns, std::uint32_t count) noexcept {
  if (row.latency_ns < 0) {
    row.latency_ns = mean_ns;
    return;
  }
  const double keep = count == 1 ? 1 - config_.latency_alpha
                                 : std::pow(1 - config_.latency_alpha, static_cast<double>(count));
  row.latency_ns += (1 - keep) * (mean_ns - row.latency_ns);
}

void ReputationWeightedRouter::answered(Row& whole, std::uint32_t count,
                                        std::int64_t now_ns) noexcept {
  const std::uint32_t out = inflight_at(whole, now_ns);
  whole.in_flight = out > count ? out - count : 0;
  whole.last_event_ns = now_ns;
}

Errc ReputationWeightedRouter::note_success(const reputation::RecordSuccess& success,
                                            Nanos now) noexcept {
  ++counters_.commands;
  std::uint32_t row = kNoRow;
  const Errc found = find_row(success.agent, success.capability, row);
  if (found != Errc::ok) return refuse(found).code;
  if (!ServiceClock::is_valid(now) || success.latency.count() < 0) {
    return refuse(Errc::invalid_argument).code;
  }
  const std::int64_t now_ns = clock_.at(now);
  const DecayScale& at = scale(now_ns);
  const auto latency = static_cast<double>(success.latency.count());
  answered(rows_[success.agent], 1, now_ns);
  const auto note = [&](Row& one) {
    one.successes.add(at);
    one.last_event_ns = now_ns;
    add_latency(one, latency, 1);
  };
  note(rows_[row]);
  ++histories_[row].observations;
  if (row != success.agent) {
    note(rows_[success.agent]);
    ++histories_[success.agent].observations;
  }
  ++counters_.successes;
  return Errc::ok;
}

ReputationWeightedRouter::Reply ReputationWeightedRouter::fail_once(
    const reputation::RecordFailure& failure, std::int64_t now_ns) noexcept {
  std::uint32_t row = kNoRow;
  const Errc found = find_row(failure.agent, failure.capability, row);
  if (found != Errc::ok) return refuse(found);
  if (failure.kind > FailureKind::conflict) return refuse(Errc::invalid_argument);
  answered(rows_[failure.agent], 1, now_ns);
  if (failure.kind == FailureKind::conflict) {
    ++counters_.conflicts;
    return {};
  }
  ++counters_.failures;
  const DecayScale& at = scale(now_ns);
  const double weight = failure.kind == FailureKind::wrong_result ? config_.wrong_result_weight : 1;
  for (const auto one : {row, failure.agent}) {
    rows_[one].failures.add_amount(at, weight);
    ++histories_[one].observations;
    rows_[one].last_event_ns = now_ns;
    if (row == failure.agent) break;
  }
  judge(row, now_ns);
  return {};
}

ReputationWeightedRouter::Reply ReputationWeightedRouter::record_sums(
    const reputation::RecordSums& sums, std::int64_t now_ns) noexcept {
  std::uint32_t row = kNoRow;
  const Errc found = find_row(sums.agent, sums.capability, row);
  if (found != Errc::ok) return refuse(found);
  const std::uint64_t total = std::uint64_t{sums.successes} + sums.failures + sums.wrong_results;
  if (total == 0 || total > UINT32_MAX || sums.latency_sum.count() < 0) {
    return refuse(Errc::invalid_argument);
  }
  const DecayScale& at = scale(now_ns);
  answered(rows_[sums.agent], static_cast<std::uint32_t>(total), now_ns);
  const double bad = sums.failures + sums.wrong_results * config_.wrong_result_weight;
  for (const auto one : {row, sums.agent}) {
    Row& noted = rows_[one];
    noted.successes.add(at, sums.successes);
    noted.failures.add_amount(at, bad);
    histories_[one].observations += total;
    noted.last_event_ns = now_ns;
    if (sums.successes != 0) {
      const double mean = static_cast<double>(sums.latency_sum.count()) / sums.successes;
      add_latency(noted, mean, sums.successes);
    }
    if (row == sums.agent) break;
  }
  counters_.successes += sums.successes;
  counters_.failures += total - sums.successes;
  judge(row, now_ns);
  return {};
}

// --- quarantine --------------------------------------------------------------------------------

void ReputationWeightedRouter::refresh(std::uint32_t row) noexcept {
  if (row < agents_.size()) {
    for (std::uint32_t i = 0; i < classes_.size(); ++i) {
      if (row_of(row, i) != kNoRow) refresh(row_of(row, i));
    }
    return;
  }
  const std::uint32_t agent = rows_[row].agent;
  const bool quarantined = quarantines_.has(row) || quarantines_.has(agent);
  classes_[rows_[row].capability].eligible.set(agent, agents_[agent].routable && !quarantined);
  view_changed_ = true;
}

void ReputationWeightedRouter::judge(std::uint32_t row, std::int64_t now_ns) noexcept {
  const DecayScale& at = scale(now_ns);
  const Evidence seen = evidence(row, at);
  const bool is_little = seen.successes + seen.failures < config_.observations_min - kRounding;
  if (is_little && !MESH_MUTANT("reputation.evidence")) return;
  if (reputation_of(seen) < config_.quarantine_below && !MESH_MUTANT("reputation.quarantine")) {
    quarantine(row, now_ns, Event::quarantined);
  }
}

void ReputationWeightedRouter::quarantine(std::uint32_t row, std::int64_t now_ns,
                                          Event why) noexcept {
  if (quarantines_.has(row)) return;
  const Row& bad = rows_[row];
  const std::uint64_t key = (std::uint64_t{bad.capability} + 1) * agents_.size() + bad.agent;
  histories_[row].quarantined_until_ns = now_ns + config_.quarantine_ns.count();
  quarantines_.set(row, histories_[row].quarantined_until_ns, key);
  refresh(row);
  ++(why == Event::ejected ? counters_.ejections : counters_.quarantines);
  events_.emit({.t_ns = now_ns,
                .kind = static_cast<std::uint16_t>(why),
                .severity = Severity::warning,
                .source = bad.agent,
                .a = bad.capability,
                .b = ppm_of(reputation_of(evidence(row, scale(now_ns))))});
}

void ReputationWeightedRouter::release_due(std::int64_t now_ns) noexcept {
  while (quarantines_.next_ns() <= now_ns && !MESH_MUTANT("reputation.release")) {
    const std::uint32_t row = quarantines_.pop_due(now_ns);
    rows_[row].ramp_from_ns = histories_[row].quarantined_until_ns;
    histories_[row].quarantined_until_ns = 0;
    refresh(row);
    events_.emit({.t_ns = now_ns,
                  .kind = static_cast<std::uint16_t>(Event::released),
                  .severity = Severity::info,
                  .source = rows_[row].agent,
                  .a = rows_[row].capability});
  }
}

// --- routes ------------------------------------------------------------------------------------

Errc ReputationWeightedRouter::route(std::uint32_t capability, Nanos now,
                                     std::uint32_t& agent) noexcept {
  ++counters_.commands;
  agent = kNoRow;
  const Errc code = !is_class(capability)         ? Errc::not_found
                    : ServiceClock::is_valid(now) ? Errc::ok
                                                  : Errc::invalid_argument;
  if (code != Errc::ok) {
    ++counters_.refused;
    return code;
  }
  const std::int64_t now_ns = clock_.at(now);
  release_due(now_ns);
  ++counters_.routes;
  Class& kind = classes_[capability];
  if (kind.eligible.count() == 0) {
    ++counters_.without_candidate;
    return Errc::no_candidate;
  }
  ++kind.routes;
  if (config_.explore_every != 0 && kind.routes % config_.explore_every == 0 &&
      !MESH_MUTANT("reputation.explore")) {
    std::uint32_t row = kind.tried.first();
    while (!kind.eligible.test(rows_[row].agent)) row = rows_[row].next;
    agent = rows_[row].agent;
    ++counters_.explored;
  } else {
    const ClassScorer scorer{this, capability, scale(now_ns), now_ns};
    agent =
        pick_from(kind.eligible, {config_.policy, config_.gamma, config_.p2c_margin}, scorer, rng_);
  }
  kind.tried.touch(RowLinks{rows_}, row_of(agent, capability));
  Row& chosen = rows_[agent];
  chosen.in_flight = inflight_at(chosen, now_ns) + 1;
  chosen.last_event_ns = now_ns;
  ++counters_.routed;
  return Errc::ok;
}

SelectRemoved ReputationWeightedRouter::count_removed(std::uint32_t capability) const noexcept {
  SelectRemoved removed{};
  for (std::uint32_t agent = 0; agent < agents_.size(); ++agent) {
    if (!agents_[agent].joined) continue;
    const std::uint32_t row = row_of(agent, capability);
    const auto filter = row == kNoRow              ? SelectFilter::capability
                        : !agents_[agent].routable ? SelectFilter::breaker
                                                   : SelectFilter::quarantined;
    if (row == kNoRow || !classes_[capability].eligible.test(agent)) {
      ++removed[static_cast<std::size_t>(filter)];
    }
  }
  return removed;
}

ReputationWeightedRouter::Reply ReputationWeightedRouter::top_k(const reputation::TopK& wanted,
                                                                std::int64_t now_ns) noexcept {
  if (!is_class(wanted.capability)) return refuse(Errc::not_found);
  if (wanted.k == 0 || wanted.k > kTopMax) return refuse(Errc::invalid_argument);
  release_due(now_ns);
  const ClassScorer scorer{this, wanted.capability, scale(now_ns), now_ns};
  Reply reply;
  std::array<double, kTopMax> scores{};
  classes_[wanted.capability].eligible.for_each([&](std::uint32_t agent) {
    const double score = scorer.score(agent);
    if (reply.count == wanted.k && !(score > scores[reply.count - 1])) return;
    if (reply.count < wanted.k) ++reply.count;
    std::size_t at = reply.count - 1;
    for (; at > 0 && score > scores[at - 1]; --at) {
      scores[at] = scores[at - 1];
      reply.agents[at] = reply.agents[at - 1];
    }
    scores[at] = score;
    reply.agents[at] = agent;
  });
  if (reply.count != 0) return reply;
  reply.code = Errc::no_candidate;
  reply.removed = count_removed(wanted.capability);
  return reply;
}

// --- time --------------------------------------------------------------------------------------

// Of a capability's agents, those whose reputation lies far below their peers' mean.
void ReputationWeightedRouter::eject_outliers(std::uint32_t capability,
                                              std::int64_t now_ns) noexcept {
  Class& kind = classes_[capability];
  const DecayScale& at = scale(now_ns);
  double count = 0;
  double sum = 0;
  double squares = 0;
  const auto observed = [&](std::uint32_t agent, double& rep) {
    const Evidence seen = evidence(row_of(agent, capability), at);
    rep = reputation_of(seen);
    return seen.successes + seen.failures >= config_.observations_min - kRounding;
  };
  kind.eligible.for_each([&](std::uint32_t agent) {
    double rep = 0;
    if (!observed(agent, rep)) return;
    count += 1, sum += rep, squares += rep * rep;
  });
  if (count < kPeersMin) return;
  const double mean = sum / count;
  const double stdev = std::sqrt(std::max(0.0, squares / count - mean * mean));
  const double least = mean - config_.outlier_stdevs * stdev;
  const std::uint32_t quarantined = kind.offered - kind.eligible.count();
  const std::uint32_t allowed =
      std::max<std::uint32_t>(1, kind.offered * config_.outlier_percent_max / 100);
  std::uint32_t left = std::min(kEjectionsMax, allowed > quarantined ? allowed - quarantined : 0);
  if (MESH_MUTANT("reputation.eject_share")) left = kEjectionsMax;
  for (; left > 0; --left) {
    std::uint32_t worst = kNoRow;
    double lowest = least;
    kind.eligible.for_each([&](std::uint32_t agent) {
      double rep = 0;
      if (!observed(agent, rep) || !(rep < lowest)) return;
      worst = agent;
      lowest = rep;
    });
    if (worst == kNoRow) return;
    quarantine(row_of(worst, capability), now_ns, Event::ejected);
  }
}

void ReputationWeightedRouter::tick(Nanos now, Actions& out) noexcept {
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    release_due(now_ns);
    static_cast<void>(scale(now_ns));
    if (config_.outlier_stdevs > 0 && now_ns >= next_outliers_ns_) {
      next_outliers_ns_ = now_ns + config_.outlier_interval_ns.count();
      for (std::uint32_t i = 0; is_class(i); ++i) eject_outliers(i, now_ns);
    }
  }
  out.view_changed = std::exchange(view_changed_, false);
}

ReputationWeightedRouter::Reply ReputationWeightedRouter::apply_rest(const Command& command,
                                                                     std::int64_t now_ns) noexcept {
  if (const auto* failure = std::get_if<reputation::RecordFailure>(&command)) {
    return fail_once(*failure, now_ns);
  }
  if (const auto* sums = std::get_if<reputation::RecordSums>(&command)) {
    return record_sums(*sums, now_ns);
  }
  if (const auto* wanted = std::get_if<reputation::TopK>(&command)) return top_k(*wanted, now_ns);
  if (const auto* heard = std::get_if<reputation::Import>(&command)) return import(*heard, now_ns);
  if (const auto* rating = std::get_if<reputation::RateOrigin>(&command)) {
    return rate_origin(*rating, now_ns);
  }
  return apply_membership(command, now_ns);
}

ReputationWeightedRouter::Reply ReputationWeightedRouter::apply(const Command& command,
                                                                Nanos now) noexcept {
  if (const auto* success = std::get_if<reputation::RecordSuccess>(&command)) {
    return record(*success, now);
  }
  if (const auto* wanted = std::get_if<reputation::Route>(&command)) {
    Reply reply;
    const std::uint64_t explored = counters_.explored;
    reply.code = route(wanted->capability, now, reply.agent);
    reply.explored = counters_.explored != explored;
    if (reply.code == Errc::no_candidate) reply.removed = count_removed(wanted->capability);
    return reply;
  }
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  return apply_rest(command, clock_.at(now));
}

}  // namespace mesh::coordination
