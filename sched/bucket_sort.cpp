#include "sched/bucket_sort.hpp"

#include <algorithm>
#include <new>
#include <string>

#include "shm/base/assert.hpp"

namespace mesh::sched {
namespace {

struct RowOrder {
  std::uint32_t operator[](std::size_t i) const noexcept { return static_cast<std::uint32_t>(i); }
};

// Both halves step together; where the number is odd the second has one more.
template <class Order, class Front, class Back>
void for_halves(std::size_t size, const Order& order, Front front, Back back) noexcept {
  const std::size_t half = size / 2;
  for (std::size_t i = 0; i < half; ++i) {
    front(order[i]);
    back(order[half + i]);
  }
  if (size % 2 != 0) back(order[size - 1]);
}

}  // namespace

Result<BucketSorter> BucketSorter::create(std::uint32_t row_limit, std::uint32_t bucket_limit) {
  if (row_limit > kMaxAgents) {
    return fail(Errc::invalid_argument,
                "bucket sorter: " + std::to_string(row_limit) + " rows asked for, the limit is " +
                    std::to_string(kMaxAgents),
                kMaxAgents);
  }
  if (bucket_limit == 0 || bucket_limit > kMaxBuckets) {
    return fail(Errc::invalid_argument,
                "bucket sorter: " + std::to_string(bucket_limit) +
                    " buckets asked for, it must be 1 to " + std::to_string(kMaxBuckets),
                kMaxBuckets);
  }
  BucketSorter sorter;
  sorter.row_limit_ = row_limit;
  sorter.bucket_limit_ = bucket_limit;
  try {
    sorter.offsets_ = std::make_unique<std::uint32_t[]>(bucket_limit + 1);
    sorter.rows_ = std::make_unique<std::uint32_t[]>(std::max(row_limit, 1U));
    sorter.front_ = std::make_unique<std::uint32_t[]>(kKeys);
    sorter.back_ = std::make_unique<std::uint32_t[]>(kKeys);
  } catch (const std::bad_alloc&) {
    return fail(Errc::no_memory, "bucket sorter: no memory for " + std::to_string(row_limit) +
                                     " rows and " + std::to_string(bucket_limit) + " buckets");
  }
  return sorter;
}

void BucketSorter::count(std::span<const std::uint16_t> keys,
                         std::span<const std::uint32_t> order) noexcept {
  for (std::uint32_t* counts : {front_.get(), back_.get()}) {
    std::fill_n(counts, bucket_count_, 0U);
    std::fill(counts + kKeyFirstReserved, counts + kKeys, 0U);
  }
  const auto front = [&](std::uint32_t row) { ++front_[keys[row]]; };
  const auto back = [&](std::uint32_t row) { ++back_[keys[row]]; };
  if (order.empty()) {
    for_halves(keys.size(), RowOrder{}, front, back);
  } else {
    for_halves(keys.size(), order, front, back);
  }
}

// Turns the counts of one key into the places of its rows: the first half's before the second's
// keeps it stable.
std::uint32_t BucketSorter::place(std::uint32_t key, std::uint32_t next) noexcept {
  const std::uint32_t in_front = front_[key];
  const std::uint32_t in_back = back_[key];
  front_[key] = next;
  back_[key] = next + in_front;
  return next + in_front + in_back;
}

void BucketSorter::sort(std::span<const std::uint16_t> keys, std::uint32_t bucket_count,
                        std::span<const std::uint32_t> order) noexcept {
  MESH_ASSERT(keys.size() <= row_limit_);
  MESH_ASSERT(bucket_count <= bucket_limit_);
  MESH_ASSERT(order.empty() || order.size() == keys.size());
  bucket_count_ = bucket_count;
  count(keys, order);

  std::uint32_t next = 0;
  for (std::uint32_t key = 0; key < bucket_count; ++key) {
    offsets_[key] = next;
    next = place(key, next);
  }
  offsets_[bucket_count] = next;
  for (std::uint32_t reason = 0; reason < kReserved; ++reason) {
    reserved_[reason] = next;
    next = place(kKeyFirstReserved + reason, next);
  }
  reserved_[kReserved] = next;
  MESH_ASSERT(next == keys.size());  // else some key is neither a bucket nor a reason

  std::uint32_t* const rows = rows_.get();
  const auto front = [&](std::uint32_t row) { rows[front_[keys[row]]++] = row; };
  const auto back = [&](std::uint32_t row) { rows[back_[keys[row]]++] = row; };
  if (order.empty()) {
    for_halves(keys.size(), RowOrder{}, front, back);
  } else {
    for_halves(keys.size(), order, front, back);
  }
}

}  // namespace mesh::sched
