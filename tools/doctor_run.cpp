#include "tools/doctor_run.hpp"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>

#include <poll.h>
#include <unistd.h>

#include "engine/reports/kpi.hpp"
#include "engine/reports/mesh_counters.hpp"
#include "engine/reports/mesh_errors.hpp"
#include "engine/station/control_client.hpp"
#include "shm/system_error.hpp"
#include "tools/child_process.hpp"
#include "tools/doctor_parts.hpp"
#include "tools/mesh_directory.hpp"

namespace mesh::tools {
namespace {

using engine::ObservedMesh;
using engine::reports::ErrorSeen;
using engine::reports::KpiRow;
using engine::reports::kpis_of;
using engine::reports::MeshCounters;
using engine::reports::read_counters;
using engine::reports::read_errors;

using Json = nlohmann::json;
using Said = Result<std::string>;

constexpr Nanos kPatience{10 * kNsPerSecond};
constexpr Nanos kLook{20 * kNsPerMs};
constexpr std::uint32_t kAgents = 2 * kDoctorStationAgents;

class OwnDirectory {
 public:
  static Result<OwnDirectory> create() {
    std::string path = fmt::format("/dev/shm/mesh30k-doctor-{}-{}-XXXXXX", getuid(), getpid());
    if (mkdtemp(path.data()) == nullptr) return shm::system_failure("mkdtemp " + path, errno);
    return OwnDirectory(std::move(path));
  }
  ~OwnDirectory() {
    std::error_code ignored;  // what cannot be removed was not ours to begin with
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  OwnDirectory(OwnDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  OwnDirectory& operator=(OwnDirectory&&) = delete;
  OwnDirectory(const OwnDirectory&) = delete;
  OwnDirectory& operator=(const OwnDirectory&) = delete;
  [[nodiscard]] std::string mesh() const { return path_ + "/mesh"; }

 private:
  explicit OwnDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

class Round {
 public:
  Round(const StopSignals& stop, std::string directory)
      : stop_(stop), directory_(std::move(directory)) {}

  struct Check {
    const char* name;
    Said (Round::*run)();
    bool is_needed;  // by those after it
  };
  static std::span<const Check> checks();

 private:
  Said room();
  Said engine_starts();
  Said agents_enrol();
  Said message_is_answered();
  Said conflict_is_told();
  Said nobody_is_refused();
  Said all_at_one_moment();
  Said broadcast_reaches_all();
  Said pipeline_is_run();
  Said cluster_is_asked();
  Said context_is_kept();
  Said table_is_read();
  Said killed_station_is_missed();
  Said waiting_message_arrives();
  Said killed_engine_is_adopted();
  Said newcomers_are_admitted();
  Said errors_are_kept();
  Said kpis_are_measured();
  Said goes_down();

  Result<Json> ask(const Json& request) const;
  Result<Json> send(const std::string& to, const std::string& text, bool waits) const;
  Status start(const std::string& what);
  void kill(const std::string& what);
  template <class Done>
  Status wait_until(const std::string& what, Done&& done) const;
  [[nodiscard]] Result<std::uint64_t> counter(const char* label) const;

  const StopSignals& stop_;
  std::string directory_;
  std::map<std::string, ChildProcess> parts_;
};

Result<Json> Round::ask(const Json& request) const {
  MESH_TRY(auto client, engine::ControlClient::connect(
                            directory_, {.patience = kPatience, .timeout = kPatience}));
  MESH_TRY(const std::string text, client.request(request.dump()));
  return Json::parse(text, nullptr, false);
}

Result<Json> Round::send(const std::string& to, const std::string& text, bool waits) const {
  return ask({{"op", "send"},
              {"to", to},
              {"text", text},
              {"wait", waits},
              {"timeout_ms", kPatience.count() / kNsPerMs}});
}

Result<std::uint64_t> Round::counter(const char* label) const {
  MESH_TRY(const ObservedMesh mesh, ObservedMesh::open(directory_));
  MESH_TRY(const ObservedMesh::Memory table, mesh.table());
  MESH_TRY(const MeshCounters counters, read_counters(table));
  const auto value = counters.value(label);
  if (!value) return fail(Errc::not_found, fmt::format("no counter is called {}", label));
  return *value;
}

template <class Done>
Status Round::wait_until(const std::string& what, Done&& done) const {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    MESH_TRY(const bool is_done, done());
    if (is_done) return {};
    if (stop_.requested()) return fail(Errc::closed, "stopped");
    if (std::chrono::steady_clock::now() > end) {
      return fail(Errc::timed_out,
                  fmt::format("{}: not within {} s", what, kPatience.count() / kNsPerSecond));
    }
    pollfd signal{stop_.fd(), POLLIN, 0};
    ::poll(&signal, 1, static_cast<int>(kLook.count() / kNsPerMs));
  }
}

// This program once more, until it says that it is ready.
Status Round::start(const std::string& what) {
  MESH_TRY(ChildProcess child,
           ChildProcess::spawn({"doctor", "--part", what, "--parent", fmt::format("{}", getpid()),
                                "--dir", directory_}));
  pollfd ends[2] = {{child.report(), POLLIN, 0}, {stop_.fd(), POLLIN, 0}};
  const int count = ::poll(ends, 2, static_cast<int>(kPatience.count() / kNsPerMs));
  char line[16];
  const bool is_ready =
      count > 0 && ends[0].revents != 0 && ::read(child.report(), line, sizeof line) > 0;
  if (!is_ready) {
    static_cast<void>(child.has_ended());
    return fail(Errc::not_ready, fmt::format("{}: not ready, {}", what, child.ending()));
  }
  parts_.erase(what);
  parts_.emplace(what, std::move(child));
  return {};
}

void Round::kill(const std::string& what) {
  const auto found = parts_.find(what);
  if (found == parts_.end()) return;
  ::kill(found->second.pid(), SIGKILL);
  parts_.erase(found);  // reaps it
}

Said Round::room() {
  MESH_TRY(const engine::MemoryMap map, engine::memory_map(kDoctorMesh));
  MESH_TRY(const std::uint64_t free, free_bytes(directory_));
  if (free < map.total_bytes()) {
    return fail(Errc::no_space, fmt::format("{} bytes are needed under /dev/shm, {} are free",
                                            map.total_bytes(), free));
  }
  return fmt::format("{} MiB free, {} are needed", free >> 20, map.total_bytes() >> 20);
}

Said Round::engine_starts() {
  MESH_CHECK_OK(start("engine"));
  MESH_TRY(const Json status, ask({{"op", "status"}}));
  std::string says = "answers on its control socket";
  for (const Json& one : status.value("missing_rights", Json::array())) {
    says += "; " + one.get<std::string>();
  }
  return says;
}

Said Round::agents_enrol() {
  MESH_CHECK_OK(start("a"));
  MESH_CHECK_OK(start("b"));
  MESH_TRY(const Json status, ask({{"op", "status"}}));
  const auto active = status.value("agents_active", 0U);
  if (active != kAgents) {
    return fail(Errc::wrong_state, fmt::format("{} of {} agents are active", active, kAgents));
  }
  return fmt::format("{} agents of 2 processes", active);
}

Said Round::message_is_answered() {
  MESH_TRY(const Json answer, send(doctor_agent("a", 0), "are you there?", true));
  if (answer.value("state", "") != "ready" || answer.value("body", "") != "are you there?") {
    return fail(Errc::wrong_state, "the answer is " + answer.dump());
  }
  return fmt::format("READY, with its body, in {} us of the agent's own",
                     answer.value("processing_us", 0U));
}

Said Round::conflict_is_told() {
  MESH_TRY(const Json answer, send(doctor_agent("b", 3), "conflict", true));
  const Json conflict = answer.value("conflict", Json::object());
  if (answer.value("state", "") != "conflict" ||
      conflict.value("expected", std::uint64_t{0}) != kDoctorExpected ||
      conflict.value("received", std::uint64_t{0}) != kDoctorReceived) {
    return fail(Errc::wrong_state, "the answer is " + answer.dump());
  }
  return fmt::format("{}, expected {}, received {}", conflict.value("type", ""), kDoctorExpected,
                     kDoctorReceived);
}

Said Round::nobody_is_refused() {
  const auto answer = send("doctor-nobody", "hello", true);
  if (answer) return fail(Errc::wrong_state, "a message to nobody was answered");
  if (answer.error().code != Errc::no_such_agent) return tl::unexpected<Error>(answer.error());
  return answer.error().sentence;
}

Said Round::all_at_one_moment() {
  MESH_TRY(const Json result, ask({{"op", "scatter"},
                                   {"text", "now"},
                                   {"horizon_ms", 300},
                                   {"window_ms", 500},
                                   {"timeout_ms", 800}}));
  if (result.value("verdict", "") != "success" || result.value("targeted", 0U) != kAgents) {
    return fail(Errc::wrong_state, result.value("sentence", result.dump()));
  }
  const Json errors = result.value("errors", Json::object());
  return fmt::format("{} of {} READY, 90 % within {:.2f} ms of T", result.value("ready", 0U),
                     kAgents, errors.value("p90_ns", 0.0) / kNsPerMs);
}

Said Round::broadcast_reaches_all() {
  MESH_TRY(const Json status, ask({{"op", "status"}}));
  const auto before = status["counters"].value("deliveries", std::uint64_t{0});
  MESH_TRY(const Json opened, ask({{"op", "broadcast"}, {"text", "hear"}, {"horizon_ms", 100}}));
  static_cast<void>(opened);
  MESH_CHECK_OK(wait_until("a delivery to each agent", [&]() -> Result<bool> {
    MESH_TRY(const Json now, ask({{"op", "status"}}));
    return now["counters"].value("deliveries", std::uint64_t{0}) >= before + kAgents;
  }));
  return fmt::format("{} deliveries", kAgents);
}

Said Round::pipeline_is_run() {
  MESH_TRY(const Json result,
           ask({{"op", "pipeline"},
                {"agents", {doctor_agent("a", 1), doctor_agent("b", 1), doctor_agent("a", 2)}},
                {"text", "in order"}}));
  if (result.value("status", "") != "SUCCESS" || result.value("body", "") != "in order") {
    return fail(Errc::wrong_state, "the result is " + result.dump());
  }
  return fmt::format("{} of {} steps READY after {:.1f} ms", result.value("done", 0U),
                     result.value("of", 0U), result.value("total_ms", 0.0));
}

// Both processes' agents fill the first one.
Said Round::cluster_is_asked() {
  MESH_TRY(const Json result, ask({{"op", "ask"}, {"cluster", 0}, {"text", "ready?"}}));
  if (result.value("status", "") != "SUCCESS" || result.value("ready", 0U) != kAgents) {
    return fail(Errc::wrong_state, "the result is " + result.dump());
  }
  return fmt::format("{}, asked by {}", result.value("decision", ""), result.value("lead", ""));
}

Said Round::context_is_kept() {
  MESH_TRY(const Json kept, ask({{"op", "contexts"}, {"agent", doctor_agent("a", 0)}}));
  const Json versions = kept.value("versions", Json::array());
  const bool is_whole = versions.size() == 1 && versions[0].value("hash", "") != "" &&
                        versions[0].value("hash", "") == kept.value("expected_hash", "") &&
                        kept.value("loads_context", false);
  if (!is_whole) return fail(Errc::wrong_state, "the answer is " + kept.dump());
  return fmt::format("{} bytes, hash {}", versions[0].value("bytes", 0U),
                     versions[0].value("hash", ""));
}

Said Round::table_is_read() {
  MESH_CHECK_OK(wait_until("counters of the operations", [&]() -> Result<bool> {
    MESH_TRY(const std::uint64_t ended, counter("operations_quorum"));
    return ended >= 1;
  }));
  MESH_TRY(const std::uint64_t deliveries, counter("deliveries"));
  MESH_TRY(const std::uint64_t conflicts, counter("conflicts"));
  if (conflicts == 0) return fail(Errc::wrong_state, "the conflict is not counted");
  return fmt::format("{} deliveries, {} conflict", deliveries, conflicts);
}

Said Round::killed_station_is_missed() {
  kill("b");
  MESH_CHECK_OK(wait_until("its agents are offline", [&]() -> Result<bool> {
    MESH_TRY(const Json status, ask({{"op", "status"}}));
    return status.value("agents_active", 0U) == kDoctorStationAgents;
  }));
  return fmt::format("{} of {} agents are left", kDoctorStationAgents, kAgents);
}

Said Round::waiting_message_arrives() {
  MESH_TRY(const std::uint64_t before, counter("ready"));
  MESH_TRY(const Json kept, send(doctor_agent("b", 0), "when you are back", false));
  static_cast<void>(kept);
  MESH_CHECK_OK(start("b"));
  MESH_CHECK_OK(wait_until("its answer", [&]() -> Result<bool> {
    MESH_TRY(const std::uint64_t now, counter("ready"));
    return now > before;
  }));
  return std::string("delivered to its new process, and answered");
}

Said Round::killed_engine_is_adopted() {
  kill("engine");
  MESH_CHECK_OK(start("engine"));
  MESH_CHECK_OK(wait_until("both stations are back", [&]() -> Result<bool> {
    MESH_TRY(const Json status, ask({{"op", "status"}}));
    if (!status["adopted"].is_object()) {
      return fail(Errc::wrong_state, "the next engine began anew");
    }
    return status["adopted"].value("returned", 0U) == 2U;
  }));
  MESH_TRY(const std::string again, message_is_answered());
  return "both stations came back by themselves; a message: " + again;
}

// Made, started by the engine's own command, warmed up, and part of what all are asked.
Said Round::newcomers_are_admitted() {
  constexpr std::uint32_t kNewcomers = 2;
  MESH_TRY(const Json made, ask({{"op", "scale"},
                                 {"count", kNewcomers},
                                 {"class", "A"},
                                 {"prefix", "doctor-new"},
                                 {"per_process", kNewcomers}}));
  const Json request = {{"op", "scaling"},
                        {"prefix", made.value("prefix", "")},
                        {"first", made.value("first", 0U)},
                        {"last", made.value("last", 0U)}};
  Json progress;
  const Status admitted = wait_until("their admission", [&]() -> Result<bool> {
    MESH_TRY(progress, ask(request));
    return progress.value("admitted", 0U) == kNewcomers;
  });
  if (!admitted) {
    return fail(admitted.error().code, admitted.error().sentence + "; " + progress.dump());
  }
  return fmt::format("{} agents more, in {} process", kNewcomers, made.value("processes", 0U));
}

Said Round::errors_are_kept() {
  MESH_TRY(const ObservedMesh mesh, ObservedMesh::open(directory_));
  MESH_TRY(const ObservedMesh::Memory table, mesh.table());
  MESH_TRY(const std::vector<ErrorSeen> errors, read_errors(table));
  const auto has = [&](Errc code) {
    return std::any_of(errors.begin(), errors.end(),
                       [code](const ErrorSeen& one) { return one.error.code == code; });
  };
  if (!has(Errc::closed)) return fail(Errc::wrong_state, "the killed station is no error");
  if (!has(Errc::no_such_agent)) return fail(Errc::wrong_state, "the refused message is no error");
  return fmt::format("{} distinct, over the restart", errors.size());
}

Said Round::kpis_are_measured() {
  MESH_TRY(const ObservedMesh mesh, ObservedMesh::open(directory_));
  MESH_TRY(const ObservedMesh::Memory table, mesh.table());
  MESH_TRY(const MeshCounters counters, read_counters(table));
  for (const KpiRow& row : kpis_of(counters)) {
    if (row.name == "operations reaching quorum" && row.all.value) {
      return fmt::format("{} operations ended, {:.1f} % reached their quorum", row.all.of,
                         100 * *row.all.value);
    }
  }
  return fail(Errc::wrong_state, "no operation is counted");
}

Said Round::goes_down() {
  MESH_TRY(const Json answer, ask({{"op", "down"}}));
  static_cast<void>(answer);
  const auto engine = parts_.find("engine");
  MESH_CHECK_OK(
      wait_until("the engine's end", [&]() -> Result<bool> { return engine->second.has_ended(); }));
  if (std::filesystem::exists(directory_ + "/table")) {
    return fail(Errc::wrong_state, "its table is still there");
  }
  return std::string("its files are gone");
}

std::span<const Round::Check> Round::checks() {
  static constexpr Check kChecks[] = {
      {"there is room under /dev/shm", &Round::room, true},
      {"an engine starts", &Round::engine_starts, true},
      {"agents enrol", &Round::agents_enrol, true},
      {"a message is answered", &Round::message_is_answered, false},
      {"a conflict is told", &Round::conflict_is_told, false},
      {"a message to nobody is refused", &Round::nobody_is_refused, false},
      {"all are READY at one moment", &Round::all_at_one_moment, false},
      {"a broadcast reaches all", &Round::broadcast_reaches_all, false},
      {"agents are run in order", &Round::pipeline_is_run, false},
      {"a lead asks its cluster", &Round::cluster_is_asked, false},
      {"a context is kept", &Round::context_is_kept, false},
      {"the table is read without asking", &Round::table_is_read, false},
      {"a killed station is missed", &Round::killed_station_is_missed, true},
      {"what waits for it arrives", &Round::waiting_message_arrives, true},
      {"a killed engine is gone on with", &Round::killed_engine_is_adopted, true},
      {"newcomers are admitted", &Round::newcomers_are_admitted, false},
      {"errors are kept", &Round::errors_are_kept, false},
      {"KPIs are measured", &Round::kpis_are_measured, false},
      {"it goes down and leaves nothing", &Round::goes_down, false},
  };
  return kChecks;
}

double ms_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

}  // namespace

Result<DoctorReport> prove_everything(const StopSignals& stop, const ShowRow& show) {
  MESH_TRY(const OwnDirectory own, OwnDirectory::create());
  Round round(stop, own.mesh());  // gone first: its processes
  DoctorReport report{.directory = own.mesh(), .is_own = true, .rows = {}};
  bool goes_on = true;
  for (const Round::Check& check : Round::checks()) {
    DoctorRow row{.check = check.name, .finding = Finding::skipped, .says = {}};
    if (goes_on) {
      const auto start = std::chrono::steady_clock::now();
      const Said said = (round.*check.run)();
      if (stop.requested()) return fail(Errc::closed, "stopped before it was done");
      row.ms = ms_since(start);
      row.finding = said ? Finding::pass : Finding::fail;
      row.says = said ? *said : said.error().sentence;
      goes_on = said.has_value() || !check.is_needed;
    }
    show(row);
    report.rows.push_back(std::move(row));
  }
  return report;
}

}  // namespace mesh::tools
