// How late buckets leave: the scheduler thread alone, an idle mesh, a deadline each 1 ms and each
// 10 ms; beside a bare loop that sleeps until 100 us before its next deadline and then spins.
//
//     engine_lateness_bench [--quick] [--json]
//
// Lateness is from a bucket's due to its first slot's publication, by the engine's own histogram.
// The engine has the last core that is allowed; with SCHED_FIFO where that is permitted, and
// without. Bar: p99 1 us where nobody else uses that core. cpu: of the whole process meanwhile.
#include <array>
#include <atomic>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

#include "bench/across.hpp"
#include "bench/interleave.hpp"
#include "engine/agent_rows.hpp"
#include "engine/scheduler_thread.hpp"
#include "sched/lateness.hpp"
#include "sched/pinning.hpp"
#include "shm/event_fd.hpp"

namespace mesh::bench {
namespace {

using engine::SchedulerThread;

constexpr std::uint32_t kAgents = 1'000;  // one for each deadline, at most
constexpr engine::MeshSize kSize{.agents = kAgents, .stations = 1, .agents_per_station = kAgents};
constexpr std::int64_t kSpinBeforeNs = 100 * kNsPerUs;
constexpr Nanos kHorizon{100 * kNsPerMs};  // of the first deadline

struct Run {
  std::int64_t period_ns = 0;
  std::uint32_t deadlines = 0;
  bool fifo = false;
};

struct Figures {
  sched::LatenessHistogram late;
  double cpu_share = 0;
};

double processor_seconds() {
  rusage usage{};
  MESH_ASSERT(::getrusage(RUSAGE_SELF, &usage) == 0);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Work measured from its beginning to its end.
template <class Work>
double cpu_share_of(Work&& work) {
  const double before = processor_seconds();
  const std::int64_t begun = now_ns();
  work();
  return (processor_seconds() - before) / (static_cast<double>(now_ns() - begun) * 1e-9);
}

sched::ThreadOptions thread_options(const Run& run) {
  sched::ThreadOptions options;
  options.cpu = cores().there;
  options.fifo_priority = run.fifo ? 1 : 0;
  return options;
}

// One operation of all agents, each with a lead of its own: a bucket for each. Nobody answers and
// nobody waits.
class OpenAll final : public engine::Job {
 public:
  explicit OpenAll(const Run& run) : run_(run) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    engine::OperationRequest request;
    request.horizon = kHorizon + Nanos{run_.period_ns * run_.deadlines};
    request.window = Nanos{3'600 * kNsPerSecond};  // it ends with the thread
    request.timeout = Nanos{3'600 * kNsPerSecond};
    request.weight = 0;
    MESH_ASSERT(scheduler.loop().open(request, now).has_value());
    return std::nullopt;
  }
  void done() override {}

 private:
  const Run& run_;
};

// Takes the histogram, on the scheduler's thread.
class Look final : public engine::Job {
 public:
  Look(sched::LatenessHistogram& late, std::atomic<bool>& looked) : late_(late), looked_(looked) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime /*now*/) override {
    late_ = scheduler.loop().lateness();
    looked_.store(true, std::memory_order_release);  // SYNC bench.looked release
    return std::nullopt;
  }
  void done() override {}

 private:
  sched::LatenessHistogram& late_;
  std::atomic<bool>& looked_;
};

class Mesh {
 public:
  Mesh()
      : table_layout_(engine::table_layout(kSize).value()),
        payload_(engine::payload_layout(kSize)->total_bytes()),
        engine_(engine::engine_layout(kSize)->total_bytes()),
        in_(engine::station_in_layout(kAgents)->total_bytes()),
        out_(engine::station_out_layout(kAgents)->total_bytes()),
        table_(table_layout_.total_bytes()),
        station_wake_(shm::EventFd::create().value()) {}

  Figures run(const Run& run);

 private:
  static std::span<std::byte> bytes(SharedArea& area, std::size_t size) {
    return {area.at(0), size};
  }
  std::unique_ptr<SchedulerThread> make(const Run& run);

  shm::Layout table_layout_;
  SharedArea payload_, engine_, in_, out_, table_;
  shm::EventFd station_wake_;
};

std::unique_ptr<SchedulerThread> Mesh::make(const Run& run) {
  SchedulerThread::Options options;
  options.memory = {kSize, bytes(table_, table_layout_.total_bytes()),
                    bytes(payload_, engine::payload_layout(kSize)->total_bytes()),
                    bytes(engine_, engine::engine_layout(kSize)->total_bytes())};
  options.loop.z = 0;
  options.thread = thread_options(run);
  options.wake = std::make_shared<const shm::EventFd>(shm::EventFd::create().value());
  options.done = std::make_shared<const shm::EventFd>(shm::EventFd::create().value());
  options.on_corrupt = [](StationId) {};
  options.on_stuck = [](StationId) {};  // nobody reads
  auto& clock = table_layout_.array<sched::ClockWords>(options.memory.table, "clock")->front();
  return SchedulerThread::create(options, clock).value();
}

Figures Mesh::run(const Run& run) {
  const auto scheduler = make(run);
  MESH_ASSERT(
      scheduler->attach({StationId{1},
                         {kAgents, bytes(in_, engine::station_in_layout(kAgents)->total_bytes()),
                          bytes(out_, engine::station_out_layout(kAgents)->total_bytes())},
                         0,
                         &station_wake_},
                        from_ns(now_ns())));
  std::vector<std::string> names;
  for (std::uint32_t i = 0; i < run.deadlines; ++i) names.push_back("agent-" + std::to_string(i));
  std::vector<engine::AgentSpec> specs;
  for (const std::string& name : names) specs.push_back({.name = name});
  MESH_ASSERT(scheduler->loop().enrol(StationId{1}, specs).has_value());
  // Before the thread has it, the table is ours: a lead is half the latency, and what all share.
  const auto rows =
      engine::AgentRows<>::in(table_layout_, bytes(table_, table_layout_.total_bytes())).value();
  const std::int64_t period_us = run.period_ns / kNsPerUs;
  for (std::uint32_t i = 0; i < run.deadlines; ++i) {
    const auto lead_ms = static_cast<float>(period_us) * 1e-3F * static_cast<float>(i);
    rows.latency_ms.store_relaxed(i, 2 * lead_ms);  // relaxed: the thread's start orders it
  }
  MESH_ASSERT(scheduler->start().has_value());
  Figures figures;
  std::atomic<bool> looked{false};
  figures.cpu_share = cpu_share_of([&] {
    MESH_ASSERT(scheduler->post(std::make_unique<OpenAll>(run)) == nullptr);
    ::usleep(static_cast<unsigned>((kHorizon.count() + run.period_ns * run.deadlines) / kNsPerUs));
  });
  MESH_ASSERT(scheduler->post(std::make_unique<Look>(figures.late, looked)) == nullptr);
  while (!looked.load(std::memory_order_acquire)) ::usleep(1'000);  // SYNC bench.looked acquire
  scheduler->stop();
  MESH_ASSERT(figures.late.count() >=
              std::uint64_t{run.deadlines} / 10 * 9);  // a few may share a bucket
  return figures;
}

// What the kernel allows: the same sleep and the same spin, and nothing else.
Figures bare(const Run& run) {
  Figures figures;
  figures.cpu_share = cpu_share_of([&] {
    std::thread loop([&] {
      MESH_ASSERT(sched::prepare_thread(thread_options(run)).has_value());
      const auto event = shm::EventFd::create().value();
      std::int64_t due = now_ns() + kHorizon.count();
      for (std::uint32_t i = 0; i < run.deadlines; ++i, due += run.period_ns) {
        while (now_ns() < due - kSpinBeforeNs) {
          static_cast<void>(event.wait_until(from_ns(due - kSpinBeforeNs), from_ns(now_ns())));
        }
        std::int64_t now = now_ns();
        for (; now < due; now = now_ns()) queues::relax_cpu();
        figures.late.add(now - due);
      }
    });
    loop.join();
  });
  return figures;
}

void show(const char* who, const Run& run, const Figures& figures, bool json) {
  const auto us = [](std::int64_t ns) { return static_cast<double>(ns) / 1e3; };
  const sched::LatenessHistogram& late = figures.late;
  const std::array<double, 4> values = {us(late.quantile_ns(0.5)), us(late.quantile_ns(0.99)),
                                        us(late.quantile_ns(0.999)), us(late.max_ns())};
  const double period_ms = static_cast<double>(run.period_ns) / kNsPerMs;
  if (json) {
    std::cout << "{\"name\":\"" << who << "\",\"period_ms\":" << period_ms
              << ",\"fifo\":" << (run.fifo ? "true" : "false") << ",\"count\":" << late.count()
              << ",\"p50_us\":" << values[0] << ",\"p99_us\":" << values[1]
              << ",\"p999_us\":" << values[2] << ",\"max_us\":" << values[3]
              << ",\"cpu_share\":" << figures.cpu_share << "}\n";
    return;
  }
  std::cout << "  " << std::left << std::setw(12) << who << std::setw(14)
            << (run.fifo ? "SCHED_FIFO" : "SCHED_OTHER") << std::right << std::setw(3) << period_ms
            << " ms: p50 " << values[0] << "  p99 " << values[1] << "  p99.9 " << values[2]
            << "  max " << values[3] << " us; cpu " << figures.cpu_share * 100 << " %\n";
}

void run(bool quick, bool json) {
  std::vector<Run> runs;
  for (const bool fifo : {true, false}) {
    runs.push_back({kNsPerMs, 900, fifo});
    runs.push_back({10 * kNsPerMs, quick ? 100U : 900U, fifo});
  }
  for (int round = 0; round < (quick ? 1 : 3); ++round) {
    for (const Run& one : runs) {
      show("bare loop", one, bare(one), json);
      Mesh mesh;
      show("engine", one, mesh.run(one), json);
    }
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
  if (!json) std::cout << mesh::bench::context() << "\nlateness of buckets\n";
  mesh::bench::run(quick, json);
  return 0;
}
