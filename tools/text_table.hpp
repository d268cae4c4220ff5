// TextTable: rows for people, in columns as wide as their widest cell.
//
// Callers     one thread, cold.
// Units       a column whose cells are all numbers, "-" or "unknown" stands to the right. Cells are
//             printed as they are: what came from outside is made harmless before (tools/text.hpp).
// Errors      none; the stream's state is its owner's to check.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace mesh::tools {

struct TextTable {
  using Row = std::vector<std::string>;
  Row heads;
  std::vector<Row> rows;  // each of as many cells as heads

  void write(std::ostream& out) const;
};

// A list of objects with the keys of the first: a column a key. null is printed "unknown", a list
// its values with commas between them.
[[nodiscard]] TextTable table_of(const nlohmann::ordered_json& objects);

// One value as a cell of a table, or of a line: a fraction in six digits, what --json has whole.
[[nodiscard]] std::string cell_of(const nlohmann::ordered_json& value);

}  // namespace mesh::tools
