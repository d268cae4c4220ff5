#include "engine/station/station_events.hpp"

#include <cerrno>
#include <cstdint>
#include <utility>

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

timespec timespec_of(Nanos time) noexcept {
  return {time.count() / kNsPerSecond, time.count() % kNsPerSecond};
}

}  // namespace

StationEvents::StationEvents(shm::Descriptor epoll, shm::Descriptor timer)
    : epoll_(std::move(epoll)),
      timer_(std::move(timer)),
      epoll_guard_(epoll_.get()),
      timer_guard_(timer_.get()) {}

Result<std::unique_ptr<StationEvents>> StationEvents::create(int wake) {
  shm::Descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return shm::system_failure("epoll_create", errno);
  shm::Descriptor timer(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer) return shm::system_failure("timerfd_create", errno);
  for (const int fd : {wake, timer.get()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      return shm::system_failure("epoll_ctl", errno);
  }
  return std::unique_ptr<StationEvents>(new StationEvents(std::move(epoll), std::move(timer)));
}

// What cannot be added, for want of memory, is looked at as often as the pump looks by itself.
void StationEvents::watch(int connection) noexcept {
  set_timer({}, {});
  epoll_event event{};
  event.events = EPOLLIN;
  static_cast<void>(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection, &event));
}

void StationEvents::leave(int connection) noexcept {
  static_cast<void>(::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection, nullptr));
}

void StationEvents::tick(Nanos period) noexcept { set_timer(Nanos{1}, period); }

void StationEvents::take_tick() const noexcept {
  std::uint64_t count = 0;
  static_cast<void>(!::read(timer_.get(), &count, sizeof count));
}

void StationEvents::stay_readable() noexcept { set_timer(Nanos{1}, {}); }

// Zero is off. Its arguments are ours: it cannot fail.
void StationEvents::set_timer(Nanos first, Nanos period) noexcept {
  const itimerspec times{timespec_of(period), timespec_of(first)};
  static_cast<void>(::timerfd_settime(timer_.get(), 0, &times, nullptr));
}

}  // namespace mesh::engine
