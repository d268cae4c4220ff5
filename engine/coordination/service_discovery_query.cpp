// Questions to a registry: which instances there are, and which of a type is the best.
#include <algorithm>
#include <cmath>

#include "engine/coordination/blocks/bounded_load.hpp"
#include "engine/coordination/blocks/selector.hpp"
#include "engine/coordination/service_discovery.hpp"

namespace mesh::coordination {
namespace {

constexpr SelectTerms kWeights{.reputation = 0,
                               .health = 0.35,
                               .latency = 0.10,
                               .load = 0.20,
                               .locality = 0.25,
                               .impedance = 0,
                               .version = 0.10};

bool is_filter(const AttributeFilter& filter) noexcept {
  SemverRange range;
  switch (filter.op) {
    case FilterOp::exists:
      return filter.values.empty();
    case FilterOp::in:
      return !filter.values.empty();
    case FilterOp::in_range:
      return filter.values.size() == 1 && range.parse(filter.values[0]);
    default:
      return filter.values.size() == 1;
  }
}

bool is_in_range(std::string_view text, std::string_view wanted) noexcept {
  Semver version;
  SemverRange range;
  return parse(text, version) && range.parse(wanted) && range.contains(version);
}

// not_equal holds where there is no such attribute, all others do not.
bool holds(const AttributeFilter& filter, std::span<const Attribute> attributes) noexcept {
  const auto at = std::find_if(attributes.begin(), attributes.end(),
                               [&](const Attribute& one) { return one.key == filter.key; });
  if (at == attributes.end()) return filter.op == FilterOp::not_equal;
  if (filter.op == FilterOp::exists) return true;
  if (filter.op == FilterOp::in_range) return is_in_range(at->value, filter.values[0]);
  const bool is_listed =
      std::find(filter.values.begin(), filter.values.end(), at->value) != filter.values.end();
  return is_listed != (filter.op == FilterOp::not_equal);
}

}  // namespace

std::string_view to_string(InstanceStatus status) noexcept {
  constexpr std::array<std::string_view, 5> kNames{"starting", "ready", "not_ready", "draining",
                                                   "dead"};
  const auto index = static_cast<std::size_t>(status);
  return index < kNames.size() ? kNames[index] : "unknown";
}

ScoreBreakdown resolve_score(ScoreBreakdown terms) noexcept {
  terms.score = select_score({.reputation = 0,
                              .health = terms.health,
                              .latency = terms.latency,
                              .load = terms.load,
                              .locality = terms.locality,
                              .impedance = 0,
                              .version = terms.version},
                             kWeights);
  return terms;
}

// One question: what it prefers, and who may answer it.
struct ServiceDiscovery::Choice {
  std::uint64_t region = 0;  // hashes; 0: not asked for
  std::uint64_t zone = 0;
  std::uint64_t rack = 0;
  SemverRange versions;
  std::int64_t now_ns = 0;
  ServiceIndex::List list;
  bool is_any = false;  // include_unhealthy
  bool is_local_only = false;
  bool is_panic = false;  // health does not count
  std::uint32_t ended = 0;
  std::uint32_t going = 0;  // draining or starting
  std::uint32_t unhealthy = 0;
  std::uint32_t outside = 0;       // of the range of versions
  const Semver* newest = nullptr;  // of those that may be chosen

  [[nodiscard]] bool is_within(const ServiceRow& row) const noexcept {
    return now_ns < row.expires_ns && row.status != InstanceStatus::draining &&
           row.status != InstanceStatus::starting;
  }
  [[nodiscard]] bool is_local(const ServiceRow& row) const noexcept {
    return row.region == region && row.zone == zone;
  }
};

Result<std::int64_t> ServiceDiscovery::instant_of(Nanos now) const {
  if (!ServiceClock::is_valid(now)) {
    return complain(Errc::invalid_argument, "an instant outside the clock");
  }
  return std::max(now.count(), clock_.last_ns());
}

DiscoveredInstance ServiceDiscovery::describe(const Slot& slot) const {
  return {content_of(slot), slot.order, Nanos{slot.expires_ns}};
}

// --- query -------------------------------------------------------------------------------------

void ServiceDiscovery::add_matches(const DiscoveryQuery& query, const TypeRow& type,
                                   std::int64_t now_ns, QueryResult& result) const {
  SemverRange versions;
  static_cast<void>(versions.parse(query.versions));  // judged before
  index_.for_each(type.list, [&](const ServiceRow& row) {
    const bool is_offered = is_healthy(row) && now_ns < row.expires_ns;
    if (!query.include_unhealthy && !is_offered) return;
    if (!versions.contains(row.version)) return;
    DiscoveredInstance one = describe(slots_[row.record]);
    const auto& attributes = one.content.attributes;
    const bool fits =
        std::all_of(query.filters.begin(), query.filters.end(),
                    [&](const AttributeFilter& filter) { return holds(filter, attributes); });
    if (fits) result.instances.push_back(std::move(one));
  });
}

Result<QueryResult> ServiceDiscovery::query(const DiscoveryQuery& query, Nanos now) const {
  MESH_TRY(const std::int64_t now_ns, instant_of(now));
  TypeName type;
  if (!type.parse(query.type)) {
    return complain(Errc::invalid_id, "no type has the name \"" + query.type + "\"");
  }
  SemverRange versions;
  if (!versions.parse(query.versions)) {
    return complain(Errc::invalid_argument, "no range of versions: " + query.versions);
  }
  if (query.limit == 0) return complain(Errc::invalid_argument, "a limit of 0");
  for (const auto& filter : query.filters) {
    if (is_filter(filter)) continue;
    return complain(Errc::invalid_argument,
                    "a filter on " + filter.key + " has not the values that it needs");
  }
  QueryResult result{version_, is_stale(), {}};
  for (const auto& row : types_) {
    if (row.list.count != 0 && type.covers(row.name.view()))
      add_matches(query, row, now_ns, result);
  }
  std::sort(result.instances.begin(), result.instances.end(),
            [](const DiscoveredInstance& a, const DiscoveredInstance& b) {
              return a.content.instance < b.content.instance;
            });
  if (result.instances.size() > query.limit) result.instances.resize(query.limit);
  return result;
}

std::vector<TypeSummary> ServiceDiscovery::summaries(Nanos now) const {
  std::vector<TypeSummary> all;
  const std::int64_t now_ns = std::max(now.count(), clock_.last_ns());
  for (const auto& row : types_) {
    TypeSummary one{std::string(row.name.view()), 0, 0, 0};
    std::uint64_t load = 0;
    index_.for_each(row.list, [&](const ServiceRow& instance) {
      if (now_ns >= instance.expires_ns) return;
      ++one.live;
      if (!is_healthy(instance)) return;
      ++one.healthy;
      load += instance.load_ppm;
    });
    if (one.live == 0) continue;
    if (one.healthy != 0) one.load_ppm_mean = static_cast<std::uint32_t>(load / one.healthy);
    all.push_back(std::move(one));
  }
  std::sort(all.begin(), all.end(),
            [](const TypeSummary& a, const TypeSummary& b) { return a.type < b.type; });
  return all;
}

// --- resolve -----------------------------------------------------------------------------------

namespace {

// 1 the same rack, .9 the same zone (1 where no rack is asked for), .7 the same region, else .2.
// Where nothing is asked for, all are alike.
template <class Place, class Wanted>
double locality_term(const Place& place, const Wanted& wanted) noexcept {
  if (wanted.region == 0) return 1;
  if (place.region != wanted.region) return 0.2;
  if (wanted.zone == 0 || place.zone != wanted.zone) return 0.7;
  return wanted.rack == 0 || place.rack == wanted.rack ? 1 : 0.9;
}

}  // namespace

ScoreBreakdown ServiceDiscovery::score_of(const ServiceRow& row,
                                          const Choice& choice) const noexcept {
  const double reference = static_cast<double>(config_.latency_ref_ns.count());
  ScoreBreakdown terms;
  terms.health = row.health;
  terms.locality = locality_term(row, choice);
  terms.load = load_term(row.load_ppm / static_cast<double>(kLoadFull));
  terms.version = compare(row.version, *choice.newest) == 0 ? 1 : 0.5;
  terms.latency = row.latency_ns < 0 ? 0.5  // nothing is known: as at the reference
                                     : latency_term(static_cast<double>(row.latency_ns), reference);
  return resolve_score(terms);
}

Resolution ServiceDiscovery::resolution_of(std::uint32_t slot, const Choice& choice) const {
  const Slot& chosen = slots_[slot];
  return {describe(chosen), score_of(index_[chosen.place], choice), is_stale(), choice.is_panic};
}

// Calls visit(row) for each instance that may be chosen.
template <class Visit>
void ServiceDiscovery::each_candidate(const Choice& choice, Visit&& visit) const {
  index_.for_each(choice.list, [&](const ServiceRow& row) {
    if (!choice.is_any) {
      if (!choice.is_within(row)) return;
      if (!choice.is_panic && !is_healthy(row)) return;
    }
    if (choice.is_local_only && !choice.is_local(row)) return;
    if (choice.versions.contains(row.version)) visit(row);
  });
}

// Nobody outside the zone that was asked for while those in it have room: what crosses a zone
// costs, and what is near answers sooner. Where too few are healthy, all count.
void ServiceDiscovery::keep_local(Choice& choice, std::uint32_t spill_load_ppm) const {
  if (spill_load_ppm == 0 || choice.zone == 0 || choice.is_panic) return;
  std::uint64_t count = 0;
  std::uint64_t load = 0;
  each_candidate(choice, [&](const ServiceRow& row) {
    if (!choice.is_local(row)) return;
    ++count;
    load += row.load_ppm;
  });
  choice.is_local_only = count != 0 && load < spill_load_ppm * count;
}

// Who there is, whether too few of them are healthy, and the newest version of those that may be
// chosen: in one pass, for which of the three newest counts is known at its end.
void ServiceDiscovery::survey(Choice& choice) const {
  std::uint32_t within = 0;
  const Semver* newest_of_all = nullptr;
  const Semver* newest_within = nullptr;
  const Semver* newest_healthy = nullptr;
  index_.for_each(choice.list, [&](const ServiceRow& row) {
    const bool is_wanted = choice.versions.contains(row.version);
    const auto keep_newer = [&](const Semver*& newest) {
      const bool is_newer = newest == nullptr || compare(row.version, *newest) > 0;
      if (is_wanted && is_newer) newest = &row.version;
    };
    choice.outside += is_wanted ? 0U : 1U;
    keep_newer(newest_of_all);
    if (!choice.is_within(row)) {
      ++(choice.now_ns >= row.expires_ns ? choice.ended : choice.going);
      return;
    }
    ++within;
    keep_newer(newest_within);
    if (is_healthy(row)) {
      keep_newer(newest_healthy);
    } else {
      ++choice.unhealthy;
    }
  });
  choice.is_panic =
      !choice.is_any && within != 0 && within - choice.unhealthy < config_.panic_share * within;
  choice.newest = choice.is_any ? newest_of_all : choice.is_panic ? newest_within : newest_healthy;
}

Result<ServiceDiscovery::Choice> ServiceDiscovery::choose(std::string_view type,
                                                          const DiscoveryPreferences& preferences,
                                                          Nanos now) const {
  Choice choice;
  MESH_TRY(choice.now_ns, instant_of(now));
  TypeName wanted;
  if (!wanted.parse(type) || wanted.is_prefix) {
    return complain(Errc::invalid_id, "no type has the name \"" + std::string(type) + "\"");
  }
  const bool has_zone = preferences.rack.empty() || !preferences.zone.empty();
  const bool has_region = preferences.zone.empty() || !preferences.region.empty();
  if (!has_zone || !has_region) {
    return complain(Errc::invalid_argument,
                    "a zone without its region, or a rack without its zone");
  }
  if (!choice.versions.parse(preferences.versions)) {
    return complain(Errc::invalid_argument, "no range of versions: " + preferences.versions);
  }
  choice.region = hash_or_none(preferences.region);
  choice.zone = hash_or_none(preferences.zone);
  choice.rack = hash_or_none(preferences.rack);
  choice.is_any = preferences.include_unhealthy;
  choice.list = rows_of(wanted.view());
  index_.prefetch(choice.list);
  survey(choice);
  if (choice.newest != nullptr) keep_local(choice, preferences.spill_load_ppm);
  if (choice.newest != nullptr) return choice;
  return complain(Errc::no_candidate, "nobody offers " + std::string(wanted.view()) +
                                          ": leases ended " + std::to_string(choice.ended) +
                                          ", draining or starting " + std::to_string(choice.going) +
                                          ", unhealthy " + std::to_string(choice.unhealthy) +
                                          ", outside the versions " +
                                          std::to_string(choice.outside));
}

Result<Resolution> ServiceDiscovery::resolve_one(std::string_view type,
                                                 const DiscoveryPreferences& preferences,
                                                 Nanos now) const {
  MESH_TRY(Choice choice, choose(type, preferences, now));
  std::uint32_t best = kNone;
  double most = 0;
  IdHash best_id;
  each_candidate(choice, [&](const ServiceRow& row) {
    const double score = score_of(row, choice).score;
    const bool is_better = best == kNone || score > most || (score == most && row.id < best_id);
    if (!is_better) return;
    best = row.record;
    best_id = row.id;
    most = score;
  });
  return resolution_of(best, choice);
}

Result<std::vector<Resolution>> ServiceDiscovery::resolve(std::string_view type,
                                                          const DiscoveryPreferences& preferences,
                                                          std::uint32_t limit, Nanos now) const {
  MESH_TRY(Choice choice, choose(type, preferences, now));
  if (limit == 0) return complain(Errc::invalid_argument, "a limit of 0");
  std::vector<std::pair<double, std::uint32_t>> scored;
  each_candidate(choice, [&](const ServiceRow& row) {
    scored.emplace_back(score_of(row, choice).score, row.record);
  });
  const std::size_t count = std::min<std::size_t>(limit, scored.size());
  std::partial_sort(scored.begin(), scored.begin() + static_cast<std::ptrdiff_t>(count),
                    scored.end(), [&](const auto& a, const auto& b) {
                      if (a.first != b.first) return a.first > b.first;
                      return slots_[a.second].id < slots_[b.second].id;
                    });
  std::vector<Resolution> best;
  best.reserve(count);
  for (std::size_t i = 0; i < count; ++i) best.push_back(resolution_of(scored[i].second, choice));
  return best;
}

Result<std::vector<std::string>> ServiceDiscovery::place(std::string_view type,
                                                         std::span<const std::uint64_t> keys,
                                                         double c, Nanos now) const {
  if (!(c >= 1 && c <= 1'000)) {
    return complain(Errc::invalid_argument, "a bound of the load outside 1..1000");
  }
  MESH_TRY(Choice choice, choose(type, {}, now));
  std::vector<BoundedServer> servers;
  std::vector<std::string> names;
  each_candidate(choice, [&](const ServiceRow& row) {
    const Slot& slot = slots_[row.record];
    servers.push_back({row.id, slot.weight});
    names.push_back(content_of(slot).instance);
  });
  std::vector<std::string> places;
  places.reserve(keys.size());
  for (const auto server : place_bounded(c, keys, servers)) places.push_back(names[server]);
  return places;
}

}  // namespace mesh::coordination
