// Pattern: what a sentence has to look like, and what it says where it does.
//
//   word            that word              a|b             one of these
//   [a|b]           one of them, or none
//   <n>             a number, in digits, "+" before them or not, or, to twelve, in letters
//   <scope>         "sector 7", "cluster 70", "the mesh", "there"
//   <agents>        names with commas and "and" between them, or whom was spoken of: "them"
//   <agent>         one of them
//   <word>          any one word             <class>         A to F
//   <text>          one word or more, as typed
//
// Callers     one thread; pure.
// Cost        bounded by the words of the sentence and, where a text can end in several places, by
//             their square.
// Errors      none: it fits or it does not. A pattern that makes no sense fits nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/console/act.hpp"
#include "engine/console/sentence.hpp"

namespace mesh::console {

// Who is meant by a word that is no name.
enum class Pronoun : std::uint8_t {
  none,
  them,     // those that were spoken of
  it,       // the one that was
  holders,  // who holds them back
};

struct Captures {
  std::vector<std::string> agents;
  Pronoun pronoun = Pronoun::none;
  std::optional<Scope> scope;
  bool is_there = false;  // the scope that was spoken of
  std::optional<std::uint32_t> count;
  std::string text;
  std::string word;
  std::string agent_class;
};

// Of the sentence's words [first, past), all of them.
[[nodiscard]] std::optional<Captures> fits(std::string_view pattern, const Sentence& sentence,
                                           std::size_t first, std::size_t past);

// The words of which a pattern is made, its slots left out.
[[nodiscard]] std::vector<std::string_view> literals_of(std::string_view pattern);

}  // namespace mesh::console
