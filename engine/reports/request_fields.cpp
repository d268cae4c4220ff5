#include "engine/reports/request_fields.hpp"

#include <algorithm>

#include "engine/control_json.hpp"

namespace mesh::engine::reports {
namespace {

constexpr std::size_t kValueShown = 40;

std::string shown_value(const RequestObject& value) {
  std::string text = dump(value);
  if (text.size() > kValueShown) text.resize(kValueShown);
  return text;
}

}  // namespace

tl::unexpected<Error> wrong_field(const char* key, const RequestObject& value,
                                  const std::string& expected) {
  return fail(Errc::bad_input,
              std::string("field '") + key + "': " + shown_value(value) + " is not " + expected);
}

Status only_fields(const RequestObject& object, std::initializer_list<std::string_view> keys) {
  for (const auto& [key, value] : object.items()) {
    if (key == "op" || std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    std::string known;
    for (const std::string_view one : keys) known += (known.empty() ? "" : ", ") + std::string(one);
    return fail(Errc::bad_input, "field '" + key + "': " + object.value("op", "") + " has " +
                                     (known.empty() ? std::string("no fields") : "only " + known));
  }
  return {};
}

Result<std::optional<std::uint64_t>> whole_field(const RequestObject& object,
                                                 const WholeField& field) {
  const auto found = object.find(field.key);
  if (found == object.end()) return std::optional<std::uint64_t>();
  const bool is_whole = found->is_number_unsigned() && found->get<std::uint64_t>() >= field.least &&
                        found->get<std::uint64_t>() <= field.most;
  if (is_whole) return std::optional(found->get<std::uint64_t>());
  return wrong_field(
      field.key, *found,
      "a whole number from " + std::to_string(field.least) + " to " + std::to_string(field.most));
}
Result<std::uint64_t> whole_field_or(const RequestObject& object, const WholeField& field,
                                     std::uint64_t otherwise) {
  MESH_TRY(const auto value, whole_field(object, field));
  return value.value_or(otherwise);
}

Result<std::string> text_field_or(const RequestObject& object, const char* key,
                                  std::string otherwise) {
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  if (!found->is_string()) return wrong_field(key, *found, "a text");
  return found->get<std::string>();
}

Result<bool> flag_field(const RequestObject& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return false;
  if (!found->is_boolean()) return wrong_field(key, *found, "true or false");
  return found->get<bool>();
}

}  // namespace mesh::engine::reports
