// The table of what is understood: patterns (pattern.hpp), each with what it asks for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "engine/console/act.hpp"
#include "engine/console/grammar.hpp"

namespace mesh::console {

struct Phrase {
  std::string_view pattern;
  Understanding::Kind says = Understanding::Kind::acts;
  ActKind act = ActKind::status;  // where it says acts
  std::size_t example = 0;        // in examples()
};

// Those with more words of their own stand before those that a text would swallow.
[[nodiscard]] std::span<const Phrase> phrases();

}  // namespace mesh::console
