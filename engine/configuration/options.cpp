#include "engine/configuration/options.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <type_traits>

#include <fmt/format.h>

#include "shm/base/limits.hpp"

namespace mesh::engine {
namespace {

using queues::WaitPolicy;

constexpr std::array kWaitPolicies = {WaitPolicy::kSpin, WaitPolicy::kAdaptive, WaitPolicy::kPark};
constexpr double kCpuMax = 1'023;
constexpr double kUidMax = std::numeric_limits<std::uint32_t>::max();
constexpr double kHourMs = 3'600'000;

// A whole number in the option's range; also 3.0, as people write it.
std::optional<std::int64_t> whole(const Option& option, const OptionValue& value) {
  if (const auto* const number = std::get_if<std::int64_t>(&value)) {
    const auto real = static_cast<double>(*number);
    if (real >= option.least && real <= option.most) return *number;
  }
  return std::nullopt;
}

std::optional<double> real(const Option& option, const OptionValue& value) {
  double number = std::numeric_limits<double>::quiet_NaN();
  if (const auto* const integer = std::get_if<std::int64_t>(&value))
    number = static_cast<double>(*integer);
  if (const auto* const given = std::get_if<double>(&value)) number = *given;
  if (number >= option.least && number <= option.most) return number;
  return std::nullopt;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    if (code < 0x20 || code == 0x7F) {
      out += fmt::format("\\u{:04X}", code);
      continue;
    }
    if (letter == '"' || letter == '\\') out += '\\';
    out += letter;
  }
  return out + '"';
}

using Count = std::uint64_t Configuration::*;
template <Count kField>
bool set_count(const Option& option, Configuration& configuration, const OptionValue& value) {
  const auto number = whole(option, value);
  if (number) configuration.*kField = static_cast<std::uint64_t>(*number);
  return number.has_value();
}
template <Count kField>
std::string show_count(const Option& /*option*/, const Configuration& configuration) {
  return std::to_string(configuration.*kField);
}

// Members of members, by functions: a pointer to a member cannot name them.
Nanos& reconnect(Configuration& of) { return of.reconnect; }
Nanos& stuck_after(Configuration& of) { return of.stuck_after; }
Nanos& bucket(Configuration& of) { return of.loop.bucket; }
Nanos& tolerance(Configuration& of) { return of.loop.tolerance; }
Nanos& upkeep(Configuration& of) { return of.loop.upkeep; }
Nanos& agent_ttl(Configuration& of) { return of.loop.agent_ttl; }
Nanos& load_patience(Configuration& of) { return of.conflicts.load_patience; }
Nanos& backup_every(Configuration& of) { return of.backup.every; }
Nanos& recovery_backoff(Configuration& of) { return of.recovery.backoff; }
Nanos& recovery_patience(Configuration& of) { return of.recovery.patience; }
Nanos& recovery_context(Configuration& of) { return of.recovery.context_wait; }
Nanos& newcomers_every(Configuration& of) { return of.loop.newcomers.every; }
Nanos& mode_enter(Configuration& of) { return of.loop.watch.modes.enter_after; }
Nanos& mode_leave(Configuration& of) { return of.loop.watch.modes.leave_after; }
Nanos& breaker_window(Configuration& of) { return of.loop.watch.breakers.window; }
Nanos& breaker_open(Configuration& of) { return of.loop.watch.breakers.open; }
Nanos& breaker_retry(Configuration& of) { return of.loop.watch.breakers.probe_retry; }
Nanos& breaker_half_open(Configuration& of) { return of.loop.watch.breakers.half_open; }
Nanos& crash_grace(Configuration& of) { return of.loop.watch.breakers.crash_grace; }
Nanos& cascade_window(Configuration& of) { return of.loop.watch.failures.cascade_window; }
Nanos& spike_bin(Configuration& of) { return of.loop.watch.failures.spike_bin; }
Nanos& lag_max(Configuration& of) { return of.loop.watch.failures.lag_max; }
Nanos& settle(Configuration& of) { return of.loop.watch.failures.settle; }

std::int64_t unit_ns(const Option& option) { return option.unit == "s" ? kNsPerSecond : kNsPerMs; }

using Duration = Nanos& (*)(Configuration&);
template <Duration kField>
bool set_duration(const Option& option, Configuration& configuration, const OptionValue& value) {
  const auto number = real(option, value);
  if (number) {
    kField(configuration) = Nanos{std::llround(*number * static_cast<double>(unit_ns(option)))};
  }
  return number.has_value();
}
template <Duration kField>
std::string show_duration(const Option& option, const Configuration& configuration) {
  Configuration copy = configuration;
  return fmt::format(
      "{}", static_cast<double>(kField(copy).count()) / static_cast<double>(unit_ns(option)));
}

using Text = std::string Configuration::*;
template <Text kField>
bool set_text(const Option& /*option*/, Configuration& configuration, const OptionValue& value) {
  const auto* const text = std::get_if<std::string>(&value);
  if (text == nullptr || text->empty() || text->find('\0') != std::string::npos) return false;
  configuration.*kField = *text;
  return true;
}
template <Text kField>
std::string show_text(const Option& /*option*/, const Configuration& configuration) {
  const std::string& text = configuration.*kField;
  return text.empty() ? text : quoted(text);
}

std::uint32_t& backup_keep(Configuration& of) { return of.backup.keep; }
std::uint32_t& attempts(Configuration& of) { return of.recovery.attempts; }
std::uint32_t& cluster_failures(Configuration& of) {
  return of.loop.watch.breakers.cluster_failures_max;
}
std::uint32_t& sector_failures(Configuration& of) {
  return of.loop.watch.breakers.sector_failures_max;
}
std::uint32_t& open_sectors(Configuration& of) { return of.loop.watch.breakers.open_sectors_max; }
std::uint32_t& unanswered(Configuration& of) { return of.loop.watch.failures.unanswered_max; }
std::uint32_t& spike_factor(Configuration& of) { return of.loop.watch.failures.spike_factor; }
using InnerCount = std::uint32_t& (*)(Configuration&);
template <InnerCount kField>
bool set_inner_count(const Option& option, Configuration& configuration, const OptionValue& value) {
  const auto number = whole(option, value);
  if (number) kField(configuration) = static_cast<std::uint32_t>(*number);
  return number.has_value();
}
template <InnerCount kField>
std::string show_inner_count(const Option& /*option*/, const Configuration& configuration) {
  Configuration copy = configuration;
  return std::to_string(kField(copy));
}

std::string& store_url(Configuration& of) { return of.conflicts.store; }
std::string& store_spill(Configuration& of) { return of.conflicts.spill; }
using InnerText = std::string& (*)(Configuration&);
template <InnerText kField>
bool set_inner_text(const Option& /*option*/, Configuration& configuration,
                    const OptionValue& value) {
  const auto* const text = std::get_if<std::string>(&value);
  if (text == nullptr || text->empty() || text->find('\0') != std::string::npos) return false;
  kField(configuration) = *text;
  return true;
}
template <InnerText kField>
std::string show_inner_text(const Option& /*option*/, const Configuration& configuration) {
  Configuration copy = configuration;
  const std::string& text = kField(copy);
  return text.empty() ? text : quoted(text);
}

constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
bool set_spill_mib(const Option& option, Configuration& configuration, const OptionValue& value) {
  const auto number = whole(option, value);
  if (number) configuration.conflicts.spill_bytes = static_cast<std::uint64_t>(*number) * kMib;
  return number.has_value();
}
std::string show_spill_mib(const Option& /*option*/, const Configuration& configuration) {
  return std::to_string(configuration.conflicts.spill_bytes / kMib);
}

std::int64_t& history_days(HistoryOptions& of) { return of.history_days; }
std::int64_t& results_days(HistoryOptions& of) { return of.results_days; }
std::uint64_t& results_max(HistoryOptions& of) { return of.results_max; }
template <auto kField>
bool set_history(const Option& option, Configuration& configuration, const OptionValue& value) {
  const auto number = whole(option, value);
  auto& field = kField(configuration.conflicts.history);
  if (number) field = static_cast<std::remove_reference_t<decltype(field)>>(*number);
  return number.has_value();
}
template <auto kField>
std::string show_history(const Option& /*option*/, const Configuration& configuration) {
  HistoryOptions copy = configuration.conflicts.history;
  return std::to_string(kField(copy));
}

// One component of a path.
bool set_name(const Option& option, Configuration& configuration, const OptionValue& value) {
  const auto* const text = std::get_if<std::string>(&value);
  if (text == nullptr || *text == "." || *text == ".." || text->find('/') != std::string::npos)
    return false;
  return set_text<&Configuration::name>(option, configuration, value);
}

bool set_wait(const Option& /*option*/, Configuration& configuration, const OptionValue& value) {
  const auto* const text = std::get_if<std::string>(&value);
  if (text == nullptr) return false;
  for (const WaitPolicy policy : kWaitPolicies) {
    if (*text != queues::name_of(policy)) continue;
    configuration.wait = policy;
    return true;
  }
  return false;
}
std::string show_wait(const Option& /*option*/, const Configuration& configuration) {
  return quoted(queues::name_of(configuration.wait));
}

bool set_cpu(const Option& option, Configuration& configuration, const OptionValue& value) {
  const auto number = whole(option, value);
  if (number) configuration.cpu = static_cast<int>(*number);
  return number.has_value();
}
std::string show_cpu(const Option& /*option*/, const Configuration& configuration) {
  return configuration.cpu ? std::to_string(*configuration.cpu) : std::string();
}

bool set_model(const Option& /*option*/, Configuration& configuration, const OptionValue& value) {
  const auto* const text = std::get_if<std::string>(&value);
  if (text == nullptr || (*text != "nominal" && *text != "calibrated")) return false;
  configuration.loop.model =
      *text == "nominal" ? sched::Model::kNominal : sched::Model::kCalibrated;
  return true;
}
std::string show_model(const Option& /*option*/, const Configuration& configuration) {
  return quoted(configuration.loop.model == sched::Model::kNominal ? "nominal" : "calibrated");
}

bool set_z(const Option& option, Configuration& configuration, const OptionValue& value) {
  const auto number = real(option, value);
  if (number) configuration.loop.z = *number;
  return number.has_value();
}
std::string show_z(const Option& /*option*/, const Configuration& configuration) {
  return fmt::format("{}", configuration.loop.z);
}

bool set_anyone(const Option& /*option*/, Configuration& configuration, const OptionValue& value) {
  const bool* const flag = std::get_if<bool>(&value);
  if (flag != nullptr) configuration.attach.anyone = *flag;
  return flag != nullptr;
}
std::string show_anyone(const Option& /*option*/, const Configuration& configuration) {
  return configuration.attach.anyone ? "true" : "false";
}

bool set_throttle(const Option& /*option*/, Configuration& configuration,
                  const OptionValue& value) {
  const bool* const flag = std::get_if<bool>(&value);
  if (flag != nullptr) configuration.loop.throttle.enabled = *flag;
  return flag != nullptr;
}
std::string show_throttle(const Option& /*option*/, const Configuration& configuration) {
  return configuration.loop.throttle.enabled ? "true" : "false";
}
using ThrottleFactor = double SenderThrottleOptions::*;
template <ThrottleFactor kField>
bool set_throttle_factor(const Option& option, Configuration& configuration,
                         const OptionValue& value) {
  const auto number = real(option, value);
  if (number) configuration.loop.throttle.*kField = *number;
  return number.has_value();
}
template <ThrottleFactor kField>
std::string show_throttle_factor(const Option& /*option*/, const Configuration& configuration) {
  return fmt::format("{}", configuration.loop.throttle.*kField);
}

bool set_live_chaos(const Option& /*option*/, Configuration& configuration,
                    const OptionValue& value) {
  const bool* const flag = std::get_if<bool>(&value);
  if (flag != nullptr) configuration.allow_live_chaos = *flag;
  return flag != nullptr;
}
std::string show_live_chaos(const Option& /*option*/, const Configuration& configuration) {
  return configuration.allow_live_chaos ? "true" : "false";
}

bool set_uids(const Option& option, Configuration& configuration, const OptionValue& value) {
  const auto* const numbers = std::get_if<std::vector<std::int64_t>>(&value);
  if (numbers == nullptr) return false;
  std::vector<std::uint32_t> uids;
  for (const std::int64_t number : *numbers) {
    if (!whole(option, number)) return false;
    uids.push_back(static_cast<std::uint32_t>(number));
  }
  configuration.attach.uids = std::move(uids);
  return true;
}
std::string show_uids(const Option& /*option*/, const Configuration& configuration) {
  return fmt::format("[{}]", fmt::join(configuration.attach.uids, ", "));
}

// Whoever starts the engine may stand anywhere: what it is to go on doing does not depend on that.
bool set_backup_directory(const Option& /*option*/, Configuration& configuration,
                          const OptionValue& value) {
  const auto* const text = std::get_if<std::string>(&value);
  if (text == nullptr || !text->starts_with('/') || text->find('\0') != std::string::npos)
    return false;
  configuration.backup.directory = *text;
  return true;
}
std::string show_backup_directory(const Option& /*option*/, const Configuration& configuration) {
  const std::string& text = configuration.backup.directory;
  return text.empty() ? text : quoted(text);
}

bool set_spawn(const Option& /*option*/, Configuration& configuration, const OptionValue& value) {
  const auto* const text = std::get_if<std::string>(&value);
  if (text == nullptr || text->empty() || text->find('\0') != std::string::npos) return false;
  configuration.recovery.spawn = *text;
  return true;
}
std::string show_spawn(const Option& /*option*/, const Configuration& configuration) {
  const std::string& text = configuration.recovery.spawn;
  return text.empty() ? text : quoted(text);
}

using NewcomerCount = std::uint32_t NewcomerOptions::*;
template <NewcomerCount kField>
bool set_newcomers(const Option& option, Configuration& configuration, const OptionValue& value) {
  const auto number = whole(option, value);
  if (number) configuration.loop.newcomers.*kField = static_cast<std::uint32_t>(*number);
  return number.has_value();
}
template <NewcomerCount kField>
std::string show_newcomers(const Option& /*option*/, const Configuration& configuration) {
  return std::to_string(configuration.loop.newcomers.*kField);
}

constexpr bool kReloadable = true, kAtStart = false;

constexpr std::array<Option, 57> kOptions = {{
    {"mesh", "name", "the mesh's name, where no directory is given", kAtStart, 0, 0, "",
     "a name without a slash", &set_name, &show_text<&Configuration::name>},
    {"mesh", "directory", "where the mesh's files and its socket are: on a tmpfs", kAtStart, 0, 0,
     "", "a path", &set_text<&Configuration::directory>, &show_text<&Configuration::directory>},
    {"mesh", "agents", "room for so many agents; 0: for sectors x clusters x cluster_agents",
     kAtStart, 0, kMaxAgents, "", "", &set_count<&Configuration::agents>,
     &show_count<&Configuration::agents>},
    {"mesh", "sectors", "groups of clusters", kAtStart, 1, kMaxAgents, "", "",
     &set_count<&Configuration::sectors>, &show_count<&Configuration::sectors>},
    {"mesh", "clusters", "in each sector", kAtStart, 1, kClustersPerSectorMost, "", "",
     &set_count<&Configuration::clusters>, &show_count<&Configuration::clusters>},
    {"mesh", "cluster_agents", "agents in each cluster, its lead included", kAtStart, 1,
     kAgentsPerClusterMost, "", "", &set_count<&Configuration::cluster_agents>,
     &show_count<&Configuration::cluster_agents>},
    {"mesh", "stations", "attached processes, at most", kAtStart, 1, kMaxStations, "", "",
     &set_count<&Configuration::stations>, &show_count<&Configuration::stations>},
    {"engine", "wait",
     "how the scheduler thread waits: spin keeps a core of its own, adaptive spins, yields and"
     " then sleeps, park sleeps at once",
     kAtStart, 0, 0, "", "spin, adaptive or park", &set_wait, &show_wait},
    {"engine", "cpu", "the scheduler thread's own processor", kAtStart, 0, kCpuMax, "", "",
     &set_cpu, &show_cpu},
    {"engine", "reconnect_ms", "that stations of a killed engine are waited for", kAtStart, 0,
     kHourMs, "ms", "", &set_duration<&reconnect>, &show_duration<&reconnect>},
    {"engine", "stuck_ms", "a station that reads nothing for so long is evicted", kReloadable, 1,
     kHourMs, "ms", "", &set_duration<&stuck_after>, &show_duration<&stuck_after>},
    {"engine", "upkeep_ms", "within which every agent's figures are brought up to date",
     kReloadable, 1, 60'000, "ms", "", &set_duration<&upkeep>, &show_duration<&upkeep>},
    {"throttle", "enabled", "whether senders are held back while the engine cannot keep up",
     kReloadable, 0, 0, "", "true or false", &set_throttle, &show_throttle},
    {"throttle", "flood_factor",
     "a sector that then sends over so many times its baseline is held to its baseline",
     kReloadable, SenderThrottleOptions::kFloodFactorMin, SenderThrottleOptions::kFloodFactorMax,
     "", "", &set_throttle_factor<&SenderThrottleOptions::flood_factor>,
     &show_throttle_factor<&SenderThrottleOptions::flood_factor>},
    {"throttle", "baseline_min", "messages a second: no sector's baseline is less", kReloadable, 1,
     SenderThrottleOptions::kBaselineMost, "", "",
     &set_throttle_factor<&SenderThrottleOptions::baseline_min>,
     &show_throttle_factor<&SenderThrottleOptions::baseline_min>},
    {"attach", "anyone", "whether every user of the host may attach", kAtStart, 0, 0, "",
     "true or false", &set_anyone, &show_anyone},
    {"attach", "uids", "users who may attach, besides the engine's own", kAtStart, 0, kUidMax, "",
     "", &set_uids, &show_uids},
    {"scheduling", "model", "how lead times are computed; calibrated learns from answers",
     kReloadable, 0, 0, "", "nominal or calibrated", &set_model, &show_model},
    {"scheduling", "bucket_ms", "sends that are so near to each other go out together", kAtStart,
     0.1, 100, "ms", "", &set_duration<&bucket>, &show_duration<&bucket>},
    {"scheduling", "z", "of the nominal model: how much of the drift is allowed for", kReloadable,
     0, 10, "", "", &set_z, &show_z},
    {"scheduling", "tolerance_ms",
     "an agent's confidence is the probability of an arrival so near to T", kAtStart, 0.1, 10'000,
     "ms", "", &set_duration<&tolerance>, &show_duration<&tolerance>},
    {"registry", "agent_ttl_s", "offline for so long, an agent's name is free again", kReloadable,
     0, 31'536'000, "s", "", &set_duration<&agent_ttl>, &show_duration<&agent_ttl>},
    {"store", "url", "records conflicts and keeps contexts there; without it, nowhere", kAtStart, 0,
     0, "", "a file's path, or postgresql://user@host/database", &set_inner_text<&store_url>,
     &show_inner_text<&store_url>},
    {"store", "spill",
     "keeps records while the store is away; of a file, where this says nothing: FILE.spill",
     kAtStart, 0, 0, "", "a path", &set_inner_text<&store_spill>, &show_inner_text<&store_spill>},
    {"store", "spill_mib", "size of the spill file, allocated in full", kAtStart, 1, 65'536, "MiB",
     "", &set_spill_mib, &show_spill_mib},
    {"store", "load_ms", "that an agent is waited for which is to load a context", kAtStart, 1,
     kHourMs, "ms", "", &set_duration<&load_patience>, &show_duration<&load_patience>},
    {"store", "history_days", "a point a minute for each cluster is kept for so long", kAtStart, 30,
     36'500, "", "", &set_history<&history_days>, &show_history<&history_days>},
    {"store", "results_days", "what came of each operation is kept for so long", kAtStart, 1,
     36'500, "", "", &set_history<&results_days>, &show_history<&results_days>},
    {"store", "results_max", "of more results than so many the oldest go", kAtStart, 1,
     1'000'000'000, "", "", &set_history<&results_max>, &show_history<&results_max>},
    {"backup", "directory", "where backups go", kAtStart, 0, 0, "", "an absolute path",
     &set_backup_directory, &show_backup_directory},
    {"backup", "every_s", "a backup is made so often; 0: only by mesh backup", kAtStart, 0,
     31'536'000, "s", "", &set_duration<&backup_every>, &show_duration<&backup_every>},
    {"backup", "keep", "older backups than so many go, once a new one is good; 0: none does",
     kAtStart, 0, 1'000'000, "", "", &set_inner_count<&backup_keep>,
     &show_inner_count<&backup_keep>},
    {"recovery", "spawn",
     "a line of /bin/sh that starts a process in the place of one that crashed: MESH_DIR,"
     " MESH_STATION, MESH_AGENT, MESH_AGENTS and MESH_AGENT_COUNT say which; also for mesh scale",
     kAtStart, 0, 0, "", "a command", &set_spawn, &show_spawn},
    {"recovery", "backoff_ms", "before the second try; doubled for each further one, to 60 s",
     kAtStart, 1, kHourMs, "ms", "", &set_duration<&recovery_backoff>,
     &show_duration<&recovery_backoff>},
    {"recovery", "patience_ms", "that a replacement has to attach its agents", kAtStart, 1, kHourMs,
     "ms", "", &set_duration<&recovery_patience>, &show_duration<&recovery_patience>},
    {"recovery", "context_ms", "at most, that what is for a returned agent waits for its context",
     kAtStart, 0, kHourMs, "ms", "", &set_duration<&recovery_context>,
     &show_duration<&recovery_context>},
    {"recovery", "attempts", "so many failed, nobody tries any more until mesh heal", kAtStart, 1,
     1'000, "", "", &set_inner_count<&attempts>, &show_inner_count<&attempts>},
    {"newcomers", "warm_ups", "answers that are measured before an agent of mesh scale gets work",
     kAtStart, 1, 100, "", "", &set_newcomers<&NewcomerOptions::warm_ups>,
     &show_newcomers<&NewcomerOptions::warm_ups>},
    {"newcomers", "every_ms", "after which newcomers are looked at, and a share of them admitted",
     kAtStart, 1, kHourMs, "ms", "", &set_duration<&newcomers_every>,
     &show_duration<&newcomers_every>},
    {"newcomers", "share_percent", "of those that came, admitted at a time; at least one", kAtStart,
     1, 100, "", "", &set_newcomers<&NewcomerOptions::share_percent>,
     &show_newcomers<&NewcomerOptions::share_percent>},
    {"health", "mode_enter_ms", "a worse operating mode is entered after so long", kAtStart, 0,
     kHourMs, "ms", "", &set_duration<&mode_enter>, &show_duration<&mode_enter>},
    {"health", "mode_leave_ms", "and left after so long", kAtStart, 0, kHourMs, "ms", "",
     &set_duration<&mode_leave>, &show_duration<&mode_leave>},
    {"health", "cluster_failures", "more in the window open a cluster's breaker", kAtStart, 1,
     kMaxAgents, "", "", &set_inner_count<&cluster_failures>, &show_inner_count<&cluster_failures>},
    {"health", "sector_failures", "more in the window open a sector's", kAtStart, 1, kMaxAgents, "",
     "", &set_inner_count<&sector_failures>, &show_inner_count<&sector_failures>},
    {"health", "open_sectors", "more sectors that are open open the mesh's", kAtStart, 1,
     kMaxAgents, "", "", &set_inner_count<&open_sectors>, &show_inner_count<&open_sectors>},
    {"health", "window_ms", "in which failures are counted", kAtStart, 10, kHourMs, "ms", "",
     &set_duration<&breaker_window>, &show_duration<&breaker_window>},
    {"health", "open_ms", "until a breaker that opened is probed", kAtStart, 1, kHourMs, "ms", "",
     &set_duration<&breaker_open>, &show_duration<&breaker_open>},
    {"health", "retry_ms", "until it is probed again after a probe that failed", kAtStart, 1,
     kHourMs, "ms", "", &set_duration<&breaker_retry>, &show_duration<&breaker_retry>},
    {"health", "half_open_ms", "that it is half open, then closed or open again", kAtStart, 1,
     kHourMs, "ms", "", &set_duration<&breaker_half_open>, &show_duration<&breaker_half_open>},
    {"health", "crash_grace_ms", "whole again so soon, a cluster's crashes are taken back",
     kAtStart, 0, kHourMs, "ms", "", &set_duration<&crash_grace>, &show_duration<&crash_grace>},
    {"health", "cascade_ms", "a sector whose failures double over three of these running is opened",
     kAtStart, 1, kHourMs, "ms", "", &set_duration<&cascade_window>,
     &show_duration<&cascade_window>},
    {"health", "unanswered", "so many messages in a row left unanswered are a failure", kAtStart, 1,
     100, "", "", &set_inner_count<&unanswered>, &show_inner_count<&unanswered>},
    {"health", "spike_factor", "an agent over so many times its own average is routed around",
     kAtStart, 2, 1'000, "", "", &set_inner_count<&spike_factor>, &show_inner_count<&spike_factor>},
    {"health", "spike_bin_ms", "a sixth of the time that this average is of", kAtStart, 1, kHourMs,
     "ms", "", &set_duration<&spike_bin>, &show_duration<&spike_bin>},
    {"health", "lag_max_ms", "an engine that is itself late by more judges nobody", kAtStart, 1,
     kHourMs, "ms", "", &set_duration<&lag_max>, &show_duration<&lag_max>},
    {"health", "settle_ms", "until it has been punctual for so long", kAtStart, 0, kHourMs, "ms",
     "", &set_duration<&settle>, &show_duration<&settle>},
    {"chaos", "allow_live",
     "whether faults may be set on purpose, at agents that have the capability chaos=allowed; not"
     " in production",
     kAtStart, 0, 0, "", "true or false", &set_live_chaos, &show_live_chaos},
}};

}  // namespace

std::span<const Option> options() noexcept { return kOptions; }

std::string range_of(const Option& option) {
  if (!option.words.empty()) return std::string(option.words);
  const bool is_real = !option.unit.empty() || option.set == &set_z ||
                       option.set == &set_throttle_factor<&SenderThrottleOptions::flood_factor> ||
                       option.set == &set_throttle_factor<&SenderThrottleOptions::baseline_min>;
  const std::string numbers = option.set == &set_uids ? "a list of whole numbers from "
                              : is_real               ? ""
                                                      : "a whole number from ";
  return fmt::format("{}{} to {}{}{}", numbers, option.least, option.most,
                     option.unit.empty() ? "" : " ", option.unit);
}

}  // namespace mesh::engine
