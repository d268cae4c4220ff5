#include "shm/base/point.hpp"

#include <atomic>
#include <string_view>

namespace mesh::points {
namespace {

struct Armed {
  const char* name = nullptr;
  unsigned at_count = 0;
  Act act = nullptr;
  void* context = nullptr;
};
Armed armed;
std::atomic<unsigned> reached_count{0};

}  // namespace

void arm(const char* name, unsigned at_count, Act act, void* context) noexcept {
  armed = Armed{name, at_count, act, context};
  // relaxed: points are armed before the threads start.
  reached_count.store(0, std::memory_order_relaxed);
}

void reached(const char* name) noexcept {
  if (armed.act == nullptr || std::string_view(name) != armed.name) return;
  // relaxed: the count orders nothing, each caller only needs its own number.
  const unsigned count = reached_count.fetch_add(1, std::memory_order_relaxed) + 1;
  if (count == armed.at_count) armed.act(armed.context);
}

}  // namespace mesh::points
