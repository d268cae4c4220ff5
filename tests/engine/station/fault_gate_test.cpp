// What faults do to the deliveries and answers of a station, on a clock that the test moves.
#include "engine/station/fault_gate.hpp"

#include <map>
#include <set>

#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "engine/fault_board.hpp"
#include "tests/engine/station/core_fixture.hpp"

namespace mesh::testing {
namespace of_fault_gate_test {

using engine::AgentFault;
using engine::AgentFaultKind;
using engine::Answer;
using engine::Delivery;
using sched::AnswerRecord;
using sched::TrinaryState;

constexpr std::uint32_t kAll = 1'000'000;

class FaultGate : public CoreFixture {
 public:
  void SetUp() override {
    CoreFixture::SetUp();
    board_ = engine::FaultBoard::over(engine::table_layout(kSize).value(), table_.bytes()).value();
  }
  void strike(AgentFaultKind kind, AgentFault more = {}) {
    more.kind = kind;
    if (more.agent == AgentId{}) more.agent = agent(0);
    if (more.injection == 0) more.injection = 1;
    if (more.expires_ns == 0) more.expires_ns = now_ns_ + 1'000 * kNsPerMs;
    const auto done = board_->inject(std::vector{more});
    ASSERT_TRUE(done) << done.error().sentence;
  }
  static AgentFault later(std::int64_t ms, std::int64_t jitter_ms = 0) {
    AgentFault fault;
    fault.add_ns = ms * kNsPerMs;
    fault.jitter_ns = jitter_ms * kNsPerMs;
    return fault;
  }
  static AgentFault of(std::uint32_t rate_ppm, std::uint32_t bits = 1) {
    AgentFault fault;
    fault.rate_ppm = rate_ppm;
    fault.bits = bits;
    return fault;
  }
  void send(std::uint32_t place, std::uint64_t message, std::string_view text = "text") {
    deliver({.target = agent(place), .message = message}, text);
  }
  void send_bare(std::uint64_t message) {  // which takes no room for a body
    sched::DeliveryRecord record{};
    record.message = static_cast<sched::MessageWord>(message);
    record.target = agent(0);
    record.kind = sched::RecordKind::message;
    record.flags = sched::RecordFlags::bare;
    ASSERT_TRUE(sched::set_bare_body(record, bytes_of("bare")));
    record.sent_ns = now_ns_;
    record.body_bytes = 4;
    publish(record);
  }
  // What handlers are given now.
  std::vector<std::string> heard() {
    std::vector<std::string> texts;
    core_->poll(100, [&](const Delivery& delivery) {
      texts.emplace_back(delivery.text());
      return Answer::ready();
    });
    return texts;
  }
  std::vector<AnswerRecord> answers() {
    (void)core_->flush();
    return take<AnswerRecord>();
  }
  void pass_ms(std::int64_t ms) { now_ns_ += ms * kNsPerMs; }
  void expect_adds_up() const {
    const auto& c = core_->counters();
    EXPECT_EQ(c.taken, c.handled + c.duplicates + c.expired + c.not_ours + c.bodies_lost +
                           c.corrupt + c.lost_on_purpose);
  }

  std::optional<engine::FaultBoard> board_;
  std::uint64_t injections_ = 0;
  std::uint64_t messages_ = 0;
};
using Texts = std::vector<std::string>;

TEST_F(FaultGate, WithoutFaultsChangesNothing) {
  send(0, 1);
  EXPECT_EQ(heard(), Texts{"text"});
  EXPECT_EQ(answers().size(), 1U);
  EXPECT_EQ(core_->due(), core_->upkeep_due());
}

// --- a process that is to end ------------------------------------------------------------------

AgentFault end_at(engine::StationStep step, std::int64_t ordered_ns) {
  AgentFault fault;
  fault.bits = static_cast<std::uint32_t>(step);
  fault.add_ns = ordered_ns;
  return fault;
}

TEST_F(FaultGate, EndsItsProcessWhenAMessageIsHandledAndNobodyHasTheAnswer) {
  strike(AgentFaultKind::end, end_at(engine::StationStep::done, now_ns_ + 1));
  send(0, ++messages_);
  EXPECT_EXIT(
      {
        core_->poll(100, [](const Delivery&) {
          std::fprintf(stderr, "handled");
          return Answer::ready();
        });
        std::fprintf(stderr, " and more");
      },
      ::testing::KilledBySignal(SIGKILL), "handled$");
}

TEST_F(FaultGate, EndsItsProcessWhenTheAnswerCanBeSeen) {
  strike(AgentFaultKind::end, end_at(engine::StationStep::answered, now_ns_ + 1));
  send(0, ++messages_);
  EXPECT_EXIT(
      {
        (void)heard();
        std::fprintf(stderr, "answered");
        (void)core_->flush();
        std::fprintf(stderr, " and more");
      },
      ::testing::KilledBySignal(SIGKILL), "answered$");
}

// Whoever was started anew, is another agent, or was spared, goes on.
TEST_F(FaultGate, EndsNobodyElse) {
  strike(AgentFaultKind::end, end_at(engine::StationStep::done, now_ns_ - 1));
  send(0, ++messages_);
  EXPECT_EQ(heard().size(), 1U) << "it attached after the order";
  ASSERT_EQ(board_->undo(1), 1U);
  AgentFault of_another = end_at(engine::StationStep::done, now_ns_ + 1);
  of_another.agent = agent(1);
  strike(AgentFaultKind::end, of_another);
  send(0, ++messages_);
  EXPECT_EQ(heard().size(), 1U);
  ASSERT_EQ(board_->undo(1), 1U);
  strike(AgentFaultKind::end, end_at(engine::StationStep::done, now_ns_ + 1));
  send(0, ++messages_);
  core_->poll(100, [&](const Delivery&) {
    EXPECT_EQ(board_->undo(1), 1U);  // in the middle of its work
    return Answer::ready();
  });
  EXPECT_EQ(answers().size(), 3U);
}

TEST_F(FaultGate, LeavesOtherAgentsAlone) {
  strike(AgentFaultKind::cut);
  send(0, 1, "lost");
  send(1, 2, "heard");
  EXPECT_EQ(heard(), Texts{"heard"});
  expect_adds_up();
}

TEST_F(FaultGate, HandsOverLaterWhatIsDelayedAndWakesForIt) {
  strike(AgentFaultKind::delay, later(50));
  send(0, 1);
  EXPECT_TRUE(heard().empty());
  EXPECT_EQ(core_->due(), from_ns(now_ns_ + 50 * kNsPerMs));
  pass_ms(49);
  EXPECT_TRUE(heard().empty());
  pass_ms(1);
  EXPECT_EQ(heard(), Texts{"text"});
  const auto said = answers();
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0].state, TrinaryState::ready);
  EXPECT_EQ(said[0].received_ns, now_ns_) << "it was on its way until now";
  expect_adds_up();
}

TEST_F(FaultGate, GivesBackWhatItHasDelayedWhenTheFaultIsUndoneOrOver) {
  strike(AgentFaultKind::delay, later(500));
  send(0, 1);
  EXPECT_TRUE(heard().empty());
  EXPECT_EQ(board_->undo(1), 1U);
  EXPECT_EQ(heard(), Texts{"text"}) << "undone";
  AgentFault brief = later(500);
  brief.injection = 2;
  brief.expires_ns = now_ns_ + 10 * kNsPerMs;
  strike(AgentFaultKind::delay, brief);
  send(0, 2);
  EXPECT_TRUE(heard().empty());
  pass_ms(10);
  EXPECT_EQ(heard(), Texts{"text"}) << "over, and nobody has undone it";
  send(0, 3);
  EXPECT_EQ(heard(), Texts{"text"}) << "it stands in the table still, and does not act";
}

TEST_F(FaultGate, PutsMessagesOutOfOrder) {
  strike(AgentFaultKind::reorder, later(0, 100));
  Texts sent;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    sent.push_back("message " + std::to_string(i));
    send(0, i, sent.back());
  }
  Texts got;
  for (int ms = 0; ms <= 100; ++ms) {
    for (auto& text : heard()) got.push_back(text);
    pass_ms(1);
  }
  EXPECT_NE(got, sent);
  std::sort(got.begin(), got.end());
  std::sort(sent.begin(), sent.end());
  EXPECT_EQ(got, sent) << "each came, once";
  expect_adds_up();
}

TEST_F(FaultGate, NobodyAnswersWhatIsLostUntilTheFaultIsOverThenItIsDeclined) {
  strike(AgentFaultKind::lose, of(kAll));
  send(0, 1);
  EXPECT_TRUE(heard().empty());
  EXPECT_TRUE(answers().empty());
  EXPECT_EQ(core_->counters().lost_on_purpose, 1U);
  EXPECT_EQ(core_->due(), from_ns(now_ns_ + 1'000 * kNsPerMs));
  pass_ms(1'000);
  EXPECT_TRUE(heard().empty());
  const auto said = answers();
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0].state, TrinaryState::transit);
  EXPECT_EQ(said[0].kind, sched::RecordKind::refusal);
  expect_adds_up();
}

TEST_F(FaultGate, LosesTheShareThatItIsTold) {
  strike(AgentFaultKind::lose, of(300'000));
  std::size_t got = 0;
  for (std::uint64_t i = 1; i <= 1'000; ++i) {
    send(0, i);
    got += heard().size();
    (void)answers();
  }
  EXPECT_NEAR(static_cast<double>(got), 700, 45) << "three deviations";
}

TEST_F(FaultGate, WhatComesTwiceIsKnownAndHandledOnce) {
  strike(AgentFaultKind::duplicate, of(kAll));
  send(0, 1);
  EXPECT_EQ(heard(), Texts{"text"});
  EXPECT_TRUE(heard().empty());
  EXPECT_EQ(core_->counters().duplicates, 1U);
  EXPECT_EQ(answers().size(), 1U) << "of the first alone";
  expect_adds_up();
}

TEST_F(FaultGate, FlipsAsManyBitsAsItIsToldOfTheOneThatItStrikes) {
  strike(AgentFaultKind::corrupt, of(kAll, 1));
  const std::uint64_t position = append_body({.message = 1}, "the same body for both");
  for (std::uint32_t place : {0U, 1U}) deliver_at({.target = agent(place)}, position, 22);
  std::map<AgentId, std::string> got;
  for (int i = 0; i < 2; ++i) {
    core_->poll(10, [&](const Delivery& delivery) {
      got[delivery.target] = delivery.text();
      return Answer::ready();
    });
  }
  EXPECT_EQ(got[agent(1)], "the same body for both");
  int flipped = 0;
  ASSERT_EQ(got[agent(0)].size(), 22U);
  for (std::size_t i = 0; i < 22; ++i) {
    const auto bits = static_cast<unsigned char>(got[agent(0)][i] ^ got[agent(1)][i]);
    flipped += __builtin_popcount(bits);
  }
  EXPECT_EQ(flipped, 1);
}

TEST_F(FaultGate, ACutAgentHearsNothingAndSendsNothing) {
  strike(AgentFaultKind::cut);
  send(0, 1);
  EXPECT_TRUE(heard().empty());
  engine::SendOptions options;
  options.source = agent(0);
  options.target = stranger();
  EXPECT_EQ(core_->send(options, bytes_of("out")), engine::SendStatus::sent) << "it cannot tell";
  options.source = agent(1);
  EXPECT_EQ(core_->send(options, bytes_of("out")), engine::SendStatus::sent);
  (void)core_->flush();
  EXPECT_EQ(take<sched::SendRecord>().size(), 1U) << "that of the other";
}

TEST_F(FaultGate, AnUnheardAgentWorksAndItsAnswersAreLost) {
  strike(AgentFaultKind::unheard);
  send(0, 1);
  EXPECT_EQ(heard(), Texts{"text"});
  EXPECT_TRUE(answers().empty());
  EXPECT_EQ(board_->undo(1), 1U);
  EXPECT_TRUE(heard().empty());
  const auto said = answers();
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0].state, TrinaryState::transit);
}

TEST_F(FaultGate, AContradictingAgentAnswersConflict) {
  strike(AgentFaultKind::contradict);
  send(0, 1);
  send(1, 2);
  EXPECT_EQ(heard().size(), 2U);
  const auto said = answers();
  ASSERT_EQ(said.size(), 2U);
  EXPECT_EQ(said[0].state, TrinaryState::conflict);
  EXPECT_EQ(said[0].conflict_type, sched::ConflictType::other);
  EXPECT_EQ(said[1].state, TrinaryState::ready);
}

TEST_F(FaultGate, LeavesInTheInboxWhatItHasNoRoomToKeep) {
  strike(AgentFaultKind::delay, later(500));
  std::uint64_t message = 0;
  for (std::size_t burst = 0; burst < engine::FaultGate::kKeptMax / 64; ++burst) {
    for (int i = 0; i < 64; ++i) send_bare(++message);
    EXPECT_TRUE(heard().empty());
  }
  send_bare(++message);
  EXPECT_TRUE(heard().empty());
  EXPECT_TRUE(core_->ready()) << "it waits there";
  pass_ms(500);
  std::size_t got = 0;
  for (int polls = 0; polls < 200; ++polls) {
    got += heard().size();
    (void)answers();
  }
  pass_ms(500);
  got += heard().size();
  EXPECT_EQ(got, message);
  expect_adds_up();
}

TEST_F(FaultGate, TakesNoNotionOfKindsThatDoNotExist) {
  strike(static_cast<AgentFaultKind>(200), of(kAll));
  send(0, 1);
  EXPECT_EQ(heard(), Texts{"text"});
}

// Whatever acts, each message is handed over once, or declined once: when all is over nobody waits.
TEST_F(FaultGate, OnceAllIsOverEveryMessageHasItsOneAnswer) {
  EXPECT_TRUE(rc::check([this] {
    std::map<std::uint32_t, int> said;
    std::uint32_t sent = 0;
    const auto collect = [&] {
      (void)heard();
      for (const AnswerRecord& answer : answers())
        ++said[static_cast<std::uint32_t>(answer.message)];
    };
    const auto steps = *rc::gen::inRange(1, 40);
    for (int i = 0; i < steps; ++i) {
      const auto kind = static_cast<AgentFaultKind>(*rc::gen::inRange(1, 9));
      AgentFault fault = later(*rc::gen::inRange(0, 20), *rc::gen::inRange(0, 20));
      fault.injection = ++injections_;
      fault.agent = agent(*rc::gen::inRange(0U, 3U));
      fault.rate_ppm = *rc::gen::inRange(0U, kAll + 1);
      fault.bits = 2;
      fault.expires_ns = now_ns_ + *rc::gen::inRange<std::int64_t>(1, 30) * kNsPerMs;
      switch (*rc::gen::inRange(0, 4)) {
        case 0:
          strike(kind, fault);
          break;
        case 1:
          board_->undo(injections_ - 1);
          break;
        case 2:
          pass_ms(*rc::gen::inRange(0, 10));
          break;
        default:
          send(*rc::gen::inRange(0U, 3U), ++messages_);
          ++sent;
      }
      collect();
    }
    for (int i = 0; i < 3; ++i) {
      pass_ms(100);
      board_->sweep(from_ns(now_ns_));
      collect();
    }
    int answered = 0;
    for (const auto& [message, count] : said) {
      RC_ASSERT(count == 1);
      answered += count;
    }
    RC_ASSERT(answered == static_cast<int>(sent));
    const auto& c = core_->counters();
    RC_ASSERT(c.taken == c.handled + c.duplicates + c.lost_on_purpose);
  }));
}

}  // namespace of_fault_gate_test
}  // namespace mesh::testing
