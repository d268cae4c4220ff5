#include <cerrno>
#include <chrono>
#include <cstdlib>

#include <fmt/format.h>
#include <sys/statvfs.h>

#include "engine/health/health_view.hpp"
#include "engine/reports/doctor_report.hpp"
#include "engine/reports/mesh_counters.hpp"
#include "engine/reports/mesh_errors.hpp"
#include "engine/reports/seen_mesh.hpp"
#include "engine/station/control_client.hpp"
#include "sched/clock.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine::reports {
namespace {

constexpr Nanos kLookPatience{2 * kNsPerSecond};
constexpr std::int64_t kFreshMs = 3'000;           // counters are written once a second
constexpr std::int64_t kLatelyMs = 600'000;        // errors that are still worth a look
constexpr std::int64_t kClockErrorNs = 100'000;    // from CLOCK_MONOTONIC
constexpr std::uint64_t kFreeLeast = 64ULL << 20;  // a few stations' memories
constexpr std::uint64_t kLateNs = kNsPerMs;

struct DoctorFound {
  Finding finding = Finding::pass;
  std::string says;
};
DoctorFound passes(std::string says) { return {Finding::pass, std::move(says)}; }
DoctorFound warning(std::string says) { return {Finding::warning, std::move(says)}; }
DoctorFound failed(std::string says) { return {Finding::fail, std::move(says)}; }

DoctorFound of_engine(const ObservedMesh& mesh) {
  const EngineSeen engine = mesh.engine();
  if (!engine.running) return warning("its lock cannot be looked at");
  if (!*engine.running) return failed("no engine runs; mesh up goes on with what is there");
  return passes(engine.process ? fmt::format("process {}", *engine.process)
                               : std::string("it runs"));
}

DoctorFound of_control(const Result<Json>& status) {
  return status ? passes("it answers") : failed(status.error().sentence);
}

DoctorFound of_rights(const Json& status) {
  const Json missing = status.value("missing_rights", Json::array());
  if (missing.empty()) return passes("pinning, memory and priority as asked for");
  std::string says;
  for (const Json& one : missing) {
    says += (says.empty() ? "" : "; ") + one.get<std::string>();
  }
  return warning(says);
}

DoctorFound of_stations(const Json& status) {
  const Json stuck = status.value("stuck", Json::array());
  std::string says = fmt::format("{} attached", status.value("stations", 0U));
  if (const auto evicted = status.value("evicted", 0U); evicted != 0) {
    says += fmt::format(", {} evicted so far", evicted);
  }
  for (const Json& one : stuck) {
    says += fmt::format(", station {} has read nothing for {} ms", one.value("station", 0U),
                        one.value("ms", 0));
  }
  return stuck.empty() ? passes(says) : failed(says);
}

DoctorFound of_clock(const ObservedMesh::Memory& table) {
  const auto words = table.layout.array<sched::ClockWords>(table.mapping.bytes(), "clock");
  if (!words) return failed(words.error().sentence);
  sched::ClockReader<> reader(words->front());
  static_cast<void>(reader.now());
  // relaxed: one word, for people.
  const std::int64_t error_ns = words->front().error_ns.load_relaxed();
  const std::string off = fmt::format("{:.1f} us off CLOCK_MONOTONIC when last published",
                                      static_cast<double>(error_ns) / kNsPerUs);
  if (reader.line().counter == sched::ClockCounter::none) return failed("nothing is published");
  if (reader.line().counter == sched::ClockCounter::monotonic) {
    return warning("CLOCK_MONOTONIC: this machine's counter is not invariant");
  }
  return std::abs(error_ns) > kClockErrorNs ? warning(off) : passes("the counter, " + off);
}

DoctorFound of_counters(const Result<MeshCounters>& counters) {
  if (!counters) return failed(counters.error().sentence);
  const std::string age = fmt::format("{} old", duration_text(counters->age_ms()));
  return counters->age_ms() > kFreshMs ? failed(age + ": the engine hangs, or is dead")
                                       : passes(age);
}

DoctorFound of_lateness(const MeshCounters& counters) {
  if (counters.value("buckets").value_or(0) == 0) return passes("nothing was sent at a moment yet");
  const std::uint64_t p99 = counters.value("lateness_p99").value_or(0);
  const std::string says = fmt::format("99 % of buckets left within {:.1f} us of their due",
                                       static_cast<double>(p99) / static_cast<double>(kNsPerUs));
  return p99 > kLateNs ? warning(says + ": its core is shared; mesh up --cpu N") : passes(says);
}

DoctorFound of_health(const ObservedMesh::Memory& table) {
  const auto view = health::HealthView::over(table.layout, table.mapping.bytes());
  if (!view) return failed(view.error().sentence);
  const auto mesh = view->mesh();
  if (!mesh || !mesh->mode) return warning("unknown: not every cluster has been looked at yet");
  const std::string says = fmt::format("{}, {} of {} agents active", health::name_of(*mesh->mode),
                                       mesh->summary.active, mesh->summary.agents);
  const bool is_full = *mesh->mode == health::OperatingMode::full;
  return is_full ? passes(says) : failed(says);
}

DoctorFound of_breakers(const ObservedMesh::Memory& table) {
  const auto view = health::HealthView::over(table.layout, table.mapping.bytes());
  if (!view) return failed(view.error().sentence);
  std::uint32_t count = 0;
  for (std::size_t place = 0; place < view->breakers(); ++place) {
    const auto breaker = view->breaker(place);
    count += breaker && !breaker->is_passable() ? 1U : 0U;
  }
  if (count == 0) return passes("all closed");
  return failed(
      fmt::format("{} of {} are not closed; mesh top names them", count, view->breakers()));
}

// What senders are told while the engine cannot keep up with them.
DoctorFound of_senders(const MeshCounters& counters) {
  const std::uint64_t rate = counters.value("send_rate").value_or(0);
  if (rate == 0) return passes("nobody is held back");
  return failed(fmt::format("all together held to {} messages/s: the engine cannot keep up", rate));
}

DoctorFound of_room(const std::string& directory) {
  struct ::statvfs about {};
  if (::statvfs(directory.c_str(), &about) != 0)
    return failed(shm::system_failure("statvfs '" + directory + "'", errno).value().sentence);
  const std::uint64_t free = std::uint64_t{about.f_bavail} * about.f_frsize;
  const std::string says = fmt::format("{} MiB free", free >> 20);
  return free < kFreeLeast ? warning(says + ": another station may not fit") : passes(says);
}

DoctorFound of_errors(const ObservedMesh::Memory& table) {
  const auto errors = read_errors(table);
  if (!errors) return failed(errors.error().sentence);
  if (errors->empty()) return passes("none");
  const std::string says =
      fmt::format("{} distinct, the last {} ago: {}", errors->size(),
                  duration_text(errors->front().last_age_ms), errors->front().error.text);
  return errors->front().last_age_ms < kLatelyMs ? warning(says) : passes(says);
}

Result<Json> status_of(const std::string& directory) {
  MESH_TRY(auto client, ControlClient::connect(directory, {.timeout = kLookPatience}));
  MESH_TRY(const std::string text, client.request(R"({"op":"status"})"));
  return Json::parse(text, nullptr, false);
}

}  // namespace

std::pair<Finding, std::string> look_at_contexts(const MeshCounters& counters) {
  const std::uint64_t waiting = counters.value("contexts_waiting").value_or(0);
  std::uint64_t overdue = 0;  // in the last hour
  for (const CounterSeen& row : counters.rows)
    if (row.says.label == "contexts_overdue") overdue = row.value - row.hour_ago;
  std::string says = waiting == 0 ? "nobody waits for its own"
                                  : fmt::format(
                                        "{} agents wait for their own, and their messages"
                                        " with them; mesh inspect agents names them",
                                        waiting);
  if (overdue != 0)
    says += fmt::format("; {} got their messages without it in the last hour", overdue);
  return {waiting == 0 && overdue == 0 ? Finding::pass : Finding::warning, std::move(says)};
}

Result<DoctorReport> look_at_mesh(const std::string& directory, const ShowRow& show) {
  MESH_TRY(const ObservedMesh mesh, ObservedMesh::open(directory));
  MESH_TRY(const ObservedMesh::Memory table, mesh.table());
  DoctorReport report{.directory = directory, .is_own = false, .rows = {}};
  const auto add = [&](const char* check, auto&& look) {
    const auto start = std::chrono::steady_clock::now();
    DoctorFound found = look();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    report.rows.push_back({check, found.finding, took.count(), std::move(found.says)});
    show(report.rows.back());
  };
  Result<Json> status = fail(Errc::not_ready, "");
  Result<MeshCounters> counters = fail(Errc::not_ready, "");
  add("an engine runs", [&] { return of_engine(mesh); });
  add("it answers its control socket", [&] {
    status = status_of(directory);
    return of_control(status);
  });
  const DoctorFound unknown{Finding::skipped, "unknown: the engine did not say"};
  add("it has the rights that it asked for", [&] { return status ? of_rights(*status) : unknown; });
  add("no station stands still", [&] { return status ? of_stations(*status) : unknown; });
  add("its counters are fresh", [&] {
    counters = read_counters(table);
    return of_counters(counters);
  });
  add("it sends in time", [&] {
    return counters ? of_lateness(*counters)
                    : DoctorFound{Finding::skipped, "unknown: no counters"};
  });
  add("its clock", [&] { return of_clock(table); });
  add("its mode", [&] { return of_health(table); });
  add("its breakers", [&] { return of_breakers(table); });
  add("its senders", [&] {
    return counters ? of_senders(*counters) : DoctorFound{Finding::skipped, "unknown: no counters"};
  });
  add("its agents' contexts", [&] {
    if (!counters) return DoctorFound{Finding::skipped, "unknown: no counters"};
    auto [finding, says] = look_at_contexts(*counters);
    return DoctorFound{finding, std::move(says)};
  });
  add("room for more stations", [&] { return of_room(directory); });
  add("errors", [&] { return of_errors(table); });
  return report;
}

}  // namespace mesh::engine::reports
