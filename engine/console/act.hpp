// Act: one thing that an operator can have done: a verb of `mesh` and what it is about.
//
// Callers     any thread; values.
// Invariant   command_of(act) is the verb that does the same, word for word as a shell takes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mesh::console {

enum class ActKind : std::uint8_t {
  status,        // the mesh in counters
  health,        // mode, sectors, breakers
  look,          // a sector or cluster, and who is stuck there
  who,           // who holds whom back; or what the named agents are doing
  inspect,       // the named agents' rows
  context,       // what is kept of the named agents' contexts
  find_best,     // the agents that fit best
  rules,         // who gets which work
  incident,      // what is wrong with a sector
  route_around,  // from here on what changes something
  undo_route_around,
  freeze,
  thaw,
  delegate,
  ask,
  ask_cluster,  // by its lead, with a quorum of its agents
  pipeline,     // the agents in order, each given the answer of the one before
  send,
  broadcast,
  scatter,
  cascade,  // from leader to leader
  cascade_parallel,
  cascade_priority_first,
  heal,
  scale,            // `count` more agents, of `agent_class`
  backup,           // into the directory of `text`, or the configured one
  act_on_incident,  // what is wrong with a sector, and what is done about it
  allow_rule,       // `capability`, to `agent_class` or one agent
  deny_rule,
  drop_rule,
};

enum class ScopeKind : std::uint8_t { mesh, sector, cluster };
struct Scope {
  ScopeKind kind = ScopeKind::mesh;
  std::uint32_t number = 0;
  friend bool operator==(const Scope&, const Scope&) = default;
};

struct Act {
  ActKind kind = ActKind::status;
  Scope scope{};
  std::vector<std::string> agents{};  // whom it is about
  std::string text{};                 // a task, a question, a message
  std::string agent_class{};          // "A" to "F"; empty: any
  std::string capability{};           // empty: none is asked for
  std::optional<std::uint32_t> count{};
  friend bool operator==(const Act&, const Act&) = default;
};

// Whether it needs the operator's yes: it changes the mesh, or has agents do something.
[[nodiscard]] constexpr bool changes(const Act& act) noexcept {
  return act.kind >= ActKind::route_around;
}

// Whether it is about a place: a sector, a cluster or the mesh.
[[nodiscard]] constexpr bool has_place(ActKind kind) noexcept {
  return kind == ActKind::look || kind == ActKind::freeze || kind == ActKind::thaw ||
         kind == ActKind::heal || kind == ActKind::incident || kind == ActKind::act_on_incident ||
         kind == ActKind::ask_cluster;
}
[[nodiscard]] constexpr bool is_of_incident(ActKind kind) noexcept {
  return kind == ActKind::incident || kind == ActKind::act_on_incident;
}
[[nodiscard]] constexpr bool is_of_rules(ActKind kind) noexcept {
  return kind >= ActKind::allow_rule && kind <= ActKind::drop_rule;
}

[[nodiscard]] std::string command_of(const Act& act);

}  // namespace mesh::console
