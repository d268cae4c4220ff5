// Conflicts through a whole engine: stations answer in CONFLICT, the loop notes it, the office
// records it in a store on a disk, carries out a strategy, and records each step.
//
//     engine_conflicts_bench [--quick]     1,000,000 records; --quick: 30,000
//
//   lateness   of dispatch, with the same operations answered READY and nothing recorded, and with
//              each answer a conflict of three records. Bar: p99 within 2x
//   appended   records a second until the last conflict is resolved. Bar: 20,000
//   reload     HASH_MISMATCH to the last step's record, an agent's process in between. Bar: p99
//              100 ms
//   queries    the newest 100 by time, agent and type of all of them. Bar: 50 ms each
//   verify     the whole chain, then one record edited below the database: it is named
//
// The store is made where the program is started, and taken away.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <future>
#include <iomanip>
#include <iostream>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include <sqlite3.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "engine/engine.hpp"
#include "engine/station/station.hpp"
#include "engine/store/store.hpp"
#include "shm/base/assert.hpp"

namespace mesh::bench {
namespace {

using engine::Answer;
using engine::Engine;
using nlohmann::json;

constexpr std::uint32_t kAgents = 100;
constexpr std::uint64_t kRecordsEach = 3;  // the conflict, its clocks, their order
constexpr std::uint64_t kAheadMax = 10'000;
constexpr const char* kEvents = R"({"events":[
  {"agent":"a","at_ns":2,"clock":{"a":1}},
  {"agent":"b","at_ns":1,"clock":{"a":1,"b":1}}]})";

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
double us_of(std::int64_t ns) { return static_cast<double>(ns) / 1e3; }
std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Agents of one process. "?" is answered as `answer` says, what the mesh tells them READY.
class Agents {
 public:
  Agents(const Engine& engine, sched::ConflictType answer) : answer_(answer) {
    std::promise<void> up;
    pump_ = std::thread([this, &up, directory = engine.directory()] { run(directory, up); });
    up.get_future().wait();
  }
  ~Agents() {
    over_.store(true, std::memory_order_relaxed);  // relaxed: the join orders what follows
    pump_.join();
  }
  Agents(const Agents&) = delete;
  Agents& operator=(const Agents&) = delete;
  [[nodiscard]] const std::vector<AgentId>& ids() const { return ids_; }

 private:
  void run(const std::string& directory, std::promise<void>& up) {
    engine::StationOptions options{.name = "agents", .agents = kAgents};
    options.load_context = [](AgentId, std::span<const std::byte>) -> Status { return {}; };
    const auto station = std::move(engine::Station::attach(directory, options).value());
    std::vector<engine::AgentDeclaration> agents;
    for (std::uint32_t i = 0; i < kAgents; ++i) agents.push_back({"agent-" + std::to_string(i)});
    ids_ = station->enrol(agents).value();
    if (answer_ == sched::ConflictType::hash_mismatch)
      for (const AgentId id : ids_) MESH_ASSERT(station->set_context(id, bytes_of("context")));
    up.set_value();                                   // `up` is gone from here on
    while (!over_.load(std::memory_order_relaxed)) {  // relaxed: as above
      station->poll(256, [&](const engine::Delivery& delivery) {
        if (delivery.text() != "?" || answer_ == sched::ConflictType::none) return Answer::ready();
        return Answer::in_conflict(answer_, {1, 2}, bytes_of(kEvents));
      });
      static_cast<void>(station->wait(station->now() + Nanos{10 * kNsPerMs}));
    }
  }
  sched::ConflictType answer_;
  std::vector<AgentId> ids_;
  std::atomic<bool> over_{false};
  std::thread pump_;
};

class Mesh {
 public:
  explicit Mesh(const std::string& store) {
    engine::EngineOptions options;
    options.directory = "/dev/shm/mesh_bench_" + std::to_string(::getpid());
    options.size = {.agents = 300, .stations = 4};
    options.loop.watch.breakers.cluster_failures_max = 1U << 30;  // a wrong hash is a failure
    options.conflicts.store = store;
    auto started = Engine::start(options);
    MESH_ASSERT(started.has_value());
    engine_ = std::move(*started);
  }
  [[nodiscard]] Engine& engine() { return *engine_; }
  [[nodiscard]] json conflicts() const {
    auto client = engine::ControlClient::connect(engine_->directory(), {});
    return json::parse(client->request(R"({"op": "status"})").value())["conflicts"];
  }
  // `operations` of all agents, `a_second` of them begun a second; `may_go_on` holds them back.
  void ask_all(std::uint64_t operations, double a_second,
               const std::function<bool(std::uint64_t begun)>& may_go_on) {
    const auto start = std::chrono::steady_clock::now();
    std::atomic<std::uint64_t> next{0};
    const auto work = [&] {
      for (;;) {
        const std::uint64_t at = next.fetch_add(1, std::memory_order_relaxed);  // relaxed: a ticket
        if (at >= operations) return;
        while (seconds_since(start) < static_cast<double>(at) / a_second || !may_go_on(at))
          ::usleep(500);
        engine::OperationRequest request;
        request.horizon = request.window = Nanos{100 * kNsPerMs};
        request.body = bytes_of("?");
        MESH_ASSERT(engine_->scatter(request, false).has_value());
      }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 16; ++i) threads.emplace_back(work);
    for (std::thread& thread : threads) thread.join();
  }
  void print_lateness(const std::string& what) {
    const auto late = engine_->status()->lateness;
    std::cout << std::left << std::setw(34) << what << "p50 " << us_of(late.p50_ns) << " us, p99 "
              << us_of(late.p99_ns) << " us, max " << us_of(late.max_ns) << " us, " << late.buckets
              << " buckets\n";
  }

 private:
  std::unique_ptr<Engine> engine_;
};

void record(Mesh& mesh, std::uint64_t records, double a_second) {
  const std::uint64_t conflicts = (records + kRecordsEach - 1) / kRecordsEach;
  std::uint64_t resolved = 0;
  std::mutex mutex;
  auto looked = std::chrono::steady_clock::now();
  const auto look = [&] {
    const std::lock_guard lock(mutex);
    if (seconds_since(looked) > 0.1) {
      looked = std::chrono::steady_clock::now();
      const json status = mesh.conflicts();
      resolved = status["resolved"].get<std::uint64_t>() +
                 status["for_person"].get<std::uint64_t>() + status["refused"].get<std::uint64_t>();
    }
    return resolved;
  };
  const auto start = std::chrono::steady_clock::now();
  mesh.ask_all((conflicts + kAgents - 1) / kAgents, a_second,
               [&](std::uint64_t begun) { return begun * kAgents < look() + kAheadMax; });
  json status;
  do {
    ::usleep(10'000);
    status = mesh.conflicts();
  } while (status["resolved"].get<std::uint64_t>() + status["for_person"].get<std::uint64_t>() <
           status["noted"].get<std::uint64_t>());
  const double took = seconds_since(start);
  const auto done = status["resolved"].get<std::uint64_t>();
  std::cout << "appended                          "
            << static_cast<std::uint64_t>(static_cast<double>(done * kRecordsEach) / took)
            << " records/s: " << done << " conflicts resolved in " << took << " s, "
            << status["for_person"] << " for a person, " << status["refused"] << " refused\n";
}

void reload(const std::string& store, std::uint64_t rounds) {
  Mesh mesh(store);
  const Agents agents(mesh.engine(), sched::ConflictType::hash_mismatch);
  std::uint64_t begun = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const auto answer =
        mesh.engine().ask(agents.ids()[round % kAgents], bytes_of("?"), Nanos{kNsPerSecond});
    begun += answer && answer->state == sched::TrinaryState::conflict ? 1U : 0U;
    while (mesh.conflicts()["resolved"].get<std::uint64_t>() < begun) ::usleep(500);
  }
  const auto opened = engine::open_store({.where = store}).value();
  std::map<engine::SubjectId, std::pair<std::int64_t, std::int64_t>> spans;
  const auto records = opened->find({.limit = engine::kQueryLimitMax}).value();
  for (const engine::StoredRecord& one : records) {
    auto& [from, until] = spans[one.record.subject];
    const auto at = static_cast<std::int64_t>(one.record.at);
    if (one.record.step == 0) from = at;
    if (one.record.state == engine::ConflictState::resolved) until = at;
  }
  std::vector<double> took_ms;
  for (const auto& [subject, span] : spans)
    if (span.first != 0 && span.second != 0)
      took_ms.push_back(static_cast<double>(span.second - span.first) / 1e6);
  std::sort(took_ms.begin(), took_ms.end());
  MESH_ASSERT(!took_ms.empty());
  std::cout << "reload                            p50 " << took_ms[took_ms.size() / 2]
            << " ms, p99 " << took_ms[took_ms.size() * 99 / 100] << " ms, max " << took_ms.back()
            << " ms, " << took_ms.size() << " agents quarantined, reloaded and released\n";
}

void query(const std::string& store, AgentId agent) {
  const auto opened = engine::open_store({.where = store}).value();
  const WireTime newest = opened->find({.limit = 1})->front().record.at;
  const WireTime minute =
      static_cast<WireTime>(static_cast<std::int64_t>(newest) - 60 * kNsPerSecond);
  const std::vector<std::pair<std::string, engine::RecordQuery>> queries = {
      {"by time", {.from = minute, .until = newest}},
      {"by agent", {.agent = agent}},
      {"by type", {.type = sched::ConflictType::temporal_paradox}}};
  for (const auto& [name, wanted] : queries) {
    double worst_ms = 0;
    for (int i = 0; i < 50; ++i) {
      const auto start = std::chrono::steady_clock::now();
      MESH_ASSERT(!opened->find(wanted)->empty());
      worst_ms = std::max(worst_ms, 1e3 * seconds_since(start));
    }
    std::cout << "query " << std::left << std::setw(28) << name << worst_ms << " ms at most\n";
  }
}

void verify(const std::string& store) {
  const auto start = std::chrono::steady_clock::now();
  const auto whole = engine::open_store({.where = store}).value()->verify({}).value();
  MESH_ASSERT(whole.whole);
  std::cout << "verify                            " << whole.checked << " records whole, "
            << seconds_since(start) << " s\n";
  sqlite3* file = nullptr;
  MESH_ASSERT(sqlite3_open(store.c_str(), &file) == SQLITE_OK);
  const auto edited = whole.checked / 2;
  const std::string script =
      "DROP TRIGGER records_no_update; UPDATE records SET received = x'00' WHERE position = " +
      std::to_string(edited);
  MESH_ASSERT(sqlite3_exec(file, script.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  MESH_ASSERT(sqlite3_close(file) == SQLITE_OK);
  const auto broken = engine::open_store({.where = store}).value()->verify({}).value();
  MESH_ASSERT(!broken.whole);
  std::cout << "edited record " << edited << "           found at " << broken.broken_position
            << "\n";
  MESH_ASSERT(broken.broken_position == edited);
}

void run(bool quick) {
  const std::string folder = "mesh_conflicts_bench." + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  const std::uint64_t records = quick ? 30'000 : 1'000'000;
  const double operations_a_second = 90;  // 9,000 conflicts a second, 27,000 records
  {
    Mesh mesh("");
    const Agents agents(mesh.engine(), sched::ConflictType::none);
    mesh.ask_all(quick ? 100 : 1'000, operations_a_second, [](std::uint64_t) { return true; });
    mesh.print_lateness("lateness, nothing recorded");
  }
  const std::string store = folder + "/conflicts.db";
  AgentId agent{};
  {
    Mesh mesh(store);
    const Agents agents(mesh.engine(), sched::ConflictType::temporal_paradox);
    agent = agents.ids().front();
    record(mesh, records, operations_a_second);
    mesh.print_lateness("lateness, conflicts recorded");
  }
  query(store, agent);
  verify(store);
  reload(folder + "/reload.db", quick ? 50 : 1'000);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace mesh::bench

int main(int count, char** words) {
  bool quick = std::getenv("MESH_BENCH_QUICK") != nullptr;
  for (int i = 1; i < count; ++i) quick = quick || std::strcmp(words[i], "--quick") == 0;
  mesh::bench::run(quick);
  return 0;
}
