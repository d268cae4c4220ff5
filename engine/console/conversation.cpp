#include "engine/console/conversation.hpp"

#include <utility>

namespace mesh::console {

// Of several acts of one kind all agents, else those of the last.
void speak_of(Memory& memory, const std::vector<Act>& acts) {
  const Act* before = nullptr;
  for (const Act& act : acts) {
    if (has_place(act.kind)) memory.scope = act.scope;
    if (act.agents.empty()) continue;
    if (before == nullptr || before->kind != act.kind) memory.agents.clear();
    memory.agents.insert(memory.agents.end(), act.agents.begin(), act.agents.end());
    before = &act;
  }
}

Turn Conversation::hear(std::string_view sentence) {
  using Kind = Understanding::Kind;
  Understanding understood = understand(sentence, memory_);
  Turn turn{.kind = understood.kind,
            .why = std::move(understood.why),
            .nearest = std::move(understood.nearest)};
  switch (understood.kind) {
    case Kind::yes:
      if (awaiting_.empty()) {
        turn.kind = Kind::unclear;
        turn.why = "do what? Nothing was shown that waits for a yes";
      }
      turn.now = std::exchange(awaiting_, {});
      return turn;
    case Kind::no:
      turn.shown = std::exchange(awaiting_, {});  // what is not done
      return turn;
    case Kind::acts:
      speak_of(memory_, understood.acts);
      for (Act& act : understood.acts) {
        (changes(act) ? turn.shown : turn.now).push_back(std::move(act));
      }
      awaiting_ = turn.shown;
      return turn;
    case Kind::help:
    case Kind::quit:
    case Kind::unclear:
      break;
  }
  return turn;
}

bool Conversation::found(const Act& act, const Findings& findings) {
  const bool looked = act.kind == ActKind::look || (act.kind == ActKind::who && act.agents.empty());
  if (looked || !findings.agents.empty()) memory_.agents = findings.agents;
  if (looked || !findings.holders.empty()) memory_.holders = findings.holders;
  if (!awaiting_.empty() || findings.offers.empty()) return false;
  awaiting_ = findings.offers;
  return true;
}

}  // namespace mesh::console
