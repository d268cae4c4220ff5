// ConflictThread: a thread that turns a ConflictOffice, and runs what others want of it between two
// turns.
//
// Callers     start, stop: the engine's own thread. post: any thread.
// Progress    like RecorderThread nobody wakes it for a note: it naps 1 ms, then 5. A call does.
// Errors      stop says how many records could not be made durable anywhere. A call that was
//             posted and not run is destroyed.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/conflict/conflict_office.hpp"

namespace mesh::engine {

class OfficeCall {
 public:
  virtual ~OfficeCall() = default;
  virtual void run(ConflictOffice& office, HostTime now) = 0;
};

class ConflictThread {
 public:
  using ReadClock = std::function<HostTime()>;
  ConflictThread(ConflictOffice& office, ReadClock clock)
      : office_(&office), clock_(std::move(clock)) {}
  ~ConflictThread() { stop(); }
  ConflictThread(const ConflictThread&) = delete;
  ConflictThread& operator=(const ConflictThread&) = delete;

  void start();
  std::uint64_t stop();
  void post(std::unique_ptr<OfficeCall> call);

 private:
  void run();
  bool run_calls();
  bool nap(Nanos length);  // true: to be stopped

  ConflictOffice* office_;
  ReadClock clock_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<OfficeCall>> calls_;
  bool stopping_ = false;
};

}  // namespace mesh::engine
