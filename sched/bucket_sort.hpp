// BucketSorter: a stable counting sort of rows by their bucket key.
//
// Rows are taken in a given order (indexed by station: a bucket's rows of one station then stay
// neighbours, which dispatch needs to send them as one run) or, without one, in row order. Rows
// in no bucket come after the last bucket, grouped by reason, so that the skipped can be reported
// without another pass.
//
// Callers     one thread at a time; it owns the sorter, whose memory is the result.
// Progress    bounded: two passes over the rows, one over the buckets. After create() no
//             allocation, lock or system call.
// Units       rows as AgentIndex values (u32); keys as lead_time_columns.hpp defines them.
// Errors      create -> invalid_argument, no_memory. sort() asserts that every key is below
//             bucket_count or reserved and that `order`, if given, names as many rows: both are
//             our own results, not a peer's bytes.
// Layout      Bucket k is rows offsets()[k] .. offsets()[k + 1]; offsets() has bucket_count + 1
//             entries. Memory: 4 bytes a row, 4 a bucket, 256 KiB of counts, of which only the
//             first bucket_count are touched.
// Cost        bench/sched/plan_bench.cpp.
// Source      Seward 1954. Tried: the two halves of the rows counted apart, so that two scatters
//             run at once. 3 to 18 % faster at 30,000 rows, up to 4 times slower at 1,000,000.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "sched/lead_time_columns.hpp"
#include "shm/base/result.hpp"

namespace mesh::sched {

class BucketSorter {
 public:
  // bucket_limit at most kMaxBuckets, row_limit at most kMaxAgents.
  [[nodiscard]] static Result<BucketSorter> create(std::uint32_t row_limit,
                                                   std::uint32_t bucket_limit);

  // Sorts rows 0 .. keys.size() - 1. `order` is a permutation of them, or empty for row order.
  void sort(std::span<const std::uint16_t> keys, std::uint32_t bucket_count,
            std::span<const std::uint32_t> order) noexcept;

  [[nodiscard]] std::uint32_t row_limit() const noexcept { return row_limit_; }
  [[nodiscard]] std::uint32_t bucket_limit() const noexcept { return bucket_limit_; }
  [[nodiscard]] std::uint32_t bucket_count() const noexcept { return bucket_count_; }

  // Of the last sort.
  [[nodiscard]] std::span<const std::uint32_t> offsets() const noexcept {
    return {offsets_.get(), bucket_count_ + 1};
  }
  [[nodiscard]] std::span<const std::uint32_t> bucket(std::uint32_t key) const noexcept {
    return {rows_.get() + offsets_[key], offsets_[key + 1] - offsets_[key]};
  }
  [[nodiscard]] std::span<const std::uint32_t> scheduled() const noexcept {
    return {rows_.get(), offsets_[bucket_count_]};
  }
  [[nodiscard]] std::span<const std::uint32_t> late() const noexcept { return skipped(kKeyLate); }
  [[nodiscard]] std::span<const std::uint32_t> invalid() const noexcept {
    return skipped(kKeyInvalid);
  }
  [[nodiscard]] std::span<const std::uint32_t> not_targeted() const noexcept {
    return skipped(kKeyNotTargeted);
  }
  [[nodiscard]] std::span<const std::uint32_t> far() const noexcept { return skipped(kKeyFar); }

 private:
  static constexpr std::uint32_t kReserved = 65'536U - kKeyFirstReserved;
  static constexpr std::uint32_t kKeys =
      65'536;  // every u16: a wrong key counts aside, never out of bounds

  BucketSorter() = default;
  [[nodiscard]] std::span<const std::uint32_t> skipped(std::uint16_t key) const noexcept {
    const std::uint32_t at = key - kKeyFirstReserved;
    return {rows_.get() + reserved_[at], reserved_[at + 1] - reserved_[at]};
  }
  [[nodiscard]] static bool is_dominated(std::span<const std::uint16_t> keys) noexcept;
  void count(std::span<const std::uint16_t> keys, bool dominated) noexcept;
  [[nodiscard]] static std::size_t end_of_run(std::span<const std::uint16_t> keys,
                                              std::size_t at) noexcept;
  template <class Order>
  void sort_in(std::span<const std::uint16_t> keys, const Order& order) noexcept;

  std::uint32_t row_limit_ = 0;
  std::uint32_t bucket_limit_ = 0;
  std::uint32_t bucket_count_ = 0;
  std::uint32_t reserved_[kReserved + 1] = {};  // where each reason starts in rows_
  std::unique_ptr<std::uint32_t[]> offsets_;    // bucket_limit + 1
  std::unique_ptr<std::uint32_t[]> rows_;       // row_limit
  std::unique_ptr<std::uint32_t[]> places_;     // kKeys: counts, then where the next row goes
};

}  // namespace mesh::sched
