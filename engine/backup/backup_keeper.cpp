#include "engine/backup/backup_keeper.hpp"

#include <chrono>
#include <utility>

#include "engine/emergency.hpp"

namespace mesh::engine {
namespace {

constexpr std::chrono::milliseconds kStoreLookedAtEvery{20};

Nanos steady_now() {
  return std::chrono::duration_cast<Nanos>(std::chrono::steady_clock::now().time_since_epoch());
}
std::int64_t unix_now_ns() {
  return std::chrono::duration_cast<Nanos>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Result<std::unique_ptr<BackupKeeper>> BackupKeeper::create(const BackupOptions& options, Of of) {
  if (options.every < Nanos{0} || (options.every > Nanos{0} && options.directory.empty()))
    return fail(Errc::invalid_config, "backup: a schedule needs a directory to put backups into");
  std::unique_ptr<BackupKeeper> made(new BackupKeeper(options, std::move(of)));
  made->status_.directory = options.directory;
  made->status_.every = options.every;
  if (options.directory.empty()) return made;
  // Of a mesh that was there before, or an engine: what it says is taken at its word, not read.
  const std::vector<std::string> there = backups_in(options.directory);
  const auto newest = there.empty() ? Result<BackupInfo>(fail(Errc::not_found, "none"))
                                    : read_backup(there.front());
  std::optional<Nanos> age;
  if (newest) {
    made->status_.good_unix_ns = newest->created_unix_ns;
    made->status_.good_path = newest->path;
    made->status_.good_bytes = newest->size_bytes();
    age = Nanos{unix_now_ns() - newest->created_unix_ns};
  }
  made->schedule_ = BackupSchedule(options.every, steady_now(), age);
  return made;
}

void BackupKeeper::start() {
  if (thread_.joinable()) return;
  stopping_ = false;
  if (!of_.store.empty() && of_.is_store_up) store_awaited_until_ = steady_now() + kStoreAwaited;
  // Where it cannot be written the next attempt says so.
  static_cast<void>(write_status(of_.mesh_directory, status()));
  thread_ = std::thread([this] { run(); });
}

void BackupKeeper::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
  asked_.clear();
}

void BackupKeeper::post(std::string directory, Done done) {
  {
    const std::lock_guard lock(mutex_);
    if (directory.empty()) directory = options_.directory;
    asked_.push_back({std::move(directory), std::move(done), false});
  }
  wake_.notify_all();
}

void BackupKeeper::save_state(Done done) {
  if (!options_.directory.empty()) return post({}, std::move(done));
  {
    const std::lock_guard lock(mutex_);
    asked_.push_back({of_.mesh_directory + "/" + kEmergencyFolder, std::move(done), true});
  }
  wake_.notify_all();
}

BackupStatus BackupKeeper::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

// Without the lock while it asks: who answers has one of its own.
bool BackupKeeper::is_store_awaited(std::unique_lock<std::mutex>& lock, Nanos now) {
  if (!store_awaited_until_ || now >= *store_awaited_until_) return false;
  lock.unlock();
  const bool is_up = of_.is_store_up();
  lock.lock();
  if (is_up) store_awaited_until_.reset();
  return !is_up;
}

std::optional<BackupKeeper::Asked> BackupKeeper::next() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (stopping_) return std::nullopt;
    if (!asked_.empty()) {
      Asked asked = std::move(asked_.front());
      asked_.pop_front();
      return asked;
    }
    const Nanos now = steady_now();
    const bool is_due = schedule_.is_due(now);
    if (is_due && !is_store_awaited(lock, now)) return Asked{options_.directory, {}, false};
    if (is_due)
      wake_.wait_for(lock, kStoreLookedAtEvery);
    else if (schedule_.is_on())
      wake_.wait_for(lock, schedule_.due() - now);
    else
      wake_.wait(lock);
  }
}

void BackupKeeper::run() {
  while (auto asked = next()) {
    const Nanos start = steady_now();
    const Result<BackupInfo> made = make(*asked);
    const bool is_given_up = !made && made.error().code == Errc::cancelled;
    if (is_given_up) return;
    if (!asked->is_emergency) note(made, steady_now() - start);
    if (asked->done) asked->done(made);
  }
}

Result<BackupInfo> BackupKeeper::make(const Asked& asked) {
  const auto rules = of_.rules->rules();
  MESH_TRY(const KeptTables tables, keep_tables(of_.tables, *rules));
  return take_backup({.directory = asked.directory,
                      .store = asked.is_emergency ? std::string() : of_.store,
                      .tables = text_of(tables),
                      .agents = tables.agents.size(),
                      .rules = tables.rules.size(),
                      .now_unix_ns = unix_now_ns(),
                      .keep = asked.is_emergency ? 1 : options_.keep,
                      .keep_going = [this] {
                        const std::lock_guard lock(mutex_);
                        return !stopping_;
                      }});
}

void BackupKeeper::note(const Result<BackupInfo>& made, Nanos took) {
  BackupStatus now;
  {
    const std::lock_guard lock(mutex_);
    schedule_.ended(steady_now(), made.has_value());
    status_.tried_unix_ns = unix_now_ns();
    status_.is_good = made.has_value();
    status_.error = made ? std::string() : made.error().sentence;
    status_.took = took;
    if (made) {
      status_.good_unix_ns = made->created_unix_ns;
      status_.good_path = made->path;
      status_.good_bytes = made->size_bytes();
    }
    now = status_;
  }
  // A directory without room for a line of text: what it says is older than what is.
  static_cast<void>(write_status(of_.mesh_directory, now));
}

}  // namespace mesh::engine
