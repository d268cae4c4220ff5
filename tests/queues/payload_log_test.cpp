// One thread, no deaths: refusals, geometry, what is freed is gone, hostile bytes, a model.
#include "queues/payload_log.hpp"

#include <deque>
#include <random>

#include "tests/queues/payload_log_fixture.hpp"
#include "tests/seed.hpp"

namespace mesh::queues {
namespace of_payload_log_test {

using testing::HostLog;
using testing::is_body;
using testing::make_body;
using testing::SharedLog;
using Bytes = std::vector<std::byte>;

struct ReadBody {
  HostLog::Reader::Copied result;
  Bytes bytes;
};
ReadBody read(const HostLog::Reader& reader, std::uint64_t position) {
  ReadBody body;
  body.bytes.resize(reader.capacity() / 2);
  body.result = reader.copy(position, body.bytes);
  body.bytes.resize(body.result.length);
  return body;
}

TEST(PayloadLog, RefusesCapacitiesThatAreNoPowerOfTwoFrom64) {
  SharedLog log(256);
  for (const std::size_t words : {0U, 1U, 4U, 12U, 31U}) {
    const auto writer = HostLog::Writer::take_over(log.words().first(words), &log.header());
    ASSERT_FALSE(writer) << words;
    EXPECT_EQ(writer.error().code, Errc::invalid_argument);
    EXPECT_EQ(writer.error().detail, static_cast<std::int64_t>(words * 8));
    EXPECT_FALSE(HostLog::Reader::attach(log.words().first(words), &log.header()));
  }
  const std::span<HostLog::Word> too_many(log.words().data(), kPayloadLogBytesMax / 4);
  EXPECT_EQ(HostLog::Writer::take_over(too_many, &log.header()).error().code,
            Errc::invalid_argument);
}

TEST(PayloadLog, RefusesNullAndMisalignedMemory) {
  SharedLog log(256);
  const auto refused = [&](std::span<HostLog::Word> words, HostLog::Header* header) {
    const auto reader = HostLog::Reader::attach(words, header);
    const auto writer = HostLog::Writer::take_over(words, header);
    return !reader && reader.error().code == Errc::misaligned && !writer &&
           writer.error().code == Errc::misaligned;
  };
  EXPECT_TRUE(refused(log.words().subspan(1, 16), &log.header()));
  EXPECT_TRUE(refused({static_cast<HostLog::Word*>(nullptr), 16}, &log.header()));
  EXPECT_TRUE(refused(log.words(), nullptr));
  auto* shifted = reinterpret_cast<std::byte*>(&log.header()) + 64;
  EXPECT_TRUE(refused(log.words(), reinterpret_cast<HostLog::Header*>(shifted)));
}

TEST(PayloadLog, TakeOverRefusesATailAndHeadThatNoWriterLeaves) {
  for (const std::uint64_t start : testing::kLogStarts) {
    SharedLog log(256, start);
    for (const std::uint64_t head : {start - 16, start + 8, start + 272, ~start}) {
      log.header().head.store_relaxed(head);
      const auto writer = log.take_over();
      ASSERT_FALSE(writer) << head;
      EXPECT_EQ(writer.error().code, Errc::corrupt);
      EXPECT_NE(writer.error().sentence.find(std::to_string(head)), std::string::npos);
      EXPECT_FALSE(log.attach().value().verify());
    }
    log.header().head.store_relaxed(start + 256);
    EXPECT_TRUE(log.take_over());
  }
}

TEST(PayloadLog, RefusesABodyLongerThanHalfTheRegionLess16) {
  SharedLog log(256);
  auto writer = log.take_over().value();
  EXPECT_EQ(writer.body_bytes_max(), 112U);
  EXPECT_EQ(writer.append(make_body(1, 113)).status, AppendStatus::kTooLong);
  EXPECT_EQ(writer.reserve(0xFFFF'FFFF).status, AppendStatus::kTooLong);
  EXPECT_EQ(writer.append(make_body(1, 112)).status, AppendStatus::kOk);
}

TEST(PayloadLog, RefusesPositionsWhereNoEntryStands) {
  for (const std::uint64_t start : testing::kLogStarts) {
    SharedLog log(256, start);
    auto writer = log.take_over().value();
    const auto reader = log.attach().value();
    log.append(writer, 40);
    for (const std::uint64_t wrong : {start + 1, start + 8, start + 16, start + 64, start + 256})
      EXPECT_EQ(read(reader, wrong).result.status, BodyStatus::kCorrupt) << wrong - start;
    EXPECT_EQ(read(reader, start - 256).result.status, BodyStatus::kGone);
    EXPECT_EQ(read(reader, start).result.status, BodyStatus::kRead);
  }
}

TEST(PayloadLog, RefusesToFreeUpToAnythingButAnEntryOrTheHead) {
  for (const std::uint64_t start : testing::kLogStarts) {
    SharedLog log(256, start);
    auto writer = log.take_over().value();
    log.append(writer, 16);  // at start, 32 bytes
    log.append(writer, 16);  // at start + 32
    for (const std::uint64_t wrong :
         {start - 16, start + 8, start + 16, start + 48, start + 80, start + 256, ~start})
      EXPECT_FALSE(writer.advance_tail(wrong)) << wrong - start;
    EXPECT_EQ(writer.tail(), start);
    EXPECT_TRUE(writer.advance_tail(start));
    EXPECT_TRUE(writer.advance_tail(start + 32));
    EXPECT_FALSE(writer.advance_tail(start));
    EXPECT_TRUE(writer.advance_tail(start + 64));
    EXPECT_EQ(writer.free_bytes(), 256U);
  }
}

TEST(PayloadLog, AnEntryTakesItsHeaderAndWholeSixteens) {
  EXPECT_EQ(payload_entry_bytes(0), 16U);
  EXPECT_EQ(payload_entry_bytes(1), 32U);
  EXPECT_EQ(payload_entry_bytes(16), 32U);
  EXPECT_EQ(payload_entry_bytes(17), 48U);
  EXPECT_EQ(payload_entry_bytes(1024), 1040U);
  EXPECT_EQ(payload_entry_bytes(0xFFFF'FFFF), 4'294'967'312U);
  EXPECT_EQ(payload_body_bytes_max(kPayloadLogBytesMax), 2'147'483'632U);
}

TEST(PayloadLog, TheWordsStandWhereTheLayoutSays) {
  SharedLog log(256);
  auto writer = log.take_over().value();
  const Bytes body = make_body(7, 8);
  EXPECT_EQ(writer.append(body, 0xABCD).position, 0U);
  EXPECT_EQ(writer.append(body, 5).position, 32U);
  ASSERT_TRUE(writer.advance_tail(32));
  std::uint64_t image[40];
  std::memcpy(image, log.words().data(), 256);
  EXPECT_EQ(image[0], 0x0000'ABCD'0000'0008U);
  EXPECT_EQ(image[1], 1U);
  EXPECT_EQ(image[2], testing::word_of(7, 0));
  EXPECT_EQ(image[5], 33U);
  std::memcpy(image, &log.header(), sizeof(HostLog::Header));
  EXPECT_EQ(image[0], 32U);
  EXPECT_EQ(image[16], 64U);
}

TEST(PayloadLog, ZeroedMemoryIsAnEmptyLogAtPositionZero) {
  SharedLog log(256);
  EXPECT_EQ(log.take_over().value().head(), 0U);
  const auto reader = log.attach().value();
  EXPECT_EQ(read(reader, 0).result.status, BodyStatus::kCorrupt);
  EXPECT_EQ(reader.verify().value().entries, 0U);
}

TEST(PayloadLog, SaysHowManyBytesAreMissingAndThatManyAreEnough) {
  SharedLog log(256);
  auto writer = log.take_over().value();
  log.append(writer, 64);                              // 0..80
  log.append(writer, 64);                              // 80..160
  const auto full = writer.append(make_body(9, 100));  // 128 bytes; 96 left at the end: skip
  EXPECT_EQ(full.status, AppendStatus::kFull);
  EXPECT_EQ(full.bytes_short, 96U + 128U - 96U);
  EXPECT_EQ(log.attach().value().verify().value().skips, 0U) << "a refusal changes nothing";
  ASSERT_TRUE(writer.advance_tail(80));
  EXPECT_EQ(writer.append(make_body(9, 100)).bytes_short, 48U);
  ASSERT_TRUE(writer.advance_tail(160));
  const auto done = writer.append(make_body(9, 100));
  EXPECT_EQ(done.status, AppendStatus::kOk);
  EXPECT_EQ(done.position, 256U);
  EXPECT_EQ(log.attach().value().verify().value().skips, 1U);
  EXPECT_EQ(writer.used_bytes(), 96U + 128U);
}

TEST(PayloadLog, FillsToTheLastByte) {
  SharedLog log(256);
  auto writer = log.take_over().value();
  for (int i = 0; i < 4; ++i) log.append(writer, 48);
  EXPECT_EQ(writer.free_bytes(), 0U);
  EXPECT_EQ(writer.append(Bytes{}).bytes_short, 16U);
  const auto reader = log.attach().value();
  for (std::uint32_t i = 0; i < 4; ++i) EXPECT_TRUE(is_body(read(reader, 64U * i).bytes, i));
  EXPECT_EQ(log.take_over().value().used_bytes(), 256U);
}

TEST(PayloadLog, TheLongestBodyFitsIntoAnEmptyLogWhereverTheHeadStands) {
  for (std::uint64_t start = 0; start < 256; start += 16) {
    SharedLog log(256, start);
    auto writer = log.take_over().value();
    EXPECT_EQ(writer.append(make_body(3, 112)).status, AppendStatus::kOk) << start;
  }
}

TEST(PayloadLog, PartsOfAnyLengthBecomeOneBody) {
  std::mt19937_64 random(testing::seed());
  SharedLog log(1024);
  auto writer = log.take_over().value();
  const auto reader = log.attach().value();
  for (std::uint32_t round = 0; round < 2000; ++round) {
    const auto length = static_cast<std::uint32_t>(random() % 300);
    const Bytes body = make_body(round, length);
    std::vector<std::span<const std::byte>> parts;
    for (std::span<const std::byte> left(body); !left.empty();) {
      const std::size_t take = std::min<std::size_t>(left.size(), random() % 20);
      parts.push_back(left.first(take));
      left = left.subspan(take);
    }
    parts.emplace_back();
    const auto done = writer.append(parts, round);
    ASSERT_EQ(done.status, AppendStatus::kOk);
    const ReadBody back = read(reader, done.position);
    ASSERT_EQ(back.result.status, BodyStatus::kRead);
    ASSERT_EQ(back.result.kind, round);
    ASSERT_EQ(back.bytes, body);
    ASSERT_TRUE(std::ranges::equal(reader.view(done.position).body.bytes(), body));
    ASSERT_TRUE(writer.advance_tail(writer.head()));
  }
}

TEST(PayloadLog, AReservationIsBuiltInPlaceAndDroppedByTheNext) {
  SharedLog log(256);
  auto writer = log.take_over().value();
  const auto reader = log.attach().value();
  auto dropped = writer.reserve(24, 1);
  dropped.body.put(make_body(1, 24));
  EXPECT_EQ(read(reader, dropped.position).result.status, BodyStatus::kCorrupt);
  const auto room = writer.reserve(16, 2);
  EXPECT_EQ(room.position, dropped.position);
  ASSERT_EQ(room.body.size(), 2U);
  room.body.store(1, testing::word_of(2, 1));
  room.body.store(0, testing::word_of(2, 0));
  EXPECT_EQ(writer.commit(), room.position);
  const ReadBody back = read(reader, room.position);
  EXPECT_EQ(back.result.kind, 2U);
  EXPECT_TRUE(is_body(back.bytes, 2));
}

TEST(PayloadLog, SaysTheLengthWhenTheRoomIsTooSmallAndTouchesNothing) {
  SharedLog log(256);
  auto writer = log.take_over().value();
  log.append(writer, 33);
  Bytes out(33, std::byte{0x5A});
  const auto small = log.attach().value().copy(0, std::span(out).first(32));
  EXPECT_EQ(small.status, BodyStatus::kTooSmall);
  EXPECT_EQ(small.length, 33U);
  EXPECT_EQ(out, Bytes(33, std::byte{0x5A}));
  EXPECT_EQ(log.attach().value().copy(0, out).status, BodyStatus::kRead);
}

TEST(PayloadLog, WhatIsFreedIsGoneEvenBeforeItIsOverwritten) {
  for (const std::uint64_t start : testing::kLogStarts) {
    SharedLog log(256, start);
    auto writer = log.take_over().value();
    const auto reader = log.attach().value();
    log.append(writer, 16);
    log.append(writer, 16);
    ASSERT_TRUE(writer.advance_tail(start + 32));
    EXPECT_EQ(read(reader, start).result.status, BodyStatus::kGone);
    EXPECT_EQ(reader.view(start).status, BodyStatus::kGone);
    EXPECT_TRUE(is_body(read(reader, start + 32).bytes, 1));
  }
}

TEST(PayloadLog, AWalkHandsOutWhatMustMoveAndEndsAtAnEntry) {
  SharedLog log(256, std::uint64_t{0} - 64);
  auto writer = log.take_over().value();
  for (int i = 0; i < 3; ++i) log.append(writer, 24);  // 48 bytes each; the second needs a skip
  std::vector<std::uint32_t> seen;
  const auto take = [&](const HostLog::Body& body) {
    EXPECT_TRUE(is_body(body.bytes(), body.kind));
    seen.push_back(body.kind);
    return body.kind != 2;
  };
  EXPECT_EQ(writer.walk(writer.tail() + 1, take).position, std::uint64_t{0} - 16);
  EXPECT_EQ(seen, (std::vector<std::uint32_t>{0}));
  seen.clear();
  const auto declined = writer.walk(writer.head(), take);
  EXPECT_EQ(declined.status, WalkStatus::kStopped);
  EXPECT_EQ(declined.position, 48U);
  EXPECT_EQ(seen, (std::vector<std::uint32_t>{0, 1, 2}));
  EXPECT_TRUE(writer.advance_tail(declined.position));
  EXPECT_EQ(writer.walk(writer.head() + 16, take).status, WalkStatus::kOutside);
  EXPECT_EQ(writer.walk(writer.tail() - 16, take).status, WalkStatus::kOutside);
  log.words()[(48 + 8) / 8].store_relaxed(0);
  EXPECT_EQ(writer.walk(writer.head(), take).status, WalkStatus::kCorrupt);
  EXPECT_EQ(log.attach().value().verify().error().code, Errc::corrupt);
}

TEST(PayloadLog, FourBytesNameAPositionThatStands) {
  for (const std::uint64_t start : testing::kLogStarts) {
    SharedLog log(256, start);
    auto writer = log.take_over().value();
    const auto reader = log.attach().value();
    for (int i = 0; i < 20; ++i) {
      log.append(writer, 40);
      const std::uint64_t position = log.report().told[i].position;
      EXPECT_EQ(reader.widen(static_cast<std::uint32_t>(position)), position);
    }
  }
}

// Exactly as large as the log, so that a sanitizer sees one byte too many.
struct Hostile {
  static constexpr std::size_t kBytes = 512;
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> region{std::aligned_alloc(kIsolation, kBytes)};
  std::unique_ptr<void, Free> header{std::aligned_alloc(kIsolation, sizeof(HostLog::Header))};
  std::span<HostLog::Word> words{static_cast<HostLog::Word*>(region.get()), kBytes / 8};
  HostLog::Header* head() { return static_cast<HostLog::Header*>(header.get()); }
};

TEST(PayloadLog, HostileBytesNeverTakeAReaderOutsideTheRegionOrItsRoom) {
  std::mt19937_64 random(testing::seed());
  Hostile log;
  const auto reader = HostLog::Reader::attach(log.words, log.head()).value();
  int read = 0;
  for (int round = 0; round < 50'000; ++round) {
    for (auto& word : log.words) word.store_relaxed(random());
    const std::uint64_t tail = random();
    log.head()->tail.store_relaxed(tail);
    log.head()->head.store_relaxed(random() % 2 == 0 ? random() : tail + random() % 1024);
    const std::uint64_t position =
        random() % 8 == 0 ? random() : (tail + random() % Hostile::kBytes) & ~std::uint64_t{15};
    const std::uint64_t index = (position % Hostile::kBytes) / 8;
    if (index + 1 < log.words.size()) log.words[index + 1].store_relaxed(position + 1);
    if (random() % 2 == 0) log.words[index].store_relaxed(random() % 600);
    Bytes out(random() % 300);
    out.shrink_to_fit();
    const auto result = reader.copy(position, out);
    ASSERT_TRUE(result.status != BodyStatus::kRead || result.length <= out.size());
    read += result.status == BodyStatus::kRead ? 1 : 0;
    const auto view = reader.view(position);
    if (view.status == BodyStatus::kRead) {
      const auto bytes = view.body.bytes();
      const auto* begin = reinterpret_cast<const std::byte*>(log.words.data());
      ASSERT_GE(bytes.data(), begin);
      ASSERT_LE(bytes.data() + bytes.size(), begin + Hostile::kBytes);
    }
    (void)reader.widen(static_cast<std::uint32_t>(random()));
    (void)reader.verify();
  }
  EXPECT_GT(read, 1000) << "the hostile bytes never looked like an entry: nothing was tested";
}

TEST(PayloadLog, HostileBytesNeverTakeAWalkOutsideTheRegion) {
  std::mt19937_64 random(testing::seed());
  Hostile log;
  int handed = 0;
  for (int round = 0; round < 20'000; ++round) {
    const std::uint64_t tail = random() & ~std::uint64_t{15};
    log.head()->tail.store_relaxed(tail);
    log.head()->head.store_relaxed(tail + random() % 33 * 16);
    auto writer = HostLog::Writer::take_over(log.words, log.head()).value();
    for (std::uint64_t at = tail; at != tail + Hostile::kBytes; at += 16) {
      log.words[at % Hostile::kBytes / 8].store_relaxed(random() % 200);
      log.words[at % Hostile::kBytes / 8 + 1].store_relaxed(random() % 8 == 0 ? random() : at + 1);
    }
    const auto walked = writer.walk(writer.head(), [&](const HostLog::Body& body) {
      ++handed;
      const auto bytes = body.bytes();
      ASSERT_LE(bytes.data() + bytes.size(),
                reinterpret_cast<const std::byte*>(log.words.data()) + Hostile::kBytes);
    });
    ASSERT_FALSE(before(writer.head(), walked.position));
  }
  EXPECT_GT(handed, 1000);
}

struct Model {
  struct Entry {
    std::uint64_t position;
    std::uint32_t number;
    std::uint32_t length;
  };
  std::deque<Entry> standing;
  std::vector<Entry> freed;
};

void compare(SharedLog& log, const HostLog::Writer& writer, const Model& model) {
  const auto reader = log.attach().value();
  for (const auto& entry : model.standing) {
    const ReadBody back = read(reader, entry.position);
    RC_ASSERT(back.result.status == BodyStatus::kRead);
    RC_ASSERT(back.result.kind == entry.number);
    RC_ASSERT(back.bytes == make_body(entry.number, entry.length));
  }
  for (const auto& entry : model.freed)
    RC_ASSERT(read(reader, entry.position).result.status == BodyStatus::kGone);
  const auto counts = reader.verify().value();
  RC_ASSERT(counts.entries == model.standing.size());
  std::vector<std::uint64_t> walked;  // compared afterwards: walk is noexcept, RC_ASSERT throws
  const auto all = writer.walk(writer.head(),
                               [&](const HostLog::Body& body) { walked.push_back(body.position); });
  RC_ASSERT(all.status == WalkStatus::kDone);
  std::vector<std::uint64_t> standing;
  for (const auto& entry : model.standing) standing.push_back(entry.position);
  RC_ASSERT(walked == standing);
}

// Random operations against a deque, from every start: content, what is gone, the free count, and
// that an append is refused exactly when it does not fit.
RC_GTEST_PROP(PayloadLog, BehavesAsAQueueOfBodies, ()) {
  const std::uint64_t start = *rc::gen::elementOf(
      std::vector<std::uint64_t>(std::begin(testing::kLogStarts), std::end(testing::kLogStarts)));
  const auto capacity = std::size_t{1} << *rc::gen::inRange(6, 12);
  SharedLog log(capacity, start);
  auto writer = log.take_over().value();
  Model model;
  const auto steps = *rc::gen::container<std::vector<std::pair<int, std::uint32_t>>>(
      rc::gen::pair(rc::gen::inRange(0, 8), rc::gen::inRange<std::uint32_t>(0, 1 << 20)));
  std::uint32_t number = 0;
  for (const auto& [what, amount] : steps) {
    const std::uint32_t length = amount % (writer.body_bytes_max() + 1);
    if (what < 5) {
      const std::uint64_t to_end = capacity - writer.head() % capacity;
      const std::uint64_t size = 16 + (length + 15) / 16 * 16;
      const std::uint64_t needed = size <= to_end ? size : to_end + size;
      const bool fits = needed <= writer.free_bytes();
      const std::uint64_t at = writer.head() + (needed - size);
      ++number;
      const auto done = writer.append(make_body(number, length), number);
      RC_ASSERT((done.status == AppendStatus::kOk) == fits);
      if (fits) {
        RC_ASSERT(done.position == at);
        model.standing.push_back({at, number, length});
      } else {
        RC_ASSERT(done.bytes_short == needed - writer.free_bytes());
      }
    } else if (what == 5) {
      const std::size_t count = amount % (model.standing.size() + 1);
      const bool all = count == model.standing.size();
      RC_ASSERT(writer.advance_tail(all ? writer.head() : model.standing[count].position));
      for (std::size_t i = 0; i < count; ++i) {
        model.freed.push_back(model.standing.front());
        model.standing.pop_front();
      }
    } else if (what == 6) {
      (void)writer.reserve(length, 1);  // never committed
    } else {
      const std::uint64_t head = writer.head();
      writer = log.take_over().value();
      RC_ASSERT(writer.head() == head);
    }
  }
  compare(log, writer, model);
}

}  // namespace of_payload_log_test
}  // namespace mesh::queues
