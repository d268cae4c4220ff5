// ErrorLog, ErrorLogView: distinct errors with count, first and last time, as one engine thread
// keeps them in the table.
//
// An error is distinct by its code and by what it is about: a station's number, or the hash of what
// was being done. The log is bounded: what finds no row of its own is counted in the last one.
//
// Callers     ErrorLog: the thread that the layout names. ErrorLogView: anyone with the table.
// Progress    note: a few steps and one row of stores; no allocation after over(). read: at most
//             shm::kReadAttempts tries a row.
// Ordering    a row that is read whole is of one moment (tags errors.stable, errors.word).
// Units       HostTime of the mesh's clock.
// If the      writer dies: what it wrote stands; a half-written row is written again by its
// other side  successor, which goes on counting in the same rows.
// dies        Lies: numbers are numbers, text is checked by who shows it.
// or lies
// Errors      over -> not_found, layout_mismatch.
// Layout      regions errors.scheduler and errors.control of the table: rows of 256 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "shm/base/errc.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"
#include "shm/layout.hpp"

namespace mesh::engine {

inline constexpr std::size_t kErrorTextWords = 26;
inline constexpr std::size_t kErrorTextBytes = kErrorTextWords * 8;

struct ErrorRow {
  ShmWord<std::uint32_t> sequence;  // odd: being written; 0: free
  ShmWord<std::int32_t> code;
  ShmWord<std::uint64_t> about;  // 0 in the last row: all the others
  ShmWord<std::uint64_t> count;
  ShmWord<std::int64_t> first_ns;
  ShmWord<std::int64_t> last_ns;
  ShmWord<std::uint64_t> text[kErrorTextWords];  // UTF-8, cut, padded with zeros
  std::uint64_t reserved;
};
static_assert(sizeof(ErrorRow) == 256);
static_assert(std::is_trivially_copyable_v<ErrorRow>);
static_assert(std::has_unique_object_representations_v<ErrorRow>);

struct ErrorNote {
  Errc code = Errc::ok;
  std::uint64_t about = 0;  // with `code`, what makes it distinct
  std::uint64_t count = 1;
  std::string_view text;  // of the last time
};

class ErrorLog {
 public:
  static Result<ErrorLog> over(const shm::Layout& table, std::span<std::byte> bytes,
                               std::string_view thread);
  void note(const ErrorNote& note, HostTime now) noexcept;

 private:
  [[nodiscard]] std::size_t row_of(Errc code, std::uint64_t about) noexcept;
  [[nodiscard]] std::size_t home_of(Errc code, std::uint64_t about) const noexcept;
  void index(std::size_t row) noexcept;

  std::span<ErrorRow> rows_;
  std::size_t used_ = 0;              // the last one not counted
  std::vector<std::uint32_t> index_;  // open addressing: row + 1; 0: nothing
};

struct SeenError {
  Errc code = Errc::ok;
  std::uint64_t count = 0;
  HostTime first{};
  HostTime last{};
  std::string text;
};

class ErrorLogView {
 public:
  static Result<ErrorLogView> over(const shm::Layout& table, std::span<const std::byte> bytes,
                                   std::string_view thread);
  [[nodiscard]] std::vector<SeenError> read() const;

 private:
  std::span<const ErrorRow> rows_;
};

}  // namespace mesh::engine
