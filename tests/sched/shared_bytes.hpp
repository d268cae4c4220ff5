// SharedBytes: memory that a forked child shares with its parent, zeroed, on a page of its own.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <stdexcept>
#include <vector>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mesh::sched::testing {

class SharedBytes {
 public:
  explicit SharedBytes(std::size_t size) : size_(size) {
    base_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (base_ == MAP_FAILED) throw std::runtime_error("mmap");
  }
  ~SharedBytes() { ::munmap(base_, size_); }
  SharedBytes(const SharedBytes&) = delete;
  SharedBytes& operator=(const SharedBytes&) = delete;

  [[nodiscard]] std::span<std::byte> span() { return {static_cast<std::byte*>(base_), size_}; }
  [[nodiscard]] std::vector<std::byte> copy() { return {span().begin(), span().end()}; }
  void restore(const std::vector<std::byte>& bytes) {
    std::memcpy(base_, bytes.data(), bytes.size());
  }
  void fill(int byte) { std::memset(base_, byte, size_); }

 private:
  std::size_t size_;
  void* base_ = nullptr;
};

// Runs `work` in a forked child; returns its wait status.
template <class Work>
int status_of_child(Work&& work) {
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork");
  if (child == 0) {
    work();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

}  // namespace mesh::sched::testing
