// Sentence: what somebody typed, as words.
//
// Callers     one thread; pure.
// Units       bytes of UTF-8. Letters beyond ASCII are letters of a word, in whatever case.
// Errors      of() -> bad_input: empty, longer than kSentenceBytesMax, more than kWordsMax words,
//             or a quotation that does not end.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shm/base/result.hpp"

namespace mesh::console {

inline constexpr std::size_t kSentenceBytesMax = 1'024;
inline constexpr std::size_t kWordsMax = 128;

struct Word {
  std::string text;     // as typed, without quotes and punctuation around it
  std::string lower;    // ASCII letters small; empty of what was quoted: it is no word of ours
  std::size_t at = 0;   // where it begins in the sentence
  std::size_t end = 0;  // behind it, quotes and punctuation included
  bool is_quoted = false;
};

template <std::size_t size>
[[nodiscard]] bool is_one_of(std::string_view word,
                             const std::array<std::string_view, size>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

class Sentence {
 public:
  static Result<Sentence> of(std::string_view typed);

  [[nodiscard]] const std::vector<Word>& words() const noexcept { return words_; }
  // From this word to the end, as typed; without the quotes where that is one quotation.
  [[nodiscard]] std::string rest(std::size_t word) const;
  // The same of words [first, past).
  [[nodiscard]] std::string part(std::size_t first, std::size_t past) const;

 private:
  std::string typed_;
  std::vector<Word> words_;
};

}  // namespace mesh::console
