// InboxPressure: which direct messages may still wait for an inbox without room: background ones
// up to half of the station's share, normal ones up to all of it, high and critical ones an eighth
// beyond, so that what is urgent finds room where others have taken theirs.
//
// Callers     the loop.  Progress  wait-free; asked only of messages that would wait.
// Cost        two calls of a BackpressureController, of which this is the mesh's use: its depth is
//             what waits here, it sheds by priority, and rations nothing.
// Errors      admits() -> false: target_full to the sender.
// If the      station does not read: what waits for it stays below the hard limit, whoever sends.
// other side
// stalls
#pragma once

#include <cstdint>

#include "engine/coordination/backpressure_controller.hpp"
#include "sched/records.hpp"

namespace mesh::engine {

class InboxPressure {
 public:
  static constexpr std::uint32_t kShareMin = 1'024;  // messages, beside two for each agent

  explicit InboxPressure(std::uint32_t agents_declared);

  // Whether one more of this priority may wait beside `waiting` others.
  [[nodiscard]] bool admits(sched::Priority priority, std::uint32_t waiting, Nanos now) noexcept;
  [[nodiscard]] const coordination::BackpressureController& controller() const noexcept {
    return controller_;
  }

 private:
  coordination::BackpressureController controller_;
};

}  // namespace mesh::engine
