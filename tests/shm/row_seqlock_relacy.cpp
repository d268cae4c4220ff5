// The row seqlock that ships, under a model checker: no torn row in any interleaving tried, and
// with any one of its orders taken away the checker finds a torn row.
#include "shm/columns.hpp"
#include "shm/row_seqlock.hpp"
#include "tests/relacy_memory.hpp"

namespace mesh::shm {
namespace {

using testing::RelacyMemory;

// One writer changes a row of two fields three times; two readers read it twice. Write k stores (k,
// k).
struct RowTest : rl::test_suite<RowTest, 3> {
  RelacyMemory::Word<std::uint32_t> sequence;
  RelacyMemory::Word<std::uint32_t> left;
  RelacyMemory::Word<std::uint32_t> right;

  void before() {
    sequence.store_relaxed(0);
    left.store_relaxed(0);
    right.store_relaxed(0);
  }

  void thread(unsigned id) {
    if (id == 0) {
      write_rows();
    } else {
      read_rows();
    }
  }

  void write_rows() {
    const RowWriter<RelacyMemory> writer({&sequence, 1});
    const Column<RelacyMemory, std::uint32_t> left_column(&left, 1);
    const Column<RelacyMemory, std::uint32_t> right_column(&right, 1);
    for (std::uint32_t number = 1; number <= 3; ++number) {
      writer.write(0, [&](const RowStores<RelacyMemory>& row) {
        row.store(left_column, number);
        row.store(right_column, number);
      });
    }
  }

  void read_rows() {
    const RowReader<RelacyMemory> reader({&sequence, 1});
    const ColumnView<RelacyMemory, std::uint32_t> left_column(&left, 1);
    const ColumnView<RelacyMemory, std::uint32_t> right_column(&right, 1);
    std::uint32_t newest = 0;
    for (int turn = 0; turn < 2; ++turn) {
      std::uint32_t left_value = 0;
      std::uint32_t right_value = 0;
      const ReadStatus status = reader.read(0, [&](const RowLoads<RelacyMemory>& row) {
        left_value = row.load(left_column);
        right_value = row.load(right_column);
      });
      if (status == ReadStatus::kBusy) continue;
      RL_ASSERT(left_value == right_value);
      RL_ASSERT(left_value >= newest);
      newest = left_value;
    }
  }
};

}  // namespace
}  // namespace mesh::shm

int main() { return mesh::testing::check_every_order<mesh::shm::RowTest>(200'000); }
