// What a causal group's machine looks like from outside: presets, ranges, what it knows, its bytes.
#include <algorithm>
#include <array>

#include "engine/coordination/vector_clock.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 6> kPresets{
    "small-cluster", "medium-network", "large-federation", "small", "medium", "large"};

CausalityConfig medium_network() {
  CausalityConfig config;
  config.members_max = 256;
  config.buffer_max = 8'192;
  config.matrix = false;
  config.prune_idle_ns = Nanos{3'600 * kNsPerSecond};
  return config;
}
// Vectors stay within a domain; across domains a stamp and a plausible clock.
CausalityConfig large_federation() {
  CausalityConfig config;
  config.members_max = 100;
  config.matrix = false;
  config.plausible_entries = 64;
  return config;
}

}  // namespace

std::span<const std::string_view> CausalityConfig::names() noexcept { return kPresets; }

Result<CausalityConfig> CausalityConfig::preset(std::string_view name) {
  if (name == "small-cluster" || name == "small") return CausalityConfig{};
  if (name == "medium-network" || name == "medium") return medium_network();
  if (name == "large-federation" || name == "large") return large_federation();
  return unknown_preset("vector clock", name, kPresets);
}

Status VectorClockCausality::validate(const Config& config) {
  const auto within = [](std::uint64_t value, std::uint64_t most) {
    return value >= 1 && value <= most;
  };
  const std::array checks{
      Check{within(config.members_max, 1'024), "members_max is outside 1..1024"},
      Check{within(config.buffer_max, 1U << 16), "buffer_max is outside 1..65536"},
      Check{within(config.log_max, 1U << 16), "log_max is outside 1..65536"},
      Check{config.plausible_entries <= PlausibleClock::kEntriesMax,
            "plausible_entries is above 64"},
      Check{within(config.readers_max, 1'024), "readers_max is outside 1..1024"},
      Check{within(config.barriers_max, 1'024), "barriers_max is outside 1..1024"},
      Check{within(config.dots_block, 1U << 20), "dots_block is outside 1..1048576"},
      Check{config.faults_max < config.members_max, "faults_max is not below members_max"},
      Check{is_duration(config.skew_max_ns) && is_duration(config.prune_idle_ns),
            "skew_max_ns or prune_idle_ns is outside 0..36 years"},
      Check{within(config.payload_bytes_max, 16U << 20),
            "payload_bytes_max is outside 1..16777216"},
      Check{config.store_bytes >= config.payload_bytes_max && config.store_bytes <= 1ULL << 36,
            "store_bytes is outside payload_bytes_max..64 GiB"},
      events_in_range(config),
  };
  return all_hold(Errc::invalid_config, checks);
}

// --- what it knows -----------------------------------------------------------------------------

causal::Clock VectorClockCausality::clock_of(std::span<const std::uint64_t> row) const {
  causal::Clock clock;
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    if (row[i] != 0) clock.push_back({members_[i].agent, row[i]});
  }
  std::sort(clock.begin(), clock.end(),
            [](const ClockEntry& a, const ClockEntry& b) { return a.agent < b.agent; });
  return clock;
}

VectorClock VectorClockCausality::delivered() const {
  VectorClock clock;
  for (const auto& member : members_) clock.set(member.agent, member.count);
  return clock;
}

VectorClock VectorClockCausality::stable_prefix() const {
  VectorClock clock;
  for (std::uint32_t i = 0; i < members_.size(); ++i) clock.set(members_[i].agent, stable(i));
  return clock;
}

std::vector<std::uint64_t> VectorClockCausality::gc_blocked_by(std::uint64_t agent) const {
  std::vector<std::uint64_t> behind;
  const std::uint32_t column = member(agent);
  if (column == kNone || !config_.matrix) return behind;
  for (std::uint32_t i = 1; i < members_.size(); ++i) {
    const bool lacks = known(i, column) < members_[column].count;
    if (members_[i].is_live && lacks) behind.push_back(members_[i].agent);
  }
  std::sort(behind.begin(), behind.end());
  return behind;
}

std::vector<MissingDots> VectorClockCausality::missing() const {
  std::vector<std::uint64_t> needed(members_.size());
  for (const std::uint32_t at : waiting_) {
    const auto clock = row_of(at);
    const std::uint32_t origin = member(held_[at].dot.actor);
    for (std::uint32_t i = 0; i < members_.size(); ++i) {
      const std::uint64_t before = held_[at].dot.counter - 1 - held_[at].gap;
      needed[i] = std::max(needed[i], i == origin ? before : clock[i]);
    }
  }
  const auto is_here = [&](const Dot& dot) {
    return std::any_of(waiting_.begin(), waiting_.end(),
                       [&](std::uint32_t at) { return held_[at].dot == dot; });
  };
  std::vector<MissingDots> missing;
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    std::uint64_t last = needed[i];
    while (last > members_[i].count && is_here({members_[i].agent, last})) --last;
    if (last <= members_[i].count) continue;
    missing.push_back({members_[i].agent, members_[i].count + 1, last});
  }
  std::sort(missing.begin(), missing.end(),
            [](const MissingDots& a, const MissingDots& b) { return a.origin < b.origin; });
  return missing;
}

std::vector<CausalEvent> VectorClockCausality::read(std::uint64_t id, std::size_t max) const {
  std::vector<CausalEvent> events;
  const auto reader = std::find_if(readers_.begin(), readers_.end(),
                                   [&](const Reader& one) { return one.id == id; });
  if (id == 0 || reader == readers_.end()) return events;
  for (const auto at : order_) {
    const Held& held = held_[at];
    if (held.position <= reader->position) continue;
    if (events.size() == max) break;
    events.push_back({held.position, held.dot, clock_of(row_of(at)), store_.get(held.payload)});
  }
  return events;
}

std::vector<causal::Row> VectorClockCausality::rows() const {
  std::vector<causal::Row> rows;
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    if (!members_[i].is_live) continue;
    const auto row = std::span(matrix_).subspan(std::size_t{i} * config_.members_max);
    rows.push_back({members_[i].agent, clock_of(row)});
  }
  return rows;
}

PlausibleClock VectorClockCausality::plausible() const {
  PlausibleClock clock(config_.plausible_entries == 0 ? 1 : config_.plausible_entries,
                       config_.self);
  clock.seed(delivered());
  return clock;
}

CausalityView VectorClockCausality::view() const noexcept {
  CausalityView view;
  for (std::uint32_t i = 0; i < members_.size(); ++i) view.stable += stable(i);
  view.delivered = position_;
  view.buffered = waiting_.size();
  view.stamp = hybrid_.last().word();
  return view;
}

// --- bytes -------------------------------------------------------------------------------------

void VectorClockCausality::save_held(std::uint32_t at, StateWriter& writer) const {
  const Held& held = held_[at];
  writer.put(held.dot.actor);
  writer.put(held.dot.counter);
  writer.put(held.gap);
  writer.put(held.position);
  put_fields(store_.get(held.payload), writer);
  for (std::uint32_t i = 0; i < members_.size(); ++i) writer.put(row_of(at)[i]);
}

void VectorClockCausality::save_state(StateWriter& writer) const {
  writer.put(static_cast<std::uint32_t>(members_.size()));
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    writer.put(members_[i].agent);
    writer.put(members_[i].is_live);
    writer.put(members_[i].count);
    writer.put(members_[i].last_ns);
    writer.put(static_cast<bool>(heard_[i]));
    for (std::uint32_t k = 0; k < members_.size(); ++k) writer.put(known(i, k));
  }
  writer.put(static_cast<std::uint32_t>(pruned_.size()));
  for (const auto& entry : pruned_) writer.put(entry.agent), writer.put(entry.count);
  for (const auto number : {position_, last_dot_, bound_}) writer.put(number);
  writer.put(guarantee_);
  hybrid_.save(writer);
  std::vector<std::uint32_t> used = waiting_;
  std::sort(used.begin(), used.end(),
            [&](std::uint32_t a, std::uint32_t b) { return held_[a].dot < held_[b].dot; });
  used.insert(used.begin(), order_.begin(), order_.end());
  writer.put(static_cast<std::uint32_t>(used.size()));
  for (const auto at : used) save_held(at, writer);
  for (const auto& reader : readers_) {
    writer.put(reader.id);
    writer.put(reader.position);
  }
  for (const auto& barrier : barriers_) {
    writer.put(barrier.id);
    if (barrier.id == 0) continue;
    writer.put(barrier.deadline_ns);
    for (std::uint32_t i = 0; i < members_.size(); ++i) writer.put(barrier.clock[i]);
  }
}

void VectorClockCausality::load_held(StateReader& reader) {
  Dot dot;
  reader.get(dot.actor);
  reader.get(dot.counter);
  const auto gap = reader.get<std::uint64_t>();
  const auto position = reader.get<std::uint64_t>();
  const auto payload = reader.get_bytes();
  const bool is_possible = member(dot.actor) != kNone && !free_.empty() && gap < dot.counter &&
                           store_.fits(payload.size());
  const bool has_place =
      position == 0 ? waiting_.size() < config_.buffer_max : order_.size() < config_.log_max;
  if (reader.failed() || !is_possible || !has_place) return reader.fail();
  const std::uint32_t at = hold(dot, payload);
  held_[at].gap = gap;
  held_[at].position = position;
  for (std::uint32_t i = 0; i < members_.size(); ++i) reader.get(row_of(at)[i]);
  if (position == 0) {
    waiting_.push_back(at);  // reserved
  } else {
    order_.push_back(at);
  }
}

void VectorClockCausality::load_pruned(StateReader& reader) {
  const std::size_t count = reader.get_count(16);
  if (count > config_.members_max) return reader.fail();
  for (std::size_t i = 0; i < count; ++i) {
    const auto agent = reader.get<std::uint64_t>();
    pruned_.push_back({agent, reader.get<std::uint64_t>()});
  }
}

void VectorClockCausality::load_state(StateReader& reader) {
  const std::size_t members = reader.get_count(8 + 1 + 8 + 1 + 8);
  if (members == 0 || members > config_.members_max) return reader.fail();
  members_.clear();
  members_.resize(members);
  for (std::uint32_t i = 0; i < members; ++i) {
    reader.get(members_[i].agent);
    reader.get(members_[i].is_live);
    reader.get(members_[i].count);
    reader.get(members_[i].last_ns);
    heard_[i] = reader.get<bool>();
    for (std::uint32_t k = 0; k < members; ++k) reader.get(known(i, k));
  }
  if (members_[0].agent != config_.self) return reader.fail();
  load_pruned(reader);
  for (auto* number : {&position_, &last_dot_, &bound_}) reader.get(*number);
  guarantee_ = reader.get_enum(Guarantee::plausible);
  hybrid_.load(reader);
  const std::size_t used = reader.get_count(8 * 4 + 4 + 8 * members);
  for (std::size_t i = 0; i < used && !reader.failed(); ++i) load_held(reader);
  for (auto& one : readers_) {
    reader.get(one.id);
    reader.get(one.position);
  }
  for (auto& barrier : barriers_) {
    reader.get(barrier.id);
    if (barrier.id == 0) continue;
    reader.get(barrier.deadline_ns);
    for (std::uint32_t i = 0; i < members; ++i) reader.get(barrier.clock[i]);
  }
}

Status VectorClockCausality::verify() const {
  std::size_t used = 0;
  std::size_t buffered = 0;
  std::size_t chunks = 0;
  bool is_in_order = true;
  for (const auto& held : held_) {
    if (!held.is_used) continue;
    ++used;
    chunks += ChunkStore::chunks_for(held.payload.size_bytes);
    buffered += held.position == 0 ? 1U : 0U;
  }
  std::uint64_t last = order_.empty() ? 0 : held_[order_.front()].position - 1;
  for (const auto at : order_) is_in_order = is_in_order && held_[at].position == ++last;
  is_in_order = is_in_order && (order_.empty() || last == position_);
  bool is_known = true;
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    is_known = is_known && known(0, i) == members_[i].count;
  }
  const std::array checks{
      Check{used + free_.size() == held_.size() && used == waiting_.size() + order_.size() &&
                buffered == waiting_.size(),
            "the events held are not those buffered and delivered"},
      Check{is_in_order, "a hole in the log"},
      Check{is_known, "the own row is not what was delivered"},
      Check{members_[0].count <= last_dot_ && (bound_ == 0 || last_dot_ <= bound_),
            "a dot was given out that was not reserved"},
      Check{counters_.emitted + counters_.received + counters_.duplicates <= counters_.commands,
            "more events than commands"},
      Check{chunks + store_.free_count() == store_.chunk_count(), "bytes are lost or used twice"},
      Check{waiting_.size() <= config_.buffer_max, "the buffer holds more than it may"},
  };
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<VectorClockCausality, CausalityConfig, CausalityCommand, CausalityReply,
                           CausalityCounters, CausalityActions>;

}  // namespace mesh::coordination
