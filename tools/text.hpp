// Text that came from outside: is it UTF-8, is it a number, and how is it shown on a terminal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mesh::tools {

// Strict: no overlong forms, no surrogates, nothing above U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

// A number as people and programs write it, in any locale the same: spaces and tabs around it, a
// sign, decimals, an exponent; "inf" and "nan" are numbers, and what no double can hold is inf
// (1e999) or 0 (1e-999). Hexadecimal, thousands separators and a decimal comma are not.
[[nodiscard]] std::optional<double> parse_number(std::string_view text) noexcept;

// A whole number in decimal digits alone; more than 64 bits hold is the largest of them.
[[nodiscard]] std::optional<std::uint64_t> parse_count(std::string_view text) noexcept;

// In double quotes, at most 40 bytes, and harmless: control characters, quotes and bytes that are
// not UTF-8 are escaped, so that a file cannot drive the terminal of whoever reads the message.
[[nodiscard]] std::string in_quotes(std::string_view text);
// The same escapes without quotes and without the limit.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace mesh::tools
