#include "engine/console/routing_rules.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "shm/base/limits.hpp"

namespace mesh::console {
namespace {

// Whom and what a rule is about.
auto key_of(const RoutingRule& rule) {
  // A rule of an agent is of no class.
  const auto agent_class = rule.agent.empty() ? rule.agent_class : sched::AgentClass::edge;
  return std::tuple(std::string_view(rule.capability), !rule.agent.empty(), agent_class,
                    std::string_view(rule.agent));
}

bool is_before(const RoutingRule& a, const RoutingRule& b) { return key_of(a) < key_of(b); }

Status check_text(const char* what, std::string_view text) {
  const bool has_control = std::any_of(text.begin(), text.end(), [](char letter) {
    return static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F;
  });
  if (!text.empty() && text.size() <= kAgentNameBytes && !has_control) return {};
  return fail(Errc::invalid_argument,
              std::string("rule: ") + what + " has " + std::to_string(text.size()) +
                  " bytes of one line, 1 to " + std::to_string(kAgentNameBytes) + " are possible");
}

constexpr const char* kChanges[] = {"allow", "deny", "drop"};

std::string_view take_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

}  // namespace

Result<bool> RoutingRules::change(RuleChange what, RoutingRule rule) {
  MESH_CHECK_OK(check_text("its capability", rule.capability));
  if (!rule.agent.empty()) {
    MESH_CHECK_OK(check_text("its agent", rule.agent));
    rule.agent_class = sched::AgentClass::edge;
  } else if (!sched::is_known(rule.agent_class)) {
    return fail(Errc::invalid_argument, "rule: there is no such class");
  }
  rule.allow = what == RuleChange::allow;
  const auto place = std::lower_bound(rules_.begin(), rules_.end(), rule, is_before);
  const bool is_there = place != rules_.end() && key_of(*place) == key_of(rule);
  if (what == RuleChange::drop) {
    if (is_there) rules_.erase(place);
    return is_there;
  }
  if (is_there) {
    const bool is_changed = place->allow != rule.allow;
    place->allow = rule.allow;
    return is_changed;
  }
  if (rules_.size() == kRulesMax)
    return fail(Errc::capacity, "rule: " + std::to_string(kRulesMax) + " rules stand already",
                kRulesMax);
  rules_.insert(place, std::move(rule));
  return true;
}

// Names may have spaces, and a capability too: lengths say where they end.
std::string RoutingRules::line_of(RuleChange what, const RoutingRule& rule) {
  std::string line = kChanges[static_cast<std::size_t>(what)];
  if (rule.agent.empty()) {
    line += " class ";
    line += sched::kAgentClasses[static_cast<std::size_t>(rule.agent_class)].letter;
  } else {
    line += " agent ";
    line += std::to_string(rule.agent.size());
    line += ' ';
    line += rule.agent;
  }
  line += ' ';
  line += rule.capability;
  return line;
}

Status RoutingRules::apply_line(std::string_view line) {
  const auto bad = [] { return fail(Errc::invalid_argument, "rule: a line that says nothing"); };
  const std::string_view said = take_word(line);
  const auto* const found = std::find(std::begin(kChanges), std::end(kChanges), said);
  if (found == std::end(kChanges)) return bad();
  RoutingRule rule;
  const std::string_view whom = take_word(line);
  const std::string_view first = take_word(line);
  if (whom == "class" && first.size() == 1 && first[0] >= 'A' && first[0] <= 'F') {
    rule.agent_class = static_cast<sched::AgentClass>(first[0] - 'A');
  } else if (whom == "agent" && !first.empty() && first.size() <= 2 &&
             std::all_of(first.begin(), first.end(), [](char d) { return d >= '0' && d <= '9'; })) {
    const auto bytes = static_cast<std::size_t>(std::stoul(std::string(first)));
    if (bytes == 0 || line.size() <= bytes || line[bytes] != ' ') return bad();
    rule.agent = line.substr(0, bytes);
    line.remove_prefix(bytes + 1);
  } else {
    return bad();
  }
  rule.capability = line;
  MESH_TRY(const bool changed,
           change(static_cast<RuleChange>(found - std::begin(kChanges)), std::move(rule)));
  static_cast<void>(changed);
  return {};
}

bool RoutingRules::allows(std::string_view capability, sched::AgentClass agent_class,
                          std::string_view agent) const noexcept {
  bool is_allowed = true;
  for (const RoutingRule& rule : rules_) {
    if (rule.capability != capability) continue;
    if (rule.agent.empty()) {
      if (rule.agent_class == agent_class) is_allowed = rule.allow;
    } else if (rule.agent == agent) {
      return rule.allow;
    }
  }
  return is_allowed;
}

}  // namespace mesh::console
