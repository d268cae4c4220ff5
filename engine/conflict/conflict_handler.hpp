// ConflictHandler: who wins where several want, or say, what only one can: recorded, set apart,
// given a priority and a deadline, and resolved by a chain of strategies or by a person.
//
//   report --> queued --auto_resolve | resolve--> resolved{strategy, reason, winner, losers}
//                |  |--its branches are kept--> resolving --who has merged them--> resolved
//                |  |--assign_manual, or none decides--> manual --a person chooses--> resolved
//                |--its deadline passes--> escalated: one priority more, and its audience is told
//
// Types, priorities, deadlines and audiences are those of the mesh's own desk
// (conflict_policy.hpp); the desk repairs agents, this one judges between them. Being in a
// conflict is information: it says nothing to breakers or of reputations.
//
// Callers     one thread, which owns it; hosted by JournaledService it is durable. records() go to
//             the log (conflict_log.hpp) before the host answers; Logged says that they are there.
// Progress    wait-free.
// Cost        report: about 2 us before the journal, a third of it one SHA-256; auto_resolve of two
//             participants: less. No allocation but a reply's lists, and what
//             resolution_strategies.hpp says of votes, provenance and clocks.
// Units       agents are numbers below agents_max; deadlines are the host's instants.
// Guarantees  a resolution is a new record that refers to the first; nothing is edited. The winner
//             takes part, and winner and losers are the participants. What is not given is never
//             made up: a strategy that needs it refuses. Order of participants and evidence decides
//             nothing. What is open is never forgotten, and comes to an audience in time.
// If the      host dies: snapshot and journal; records that the log lacks are in records() again.
// other side  A person never answers: the deadline passes, the priority rises to the highest.
// dies
// Errors      invalid_id (subject), invalid_argument (kind, participants, evidence, strategy
//             without its inputs), already_exists (the same is open), not_found, wrong_state
//             (resolved, or not at that step), capacity (open conflicts, unlogged records).
//             Refusal::rejected_policy: lww where the config does not allow it.
// Invariants  reported == resolved + open; resolved == forgotten + remembered;
//             records == logged + unlogged.
// Source      the conflict strategies of multi-agent frameworks; conflict_policy.hpp,
//             resolution_strategies.hpp, conflict_mining.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/conflict/conflict_mining.hpp"
#include "engine/conflict/conflict_terms.hpp"
#include "engine/conflict/resolution_strategies.hpp"
#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/hash_chain.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::tasks {

class ConflictHandler final : public ServiceForm<ConflictHandler, ConflictConfig, ConflictCommand,
                                                 ConflictReply, ConflictCounters, ConflictActions> {
 public:
  // Events have the names of the bus: conflict:resource, :task, :mesh, :escalated, :resolved.
  // a: conflict; b: priority, of conflict:resolved the winner; c: hash of the subject.
  static Status validate(const Config& config);
  explicit ConflictHandler(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] ConflictView view() const noexcept { return view_; }
  // not_found: it never was, or is forgotten. Its text and participants are valid until the next
  // command.
  [[nodiscard]] Result<ConflictStatus> find(std::uint64_t conflict) const;
  // What it is about is contested: hosts hold it back until it is resolved.
  [[nodiscard]] bool is_quarantined(std::string_view subject) const noexcept;
  [[nodiscard]] std::vector<RecurringConflict> recurring(std::size_t most = 10) const {
    return pairs_.top(most);
  }

  // Records that the log does not have yet, the oldest first.
  struct Unlogged {
    ChainEnd end;
    std::span<const std::byte> body;  // decode_record() of conflict_log.hpp reads it
  };
  [[nodiscard]] std::size_t unlogged() const noexcept { return unlogged_count_; }
  [[nodiscard]] Unlogged unlogged(std::size_t index) const noexcept;
  [[nodiscard]] const ChainEnd& chain() const noexcept { return chain_; }

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"conflict_handler", 1};
  static constexpr std::string_view kWho = "conflict handler";
  static constexpr std::uint32_t kNone = IdTable::kNone;
  // Of the longest record: names, a note, and 64 agents.
  static constexpr std::size_t kRecordBytesMax =
      64 + kNameBytesMax + kConflictNoteMax + 4 * kParticipantsMost;

  struct Case {
    std::uint64_t id = 0;
    IdHash key;  // of kind, subject and participants
    IdHash subject;
    std::int64_t reported_ns = 0;
    std::int64_t deadline_ns = 0;  // 0: none, or it has passed for good
    std::int64_t overdue_ns = 0;   // the first deadline that passed; 0: none has
    std::int64_t resolved_ns = 0;
    std::uint64_t record = 0;  // position of its report
    std::int64_t price = 0;
    std::int64_t retry_ns = 0;
    Claims branches = 0;
    Claims drifting = 0;
    std::uint32_t winner = kNobody;
    std::uint32_t attempt = 0;
    std::uint32_t count = 0;  // of participants
    ConflictKind kind = ConflictKind::none;
    ConflictStage stage = ConflictStage::unknown;
    std::uint8_t priority = 0;
    engine::Audience audience = engine::Audience::none;
    ResolutionStrategy strategy = ResolutionStrategy::none;
    ResolutionReason reason = ResolutionReason::none;
    std::uint8_t name_size = 0;
    std::array<char, kNameBytesMax> name{};
  };
  struct Kept {  // a record that waits for the log
    ChainEnd end;
    std::uint32_t size_bytes = 0;
    std::array<std::byte, kRecordBytesMax> body{};
  };
  // What a chain of strategies came to.
  struct Verdict {
    Errc code = Errc::ok;
    ConflictStage stage = ConflictStage::resolved;
    ResolutionStrategy strategy = ResolutionStrategy::none;
    ResolutionReason reason = ResolutionReason::none;
    std::uint32_t winner = kNobody;  // agent
    std::int64_t price = 0;
    std::int64_t retry_ns = 0;
    Claims among = 0;  // who is left
    Claims drifting = 0;
    bool is_over = false;  // no more steps
  };

  Reply on(const conflict::Report& order, std::int64_t now_ns) noexcept;
  Reply on(const conflict::Resolve& order, std::int64_t now_ns) noexcept;
  Reply on(const conflict::AutoResolve& order, std::int64_t now_ns) noexcept;
  Reply on(const conflict::AssignManual& order, std::int64_t now_ns) noexcept;
  Reply on(const conflict::Query& order, std::int64_t now_ns) noexcept;
  Reply on(const conflict::Logged& order, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc check(const conflict::Report& order) const noexcept;
  [[nodiscard]] Errc check(const conflict::Resolve& order, std::uint32_t slot) const noexcept;
  [[nodiscard]] IdHash key_of(const conflict::Report& order) noexcept;
  [[nodiscard]] bool make_room() noexcept;
  void count_pairs(const Case& its) noexcept;
  void escalate(Case& its, engine::Audience to, std::int64_t now_ns) noexcept;
  Verdict run_chain(const Case& its, std::span<const ResolutionStrategy> chain,
                    const Evidence& evidence) noexcept;
  void take_step(const Case& its, ResolutionStrategy strategy, const Evidence& evidence,
                 Verdict& verdict) noexcept;
  void try_again(const Case& its, Verdict& verdict) noexcept;
  Reply finish(std::uint32_t slot, const Verdict& verdict, std::string_view note,
               std::int64_t now_ns) noexcept;
  void close(std::uint32_t slot, std::int64_t now_ns) noexcept;
  void assign(Case& its, std::uint32_t person, std::string_view note, std::int64_t now_ns) noexcept;
  Reply answer(std::uint32_t slot) const noexcept;
  void record(const Case& its, ConflictFact fact, std::string_view note,
              std::int64_t now_ns) noexcept;
  void forget(std::uint32_t slot) noexcept;
  void expire(std::int64_t now_ns) noexcept;
  void pass_deadline(std::uint32_t slot, std::int64_t now_ns) noexcept;
  void set_deadline(std::uint32_t slot, std::int64_t now_ns) noexcept;
  void to_stage(Case& its, ConflictStage stage) noexcept;
  void to_priority(Case& its, std::uint8_t priority) noexcept;
  [[nodiscard]] std::span<const Participant> participants_of(std::uint32_t slot) const noexcept {
    return std::span(participants_)
        .subspan(std::size_t{slot} * config_.participants_max, cases_[slot].count);
  }
  [[nodiscard]] std::uint32_t slot_of(const Case& its) const noexcept {
    return static_cast<std::uint32_t>(&its - cases_.data());
  }
  [[nodiscard]] std::uint32_t find_slot(std::uint64_t conflict) const noexcept {
    return by_id_.find(hash_of(conflict, 0));
  }
  [[nodiscard]] static std::string_view name_of_case(const Case& its) noexcept {
    return {its.name.data(), its.name_size};
  }
  [[nodiscard]] Resolution resolution_of(std::uint32_t slot) const;

  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_cases(StateReader& reader);
  void load_unlogged(StateReader& reader);
  [[nodiscard]] bool index_case(std::uint32_t slot) noexcept;
  [[nodiscard]] bool views_agree() const noexcept;

  std::vector<Case> cases_;
  std::vector<Participant> participants_;  // participants_max a slot
  SlotSet slots_;
  IdTable by_id_;
  IdTable by_key_;          // open ones
  IdTable quarantine_;      // subject -> how many open conflicts are about it
  DeadlineHeap deadlines_;  // open ones
  DeadlineHeap overdue_;    // open ones, by the first deadline that passed
  DeadlineHeap ended_;      // resolved ones, by when they are forgotten
  PairCounts pairs_;
  std::vector<Kept> unlogged_;  // a ring
  std::size_t unlogged_first_ = 0;
  std::size_t unlogged_count_ = 0;
  ChainEnd chain_;
  std::uint64_t last_id_ = 0;
  Rng rng_;
  ConflictView view_;
  StateWriter scratch_;
  ConflictRecord draft_;
  std::vector<std::uint32_t> sorted_;
  std::vector<ConflictNews> news_;
  bool view_changed_ = true;
};

static_assert(DurableService<ConflictHandler>);

}  // namespace mesh::tasks

namespace mesh::coordination {
extern template class ServiceForm<tasks::ConflictHandler, tasks::ConflictConfig,
                                  tasks::ConflictCommand, tasks::ConflictReply,
                                  tasks::ConflictCounters, tasks::ConflictActions>;
}  // namespace mesh::coordination
