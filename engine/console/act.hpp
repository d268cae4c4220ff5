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
  find_best,     // the agents that fit best
  route_around,  // from here on what changes something
  undo_route_around,
  freeze,
  thaw,
  delegate,
  ask,
  send,
  broadcast,
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

[[nodiscard]] std::string command_of(const Act& act);

}  // namespace mesh::console
