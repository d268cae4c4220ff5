#include "tools/swarm_population.hpp"

#include <array>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "engine/coordination/blocks/rng.hpp"
#include "shm/base/assert.hpp"
#include "shm/base/nanos.hpp"
#include "tools/portable_math.hpp"

namespace mesh::tools {
namespace {

struct Range {
  double low;
  double high;
};
// Mean RTT in milliseconds, A to F (mesh.md part 3).
constexpr std::array<Range, sched::kAgentClassCount> kRttRange = {
    {{5, 20}, {50, 150}, {100, 300}, {200, 500}, {10, 800}, {5'000, 7'200'000}}};
constexpr Range kCvRange = {0.01, 0.3};
constexpr double kBiasSigma = 0.4;
constexpr double kNoiseSigma = 0.05;
constexpr double kNoiseLeast = 0.5;  // ten sigma: only so that no time is negative
constexpr double kConflictShare = 0.01;
constexpr double kSilentShare = 0.005;
constexpr double kChangeShare = 0.01;

// 10 A, 8 B, 5 C, 2 D, 3 E, 2 F of every 30, interleaved, so that also a population which is no
// multiple of 30 is near its shares.
constexpr std::string_view kClassPattern = "ABCEABDAFBCABAECABAFBCADBAECBA";
static_assert(kClassPattern.size() == 30);
constexpr std::uint32_t count_of(char letter) noexcept {
  std::uint32_t count = 0;
  for (const char c : kClassPattern) count += c == letter ? 1 : 0;
  return count;
}
static_assert(count_of('A') == 10 && count_of('B') == 8 && count_of('C') == 5);
static_assert(count_of('D') == 2 && count_of('E') == 3 && count_of('F') == 2);

// What a draw is for. The numbers are part of what a seed means.
enum class Purpose : std::uint64_t {
  rtt = 1,
  cv = 2,
  bias = 3,
  bias_later = 4,
  changes = 5,
  delay = 6,
  noise = 7,
  outcome = 8,
};

constexpr std::uint64_t mix(std::uint64_t x) noexcept { return coordination::SplitMix64(x).next(); }

struct Draw {
  std::uint64_t seed;
  std::uint32_t agent;
  std::uint32_t delivery = 0;

  // In (0, 1): never an end, which has no quantile.
  [[nodiscard]] double uniform(Purpose purpose) const noexcept {
    const std::uint64_t who = (std::uint64_t{agent} << 32) | delivery;
    const std::uint64_t bits = mix(mix(mix(seed) ^ who) ^ static_cast<std::uint64_t>(purpose));
    return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52;
  }
  [[nodiscard]] double uniform(Purpose purpose, Range range) const noexcept {
    return range.low + (range.high - range.low) * uniform(purpose);
  }
  [[nodiscard]] double normal(Purpose purpose) const noexcept {
    return normal_quantile(uniform(purpose));
  }
};

double log_normal(double mean, double log_variance, double z) noexcept {
  return mean * portable_exp(std::sqrt(log_variance) * z - log_variance / 2);
}

std::int64_t nanoseconds(double milliseconds) noexcept {
  return static_cast<std::int64_t>(milliseconds * static_cast<double>(kNsPerMs) + 0.5);
}

sched::AgentClass class_of(std::uint32_t index) noexcept {
  return static_cast<sched::AgentClass>(kClassPattern[index % kClassPattern.size()] - 'A');
}

DeliveryOutcome outcome_of(double u) noexcept {
  if (u < kConflictShare) return DeliveryOutcome::conflict;
  if (u < kConflictShare + kSilentShare) return DeliveryOutcome::silent;
  return DeliveryOutcome::ready;
}

}  // namespace

std::string_view name_of(SwarmProfile profile) noexcept {
  return profile == SwarmProfile::mixed ? "mixed" : "local";
}

std::optional<SwarmProfile> swarm_profile_of(std::string_view name) noexcept {
  for (const SwarmProfile profile : {SwarmProfile::mixed, SwarmProfile::local}) {
    if (name == name_of(profile)) return profile;
  }
  return std::nullopt;
}

AgentDraw SwarmPopulation::agent(std::uint32_t index) const noexcept {
  if (options_.profile == SwarmProfile::local) return {};
  const Draw draw{options_.seed, index};
  AgentDraw drawn;
  drawn.agent_class = class_of(index);
  drawn.rtt_mean_ms =
      draw.uniform(Purpose::rtt, kRttRange[static_cast<std::size_t>(drawn.agent_class)]);
  drawn.cv = draw.uniform(Purpose::cv, kCvRange);
  drawn.log_variance = portable_log(1 + drawn.cv * drawn.cv);
  drawn.bias = portable_exp(kBiasSigma * draw.normal(Purpose::bias));
  drawn.bias_later = drawn.bias;
  if (draw.uniform(Purpose::changes) < kChangeShare) {
    drawn.bias_later = portable_exp(kBiasSigma * draw.normal(Purpose::bias_later));
  }
  return drawn;
}

double SwarmPopulation::bias_at(std::uint32_t index, std::uint32_t delivery) const noexcept {
  const AgentDraw drawn = agent(index);
  return delivery < options_.change_at ? drawn.bias : drawn.bias_later;
}

DeliveryDraw SwarmPopulation::delivery(std::uint32_t index, const AgentDraw& who,
                                       const DeliveryContext& context) const noexcept {
  const Draw draw{options_.seed, index, context.delivery};
  DeliveryDraw drawn;
  drawn.outcome = outcome_of(draw.uniform(Purpose::outcome));
  if (options_.profile == SwarmProfile::local) return drawn;
  drawn.delay_ns =
      nanoseconds(log_normal(who.rtt_mean_ms / 2, who.log_variance, draw.normal(Purpose::delay)));
  const double noise = std::fmax(1 + kNoiseSigma * draw.normal(Purpose::noise), kNoiseLeast);
  const double bias = context.delivery < options_.change_at ? who.bias : who.bias_later;
  drawn.processing_ns =
      nanoseconds(sched::base_processing_ms(who.agent_class) * bias * (1 + 0.5 * context.weight) *
                  (1 + 0.1 * context.queue_depth) * noise);
  return drawn;
}

// Half of the sums of delay and processing are below it. The delay's distribution stands as
// kDelayNodes quantiles; given the delay, processing is normal. (That noise is cut off ten
// deviations out moves nothing.)
double median_ms(const AgentDraw& agent, double bias, double weight) noexcept {
  if (agent.rtt_mean_ms == 0) return 0;  // nothing is held back
  constexpr std::size_t kDelayNodes = 64;
  constexpr int kHalvings = 30;
  std::array<double, kDelayNodes> delays{};
  const double log_variance = portable_log(1 + agent.cv * agent.cv);
  for (std::size_t i = 0; i < kDelayNodes; ++i) {
    const double share = (static_cast<double>(i) + 0.5) / kDelayNodes;
    delays[i] = log_normal(agent.rtt_mean_ms / 2, log_variance, normal_quantile(share));
  }
  const double work = sched::base_processing_ms(agent.agent_class) * bias * (1 + 0.5 * weight);
  const double deviation = kNoiseSigma * work;
  double low = delays.front() + work - 4 * deviation;
  double high = delays.back() + work + 4 * deviation;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    double below = 0;
    for (const double delay : delays) {
      below += std::erfc((delay + work - middle) / (deviation * std::numbers::sqrt2)) / 2;
    }
    (below < kDelayNodes / 2.0 ? low : high) = middle;
  }
  return (low + high) / 2;
}

std::string swarm_agent_name(std::string_view prefix, std::uint32_t index) {
  return fmt::format("{}-{}", prefix, index);
}

SwarmShare swarm_share(std::uint32_t agents, std::uint32_t processes,
                       std::uint32_t share) noexcept {
  MESH_ASSERT(processes > 0);
  MESH_ASSERT(share < processes);
  const auto begin = [&](std::uint64_t of) {
    return static_cast<std::uint32_t>(std::uint64_t{agents} * of / processes);
  };
  return {begin(share), begin(std::uint64_t{share} + 1) - begin(share)};
}

}  // namespace mesh::tools
