#include "engine/loop/event_watch.hpp"

#include <utility>

#include "engine/loop/state.hpp"

namespace mesh::engine {

Result<EventWatch> EventWatch::create(const LoopMemory& memory) {
  MESH_TRY(const shm::Layout table, table_layout(memory.size));
  MESH_TRY(const EventRing ring, EventRing::over(table, memory.table));
  MESH_TRY(const EventRingView view, EventRingView::over(table, memory.table));
  const std::size_t sectors = sectors_of(memory.size);
  const std::size_t clusters = sectors * memory.size.clusters_per_sector;
  Seen seen;
  seen.coordinators.resize(sectors);
  seen.led.resize(sectors);
  seen.active.resize(clusters);
  seen.breakers.resize(1 + sectors + clusters);
  return EventWatch(ring, view, std::move(seen));
}

void EventWatch::look(const EngineLoop::State& loop) noexcept {
  look_at_coordinators(loop);
  look_at_breakers(loop);
  seen_.has_begun = true;
  if (loop.gate.watch->is_whole()) look_at_clusters(loop);
}

// A sector's first coordinator is no event.
void EventWatch::look_at_coordinators(const EngineLoop::State& loop) noexcept {
  for (std::uint32_t sector = 0; sector < seen_.coordinators.size(); ++sector) {
    const AgentIndex row = loop.topology->coordinator(sector);
    const AgentId now = row == kNoAgent ? AgentId{} : loop.registry->id_of(row);
    if (std::exchange(seen_.coordinators[sector], now) == now) continue;
    const AgentId was = seen_.led[sector];
    if (now != AgentId{}) seen_.led[sector] = now;
    if (was == AgentId{} || was == now) continue;
    ring_.note({.at = from_ns(loop.now_ns),
                .kind = EventKind::coordinator,
                .place = sector,
                .agent = now,
                .other = was});
  }
}

void EventWatch::look_at_clusters(const EngineLoop::State& loop) noexcept {
  const health::MeshWatch& watch = *loop.gate.watch;
  for (std::uint32_t cluster = 0; cluster < seen_.active.size(); ++cluster) {
    const std::uint32_t now = watch.summaries().cluster(cluster).active;
    const std::uint32_t was = std::exchange(seen_.active[cluster], now);
    if (now == was || !seen_.is_known) continue;
    ring_.note({.at = from_ns(loop.now_ns),
                .kind = EventKind::active,
                .place = cluster,
                .before = was,
                .after = now});
  }
  const auto mode = static_cast<std::uint32_t>(watch.mode());
  const std::uint32_t mode_was = std::exchange(seen_.mode, mode);
  if (mode != mode_was && seen_.is_known)
    ring_.note(
        {.at = from_ns(loop.now_ns), .kind = EventKind::mode, .before = mode_was, .after = mode});
  seen_.is_known = true;
}

void EventWatch::look_at_breakers(const EngineLoop::State& loop) noexcept {
  const health::BreakerTree& tree = loop.gate.watch->breakers().tree();
  for (std::size_t place = 0; place < seen_.breakers.size(); ++place) {
    const auto now = static_cast<std::uint8_t>(tree.at(place).state());
    const std::uint8_t was = std::exchange(seen_.breakers[place], now);
    if (now == was || !seen_.has_begun) continue;
    ring_.note({.at = from_ns(loop.now_ns),
                .kind = EventKind::breaker,
                .place = static_cast<std::uint32_t>(place),
                .before = was,
                .after = now});
  }
}

}  // namespace mesh::engine
