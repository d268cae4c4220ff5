// check_name: what may name a thing: 1 to 128 bytes of UTF-8. Errc::invalid_id with the reason.
#pragma once

#include <cstddef>
#include <string_view>

#include "shm/base/result.hpp"

namespace mesh::coordination {

inline constexpr std::size_t kNameBytesMax = 128;

[[nodiscard]] bool is_utf8(std::string_view text) noexcept;
// Without the sentence: what apply() asks, which allocates nothing.
[[nodiscard]] bool is_name(std::string_view name) noexcept;
[[nodiscard]] Status check_name(std::string_view what, std::string_view name);

// What to_string() says: an enumerator's name, "unknown" of a number that has none.
template <class Names, class Value>
[[nodiscard]] constexpr std::string_view name_in(const Names& names, Value value) noexcept {
  const auto index = static_cast<std::size_t>(value);
  return index < names.size() ? names[index] : "unknown";
}

}  // namespace mesh::coordination
