// TopFrame: the live screen of `mesh top` as a pure function of what was seen: the same snapshot
// gives the same text.
//
// Callers     one thread, cold.
// Units       as the names say. What is not known prints unknown.
// Invariant   no line is wider than TopLook::columns, and there are no more than TopLook::rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/reports/top_snapshot.hpp"

namespace mesh::tools {

using engine::reports::TopBreaker;
using engine::reports::TopError;
using engine::reports::TopOperation;
using engine::reports::TopRate;
using engine::reports::TopSector;
using engine::reports::TopSnapshot;

struct TopLook {
  std::uint32_t columns = 80;
  std::uint32_t rows = 24;
  bool colour = false;
  bool has_keys = false;  // the last line says them
};

// Lines without line ends; with colour, those of ANSI escapes that set a colour and nothing else.
[[nodiscard]] std::vector<std::string> top_lines(const TopSnapshot& seen, const TopLook& look);

// Three digits or so: "0", "12.3", "999", "12.3k", "4.56M".
[[nodiscard]] std::string short_number(double value);

}  // namespace mesh::tools
