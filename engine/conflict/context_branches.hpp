// Merging two branches of a context at their convergence point, against their common ancestor.
//
// A context is entries by name. An entry that one branch alone changed (added, removed) is as that
// branch has it; one that both changed alike is as they have it; one that they changed differently
// cannot be merged without judgement: it is named, nothing is merged, and both branches stay.
//
// Callers     anyone; a pure function.
// Source      three-way merge: Khanna, Kunal, Pierce, "A Formal Investigation of Diff3", 2007.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace mesh::engine {

using ContextEntries = std::map<std::string, std::string>;

struct ContextBranches {
  ContextEntries ancestor;
  ContextEntries ours;
  ContextEntries theirs;
};
struct MergedContext {
  ContextEntries merged;                  // of no meaning while `contradicted` names any
  std::vector<std::string> contradicted;  // entries, sorted
  [[nodiscard]] bool is_whole() const noexcept { return contradicted.empty(); }
  friend bool operator==(const MergedContext&, const MergedContext&) = default;
};
[[nodiscard]] MergedContext merge(const ContextBranches& branches);

}  // namespace mesh::engine
