#include "shm/row_seqlock.hpp"

#include <atomic>
#include <thread>

#include "shm/columns.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::shm {
namespace of_row_seqlock_test {

// A row of four columns under one sequence, in private memory laid out as it would be in a mapping.
class Rows {
 public:
  static constexpr std::size_t kRows = 8;

  Rows()
      : sequence(column<std::uint32_t>(0)),
        first(column<std::uint64_t>(1)),
        second(column<std::uint64_t>(2)),
        third(column<float>(3)),
        fourth(column<std::int32_t>(4)) {}

  void write(std::size_t row, std::uint64_t value) const {
    RowWriter<HostMemory>(sequence).write(row, [&](const RowStores<HostMemory>& stores) {
      stores.store(first, value);
      stores.store(second, ~value);
      stores.store(third, static_cast<float>(value % 1000));
      stores.store(fourth, static_cast<std::int32_t>(value % 777));
    });
  }

  struct Copy {
    std::uint64_t first = 0;
    std::uint64_t second = 0;
    float third = 0;
    std::int32_t fourth = 0;
    [[nodiscard]] bool belongs_together() const {
      return second == ~first && third == static_cast<float>(first % 1000) &&
             fourth == static_cast<std::int32_t>(first % 777);
    }
  };
  ReadStatus read(std::size_t row, Copy& copy) const {
    return RowReader<HostMemory>(sequence.view()).read(row, [&](const RowLoads<HostMemory>& loads) {
      copy.first = loads.load(first.view());
      copy.second = loads.load(second.view());
      copy.third = loads.load(third.view());
      copy.fourth = loads.load(fourth.view());
    });
  }

 private:
  struct alignas(kCacheLine) Lines {
    std::array<std::byte, 5 * kCacheLine> bytes{};
  };
  template <class T>
  Column<HostMemory, T> column(std::size_t index) {
    return Column<HostMemory, T>::over(
               std::span(lines_->bytes).subspan(index * kCacheLine, kCacheLine), kRows)
        .value();
  }
  std::unique_ptr<Lines> lines_ = std::make_unique<Lines>();

 public:
  Column<HostMemory, std::uint32_t> sequence;
  Column<HostMemory, std::uint64_t> first;
  Column<HostMemory, std::uint64_t> second;
  Column<HostMemory, float> third;
  Column<HostMemory, std::int32_t> fourth;
};

TEST(RowSeqlock, GivesUpAfter64TriesOnARowThatIsBeingWritten) {
  const Rows rows;
  const auto stores = RowWriter<HostMemory>(rows.sequence).begin(3);
  stores.store(rows.first, std::uint64_t{1});
  Rows::Copy copy;
  EXPECT_EQ(rows.read(3, copy), ReadStatus::kBusy);
  EXPECT_EQ(rows.read(2, copy), ReadStatus::kRead);  // the other rows stand
}

TEST(RowSeqlock, GivesUpAfter64TriesOnARowThatChangesEachTime) {
  const Rows rows;
  unsigned calls = 0;
  const auto status = RowReader<HostMemory>(rows.sequence.view()).read(0, [&](const auto&) {
    ++calls;
    rows.write(0, calls);
  });
  EXPECT_EQ(status, ReadStatus::kBusy);
  EXPECT_EQ(calls, kReadAttempts);
}

TEST(RowSeqlock, ReadsAgainWhenTheRowChangedMeanwhile) {
  const Rows rows;
  rows.write(0, 10);
  unsigned calls = 0;
  std::uint64_t taken = 0;
  const auto status = RowReader<HostMemory>(rows.sequence.view()).read(0, [&](const auto& loads) {
    taken = loads.load(rows.first.view());
    if (++calls == 1) rows.write(0, 20);
  });
  EXPECT_EQ(status, ReadStatus::kRead);
  EXPECT_EQ(calls, 2U);
  EXPECT_EQ(taken, 20U);
}

TEST(RowSeqlock, SuccessorOfAWriterThatDiedInARowMakesItReadableByWritingIt) {
  const Rows rows;
  const RowWriter<HostMemory> writer(rows.sequence);
  rows.write(5, 1);
  const auto stores = writer.begin(5);
  stores.store(rows.first, std::uint64_t{2});  // and here the writer is killed
  EXPECT_TRUE(writer.is_half_written(5));
  EXPECT_FALSE(writer.is_half_written(4));
  rows.write(5, 3);
  EXPECT_FALSE(writer.is_half_written(5));
  Rows::Copy copy;
  ASSERT_EQ(rows.read(5, copy), ReadStatus::kRead);
  EXPECT_EQ(copy.first, 3U);
  EXPECT_TRUE(copy.belongs_together());
}

TEST(RowSeqlock, ReaderAcrossTheDeathOfAWriterDoesNotMixTheTwoWrites) {
  const Rows rows;
  rows.write(0, 1);
  unsigned calls = 0;
  Rows::Copy copy;
  const auto status = RowReader<HostMemory>(rows.sequence.view()).read(0, [&](const auto& loads) {
    copy.first = loads.load(rows.first.view());
    if (++calls == 1) {
      static_cast<void>(RowWriter<HostMemory>(rows.sequence).begin(0));  // dies at once
      rows.write(0, 2);                                                  // its successor
    }
    copy.second = loads.load(rows.second.view());
  });
  EXPECT_EQ(status, ReadStatus::kRead);
  EXPECT_EQ(copy.first, 2U);
  EXPECT_EQ(copy.second, ~std::uint64_t{2});
}

TEST(RowSeqlock, SequenceWrapsFromTheLastEvenNumberToZero) {
  const Rows rows;
  for (const std::uint32_t start : {0xFFFFFFFEU, 0xFFFFFFFCU, 0x7FFFFFFEU}) {
    rows.sequence.store_relaxed(0, start);
    for (std::uint64_t value = 1; value < 6; ++value) {
      rows.write(0, value);
      Rows::Copy copy;
      ASSERT_EQ(rows.read(0, copy), ReadStatus::kRead);
      EXPECT_EQ(copy.first, value);
      EXPECT_EQ(rows.sequence.load_relaxed(0), start + static_cast<std::uint32_t>(2 * value));
    }
  }
}

// One writer at its own pace over a few rows, several readers, on one mapping so that TSan sees
// them.
TEST(RowSeqlock, NeverShowsATornRow) {
  constexpr std::uint64_t kReads = testing::kUnderSanitizer ? 100'000 : 3'000'000;
  constexpr unsigned kReaders = 3;
  const Rows rows;
  for (std::size_t row = 0; row < Rows::kRows; ++row) rows.write(row, row);
  std::atomic<unsigned> finished{0};
  std::atomic<std::uint64_t> torn{0};
  std::atomic<std::uint64_t> went_back{0};
  std::atomic<std::uint64_t> read{0};

  std::vector<std::thread> readers;
  for (unsigned reader = 0; reader < kReaders; ++reader) {
    readers.emplace_back([&, reader] {
      std::array<std::uint64_t, Rows::kRows> newest{};
      std::uint64_t done = 0;
      for (std::uint64_t turn = 0; turn < kReads; ++turn) {
        const std::size_t row = (turn + reader) % 2;  // two rows only: often the one being written
        Rows::Copy copy;
        if (rows.read(row, copy) == ReadStatus::kBusy) {
          std::this_thread::yield();
          continue;
        }
        ++done;
        if (!copy.belongs_together()) torn.fetch_add(1, std::memory_order_relaxed);
        if (copy.first < newest[row]) went_back.fetch_add(1, std::memory_order_relaxed);
        newest[row] = copy.first;
      }
      read.fetch_add(done, std::memory_order_relaxed);
      finished.fetch_add(1, std::memory_order_release);
    });
  }
  std::uint64_t value = Rows::kRows;
  while (finished.load(std::memory_order_acquire) < kReaders) {
    for (unsigned burst = 0; burst < 64; ++burst) {
      ++value;
      rows.write(value % 2, value);
    }
    if (value % 4096 == 0) std::this_thread::yield();
  }
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(torn.load(std::memory_order_relaxed), 0U);
  EXPECT_EQ(went_back.load(std::memory_order_relaxed), 0U);
  EXPECT_GT(read.load(std::memory_order_relaxed), kReads / 2);
  EXPECT_GT(value, 1000U);
}

}  // namespace of_row_seqlock_test
}  // namespace mesh::shm
