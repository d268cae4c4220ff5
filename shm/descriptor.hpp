// Descriptor: one file descriptor, owned. Moved, never copied; closed when it goes.
//
// Callers     one thread at a time.
// Errors      none: close() is called once and its answer is not asked for, because what we open
//             holds no unwritten data, and a second close could hit another thread's descriptor.
#pragma once

#include <utility>

#include <unistd.h>

namespace mesh::shm {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}  // takes ownership; negative: none
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, kNone)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      close();
      fd_ = std::exchange(other.fd_, kNone);
    }
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }

  void close() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, kNone));
  }
  // The caller owns it from here on.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, kNone); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  static constexpr int kNone = -1;
  int fd_ = kNone;
};

}  // namespace mesh::shm
