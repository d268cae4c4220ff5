#include "tools/doctor_parts.hpp"

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string_view>

#include <fmt/format.h>
#include <unistd.h>

#include "engine/engine.hpp"
#include "engine/station/station.hpp"
#include "shm/system_error.hpp"
#include "tools/child_process.hpp"
#include "tools/stop_signals.hpp"

namespace mesh::tools {
namespace {

constexpr Nanos kPartLook{100 * kNsPerMs};
constexpr Nanos kPartPatience{10 * kNsPerSecond};
constexpr Nanos kUpkeep{100 * kNsPerMs};

void say_ready() {
  const char ready[] = "ready\n";
  [[maybe_unused]] const ssize_t wrote = ::write(kReportFd, ready, sizeof ready - 1);
}

// Newcomers alone: whoever else is missed the doctor brings back itself. To the command its engine
// is the parent.
Result<std::string> spawn_command() {
  std::error_code failed;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", failed).string();
  if (failed) return shm::system_failure("readlink /proc/self/exe", failed.value());
  std::string quoted = "'";
  for (const char letter : program)
    quoted += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  return fmt::format(
      "test -n \"$MESH_CLASS\" || exit 0; exec {}' doctor --part {} --parent $PPID "
      "--dir \"$MESH_DIR\"",
      quoted, kDoctorNewcomers);
}

Status run_engine(const DoctorPart& part, const StopSignals& stop) {
  engine::EngineOptions options;
  options.directory = part.directory;
  options.size = kDoctorMesh;
  options.reconnect = kPartPatience;
  MESH_TRY(options.recovery.spawn, spawn_command());
  options.loop.upkeep = kUpkeep;
  options.loop.newcomers = {.warm_ups = 3, .every = kUpkeep};
  MESH_TRY(const auto engine, engine::Engine::start(options));
  say_ready();
  while (!stop.requested() && !engine->wait_for_down(kPartLook)) {
  }
  return {};
}

void answer(const engine::Delivery& delivery, engine::Reply reply) {
  if (!reply) return;
  if (delivery.text() == "conflict") {
    reply.answer(engine::Answer::in_conflict(sched::ConflictType::data_contradiction,
                                             {kDoctorExpected, kDoctorReceived}));
  } else {
    reply.answer(engine::Answer::ready(delivery.body));
  }
}

// Of newcomers the engine says who they are.
std::vector<engine::AgentDeclaration> agents_of(const DoctorPart& part) {
  std::vector<engine::AgentDeclaration> agents;
  if (part.what == kDoctorNewcomers) {
    const char* const said = std::getenv("MESH_AGENTS");
    std::istringstream names(said == nullptr ? "" : said);
    for (std::string name; std::getline(names, name);) agents.push_back({.name = name});
    return agents;
  }
  for (std::uint32_t i = 0; i < kDoctorStationAgents; ++i)
    agents.push_back({.name = doctor_agent(part.what, i)});
  return agents;
}

Status run_station(const DoctorPart& part, const StopSignals& stop) {
  const std::vector<engine::AgentDeclaration> agents = agents_of(part);
  if (agents.empty()) return fail(Errc::bad_input, "doctor: nobody is to be enrolled");
  MESH_TRY(const auto station,
           engine::Station::attach(
               part.directory,
               {.name = "doctor-" + part.what,
                .agents = static_cast<std::uint32_t>(agents.size()),
                .connect = {.patience = kPartPatience},
                .engine_patience = kPartPatience,
                .load_context = [](AgentId, std::span<const std::byte>) { return Status(); }}));
  MESH_TRY(const std::vector<AgentId> ids, station->enrol(agents));
  const std::string_view context = kDoctorContext;
  if (part.what == "a") {
    MESH_TRY(const engine::ContextReceipt kept,
             station->set_context(ids.front(), std::as_bytes(std::span(context))));
    static_cast<void>(kept);
  }
  // Who started newcomers reads no report.
  if (part.what != kDoctorNewcomers) say_ready();
  while (!stop.requested()) {
    if (station->poll(64, &answer) > 0) continue;
    if (station->is_lost()) return tl::unexpected<Error>(station->lost_reason());
    station->wait(station->now() + kPartLook);
  }
  return {};
}

}  // namespace

std::string doctor_agent(const std::string& prefix, std::uint32_t number) {
  return fmt::format("doctor-{}-{}", prefix, number);
}

Status run_doctor_part(const DoctorPart& part) {
  MESH_TRY(const StopSignals stop, StopSignals::create());
  MESH_CHECK_OK(end_with_parent(static_cast<pid_t>(part.parent)));
  return part.what == "engine" ? run_engine(part, stop) : run_station(part, stop);
}

}  // namespace mesh::tools
