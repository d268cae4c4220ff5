// EventFd: wakes a thread that sleeps, in this process or another. Sticky: a signal that comes
// before the wait ends the wait at once.
//
// Callers     signal: the waking side. drain, wait_until: the sleeping side, one thread.
// Progress    signal, drain: never wait, unless the other side lies (below).
// Ordering    none of its own: what the signal is about is published in shared memory beforehand.
// Cost        one system call each. Signal only a reader that says it sleeps.
// If the      dies: signals go nowhere, waits end at their deadline.
// other side  lies: it can signal without end (a wait then ends at once, and finds nothing new),
// dies,       and it shares the open file: it can make it blocking and fill the counter, so that
// or lies     signal() blocks until drained. A signal handler without SA_RESTART ends that with
//             kInterrupted; a watchdog of the signalling thread needs one.
// Errors      create() -> system_error, no_memory. adopt() -> not_yours.
#pragma once

#include <cstdint>

#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"

namespace mesh::shm {

enum class SignalStatus : std::uint8_t { kSignalled, kInterrupted, kFailed };
enum class WaitStatus : std::uint8_t { kSignalled, kTimedOut, kInterrupted, kFailed };

class EventFd {
 public:
  static Result<EventFd> create();
  // One that was handed over: must be an eventfd, and is made non-blocking.
  static Result<EventFd> adopt(Descriptor descriptor);

  [[nodiscard]] SignalStatus signal() const noexcept;
  // Takes all signals; how many there were since the last time, 0 if none.
  std::uint64_t drain() const noexcept;
  // Sleeps until signalled or `deadline`, and takes nothing: drain() does. The caller read `now`
  // from the clock that its deadlines are in; after kInterrupted it reads it again.
  [[nodiscard]] WaitStatus wait_until(HostTime deadline, HostTime now) const noexcept;

  // For epoll, asio, asyncio, libuv: readable while signalled.
  [[nodiscard]] int fd() const noexcept { return descriptor_.get(); }

 private:
  explicit EventFd(Descriptor descriptor) : descriptor_(std::move(descriptor)) {}
  Descriptor descriptor_;
};

}  // namespace mesh::shm
