// What a queue looks like from outside: its presets, the range of its config, its bytes.
#include <array>
#include <string>

#include "engine/coordination/exactly_once_queue.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 7> kPresets{
    "default", "strict-fifo-per-key", "high-throughput", "long-tasks", "quick", "durable", "batch"};
constexpr Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }

// The names that users of neighbouring packages know, with the numbers that they expect.
struct Alias {
  Nanos lease;
  std::uint32_t attempts;
  Nanos ttl;
  Nanos window;
  std::uint32_t bloom_ppm;
  Nanos retry_base;
  Nanos retry_cap;
};
ExactlyOnceQueueConfig of_alias(const Alias& alias) {
  ExactlyOnceQueueConfig config;
  config.visibility_ns = alias.lease;
  config.attempts_max = alias.attempts;
  config.ttl_ns = alias.ttl;
  config.dedup_window_ns = alias.window;
  config.bloom_rate_ppm = alias.bloom_ppm;
  config.retry_base_ns = alias.retry_base;
  config.retry_cap_ns = alias.retry_cap;
  config.retry_jitter = 1;
  return config;
}

}  // namespace

std::string_view to_string(TaskState state) noexcept {
  constexpr std::array<std::string_view, 6> kNames{"unknown", "ready",     "delayed",
                                                   "leased",  "completed", "dead"};
  const auto index = static_cast<std::size_t>(state);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::span<const std::string_view> ExactlyOnceQueueConfig::names() noexcept { return kPresets; }

Result<ExactlyOnceQueueConfig> ExactlyOnceQueueConfig::preset(std::string_view name) {
  ExactlyOnceQueueConfig config;
  if (name == "default") return config;
  if (name == "strict-fifo-per-key") {
    config.affinity = Affinity::strict;
    return config;
  }
  if (name == "high-throughput") {
    config.dedup_mode = DedupMode::producer_seq;
    config.visibility_ns = seconds(10);
    config.claim_burst_max = 64;
    return config;
  }
  if (name == "long-tasks") {
    config.visibility_ns = seconds(600);
    return config;
  }
  if (name == "quick") {
    return of_alias({seconds(30), 3, seconds(300), seconds(120), 10'000, seconds(1), seconds(15)});
  }
  if (name == "durable") {
    return of_alias(
        {seconds(300), 5, seconds(3'600), seconds(3'600), 1'000, seconds(5), seconds(300)});
  }
  if (name == "batch") {
    return of_alias(
        {seconds(60), 2, seconds(600), seconds(60), 50'000, Nanos{500 * kNsPerMs}, seconds(5)});
  }
  return unknown_preset("exactly-once queue", name, kPresets);
}

Status ExactlyOnceQueue::validate(const Config& config) {
  const Nanos visibility_max = seconds(12 * 3'600);
  const double window_s = static_cast<double>(config.dedup_window_ns.count()) * 1e-9;
  const bool is_by_id = config.dedup_mode == DedupMode::ids;
  const std::array<Check, 16> checks{{
      {config.capacity >= 1 && config.capacity <= 1U << 24, "capacity is outside 1..16777216"},
      {config.visibility_ns.count() >= 10 * kNsPerMs && config.visibility_ns <= visibility_max,
       "visibility_ns is outside 10 ms..12 h"},
      {config.poison_stations <= LeaseSlot::kStationsMax, "poison_stations is above 4"},
      {config.dedup_window_ns.count() >= kNsPerMs && is_duration(config.dedup_window_ns),
       "dedup_window_ns is outside 1 ms..36 years"},
      {config.dedup_capacity >= config.capacity && config.dedup_capacity <= 1U << 28,
       "dedup_capacity is outside capacity..268435456"},
      {!is_by_id || config.dedup_capacity >= config.expected_rate_per_s * window_s,
       "dedup_capacity is below expected_rate_per_s times dedup_window_ns"},
      {config.bloom_rate_ppm < 1'000'000, "bloom_rate_ppm is not below 1000000"},
      {config.priority_levels >= 1 && config.priority_levels <= LeaseQueue::kLevelsMax,
       "priority_levels is outside 1..16"},
      {is_positive_duration(config.aging_ns) && is_duration(config.steal_after_ns),
       "aging_ns is outside 1 ns..36 years, or steal_after_ns outside 0..36 years"},
      {config.retry_base_ns.count() >= 0 && config.retry_cap_ns >= config.retry_base_ns &&
           config.retry_cap_ns <= visibility_max,
       "retry_base_ns is below 0 or above retry_cap_ns, or that above 12 h"},
      {is_duration(config.ttl_ns), "ttl_ns is outside 0..36 years"},
      {config.producers_max >= 1 && config.producers_max <= 1U << 24 && config.workers_max >= 1 &&
           config.workers_max <= 65'536,
       "producers_max is outside 1..16777216, or workers_max outside 1..65536"},
      {config.claim_burst_max >= 1 && config.claim_burst_max <= 4'096,
       "claim_burst_max is outside 1..4096"},
      {config.store_bytes >= config.payload_bytes_max && config.store_bytes <= 1ULL << 36,
       "store_bytes is outside payload_bytes_max..64 GiB"},
      {config.redrive_rate_per_s <= 1'000'000, "redrive_rate_per_s is above 1000000"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- state -------------------------------------------------------------------------------------

void ExactlyOnceQueue::save_state(StateWriter& writer) const {
  queue_.save(writer);
  rng_.save(writer);
  redrives_.save(writer);
  writer.put(static_cast<std::uint32_t>(producers_.size()));
  for (const auto& producer : producers_) {
    writer.put(producer.id);
    writer.put(producer.epoch);
    producer.window.save(writer);
  }
  writer.put(static_cast<std::uint32_t>(index_.count()));
  for (std::uint32_t at = oldest_; at != kNone; at = entries_[at].next) {
    const Entry& entry = entries_[at];
    entry.id.save(writer);
    writer.put(entry.payload_hash);
    writer.put(entry.fence);
    writer.put(entry.expires_ns);
    writer.put(entry.state);
    put_fields(store_.get(entry.name()), writer);
    put_fields(store_.get(entry.body), writer);
    writer.put(entry.slot != kNone);
    if (entry.slot != kNone) queue_.save_slot(entry.slot, writer);
  }
}

void ExactlyOnceQueue::load_entry(StateReader& reader) {
  if (free_entries_.empty()) return reader.fail();
  const std::uint32_t at = free_entries_.back();
  Entry& entry = entries_[at];
  entry.id.load(reader);
  reader.get(entry.payload_hash);
  reader.get(entry.fence);
  reader.get(entry.expires_ns);
  entry.state = reader.get_enum(TaskState::dead);
  const auto name = reader.get_bytes();
  const auto body = reader.get_bytes();
  const std::size_t chunks =
      ChunkStore::chunks_for(name.size()) + ChunkStore::chunks_for(body.size());
  const auto is_it = [&](std::uint32_t other) { return entries_[other].id == entry.id; };
  const bool is_impossible = chunks > store_.free_count() || name.size() > kNameBytesMax ||
                             index_.find(entry.id, is_it) != kNone;
  if (is_impossible) reader.fail();
  if (reader.failed()) return;
  free_entries_.pop_back();
  entry.set_name(store_.put(name));
  entry.body = store_.put(body);
  if (reader.get<bool>()) entry.slot = queue_.load_slot(reader);
  if (entry.slot != kNone) entry_of_slot_[entry.slot] = at;
  index_.add(entry.id, at);
  to_tail(at);
  remember(entry.id);
}

void ExactlyOnceQueue::load_state(StateReader& reader) {
  queue_.load(reader);
  rng_.load(reader);
  redrives_.load(reader);
  const std::size_t producers = reader.get_count(8 + 4 + 8 + 128);
  if (producers > config_.producers_max) return reader.fail();
  for (std::size_t i = 0; i < producers; ++i) {
    Producer producer;
    reader.get(producer.id);
    reader.get(producer.epoch);
    producer.window.load(reader);
    producer_index_.set(hash_of(producer.id, 0), static_cast<std::uint32_t>(i));
    producers_.push_back(producer);
  }
  const std::size_t entries = reader.get_count(16 + 3 * 8 + 1 + 8 + 1);
  for (std::size_t i = 0; i < entries && !reader.failed(); ++i) load_entry(reader);
  if (!reader.failed()) queue_.relink();
  bloom_window_ = kNotKnown;
}

Status ExactlyOnceQueue::verify() const {
  std::size_t chunks = 0;
  std::size_t live = 0;
  std::size_t listed = 0;
  for (std::uint32_t at = oldest_; at != kNone && listed <= entries_.size();
       at = entries_[at].next, ++listed) {
    const Entry& entry = entries_[at];
    chunks += ChunkStore::chunks_for(entry.name_bytes);
    chunks += ChunkStore::chunks_for(entry.body.size_bytes);
    live += entry.slot != kNone && entry_of_slot_[entry.slot] == at ? 1U : 0U;
  }
  const std::array<Check, 6> checks{{
      {queue_.is_consistent(), "the lease queue is not whole"},
      {live == queue_.counts().sum(), "a task has no id, or an id another's task"},
      {listed == index_.count() && listed + free_entries_.size() == entries_.size(),
       "the ids by age are not those of the index"},
      {chunks + store_.free_count() == store_.chunk_count(), "bytes are lost or used twice"},
      {counters_.accepted == queue_.counts().sum() + counters_.completed + counters_.purged,
       "accepted is not live + completed + purged"},
      {counters_.deaths == queue_.deaths(), "a death was not counted"},
  }};
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<ExactlyOnceQueue, ExactlyOnceQueueConfig, ExactlyOnceQueueCommand,
                           ExactlyOnceQueueReply, ExactlyOnceQueueCounters,
                           ExactlyOnceQueueActions>;

}  // namespace mesh::coordination
