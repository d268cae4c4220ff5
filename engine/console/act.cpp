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

std::string delegate_of(const Act& act) {
  std::string text = "mesh delegate " + quoted(act.text);
  if (!act.agents.empty()) text += " --to agent " + quoted(act.agents.front());
  if (!act.agent_class.empty()) text += " --to class " + act.agent_class;
  return text + options_of(act, "--attempts");
}

}  // namespace

std::string command_of(const Act& act) {
  switch (act.kind) {
    case ActKind::status:
      return "mesh status";
    case ActKind::health:
      return "mesh health";
    case ActKind::look:
    case ActKind::who:
      return "mesh who" + words_of(act.agents) + scope_of(act.scope);
    case ActKind::inspect:
      return "mesh inspect agents --agent" + words_of(act.agents);
    case ActKind::find_best:
      return "mesh find-best" + options_of(act, "--count");
    case ActKind::route_around:
      return "mesh route-around" + words_of(act.agents);
    case ActKind::undo_route_around:
      return "mesh route-around" + words_of(act.agents) + " --undo";
    case ActKind::freeze:
      return "mesh freeze" + place_of(act.scope);
    case ActKind::thaw:
      return "mesh thaw" + place_of(act.scope);
    case ActKind::delegate:
      return delegate_of(act);
    case ActKind::ask:
      return "mesh ask " + quoted(act.text) + options_of(act, "--sample");
    case ActKind::send:
      return "mesh send" + words_of(act.agents) + " " + quoted(act.text);
    case ActKind::broadcast:
      return "mesh broadcast " + quoted(act.text) + " --ack";
  }
  return {};
}

}  // namespace mesh::console
