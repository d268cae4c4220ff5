#include "engine/console/answer_groups.hpp"

#include <algorithm>

namespace mesh::console {

void AnswerGroups::add(AnswerKind kind, std::string_view agent, std::string_view answer) {
  ++counts_[static_cast<std::size_t>(kind)];
  if (answer.ends_with('\n')) answer.remove_suffix(1);
  if (kind == AnswerKind::ready) add_to(ready_, agent, answer);
  if (kind == AnswerKind::conflict) add_to(conflicts_, agent, answer);
}

void AnswerGroups::add_to(Groups& groups, std::string_view agent, std::string_view answer) {
  AnswerGroup& group = groups[std::string(answer)];
  if (group.count == 0) group.answer = answer;
  ++group.count;
  if (group.agents.size() < kNamedMax) group.agents.emplace_back(agent);
}

std::vector<AnswerGroup> AnswerGroups::sorted(const Groups& groups) {
  std::vector<AnswerGroup> list;
  list.reserve(groups.size());
  for (const auto& [answer, group] : groups) list.push_back(group);
  std::stable_sort(list.begin(), list.end(),
                   [](const AnswerGroup& a, const AnswerGroup& b) { return a.count > b.count; });
  return list;
}

}  // namespace mesh::console
