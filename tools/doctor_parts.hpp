// The processes that `mesh doctor` starts of itself: an engine, and stations whose agents answer
// with what they were sent, or with a conflict where they are sent "conflict". They end with the
// doctor, also when it is killed. The engine starts stations of its own for newcomers, as a spawn
// command; those end with it.
//
// Callers     main() of such a process, once.
// Progress    until SIGTERM, or the parent's end. One line on kReportFd once it is ready.
// Errors      as Engine::start and Station::attach.
#pragma once

#include <cstdint>
#include <string>

#include "engine/memory_map.hpp"
#include "shm/base/result.hpp"

namespace mesh::tools {

inline constexpr std::uint32_t kDoctorStationAgents = 15;
inline constexpr engine::MeshSize kDoctorMesh{.agents = 60, .stations = 4};
inline constexpr std::uint64_t kDoctorExpected = 7;  // of its conflicts
inline constexpr std::uint64_t kDoctorReceived = 9;

inline constexpr const char* kDoctorContext = "what the first agent knows";
inline constexpr const char* kDoctorNewcomers = "newcomers";

struct DoctorPart {
  std::string what;  // "engine", kDoctorNewcomers, or the prefix of a station's agents
  std::string directory;
  std::int64_t parent = 0;
};
Status run_doctor_part(const DoctorPart& part);

// "doctor-a-0"
[[nodiscard]] std::string doctor_agent(const std::string& prefix, std::uint32_t number);

}  // namespace mesh::tools
