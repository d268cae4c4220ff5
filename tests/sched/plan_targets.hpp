// on_every_target(): a test of the plan pass, on each Highway target that this CPU has.
#pragma once

#include <cstdint>
#include <vector>

#include <hwy/highway.h>

#include "sched/lead_time_columns.hpp"

namespace mesh::sched::testing {

inline std::vector<std::int64_t> targets() {
#ifdef HWY_COMPILE_ONLY_STATIC
  return {HWY_STATIC_TARGET};
#else
  hwy::SetSupportedTargetsForTest(0);
  return hwy::SupportedAndGeneratedTargets();
#endif
}
inline void choose([[maybe_unused]] std::int64_t target) {
#ifndef HWY_COMPILE_ONLY_STATIC
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
#endif
}
// Runs `body` on every target that this CPU has, and proves which one ran.
template <class Body>
void on_every_target(const Body& body) {
  for (const std::int64_t target : targets()) {
    choose(target);
    ASSERT_STREQ(chosen_target(), hwy::TargetName(target));
    SCOPED_TRACE(chosen_target());
    body();
  }
  choose(0);
}

}  // namespace mesh::sched::testing
