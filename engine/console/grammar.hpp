// Grammar: what an operator's plain sentence asks for. Deterministic: a table of patterns, tried in
// its order, over the words of the sentence and a memory of what was last spoken of. What fits no
// pattern is not guessed at: the nearest things that can be said are named.
//
// Callers     one thread; pure, no I/O.
// Errors      none: a sentence that cannot be understood is Understanding::unclear, and says why.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/console/act.hpp"

namespace mesh::console {

// What was last spoken of.
struct Memory {
  std::vector<std::string> agents{};   // "them"; "it" where it is one
  std::vector<std::string> holders{};  // who holds them back
  std::optional<Scope> scope{};        // "there"
};

struct Understanding {
  enum class Kind : std::uint8_t { acts, yes, no, help, quit, unclear };
  Kind kind = Kind::unclear;
  std::vector<Act> acts{};             // at least one, in the order in which they were said
  std::string why{};                   // of what is unclear
  std::vector<std::string> nearest{};  // sentences that would be understood
};

[[nodiscard]] Understanding understand(std::string_view typed, const Memory& memory);

// One thing that can be said, and what it does: for help and documents.
struct Example {
  std::string_view sentence;
  std::string_view does;
};
[[nodiscard]] std::span<const Example> examples();

}  // namespace mesh::console
