// The options of a configuration file, one row each: what the file may say, how it is read into a
// Configuration and shown again.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/configuration/configuration.hpp"

namespace mesh::engine {

// A TOML value as far as any option takes one; monostate: a kind that none does.
using OptionValue = std::variant<std::monostate, bool, std::int64_t, double, std::string,
                                 std::vector<std::int64_t>>;

struct Option {
  std::string_view table;
  std::string_view key;
  std::string_view sentence;
  bool is_reloadable = false;
  double least = 0;
  double most = 0;
  std::string_view unit{};   // "ms": of a duration
  std::string_view words{};  // a range in words, where there are no numbers
  // False: the value is none that the option can have, and nothing was set.
  bool (*set)(const Option& option, Configuration& configuration,
              const OptionValue& value) = nullptr;
  std::string (*show)(const Option& option, const Configuration& configuration) = nullptr;
};

[[nodiscard]] std::span<const Option> options() noexcept;
[[nodiscard]] std::string range_of(const Option& option);

}  // namespace mesh::engine
