// Two producers and a queue that is drained too slowly: the background one is turned away first,
// the critical one gets through, and the queue never passes its limit.
#include "engine/coordination/backpressure_controller.hpp"

#include <array>
#include <cstdint>
#include <cstdio>

int main() {
  using namespace mesh;
  using namespace mesh::coordination;
  BackpressureController pressure(BackpressureConfig{});
  std::uint64_t deepest = 0;
  std::array<int, 4> accepted{};
  for (std::int64_t ms = 0; ms < 2'000; ++ms) {
    const Nanos now{ms * kNsPerMs};
    for (const std::uint32_t priority : {0U, 3U}) {
      if (pressure.should_accept(priority, now).refusal != Refusal::none) continue;
      ++accepted[priority];
      pressure.on_enqueue(1, now);
    }
    if (pressure.depth() > deepest) deepest = pressure.depth();
    if (ms % 10 < 9) pressure.on_dequeue(1, now);  // 900 a second; 2,000 are offered
  }
  std::printf("accepted %d background and %d critical messages, at most %llu waiting\n",
              accepted[0], accepted[3], static_cast<unsigned long long>(deepest));
  const bool served = accepted[3] > 1'800 && accepted[0] < 200 && deepest <= 200;
  std::printf("%s\n", served ? "critical first" : "unexpected");
  return served && pressure.verify() ? 0 : 1;
}
