// LiveDriver: deaths that wait for a step of a message.
#include <nlohmann/json.hpp>

#include "engine/chaos/live_driver.hpp"

namespace mesh::engine {

using coordination::ChaosOrder;
using coordination::FaultType;
using coordination::FaultVariant;
using nlohmann::json;

bool LiveDriver::is_at_step(const ChaosOrder& order) noexcept {
  const bool has_steps =
      order.type == FaultType::station_death || order.type == FaultType::engine_death;
  return has_steps && order.params.count > 1;
}

// The guard knows first: it starts anew who ends, also when we have died meanwhile.
Errc LiveDriver::strike_at_step(const ChaosOrder& order, const std::vector<AgentRow>& rows,
                                std::set<std::uint32_t>& struck) {
  if (order.type == FaultType::engine_death) return end_engine_at(order);
  const auto keys = processes_of(rows);
  if (!keys) return keys.error().code;
  const bool is_for_good = order.params.variant == FaultVariant::for_good;
  const Nanos away = is_for_good ? Nanos{0} : order.params.restart_after;
  Errc done = Errc::ok;
  for (const std::uint32_t key : *keys) {
    const Status expected = guard_.expect({order.injection, key, order.expires, away, is_for_good});
    if (!expected && done == Errc::ok) done = expected.error().code;
  }
  if (done == Errc::ok) done = inject_words(order, rows);
  if (done != Errc::ok) static_cast<void>(guard_.release(order.injection));
  struck = *keys;
  return done;
}

// Asked once: a second time it might be the successor that hears it.
Errc LiveDriver::end_engine_at(const ChaosOrder& order) {
  const Errc other = find_engine();
  if (other != Errc::ok) return other;
  const Status expected =
      guard_.expect({order.injection, *engine_key_, order.expires, order.params.restart_after});
  if (!expected) return expected.error().code;
  const json request = {{"op", "chaos"},
                        {"do", "end"},
                        {"injection", order.injection},
                        {"step", order.params.count},
                        {"expires_ns", order.expires.count()}};
  const auto answer = engine_->request(request.dump());
  if (!answer) engine_.reset();
  // One that dies before it can say so does what it was told.
  const json said = answer ? json::parse(*answer, nullptr, false) : json::object();
  const bool is_taken = answer ? said.is_object() && said.value("acting", std::uint64_t{0}) == 1
                               : may_pass(answer.error().code);
  if (is_taken) return Errc::ok;
  static_cast<void>(guard_.release(order.injection));
  return answer ? Errc::invalid_argument : answer.error().code;
}

bool LiveDriver::engine_is_running() const {
  if (!engine_key_) return false;
  const auto known = guard_.state(*engine_key_);
  return known && known->is_running;
}

// Who was to end at a step, and has not, lives on. Where no engine answers there is none to tell:
// the next one knows nothing of it, and a word in the table lapses.
void LiveDriver::spare(std::uint64_t injection) {
  static_cast<void>(ask({{"op", "chaos"}, {"do", "undo"}, {"injection", injection}}, "acting"));
}

LiveDriver::~LiveDriver() {
  for (const auto& [injection, fault] : faults_) {
    if (!is_at_step(fault.order) || is_gone(injection)) continue;
    spare(injection);
    static_cast<void>(guard_.release(injection));
  }
}

}  // namespace mesh::engine
