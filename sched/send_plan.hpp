// SendPlanner: all that a new operation needs to be sent, for all rows of a mesh, in memory taken
// beforehand.
//
// plan() runs plan_columns(), decides far rows exactly, and sorts the rows by bucket. Its results
// stand until the next plan() of the same planner.
//
// Callers     one thread at a time; it owns the planner.
// Progress    bounded by rows and buckets. plan() makes no allocation, lock or system call.
// Errors      create -> invalid_argument, no_memory. plan -> kTooManyRows, kTooManyBuckets when
//             the columns or buckets are more than the planner was made for; its last results
//             stand then.
// Cost        bench/sched/plan_bench.cpp. Memory: 16 bytes a row, 4 a bucket, 256 KiB of counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include "sched/bucket_sort.hpp"
#include "sched/lead_time_columns.hpp"
#include "shm/base/result.hpp"

namespace mesh::sched {

// scheduled + late + invalid + not_targeted == rows. far: how many of these took the exact path.
struct PlanCounts {
  std::uint32_t scheduled = 0;
  std::uint32_t late = 0;
  std::uint32_t invalid = 0;
  std::uint32_t not_targeted = 0;
  std::uint32_t far = 0;
};

enum class PlanOutcome : std::uint8_t { kPlanned, kTooManyRows, kTooManyBuckets };

class SendPlanner {
 public:
  [[nodiscard]] static Result<SendPlanner> create(std::uint32_t row_limit,
                                                  std::uint32_t bucket_limit = kMaxBuckets);

  // `order`: rows indexed by station, or empty for row order.
  [[nodiscard]] PlanOutcome plan(const PlanParameters& parameters, const ImpedanceColumns& columns,
                                 std::span<const std::uint32_t> order) noexcept;

  [[nodiscard]] const PlanCounts& counts() const noexcept { return counts_; }
  [[nodiscard]] const BucketSorter& buckets() const noexcept { return sorter_; }
  [[nodiscard]] std::span<const std::int32_t> lead() const noexcept { return {lead_.get(), rows_}; }
  // By the calibrated model the lead without its residual, by the nominal one the lead itself.
  [[nodiscard]] std::span<const std::int32_t> base() const noexcept {
    return {has_base_ ? base_.get() : lead_.get(), rows_};
  }
  [[nodiscard]] std::span<const std::uint16_t> confidence() const noexcept {
    return {confidence_.get(), rows_};
  }
  [[nodiscard]] std::span<const std::uint16_t> key() const noexcept { return {key_.get(), rows_}; }

 private:
  struct Free {
    void operator()(void* memory) const noexcept { std::free(memory); }
  };
  template <class T>
  using Column = std::unique_ptr<T[], Free>;
  template <class T>
  static Column<T> column(std::uint32_t rows) noexcept;

  explicit SendPlanner(BucketSorter sorter) noexcept : sorter_(std::move(sorter)) {}

  BucketSorter sorter_;
  std::size_t rows_ = 0;
  bool has_base_ = false;
  PlanCounts counts_;
  Column<std::int32_t> lead_;
  Column<std::int32_t> base_;
  Column<std::uint16_t> confidence_;
  Column<std::uint16_t> key_;
};

}  // namespace mesh::sched
