// AnswerGroups: what many agents answered to one question, the same answers counted together.
//
// Callers     one thread; pure.
// Units       answers are texts as they came, less one line end; the same bytes are one answer.
// Invariant   the counts of all kinds sum up to the add() calls; the counts of groups() sum up
//             to ready, those of conflicts() to conflicts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mesh::console {

// refused: by the mesh, it was never asked.
enum class AnswerKind : std::uint8_t { ready, conflict, declined, unanswered, refused };

struct AnswerGroup {
  std::string answer;
  std::uint32_t count = 0;
  std::vector<std::string> agents;  // the first kNamedMax of them, in the order of their answers
};
inline constexpr std::size_t kNamedMax = 5;

class AnswerGroups {
 public:
  void add(AnswerKind kind, std::string_view agent, std::string_view answer);

  [[nodiscard]] std::uint32_t count(AnswerKind kind) const noexcept {
    return counts_[static_cast<std::size_t>(kind)];
  }
  // Most often first, then by their bytes.
  [[nodiscard]] std::vector<AnswerGroup> groups() const { return sorted(ready_); }
  [[nodiscard]] std::vector<AnswerGroup> conflicts() const { return sorted(conflicts_); }

 private:
  using Groups = std::map<std::string, AnswerGroup, std::less<>>;
  static void add_to(Groups& groups, std::string_view agent, std::string_view answer);
  static std::vector<AnswerGroup> sorted(const Groups& groups);

  std::uint32_t counts_[5] = {};
  Groups ready_, conflicts_;
};

}  // namespace mesh::console
