#include "engine/console/act.hpp"

#include <algorithm>
#include <string_view>

namespace mesh::console {
namespace {

bool is_plain(char letter) {
  constexpr std::string_view kPlain = "-_./:@%+=,";
  return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
         (letter >= '0' && letter <= '9') || kPlain.find(letter) != std::string_view::npos ||
         static_cast<unsigned char>(letter) >= 0x80;
}

// As a POSIX shell takes it for one word.
std::string quoted(const std::string& word) {
  if (!word.empty() && std::all_of(word.begin(), word.end(), is_plain)) return word;
  std::string text = "'";
  for (const char letter : word)
    text += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  return text + "'";
}

std::string words_of(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += " " + quoted(word);
  return text;
}

std::string scope_of(const Scope& scope) {
  switch (scope.kind) {
    case ScopeKind::sector:
      return " --sector " + std::to_string(scope.number);
    case ScopeKind::cluster:
      return " --cluster " + std::to_string(scope.number);
    case ScopeKind::mesh:
      break;
  }
  return {};
}

// As a word of its own, not as an option.
std::string place_of(const Scope& scope) {
  if (scope.kind == ScopeKind::mesh) return {};
  return (scope.kind == ScopeKind::sector ? " sector " : " cluster ") +
         std::to_string(scope.number);
}

std::string options_of(const Act& act, const char* count_option) {
  std::string text;
  if (!act.capability.empty()) text += " --capability " + quoted(act.capability);
  if (act.count) text += std::string(" ") + count_option + " " + std::to_string(*act.count);
  return text;
}

// That of an incident is a sector's.
std::string incident_of(const Act& act, const char* more) {
  return "mesh incident " + std::to_string(act.scope.number) + more;
}

std::string rule_of(const Act& act, const char* change) {
  std::string text = std::string("mesh rules ") + change + " " + quoted(act.capability);
  if (!act.agent_class.empty()) return text + " --class " + act.agent_class;
  return text + " --agent" + words_of(act.agents);
}

// What is said to all.
std::string to_all(const char* verb, const Act& act, const char* more) {
  return std::string("mesh ") + verb + " " + quoted(act.text) + more;
}

std::string delegate_of(const Act& act) {
  std::string text = "mesh delegate " + quoted(act.text);
  if (!act.agents.empty()) text += " --to agent " + quoted(act.agents.front());
  if (!act.agent_class.empty()) text += " --to class " + act.agent_class;
  return text + options_of(act, "--attempts");
}

// It is on its way when that is said: who settles is shown by a look.
std::string scale_of(const Act& act) {
  std::string text = "mesh scale +" + std::to_string(act.count.value_or(0));
  if (!act.agent_class.empty()) text += " --class " + act.agent_class;
  return text + " --no-wait";
}

// What only looks.
std::string look_of(const Act& act) {
  switch (act.kind) {
    case ActKind::status:
      return "mesh status";
    case ActKind::health:
      return "mesh health";
    case ActKind::inspect:
      return "mesh inspect agents --agent" + words_of(act.agents);
    case ActKind::context:
      return "mesh context" + words_of(act.agents);
    case ActKind::find_best:
      return "mesh find-best" + options_of(act, "--count");
    case ActKind::rules:
      return "mesh rules";
    case ActKind::incident:
      return incident_of(act, "");
    default:
      return "mesh who" + words_of(act.agents) + scope_of(act.scope);
  }
}

// What is said to agents.
std::string message_of(const Act& act) {
  switch (act.kind) {
    case ActKind::delegate:
      return delegate_of(act);
    case ActKind::ask:
      return "mesh ask " + quoted(act.text) + options_of(act, "--sample");
    case ActKind::ask_cluster:
      return "mesh ask " + quoted(act.text) + scope_of(act.scope);
    case ActKind::pipeline:
      return "mesh pipeline" + words_of(act.agents) + " --body " + quoted(act.text);
    case ActKind::send:
      return "mesh send" + words_of(act.agents) + " " + quoted(act.text);
    case ActKind::scatter:
      return to_all("scatter", act, "");
    case ActKind::cascade:
      return to_all("cascade", act, "");
    case ActKind::cascade_parallel:
      return to_all("cascade", act, " --strategy parallel");
    case ActKind::cascade_priority_first:
      return to_all("cascade", act, " --strategy priority_first");
    default:
      return to_all("broadcast", act, " --ack");
  }
}

std::string change_of(const Act& act) {
  switch (act.kind) {
    case ActKind::route_around:
      return "mesh route-around" + words_of(act.agents);
    case ActKind::undo_route_around:
      return "mesh route-around" + words_of(act.agents) + " --undo";
    case ActKind::freeze:
      return "mesh freeze" + place_of(act.scope);
    case ActKind::thaw:
      return "mesh thaw" + place_of(act.scope);
    case ActKind::heal:
      return "mesh heal" + place_of(act.scope);
    case ActKind::scale:
      return scale_of(act);
    case ActKind::backup:
      return "mesh backup" + (act.text.empty() ? "" : " " + quoted(act.text));
    case ActKind::allow_rule:
      return rule_of(act, "allow");
    case ActKind::deny_rule:
      return rule_of(act, "deny");
    case ActKind::drop_rule:
      return rule_of(act, "drop");
    default:
      return incident_of(act, " --act");
  }
}

}  // namespace

std::string command_of(const Act& act) {
  if (!changes(act)) return look_of(act);
  const bool is_message =
      act.kind >= ActKind::delegate && act.kind <= ActKind::cascade_priority_first;
  return is_message ? message_of(act) : change_of(act);
}

}  // namespace mesh::console
