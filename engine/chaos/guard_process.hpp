// The guard's side of ProcessGuard: what runs in its process, and what the two say to each other.
//
// Callers     run_guard: the child of fork(). It never returns, and uses nothing but system calls
//             and memory that was there before.
#pragma once

#include <array>
#include <cstdint>

#include "engine/chaos/process_guard.hpp"

namespace mesh::engine::guard {

enum class Verb : std::uint32_t { add, hold, crash, expect, release, held, state, witness, end };

// One packet each way, SOCK_SEQPACKET; `add` carries the pidfd.
struct Request {
  Verb verb = Verb::state;
  std::uint32_t key = 0;
  std::uint64_t injection = 0;
  std::int64_t at_ns = 0;
  std::int64_t away_ns = 0;  // of `expect`
  std::uint32_t factor_milli = 0;
  std::uint32_t is_for_good = 0;    // of `crash`, `expect`
  std::int32_t process = 0;         // of `add`
  std::uint32_t command_bytes = 0;  // words, a zero after each
  std::array<char, ProcessGuard::kCommandBytes> command{};
};
struct Reply {
  std::int32_t code = 0;  // Errc
  std::uint32_t count = 0;
  std::int32_t process = 0;
  std::uint8_t is_running = 0;
  std::uint8_t is_stopped = 0;
};

struct Hold {
  std::uint64_t injection = 0;
  std::int64_t until_ns = 0;
  std::uint32_t factor_milli = 0;
  bool is_used = false;
};
struct Process {
  int pidfd = -1;
  pid_t process = 0;
  bool is_used = false;
  bool is_stopped = false;
  std::array<Hold, ProcessGuard::kHoldsMax> holds{};
  std::uint64_t crash = 0;  // the injection that it is dead for; 0: none
  std::int64_t start_ns = 0;
  bool stays_dead = false;
  // It is to end by itself, and lives still: `crash` is set, and start_ns says until when.
  bool is_expected = false;
  std::int64_t away_ns = 0;  // and so long after its end it is started; 0: at start_ns
  std::uint32_t command_bytes = 0;
  std::array<char, ProcessGuard::kCommandBytes> command{};
};
using Processes = std::array<Process, ProcessGuard::kProcessesMax>;

// Has a witness: a process with the same descriptors that waits for the end of this one, and then
// does what was left to do. `processes` is shared between the two; the witness reads it once this
// one is dead.
//
// `harness`: a pidfd of the other side. Its socket alone does not tell: a child of it may have it,
// too.
[[noreturn]] void run_guard(int socket, int harness, Processes& processes) noexcept;

}  // namespace mesh::engine::guard
