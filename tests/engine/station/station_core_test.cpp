#include "engine/station/station_core.hpp"

#include <deque>
#include <random>
#include <thread>

#include "tests/engine/station/core_fixture.hpp"
#include "tests/seed.hpp"

namespace mesh::testing {
namespace of_station_core_test {

using engine::Answer;
using engine::Delivery;
using engine::Reply;
using engine::SendOptions;
using engine::SendStatus;
using sched::AnswerRecord;
using sched::SendRecord;
using sched::TrinaryState;

class StationCore : public CoreFixture {};

Answer ready(const Delivery&) { return Answer::ready(); }

// Refusals first.

TEST_F(StationCore, CountsRecordsThatCannotBeAndGivesThemToNobody) {
  sched::DeliveryRecord record{};
  record.target = agent(0);
  record.kind = sched::RecordKind::answer;  // no delivery
  publish(record);
  record.kind = sched::RecordKind::message;
  record.flags = sched::RecordFlags::selector;  // of a send alone
  publish(record);
  record.flags = sched::RecordFlags::bare;
  record.body_bytes = 17;
  publish(record);
  EXPECT_EQ(core_->poll(10, [](const Delivery&) -> Answer { throw 1; }), 3U);
  EXPECT_EQ(core_->counters().corrupt, 3U);
  (void)core_->flush();
  EXPECT_TRUE(take<AnswerRecord>().empty());
}

TEST_F(StationCore, DeclinesWhatIsForAnotherStationsAgentOrAnOldGeneration) {
  deliver({.target = stranger()}, "x");
  deliver({.target = agent_id(AgentIndex{10}, Generation{2}), .message = 2}, "x");
  deliver({.target = agent_id(AgentIndex{1'000'000}, Generation{2}), .message = 3}, "x");
  core_->poll(10, [](const Delivery&) -> Answer { throw 1; });
  EXPECT_EQ(core_->counters().not_ours, 3U);
  EXPECT_EQ(core_->counters().handled, 0U);
  (void)core_->flush();
  const auto answers = take<AnswerRecord>();
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_EQ(answers[0].kind, sched::RecordKind::refusal);
  EXPECT_EQ(answers[0].state, TrinaryState::transit);
}

TEST_F(StationCore, DeclinesADeliveryWhoseBodyIsNotThere) {
  deliver_at({.target = agent(0)}, 4'096, 3);                                // nothing stands there
  deliver_at({.target = agent(0)}, append_body({.message = 1}, "four"), 5);  // other length
  deliver_at({.target = agent(0)}, append_body({.message = 2}, "x"), 1U << 31);
  core_->poll(10, [](const Delivery&) -> Answer { throw 1; });
  EXPECT_EQ(core_->counters().bodies_lost, 3U);
  EXPECT_EQ(core_->counters().declined, 3U);
}

TEST_F(StationCore, DeclinesWhatHasExpired) {
  deliver({.target = agent(0), .expires_ns = now_ns_ - 1}, "late");
  deliver({.target = agent(0), .message = 2, .expires_ns = now_ns_}, "in time");
  std::string heard;
  core_->poll(10, [&](const Delivery& delivery) {
    heard = delivery.text();
    return Answer::ready();
  });
  EXPECT_EQ(heard, "in time");
  EXPECT_EQ(core_->counters().expired, 1U);
}

TEST_F(StationCore, RefusesToSendWhatTheTableShowsToBeInVain) {
  SendOptions options;
  options.source = agent(0);
  options.target = agent_id(AgentIndex{40}, Generation{8});  // the row's tenant before
  EXPECT_EQ(core_->send(options, {}), SendStatus::no_such_agent);
  options.target = agent_id(AgentIndex{1'048'575}, Generation{1});
  EXPECT_EQ(core_->send(options, {}), SendStatus::no_such_agent);
  options.target = AgentId{};
  EXPECT_EQ(core_->send(options, {}), SendStatus::no_such_agent);
  options.target = stranger();
  breakers_[0].store_relaxed(1 | 5 << 3);  // open, epoch 5
  open_until_[0].store_relaxed(now_ns_ + 1);
  EXPECT_EQ(core_->send(options, {}), SendStatus::open);
  open_until_[0].store_relaxed(now_ns_);  // one is the probe: the engine chooses it
  EXPECT_EQ(core_->send(options, {}), SendStatus::sent);
  breakers_[0].store_relaxed(3);  // forced open: until an operator says otherwise
  EXPECT_EQ(core_->send(options, {}), SendStatus::open);
  breakers_[0].store_relaxed(2);
  EXPECT_EQ(core_->send(options, {}), SendStatus::sent);
  stations_.store_relaxed(40, StationId{7});
  inbox_full_[7].store_relaxed(1);
  EXPECT_EQ(core_->send(options, {}), SendStatus::target_full);
  inbox_full_[7].store_relaxed(0);
  EXPECT_EQ(core_->send(options, {}), SendStatus::sent);
  options.bare = true;
  EXPECT_EQ(core_->send(options, bytes_of("seventeen bytes..")), SendStatus::too_long);
  options.bare = false;
  EXPECT_EQ(core_->send(options, std::vector<std::byte>(1U << 20)), SendStatus::too_long);
  EXPECT_EQ(core_->counters().send_refused, 8U);
}

TEST_F(StationCore, RefusesMoreAgentsThanWereDeclared) {
  const AgentId one_more[] = {stranger()};
  const auto added = core_->add_agents(one_more);
  ASSERT_FALSE(added.has_value());
  EXPECT_EQ(added.error().code, Errc::capacity);
}

// Deliveries and answers.

TEST_F(StationCore, GivesAHandlerWhatRecordAndHeaderSay) {
  deliver({.target = agent(2), .operation = OperationId{42}}, "what they say");
  Delivery seen;
  std::string text;
  core_->poll(10, [&](const Delivery& delivery) {
    seen = delivery;
    text = delivery.text();
    return Answer::ready();
  });
  EXPECT_EQ(text, "what they say");
  EXPECT_EQ(seen.target, agent(2));
  EXPECT_EQ(seen.agent, 2U);
  EXPECT_EQ(seen.source, stranger());
  EXPECT_EQ(seen.operation, OperationId{42});
  EXPECT_EQ(seen.verb, sched::Verb::decide);
  EXPECT_EQ(seen.priority, sched::Priority::high);
  EXPECT_EQ(seen.weight, 0.5F);
  EXPECT_EQ(seen.arrive, from_ns(77));
  EXPECT_EQ(seen.lead, Nanos{5'000});
  EXPECT_EQ(seen.id, (sched::MessageId{7, 1}));
}

TEST_F(StationCore, GivesABareMessageItsBodyAndSource) {
  sched::DeliveryRecord record{};
  record.target = agent(1);
  record.kind = sched::RecordKind::message;
  record.flags = sched::RecordFlags::bare;
  ASSERT_TRUE(sched::set_bare_body(record, bytes_of("sixteen bytes!!!")));
  sched::set_bare_source(record, stranger());
  record.body_bytes = 16;
  publish(record);
  core_->poll(10, [&](const Delivery& delivery) {
    EXPECT_EQ(delivery.text(), "sixteen bytes!!!");
    EXPECT_EQ(delivery.source, stranger());
    EXPECT_EQ(delivery.operation, OperationId{});  // those bytes are body
    return Answer::ready();
  });
  EXPECT_EQ(core_->counters().handled, 1U);
}

TEST_F(StationCore, StagesAnswersAndShowsThemWithFlushAlone) {
  deliver({.target = agent(0), .operation = OperationId{5}}, "a");
  deliver({.target = agent(1), .message = 2, .operation = OperationId{5}}, "b");
  core_->poll(10, [&](const Delivery& delivery) {
    now_ns_ += 3 * kNsPerMs;
    return delivery.agent == 0
               ? Answer::ready(bytes_of("done"))
               : Answer::in_conflict(sched::ConflictType::hash_mismatch, {11, 12}, bytes_of("why"));
  });
  EXPECT_TRUE(take<AnswerRecord>().empty());
  EXPECT_FALSE(core_->flush());  // the engine is awake
  const auto answers = take<AnswerRecord>();
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[0].state, TrinaryState::ready);
  EXPECT_EQ(answers[0].operation, OperationId{5});
  EXPECT_EQ(answers[0].processing_us, 3'000U);
  EXPECT_EQ(sent_body(answers[0].body_offset), "done");
  EXPECT_EQ(answers[1].state, TrinaryState::conflict);
  EXPECT_EQ(answers[1].conflict_type, sched::ConflictType::hash_mismatch);
  const std::string body = sent_body(answers[1].body_offset);
  engine::ConflictValues values{};
  ASSERT_EQ(body.size(), sizeof values + 3);
  std::memcpy(&values, body.data(), sizeof values);
  EXPECT_EQ(values.expected, 11U);
  EXPECT_EQ(values.received, 12U);
  EXPECT_EQ(body.substr(sizeof values), "why");
  for (const AnswerRecord& answer : answers) {
    EXPECT_EQ(sched::validate(answer, {0, ~std::uint64_t{0}}), sched::RecordRefusal::none);
  }
}

TEST_F(StationCore, SaysThatTheEngineSleeps) {
  side_.outbox_reader->parked.store_seq_cst(1);
  deliver({.target = agent(0)}, "a");
  core_->poll(10, ready);
  EXPECT_TRUE(core_->flush());
  EXPECT_FALSE(core_->flush());  // nothing was staged since
}

TEST_F(StationCore, AnswersTransitForAHandlerThatThrows) {
  deliver({.target = agent(0)}, "a");
  core_->poll(10, [](const Delivery&) -> Answer { throw 1; });
  (void)core_->flush();
  EXPECT_EQ(take<AnswerRecord>().at(0).kind, sched::RecordKind::refusal);
  EXPECT_EQ(core_->counters().threw, 1U);
}

TEST_F(StationCore, AsksForNoAnswerToAReply) {
  deliver({.target = agent(0), .kind = sched::RecordKind::reply}, "done");
  EXPECT_EQ(core_->poll(10, ready), 1U);
  (void)core_->flush();
  EXPECT_TRUE(take<AnswerRecord>().empty());
}

TEST_F(StationCore, FreesTheInboxBeforeAHandlerRuns) {
  deliver({.target = agent(0)}, "a");
  core_->poll(10, [&](const Delivery&) {
    EXPECT_EQ(side_.inbox_reader->cursor.load_relaxed(), 1U);
    return Answer::ready();
  });
}

TEST_F(StationCore, CopiesABodyForSeveralOfItsAgentsOnce) {
  const std::uint64_t position = append_body({.message = 9}, "to all of you");
  for (std::uint32_t i = 0; i < kAgents; ++i) deliver_at({.target = agent(i)}, position, 13);
  std::vector<const std::byte*> places;
  core_->poll(10, [&](const Delivery& delivery) {
    EXPECT_EQ(delivery.text(), "to all of you");
    places.push_back(delivery.body.data());
    return Answer::ready();
  });
  ASSERT_EQ(places.size(), kAgents);
  EXPECT_EQ(places.front(), places.back());
}

TEST_F(StationCore, TakesABodyLargerThanItsPrivateMemoryWas) {
  const std::string small(1'000, 's');
  const std::string large(100'000, 'l');
  for (std::uint64_t i = 0; i < 2; ++i) {
    deliver({.target = agent(0), .message = 3 * i + 1}, small);
    deliver({.target = agent(0), .message = 3 * i + 2}, large);
  }
  std::size_t bytes = 0;
  while (core_->poll(10, [&](const Delivery& delivery) {
    bytes += delivery.body.size();
    return Answer::ready();
  }) != 0) {
  }
  EXPECT_EQ(bytes, 2 * (small.size() + large.size()));
}

TEST_F(StationCore, KnowsARedeliveredMessageAndTakesAnUnmarkedOneAsNew) {
  const auto redelivered = sched::RecordFlags::redelivered;
  deliver({.target = agent(0), .message = 5}, "first");
  core_->poll(10, ready);
  deliver({.target = agent(0), .message = 5, .flags = redelivered}, "again");
  deliver({.target = agent(1), .message = 5, .flags = redelivered}, "another target");
  deliver({.target = agent(0), .message = 6, .flags = redelivered}, "never seen");
  core_->poll(10, ready);
  EXPECT_EQ(core_->counters().duplicates, 1U);
  EXPECT_EQ(core_->counters().handled, 3U);
  // The engine hears of the one that was known, too: else it would keep it for ever.
  (void)core_->flush();
  const auto answers = take<AnswerRecord>();
  ASSERT_EQ(answers.size(), 4U);
  EXPECT_EQ(std::count_if(answers.begin(), answers.end(),
                          [&](const AnswerRecord& answer) {
                            return answer.flags == redelivered && answer.agent == agent(0) &&
                                   answer.kind == sched::RecordKind::refusal;
                          }),
            1);
}

TEST(DedupWindow, HoldsExactlyTheLast65536) {
  engine::DedupWindow window;
  const auto key = [](std::uint64_t i) { return engine::DedupWindow::Key{1, i, 2}; };
  constexpr std::uint64_t kCount = 3 * engine::kDedupWindow + 17;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    window.insert(key(i));
    if (i % 10'007 == 0) {
      EXPECT_TRUE(window.contains(key(i)));
    }
  }
  const std::uint64_t first = kCount - engine::kDedupWindow;
  EXPECT_TRUE(window.contains(key(first)));
  EXPECT_FALSE(window.contains(key(first - 1)));
  EXPECT_TRUE(window.contains(key(kCount - 1)));
  EXPECT_FALSE(window.contains(key(kCount)));
}

// Replies.

TEST_F(StationCore, TakesRepliesFromOtherThreads) {
  constexpr std::uint64_t kMessages = 400;
  std::vector<Reply> replies;
  for (std::uint64_t i = 0; i < kMessages; ++i) {
    deliver({.target = agent(i % kAgents), .message = i + 1}, "work");
  }
  while (core_->poll(
             64, [&](const Delivery&, Reply reply) { replies.push_back(std::move(reply)); }) != 0) {
  }
  ASSERT_EQ(replies.size(), kMessages);
  EXPECT_FALSE(core_->ready());
  std::thread other([&replies] {
    for (std::size_t i = 0; i < replies.size(); ++i) {
      if (i % 4 != 3) replies[i].answer(Answer::ready(bytes_of("from another thread")));
    }
    replies.clear();  // each fourth is dropped unanswered
  });
  other.join();
  EXPECT_TRUE(core_->ready());
  (void)core_->flush();
  std::uint64_t answered = 0, declined = 0;
  for (const AnswerRecord& record : take<AnswerRecord>()) {
    if (record.state == TrinaryState::ready) {
      ++answered;
      EXPECT_EQ(sent_body(record.body_offset), "from another thread");
    } else {
      ++declined;
    }
  }
  EXPECT_EQ(answered, 300U);
  EXPECT_EQ(declined, 100U);
  EXPECT_EQ(core_->replies_dropped(), 100U);
}

TEST_F(StationCore, AnswersFromThePumpWithoutTheQueueBetweenThreads) {
  deliver({.target = agent(0), .message = 1}, "work");
  deliver({.target = agent(1), .message = 2}, "work");
  std::vector<Reply> replies;
  core_->poll(2, [&](const Delivery&, Reply reply) { replies.push_back(std::move(reply)); });
  core_->answer(std::move(replies[0]), Answer::ready(bytes_of("done")));
  core_->answer(std::move(replies[1]), Answer::declined());
  replies.clear();
  EXPECT_FALSE(core_->ready()) << "nothing waits for the pump, it was the pump";
  EXPECT_TRUE(take<AnswerRecord>().empty()) << "staged, and not yet shown";
  (void)core_->flush();
  const auto records = take<AnswerRecord>();
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].state, TrinaryState::ready);
  EXPECT_EQ(sent_body(records[0].body_offset), "done");
  EXPECT_EQ(records[1].state, TrinaryState::transit);
  EXPECT_EQ(core_->replies_dropped(), 0U) << "answered, each once";
}

TEST_F(StationCore, AnswersAnEmptyReplyNotAtAll) {
  core_->answer(Reply(), Answer::ready());
  (void)core_->flush();
  EXPECT_TRUE(take<AnswerRecord>().empty());
}

TEST_F(StationCore, LetsARepliesHolderOutliveIt) {
  deliver({.target = agent(0)}, "work");
  Reply held;
  core_->poll(1, [&](const Delivery&, Reply reply) { held = std::move(reply); });
  core_.reset();
  held.answer(Answer::ready(bytes_of("too late")));
  EXPECT_FALSE(static_cast<bool>(held));
}

// Sends.

TEST_F(StationCore, SendsWhatTheEngineAccepts) {
  SendOptions options;
  options.source = agent(0);
  options.target = stranger();
  options.verb = sched::Verb::orient;
  options.priority = sched::Priority::critical;
  options.weight = 0.25F;
  options.ttl_ms = 1'000;
  ASSERT_EQ(core_->send(options, bytes_of("text")), SendStatus::sent);
  options.bare = true;
  ASSERT_EQ(core_->send(options, bytes_of("bare")), SendStatus::sent);
  EXPECT_TRUE(take<SendRecord>().empty());
  (void)core_->flush();
  const auto sends = take<SendRecord>();
  ASSERT_EQ(sends.size(), 2U);
  const sched::BodyRegion anywhere{0, ~std::uint64_t{0}};
  EXPECT_EQ(sched::validate(sends[0], anywhere), sched::RecordRefusal::none);
  EXPECT_EQ(sched::validate(sends[1], anywhere), sched::RecordRefusal::none);
  const std::string body = sent_body(sends[0].body_offset);
  sched::MessageHeader header{};
  ASSERT_EQ(body.size(), sizeof header + 4);
  std::memcpy(&header, body.data(), sizeof header);
  EXPECT_EQ(sched::validate(header, sends[0]), sched::RecordRefusal::none);
  EXPECT_EQ(header.weight(), 0.25F);
  EXPECT_EQ(header.expires_ns, now_ns_ + kNsPerSecond);
  EXPECT_EQ(body.substr(sizeof header), "text");
  EXPECT_EQ(sched::bare_body(sends[1]).size_bytes, 4U);
}

// However sends, answers and the engine's intake mix, each record finds its own body, nothing is
// lost, and all room comes back.
TEST_F(StationCore, GivesEachRecordItsOwnBodyOverManyLaps) {
  std::mt19937_64 random(seed());
  std::uint64_t delivered = 0, handled = 0, staged = 0, seen = 0, next_body = 0;
  const auto text_of = [](std::uint64_t number) {
    return std::to_string(number) + std::string(number * 7'919 % 5'000, 'x');
  };
  std::deque<std::string> expected;
  const auto check = [&](std::size_t limit) {
    outbox_.poll(limit, [&](const engine::Ring::Reader::View& view) {
      const auto record = view.read_as<SendRecord>();
      const bool is_send = record.kind == sched::RecordKind::send;
      const std::string body =
          sent_body(is_send ? record.body_offset : view.read_as<AnswerRecord>().body_offset);
      ASSERT_FALSE(expected.empty());
      const std::string text = is_send ? body.substr(sizeof(sched::MessageHeader)) : body;
      EXPECT_TRUE(text == expected.front())
          << text.substr(0, 8) << " instead of " << expected.front().substr(0, 8);
      expected.pop_front();
      ++seen;
    });
  };
  for (int round = 0; round < 4'000; ++round) {
    switch (random() % 4) {
      case 0:
        for (std::uint64_t i = random() % 40; i != 0; --i) {
          if (inbox_.free_slots() == 0) break;
          sched::DeliveryRecord record{};
          record.target = agent(delivered % kAgents);
          record.kind = sched::RecordKind::message;
          record.flags = sched::RecordFlags::bare;
          record.message = static_cast<sched::MessageWord>(++delivered);
          publish(record);
        }
        break;
      case 1:
        core_->poll(1 + random() % 64, [&](const Delivery&) {
          ++handled;
          expected.push_back(text_of(next_body++));
          return Answer::ready(bytes_of(expected.back()));
        });
        break;
      case 2: {
        SendOptions options;
        options.source = agent(0);
        options.target = stranger();
        const std::string text = text_of(next_body);
        // In order, only when no answer waits for room in front of it.
        if (core_->send(options, bytes_of(text)) == SendStatus::sent) {
          expected.push_back(text);
          ++next_body;
        }
        break;
      }
      default:
        (void)core_->flush();
        check(random() % 100);
    }
  }
  for (int i = 0; i < 100 && !expected.empty(); ++i) {
    (void)core_->flush();
    check(100'000);
  }
  staged = core_->counters().answers + core_->counters().sent;
  EXPECT_TRUE(expected.empty());
  EXPECT_EQ(seen, staged);
  EXPECT_EQ(core_->counters().answers, handled);
  EXPECT_GT(staged, 2'000U);
  EXPECT_FALSE(core_->is_broken());
}

TEST_F(StationCore, TakesNothingMoreWhileItsAnswersHaveNoRoom) {
  constexpr std::uint64_t kSlots = 1'024;  // of both rings
  for (std::uint64_t i = 0; i < kSlots; ++i) {
    deliver({.target = agent(0), .message = i + 1}, "");
  }
  while (core_->poll(256, ready) != 0) {
  }
  (void)core_->flush();
  deliver({.target = agent(0), .message = 9'999}, "");
  EXPECT_EQ(core_->poll(256, ready), 1U);  // its answer waits
  deliver({.target = agent(0), .message = 10'000}, "");
  EXPECT_EQ(core_->poll(256, ready), 0U);
  SendOptions options;
  options.source = agent(0);
  options.target = stranger();
  EXPECT_EQ(core_->send(options, {}), SendStatus::full);
  EXPECT_EQ(take<AnswerRecord>().size(), kSlots);
  EXPECT_EQ(core_->poll(256, ready), 1U);
  (void)core_->flush();
  EXPECT_EQ(take<AnswerRecord>().size(), 2U);
}

TEST_F(StationCore, IsBrokenByACursorThatCannotBe) {
  SendOptions options;
  options.source = agent(0);
  options.target = stranger();
  options.bare = true;
  for (int i = 0; i < 1'024; ++i) ASSERT_EQ(core_->send(options, {}), SendStatus::sent);
  side_.outbox_reader->cursor.store_relaxed(2'000);  // of 1,024, none of them shown
  EXPECT_EQ(core_->send(options, {}), SendStatus::full);
  EXPECT_TRUE(core_->is_broken());
}

}  // namespace of_station_core_test
}  // namespace mesh::testing
