// judge_claims(): whom a strategy puts first among the participants of a conflict. A chain of
// strategies narrows: whom one leaves level, the next decides among. settle() ends a tie for good.
//
// Callers     anyone; pure functions.
// Cost        priority, timestamp, lww, reputation, auction: a walk, no allocation. vote: sorts the
//             votes. provenance, clocks and branches allocate, O(participants^2) comparisons.
// Guarantees  the order of participants and of evidence decides nothing. A voter counts once: one
//             that voted for two counts for none. An origin likewise (provenance.hpp).
// Errors      invalid_argument: a participant has not given what the strategy goes by. Evidence of
//             others (votes, origins) may be lacking: then nothing is decided.
// Source      provenance.hpp, causal_order.hpp, blocks/dotted_values.hpp, blocks/auction_core.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/conflict/conflict_terms.hpp"

namespace mesh::tasks {

// A bit for each participant, in the order in which they stand.
using Claims = std::uint64_t;
[[nodiscard]] constexpr Claims bit(std::size_t place) noexcept { return Claims{1} << place; }

struct ConflictCase {
  std::span<const Participant> participants;
  const Evidence& evidence;
  std::optional<std::int64_t> default_priority;
};
struct ClaimJudgement {
  Errc code = Errc::ok;
  bool decides = false;  // false: the evidence says nothing, or is too even
  ResolutionReason reason = ResolutionReason::none;
  Claims leaders = 0;      // of those that were asked about; one, or those that are level
  Claims drifting = 0;     // clock_reconciliation
  std::int64_t price = 0;  // auction
};
// Not of retry and manual, which judge nobody.
[[nodiscard]] ClaimJudgement judge_claims(ResolutionStrategy strategy, const ConflictCase& about,
                                          Claims among);

// Ends at one whatever the claims are: such a strategy, standing last, decides.
[[nodiscard]] bool is_total(ResolutionStrategy strategy) noexcept;
struct Settled {
  std::uint32_t place = 0;
  ResolutionReason reason = ResolutionReason::none;
};
// The earlier timestamp, where all of them have one, then the lower agent. `among` is not 0.
[[nodiscard]] Settled settle(std::span<const Participant> participants, Claims among) noexcept;

// kNobody: no participant.
[[nodiscard]] std::uint32_t place_of(std::span<const Participant> participants,
                                     std::uint32_t agent) noexcept;
// invalid_argument: more than there may be, of agents that take no part, or of an agent twice.
[[nodiscard]] Errc check(std::span<const Participant> participants,
                         const Evidence& evidence) noexcept;

}  // namespace mesh::tasks
