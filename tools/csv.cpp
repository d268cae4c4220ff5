#include "tools/csv.hpp"

#include <array>
#include <string>

#include <fmt/format.h>

namespace mesh::tools {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// The bytes an unquoted field cannot run over.
constexpr std::array<bool, 256> kStops = [] {
  std::array<bool, 256> stops{};
  for (const char c : {',', '\n', '\r', '"'}) stops[static_cast<std::uint8_t>(c)] = true;
  return stops;
}();

tl::unexpected<Error> refuse(std::uint32_t line, std::size_t column, std::string_view what) {
  return fail(Errc::bad_input, fmt::format("line {}, column {}: {}", line, column, what), line);
}

bool is_blank(const std::vector<CsvField>& fields) noexcept {
  return fields.size() == 1 && fields[0].text.empty();
}

}  // namespace

CsvReader::CsvReader(std::span<char> text) noexcept : text_(text) {
  if (std::string_view(text.data(), text.size()).starts_with(kByteOrderMark)) {
    at_ = kByteOrderMark.size();
  }
}

Result<bool> CsvReader::next(std::vector<CsvField>& fields) {
  std::uint32_t blank_line = 0;
  while (at_ < text_.size()) {
    fields.clear();
    for (bool more = true; more;) {
      MESH_TRY(fields.emplace_back(), field(fields.size() + 1));
      MESH_TRY(more, separator(fields.size()));
    }
    if (!is_blank(fields)) {
      if (blank_line == 0) return true;
      return refuse(blank_line, 1, "the line is blank, and there are lines after it");
    }
    if (blank_line == 0) blank_line = fields[0].line;
  }
  fields.clear();
  return false;
}

Result<CsvField> CsvReader::field(std::size_t column) {
  if (at_ < text_.size() && text_[at_] == '"') return quoted_field(column);
  const std::size_t begin = at_;
  while (at_ < text_.size() && !kStops[static_cast<std::uint8_t>(text_[at_])]) ++at_;
  if (at_ < text_.size() && text_[at_] == '"') {
    return refuse(line_, column, "a quote inside a field that does not begin with one");
  }
  return CsvField{{text_.data() + begin, at_ - begin}, line_};
}

Result<CsvField> CsvReader::quoted_field(std::size_t column) {
  const std::uint32_t first_line = line_;
  const std::size_t begin = ++at_;
  std::size_t end = begin;  // of the text kept so far; behind at_ once a doubled quote was undone
  for (; at_ < text_.size(); ++at_, ++end) {
    if (text_[at_] == '"') {
      const bool doubled = at_ + 1 < text_.size() && text_[at_ + 1] == '"';
      if (!doubled) break;
      ++at_;
    }
    if (text_[at_] == '\n') ++line_;
    text_[end] = text_[at_];
  }
  if (at_ == text_.size()) return refuse(first_line, column, "the quote is never closed");
  ++at_;
  return CsvField{{text_.data() + begin, end - begin}, first_line};
}

Result<bool> CsvReader::separator(std::size_t column) {
  if (at_ == text_.size()) return false;
  const char c = text_[at_];
  if (c == ',') {
    ++at_;
    return true;
  }
  if (c == '\n' || (c == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n')) {
    at_ += c == '\n' ? 1 : 2;
    ++line_;
    return false;
  }
  if (c == '\r') return refuse(line_, column, "a carriage return that no line feed follows");
  return refuse(line_, column, "text after the closing quote");
}

}  // namespace mesh::tools
