// ReloadSignal: SIGHUP becomes something to ask for.
//
// Callers     main(), one at a time. The destructor puts the former handler back.
// Errors      create -> system_error.
#pragma once

#include <csignal>

#include "shm/base/result.hpp"

namespace mesh::tools {

class ReloadSignal {
 public:
  static Result<ReloadSignal> create();
  ~ReloadSignal();
  ReloadSignal(ReloadSignal&& other) noexcept;
  ReloadSignal& operator=(ReloadSignal&&) = delete;
  ReloadSignal(const ReloadSignal&) = delete;
  ReloadSignal& operator=(const ReloadSignal&) = delete;

  // Whether one came since the last time this was asked.
  [[nodiscard]] bool take() noexcept;

 private:
  ReloadSignal() = default;
  struct sigaction former_ {};
  bool installed_ = false;
};

}  // namespace mesh::tools
