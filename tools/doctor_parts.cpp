#include "tools/doctor_parts.hpp"

#include <unistd.h>

#include "engine/engine.hpp"
#include "engine/station/station.hpp"
#include "tools/child_process.hpp"
#include "tools/stop_signals.hpp"

namespace mesh::tools {
namespace {

constexpr Nanos kPartLook{100 * kNsPerMs};
constexpr Nanos kPartPatience{10 * kNsPerSecond};

void say_ready() {
  const char ready[] = "ready\n";
  [[maybe_unused]] const ssize_t wrote = ::write(kReportFd, ready, sizeof ready - 1);
}

Status run_engine(const DoctorPart& part, const StopSignals& stop) {
  engine::EngineOptions options;
  options.directory = part.directory;
  options.size = kDoctorMesh;
  options.reconnect = kPartPatience;
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

Status run_station(const DoctorPart& part, const StopSignals& stop) {
  MESH_TRY(const auto station,
           engine::Station::attach(part.directory, {.name = "doctor-" + part.what,
                                                    .agents = kDoctorStationAgents,
                                                    .connect = {.patience = kPartPatience},
                                                    .engine_patience = kPartPatience}));
  std::vector<engine::AgentDeclaration> agents;
  for (std::uint32_t i = 0; i < kDoctorStationAgents; ++i) {
    agents.push_back({.name = doctor_agent(part.what, i)});
  }
  MESH_CHECK_OK(station->enrol(agents));
  say_ready();
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
