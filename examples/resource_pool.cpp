// A pool of GPU slots in a program of its own: a lease, a second who waits, and a third whose
// priority takes the slots over after a warning.
#include "engine/coordination/resource_pool.hpp"

#include <cstdio>

int main() {
  using namespace mesh;
  using namespace mesh::coordination;
  ResourcePoolManager pools(ResourcePoolConfig::preset("small-host").value());
  const auto at = [](int second) { return Nanos{second * kNsPerSecond}; };
  auto gpus = compute_pool("gpu-cluster", 8);
  gpus.rules.agent_max_ppm = 1'000'000;
  const std::uint32_t gpu = pools.apply(gpus, at(0)).resource;

  pool::Allocate work;
  work.agent = 1;
  work.resource = gpu;
  work.quantity = 6;
  work.priority = 2;
  work.purpose = "inference";
  const auto first = pools.apply(work, at(0));
  work.agent = 2;
  work.wait = at(30);
  const auto second = pools.apply(work, at(1));
  work.agent = 3;
  work.priority = 9;
  pools.apply(work, at(2));  // the first is warned: a second to finish
  ResourcePoolActions actions;
  pools.tick(at(3), actions);
  const auto late = pools.apply(pool::Validate{gpu, first.fence}, at(4));
  std::printf("granted %llu, second %s; agent 3 has %llu, the old fence %s, %u waits\n",
              static_cast<unsigned long long>(first.granted), to_string(second.refusal).data(),
              static_cast<unsigned long long>(pools.held(3, gpu)), name_of(late.code).data(),
              pools.view(gpu).waiting);
  return pools.verify() ? 0 : 1;
}
