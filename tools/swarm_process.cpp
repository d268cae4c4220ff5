#include "tools/swarm_process.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "shm/base/limits.hpp"

namespace mesh::tools {
namespace {

constexpr std::uint32_t kHeldPerAgent = 4;
constexpr std::uint32_t kHeldLeast = 1'024;
constexpr std::size_t kSilentMost = 65'536;
constexpr std::uint32_t kAnswersATurn = 1'024;
constexpr std::size_t kDeliveriesATurn = 256;
// A signal does not end a wait for deliveries, so none is longer.
constexpr Nanos kLookAtSignals{100 * kNsPerMs};
constexpr Nanos kAttachPatience{5 * kNsPerSecond};
constexpr Nanos kEnginePatience{60 * kNsPerSecond};  // while it is started again

}  // namespace

Result<std::unique_ptr<SwarmProcess>> SwarmProcess::start(const SwarmProcessOptions& options) {
  MESH_TRY(auto station,
           engine::Station::attach(options.directory, {.name = options.prefix,
                                                       .agents = options.share.count,
                                                       .connect = {.patience = kAttachPatience},
                                                       .engine_patience = kEnginePatience}));
  const std::uint32_t capacity =
      std::min(std::max(options.share.count * kHeldPerAgent, kHeldLeast), kMaxWheelEntries);
  MESH_TRY(SwarmAgents agents,
           SwarmAgents::create(
               SwarmPopulation(options.population),
               {.share = options.share, .capacity = capacity, .start_ns = to_ns(station->now())}));
  auto process = std::unique_ptr<SwarmProcess>(
      new SwarmProcess(options, std::move(station), std::move(agents)));
  MESH_CHECK_OK(process->enrol(options));
  return process;
}

SwarmProcess::SwarmProcess(const SwarmProcessOptions& options,
                           std::unique_ptr<engine::Station> station, SwarmAgents agents)
    : share_(options.share),
      station_(std::move(station)),
      agents_(std::move(agents)),
      replies_(agents_.capacity()) {}

Status SwarmProcess::enrol(const SwarmProcessOptions& options) {
  const SwarmPopulation population(options.population);
  std::vector<engine::AgentDeclaration> declarations;
  declarations.reserve(share_.count);
  for (std::uint32_t i = share_.first; i < share_.first + share_.count; ++i) {
    declarations.push_back({.name = swarm_agent_name(options.prefix, i),
                            .agent_class = population.agent(i).agent_class});
  }
  MESH_TRY(ids_, station_->enrol(declarations));
  return {};
}

Status SwarmProcess::run(const StopSignals& stop) {
  while (!stop.requested()) {
    if (turn()) continue;
    if (station_->is_lost()) return tl::unexpected<Error>(station_->lost_reason());
    const HostTime look = station_->now() + kLookAtSignals;
    station_->wait(std::min(look, from_ns(agents_.next_due_ns())));
  }
  return {};
}

bool SwarmProcess::turn() {
  // What is answered here leaves with this turn's poll.
  const bool more = agents_.advance(to_ns(station_->now()), kAnswersATurn,
                                    [&](const SwarmAnswer& answer) { finish(answer); });
  const std::size_t room =
      std::min<std::size_t>(kDeliveriesATurn, agents_.capacity() - agents_.held());
  const std::size_t polled =
      station_->poll(room, [&](const engine::Delivery& delivery, engine::Reply reply) {
        take(delivery, std::move(reply));
      });
  return more || polled > 0;
}

void SwarmProcess::take(const engine::Delivery& delivery, engine::Reply reply) {
  if (!reply) return;
  const std::uint32_t ticket =
      agents_.accept(share_.first + delivery.agent, static_cast<double>(delivery.weight),
                     to_ns(delivery.received));
  MESH_ASSERT(ticket != SwarmAgents::kFull);  // turn() polls no more than there is room for
  replies_[ticket] = std::move(reply);
}

void SwarmProcess::finish(const SwarmAnswer& answer) {
  engine::Reply reply = std::move(replies_[answer.ticket]);
  engine::Answer given = engine::Answer::ready();
  switch (answer.outcome) {
    case DeliveryOutcome::silent:
      keep_silent(std::move(reply));
      return;
    case DeliveryOutcome::conflict:
      given = engine::Answer::in_conflict(sched::ConflictType::context_divergence, {0, 1});
      break;
    case DeliveryOutcome::ready:
      break;
  }
  reply.received_at(from_ns(answer.received_ns));
  reply.answer(given);
}

void SwarmProcess::keep_silent(engine::Reply reply) {
  if (silent_.size() < kSilentMost) {
    silent_.push_back(std::move(reply));
    return;
  }
  silent_[silent_next_] = std::move(reply);
  silent_next_ = (silent_next_ + 1) % kSilentMost;
}

}  // namespace mesh::tools
