// Semver, SemverRange: versions of services and what a caller accepts of them.
//
// Units       three numbers of 32 bits and a pre-release of at most 32 bytes. Build metadata is
//             checked and left out: it orders nothing.
// Errors      parse gives false for what is no version: a part missing, a leading zero, an empty
//             identifier, a number that does not fit.
// Source      semver.org 2.0.0, part 11 for the order; ^ and ~ as npm reads them, but a version
//             must have its three numbers.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mesh::coordination {

struct Semver {
  static constexpr std::size_t kPreBytes = 32;
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint32_t patch = 0;
  std::uint32_t pre_size = 0;
  std::array<char, kPreBytes> pre_bytes{};

  [[nodiscard]] std::string_view pre() const noexcept { return {pre_bytes.data(), pre_size}; }
  friend bool operator==(const Semver&, const Semver&) = default;  // bit for bit
};

[[nodiscard]] bool parse(std::string_view text, Semver& version) noexcept;
[[nodiscard]] std::strong_ordering compare_pre(const Semver& a, const Semver& b) noexcept;
[[nodiscard]] inline std::strong_ordering compare(const Semver& a, const Semver& b) noexcept {
  if (const auto major = a.major <=> b.major; major != 0) return major;
  if (const auto minor = a.minor <=> b.minor; minor != 0) return minor;
  if (const auto patch = a.patch <=> b.patch; patch != 0) return patch;
  return (a.pre_size | b.pre_size) == 0 ? std::strong_ordering::equal : compare_pre(a, b);
}

// Up to eight comparators with blanks between them, all of which must hold: =1.2.3, >1.2.3, >=, <,
// <=, ^1.2.3 (the same leftmost number that is not 0), ~1.2.3 (the same major and minor), a bare
// version. Nothing, or *: any.
class SemverRange {
 public:
  [[nodiscard]] bool parse(std::string_view text) noexcept;
  [[nodiscard]] bool contains(const Semver& version) const noexcept;

 private:
  enum class Op : std::uint8_t { equal, less, less_or_equal, greater, greater_or_equal };
  struct Comparator {
    Op op = Op::equal;
    Semver version;
  };
  [[nodiscard]] bool add(Op op, const Semver& version) noexcept;
  [[nodiscard]] bool add_token(std::string_view token) noexcept;
  [[nodiscard]] bool add_span(char kind, const Semver& least) noexcept;

  static constexpr std::size_t kComparators = 8;
  std::array<Comparator, kComparators> comparators_{};
  std::size_t count_ = 0;
};

}  // namespace mesh::coordination
