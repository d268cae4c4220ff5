// Two agents want the same two resources in opposite orders: a group cannot deadlock. A third waits
// for one of them, and is answered by the release.
#include "engine/tasks/resource_manager.hpp"

#include <cstdio>

int main() {
  using namespace mesh;
  using namespace mesh::tasks;
  ResourceManager manager(ResourceManagerConfig::preset("standard").value());
  const auto ms = [](std::int64_t count) { return Nanos{count * kNsPerMs}; };
  const auto first = manager.apply(resource::AcquireAll{1, {"gpu", "disk"}}, ms(0));
  const auto second = manager.apply(resource::AcquireAll{2, {"disk", "gpu"}}, ms(1));
  resource::Acquire urgent;
  urgent.agent = 3;
  urgent.resource = "disk";
  urgent.priority = 50;
  manager.apply(urgent, ms(2));
  const auto freed = manager.apply(resource::ReleaseAll{1}, ms(10));
  const auto rest = manager.apply(resource::ReleaseAll{3}, ms(20));
  std::printf("fence %d, the second %s; then agent %d, then agent %d with both: %d\n",
              static_cast<int>(first.fence), std::string(to_string(second.refusal)).c_str(),
              static_cast<int>(freed.news.at(0).agent), static_cast<int>(rest.news.at(0).agent),
              manager.holds(2, "gpu") && manager.holds(2, "disk") ? 1 : 0);
  return manager.verify() ? 0 : 1;
}
