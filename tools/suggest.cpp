#include "tools/suggest.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace mesh::tools {
namespace {

constexpr std::size_t kTypedBytesMax = 64;  // the distance costs the product of both lengths

// Optimal string alignment: Levenshtein's distance with swapped neighbours counted as one.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> two_above(b.size() + 1);
  std::vector<std::size_t> above(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({changed, above[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], two_above[j - 2] + 1);
      }
    }
    std::swap(two_above, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

}  // namespace

std::string_view nearest(std::string_view typed, std::span<const std::string_view> words) {
  typed = typed.substr(0, kTypedBytesMax);
  std::string_view best;
  std::size_t best_distance = 0;
  for (const std::string_view word : words) {
    const std::size_t letters = distance(typed, word);
    const std::size_t letters_max = std::max<std::size_t>(2, word.size() / 3);
    // Every letter changed is no typing error, however short the word.
    if (letters > letters_max || letters >= word.size()) continue;
    if (best.empty() || letters < best_distance) {
      best = word;
      best_distance = letters;
    }
  }
  return best;
}

}  // namespace mesh::tools
