#include "tools/text_table.hpp"

#include <algorithm>
#include <cmath>
#include <ostream>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/text.hpp"

namespace mesh::tools {
namespace {

constexpr std::string_view kUnknown = "unknown";

// As the columns' text has it, in characters: a UTF-8 name is as wide as it has of them.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xC0) != 0x80; }));
}

bool holds_a_number(const std::string& cell) {
  return cell == kUnknown || cell == "-" || parse_number(cell).has_value();
}

// Six digits of it, where that is shorter than what it is and has no exponent.
std::string text_of_fraction(const nlohmann::ordered_json& value) {
  const std::string whole = value.dump();
  const double size = std::abs(value.get<double>());
  const bool is_short = whole.size() <= 8 || size < 1e-4 || size >= 1e15;
  if (is_short) return whole;
  return size < 1e6 ? fmt::format("{:.6g}", value.get<double>())
                    : fmt::format("{:.1f}", value.get<double>());
}

}  // namespace

void TextTable::write(std::ostream& out) const {
  std::vector<std::size_t> widths;
  std::vector<bool> right;
  for (std::size_t i = 0; i < heads.size(); ++i) {
    widths.push_back(width_of(heads[i]));
    for (const Row& row : rows) widths[i] = std::max(widths[i], width_of(row[i]));
    right.push_back(std::all_of(rows.begin(), rows.end(),
                                [&](const Row& row) { return holds_a_number(row[i]); }));
  }
  const auto line = [&](const Row& row) {
    std::string text;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - width_of(row[i]), ' ');
      if (i != 0) text.append(2, ' ');
      if (right[i]) text += padding;
      text += row[i];
      if (!right[i]) text += padding;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out << text << '\n';
  };
  line(heads);
  for (const Row& row : rows) line(row);
}

std::string cell_of(const nlohmann::ordered_json& value) {
  if (value.is_null()) return std::string(kUnknown);
  if (value.is_string()) return printable(value.get<std::string>());
  if (value.is_number_float()) return text_of_fraction(value);
  if (!value.is_array()) return printable(value.dump());
  std::string text;
  for (const auto& inner : value) {
    if (!text.empty()) text += ',';
    text += cell_of(inner);
  }
  return text.empty() ? "-" : text;
}

TextTable table_of(const nlohmann::ordered_json& objects) {
  TextTable table;
  if (objects.empty()) return table;
  for (const auto& [key, value] : objects.front().items()) table.heads.push_back(key);
  for (const auto& object : objects) {
    TextTable::Row row;
    for (const std::string& head : table.heads) {
      row.push_back(object.contains(head) ? cell_of(object[head]) : std::string(kUnknown));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace mesh::tools
