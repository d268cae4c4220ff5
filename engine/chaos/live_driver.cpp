#include "engine/chaos/live_driver.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <sys/socket.h>

#include <nlohmann/json.hpp>

#include "engine/console_view.hpp"
#include "engine/loop/step_death.hpp"
#include "engine/station/agent_fault.hpp"
#include "engine/station/control_protocol.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

namespace chaos = coordination::chaos;
using coordination::ChaosOrder;
using coordination::FaultParams;
using coordination::FaultType;
using coordination::FaultVariant;
using nlohmann::json;

// Who is struck by it has to attach again.
bool is_death(FaultType type) noexcept {
  return type == FaultType::agent_crash || type == FaultType::station_death ||
         type == FaultType::engine_death;
}
// The guard's.
bool is_of_processes(FaultType type) noexcept {
  return is_death(type) || type == FaultType::agent_hang || type == FaultType::agent_slowdown;
}

// none: no fault word does that.
AgentFaultKind kind_of(FaultType type, const FaultParams& params) noexcept {
  switch (type) {
    case FaultType::latency_spike:
      return AgentFaultKind::delay;
    case FaultType::reorder:
      return AgentFaultKind::reorder;
    case FaultType::packet_loss:
      return AgentFaultKind::lose;
    case FaultType::duplicate:
      return AgentFaultKind::duplicate;
    case FaultType::message_corruption:
      return AgentFaultKind::corrupt;
    case FaultType::partition:
      return params.is_one_way ? AgentFaultKind::unheard : AgentFaultKind::cut;
    case FaultType::byzantine_behavior:
      return params.variant == FaultVariant::flip_vote ? AgentFaultKind::contradict
                                                       : AgentFaultKind::none;
    case FaultType::station_death:
      return params.count > 1 ? AgentFaultKind::end : AgentFaultKind::none;
    default:
      return AgentFaultKind::none;
  }
}

json request_for(const ChaosOrder& order, AgentFaultKind kind) {
  const FaultParams& params = order.params;
  const auto at_least_0 = [](Nanos time) { return std::max<std::int64_t>(time.count(), 0); };
  const bool is_delay = kind == AgentFaultKind::delay;
  return {{"op", "chaos"},
          {"do", "inject"},
          {"injection", order.injection},
          {"kind", static_cast<unsigned>(kind)},
          {"expires_ns", at_least_0(order.expires)},
          {"rate_ppm", params.rate_ppm},
          {"bits", params.count},
          {"add_ns", is_delay ? at_least_0(params.add) : 0},
          {"jitter_ns", at_least_0(params.jitter)}};
}

bool has_ramp(const ChaosOrder& order) noexcept {
  return order.ramp_up.count() > 0 || order.ramp_down.count() > 0;
}
bool can_ramp(FaultType type) noexcept {
  return type == FaultType::latency_spike || type == FaultType::reorder ||
         type == FaultType::packet_loss || type == FaultType::duplicate ||
         type == FaultType::message_corruption || type == FaultType::agent_slowdown;
}
// So many sixteenths of what it is in full.
ChaosOrder in_part(const ChaosOrder& order, std::uint32_t step) noexcept {
  const double share = static_cast<double>(step) / LiveDriver::kRampSteps;
  const auto part = [&](Nanos whole) {
    return Nanos{static_cast<std::int64_t>(share * static_cast<double>(whole.count()))};
  };
  const auto count = [&](std::uint32_t whole) {
    return static_cast<std::uint32_t>(share * static_cast<double>(whole));
  };
  ChaosOrder made = order;
  made.params.add = part(order.params.add);
  made.params.jitter = part(order.params.jitter);
  made.params.rate_ppm = count(order.params.rate_ppm);
  if (order.params.factor_milli > 1'000)
    made.params.factor_milli = 1'000 + std::max(1U, count(order.params.factor_milli - 1'000));
  return made;
}
// Steps of an even ramp that have begun.
std::uint32_t steps_begun(Nanos since, Nanos ramp) noexcept {
  if (ramp.count() <= 0 || since >= ramp) return LiveDriver::kRampSteps;
  const double share = static_cast<double>(std::max<std::int64_t>(since.count(), 0)) /
                       static_cast<double>(ramp.count());
  return static_cast<std::uint32_t>(share * LiveDriver::kRampSteps) + 1;
}

// When what was killed is started anew.
Nanos back_at(const ChaosOrder& order, Nanos now) {
  const Nanos away = order.params.restart_after;
  return away.count() > 0 ? std::min(order.expires, now + away) : order.expires;
}

Result<CapabilitySet> allowed_in(const Observer& observer) {
  MESH_TRY(const ConsoleView view, ConsoleView::over(observer.mesh(), observer.table()));
  const std::vector<std::string> label{std::string(kChaosAllowed)};
  return view.capabilities(label);
}

}  // namespace

LiveDriver::LiveDriver(std::string directory, std::unique_ptr<Observer> observer,
                       AgentRowViews views, ProcessGuard guard)
    : directory_(std::move(directory)),
      observer_(std::move(observer)),
      views_(std::move(views)),
      guard_(std::move(guard)) {}

Result<std::unique_ptr<LiveDriver>> LiveDriver::open(const LiveChaosOptions& options) {
  if (!options.allow_live)
    return fail(Errc::not_authorized, "live chaos: allow_live is false: nothing is struck");
  MESH_TRY(ProcessGuard guard, ProcessGuard::start());
  MESH_TRY(auto observer, Observer::open(options.directory, options.connect));
  MESH_TRY(AgentRowViews views, AgentRowViews::in(observer->layout(), observer->table()));
  std::unique_ptr<LiveDriver> made(
      new LiveDriver(options.directory, std::move(observer), std::move(views), std::move(guard)));
  MESH_TRY(const bool is_allowed, made->is_allowed());
  if (!is_allowed) return fail(Errc::not_authorized, "live chaos: " + std::string(kChaosForbidden));
  for (const GuardedProcess& process : options.processes) {
    MESH_TRY(const std::uint32_t key, made->guard_.add(process));
    made->keys_.push_back(key);
  }
  if (!options.engine) return made;
  MESH_TRY(const pid_t engine, made->engine_process());
  if (engine != options.engine->process)
    return fail(Errc::not_yours, "live chaos: process " + std::to_string(options.engine->process) +
                                     " is not the engine of " + options.directory + ": that is " +
                                     std::to_string(engine));
  MESH_TRY(made->engine_key_, made->guard_.add(*options.engine));
  return made;
}

Result<json> LiveDriver::request(const json& request) const {
  for (int attempt = 0;; ++attempt) {
    if (!engine_) {
      MESH_TRY(engine_, ControlClient::connect(directory_, {}));
    }
    const auto answer = engine_->request(request.dump());
    if (answer) {
      json said = json::parse(*answer, nullptr, false);
      if (said.is_object()) return said;
      return fail(Errc::bad_input, "live chaos: the engine's answer is no JSON object");
    }
    const bool has_gone = answer.error().code == Errc::closed;
    if (has_gone) engine_.reset();
    if (!has_gone || attempt != 0) return tl::unexpected<Error>(answer.error());
  }
}

Result<std::uint64_t> LiveDriver::ask(const json& request, const char* field) const {
  MESH_TRY(const json answer, this->request(request));
  return answer.value(field, std::uint64_t{0});
}

Result<bool> LiveDriver::is_allowed() const {
  MESH_TRY(const json said, request({{"op", "chaos"}, {"do", "look"}, {"injection", 0}}));
  return said.value("allowed", false);
}

Result<pid_t> LiveDriver::engine_process() const {
  MESH_TRY([[maybe_unused]] const bool there, is_allowed());
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(engine_->fd(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) return peer.pid;
  return shm::system_failure("live chaos: SO_PEERCRED", errno);
}

std::optional<AgentRow> LiveDriver::row(std::uint32_t agent) const {
  AgentRow row;
  const bool is_there =
      agent < views_.rows() && views_.read(agent, row) == shm::ReadStatus::kRead && !row.is_free();
  return is_there ? std::optional(row) : std::nullopt;
}

Status LiveDriver::describe(coordination::ChaosHarness& harness, Nanos now) {
  const auto allowed = allowed_in(*observer_);
  for (std::uint32_t agent = 0; agent < rows(); ++agent) {
    const auto its = row(agent);
    if (!its) continue;
    const bool may_be_struck = allowed && CapabilitySet(its->capabilities).contains_all(*allowed);
    const auto role = static_cast<coordination::ChaosRole>(std::min<std::uint8_t>(its->role, 2));
    const auto reply = harness.apply(
        chaos::SetAgent{agent, its->cluster, its->sector, role, may_be_struck ? 1U : 0U}, now);
    if (reply.code != Errc::ok)
      return fail(reply.code, "live chaos: the harness does not take agent " +
                                  std::to_string(agent) + ": " + std::string(name_of(reply.code)));
  }
  return {};
}

Errc LiveDriver::check(FaultType type, const FaultParams& params) noexcept {
  const bool is_plain = params.variant == FaultVariant::none;
  const bool is_for_good = params.variant == FaultVariant::for_good;
  const auto is_step = [&](std::uint32_t last) {
    return params.count >= 1 && params.count <= last;
  };
  if (type == FaultType::engine_death && !is_step(kEngineSteps)) return Errc::unsupported;
  if (type == FaultType::station_death && !is_step(kStationSteps)) return Errc::unsupported;
  if (type == FaultType::station_death && is_for_good) return Errc::ok;
  if (is_of_processes(type)) return is_plain ? Errc::ok : Errc::unsupported;
  const AgentFaultKind kind = kind_of(type, params);
  const bool is_known =
      kind != AgentFaultKind::none && (is_plain || kind == AgentFaultKind::contradict);
  return is_known ? Errc::ok : Errc::unsupported;
}

// The mesh allows it, and, where it strikes everybody, so does everybody.
Errc LiveDriver::check_mesh(FaultType type) const {
  const auto allows = is_allowed();
  if (!allows) return allows.error().code;
  if (!*allows) return Errc::not_authorized;
  if (type != FaultType::engine_death) return Errc::ok;
  const auto allowed = allowed_in(*observer_);
  for (std::uint32_t agent = 0; agent < rows(); ++agent) {
    const auto its = row(agent);
    const bool has_agreed =
        !its || (allowed && CapabilitySet(its->capabilities).contains_all(*allowed));
    if (!has_agreed) return Errc::not_authorized;
  }
  return Errc::ok;
}

// Each of them is there, and has agreed.
Errc LiveDriver::find(std::span<const std::uint32_t> targets, std::vector<AgentRow>& rows) const {
  const auto allowed = allowed_in(*observer_);
  for (const std::uint32_t target : targets) {
    const auto its = row(target);
    if (!its) return Errc::no_such_agent;
    const bool has_agreed = allowed && CapabilitySet(its->capabilities).contains_all(*allowed);
    if (!has_agreed) return Errc::not_authorized;
    rows.push_back(*its);
  }
  return rows.empty() ? Errc::invalid_argument : Errc::ok;
}

Errc LiveDriver::inject(const ChaosOrder& order, std::span<const std::uint32_t> targets) {
  if (faults_.contains(order.injection)) return Errc::ok;
  if (has_ramp(order) && !can_ramp(order.type)) return Errc::unsupported;
  const Errc cannot = check(order.type, order.params);
  if (cannot != Errc::ok) return cannot;
  if (order.expires <= now()) return Errc::invalid_argument;
  std::vector<AgentRow> rows;
  const Errc bad = find(targets, rows);
  if (bad != Errc::ok) return bad;
  const Errc refused = check_mesh(order.type);
  if (refused != Errc::ok) return refused;
  Fault fault;
  fault.targets.assign(targets.begin(), targets.end());
  fault.type = order.type;
  fault.order = order;
  fault.since = now();
  fault.step = order.ramp_up.count() > 0 ? 1 : kRampSteps;
  const ChaosOrder first = in_part(order, fault.step);
  Errc done = Errc::ok;
  if (is_at_step(order)) {
    done = strike_at_step(order, rows, fault.keys);
  } else if (order.type == FaultType::engine_death) {
    done = kill_engine(order);
  } else if (is_of_processes(order.type)) {
    done = inject_processes(first, rows, fault.keys);
  } else {
    done = inject_words(first, rows);
  }
  if (done == Errc::ok) faults_[order.injection] = std::move(fault);
  return done;
}

// --- ramps -------------------------------------------------------------------------------------

std::uint32_t LiveDriver::step_at(const Fault& fault, Nanos now) noexcept {
  if (fault.fades.count() == 0) return steps_begun(now - fault.since, fault.order.ramp_up);
  const std::uint32_t down = steps_begun(now - fault.fades, fault.order.ramp_down) - 1;
  return std::max(1U, fault.peak * (kRampSteps - down) / kRampSteps);
}

bool LiveDriver::set_step(const Fault& fault, std::uint32_t step) {
  const ChaosOrder part = in_part(fault.order, step);
  for (const std::uint32_t key : fault.keys) {
    if (!guard_.hold({part.injection, key, part.params.factor_milli, part.expires})) return false;
  }
  if (!fault.keys.empty()) return true;
  json request = request_for(part, kind_of(part.type, part.params));
  request["do"] = "change";
  return ask(request, "acting").has_value();
}

// A step that could not be taken, because no engine answers, is tried again.
void LiveDriver::advance(Nanos now) {
  for (auto& [injection, fault] : faults_) {
    if (!has_ramp(fault.order) || fault.step == 0) continue;
    const bool has_faded = fault.fades.count() != 0 && now - fault.fades >= fault.order.ramp_down;
    if (now >= fault.order.expires || has_faded) {
      fault.step = 0;
      remove(injection);
      continue;
    }
    const std::uint32_t step = step_at(fault, now);
    if (step != fault.step && set_step(fault, step)) fault.step = step;
  }
}

Errc LiveDriver::kill_engine(const ChaosOrder& order) {
  const Errc other = find_engine();
  if (other != Errc::ok) return other;
  const Status done = guard_.crash({order.injection, *engine_key_, back_at(order, now())});
  return done ? Errc::ok : done.error().code;
}

Errc LiveDriver::inject_words(const ChaosOrder& order, const std::vector<AgentRow>& rows) {
  json request = request_for(order, kind_of(order.type, order.params));
  json agents = json::array();
  for (const AgentRow& row : rows) agents.push_back(static_cast<std::uint64_t>(row.id));
  request["agents"] = std::move(agents);
  const auto acting = ask(request, "acting");
  if (!acting) return acting.error().code;
  return *acting == rows.size() ? Errc::ok : Errc::invalid_argument;  // over before it began
}

std::optional<LiveDriver::Sight> LiveDriver::look() const {
  const auto status = request({{"op", "status"}});
  if (!status) return std::nullopt;
  const json in_use = status->value("in_use", json::object());
  return Sight{status->value("agents_active", std::uint64_t{0}),
               status->value("agents_enrolled", std::uint64_t{0}),
               in_use.value("messages", std::uint64_t{0})};
}

Errc LiveDriver::find_engine() const {
  if (!engine_key_) return Errc::not_authorized;
  const auto known = guard_.state(*engine_key_);
  if (!known) return known.error().code;
  const auto there = engine_process();
  if (!there) return there.error().code;
  return known->is_running && known->process == *there ? Errc::ok : Errc::not_yours;
}

// The engine knows which process each station is.
Result<std::map<StationId, pid_t>> LiveDriver::hosts() const {
  MESH_TRY(const json status, request({{"op", "status"}}));
  std::map<StationId, pid_t> hosts;
  for (const json& one : status.value("attached", json::array())) {
    hosts[static_cast<StationId>(one.value("station", 0U))] = one.value("process", 0);
  }
  return hosts;
}

Result<std::set<std::uint32_t>> LiveDriver::processes_of(const std::vector<AgentRow>& rows) {
  MESH_TRY(const auto hosts, hosts());
  std::set<pid_t> wanted;
  std::set<AgentId> named;
  for (const AgentRow& row : rows) {
    const auto host = hosts.find(row.station);
    if (host == hosts.end()) return fail(Errc::no_such_agent, "live chaos: it is not attached");
    wanted.insert(host->second);
    named.insert(row.id);
  }
  for (std::uint32_t agent = 0; agent < this->rows(); ++agent) {
    const auto other = row(agent);
    if (!other || named.contains(other->id)) continue;
    const auto host = hosts.find(other->station);
    const bool is_hit = host != hosts.end() && wanted.contains(host->second);
    if (is_hit) return fail(Errc::unsupported, "live chaos: its process has other agents, too");
  }
  std::set<std::uint32_t> keys;
  for (const std::uint32_t key : keys_) {
    MESH_TRY(const ProcessGuard::State state, guard_.state(key));
    if (state.is_running && wanted.contains(state.process)) keys.insert(key);
  }
  if (keys.size() == wanted.size()) return keys;
  return fail(Errc::not_authorized, "live chaos: its process is not registered");
}

Errc LiveDriver::inject_processes(const ChaosOrder& order, const std::vector<AgentRow>& rows,
                                  std::set<std::uint32_t>& struck) {
  const auto keys = processes_of(rows);
  if (!keys) return keys.error().code;
  const bool is_for_good = order.params.variant == FaultVariant::for_good;
  const Nanos back = is_for_good ? order.expires : back_at(order, now());
  const bool is_slow = order.type == FaultType::agent_slowdown;
  for (const std::uint32_t key : *keys) {
    const Status done = is_death(order.type)
                            ? guard_.crash({order.injection, key, back, is_for_good})
                            : guard_.hold({order.injection, key,
                                           is_slow ? order.params.factor_milli : 0, order.expires});
    if (done) continue;
    static_cast<void>(guard_.release(order.injection));  // all of them or none
    return done.error().code;
  }
  struck = *keys;
  return Errc::ok;
}

// Also of one that this driver does not know: another one, that has died, may have ordered it.
void LiveDriver::undo(std::uint64_t injection) {
  const auto found = faults_.find(injection);
  const bool fades = found != faults_.end() && found->second.order.ramp_down.count() > 0 &&
                     found->second.step != 0;
  if (!fades) return remove(injection);
  if (found->second.fades.count() != 0) return;
  found->second.fades = now();
  found->second.peak = found->second.step;
}

void LiveDriver::remove(std::uint64_t injection) {
  const auto known = faults_.find(injection);
  const bool by_process = known == faults_.end() || is_of_processes(known->second.type);
  const bool is_known = known != faults_.end();
  const bool by_word =
      !is_known || !is_of_processes(known->second.type) || is_at_step(known->second.order);
  // The word first: who does not end by it any more needs nobody who waits for that.
  const bool has_engine =
      !is_known || known->second.type != FaultType::engine_death || engine_is_running();
  if (by_word && has_engine) spare(injection);
  if (by_process) static_cast<void>(guard_.release(injection));
}

bool LiveDriver::is_gone(std::uint64_t injection) const {
  const auto held = guard_.held(injection);
  // A guard that has gone holds nothing.
  const bool is_held = held && *held != 0;
  if (is_held) return false;
  const auto known = faults_.find(injection);
  const bool is_of_guard = known != faults_.end() && is_of_processes(known->second.type);
  // Of the engine, when its successor answers.
  if (is_of_guard) return known->second.type != FaultType::engine_death || engine_process();
  const auto acting = ask({{"op", "chaos"}, {"do", "look"}, {"injection", injection}}, "acting");
  return acting && *acting == 0;
}

bool LiveDriver::works(std::uint32_t agent) const {
  const auto its = row(agent);
  const auto state = its ? static_cast<AgentState>(its->state) : AgentState::free;
  const bool is_up = state == AgentState::active || state == AgentState::degraded;
  if (!is_up) return false;
  bool has_died = false;
  for (const auto& [injection, fault] : faults_) {
    if (!std::binary_search(fault.targets.begin(), fault.targets.end(), agent)) continue;
    if (!is_gone(injection)) return false;
    has_died = has_died || is_death(fault.type);
  }
  return !has_died || is_attached(agent);
}

// Its row says that it is active also while no engine is there to say otherwise.
bool LiveDriver::is_attached(std::uint32_t agent) const {
  const auto hosts = this->hosts();
  const auto its = row(agent);
  return hosts && its && hosts->contains(its->station);
}

}  // namespace mesh::engine
