// nearest: which of the known words was probably meant.
#pragma once

#include <span>
#include <string_view>

namespace mesh::tools {

// The word with the fewest inserted, dropped, changed or swapped letters; empty when none is near
// enough to be meant (more than a third of its letters, at least 2).
[[nodiscard]] std::string_view nearest(std::string_view typed,
                                       std::span<const std::string_view> words);

}  // namespace mesh::tools
