// BackupKeeper: makes backups of a running mesh on a thread of its own: on a schedule, and when
// somebody asks. What came of the last one stands in the mesh's directory, for who asks no engine.
//
// Callers     create, start, stop: the engine's own. post, status: any thread.
// Progress    the scheduler's thread is never asked for anything: tables are read from outside, the
//             store is copied while it is written.
// Ordering    one backup at a time, asked-for ones in their order.
// If the      dies in between: engine/backup/backup.hpp. It stops first: the backup that is being
// engine      made is given up, and nobody is told.
// dies
// Errors      create -> invalid_config: a schedule without a directory. Those of a backup go to who
//             asked, and into the status.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "engine/backup/backup.hpp"
#include "engine/backup/backup_schedule.hpp"
#include "engine/backup/backup_status.hpp"
#include "engine/rules_keeper.hpp"

namespace mesh::engine {

class BackupKeeper {
 public:
  struct Of {
    TablesOf tables;
    const RulesKeeper* rules = nullptr;
    std::string store{};  // empty: none
    // Asked by the keeper's thread; empty: always. Until the store was opened once there is nothing
    // to copy: the first backup of the schedule waits for it, kStoreAwaited at most.
    std::function<bool()> is_store_up{};
    std::string mesh_directory{};  // where the status stands
  };
  static constexpr Nanos kStoreAwaited{10 * kNsPerSecond};
  static Result<std::unique_ptr<BackupKeeper>> create(const BackupOptions& options, Of of);
  ~BackupKeeper() { stop(); }
  BackupKeeper(const BackupKeeper&) = delete;
  BackupKeeper& operator=(const BackupKeeper&) = delete;

  void start();
  void stop();
  // Into this directory; empty: the configured one. `done` is called on the keeper's thread.
  using Done = std::function<void(const Result<BackupInfo>&)>;
  void post(std::string directory, Done done);
  // The same, in an emergency: where none is configured, the tables alone into kEmergencyFolder of
  // the mesh's directory, of which the last is kept, and which is no backup in status().
  void save_state(Done done);
  [[nodiscard]] BackupStatus status() const;

 private:
  BackupKeeper(const BackupOptions& options, Of of)
      : options_(options), of_(std::move(of)), schedule_(options.every, Nanos{0}, std::nullopt) {}
  struct Asked {
    std::string directory;
    Done done;                  // none: the schedule's
    bool is_emergency = false;  // without the store, and no backup of anybody's
  };
  void run();
  // Waits until there is something to do; nothing: to be stopped.
  std::optional<Asked> next();
  [[nodiscard]] bool is_store_awaited(std::unique_lock<std::mutex>& lock, Nanos now);
  Result<BackupInfo> make(const Asked& asked);
  void note(const Result<BackupInfo>& made, Nanos took);

  BackupOptions options_;
  Of of_;
  BackupSchedule schedule_;
  std::thread thread_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Asked> asked_;
  BackupStatus status_;
  bool stopping_ = false;
  std::optional<Nanos> store_awaited_until_;  // none: it was up once, or nobody waits any more
};

}  // namespace mesh::engine
