#include "engine/history_keeper.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace mesh::engine {
namespace {

constexpr std::size_t kBatch = 256;
constexpr std::int64_t kMinuteNs = 60 * kNsPerSecond;
constexpr Nanos kLookEvery{kNsPerSecond};
constexpr std::int64_t kDayMinutes = 24 * 60;
constexpr std::uint32_t kTrimmedAtOnce = 2'000;
constexpr Nanos kTrimAgain{kNsPerSecond};  // while there is more to go

double in_units(std::uint32_t value, std::uint32_t unit) {
  return static_cast<double>(value) / static_cast<double>(unit);
}

template <class T>
std::vector<T> first_of(const std::deque<T>& waiting) {
  const auto count = static_cast<std::ptrdiff_t>(std::min(waiting.size(), kBatch));
  return {waiting.begin(), waiting.begin() + count};
}

template <class T>
std::uint64_t drop_oldest(std::deque<T>& waiting, std::size_t most) {
  std::uint64_t dropped = 0;
  for (; waiting.size() > most; ++dropped) waiting.pop_front();
  return dropped;
}

}  // namespace

HistoryKeeper::HistoryKeeper(const HistoryOptions& options, health::HealthView view,
                             std::int64_t unix_offset_ns)
    : options_(options),
      view_(std::move(view)),
      unix_offset_ns_(unix_offset_ns),
      notes_(options.queue_results, 1, 1),
      minute_of_(view_.clusters(), -1) {}

Result<std::unique_ptr<HistoryKeeper>> HistoryKeeper::create(const HistoryOptions& options,
                                                             const Over& over) {
  if (options.history_days < kHistoryMinutes / kDayMinutes || options.results_days < 1 ||
      options.results_max == 0 || options.queue_results == 0)
    return fail(Errc::invalid_argument,
                "history: it is kept for " + std::to_string(options.history_days) +
                    " days, at least " + std::to_string(kHistoryMinutes / kDayMinutes) +
                    "; results for a day or more, and at least one of them");
  MESH_TRY(const shm::Layout layout, table_layout(over.size));
  MESH_TRY(health::HealthView view, health::HealthView::over(layout, over.table));
  return std::unique_ptr<HistoryKeeper>(
      new HistoryKeeper(options, std::move(view), over.unix_offset_ns));
}

bool HistoryKeeper::take(const ResultNote& note) noexcept {
  if (notes_.try_push(note)) return true;
  refused_.fetch_add(1, std::memory_order_relaxed);  // relaxed: it stands alone
  return false;
}

std::int64_t HistoryKeeper::minute_of(HostTime at) const noexcept {
  return (to_ns(at) + unix_offset_ns_) / kMinuteNs;
}

// A minute's point is what stands at the first look at which somebody is there. The first minute,
// which the engine did not see whole, has one as well: a successor's does not replace it.
void HistoryKeeper::look(HostTime now) {
  const std::int64_t minute = minute_of(now);
  if (now - looked_ < kLookEvery && minute_of(looked_) == minute) return;
  const auto mesh = view_.mesh();
  if (!mesh || mesh->summary.agents == 0) return;  // nobody was summarized yet: in a moment
  looked_ = now;
  for (std::uint32_t number = 0; number < view_.clusters(); ++number) {
    if (minute_of_[number] == minute) continue;
    const auto cluster = view_.cluster(number);
    if (!cluster || cluster->summary.agents == 0) continue;
    minute_of_[number] = minute;
    const health::ClusterSummary& seen = cluster->summary;
    points_.push_back({.cluster = number,
                       .minute = minute,
                       .agents = seen.agents,
                       .active = seen.active,
                       .score_mean = in_units(seen.mean, health::kMeanUnit),
                       .score_p95 = in_units(seen.p95, health::kP95Unit)});
  }
  counted_.points_lost += drop_oldest(points_, options_.points_max);
}

void HistoryKeeper::take_results() {
  std::array<ResultNote, 64> some{};
  for (std::size_t count = some.size(); count == some.size();) {
    count = notes_.pop(some);
    const auto wall = [this](HostTime at) {
      return static_cast<WireTime>(to_ns(at) == 0 ? 0 : to_ns(at) + unix_offset_ns_);
    };
    for (std::size_t i = 0; i < count; ++i) {
      const ResultNote& note = some[i];
      if (results_.empty()) results_since_ = note.ended;
      results_.push_back({.id = note.message,
                          .source = note.source,
                          .kind = static_cast<std::uint8_t>(note.kind),
                          .strategy = note.strategy,
                          .verdict = static_cast<std::uint8_t>(note.verdict),
                          .opened = wall(note.opened),
                          .ended = wall(note.ended),
                          .target = wall(note.target),
                          .targeted = note.targeted,
                          .sent = note.sent,
                          .ready = note.ready,
                          .conflict = note.conflict,
                          .error_p50_ns = note.error_p50_ns,
                          .error_p99_ns = note.error_p99_ns});
    }
  }
  counted_.results_lost += drop_oldest(results_, options_.queue_results);
}

bool HistoryKeeper::is_due(HostTime now) const noexcept {
  return results_.size() >= kBatch || now - results_since_ >= options_.linger;
}

Status HistoryKeeper::bring_results(Store& store) {
  const std::vector<OperationResult> some = first_of(results_);
  MESH_CHECK_OK(store.append_results(some));
  results_.erase(results_.begin(), results_.begin() + static_cast<std::ptrdiff_t>(some.size()));
  counted_.results += some.size();
  return {};
}

Status HistoryKeeper::bring_points(Store& store) {
  const std::vector<HistoryPoint> some = first_of(points_);
  MESH_CHECK_OK(store.append_history(some));
  points_.erase(points_.begin(), points_.begin() + static_cast<std::ptrdiff_t>(some.size()));
  counted_.points += some.size();
  return {};
}

Status HistoryKeeper::trim(Store& store, HostTime now) {
  const auto gone = store.trim({.history_minutes = options_.history_days * kDayMinutes,
                                .results_ns = options_.results_days * kDayMinutes * kMinuteNs,
                                .results_max = options_.results_max,
                                .most = kTrimmedAtOnce});
  if (!gone) return tl::unexpected(gone.error());
  counted_.trimmed += gone->points + gone->results;
  const bool has_more = gone->points == kTrimmedAtOnce || gone->results == kTrimmedAtOnce;
  trim_at_ = now + (has_more ? kTrimAgain : options_.trim_every);
  return {};
}

HistoryKeeper::Turned HistoryKeeper::turn(Store* store, HostTime now) {
  Turned turned;
  look(now);
  take_results();
  if (store != nullptr && now >= retry_at_) {
    Status done;
    if (!results_.empty() && is_due(now)) {
      done = bring_results(*store);
      turned.worked = true;
    }
    if (done && !points_.empty()) {
      done = bring_points(*store);
      turned.worked = true;
    }
    if (done && now >= trim_at_) done = trim(*store, now);
    if (!done) {
      retry_at_ = now + options_.retry;
      counted_.last_failure = done.error().sentence;
      turned = {.worked = false, .failed = done.error()};
    }
  }
  note_status();
  return turned;
}

void HistoryKeeper::finish(Store* store, HostTime now) {
  look(now);
  take_results();
  while (store != nullptr && !results_.empty() && bring_results(*store)) {
  }
  while (store != nullptr && !points_.empty() && bring_points(*store)) {
  }
  note_status();
}

void HistoryKeeper::note_status() {
  counted_.waiting = results_.size() + points_.size();
  const std::lock_guard lock(mutex_);
  status_ = counted_;
}

HistoryStatus HistoryKeeper::status() const {
  const std::lock_guard lock(mutex_);
  HistoryStatus status = status_;
  status.results_refused = refused_.load(std::memory_order_relaxed);  // relaxed: it stands alone
  return status;
}

}  // namespace mesh::engine
