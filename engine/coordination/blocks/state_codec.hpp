// StateWriter, StateReader: the one byte form of snapshots, journal records and remembered replies.
//
// Callers     a service's save/load and encode/decode; one thread each.
// Progress    wait-free but for the vector that grows in StateWriter (cold paths only).
// Units       integers little-endian in their own width; reals as the bits of a double; strings and
//             lists with a u32 count before them. No padding: same state, same bytes, on every CPU.
// If the      bytes are input: every read is checked against what is left, the first that does not
// other side  fit makes the reader fail for good, and finish() says so. Nothing is ever asserted.
// lies
// Errors      StateReader::finish -> Errc::corrupt, also where bytes are left over.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

static_assert(std::endian::native == std::endian::little, "integers are copied as they stand");

// XXH3 of the bytes: checksums of snapshots and journal records, hashes of states.
[[nodiscard]] std::uint64_t checksum(std::span<const std::byte> bytes) noexcept;

class StateWriter {
 public:
  template <class T>
  requires(std::is_integral_v<T> || std::is_enum_v<T>) void put(T value) {
    if constexpr (std::is_same_v<T, bool>) {
      put(static_cast<std::uint8_t>(value));
    } else {
      append(std::as_bytes(std::span(&value, 1)));
    }
  }
  void put(double value) { put(std::bit_cast<std::uint64_t>(value)); }
  void put(Nanos value) { put(value.count()); }
  void put(std::string_view text) { put(std::as_bytes(std::span(text))); }
  void put(const std::string& text) { put(std::string_view(text)); }
  void put(const char* text) { put(std::string_view(text)); }
  void put(std::span<const std::byte> bytes) {
    put(static_cast<std::uint32_t>(bytes.size()));
    append(bytes);
  }
  // As they stand, without a count.
  void append(std::span<const std::byte> bytes);

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::vector<std::byte> take() noexcept { return std::move(bytes_); }
  void clear() noexcept { bytes_.clear(); }

 private:
  std::vector<std::byte> bytes_;
};

class StateReader {
 public:
  explicit StateReader(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}

  // A zero once the reader has failed.
  template <class T>
  [[nodiscard]] T get() {
    if constexpr (std::is_same_v<T, bool>) {
      const auto byte = get<std::uint8_t>();
      failed_ = failed_ || byte > 1;
      return byte == 1;
    } else if constexpr (std::is_same_v<T, double>) {
      return std::bit_cast<double>(get<std::uint64_t>());
    } else if constexpr (std::is_same_v<T, Nanos>) {
      return Nanos{get<std::int64_t>()};
    } else if constexpr (std::is_same_v<T, std::string>) {
      const std::span<const std::byte> text = get_bytes();
      return {reinterpret_cast<const char*>(text.data()), text.size()};
    } else {
      static_assert(std::is_integral_v<T> || std::is_enum_v<T>);
      T value{};
      if (const auto* from = advance(sizeof(T))) std::memcpy(&value, from, sizeof(T));
      return value;
    }
  }
  template <class T>
  void get(T& value) {
    value = get<T>();
  }
  // An enum whose last value is `last`: anything above fails the reader.
  template <class T>
  [[nodiscard]] T get_enum(T last) {
    const T value = get<T>();
    if (value > last) failed_ = true;
    return failed_ ? T{} : value;
  }
  // A count of elements that take at least `bytes_each`: never more than can follow, so that a list
  // is not reserved on the word of a corrupt count.
  [[nodiscard]] std::size_t get_count(std::size_t bytes_each) {
    const auto count = get<std::uint32_t>();
    if (bytes_each == 0 || count > bytes_.size() / bytes_each) failed_ = failed_ || count != 0;
    return failed_ ? 0 : count;
  }
  [[nodiscard]] std::span<const std::byte> get_bytes() {
    const auto size = get<std::uint32_t>();
    const auto* from = advance(size);
    return from == nullptr ? std::span<const std::byte>{} : std::span(from, size);
  }

  void fail() noexcept { failed_ = true; }
  [[nodiscard]] bool failed() const noexcept { return failed_; }
  [[nodiscard]] std::size_t left() const noexcept { return bytes_.size(); }
  // `what` names the thing that was read.
  [[nodiscard]] Status finish(std::string_view what) const {
    if (failed_) {
      return mesh::fail(Errc::corrupt, std::string(what) + ": a value is cut off or impossible");
    }
    if (!bytes_.empty()) {
      return mesh::fail(
          Errc::corrupt,
          std::string(what) + ": " + std::to_string(bytes_.size()) + " bytes too many",
          static_cast<std::int64_t>(bytes_.size()));
    }
    return {};
  }

 private:
  const std::byte* advance(std::size_t size) noexcept {
    if (failed_ || size > bytes_.size()) {
      failed_ = true;
      return nullptr;
    }
    const std::byte* from = bytes_.data();
    bytes_ = bytes_.subspan(size);
    return from;
  }

  std::span<const std::byte> bytes_;
  bool failed_ = false;
};

}  // namespace mesh::coordination
