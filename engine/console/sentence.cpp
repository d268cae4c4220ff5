#include "engine/console/sentence.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace mesh::console {
namespace {

bool is_space(char letter) {
  return letter == ' ' || letter == '\t' || letter == '\n' || letter == '\r';
}
bool is_quote(char letter) { return letter == '"'; }

std::string lowered(std::string_view text) {
  std::string lower(text);
  for (char& letter : lower) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  return lower;
}

// What one typed word stands for in two.
constexpr std::array<std::pair<std::string_view, std::pair<std::string_view, std::string_view>>, 16>
    kContractions = {{{"what's", {"what", "is"}},
                      {"whats", {"what", "is"}},
                      {"who's", {"who", "is"}},
                      {"how's", {"how", "is"}},
                      {"where's", {"where", "is"}},
                      {"that's", {"that", "is"}},
                      {"it's", {"it", "is"}},
                      {"they're", {"they", "are"}},
                      {"we're", {"we", "are"}},
                      {"what're", {"what", "are"}},
                      {"don't", {"do", "not"}},
                      {"let's", {"let", "us"}},
                      {"i'd", {"i", "would"}},
                      {"i'm", {"i", "am"}},
                      {"who're", {"who", "are"}},
                      {"isn't", {"is", "not"}}}};

// Typographic apostrophes are apostrophes.
std::string plain(std::string_view typed) {
  std::string text;
  for (std::size_t i = 0; i < typed.size(); ++i) {
    if (typed.substr(i, 3) == "\xE2\x80\x99") {
      text += '\'';
      i += 2;
    } else if (typed.substr(i, 3) == "\xE2\x80\x9C" || typed.substr(i, 3) == "\xE2\x80\x9D") {
      text += '"';
      i += 2;
    } else {
      text += typed[i];
    }
  }
  return text;
}

constexpr std::string_view kAround = ".,!?;:()";

// One typed word: its punctuation goes, a comma behind it is a word of its own.
void add_words(std::string_view typed, std::size_t at, std::vector<Word>& words) {
  const std::size_t end = at + typed.size();
  std::string_view text = typed;
  while (!text.empty() && kAround.find(text.front()) != std::string_view::npos) {
    text.remove_prefix(1);
    ++at;
  }
  bool has_comma = false;
  while (!text.empty() && kAround.find(text.back()) != std::string_view::npos) {
    has_comma |= text.back() == ',';
    text.remove_suffix(1);
  }
  if (!text.empty()) {
    const std::string lower = lowered(text);
    const auto* const found =
        std::find_if(kContractions.begin(), kContractions.end(),
                     [&](const auto& contraction) { return contraction.first == lower; });
    if (found == kContractions.end()) {
      words.push_back({std::string(text), lower, at, end, false});
    } else {
      words.push_back(
          {std::string(found->second.first), std::string(found->second.first), at, end});
      words.push_back(
          {std::string(found->second.second), std::string(found->second.second), at, end});
    }
  }
  if (has_comma || typed == ",") words.push_back({",", ",", end - 1, end});
}

}  // namespace

Result<Sentence> Sentence::of(std::string_view typed) {
  if (typed.size() > kSentenceBytesMax)
    return fail(Errc::bad_input, "a sentence of " + std::to_string(typed.size()) +
                                     " bytes; at most " + std::to_string(kSentenceBytesMax));
  Sentence sentence;
  sentence.typed_ = plain(typed);
  const std::string& text = sentence.typed_;
  for (std::size_t at = 0; at < text.size();) {
    if (is_space(text[at])) {
      ++at;
      continue;
    }
    if (is_quote(text[at])) {
      const std::size_t close = text.find('"', at + 1);
      if (close == std::string::npos) return fail(Errc::bad_input, "a quotation that does not end");
      sentence.words_.push_back({text.substr(at + 1, close - at - 1), "", at, close + 1, true});
      at = close + 1;
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && !is_space(text[end]) && !is_quote(text[end])) ++end;
    add_words(std::string_view(text).substr(at, end - at), at, sentence.words_);
    at = end;
  }
  if (sentence.words_.empty()) return fail(Errc::bad_input, "nothing was said");
  if (sentence.words_.size() > kWordsMax)
    return fail(Errc::bad_input, "a sentence of " + std::to_string(sentence.words_.size()) +
                                     " words; at most " + std::to_string(kWordsMax));
  return sentence;
}

std::string Sentence::rest(std::size_t word) const { return part(word, words_.size()); }

std::string Sentence::part(std::size_t first, std::size_t past) const {
  if (first >= past) return {};
  if (past - first == 1 && words_[first].is_quoted) return words_[first].text;
  // What ends the sentence belongs to what is said.
  return typed_.substr(words_[first].at, words_[past - 1].end - words_[first].at);
}

}  // namespace mesh::console
