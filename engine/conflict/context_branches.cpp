#include "engine/conflict/context_branches.hpp"

#include <optional>
#include <set>

namespace mesh::engine {
namespace {

std::optional<std::string> entry(const ContextEntries& entries, const std::string& name) {
  const auto found = entries.find(name);
  if (found == entries.end()) return {};
  return found->second;
}

}  // namespace

MergedContext merge(const ContextBranches& branches) {
  std::set<std::string> names;
  for (const ContextEntries* entries : {&branches.ancestor, &branches.ours, &branches.theirs}) {
    for (const auto& [name, value] : *entries) names.insert(name);
  }
  MergedContext result;
  for (const std::string& name : names) {
    const auto before = entry(branches.ancestor, name);
    const auto ours = entry(branches.ours, name);
    const auto theirs = entry(branches.theirs, name);
    if (ours != theirs && ours != before && theirs != before) {
      result.contradicted.push_back(name);
      continue;
    }
    const auto& taken = ours == before ? theirs : ours;
    if (taken) result.merged.emplace(name, *taken);
  }
  return result;
}

}  // namespace mesh::engine
