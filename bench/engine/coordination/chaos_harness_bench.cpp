// ChaosHarness: whether it is armed, which every send asks; a sample while an experiment runs; a
// tick with nothing to do. Beside a map of the last value of each metric behind a mutex.
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/chaos_harness.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;

struct PlainMetrics {
  void record(const std::string& name, double value) {
    const std::lock_guard guard(mutex);
    last[name] = value;
  }
  bool is_armed() {
    const std::lock_guard guard(mutex);
    return armed;
  }
  std::mutex mutex;
  std::map<std::string, double> last;
  bool armed = false;
};

}  // namespace

int main() {
  bench::print_head();
  ChaosHarness harness(ChaosConfig::preset("simulation").value());
  PlainMetrics plain;
  harness.apply(chaos::AddMetric{"success_rate"}, Nanos{0});
  for (std::uint32_t agent = 0; agent < 1'000; ++agent) {
    harness.apply(chaos::SetAgent{agent, agent / 30, agent / 300, ChaosRole::member, 0}, Nanos{0});
  }
  const auto armed = bench::measure([&](std::uint64_t) { return harness.is_armed(); });
  const auto plain_armed = bench::measure([&](std::uint64_t) { return plain.is_armed(); });
  bench::print_row("ChaosHarness/is_armed", 1, armed, plain_armed);

  ChaosActions actions;
  const auto idle = bench::measure([&](std::uint64_t i) {
    harness.tick(Nanos{static_cast<std::int64_t>(i)}, actions);
    return actions.orders.size();
  });
  const auto theirs = bench::measure([&](std::uint64_t) {
    plain.record("success_rate", 1);
    return true;
  });
  bench::print_row("ChaosHarness/tick, nothing runs", 60, idle, theirs);

  chaos::Create plan;
  plan.name = "bench";
  plan.hypothesis.assertions = {{"success_rate", AssertionOp::gte, 0.95, 0, Aggregation::avg}};
  plan.hypothesis.window = Nanos{1};
  plan.faults.resize(1);
  plan.faults[0].duration = Nanos{kDurationMaxNs / 2};
  plan.has_safety = true;
  plan.safety.kill_switches = {{"success_rate", AssertionOp::lt, 0.5, Nanos{kDurationMaxNs / 2}}};
  const Nanos begin{10 * kNsPerSecond};
  const auto made = harness.apply(plan, begin);
  harness.apply(chaos::Start{made.id}, begin);
  harness.apply(chaos::Sample{0, 1}, begin + Nanos{1});
  harness.tick(begin + Nanos{1}, actions);
  if (harness.state(made.id) != ExperimentState::running || actions.orders.size() != 1) {
    std::abort();  // a refusal would be timed as work
  }
  harness.apply(chaos::Confirm{actions.orders[0].injection, Errc::ok}, begin + Nanos{1});
  const auto sample = bench::measure([&](std::uint64_t i) {
    const Nanos now = begin + Nanos{static_cast<std::int64_t>(i)};
    return harness.apply(chaos::Sample{0, 1}, now).code;
  });
  bench::print_row("ChaosHarness/Sample while one runs", 80, sample, theirs);
  const auto word = bench::measure(
      [&](std::uint64_t i) { return harness.word(static_cast<std::uint32_t>(i % 1'000)).is_set; });
  bench::print_row("ChaosHarness/word of an agent, armed", 400, word, plain_armed);
  return 0;
}
