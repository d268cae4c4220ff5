// Recorder: takes records from the mesh and makes them durable, and never makes the mesh wait.
//
//              offer()                    append()
//   any thread ──────▶ queue ──▶ turn() ──────────▶ store         what came meanwhile: one commit
//                                  │  store down or full
//                                  ├──▶ spill file                 fdatasync, then the same promise
//                                  └◀── catch-up, in order, once the store is back
//
// A record is durable when its store committed it or its spill file was synced, and only then is
// its ticket given to on_durable. Catch-up may send a record twice; the store keeps it once.
//
// Callers     offer: any thread. turn: one thread (engine/store/recorder_thread.hpp). status: any.
// Progress    offer: lock-free; it moves the record and allocates nothing. turn: blocking.
// Ordering    of one Lane: records reach the store in the order of their offers. While anything
//             waits in the spill file, newer records go behind it.
// Units       records; Nanos of whatever clock turn() is given.
// If the      store fails: records go to the spill file, an alarm is raised, opening is tried again
// other side  after retry_first, then twice as long each time up to retry_max.
// dies,       spill file is full as well: what was taken stays in memory, the queue fills, and
// or lies     offer answers kFull: refused, counted, never dropped.
//             process dies: what on_durable has named is there, once; the rest is there or not.
// Errors      kFull, kInvalid (offer). create -> errors of the spill file; a store that is down is
//             none.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/store/spill_file.hpp"
#include "engine/store/store.hpp"
#include "queues/local/hand_over.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::engine {

struct Offered {
  Record record;
  std::uint64_t ticket = 0;  // the caller's own; given back by on_durable
};

enum class OfferStatus : std::uint8_t { kTaken, kFull, kInvalid };

enum class RecorderAlarm : std::uint8_t { store_down, store_back, spill_full, spill_damaged };

// Where a death is tried besides the steps of store and spill file.
enum class RecorderStep : std::uint8_t { before_write, before_acknowledge, in_catch_up };

struct RecorderOptions {
  std::function<Result<std::unique_ptr<Store>>()> open_store;
  SpillOptions spill;
  std::size_t queue_records = 16'384;  // about 270 bytes each, for each lane and one more
  std::size_t lanes = 2;
  std::size_t other_threads = 2;
  std::size_t group_records_max = 1'024;
  Nanos retry_first{100 * kNsPerMs};
  Nanos retry_max{10 * kNsPerSecond};
  // All on the thread that calls turn().
  std::function<void(std::uint64_t ticket)> on_durable{};
  std::function<void(RecorderAlarm, const std::string& sentence)> on_alarm{};
  std::function<void(RecorderStep)> at_step{};
};
inline constexpr std::size_t kGroupBytesMax = 4U << 20;

struct RecorderStatus {
  std::uint64_t durable = 0;    // acknowledged
  std::uint64_t refused = 0;    // kFull
  std::uint64_t stored = 0;     // in the store by this recorder, caught up ones included
  std::uint64_t spilled = 0;    // went through the spill file
  std::uint64_t repeated = 0;   // were in the store already
  std::uint64_t groups = 0;     // commits
  std::uint64_t failures = 0;   // of the store: to open or to append
  std::uint64_t waiting = 0;    // in the spill file, now
  std::uint64_t in_memory = 0;  // taken and not yet durable, besides the queue
  std::uint64_t spill_bytes = 0;
  std::uint64_t spill_bytes_max = 0;
  bool is_store_up = false;
  std::string last_failure{};
};

class Recorder {
 public:
  static Result<std::unique_ptr<Recorder>> create(RecorderOptions options);
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // kTaken moves the record away; refused, it is still the caller's.
  [[nodiscard]] OfferStatus offer(Offered& offered) noexcept;
  [[nodiscard]] OfferStatus offer(Offered&& offered) noexcept { return offer(offered); }

  // One step: what is queued becomes durable, what waits catches up by one group. True: there may
  // be more to do at once.
  bool turn(HostTime now);
  // Of the thread that calls turn(): somebody else found that the store is gone.
  void store_failed(HostTime now, const Error& error) {
    if (store_ != nullptr) lose_store(now, error);
  }
  // Taken and not durable yet: queued or in memory. Of the thread that calls turn().
  [[nodiscard]] std::size_t unsettled() const noexcept;
  // Durable in the spill file and not in the store yet. Of the same thread.
  [[nodiscard]] std::size_t waiting() const noexcept { return spill_.waiting() - caught_up_; }

  [[nodiscard]] RecorderStatus status() const;
  [[nodiscard]] Store* store() noexcept { return store_.get(); }  // null while it is down

 private:
  Recorder(RecorderOptions options, SpillFile spill);

  void take();
  bool settle(HostTime now);
  bool store_group(HostTime now);
  bool spill_group();
  void acknowledge(std::size_t count);
  bool catch_up(HostTime now);
  bool open_store(HostTime now);
  void lose_store(HostTime now, const Error& error);
  void store_works();
  void drained();
  void alarm(RecorderAlarm what, const std::string& sentence);
  void note(const std::function<void(RecorderStatus&)>& change);
  void reached(RecorderStep step) const {
    if (options_.at_step) options_.at_step(step);
  }

  RecorderOptions options_;
  queues::local::HandOver<Offered> queue_;
  std::atomic<std::uint64_t> refused_{0};
  SpillFile spill_;
  std::size_t caught_up_ = 0;  // of spill_'s records: are in the store
  std::unique_ptr<Store> store_;
  std::vector<Record> group_;  // taken, not yet durable; tickets_ beside it
  std::vector<std::uint64_t> tickets_;
  HostTime retry_at_{};
  Nanos retry_after_;
  bool is_down_ = false;  // the alarm was raised
  bool is_full_ = false;
  mutable std::mutex mutex_;  // of status_
  RecorderStatus status_;
};

}  // namespace mesh::engine
