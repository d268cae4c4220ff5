// What the outside forms of services share: the refusal of an unknown preset, counters as bytes, a
// command picked by its index.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "engine/coordination/blocks/state_codec.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

[[nodiscard]] inline tl::unexpected<Error> unknown_preset(std::string_view service,
                                                          std::string_view name,
                                                          std::span<const std::string_view> names) {
  std::string sentence(service);
  sentence += ": no preset \"";
  sentence += name;
  sentence += "\"; there are";
  for (const auto valid : names) {
    sentence += ' ';
    sentence += valid;
  }
  return fail(Errc::unknown_preset, std::move(sentence));
}

// Counters are structs of u64 and nothing else.
template <class Counters>
void save_counters(const Counters& counters, StateWriter& writer) {
  static_assert(std::is_trivially_copyable_v<Counters> && sizeof(Counters) % 8 == 0);
  static_assert(std::has_unique_object_representations_v<Counters>);
  const auto words = std::bit_cast<std::array<std::uint64_t, sizeof(Counters) / 8>>(counters);
  for (const auto word : words) writer.put(word);
}
template <class Counters>
void load_counters(Counters& counters, StateReader& reader) {
  std::array<std::uint64_t, sizeof(Counters) / 8> words{};
  for (auto& word : words) reader.get(word);
  counters = std::bit_cast<Counters>(words);
}

// A default command of the alternative whose index comes next; the reader fails on any other.
template <class Command>
[[nodiscard]] Command command_of_index(StateReader& reader) {
  const auto index = reader.get<std::uint8_t>();
  if (index >= std::variant_size_v<Command>) {
    reader.fail();
    return {};
  }
  Command command;
  const auto pick = [&]<std::size_t... I>(std::index_sequence<I...>) {
    static_cast<void>(((I == index ? (command.template emplace<I>(), true) : false) || ...));
  };
  pick(std::make_index_sequence<std::variant_size_v<Command>>{});
  return command;
}

}  // namespace mesh::coordination
