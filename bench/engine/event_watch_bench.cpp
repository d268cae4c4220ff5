// EventWatch: what its look costs the engine's thread once a second, over a mesh of 30,000 agents:
// 100 coordinators, 1,000 clusters, 1,101 breakers.
//
//     engine_event_watch_bench
//
//   nothing changed   the usual one
//   a sector changed  its breaker and its clusters' were opened, or closed, since the last look
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/loop/state.hpp"

namespace mesh::bench {
namespace {

using engine::EngineLoop;

constexpr engine::MeshSize kSize{.agents = 30'000, .stations = 1, .agents_per_station = 1};
constexpr double kBudgetUs[] = {20, 25};

struct NoWakes : engine::Wakes {
  void wake(StationId) noexcept override {}
};

struct Free {
  void operator()(std::byte* bytes) const { std::free(bytes); }
};
class Memory {
 public:
  explicit Memory(const shm::Layout& layout)
      : size_(layout.total_bytes()),
        bytes_(static_cast<std::byte*>(std::aligned_alloc(4'096, size_))) {
    MESH_ASSERT(bytes_ != nullptr);
    std::fill_n(bytes_.get(), size_, std::byte{0});
  }
  [[nodiscard]] std::span<std::byte> bytes() const { return {bytes_.get(), size_}; }

 private:
  std::size_t size_;
  std::unique_ptr<std::byte, Free> bytes_;
};

template <class Look>
void print(const char* what, double budget_us, Look&& look) {
  const coordination::bench::Spread spread = coordination::bench::measure(look);
  std::printf("EventWatch/look, %-18s budget %5.0f us  p50 %6.2f us  p99 %6.2f us\n", what,
              budget_us, spread.p50_ns / 1e3, spread.p99_ns / 1e3);
}

void run() {
  const Memory table(engine::table_layout(kSize).value());
  const Memory payload(engine::payload_layout(kSize).value());
  const Memory own(engine::engine_layout(kSize).value());
  NoWakes wakes;
  const auto loop = EngineLoop::create({kSize, table.bytes(), payload.bytes(), own.bytes()}, {},
                                       {.wakes = &wakes})
                        .value();
  HostTime now = from_ns(1'000 * kNsPerSecond);
  for (int i = 0; i < 2'000; ++i) loop->tick(now += Nanos{kNsPerMs});  // every cluster was seen
  EngineLoop::State& state = loop->state();
  engine::EventWatch& watch = *state.accounts.events;
  print("nothing changed", kBudgetUs[0], [&](std::uint64_t) {
    watch.look(state);
    return state.now_ns;
  });
  engine::health::MeshBreakers& breakers = state.gate.watch->breakers();
  const auto places = breakers.tree().places_of(0);
  print("a sector changed", kBudgetUs[1], [&](std::uint64_t i) {
    const bool opens = i % 2 == 0;
    const auto change = [&](std::size_t place) {
      return opens ? breakers.hold_open(place, now) : breakers.reset(place, now);
    };
    change(places.of[1]);
    for (std::size_t cluster = 0; cluster < engine::kClustersPerSector; ++cluster)
      change(places.of[2] + cluster);
    watch.look(state);
    return state.now_ns;
  });
}

}  // namespace
}  // namespace mesh::bench

int main() { mesh::bench::run(); }
