// Reporter: a thread that makes reports for who may not wait: the control thread posts what is to
// be done, and goes on.
//
//     post ─▶ a step, on the thread ─┬─▶ over
//                    ▲               ╲ again, so long from now
//                    └────────────────┘
//
// Callers     post: any thread. stop: the engine's own, one at a time.
// Progress    a report that waits for something to be published occupies nobody meanwhile; one that
//             reads keeps those behind it waiting. The thread starts with the first report.
// If the      stops: the step that runs is waited for; what is left is dropped, told to nobody.
// engine
// stops
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "shm/base/nanos.hpp"

namespace mesh::engine::reports {

class Reporter {
 public:
  // One step. None: it is over; else the next one, so long from now.
  using Work = std::function<std::optional<Nanos>()>;

  Reporter() = default;
  ~Reporter() { stop(); }
  Reporter(const Reporter&) = delete;
  Reporter& operator=(const Reporter&) = delete;

  void post(Work work);
  void stop();

 private:
  using Clock = std::chrono::steady_clock;
  void run();
  // Waits until a step is due. None: it is to be stopped.
  std::optional<Work> next();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::multimap<Clock::time_point, Work> due_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace mesh::engine::reports
