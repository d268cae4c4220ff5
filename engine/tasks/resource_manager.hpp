// ResourceManager: named resources, for one or for several, by priority and with a time-out; and
// several at once without a deadlock. A facade over LockManager, which decides; this one knows
// resources by name where that one knows grants.
//
//   acquire --free--> held --release | release_all | lease over | station closed--> free
//      |--taken--> waiting: one ticket, one answer: granted by the release, timed_out, victim
//   acquire_all --sorted by name--> one after the other under one ticket; all, or none is kept
//
// Callers     one thread, which owns it; hosted by JournaledService it is durable.
// Progress    wait-free. An agent waits for one ticket at a time.
// Cost        acquire and release, nobody waiting: that of the lock and two look-ups. No allocation
//             after construction but news, and names on their way to the lock.
// Units       agents are numbers below agents_max. A larger priority is more urgent; each second of
//             waiting is worth one more.
// Guarantees  those of the lock; release_all leaves nothing held and no waiter unanswered; a group
//             is never half held once its ticket is answered.
// If the      holder stalls: its lease ends, it is told, and its fence is stale. Its station dies:
// other side  at once. The owner dies: snapshot and journal.
// dies
// Errors      those of the lock: invalid_id, invalid_argument, wrong_state (it waits; of a release,
//             and of a group's: something under it is held still, or waited for), capacity,
//             expired; not_owner: it holds no such. Taken: would_block, with a ticket unless the
//             timeout is 0.
// Source      lock_manager.hpp; ordered acquisition: Havender 1968.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/log_histogram.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/lock_manager.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::tasks {
using namespace coordination;  // the services and their blocks, upon which this box stands

inline constexpr std::size_t kGroupMax = 16;  // resources under one ticket

struct ResourceManagerConfig {
  Nanos timeout_ns{30'000'000'000};  // of an acquire that names none
  Nanos lease_ns{300'000'000'000};   // of what is held
  Nanos aging_ns{1'000'000'000};
  Nanos detection_ns{250'000'000};
  std::uint32_t agents_max = 1'024;
  std::uint32_t resources_max = 8'192;
  std::uint32_t holdings_max = 16'384;
  std::uint32_t events_max = 256;

  static Result<ResourceManagerConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

namespace resource {
struct Acquire {
  std::uint32_t agent = 0;
  std::string resource;
  bool shared = false;
  std::uint32_t priority = 0;  // 0..100
  Nanos timeout{-1};           // below 0: the config's; 0: try
  Nanos timestamp{0};          // of its first try: the younger gives way in a deadlock
  std::uint32_t station = 0;
};
struct AcquireAll {  // in the order of their names, whatever the order here
  std::uint32_t agent = 0;
  std::vector<std::string> resources;
  std::uint32_t priority = 0;
  Nanos timeout{-1};  // for all of them together
  std::uint32_t station = 0;
};
struct Release {
  std::uint32_t agent = 0;
  std::string resource;
};
struct ReleaseAll {
  std::uint32_t agent = 0;
};
struct Renew {
  std::uint32_t agent = 0;
  std::string resource;
};
struct StationClosed {
  std::uint32_t station = 0;
};
}  // namespace resource

using ResourceCommand =
    std::variant<resource::Acquire, resource::AcquireAll, resource::Release, resource::ReleaseAll,
                 resource::Renew, resource::StationClosed>;

enum class ResourceNotice : std::uint8_t { granted, timed_out, victim, cancelled, expired };
constexpr ResourceNotice last_of(ResourceNotice) noexcept { return ResourceNotice::expired; }
struct ResourceNews {
  ResourceNotice kind = ResourceNotice::granted;
  std::uint32_t agent = 0;
  std::uint64_t ticket = 0;  // 0: it concerns what it held
  std::uint64_t fence = 0;   // of the last of a group
  std::string resource;      // of a group the last
};
struct ResourceReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  std::uint64_t ticket = 0;
  std::uint64_t fence = 0;
  std::uint32_t count = 0;  // of ReleaseAll and StationClosed: what was given up
  std::vector<ResourceNews> news;
};
struct ResourceCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t held = 0;      // began to be held
  std::uint64_t given_up = 0;  // of those, by whomever
  std::uint64_t expired = 0;   // of those, because the lease was over
  std::uint64_t waits = 0;
  std::uint64_t granted = 0;  // waits that ended so
  std::uint64_t timed_out = 0;
  std::uint64_t victims = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t hold_ns = 0;  // the sum of all that was given up
};
struct ResourceActions {
  std::vector<ResourceNews> news;
  bool view_changed = false;
  Nanos next_tick{0};
};

// What stands for an agent's hold of a resource.
[[nodiscard]] inline IdHash hash_of_holding(std::uint32_t agent,
                                            std::string_view resource) noexcept {
  return hash_of(hash_of(resource).low, agent);
}

class ResourceManager final
    : public ServiceForm<ResourceManager, ResourceManagerConfig, ResourceCommand, ResourceReply,
                         ResourceCounters, ResourceActions> {
 public:
  // Events have the names of the bus. a: agent; b: fence or ticket; c: hash of the resource.
  static Status validate(const Config& config);
  explicit ResourceManager(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] LockView view(std::string_view resource) const noexcept {
    return locks_.view(resource);
  }
  [[nodiscard]] bool holds(std::uint32_t agent, std::string_view resource) const noexcept;
  [[nodiscard]] std::uint64_t waits(std::uint32_t agent) const noexcept;  // its ticket, or 0
  // Why it waits: for what, until when, behind whom. Of a group for the one that it is at.
  [[nodiscard]] LockWaitView explain(std::uint64_t ticket) const;
  // ok: somebody holds it under this fence now.
  [[nodiscard]] Errc judge(std::string_view resource, std::uint64_t fence) const noexcept {
    return locks_.judge(resource, fence);
  }
  // Of all that was given up since this owner began. Not part of a snapshot.
  [[nodiscard]] const LogHistogram& hold_times() const noexcept { return hold_times_; }

  [[nodiscard]] std::uint64_t state_hash() const;
  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"resource_manager", 1};
  static constexpr std::string_view kWho = "resource manager";
  static constexpr std::uint32_t kNone = IdTable::kNone;

  struct Name {
    std::array<char, kNameBytesMax> bytes{};
    std::uint8_t size = 0;
    [[nodiscard]] std::string_view text() const noexcept { return {bytes.data(), size}; }
  };
  struct Holding {
    Name name;
    std::uint64_t grant = 0;
    std::uint64_t fence = 0;
    std::int64_t since_ns = 0;
    std::uint32_t agent = 0;
    std::uint32_t station = 0;
    std::uint32_t count = 0;  // how often it was acquired
    bool in_group = false;    // of a ticket that is not answered yet
  };
  struct Wait {
    std::uint64_t ticket = 0;       // 0: it does not wait
    std::uint64_t lock_ticket = 0;  // of the one that it waits for now
    std::int64_t deadline_ns = 0;
    std::uint32_t priority = 0;
    std::uint32_t station = 0;
    std::uint32_t next = 0;  // of names
    std::uint32_t count = 0;
    bool shared = false;
    std::array<Name, kGroupMax> names;
  };

  static LockManagerConfig lock_config(const Config& config);
  Reply on(const resource::Acquire& order, std::int64_t now_ns) noexcept;
  Reply on(const resource::AcquireAll& order, std::int64_t now_ns) noexcept;
  Reply on(const resource::Release& order, std::int64_t now_ns) noexcept;
  Reply on(const resource::ReleaseAll& order, std::int64_t now_ns) noexcept;
  Reply on(const resource::Renew& order, std::int64_t now_ns) noexcept;
  Reply on(const resource::StationClosed& order, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc check(const resource::AcquireAll& order) const noexcept;
  Reply go_on(std::uint32_t agent, std::int64_t now_ns) noexcept;
  Nanos catch_up(std::int64_t now_ns) noexcept;
  LockReply ask(const LockCommand& command, std::int64_t now_ns) noexcept;
  void hear(std::int64_t now_ns) noexcept;
  void hear(const LockNews& one, std::int64_t now_ns) noexcept;
  void end_wait(std::uint32_t agent, ResourceNotice why, std::int64_t now_ns) noexcept;
  void drop_group(std::uint32_t agent, std::int64_t now_ns) noexcept;
  void keep(std::uint32_t agent, const Name& name, const LockReply& grant,
            std::int64_t now_ns) noexcept;
  void give_up(std::uint32_t slot, std::int64_t now_ns) noexcept;
  bool let_go(std::uint32_t slot, std::int64_t now_ns) noexcept;
  template <class Which>
  std::uint32_t let_go_where(Which&& which, std::int64_t now_ns) noexcept;
  void tell(const Wait& wait, std::uint32_t agent, ResourceNotice kind,
            std::uint64_t fence) noexcept;
  std::uint32_t give_up_all(std::uint32_t agent, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t find(std::uint32_t agent, std::string_view resource) const noexcept;

  void save_state(StateWriter& writer) const;
  void save_own(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_waits(StateReader& reader);

  LockManager locks_;
  std::vector<Holding> holdings_;
  SlotSet slots_;
  IdTable index_;  // by agent and name
  IdTable by_grant_;
  std::vector<Wait> waits_;
  std::uint64_t last_ticket_ = 0;
  std::vector<LockNews> heard_;  // of the lock, and not looked at yet
  std::vector<ResourceNews> news_;
  std::vector<std::string_view> sorted_;
  LogHistogram hold_times_;
  bool view_changed_ = true;
};

static_assert(DurableService<ResourceManager>);

// Holds a resource as long as it lives. `manager` and the clock outlive it.
template <class Clock>
class HeldResource {
 public:
  HeldResource(ResourceManager& manager, resource::Acquire order, Clock clock)
      : manager_(&manager), order_(std::move(order)), clock_(std::move(clock)) {
    order_.timeout = Nanos{0};
    reply_ = manager_->apply(order_, clock_());
  }
  ~HeldResource() {
    if (is_held()) manager_->apply(resource::Release{order_.agent, order_.resource}, clock_());
  }
  HeldResource(const HeldResource&) = delete;
  HeldResource& operator=(const HeldResource&) = delete;

  [[nodiscard]] bool is_held() const noexcept {
    return reply_.code == Errc::ok && reply_.refusal == Refusal::none;
  }
  [[nodiscard]] const ResourceReply& reply() const noexcept { return reply_; }

 private:
  ResourceManager* manager_;
  resource::Acquire order_;
  Clock clock_;
  ResourceReply reply_;
};

// Calls `work(fence)` while `order` is held; would_block where it is taken. try-lock: a machine
// that waits has nobody to wake it.
template <class Clock, class Work>
ResourceReply with_resource(ResourceManager& manager, const resource::Acquire& order, Clock clock,
                            Work&& work) {
  const HeldResource<Clock> held(manager, order, clock);
  if (held.is_held()) work(held.reply().fence);
  return held.reply();
}

}  // namespace mesh::tasks

namespace mesh::coordination {
extern template class ServiceForm<tasks::ResourceManager, tasks::ResourceManagerConfig,
                                  tasks::ResourceCommand, tasks::ResourceReply,
                                  tasks::ResourceCounters, tasks::ResourceActions>;
}  // namespace mesh::coordination
