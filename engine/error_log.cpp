#include "engine/error_log.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "shm/row_seqlock.hpp"

namespace mesh::engine {
namespace {

constexpr std::string_view kOthers = "errors that found no row of their own";

// SYNC errors.word release: whoever sees this value sees that the row is being written.
template <class T>
void put_word(ShmWord<T>& word, T value) noexcept {
  word.store_release(value);
}
// SYNC errors.word acquire: pairs with put_word().
template <class T>
T get_word(const ShmWord<T>& word) noexcept {
  return word.load_acquire();
}

std::array<std::uint64_t, kErrorTextWords> words_of(std::string_view text) noexcept {
  std::size_t bytes = std::min(text.size(), kErrorTextBytes - 1);
  // Not within a character.
  while (bytes != 0 && bytes < text.size() && (text[bytes] & 0xC0) == 0x80) --bytes;
  std::array<std::uint64_t, kErrorTextWords> words{};
  if (bytes != 0) std::memcpy(words.data(), text.data(), bytes);
  return words;
}

}  // namespace

Result<ErrorLog> ErrorLog::over(const shm::Layout& table, std::span<std::byte> bytes,
                                std::string_view thread) {
  ErrorLog log;
  MESH_TRY(log.rows_, table.array<ErrorRow>(bytes, std::string("errors.").append(thread)));
  log.index_.resize(std::bit_ceil(2 * log.rows_.size()));
  // relaxed, all: its writer is dead, or nobody has written it.
  for (; log.used_ + 1 < log.rows_.size(); ++log.used_) {
    if (log.rows_[log.used_].sequence.load_relaxed() == 0) break;
    log.index(log.used_);
  }
  return log;
}

std::size_t ErrorLog::home_of(Errc code, std::uint64_t about) const noexcept {
  const std::uint64_t mixed =
      (about ^ static_cast<std::uint64_t>(code) << 48) * 0x9E37'79B9'7F4A'7C15;
  return (mixed >> 32) & (index_.size() - 1);
}

void ErrorLog::index(std::size_t row) noexcept {
  // relaxed, both: our own row.
  std::size_t at =
      home_of(static_cast<Errc>(rows_[row].code.load_relaxed()), rows_[row].about.load_relaxed());
  while (index_[at] != 0) at = (at + 1) & (index_.size() - 1);  // at most half of it is taken
  index_[at] = static_cast<std::uint32_t>(row + 1);
}

std::size_t ErrorLog::row_of(Errc code, std::uint64_t about) noexcept {
  for (std::size_t at = home_of(code, about); index_[at] != 0;
       at = (at + 1) & (index_.size() - 1)) {
    const std::size_t row = index_[at] - 1;
    // relaxed, both: our own row.
    if (rows_[row].code.load_relaxed() == static_cast<std::int32_t>(code) &&
        rows_[row].about.load_relaxed() == about)
      return row;
  }
  return rows_.size();
}

void ErrorLog::note(const ErrorNote& note, HostTime now) noexcept {
  std::size_t at = row_of(note.code, note.about);
  const bool is_new = at == rows_.size();
  if (is_new) at = used_;  // the last one, where all others are taken
  const bool is_last = at + 1 == rows_.size();
  ErrorRow& row = rows_[at];
  // relaxed, all loads: this thread alone writes; the stores that follow are released.
  const std::uint32_t odd = row.sequence.load_relaxed() | 1U;
  const bool is_first = row.sequence.load_relaxed() == 0;
  row.sequence.store_relaxed(odd);  // relaxed: as above
  put_word(row.code, static_cast<std::int32_t>(is_last ? Errc::capacity : note.code));
  put_word(row.about, is_last ? std::uint64_t{0} : note.about);
  put_word(row.count, (is_first ? 0 : row.count.load_relaxed()) + note.count);  // relaxed: as above
  if (is_first) put_word(row.first_ns, to_ns(now));
  put_word(row.last_ns, to_ns(now));
  const auto text = words_of(is_last ? kOthers : note.text);
  for (std::size_t i = 0; i < text.size(); ++i) put_word(row.text[i], text[i]);
  // SYNC errors.stable release: who sees this number sees the row as it was stored above.
  row.sequence.store_release(odd + 1);
  if (!is_new || is_last) return;
  ++used_;
  index(at);
}

Result<ErrorLogView> ErrorLogView::over(const shm::Layout& table, std::span<const std::byte> bytes,
                                        std::string_view thread) {
  ErrorLogView view;
  MESH_TRY(view.rows_, table.array<ErrorRow>(bytes, std::string("errors.").append(thread)));
  return view;
}

// A row that its dead writer left half-written is shown as it stands.
std::vector<SeenError> ErrorLogView::read() const {
  std::vector<SeenError> seen;
  for (const ErrorRow& row : rows_) {
    SeenError error;
    std::array<char, kErrorTextBytes + 1> text{};
    bool is_there = true;
    for (unsigned attempt = 0; attempt < shm::kReadAttempts; ++attempt) {
      // SYNC errors.stable acquire: pairs with note().
      const std::uint32_t before = row.sequence.load_acquire();
      is_there = before != 0;
      if (!is_there) break;
      error.code = static_cast<Errc>(get_word(row.code));
      error.count = get_word(row.count);
      error.first = from_ns(get_word(row.first_ns));
      error.last = from_ns(get_word(row.last_ns));
      for (std::size_t i = 0; i < kErrorTextWords; ++i) {
        const std::uint64_t word = get_word(row.text[i]);
        std::memcpy(text.data() + i * sizeof word, &word, sizeof word);
      }
      // relaxed: after acquire loads, which nothing overtakes.
      if (row.sequence.load_relaxed() == before && (before & 1U) == 0) break;
    }
    if (!is_there || error.count == 0) continue;
    error.text = text.data();
    seen.push_back(std::move(error));
  }
  return seen;
}

}  // namespace mesh::engine
