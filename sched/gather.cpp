#include "sched/gather.hpp"

#include <utility>

namespace mesh::sched {
namespace {

Status check_span(const char* name, Nanos span) {
  if (span >= Nanos{0} && span <= kGatherSpanMax) return {};
  return fail(Errc::invalid_argument,
              std::string("gather: ") + name + " of " + std::to_string(span.count()) +
                  " ns, it must be 0 to " + std::to_string(kGatherSpanMax.count()),
              span.count());
}
Status check_minimum(const char* name, Share share) {
  if (share.ppm <= kShareOne) return {};
  return fail(Errc::invalid_argument,
              std::string("gather: ") + name + " of " + std::to_string(share.ppm) +
                  " millionths is above 1",
              share.ppm);
}

}  // namespace

Status validate(const GatherOptions& options) {
  const std::pair<const char*, Nanos> spans[] = {{"started", options.started.time_since_epoch()},
                                                 {"target", options.target.time_since_epoch()},
                                                 {"window", options.window},
                                                 {"timeout", options.timeout},
                                                 {"tolerance", options.tolerance}};
  for (const auto& [name, span] : spans) MESH_CHECK_OK(check_span(name, span));
  MESH_CHECK_OK(check_minimum("ready_min", options.minima.ready_min));
  return check_minimum("coverage_min", options.minima.coverage_min);
}

template class Gather<HostMemory>;

}  // namespace mesh::sched
