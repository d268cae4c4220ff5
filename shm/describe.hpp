// FieldDescription, StructDescription: a struct of the shared memory, told field by field.
//
// One description serves three readers: the layout hash, by which two binaries find out that they
// disagree; `mesh layout --markdown`, from which docs/SHM_LAYOUT.md is generated; and the
// static_assert that no byte of the struct is left out. It is taken from the compiler (offsetof,
// sizeof), so it cannot drift from the code.
//
//   inline constexpr FieldDescription kPointFields[] = {
//       MESH_FIELD(Point, x, "metres east"),
//       MESH_FIELD(Point, y, "metres north"),
//   };
//   inline constexpr StructDescription kPointDescription =
//       describe<Point>("Point", kPointFields, "a place");
//   static_assert(covers_every_byte(kPointDescription));
//
// Callers     any thread; everything is a constant.
// Units       offsets and sizes in bytes from the start of the struct.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

#include "shm/base/word.hpp"

namespace mesh::shm {

struct FieldDescription {
  std::string_view name;
  std::size_t offset;
  std::size_t size_bytes;
  std::string_view type;  // u64, i32, f32, word u64, u8[16]
  std::string_view meaning;
};

struct StructDescription {
  std::string_view name;
  std::size_t size_bytes;
  std::span<const FieldDescription> fields;  // in the order of their offsets
  std::string_view meaning;
};

namespace describe_detail {

// The name of a type as documents print it, built in static storage so that a string_view of it
// lives for ever.
struct TypeName {
  std::array<char, 48> text{};
  std::size_t size = 0;

  constexpr TypeName& add(std::string_view part) {
    for (const char letter : part)
      text.at(size++) = letter;  // too long: not a constant, does not compile
    return *this;
  }
  constexpr TypeName& add(std::size_t number) {
    if (number >= 10) add(number / 10);
    text.at(size++) = static_cast<char>('0' + number % 10);
    return *this;
  }
  [[nodiscard]] constexpr std::string_view view() const { return {text.data(), size}; }
};

template <class T>
struct TypeNameOf {
  static constexpr TypeName make() {
    if constexpr (std::is_enum_v<T>) {
      return TypeNameOf<std::underlying_type_t<T>>::make();
    } else if constexpr (std::is_same_v<T, std::byte>) {
      return TypeName{}.add("u8");
    } else if constexpr (std::is_arithmetic_v<T>) {
      const char kind = std::is_floating_point_v<T> ? 'f' : std::is_signed_v<T> ? 'i' : 'u';
      return TypeName{}.add(std::string_view(&kind, 1)).add(sizeof(T) * 8);
    } else {
      return TypeName{}.add("struct of ").add(sizeof(T)).add(" bytes");
    }
  }
};
template <class T>
struct TypeNameOf<ShmWord<T>> {
  static constexpr TypeName make() {
    return TypeName{}.add("word ").add(TypeNameOf<T>::make().view());
  }
};
template <class T>
struct TypeNameOf<ShmPlain<T>> {
  static constexpr TypeName make() { return TypeNameOf<T>::make(); }
};
template <class T, std::size_t count>
struct TypeNameOf<T[count]> {
  static constexpr TypeName make() {
    return TypeName{}.add(TypeNameOf<T>::make().view()).add("[").add(count).add("]");
  }
};
template <class T, std::size_t count>
struct TypeNameOf<std::array<T, count>> : TypeNameOf<T[count]> {};

template <class T>
inline constexpr TypeName kTypeName = TypeNameOf<std::remove_cv_t<T>>::make();

}  // namespace describe_detail

// "u64", "word u32", "u8[16]": an enum is named by the integer that stands in memory.
template <class T>
inline constexpr std::string_view kTypeName = describe_detail::kTypeName<T>.view();

template <class T>
constexpr StructDescription describe(std::string_view name,
                                     std::span<const FieldDescription> fields,
                                     std::string_view meaning) noexcept {
  static_assert(std::is_standard_layout_v<T>, "offsetof means nothing here");
  static_assert(std::is_trivially_copyable_v<T>);
  return StructDescription{name, sizeof(T), fields, meaning};
}

// Fields stand in order, do not overlap, leave no byte undescribed. Reserved bytes are fields too.
constexpr bool covers_every_byte(const StructDescription& description) noexcept {
  std::size_t expected_offset = 0;
  for (const FieldDescription& field : description.fields) {
    if (field.offset != expected_offset || field.size_bytes == 0) return false;
    expected_offset += field.size_bytes;
  }
  return expected_offset == description.size_bytes;
}

}  // namespace mesh::shm

#define MESH_FIELD(Struct, field, meaning_text)                         \
  ::mesh::shm::FieldDescription {                                       \
#field, offsetof(Struct, field), sizeof(Struct::field),             \
        ::mesh::shm::kTypeName < decltype(Struct::field)>, meaning_text \
  }
