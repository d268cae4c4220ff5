// What time does to a federation router: windows and loans end, samples are taken, the late go.
#include <algorithm>
#include <utility>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/ppm.hpp"
#include "engine/coordination/federation_router.hpp"

namespace mesh::coordination {
namespace {

constexpr double kLevelAlpha = 0.3;

}  // namespace

void FederationRouter::drop_late(std::int64_t now_ns) noexcept {
  for (std::uint32_t slot = 0; slot < requests_.size(); ++slot) {
    const Request& one = requests_[slot];
    const bool late = one.deadline_ns != 0 && now_ns > one.deadline_ns;
    if (late && (one.stage == Stage::queued || one.stage == Stage::following)) cancel(id_of(slot));
  }
}

void FederationRouter::roll_network(Network& network, std::int64_t now_ns) noexcept {
  BreakerActions unused;
  network.breaker.tick(Nanos{now_ns}, unused);
  network.bucket.tick(now_ns);
  if (now_ns >= network.sample_end_ns) {
    const std::int64_t length = network.window.window_ns() / kSamplesAWindow;
    const auto rate = static_cast<double>(network.sample_count * kSamplesAWindow);
    network.level += kLevelAlpha * (rate - network.level);
    network.rates.add({static_cast<double>(now_ns) * 1e-9, rate});
    network.sample_count = 0;
    network.sample_end_ns = now_ns + std::max<std::int64_t>(1, length);
  }
  if (now_ns < network.window_end_ns) return;
  network.window.roll(now_ns);
  network.window_end_ns = network.window.end_ns();
  network.used = {};
  network.shed_told = 0;
  const bool was_clean = std::exchange(network.is_clean, true) || MESH_MUTANT("federation.clean");
  if (was_clean && network.breaker.state() == BreakerState::closed) {
    network.start_ppm = std::min<std::uint32_t>(kPpm, 2 * network.start_ppm);
  }
}

void FederationRouter::roll(std::int64_t now_ns) noexcept {
  for (auto& loan : loans_) {
    const bool is_over = loan.lender != kNone && now_ns >= loan.expires_ns;
    if (is_over && !MESH_MUTANT("federation.loan_end")) return_loan(loan, loan.count, now_ns);
  }
  for (auto& network : networks_) roll_network(network, now_ns);
  drop_late(now_ns);
}

void FederationRouter::tick(Nanos now, Actions& out) noexcept {
  out = {};
  if (!ServiceClock::is_valid(now)) return;
  roll(clock_.at(now));
  for (const auto& one : requests_) out.completions_ready += one.stage == Stage::answered ? 1 : 0;
}

FederationView FederationRouter::view(std::uint32_t id, Nanos now) const noexcept {
  FederationView view;
  if (id >= networks_.size() || !ServiceClock::is_valid(now)) return view;
  const Network& network = networks_[id];
  view.remaining_ppm = remaining_ppm(network, std::max(now.count(), clock_.last_ns()));
  for (const auto threshold : config_.shed_ppm) {
    view.shed_below += view.remaining_ppm < threshold ? 1 : 0;
  }
  view.shed_below += view.remaining_ppm == 0 ? 1 : 0;
  view.breaker = network.breaker.view();
  view.window_end_ns = network.window_end_ns;
  return view;
}

}  // namespace mesh::coordination
