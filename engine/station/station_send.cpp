// StationCore: answers and sends, into the outbox.
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "engine/station/process_end.hpp"
#include "engine/station/station_core.hpp"
#include "shm/base/assert.hpp"
#include "shm/base/point.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

std::uint32_t us_of(std::int64_t ns) noexcept {
  const std::int64_t us = std::max<std::int64_t>(ns, 0) / kNsPerUs;
  return static_cast<std::uint32_t>(std::min<std::int64_t>(us, UINT32_MAX));
}

sched::AnswerRecord record_of(const AnswerTicket& ticket, const Answer& answer,
                              std::int64_t finished_ns) noexcept {
  sched::AnswerRecord record{};
  record.message = ticket.word;
  record.agent = ticket.agent;
  record.operation = ticket.operation;
  record.received_ns = ticket.received_ns;
  record.finished_ns = finished_ns;
  record.processing_us = us_of(finished_ns - ticket.received_ns);
  record.state = answer.state;
  // A conflict names its type: `other` where the handler did not.
  const bool in_conflict = answer.state == sched::TrinaryState::conflict;
  const bool unnamed = answer.conflict == sched::ConflictType::none;
  if (in_conflict) record.conflict_type = unnamed ? sched::ConflictType::other : answer.conflict;
  record.kind = answer.state == sched::TrinaryState::transit ? sched::RecordKind::refusal
                                                             : sched::RecordKind::answer;
  return record;
}

}  // namespace

// Answers.

void StationCore::answer_freely(const AnswerTicket& ticket, const Answer& answer) {
  if (unwritten_.empty() && try_answer(ticket, answer)) return;
  unwritten_.push_back({ticket, answer, {answer.body.begin(), answer.body.end()}});
  unwritten_.back().answer.body = {};
}

void StationCore::answer(Reply reply, const Answer& answer) {
  if (reply.outlet_ != outlet_) return reply.answer(answer);
  reply.outlet_.reset();
  this->answer(reply.ticket_, answer);
}

// Of a message that came before. Its sender has its answer, or gets it from who holds the Reply;
// the engine, which did not know that any more, is told to keep it no longer.
void StationCore::answer_known(const AnswerTicket& ticket) {
  Staged staged{record_of(ticket, Answer::declined(), now_ns()), 0};
  staged.record.flags = sched::RecordFlags::redelivered;
  answers_.push_back(staged);
}

// False: the log has no room for the body now.
bool StationCore::try_answer(const AnswerTicket& ticket, const Answer& answer) {
  const std::int64_t finished_ns = now_ns();
  Staged staged{record_of(ticket, answer, finished_ns), 0};
  const ConflictValues values{answer.expected, answer.received};
  const bool in_conflict = answer.state == sched::TrinaryState::conflict;
  const std::array<std::span<const std::byte>, 2> parts{
      in_conflict ? std::as_bytes(std::span(&values, 1)) : std::span<const std::byte>{},
      answer.body};
  if (const std::size_t bytes = parts[0].size() + parts[1].size(); bytes != 0) {
    switch (append(parts, staged.record.body_offset)) {
      case queues::AppendStatus::kFull:
        return false;
      case queues::AppendStatus::kTooLong:
        ++counters_.body_dropped;
        break;
      case queues::AppendStatus::kOk:
        staged.record.body_bytes = static_cast<std::uint32_t>(bytes);
        staged.body_end = outbound_.head();
        staged.has_body = true;
        break;
    }
  }
  answers_.push_back(staged);
  ++counters_.answers;
  if (answer.state == sched::TrinaryState::transit) ++counters_.declined;
  remember_sample(ticket, finished_ns);
  return true;
}

// All answers that wait, in runs. False: some had no room and stay.
bool StationCore::stage_answers() {
  std::size_t staged = 0;
  while (staged != answers_.size()) {
    const Ring::Run run = writer_.claim(answers_.size() - staged);
    if (run.status != queues::ClaimStatus::kOk) {
      broken_ |= run.status == queues::ClaimStatus::kCorrupt;
      break;
    }
    writer_.fill(run, [&](Ring::Slot& slot, std::uint64_t position) {
      const Staged& answer = answers_[staged++];
      queues::build_in<sched::AnswerRecord>(slot) = answer.record;
      if (answer.has_body) note_body(position, answer.body_end);
    });
  }
  answers_.erase(answers_.begin(), answers_.begin() + static_cast<std::ptrdiff_t>(staged));
  return answers_.empty();
}

// Those of other threads, and those that had no room in the log.
bool StationCore::stage_late_answers() {
  for (std::size_t done = 0; done != unwritten_.size(); ++done) {
    Answer again = unwritten_[done].answer;
    again.body = unwritten_[done].body;
    if (try_answer(unwritten_[done].ticket, again)) continue;
    unwritten_.erase(unwritten_.begin(), unwritten_.begin() + static_cast<std::ptrdiff_t>(done));
    return false;
  }
  unwritten_.clear();
  if (!outlet_->bell().take()) return true;
  for (std::size_t taken = late_.size(); taken == late_.size();) {
    taken = outlet_->take(late_);
    MESH_POINT("station.reply:before_staging");
    for (LateAnswer& late : std::span(late_).first(taken)) {
      late.answer.body = late.body;
      answer(late.ticket, late.answer);
    }
  }
  return unwritten_.empty();
}

// Sends.

// What the table shows to be in vain; `sent`: nothing.
SendStatus StationCore::shown_of(AgentId target, sched::Priority priority) const noexcept {
  const auto row = static_cast<std::size_t>(index_of(target));
  if (target == AgentId{} || row >= options_.table.id.rows() ||
      options_.table.id.load_relaxed(row) != target)  // relaxed: a word that stands alone
    return SendStatus::no_such_agent;
  if (is_open(target)) return SendStatus::open;
  // What may wait is full for all, the inbox only for the two lower: the others have room there.
  const bool may_pass = priority >= sched::Priority::high;
  return !may_pass && is_full(target) ? SendStatus::target_full : SendStatus::sent;
}

SendStatus StationCore::send(const SendOptions& options, std::span<const std::byte> body) {
  const bool to_one = options.many == sched::Selector{};
  if (to_one) {
    const SendStatus shown = shown_of(options.target, options.priority);
    if (shown != SendStatus::sent) return refuse(shown);
  }
  if (gate_.is_armed() && is_swallowed(options.source)) [[unlikely]] {
    ++counters_.sent;  // its sender cannot tell
    return SendStatus::sent;
  }
  // Answers first: bodies are freed in the order of their records.
  if (!unwritten_.empty() || !stage_answers()) return refuse(SendStatus::full);

  sched::SendRecord record{};
  record.source = options.source;
  record.target = to_one ? static_cast<std::uint64_t>(options.target)
                         : static_cast<std::uint64_t>(options.many);
  record.created_ns = now_ns();
  record.body_bytes = static_cast<std::uint32_t>(body.size());
  record.ttl_ms = options.ttl_ms;
  record.verb_and_priority = sched::verb_and_priority(options.verb, options.priority);
  record.kind = options.kind;
  if (!to_one) record.flags = record.flags | sched::RecordFlags::selector;
  if (options.confidential) record.flags = record.flags | sched::RecordFlags::confidential;
  if (options.bare) {
    record.flags = record.flags | sched::RecordFlags::bare;
    if (!sched::set_bare_body(record, body)) return refuse(SendStatus::too_long);
    return stage_send(record, false);
  }
  record.operation = options.operation;
  record.arrive_ns = to_ns(options.arrive);
  if (!has_slot()) return refuse(SendStatus::full);  // before a body is written
  const sched::MessageHeader header = header_of(options, record, body);
  const std::array<std::span<const std::byte>, 2> parts{std::as_bytes(std::span(&header, 1)), body};
  switch (append(parts, record.body_offset)) {
    case queues::AppendStatus::kFull:
      return refuse(SendStatus::full);
    case queues::AppendStatus::kTooLong:
      return refuse(SendStatus::too_long);
    case queues::AppendStatus::kOk:
      break;
  }
  MESH_POINT("station.send:before_record");
  return stage_send(record, true);
}

sched::MessageHeader StationCore::header_of(const SendOptions& options,
                                            const sched::SendRecord& record,
                                            std::span<const std::byte> body) noexcept {
  sched::MessageHeader header{};  // its id is the engine's to compute
  header.correlation = options.correlation;
  header.causation = options.causation;
  header.source = options.source;
  header.created_ns = record.created_ns;
  header.expires_ns = sched::expires_ns(record.created_ns, options.ttl_ms);
  header.hash = shm::hash64(body);
  header.set_weight(options.weight);
  header.body_bytes = record.body_bytes;
  header.verb = options.verb;
  header.strategy = options.strategy;
  header.priority = options.priority;
  header.expectation = options.expectation;
  std::copy(options.capabilities.begin(), options.capabilities.end(), header.capabilities);
  return header;
}

bool StationCore::has_slot() {
  // Looks at the engine's cursor only when the one known leaves no room: its line is the engine's.
  const queues::ClaimStatus status = writer_.claim(1).status;
  broken_ |= status == queues::ClaimStatus::kCorrupt;
  return status == queues::ClaimStatus::kOk;
}

SendStatus StationCore::stage_send(const sched::SendRecord& record, bool has_body) {
  writer_.prefetch();
  const Ring::Run run = writer_.claim(1);
  if (run.status != queues::ClaimStatus::kOk) {
    broken_ |= run.status == queues::ClaimStatus::kCorrupt;
    return refuse(SendStatus::full);
  }
  writer_.fill(run, [&](Ring::Slot& slot, std::uint64_t position) {
    queues::build_in<sched::SendRecord>(slot) = record;
    if (has_body) note_body(position, outbound_.head());
  });
  ++counters_.sent;
  return SendStatus::sent;
}

// The mesh's breaker, its sector's and its cluster's: any that is open. From open_until on one of
// the messages is the probe: which one, the engine says.
bool StationCore::is_open(AgentId target) const noexcept {
  const TableView& table = options_.table;
  const auto row = static_cast<std::size_t>(index_of(target));
  const auto open = [&](std::uint64_t index) {
    if (index >= table.breakers.size()) return false;
    // relaxed: a word that stands alone.
    const std::uint64_t state = table.breakers[index].load_relaxed() & kBreakerStateMask;
    if (state != kBreakerOpen) return state == kBreakerForcedOpen;
    // relaxed: the word before or after it: the engine refuses what comes too early.
    return now_ns() < table.open_until_ns[index].load_relaxed();
  };
  // relaxed: a breaker of the place where the target was a moment ago is as good.
  const std::uint64_t sector = table.sector.load_relaxed(row);
  const std::uint64_t cluster = table.cluster.load_relaxed(row);  // relaxed: as above
  return open(0) || (sector < table.sectors && open(1 + sector)) ||
         open(1 + table.sectors + cluster);
}

// Its station's inbox and what may wait for it, as the engine said last: 0 where it is away.
bool StationCore::is_full(AgentId target) const noexcept {
  const TableView& table = options_.table;
  // relaxed, both: words that stand alone; what only the engine knows comes back as a report.
  const auto station = static_cast<std::size_t>(
      table.station.load_relaxed(static_cast<std::size_t>(index_of(target))));
  return station < table.inbox_full.size() &&
         table.inbox_full[station].load_relaxed() != 0;  // relaxed: as above
}

bool StationCore::flush() {
  stage_late_answers();
  stage_answers();
  MESH_POINT("station.flush:before_reveal");
  const bool sleeps = writer_.reveal_checked();
  if (ends_with_flush_) [[unlikely]]
    end_this_process();
  return sleeps;
}

// Bodies. The engine has taken a body in once its cursor has passed the record that names it.

queues::AppendStatus StationCore::append(Parts parts, std::uint32_t& offset) {
  auto appended = outbound_.append(parts);
  if (appended.status == queues::AppendStatus::kFull) {
    free_bodies();
    appended = outbound_.append(parts);
  }
  offset = static_cast<std::uint32_t>(appended.position);
  return appended.status;
}

void StationCore::free_bodies() {
  static_cast<void>(writer_.free_slots());  // looks at the engine's cursor
  std::uint64_t end = outbound_.tail();
  for (; body_first_ != body_next_; ++body_first_) {
    const BodyEnd& oldest = body_ends_[body_first_ % body_ends_.size()];
    if (!before(oldest.record, writer_.cursor())) break;
    end = oldest.end;
  }
  const bool freed = outbound_.advance_tail(end);
  MESH_ASSERT(freed);
}

void StationCore::note_body(std::uint64_t record, std::uint64_t end) {
  // Every slot in use names at most one body, and what the engine has taken is forgotten here.
  if (body_next_ - body_first_ == body_ends_.size()) free_bodies();
  body_ends_[body_next_ % body_ends_.size()] = {record, end};
  ++body_next_;
}

}  // namespace mesh::engine
