// Eight slots, three agents that want more than there is: a round divides them by bargaining power,
// nobody gets less than what is of use to it, and the arbiter says why.
#include "engine/coordination/contention_arbiter.hpp"

#include <cstdio>

int main() {
  using namespace mesh;
  using namespace mesh::coordination;
  ResourceContentionArbiter arbiter(ContentionConfig::preset("fair-share").value());
  const auto ms = [](std::int64_t count) { return Nanos{count * kNsPerMs}; };
  arbiter.apply(contention::RegisterResource{"gpu-cluster", 8, false, true, "compute"}, ms(0));
  arbiter.apply(contention::SetBudget{9, 0, 4, ms(60'000)}, ms(0));

  contention::Request request;
  request.agent = 9;
  request.quantity = 3;
  request.priority = 7;
  request.flexibility_ppm = 200'000;
  request.utility_per_unit = 10'000'000;
  const auto first = arbiter.apply(request, ms(0));
  request.quantity = 2;
  const auto second = arbiter.apply(request, ms(1));

  const auto wants = [&](std::uint32_t agent, std::uint64_t quantity, std::uint32_t priority) {
    contention::Request one;
    one.agent = agent;
    one.quantity = quantity;
    one.priority = priority;
    one.flexibility_ppm = 500'000;
    one.utility_per_unit = 1'000'000;
    return arbiter.apply(one, ms(2));
  };
  const auto rest = wants(1, 5, 0);  // takes what is left
  wants(2, 6, 10);
  wants(3, 6, 0);
  const auto late = wants(4, 8, 0);
  arbiter.apply(contention::Release{first.allocation, 0}, ms(10));
  arbiter.apply(contention::Release{rest.allocation, 0}, ms(10));
  ContentionActions actions;
  arbiter.tick(ms(100), actions);
  std::printf(
      "granted %llu, budget left %llu, then %s; agent 2 has %llu, agent 3 %llu, agent 4 %s\n",
      static_cast<unsigned long long>(first.granted),
      static_cast<unsigned long long>(first.budget_left), to_string(second.refusal).data(),
      static_cast<unsigned long long>(arbiter.held(2, 0)),
      static_cast<unsigned long long>(arbiter.held(3, 0)),
      to_string(arbiter.explain(late.ticket).reason).data());
  return arbiter.verify() ? 0 : 1;
}
