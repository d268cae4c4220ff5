#include "engine/store/record.hpp"

#include "tests/engine/store/store_fixture.hpp"

namespace mesh::engine {
namespace of_record_test {

using testing::conflict;

std::vector<std::byte> encoded(const Record& record) {
  std::vector<std::byte> bytes;
  encode(record, bytes);
  return bytes;
}

TEST(Record, RefusesWhatNamesNothingOrDoesNotExistOrIsTooLong) {
  Record record = conflict(1);
  record.subject = {};
  EXPECT_FALSE(validate(record));
  record = conflict(1);
  record.kind = StoredKind{0};
  EXPECT_FALSE(validate(record));
  record = conflict(1);
  record.detail.assign(kRecordTextBytesMax + 1, 'x');
  EXPECT_EQ(validate(record).error().code, Errc::invalid_argument);
  record.detail.pop_back();
  EXPECT_TRUE(validate(record));
}

RC_GTEST_PROP(Record, IsTheSameAfterEncodingAndDecoding,
              (const std::string& expected, const std::string& received, std::uint64_t number)) {
  Record record = conflict(number % 1'000'000, number);
  record.expected = expected;
  record.received = received;
  record.step = static_cast<std::uint32_t>(number);
  const auto bytes = encoded(record);
  RC_ASSERT(bytes.size() == encoded_bytes(record));
  const auto back = decode(bytes);
  RC_ASSERT(back.has_value());
  RC_ASSERT(*back == record);
}

TEST(Record, CutAtAnyByteOrLongerIsNoRecord) {
  auto bytes = encoded(conflict(1));
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_EQ(decode(std::span(bytes).first(length)).error().code, Errc::corrupt) << length;
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode(bytes));
}

TEST(Record, TheChainDependsOnEveryBitOfTheRecordItsPlaceAndThePast) {
  const ChainHead start;
  const ChainHead first = chained(start, conflict(1));
  EXPECT_EQ(first.position, 1U);
  const auto bytes = encoded(conflict(1));
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    auto other = bytes;
    other[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    const auto record = decode(other);
    const bool is_same = record && chained(start, *record).hash == first.hash;
    EXPECT_FALSE(is_same) << bit;
  }
  EXPECT_NE(chained(first, conflict(1)).hash, first.hash);
  EXPECT_NE(chained({.position = 5}, conflict(1)).hash, first.hash);
}

// Worked by hand once, with Python's hashlib over the layout of record.hpp; a change of it would
// make every chain of the past unverifiable.
TEST(Record, TheFirstHashOfAChainIsWhatItAlwaysWas) {
  Record record;
  record.subject = {1, 2};
  record.message = {3, 4};
  record.at = WireTime{5};
  record.agent = AgentId{6};
  record.operation = OperationId{7};
  record.context_hash = 8;
  record.step = 9;
  record.kind = StoredKind::step;
  record.type = sched::ConflictType::hash_mismatch;
  record.state = ConflictState::resolved;
  record.priority = 4;
  record.strategy = 5;
  record.expected = "e";
  record.received = "re";
  record.detail = "det";
  EXPECT_EQ(to_hex(chained({}, record).hash),
            "ca9b0ad9dff2ea3e65ec83a1d73d5c0d6056e0e958690c799f6a20703cc61fb0");
}

}  // namespace of_record_test
}  // namespace mesh::engine
