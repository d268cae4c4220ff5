// Causal order in a program of its own: Alice asks, Bob answers, and Carol gets the answer first.
// It waits until the question is there.
#include "engine/coordination/vector_clock.hpp"

#include <cstdio>

using namespace mesh;
using namespace mesh::coordination;

namespace {

VectorClockCausality member(std::uint64_t self) {
  auto config = CausalityConfig::preset("small-cluster").value();
  config.self = self;
  VectorClockCausality one(config);
  for (std::uint64_t id = 1; id <= 3; ++id) one.apply(causal::AddMember{id}, Nanos{0});
  one.apply(causal::Reserve{1, 1'024}, Nanos{0});  // its host has journaled this bound
  return one;
}
causal::Receive sent(const CausalityReply& emitted) {
  return {emitted.dot.actor, emitted.dot.counter, emitted.gap, emitted.clock, {}};
}

}  // namespace

int main() {
  const auto a = tick(VectorClock{AgentId{1}}).value();
  const auto b = tick(VectorClock{AgentId{2}}).value();
  const bool is_concurrent = compare(a, b) == CausalOrder::concurrent;
  const bool is_before = compare(a, merge(a, b)) == CausalOrder::before;

  auto alice = member(1);
  auto bob = member(2);
  auto carol = member(3);
  const auto question = alice.apply(causal::Emit{}, Nanos{0});
  bob.apply(sent(question), Nanos{0});
  const auto answer = bob.apply(causal::Emit{}, Nanos{0});
  const auto early = carol.apply(sent(answer), Nanos{0});
  const auto missing = carol.missing();
  const auto both = carol.apply(sent(question), Nanos{0});
  std::printf("%s, %s; %zu delivered, %zu missing; then %zu, of agent %llu first\n",
              is_concurrent ? "concurrent" : "ordered", is_before ? "before" : "not before",
              early.delivered.size(), missing.size(), both.delivered.size(),
              static_cast<unsigned long long>(both.delivered.at(0).actor));
  return carol.verify() ? 0 : 1;
}
