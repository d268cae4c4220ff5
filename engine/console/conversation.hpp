// Conversation: sentences, one after another, and what was spoken of meanwhile.
//
//   hear(sentence) ─▶ Turn: what is to be done now, and what is shown and waits for a yes
//   found(act, ...)         what came of it: who is "them" from now on, and what could be done next
//
//   shown or offered ──"do it"──▶ to be done now
//          │  ──"no", or another sentence that is understood──▶ forgotten
//          └─ what is not understood leaves it as it was
//
// Callers     one thread; pure: whoever calls does what a Turn says.
// Invariant   nothing that changes(act) is ever in Turn::now but what was shown in the turn before
//             that, or offered there.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/console/act.hpp"
#include "engine/console/grammar.hpp"

namespace mesh::console {

// What an act has shown.
struct Findings {
  std::vector<std::string> agents{};   // that are worth speaking of
  std::vector<std::string> holders{};  // who holds them back
  std::vector<Act> offers{};           // what could be done about it
};

struct Turn {
  Understanding::Kind kind = Understanding::Kind::unclear;
  std::vector<Act> now{};
  std::vector<Act> shown{};
  std::string why{};                   // of what is unclear
  std::vector<std::string> nearest{};  // sentences that would be understood
};

class Conversation {
 public:
  [[nodiscard]] Turn hear(std::string_view sentence);
  // After an act of Turn::now was done. True: its offers stand, and are to be shown.
  bool found(const Act& act, const Findings& findings);

  [[nodiscard]] const Memory& memory() const noexcept { return memory_; }
  [[nodiscard]] const std::vector<Act>& awaiting() const noexcept { return awaiting_; }

 private:
  Memory memory_;
  std::vector<Act> awaiting_;
};

// Whom and what the acts of a sentence are about is spoken of.
void speak_of(Memory& memory, const std::vector<Act>& acts);

}  // namespace mesh::console
