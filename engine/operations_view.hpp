// OperationsView: operations and cascades in flight and the last that ended, as a process that has
// the `engine` memory mapped read-only sees them beside the engine that runs, or left of one that
// is dead.
//
// Callers     one thread, cold.
// Progress    a pass over the states of all slots, and over the bitmaps of those that are listed.
// Ordering    a slot whose state changes while it is read is passed over; counts go on meanwhile.
// Units       HostTime of the mesh's clock.
// If the      engine dies: what it left is what is seen. Lies: numbers are numbers.
// engine
// dies, lies
// Errors      over -> not_found, layout_mismatch, truncated.
// Layout      regions operations, wide.gather, narrow.gather, cascades, cascade.units of `engine`.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/memory_map.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/layout.hpp"

namespace mesh::engine {

enum class SeenOperationKind : std::uint8_t { scatter, broadcast, wave, parallel, priority_first };
[[nodiscard]] std::string_view name_of(SeenOperationKind kind) noexcept;

struct SeenOperation {
  OperationId id{};
  SeenOperationKind kind = SeenOperationKind::scatter;
  bool is_running = false;
  HostTime opened{};
  HostTime target{};  // T; 0: it has none
  HostTime ended{};
  // A cascade's as far as it has come; its own operations are not listed beside it.
  std::uint64_t targeted = 0;
  std::uint64_t sent = 0;
  std::uint64_t ready = 0;
  std::uint64_t conflict = 0;

  [[nodiscard]] std::uint64_t answered() const noexcept { return ready + conflict; }
};

struct SeenOperations {
  std::size_t running = 0;  // of all, listed or not
  std::vector<SeenOperation> list;
};

class OperationsView {
 public:
  static Result<OperationsView> over(const MeshSize& size, std::span<const std::byte> engine);
  // Those that run, the nearest to T first, then the last that ended; at most `most`.
  [[nodiscard]] SeenOperations read(std::size_t most) const;

 private:
  struct Spans;
  struct Slot;
  OperationsView(const MeshSize& size, shm::Layout layout, std::span<const std::byte> engine)
      : size_(size), layout_(std::move(layout)), engine_(engine) {}
  [[nodiscard]] Spans bind() const;
  static void find_operations(const Spans& spans, std::vector<Slot>& slots);
  static void find_cascades(const Spans& spans, std::vector<Slot>& slots);
  static void count_parts(const Spans& spans, Slot& slot);
  static bool count(const Spans& spans, Slot& slot);

  MeshSize size_;
  shm::Layout layout_;
  std::span<const std::byte> engine_;
};

}  // namespace mesh::engine
