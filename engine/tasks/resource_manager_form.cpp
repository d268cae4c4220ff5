// What a resource manager looks like from outside: its presets, its bytes, what must hold.
#include <algorithm>

#include "engine/tasks/resource_manager.hpp"

namespace mesh::tasks {
namespace {

constexpr std::array<std::string_view, 2> kResourcePresets{"standard", "pi4b"};

}  // namespace

std::span<const std::string_view> ResourceManagerConfig::names() noexcept {
  return kResourcePresets;
}

Result<ResourceManagerConfig> ResourceManagerConfig::preset(std::string_view name) {
  ResourceManagerConfig config;
  if (name == "standard") return config;
  if (name == "pi4b") {
    config.agents_max = 256;
    config.resources_max = 2'048;
    config.holdings_max = 4'096;
    return config;
  }
  return unknown_preset("resource manager", name, kResourcePresets);
}

Status ResourceManager::validate(const Config& config) {
  const std::array<Check, 4> checks{{
      {is_duration(config.timeout_ns), "timeout_ns is outside 0..36 years"},
      {config.agents_max >= 1 && config.agents_max <= 65'536, "agents_max is outside 1..65536"},
      {config.holdings_max >= kGroupMax && config.holdings_max <= SlotSet::kSlotsMax,
       "holdings_max is outside 16..262144"},
      events_in_range(config),
  }};
  MESH_CHECK_OK(all_hold(Errc::invalid_config, checks));
  return LockManager::validate(lock_config(config));  // it names what is left
}

// --- bytes -------------------------------------------------------------------------------------

void ResourceManager::save_own(StateWriter& writer) const {
  writer.put(last_ticket_);
  writer.put(slots_.used());
  for (std::uint32_t slot = 0; slot < config_.holdings_max; ++slot) {
    if (!slots_.is_used(slot)) continue;
    const Holding& one = holdings_[slot];
    writer.put(slot);
    writer.put(one.name.text());
    writer.put(one.grant);
    writer.put(one.fence);
    writer.put(one.since_ns);
    writer.put(one.agent);
    writer.put(one.station);
    writer.put(one.count);
    writer.put(one.in_group);
  }
  std::uint32_t waiting = 0;
  for (const Wait& one : waits_) waiting += one.ticket != 0 ? 1U : 0U;
  writer.put(waiting);
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) {
    const Wait& one = waits_[agent];
    if (one.ticket == 0) continue;
    writer.put(agent);
    writer.put(one.ticket);
    writer.put(one.lock_ticket);
    writer.put(one.deadline_ns);
    writer.put(one.priority);
    writer.put(one.station);
    writer.put(one.next);
    writer.put(one.shared);
    writer.put(one.count);
    for (std::uint32_t i = 0; i < one.count; ++i) writer.put(one.names[i].text());
  }
}

void ResourceManager::save_state(StateWriter& writer) const {
  save_own(writer);
  writer.put(std::span<const std::byte>(locks_.snapshot().bytes));
}

// Not of the lock's counters, which count what was refused, too.
std::uint64_t ResourceManager::state_hash() const {
  StateWriter writer;
  save_own(writer);
  writer.put(locks_.state_hash());
  return checksum(writer.bytes());
}

namespace {

template <class Name>
void read_name(StateReader& reader, Name& name) {
  const auto bytes = reader.get_bytes();
  const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  if (!is_name(text)) return reader.fail();
  name.size = static_cast<std::uint8_t>(text.size());
  std::copy(text.begin(), text.end(), name.bytes.begin());
}

}  // namespace

void ResourceManager::load_waits(StateReader& reader) {
  const std::size_t waiting = reader.get_count(40);
  for (std::size_t i = 0; i < waiting && !reader.failed(); ++i) {
    const auto agent = reader.get<std::uint32_t>();
    if (agent >= config_.agents_max) return reader.fail();
    Wait& one = waits_[agent];
    reader.get(one.ticket);
    reader.get(one.lock_ticket);
    reader.get(one.deadline_ns);
    reader.get(one.priority);
    reader.get(one.station);
    reader.get(one.next);
    reader.get(one.shared);
    reader.get(one.count);
    const bool is_possible = one.ticket != 0 && one.ticket <= last_ticket_ && one.count >= 1 &&
                             one.count <= kGroupMax && one.next < one.count;
    if (!is_possible) return reader.fail();
    for (std::uint32_t k = 0; k < one.count; ++k) read_name(reader, one.names[k]);
  }
}

void ResourceManager::load_state(StateReader& reader) {
  reader.get(last_ticket_);
  const std::size_t held = reader.get_count(40);
  for (std::size_t i = 0; i < held && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!slots_.use(slot)) return reader.fail();
    Holding& one = holdings_[slot];
    read_name(reader, one.name);
    reader.get(one.grant);
    reader.get(one.fence);
    reader.get(one.since_ns);
    reader.get(one.agent);
    reader.get(one.station);
    reader.get(one.count);
    reader.get(one.in_group);
    const bool is_possible = one.agent < config_.agents_max && one.count != 0 &&
                             find(one.agent, one.name.text()) == kNone;
    if (!is_possible) return reader.fail();
    index_.set(hash_of(hash_of(one.name.text()).low, one.agent), slot);
    by_grant_.set(hash_of(one.grant, 8), slot);
  }
  load_waits(reader);
  Snapshot inner;
  const auto bytes = reader.get_bytes();
  inner.bytes.assign(bytes.begin(), bytes.end());
  if (reader.failed()) return;
  auto locks = LockManager::restore(lock_config(config_), inner);
  if (!locks) return reader.fail();
  locks_ = std::move(*locks);
}

// --- what must hold ----------------------------------------------------------------------------

Status ResourceManager::verify() const {
  MESH_CHECK_OK(locks_.verify());
  bool held = true;
  for (std::uint32_t slot = 0; slot < config_.holdings_max; ++slot) {
    if (!slots_.is_used(slot)) continue;
    const Holding& one = holdings_[slot];
    held = held && locks_.judge(one.name.text(), one.fence) == Errc::ok &&
           locks_.mode_of(one.agent, one.name.text()) != LockMode::none &&
           (!one.in_group || waits_[one.agent].ticket != 0);
  }
  bool waiting = true;
  std::uint64_t tickets = 0;
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) {
    tickets += waits_[agent].ticket != 0 ? 1U : 0U;
    const bool is_alike = waits_[agent].ticket == 0
                              ? locks_.waits(agent) == 0
                              : locks_.waits(agent) == waits_[agent].lock_ticket;
    waiting = waiting && is_alike;
  }
  const Counters& sums = counters_;
  const std::array<Check, 4> checks{{
      {held, "what is held here is not held in the lock"},
      {waiting, "who waits here does not wait in the lock, or the other way round"},
      {sums.held == sums.given_up + slots_.used(), "what was held is lost, or was given up twice"},
      {sums.waits == sums.granted + sums.timed_out + sums.victims + sums.cancelled + tickets,
       "a wait was answered twice, or never"},
  }};
  return all_hold(Errc::corrupt, checks);
}

}  // namespace mesh::tasks

namespace mesh::coordination {
template class ServiceForm<tasks::ResourceManager, tasks::ResourceManagerConfig,
                           tasks::ResourceCommand, tasks::ResourceReply, tasks::ResourceCounters,
                           tasks::ResourceActions>;
}  // namespace mesh::coordination
