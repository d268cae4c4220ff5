// put_fields, get_fields: the bytes of a plain aggregate: its fields, in the order in which they
// are declared. Commands and replies need no list of their fields beside the one in their struct.
//
// Units       up to 12 fields; a field is what StateWriter knows, an enum with last_of(), another
//             aggregate, a std::vector or a std::array of any of these. A list has a u32 count
//             before it.
// If the      bytes are input: an enum beyond last_of(), or a count of more than can follow, makes
// other side  the reader fail, and nothing is reserved for it.
// lies
// Source      counting the initialisers that an aggregate takes, after Boost.PFR.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "engine/coordination/blocks/state_codec.hpp"
#include "shm/base/errc.hpp"

namespace mesh::coordination {
namespace fields {

// Stands for a value of any type but the aggregate's own: that would be a copy of the whole.
template <class Whole>
struct AnyField {
  template <class T>
  requires(!std::is_same_v<T, Whole>) constexpr operator T() const noexcept;
};

template <class T, class... Known>
constexpr std::size_t count() {
  if constexpr (requires { T{Known{}..., AnyField<T>{}}; }) {
    return count<T, Known..., AnyField<T>>();
  } else {
    return sizeof...(Known);
  }
}

template <std::size_t N>
using Size = std::integral_constant<std::size_t, N>;

constexpr auto tie(auto&, Size<0>) { return std::tie(); }
constexpr auto tie(auto& t, Size<1>) {
  auto& [a] = t;
  return std::tie(a);
}
constexpr auto tie(auto& t, Size<2>) {
  auto& [a, b] = t;
  return std::tie(a, b);
}
constexpr auto tie(auto& t, Size<3>) {
  auto& [a, b, c] = t;
  return std::tie(a, b, c);
}
constexpr auto tie(auto& t, Size<4>) {
  auto& [a, b, c, d] = t;
  return std::tie(a, b, c, d);
}
constexpr auto tie(auto& t, Size<5>) {
  auto& [a, b, c, d, e] = t;
  return std::tie(a, b, c, d, e);
}
constexpr auto tie(auto& t, Size<6>) {
  auto& [a, b, c, d, e, f] = t;
  return std::tie(a, b, c, d, e, f);
}
constexpr auto tie(auto& t, Size<7>) {
  auto& [a, b, c, d, e, f, g] = t;
  return std::tie(a, b, c, d, e, f, g);
}
constexpr auto tie(auto& t, Size<8>) {
  auto& [a, b, c, d, e, f, g, h] = t;
  return std::tie(a, b, c, d, e, f, g, h);
}
constexpr auto tie(auto& t, Size<9>) {
  auto& [a, b, c, d, e, f, g, h, i] = t;
  return std::tie(a, b, c, d, e, f, g, h, i);
}
constexpr auto tie(auto& t, Size<10>) {
  auto& [a, b, c, d, e, f, g, h, i, j] = t;
  return std::tie(a, b, c, d, e, f, g, h, i, j);
}
constexpr auto tie(auto& t, Size<11>) {
  auto& [a, b, c, d, e, f, g, h, i, j, k] = t;
  return std::tie(a, b, c, d, e, f, g, h, i, j, k);
}
constexpr auto tie(auto& t, Size<12>) {
  auto& [a, b, c, d, e, f, g, h, i, j, k, l] = t;
  return std::tie(a, b, c, d, e, f, g, h, i, j, k, l);
}
constexpr auto tie(auto& t, Size<13>) {
  auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = t;
  return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m);
}

template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
template <class T>
inline constexpr bool is_array = false;
template <class T, std::size_t N>
inline constexpr bool is_array<std::array<T, N>> = true;
template <class T>
concept Record = std::is_aggregate_v<T> && !is_array<T>;

}  // namespace fields

// Calls visit(field) for each field of `record`.
template <fields::Record T, class Visit>
constexpr void each_field(T& record, Visit&& visit) {
  constexpr std::size_t kCount = fields::count<std::remove_const_t<T>>();
  std::apply([&](auto&... field) { (visit(field), ...); },
             fields::tie(record, fields::Size<kCount>{}));
}

namespace fields {

template <class T>
void put(StateWriter& writer, const T& value) {
  if constexpr (std::is_same_v<T, std::vector<std::byte>>) {
    writer.put(std::span<const std::byte>(value));
  } else if constexpr (is_vector<T>) {
    writer.put(static_cast<std::uint32_t>(value.size()));
    for (const auto& one : value) put(writer, one);
  } else if constexpr (is_array<T>) {
    for (const auto& one : value) put(writer, one);
  } else if constexpr (Record<T>) {
    each_field(value, [&](const auto& field) { put(writer, field); });
  } else {
    writer.put(value);
  }
}

// How many bytes a value takes at least.
template <class T>
constexpr std::size_t least_bytes() {
  if constexpr (is_vector<T> || std::is_same_v<T, std::string>) {
    return sizeof(std::uint32_t);
  } else if constexpr (Record<T>) {
    T value{};
    std::size_t sum = 0;
    each_field(value, [&]<class F>(F&) { sum += least_bytes<F>(); });
    return sum;
  } else {
    return sizeof(T);
  }
}

template <class T>
void get(StateReader& reader, T& value) {
  if constexpr (std::is_same_v<T, std::vector<std::byte>>) {
    const auto bytes = reader.get_bytes();
    value.assign(bytes.begin(), bytes.end());
  } else if constexpr (is_vector<T>) {
    value.resize(reader.get_count(least_bytes<typename T::value_type>()));
    for (auto& one : value) get(reader, one);
  } else if constexpr (is_array<T>) {
    for (auto& one : value) get(reader, one);
  } else if constexpr (Record<T>) {
    each_field(value, [&](auto& field) { get(reader, field); });
  } else if constexpr (std::is_enum_v<T> && !std::is_same_v<T, Errc>) {
    value = reader.get_enum(last_of(T{}));
  } else {
    reader.get(value);  // an Errc too: a newer list is longer
  }
}

}  // namespace fields

template <class T>
void put_fields(const T& record, StateWriter& writer) {
  fields::put(writer, record);
}
template <class T>
void get_fields(T& record, StateReader& reader) {
  fields::get(reader, record);
}

}  // namespace mesh::coordination
