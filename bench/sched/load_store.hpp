// load_store(): reads the columns that a plan reads and writes the columns that it writes, and
// computes nothing. The floor below which no plan can go: vectors as wide as the plan's, the same
// bytes in and out.
#pragma once

#include "sched/lead_time_columns.hpp"

namespace mesh::bench {

void load_store(const sched::ImpedanceColumns& in, const sched::PlanColumns& out) noexcept;

// Runs the named Highway target ("AVX2") from here on in this process; false when this CPU or
// binary lacks it.
bool choose_target(const char* name);

}  // namespace mesh::bench
