// FaultDriver: who carries out what a ChaosHarness orders, in a simulated mesh or a live one; and
// ChaosPilot, which brings the two together.
//
// Callers     one thread.
// Guarantees  a driver says ok only of a fault that acts. What it cannot do is refused, and stands
//             in the report as refused. inject() and undo() given again do nothing again.
// If the      pilot is not called any more: the driver lets each fault lapse at its order's
// other side  `expires` by itself.
// dies
// Errors      inject -> unsupported (it cannot), not_authorized (it may not), or what failed.
#pragma once

#include <cstdint>
#include <iterator>
#include <set>
#include <span>
#include <vector>

#include "engine/coordination/chaos_harness.hpp"

namespace mesh::coordination {

class FaultDriver {
 public:
  FaultDriver() = default;
  FaultDriver(const FaultDriver&) = delete;
  FaultDriver& operator=(const FaultDriver&) = delete;
  virtual ~FaultDriver() = default;

  [[nodiscard]] virtual Errc inject(const ChaosOrder& order,
                                    std::span<const std::uint32_t> targets) = 0;
  virtual void undo(std::uint64_t injection) = 0;
  // Each step of the pilot: faults that grow or fade are brought to where they are to be.
  virtual void advance(Nanos /*now*/) {}
  // It does not act any more, or never did.
  [[nodiscard]] virtual bool is_gone(std::uint64_t injection) const = 0;
  // The agent does its work, and no fault acts on it.
  [[nodiscard]] virtual bool works(std::uint32_t agent) const = 0;
};

class ChaosPilot {
 public:
  // Both outlive it.
  ChaosPilot(ChaosHarness& harness, FaultDriver& driver) : harness_(harness), driver_(driver) {}

  // A tick, its orders, and what the driver says of earlier ones.
  void step(Nanos now) {
    harness_.tick(now, actions_);
    for (const ChaosOrder& order : actions_.orders) carry_out(order, now);
    driver_.advance(now);
    for (auto at = undoing_.begin(); at != undoing_.end();) {
      if (!driver_.is_gone(*at)) {
        ++at;
        continue;
      }
      harness_.apply(chaos::Undone{*at}, now);
      at = undoing_.erase(at);
    }
    for (auto at = struck_.begin(); at != struck_.end();) {
      const bool is_well = !harness_.word(*at).is_set && driver_.works(*at);
      if (is_well) harness_.apply(chaos::Recovered{*at}, now);
      at = is_well ? struck_.erase(at) : std::next(at);
    }
  }
  [[nodiscard]] Nanos next_step() const noexcept { return actions_.next_tick; }

 private:
  void carry_out(const ChaosOrder& order, Nanos now) {
    if (order.is_undo) {
      driver_.undo(order.injection);
      undoing_.insert(order.injection);
      return;
    }
    const auto targets = actions_.targets_of(order);
    const Errc code = driver_.inject(order, targets);
    if (code == Errc::ok) struck_.insert(targets.begin(), targets.end());
    harness_.apply(chaos::Confirm{order.injection, code}, now);
  }

  ChaosHarness& harness_;
  FaultDriver& driver_;
  ChaosActions actions_;
  std::set<std::uint64_t> undoing_;
  std::set<std::uint32_t> struck_;
};

}  // namespace mesh::coordination
