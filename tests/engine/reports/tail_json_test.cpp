// What mesh tail --json says of a delivery, to the letter.
#include "engine/reports/tail_json.hpp"

#include <cstring>

#include <gtest/gtest.h>

namespace mesh::testing {
namespace of_tail_json_test {

using engine::reports::passed_json;
using engine::reports::PassedDelivery;

PassedDelivery message() {
  PassedDelivery passed;
  passed.station = 3;
  passed.source = "asker";
  passed.target = "worker";
  passed.record.sent_ns = 1'000;
  passed.record.arrive_ns = 2'000'000;
  passed.record.operation = OperationId{7};
  passed.record.lead_us = 1'999;
  passed.record.expected_us = 1'500;
  passed.record.body_bytes = 2;
  passed.record.kind = sched::RecordKind::message;
  passed.header.id = {0x0123'4567'89AB'CDEF, 0x1};
  passed.header.correlation = {0, 0x2};
  passed.header.created_ns = 900;
  passed.header.set_weight(0.5F);
  passed.header.verb = sched::Verb::decide;
  passed.header.strategy = sched::Strategy::scatter_gather;
  passed.header.priority = sched::Priority::high;
  passed.header.expectation = sched::Expectation::integrate;
  passed.body = "hi";
  return passed;
}

template <class T>
std::string bytes_of_value(const T& value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

TEST(TailJson, SaysOfAMessageWhatCoordinateSays) {
  EXPECT_EQ(passed_json(message()).dump(),
            R"({"station":3,"kind":"message","from":"asker","to":"worker","sent_ns":1000,)"
            R"("target_ns":2000000,"operation":7,"lead_us":1999,"expected_us":1500,)"
            R"("redelivered":false,"bare":false,"header":{)"
            R"("message":"0123456789abcdef0000000000000001",)"
            R"("correlation":"00000000000000000000000000000002","causation":null,)"
            R"("verb":"decide","strategy":"scatter_gather","priority":2,)"
            R"("expectation":"integrate","weight":0.5,"created_ns":900,"expires_ns":0},)"
            R"("answer":null,"body_bytes":2,"body":"hi"})");
}

TEST(TailJson, SaysOfAReplyWhatAckSays) {
  PassedDelivery reply = message();
  reply.record.kind = sched::RecordKind::reply;
  reply.header.causation = {5, 6};
  const sched::ReplyHead head{.state = sched::TrinaryState::conflict,
                              .conflict_type = sched::ConflictType::hash_mismatch,
                              .context = sched::AnswerContext::other,
                              .reserved = 0,
                              .processing_us = 250};
  reply.body = bytes_of_value(head) + "why";
  EXPECT_EQ(passed_json(reply)["answer"].dump(),
            R"({"to_message":"00000000000000050000000000000006","state":"CONFLICT",)"
            R"("conflict_type":"hash_mismatch","context":"other","processing_us":250})");
  reply.body = "short";
  EXPECT_TRUE(passed_json(reply)["answer"].is_null());
  reply.body.reset();
  EXPECT_TRUE(passed_json(reply)["answer"].is_null());
  EXPECT_TRUE(passed_json(reply)["header"].is_null());
}

TEST(TailJson, SaysOfABareReplyWhichMessageItAnswers) {
  PassedDelivery reply;
  reply.target = "asker";
  reply.record.kind = sched::RecordKind::reply;
  reply.record.flags = sched::RecordFlags::bare;
  const sched::ReplyHead head{.state = sched::TrinaryState::ready,
                              .conflict_type = sched::ConflictType::none,
                              .context = sched::AnswerContext::unknown,
                              .reserved = 0,
                              .processing_us = 9};
  reply.body = bytes_of_value(sched::BareReplyBody{head, 0xABC});
  EXPECT_EQ(passed_json(reply)["answer"].dump(),
            R"({"to_message":"0000000000000abc","state":"READY","conflict_type":null,)"
            R"("context":"unknown","processing_us":9})");
  EXPECT_TRUE(passed_json(reply)["header"].is_null());
  EXPECT_TRUE(passed_json(reply)["target_ns"].is_null());
}

TEST(TailJson, SaysTheNumberOfWhatHasNoName) {
  PassedDelivery odd = message();
  odd.header.verb = static_cast<sched::Verb>(200);
  odd.header.strategy = static_cast<sched::Strategy>(0);
  const auto header = passed_json(odd)["header"];
  EXPECT_EQ(header["verb"], "200");
  EXPECT_EQ(header["strategy"], "0");
}

}  // namespace of_tail_json_test
}  // namespace mesh::testing
