#include "engine/simulation/scenario.hpp"

#include <algorithm>
#include <optional>
#include <sstream>

#include <fmt/format.h>

#include <toml++/toml.h>

#include "engine/configuration/foreign_bytes.hpp"
#include "engine/memory_map.hpp"
#include "engine/simulation/scenario_keys.hpp"

namespace mesh::engine::simulation {
namespace {

constexpr std::size_t kShownBytes = 60;
constexpr std::int64_t kBucketsMax = 16'383;
constexpr std::int64_t kScaleProcessesMax = 4'096;  // simulated_mesh.cpp has room for them
constexpr std::string_view kClassTable = "class_";
constexpr toml::format_flags kShownFlags =
    toml::default_formatter::default_flags & ~toml::format_flags::allow_literal_strings;

KeyValue value_of(const toml::node& node) {
  if (const auto* const number = node.as_integer()) return number->get();
  if (const auto* const number = node.as_floating_point()) return number->get();
  if (const auto* const text = node.as_string()) return text->get();
  return std::monostate{};
}

// As the file says it, cut where it is long. Nothing in it can drive a terminal.
std::string as_written(const toml::node& node) {
  if (node.is_table()) return "a table";
  std::ostringstream out;
  node.visit([&out](const auto& value) { out << toml::default_formatter{value, kShownFlags}; });
  std::string text = out.str();
  if (text.size() > kShownBytes) text = text.substr(0, kShownBytes) + "...";
  for (char& letter : text) {
    const auto code = static_cast<unsigned char>(letter);
    if (code < 0x20 || code > 0x7E) letter = '?';
  }
  return text;
}
std::string as_written(std::string_view key) {
  return as_written(toml::value<std::string>(std::string(key)));
}

std::uint32_t line_of(const toml::node& node) { return node.source().begin.line; }

std::string tables() {
  std::string list;
  std::string_view last;
  for (const Key<Scenario>& key : scenario_keys()) {
    if (key.table == last) continue;
    last = key.table;
    list += fmt::format("{}{}", list.empty() ? "" : ", ", last);
  }
  return list + ", class_a to class_f, and [[fault]]";
}

// Reads one table by the keys that are `table`'s.
template <class Owner>
struct TableReader {
  std::span<const Key<Owner>> keys;
  std::string_view table;  // as the keys have it
  std::string shown_as;    // as the file has it
  ReadScenario& read;

  [[nodiscard]] std::string names() const {
    std::string list;
    for (const Key<Owner>& key : keys)
      if (key.table == table) list += fmt::format("{}{}", list.empty() ? "" : ", ", key.key);
    return list;
  }
  [[nodiscard]] const Key<Owner>* find(std::string_view name) const {
    for (const Key<Owner>& key : keys)
      if (key.table == table && key.key == name) return &key;
    return nullptr;
  }
  void operator()(const toml::table& from, Owner& owner) const {
    for (const auto& [name, node] : from) {
      const Key<Owner>* const key = find(name.str());
      if (key == nullptr) {
        read.complaints.push_back(
            {line_of(node), fmt::format("{} in [{}]: there is no such key; its keys are {}",
                                        as_written(name.str()), shown_as, names())});
      } else if (!set(*key, owner, value_of(node))) {
        read.complaints.push_back(
            {line_of(node), fmt::format("{}.{} = {}: must be {}", shown_as, name.str(),
                                        as_written(node), range_of(*key))});
      }
    }
  }
};

// class_a to class_f.
std::optional<std::size_t> class_of(std::string_view table) {
  if (table.size() != kClassTable.size() + 1 || !table.starts_with(kClassTable))
    return std::nullopt;
  const auto at = static_cast<std::size_t>(table.back() - 'a');
  return at < sched::kAgentClassCount ? std::optional(at) : std::nullopt;
}

bool has_table(std::string_view name) {
  const auto keys = scenario_keys();
  return std::any_of(keys.begin(), keys.end(),
                     [&](const Key<Scenario>& key) { return key.table == name; });
}

void read_faults(const toml::node& node, ReadScenario& read) {
  const toml::array* const list = node.as_array();
  if (list == nullptr || !list->is_homogeneous(toml::node_type::table)) {
    read.complaints.push_back(
        {line_of(node), fmt::format("fault = {}: must be tables: [[fault]]", as_written(node))});
    return;
  }
  const TableReader<Fault> reader{fault_keys(), "fault", "fault", read};
  for (const toml::node& one : *list) {
    Fault fault;
    fault.line = line_of(one);
    reader(*one.as_table(), fault);
    read.scenario.faults.push_back(fault);
  }
}

void read_table(std::string_view name, const toml::node& node, ReadScenario& read) {
  if (name == "fault") return read_faults(node, read);
  const toml::table* const table = node.as_table();
  if (const auto at = class_of(name); table != nullptr && at) {
    TableReader<ClassFigures>{class_keys(), "class_X", std::string(name), read}(
        *table, read.scenario.classes[*at]);
  } else if (table != nullptr && has_table(name)) {
    TableReader<Scenario>{scenario_keys(), name, std::string(name), read}(*table, read.scenario);
  } else {
    read.complaints.push_back({line_of(node), fmt::format("{}: is no table of ours; there are {}",
                                                          as_written(name), tables())});
  }
}

// What is wrong with a fault of this scenario; empty: nothing.
std::string wrong_with(const Fault& fault, const Scenario& scenario) {
  const auto kind = static_cast<FaultKind>(fault.kind);
  const auto target = static_cast<FaultTarget>(fault.target);
  if (kind == FaultKind::none) return "kind: is needed";
  if (kind == FaultKind::death && target == FaultTarget::all)
    return "target = \"all\": of a death it is sector, cluster, class or agents; all leaves no "
           "mesh";
  if (kind == FaultKind::clock_step && fault.step == 0) return "step_ms = 0: a step is needed";
  if (kind == FaultKind::slowdown && fault.factor == kFactorOne)
    return "factor = 1: another one is needed";
  if ((kind == FaultKind::loss || kind == FaultKind::conflict) && fault.rate == 0)
    return "rate = 0: a rate is needed";
  if (fault.every != 0 && kind != FaultKind::death)
    return fmt::format("every_s = {}: is of a death alone", fault.every / kNsPerSecond);
  const MeshSize size{.agents = static_cast<std::uint64_t>(scenario.agents), .stations = 1};
  const std::int64_t sectors = sectors_of(size);
  const bool is_place = target == FaultTarget::sector || target == FaultTarget::cluster;
  const std::int64_t places =
      target == FaultTarget::sector ? sectors : sectors * kClustersPerSector;
  if (is_place && fault.which + fault.count > places)
    return fmt::format("which = {} and count = {}: a mesh of {} agents has {} of them, from 0",
                       fault.which, fault.count, scenario.agents, places);
  if (target == FaultTarget::agent_class && fault.which >= std::int64_t{sched::kAgentClassCount})
    return fmt::format("which = {}: classes are 0 (A) to 5 (F)", fault.which);
  if (target == FaultTarget::agents && fault.share == 0 && fault.count > scenario.agents)
    return fmt::format("count = {}: there are {} agents", fault.count, scenario.agents);
  return {};
}

void check_faults(const Scenario& scenario, std::vector<ScenarioComplaint>& complaints) {
  if (static_cast<std::int64_t>(scenario.faults.size()) > kFaultsMax)
    complaints.push_back(
        {scenario.faults[kFaultsMax].line,
         fmt::format("fault: {} of them, at most {}", scenario.faults.size(), kFaultsMax)});
  for (const Fault& fault : scenario.faults) {
    const std::string wrong = wrong_with(fault, scenario);
    if (!wrong.empty()) complaints.push_back({fault.line, "fault." + wrong});
  }
}

// Of quorums and of who comes later.
void check_more(const Scenario& scenario, std::vector<ScenarioComplaint>& complaints) {
  const auto complain = [&](std::string sentence) {
    complaints.push_back({0, std::move(sentence)});
  };
  for (const std::int64_t window : {scenario.quorum_lead_window, scenario.quorum_window})
    if (scenario.quorum_every != 0 && window > scenario.bucket * kBucketsMax)
      complain(fmt::format(
          "quorums: a window of {} ms is more than 16,383 buckets of"
          " engine.bucket_ms = {}",
          static_cast<double>(window) / kNsPerMs, static_cast<double>(scenario.bucket) / kNsPerMs));
  if (scenario.agents + scenario.scale_agents > std::int64_t{kMaxAgents})
    complain(fmt::format("scale.agents = {}: with mesh.agents = {} more than {}",
                         scenario.scale_agents, scenario.agents, kMaxAgents));
  const std::int64_t processes =
      (scenario.scale_agents + scenario.scale_per_process - 1) / scenario.scale_per_process;
  if (processes > kScaleProcessesMax)
    complain(fmt::format("scale.per_process = {}: scale.agents = {} are {} processes, at most {}",
                         scenario.scale_per_process, scenario.scale_agents, processes,
                         kScaleProcessesMax));
  if (scenario.scale_agents != 0 && scenario.scale_at >= scenario.length)
    complain(fmt::format("scale.at_s = {}: is not before the end, run.hours = {}",
                         scenario.scale_at / kNsPerSecond,
                         static_cast<double>(scenario.length) / (3'600.0 * kNsPerSecond)));
}

template <class Owner>
std::string rows_of(std::span<const Key<Owner>> keys, std::string_view table, const Owner& owner,
                    bool has_default) {
  std::string text = "| key | what it is for | may be | default |\n|---|---|---|---|\n";
  for (const Key<Owner>& key : keys) {
    if (key.table != table) continue;
    const bool is_needed = !has_default && key.key == "kind";
    text += fmt::format("| `{}` | {} | {} | {} |\n", key.key, key.sentence, range_of(key),
                        is_needed ? "needed" : "`" + shown(key, owner) + "`");
  }
  return text;
}

}  // namespace

ReadScenario read_scenario(std::string_view toml) {
  ReadScenario read;
  if (const auto line = line_of_foreign_byte(toml)) {
    read.complaints.push_back({*line,
                               "is no TOML of ours: letters that are not ASCII stand in comments"
                               " and in strings of one line"});
    return read;
  }
  toml::table file;
  try {
    file = toml::parse(toml);
  } catch (const toml::parse_error& error) {
    read.complaints.push_back(
        {error.source().begin.line, fmt::format("is no TOML: {}", error.description())});
    return read;
  }
  for (const auto& [key, node] : file) read_table(key.str(), node, read);
  if (read.complaints.empty()) read.complaints = check_scenario(read.scenario);
  std::stable_sort(
      read.complaints.begin(), read.complaints.end(),
      [](const ScenarioComplaint& a, const ScenarioComplaint& b) { return a.line < b.line; });
  return read;
}

std::vector<ScenarioComplaint> check_scenario(const Scenario& scenario) {
  std::vector<ScenarioComplaint> complaints;
  const auto complain = [&](std::string sentence) {
    complaints.push_back({0, std::move(sentence)});
  };
  const auto as_ms = [](std::int64_t ns) { return static_cast<double>(ns) / kNsPerMs; };
  const auto as_share = [](std::int64_t ppm) { return static_cast<double>(ppm) / kShareAll; };
  if (scenario.cv_max < scenario.cv_min)
    complain(fmt::format("agents.cv_max = {}: is below cv_min = {}", as_share(scenario.cv_max),
                         as_share(scenario.cv_min)));
  if (scenario.stations > scenario.agents)
    complain(fmt::format("mesh.stations = {}: more than agents, {}", scenario.stations,
                         scenario.agents));
  std::int64_t parts = 0;
  for (std::size_t i = 0; i < scenario.classes.size(); ++i) {
    const ClassFigures& its = scenario.classes[i];
    parts += its.share;
    if (its.latency_max < its.latency_min)
      complain(fmt::format("class_{}.latency_max_ms = {}: is below latency_min_ms = {}",
                           static_cast<char>('a' + i), as_ms(its.latency_max),
                           as_ms(its.latency_min)));
  }
  if (parts == 0) complain("class_a.share to class_f.share: are all 0, so there are no agents");
  if (scenario.context_divergence + scenario.data_contradiction + scenario.temporal_paradox +
          scenario.capability_mismatch + scenario.hash_mismatch + scenario.other_conflict ==
      0)
    complain("conflicts.context_divergence to conflicts.other: are all 0");
  if (scenario.horizon > scenario.bucket * 16'383)
    complain(
        fmt::format("operations.horizon_ms = {}: more than 16,383 buckets of engine.bucket_ms"
                    " = {}",
                    as_ms(scenario.horizon), as_ms(scenario.bucket)));
  for (const std::int64_t window : {scenario.sector_window, scenario.cluster_window,
                                    scenario.agent_window, scenario.cascade_window})
    if (scenario.cascade_every != 0 && window > scenario.bucket * 16'383)
      complain(
          fmt::format("cascades: a window of {} ms is more than 16,383 buckets of"
                      " engine.bucket_ms = {}",
                      as_ms(window), as_ms(scenario.bucket)));
  check_more(scenario, complaints);
  check_faults(scenario, complaints);
  return complaints;
}

std::string scenario_markdown() {
  const Scenario defaults;
  std::string text;
  std::string_view table;
  for (const Key<Scenario>& key : scenario_keys()) {
    if (key.table == table) continue;
    table = key.table;
    text += fmt::format("{}### [{}]\n\n{}", text.empty() ? "" : "\n", table,
                        rows_of(scenario_keys(), table, defaults, true));
  }
  for (std::size_t i = 0; i < sched::kAgentClassCount; ++i) {
    const char letter = static_cast<char>('a' + i);
    text += fmt::format("\n### [class_{}]\n\n{}", letter,
                        rows_of(class_keys(), "class_X", defaults.classes[i], true));
  }
  text += fmt::format("\n### [[fault]]\n\n{}", rows_of(fault_keys(), "fault", Fault{}, false));
  return text;
}

}  // namespace mesh::engine::simulation
