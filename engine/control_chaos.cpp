// Faults on purpose: what a live driver of chaos experiments asks of the engine.
//
//     {"op": "chaos", "do": "inject", "injection": 7, "kind": 3, "agents": [1048576],
//      "expires_ns": 99, "rate_ppm": 0, "bits": 0, "add_ns": 0, "jitter_ns": 0}
//     {"op": "chaos", "do": "change", "injection": 7, "kind": 3, "rate_ppm": 0, ...}: other figures
//     {"op": "chaos", "do": "end", "injection": 7, "step": 2, "expires_ns": 99}: the engine itself,
//     at that step of its next message (loop/step_death.hpp)
//     {"op": "chaos", "do": "undo", "injection": 7}
//     {"op": "chaos", "do": "look", "injection": 7}
//     answer {"ok": true, "acting": 1, "allowed": true}: agents on which it acts now, or 1 for the
//     engine, and whether this mesh allows faults on purpose
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/acting_jobs.hpp"
#include "engine/agent_row_views.hpp"
#include "engine/console_view.hpp"
#include "engine/control_jobs.hpp"

namespace mesh::engine {
using nlohmann::json;

class ControlServer::ActingJobs::Chaos final : public RequestJob {
 public:
  enum class What : std::uint8_t { kInject, kChange, kEnd, kUndo, kLook };
  struct Order {
    What what = What::kLook;
    std::uint64_t injection = 0;
    std::vector<AgentFault> faults;
    StepDeath::Order end;
    bool is_allowed = false;
  };
  Chaos(ControlServer& server, std::uint64_t connection, Order order)
      : RequestJob(server, connection), order_(std::move(order)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    FaultBoard& board = scheduler.faults();
    board.sweep(now);
    StepDeath& death = scheduler.death();
    if (order_.what == What::kUndo) {
      board.undo(order_.injection);
      death.spare(order_.injection);
    }
    if (order_.what == What::kChange) board.change(order_.faults.front());
    if (order_.what == What::kEnd) end_at_step(scheduler);
    if (order_.what == What::kInject) {
      // Of a process: of whoever is attached now, not of whom its command starts afterwards.
      for (AgentFault& fault : order_.faults)
        if (fault.kind == AgentFaultKind::end) fault.add_ns = to_ns(now);
      if (const Status done = board.inject(order_.faults); !done) fail_with(done.error());
    }
    acting_ = board.in_force(order_.injection, now) +
              (death.is_awaited(order_.injection, to_ns(now)) ? 1U : 0U);
    return std::nullopt;
  }

 private:
  [[nodiscard]] std::string result() const override {
    return dump({{"ok", true}, {"acting", acting_}, {"allowed", order_.is_allowed}});
  }
  void end_at_step(SchedulerThread& scheduler) {
    if (scheduler.death().arm(order_.end, scheduler.loop().counters())) return;
    fail_with({Errc::invalid_argument, static_cast<std::int64_t>(order_.end.step),
               "chaos: there is no step " + std::to_string(order_.end.step) +
                   " to die at (2 to 5), or the engine is to die otherwise already"});
  }
  Order order_;
  std::size_t acting_ = 0;
};

namespace {

Result<std::int64_t> span_field(const json& object, const char* key) {
  if (!object.contains(key)) return std::int64_t{0};
  MESH_TRY(const std::uint64_t value, count_field(object, key));
  if (value > INT64_MAX) return fail(Errc::bad_input, std::string("field '") + key + "': too long");
  return static_cast<std::int64_t>(value);
}
Result<std::uint32_t> share_field(const json& object, const char* key) {
  MESH_TRY(const std::int64_t value, span_field(object, key));
  if (value > 1'000'000)
    return fail(Errc::bad_input, std::string("field '") + key + "': 0 to 1000000 is expected");
  return static_cast<std::uint32_t>(value);
}

Result<AgentFault> fault_of(const json& object) {
  AgentFault fault;
  MESH_TRY(fault.injection, count_field(object, "injection"));
  MESH_TRY(const std::uint64_t kind, count_field(object, "kind"));
  if (kind == 0 || kind > static_cast<std::uint64_t>(kLastFaultKind))
    return fail(Errc::bad_input, "field 'kind': there is no fault " + std::to_string(kind));
  fault.kind = static_cast<AgentFaultKind>(kind);
  MESH_TRY(fault.expires_ns, span_field(object, "expires_ns"));
  MESH_TRY(fault.rate_ppm, share_field(object, "rate_ppm"));
  MESH_TRY(fault.bits, share_field(object, "bits"));
  MESH_TRY(fault.add_ns, span_field(object, "add_ns"));
  MESH_TRY(fault.jitter_ns, span_field(object, "jitter_ns"));
  return fault;
}

// What is between hosts, or a host's, is nobody's here to break.
Status check_reach(const json& object) {
  for (const char* const key : {"links", "hosts"}) {
    if (object.contains(key))
      return fail(Errc::unsupported, std::string("chaos: field '") + key +
                                         "': this mesh has one host and no bridge to another; only"
                                         " agents can be struck");
  }
  return {};
}

struct Target {
  AgentRowViews rows;
  CapabilitySet allowed;
};
// Who it is for, and that it has agreed.
Result<AgentId> target_of(const Target& in, const json& handle) {
  if (!handle.is_number_unsigned())
    return fail(Errc::bad_input, "field 'agents': each is a handle");
  const auto id = static_cast<AgentId>(handle.get<std::uint64_t>());
  const auto row = static_cast<std::size_t>(index_of(id));
  AgentRow agent;
  const bool is_there = row < in.rows.rows() &&
                        in.rows.read(row, agent) == shm::ReadStatus::kRead && !agent.is_free() &&
                        agent.id == id;
  if (!is_there) return fail(Errc::no_such_agent, "chaos: nobody has the handle " + handle.dump());
  if (CapabilitySet(agent.capabilities).contains_all(in.allowed)) return id;
  return fail(Errc::not_authorized, "chaos: the agent of row " + std::to_string(row) +
                                        " has no capability " + std::string(kChaosAllowed));
}

Result<std::vector<AgentFault>> faults_of(const json& object, const MeshSize& size,
                                          std::span<const std::byte> table) {
  MESH_TRY(AgentFault fault, fault_of(object));
  const auto agents = object.find("agents");
  const bool is_list = agents != object.end() && agents->is_array() && !agents->empty();
  if (!is_list || agents->size() > kFaultRows)
    return fail(Errc::bad_input,
                "field 'agents': a list of 1 to " + std::to_string(kFaultRows) + " handles");
  MESH_TRY(const ConsoleView view, ConsoleView::over(size, table));
  const std::vector<std::string> label{std::string(kChaosAllowed)};
  const auto allowed = view.capabilities(label);
  if (!allowed) return fail(Errc::not_authorized, "chaos: " + allowed.error().sentence);
  MESH_TRY(const shm::Layout layout, table_layout(size));
  MESH_TRY(const AgentRowViews rows, AgentRowViews::in(layout, table));
  std::vector<AgentFault> faults;
  for (const json& handle : *agents) {
    MESH_TRY(fault.agent, target_of({rows, *allowed}, handle));
    faults.push_back(fault);
  }
  return faults;
}

}  // namespace

Status ControlServer::ActingJobs::begin_chaos(ControlServer& server, const ConsoleRequest& request,
                                              const json& object) {
  Chaos::Order order;
  MESH_TRY(const std::string what, text_field(object, "do"));
  MESH_TRY(order.injection, count_field(object, "injection"));
  order.is_allowed = server.options_.allow_live_chaos;
  const bool is_inject = what == "inject";
  if (is_inject || what == "change") {
    order.what = is_inject ? Chaos::What::kInject : Chaos::What::kChange;
    if (!order.is_allowed)
      return fail(Errc::not_authorized, "chaos: " + std::string(kChaosForbidden));
    MESH_CHECK_OK(check_reach(object));
    if (is_inject) {
      MESH_TRY(order.faults, faults_of(object, server.options_.size, server.options_.table));
    } else {
      MESH_TRY(const AgentFault figures, fault_of(object));
      order.faults.push_back(figures);
    }
  } else if (what == "end") {
    order.what = Chaos::What::kEnd;
    if (!order.is_allowed)
      return fail(Errc::not_authorized, "chaos: " + std::string(kChaosForbidden));
    MESH_TRY(const std::uint64_t step, count_field(object, "step"));
    order.end.injection = order.injection;
    order.end.step = static_cast<std::uint32_t>(std::min<std::uint64_t>(step, UINT32_MAX));
    MESH_TRY(order.end.expires_ns, span_field(object, "expires_ns"));
  } else if (what == "undo") {
    order.what = Chaos::What::kUndo;
  } else if (what != "look") {
    return fail(Errc::bad_input, "field 'do': inject, change, end, undo or look is expected");
  }
  server.post(std::make_unique<Chaos>(server, request.connection, std::move(order)));
  return {};
}

}  // namespace mesh::engine
