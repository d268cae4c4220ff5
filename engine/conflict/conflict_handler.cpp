#include "engine/conflict/conflict_handler.hpp"

#include <algorithm>
#include <bit>

#include "engine/coordination/blocks/backoff.hpp"
#include "engine/tasks/event_names.hpp"

namespace mesh::tasks {
namespace {

using engine::Audience;

constexpr Claims all_of(std::size_t count) noexcept {
  return count >= 64 ? ~Claims{0} : bit(count) - 1;
}

EventName event_of(ConflictKind kind) noexcept {
  if (kind == ConflictKind::resource) return EventName::conflict_resource;
  return is_contention(kind) ? EventName::conflict_task : EventName::conflict_mesh;
}

engine::ConflictFacts facts_of(const conflict::Report& order) noexcept {
  engine::ConflictFacts facts;
  if (!is_contention(order.kind)) facts.type = static_cast<sched::ConflictType>(order.kind);
  facts.depth = order.depth;
  facts.affected = order.affected;
  return facts;
}

bool is_note(std::string_view note) noexcept {
  return note.size() <= kConflictNoteMax && is_utf8(note);
}

}  // namespace

ConflictHandler::ConflictHandler(const Config& config, std::uint64_t seed)
    : ServiceForm(config),
      cases_(config.conflicts_max),
      participants_(std::size_t{config.conflicts_max} * config.participants_max),
      slots_(config.conflicts_max),
      by_id_(config.conflicts_max),
      by_key_(config.conflicts_max),
      quarantine_(config.conflicts_max),
      deadlines_(config.conflicts_max),
      overdue_(config.conflicts_max),
      ended_(config.conflicts_max),
      pairs_(config.pairs_max),
      unlogged_(config.unlogged_max),
      rng_(seed) {
  sorted_.reserve(kParticipantsMost);
  draft_.agents.reserve(kParticipantsMost);
  draft_.subject.reserve(kNameBytesMax);
  draft_.note.reserve(kConflictNoteMax);
  news_.reserve(256);
}

// --- what is counted ---------------------------------------------------------------------------

void ConflictHandler::to_stage(Case& its, ConflictStage stage) noexcept {
  view_.manual -= its.stage == ConflictStage::manual ? 1U : 0U;
  view_.manual += stage == ConflictStage::manual ? 1U : 0U;
  its.stage = stage;
  view_changed_ = true;
}

void ConflictHandler::to_priority(Case& its, std::uint8_t priority) noexcept {
  --view_.open[its.priority];
  ++view_.open[priority];
  its.priority = priority;
}

void ConflictHandler::set_deadline(std::uint32_t slot, std::int64_t now_ns) noexcept {
  Case& its = cases_[slot];
  const auto within = engine::resolve_within(its.priority);
  its.deadline_ns = within ? now_ns + std::max(*within, engine::kAtOnce).count() : 0;
  if (within) deadlines_.set(slot, its.deadline_ns, its.id);
}

void ConflictHandler::count_pairs(const Case& its) noexcept {
  const auto all = participants_of(slot_of(its));
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = i + 1; j < all.size(); ++j) {
      pairs_.add(its.kind, all[i].agent, all[j].agent, its.subject.low);
    }
  }
}

// A record of what has just become of it. There is room: whoever changes anything asks first.
void ConflictHandler::record(const Case& its, ConflictFact fact, std::string_view note,
                             std::int64_t now_ns) noexcept {
  draft_.fact = fact;
  draft_.kind = its.kind;
  draft_.priority = its.priority;
  draft_.strategy = its.strategy;
  draft_.reason = its.reason;
  draft_.conflict = its.id;
  draft_.refers_to = its.record;
  draft_.at = Nanos{now_ns};
  draft_.winner = its.winner;
  draft_.agents.clear();
  draft_.subject = fact == ConflictFact::reported ? name_of_case(its) : std::string_view{};
  draft_.note = note;
  const auto all = participants_of(slot_of(its));
  for (std::size_t place = 0; place < all.size(); ++place) {
    const bool is_named = fact == ConflictFact::reported ||
                          (fact == ConflictFact::branched && (its.branches & bit(place)) != 0) ||
                          (fact == ConflictFact::resolved && all[place].agent != its.winner);
    if (is_named) draft_.agents.push_back(all[place].agent);
  }
  scratch_.clear();
  put_fields(draft_, scratch_);
  const auto bytes = scratch_.bytes();
  Kept& kept = unlogged_[(unlogged_first_ + unlogged_count_++) % unlogged_.size()];
  kept.size_bytes = static_cast<std::uint32_t>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), kept.body.begin());
  kept.end = chain_ = chain_on(chain_, bytes);
  ++counters_.records;
}

void ConflictHandler::escalate(Case& its, Audience to, std::int64_t now_ns) noexcept {
  if (to == Audience::none) return;
  if (to > its.audience) {
    view_.escalated += its.audience == Audience::none ? 1U : 0U;
    its.audience = to;
    ++counters_.escalated;
    const bool is_operators = to == Audience::operator_too;
    news_.push_back({is_operators ? ConflictNotice::operator_too : ConflictNotice::coordinator,
                     its.priority, its.id});
  }
  emit(EventName::conflict_escalated, Severity::warning, now_ns,
       {its.id, its.priority, its.subject.low});
}

// --- report ------------------------------------------------------------------------------------

Errc ConflictHandler::check(const conflict::Report& order) const noexcept {
  if (!is_name(order.subject)) return Errc::invalid_id;
  const std::size_t least = is_contention(order.kind) ? 2 : 1;
  const bool is_possible =
      order.kind != ConflictKind::none && order.kind <= last_of(ConflictKind{}) &&
      order.participants.size() >= least && order.participants.size() <= config_.participants_max &&
      is_note(order.note);
  if (!is_possible) return Errc::invalid_argument;
  for (std::size_t i = 0; i < order.participants.size(); ++i) {
    const Participant& one = order.participants[i];
    const bool is_one = one.agent < config_.agents_max &&
                        place_of(order.participants, one.agent) == i &&
                        (one.reputation_ppm <= 1'000'000 || one.reputation_ppm == kNobody) &&
                        (one.bid == kNotGiven || (one.bid >= 0 && one.bid <= INT64_MAX / 2));
    if (!is_one) return Errc::invalid_argument;
  }
  return Errc::ok;
}

// The same whatever the order of the participants.
IdHash ConflictHandler::key_of(const conflict::Report& order) noexcept {
  sorted_.clear();
  for (const Participant& one : order.participants) sorted_.push_back(one.agent);
  std::sort(sorted_.begin(), sorted_.end());
  scratch_.clear();
  scratch_.put(order.kind);
  scratch_.put(order.subject);
  for (const std::uint32_t agent : sorted_) scratch_.put(agent);
  const auto bytes = scratch_.bytes();
  return hash_of(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

// For one more. False: all that stand are open.
bool ConflictHandler::make_room() noexcept {
  if (slots_.left() != 0) return true;
  const std::uint32_t oldest = ended_.pop_due(INT64_MAX);
  if (oldest == DeadlineHeap::kNone) return false;
  forget(oldest);
  return true;
}

ConflictHandler::Reply ConflictHandler::on(const conflict::Report& order,
                                           std::int64_t now_ns) noexcept {
  const Errc bad = check(order);
  if (bad != Errc::ok) return refuse(bad);
  const IdHash key = key_of(order);
  if (by_key_.find(key) != kNone) return refuse(Errc::already_exists);
  if (unlogged_count_ == unlogged_.size() || !make_room()) return refuse(Errc::capacity);
  const std::uint32_t slot = slots_.take();
  Case& its = cases_[slot] = {};
  its.id = ++last_id_;
  its.key = key;
  its.subject = hash_of(order.subject);
  its.reported_ns = now_ns;
  its.record = 0;
  its.attempt = order.attempt;
  its.kind = order.kind;
  its.count = static_cast<std::uint32_t>(order.participants.size());
  its.name_size = static_cast<std::uint8_t>(order.subject.size());
  std::copy(order.subject.begin(), order.subject.end(), its.name.begin());
  std::copy(order.participants.begin(), order.participants.end(),
            participants_.begin() +
                static_cast<std::ptrdiff_t>(std::size_t{slot} * config_.participants_max));
  const auto judged = engine::judge(facts_of(order));
  its.priority = judged.priority;
  ++view_.open[its.priority];
  to_stage(its, ConflictStage::queued);
  by_id_.set(hash_of(its.id, 0), slot);
  by_key_.set(key, slot);
  const std::uint32_t contested = quarantine_.find(its.subject);
  quarantine_.set(its.subject, contested == kNone ? 1 : contested + 1);
  set_deadline(slot, now_ns);
  ++counters_.reported;
  record(its, ConflictFact::reported, order.note, now_ns);
  its.record = chain_.position;
  count_pairs(its);
  emit(event_of(its.kind), Severity::info, now_ns, {its.id, its.priority, its.subject.low});
  escalate(its, judged.audience, now_ns);
  return answer(slot);
}

// --- strategies --------------------------------------------------------------------------------

void ConflictHandler::try_again(const Case& its, Verdict& verdict) noexcept {
  if (its.attempt >= config_.retries_max) return;
  const BackoffConfig backoff{static_cast<double>(config_.retry_ns.count()), 2,
                              static_cast<double>(config_.retry_ns_max.count())};
  verdict.retry_ns = static_cast<std::int64_t>(backoff_full_jitter(backoff, its.attempt, rng_));
  verdict.strategy = ResolutionStrategy::retry;
  verdict.reason = ResolutionReason::try_again;
  verdict.is_over = true;
}

void ConflictHandler::take_step(const Case& its, ResolutionStrategy strategy,
                                const Evidence& evidence, Verdict& verdict) noexcept {
  if (strategy == ResolutionStrategy::manual) {
    verdict.stage = ConflictStage::manual;
    verdict.is_over = true;
    return;
  }
  if (strategy == ResolutionStrategy::retry) return try_again(its, verdict);
  const auto participants = participants_of(slot_of(its));
  const ConflictCase about{participants, evidence, config_.default_priority};
  const ClaimJudgement judged = judge_claims(strategy, about, verdict.among);
  verdict.code = judged.code;
  verdict.is_over = judged.code != Errc::ok;
  verdict.drifting |= judged.drifting;
  if (verdict.is_over || !judged.decides) return;
  verdict.among = judged.leaders;
  verdict.strategy = strategy;
  verdict.reason = judged.reason;
  verdict.price = strategy == ResolutionStrategy::auction ? judged.price : verdict.price;
  if (std::has_single_bit(judged.leaders)) {
    verdict.winner = participants[static_cast<std::size_t>(std::countr_zero(judged.leaders))].agent;
    verdict.is_over = true;
  } else if (strategy == ResolutionStrategy::branch_and_reconcile) {
    verdict.stage = ConflictStage::resolving;
    verdict.is_over = true;
  }
}

ConflictHandler::Verdict ConflictHandler::run_chain(const Case& its,
                                                    std::span<const ResolutionStrategy> chain,
                                                    const Evidence& evidence) noexcept {
  Verdict verdict;
  verdict.among = all_of(its.count);
  auto last = ResolutionStrategy::none;
  for (const ResolutionStrategy strategy : chain) {
    if (strategy == ResolutionStrategy::none) break;
    const bool is_first = last == ResolutionStrategy::none;
    last = strategy;
    take_step(its, strategy, evidence, verdict);
    if (verdict.stage == ConflictStage::manual) {
      verdict.reason = is_first ? ResolutionReason::none : ResolutionReason::exhausted;
    }
    if (verdict.is_over) return verdict;
  }
  if (is_total(last)) {
    const auto participants = participants_of(slot_of(its));
    const Settled settled = settle(participants, verdict.among);
    verdict.winner = participants[settled.place].agent;
    verdict.reason = settled.reason;
    return verdict;
  }
  verdict.stage = ConflictStage::manual;
  verdict.reason = ResolutionReason::exhausted;
  return verdict;
}

// --- what ends it ------------------------------------------------------------------------------

void ConflictHandler::close(std::uint32_t slot, std::int64_t now_ns) noexcept {
  Case& its = cases_[slot];
  to_stage(its, ConflictStage::resolved);
  --view_.open[its.priority];
  view_.escalated -= its.audience == Audience::none ? 0U : 1U;
  its.resolved_ns = now_ns;
  its.deadline_ns = 0;
  deadlines_.clear(slot);
  overdue_.clear(slot);
  by_key_.erase(its.key);
  const std::uint32_t contested = quarantine_.find(its.subject);
  if (contested > 1) {
    quarantine_.set(its.subject, contested - 1);
  } else {
    quarantine_.erase(its.subject);
  }
  ended_.set(slot, now_ns + config_.retention_ns.count(), its.id);
  ++counters_.resolved;
}

void ConflictHandler::assign(Case& its, std::uint32_t person, std::string_view note,
                             std::int64_t now_ns) noexcept {
  to_stage(its, ConflictStage::manual);
  its.strategy = ResolutionStrategy::manual;
  its.winner = person;  // in the record; nobody has won
  record(its, ConflictFact::assigned, note, now_ns);
  its.winner = kNobody;
  ++counters_.assigned;
}

ConflictHandler::Reply ConflictHandler::finish(std::uint32_t slot, const Verdict& verdict,
                                               std::string_view note,
                                               std::int64_t now_ns) noexcept {
  if (verdict.code != Errc::ok) return refuse(verdict.code);
  Case& its = cases_[slot];
  its.reason = verdict.reason;
  its.drifting = verdict.drifting;
  if (verdict.stage == ConflictStage::manual) {
    counters_.exhausted += verdict.reason == ResolutionReason::exhausted ? 1U : 0U;
    assign(its, kNobody, note, now_ns);
    return answer(slot);
  }
  its.strategy = verdict.strategy;
  its.winner = verdict.winner;
  its.price = verdict.price;
  its.retry_ns = verdict.retry_ns;
  if (verdict.stage == ConflictStage::resolving) {
    its.branches = verdict.among;
    to_stage(its, ConflictStage::resolving);
    ++counters_.branched;
    record(its, ConflictFact::branched, note, now_ns);
    return answer(slot);
  }
  close(slot, now_ns);
  record(its, ConflictFact::resolved, note, now_ns);
  emit(EventName::conflict_resolved, Severity::info, now_ns, {its.id, its.winner, its.subject.low});
  return answer(slot);
}

Errc ConflictHandler::check(const conflict::Resolve& order, std::uint32_t slot) const noexcept {
  using enum ResolutionStrategy;
  if (slot == kNone) return Errc::not_found;
  const Case& its = cases_[slot];
  if (its.stage == ConflictStage::resolved) return Errc::wrong_state;
  const bool is_known = order.strategy > none && order.strategy <= last_of(ResolutionStrategy{});
  if (!is_known || !is_note(order.note)) return Errc::invalid_argument;
  const bool names_one = order.winner != kNobody;
  const bool merges = order.strategy == branch_and_reconcile && names_one;
  if ((its.stage == ConflictStage::resolving) != merges && order.strategy != manual) {
    return Errc::wrong_state;
  }
  const bool may_name = merges || order.strategy == manual;
  const bool is_its = names_one && place_of(participants_of(slot), order.winner) != kNobody;
  if (may_name ? !is_its : names_one) return Errc::invalid_argument;
  const Errc evidence = tasks::check(participants_of(slot), order.evidence);
  if (evidence != Errc::ok) return evidence;
  return unlogged_count_ == unlogged_.size() ? Errc::capacity : Errc::ok;
}

ConflictHandler::Reply ConflictHandler::on(const conflict::Resolve& order,
                                           std::int64_t now_ns) noexcept {
  const std::uint32_t slot = find_slot(order.conflict);
  const Errc bad = check(order, slot);
  if (bad != Errc::ok) return refuse(bad);
  if (order.strategy == ResolutionStrategy::lww && !config_.allows_lww) {
    Reply reply = answer(slot);
    reply.refusal = Refusal::rejected_policy;
    return reply;
  }
  if (order.winner == kNobody) {
    return finish(slot, run_chain(cases_[slot], std::span(&order.strategy, 1), order.evidence),
                  order.note, now_ns);
  }
  Verdict verdict;
  verdict.strategy = order.strategy;
  verdict.winner = order.winner;
  verdict.reason = order.strategy == ResolutionStrategy::manual ? ResolutionReason::person
                                                                : ResolutionReason::merged;
  return finish(slot, verdict, order.note, now_ns);
}

ConflictHandler::Reply ConflictHandler::on(const conflict::AutoResolve& order,
                                           std::int64_t now_ns) noexcept {
  const std::uint32_t slot = find_slot(order.conflict);
  if (slot == kNone) return refuse(Errc::not_found);
  const Case& its = cases_[slot];
  const bool is_free = its.stage == ConflictStage::queued || its.stage == ConflictStage::escalated;
  if (!is_free) return refuse(Errc::wrong_state);
  const Errc evidence = tasks::check(participants_of(slot), order.evidence);
  if (evidence != Errc::ok) return refuse(evidence);
  if (unlogged_count_ == unlogged_.size()) return refuse(Errc::capacity);
  const auto& chain = config_.chains[static_cast<std::size_t>(its.kind)];
  return finish(slot, run_chain(its, chain.steps, order.evidence), {}, now_ns);
}

ConflictHandler::Reply ConflictHandler::on(const conflict::AssignManual& order,
                                           std::int64_t now_ns) noexcept {
  const std::uint32_t slot = find_slot(order.conflict);
  if (slot == kNone) return refuse(Errc::not_found);
  if (cases_[slot].stage == ConflictStage::resolved) return refuse(Errc::wrong_state);
  if (!is_note(order.note)) return refuse(Errc::invalid_argument);
  if (unlogged_count_ == unlogged_.size()) return refuse(Errc::capacity);
  cases_[slot].reason = ResolutionReason::none;
  assign(cases_[slot], order.person, order.note, now_ns);
  return answer(slot);
}

ConflictHandler::Reply ConflictHandler::on(const conflict::Query& order, std::int64_t) noexcept {
  const std::uint32_t slot = find_slot(order.conflict);
  return slot == kNone ? refuse(Errc::not_found) : answer(slot);
}

ConflictHandler::Reply ConflictHandler::on(const conflict::Logged& order, std::int64_t) noexcept {
  if (order.position > chain_.position) return refuse(Errc::invalid_argument);
  while (unlogged_count_ != 0 && unlogged_[unlogged_first_].end.position <= order.position) {
    unlogged_first_ = (unlogged_first_ + 1) % unlogged_.size();
    --unlogged_count_;
    ++counters_.logged;
  }
  return {};
}

// --- time --------------------------------------------------------------------------------------

void ConflictHandler::pass_deadline(std::uint32_t slot, std::int64_t now_ns) noexcept {
  Case& its = cases_[slot];
  ++counters_.overdue;
  if (its.overdue_ns == 0) {
    its.overdue_ns = its.deadline_ns;
    overdue_.set(slot, its.overdue_ns, its.id);
  }
  its.deadline_ns = 0;
  if (its.priority < engine::kConflictPriorityMax) {
    to_priority(its, static_cast<std::uint8_t>(its.priority + 1));
    set_deadline(slot, now_ns);
  }
  escalate(its, engine::audience_of(its.priority), now_ns);
  if (its.audience != Audience::none && its.stage == ConflictStage::queued) {
    to_stage(its, ConflictStage::escalated);
  }
  record(its, ConflictFact::escalated, {}, now_ns);
  view_changed_ = true;
}

void ConflictHandler::forget(std::uint32_t slot) noexcept {
  by_id_.erase(hash_of(cases_[slot].id, 0));
  ended_.clear(slot);
  slots_.free(slot);
  cases_[slot] = {};
  ++counters_.forgotten;
}

// Deadlines as far as the log's room goes: the rest is due at the next tick.
void ConflictHandler::expire(std::int64_t now_ns) noexcept {
  while (unlogged_count_ != unlogged_.size()) {
    const std::uint32_t slot = deadlines_.pop_due(now_ns);
    if (slot == DeadlineHeap::kNone) break;
    pass_deadline(slot, now_ns);
  }
  for (auto slot = ended_.pop_due(now_ns); slot != DeadlineHeap::kNone;
       slot = ended_.pop_due(now_ns)) {
    forget(slot);
  }
}

ConflictHandler::Reply ConflictHandler::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  Reply reply = std::visit([&](const auto& order) { return on(order, now_ns); }, command);
  view_.oldest_overdue = Nanos{overdue_.count() == 0 ? 0 : overdue_.next_ns()};
  if (!news_.empty()) {
    reply.news = news_;
    news_.clear();
  }
  return reply;
}

void ConflictHandler::tick(Nanos now, Actions& out) noexcept {
  if (ServiceClock::is_valid(now)) expire(clock_.at(now));
  view_.oldest_overdue = Nanos{overdue_.count() == 0 ? 0 : overdue_.next_ns()};
  out.news = news_;
  news_.clear();
  out.view_changed = std::exchange(view_changed_, false);
  out.next_tick = Nanos{std::min(deadlines_.next_ns(), ended_.next_ns())};
}

}  // namespace mesh::tasks
