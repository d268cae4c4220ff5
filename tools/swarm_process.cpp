#include "tools/swarm_process.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

#include <fmt/format.h>

#include "queues/prefetch.hpp"
#include "sched/pinning.hpp"
#include "shm/base/limits.hpp"

namespace mesh::tools {
namespace {

constexpr std::uint32_t kHeldPerAgent = 4;
constexpr std::uint32_t kHeldLeast = 1'024;
constexpr std::uint32_t kHeldMost = 1U << 22;
constexpr std::size_t kSilentMost = 65'536;
constexpr std::uint32_t kAnswersATurn = 1'024;
constexpr std::size_t kDeliveriesATurn = 256;
// A signal does not end a wait for deliveries, so none is longer.
constexpr Nanos kLookAtSignals{100 * kNsPerMs};
// An answer nearer than that: the process polls instead of being woken.
constexpr Nanos kNapBefore{20 * kNsPerMs};
constexpr Nanos kNapMost{kNsPerMs};
constexpr Nanos kAttachPatience{5 * kNsPerSecond};
constexpr Nanos kEnginePatience{60 * kNsPerSecond};  // while it is started again

}  // namespace

Result<std::unique_ptr<SwarmProcess>> SwarmProcess::start(const SwarmProcessOptions& options) {
  MESH_TRY(auto station,
           engine::Station::attach(options.directory, {.name = options.prefix,
                                                       .agents = options.share.count,
                                                       .connect = {.patience = kAttachPatience},
                                                       .wait = {queues::WaitPolicy::kPark},
                                                       .engine_patience = kEnginePatience}));
  const std::uint32_t capacity =
      std::min(std::max(options.share.count * kHeldPerAgent, kHeldLeast), kHeldMost);
  MESH_TRY(SwarmAgents agents, SwarmAgents::create(SwarmPopulation(options.population),
                                                   {.share = options.share, .capacity = capacity}));
  auto process = std::unique_ptr<SwarmProcess>(
      new SwarmProcess(options, std::move(station), std::move(agents)));
  MESH_CHECK_OK(process->enrol(options));
  return process;
}

SwarmProcess::SwarmProcess(const SwarmProcessOptions& options,
                           std::unique_ptr<engine::Station> station, SwarmAgents agents)
    : share_(options.share),
      spacing_(options.spacing),
      fifo_priority_(options.fifo_priority),
      station_(std::move(station)),
      agents_(std::move(agents)),
      replies_(agents_.capacity()) {
  finished_.reserve(kAnswersATurn);
}

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
  // A timer of ours that is late makes an agent late. What cannot be had is done without.
  sched::ThreadOptions rights;
  rights.fifo_priority = fifo_priority_;
  static_cast<void>(sched::prepare_thread(rights));
  while (!stop.requested()) {
    if (turn()) continue;
    if (station_->is_lost()) return tl::unexpected<Error>(station_->lost_reason());
    const HostTime now = station_->now();
    const HostTime due = from_ns(agents_.next_due_ns());
    if (due < now + kNapBefore) {
      nap(now);
    } else {
      station_->wait(std::min(now + kLookAtSignals, due));
    }
  }
  return {};
}

// While agents are at work deliveries wake nobody: they are counted from when they were sent, and
// are polled in time. What falls due meanwhile is dealt with in one turn.
void SwarmProcess::nap(HostTime now) {
  const std::int64_t due_ns = std::max(agents_.next_due_ns(), turned_ns_ + spacing_.count());
  const std::int64_t left_ns = std::min(due_ns - to_ns(now), kNapMost.count());
  if (left_ns <= 0) return;
  const timespec left{0, left_ns};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &left, nullptr);  // cut short: a turn for nothing
}

bool SwarmProcess::turn() {
  turned_ns_ = to_ns(station_->now());
  // What is answered here leaves with this turn's poll.
  const bool more = agents_.advance(turned_ns_, kAnswersATurn, [&](const SwarmAnswer& answer) {
    queues::prefetch_for_writing(&replies_[answer.ticket]);  // where nobody looked since it came
    finished_.push_back(answer);
  });
  answer_finished();
  const std::size_t room =
      std::min<std::size_t>(kDeliveriesATurn, agents_.capacity() - agents_.held());
  const std::size_t polled =
      station_->poll(room, [&](const engine::Delivery& delivery, engine::Reply reply) {
        take(delivery, std::move(reply));
      });
  return more || (polled != 0 && polled == room) || agents_.next_due_ns() <= turned_ns_;
}

void SwarmProcess::take(const engine::Delivery& delivery, engine::Reply reply) {
  if (!reply) return;
  const std::uint32_t ticket = agents_.accept(
      share_.first + delivery.agent, static_cast<double>(delivery.weight), to_ns(delivery.sent));
  MESH_ASSERT(ticket != SwarmAgents::kFull);  // turn() polls no more than there is room for
  replies_[ticket] = std::move(reply);
}

void SwarmProcess::answer_finished() {
  for (const SwarmAnswer& answer : finished_) this->answer(answer);
  finished_.clear();
}

void SwarmProcess::answer(const SwarmAnswer& answer) {
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
  station_->answer(std::move(reply), given);
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
