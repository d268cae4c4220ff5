#include "tools/demo_run.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "engine/engine.hpp"
#include "sched/pinning.hpp"
#include "shm/event_fd.hpp"
#include "shm/system_error.hpp"
#include "tools/progress_bar.hpp"
#include "tools/stop_signals.hpp"

namespace mesh::tools {
namespace {

constexpr Nanos kHorizon{1'500 * kNsPerMs};
constexpr Nanos kWindow{500 * kNsPerMs};
constexpr double kWeight = 1;  // of every payload here

// A fresh directory, gone with the object. Its name says whose it is: of a process that was killed
// it stays, and whoever removes such ones must not touch those of demos that run.
class DemoDirectory {
 public:
  static Result<DemoDirectory> create() {
    std::string path = fmt::format("/dev/shm/mesh30k-demo-{}-{}-XXXXXX", getuid(), getpid());
    if (mkdtemp(path.data()) == nullptr) return shm::system_failure("mkdtemp " + path, errno);
    return DemoDirectory(std::move(path));
  }
  ~DemoDirectory() {
    std::error_code ignored;  // what cannot be removed was not ours to begin with
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  DemoDirectory(DemoDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  DemoDirectory& operator=(DemoDirectory&&) = delete;
  DemoDirectory(const DemoDirectory&) = delete;
  DemoDirectory& operator=(const DemoDirectory&) = delete;

  [[nodiscard]] std::string mesh() const { return path_ + "/mesh"; }

 private:
  explicit DemoDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Ends what the engine's callers wait for when the user stops, or a swarm process dies.
class Watcher {
 public:
  static Result<std::unique_ptr<Watcher>> start(SwarmFleet& fleet, engine::Engine& engine,
                                                const StopSignals& stop) {
    MESH_TRY(shm::EventFd end, shm::EventFd::create());
    return std::unique_ptr<Watcher>(new Watcher(fleet, engine, stop, std::move(end)));
  }
  ~Watcher() { join(); }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // Ends the watch. Why the demo could not go on; nothing where it could.
  Status join() {
    // One signal: its counter cannot be full, and nobody else has it.
    static_cast<void>(end_.signal());
    if (thread_.joinable()) thread_.join();
    return seen_;
  }

 private:
  Watcher(SwarmFleet& fleet, engine::Engine& engine, const StopSignals& stop, shm::EventFd end)
      : end_(std::move(end)), thread_([this, &fleet, &engine, &stop] {
          seen_ = fleet.wait_for_an_end(std::array{stop.fd(), end_.fd()});
          if (seen_ && stop.requested()) seen_ = fail(Errc::closed, "stopped before it was done");
          if (!seen_) engine.stop();
        }) {}

  shm::EventFd end_;
  Status seen_;  // the thread's until it has been joined
  std::thread thread_;
};

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

class Demo {
 public:
  explicit Demo(const DemoOptions& options)
      : options_(options),
        population_({.seed = options.swarm.seed,
                     .profile = options.swarm.profile,
                     .change_at = options.operations / 2}) {}

  Result<DemoOutcome> run(const StopSignals& stop, const std::string& directory);

 private:
  Status start(const std::string& directory);
  Status enrol(const StopSignals& stop);
  Status run_operations(ProgressBar& progress);
  [[nodiscard]] DemoOperation describe(engine::OperationReport report);

  const DemoOptions& options_;
  SwarmPopulation population_;
  std::unique_ptr<engine::Engine> engine_;
  std::optional<SwarmFleet> fleet_;
  struct Medians {
    double first_ms = 0;
    double later_ms = 0;  // once its bias has changed
  };
  [[nodiscard]] double median_of(std::uint32_t index, double bias) const {
    const Medians& medians = medians_ms_[index];
    return bias == drawn_[index].bias ? medians.first_ms : medians.later_ms;
  }

  std::vector<AgentDraw> drawn_;
  std::vector<Medians> medians_ms_;
  std::vector<std::uint32_t> deliveries_;  // that each agent had
  std::unordered_map<AgentId, std::uint32_t> index_of_;
  DemoOutcome outcome_;
};

// The engine has the last cpu for itself where there is more than one.
Result<std::optional<int>> choose_engine_cpu() {
  MESH_TRY(const std::vector<int> cpus, sched::allowed_cpus());
  if (cpus.size() < 2) return std::optional<int>();
  return std::optional<int>(cpus.back());
}

Status Demo::start(const std::string& directory) {
  const SwarmCommand& swarm = options_.swarm;
  MESH_TRY(const std::optional<int> cpu, choose_engine_cpu());
  engine::EngineOptions options;
  options.directory = directory;
  options.size = {.agents = swarm.agents, .stations = swarm.processes};
  options.cpu = cpu;
  if (cpu) options.fifo_priority = 1;  // where it may
  MESH_TRY(engine_, engine::Engine::start(options));
  MESH_TRY(SwarmFleet fleet, SwarmFleet::start(swarm, {.directory = directory,
                                                       .change_at = population_.options().change_at,
                                                       .engine_cpu = cpu}));
  fleet_.emplace(std::move(fleet));
  return {};
}

Status Demo::enrol(const StopSignals& stop) {
  MESH_TRY(const std::vector<AgentId> ids, fleet_->wait_for_ids(stop.fd()));
  if (stop.requested()) return fail(Errc::closed, "stopped before it was done");
  for (std::uint32_t i = 0; i < ids.size(); ++i) {
    index_of_.emplace(ids[i], i);
    const AgentDraw drawn = population_.agent(i);
    drawn_.push_back(drawn);
    const double median = median_ms(drawn, drawn.bias, kWeight);
    const bool changes = drawn.bias_later != drawn.bias;
    medians_ms_.push_back({median, changes ? median_ms(drawn, drawn.bias_later, kWeight) : median});
  }
  deliveries_.resize(ids.size());
  return {};
}

DemoOperation Demo::describe(engine::OperationReport report) {
  DemoOperation operation;
  operation.agents = options_.swarm.agents;
  operation.processes = options_.swarm.processes;
  operation.finished = std::move(report.finished);
  operation.targets.reserve(deliveries_.size());
  std::vector<bool> is_sent(deliveries_.size());
  for (const engine::TargetTrace& trace : report.trace) {
    const auto found = index_of_.find(trace.agent);
    if (found == index_of_.end()) continue;  // none but ours can be in this mesh
    const std::uint32_t index = found->second;
    if (trace.sent_ns == 0) continue;
    const std::uint32_t delivery = deliveries_[index]++;
    const double bias = population_.bias_at(index, delivery);
    const DeliveryDraw drawn =
        population_.delivery(index, {.delivery = delivery, .weight = kWeight});
    const std::int64_t drawn_ns = drawn.delay_ns + drawn.processing_ns;
    is_sent[index] = true;
    operation.targets.push_back(
        {index, drawn_[index], bias, median_of(index, bias), drawn_ns, trace});
  }
  // Who was not sent to stands in the trace all the same.
  for (std::uint32_t index = 0; index < is_sent.size(); ++index) {
    if (is_sent[index]) continue;
    const double bias = population_.bias_at(index, deliveries_[index]);
    operation.targets.push_back({index, drawn_[index], bias, median_of(index, bias), 0, {}});
  }
  return operation;
}

Status Demo::run_operations(ProgressBar& progress) {
  engine::OperationRequest request;
  request.horizon = kHorizon;
  request.window = kWindow;
  request.weight = static_cast<float>(kWeight);
  for (std::uint32_t i = 0; i < options_.operations; ++i) {
    progress.show(i, options_.operations,
                  fmt::format("operation {} of {}", i + 1, options_.operations));
    MESH_TRY(engine::OperationReport report, engine_->scatter(request, true));
    const DemoOperation operation = describe(std::move(report));
    outcome_.report.add(operation);
    if (options_.trace == nullptr) continue;
    write_trace(i + 1, operation, *options_.trace);
    options_.trace->flush();  // who follows the file sees whole operations
  }
  return {};
}

Result<DemoOutcome> Demo::run(const StopSignals& stop, const std::string& directory) {
  const auto started = std::chrono::steady_clock::now();
  ProgressBar progress(options_.progress);
  if (options_.trace != nullptr) write_trace_header(*options_.trace);
  progress.show(0, options_.operations, fmt::format("enrolling {} agents", options_.swarm.agents));
  MESH_CHECK_OK(start(directory));
  MESH_CHECK_OK(enrol(stop));
  outcome_.run.enrol_ms = milliseconds_since(started);
  MESH_TRY(const auto watcher, Watcher::start(*fleet_, *engine_, stop));
  const Status operations = run_operations(progress);
  // Why it ended says more than what then failed.
  MESH_CHECK_OK(watcher->join());
  MESH_CHECK_OK(operations);
  MESH_TRY(const engine::EngineStatus status, engine_->status());
  outcome_.run.lateness = status.lateness;
  fleet_->stop();
  engine_.reset();
  outcome_.run.profile = options_.swarm.profile;
  outcome_.run.seed = options_.swarm.seed;
  outcome_.run.total_s = milliseconds_since(started) / 1'000;
  return std::move(outcome_);
}

}  // namespace

Result<DemoOutcome> run_demo(const DemoOptions& options) {
  MESH_TRY(const StopSignals stop, StopSignals::create());
  MESH_TRY(const DemoDirectory directory, DemoDirectory::create());
  Demo demo(options);  // gone first: its processes, then its engine
  return demo.run(stop, directory.mesh());
}

}  // namespace mesh::tools
