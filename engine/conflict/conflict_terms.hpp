// What ConflictHandler is told, and what it answers: config, commands, replies, news, views.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/conflict/conflict_policy.hpp"
#include "engine/coordination/blocks/refusal.hpp"
#include "engine/coordination/blocks/version_vector.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::tasks {  // a room of the task family, beside the tables of conflicts that it uses
using namespace coordination;

inline constexpr std::uint32_t kNobody = 0xFFFF'FFFF;
inline constexpr std::int64_t kNotGiven = INT64_MIN;  // a priority, a bid

// The first seven are those of a mesh's agents (sched/records.hpp), by the same numbers.
enum class ConflictKind : std::uint8_t {
  none,
  context_divergence,
  data_contradiction,
  temporal_paradox,
  capability_mismatch,
  hash_mismatch,
  other,
  resource,         // two or more want one thing for themselves
  task_assignment,  // two or more were given, or took, one task
  task_dependency,  // they disagree on what has to be done first
  task_output,      // they wrote one output
};
constexpr ConflictKind last_of(ConflictKind) noexcept { return ConflictKind::task_output; }
inline constexpr std::size_t kConflictKinds = 11;
[[nodiscard]] std::string_view to_string(ConflictKind kind) noexcept;
[[nodiscard]] constexpr bool is_contention(ConflictKind kind) noexcept {
  return kind >= ConflictKind::resource;
}

enum class ResolutionStrategy : std::uint8_t {
  none,
  priority,              // the highest
  timestamp,             // the earliest
  vote,                  // the most weight
  reputation,            // the best
  provenance,            // the most, and most reliable, independent origins
  branch_and_reconcile,  // all writes that nobody has seen replaced stand, until they are merged
  clock_reconciliation,  // what came first by vector clocks; whose stamps contradict them is named
  retry,                 // nobody now: all try again, after a while
  auction,               // the highest bid, at the price of the next
  manual,                // a person
  lww,                   // the latest, where the config allows it: it forgets what others wrote
};
constexpr ResolutionStrategy last_of(ResolutionStrategy) noexcept {
  return ResolutionStrategy::lww;
}
[[nodiscard]] std::string_view to_string(ResolutionStrategy strategy) noexcept;

// Reported and quarantined are one step with queued: the report's own command makes the record,
// marks the subject as contested and gives it its place.
enum class ConflictStage : std::uint8_t {
  unknown,
  queued,
  resolving,  // branches are kept, and not merged yet
  escalated,  // overdue: who should know was told
  manual,     // a person has it
  resolved,
};
constexpr ConflictStage last_of(ConflictStage) noexcept { return ConflictStage::resolved; }
[[nodiscard]] std::string_view to_string(ConflictStage stage) noexcept;

enum class ResolutionReason : std::uint8_t {
  none,
  highest_priority,
  earliest_timestamp,
  latest_timestamp,
  most_votes,
  best_reputation,
  strongest_provenance,
  first_by_clocks,
  saw_all_others,  // its write had seen those of the others
  branches_kept,
  merged,
  try_again,
  highest_bid,
  person,
  tie_by_timestamp,
  tie_by_agent,
  exhausted,  // no strategy of the chain decided
};
constexpr ResolutionReason last_of(ResolutionReason) noexcept {
  return ResolutionReason::exhausted;
}
[[nodiscard]] std::string_view to_string(ResolutionReason reason) noexcept;

inline constexpr std::size_t kChainMax = 4;
struct StrategyChain {
  std::array<ResolutionStrategy, kChainMax> steps{};  // `none` ends it
  friend bool operator==(const StrategyChain&, const StrategyChain&) = default;
};
using StrategyChains = std::array<StrategyChain, kConflictKinds>;
[[nodiscard]] constexpr StrategyChains default_chains() noexcept {
  using enum ResolutionStrategy;
  return {{{},
           {{branch_and_reconcile, manual}},
           {{provenance, vote, manual}},
           {{clock_reconciliation, manual}},
           {{retry, manual}},
           {{manual}},
           {{manual}},
           {{priority, timestamp}},
           {{priority, timestamp}},
           {{priority, timestamp}},
           {{vote, timestamp}}}};
}

struct ConflictConfig {
  std::optional<std::int64_t> default_priority{};  // of a participant that gives none
  bool allows_lww = false;
  StrategyChains chains = default_chains();
  std::uint32_t retries_max = 3;  // of `retry`, by the report's attempt
  Nanos retry_ns{1'000'000'000};  // full jitter over retry_ns * 2^attempt
  Nanos retry_ns_max{30'000'000'000};
  Nanos retention_ns{86'400'000'000'000};  // of what is resolved, unless its room is needed
  std::uint32_t conflicts_max = 4'096;     // open, and resolved ones that are remembered
  std::uint32_t participants_max = 16;     // of one conflict
  std::uint32_t unlogged_max = 1'024;      // records that the log does not have yet
  std::uint32_t pairs_max = 256;           // that are counted
  std::uint32_t agents_max = 32'768;
  std::uint32_t events_max = 256;

  static Result<ConflictConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

// What it claims. What is not given is not made up: a strategy that needs it refuses.
struct Participant {
  std::uint32_t agent = 0;
  std::uint32_t reputation_ppm = kNobody;  // kNobody: not given
  std::int64_t priority = kNotGiven;       // larger is more urgent
  std::uint64_t timestamp = 0;             // HybridStamp::word(), or ns of one clock; 0: not given
  std::int64_t bid = kNotGiven;            // millionths
};
struct Vote {
  std::uint32_t voter = 0;
  std::uint32_t choice = kNobody;  // an agent of the conflict; kNobody: abstains
  std::uint32_t weight = 1;
};
struct Origin {  // that stands for what this agent says
  std::uint32_t agent = 0;
  std::uint32_t origin = 0;
  std::uint32_t reliability_ppm = 500'000;
  bool is_verified = true;  // by the caller; else it counts for nothing
};
struct ClaimClock {  // of the agent's own event, which it counts
  std::uint32_t agent = 0;
  std::vector<ClockEntry> entries;
};
// What others say of the participants.
struct Evidence {
  std::vector<Vote> votes;
  std::vector<Origin> origins;
  std::vector<ClaimClock> clocks;
};
inline constexpr std::size_t kEvidenceMax = 4'096;      // of each
inline constexpr std::size_t kClockEntriesMax = 256;    // of one clock
inline constexpr std::size_t kConflictNoteMax = 256;    // bytes
inline constexpr std::uint32_t kParticipantsMost = 64;  // a bit each

namespace conflict {
struct Report {
  ConflictKind kind = ConflictKind::none;
  std::string subject;  // what it is about: a resource, a task, an output
  std::vector<Participant> participants;
  std::uint32_t depth = 0;     // context_divergence: how far they have gone apart
  std::uint32_t affected = 0;  // data_contradiction: agents
  std::uint32_t attempt = 0;   // how often they have tried again already
  std::string note;            // for people; it stands in the record alone
};
struct Resolve {
  std::uint64_t conflict = 0;
  ResolutionStrategy strategy = ResolutionStrategy::none;
  // manual: whom a person chose. branch_and_reconcile of kept branches: who has merged them.
  std::uint32_t winner = kNobody;
  Evidence evidence;
  std::string note;
};
struct AutoResolve {  // by the chain of its kind
  std::uint64_t conflict = 0;
  Evidence evidence;
};
struct AssignManual {
  std::uint64_t conflict = 0;
  std::uint32_t person = 0;  // the host's number of a person
  std::string note;
};
struct Query {
  std::uint64_t conflict = 0;
};
struct Logged {  // the log has every record up to this position, durably
  std::uint64_t position = 0;
};
}  // namespace conflict

using ConflictCommand = std::variant<conflict::Report, conflict::Resolve, conflict::AutoResolve,
                                     conflict::AssignManual, conflict::Query, conflict::Logged>;

struct Resolution {
  ResolutionStrategy strategy = ResolutionStrategy::none;
  ResolutionReason reason = ResolutionReason::none;
  std::uint32_t winner = kNobody;  // kNobody: nobody won: branches are kept, or all try again
  std::int64_t price = 0;          // auction, millionths
  Nanos retry_after{0};            // retry
  std::vector<std::uint32_t> losers;
  std::vector<std::uint32_t> branches;  // branch_and_reconcile: whose writes stand
  std::vector<std::uint32_t> drifting;  // clock_reconciliation: whose stamps contradict the clocks
};
enum class ConflictNotice : std::uint8_t { coordinator, operator_too };
constexpr ConflictNotice last_of(ConflictNotice) noexcept { return ConflictNotice::operator_too; }
struct ConflictNews {  // who should hear of it now
  ConflictNotice kind = ConflictNotice::coordinator;
  std::uint8_t priority = 0;
  std::uint64_t conflict = 0;
};
struct ConflictReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  ConflictStage stage = ConflictStage::unknown;
  std::uint8_t priority = 0;
  std::uint64_t conflict = 0;
  Nanos deadline{0};
  Resolution resolution;
  std::vector<ConflictNews> news;
};
struct ConflictCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t reported = 0;
  std::uint64_t resolved = 0;
  std::uint64_t assigned = 0;   // to persons
  std::uint64_t exhausted = 0;  // among them, because no strategy decided
  std::uint64_t branched = 0;
  std::uint64_t overdue = 0;  // deadlines that passed
  std::uint64_t escalated = 0;
  std::uint64_t forgotten = 0;  // resolved ones
  std::uint64_t records = 0;
  std::uint64_t logged = 0;
};
struct ConflictActions {
  std::vector<ConflictNews> news;
  bool view_changed = false;
  Nanos next_tick{0};
};
struct ConflictView {
  std::array<std::uint32_t, engine::kConflictPriorityMax + 1> open{};  // by priority
  std::uint32_t escalated = 0;  // open ones that somebody was told of
  std::uint32_t manual = 0;
  Nanos oldest_overdue{0};  // its deadline; 0: none is overdue
};

// What a record of the log says.
enum class ConflictFact : std::uint8_t { reported, branched, assigned, escalated, resolved };
constexpr ConflictFact last_of(ConflictFact) noexcept { return ConflictFact::resolved; }
struct ConflictRecord {
  ConflictFact fact = ConflictFact::reported;
  ConflictKind kind = ConflictKind::none;
  std::uint8_t priority = 0;
  ResolutionStrategy strategy = ResolutionStrategy::none;
  ResolutionReason reason = ResolutionReason::none;
  std::uint64_t conflict = 0;
  std::uint64_t refers_to = 0;  // position of the report's record; 0: this is it
  Nanos at{0};
  std::uint32_t winner = kNobody;     // assigned: the person
  std::vector<std::uint32_t> agents;  // reported: all; branched: whose stand; resolved: losers
  std::string subject;                // reported
  std::string note;
};

// What a caller of the views is told of one conflict.
struct ConflictStatus {
  ConflictKind kind = ConflictKind::none;
  ConflictStage stage = ConflictStage::unknown;
  std::uint8_t priority = 0;
  engine::Audience audience = engine::Audience::none;  // who was told
  std::string_view subject;
  std::span<const Participant> participants;
  Resolution resolution;
  Nanos reported{0};
  Nanos deadline{0};  // 0: when convenient, or it has passed
};

}  // namespace mesh::tasks
