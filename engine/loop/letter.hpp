// Letter, LoggedBody, KeptAnswer: what the loop passes from one of its files to another.
#pragma once

#include <cstdint>

#include "engine/loop/unanswered.hpp"
#include "sched/records.hpp"
#include "shm/base/ids.hpp"

namespace mesh::engine {

// A body of the payload log: freed, in order, when no delivery that names it is unread.
struct LoggedBody {
  std::uint64_t position = 0;
  std::uint32_t unread = 0;
  std::uint32_t slot = 0;  // operation, and its tenant
  std::uint32_t serial = 0;
  bool is_open = false;  // more deliveries may come
};

// A direct message on its way in: header and body are `parts`, or it is bare.
struct Letter {
  sched::RecordKind kind = sched::RecordKind::message;
  sched::Priority priority = sched::Priority::normal;
  std::uint8_t marks = 0;
  AgentId source{};
  AgentId target{};
  sched::MessageId id{};
  std::uint32_t body_bytes = 0;
  std::int64_t due_ns = 0;  // not before; 0: now
  std::int64_t arrive_ns = 0;
  sched::BareWords bare{};  // body of a bare one, which has no parts

  [[nodiscard]] bool is_bare() const noexcept { return (marks & kEntryBare) != 0; }
};

// AnsweredMessage, its body apart.
struct KeptAnswer {
  sched::MessageId question{};
  AgentId agent{};
  sched::TrinaryState state = sched::TrinaryState::transit;
  sched::ConflictType conflict = sched::ConflictType::none;
  std::uint32_t processing_us = 0;
  bool expired = false;
  sched::AnswerContext context = sched::AnswerContext::unknown;
  std::uint32_t body_bytes = 0;
};

}  // namespace mesh::engine
