// Who gets a task: candidates first, then a strategy among them. A candidate has the capabilities,
// may be routed to and is not full; no score makes up for that.
#include <algorithm>
#include <bit>

#include "engine/coordination/blocks/names.hpp"
#include "engine/tasks/task_scheduler.hpp"

namespace mesh::tasks {

bool TaskScheduler::can(std::uint32_t at, std::uint32_t kind) const noexcept {
  const Agent& agent = agents_[at];
  return agent.known && (agent.any || (kinds_[kind].requirements & ~agent.capabilities) == 0);
}

// Its bits, as its profile and what it has say.
void TaskScheduler::refresh(std::uint32_t at) noexcept {
  const Agent& agent = agents_[at];
  const std::uint64_t bit = std::uint64_t{1} << (at % 64);
  const auto put = [&](std::uint64_t& word, bool is_set) {
    word = is_set ? word | bit : word & ~bit;
  };
  put(open_[at / 64], agent.is_open() && agent.load() < agent.concurrent_max);
  for (std::uint32_t kind = 0; kind < config_.kinds_max; ++kind) {
    if (kinds_[kind].tasks != 0) put(kinds_[kind].capable[at / 64], can(at, kind));
  }
}

bool TaskScheduler::has_candidate(std::uint32_t kind) const noexcept {
  for (std::size_t i = 0; i < open_.size(); ++i) {
    if ((open_[i] & kinds_[kind].capable[i]) != 0) return true;
  }
  return false;
}

std::uint32_t TaskScheduler::count_candidates(std::uint32_t kind) const noexcept {
  std::uint32_t count = 0;
  for (std::size_t i = 0; i < open_.size(); ++i) {
    count += static_cast<std::uint32_t>(std::popcount(open_[i] & kinds_[kind].capable[i]));
  }
  return count;
}

std::uint32_t TaskScheduler::nth_candidate(std::uint32_t kind, std::uint64_t n) const noexcept {
  for (std::size_t i = 0; i < open_.size(); ++i) {
    std::uint64_t word = open_[i] & kinds_[kind].capable[i];
    const auto here = static_cast<std::uint64_t>(std::popcount(word));
    if (n >= here) {
      n -= here;
      continue;
    }
    for (; n != 0; --n) word &= word - 1;
    return static_cast<std::uint32_t>(i * 64) + static_cast<std::uint32_t>(std::countr_zero(word));
  }
  return kNoAgent;
}

// The best by is_better(a, b); agents come in order, so that of two alike the lower stays.
template <class Better>
std::uint32_t TaskScheduler::best_candidate(std::uint32_t kind, Better&& is_better) const noexcept {
  std::uint32_t best = kNoAgent;
  for (std::size_t i = 0; i < open_.size(); ++i) {
    for (std::uint64_t word = open_[i] & kinds_[kind].capable[i]; word != 0; word &= word - 1) {
      const auto at =
          static_cast<std::uint32_t>(i * 64) + static_cast<std::uint32_t>(std::countr_zero(word));
      if (best == kNoAgent || is_better(at, best)) best = at;
    }
  }
  return best;
}

// A smaller share of its capacity is in use.
bool TaskScheduler::is_lighter(std::uint32_t a, std::uint32_t b) const noexcept {
  return std::uint64_t{agents_[a].load()} * agents_[b].concurrent_max <
         std::uint64_t{agents_[b].load()} * agents_[a].concurrent_max;
}

// The lightest that may, and does not have it already.
std::uint32_t TaskScheduler::choose_other(std::uint32_t at) const noexcept {
  const std::uint32_t has_it = tasks_[at].agent;
  const std::uint32_t best =
      best_candidate(tasks_[at].kind, [this, has_it](std::uint32_t a, std::uint32_t b) {
        return a != has_it && (b == has_it || is_lighter(a, b));
      });
  return best == has_it ? kNoAgent : best;
}

// --- strategies --------------------------------------------------------------------------------

// Drawn from all agents until two are candidates: each pair is as likely. Where few are, they are
// counted instead.
std::uint32_t TaskScheduler::choose_of_two(std::uint32_t kind, Draws& draws) const noexcept {
  constexpr int kDrawsMax = 32;
  std::uint32_t drawn = kNoAgent;
  for (int i = 0; i < kDrawsMax; ++i) {
    const auto at = static_cast<std::uint32_t>(draws.rng.below(config_.agents_max));
    const std::uint64_t word = open_[at / 64] & kinds_[kind].capable[at / 64];
    if ((word >> (at % 64) & 1U) == 0 || at == drawn) continue;
    if (drawn == kNoAgent) {
      drawn = at;
      continue;
    }
    const std::uint32_t lower = std::min(at, drawn);
    const std::uint32_t higher = std::max(at, drawn);
    return is_lighter(higher, lower) ? higher : lower;
  }
  const std::uint32_t count = count_candidates(kind);
  if (count == 0) return kNoAgent;
  const std::uint64_t first = draws.rng.below(count);
  if (count == 1) return nth_candidate(kind, first);
  std::uint64_t second = draws.rng.below(count - 1);
  second += second >= first ? 1U : 0U;
  const std::uint32_t a = nth_candidate(kind, std::min(first, second));
  const std::uint32_t b = nth_candidate(kind, std::max(first, second));
  return is_lighter(b, a) ? b : a;
}

std::uint32_t TaskScheduler::choose_capable(std::uint32_t kind, Draws& draws) const noexcept {
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < open_.size() && seen <= config_.p2c_above; ++i) {
    seen += static_cast<std::uint64_t>(std::popcount(open_[i] & kinds_[kind].capable[i]));
  }
  if (seen > config_.p2c_above) return choose_of_two(kind, draws);
  return best_candidate(kind, [this](std::uint32_t a, std::uint32_t b) {
    const Agent& one = agents_[a];
    const Agent& other = agents_[b];
    return one.load() != other.load() ? one.load() < other.load() : one.priority > other.priority;
  });
}

std::uint32_t TaskScheduler::choose_familiar(std::uint32_t at, Draws& draws) const noexcept {
  const Task& one = tasks_[at];
  const Affinity& last = familiar_[one.type % familiar_.size()];
  if (last.type == one.type) {
    const Agent& agent = agents_[last.agent];
    const bool is_open =
        (open_[last.agent / 64] >> (last.agent % 64) & 1U) != 0 && can(last.agent, one.kind);
    const bool is_light = std::uint64_t{agent.load()} * 1'000'000 <
                          std::uint64_t{agent.concurrent_max} * config_.affinity_ppm;
    if (is_open && is_light) return last.agent;
  }
  return choose_capable(one.kind, draws);
}

// When it would be done with one more of such a cost: what it has, side by side, then this one.
std::int64_t TaskScheduler::done_at(std::uint32_t at, std::int64_t cost_ns) const noexcept {
  const Agent& agent = agents_[at];
  const std::int64_t own_ns = cost_ns != 0 ? cost_ns : agent.usual_ns;
  const auto waits = static_cast<std::int64_t>(agent.load());
  const std::int64_t before_ns = std::min(agent.usual_ns, kDurationMaxNs / kConcurrentMax) * waits /
                                 std::max<std::int64_t>(1, agent.concurrent_max);
  return before_ns + own_ns + std::min(agent.lead_ns, kDurationMaxNs / 2);
}

std::uint32_t TaskScheduler::choose_scored(std::uint32_t at) const noexcept {
  const std::uint32_t kind = tasks_[at].kind;
  const std::int64_t cost_ns = terms_[at].cost_ns;
  const auto by = [&](auto&& value) {  // the larger
    return best_candidate(kind, [&](std::uint32_t a, std::uint32_t b) {
      return value(agents_[a], a) != value(agents_[b], b)
                 ? value(agents_[a], a) > value(agents_[b], b)
                 : is_lighter(a, b);
    });
  };
  switch (strategy_) {
    case Strategy::reputation:
      return by([](const Agent& one, std::uint32_t) { return one.reputation_ppm; });
    case Strategy::health:
      return by([](const Agent& one, std::uint32_t) { return one.health_ppm; });
    case Strategy::impedance:
      return by([](const Agent& one, std::uint32_t) { return -one.lead_ns; });
    case Strategy::auction:
      return by([](const Agent& one, std::uint32_t) {
        const std::int64_t each_ns = std::min(one.usual_ns, kDurationMaxNs / (2 * kConcurrentMax));
        return -(static_cast<std::int64_t>(one.load()) + 1) * each_ns - one.lead_ns;
      });
    case Strategy::least_loaded:
      return by([](const Agent&, std::uint32_t) { return 0; });
    default:
      return by([&](const Agent&, std::uint32_t agent) { return -done_at(agent, cost_ns); });
  }
}

std::uint32_t TaskScheduler::choose_custom(std::uint32_t at) const noexcept {
  listed_.clear();
  const std::uint32_t kind = tasks_[at].kind;
  for (std::size_t i = 0; i < open_.size(); ++i) {
    for (std::uint64_t word = open_[i] & kinds_[kind].capable[i]; word != 0; word &= word - 1) {
      listed_.push_back(static_cast<std::uint32_t>(i * 64) +
                        static_cast<std::uint32_t>(std::countr_zero(word)));
    }
  }
  for (const Custom& one : custom_) {
    if (one.name != custom_name_ || listed_.empty()) continue;
    try {
      const std::uint32_t agent = one.chooser(*this, {tasks_[at].id, tasks_[at].type, listed_});
      if (std::binary_search(listed_.begin(), listed_.end(), agent)) return agent;
    } catch (...) {  // the program's own; counted below
    }
    ++callbacks_failed_;
  }
  return kNoAgent;
}

std::uint32_t TaskScheduler::choose(std::uint32_t at, Draws& draws) const noexcept {
  const std::uint32_t kind = tasks_[at].kind;
  switch (strategy_) {
    case Strategy::capability:
      return choose_capable(kind, draws);
    case Strategy::round_robin: {
      const std::uint32_t count = count_candidates(kind);
      return count == 0 ? kNoAgent : nth_candidate(kind, draws.turn++ % count);
    }
    case Strategy::affinity:
      return choose_familiar(at, draws);
    case Strategy::p2c:
      return choose_of_two(kind, draws);
    case Strategy::custom:
      return choose_custom(at);
    default:
      return choose_scored(at);
  }
}

std::uint32_t TaskScheduler::would_choose(std::uint64_t id) const {
  const std::uint32_t at = find(id);
  if (at == kNone || is_final(tasks_[at].state)) return kNoAgent;
  Draws draws = draws_;
  return choose(at, draws);
}

// Strategy deadline: somebody, full or not, would be done with it in time.
bool TaskScheduler::is_in_time(const task::Submit& order, std::int64_t now_ns) const noexcept {
  if (strategy_ != Strategy::deadline || order.deadline.count() == 0) return true;
  const std::int64_t left_ns = order.deadline.count() - now_ns;
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) {
    const Agent& one = agents_[agent];
    const bool may = one.is_open() && (one.any || (order.requirements & ~one.capabilities) == 0);
    if (may && done_at(agent, order.cost.count()) <= left_ns) return true;
  }
  return false;
}

Status TaskScheduler::register_strategy(std::string_view name, Chooser chooser) {
  MESH_CHECK_OK(check_name("task scheduler: strategy", name));
  if (!chooser) return complain(Errc::invalid_argument, "a strategy that cannot be called");
  bool is_taken = false;
  for (std::size_t i = 0; i <= static_cast<std::size_t>(Strategy::custom); ++i) {
    is_taken = is_taken || to_string(static_cast<Strategy>(i)) == name;
  }
  for (const Custom& one : custom_) is_taken = is_taken || one.name == name;
  if (is_taken) {
    return complain(Errc::already_exists, "there is a strategy \"" + std::string(name) + "\"");
  }
  if (custom_.size() == custom_.capacity()) {
    return complain(Errc::capacity, "8 strategies of one's own are the limit");
  }
  custom_.push_back({std::string(name), std::move(chooser)});
  return {};
}

std::string_view TaskScheduler::strategy() const noexcept {
  return strategy_ == Strategy::custom ? std::string_view(custom_name_) : to_string(strategy_);
}

}  // namespace mesh::tasks
