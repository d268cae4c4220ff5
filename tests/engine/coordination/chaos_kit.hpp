// What the tests of the chaos harness share: a small one, plans, a driver that does as it is told,
// and a player that does everything.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/coordination/chaos_harness.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination::testing {

constexpr Nanos chaos_ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }
constexpr Nanos chaos_s(std::int64_t count) { return chaos_ms(1'000 * count); }

inline ChaosConfig small_chaos() {
  ChaosConfig config;
  config.agents_max = 64;
  config.experiments_max = 3;
  config.metrics_max = 4;
  config.samples_max = 256;
  config.injections_max = 16;
  config.effects_max = 8;
  config.timeline_max = 64;
  config.events_max = 32;
  config.safety.blast_radius_ppm = 1'000'000;
  return config;
}

inline ChaosAssertion succeeds(double at_least = 0.95) {
  return {"success_rate", AssertionOp::gte, at_least, 0, Aggregation::avg};
}
inline ChaosFault crash_of(std::vector<std::uint32_t> agents, Nanos duration = chaos_s(5)) {
  ChaosFault fault;
  fault.type = FaultType::agent_crash;
  fault.targets.mode = TargetMode::specific;
  fault.targets.agents = std::move(agents);
  fault.duration = duration;
  return fault;
}
inline ChaosFault fault_of(FaultType type, std::vector<std::uint32_t> agents,
                           Nanos duration = chaos_s(5)) {
  ChaosFault fault = crash_of(std::move(agents), duration);
  fault.type = type;
  return fault;
}
// Two seconds of precheck, one crash of five seconds, windows of two seconds.
inline chaos::Create small_plan(std::string name = "one") {
  chaos::Create plan;
  plan.name = std::move(name);
  plan.hypothesis.assertions = {succeeds()};
  plan.hypothesis.window = chaos_s(2);
  plan.hypothesis.cooldown = chaos_s(1);
  plan.faults = {crash_of({3})};
  plan.seed = 7;
  return plan;
}

// A harness with agents, one metric that is fed at each step, and a driver.
class ChaosRig {
 public:
  explicit ChaosRig(const ChaosConfig& config = small_chaos(), std::uint32_t agents = 30)
      : harness(config) {
    apply(chaos::AddMetric{"success_rate"});
    for (std::uint32_t agent = 0; agent < agents; ++agent) {
      apply(chaos::SetAgent{agent, agent / 10, 0,
                            agent % 10 == 0 ? ChaosRole::cluster_lead : ChaosRole::member, 1});
    }
  }
  ChaosReply apply(const ChaosCommand& command) { return harness.apply(command, now); }
  // Creates and starts.
  std::uint32_t start(const chaos::Create& plan) {
    const auto made = apply(plan);
    EXPECT_EQ(name_of(made.code), "ok");
    const auto begun = apply(chaos::Start{made.id});
    EXPECT_EQ(name_of(begun.code), "ok");
    EXPECT_EQ(begun.refusal, Refusal::none);
    return made.id;
  }
  // Half a second at a time: a sample, a tick, and the driver's answers.
  void pass(Nanos time) {
    const Nanos until = now + time;
    while (now < until) {
      now = std::min(until, now + chaos_ms(500));
      if (success) apply(chaos::Sample{0, success(now)});
      tick();
    }
  }
  void tick() {
    harness.tick(now, actions);
    for (const ChaosOrder& order : actions.orders) {
      const auto targets = actions.targets_of(order);
      orders.push_back(order);
      struck.emplace_back(targets.begin(), targets.end());
      if (answers) answer(order, {targets.begin(), targets.end()});
    }
  }
  void answer(const ChaosOrder& order, const std::vector<std::uint32_t>& targets) {
    if (!order.is_undo) {
      apply(chaos::Confirm{order.injection, confirms_with});
      return;
    }
    apply(chaos::Undone{order.injection});
    if (!recovers) return;
    for (const std::uint32_t agent : targets) {
      harness.apply(chaos::Recovered{agent}, now);  // refused where it has another fault
    }
  }
  bool pass_until_over(std::uint32_t experiment, Nanos at_most = chaos_s(120)) {
    const Nanos until = now + at_most;
    while (now < until && !is_over(harness.state(experiment))) pass(chaos_ms(500));
    const auto sound = harness.verify();
    EXPECT_TRUE(sound) << sound.error().sentence;
    return is_over(harness.state(experiment));
  }
  [[nodiscard]] std::vector<std::uint64_t> undone_order() const {
    std::vector<std::uint64_t> ids;
    for (const auto& order : orders) {
      if (order.is_undo) ids.push_back(order.injection);
    }
    return ids;
  }

  ChaosHarness harness;
  Nanos now{0};
  std::function<double(Nanos)> success = [](Nanos) { return 1.0; };
  bool answers = true;
  bool recovers = true;
  Errc confirms_with = Errc::ok;
  ChaosActions actions;
  std::vector<ChaosOrder> orders;
  std::vector<std::vector<std::uint32_t>> struck;
};

// Commands at random, answers of a driver among them.
class ChaosPlayer {
 public:
  explicit ChaosPlayer(std::uint64_t seed) : rng_(seed) {}

  ChaosCommand next() {
    if (begun_ < 2) return chaos::AddMetric{begun_++ == 0 ? "success_rate" : "error_rate"};
    if (begun_ < 22) {
      const std::uint32_t agent = begun_++ - 2;
      return chaos::SetAgent{agent, agent / 5, agent / 10,
                             agent % 5 == 0 ? ChaosRole::cluster_lead : ChaosRole::member, 1};
    }
    const std::uint64_t what = rng_.below(100);
    if (what < 40) return chaos::Sample{number(2), rng_.below(8) == 0 ? 0.4 : 1.0};
    if (what < 48) return plan();
    if (what < 58) return chaos::Start{number(3)};
    if (what < 72) return answer();
    if (what < 82) return chaos::Recovered{number(20)};
    return rarer(what);
  }
  void hear(const ChaosActions& actions) {
    for (const auto& order : actions.orders) open_[order.injection] = order.is_undo;
  }
  [[nodiscard]] Rng& rng() { return rng_; }

 private:
  std::uint32_t number(std::uint64_t n) { return static_cast<std::uint32_t>(rng_.below(n)); }
  ChaosCommand rarer(std::uint64_t what) {
    if (what < 85) return chaos::Pause{number(3)};
    if (what < 88) return chaos::Resume{number(3)};
    if (what < 90) return chaos::Kill{number(3)};
    if (what < 95) return chaos::Forget{number(3)};
    if (what < 97) return effect();
    if (what < 98) return chaos::Restarted{};
    return chaos::Report{number(3)};
  }
  ChaosCommand effect() {
    const std::uint64_t event = ++effect_;
    return chaos::Effect{event, event - 1 - number(3), number(20), false};
  }
  ChaosCommand answer() {
    if (open_.empty()) return chaos::Undone{99};
    auto at = open_.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(rng_.below(open_.size())));
    const auto [injection, is_undo] = *at;
    if (is_undo) open_.erase(at);
    if (is_undo) return chaos::Undone{injection};
    return chaos::Confirm{injection, rng_.below(10) == 0 ? Errc::unsupported : Errc::ok};
  }
  ChaosFault fault() {
    ChaosFault one;
    one.type = static_cast<FaultType>(rng_.below(kFaultTypes));
    one.targets.mode = static_cast<TargetMode>(rng_.below(7));
    one.targets.count = 1 + number(3);
    one.targets.percentage_ppm = 100'000;
    one.targets.which = number(3);
    one.targets.role = ChaosRole::cluster_lead;
    if (one.targets.mode == TargetMode::specific) one.targets.agents = {number(10), 10 + number(9)};
    one.duration = chaos_ms(500 + static_cast<std::int64_t>(rng_.below(4'000)));
    return one;
  }
  chaos::Create plan() {
    chaos::Create one = small_plan("plan-" + std::to_string(rng_.below(5)));
    one.hypothesis.window = chaos_s(1);
    one.hypothesis.tolerance_ppm = number(2) * 1'000'000;
    one.faults.clear();
    one.phases.resize(1 + rng_.below(2));
    for (auto& phase : one.phases) {
      phase.duration = chaos_s(2);
      phase.abort_on_violation = rng_.below(4) == 0;
      for (std::uint64_t i = rng_.below(3); i != 0; --i) phase.faults.push_back(fault());
    }
    one.has_safety = true;
    one.safety.blast_radius_ppm = 100'000 + number(4) * 150'000;
    one.safety.concurrent_max = 2;
    one.safety.is_strict = rng_.below(4) == 0;
    if (rng_.below(3) == 0) {
      one.safety.kill_switches = {{"error_rate", AssertionOp::lt, 0.5, chaos_s(3)}};
    }
    one.seed = rng_.below(1'000);
    return one;
  }

  Rng rng_;
  std::uint32_t begun_ = 0;
  std::uint64_t effect_ = 3;
  std::map<std::uint64_t, bool> open_;
};

inline std::vector<Timed<ChaosCommand>> chaos_trace(const ChaosConfig& config, std::size_t count,
                                                    std::uint64_t seed) {
  std::vector<Timed<ChaosCommand>> commands;
  ChaosHarness follower(config);
  ChaosPlayer player(seed);
  ChaosActions actions;
  Nanos now{0};
  for (std::size_t i = 0; i < count; ++i) {
    const auto command = player.next();
    follower.apply(command, now);
    follower.tick(now, actions);
    player.hear(actions);
    commands.push_back({now, command});
    now += chaos_ms(static_cast<std::int64_t>(player.rng().below(400)));
  }
  return commands;
}

}  // namespace mesh::coordination::testing
