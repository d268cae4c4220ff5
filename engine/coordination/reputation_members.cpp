// Who is routed to, and what other hosts say of them.
#include <algorithm>

#include "engine/coordination/blocks/eigen_trust.hpp"
#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/reputation_router.hpp"

namespace mesh::coordination {
namespace {

bool is_amount(double value) noexcept { return value >= 0 && value <= 1e9; }

}  // namespace

// --- membership --------------------------------------------------------------------------------

ReputationWeightedRouter::Reply ReputationWeightedRouter::join(const reputation::Join& wanted,
                                                               std::int64_t now_ns) noexcept {
  if (wanted.agent >= agents_.size()) return refuse(Errc::capacity);
  Agent& agent = agents_[wanted.agent];
  if (agent.joined) return refuse(Errc::already_exists);
  agent = Agent{};
  agent.joined = true;
  Row& whole = rows_[wanted.agent];
  whole = Row{};
  whole.agent = wanted.agent;
  whole.inflight_limit =
      wanted.inflight_limit != 0 ? wanted.inflight_limit : config_.inflight_limit;
  whole.last_event_ns = now_ns;
  Reply reply;
  reply.agent = wanted.agent;
  return reply;
}

void ReputationWeightedRouter::drop_row(std::uint32_t agent, std::uint32_t capability) noexcept {
  const std::uint32_t row = row_of(agent, capability);
  quarantines_.clear(row);
  if (capability != kAnyCapability) classes_[capability].tried.erase(RowLinks{rows_}, row);
  rows_[row] = Row{};
  if (!remote_.empty()) remote_[row] = Remote{};
  histories_[row] = RowHistory{};
  for (std::uint32_t origin = 0; origin < config_.origins_max; ++origin) {
    imports_[origin * rows_.size() + row] = Imported{};
  }
  if (capability == kAnyCapability) return;
  Class& kind = classes_[capability];
  kind.eligible.set(agent, false);
  --kind.offered;
  row_of_[std::size_t{capability} * agents_.size() + agent] = kNoRow;
  free_rows_.push_back(row);  // reserved: does not allocate
}

ReputationWeightedRouter::Reply ReputationWeightedRouter::leave(std::uint32_t agent) noexcept {
  if (!is_joined(agent)) return refuse(Errc::not_found);
  for (std::uint32_t i = 0; i < classes_.size(); ++i) {
    if (row_of(agent, i) != kNoRow) drop_row(agent, i);
  }
  drop_row(agent, kAnyCapability);
  agents_[agent] = Agent{};
  return {};
}

ReputationWeightedRouter::Reply ReputationWeightedRouter::offer(const reputation::Offer& wanted,
                                                                std::int64_t now_ns) noexcept {
  if (!is_joined(wanted.agent)) return refuse(Errc::not_found);
  if (!is_name(wanted.capability)) return refuse(Errc::invalid_id);
  std::uint32_t at = 0;
  while (is_class(at) && classes_[at].name != wanted.capability) ++at;
  if (at == classes_.size() || free_rows_.empty()) return refuse(Errc::capacity);
  if (row_of(wanted.agent, at) != kNoRow) return refuse(Errc::already_exists);
  Class& kind = classes_[at];
  if (kind.name.empty()) kind.name = wanted.capability;  // reserved
  const std::uint32_t row = free_rows_.back();
  free_rows_.pop_back();
  rows_[row] = Row{};
  rows_[row].agent = wanted.agent;
  rows_[row].capability = at;
  rows_[row].ramp_from_ns = now_ns;
  row_of_[std::size_t{at} * agents_.size() + wanted.agent] = row;
  ++kind.offered;
  kind.tried.add(RowLinks{rows_}, row, wanted.agent);
  refresh(row);
  Reply reply;
  reply.agent = wanted.agent;
  reply.capability = at;
  return reply;
}

ReputationWeightedRouter::Reply ReputationWeightedRouter::withdraw(
    const reputation::Withdraw& gone) noexcept {
  std::uint32_t row = kNoRow;
  const Errc found = find_row(gone.agent, gone.capability, row);
  if (found != Errc::ok) return refuse(found);
  if (gone.capability == kAnyCapability) return refuse(Errc::invalid_argument);
  drop_row(gone.agent, gone.capability);
  return {};
}

ReputationWeightedRouter::Reply ReputationWeightedRouter::set_routable(
    const reputation::SetRoutable& wanted) noexcept {
  if (!is_joined(wanted.agent)) return refuse(Errc::not_found);
  agents_[wanted.agent].routable = wanted.routable;
  refresh(wanted.agent);
  return {};
}

ReputationWeightedRouter::Reply ReputationWeightedRouter::reset(std::uint32_t agent,
                                                                std::int64_t now_ns) noexcept {
  if (!is_joined(agent)) return refuse(Errc::not_found);
  const auto forget = [&](std::uint32_t row) {
    quarantines_.clear(row);
    Row& known = rows_[row];
    known.successes = known.failures = DecayCounter{};
    known.latency_ns = -1;
    known.last_event_ns = -1;
    known.in_flight = 0;
    if (!remote_.empty()) remote_[row] = Remote{};
    histories_[row].quarantined_until_ns = 0;  // what was observed stays counted: newer reports win
    for (std::uint32_t origin = 0; origin < config_.origins_max; ++origin) {
      Imported& heard = imports_[origin * rows_.size() + row];
      heard = {DecayCounter{}, DecayCounter{}, heard.observations};  // what was heard stays old
    }
  };
  for (std::uint32_t i = 0; i < classes_.size(); ++i) {
    if (row_of(agent, i) != kNoRow) forget(row_of(agent, i));
  }
  forget(agent);
  rows_[agent].last_event_ns = now_ns;
  refresh(agent);
  return {};
}

// --- other hosts -------------------------------------------------------------------------------

void ReputationWeightedRouter::weigh_remote(std::uint32_t row, const DecayScale& at) noexcept {
  double good = 0;
  double bad = 0;
  for (std::uint32_t origin = 0; origin < config_.origins_max; ++origin) {
    const Imported& heard = imports_[origin * rows_.size() + row];
    good += trust_[origin + 1] * heard.successes.read(at);
    bad += trust_[origin + 1] * heard.failures.read(at);
  }
  remote_[row] = Remote{};
  remote_[row].successes.add_amount(at, good);
  remote_[row].failures.add_amount(at, bad);
}

ReputationWeightedRouter::Reply ReputationWeightedRouter::import(const reputation::Import& heard,
                                                                 std::int64_t now_ns) noexcept {
  const ReputationReport& report = heard.report;
  std::uint32_t row = kNoRow;
  const Errc found = find_row(report.agent, report.capability, row);
  if (found != Errc::ok) return refuse(found);
  if (heard.origin == 0 || heard.origin > config_.origins_max) return refuse(Errc::not_found);
  if (!is_amount(report.successes) || !is_amount(report.failures)) {
    return refuse(Errc::invalid_argument);
  }
  Imported& known = imports_[(heard.origin - 1) * rows_.size() + row];
  if (report.observations <= known.observations && !MESH_MUTANT("reputation.import_order")) {
    ++counters_.stale_imports;
    return {};
  }
  const DecayScale& at = scale(now_ns);
  known = {DecayCounter{}, DecayCounter{}, report.observations};
  known.successes.add_amount(at, report.successes);
  known.failures.add_amount(at, report.failures);
  weigh_remote(row, at);
  ++counters_.imports;
  judge(row, now_ns);
  return {};
}

ReputationWeightedRouter::Reply ReputationWeightedRouter::rate_origin(
    const reputation::RateOrigin& rating, std::int64_t now_ns) noexcept {
  if (rating.rater > config_.origins_max || rating.rated > config_.origins_max) {
    return refuse(Errc::not_found);
  }
  if (!is_amount(rating.trust) || rating.rater == rating.rated) {
    return refuse(Errc::invalid_argument);  // nobody vouches for itself
  }
  const std::size_t n = trust_.size();
  ratings_[rating.rater * n + rating.rated] = rating.trust;
  is_rated_ = true;
  const std::span shares = std::span(scratch_).first(n);
  eigen_trust(ratings_, shares, std::span(scratch_).last(n));
  double most = 0;
  for (std::size_t i = 1; i < n; ++i) most = std::max(most, shares[i]);
  for (std::size_t i = 1; i < n; ++i) trust_[i] = most > 0 ? shares[i] / most : 0;
  const DecayScale& at = scale(now_ns);
  for (std::uint32_t row = 0; row < remote_.size(); ++row) {
    if (rows_[row].agent != kNoRow) weigh_remote(row, at);
  }
  return {};
}

ReputationWeightedRouter::Reply ReputationWeightedRouter::apply_membership(
    const Command& command, std::int64_t now_ns) noexcept {
  if (const auto* wanted = std::get_if<reputation::Join>(&command)) return join(*wanted, now_ns);
  if (const auto* gone = std::get_if<reputation::Leave>(&command)) return leave(gone->agent);
  if (const auto* wanted = std::get_if<reputation::Offer>(&command)) return offer(*wanted, now_ns);
  if (const auto* gone = std::get_if<reputation::Withdraw>(&command)) return withdraw(*gone);
  if (const auto* wanted = std::get_if<reputation::SetRoutable>(&command)) {
    return set_routable(*wanted);
  }
  return reset(std::get<reputation::Reset>(command).agent, now_ns);
}

}  // namespace mesh::coordination
