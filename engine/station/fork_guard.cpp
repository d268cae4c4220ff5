#include "engine/station/fork_guard.hpp"

#include <algorithm>
#include <mutex>
#include <vector>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

namespace mesh::engine {
namespace {

struct Guarded {
  std::mutex mutex;
  std::vector<int> descriptors;
};

// Never destroyed: a fork may come while the process is exiting.
Guarded& guarded() {
  static Guarded* const all = new Guarded;
  return *all;
}

void before_fork() { guarded().mutex.lock(); }
void in_parent() { guarded().mutex.unlock(); }
// Whoever owns a descriptor here closes its number in the end, in the child as well: by then it
// must not be another file's.
void in_child() {
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : guarded().descriptors) {
    if (nothing < 0 || ::dup3(nothing, fd, O_CLOEXEC) < 0) ::close(fd);
  }
  if (nothing >= 0) ::close(nothing);
  guarded().descriptors.clear();
  guarded().mutex.unlock();
}

}  // namespace

ForkGuard::ForkGuard(int fd) : fd_(fd) {
  static const int registered = ::pthread_atfork(before_fork, in_parent, in_child);
  static_cast<void>(registered);  // ENOMEM: the engine's pidfd tells the death nevertheless
  const std::lock_guard lock(guarded().mutex);
  guarded().descriptors.push_back(fd_);
}

ForkGuard::~ForkGuard() {
  const std::lock_guard lock(guarded().mutex);
  auto& descriptors = guarded().descriptors;
  const auto found = std::find(descriptors.begin(), descriptors.end(), fd_);
  if (found != descriptors.end()) descriptors.erase(found);
}

}  // namespace mesh::engine
