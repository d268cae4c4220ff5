// ResourceManager: a resource taken and given back, nobody waiting, beside a map behind a mutex.
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/tasks/resource_manager.hpp"

namespace {

using namespace mesh;
using namespace mesh::tasks;

struct PlainManager {
  bool take(const std::string& name, std::uint32_t agent) {
    const std::lock_guard guard(mutex);
    return holders.emplace(name, agent).second;
  }
  bool give(const std::string& name) {
    const std::lock_guard guard(mutex);
    return holders.erase(name) == 1;
  }
  std::mutex mutex;
  std::map<std::string, std::uint32_t> holders;
};

}  // namespace

int main() {
  coordination::bench::print_head();
  ResourceManager manager(ResourceManagerConfig::preset("standard").value());
  PlainManager plain;
  const std::string name = "shared-db";
  resource::Acquire wanted;
  wanted.agent = 1;
  wanted.resource = name;
  const auto ours = coordination::bench::measure([&](std::uint64_t i) {
    const Nanos now{static_cast<std::int64_t>(i)};
    if (manager.apply(wanted, now).fence == 0) std::abort();  // it would be timed as work
    return manager.apply(resource::Release{1, name}, now).code;
  });
  const auto theirs = coordination::bench::measure(
      [&](std::uint64_t) { return plain.take(name, 1) && plain.give(name); });
  coordination::bench::print_row("ResourceManager/acquire+release", 50'000, ours, theirs);
  return 0;
}
