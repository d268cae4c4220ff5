// RecorderThread: a thread that turns a Recorder, and naps while there is nothing to do.
//
// Callers     start, stop: the engine's own thread.
// Progress    nobody wakes it: those who offer may not make a system call. A record waits for at
//             most one nap (1 ms; 5 ms after a while without any) before its commit begins.
// Errors      stop says how many records were taken and could not be made durable anywhere: the
//             store is down and the spill file full.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "engine/store/recorder.hpp"

namespace mesh::engine {

class RecorderThread {
 public:
  explicit RecorderThread(Recorder& recorder) : recorder_(&recorder) {}
  ~RecorderThread() { stop(); }
  RecorderThread(const RecorderThread&) = delete;
  RecorderThread& operator=(const RecorderThread&) = delete;

  void start();
  // Makes durable what was offered before the call, then ends the thread. Returns how many records
  // could not be: 0 unless store and spill file both failed.
  std::uint64_t stop();

 private:
  void run();
  bool nap(Nanos length);  // true: to be stopped

  Recorder* recorder_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
};

}  // namespace mesh::engine
