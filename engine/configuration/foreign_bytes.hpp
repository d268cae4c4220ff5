// Bytes that are not ASCII, where a TOML file has none.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mesh::engine {

// The line of the first byte that is not ASCII and stands neither in a comment nor in a string of
// one line. TOML has none there but in strings of several lines; those we refuse too: toml++ 3.1,
// looking for white space, runs off the end of a function where it meets one.
[[nodiscard]] std::optional<std::uint32_t> line_of_foreign_byte(std::string_view toml);

}  // namespace mesh::engine
