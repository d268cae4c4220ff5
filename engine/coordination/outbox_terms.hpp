// What an outbox is told and says: its config, commands, replies, views. The contract: outbox.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/refusal.hpp"
#include "shm/base/errc.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

enum class HeadOfLine : std::uint8_t { none, block_key, block_partition };
enum class EventState : std::uint8_t { unknown, pending, dispatched, confirmed, dead, stuck };
enum class RetryJitter : std::uint8_t { none, decorrelated };
constexpr EventState last_of(EventState) noexcept { return EventState::stuck; }
[[nodiscard]] std::string_view to_string(EventState state) noexcept;

inline constexpr Nanos kForever = Nanos::max();

struct OutboxConfig {
  std::uint32_t partition_count = 16;  // fixed while the outbox lives
  std::uint32_t burst_max = 100;       // of one partition in one tick
  Nanos poll_interval_ns{100'000'000};
  bool push = false;  // dispatch at every tick, not only each poll_interval_ns
  Nanos retry_base_ns{100'000'000};
  double retry_multiplier = 2;
  Nanos retry_cap_ns{30'000'000'000};
  RetryJitter retry_jitter = RetryJitter::decorrelated;
  std::uint32_t attempts_max = 8;  // 0: for ever
  HeadOfLine head_of_line = HeadOfLine::block_key;
  bool dead_halts_key = false;
  Nanos confirm_timeout_ns{30'000'000'000};
  Nanos heartbeat_timeout_ns{10'000'000'000};
  Nanos retention_ns{3'600'000'000'000};  // after the confirmation; kForever: for ever
  Nanos compaction_interval_ns{60'000'000'000};
  bool key_compaction = false;              // the last event of each key stays
  std::uint32_t pending_max = 100'000;      // of one partition
  std::uint32_t events_capacity = 131'072;  // retained in all, with changes
  std::uint32_t dead_max = 10'000;
  std::uint32_t entities_max = 16'384;
  bool cdc = true;  // changes of state stand in the log too
  std::uint32_t cursors_max = 32;
  Nanos cursor_idle_max_ns{86'400'000'000'000};  // then it is stale and holds up nothing
  std::uint32_t workers_max = 64;
  std::uint32_t topics_max = 256;
  // Events of others whose effect is committed here, and for how long each is known: 33 MB of them,
  // as they come.
  std::uint32_t inbox_max = 1'000'000;
  Nanos inbox_window_ns{86'400'000'000'000};
  std::uint32_t payload_bytes_max = 65'536;
  std::uint32_t commit_items_max = 64;
  std::uint64_t store_bytes = 64U << 20;
  std::uint32_t events_max = 256;

  static Result<OutboxConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

namespace outbox {
using Bytes = std::vector<std::byte>;
inline constexpr std::uint64_t kAnyVersion = UINT64_MAX;

struct Put {
  std::string entity;
  std::uint64_t version_expected = 0;  // 0: it must not be there. No version is given out twice
  Bytes value;
  bool is_erase = false;
};
struct Append {
  std::string key;
  std::string topic;
  Bytes payload;
  Bytes metadata;
  std::uint32_t schema = 0;  // 0: the topic's
};
struct Commit {
  std::vector<Put> puts;
  std::vector<Append> appends;
  // An event of another outbox, of which this is the effect: known from now on, in the same commit,
  // so that one that comes again is `duplicate`. 0: none. Ids of several sources must differ.
  std::uint64_t consumed = 0;
};
// A commit without puts.
struct AppendEvent {
  std::string key;
  std::string topic;
  Bytes payload;
};
struct Confirm {
  std::uint64_t event = 0;
  std::uint64_t fence = 0;
};
struct Fail {
  std::uint64_t event = 0;
  std::uint64_t fence = 0;
  bool is_permanent = false;  // dead at once
  std::string error;
};
struct AddWorker {
  std::string name;
  std::uint32_t station = 0;
};
struct Heartbeat {
  std::string name;
};
// It keeps what it holds and gets nothing more.
struct Drain {
  std::string name;
};
struct RemoveWorker {
  std::string name;
};
struct StationClosed {
  std::uint32_t station = 0;
};
struct Replay {
  std::uint64_t event = 0;  // 0: the oldest `max` dead ones
  std::uint32_t max = 1;
};
struct Purge {
  std::uint64_t event = 0;
};
struct AddCursor {
  std::string name;
};
struct Advance {
  std::string name;
  std::uint32_t partition = 0;
  std::uint64_t offset = 0;  // everything up to here has been read
};
struct RemoveCursor {
  std::string name;
};
struct SetTopic {
  std::string name;
  std::uint32_t schema = 1;
};
}  // namespace outbox

using OutboxCommand =
    std::variant<outbox::Commit, outbox::AppendEvent, outbox::Confirm, outbox::Fail,
                 outbox::AddWorker, outbox::Heartbeat, outbox::Drain, outbox::RemoveWorker,
                 outbox::StationClosed, outbox::Replay, outbox::Purge, outbox::AddCursor,
                 outbox::Advance, outbox::RemoveCursor, outbox::SetTopic>;

struct OutboxReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  EventState state = EventState::unknown;
  std::uint64_t event = 0;            // the first that was appended
  std::vector<std::uint64_t> events;  // all of them, where there are several
  std::uint32_t index = 0;            // conflict: of the put whose version is another
  std::uint64_t version = 0;          // of what was put; conflict: the one that stands
  std::uint64_t floor = 0;            // expired: a cursor may go on from here
  std::uint32_t count = 0;            // of what the command moved
  Nanos retry_after{0};
};

struct OutboxCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t commits = 0;
  std::uint64_t conflicts = 0;
  std::uint64_t appended = 0;
  std::uint64_t changes = 0;
  std::uint64_t dispatched = 0;
  std::uint64_t confirmed = 0;
  std::uint64_t failures = 0;
  std::uint64_t timeouts = 0;    // of a confirmation
  std::uint64_t taken_back = 0;  // from workers that are gone
  std::uint64_t stale_tokens = 0;
  std::uint64_t dead = 0;  // so many times an event died
  std::uint64_t replays = 0;
  std::uint64_t purged = 0;
  std::uint64_t compacted = 0;
  std::uint64_t consumed = 0;
  std::uint64_t consumed_again = 0;  // refused as duplicates
};

// What the host does: gives the event to the worker, and the worker's report back as a command.
struct Delivery {
  std::uint64_t event = 0;
  std::uint64_t fence = 0;
  std::uint32_t worker = 0;
  std::uint32_t attempt = 0;
};
struct OutboxActions {
  std::vector<Delivery> deliveries;  // grows once to what a tick can give
  bool view_changed = false;
  Nanos next_tick{0};  // when something is due; the largest Nanos: nothing
};

struct OutboxView {
  std::uint64_t appended = 0;    // the last sequence
  std::uint64_t dispatched = 0;  // in the hands of workers
  std::uint64_t confirmed = 0;   // so far
  std::uint64_t pending = 0;
  std::uint64_t dead = 0;
  std::uint64_t floor = 0;             // sequences up to here may be gone
  std::uint64_t epoch = 0;             // of its owner
  std::int64_t oldest_pending_ns = 0;  // when it was appended; 0: none pends
};

// An event, or a change of state, as the log shows it.
struct LogRecord {
  std::uint64_t event = 0;
  std::uint64_t sequence = 0;
  bool is_change = false;
  EventState state = EventState::unknown;
  std::int64_t appended_ns = 0;
  std::uint32_t attempts = 0;
  std::uint32_t schema = 0;
  std::string key;  // of a change: the entity
  std::string topic;
  outbox::Bytes payload;
  outbox::Bytes metadata;
  std::uint64_t hash_before = 0;  // of a change; 0: was not there, is not there any more
  std::uint64_t hash_after = 0;
};
struct DeadEvent {
  std::uint64_t event = 0;
  std::uint32_t attempts = 0;
  std::uint32_t replays = 0;
  std::string first_error;
  std::string last_error;
};
struct EntityState {
  std::uint64_t version = 0;
  outbox::Bytes value;
};
struct StateCopy {
  std::map<std::string, EntityState> entities;
  std::vector<std::uint64_t> sequences;  // of each partition
};

}  // namespace mesh::coordination
