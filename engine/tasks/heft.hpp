// HEFT: a whole graph of tasks with known costs onto unlike processors: the task with the longest
// way to the end first, each to where it ends earliest, gaps included.
//
// Units       costs are whole units; ranks are times the number of processors, so that all is
//             integer and a tie is a tie on every machine. Ties: the lower task, the lower
//             processor; a task that costs nothing never comes before what it waits for.
// Guarantees  never worse than serial: where one processor alone is faster, it has all. Up to eight
//             tasks, where the heuristic can be half as long again as it need be, branch and bound
//             goes on from its plan; on such a graph it ends with the shortest there is, unless its
//             50,000 steps are over before.
// Errors      invalid_argument: no processor, a row of costs that is not as long as there are
//             processors, an edge to no task, a cost that is too large, or all of them together;
//             cycle.
// Source      Topcuoglu, Hariri & Wu 2002.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "shm/base/result.hpp"

namespace mesh::tasks {

struct HeftEdge {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint64_t transfer = 0;  // what it costs where the two are on different processors
};
struct HeftPlan {
  std::vector<std::uint64_t> ranks;  // times processors
  std::vector<std::uint32_t> order;
  std::vector<std::uint32_t> processors;  // of each task
  std::vector<std::uint64_t> starts;
  std::vector<std::uint64_t> ends;
  std::uint64_t makespan = 0;
};

// costs: of each task a row of what it takes on each processor.
Result<HeftPlan> plan_heft(std::span<const std::vector<std::uint64_t>> costs,
                           std::span<const HeftEdge> edges);

}  // namespace mesh::tasks
