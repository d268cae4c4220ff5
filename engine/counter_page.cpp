#include "engine/counter_page.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/memory_map.hpp"
#include "shm/hash.hpp"
#include "shm/row_seqlock.hpp"

namespace mesh::engine {
namespace {

enum Head : std::size_t { kSequence = 0, kAt, kHash, kCount, kHourFrom };

constexpr std::size_t words_for(std::size_t counters) { return kCounterHeadWords + 2 * counters; }
static_assert(words_for(kSchedulerCounters.size()) <= kCountersPerThread);
static_assert(words_for(kControlCounters.size()) <= kCountersPerThread);

std::uint64_t hash_of(const std::vector<CounterDescription>& rows) {
  std::string text;
  for (const CounterDescription& row : rows) {
    text.append(row.label).append("\t").append(row.unit).append("\n");
  }
  return shm::hash64(text);
}

// SYNC counters.word release: whoever sees this value sees that the page is being written.
void put(CounterWord& word, std::uint64_t value) noexcept { word.store_release(value); }
// SYNC counters.word acquire: pairs with put().
std::uint64_t get(const CounterWord& word) noexcept { return word.load_acquire(); }

}  // namespace

std::vector<CounterDescription> counters_of(std::string_view thread) {
  std::vector<CounterDescription> rows;
  if (thread == "scheduler") {
    for (const SchedulerCounter& one : kSchedulerCounters) rows.push_back(one.says);
  } else if (thread == "control") {
    rows.assign(kControlCounters.begin(), kControlCounters.end());
  }
  return rows;
}

Result<CounterPage> CounterPage::over(const shm::Layout& table, std::span<std::byte> bytes,
                                      std::string_view thread) {
  CounterPage page;
  MESH_TRY(page.words_, table.array<CounterWord>(bytes, std::string("counters.").append(thread)));
  const std::vector<CounterDescription> rows = counters_of(thread);
  page.hash_ = hash_of(rows);
  page.base_.resize(rows.size());
  page.sums_.resize(rows.size());
  page.minutes_.resize(kHourMinutes + 1);
  for (Minute& minute : page.minutes_) minute.values.resize(rows.size());
  // relaxed, all: its writer is dead, or nobody has written it.
  const bool is_ours =
      page.words_[kSequence].load_relaxed() != 0 && page.words_[kHash].load_relaxed() == page.hash_;
  for (std::size_t i = 0; is_ours && i < rows.size(); ++i) {
    if (rows[i].kind != CounterKind::total) continue;
    page.base_[i] = page.words_[kCounterHeadWords + i].load_relaxed();  // relaxed: as above
  }
  return page;
}

// The newest minute that is an hour old; before there is one, the oldest.
const CounterPage::Minute& CounterPage::an_hour_ago(HostTime now) noexcept {
  const auto keep = [&](const std::vector<std::uint64_t>& sums) {
    Minute& minute = minutes_[minute_++ % minutes_.size()];
    minute.at = now;
    std::copy(sums.begin(), sums.end(), minute.values.begin());
  };
  if (minute_ == 0) {
    keep(base_);  // what this engine counts from its first moment on belongs to the hour
  } else if (now - minutes_[(minute_ - 1) % minutes_.size()].at >= kMinute) {
    keep(sums_);
  }
  const std::uint64_t first = minute_ - std::min<std::uint64_t>(minute_, minutes_.size());
  const Minute* found = &minutes_[first % minutes_.size()];
  for (std::uint64_t at = first; at < minute_; ++at) {
    const Minute& minute = minutes_[at % minutes_.size()];
    if (now - minute.at < kHourMinutes * kMinute) break;
    found = &minute;
  }
  return *found;
}

void CounterPage::publish(std::span<const std::uint64_t> values, HostTime now) noexcept {
  const std::size_t count = std::min(values.size(), base_.size());
  for (std::size_t i = 0; i < count; ++i) sums_[i] = base_[i] + values[i];
  const Minute& hour = an_hour_ago(now);
  // relaxed, both: this thread alone writes it; what follows is stored with release.
  const std::uint64_t odd = words_[kSequence].load_relaxed() | 1U;
  words_[kSequence].store_relaxed(odd);
  put(words_[kAt], static_cast<std::uint64_t>(to_ns(now)));
  put(words_[kHash], hash_);
  put(words_[kCount], base_.size());
  put(words_[kHourFrom], static_cast<std::uint64_t>(to_ns(hour.at)));
  for (std::size_t i = 0; i < count; ++i) {
    put(words_[kCounterHeadWords + i], sums_[i]);
    put(words_[kCounterHeadWords + base_.size() + i], hour.values[i]);
  }
  // SYNC counters.stable release: who sees this number sees every word stored above.
  words_[kSequence].store_release(odd + 1);
}

std::uint64_t CounterPage::in_last_hour(std::size_t counter) const noexcept {
  // relaxed, both: this thread alone writes them.
  const std::uint64_t now = words_[kCounterHeadWords + counter].load_relaxed();
  const std::uint64_t then =
      words_[kCounterHeadWords + base_.size() + counter].load_relaxed();  // relaxed: as above
  return now - then;
}

Result<CounterView> CounterView::over(const shm::Layout& table, std::span<const std::byte> bytes,
                                      std::string_view thread) {
  CounterView view;
  MESH_TRY(view.words_, table.array<CounterWord>(bytes, std::string("counters.").append(thread)));
  view.rows_ = counters_of(thread);
  view.thread_ = thread;
  return view;
}

Result<CounterReading> CounterView::read() const {
  CounterReading reading;
  reading.values.resize(rows_.size());
  reading.hour_ago.resize(rows_.size());
  std::uint64_t hash = 0;
  reading.is_whole = false;
  for (unsigned attempt = 0; attempt < shm::kReadAttempts && !reading.is_whole; ++attempt) {
    // SYNC counters.stable acquire: pairs with publish().
    const std::uint64_t before = words_[kSequence].load_acquire();
    if (before == 0) {
      return fail(Errc::not_ready,
                  "counters of the " + std::string(thread_) + " thread: nobody has written them");
    }
    reading.at = from_ns(static_cast<std::int64_t>(get(words_[kAt])));
    reading.hour_from = from_ns(static_cast<std::int64_t>(get(words_[kHourFrom])));
    hash = get(words_[kHash]);
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      reading.values[i] = get(words_[kCounterHeadWords + i]);
      reading.hour_ago[i] = get(words_[kCounterHeadWords + rows_.size() + i]);
    }
    // relaxed: after acquire loads, which nothing overtakes.
    reading.is_whole = words_[kSequence].load_relaxed() == before && (before & 1U) == 0;
  }
  if (hash == hash_of(rows_)) return reading;
  return fail(Errc::layout_mismatch, "counters of the " + std::string(thread_) +
                                         " thread: the engine has other ones than this program");
}

}  // namespace mesh::engine
