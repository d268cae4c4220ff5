// How well instances are: what others have seen, and probes of those that asked for it.
#include <algorithm>
#include <cmath>

#include "engine/coordination/service_discovery.hpp"

namespace mesh::coordination {
namespace {

// Odd ones ask whether it lives, even ones whether it is ready.
std::size_t kind_of(std::uint64_t probe) noexcept { return probe % 2 == 1 ? 0 : 1; }

}  // namespace

ServiceDiscovery::Reply ServiceDiscovery::observe(const discovery::Observe& seen) noexcept {
  if (!is_name(seen.instance)) return refuse(Errc::invalid_id);
  const std::uint32_t slot = ids_.find(hash_of(seen.instance));
  if (slot == kNone || !slots_[slot].is_live()) return refuse(Errc::not_found);
  const bool is_share = seen.health >= 0 && seen.health <= 1;  // and a number
  if (!is_share || !is_duration(seen.latency)) return refuse(Errc::invalid_argument);
  slots_[slot].health = seen.health;
  slots_[slot].latency_ns = seen.latency.count();
  publish(slot);
  Reply reply;
  reply.version = version_;
  return reply;
}

ServiceDiscovery::Reply ServiceDiscovery::set_probing(const discovery::SetProbing& wanted,
                                                      std::int64_t now_ns) noexcept {
  std::uint32_t slot = kNone;
  const Errc found = find_own(wanted.instance, wanted.station, now_ns, slot);
  if (found != Errc::ok) return refuse(found);
  Slot& one = slots_[slot];
  if (wanted.is_on && !one.is_probed)
    probes_.set(slot, now_ns + config_.probe_ns.count(), one.id.low);
  if (!wanted.is_on) {
    probes_.clear(slot);
    one.is_probe_open = false;
    one.misses = {};
  }
  one.is_probed = wanted.is_on;
  return owned(slot);
}

void ServiceDiscovery::judge_probe(std::uint32_t slot, bool is_good, std::int64_t now_ns) noexcept {
  Slot& one = slots_[slot];
  std::uint32_t& misses = one.misses[kind_of(one.probe)];
  misses = is_good ? 0 : std::min(misses + 1, config_.misses_max);
  one.health += config_.health_alpha * ((is_good ? 1.0 : 0.0) - one.health);
  InstanceStatus status = one.declared;
  if (one.misses[1] == config_.misses_max) status = InstanceStatus::not_ready;
  if (one.misses[0] == config_.misses_max) status = InstanceStatus::dead;
  publish(slot);
  if (one.declared == InstanceStatus::draining || status == one.status) return;
  one.status = status;
  change(slot, now_ns);
}

ServiceDiscovery::Reply ServiceDiscovery::probe_result(const discovery::ProbeResult& result,
                                                       std::int64_t now_ns) noexcept {
  if (!is_name(result.instance)) return refuse(Errc::invalid_id);
  const std::uint32_t slot = ids_.find(hash_of(result.instance));
  if (slot == kNone || !slots_[slot].is_probed) return refuse(Errc::not_found);
  Slot& one = slots_[slot];
  if (result.sequence > one.probe || !is_duration(result.latency)) {
    return refuse(Errc::invalid_argument);
  }
  if (result.sequence != one.probe || !one.is_probe_open) return refuse(Errc::expired);
  one.is_probe_open = false;
  probes_.set(slot, now_ns + config_.probe_ns.count(), one.id.low);
  if (awareness_ != 0 && result.is_good) --awareness_;
  const double latency = static_cast<double>(result.latency.count());
  const double known = static_cast<double>(one.latency_ns);
  one.latency_ns = one.latency_ns < 0
                       ? result.latency.count()
                       : std::llround(known + config_.health_alpha * (latency - known));
  judge_probe(slot, result.is_good, now_ns);
  return owned(slot);
}

// A deadline that has passed is a miss, of the instance and of this node; then, or where none was
// open, the next one is due.
void ServiceDiscovery::probe_due(std::int64_t now_ns, Actions& out) {
  for (;;) {
    const std::uint32_t slot = probes_.pop_due(now_ns);
    if (slot == DeadlineHeap::kNone) return;
    Slot& one = slots_[slot];
    if (one.is_probe_open) {
      one.is_probe_open = false;
      ++counters_.probes_missed;
      awareness_ = std::min(awareness_ + 1, config_.awareness_max);
      probes_.set(slot, now_ns + config_.probe_ns.count(), one.id.low);
      judge_probe(slot, false, now_ns);
      continue;
    }
    ++one.probe;
    one.is_probe_open = true;
    ++counters_.probes;
    const std::int64_t patience = config_.probe_timeout_ns.count() * (1 + awareness_);
    probes_.set(slot, now_ns + patience, one.id.low);
    ServiceContent content = content_of(one);
    out.probes.push_back({std::move(content.instance), std::move(content.endpoint), one.probe,
                          static_cast<ProbeKind>(kind_of(one.probe)), Nanos{now_ns + patience}});
  }
}

}  // namespace mesh::coordination
