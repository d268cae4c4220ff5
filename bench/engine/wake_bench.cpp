// What sleeping costs: one message there and its answer back, with everybody parked at once when
// idle, beside the same four wake-ups by bare eventfds, round by round.
//
//     engine_wake_bench [--quick] [--json]
//
// One thread has two stations' agents, the engine is on the other core. A message wakes the engine,
// the engine wakes the target's station, whose answer wakes the engine, which wakes the sender. The
// bare round trip is two threads that wake each other twice.
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "bench/across.hpp"
#include "bench/interleave.hpp"
#include "engine/engine.hpp"
#include "engine/station/station.hpp"
#include "shm/event_fd.hpp"

namespace mesh::bench {
namespace {

using engine::Answer;
using engine::Delivery;
using engine::Engine;
using engine::Station;

constexpr HostTime kNever = from_ns(std::int64_t{1} << 60);

// Two threads on two cores; each sleeps until the other signals.
class BarePair {
 public:
  BarePair()
      : there_(shm::EventFd::create().value()),
        back_(shm::EventFd::create().value()),
        thread_([this] { echo(); }) {}
  ~BarePair() {
    ending_.store(true, std::memory_order_relaxed);  // relaxed: the signal orders it
    static_cast<void>(there_.signal());
    thread_.join();
  }
  BarePair(const BarePair&) = delete;
  BarePair& operator=(const BarePair&) = delete;

  // Microseconds of four wake-ups.
  double twice_there_and_back() {
    const std::int64_t start = now_ns();
    for (int i = 0; i < 2; ++i) {
      static_cast<void>(there_.signal());
      sleep_on(back_);
    }
    return static_cast<double>(now_ns() - start) * 1e-3;
  }

 private:
  static void sleep_on(const shm::EventFd& event) {
    while (event.wait_until(kNever, HostTime{}) != shm::WaitStatus::kSignalled) {
    }
    static_cast<void>(event.drain());
  }
  void echo() {
    pin(cores().there);
    for (;;) {
      sleep_on(there_);
      // relaxed: ordered by the signal.
      if (ending_.load(std::memory_order_relaxed)) return;
      static_cast<void>(back_.signal());
    }
  }

  shm::EventFd there_;
  shm::EventFd back_;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

std::unique_ptr<Engine> start(const std::string& directory) {
  engine::EngineOptions options;
  options.directory = directory;
  options.size = {.agents = 64, .stations = 2};
  options.wait = queues::WaitPolicy::kPark;
  options.cpu = cores().there;
  return Engine::start(options).value();
}

// Two stations, one on this thread and one on a thread of its own, both on this core.
class Pair {
 public:
  explicit Pair(const std::string& directory) : from_(attach(directory)) {
    std::atomic<bool> ready{false};
    thread_ = std::thread([this, directory, &ready] {
      const auto station = attach(directory);
      to_ = station->enrol(std::vector<engine::AgentDeclaration>{{"to"}}).value().front();
      ready.store(true, std::memory_order_release);  // SYNC bench.enrolled release
      while (!station->is_lost()) {
        station->poll(16, [](const Delivery&) { return Answer::ready(); });
        static_cast<void>(station->wait(station->now() + Nanos{kNsPerSecond}));
      }
    });
    while (!ready.load(std::memory_order_acquire))
      std::this_thread::yield();  // SYNC bench.enrolled acquire
    agent_ = from_->enrol(std::vector<engine::AgentDeclaration>{{"from"}}).value().front();
  }
  ~Pair() { thread_.join(); }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  double message_and_answer() {
    engine::SendOptions options;
    options.source = agent_;
    options.target = to_;
    const std::int64_t start = now_ns();
    MESH_ASSERT(from_->send(options, {}) == engine::SendStatus::sent);
    from_->flush();
    for (bool answered = false; !answered;) {
      static_cast<void>(from_->wait(from_->now() + Nanos{kNsPerSecond}));
      from_->poll(1, [&](const Delivery&) {
        answered = true;
        return Answer::ready();
      });
    }
    return static_cast<double>(now_ns() - start) * 1e-3;
  }

 private:
  static std::unique_ptr<Station> attach(const std::string& directory) {
    engine::StationOptions options;
    options.wait.policy = queues::WaitPolicy::kPark;
    return Station::attach(directory, options).value();
  }
  std::unique_ptr<Station> from_;
  AgentId agent_{};
  AgentId to_{};
  std::thread thread_;
};

void show(const char* name, const std::vector<double>& samples, bool json) {
  const Latency all = latency_of(samples);
  if (json) {
    std::cout << "{\"name\":\"" << name << "\",\"p50\":" << all.p50 << ",\"p99\":" << all.p99
              << ",\"p999\":" << all.p999 << ",\"max\":" << all.max << "}\n";
  } else {
    std::cout << "  " << std::left << std::setw(34) << name << std::right << " p50 " << all.p50
              << "  p99 " << all.p99 << "  p99.9 " << all.p999 << "  max " << all.max << '\n';
  }
}

void run(unsigned rounds, bool json) {
  std::string folder = "/dev/shm/mesh_wake_bench_XXXXXX";
  MESH_ASSERT(::mkdtemp(folder.data()) != nullptr);
  std::vector<double> ours, bare, over;
  engine::EngineStatus status;
  {
    auto engine = start(folder + "/mesh");
    pin(cores().here);
    BarePair eventfds;
    Pair stations(engine->directory());
    for (unsigned round = 0; round < rounds; ++round) {
      bare.push_back(eventfds.twice_there_and_back());
      ours.push_back(stations.message_and_answer());
      over.push_back(ours.back() / bare.back());
    }
    status = engine->status().value();
    engine.reset();  // it takes the mesh away, and the other station ends
  }
  std::error_code ignored;  // the engine took its files away
  std::filesystem::remove_all(folder, ignored);
  show("message and answer, all parked, us", ours, json);
  show("four bare eventfd wake-ups, us", bare, json);
  show("ours over bare", over, json);
  const auto messages = static_cast<double>(rounds);
  const double parks = static_cast<double>(status.parks) / messages;
  const double wakes = static_cast<double>(status.counters.wakes) / messages;
  if (json) {
    std::cout << "{\"name\":\"engine, a message\",\"parks\":" << parks << ",\"wakes\":" << wakes
              << "}\n";
  } else {
    std::cout << "  the engine, a message and its answer: parked " << parks << " times, woke "
              << wakes << " stations\n";
  }
}

}  // namespace
}  // namespace mesh::bench

int main(int argc, char** argv) {
  bool quick = std::getenv("MESH_BENCH_QUICK") != nullptr;
  bool json = false;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--quick") quick = true;
    if (std::string_view(argv[i]) == "--json") json = true;
  }
  const unsigned rounds = quick ? 1'000 : 20'000;
  if (!json) {
    std::cout << mesh::bench::context() << "\nwake-ups; " << rounds << " rounds\n";
  }
  static_cast<void>(mesh::bench::cores());  // before this thread is pinned
  mesh::bench::run(rounds, json);
  if (!json) std::cout << "  probe " << mesh::bench::probe_round_trip_ns() << " ns\n";
  return 0;
}
