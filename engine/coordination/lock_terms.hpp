// What LockManager is told, and what it answers: config, commands, replies, news, counters, views.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/refusal.hpp"
#include "engine/coordination/lock_modes.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

enum class Prevention : std::uint8_t { none, wound_wait, wait_die };
enum class Fairness : std::uint8_t { fifo, timestamp, priority };
// The faults that textbook summaries of the two schemes leave open. Tests build these; validate()
// refuses them. A third, wound_wait over a fifo queue, needs no name of its own.
enum class LockFault : std::uint8_t { none, wounds_before_it_queues, asks_holders_alone };

struct LockManagerConfig {
  Nanos lease_ns{30'000'000'000};
  Nanos lease_ns_max{900'000'000'000};
  Nanos timeout_ns{30'000'000'000};  // of an acquire that names none
  Prevention prevention = Prevention::wound_wait;
  Fairness fairness = Fairness::timestamp;
  Nanos wound_grace_ns{100'000'000};
  Nanos aging_ns{1'000'000'000};  // fairness priority: waiting so long is worth one
  Nanos detection_ns{250'000'000};
  std::uint32_t detection_depth = 8;  // a longer queue is looked at when it grows
  bool abort_victim_locks = false;    // true: a victim loses what it holds, too
  std::uint32_t coarsen_at = 32;      // children of one parent; 0: never
  Nanos coarsen_window_ns{10'000'000'000};
  Nanos phantom_grace_ns{500'000'000};
  std::uint32_t queue_max = 1'024;  // waiting for one resource
  std::uint32_t locks_per_agent_max = 1'024;
  std::uint32_t agents_max = 1'024;
  std::uint32_t locks_max = 16'384;
  std::uint32_t resources_max = 8'192;
  bool durable = true;           // false: tokens start at boot_count << 40
  std::uint32_t boot_count = 0;  // asked for where not durable
  LockFault fault = LockFault::none;
  std::uint32_t events_max = 256;

  static Result<LockManagerConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

namespace lock {
struct Acquire {
  std::uint32_t agent = 0;
  std::string resource;
  LockMode mode = LockMode::x;
  std::uint32_t priority = 0;  // 0..100
  Nanos timestamp{0};          // of the agent's first try; the first counts while it holds anything
  Nanos timeout{-1};           // below 0: the config's; 0: try
  Nanos lease{0};              // 0: the config's
  bool preemptible = true;     // false: never wounded
  std::uint32_t station = 0;   // 0: the owner itself
};
struct Release {
  std::uint64_t grant = 0;
  std::uint32_t station = 0;
};
struct Renew {
  std::uint64_t grant = 0;
  Nanos lease{0};  // 0: as it was taken
  std::uint32_t station = 0;
};
struct Cancel {
  std::uint32_t agent = 0;
  std::uint64_t ticket = 0;
  std::uint32_t station = 0;
};
struct Validate {
  std::string resource;
  std::uint64_t fence = 0;
};
struct Detect {};
struct AgentDead {  // suspected: by its heartbeat, or its host by SWIM
  std::uint32_t agent = 0;
};
struct AgentAlive {
  std::uint32_t agent = 0;
};
struct StationClosed {
  std::uint32_t station = 0;
};
struct RaiseVersion {  // an optimistic write: what was read must still stand
  std::string resource;
  std::uint64_t expected = 0;
};
}  // namespace lock

enum class LockNotice : std::uint8_t {
  granted,
  timed_out,
  victim,
  wounded,
  revoked,  // wounded, and the grace is over
  expired,
  phantom,
  cancelled,  // the wait: its station is closed, or what it stood on was revoked
};
constexpr LockNotice last_of(LockNotice) noexcept { return LockNotice::cancelled; }
[[nodiscard]] std::string_view to_string(LockNotice notice) noexcept;

// What somebody other than the caller has to know; the host carries it to the agent's station.
struct LockNews {
  LockNotice kind = LockNotice::granted;
  std::uint32_t agent = 0;
  std::uint32_t station = 0;
  std::uint64_t ticket = 0;  // of the wait that ended; 0: it concerns a grant
  std::uint64_t grant = 0;
  std::uint64_t fence = 0;
  Nanos expires{0};
};

struct LockReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  std::uint64_t grant = 0;
  std::uint64_t ticket = 0;
  std::uint64_t fence = 0;
  std::uint32_t count = 0;  // how often the agent holds it; of StationClosed: what it freed
  Nanos expires{0};
  std::uint64_t version = 0;
  std::vector<LockNews> news;
  std::vector<std::uint32_t> cycle;  // of Detect: the agents of the first, ascending
};

// When a holder renews its grant: half of the lease is over, so one that is lost costs nothing.
[[nodiscard]] constexpr Nanos renewal_of(Nanos granted, Nanos expires) noexcept {
  return granted + (expires - granted) / 2;
}

struct LockCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t taken = 0;     // locks, intentions too
  std::uint64_t given_up = 0;  // of those, however
  std::uint64_t grants = 0;
  std::uint64_t reentries = 0;
  std::uint64_t conversions = 0;
  std::uint64_t releases = 0;
  std::uint64_t waits = 0;
  std::uint64_t handed_over = 0;
  std::uint64_t timeouts = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t victims = 0;
  std::uint64_t would_block = 0;
  std::uint64_t died = 0;  // by wait_die
  std::uint64_t wounded = 0;
  std::uint64_t revoked = 0;
  std::uint64_t expired = 0;
  std::uint64_t phantoms = 0;
  std::uint64_t coarsened = 0;
  std::uint64_t refined = 0;
  std::uint64_t forgotten = 0;  // idle resources, to make room
};

struct LockView {
  LockMode mode = LockMode::none;  // the strongest that is held
  std::uint32_t holders = 0;
  std::uint32_t first_holder = 0;
  std::uint32_t waiting = 0;
  std::uint64_t fence = 0;
  Nanos expires{0};  // of the first holder
};
// A wait as it stands.
struct LockWaitView {
  std::uint64_t ticket = 0;  // 0: nobody waits by that one, any more
  std::uint32_t agent = 0;
  LockMode wanted = LockMode::none;
  std::string resource;     // where it is queued: of a path the first level that it did not get
  std::uint32_t ahead = 0;  // waiters before it there
  Nanos until{0};           // its timeout
  // Agents that do not stand with what it wants: holders, then earlier waiters, each once.
  std::vector<std::uint32_t> in_its_way;
};
struct ContendedResource {
  std::string name;
  std::uint64_t waits = 0;
  std::uint32_t waiting = 0;
};

struct LockActions {
  std::vector<LockNews> news;
  bool view_changed = false;
  Nanos next_tick{0};
};

using LockCommand = std::variant<lock::Acquire, lock::Release, lock::Renew, lock::Cancel,
                                 lock::Validate, lock::Detect, lock::AgentDead, lock::AgentAlive,
                                 lock::StationClosed, lock::RaiseVersion>;

}  // namespace mesh::coordination
