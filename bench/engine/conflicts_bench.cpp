// Conflicts through a whole engine: processes of agents answer in CONFLICT, the loop notes it, the
// office records it in a store on a disk, carries out a strategy, and records each step.
//
//     engine_conflicts_bench [--quick]     1,000,000 records; --quick: 30,000
//
//   hand-over  what a conflict costs the loop, beside its answer: one note, some bytes carried
//   lateness   of dispatch, in one engine by turns: operations answered READY, and the same
//              operations, as many a second, each answer of which is a conflict. Bar: p99 within 2x
//   appended   records a second, from the first conflict of a turn to the last one's resolution,
//              all turns together. Acknowledged after the commit alone. Bar: 20,000
//   queries    the newest 100 by time, agent and type of all of them, each time of another moment,
//              agent or type. Bar: 50 ms each
//   refused    UPDATE and DELETE by another program
//   verify     the whole chain, then one record edited below the database: it is named
//   reload     HASH_MISMATCH to the last step's record, an agent's process in between. Bar: p99
//              100 ms
//
// The store is made where the program is started, and taken away.
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iomanip>
#include <iostream>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include <sqlite3.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "engine/conflict/note_journal.hpp"
#include "engine/engine.hpp"
#include "engine/station/control_client.hpp"
#include "engine/station/station.hpp"
#include "engine/store/store.hpp"
#include "shm/base/assert.hpp"

namespace mesh::bench {
namespace {

using engine::Answer;
using engine::Engine;
using nlohmann::json;
using sched::LatenessHistogram;

constexpr std::uint32_t kStations = 2;
constexpr std::uint32_t kAgentsEach = 50;
constexpr std::uint32_t kAgents = kStations * kAgentsEach;
constexpr std::uint64_t kAheadMax = 10'000;  // conflicts begun and not resolved
constexpr double kOperationsASecond = 90;    // 9,000 answers
constexpr const char* kReadyText = "r?";
constexpr const char* kConflictText = "c?";
constexpr const char* kHashText = "h?";
constexpr const char* kEvents = R"({"events":[
  {"agent":"a","at_ns":2,"clock":{"a":1}},
  {"agent":"b","at_ns":1,"clock":{"a":1,"b":1}}]})";

using Moment = std::chrono::steady_clock::time_point;
Moment now() { return std::chrono::steady_clock::now(); }
double seconds_since(Moment start) { return std::chrono::duration<double>(now() - start).count(); }
double us_of(std::int64_t ns) { return static_cast<double>(ns) / 1e3; }
std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
double processor_seconds() {
  rusage usage{};
  MESH_ASSERT(::getrusage(RUSAGE_SELF, &usage) == 0);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}
std::ostream& line(const std::string& what) {
  return std::cout << std::left << std::setw(34) << what << std::right;
}

// Seven of eight are the mesh's own to resolve, in three records; the eighth is a person's, in two.
Answer answer_to(std::string_view text, std::uint64_t number) {
  if (text == kHashText) return Answer::in_conflict(sched::ConflictType::hash_mismatch, {1, 2});
  if (text != kConflictText) return Answer::ready();
  const bool is_persons = number % 8 == 0;
  return Answer::in_conflict(
      is_persons ? sched::ConflictType::other : sched::ConflictType::temporal_paradox, {number, 2},
      is_persons ? std::span<const std::byte>() : bytes_of(kEvents));
}

// A process of agents. It hears the directory, and ends with its parent.
int serve(int channel, std::uint32_t number) {
  char directory[256]{};
  if (::read(channel, directory, sizeof directory - 1) <= 0) return 0;
  engine::StationOptions options{.name = "agents-" + std::to_string(number), .agents = kAgentsEach};
  options.load_context = [](AgentId, std::span<const std::byte>) -> Status { return {}; };
  const auto station = std::move(engine::Station::attach(directory, options).value());
  std::vector<engine::AgentDeclaration> agents;
  for (std::uint32_t i = 0; i < kAgentsEach; ++i)
    agents.push_back({"agent-" + std::to_string(number * kAgentsEach + i)});
  const auto ids = station->enrol(agents).value();
  for (const AgentId id : ids) MESH_ASSERT(station->set_context(id, bytes_of("context")));
  MESH_ASSERT(::write(channel, ids.data(), ids.size() * sizeof(AgentId)) > 0);
  for (std::uint64_t answered = 0; !station->is_lost();) {
    station->poll(256, [&](const engine::Delivery& delivery) {
      return answer_to(delivery.text(), ++answered);
    });
    static_cast<void>(station->wait(station->now() + Nanos{10 * kNsPerMs}));
  }
  return 0;
}

// Forked before there are threads.
class Agents {
 public:
  Agents() {
    for (std::uint32_t number = 0; number < kStations; ++number) {
      int ends[2] = {-1, -1};
      MESH_ASSERT(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
      const pid_t process = ::fork();
      MESH_ASSERT(process >= 0);
      if (process == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::close(ends[0]);
        ::_exit(serve(ends[1], number));
      }
      ::close(ends[1]);
      processes_.emplace_back(process, ends[0]);
    }
  }
  ~Agents() {
    for (const auto& [process, channel] : processes_) {
      ::close(channel);
      ::kill(process, SIGKILL);
      ::waitpid(process, nullptr, 0);
    }
  }
  Agents(const Agents&) = delete;
  Agents& operator=(const Agents&) = delete;

  std::vector<AgentId> attach(const std::string& directory) const {
    std::vector<AgentId> all;
    for (const auto& [process, channel] : processes_) {
      MESH_ASSERT(::write(channel, directory.data(), directory.size()) > 0);
      std::array<AgentId, kAgentsEach> ids{};
      MESH_ASSERT(::read(channel, ids.data(), sizeof ids) == sizeof ids);
      all.insert(all.end(), ids.begin(), ids.end());
    }
    return all;
  }

 private:
  std::vector<std::pair<pid_t, int>> processes_;
};

class Mesh {
 public:
  explicit Mesh(const std::string& store) {
    engine::EngineOptions options;
    options.directory = "/dev/shm/mesh_bench_" + std::to_string(::getpid());
    options.size = {.agents = 300, .stations = 4};
    // A wrong hash is a failure, and so is silence on a machine that is busy elsewhere.
    options.loop.watch.breakers.cluster_failures_max = 1U << 30;
    options.loop.watch.breakers.sector_failures_max = 1U << 30;
    options.conflicts.store = store;
    engine_ = std::move(Engine::start(options).value());
  }
  [[nodiscard]] Engine& engine() { return *engine_; }
  [[nodiscard]] std::uint64_t refused() const { return refused_; }
  [[nodiscard]] json conflicts() const { return status()["conflicts"]; }
  [[nodiscard]] json status() const {
    auto client = engine::ControlClient::connect(engine_->directory(), {});
    return json::parse(client->request(R"({"op": "status"})").value());
  }
  // Operations of all agents for so long, kOperationsASecond of them begun a second; `may_go_on`
  // holds them back.
  void ask_all(const char* text, double seconds, const std::function<bool()>& may_go_on) {
    const Moment start = now();
    std::atomic<std::uint64_t> next{0};
    std::mutex mutex;
    const auto work = [&] {
      while (seconds_since(start) < seconds) {
        const std::uint64_t at = next.fetch_add(1, std::memory_order_relaxed);  // relaxed: a ticket
        const double early = static_cast<double>(at) / kOperationsASecond - seconds_since(start);
        if (early > 0) ::usleep(static_cast<useconds_t>(early * 1e6));
        while (!may_go_on()) ::usleep(2'000);
        engine::OperationRequest request;
        // On a busy machine leads are long, and who is skipped for too little time is not heard
        // again.
        request.horizon = Nanos{400 * kNsPerMs};
        request.window = Nanos{100 * kNsPerMs};
        request.body = bytes_of(text);
        const auto report = engine_->scatter(request, false);
        if (report) continue;
        // A machine that is busy elsewhere: nobody can be reached in time.
        const std::lock_guard lock(mutex);
        if (++refused_ == 1) std::cerr << "an operation: " << report.error().sentence << "\n";
      }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 64; ++i) threads.emplace_back(work);
    for (std::thread& thread : threads) thread.join();
  }

 private:
  std::unique_ptr<Engine> engine_;
  std::uint64_t refused_ = 0;
};

// What the office has come to, looked at ten times a second.
class Progress {
 public:
  explicit Progress(const Mesh& mesh) : mesh_(mesh) {}
  // Noted, and neither resolved nor handed to a person.
  std::uint64_t open() {
    const std::lock_guard lock(mutex_);
    if (seconds_since(looked_) > 0.1) look();
    return open_;
  }
  void wait_until_done() {
    for (;; ::usleep(5'000)) {
      const std::lock_guard lock(mutex_);
      look();
      if (open_ == 0 && last_["waiting"] == 0) return;
    }
  }
  [[nodiscard]] const json& last() const { return last_; }

 private:
  void look() {
    looked_ = now();
    last_ = mesh_.conflicts();
    open_ = last_["noted"].get<std::uint64_t>() - last_["resolved"].get<std::uint64_t>() -
            last_["for_person"].get<std::uint64_t>();
  }
  const Mesh& mesh_;
  std::mutex mutex_;
  Moment looked_ = now();
  std::uint64_t open_ = 0;
  json last_;
};

std::uint64_t records_in(const std::string& store) {
  return engine::open_store({.where = store}).value()->head()->position;
}

void print_lateness(const std::string& what, const LatenessHistogram& late) {
  line(what) << "p50 " << us_of(late.quantile_ns(0.5)) << " us, p90 "
             << us_of(late.quantile_ns(0.9)) << " us, p99 " << us_of(late.quantile_ns(0.99))
             << " us, max " << us_of(late.max_ns()) << " us, " << late.count() << " buckets\n";
}

// By turns of `seconds`, until the store has so many records.
void record(Mesh& mesh, const std::string& store, std::uint64_t wanted, double seconds) {
  LatenessHistogram idle;
  LatenessHistogram loaded;
  Progress progress(mesh);
  double took = 0;
  double processor = 0;
  std::uint64_t records = 0;
  std::uint32_t turns = 0;
  mesh.ask_all(kReadyText, seconds, [] { return true; });  // warms up, and counts nowhere
  while (records < wanted) {
    const LatenessHistogram first = mesh.engine().lateness().value();
    mesh.ask_all(kReadyText, seconds, [] { return true; });
    const LatenessHistogram second = mesh.engine().lateness().value();
    const Moment start = now();
    const double before = processor_seconds();
    mesh.ask_all(kConflictText, seconds, [&] { return progress.open() < kAheadMax; });
    const LatenessHistogram third = mesh.engine().lateness().value();
    progress.wait_until_done();
    took += seconds_since(start);
    processor += processor_seconds() - before;
    idle.add(second.since(first));
    loaded.add(third.since(second));
    records = records_in(store);
    ++turns;
  }
  print_lateness("lateness, answered READY", idle);
  print_lateness("lateness, answered in CONFLICT", loaded);
  line("") << "p99 " << std::setprecision(3)
           << static_cast<double>(loaded.quantile_ns(0.99)) /
                  static_cast<double>(idle.quantile_ns(0.99))
           << " times, " << turns << " turns each\n";
  const json counters = mesh.status()["counters"];
  line("appended") << static_cast<std::uint64_t>(static_cast<double>(records) / took)
                   << " records/s: " << records << " in " << took << " s; "
                   << progress.last()["noted"] << " conflicts, " << progress.last()["recorded"]
                   << " recorded, " << progress.last()["resolved"] << " resolved, "
                   << progress.last()["for_person"] << " for a person, "
                   << counters["conflicts_lost"] << " lost, "
                   << progress.last()["stored"].get<std::uint64_t>() /
                          progress.last()["commits"].get<std::uint64_t>()
                   << " records a commit, waited " << counters["conflicts_waited"] << " times, "
                   << processor * 1e6 / static_cast<double>(records)
                   << " us of the engine's processor time each, " << mesh.refused()
                   << " operations refused\n";
}

void hand_over(bool quick) {
  const auto journal = engine::NoteJournal::make(8'192, std::size_t{2} << 20).value();
  engine::ConflictNote note{.answer = {1, 1}, .has_values = true};
  const std::uint64_t rounds = quick ? 20 : 200;
  constexpr std::uint64_t kEach = 4'096;
  std::vector<double> each_ns;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const Moment start = now();
    for (std::uint64_t i = 0; i < kEach; ++i) {
      ++note.answer.low;
      MESH_ASSERT(journal->has_room() && journal->put(note, {.answer = bytes_of(kEvents)}));
    }
    each_ns.push_back(seconds_since(start) * 1e9 / kEach);
    std::uint64_t end = 0;
    journal->take(kEach, [&](const auto&, const auto&, std::uint64_t its) { end = its; });
    journal->done_until(end);
  }
  std::sort(each_ns.begin(), each_ns.end());
  line("hand-over") << each_ns[rounds / 2] << " ns a conflict with " << std::strlen(kEvents)
                    << " bytes carried (best " << each_ns.front() << ")\n";
}

void reload(const Agents& agents, const std::string& store, std::uint64_t rounds) {
  Mesh mesh(store);
  const auto ids = agents.attach(mesh.engine().directory());
  std::uint64_t begun = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const auto answer =
        mesh.engine().ask(ids[round % kAgents], bytes_of(kHashText), Nanos{kNsPerSecond});
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
  line("reload") << "p50 " << took_ms[took_ms.size() / 2] << " ms, p99 "
                 << took_ms[took_ms.size() * 99 / 100] << " ms, max " << took_ms.back() << " ms, "
                 << took_ms.size() << " agents quarantined, reloaded and released\n";
}

// `back`: so many milliseconds the windows of time end before the newest record, at most.
void query(const std::string& store, const std::vector<AgentId>& agents, std::uint64_t back) {
  const auto opened = engine::open_store({.where = store}).value();
  const auto newest = static_cast<std::int64_t>(opened->find({.limit = 1})->front().record.at);
  std::mt19937_64 random(1);
  const auto some_time = [&] {
    const auto until = newest - static_cast<std::int64_t>(random() % back) * kNsPerMs;
    return engine::RecordQuery{.from = WireTime{until - 60 * kNsPerSecond},
                               .until = WireTime{until}};
  };
  const std::pair<const char*, std::function<engine::RecordQuery()>> queries[] = {
      {"by time, a minute", some_time},
      {"by agent", [&] { return engine::RecordQuery{.agent = agents[random() % kAgents]}; }},
      {"by type",
       [&] {
         return engine::RecordQuery{.type = random() % 2 == 0
                                                ? sched::ConflictType::temporal_paradox
                                                : sched::ConflictType::other};
       }},
      {"by state",
       [&] { return engine::RecordQuery{.state_now = engine::ConflictState::for_person}; }}};
  for (const auto& [name, wanted] : queries) {
    std::vector<double> took_ms;
    for (int i = 0; i < 300; ++i) {
      const engine::RecordQuery one = wanted();
      const Moment start = now();
      MESH_ASSERT(!opened->find(one)->empty());
      took_ms.push_back(1e3 * seconds_since(start));
    }
    std::sort(took_ms.begin(), took_ms.end());
    line(std::string("query ") + name)
        << std::setprecision(3) << "p50 " << took_ms[150] << " ms, p99 " << took_ms[297]
        << " ms, max " << took_ms.back() << " ms\n";
  }
}

int run_sql(const std::string& store, const std::string& script) {
  sqlite3* file = nullptr;
  MESH_ASSERT(sqlite3_open(store.c_str(), &file) == SQLITE_OK);
  const int code = sqlite3_exec(file, script.c_str(), nullptr, nullptr, nullptr);
  MESH_ASSERT(sqlite3_close(file) == SQLITE_OK);
  return code;
}

void verify(const std::string& store) {
  for (const char* const script : {"UPDATE records SET received = x'00' WHERE position = 9",
                                   "DELETE FROM records WHERE position = 9"}) {
    MESH_ASSERT(run_sql(store, script) == SQLITE_CONSTRAINT);
    line("refused by the database") << script << "\n";
  }
  const Moment start = now();
  const auto whole = engine::open_store({.where = store}).value()->verify({}).value();
  MESH_ASSERT(whole.whole);
  line("verify") << whole.checked << " records whole, " << seconds_since(start) << " s\n";
  const auto edited = std::to_string(whole.checked / 2);
  MESH_ASSERT(run_sql(store,
                      "DROP TRIGGER records_no_update;"
                      " UPDATE records SET received = x'00' WHERE position = " +
                          edited) == SQLITE_OK);
  const auto broken = engine::open_store({.where = store}).value()->verify({}).value();
  MESH_ASSERT(!broken.whole && std::to_string(broken.broken_position) == edited);
  line("edited record " + edited) << "found at " << broken.broken_position << "\n";
}

void run(bool quick) {
  const std::string folder = "mesh_conflicts_bench." + std::to_string(::getpid());
  std::filesystem::create_directory(folder);
  const std::string store = folder + "/conflicts.db";
  std::cout << std::unitbuf;
  hand_over(quick);
  std::vector<AgentId> ids;
  {
    const Agents agents;
    Mesh mesh(store);
    ids = agents.attach(mesh.engine().directory());
    record(mesh, store, quick ? 30'000 : 1'000'000, quick ? 1 : 5);
  }
  query(store, ids, quick ? 500 : 10'000);
  verify(store);
  {
    const Agents agents;
    reload(agents, folder + "/reload.db", quick ? 50 : 1'000);
  }
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
