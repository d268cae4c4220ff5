// The keys of a scenario file, one row each: what the file may say and what a number there means.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "engine/simulation/scenario.hpp"

namespace mesh::engine::simulation {

enum class KeyUnit : std::uint8_t {
  whole,
  seconds,
  milliseconds,
  microseconds,
  hours,
  share,
  factor,
  word
};

// A key of a table whose values stand in an Owner.
template <class Owner>
struct Key {
  std::string_view table;
  std::string_view key;
  std::string_view sentence;
  KeyUnit unit = KeyUnit::whole;
  double least = 0;  // as the file has it
  double most = 0;
  std::int64_t Owner::*value = nullptr;
  std::span<const std::string_view> words{};  // of a word: its number is its place
};

[[nodiscard]] std::span<const Key<Scenario>> scenario_keys() noexcept;
[[nodiscard]] std::span<const Key<ClassFigures>> class_keys() noexcept;
[[nodiscard]] std::span<const Key<Fault>> fault_keys() noexcept;

// A number or a word of the file.
using KeyValue = std::variant<std::monostate, std::int64_t, double, std::string>;

// False: the value is none that the key can have, and nothing was set.
template <class Owner>
[[nodiscard]] bool set(const Key<Owner>& key, Owner& owner, const KeyValue& value);
// "0 to 1", "death, silence or loss".
template <class Owner>
[[nodiscard]] std::string range_of(const Key<Owner>& key);
// As TOML.
template <class Owner>
[[nodiscard]] std::string shown(const Key<Owner>& key, const Owner& owner);

}  // namespace mesh::engine::simulation
