// ForkGuard: a descriptor that a forked child of this process closes at once, so that the child
// does not keep a dead station's connection open. Its number is /dev/null's there, so that whoever
// closes it later, as a destructor does, closes nothing else.
//
// Callers     any thread. The child's handler runs before fork() returns there.
// Cost        a lock, at set-up and at fork().
#pragma once

namespace mesh::engine {

class ForkGuard {
 public:
  explicit ForkGuard(int fd);
  ~ForkGuard();
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;

 private:
  int fd_;
};

}  // namespace mesh::engine
