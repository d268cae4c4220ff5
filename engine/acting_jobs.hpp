// What the operator's console does to a mesh (mesh.md part 13), as control requests.
//
// Callers     ActingJobs: the control thread. route_agents_around: the scheduler thread, in a job.
// Errors      bad_input: a field that is not what it should be, which it names; no_such_agent; and
//             as engine/acting.hpp.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/control_server.hpp"
#include "engine/engine.hpp"

namespace mesh::engine {

// All of them or, at a name that nobody has, none.
Result<std::vector<Engine::RoutedAround>> route_agents_around(EngineLoop& loop,
                                                              std::span<const std::string> names,
                                                              bool around);

struct ControlServer::ActingJobs {
  class RouteAround;
  class Freeze;
  class Rules;
  class Quorum;
  class Pipeline;
  class Chaos;

  static constexpr const char* kOps =
      "route-around, find-best, delegate, ask, pipeline, who, freeze, thaw, rules, scale, scaling, "
      "chaos";
  [[nodiscard]] static bool knows(std::string_view op) noexcept;
  // The answer goes to the connection, now or later.
  static Status begin(ControlServer& server, const ConsoleRequest& request,
                      const nlohmann::json& object);

 private:
  using Begin = Status (*)(ControlServer& server, const ConsoleRequest& request,
                           const nlohmann::json& object);
  static Begin begin_of(std::string_view op) noexcept;
  static Status begin_route_around(ControlServer& server, const ConsoleRequest& request,
                                   const nlohmann::json& object);
  static Status begin_find_best(ControlServer& server, const ConsoleRequest& request,
                                const nlohmann::json& object);
  static Status begin_delegate(ControlServer& server, const ConsoleRequest& request,
                               const nlohmann::json& object);
  static Status begin_ask(ControlServer& server, const ConsoleRequest& request,
                          const nlohmann::json& object);
  static Status begin_quorum(ControlServer& server, const ConsoleRequest& request,
                             const nlohmann::json& object);
  static Status begin_pipeline(ControlServer& server, const ConsoleRequest& request,
                               const nlohmann::json& object);
  static Status begin_scale(ControlServer& server, const ConsoleRequest& request,
                            const nlohmann::json& object);
  static Status begin_scaling(ControlServer& server, const ConsoleRequest& request,
                              const nlohmann::json& object);
  static Status begin_who(ControlServer& server, const ConsoleRequest& request,
                          const nlohmann::json& object);
  static Status begin_freeze(ControlServer& server, const ConsoleRequest& request,
                             const nlohmann::json& object);
  static Status begin_rules(ControlServer& server, const ConsoleRequest& request,
                            const nlohmann::json& object);
  // control_chaos.cpp
  static Status begin_chaos(ControlServer& server, const ConsoleRequest& request,
                            const nlohmann::json& object);
  static ActingOn mesh_of(ControlServer& server);
  static void answer(ControlServer& server, std::uint64_t connection, const nlohmann::json& object);
};

}  // namespace mesh::engine
