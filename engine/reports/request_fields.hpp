// Fields of a request for a report, read and checked: any bytes are input.
//
// Callers     any thread.
// Errors      bad_input: the sentence names the field, the value and what it may be.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "shm/base/result.hpp"

namespace mesh::engine::reports {

using RequestObject = nlohmann::json;

[[nodiscard]] tl::unexpected<Error> wrong_field(const char* key, const RequestObject& value,
                                                const std::string& expected);
// A request has these fields, and "op", and no others.
[[nodiscard]] Status only_fields(const RequestObject& object,
                                 std::initializer_list<std::string_view> keys);

struct WholeField {
  const char* key;
  std::uint64_t least, most;
};
// None: the field is not there.
[[nodiscard]] Result<std::optional<std::uint64_t>> whole_field(const RequestObject& object,
                                                               const WholeField& field);
[[nodiscard]] Result<std::uint64_t> whole_field_or(const RequestObject& object,
                                                   const WholeField& field,
                                                   std::uint64_t otherwise);
[[nodiscard]] Result<std::string> text_field_or(const RequestObject& object, const char* key,
                                                std::string otherwise = {});
[[nodiscard]] Result<bool> flag_field(const RequestObject& object, const char* key);

}  // namespace mesh::engine::reports
