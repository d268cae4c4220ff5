#include "engine/station/fork_guard.hpp"

#include <algorithm>
#include <mutex>
#include <vector>

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
void in_child() {
  for (const int fd : guarded().descriptors) ::close(fd);
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
