#include "engine/simulation/scenario_keys.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "engine/pipeline.hpp"
#include "shm/base/limits.hpp"

namespace mesh::engine::simulation {
namespace {

using enum KeyUnit;

constexpr double kDay = 86'400;    // seconds
constexpr double kYears = 8'760;   // hours
constexpr double kPartsMax = 1e6;  // of a sum

constexpr std::array<std::string_view, 7> kFaultKinds = {
    "none", "death", "silence", "slowdown", "loss", "conflict", "clock_step"};
constexpr std::array<std::string_view, 5> kFaultTargets = {"all", "sector", "cluster", "class",
                                                           "agents"};
constexpr std::array<std::string_view, 2> kAims = {"centre", "by_t"};
constexpr std::array<std::string_view, 3> kStrategies = {"wave", "parallel", "priority_first"};
constexpr std::array<std::string_view, 6> kClasses = {"a", "b", "c", "d", "e", "f"};
constexpr std::array<std::string_view, 2> kModels = {"nominal", "calibrated"};

constexpr Key<Scenario> kScenarioKeys[] = {
    {"mesh", "agents", "how many there are", whole, 1, kMaxAgents, &Scenario::agents},
    {"mesh", "stations", "processes in which they live, besides those that faults take down", whole,
     1, 1'024, &Scenario::stations},
    {"run", "hours", "virtual time that is played", hours, 0.001, kYears, &Scenario::length},
    {"run", "settle_s", "before the first operation", seconds, 0, kDay, &Scenario::settle},
    {"agents", "cv_min", "coefficient of variation of an agent's delay: uniform from here", share,
     0, 2, &Scenario::cv_min},
    {"agents", "cv_max", "to here; its delays are log-normal", share, 0, 2, &Scenario::cv_max},
    {"agents", "bias_deviation",
     "how far agents' work lies from their class's: deviation of its logarithm", share, 0, 2,
     &Scenario::bias_deviation},
    {"agents", "noise_deviation", "how far one piece of work lies from an agent's usual one", share,
     0, 0.2, &Scenario::noise_deviation},
    {"agents", "silent", "share of messages that are never answered", share, 0, 1,
     &Scenario::silent},
    {"agents", "conflict", "share of answers that are conflicts", share, 0, 1, &Scenario::conflict},
    {"agents", "change_share", "share of agents whose work changes for good", share, 0, 1,
     &Scenario::change_share},
    {"agents", "change_after", "deliveries before it does", whole, 0, 1e9, &Scenario::change_after},
    {"operations", "every_s", "a mesh-wide scatter-gather so often; 0: none", seconds, 0, kDay,
     &Scenario::every},
    {"operations", "horizon_ms", "from its opening to T", milliseconds, 1, 16'000,
     &Scenario::horizon},
    {"operations", "window_ms", "collected until so long after T", milliseconds, 1, 600'000,
     &Scenario::window},
    {"operations", "timeout_ms", "over after this in any case", milliseconds, 1, 600'000,
     &Scenario::timeout},
    {"operations", "ready_min", "quorum: at least this share READY", share, 0, 1,
     &Scenario::ready_min},
    {"operations", "coverage_min", "quorum: at least this share of all that were meant READY",
     share, 0, 1, &Scenario::coverage_min},
    {"operations", "conflict_max", "quorum: at most this share in conflict", share, 0, 1,
     &Scenario::conflict_max},
    {"operations", "transit_max", "with more than this share outstanding the quorum waits", share,
     0, 1, &Scenario::transit_max},
    {"operations", "weight", "of the payload", factor, 0, 1'000, &Scenario::weight},
    {"operations", "aim", "half of the answers at T, or 95 % by T", word, 0, 0, &Scenario::aim,
     kAims},
    {"operations", "rounds",
     "how often those who are not READY are asked, at most, until there is a quorum", whole, 1, 10,
     &Scenario::rounds},
    {"cascades", "every_s", "a cascade so often; 0: none", seconds, 0, kDay,
     &Scenario::cascade_every},
    {"cascades", "at_s", "the first one, from the beginning", seconds, 0, 3.1536e7,
     &Scenario::cascade_at},
    {"cascades", "for_s", "they go on for so long; 0: to the end", seconds, 0, 3.1536e7,
     &Scenario::cascade_lasts},
    {"cascades", "strategy", "who is asked when: docs/CASCADES.md", word, 0, 0,
     &Scenario::cascade_strategy, kStrategies},
    {"cascades", "sector_window_ms", "of a wave: for coordinators", milliseconds, 1, 16'000,
     &Scenario::sector_window},
    {"cascades", "cluster_window_ms", "for leads", milliseconds, 1, 16'000,
     &Scenario::cluster_window},
    {"cascades", "agent_window_ms", "for agents", milliseconds, 1, 16'000, &Scenario::agent_window},
    {"cascades", "window_ms", "of parallel, and of each class of priority_first", milliseconds, 1,
     16'000, &Scenario::cascade_window},
    {"cascades", "ready_min", "reached with this share of those sent to READY", share, 0, 1,
     &Scenario::cascade_ready_min},
    {"pipelines", "every_s", "a pipeline so often; 0: none", seconds, 0, kDay,
     &Scenario::pipeline_every},
    {"pipelines", "steps", "agents that it goes through, one after another; drawn, none of class F",
     whole, 1, kPipelineStepsMax, &Scenario::pipeline_steps},
    {"pipelines", "window_ms", "beyond its target that each step has", milliseconds, 1, 16'000,
     &Scenario::pipeline_window},
    {"quorums", "every_s", "a lead asks its own cluster so often, one that is drawn; 0: none",
     seconds, 0, kDay, &Scenario::quorum_every},
    {"quorums", "lead_window_ms", "for the lead", milliseconds, 1, 16'000,
     &Scenario::quorum_lead_window},
    {"quorums", "window_ms", "for the others, once the lead is READY", milliseconds, 1, 16'000,
     &Scenario::quorum_window},
    {"scale", "agents", "so many more come, and are admitted gradually; 0: none", whole, 0,
     kMaxAgents, &Scenario::scale_agents},
    {"scale", "at_s", "when they are made, from the beginning", seconds, 0, 3.1536e7,
     &Scenario::scale_at},
    {"scale", "spawn_ms", "from then until their processes attach", milliseconds, 0, 3.6e6,
     &Scenario::scale_spawn},
    {"scale", "class", "which they are of", word, 0, 0, &Scenario::scale_class, kClasses},
    {"scale", "per_process", "agents that a process of theirs has", whole, 1, kMaxAgents,
     &Scenario::scale_per_process},
    {"scale", "warm_ups", "measured answers that a profile needs", whole, 1, 100,
     &Scenario::scale_warm_ups},
    {"scale", "wave_every_ms", "newcomers are looked at, and a wave of them admitted, so often",
     milliseconds, 1, 3.6e6, &Scenario::scale_wave_every},
    {"scale", "wave_percent", "of all that came, in one wave", whole, 1, 100,
     &Scenario::scale_wave_percent},
    {"contexts", "share", "share of agents that hand over their context; 0: none", share, 0, 1,
     &Scenario::context_share},
    {"contexts", "every_s", "they do so again so often, all of them together", seconds, 1, kDay,
     &Scenario::context_every},
    {"contexts", "load_ms",
     "a new process loads the context of one agent in this time, one agent after another",
     milliseconds, 0, 600'000, &Scenario::context_load},
    {"contexts", "stuck", "share of processes that never get to load one", share, 0, 1,
     &Scenario::context_stuck},
    {"contexts", "wait_ms", "after which an agent gets its messages without its context",
     milliseconds, 1, 600'000, &Scenario::context_wait},
    {"engine", "bucket_ms", "sends that are so near to each other go out together", milliseconds,
     0.1, 100, &Scenario::bucket},
    {"engine", "tolerance_ms", "confidence is the probability of an arrival so near to T",
     milliseconds, 0.1, 10'000, &Scenario::tolerance},
    {"engine", "upkeep_ms", "within which every agent's figures are brought up to date",
     milliseconds, 1, 60'000, &Scenario::upkeep},
    {"engine", "model", "how lead times are computed", word, 0, 0, &Scenario::model, kModels},
    {"engine", "look_us", "after an answer the engine looks within this", microseconds, 1, 100'000,
     &Scenario::look},
    {"engine", "detection_ms", "from a process's end to when the engine knows", milliseconds, 0,
     600'000, &Scenario::detection},
    {"health", "window_s", "in which breakers count failures", seconds, 0.01, kDay,
     &Scenario::breaker_window},
    {"health", "open_s", "an open breaker's time to its first probe", seconds, 0.01, kDay,
     &Scenario::breaker_open},
    {"health", "probe_retry_s", "after a probe that failed", seconds, 0.01, kDay,
     &Scenario::probe_retry},
    {"health", "half_open_s", "from the probe that succeeded to closed", seconds, 0.01, kDay,
     &Scenario::half_open},
    {"health", "mode_enter_s", "a worse operating mode is entered after this", seconds, 0, kDay,
     &Scenario::mode_enter},
    {"health", "mode_leave_s", "and left after this", seconds, 0, kDay, &Scenario::mode_leave},
    {"conflicts", "context_divergence", "parts of all conflicts that are of this type", whole, 0,
     kPartsMax, &Scenario::context_divergence},
    {"conflicts", "data_contradiction", "the same", whole, 0, kPartsMax,
     &Scenario::data_contradiction},
    {"conflicts", "temporal_paradox", "the same", whole, 0, kPartsMax, &Scenario::temporal_paradox},
    {"conflicts", "capability_mismatch", "the same", whole, 0, kPartsMax,
     &Scenario::capability_mismatch},
    {"conflicts", "hash_mismatch", "the same", whole, 0, kPartsMax, &Scenario::hash_mismatch},
    {"conflicts", "other", "the same; these wait for a person", whole, 0, kPartsMax,
     &Scenario::other_conflict},
    {"conflicts", "durable_ms", "until a record is durable", milliseconds, 0, 60'000,
     &Scenario::durable},
    {"conflicts", "step_ms", "one step of a strategy takes this", milliseconds, 0, 3'600'000,
     &Scenario::step},
    {"conflicts", "person_s", "a person takes this to decide", seconds, 0, 31'536'000,
     &Scenario::person},
};

constexpr Key<ClassFigures> kClassKeys[] = {
    {"class_X", "share", "parts of all agents that are of this class", whole, 0, kPartsMax,
     &ClassFigures::share},
    {"class_X", "latency_min_ms", "mean round trip of an agent: uniform from here", milliseconds,
     0.001, 86'400'000, &ClassFigures::latency_min},
    {"class_X", "latency_max_ms", "to here", milliseconds, 0.001, 86'400'000,
     &ClassFigures::latency_max},
    {"class_X", "processing_ms", "its work for a payload of weight 0", milliseconds, 0, 86'400'000,
     &ClassFigures::processing},
};

constexpr Key<Fault> kFaultKeys[] = {
    {"fault", "kind", "what happens", word, 1, 0, &Fault::kind, kFaultKinds},
    {"fault", "target", "to whom", word, 0, 0, &Fault::target, kFaultTargets},
    {"fault", "which", "number of the sector or cluster, from 0; of the class: A is 0", whole, 0,
     kMaxAgents, &Fault::which},
    {"fault", "count", "so many sectors, clusters or agents", whole, 1, kMaxAgents, &Fault::count},
    {"fault", "share", "of agents: this share of all instead of a count; 0: the count", share, 0, 1,
     &Fault::share},
    {"fault", "at_s", "from the beginning", seconds, 0, 3.1536e7, &Fault::at},
    {"fault", "for_s", "it lasts, or happens again, for so long; 0: to the end", seconds, 0,
     3.1536e7, &Fault::lasts},
    {"fault", "every_s",
     "death: again so often, each process at a moment of its own; 0: once, all of them together",
     seconds, 0, 3.1536e7, &Fault::every},
    {"fault", "return_ms",
     "death: the engine knows of it, and so long after that its replacement attaches; 0: never",
     milliseconds, 0, 3.1536e10, &Fault::returns},
    {"fault", "factor", "slowdown: delay and work take so many times as long", factor, 0.01, 1'000,
     &Fault::factor},
    {"fault", "rate", "loss, conflict: this share", share, 0, 1, &Fault::rate},
    {"fault", "step_ms", "clock_step: the host's clock is set forward, or back below 0",
     milliseconds, -60'000, 60'000, &Fault::step},
};

// How many of what a scenario holds make one of what the file says.
double scale_of(KeyUnit unit) noexcept {
  switch (unit) {
    case hours:
      return 3'600.0 * static_cast<double>(kNsPerSecond);
    case seconds:
      return static_cast<double>(kNsPerSecond);
    case milliseconds:
      return static_cast<double>(kNsPerMs);
    case microseconds:
      return static_cast<double>(kNsPerUs);
    case share:
      return static_cast<double>(kShareAll);
    case factor:
      return static_cast<double>(kFactorOne);
    default:
      return 1;
  }
}

std::string_view unit_name(KeyUnit unit) noexcept {
  switch (unit) {
    case hours:
      return " hours";
    case seconds:
      return " s";
    case milliseconds:
      return " ms";
    case microseconds:
      return " us";
    default:
      return "";
  }
}

std::optional<double> number_of(const KeyValue& value) noexcept {
  if (const auto* const integer = std::get_if<std::int64_t>(&value))
    return static_cast<double>(*integer);
  if (const auto* const real = std::get_if<double>(&value)) return *real;
  return std::nullopt;
}

}  // namespace

std::span<const Key<Scenario>> scenario_keys() noexcept { return kScenarioKeys; }
std::span<const Key<ClassFigures>> class_keys() noexcept { return kClassKeys; }
std::span<const Key<Fault>> fault_keys() noexcept { return kFaultKeys; }

template <class Owner>
bool set(const Key<Owner>& key, Owner& owner, const KeyValue& value) {
  if (key.unit == word) {
    const auto* const text = std::get_if<std::string>(&value);
    if (text == nullptr) return false;
    for (auto at = static_cast<std::size_t>(key.least); at < key.words.size(); ++at) {
      if (*text != key.words[at]) continue;
      owner.*key.value = static_cast<std::int64_t>(at);
      return true;
    }
    return false;
  }
  if (key.unit == whole && !std::holds_alternative<std::int64_t>(value)) return false;
  const auto number = number_of(value);
  if (!number || !(*number >= key.least && *number <= key.most)) return false;
  owner.*key.value = std::llround(*number * scale_of(key.unit));
  return true;
}

template <class Owner>
std::string range_of(const Key<Owner>& key) {
  if (key.unit != word)
    return fmt::format("{}{} to {}{}", key.unit == whole ? "a whole number from " : "",
                       fmt::format("{:.15g}", key.least), fmt::format("{:.15g}", key.most),
                       unit_name(key.unit));
  std::string list;
  for (auto at = static_cast<std::size_t>(key.least); at < key.words.size(); ++at)
    list += fmt::format("{}{}",
                        list.empty()                 ? ""
                        : at + 1 == key.words.size() ? " or "
                                                     : ", ",
                        key.words[at]);
  return list;
}

template <class Owner>
std::string shown(const Key<Owner>& key, const Owner& owner) {
  if (key.unit == word)
    return fmt::format("\"{}\"", key.words[static_cast<std::size_t>(owner.*key.value)]);
  return fmt::format("{:.10g}", static_cast<double>(owner.*key.value) / scale_of(key.unit));
}

template bool set(const Key<Scenario>&, Scenario&, const KeyValue&);
template bool set(const Key<ClassFigures>&, ClassFigures&, const KeyValue&);
template bool set(const Key<Fault>&, Fault&, const KeyValue&);
template std::string range_of(const Key<Scenario>&);
template std::string range_of(const Key<ClassFigures>&);
template std::string range_of(const Key<Fault>&);
template std::string shown(const Key<Scenario>&, const Scenario&);
template std::string shown(const Key<ClassFigures>&, const ClassFigures&);
template std::string shown(const Key<Fault>&, const Fault&);

}  // namespace mesh::engine::simulation
