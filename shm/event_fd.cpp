#include "shm/event_fd.hpp"

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "shm/system_error.hpp"

namespace mesh::shm {

Result<EventFd> EventFd::create() {
  Descriptor descriptor(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!descriptor) return system_failure("eventfd", errno);
  return EventFd(std::move(descriptor));
}

Result<EventFd> EventFd::adopt(Descriptor descriptor) {
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor.get());
  char text[64];
  const ssize_t size = readlink(path.c_str(), text, sizeof text);
  const std::string_view kind(text, size > 0 ? static_cast<std::size_t>(size) : 0);
  if (kind != "anon_inode:[eventfd]") {
    return fail(Errc::not_yours, "adopt eventfd: the descriptor is '" + std::string(kind) +
                                     "', expected 'anon_inode:[eventfd]'");
  }
  const int flags = fcntl(descriptor.get(), F_GETFL);
  if (flags < 0 || fcntl(descriptor.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return system_failure("make eventfd non-blocking", errno);
  }
  return EventFd(std::move(descriptor));
}

SignalStatus EventFd::signal() const noexcept {
  const std::uint64_t one = 1;
  if (write(fd(), &one, sizeof one) == static_cast<ssize_t>(sizeof one)) {
    return SignalStatus::kSignalled;
  }
  if (errno == EAGAIN) return SignalStatus::kSignalled;  // the counter is full: it is signalled
  return errno == EINTR ? SignalStatus::kInterrupted : SignalStatus::kFailed;
}

std::uint64_t EventFd::drain() const noexcept {
  std::uint64_t count = 0;
  return read(fd(), &count, sizeof count) == static_cast<ssize_t>(sizeof count) ? count : 0;
}

WaitStatus EventFd::wait_until(HostTime deadline, HostTime now) const noexcept {
  const std::int64_t left_ns = std::max<std::int64_t>(0, to_ns(deadline) - to_ns(now));
  const timespec timeout{left_ns / kNsPerSecond, left_ns % kNsPerSecond};
  pollfd entry{fd(), POLLIN, 0};
  const int ready = ppoll(&entry, 1, &timeout, nullptr);
  if (ready > 0) {
    return (entry.revents & POLLIN) != 0 ? WaitStatus::kSignalled : WaitStatus::kFailed;
  }
  if (ready == 0) return WaitStatus::kTimedOut;
  return errno == EINTR ? WaitStatus::kInterrupted : WaitStatus::kFailed;
}

}  // namespace mesh::shm
