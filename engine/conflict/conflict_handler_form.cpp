// What a conflict handler looks like from outside: its names, its presets, its bytes, what must
// hold.
#include <algorithm>
#include <bit>

#include "engine/conflict/conflict_handler.hpp"
#include "engine/coordination/blocks/names.hpp"
namespace mesh::tasks {
namespace {

constexpr std::array<std::string_view, 2> kConflictPresets{"standard", "pi4b"};

static_assert(static_cast<int>(sched::ConflictType::other) ==
              static_cast<int>(ConflictKind::other));
static_assert(static_cast<int>(sched::ConflictType::context_divergence) ==
              static_cast<int>(ConflictKind::context_divergence));

}  // namespace

std::string_view to_string(ConflictKind kind) noexcept {
  constexpr std::array<std::string_view, kConflictKinds> kNames{"none",
                                                                "CONTEXT_DIVERGENCE",
                                                                "DATA_CONTRADICTION",
                                                                "TEMPORAL_PARADOX",
                                                                "CAPABILITY_MISMATCH",
                                                                "HASH_MISMATCH",
                                                                "OTHER",
                                                                "RESOURCE",
                                                                "TASK_ASSIGNMENT",
                                                                "TASK_DEPENDENCY",
                                                                "TASK_OUTPUT"};
  return name_in(kNames, kind);
}
std::string_view to_string(ResolutionStrategy strategy) noexcept {
  constexpr std::array<std::string_view, 12> kNames{"none",
                                                    "priority",
                                                    "timestamp",
                                                    "vote",
                                                    "reputation",
                                                    "provenance",
                                                    "branch_and_reconcile",
                                                    "clock_reconciliation",
                                                    "retry",
                                                    "auction",
                                                    "manual",
                                                    "lww"};
  return name_in(kNames, strategy);
}
std::string_view to_string(ConflictStage stage) noexcept {
  constexpr std::array<std::string_view, 6> kNames{"unknown",   "queued", "resolving",
                                                   "escalated", "manual", "resolved"};
  return name_in(kNames, stage);
}
std::string_view to_string(ResolutionReason reason) noexcept {
  constexpr std::array<std::string_view, 17> kNames{"none",
                                                    "highest priority",
                                                    "earliest timestamp",
                                                    "latest timestamp",
                                                    "most votes",
                                                    "best reputation",
                                                    "strongest provenance",
                                                    "first by its clock",
                                                    "saw all others",
                                                    "branches kept",
                                                    "merged",
                                                    "try again",
                                                    "highest bid",
                                                    "a person",
                                                    "tie: earlier timestamp",
                                                    "tie: lower agent",
                                                    "no strategy decided"};
  return name_in(kNames, reason);
}
std::string_view to_string(ConflictAdvice advice) noexcept {
  constexpr std::array<std::string_view, 10> kNames{"none",
                                                    "give each its own part",
                                                    "acquire in one order, or all at once",
                                                    "one assigner",
                                                    "declare the dependency",
                                                    "separate outputs",
                                                    "one source of the value",
                                                    "synchronise their clocks",
                                                    "share one context",
                                                    "mend the capability map"};
  return name_in(kNames, advice);
}

std::span<const std::string_view> ConflictConfig::names() noexcept { return kConflictPresets; }

Result<ConflictConfig> ConflictConfig::preset(std::string_view name) {
  ConflictConfig config;
  if (name == "standard") return config;
  if (name == "pi4b") {
    config.conflicts_max = 1'024;
    config.unlogged_max = 256;
    config.pairs_max = 64;
    config.agents_max = 4'096;
    return config;
  }
  return unknown_preset("conflict handler", name, kConflictPresets);
}

namespace {

// Every kind but none has a chain; manual ends one, nothing stands behind it; no gaps.
bool is_chain(const StrategyChain& chain, bool allows_lww) noexcept {
  if (chain.steps[0] == ResolutionStrategy::none) return false;
  bool is_over = false;
  for (const ResolutionStrategy step : chain.steps) {
    const bool is_known =
        step <= last_of(ResolutionStrategy{}) && (step != ResolutionStrategy::lww || allows_lww);
    if (!is_known || (is_over && step != ResolutionStrategy::none)) return false;
    is_over = is_over || step == ResolutionStrategy::none || step == ResolutionStrategy::manual;
  }
  return true;
}

}  // namespace

Status ConflictHandler::validate(const Config& config) {
  bool chains = true;
  for (std::size_t kind = 1; kind < kConflictKinds; ++kind) {
    chains = chains && is_chain(config.chains[kind], config.allows_lww);
  }
  const std::array<Check, 10> checks{{
      {!config.default_priority || *config.default_priority != kNotGiven,
       "default_priority is the number that means none"},
      {chains, "chains: a kind has no strategy, or one behind manual, or lww without allows_lww"},
      {is_positive_duration(config.retry_ns) && is_positive_duration(config.retry_ns_max),
       "retry_ns or retry_ns_max is outside 1 ns..36 years"},
      {is_positive_duration(config.retention_ns), "retention_ns is outside 1 ns..36 years"},
      {config.conflicts_max >= 1 && config.conflicts_max <= SlotSet::kSlotsMax,
       "conflicts_max is outside 1..262144"},
      {config.participants_max >= 2 && config.participants_max <= kParticipantsMost,
       "participants_max is outside 2..64"},
      {config.unlogged_max >= 1 && config.unlogged_max <= 65'536,
       "unlogged_max is outside 1..65536"},
      {config.pairs_max >= 1 && config.pairs_max <= 65'536, "pairs_max is outside 1..65536"},
      {config.agents_max >= 2 && config.agents_max <= 1U << 20, "agents_max is outside 2..1048576"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- views -------------------------------------------------------------------------------------

Resolution ConflictHandler::resolution_of(std::uint32_t slot) const {
  const Case& its = cases_[slot];
  Resolution told;
  told.strategy = its.strategy;
  told.reason = its.reason;
  told.winner = its.winner;
  told.price = its.price;
  told.retry_after = Nanos{its.retry_ns};
  const auto all = participants_of(slot);
  for (std::size_t place = 0; place < all.size(); ++place) {
    const std::uint32_t agent = all[place].agent;
    if (its.stage == ConflictStage::resolved && agent != its.winner) told.losers.push_back(agent);
    if ((its.branches >> place & 1U) != 0) told.branches.push_back(agent);
    if ((its.drifting >> place & 1U) != 0) told.drifting.push_back(agent);
  }
  return told;
}

ConflictHandler::Reply ConflictHandler::answer(std::uint32_t slot) const noexcept {
  const Case& its = cases_[slot];
  Reply reply;
  reply.stage = its.stage;
  reply.priority = its.priority;
  reply.conflict = its.id;
  reply.deadline = Nanos{its.deadline_ns};
  reply.resolution = resolution_of(slot);
  return reply;
}

Result<ConflictStatus> ConflictHandler::find(std::uint64_t conflict) const {
  const std::uint32_t slot = find_slot(conflict);
  if (slot == kNone) {
    return complain(Errc::not_found,
                    "no conflict " + std::to_string(conflict) + ", or it is forgotten");
  }
  const Case& its = cases_[slot];
  ConflictStatus told;
  told.kind = its.kind;
  told.stage = its.stage;
  told.priority = its.priority;
  told.audience = its.audience;
  told.subject = name_of_case(its);
  told.participants = participants_of(slot);
  told.resolution = resolution_of(slot);
  told.reported = Nanos{its.reported_ns};
  told.deadline = Nanos{its.deadline_ns};
  return told;
}

bool ConflictHandler::is_quarantined(std::string_view subject) const noexcept {
  return quarantine_.find(hash_of(subject)) != kNone;
}

ConflictHandler::Unlogged ConflictHandler::unlogged(std::size_t index) const noexcept {
  const Kept& kept = unlogged_[(unlogged_first_ + index) % unlogged_.size()];
  return {kept.end, std::span(kept.body).first(kept.size_bytes)};
}

// --- bytes -------------------------------------------------------------------------------------

namespace {

template <class Case, class Visit>
void words_of_case(Case& its, Visit&& visit) {
  visit(its.id);
  visit(its.key.low);
  visit(its.key.high);
  visit(its.reported_ns);
  visit(its.deadline_ns);
  visit(its.overdue_ns);
  visit(its.resolved_ns);
  visit(its.record);
  visit(its.price);
  visit(its.retry_ns);
  visit(its.branches);
  visit(its.drifting);
  visit(its.winner);
  visit(its.attempt);
  visit(its.count);
  visit(its.priority);
}

void put_end(StateWriter& writer, const ChainEnd& end) {
  writer.put(end.position);
  writer.append(end.digest);
}
void get_end(StateReader& reader, ChainEnd& end) {
  reader.get(end.position);
  for (std::byte& one : end.digest) one = static_cast<std::byte>(reader.get<std::uint8_t>());
}

}  // namespace

void ConflictHandler::save_state(StateWriter& writer) const {
  writer.put(last_id_);
  put_end(writer, chain_);
  rng_.save(writer);
  writer.put(slots_.used());
  for (std::uint32_t slot = 0; slot < config_.conflicts_max; ++slot) {
    if (!slots_.is_used(slot)) continue;
    const Case& its = cases_[slot];
    writer.put(slot);
    words_of_case(its, [&](const auto& word) { writer.put(word); });
    writer.put(its.kind);
    writer.put(its.stage);
    writer.put(its.audience);
    writer.put(its.strategy);
    writer.put(its.reason);
    writer.put(name_of_case(its));
    for (const Participant& one : participants_of(slot)) put_fields(one, writer);
  }
  pairs_.save(writer);
  writer.put(static_cast<std::uint32_t>(unlogged_count_));
  for (std::size_t i = 0; i < unlogged_count_; ++i) {
    put_end(writer, unlogged(i).end);
    writer.put(unlogged(i).body);
  }
}

// What follows from a case that was read; false: it cannot be.
bool ConflictHandler::index_case(std::uint32_t slot) noexcept {
  Case& its = cases_[slot];
  its.subject = hash_of(name_of_case(its));
  const bool is_open = its.stage != ConflictStage::resolved;
  const bool is_new = find_slot(its.id) == kNone && (!is_open || by_key_.find(its.key) == kNone);
  if (!is_new) return false;
  by_id_.set(hash_of(its.id, 0), slot);
  if (!is_open) {
    ended_.set(slot, its.resolved_ns + config_.retention_ns.count(), its.id);
    return true;
  }
  by_key_.set(its.key, slot);
  const std::uint32_t contested = quarantine_.find(its.subject);
  quarantine_.set(its.subject, contested == kNone ? 1 : contested + 1);
  ++view_.open[its.priority];
  view_.escalated += its.audience == engine::Audience::none ? 0U : 1U;
  view_.manual += its.stage == ConflictStage::manual ? 1U : 0U;
  if (its.deadline_ns != 0) deadlines_.set(slot, its.deadline_ns, its.id);
  if (its.overdue_ns != 0) overdue_.set(slot, its.overdue_ns, its.id);
  return true;
}

void ConflictHandler::load_cases(StateReader& reader) {
  const std::size_t used = reader.get_count(120);
  for (std::size_t i = 0; i < used && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!slots_.use(slot)) return reader.fail();
    Case& its = cases_[slot];
    words_of_case(its, [&](auto& word) { reader.get(word); });
    its.kind = reader.get_enum(last_of(ConflictKind{}));
    its.stage = reader.get_enum(last_of(ConflictStage{}));
    its.audience = reader.get_enum(engine::Audience::operator_too);
    its.strategy = reader.get_enum(last_of(ResolutionStrategy{}));
    its.reason = reader.get_enum(last_of(ResolutionReason{}));
    const auto name = reader.get<std::string>();
    const bool is_possible = is_name(name) && its.count >= 1 &&
                             its.count <= config_.participants_max && its.id <= last_id_ &&
                             its.priority <= engine::kConflictPriorityMax && its.resolved_ns >= 0 &&
                             its.resolved_ns <= kInstantMaxNs &&
                             its.stage != ConflictStage::unknown;
    if (!is_possible) return reader.fail();
    its.name_size = static_cast<std::uint8_t>(name.size());
    std::copy(name.begin(), name.end(), its.name.begin());
    for (std::uint32_t place = 0; place < its.count; ++place) {
      get_fields(participants_[std::size_t{slot} * config_.participants_max + place], reader);
    }
    if (reader.failed() || !index_case(slot)) return reader.fail();
  }
}

void ConflictHandler::load_unlogged(StateReader& reader) {
  const std::size_t count = reader.get_count(44);
  if (count > unlogged_.size()) return reader.fail();
  for (std::size_t i = 0; i < count; ++i) {
    Kept& kept = unlogged_[i];
    get_end(reader, kept.end);
    const auto body = reader.get_bytes();
    if (reader.failed() || body.size() > kept.body.size()) return reader.fail();
    kept.size_bytes = static_cast<std::uint32_t>(body.size());
    std::copy(body.begin(), body.end(), kept.body.begin());
  }
  unlogged_count_ = count;
}

void ConflictHandler::load_state(StateReader& reader) {
  reader.get(last_id_);
  get_end(reader, chain_);
  rng_.load(reader);
  load_cases(reader);
  if (!reader.failed()) pairs_.load(reader);
  if (!reader.failed()) load_unlogged(reader);
  view_.oldest_overdue = Nanos{overdue_.count() == 0 ? 0 : overdue_.next_ns()};
}

// --- what must hold ----------------------------------------------------------------------------

bool ConflictHandler::views_agree() const noexcept {
  ConflictView counted;
  for (std::uint32_t slot = 0; slot < config_.conflicts_max; ++slot) {
    const Case& its = cases_[slot];
    const bool is_open = slots_.is_used(slot) && its.stage != ConflictStage::resolved;
    if (!is_open) continue;
    ++counted.open[its.priority];
    counted.escalated += its.audience == engine::Audience::none ? 0U : 1U;
    counted.manual += its.stage == ConflictStage::manual ? 1U : 0U;
  }
  return counted.open == view_.open && counted.escalated == view_.escalated &&
         counted.manual == view_.manual;
}

Status ConflictHandler::verify() const {
  std::uint64_t open = 0;
  std::uint64_t remembered = 0;
  bool found = true;
  bool fair = true;
  for (std::uint32_t slot = 0; slot < config_.conflicts_max; ++slot) {
    if (!slots_.is_used(slot)) continue;
    const Case& its = cases_[slot];
    const bool is_open = its.stage != ConflictStage::resolved;
    (is_open ? open : remembered) += 1;
    found = found && find_slot(its.id) == slot && its.record <= chain_.position &&
            (is_open ? by_key_.find(its.key) == slot && is_quarantined(name_of_case(its)) &&
                           deadlines_.has(slot) == (its.deadline_ns != 0)
                     : ended_.has(slot) && !deadlines_.has(slot));
    const bool nobody = its.winner == kNobody;
    fair = fair && (nobody || place_of(participants_of(slot), its.winner) != kNobody) &&
           (is_open ? nobody : nobody == (its.strategy == ResolutionStrategy::retry));
  }
  bool chained = unlogged_count_ == 0 || unlogged(unlogged_count_ - 1).end == chain_;
  for (std::size_t i = 1; i < unlogged_count_; ++i) {
    chained = chained && chain_on(unlogged(i - 1).end, unlogged(i).body) == unlogged(i).end;
  }
  const Counters& sums = counters_;
  const std::array<Check, 7> checks{{
      {found, "a conflict is not where its id, its deadline or its subject says"},
      {fair, "a winner takes no part, or there is one too many or too few"},
      {views_agree(), "the view counts other conflicts than there are"},
      {chained, "a record does not follow from the one before"},
      {sums.reported == sums.resolved + open, "a conflict is lost, or was resolved twice"},
      {sums.resolved == sums.forgotten + remembered, "a resolved conflict is lost"},
      {sums.records == sums.logged + unlogged_count_ && sums.records == chain_.position,
       "a record is lost"},
  }};
  return all_hold(Errc::corrupt, checks);
}

}  // namespace mesh::tasks

namespace mesh::coordination {
template class ServiceForm<tasks::ConflictHandler, tasks::ConflictConfig, tasks::ConflictCommand,
                           tasks::ConflictReply, tasks::ConflictCounters, tasks::ConflictActions>;
}  // namespace mesh::coordination
