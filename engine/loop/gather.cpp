// Phase 5, gather: operations that are over give their result.
#include <utility>

#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

constexpr std::uint64_t kRouteProbes = 32;

constexpr std::uint64_t first_route(std::uint64_t message, AgentId target) noexcept {
  return ((message ^ static_cast<std::uint64_t>(target) << 32) * 0x9E3779B97F4A7C15ULL) >> 40;
}

}  // namespace

bool EngineLoop::State::gather() {
  bool worked = false;
  for (std::uint32_t slot = 0; slot < operations.size(); ++slot) {
    Operation& operation = operations[slot];
    if (operation.state != OperationState::kSending) continue;
    const std::int64_t start = clock();
    // Complete is complete only when everybody was sent to.
    const bool all_sent = operation.next_bucket >= operation.bucket_count;
    const sched::GatherEnd why = operation.gather->why_over(from_ns(now_ns));
    if (why == sched::GatherEnd::kOpen || (why == sched::GatherEnd::kComplete && !all_sent))
      continue;
    operation.cost.gather_ns += clock() - start;
    end_operation(slot, why);
    worked = true;
  }
  return worked;
}

void EngineLoop::State::end_operation(std::uint32_t slot, sched::GatherEnd why) {
  Operation& operation = operations[slot];
  operation.gather->end(why, from_ns(now_ns));
  wheel->cancel_operation(slot);
  if (operation.next_bucket < operation.bucket_count) {
    operation.next_bucket = operation.bucket_count;
    close_body(operation.body);
  }
  operation.state = OperationState::kEnded;
  if (finished_head - finished_tail == finished.size()) ++finished_tail;  // nobody asked for it
  finished[finished_head++ % finished.size()] = {
      .id = operation_id(slot, operation.serial),
      .target = operation.request.target,
      .result = operation.gather->result(from_ns(now_ns)),
      .cost = operation.cost};
}

// Open addressing, a few places to look in. The same message to the same target replaces what stood
// there; where all places are taken one reply is given up, and counted.
void EngineLoop::State::remember_route(std::uint64_t message, AgentId target,
                                       AgentId source) noexcept {
  const std::uint64_t first = first_route(message, target);
  ReplyRoute* chosen = nullptr;
  for (std::uint64_t i = 0; i < kRouteProbes; ++i) {
    ReplyRoute& route = routes[(first + i) & (kReplyRoutes - 1)];
    if (route.message == message + 1 && route.target == target) {
      chosen = &route;
      break;
    }
    if (route.message == 0 && chosen == nullptr) chosen = &route;
  }
  if (chosen == nullptr) {
    chosen = &routes[first & (kReplyRoutes - 1)];
    ++counters.lost_replies;
  }
  *chosen = {message + 1, target, source};
}

void EngineLoop::State::forget_routes() noexcept {
  for (ReplyRoute& route : routes) {
    if (route.message == 0) continue;
    if (is_active(static_cast<std::uint32_t>(index_of(route.target)))) continue;
    if (route.source != AgentId{0}) ++counters.lost_replies;
    route = {};
  }
}

std::optional<AgentId> EngineLoop::State::take_route(std::uint64_t message,
                                                     AgentId target) noexcept {
  const std::uint64_t first = first_route(message, target);
  for (std::uint64_t i = 0; i < kRouteProbes; ++i) {
    ReplyRoute& route = routes[(first + i) & (kReplyRoutes - 1)];
    if (route.message != message + 1 || route.target != target) continue;
    const AgentId source = route.source;
    route = {};
    return source;
  }
  return std::nullopt;
}

}  // namespace mesh::engine
