#include "sched/send_plan.hpp"

#include <string>
#include <utility>

#include "shm/base/assert.hpp"

namespace mesh::sched {

template <class T>
SendPlanner::Column<T> SendPlanner::column(std::uint32_t rows) noexcept {
  const std::size_t bytes = (rows * sizeof(T) / kPlanAlignment + 1) * kPlanAlignment;
  return Column<T>(static_cast<T*>(std::aligned_alloc(kPlanAlignment, bytes)));
}

Result<SendPlanner> SendPlanner::create(std::uint32_t row_limit, std::uint32_t bucket_limit) {
  MESH_TRY(BucketSorter sorter, BucketSorter::create(row_limit, bucket_limit));
  SendPlanner planner(std::move(sorter));
  planner.lead_ = column<std::int32_t>(row_limit);
  planner.base_ = column<std::int32_t>(row_limit);
  planner.confidence_ = column<std::uint16_t>(row_limit);
  planner.key_ = column<std::uint16_t>(row_limit);
  if (!planner.lead_ || !planner.base_ || !planner.confidence_ || !planner.key_) {
    return fail(Errc::no_memory,
                "send planner: no memory for " + std::to_string(row_limit) + " rows");
  }
  return planner;
}

PlanOutcome SendPlanner::plan(const PlanParameters& parameters, const ImpedanceColumns& columns,
                              std::span<const std::uint32_t> order) noexcept {
  if (columns.rows > sorter_.row_limit()) return PlanOutcome::kTooManyRows;
  if (parameters.bucket_count > sorter_.bucket_limit()) return PlanOutcome::kTooManyBuckets;
  const PlanColumns out{lead_.get(), confidence_.get(), key_.get(), base_.get()};
  rows_ = columns.rows;
  has_base_ = parameters.request.model == Model::kCalibrated;
  plan_columns(parameters, columns, out);
  counts_.far = resolve_far(parameters, columns, out);
  sorter_.sort(key(), parameters.bucket_count, order);
  counts_.scheduled = static_cast<std::uint32_t>(sorter_.scheduled().size());
  counts_.late = static_cast<std::uint32_t>(sorter_.late().size());
  counts_.invalid = static_cast<std::uint32_t>(sorter_.invalid().size());
  counts_.not_targeted = static_cast<std::uint32_t>(sorter_.not_targeted().size());
  MESH_ASSERT(sorter_.far().empty());
  MESH_ASSERT(counts_.scheduled + counts_.late + counts_.invalid + counts_.not_targeted ==
              columns.rows);
  return PlanOutcome::kPlanned;
}

}  // namespace mesh::sched
