// A breaker in a program of its own: no mesh, no threads. An agent fails three times, is left alone
// for half a minute, and is tried again.
#include "engine/coordination/circuit_breaker.hpp"

#include <cstdio>

int main() {
  using namespace mesh;
  using namespace mesh::coordination;
  CircuitBreaker breaker(CircuitBreakerConfig::preset("agent-call").value());
  int invoked = 0;
  bool healthy = false;
  const auto agent = [&]() -> Result<int> {
    ++invoked;
    if (!healthy) return fail(Errc::io_error, "agent: no answer");
    return 42;
  };

  for (int second = 0; second < 4; ++second) {
    const auto reply = breaker.call(agent, Nanos{second * kNsPerSecond});
    std::printf("%2d s: %s, breaker %s\n", second, reply.error().sentence.c_str(),
                to_string(breaker.state()).data());
  }
  healthy = true;
  const auto probe = breaker.call(agent, Nanos{32 * kNsPerSecond});
  std::printf("32 s: %d, breaker %s, agent called %d times\n", probe.value_or(-1),
              to_string(breaker.state()).data(), invoked);
  return probe && invoked == 4 && breaker.state() == BreakerState::closed ? 0 : 1;
}
