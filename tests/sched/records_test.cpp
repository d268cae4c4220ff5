#include "sched/records.hpp"

#include <cmath>
#include <limits>
#include <random>

#include "sched/records_layout.hpp"
#include "tests/seed.hpp"

namespace mesh::sched {
namespace of_records_test {

constexpr BodyRegion kRegion{0, 4'096};
constexpr DeliveryRegions kRegions{{1'024, 8'192}, {0, 4'096}};

SendRecord good_send() {
  SendRecord record{};
  record.kind = RecordKind::send;
  record.verb_and_priority = verb_and_priority(Verb::act, Priority::high);
  record.body_offset = 64;
  record.body_bytes = 100;
  record.created_ns = 5;
  return record;
}
AnswerRecord good_answer() {
  AnswerRecord record{};
  record.kind = RecordKind::answer;
  record.state = TrinaryState::ready;
  return record;
}
DeliveryRecord good_delivery() {
  DeliveryRecord record{};
  record.kind = RecordKind::message;
  record.message = in_payload_log(1'024);
  record.body_bytes = 10;
  return record;
}
MessageHeader good_header() {
  MessageHeader header{};
  header.verb = Verb::act;
  header.strategy = Strategy::direct;
  header.priority = Priority::high;
  header.body_bytes = 100;
  header.set_weight(1.0F);
  return header;
}

template <class Record, class Change>
RecordRefusal send_with(Record record, Change change) {
  change(record);
  if constexpr (std::is_same_v<Record, DeliveryRecord>) {
    return validate(record, kRegions);
  } else if constexpr (std::is_same_v<Record, MessageHeader>) {
    return validate(record, good_send());
  } else {
    return validate(record, kRegion);
  }
}

TEST(SendRecord, IsRefusedByTheNameOfTheFieldThatCannotBe) {
  const auto refusal = [](auto change) { return send_with(good_send(), change); };
  using R = RecordRefusal;
  using S = SendRecord;
  EXPECT_EQ(refusal([](S&) {}), R::none);
  for (const int kind : {0, 1, 7, 63, 64, 65, 127, 132, 255}) {
    EXPECT_EQ(refusal([&](S& r) { r.kind = static_cast<RecordKind>(kind); }), R::kind) << kind;
  }
  EXPECT_EQ(refusal([](S& r) { r.flags = RecordFlags::redelivered; }), R::flags);
  EXPECT_EQ(refusal([](S& r) { r.flags = RecordFlags{0x80}; }), R::flags);
  EXPECT_EQ(refusal([](S& r) { r.verb_and_priority = 0x0404; }), R::priority);
  EXPECT_EQ(refusal([](S& r) { r.verb_and_priority = 0x0300; }), R::verb);
  EXPECT_EQ(refusal([](S& r) { r.verb_and_priority = 0x0307; }), R::verb);
  EXPECT_EQ(refusal([](S& r) { r.created_ns = -1; }), R::created_ns);
  EXPECT_EQ(refusal([](S& r) { r.arrive_ns = -1; }), R::arrive_ns);
  EXPECT_EQ(refusal([](S& r) { r.body_offset = 65; }), R::body_offset);
  EXPECT_EQ(refusal([](S& r) { r.body_offset = 4'104; }), R::body_offset);
  EXPECT_EQ(refusal([](S& r) { r.body_offset = 0xFFFF'FFF8; }), R::body_offset);
  EXPECT_EQ(refusal([](S& r) { r.body_bytes = 0xFFFF'FFFF; }), R::body_bytes);
  EXPECT_EQ(refusal([](S& r) { r.body_bytes = 4'096 - 64 - 128; }), R::none);
  EXPECT_EQ(refusal([](S& r) { r.body_bytes = 4'096 - 64 - 127; }), R::body_bytes);
}

TEST(SendRecord, RefusesSelectorsThatSelectNothing) {
  const auto refusal = [](Selector word, std::uint32_t body_bytes, RecordFlags extra = {}) {
    SendRecord record = good_send();
    record.flags = RecordFlags::selector | extra;
    record.target = static_cast<std::uint64_t>(word);
    record.body_bytes = body_bytes;
    return validate(record, kRegion);
  };
  using R = RecordRefusal;
  EXPECT_EQ(refusal(selector(SelectorKind::all), 0), R::none);
  EXPECT_EQ(refusal(selector(SelectorKind::all, 1), 0), R::target);
  EXPECT_EQ(refusal(selector(SelectorKind::agent_class, 15), 0), R::none);
  EXPECT_EQ(refusal(selector(SelectorKind::agent_class, 16), 0), R::target);
  EXPECT_EQ(refusal(selector(SelectorKind::sector, kMaxAgents - 1), 0), R::none);
  EXPECT_EQ(refusal(selector(SelectorKind::sector, kMaxAgents), 0), R::target);
  EXPECT_EQ(refusal(selector(SelectorKind::cluster, kMaxAgents), 0), R::target);
  EXPECT_EQ(refusal(selector(SelectorKind::list, 0), 80), R::target);
  EXPECT_EQ(refusal(selector(SelectorKind::list, 10), 80), R::none);
  EXPECT_EQ(refusal(selector(SelectorKind::list, 11), 80), R::body_bytes);
  EXPECT_EQ(refusal(selector(SelectorKind::list, 2), 16, RecordFlags::bare), R::target);
  EXPECT_EQ(refusal(selector(SelectorKind::list, 0xFFFF'FFFF), 80), R::target);
  EXPECT_EQ(refusal(static_cast<Selector>(0), 0), R::target);
  EXPECT_EQ(refusal(static_cast<Selector>(std::uint64_t{6} << 56), 0), R::target);
  EXPECT_EQ(refusal(static_cast<Selector>((std::uint64_t{1} << 56) | (1ULL << 40)), 0), R::target);
}

TEST(AnswerRecord, IsRefusedByTheNameOfTheFieldThatCannotBe) {
  const auto refusal = [](auto change) { return send_with(good_answer(), change); };
  using R = RecordRefusal;
  using A = AnswerRecord;
  EXPECT_EQ(refusal([](A&) {}), R::none);
  for (const int kind : {0, 1, 63, 66, 128, 255}) {
    EXPECT_EQ(refusal([&](A& r) { r.kind = static_cast<RecordKind>(kind); }), R::kind) << kind;
  }
  EXPECT_EQ(refusal([](A& r) { r.flags = RecordFlags::bare; }), R::flags);
  EXPECT_EQ(refusal([](A& r) { r.flags = RecordFlags::redelivered; }), R::flags);
  EXPECT_EQ(refusal([](A& r) { r.state = TrinaryState{2}; }), R::state);
  EXPECT_EQ(refusal([](A& r) { r.state = TrinaryState{-2}; }), R::state);
  EXPECT_EQ(refusal([](A& r) { r.state = TrinaryState::conflict; }), R::conflict_type);
  EXPECT_EQ(refusal([](A& r) { r.conflict_type = ConflictType::other; }), R::conflict_type);
  EXPECT_EQ(refusal([](A& r) { r.conflict_type = ConflictType{7}; }), R::conflict_type);
  EXPECT_EQ(refusal([](A& r) {
              r.state = TrinaryState::conflict;
              r.conflict_type = ConflictType::hash_mismatch;
            }),
            R::none);
  EXPECT_EQ(refusal([](A& r) { r.kind = RecordKind::refusal; }), R::state);
  EXPECT_EQ(refusal([](A& r) { r.received_ns = -1; }), R::received_ns);
  EXPECT_EQ(refusal([](A& r) { r.finished_ns = INT64_MIN; }), R::finished_ns);
  EXPECT_EQ(refusal([](A& r) { r.body_offset = 0xFFFF'FFFF; }), R::none) << "no body, no place";
  EXPECT_EQ(refusal([](A& r) {
              r.body_offset = 4'096;
              r.body_bytes = 1;
            }),
            R::body_bytes);
  EXPECT_EQ(refusal([](A& r) {
              r.body_offset = 4;
              r.body_bytes = 1;
            }),
            R::body_offset);
}

TEST(DeliveryRecord, IsRefusedByTheNameOfTheFieldThatCannotBe) {
  const auto refusal = [](auto change) { return send_with(good_delivery(), change); };
  using R = RecordRefusal;
  using D = DeliveryRecord;
  EXPECT_EQ(refusal([](D&) {}), R::none);
  for (const int kind : {0, 8, 64, 128}) {
    EXPECT_EQ(refusal([&](D& r) { r.kind = static_cast<RecordKind>(kind); }), R::kind) << kind;
  }
  EXPECT_EQ(refusal([](D& r) { r.flags = RecordFlags::selector; }), R::flags);
  EXPECT_EQ(refusal([](D& r) { r.sent_ns = -1; }), R::sent_ns);
  EXPECT_EQ(refusal([](D& r) { r.arrive_ns = -1; }), R::arrive_ns);
  EXPECT_EQ(refusal([](D& r) { r.message = in_payload_log(1'016); }), R::message);
  EXPECT_EQ(refusal([](D& r) { r.message = in_payload_log(1'028); }), R::message);
  EXPECT_EQ(refusal([](D& r) { r.message = in_inbox(1'016); }), R::none);
  EXPECT_EQ(refusal([](D& r) { r.message = in_inbox(4'104); }), R::message);
  EXPECT_EQ(refusal([](D& r) { r.body_bytes = 8'192 - 1'024 - 127; }), R::body_bytes);
}

TEST(MessageHeader, IsRefusedByTheNameOfTheFieldThatCannotBe) {
  const auto refusal = [](auto change) { return send_with(good_header(), change); };
  using R = RecordRefusal;
  using H = MessageHeader;
  EXPECT_EQ(refusal([](H&) {}), R::none);
  EXPECT_EQ(refusal([](H& h) { h.verb = Verb{0}; }), R::verb);
  EXPECT_EQ(refusal([](H& h) { h.verb = Verb::sync; }), R::verb) << "the record says act";
  EXPECT_EQ(refusal([](H& h) { h.strategy = Strategy{5}; }), R::strategy);
  EXPECT_EQ(refusal([](H& h) { h.priority = Priority{4}; }), R::priority);
  EXPECT_EQ(refusal([](H& h) { h.priority = Priority::critical; }), R::priority);
  EXPECT_EQ(refusal([](H& h) { h.expectation = Expectation{4}; }), R::expectation);
  EXPECT_EQ(refusal([](H& h) { h.created_ns = -1; }), R::created_ns);
  EXPECT_EQ(refusal([](H& h) { h.expires_ns = -1; }), R::expires_ns);
  EXPECT_EQ(refusal([](H& h) { h.body_bytes = 101; }), R::body_bytes);
  EXPECT_EQ(refusal([](H& h) { h.reserved = 1; }), R::reserved);
  for (const float weight : {-1.0F, std::nanf(""), std::numeric_limits<float>::infinity(),
                             -std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(refusal([&](H& h) { h.set_weight(weight); }), R::weight) << weight;
  }
}

// Whatever 56 bytes a station writes, what passes lies inside the region.
TEST(Records, NoBytesThatPassReachOutsideTheirRegion) {
  std::mt19937_64 random(testing::seed());
  unsigned passed = 0;
  for (int i = 0; i < 400'000; ++i) {
    std::array<std::uint64_t, 7> bytes{};
    for (auto& word : bytes) word = random() >> (random() % 64);
    auto send = std::bit_cast<SendRecord>(bytes);
    auto answer = std::bit_cast<AnswerRecord>(bytes);
    if (i % 2 != 0) {  // half of them near enough to being right that the last checks are reached
      send.kind = RecordKind::send;
      send.flags = RecordFlags::none;
      send.verb_and_priority = verb_and_priority(Verb::act, Priority::normal);
      answer.kind = RecordKind::answer;
      answer.flags = RecordFlags::none;
      answer.state = TrinaryState::ready;
      answer.conflict_type = ConflictType::none;
    }
    if (validate(send, kRegion) == RecordRefusal::none) {
      ++passed;
      if (!has(send.flags, RecordFlags::bare)) {
        ASSERT_LE(std::uint64_t{send.body_offset} + 128 + send.body_bytes, kRegion.end);
        ASSERT_EQ(send.body_offset % kBodyAlignment, 0U);
      } else {
        ASSERT_LE(send.body_bytes, kBareBodyBytes);
      }
    }
    if (validate(answer, kRegion) == RecordRefusal::none && answer.body_bytes != 0) {
      ++passed;
      ASSERT_LE(std::uint64_t{answer.body_offset} + answer.body_bytes, kRegion.end);
    }
  }
  EXPECT_GT(passed, 100U) << "a check that refuses everything proves nothing";
}

template <class T>
void expect_layout(const shm::StructDescription& description,
                   const std::vector<std::pair<std::string_view, std::size_t>>& expected) {
  ASSERT_EQ(description.size_bytes, sizeof(T));
  ASSERT_EQ(description.fields.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(description.fields[i].name, expected[i].first);
    EXPECT_EQ(description.fields[i].offset, expected[i].second) << expected[i].first;
    EXPECT_FALSE(description.fields[i].meaning.empty()) << expected[i].first;
  }
}

// By literal number: an accidental change of the ABI fails here.
TEST(Records, StandWhereTheLayoutSays) {
  EXPECT_EQ(sizeof(MessageHeader), 128U);
  expect_layout<MessageHeader>(kMessageHeaderDescription, {{"id", 0},
                                                           {"correlation", 16},
                                                           {"causation", 32},
                                                           {"source", 48},
                                                           {"created_ns", 56},
                                                           {"expires_ns", 64},
                                                           {"hash", 72},
                                                           {"capabilities", 80},
                                                           {"weight_bits", 112},
                                                           {"body_bytes", 116},
                                                           {"verb", 120},
                                                           {"strategy", 121},
                                                           {"priority", 122},
                                                           {"expectation", 123},
                                                           {"reserved", 124}});
  EXPECT_EQ(sizeof(DeliveryRecord), 56U);
  expect_layout<DeliveryRecord>(kDeliveryDescription, {{"message", 0},
                                                       {"target", 8},
                                                       {"sent_ns", 16},
                                                       {"arrive_ns", 24},
                                                       {"operation", 32},
                                                       {"lead_us", 40},
                                                       {"expected_us", 44},
                                                       {"body_bytes", 48},
                                                       {"confidence", 52},
                                                       {"kind", 54},
                                                       {"flags", 55}});
  EXPECT_EQ(sizeof(AnswerRecord), 56U);
  expect_layout<AnswerRecord>(kAnswerDescription, {{"message", 0},
                                                   {"agent", 8},
                                                   {"operation", 16},
                                                   {"received_ns", 24},
                                                   {"finished_ns", 32},
                                                   {"body_offset", 40},
                                                   {"body_bytes", 44},
                                                   {"processing_us", 48},
                                                   {"state", 52},
                                                   {"conflict_type", 53},
                                                   {"kind", 54},
                                                   {"flags", 55}});
  EXPECT_EQ(sizeof(SendRecord), 56U);
  expect_layout<SendRecord>(kSendDescription, {{"source", 0},
                                               {"target", 8},
                                               {"operation", 16},
                                               {"arrive_ns", 24},
                                               {"created_ns", 32},
                                               {"body_offset", 40},
                                               {"body_bytes", 44},
                                               {"ttl_ms", 48},
                                               {"verb_and_priority", 52},
                                               {"kind", 54},
                                               {"flags", 55}});
}

TEST(Records, NumbersOfEnumsAreTheOnesOnTheWire) {
  EXPECT_EQ(static_cast<int>(Verb::observe), 1);
  EXPECT_EQ(static_cast<int>(Verb::sync), 6);
  EXPECT_EQ(static_cast<int>(Strategy::pipeline), 4);
  EXPECT_EQ(static_cast<int>(Priority::critical), 3);
  EXPECT_EQ(static_cast<int>(TrinaryState::ready), 1);
  EXPECT_EQ(static_cast<int>(TrinaryState::transit), 0);
  EXPECT_EQ(static_cast<int>(TrinaryState::conflict), -1);
  EXPECT_EQ(static_cast<int>(ConflictType::context_divergence), 1);
  EXPECT_EQ(static_cast<int>(ConflictType::hash_mismatch), 5);
  EXPECT_EQ(static_cast<int>(ConflictType::other), 6);
  EXPECT_EQ(name_of(RecordKind::cancel), "cancel");
  EXPECT_EQ(name_of(RecordKind{99}), "unknown");
  EXPECT_EQ(name_of(RecordRefusal::conflict_type), "conflict_type");
  EXPECT_EQ(name_of(RecordRefusal::body_offset), "body_offset");
  EXPECT_EQ(name_of(RecordRefusal{200}), "unknown");
}

TEST(MessageId, StandsInItsBitsAsWorkedByHand) {
  const MessageId id = pack({0x0123456789ABULL, HostId{0xCDEF}, StationId{0x1122}, 0x334455667788});
  EXPECT_EQ(id.high, 0x0123456789ABCDEFULL);
  EXPECT_EQ(id.low, 0x1122334455667788ULL);
}

RC_GTEST_PROP(MessageId, RoundTripsAndIsOrderedByTimeFirst, ()) {
  const auto origin = [] {
    return MessageOrigin{*rc::gen::arbitrary<std::uint64_t>() & kLow48,
                         static_cast<HostId>(*rc::gen::arbitrary<std::uint16_t>()),
                         static_cast<StationId>(*rc::gen::arbitrary<std::uint16_t>()),
                         *rc::gen::arbitrary<std::uint64_t>() & kLow48};
  };
  const MessageOrigin a = origin();
  const MessageOrigin b = origin();
  RC_ASSERT(unpack(pack(a)) == a);
  if (a.unix_ms < b.unix_ms) RC_ASSERT(pack(a) < pack(b));
  if (!(a == b)) RC_ASSERT(pack(a) != pack(b));
}

TEST(MessageId, WrapsItsPositionWithoutTouchingTheStation) {
  const MessageId last = pack({1, HostId{2}, StationId{3}, kLow48});
  const MessageId wrapped = pack({1, HostId{2}, StationId{3}, kLow48 + 1});
  EXPECT_EQ(unpack(last).station, StationId{3});
  EXPECT_EQ(unpack(wrapped).station, StationId{3});
  EXPECT_EQ(unpack(wrapped).outbox_position, 0U);
}

TEST(MessageWord, TellsLogFromInboxByItsTopBit) {
  EXPECT_EQ(static_cast<std::uint64_t>(in_payload_log(0x40)), 0x8000'0000'0000'0040ULL);
  EXPECT_EQ(static_cast<std::uint64_t>(in_inbox(0x40)), 0x40U);
  EXPECT_TRUE(is_in_payload_log(in_payload_log(0)));
  EXPECT_FALSE(is_in_payload_log(in_inbox(~std::uint64_t{0})));
  EXPECT_EQ(position_of(in_payload_log(kInPayloadLog - 8)), kInPayloadLog - 8);
}

TEST(Records, ConfidenceIsIn65535thsAndNeverOutside) {
  EXPECT_EQ(confidence_bits(0.0), 0);
  EXPECT_EQ(confidence_bits(1.0), 65'535);
  EXPECT_EQ(confidence_bits(0.9), 58'982);  // 58,981.5
  EXPECT_EQ(confidence_bits(-1), 0);
  EXPECT_EQ(confidence_bits(7), 65'535);
  EXPECT_EQ(confidence_bits(std::nan("")), 0);
  EXPECT_NEAR(confidence_of(confidence_bits(0.3)), 0.3, 1 / 65'535.0);
}

TEST(Records, ExpiryIsNoneForNoTtlAndSaturates) {
  EXPECT_EQ(expires_ns(1'000, 0), 0);
  EXPECT_EQ(expires_ns(1'000, 5), 5'001'000);
  EXPECT_EQ(expires_ns(INT64_MAX - 10, 1), INT64_MAX);
}

TEST(BareBody, TravelsInTheRecordAndLeavesTheOtherFieldsAlone) {
  std::array<std::byte, 16> body{};
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<std::byte>(i + 1);
  SendRecord send = good_send();
  send.operation = OperationId{~std::uint64_t{0}};
  send.arrive_ns = -1;
  ASSERT_TRUE(set_bare_body(send, std::span(body).first(5)));
  EXPECT_EQ(validate(send, BodyRegion{}), RecordRefusal::none) << "needs no place in .out";
  const BareBody copy = bare_body(send);
  EXPECT_EQ(copy.size_bytes, 5U);
  EXPECT_EQ(std::memcmp(copy.bytes, body.data(), 5), 0);
  EXPECT_EQ(copy.bytes[5], std::byte{0}) << "an old byte of the sender must not travel";
  EXPECT_EQ(send.created_ns, 5);

  DeliveryRecord delivery = good_delivery();
  const AgentId source = agent_id(AgentIndex{0xABCDE}, Generation{0xFEDCBA98765});
  set_bare_source(delivery, source);
  ASSERT_TRUE(set_bare_body(delivery, body));
  EXPECT_EQ(validate(delivery, DeliveryRegions{}), RecordRefusal::none);
  EXPECT_EQ(std::memcmp(bare_body(delivery).bytes, body.data(), 16), 0);
  EXPECT_EQ(bare_source(delivery), source);
  EXPECT_EQ(delivery.sent_ns, good_delivery().sent_ns);
}

TEST(BareBody, OfMoreThan16BytesIsRefused) {
  const std::array<std::byte, 17> body{};
  SendRecord send = good_send();
  EXPECT_FALSE(set_bare_body(send, body));
  EXPECT_EQ(send.flags, RecordFlags::none);
  send.flags = RecordFlags::bare;
  send.body_bytes = 17;
  EXPECT_EQ(validate(send, kRegion), RecordRefusal::body_bytes);
}

}  // namespace of_records_test
}  // namespace mesh::sched
