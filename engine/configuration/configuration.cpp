#include "engine/configuration/configuration.hpp"

#include <algorithm>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include <toml++/toml.h>

#include "engine/configuration/foreign_bytes.hpp"
#include "engine/configuration/options.hpp"
#include "engine/topology.hpp"
#include "shm/base/limits.hpp"

namespace mesh::engine {
namespace {

constexpr std::size_t kShownBytes = 60;
constexpr toml::format_flags kShownFlags =
    toml::default_formatter::default_flags & ~toml::format_flags::allow_literal_strings;

OptionValue value_of(const toml::node& node) {
  if (const auto* const flag = node.as_boolean()) return flag->get();
  if (const auto* const number = node.as_integer()) return number->get();
  if (const auto* const number = node.as_floating_point()) return number->get();
  if (const auto* const text = node.as_string()) return text->get();
  const auto* const list = node.as_array();
  if (list == nullptr) return std::monostate{};
  std::vector<std::int64_t> numbers;
  for (const toml::node& one : *list) {
    const auto* const number = one.as_integer();
    if (number == nullptr) return std::monostate{};
    numbers.push_back(number->get());
  }
  return numbers;
}

// As the file says it, cut where it is long. Nothing in it can drive a terminal.
std::string shown(const toml::node& node) {
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

std::string shown(std::string_view key) {
  const std::string text(key);
  return shown(toml::value<std::string>(text));
}

std::uint32_t line_of(const toml::node& node) { return node.source().begin.line; }

std::string tables() {
  std::string list;
  std::string_view last;
  for (const Option& option : options()) {
    if (option.table == last) continue;
    last = option.table;
    list += fmt::format("{}{}", list.empty() ? "" : ", ", last);
  }
  return list;
}

std::string keys_of(std::string_view table) {
  std::string list;
  for (const Option& option : options()) {
    if (option.table == table) list += fmt::format("{}{}", list.empty() ? "" : ", ", option.key);
  }
  return list;
}

const Option* find_option(std::string_view table, std::string_view key) {
  for (const Option& option : options()) {
    if (option.table == table && option.key == key) return &option;
  }
  return nullptr;
}

void read_table(ReadConfiguration& read, std::string_view name, const toml::table& table) {
  for (const auto& [key, node] : table) {
    const std::string path = fmt::format("{}.{}", name, key.str());
    const Option* const option = find_option(name, key.str());
    if (option == nullptr) {
      read.complaints.push_back({line_of(node), path,
                                 fmt::format("{} in [{}]: there is no such key; its keys are {}",
                                             shown(key.str()), name, keys_of(name))});
    } else if (!option->set(*option, read.configuration, value_of(node))) {
      read.complaints.push_back(
          {line_of(node), path,
           fmt::format("{} = {}: must be {}", path, shown(node), range_of(*option))});
    }
  }
}

// What no key alone can be blamed for.
void check_whole(ReadConfiguration& read) {
  if (!read.complaints.empty()) return;
  const auto made = engine_options(read.configuration);
  if (!made) read.complaints.push_back({0, "mesh", made.error().sentence});
}

}  // namespace

ReadConfiguration read_configuration(std::string_view toml) {
  ReadConfiguration read;
  if (const auto line = line_of_foreign_byte(toml)) {
    read.complaints.push_back({*line, "",
                               "is no TOML of ours: letters that are not ASCII stand in comments"
                               " and in strings of one line"});
    return read;
  }
  toml::table file;
  try {
    file = toml::parse(toml);
  } catch (const toml::parse_error& error) {
    read.complaints.push_back(
        {error.source().begin.line, "", fmt::format("is no TOML: {}", error.description())});
    return read;
  }
  for (const auto& [key, node] : file) {
    const toml::table* const table = node.as_table();
    if (table != nullptr && !keys_of(key.str()).empty()) {
      read_table(read, key.str(), *table);
    } else {
      read.complaints.push_back(
          {line_of(node), std::string(key.str()),
           fmt::format("{}: is no table of ours; there are {}", shown(key.str()), tables())});
    }
  }
  std::stable_sort(read.complaints.begin(), read.complaints.end(),
                   [](const Complaint& a, const Complaint& b) { return a.line < b.line; });
  check_whole(read);
  return read;
}

namespace {

bool is_on_a_server(std::string_view where) {
  return where.starts_with("postgresql://") || where.starts_with("postgres://");
}
bool is_path(std::string_view where) {
  return where.find("://") == std::string_view::npos && !where.starts_with("sqlite:");
}
// A spill file stands beside a store that is a file; elsewhere it has to be said where.
Status check_store(const ConflictStoreOptions& store) {
  if (store.store.empty() && !store.spill.empty())
    return fail(Errc::bad_input,
                "spill = \"" + store.spill + "\": is for a store, and there is none");
  if (!is_path(store.store) && !is_on_a_server(store.store))
    return fail(
        Errc::bad_input,
        "url = \"" + store.store + "\": neither a file's path nor postgresql://user@host/database");
  if (is_on_a_server(store.store) && store.spill.empty())
    return fail(
        Errc::bad_input,
        "url = \"" + store.store + "\": a store on a server needs a spill file of its own (spill)");
  return {};
}

}  // namespace

Result<EngineOptions> engine_options(const Configuration& configuration) {
  // Each is at most kMaxAgents, 2^20, and the last 2^9: no overflow.
  const std::uint64_t places =
      configuration.sectors * configuration.clusters * configuration.cluster_agents;
  if (places == 0 || places > kMaxAgents) {
    return fail(Errc::bad_input,
                fmt::format("sectors = {} and clusters = {} of {} agents: room for {}, the most is"
                            " {}",
                            configuration.sectors, configuration.clusters,
                            configuration.cluster_agents, places, kMaxAgents),
                kMaxAgents);
  }
  if (configuration.agents > places) {
    return fail(Errc::bad_input,
                fmt::format("agents = {}: must be a whole number from 1 to {}, which is sectors"
                            " ({}) x clusters ({}) x {}",
                            configuration.agents, places, configuration.sectors,
                            configuration.clusters, configuration.cluster_agents),
                static_cast<std::int64_t>(places));
  }
  MESH_CHECK_OK(check_store(configuration.conflicts));
  EngineOptions engine;
  engine.directory = configuration.directory;
  engine.size.agents = configuration.agents == 0 ? places : configuration.agents;
  engine.size.stations = configuration.stations;
  engine.size.clusters_per_sector = static_cast<std::uint32_t>(configuration.clusters);
  engine.size.agents_per_cluster = static_cast<std::uint32_t>(configuration.cluster_agents);
  engine.size.agents_per_station = engine.size.agents;  // one station may hold all of them
  engine.wait = configuration.wait;
  engine.cpu = configuration.cpu;
  // Where it may; and not one that never sleeps: it would take the core from everyone for ever.
  if (engine.wait != queues::WaitPolicy::kSpin) engine.fifo_priority = 1;
  engine.reconnect = configuration.reconnect;
  engine.stuck_after = configuration.stuck_after;
  engine.policy = configuration.attach;
  engine.loop = configuration.loop;
  engine.conflicts = configuration.conflicts;
  if (configuration.backup.every > Nanos{0} && configuration.backup.directory.empty())
    return fail(Errc::bad_input,
                "backup.every_s: backup.directory says where they go, and is not set");
  engine.backup = configuration.backup;
  engine.recovery = configuration.recovery;
  engine.allow_live_chaos = configuration.allow_live_chaos;
  return engine;
}

Tuning tuning_of(const Configuration& configuration) {
  return {.loop = {.model = configuration.loop.model,
                   .z = configuration.loop.z,
                   .upkeep = configuration.loop.upkeep,
                   .agent_ttl = configuration.loop.agent_ttl,
                   .throttle = configuration.loop.throttle},
          .stuck_after = configuration.stuck_after};
}

std::vector<OptionFacts> options_of(const Configuration& configuration) {
  const Configuration defaults;
  std::vector<OptionFacts> facts;
  for (const Option& option : options()) {
    std::string value = option.show(option, configuration);
    const bool differs = value != option.show(option, defaults);
    facts.push_back({option.table, option.key, option.sentence, range_of(option), std::move(value),
                     option.is_reloadable, differs});
  }
  return facts;
}

Configuration with_tuning_of(Configuration running, const Configuration& wanted) {
  running.loop.model = wanted.loop.model;
  running.loop.z = wanted.loop.z;
  running.loop.upkeep = wanted.loop.upkeep;
  running.loop.agent_ttl = wanted.loop.agent_ttl;
  running.loop.throttle = wanted.loop.throttle;
  running.stuck_after = wanted.stuck_after;
  return running;
}

Reload reload(const Configuration& before, const Configuration& after) {
  Reload reload;
  reload.tuning = tuning_of(after);
  for (const Option& option : options()) {
    const std::string was = option.show(option, before);
    const std::string is = option.show(option, after);
    if (was == is) continue;
    const auto value = [](const std::string& text) { return text.empty() ? "not set" : text; };
    (option.is_reloadable ? reload.applied : reload.waiting)
        .push_back(
            fmt::format("{}.{} = {}, was {}", option.table, option.key, value(is), value(was)));
  }
  return reload;
}

std::string example_configuration() {
  std::string text;
  std::string_view table;
  for (const OptionFacts& option : options_of(Configuration{})) {
    if (option.table != table)
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", option.table);
    table = option.table;
    text += fmt::format("# {}: {}\n", option.sentence, option.range);
    // What has no default stands as a comment: to say it is to set it.
    if (option.value.empty()) {
      text += fmt::format("# {} =\n", option.key);
    } else {
      text += fmt::format("{} = {}\n", option.key, option.value);
    }
  }
  return text;
}

std::string configuration_markdown() {
  std::string text;
  std::string_view table;
  for (const OptionFacts& option : options_of(Configuration{})) {
    if (option.table != table) {
      text += fmt::format(
          "{}### [{}]\n\n| key | what it is for | may be | default | reload |\n"
          "|---|---|---|---|---|\n",
          text.empty() ? "" : "\n", option.table);
    }
    table = option.table;
    text += fmt::format("| `{}` | {} | {} | {} | {} |\n", option.key, option.sentence, option.range,
                        option.value.empty() ? "not set" : "`" + option.value + "`",
                        option.is_reloadable ? "yes" : "restart");
  }
  return text;
}

}  // namespace mesh::engine
