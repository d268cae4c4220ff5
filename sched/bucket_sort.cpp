#include "sched/bucket_sort.hpp"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "shm/base/assert.hpp"

namespace mesh::sched {
namespace {

struct RowOrder {
  std::uint32_t operator[](std::size_t i) const noexcept { return static_cast<std::uint32_t>(i); }
};

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
    sorter.places_ = std::make_unique<std::uint32_t[]>(kKeys);
  } catch (const std::bad_alloc&) {
    return fail(Errc::no_memory, "bucket sorter: no memory for " + std::to_string(row_limit) +
                                     " rows and " + std::to_string(bucket_limit) + " buckets");
  }
  return sorter;
}

// Most rows have one key: then neither counting nor placing them waits, row after row, for the same
// counter to come back from the store before.
bool BucketSorter::is_dominated(std::span<const std::uint16_t> keys) noexcept {
  constexpr std::size_t kSamples = 16;
  if (keys.size() < 4 * kSamples) return false;
  const std::size_t step = keys.size() / kSamples;
  const std::uint16_t middle = keys[keys.size() / 2];
  std::size_t same = 0;
  for (std::size_t i = 0; i < kSamples; ++i) same += keys[i * step] == middle ? 1U : 0U;
  return same >= kSamples * 3 / 4;
}

void BucketSorter::count(std::span<const std::uint16_t> keys, bool dominated) noexcept {
  std::uint32_t* const places = places_.get();
  std::fill_n(places, bucket_count_, 0U);
  std::fill(places + kKeyFirstReserved, places + kKeys, 0U);
  if (!dominated) {
    for (const std::uint16_t key : keys) ++places[key];
    return;
  }
  for (std::size_t i = 0; i < keys.size();) {
    const std::uint16_t key = keys[i];
    const std::size_t end = end_of_run(keys, i);
    places[key] += static_cast<std::uint32_t>(end - i);
    i = end;
  }
}

// The first place after `at` with another key than that of `at`.
std::size_t BucketSorter::end_of_run(std::span<const std::uint16_t> keys, std::size_t at) noexcept {
  constexpr std::size_t kBlock = 64;
  const std::uint16_t key = keys[at];
  for (++at; at + kBlock <= keys.size(); at += kBlock) {
    std::uint16_t differ = 0;
    for (std::size_t i = 0; i < kBlock; ++i)
      differ = static_cast<std::uint16_t>(differ | (keys[at + i] ^ key));
    if (differ != 0) break;
  }
  while (at != keys.size() && keys[at] == key) ++at;
  return at;
}

template <class Order>
void BucketSorter::sort_in(std::span<const std::uint16_t> keys, const Order& order) noexcept {
  const bool dominated = is_dominated(keys);
  count(keys, dominated);
  std::uint32_t* const places = places_.get();
  const bool is_one_key = dominated && places[keys[0]] == keys.size();

  // Counts become the places where each key's rows start.
  std::uint32_t next = 0;
  for (std::uint32_t key = 0; key < bucket_count_; ++key) {
    offsets_[key] = next;
    next += std::exchange(places[key], next);
  }
  offsets_[bucket_count_] = next;
  for (std::uint32_t reason = 0; reason < kReserved; ++reason) {
    reserved_[reason] = next;
    next += std::exchange(places[kKeyFirstReserved + reason], next);
  }
  reserved_[kReserved] = next;
  MESH_ASSERT(next == keys.size());  // else some key is neither a bucket nor a reason

  std::uint32_t* const rows = rows_.get();
  if (!dominated) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const std::uint32_t row = order[i];
      rows[places[keys[row]]++] = row;
    }
    return;
  }
  if (is_one_key) {
    for (std::size_t i = 0; i < keys.size(); ++i) rows[i] = order[i];
    return;
  }
  std::uint16_t key = keys[order[0]];
  std::uint32_t place = places[key];
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::uint32_t row = order[i];
    if (keys[row] != key) {
      places[key] = place;
      key = keys[row];
      place = places[key];
    }
    rows[place++] = row;
  }
}

void BucketSorter::sort(std::span<const std::uint16_t> keys, std::uint32_t bucket_count,
                        std::span<const std::uint32_t> order) noexcept {
  MESH_ASSERT(keys.size() <= row_limit_);
  MESH_ASSERT(bucket_count <= bucket_limit_);
  MESH_ASSERT(order.empty() || order.size() == keys.size());
  bucket_count_ = bucket_count;
  if (order.empty()) {
    sort_in(keys, RowOrder{});
  } else {
    sort_in(keys, order);
  }
}

}  // namespace mesh::sched
