#include "engine/recovery/recovery.hpp"

#include <algorithm>
#include <csignal>
#include <set>
#include <utility>

namespace mesh::engine {
namespace {

constexpr Nanos kLookEvery{10 * kNsPerMs};
constexpr Nanos kLongNap{3'600 * kNsPerSecond};
constexpr std::size_t kNamesBytesMax = std::size_t{64} << 10;

std::string names_of(const LostProcess& process) {
  std::string text;
  for (const LostAgent& agent : process.agents) {
    if (text.size() + agent.name.size() + 1 > kNamesBytesMax) break;
    text += (text.empty() ? "" : "\n") + agent.name;
  }
  return text;
}

}  // namespace

Recovery::Recovery(const RecoveryOptions& options, Outside outside)
    : options_(options), outside_(std::move(outside)), plan_(options) {}

void Recovery::start() {
  if (thread_.joinable()) return;
  stopping_ = false;
  thread_ = std::thread([this] { run(); });
}

void Recovery::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
  healings_.clear();
  asked_.clear();
}

void Recovery::lost(LostProcess process) {
  {
    const std::lock_guard lock(mutex_);
    ++status_.lost;
    told_.push_back(std::move(process));
  }
  wake_.notify_all();
}

void Recovery::begin(std::vector<LostProcess> processes) {
  {
    const std::lock_guard lock(mutex_);
    for (LostProcess& process : processes) told_.push_back(std::move(process));
  }
  wake_.notify_all();
}

void Recovery::heal(Heal heal) {
  {
    const std::lock_guard lock(mutex_);
    asked_.push_back(std::move(heal));
  }
  wake_.notify_all();
}

RecoveryStatus Recovery::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void Recovery::run() {
  while (!nap()) {
    take_told();
    take_synced();
    look();
    act();
    end_healings();
    note();
  }
}

bool Recovery::nap() {
  std::unique_lock lock(mutex_);
  Nanos length = kLongNap;
  if (plan_.out() != 0 || !healings_.empty() || !leaving_.empty()) {
    length = kLookEvery;
  } else if (const auto due = plan_.next_due()) {
    length = std::clamp<Nanos>(*due - outside_.now(), Nanos{0}, kLongNap);
  }
  wake_.wait_for(lock, length, [this] {
    return stopping_ || !told_.empty() || !asked_.empty() || !synced_.empty();
  });
  return stopping_;
}

void Recovery::take_told() {
  std::deque<LostProcess> told;
  std::deque<Heal> asked;
  {
    const std::lock_guard lock(mutex_);
    told.swap(told_);
    asked.swap(asked_);
  }
  const HostTime now = outside_.now();
  for (const LostProcess& process : told) plan_.lost(process, now);
  for (Heal& heal : asked) {
    Healing healing{{}, now + heal.wait, std::move(heal.done)};
    for (LostProcess& process : processes_of(heal.agents)) {
      const auto* const known = plan_.find(key_of(process));
      const bool is_out = known != nullptr && known->state == ReplacementState::out;
      const std::uint32_t before = known == nullptr ? 0 : known->failed_ever;
      plan_.heal(process, now);
      healing.patients.push_back({std::move(process), before + (is_out ? 1U : 0U)});
    }
    healings_.push_back(std::move(healing));
  }
}

// Contexts. The engine stops the threads that tell before it destroys this.

void Recovery::sync(const std::string& key) {
  const auto* const process = plan_.find(key);
  // Who never was here before has nothing that could be kept.
  if (!outside_.sync || process == nullptr || process->of.agent_class.has_value()) return;
  const std::uint64_t serial = ++last_sync_;
  contexts_[key] = {.serial = serial};
  outside_.sync(process->of, [this, key, serial](std::vector<std::string> said) {
    {
      const std::lock_guard lock(mutex_);
      synced_.push_back({key, serial, std::move(said)});
    }
    wake_.notify_all();
  });
}

void Recovery::take_synced() {
  std::deque<Synced> synced;
  {
    const std::lock_guard lock(mutex_);
    synced.swap(synced_);
  }
  for (Synced& one : synced) {
    const auto found = contexts_.find(one.key);
    if (found == contexts_.end() || found->second.serial != one.serial) continue;
    found->second.is_over = true;
    found->second.said = std::move(one.said);
  }
  std::erase_if(contexts_, [this](const auto& of) { return plan_.find(of.first) == nullptr; });
}

// Who crashed together is replaced together.
std::vector<LostProcess> Recovery::processes_of(const std::vector<LostAgent>& agents) const {
  std::vector<LostProcess> processes;
  std::set<std::string> meant;
  for (const LostAgent& agent : agents) meant.insert(agent.name);
  for (const auto& [key, known] : plan_.all()) {
    if (known.state == ReplacementState::back) continue;
    const auto& its = known.of.agents;
    if (std::none_of(its.begin(), its.end(),
                     [&](const LostAgent& one) { return meant.count(one.name) != 0; }))
      continue;
    processes.push_back(known.of);
    for (const LostAgent& one : its) meant.erase(one.name);
  }
  for (const LostAgent& agent : agents)
    if (meant.count(agent.name) != 0) processes.push_back({.agents = {agent}});
  return processes;
}

bool Recovery::is_whole(const LostProcess& process) const {
  return std::all_of(process.agents.begin(), process.agents.end(), outside_.is_attached);
}

// What became of those that are out, and who came back by himself.
void Recovery::look() {
  const HostTime now = outside_.now();
  std::vector<std::string> back;
  for (const auto& [key, process] : plan_.all()) {
    const bool is_awaited = process.state != ReplacementState::back;
    if (is_awaited && is_whole(process.of)) back.push_back(key);
  }
  for (const std::string& key : back) {
    plan_.back(key, now);
    sync(key);
  }
  {
    const std::lock_guard lock(mutex_);
    status_.back += back.size();
  }
  for (auto at = children_.begin(); at != children_.end();) {
    if (!at->second.has_ended()) {
      ++at;
      continue;
    }
    // A command that ends well has left somebody behind, who is waited for.
    if (const auto* process = plan_.find(at->first);
        process != nullptr && process->state == ReplacementState::out && !at->second.is_good())
      failed(at->first, "the spawn command ended with " + at->second.ending());
    at = children_.erase(at);
  }
  std::erase_if(leaving_, [](Child& child) { return child.has_ended(); });
}

void Recovery::failed(const std::string& key, const std::string& why) {
  plan_.failed(key, why, outside_.now());
  const std::lock_guard lock(mutex_);
  ++status_.failed;
  status_.last_failure = why;
}

void Recovery::act() {
  for (const ReplacementAction& action : plan_.tick(outside_.now())) {
    if (action.kind == ReplacementAction::Kind::spawn) {
      spawn(action.key);
    } else if (const auto* process = plan_.find(action.key)) {
      outside_.escalate(process->of, action.why);
    }
  }
}

void Recovery::spawn(const std::string& key) {
  const auto* const process = plan_.find(key);
  if (process == nullptr) return;
  // The one before, if it is still there: nothing was heard of it in time.
  if (auto before = children_.extract(key); !before.empty()) {
    before.mapped().kill(SIGTERM);
    leaving_.push_back(std::move(before.mapped()));
  }
  ChildProgram program = shell_command(options_.spawn);
  program.environment = {{"MESH_DIR", outside_.mesh_directory},
                         {"MESH_STATION", process->of.station},
                         {"MESH_AGENT", process->of.agents.front().name},
                         {"MESH_AGENTS", names_of(process->of)},
                         {"MESH_AGENT_COUNT", std::to_string(process->of.agents.size())}};
  if (const auto of = process->of.agent_class)
    program.environment.emplace_back(
        "MESH_CLASS", std::string(1, sched::kAgentClasses[static_cast<std::size_t>(*of)].letter));
  auto started = Child::start(program);
  if (!started) return failed(key, started.error().sentence);
  children_.emplace(key, std::move(*started));
  const std::lock_guard lock(mutex_);
  ++status_.started;
}

bool Recovery::is_over(const Healing& healing) const {
  if (outside_.now() >= healing.until) return true;
  return std::all_of(healing.patients.begin(), healing.patients.end(), [this](const Patient& one) {
    const auto* known = plan_.find(key_of(one.of));
    if (known == nullptr || known->failed_ever > one.failures_before) return true;
    const auto contexts = contexts_.find(key_of(one.of));
    const bool is_synced = contexts == contexts_.end() || contexts->second.is_over;
    return known->state == ReplacementState::back && is_synced;
  });
}

std::vector<HealedProcess> Recovery::outcome(const Healing& healing) const {
  std::vector<HealedProcess> healed;
  for (const Patient& patient : healing.patients) {
    const auto* const known = plan_.find(key_of(patient.of));
    HealedProcess one{patient.of, is_whole(patient.of), {}};
    const bool has_failed = known != nullptr && known->failed_ever > patient.failures_before;
    if (const auto contexts = contexts_.find(key_of(patient.of));
        one.is_back && contexts != contexts_.end())
      one.said = contexts->second.said;
    if (!one.is_back)
      one.why = has_failed ? known->last_failure : "its replacement is not back yet";
    healed.push_back(std::move(one));
  }
  return healed;
}

void Recovery::end_healings() {
  for (std::size_t at = 0; at < healings_.size();) {
    if (!is_over(healings_[at])) {
      ++at;
      continue;
    }
    const Healing over = std::move(healings_[at]);
    healings_.erase(healings_.begin() + static_cast<std::ptrdiff_t>(at));
    over.done(outcome(over));
  }
}

void Recovery::note() {
  RecoveryStatus now;
  for (const auto& [key, process] : plan_.all()) {
    now.waiting += process.state == ReplacementState::waiting ? 1U : 0U;
    now.given_up += process.state == ReplacementState::given_up ? 1U : 0U;
  }
  const std::lock_guard lock(mutex_);
  status_.waiting = now.waiting;
  status_.given_up = now.given_up;
  status_.out = plan_.out();
}

}  // namespace mesh::engine
