// What the reports on a mesh have in common where they become JSON: the same for a verb's --json
// and for the answer to a control request.
//
// Callers     one thread, cold.
// Units       wall times in UTC; what is not known is null.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace mesh::engine::reports {

// In the order in which it is written.
using Json = nlohmann::ordered_json;

template <class T>
[[nodiscard]] Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// Bytes that are no UTF-8 are replaced: a name or a path may be any.
[[nodiscard]] inline std::string text_of(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// "2026-11-25T14:32:47Z"; empty for a time that no calendar has.
[[nodiscard]] std::string utc_text(std::int64_t unix_ns);
// The same with milliseconds.
[[nodiscard]] std::string utc_ms_text(std::int64_t unix_ns);
// "0.4 s", "2 m 3 s", "5 h 2 m", "3 d 4 h".
[[nodiscard]] std::string duration_text(std::int64_t ms);
[[nodiscard]] std::int64_t unix_now_ns();

}  // namespace mesh::engine::reports
