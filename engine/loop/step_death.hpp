// StepDeath: where an engine that is to die on purpose dies: at a step of the next message that
// passes through it. A chaos experiment asks for it (control_chaos.cpp); disarmed it costs a load
// and a branch, twice a tick.
//
//     2 delivered   in its agent's inbox, and nothing of it settled
//     3 taken       a tick later: in its agent's hands, or about to be
//     4 answered    its answer is taken in, and its sender knows nothing
//     5 collected   its sender has the answer, and the outbox is not freed
// The numbers are those of the simulated mesh (simulation/chaos_mesh.hpp, LoopStep); at step 1, as
// soon as it is asked, an engine is killed from outside.
//
// Callers     the scheduler's thread.
// Units       HostTime.
// If no       comes before `expires`: nobody dies.
// message
#pragma once

#include <cstdint>

#include "engine/loop/loop_counters.hpp"
#include "engine/station/process_end.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::engine {

inline constexpr std::uint32_t kEngineSteps = 5;

class StepDeath {
 public:
  enum class Step : std::uint32_t { none = 0, delivered = 2, taken, answered, collected };
  using End = void (*)(void* context) noexcept;

  StepDeath() = default;
  // For tests: what happens instead.
  StepDeath(End end, void* context) noexcept : end_(end), context_(context) {}

  struct Order {
    std::uint64_t injection = 0;
    std::uint32_t step = 0;
    std::int64_t expires_ns = 0;
  };
  // False: there is no such step, or it is to die otherwise already.
  [[nodiscard]] bool arm(const Order& order, const LoopCounters& counters) noexcept {
    const bool is_step =
        order.step >= static_cast<std::uint32_t>(Step::delivered) && order.step <= kEngineSteps;
    if (!is_step || (step_ != Step::none && order_.injection != order.injection)) return false;
    order_ = order;
    step_ = static_cast<Step>(order.step);
    before_ = {counters.deliveries, counters.answers};
    was_shown_ = false;
    return true;
  }
  void spare(std::uint64_t injection) noexcept {
    if (order_.injection == injection) step_ = Step::none;
  }
  [[nodiscard]] bool is_awaited(std::uint64_t injection, std::int64_t now_ns) const noexcept {
    return step_ != Step::none && order_.injection == injection && now_ns < order_.expires_ns;
  }

  // By tick(): what stations wrote is taken in; what was made of it is shown.
  void after_intake(const LoopCounters& counters, std::int64_t now_ns) noexcept {
    if (step_ != Step::none) [[unlikely]]
      look(counters, now_ns, false);
  }
  void after_reveal(const LoopCounters& counters, std::int64_t now_ns) noexcept {
    if (step_ != Step::none) [[unlikely]]
      look(counters, now_ns, true);
  }

 private:
  void look(const LoopCounters& counters, std::int64_t now_ns, bool is_shown) noexcept {
    if (now_ns >= order_.expires_ns) {
      step_ = Step::none;
      return;
    }
    const bool has_delivered = counters.deliveries != before_.deliveries;
    const bool has_answer = counters.answers != before_.answers;
    const bool is_there = (step_ == Step::delivered && is_shown && has_delivered) ||
                          (step_ == Step::taken && !is_shown && was_shown_) ||
                          (step_ == Step::answered && !is_shown && has_answer) ||
                          (step_ == Step::collected && is_shown && has_answer);
    was_shown_ = was_shown_ || (is_shown && has_delivered);
    if (!is_there) return;
    step_ = Step::none;
    end_(context_);
  }

  struct Counted {
    std::uint64_t deliveries = 0;
    std::uint64_t answers = 0;
  };
  End end_ = [](void* /*context*/) noexcept { end_this_process(); };
  void* context_ = nullptr;
  Order order_;
  Step step_ = Step::none;
  Counted before_;
  bool was_shown_ = false;
};

}  // namespace mesh::engine
