// CsvReader: records of comma-separated text, after RFC 4180.
//
// Accepted    LF or CRLF line ends, a missing one at the end, a UTF-8 byte order mark, blank lines
//             at the end, quoted fields that hold commas, line ends and doubled quotes.
// Refused     a quote inside an unquoted field, text after a closing quote, a quote that is never
//             closed, a carriage return that no line feed follows, a blank line before another.
// Cost        one pass, nothing copied: fields point into the text. Doubled quotes are undone in
//             place.
// Units       lines and columns count from 1; a column is a field of the record, not a character.
// Errors      Errc::bad_input with a sentence that begins "line L, column C".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "shm/base/result.hpp"

namespace mesh::tools {

struct CsvField {
  std::string_view text;
  std::uint32_t line = 0;  // where it begins
};

class CsvReader {
 public:
  // The text must outlive the reader and its fields.
  explicit CsvReader(std::span<char> text) noexcept;

  // The next record, or false at the end.
  [[nodiscard]] Result<bool> next(std::vector<CsvField>& fields);

 private:
  [[nodiscard]] Result<CsvField> field(std::size_t column);
  [[nodiscard]] Result<CsvField> quoted_field(std::size_t column);
  // Steps over what ends a field: true at a comma, false at the end of the record.
  [[nodiscard]] Result<bool> separator(std::size_t column);

  std::span<char> text_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
};

}  // namespace mesh::tools
