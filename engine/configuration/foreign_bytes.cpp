#include "engine/configuration/foreign_bytes.hpp"

#include <cstddef>

namespace mesh::engine {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
// What toml++ takes for the end of a line besides: next line, line and paragraph separator.
constexpr std::string_view kLineEnds[] = {"\xC2\x85", "\xE2\x80\xA8", "\xE2\x80\xA9"};

bool is_ascii(char byte) { return static_cast<unsigned char>(byte) < 0x80; }

bool is_line_end(std::string_view text) {
  for (const std::string_view end : kLineEnds)
    if (text.starts_with(end)) return true;
  return false;
}

// Past the comment that begins at `at`, or the string of one line; npos: another kind of line end.
std::size_t past_line_of(std::string_view text, std::size_t at) {
  const char begin = text[at++];
  for (; at != text.size() && text[at] != '\n'; ++at) {
    if (is_line_end(text.substr(at))) return std::string_view::npos;
    if (begin == '#') continue;
    if (text[at] == begin) return at + 1;
    if (begin == '"' && text[at] == '\\' && at + 1 != text.size() && text[at + 1] != '\n') ++at;
  }
  return at;
}

// Past the string of several lines that begins at `at`; or at its first byte that is not ASCII.
std::size_t past_lines_of(std::string_view text, std::size_t at) {
  const char quote = text[at];
  const std::string_view end = text.substr(at, 3);
  for (at += 3; at != text.size() && is_ascii(text[at]); ++at) {
    if (quote == '"' && text[at] == '\\' && at + 1 != text.size() && is_ascii(text[at + 1])) {
      ++at;
    } else if (text.substr(at).starts_with(end)) {
      at += 3;
      for (int more = 0; more != 2 && at != text.size() && text[at] == quote; ++more) ++at;
      return at;
    }
  }
  return at;
}

bool begins_lines(std::string_view text) {
  return text.starts_with(R"(""")") || text.starts_with("'''");
}

}  // namespace

std::optional<std::uint32_t> line_of_foreign_byte(std::string_view toml) {
  std::size_t at = toml.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  const auto line_at = [&](std::size_t end) {
    std::uint32_t line = 1;
    for (const char byte : toml.substr(0, end)) line += byte == '\n' ? 1 : 0;
    return line;
  };
  while (at < toml.size()) {
    if (!is_ascii(toml[at])) return line_at(at);
    const std::size_t begun = at;
    if (begins_lines(toml.substr(at)))
      at = past_lines_of(toml, at);
    else if (toml[at] == '#' || toml[at] == '"' || toml[at] == '\'')
      at = past_line_of(toml, at);
    else
      ++at;
    if (at == std::string_view::npos) return line_at(begun);
  }
  return std::nullopt;
}

}  // namespace mesh::engine
