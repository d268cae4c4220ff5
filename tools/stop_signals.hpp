// StopSignals: SIGINT and SIGTERM become something to ask for and to wait on, not an end.
//
// Callers     main(), one at a time; requested() and fd(): any thread. The destructor puts the
//             former handlers back.
// Cost        requested(): one load.
// Errors      create -> system_error.
#pragma once

#include <array>
#include <csignal>

#include "shm/base/result.hpp"
#include "shm/event_fd.hpp"

namespace mesh::tools {

class StopSignals {
 public:
  static Result<StopSignals> create();
  ~StopSignals();
  StopSignals(StopSignals&& other) noexcept;
  StopSignals& operator=(StopSignals&&) = delete;
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  [[nodiscard]] bool requested() const noexcept;
  // Readable from the first signal on, for poll(2).
  [[nodiscard]] int fd() const noexcept { return event_.fd(); }

 private:
  static constexpr std::array<int, 2> kSignals = {SIGINT, SIGTERM};

  explicit StopSignals(shm::EventFd event) : event_(std::move(event)) {}
  shm::EventFd event_;
  std::array<struct sigaction, kSignals.size()> former_{};
  bool installed_ = false;
};

}  // namespace mesh::tools
