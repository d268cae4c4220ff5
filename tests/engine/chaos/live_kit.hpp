// A mesh of real worker processes, for the live driver of chaos experiments: each worker hosts one
// agent, answers READY with the body that it was sent, and "counts" with what it has counted.
#pragma once

#include <array>
#include <fstream>
#include <sstream>

#include "engine/chaos/live_driver.hpp"
#include "shm/hash.hpp"
#include "tests/engine/engine_process.hpp"

namespace mesh::testing {

inline int chaos_worker(const Channel& channel, const std::vector<std::string>& names,
                        bool is_willing) {
  engine::StationOptions options;
  options.name = "of " + names.front();
  options.agents = static_cast<std::uint32_t>(names.size());
  options.engine_patience = kForEver;
  auto attached = engine::Station::attach(channel.hear(), options);
  if (!attached) {
    channel.tell(attached.error().sentence);
    return 1;
  }
  engine::Station& station = **attached;
  for (const std::string& name : names) {
    engine::AgentDeclaration one{name};
    if (is_willing) one.capabilities = {std::string(engine::kChaosAllowed)};
    if (!station.enrol(std::vector{one})) return 1;
  }
  channel.tell("enrolled");
  std::string counts;
  while (!station.is_lost()) {
    station.poll(256, [&](const engine::Delivery& delivery) {
      if (delivery.text() != "how many have you counted?")
        return engine::Answer::ready(delivery.body);
      const auto& c = station.core().counters();
      counts = std::to_string(c.handled) + " " + std::to_string(c.duplicates) + " " +
               std::to_string(c.lost_on_purpose);
      return engine::Answer::ready(bytes_of(counts));
    });
    (void)station.wait(station.now() + Nanos{kNsPerSecond});
  }
  return 0;
}

// 'R', 'S', 'T' (stopped), ...; ' ': it is not there.
inline char state_of(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const std::size_t name_end = text.rfind(')');
  return name_end == std::string::npos ? ' ' : text.at(name_end + 2);
}
inline bool is_stopped(pid_t process) { return state_of(process) == 'T'; }

inline std::int64_t monotonic_ns() { return sched::HostCounters::monotonic_ns(); }

class LiveWorkers {
 public:
  // Children are made before the engine.
  explicit LiveWorkers(std::size_t count, bool are_willing = true) {
    for (std::size_t i = 0; i < count; ++i) {
      workers_.push_back(std::make_unique<Child>([i, are_willing](const Channel& channel) {
        return chaos_worker(channel, {"worker-" + std::to_string(i)}, are_willing);
      }));
    }
  }
  void start(const engine::EngineOptions& options) {
    auto engine = engine::Engine::start(options);
    ASSERT_TRUE(engine.has_value()) << engine.error().sentence;
    engine_ = std::move(*engine);
    attach(options.directory);
  }
  void attach(const std::string& directory) {
    for (const auto& worker : workers_) {
      worker->tell(directory);
      ASSERT_EQ(worker->hear(), "enrolled");
    }
  }
  [[nodiscard]] static engine::EngineOptions options(const std::string& directory) {
    engine::EngineOptions options = engine_options(directory);
    options.stuck_after = kForEver;
    options.allow_live_chaos = true;
    return options;
  }
  [[nodiscard]] engine::GuardedProcess process(std::size_t worker) const {
    const pid_t pid = workers_[worker]->process();
    return {pid, engine::process_start(pid).value(), {}};
  }
  [[nodiscard]] pid_t pid(std::size_t worker) const { return workers_[worker]->process(); }
  [[nodiscard]] Child& child(std::size_t worker) { return *workers_[worker]; }
  [[nodiscard]] engine::Engine& engine() { return *engine_; }
  [[nodiscard]] std::uint32_t row(std::size_t worker) {
    return static_cast<std::uint32_t>(index_of(id(worker)));
  }
  [[nodiscard]] AgentId id(std::size_t worker) {
    return engine_->find("worker-" + std::to_string(worker)).value();
  }
  // What it answers; none: nothing in time.
  struct Told {
    sched::TrinaryState state = sched::TrinaryState::transit;
    std::string body;
    std::int64_t took_ns = 0;
  };
  std::optional<Told> ask(std::size_t worker, Nanos patience,
                          const std::string& text = "a body that is no bare one") {
    const std::int64_t start = monotonic_ns();
    const auto answered = engine_->ask(id(worker), bytes_of(text), patience);
    if (!answered) return std::nullopt;
    const auto* const body = reinterpret_cast<const char*>(answered->body.data());
    return Told{answered->state, std::string(body, answered->body.size()), monotonic_ns() - start};
  }
  bool answers(std::size_t worker) {
    const auto told = ask(worker, Nanos{20 * kNsPerSecond});
    return told && told->state == sched::TrinaryState::ready;
  }
  // handled, duplicates, lost
  std::array<int, 3> counts(std::size_t worker) {
    std::array<int, 3> counts{-1, -1, -1};
    const auto told = ask(worker, Nanos{20 * kNsPerSecond}, "how many have you counted?");
    if (!told) return counts;
    std::istringstream words(told->body);
    for (int& count : counts) words >> count;
    return counts;
  }

 private:
  std::vector<std::unique_ptr<Child>> workers_;
  std::unique_ptr<engine::Engine> engine_;
};

inline coordination::ChaosOrder live_order(coordination::FaultType type, std::uint64_t injection,
                                           Nanos expires) {
  coordination::ChaosOrder order;
  order.type = type;
  order.injection = injection;
  order.ends = expires;
  order.expires = expires;
  return order;
}
inline Nanos in_seconds(std::int64_t seconds) {
  return Nanos{monotonic_ns() + seconds * kNsPerSecond};
}

}  // namespace mesh::testing
