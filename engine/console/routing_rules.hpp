// RoutingRules: the operator's word on who gets which work: {capability, class or agent, allow |
// deny}. "Raspberry Pis get no inference work" is {inference, class E, deny}.
//
// A rule of an agent goes before one of its class; where there is none, work is allowed. A rule
// gives nobody a capability that it has not declared.
//
//   the journal, a line each change:   deny class E inference
//                                      allow agent 4 pi-7 inference      (4 bytes of name)
//                                      drop class E inference
//
// Callers     one thread; pure.
// Errors      set, apply_line -> invalid_argument: a rule that cannot be; capacity: kRulesMax.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "sched/agent_class.hpp"
#include "shm/base/result.hpp"

namespace mesh::console {

inline constexpr std::size_t kRulesMax = 1'024;

struct RoutingRule {
  std::string capability;
  std::string agent;  // empty: of a class
  sched::AgentClass agent_class = sched::AgentClass::edge;
  bool allow = false;
  friend bool operator==(const RoutingRule&, const RoutingRule&) = default;
};

enum class RuleChange : std::uint8_t { allow, deny, drop };

class RoutingRules {
 public:
  // The rule for that capability and agent or class is this from now on, or there is none any
  // more. False: it was so before.
  Result<bool> change(RuleChange what, RoutingRule rule);
  // The same, of a line of the journal.
  Status apply_line(std::string_view line);
  [[nodiscard]] static std::string line_of(RuleChange what, const RoutingRule& rule);

  // In the order of their capabilities, classes before agents.
  [[nodiscard]] const std::vector<RoutingRule>& list() const noexcept { return rules_; }
  [[nodiscard]] bool allows(std::string_view capability, sched::AgentClass agent_class,
                            std::string_view agent) const noexcept;

 private:
  std::vector<RoutingRule> rules_;  // sorted
};

}  // namespace mesh::console
