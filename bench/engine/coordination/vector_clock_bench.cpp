// Vector clocks: compare of 16 entries, beside two maps behind a mutex, as usually written; and
// an event received in order.
#include <map>
#include <mutex>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/vector_clock.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;

struct PlainClocks {
  int compare(std::size_t a, std::size_t b) {
    const std::lock_guard lock(mutex);
    bool less = false;
    bool more = false;
    for (const auto& [agent, count] : clocks[a]) {
      const auto other = clocks[b].find(agent);
      const std::uint64_t theirs = other == clocks[b].end() ? 0 : other->second;
      less = less || count < theirs;
      more = more || count > theirs;
    }
    for (const auto& [agent, count] : clocks[b]) less = less || clocks[a].count(agent) == 0;
    return (less ? 1 : 0) + (more ? 2 : 0);
  }
  std::mutex mutex;
  std::map<std::uint64_t, std::uint64_t> clocks[64];
};

}  // namespace

int main() {
  PlainClocks plain;
  std::vector<VectorClock> clocks(64);
  Rng rng(5);
  for (std::size_t i = 0; i < clocks.size(); ++i) {
    for (std::uint64_t agent = 0; agent < 16; ++agent) {
      const std::uint64_t count = 1 + rng.below(1'000);
      clocks[i].set(agent * 977, count);
      plain.clocks[i][agent * 977] = count;
    }
  }
  bench::print_head();
  const auto ours = bench::measure(
      [&](std::uint64_t i) { return compare(clocks[i % 64], clocks[(i * 7 + 1) % 64]); });
  const auto theirs =
      bench::measure([&](std::uint64_t i) { return plain.compare(i % 64, (i * 7 + 1) % 64); });
  bench::print_row("VectorClock/compare/16 entries, concurrent", 15, ours, theirs);
  // Each of these is after all before it: every entry has to be looked at.
  for (std::size_t i = 0; i < clocks.size(); ++i) {
    for (std::uint64_t agent = 0; agent < 16; ++agent) {
      clocks[i].set(agent * 977, 1 + i);
      plain.clocks[i][agent * 977] = 1 + i;
    }
  }
  const auto ordered = bench::measure(
      [&](std::uint64_t i) { return compare(clocks[i % 64], clocks[(i * 7 + 1) % 64]); });
  const auto plain_ordered =
      bench::measure([&](std::uint64_t i) { return plain.compare(i % 64, (i * 7 + 1) % 64); });
  bench::print_row("VectorClock/compare/16 entries, ordered", 15, ordered, plain_ordered);

  CausalityConfig config;
  config.self = 1;
  config.matrix = false;  // nobody reads: what is delivered goes at the next tick
  VectorClockCausality one(config);
  one.apply(causal::AddMember{2}, Nanos{0});
  CausalityActions actions;
  causal::Receive event{2, 0, 0, {{2, 0}}, causal::Bytes(100)};
  VectorClockCausality::Command command = event;
  const auto received = bench::measure([&](std::uint64_t i) {
    auto& next = std::get<causal::Receive>(command);
    next.sequence = next.clock[0].count = i + 1;
    const auto reply = one.apply(command, Nanos{static_cast<std::int64_t>(i)});
    if (reply.delivered.size() != 1) std::abort();  // a refusal would be timed as work
    if (i % 1'024 == 0) one.tick(Nanos{static_cast<std::int64_t>(i)}, actions);
    return reply.code;
  });
  std::mutex mutex;
  std::map<std::uint64_t, std::uint64_t> delivered;
  const auto plainly = bench::measure([&](std::uint64_t i) {
    const std::lock_guard lock(mutex);
    std::uint64_t& count = delivered[2];
    if (count + 1 == i + 1) ++count;
    return count;
  });
  bench::print_row("VectorClockCausality/receive in order/100 B", 1'000, received, plainly);
  return 0;
}
