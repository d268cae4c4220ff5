#include "tools/text.hpp"

#include <charconv>
#include <cstdint>
#include <limits>
#include <system_error>

#include <fmt/format.h>

namespace mesh::tools {
namespace {

constexpr std::uint8_t byte_at(std::string_view text, std::size_t at) noexcept {
  return static_cast<std::uint8_t>(text[at]);
}

// What the first byte of a character says about it: its length, 0 where none starts so, and the
// range of the second byte.
struct CharacterStart {
  std::size_t bytes;
  std::uint8_t second_min = 0x80;
  std::uint8_t second_max = 0xBF;
};

constexpr CharacterStart start_of(std::uint8_t lead) noexcept {
  if (lead < 0x80) return {.bytes = 1};
  if (lead < 0xC2 || lead > 0xF4) return {.bytes = 0};
  CharacterStart start{.bytes = lead < 0xE0 ? std::size_t{2} : lead < 0xF0 ? 3 : 4};
  if (lead == 0xE0) start.second_min = 0xA0;  // shorter forms exist below
  if (lead == 0xED) start.second_max = 0x9F;  // surrogates above
  if (lead == 0xF0) start.second_min = 0x90;
  if (lead == 0xF4) start.second_max = 0x8F;
  return start;
}

// Bytes of the well-formed character at the start of `text` (Unicode 15, table 3-7), or 0.
std::size_t character_bytes(std::string_view text) noexcept {
  const CharacterStart start = start_of(byte_at(text, 0));
  if (start.bytes < 2) return start.bytes;
  if (text.size() < start.bytes) return 0;
  if (byte_at(text, 1) < start.second_min || byte_at(text, 1) > start.second_max) return 0;
  for (std::size_t i = 2; i < start.bytes; ++i) {
    if ((byte_at(text, i) & 0xC0) != 0x80) return 0;
  }
  return start.bytes;
}

constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// A decimal number that from_chars has read but no double holds: too large (true) or too small? Its
// size is the place of its first non-zero digit plus its exponent, and the two cases are 600
// decades apart.
bool is_huge(std::string_view digits) noexcept {
  std::int64_t place = 0;
  bool seen_point = false;
  bool seen_digit = false;  // a non-zero one
  std::size_t at = 0;
  for (; at < digits.size() && (is_digit(digits[at]) || digits[at] == '.'); ++at) {
    if (digits[at] == '.') {
      seen_point = true;
      continue;
    }
    seen_digit = seen_digit || digits[at] != '0';
    if (!seen_point && seen_digit) ++place;
    if (seen_point && !seen_digit) --place;
  }
  std::int64_t exponent = 0;
  bool negative = false;
  for (; at < digits.size(); ++at) {
    if (digits[at] == '-') negative = true;
    if (!is_digit(digits[at])) continue;
    if (exponent < std::numeric_limits<std::int32_t>::max())
      exponent = exponent * 10 + (digits[at] - '0');
  }
  return place + (negative ? -exponent : exponent) > 0;
}

std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string escape(std::string_view text, std::size_t bytes_max, bool escape_quotes) {
  std::string shown;
  for (std::size_t at = 0; at < text.size();) {
    if (at >= bytes_max) return shown + "...";
    const std::size_t bytes = character_bytes(text.substr(at));
    const std::uint8_t first = byte_at(text, at);
    // U+0080 to U+009F are control characters too: some terminals obey them.
    const bool c1 = bytes == 2 && first == 0xC2 && byte_at(text, at + 1) < 0xA0;
    if (bytes == 0 || first < 0x20 || first == 0x7F) {
      shown += fmt::format("\\x{:02x}", first);
    } else if (c1) {
      shown += fmt::format("\\u{:04x}", byte_at(text, at + 1));
    } else {
      if (first == '\\' || (escape_quotes && first == '"')) shown += '\\';
      shown += text.substr(at, bytes);
    }
    at += bytes == 0 ? 1 : bytes;
  }
  return shown;
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = character_bytes(text.substr(at));
    if (bytes == 0) return false;
    at += bytes;
  }
  return true;
}

std::optional<double> parse_number(std::string_view text) noexcept {
  text = trim(text);
  // from_chars knows no plus sign; "+-1" must stay an error.
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (stopped != end || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    const bool negative = text.front() == '-';
    value = is_huge(text.substr(negative ? 1 : 0)) ? std::numeric_limits<double>::infinity() : 0.0;
    return negative ? -value : value;
  }
  return value;
}

std::optional<std::uint64_t> parse_count(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (stopped != end || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) return std::numeric_limits<std::uint64_t>::max();
  return value;
}

std::string in_quotes(std::string_view text) { return '"' + escape(text, 40, true) + '"'; }

std::string printable(std::string_view text) { return escape(text, text.size(), false); }

}  // namespace mesh::tools
