#include "engine/loop/inbox_pressure.hpp"

#include "engine/coordination/blocks/ppm.hpp"

namespace mesh::engine {
namespace {

using coordination::kPpm;

coordination::BackpressureConfig config_of(std::uint32_t agents_declared) noexcept {
  const std::uint32_t share = 2 * agents_declared + InboxPressure::kShareMin;
  coordination::BackpressureConfig config;
  config.watermark_high = share / 2;
  config.watermark_low = share / 8;
  config.hard_limit = share + share / 8;
  const std::uint64_t span = config.hard_limit - config.watermark_low;
  // Above the pressure of one less than so many: refused.
  const auto below = [&](std::uint32_t depth) {
    return static_cast<std::uint32_t>((depth - 1 - config.watermark_low) * kPpm / span);
  };
  config.shed_start_ppm = {below(config.watermark_high), below(share), kPpm, kPpm};
  config.throttle_rate_per_s = 1e9;  // a message that may wait needs no ration
  config.throttle_burst = 1'000'000;
  config.grants_max = 1;
  config.downstream_max = 0;
  config.events_max = 4;
  return config;
}

}  // namespace

InboxPressure::InboxPressure(std::uint32_t agents_declared)
    : controller_(config_of(agents_declared)) {}

bool InboxPressure::admits(sched::Priority priority, std::uint32_t waiting, Nanos now) noexcept {
  using coordination::Refusal;
  controller_.apply(coordination::pressure::Observe{waiting, 0}, now);
  const auto reply = controller_.should_accept(static_cast<std::uint32_t>(priority), now);
  return reply.code == Errc::ok && reply.refusal == Refusal::none;
}

}  // namespace mesh::engine
