// Phase 6, upkeep: what stations measured of their own agents goes, clamped, into the table.
#include <algorithm>
#include <array>
#include <cmath>

#include "engine/loop/conflicts.hpp"
#include "engine/loop/state.hpp"
#include "sched/lead_time.hpp"

namespace mesh::engine {
namespace {

constexpr float kLatencyMsMax = 86'400'000.0F;  // a day
constexpr float kPriorSamples = 8;              // mesh.md part 4: (n own + 8 prior) / (n + 8)
constexpr std::int64_t kLeftFreeNs = 20'000;    // before what is due

// A station's number is input: what is not a delay is not taken.
bool is_delay(float ms) noexcept { return std::isfinite(ms) && ms >= 0 && ms <= kLatencyMsMax; }

// What waits for an agent that is away, or frozen, may be past its time to live: its sender is told
// now and not on the agent's return, and it takes no room from what still counts. What waits in a
// station's list is looked at there.
void drop_if_expired(EngineLoop::State& loop, std::uint32_t at) noexcept {
  if (loop.entries.state_of(at) != EntryState::waiting || loop.is_over[at]) return;
  const Entry entry = loop.entries.get(at);
  const auto row = static_cast<std::uint32_t>(index_of(entry.target));
  if (route_of(loop, row) != nullptr || loop.held[row] == 0) return;
  const std::int64_t expires = loop.expires_of(entry);
  if (expires == 0 || expires >= loop.now_ns) return;
  --loop.held[row];
  --loop.held_count;
  loop.drop_entry(at, Errc::expired);
}

// Entries go round with the rows: each is looked at once a round.
void drop_expired(EngineLoop::State& loop, std::uint32_t first_row, std::uint32_t rows) noexcept {
  if (loop.held_count == 0) return;
  const std::uint64_t all = loop.entries.size();
  const std::uint64_t end = all * (std::uint64_t{first_row} + rows) / loop.row_count;
  for (std::uint64_t at = all * first_row / loop.row_count; at != end; ++at)
    drop_if_expired(loop, static_cast<std::uint32_t>(at % all));
}

}  // namespace

// `due_ns`: when the wheel has something next. Upkeep makes nothing late: what there is no time for
// before that waits, until it is so far behind that rows would be older than they may be.
void EngineLoop::State::upkeep(std::int64_t due_ns) noexcept {
  const std::uint32_t count = std::min(kUpkeepRowsPerTick, row_count);
  // Every row within options.upkeep, and no more often: a share of the rows for the time passed.
  const std::int64_t elapsed = std::min(now_ns - upkeep_ns, options.upkeep.count());
  const std::int64_t due_rows = elapsed * row_count / options.upkeep.count();
  const auto most = static_cast<std::uint32_t>(std::clamp<std::int64_t>(due_rows, 0, count));
  // Where nothing is due for long the clock, 30,000 times a second, would be a tenth of what an
  // idle mesh may cost.
  const bool may_wait = elapsed < options.upkeep.count() / 8 && due_ns - now_ns < 10 * kNsPerMs;
  const std::uint32_t first_row = upkeep_row;
  std::uint32_t turn = 0;
  // A row takes a microsecond, or ten after a sleep: only the clock knows.
  for (; turn != most && !(may_wait && clock() > due_ns - kLeftFreeNs); ++turn) {
    copy_self(upkeep_row);
    upkeep_row = upkeep_row + 1 == row_count ? 0 : upkeep_row + 1;
  }
  if (turn == 0) return;
  upkeep_ns += turn * options.upkeep.count() / row_count;
  if (due_rows > count && turn == count) upkeep_ns = now_ns;
  predictor->commit();
  drop_expired(*this, first_row, turn);
  if (upkeep_row < turn) expire_names();  // once a round
}

// What the next bucket will touch first is brought near while there is time: after a sleep it is
// not.
void EngineLoop::State::warm_next() noexcept {
  constexpr std::uint32_t kPlaces = 16;
  const std::optional<sched::WheelEntry> next = wheel->next();
  if (!next || next->due_ns == warmed_due_ns) return;
  warmed_due_ns = next->due_ns;
  if (next->bucket == kDeadlineEntry || next->bucket == kTimedEntry) return;
  Operation& operation = operations[next->operation];
  const std::uint32_t end = std::min(operation.next_order + kPlaces, operation.order_count);
  for (std::uint32_t at = operation.next_order; at < end; ++at) {
    const std::uint32_t place = operation.order[at];
    const std::uint32_t row = operation.row_of(place);
    __builtin_prefetch(&operation.lead[place]);
    __builtin_prefetch(&operation.predicted[place]);
    __builtin_prefetch(&operation.key[place]);
    __builtin_prefetch(&operation.sent[place], 1);
    __builtin_prefetch(&operation.inbox_place[place], 1);
    __builtin_prefetch(&agents.latency_ms.word(row));
    __builtin_prefetch(&agents.confidence.word(row));
    __builtin_prefetch(&agents.queue_depth.word(row), 1);
    __builtin_prefetch(&registry->handles()[row]);
    StationLink* const link = link_of_row(row);
    if (link == nullptr || link->is_corrupt) continue;
    __builtin_prefetch(&link->marks[link->mark_head % link->marks.size()], 1);
    const Ring::Run run = link->inbox.claim(1);  // claims nothing for good
    if (!run.slots.empty()) __builtin_prefetch(run.slots.data(), 1);
  }
  __builtin_prefetch(operation.words, 1);
  __builtin_prefetch(&operation.words->next_key, 1);
}

// Names of agents that have been away for agent_ttl are free; what waited for them goes back.
void EngineLoop::State::expire_names() noexcept {
  std::array<AgentId, 64> freed{};
  const std::size_t count = registry->expire(from_ns(now_ns), freed);
  for (std::size_t i = 0; i < count; ++i) {
    const AgentIndex index = index_of(freed[i]);
    const auto row = static_cast<std::uint32_t>(index);
    topology->fill(topology->leave(index));
    release_hold(*this, row, kNewcomer);  // its row is nobody's now
    predictor->forget(row);
    gate.watch->forget(row, from_ns(now_ns));
    order_is_stale = true;
    if (held[row] == 0) continue;
    held_count -= held[row];
    held[row] = 0;
    entries.for_each([&](std::uint32_t at, const Entry& entry) {
      if (entry.state == EntryState::waiting && entry.target == freed[i])
        drop_entry(at, Errc::no_such_agent);
    });
  }
}

void EngineLoop::State::copy_self(std::uint32_t row) noexcept {
  const auto reliability = gate.watch->reliability().turn(row, from_ns(now_ns));
  if (reliability) put(agents.reliability, row, *reliability);
  if (!is_active(row) || (is_as_copied(row) && !reliability)) return;
  const auto agent_class = static_cast<sched::AgentClass>(own(agents.agent_class, row));
  sched::RowFacts facts{.agent_class = agent_class,
                        .latency_ms = own(agents.latency_ms, row),
                        .latency_before_ms = own(agents.latency_ms, row),
                        .drift = own(agents.drift, row),
                        .before = {.work_ms = own(agents.work_ms, row),
                                   .residual_centre_ms = own(agents.residual_centre_ms, row),
                                   .residual_by_t_ms = own(agents.residual_by_t_ms, row),
                                   .confidence = own(agents.confidence, row),
                                   .confidence_by_t = own(agents.confidence_by_t, row),
                                   .history = own(agents.history, row)}};
  copy_medians(row, facts);
  facts.nominal_confidence = sched::nominal(nominal_inputs(row), {.z = options.z}).confidence;
  if (options.model == sched::Model::kNominal) {
    put(agents.confidence, row, sched::confidence_bits(facts.nominal_confidence));
    put(agents.confidence_by_t, row, sched::confidence_bits(facts.nominal_confidence));
  } else if (const auto learned = predictor->learn(row, facts)) {
    put(agents.work_ms, row, learned->work_ms);
    put(agents.residual_centre_ms, row, learned->residual_centre_ms);
    put(agents.residual_by_t_ms, row, learned->residual_by_t_ms);
    put(agents.confidence, row, learned->confidence);
    put(agents.confidence_by_t, row, learned->confidence_by_t);
    put(agents.history, row, learned->history);
  }
  const double score = std::clamp(std::nearbyint(predict(row, 1).lead_ms), 0.0, 1000.0);
  put(agents.score, row, static_cast<std::uint16_t>(score));
}

// Whether nothing is new that its prediction is made of: 30,000 idle agents are looked at once a
// second, and their sums are not done again.
bool EngineLoop::State::is_as_copied(std::uint32_t row) noexcept {
  const StationLink* const link = link_of_row(row);
  if (link == nullptr || self_place[row] >= link->self.sequence.rows()) return false;
  // SYNC row.stable acquire: the row's words that are loaded next are of this sequence, or newer;
  // then the next turn finds another one.
  const std::uint32_t written = link->self.sequence.word(self_place[row]).load_acquire();
  const std::uint32_t age_ms = mesh_ms() - own(agents.heartbeat_mesh_ms, row);
  const bool is_heard =
      peer(link->self.heartbeat_mesh_ms, self_place[row]) == own(agents.heartbeat_mesh_ms, row);
  const CopiedRow now{.sequence = written,
                      .queue_depth = own(agents.queue_depth, row),
                      .generation = predictor->generation(),
                      .is_fresh = std::int64_t{age_ms} * kNsPerMs < sched::kHeartbeatFreshNs};
  const bool is_same = is_heard && now == copied_rows[row] && !predictor->waits(row);
  copied_rows[row] = now;
  return is_same;
}

// What its station measured, clamped and shrunk toward its class.
void EngineLoop::State::copy_medians(std::uint32_t row, sched::RowFacts& facts) noexcept {
  const StationLink* const link = link_of(registry->station_of(agent_index(row)));
  if (link == nullptr || self_place[row] >= link->self.samples.rows()) return;
  const std::size_t at = self_place[row];
  // Each word is loaded once; that they belong to one moment does not matter to a median.
  const std::uint32_t heartbeat = peer(link->self.heartbeat_mesh_ms, at);
  const float latency = peer(link->self.latency_ms, at);
  const float processing = peer(link->self.processing_ms, at);
  const float drift = peer(link->self.drift, at);
  const std::uint32_t samples = std::min(peer(link->self.samples, at), 100U);
  // Not from the future: that would be invalid to the planner.
  const std::uint32_t age = mesh_ms() - heartbeat;
  if (age < 1U << 31) put(agents.heartbeat_mesh_ms, row, heartbeat);
  judge_context(*this, row, peer(link->self.context_hash, at));
  if (samples == 0 || !is_delay(latency) || !is_delay(processing) || !is_delay(drift)) return;
  const AgentPriors priors = priors_of(facts.agent_class);
  const auto weight = static_cast<float>(samples);
  const auto shrink = [&](float own, float prior) {
    return (weight * own + kPriorSamples * prior) / (weight + kPriorSamples);
  };
  facts.latency_ms = shrink(latency, priors.latency_ms);
  facts.drift = shrink(drift, static_cast<float>(sched::kPriorDrift));
  facts.station_processing_ms = processing;
  facts.station_samples = samples;
  put(agents.latency_ms, row, facts.latency_ms);
  put(agents.processing_ms, row, shrink(processing, priors.processing_ms));
  put(agents.drift, row, facts.drift);
}

}  // namespace mesh::engine
