#include "engine/console/grammar.hpp"

#include <algorithm>
#include <array>

#include "engine/console/conversation.hpp"
#include "engine/console/pattern.hpp"
#include "engine/console/phrases.hpp"

namespace mesh::console {
namespace {

using Kind = Understanding::Kind;

constexpr std::size_t kNearest = 3;

Understanding unclear(std::string why) { return {.kind = Kind::unclear, .why = std::move(why)}; }

// Whom a pronoun means; empty: nobody, and `why` says so.
std::vector<std::string> meant_by(Pronoun pronoun, const Memory& memory, std::string& why) {
  if (pronoun == Pronoun::holders) {
    if (memory.holders.empty())
      why = "nobody was spoken of that holds others back: name the agents";
    return memory.holders;
  }
  if (memory.agents.empty()) {
    why = "who is meant? No agent was spoken of yet: name one, or ask who is stuck";
    return {};
  }
  if (pronoun == Pronoun::it && memory.agents.size() != 1) {
    why = "which one is meant? " + std::to_string(memory.agents.size()) +
          " agents were spoken of: name one, or say \"them\"";
    return {};
  }
  return memory.agents;
}

// What fits for one agent is done for each of several.
std::vector<Act> for_each_agent(const Act& act) {
  const bool is_of_one =
      act.kind == ActKind::send || act.kind == ActKind::inspect || act.kind == ActKind::context;
  if (act.agents.size() < 2 || !is_of_one) return {act};
  std::vector<Act> acts;
  for (const std::string& agent : act.agents) {
    acts.push_back(act);
    acts.back().agents = {agent};
  }
  return acts;
}

// What it would have to say more, or less; empty: nothing.
std::string lacks(const Act& act) {
  if (is_of_incident(act.kind) && act.scope.kind != ScopeKind::sector)
    return "an incident is a sector's: which one?";
  if (act.kind == ActKind::ask_cluster && act.scope.kind != ScopeKind::cluster)
    return "a quorum is a cluster's: which one?";
  if (is_of_rules(act.kind) && act.agents.size() > 1)
    return "a rule is about a class or one agent: which one?";
  if (act.kind == ActKind::delegate && act.agents.size() > 1)
    return "a task is delegated to one agent: name it, or \"the best\"";
  if (act.kind == ActKind::scale && act.count.value_or(0) == 0)
    return "the mesh is scaled by one agent or more: by how many?";
  return {};
}

Understanding made_of(const Phrase& phrase, Captures captures, const Memory& memory) {
  if (phrase.says != Kind::acts) return {.kind = phrase.says};
  Act act{.kind = phrase.act,
          .agents = std::move(captures.agents),
          .text = std::move(captures.text),
          .agent_class = std::move(captures.agent_class),
          .capability = std::move(captures.word),
          .count = captures.count};
  if (captures.pronoun != Pronoun::none) {
    std::string why;
    act.agents = meant_by(captures.pronoun, memory, why);
    if (!why.empty()) return unclear(std::move(why));
  }
  if (captures.is_there && !memory.scope)
    return unclear("where is that? No sector or cluster was spoken of yet");
  if (captures.is_there) captures.scope = memory.scope;
  // How a sector's health is, is told by a look at it.
  if (act.kind == ActKind::health && captures.scope && captures.scope->kind != ScopeKind::mesh)
    act.kind = ActKind::look;
  if (captures.scope && has_place(act.kind)) act.scope = *captures.scope;
  // Of the whole mesh a sample is asked.
  if (act.kind == ActKind::ask_cluster && act.scope.kind == ScopeKind::mesh)
    act.kind = ActKind::ask;
  if (std::string why = lacks(act); !why.empty()) return unclear(std::move(why));
  return {.kind = Kind::acts, .acts = for_each_agent(act)};
}

std::optional<Understanding> one_of(const Sentence& sentence, std::size_t first, std::size_t past,
                                    const Memory& memory) {
  for (const Phrase& phrase : phrases()) {
    auto captures = fits(phrase.pattern, sentence, first, past);
    if (captures) return made_of(phrase, std::move(*captures), memory);
  }
  return std::nullopt;
}

struct Range {
  std::size_t first = 0;
  std::size_t past = 0;
};

bool joins(const Word& word) {
  constexpr std::array<std::string_view, 3> kJoins = {"and", "then", ","};
  return is_one_of(word.lower, kJoins);
}

std::optional<Understanding> all_of(const Sentence& sentence, std::size_t first, std::size_t past,
                                    const Memory& memory);

// What is said before and behind the joint at `join`. What the first speaks of the second may mean.
std::optional<Understanding> both_of(const Sentence& sentence, const Range& range, std::size_t join,
                                     const Memory& memory) {
  std::size_t second = join;
  while (second < range.past && joins(sentence.words()[second])) ++second;
  auto left = one_of(sentence, range.first, join, memory);
  if (!left || left->kind == Kind::unclear) return left;
  if (left->kind != Kind::acts) return std::nullopt;
  Memory then = memory;
  speak_of(then, left->acts);
  auto right = all_of(sentence, second, range.past, then);
  if (!right || right->kind == Kind::unclear) return right;
  if (right->kind != Kind::acts) return std::nullopt;
  left->acts.insert(left->acts.end(), right->acts.begin(), right->acts.end());
  return left;
}

// One thing, or several joined by "and".
std::optional<Understanding> all_of(const Sentence& sentence, std::size_t first, std::size_t past,
                                    const Memory& memory) {
  if (auto one = one_of(sentence, first, past, memory)) return one;
  for (std::size_t join = first + 1; join + 1 < past; ++join) {
    if (!joins(sentence.words()[join])) continue;
    if (auto both = both_of(sentence, {first, past}, join, memory)) return both;
  }
  return std::nullopt;
}

// What is said for politeness says nothing.
Range without_politeness(const Sentence& sentence) {
  constexpr std::array<std::string_view, 14> kBefore = {"please", "ok",   "okay",  "well", "so",
                                                        "now",    "then", "and",   "hey",  "mesh",
                                                        ",",      "hi",   "hello", "just"};
  constexpr std::array<std::string_view, 6> kBehind = {"please", "now", "thanks",
                                                       ",",      "too", "then"};
  constexpr std::array<std::string_view, 5> kModal = {"can", "could", "would", "will", "shall"};
  const std::vector<Word>& words = sentence.words();
  Range range{0, words.size()};
  const auto left = [&] { return range.past - range.first; };
  while (left() > 1) {
    const std::string& word = words[range.first].lower;
    const std::string& next = words[range.first + 1].lower;
    if (is_one_of(word, kBefore)) {
      ++range.first;
    } else if (left() > 2 && is_one_of(word, kModal) && (next == "you" || next == "we")) {
      range.first += 2;
    } else if (left() > 2 && word == "let" && next == "us") {
      range.first += 2;
    } else {
      break;
    }
  }
  while (left() > 1 && is_one_of(words[range.past - 1].lower, kBehind)) --range.past;
  return range;
}

// Letters that differ; as many as the longer has where the lengths differ by more than one.
std::size_t distance(std::string_view a, std::string_view b) {
  if (a.size() > b.size()) std::swap(a, b);
  if (b.size() - a.size() > 1) return b.size();
  std::size_t at = 0;
  while (at < a.size() && a[at] == b[at]) ++at;
  if (a.size() != b.size()) return a.substr(at) == b.substr(at + 1) ? 1 : b.size();
  if (at == a.size()) return 0;
  if (a.substr(at + 1) == b.substr(at + 1)) return 1;
  const bool swapped = at + 1 < a.size() && a[at] == b[at + 1] && a[at + 1] == b[at] &&
                       a.substr(at + 2) == b.substr(at + 2);
  return swapped ? 1 : b.size();
}

unsigned likeness(const Sentence& sentence, std::string_view pattern) {
  constexpr std::array<std::string_view, 16> kEverywhere = {
      "the", "is",  "are", "what", "who", "me", "to",   "a",
      "an",  "for", "on",  "in",   "do",  "of", "that", "with"};
  const std::vector<std::string_view> literals = literals_of(pattern);
  unsigned sum = 0;
  for (const Word& word : sentence.words()) {
    if (word.lower.size() < 3 || is_one_of(word.lower, kEverywhere)) continue;
    unsigned best = 0;
    for (const std::string_view literal : literals) {
      const std::size_t letters = distance(word.lower, literal);
      if (letters == 0) best = 3;
      if (letters == 1 && literal.size() > 3) best = std::max(best, 2U);
    }
    sum += best;
  }
  return sum;
}

std::vector<std::string> nearest_to(const Sentence& sentence) {
  std::vector<unsigned> likeness_of(examples().size());
  for (const Phrase& phrase : phrases()) {
    unsigned& best = likeness_of[phrase.example];
    best = std::max(best, likeness(sentence, phrase.pattern));
  }
  std::vector<std::size_t> order(examples().size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return likeness_of[a] > likeness_of[b]; });
  std::vector<std::string> nearest;
  for (const std::size_t at : order) {
    if (nearest.size() == kNearest || likeness_of[at] == 0) break;
    nearest.emplace_back(examples()[at].sentence);
  }
  if (nearest.empty()) nearest = {"what's happening in sector 7?", "who is stuck?", "help"};
  return nearest;
}

}  // namespace

Understanding understand(std::string_view typed, const Memory& memory) {
  const auto sentence = Sentence::of(typed);
  if (!sentence) return unclear(sentence.error().sentence);
  const std::size_t words = sentence->words().size();
  if (auto whole = one_of(*sentence, 0, words, memory)) return std::move(*whole);
  const Range polite = without_politeness(*sentence);
  if (auto found = all_of(*sentence, polite.first, polite.past, memory)) return std::move(*found);
  Understanding nothing = unclear("that is nothing I understand");
  nothing.nearest = nearest_to(*sentence);
  return nothing;
}

}  // namespace mesh::console
