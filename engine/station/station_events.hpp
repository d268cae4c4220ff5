// StationEvents: one descriptor that is readable whenever a station is to be polled: its eventfd
// was signalled, its connection has something or has ended, or, while it looks for its next engine,
// its next try is due. So who sleeps on it learns of an eviction, of an engine that was taken down
// and of one that was killed, without looking at a clock; and no engine has to write to the eventfd
// of a station that it has just found to lie (event_fd.hpp says what that can cost).
//
// Callers     the station's pump.
// Progress    never waits: each call is one or two system calls. Nothing is paid for a message.
// Ordering    none of its own: level-triggered, whatever it was readable for stays until taken.
// If the      engine dies: its end of the connection closes, and that is readable.
// other side  The process forks: the child has neither descriptor (ForkGuard). A copy that another
// dies        process holds of a connection keeps it in the set: leave() before it is closed.
// Errors      create -> system_error, no_memory.
#pragma once

#include <memory>

#include "engine/station/fork_guard.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"

namespace mesh::engine {

class StationEvents {
 public:
  // Over the eventfd, which stays the caller's.
  static Result<std::unique_ptr<StationEvents>> create(int wake);

  // A connection to an engine, one at a time: nothing is tried any more.
  void watch(int connection) noexcept;
  void leave(int connection) noexcept;
  // Readable once each `period`, until it is taken, from now on.
  void tick(Nanos period) noexcept;
  void take_tick() const noexcept;
  // As a socket at its end: for good, whatever is taken.
  void stay_readable() noexcept;

  [[nodiscard]] int fd() const noexcept { return epoll_.get(); }

 private:
  StationEvents(shm::Descriptor epoll, shm::Descriptor timer);
  void set_timer(Nanos first, Nanos period) noexcept;

  shm::Descriptor epoll_;
  shm::Descriptor timer_;
  ForkGuard epoll_guard_;
  ForkGuard timer_guard_;
};

}  // namespace mesh::engine
