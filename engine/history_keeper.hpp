// HistoryKeeper: what a mesh was, for trends (mesh.md part 10): a point a minute for each cluster
// that has agents, and the result of each operation, brought to the store in batches.
//
//     loop ── take() ─▶ queue ─┐
//     table, once a minute ────┴─▶ turn(): a batch ─▶ store
//
// It promises nothing durable: what finds no store waits, up to a bound, and then the oldest goes,
// counted. Nobody waits for it but conflicts, which share its thread: a batch is small.
//
// Callers     take: the scheduler thread. turn, finish: the conflict office's thread. status: any.
// Progress    take: lock-free, allocates nothing. turn: blocking, at most one batch of each kind.
// Ordering    results reach the store in their order; one that is noted again is kept once.
// Units       minutes since 1970 of the wall clock: HostTime + unix_offset_ns.
// If the      store fails: the batch waits, and is tried again after retry.
// other side  process dies: what was not in the store yet is gone; the minute's points are made
// dies        again by the next engine, and kept once.
// Errors      create -> invalid_argument: it would keep nothing; as HealthView.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/health/health_view.hpp"
#include "engine/history_options.hpp"
#include "engine/memory_map.hpp"
#include "engine/result_note.hpp"
#include "engine/store/store.hpp"
#include "queues/local/hand_over.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

struct HistoryStatus {
  std::uint64_t points = 0;  // stored by this engine
  std::uint64_t results = 0;
  std::uint64_t points_lost = 0;  // they waited too long for a store
  std::uint64_t results_lost = 0;
  std::uint64_t results_refused = 0;  // the queue was full
  std::uint64_t waiting = 0;          // for the store, now
  std::uint64_t trimmed = 0;
  std::string last_failure{};
};

class HistoryKeeper final : public ResultSink {
 public:
  struct Over {
    MeshSize size;
    std::span<const std::byte> table;
    std::int64_t unix_offset_ns = 0;
  };
  static Result<std::unique_ptr<HistoryKeeper>> create(const HistoryOptions& options,
                                                       const Over& over);

  bool take(const ResultNote& note) noexcept override;
  struct Turned {
    bool worked = false;            // there may be more to do at once
    std::optional<Error> failed{};  // of the store
  };
  // `store` is null while it is down.
  Turned turn(Store* store, HostTime now);
  // All that waits, as far as the store takes it.
  void finish(Store* store, HostTime now);
  [[nodiscard]] HistoryStatus status() const;

 private:
  HistoryKeeper(const HistoryOptions& options, health::HealthView view,
                std::int64_t unix_offset_ns);
  [[nodiscard]] std::int64_t minute_of(HostTime at) const noexcept;
  void look(HostTime now);
  void take_results();
  [[nodiscard]] bool is_due(HostTime now) const noexcept;
  Status bring_results(Store& store);
  Status bring_points(Store& store);
  Status trim(Store& store, HostTime now);
  void note_status();

  HistoryOptions options_;
  health::HealthView view_;
  std::int64_t unix_offset_ns_;
  queues::local::HandOver<ResultNote> notes_;
  std::deque<OperationResult> results_;  // taken, not yet stored
  std::deque<HistoryPoint> points_;
  HostTime results_since_{};             // when the oldest of them was taken
  std::vector<std::int64_t> minute_of_;  // by cluster: the last of which it has a point
  HostTime looked_{};
  HostTime retry_at_{};
  HostTime trim_at_{};
  std::atomic<std::uint64_t> refused_{0};
  HistoryStatus counted_;
  mutable std::mutex mutex_;  // of status_
  HistoryStatus status_;
};

}  // namespace mesh::engine
