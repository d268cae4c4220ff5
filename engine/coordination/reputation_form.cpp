// What a router looks like from outside: its presets, the range of its config, its bytes.
#include <array>
#include <cmath>
#include <string>

#include "engine/coordination/blocks/ppm.hpp"
#include "engine/coordination/reputation_router.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 3> kPresets{"default", "exploit", "explore"};
constexpr std::int64_t kHalfLifeMin = kNsPerSecond;
constexpr std::int64_t kHalfLifeMax = std::int64_t{30} * 86'400 * kNsPerSecond;

}  // namespace

std::span<const std::string_view> ReputationConfig::names() noexcept { return kPresets; }

Result<ReputationConfig> ReputationConfig::preset(std::string_view name) {
  ReputationConfig config;
  if (name == "default") return config;
  if (name == "exploit") {
    config.policy = PickPolicy::argmax;
    config.explore_every = 0;
    return config;
  }
  if (name == "explore") {
    config.policy = PickPolicy::thompson;
    return config;
  }
  return unknown_preset("reputation router", name, kPresets);
}

Status ReputationWeightedRouter::validate(const Config& config) {
  const auto share = [](double value) { return value >= 0 && value <= 1; };
  const auto amount = [](double value) { return value > 0 && value <= 1e6; };
  const std::int64_t half_life = config.half_life_ns.count();
  const std::array<Check, 19> checks{{
      {half_life >= kHalfLifeMin && half_life <= kHalfLifeMax, "half_life_ns is outside 1 s..30 d"},
      {amount(config.prior_success), "prior_success is not above 0"},
      {amount(config.prior_failure), "prior_failure is not above 0"},
      {share(config.w_success) && share(config.w_latency) &&
           config.w_success + config.w_latency <= 1 + 1e-9,
       "w_success and w_latency sum to more than 1"},
      {is_positive_duration(config.latency_ref_ns), "latency_ref_ns is outside 1 ns..36 years"},
      {config.latency_alpha > 0 && config.latency_alpha <= 1, "latency_alpha is outside 0..1"},
      {config.wrong_result_weight >= 1 && config.wrong_result_weight <= 1'000,
       "wrong_result_weight is outside 1..1000"},
      {config.policy <= PickPolicy::thompson, "policy is none"},
      {config.gamma >= 0 && config.gamma <= 64 && share(config.p2c_margin),
       "gamma is outside 0..64 or p2c_margin outside 0..1"},
      {config.quarantine_below >= 0 && config.quarantine_below < 1,
       "quarantine_below is outside 0..1"},
      {is_positive_duration(config.quarantine_ns), "quarantine_ns is outside 1 ns..36 years"},
      {is_duration(config.slow_start_ns), "slow_start_ns is outside 0..36 years"},
      {config.observations_min >= 0 && config.observations_min <= 1e6,
       "observations_min is outside 0..1000000"},
      {is_positive_duration(config.inflight_forget_ns),
       "inflight_forget_ns is outside 1 ns..36 years"},
      {config.outlier_stdevs >= 0 && config.outlier_stdevs <= 100 &&
           config.outlier_percent_max <= 100,
       "outlier_stdevs or outlier_percent_max is outside 0..100"},
      {is_positive_duration(config.outlier_interval_ns),
       "outlier_interval_ns is outside 1 ns..36 years"},
      {config.agents_max >= 1 && config.agents_max <= 1'048'576 && config.capabilities_max >= 1 &&
           config.capabilities_max <= 1'024,
       "agents_max or capabilities_max is outside its range"},
      {config.rows_max >= 1 && config.rows_max <= 4'194'304 && config.origins_max <= 1'024,
       "rows_max or origins_max is outside its range"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- observers ---------------------------------------------------------------------------------

Result<std::uint32_t> ReputationWeightedRouter::find(std::string_view capability) const {
  for (std::uint32_t i = 0; is_class(i); ++i) {
    if (classes_[i].name == capability) return i;
  }
  return complain(Errc::not_found, "no such capability");
}

double ReputationWeightedRouter::reputation(std::uint32_t agent, std::uint32_t capability,
                                            Nanos now) const {
  const DecayScale at(std::max(now.count(), clock_.last_ns()), config_.half_life_ns.count());
  std::uint32_t row = kNoRow;
  if (find_row(agent, capability, row) == Errc::ok) return reputation_of(judged(row, at).seen);
  return config_.prior_success / (config_.prior_success + config_.prior_failure);
}

double ReputationWeightedRouter::score(std::uint32_t agent, std::uint32_t capability,
                                       Nanos now) const {
  const DecayScale at(std::max(now.count(), clock_.last_ns()), config_.half_life_ns.count());
  std::uint32_t row = kNoRow;
  const Row none{};
  if (find_row(agent, capability, row) != Errc::ok) return score_of({&none, {}});
  return score_of(judged(row, at));
}

ReputationView ReputationWeightedRouter::view(std::uint32_t agent, std::uint32_t capability,
                                              Nanos now) const {
  std::uint32_t row = kNoRow;
  if (find_row(agent, capability, row) != Errc::ok) return {};
  const DecayScale at(std::max(now.count(), clock_.last_ns()), config_.half_life_ns.count());
  const Judged by = judged(row, at);
  ReputationView view;
  view.score_ppm = ppm_of(score_of(by));
  const std::uint64_t observed =
      histories_[by.row->capability == kAnyCapability ? agent : row].observations;
  view.observations = static_cast<std::uint32_t>(std::min<std::uint64_t>(observed, UINT32_MAX));
  view.quarantined = quarantines_.has(row) || quarantines_.has(agent);
  view.eligible = capability != kAnyCapability && classes_[capability].eligible.test(agent);
  return view;
}

Nanos ReputationWeightedRouter::latency(std::uint32_t agent,
                                        std::uint32_t capability) const noexcept {
  std::uint32_t row = kNoRow;
  if (find_row(agent, capability, row) != Errc::ok) return Nanos{-1};
  return Nanos{std::llround(rows_[row].latency_ns)};
}
std::uint32_t ReputationWeightedRouter::in_flight(std::uint32_t agent) const noexcept {
  return is_joined(agent) ? inflight_at(rows_[agent], clock_.last_ns()) : 0;
}
double ReputationWeightedRouter::trust(std::uint32_t origin) const noexcept {
  return origin < trust_.size() ? trust_[origin] : 0;
}

Result<ReputationReport> ReputationWeightedRouter::report(std::uint32_t agent,
                                                          std::uint32_t capability,
                                                          Nanos now) const {
  std::uint32_t row = kNoRow;
  if (find_row(agent, capability, row) != Errc::ok) {
    return complain(Errc::not_found, "no such agent, or it does not offer that");
  }
  const DecayScale at(std::max(now.count(), clock_.last_ns()), config_.half_life_ns.count());
  const Row& own = rows_[row];
  return ReputationReport{agent, capability, own.successes.read(at), own.failures.read(at),
                          histories_[row].observations};
}

// --- bytes -------------------------------------------------------------------------------------

namespace {

template <class R, class Field>
void each_row_field(R& row, Field&& field) {
  field(row.latency_ns), field(row.ramp_from_ns), field(row.last_event_ns);
}

}  // namespace

void ReputationWeightedRouter::save_row(StateWriter& writer, std::uint32_t row) const {
  rows_[row].successes.save(writer);
  rows_[row].failures.save(writer);
  if (!remote_.empty()) remote_[row].successes.save(writer), remote_[row].failures.save(writer);
  each_row_field(rows_[row], [&](const auto& field) { writer.put(field); });
  writer.put(histories_[row].observations);
  writer.put(histories_[row].quarantined_until_ns);
  for (std::uint32_t origin = 0; origin < config_.origins_max; ++origin) {
    const Imported& heard = imports_[origin * rows_.size() + row];
    writer.put(heard.observations);
    if (heard.observations == 0) continue;
    heard.successes.save(writer);
    heard.failures.save(writer);
  }
}

void ReputationWeightedRouter::load_row(StateReader& reader, std::uint32_t row) {
  Row& into = rows_[row];
  into.successes.load(reader);
  into.failures.load(reader);
  if (!remote_.empty()) remote_[row].successes.load(reader), remote_[row].failures.load(reader);
  each_row_field(into, [&](auto& field) { reader.get(field); });
  RowHistory& history = histories_[row];
  reader.get(history.observations);
  reader.get(history.quarantined_until_ns);
  for (std::uint32_t origin = 0; origin < config_.origins_max; ++origin) {
    Imported& heard = imports_[origin * rows_.size() + row];
    reader.get(heard.observations);
    if (heard.observations == 0) continue;
    heard.successes.load(reader);
    heard.failures.load(reader);
  }
  if (history.quarantined_until_ns < 0 || std::isnan(into.latency_ns)) return reader.fail();
  if (history.quarantined_until_ns == 0) return;
  const std::uint64_t key = (std::uint64_t{into.capability} + 1) * agents_.size() + into.agent;
  quarantines_.set(row, history.quarantined_until_ns, key);
}

void ReputationWeightedRouter::save_state(StateWriter& writer) const {
  rng_.save(writer);
  writer.put(swept_epoch_);
  writer.put(next_outliers_ns_);
  writer.put(is_rated_);
  if (is_rated_) {
    for (const auto rating : ratings_) writer.put(rating);
    for (const auto trust : trust_) writer.put(trust);
  }
  for (std::uint32_t i = 0; i < agents_.size(); ++i) {
    const Agent& agent = agents_[i];
    writer.put(agent.joined);
    if (!agent.joined) continue;
    writer.put(agent.routable);
    writer.put(rows_[i].inflight_limit);
    writer.put(rows_[i].in_flight);
    save_row(writer, i);
  }
  for (const auto& kind : classes_) {
    writer.put(kind.name);
    if (kind.name.empty()) continue;
    writer.put(kind.routes);
    writer.put(kind.offered);
    // In the order in which they were tried, those that never were first.
    bool touched = kind.tried.last_untouched() == RecencyList::kNone;
    for (auto row = kind.tried.first(); row != RecencyList::kNone; row = rows_[row].next) {
      writer.put(rows_[row].agent);
      writer.put(touched);
      save_row(writer, row);
      touched = touched || row == kind.tried.last_untouched();
    }
  }
}

void ReputationWeightedRouter::load_class(StateReader& reader, std::uint32_t capability) {
  Class& kind = classes_[capability];
  const auto name = reader.get<std::string>();
  if (name.empty()) return;
  if (!is_name(name)) return reader.fail();
  kind.name.assign(name);
  reader.get(kind.routes);
  const std::size_t offered = reader.get_count(4);
  for (std::size_t i = 0; i < offered; ++i) {
    const auto agent = reader.get<std::uint32_t>();
    const auto touched = reader.get<bool>();
    if (reader.failed() || !is_joined(agent) || free_rows_.empty() ||
        row_of(agent, capability) != kNoRow) {
      return reader.fail();
    }
    const std::uint32_t row = free_rows_.back();
    free_rows_.pop_back();
    rows_[row].agent = agent;
    rows_[row].capability = capability;
    row_of_[std::size_t{capability} * agents_.size() + agent] = row;
    kind.tried.restore(RowLinks{rows_}, row, agent, touched);
    ++kind.offered;
    load_row(reader, row);
    refresh(row);
  }
}

void ReputationWeightedRouter::load_state(StateReader& reader) {
  rng_.load(reader);
  reader.get(swept_epoch_);
  reader.get(next_outliers_ns_);
  reader.get(is_rated_);
  if (is_rated_) {
    for (auto& rating : ratings_) reader.get(rating);
    for (auto& trust : trust_) reader.get(trust);
  }
  for (std::uint32_t i = 0; i < agents_.size() && !reader.failed(); ++i) {
    Agent& agent = agents_[i];
    reader.get(agent.joined);
    if (!agent.joined) continue;
    reader.get(agent.routable);
    reader.get(rows_[i].inflight_limit);
    reader.get(rows_[i].in_flight);
    rows_[i].agent = i;
    load_row(reader, i);
  }
  for (std::uint32_t i = 0; i < classes_.size() && !reader.failed(); ++i) load_class(reader, i);
}

Status ReputationWeightedRouter::verify() const {
  if (counters_.routed + counters_.without_candidate != counters_.routes) {
    return complain(Errc::corrupt, "routed + without_candidate is not routes");
  }
  if (counters_.explored > counters_.routed) {
    return complain(Errc::corrupt, "more explored than routed");
  }
  const DecayScale at(clock_.last_ns(), config_.half_life_ns.count());
  for (std::uint32_t i = 0; i < classes_.size(); ++i) {
    const Class& kind = classes_[i];
    std::uint32_t listed = 0;
    for (auto row = kind.tried.first(); row != RecencyList::kNone; row = rows_[row].next) {
      const Row& one = rows_[row];
      ++listed;
      if (listed > kind.offered || one.capability != i || row_of(one.agent, i) != row) {
        return complain(Errc::corrupt, "the order of tries is not that of the rows");
      }
      const bool fit = agents_[one.agent].joined && agents_[one.agent].routable &&
                       !quarantines_.has(row) && !quarantines_.has(one.agent);
      if (kind.eligible.test(one.agent) != fit) {
        return complain(Errc::corrupt, "an agent is eligible and should not be, or the reverse");
      }
      const double rep = reputation_of(evidence(row, at));
      if (!(rep > 0 && rep < 1)) return complain(Errc::corrupt, "a reputation is outside 0..1");
    }
    if (listed != kind.offered) return complain(Errc::corrupt, "an agent is in no order of tries");
  }
  return {};
}

template class ServiceForm<ReputationWeightedRouter, ReputationConfig, ReputationCommand,
                           ReputationReply, ReputationCounters, ReputationActions>;

}  // namespace mesh::coordination
