// ConflictLog: the records of a conflict handler, in a journal of their own, each with the hash of
// its chain; append-only, and walked by whoever wants to know what was decided and why.
//
//   execute(command) -> keep(handler): append, sync -> execute(Logged{position}) -> answer
//
// Callers     the thread that hosts the handler.
// Cost        keep: a copy a record and one sync. open, walk, verify: SHA-256 of all that stands.
// Ordering    a record's position is its journal's sequence.
// If the      host dies before keep: the handler has the records again after a restart. After it,
// other side  before Logged: keep finds them there and appends nothing twice. A torn tail is the
// dies,       journal's to cut. An edited, missing or moved record is corrupt, with its position.
// or lies
// Errors      open, walk -> corrupt, and the journal's. keep -> corrupt where the log is not this
//             handler's (a gap, or another record at that position).
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "engine/conflict/conflict_handler.hpp"
#include "engine/coordination/blocks/journal.hpp"

namespace mesh::tasks {

[[nodiscard]] Result<ConflictRecord> decode_record(std::span<const std::byte> body);

class ConflictLog {
 public:
  // The journal, which nothing else writes, outlives the log.
  static Result<ConflictLog> open(Journal& journal);

  // Appends what the handler has and the log has not, durably; the position of the last, which
  // goes to Logged.
  Result<std::uint64_t> keep(const ConflictHandler& handler);

  // Every record, in order, each checked against the chain.
  using Visit = std::function<Status(std::uint64_t position, const ConflictRecord& record)>;
  [[nodiscard]] Status walk(const Visit& visit) const;
  [[nodiscard]] const ChainEnd& end() const noexcept { return end_; }

 private:
  explicit ConflictLog(Journal& journal) : journal_(&journal) {}

  Journal* journal_;
  ChainEnd end_;
};

}  // namespace mesh::tasks
