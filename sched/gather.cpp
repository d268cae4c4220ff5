#include "sched/gather.hpp"

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
  MESH_CHECK_OK(check_span("started", options.started.time_since_epoch()));
  MESH_CHECK_OK(check_span("target", options.target.time_since_epoch()));
  MESH_CHECK_OK(check_span("window", options.window));
  MESH_CHECK_OK(check_span("timeout", options.timeout));
  MESH_CHECK_OK(check_span("tolerance", options.tolerance));
  MESH_CHECK_OK(check_minimum("ready_min", options.minima.ready_min));
  return check_minimum("coverage_min", options.minima.coverage_min);
}

template class Gather<HostMemory>;

}  // namespace mesh::sched
