// SharedRing: a ring in memory that survives fork, with records whose every word follows from their
// position.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "queues/spsc_ring.hpp"
#include "tests/crash_memory.hpp"

namespace mesh::testing {

using Host = queues::SpscRing<HostMemory>;
using Crash = queues::SpscRing<CrashMemory>;
static_assert(sizeof(Crash::Slot) == sizeof(Host::Slot));
static_assert(sizeof(Crash::ReaderPage) == sizeof(Host::ReaderPage));

// The starts that the suites run from: where 32-, 44-, 63- and 64-bit arithmetic would break.
inline constexpr std::uint64_t kStarts[] = {0, (std::uint64_t{1} << 32) - 8,
                                            (std::uint64_t{1} << 44) - 8,
                                            (std::uint64_t{1} << 63) - 8, std::uint64_t{0} - 8};

constexpr std::uint64_t word_of(std::uint64_t position, std::uint64_t word) {
  std::uint64_t x = position * 8 + word + 0x9E3779B97F4A7C15ULL;  // splitmix64
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

template <class Slot>
void build(Slot& slot, std::uint64_t position) {
  for (std::uint64_t i = 0; i < 7; ++i) slot.words[i].set(word_of(position, i));
}

template <class View>
bool is_whole(const View& view) {
  const auto record = view.read();
  for (std::uint64_t i = 0; i < 7; ++i)
    if (record.words[i] != word_of(view.position(), i)) return false;
  return true;
}

class SharedRing {
 public:
  // What a child tells its parent, whatever kills it.
  struct Report {
    volatile std::uint64_t committed;  // records whose reveal returned
    volatile std::uint64_t seen_end;   // positions handed to a reader's callback
    volatile std::uint64_t sites;
  };

  explicit SharedRing(std::size_t slot_count, std::uint64_t start = 0)
      : slot_count_(slot_count), bytes_(slot_count * kSlotBytes + 2 * 4096) {
    base_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (base_ == MAP_FAILED) throw std::runtime_error("mmap");
    reset(start);
  }
  ~SharedRing() { ::munmap(base_, bytes_); }
  SharedRing(const SharedRing&) = delete;
  SharedRing& operator=(const SharedRing&) = delete;

  void reset(std::uint64_t start) {
    std::memset(base_, 0, bytes_);
    if (start != 0) Host::format(slots<Host>(), page<Host>(), start);
  }

  template <class Ring>
  std::span<typename Ring::Slot> slots() {
    return {reinterpret_cast<typename Ring::Slot*>(static_cast<std::byte*>(base_) + 8192),
            slot_count_};
  }
  template <class Ring>
  typename Ring::ReaderPage& page() {
    return *static_cast<typename Ring::ReaderPage*>(base_);
  }
  Report& report() { return *reinterpret_cast<Report*>(static_cast<std::byte*>(base_) + 4096); }

  template <class Ring = Host>
  auto take_over() {
    return Ring::Writer::take_over(slots<Ring>(), &page<Ring>());
  }
  template <class Ring = Host>
  auto attach() {
    return Ring::Reader::attach(slots<Ring>(), &page<Ring>());
  }

 private:
  std::size_t slot_count_;
  std::size_t bytes_;
  void* base_ = nullptr;
};

// Adds `count` records to the open batch, in as many runs as the wrap makes: the odd runs by
// fill(), the even ones built by hand and staged. False: not enough room.
template <class Writer>
bool stage_batch(Writer& writer, std::size_t count) {
  if (writer.free_slots() < count) return false;
  bool by_hand = false;
  for (std::size_t left = count; left != 0; by_hand = !by_hand) {
    const auto run = writer.claim(left);
    if (by_hand) {
      for (std::size_t i = 0; i < run.slots.size(); ++i) build(run.slots[i], run.position + i);
      writer.stage(run.slots.size());
    } else {
      writer.fill(run, [](auto& slot, std::uint64_t position) { build(slot, position); });
    }
    left -= run.slots.size();
  }
  return true;
}

// Writes one batch and reveals it, for a reader that spins or for one that parks.
template <class Writer>
bool write_batch(Writer& writer, std::size_t count) {
  if (!stage_batch(writer, count)) return false;
  writer.reveal();
  return true;
}
template <class Writer>
bool write_batch_checked(Writer& writer, std::size_t count, bool& is_parked) {
  if (!stage_batch(writer, count)) return false;
  is_parked = writer.reveal_checked();
  return true;
}

// Runs `work` in a forked child and returns its wait status (also when it stopped itself, with
// `stopped`).
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

inline bool died_as(int status, Death death) {
  switch (death) {
    case Death::kKill:
      return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    case Death::kExit:
      return WIFEXITED(status) && WEXITSTATUS(status) == 77;
    // Under a sanitizer the fault handler turns the signal into an exit.
    case Death::kFault:
      return (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) ||
             (WIFEXITED(status) && WEXITSTATUS(status) != 0);
    case Death::kStop:
      return WIFSTOPPED(status);
  }
  return false;
}

}  // namespace mesh::testing
