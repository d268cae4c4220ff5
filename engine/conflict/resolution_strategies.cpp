#include "engine/conflict/resolution_strategies.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <tuple>
#include <vector>

#include "engine/conflict/causal_order.hpp"
#include "engine/conflict/provenance.hpp"
#include "engine/coordination/blocks/auction_core.hpp"
#include "engine/coordination/blocks/dotted_values.hpp"

namespace mesh::tasks {
namespace {

// Calls visit(place, participant) for each of `among`.
template <class Visit>
void each(std::span<const Participant> participants, Claims among, Visit&& visit) {
  for (std::size_t place = 0; place < participants.size(); ++place) {
    if ((among & bit(place)) != 0) visit(place, participants[place]);
  }
}

constexpr ClaimJudgement kRefused{.code = Errc::invalid_argument};

// Those with the largest key(participant); without a key for each of them it refuses.
template <class Key>
ClaimJudgement largest(const ConflictCase& about, Claims among, ResolutionReason reason,
                       Key&& key) {
  ClaimJudgement judged{.decides = true, .reason = reason};
  bool all_given = true;
  decltype(key(about.participants[0])) best;
  each(about.participants, among, [&](std::size_t place, const Participant& one) {
    const auto mine = key(one);
    all_given = all_given && mine.has_value();
    if (judged.leaders == 0 || mine > best) judged.leaders = 0;
    if (judged.leaders == 0) best = mine;
    if (mine == best) judged.leaders |= bit(place);
  });
  return all_given ? judged : kRefused;
}

using Stamp = std::optional<std::uint64_t>;
Stamp stamp_of(const Participant& one) noexcept {
  return one.timestamp == 0 ? Stamp{} : Stamp{one.timestamp};
}

ClaimJudgement by_priority(const ConflictCase& about, Claims among) {
  return largest(about, among, ResolutionReason::highest_priority, [&](const Participant& one) {
    return one.priority == kNotGiven ? about.default_priority
                                     : std::optional<std::int64_t>(one.priority);
  });
}
ClaimJudgement by_timestamp(const ConflictCase& about, Claims among) {
  return largest(about, among, ResolutionReason::earliest_timestamp, [](const Participant& one) {
    const Stamp stamp = stamp_of(one);
    return stamp ? Stamp{~*stamp} : stamp;
  });
}
ClaimJudgement by_last_write(const ConflictCase& about, Claims among) {
  return largest(about, among, ResolutionReason::latest_timestamp, stamp_of);
}
ClaimJudgement by_reputation(const ConflictCase& about, Claims among) {
  return largest(about, among, ResolutionReason::best_reputation, [](const Participant& one) {
    return one.reputation_ppm == kNobody ? std::optional<std::uint32_t>{} : one.reputation_ppm;
  });
}

// Who bids nothing takes no part in it; that nobody bids is a refusal.
ClaimJudgement by_bid(const ConflictCase& about, Claims among) {
  ClaimJudgement judged{.decides = true, .reason = ResolutionReason::highest_bid};
  std::optional<ScoredBid> first;
  std::optional<ScoredBid> second;
  each(about.participants, among, [&](std::size_t place, const Participant& one) {
    if (one.bid == kNotGiven) return;
    ScoredBid bid{.score = one.bid, .arrival = one.timestamp, .agent = one.agent, .price = one.bid};
    if (!first || bid.score > first->score) judged.leaders = 0;
    if (!first || bid.score >= first->score) judged.leaders |= bit(place);
    if (!first || is_ahead(bid, *first)) {
      second = first;
      first = bid;
    } else if (!second || is_ahead(bid, *second)) {
      second = bid;
    }
  });
  if (!first) return kRefused;
  judged.price =
      payment_of({.direction = AuctionDirection::forward}, *first, second ? &*second : nullptr);
  return judged;
}

ClaimJudgement by_votes(const ConflictCase& about, Claims among) {
  std::vector<Vote> votes = about.evidence.votes;
  std::sort(votes.begin(), votes.end(), [](const Vote& a, const Vote& b) {
    return std::tie(a.voter, a.choice, a.weight) < std::tie(b.voter, b.choice, b.weight);
  });
  std::array<std::uint64_t, kParticipantsMost> weights{};
  for (std::size_t i = 0; i < votes.size();) {
    std::size_t end = i;
    bool agrees = true;
    for (; end < votes.size() && votes[end].voter == votes[i].voter; ++end) {
      agrees = agrees && votes[end].choice == votes[i].choice;
    }
    const std::uint32_t place = place_of(about.participants, votes[i].choice);
    // Said twice with two weights, the lower one counts: it is the first.
    if (agrees && place != kNobody) weights[place] += votes[i].weight;
    i = end;
  }
  ClaimJudgement judged{.reason = ResolutionReason::most_votes};
  std::uint64_t most = 0;
  each(about.participants, among, [&](std::size_t place, const Participant&) {
    if (weights[place] > most) judged.leaders = 0;
    most = std::max(most, weights[place]);
    if (most != 0 && weights[place] == most) judged.leaders |= bit(place);
  });
  judged.decides = most != 0;
  return judged;
}

ClaimJudgement by_provenance(const ConflictCase& about, Claims among) {
  std::vector<engine::Testimony> said;
  for (const Origin& one : about.evidence.origins) {
    const std::uint32_t place = place_of(about.participants, one.agent);
    if (!one.is_verified || place == kNobody || (among & bit(place)) == 0) continue;
    said.push_back(
        {std::to_string(one.agent), static_cast<AgentId>(one.origin), one.reliability_ppm});
  }
  ClaimJudgement judged{.reason = ResolutionReason::strongest_provenance};
  const auto verdict = engine::stronger(said);
  if (!verdict.value) return judged;
  each(about.participants, among, [&](std::size_t place, const Participant& one) {
    if (std::to_string(one.agent) == *verdict.value) judged.leaders |= bit(place);
  });
  judged.decides = judged.leaders != 0;
  return judged;
}

// The clocks of those asked about; an empty list: one of them has given none.
std::vector<engine::ClockedEvent> clocks_of(const ConflictCase& about, Claims among) {
  std::vector<engine::ClockedEvent> events;
  bool all_given = true;
  each(about.participants, among, [&](std::size_t, const Participant& one) {
    const auto found =
        std::find_if(about.evidence.clocks.begin(), about.evidence.clocks.end(),
                     [&](const ClaimClock& clock) { return clock.agent == one.agent; });
    all_given = all_given && found != about.evidence.clocks.end();
    if (!all_given) return;
    events.push_back({static_cast<AgentId>(one.agent), static_cast<WireTime>(one.timestamp),
                      VectorClock::of(found->entries)});
  });
  if (!all_given) events.clear();
  return events;
}

// Of each pair whose stamps say the opposite of its clocks one is wrong. Who is in the most such
// pairs is named first, of two the lower agent, until no pair is left.
std::uint64_t drifting_of(std::span<const engine::ClockedEvent> events) {
  std::vector<std::pair<std::size_t, std::size_t>> contradictions;
  for (std::size_t i = 0; i < events.size(); ++i) {
    for (std::size_t j = 0; j < events.size(); ++j) {
      const bool both_known = events[i].at != WireTime{} && events[j].at != WireTime{};
      if (both_known && compare(events[i].clock, events[j].clock) == CausalOrder::before &&
          events[i].at > events[j].at) {
        contradictions.emplace_back(i, j);
      }
    }
  }
  std::uint64_t named = 0;
  while (!contradictions.empty()) {
    std::array<std::size_t, kParticipantsMost> pairs{};
    for (const auto& [i, j] : contradictions) {
      ++pairs[i];
      ++pairs[j];
    }
    std::size_t worst = contradictions.front().first;
    for (std::size_t at = 0; at < events.size(); ++at) {
      const bool is_worse = pairs[at] != pairs[worst] ? pairs[at] > pairs[worst]
                                                      : events[at].agent < events[worst].agent;
      if (is_worse) worst = at;
    }
    named |= bit(worst);
    std::erase_if(contradictions,
                  [&](const auto& one) { return one.first == worst || one.second == worst; });
  }
  return named;
}

ClaimJudgement by_clocks(const ConflictCase& about, Claims among) {
  const auto events = clocks_of(about, among);
  if (events.empty()) return kRefused;
  ClaimJudgement judged{.reason = ResolutionReason::first_by_clocks};
  if (!engine::causal_order(events)) return judged;  // such clocks no run has: a person looks
  judged.decides = true;
  const std::uint64_t drifting = drifting_of(events);
  std::size_t at = 0;
  each(about.participants, among, [&](std::size_t place, const Participant&) {
    const bool is_first = std::none_of(events.begin(), events.end(), [&](const auto& other) {
      return compare(other.clock, events[at].clock) == CausalOrder::before;
    });
    if (is_first) judged.leaders |= bit(place);
    if ((drifting & bit(at)) != 0) judged.drifting |= bit(place);
    ++at;
  });
  return judged;
}

// The writes that no other had seen: siblings by their dots.
ClaimJudgement by_branches(const ConflictCase& about, Claims among) {
  const auto events = clocks_of(about, among);
  if (events.empty()) return kRefused;
  ClaimJudgement judged{.reason = ResolutionReason::branches_kept};
  if (!engine::causal_order(events)) return judged;
  DottedValues<std::uint32_t> all;
  for (const auto& event : events) {
    const auto actor = static_cast<std::uint64_t>(event.agent);
    VectorClock seen = event.clock;
    seen.set(actor, seen.at(actor) - 1);  // what it had read is all but its own write
    DottedValues<std::uint32_t> one;
    one.update(seen, static_cast<std::uint32_t>(actor), actor);
    all.sync(one);
  }
  for (const auto& sibling : all.siblings()) {
    judged.leaders |= bit(place_of(about.participants, sibling.value));
  }
  judged.decides = true;
  if (std::has_single_bit(judged.leaders)) judged.reason = ResolutionReason::saw_all_others;
  return judged;
}

}  // namespace

ClaimJudgement judge_claims(ResolutionStrategy strategy, const ConflictCase& about, Claims among) {
  using enum ResolutionStrategy;
  switch (strategy) {
    case priority:
      return by_priority(about, among);
    case timestamp:
      return by_timestamp(about, among);
    case vote:
      return by_votes(about, among);
    case reputation:
      return by_reputation(about, among);
    case provenance:
      return by_provenance(about, among);
    case branch_and_reconcile:
      return by_branches(about, among);
    case clock_reconciliation:
      return by_clocks(about, among);
    case auction:
      return by_bid(about, among);
    case lww:
      return by_last_write(about, among);
    case none:
    case retry:
    case manual:
      break;
  }
  return kRefused;
}

bool is_total(ResolutionStrategy strategy) noexcept {
  using enum ResolutionStrategy;
  return strategy == priority || strategy == timestamp || strategy == reputation ||
         strategy == auction || strategy == lww;
}

Settled settle(std::span<const Participant> participants, Claims among) noexcept {
  bool all_stamped = true;
  each(participants, among, [&](std::size_t, const Participant& one) {
    all_stamped = all_stamped && one.timestamp != 0;
  });
  Settled settled{kNobody, ResolutionReason::tie_by_agent};
  bool stamps_differ = false;
  each(participants, among, [&](std::size_t place, const Participant& one) {
    const Participant* const best =
        settled.place == kNobody ? nullptr : &participants[settled.place];
    const bool differs = best != nullptr && all_stamped && one.timestamp != best->timestamp;
    stamps_differ = stamps_differ || differs;
    const bool is_ahead =
        best == nullptr || (differs ? one.timestamp < best->timestamp : one.agent < best->agent);
    if (is_ahead) settled.place = static_cast<std::uint32_t>(place);
  });
  if (!stamps_differ) return settled;
  // By the stamp alone, where no other has the winner's.
  bool is_alone = true;
  each(participants, among, [&](std::size_t place, const Participant& one) {
    is_alone = is_alone &&
               (place == settled.place || one.timestamp != participants[settled.place].timestamp);
  });
  if (is_alone) settled.reason = ResolutionReason::tie_by_timestamp;
  return settled;
}

std::uint32_t place_of(std::span<const Participant> participants, std::uint32_t agent) noexcept {
  for (std::size_t place = 0; place < participants.size(); ++place) {
    if (participants[place].agent == agent) return static_cast<std::uint32_t>(place);
  }
  return kNobody;
}

Errc check(std::span<const Participant> participants, const Evidence& evidence) noexcept {
  const auto takes_part = [&](std::uint32_t agent) {
    return place_of(participants, agent) != kNobody;
  };
  const bool fits = evidence.votes.size() <= kEvidenceMax &&
                    evidence.origins.size() <= kEvidenceMax &&
                    evidence.clocks.size() <= participants.size();
  if (!fits) return Errc::invalid_argument;
  Claims given = 0;
  for (const ClaimClock& one : evidence.clocks) {
    const std::uint32_t place = place_of(participants, one.agent);
    const bool is_possible =
        place != kNobody && (given & bit(place)) == 0 && one.entries.size() <= kClockEntriesMax;
    if (!is_possible) return Errc::invalid_argument;
    given |= bit(place);
  }
  const bool votes =
      std::all_of(evidence.votes.begin(), evidence.votes.end(),
                  [&](const Vote& one) { return one.choice == kNobody || takes_part(one.choice); });
  const bool origins = std::all_of(
      evidence.origins.begin(), evidence.origins.end(),
      [&](const Origin& one) { return takes_part(one.agent) && one.reliability_ppm <= 1'000'000; });
  return votes && origins ? Errc::ok : Errc::invalid_argument;
}

}  // namespace mesh::tasks
