// WaitStrategy: how a reader waits when it finds nothing: spin, then yield, then park on an
// eventfd.
//
// Callers     the reader's one thread.
// Progress    returns when the source is ready, a signal came or the deadline passed; it looks
//             again after every wake, so a signal too many costs one look.
// Ordering    none of its own: the source's. No wake-up is lost: see SYNC ring.parked in
//             spsc_ring.hpp.
// Cost        kSpin: a core. kAdaptive: `spins` looks (some 50 ns each), `yields` system calls,
//             then a park. A parked reader runs about 20 us after the signal, which costs the waker
//             6 us.
// Units       deadlines in HostTime, read from the clock that is passed in.
// If the      writer dies or stalls while we are parked: the wait ends at its deadline.
// other side  signals without end: each wait ends at once and finds nothing; the caller sees it as
// dies        idle looks and may drop that peer.
// Source      spin, yield, park as in Aeron's and the Disruptor's idle strategies.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string_view>

#include <sched.h>

#include "shm/base/nanos.hpp"
#include "shm/event_fd.hpp"

namespace mesh::queues {

enum class WaitPolicy : std::uint8_t {
  kSpin,      // never yields, never parks: for a pinned core of its own
  kAdaptive,  // spins, yields, parks
  kPark,      // parks at once: for a reader that is idle most of the time
};

struct WaitOptions {
  WaitPolicy policy = WaitPolicy::kAdaptive;
  std::uint32_t spins = 200;  // looks before the first yield
  std::uint32_t yields = 20;  // before parking
};

// What a wait goes by: `wake` ends a park.
struct Waiting {
  const shm::EventFd& wake;
  WaitOptions options;
};

enum class WaitResult : std::uint8_t {
  kReady,      // the source has something
  kSignalled,  // the eventfd was signalled for another reason (post()); the source is empty
  kTimedOut,
  kFailed,  // the eventfd is not one any more
};

constexpr std::string_view name_of(WaitPolicy policy) noexcept {
  switch (policy) {
    case WaitPolicy::kSpin:
      return "spin";
    case WaitPolicy::kAdaptive:
      return "adaptive";
    case WaitPolicy::kPark:
      return "park";
  }
  return "unknown";
}

// What can be waited on: SpscRing::Reader, or a reader of several rings.
template <class Source>
concept Parkable = requires(Source& source) {
  { source.ready() } -> std::same_as<bool>;
  { source.prepare_to_park() } -> std::same_as<bool>;  // says "asleep", looks again; false: ready
  source.unpark();
};

inline void relax_cpu() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

namespace wait_detail {

// Parks once: how the wait ended, nothing while it goes on.
template <Parkable Source, class Clock>
std::optional<WaitResult> park(Source& source, const shm::EventFd& wake, HostTime deadline,
                               Clock& clock) {
  if (!source.prepare_to_park()) {
    source.unpark();
    return WaitResult::kReady;
  }
  const shm::WaitStatus status = wake.wait_until(deadline, clock());
  source.unpark();
  if (status == shm::WaitStatus::kSignalled) wake.drain();
  if (source.ready()) return WaitResult::kReady;
  switch (status) {
    case shm::WaitStatus::kSignalled:
      return WaitResult::kSignalled;
    case shm::WaitStatus::kTimedOut:
      return WaitResult::kTimedOut;
    case shm::WaitStatus::kFailed:
      return WaitResult::kFailed;
    case shm::WaitStatus::kInterrupted:
      break;
  }
  return std::nullopt;
}

}  // namespace wait_detail

// Waits until `source` is ready, the eventfd is signalled or `deadline` has passed by `clock()`.
template <Parkable Source, class Clock>
requires std::same_as<std::invoke_result_t<Clock&>, HostTime>
[[nodiscard]] WaitResult wait_until(Source& source, const Waiting& waiting, HostTime deadline,
                                    Clock&& clock) {
  const WaitOptions& options = waiting.options;
  std::uint32_t looks = options.policy == WaitPolicy::kPark ? options.spins + options.yields : 0;
  for (;; ++looks) {
    if (source.ready()) return WaitResult::kReady;
    if (options.policy == WaitPolicy::kSpin || looks < options.spins) {
      relax_cpu();
    } else if (looks < options.spins + options.yields) {
      ::sched_yield();
    } else if (const auto end = wait_detail::park(source, waiting.wake, deadline, clock)) {
      return *end;
    }
    if (clock() >= deadline) return WaitResult::kTimedOut;
    if (looks == ~std::uint32_t{0}) looks = options.spins + options.yields;
  }
}

}  // namespace mesh::queues
