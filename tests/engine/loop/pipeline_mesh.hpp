// A mesh of a few agents, each in a process of its own, and what they do when a step comes.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "engine/loop/pipelines.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {

enum class Works : std::uint8_t { answers, answers_nothing, conflicts, refuses, not_at_all };

// Agents 0 to 4, each on the station of its number + 1. One that answers says what it was sent and
// its own letter behind it.
struct Line : LoopFixture {
  static constexpr std::size_t kAgents = 5;
  explicit Line(const LoopOptions& loop_options = {}) : LoopFixture(30, 8, loop_options) {
    for (std::uint16_t number = 1; number <= kAgents; ++number) {
      add(number, 1, letter(number));
      agents.push_back(ids[number][0]);
    }
  }
  static std::string letter(std::uint16_t station) {
    return std::string(1, static_cast<char>('a' + station - 1));
  }
  struct Seen {
    std::size_t agent = 0;
    std::string body;
    OperationId operation{};
    std::int64_t sent_ns = 0;
    std::int64_t target_ns = 0;  // 0: at once
    bool redelivered = false;
  };

  OperationId open(std::vector<AgentId> targets, std::string_view body = "",
                   PipelineRequest request = {}) {
    request.targets = targets;
    request.body = bytes(body);
    return must(open_pipeline(*loop, request, from_ns(now_ns)));
  }
  Result<OperationId> try_open(std::vector<AgentId> targets, PipelineRequest request = {}) {
    request.targets = targets;
    return open_pipeline(*loop, request, from_ns(now_ns));
  }
  std::optional<FinishedPipeline> carry_on(std::int64_t for_ns = 20'000 * kMs) {
    std::optional<FinishedPipeline> finished;
    for (const std::int64_t end = now_ns + for_ns; now_ns < end && !finished;) {
      turn();
      finished = take_finished_pipeline(*loop);
    }
    return finished;
  }
  void turn() {
    tick(kMs);
    EXPECT_FALSE(loop->take_finished()) << "a step is nobody's operation";
    for (auto& station : stations)
      for (const auto& delivery : station->poll()) take(*station, delivery);
    for (std::size_t at = 0; at < late.size();) {
      if (now_ns < late[at].at_ns) {
        ++at;
        continue;
      }
      answer(*late[at].station, late[at].delivery);
      late.erase(late.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  void take(RawStation& station, const sched::DeliveryRecord& delivery) {
    if (delivery.kind != RecordKind::message) return;
    const std::size_t agent = agent_of(delivery.target);
    seen.push_back({agent, body_of(station, delivery), delivery.operation, delivery.sent_ns,
                    delivery.arrive_ns,
                    sched::has(delivery.flags, sched::RecordFlags::redelivered)});
    if (takes[agent] == 0)
      answer(station, delivery);
    else
      late.push_back({&station, delivery, now_ns + takes[agent]});
  }
  void answer(RawStation& station, const sched::DeliveryRecord& delivery) {
    const std::size_t agent = agent_of(delivery.target);
    switch (does[agent]) {
      case Works::answers: {
        const std::string said = body_of(station, delivery) + static_cast<char>('a' + agent);
        ASSERT_TRUE(station.answer_with(delivery, bytes(said), now_ns));
        break;
      }
      case Works::answers_nothing:
        ASSERT_TRUE(station.answer(delivery, TrinaryState::ready, now_ns));
        break;
      case Works::conflicts:
        ASSERT_TRUE(station.answer(delivery, TrinaryState::conflict, now_ns));
        break;
      case Works::refuses: {
        sched::AnswerRecord record{};
        record.message = delivery.message;
        record.agent = delivery.target;
        record.operation = delivery.operation;
        record.kind = RecordKind::refusal;
        ASSERT_TRUE(station.put(record));
        break;
      }
      case Works::not_at_all:
        break;
    }
  }
  [[nodiscard]] std::size_t agent_of(AgentId id) const {
    return static_cast<std::size_t>(std::find(agents.begin(), agents.end(), id) - agents.begin());
  }
  // Its body stands in the payload log, or in the station's own.
  [[nodiscard]] std::string body_of(const RawStation& station,
                                    const sched::DeliveryRecord& delivery) {
    if (!sched::is_in_payload_log(delivery.message)) return station.read(delivery).body;
    const auto layout = must(payload_layout(size));
    const auto reader = must(testing::Log::Reader::attach(
        testing::RawStation::words(layout, payload, "log"),
        must(layout.array<testing::Log::Header>(payload.span(), "log.header")).data()));
    std::vector<std::byte> room(sched::kMessageHeaderBytes + delivery.body_bytes);
    const auto copied = reader.copy(sched::position_of(delivery.message), room);
    EXPECT_EQ(copied.status, queues::BodyStatus::kRead);
    return {reinterpret_cast<const char*>(room.data()) + sched::kMessageHeaderBytes,
            delivery.body_bytes};
  }
  void die(std::uint16_t number) {
    std::erase_if(late, [&](const Late& one) { return one.station->number == StationId{number}; });
    lose(number);
  }
  // Another process has its agent, and nothing of what the dead one had.
  void come_back(std::uint16_t number) { add(number, 1, letter(number)); }

  struct Late {
    RawStation* station = nullptr;
    sched::DeliveryRecord delivery{};
    std::int64_t at_ns = 0;
  };
  std::vector<AgentId> agents;
  std::map<std::size_t, Works> does;
  std::map<std::size_t, std::int64_t> takes;  // ns until it answers
  std::vector<Late> late;
  std::vector<Seen> seen;
};

}  // namespace mesh::engine
