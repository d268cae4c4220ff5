#include "engine/console/pattern.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace mesh::console {
namespace {

using Words = std::vector<std::string_view>;

Words split(std::string_view text, char by) {
  Words parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(by), text.size());
    if (end != 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

constexpr std::array<std::string_view, 13> kNumbers = {"zero", "one",    "two",   "three", "four",
                                                       "five", "six",    "seven", "eight", "nine",
                                                       "ten",  "eleven", "twelve"};
constexpr std::array<std::string_view, 4> kThem = {"them", "they", "those", "these"};
constexpr std::array<std::string_view, 4> kIt = {"it", "him", "her", "that"};
// What begins or joins a sentence of ours is no agent's name, unless it is quoted.
constexpr std::array<std::string_view, 48> kNoNames = {
    ",",     "and",  "then", "the",      "a",         "an",       "me",       "us",
    "i",     "you",  "who",  "what",     "why",       "where",    "how",      "which",
    "is",    "are",  "do",   "not",      "to",        "of",       "in",       "on",
    "for",   "show", "tell", "ask",      "send",      "route",    "avoid",    "bypass",
    "undo",  "use",  "find", "delegate", "broadcast", "announce", "help",     "status",
    "again", "back", "out",  "anything", "everybody", "everyone", "somebody", "all"};

std::optional<std::uint32_t> number_of(const Word& word) {
  const auto* const spelled = std::find(kNumbers.begin(), kNumbers.end(), word.lower);
  if (spelled != kNumbers.end()) return static_cast<std::uint32_t>(spelled - kNumbers.begin());
  std::uint32_t number = 0;
  const char* const end = word.lower.data() + word.lower.size();
  const char* const first = word.lower.data() + (word.lower.starts_with('+') ? 1 : 0);
  const auto read = std::from_chars(first, end, number);
  if (word.lower.empty() || read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return number;
}

bool is_name(const Word& word) {
  if (word.is_quoted) return !word.text.empty();
  return !is_one_of(word.lower, kNoNames) && !is_one_of(word.lower, kThem) &&
         !is_one_of(word.lower, kIt);
}

class Match {
 public:
  Match(std::string_view pattern, const Sentence& sentence, std::size_t past)
      : elements_(split(pattern, ' ')), sentence_(sentence), past_(past) {}

  bool from(std::size_t element, std::size_t word) {
    if (element == elements_.size()) return word == past_;
    std::string_view wanted = elements_[element];
    if (wanted.starts_with('<')) return slot(wanted, element, word);
    const bool may_lack = wanted.starts_with('[');
    if (may_lack) wanted = wanted.substr(1, wanted.size() - 2);
    if (may_lack && wanted.starts_with('<')) {
      const Captures before = captures_;
      if (slot(wanted, element, word)) return true;
      captures_ = before;
    } else if (word != past_ && says(wanted, word) && from(element + 1, word + 1)) {
      return true;
    }
    return may_lack && from(element + 1, word);
  }
  [[nodiscard]] Captures take() { return std::move(captures_); }

 private:
  [[nodiscard]] const Word& word_at(std::size_t at) const { return sentence_.words()[at]; }
  [[nodiscard]] bool says(std::string_view alternatives, std::size_t at) const {
    const std::string& lower = word_at(at).lower;
    const Words words = split(alternatives, '|');
    return !lower.empty() && std::find(words.begin(), words.end(), lower) != words.end();
  }
  [[nodiscard]] bool says_all(const Words& phrase, std::size_t at) const {
    if (phrase.size() > past_ - at) return false;
    for (std::size_t i = 0; i < phrase.size(); ++i)
      if (word_at(at + i).lower != phrase[i]) return false;
    return true;
  }

  bool slot(std::string_view name, std::size_t element, std::size_t at) {
    if (at == past_) return false;
    if (name == "<text>") return text(element, at);
    if (name == "<scope>") return scope(element, at);
    if (name == "<agents>") return pronoun(element, at) || names(element, at);
    if (name == "<agent>") return pronoun(element, at) || one_name(element, at);
    const Word& word = word_at(at);
    if (name == "<n>") {
      captures_.count = number_of(word);
      return captures_.count && from(element + 1, at + 1);
    }
    if (name == "<class>") {
      const bool is_class = word.lower.size() == 1 && word.lower[0] >= 'a' && word.lower[0] <= 'f';
      if (!is_class) return false;
      captures_.agent_class = std::string(1, static_cast<char>(word.lower[0] - 'a' + 'A'));
      return from(element + 1, at + 1);
    }
    if (name != "<word>" || !is_name(word)) return false;
    captures_.word = word.text;
    return from(element + 1, at + 1);
  }

  // The longest that leaves the rest of the pattern its own words.
  bool text(std::size_t element, std::size_t at) {
    for (std::size_t end = past_; end > at; --end) {
      captures_.text = sentence_.part(at, end);
      if (!captures_.text.empty() && from(element + 1, end)) return true;
    }
    return false;
  }

  bool scope(std::size_t element, std::size_t at) {
    const auto goes_on = [&](std::size_t words, std::optional<Scope> found) {
      captures_.scope = found;
      captures_.is_there = !found;
      return from(element + 1, at + words);
    };
    const std::size_t lead = word_at(at).lower == "the" ? 1 : 0;
    if (lead == past_ - at) return false;
    const std::string& lower = word_at(at + lead).lower;
    if (lower == "there" || lower == "here") return goes_on(lead + 1, std::nullopt);
    if (lower == "mesh" || lower == "everything" || lower == "everywhere")
      return goes_on(lead + 1, Scope{});
    if (at + lead + 1 >= past_ || (lower != "sector" && lower != "cluster")) return false;
    const auto number = number_of(word_at(at + lead + 1));
    const ScopeKind kind = lower == "sector" ? ScopeKind::sector : ScopeKind::cluster;
    return number && goes_on(lead + 2, Scope{kind, *number});
  }

  bool pronoun(std::size_t element, std::size_t at) {
    const auto goes_on = [&](std::size_t words, Pronoun meant) {
      captures_.agents.clear();
      captures_.pronoun = meant;
      if (from(element + 1, at + words)) return true;
      captures_.pronoun = Pronoun::none;
      return false;
    };
    constexpr std::array<std::string_view, 5> kHolders = {
        "the holders", "the holder", "who holds them back", "the blockers", "the blocker"};
    constexpr std::array<std::string_view, 6> kAllOfThem = {"all of them",  "those agents",
                                                            "these agents", "the agents",
                                                            "both of them", "the stuck ones"};
    for (const std::string_view phrase : kHolders) {
      const Words words = split(phrase, ' ');
      if (says_all(words, at) && goes_on(words.size(), Pronoun::holders)) return true;
    }
    for (const std::string_view phrase : kAllOfThem) {
      const Words words = split(phrase, ' ');
      if (says_all(words, at) && goes_on(words.size(), Pronoun::them)) return true;
    }
    const std::string& lower = word_at(at).lower;
    if (is_one_of(lower, kThem) && goes_on(1, Pronoun::them)) return true;
    return is_one_of(lower, kIt) && goes_on(1, Pronoun::it);
  }

  bool one_name(std::size_t element, std::size_t at) {
    if (word_at(at).lower == "agent" && at + 1 != past_ && is_name(word_at(at + 1))) ++at;
    if (!is_name(word_at(at))) return false;
    captures_.agents = {word_at(at).text};
    if (from(element + 1, at + 1)) return true;
    captures_.agents.clear();
    return false;
  }

  // As many names as there are, then fewer.
  bool names(std::size_t element, std::size_t at) {
    const std::string& lower = word_at(at).lower;
    if ((lower == "agent" || lower == "agents") && at + 1 != past_) ++at;
    std::vector<std::string> all;
    std::vector<std::size_t> ends;
    for (std::size_t next = at; next != past_ && is_name(word_at(next));) {
      all.push_back(word_at(next).text);
      ends.push_back(++next);
      const std::size_t before = next;
      while (next != past_ && (word_at(next).lower == "," || word_at(next).lower == "and")) ++next;
      if (next == before) break;
    }
    for (; !all.empty(); all.pop_back(), ends.pop_back()) {
      captures_.agents = all;
      if (from(element + 1, ends.back())) return true;
    }
    captures_.agents.clear();
    return false;
  }

  Words elements_;
  const Sentence& sentence_;
  std::size_t past_;
  Captures captures_;
};

}  // namespace

std::optional<Captures> fits(std::string_view pattern, const Sentence& sentence, std::size_t first,
                             std::size_t past) {
  Match match(pattern, sentence, past);
  if (first >= past || !match.from(0, first)) return std::nullopt;
  return match.take();
}

std::vector<std::string_view> literals_of(std::string_view pattern) {
  std::vector<std::string_view> literals;
  for (std::string_view element : split(pattern, ' ')) {
    if (element.starts_with('[')) element = element.substr(1, element.size() - 2);
    if (element.starts_with('<')) continue;
    for (const std::string_view word : split(element, '|')) literals.push_back(word);
  }
  return literals;
}

}  // namespace mesh::console
