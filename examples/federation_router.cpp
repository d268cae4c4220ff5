// Three hundred requests for a provider that grants a hundred a minute: the window is kept, the
// critical ones pass, and ten that ask the same cost one.
#include "engine/coordination/federation_router.hpp"

#include <array>
#include <cstdio>

int main() {
  using namespace mesh;
  using namespace mesh::coordination;
  FederationRouter router(FederationConfig::preset("balanced").value());
  router.apply(federation::AddNetwork{"provider", 1, 900'000, 100, Nanos{60 * kNsPerSecond}},
               Nanos{0});
  std::array<int, 4> accepted{};
  std::uint64_t sent = 0;
  std::array<Dispatched, 8> out{};
  std::array<Completion, 16> done{};
  for (std::uint32_t i = 0; i < 300; ++i) {
    const Nanos now{i * 200 * kNsPerMs};
    const std::uint32_t priority = i % 4;
    const auto reply = router.apply(federation::Submit{0, 0, priority, i % 7}, now);
    accepted[priority] += reply.code == Errc::ok && reply.refusal == Refusal::none ? 1 : 0;
    const std::size_t count = router.dispatch(now, out);
    sent += count;
    for (std::size_t k = 0; k < count; ++k) {
      router.apply(federation::Complete{out[k].request}, now);
    }
    router.take_completions(done);
  }
  int followers = 0;
  const Nanos later{200 * kNsPerSecond};
  for (int i = 0; i < 10; ++i) {
    followers += router.apply(federation::Submit{0, 0, 2, 0, 99}, later).is_follower ? 1 : 0;
  }
  std::printf(
      "sent %llu of 300 in a minute; accepted %d low, %d critical; %d of 10 shared a call\n",
      static_cast<unsigned long long>(sent), accepted[0], accepted[3], followers);
  const bool kept = sent <= 100 && accepted[3] >= accepted[0] && followers == 9;
  std::printf("%s\n", kept ? "contract kept" : "unexpected");
  return kept && router.verify() ? 0 : 1;
}
