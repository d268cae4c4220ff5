#include "engine/reports/tail_json.hpp"

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "sched/conflict_names.hpp"

namespace mesh::engine::reports {
namespace of_tail_json {
namespace {

constexpr std::array<std::string_view, 7> kVerbNames = {"",    "observe", "orient", "decide",
                                                        "act", "record",  "sync"};
constexpr std::array<std::string_view, 5> kStrategyNames = {"", "direct", "broadcast",
                                                            "scatter_gather", "pipeline"};
constexpr std::array<std::string_view, 4> kExpectationNames = {"none", "acknowledge", "integrate",
                                                               "respond"};

template <class Enum, std::size_t count>
std::string named(const std::array<std::string_view, count>& names, Enum value) {
  const auto at = static_cast<std::size_t>(value);
  return at < count && !names[at].empty() ? std::string(names[at]) : fmt::format("{}", at);
}

std::string id_text(sched::MessageId id) { return fmt::format("{:016x}{:016x}", id.high, id.low); }
Json unless_none(sched::MessageId id) {
  return id == sched::MessageId{} ? Json(nullptr) : Json(id_text(id));
}

const char* state_text(sched::TrinaryState state) {
  if (state == sched::TrinaryState::ready) return "READY";
  return state == sched::TrinaryState::conflict ? "CONFLICT" : "TRANSIT";
}

// What stands in the header before the body; null where it is gone, or there is none.
Json header_json(const PassedDelivery& passed) {
  const bool is_bare = sched::has(passed.record.flags, sched::RecordFlags::bare);
  if (is_bare || !passed.body) return nullptr;
  const sched::MessageHeader& header = passed.header;
  return {{"message", id_text(header.id)},
          {"correlation", unless_none(header.correlation)},
          {"causation", unless_none(header.causation)},
          {"verb", named(kVerbNames, header.verb)},
          {"strategy", named(kStrategyNames, header.strategy)},
          {"priority", static_cast<unsigned>(header.priority)},
          {"expectation", named(kExpectationNames, header.expectation)},
          {"weight", header.weight()},
          {"created_ns", header.created_ns},
          {"expires_ns", header.expires_ns}};
}

// The head of a reply, which names its question by the header or, where it is bare, behind it.
Json answer_json(const PassedDelivery& passed) {
  const bool is_reply = passed.record.kind == sched::RecordKind::reply;
  if (!is_reply || !passed.body || passed.body->size() < sizeof(sched::ReplyHead)) return nullptr;
  sched::ReplyHead head{};
  std::memcpy(&head, passed.body->data(), sizeof head);
  Json question = nullptr;
  if (!sched::has(passed.record.flags, sched::RecordFlags::bare)) {
    question = unless_none(passed.header.causation);
  } else if (passed.body->size() == sizeof(sched::BareReplyBody)) {
    sched::BareReplyBody body{};
    std::memcpy(&body, passed.body->data(), sizeof body);
    question = fmt::format("{:016x}", body.question);  // the low half: bare messages have no other
  }
  const bool is_conflict = head.state == sched::TrinaryState::conflict;
  return {{"to_message", question},
          {"state", state_text(head.state)},
          {"conflict_type",
           is_conflict ? Json(named(sched::kConflictTypeNames, head.conflict_type)) : Json()},
          {"context", sched::name_of(head.context)},
          {"processing_us", head.processing_us}};
}

}  // namespace
}  // namespace of_tail_json

Json passed_json(const PassedDelivery& passed) {
  const sched::DeliveryRecord& record = passed.record;
  const bool is_bare = sched::has(record.flags, sched::RecordFlags::bare);
  const auto unless_bare = [&](auto value) { return is_bare ? Json(nullptr) : Json(value); };
  return {{"station", passed.station},
          {"kind", sched::name_of(record.kind)},
          {"from", passed.source.empty() ? Json(nullptr) : Json(passed.source)},
          {"to", passed.target},
          {"sent_ns", record.sent_ns},
          {"target_ns", unless_bare(record.arrive_ns)},
          {"operation", unless_bare(static_cast<std::uint64_t>(record.operation))},
          {"lead_us", unless_bare(record.lead_us)},
          {"expected_us", unless_bare(record.expected_us)},
          {"redelivered", sched::has(record.flags, sched::RecordFlags::redelivered)},
          {"bare", is_bare},
          {"header", of_tail_json::header_json(passed)},
          {"answer", of_tail_json::answer_json(passed)},
          {"body_bytes", record.body_bytes},
          {"body", passed.body ? Json(*passed.body) : Json(nullptr)}};
}

}  // namespace mesh::engine::reports
