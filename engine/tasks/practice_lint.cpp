#include "engine/tasks/practice_lint.hpp"

#include <algorithm>
#include <array>

namespace mesh::tasks {
namespace {

DependencyGraphConfig order_config(const PracticeLintConfig& config) {
  DependencyGraphConfig graph;
  graph.tasks_max = config.resources_max;
  graph.edges_max = config.orders_max;
  graph.strict = true;
  graph.events_max = 1;
  return graph;
}

}  // namespace

std::string_view to_string(Practice practice) noexcept {
  constexpr std::array<std::string_view, 4> kNames{"held long", "held several", "no timeout",
                                                   "unordered"};
  const auto at = static_cast<std::size_t>(practice);
  return at < kNames.size() ? kNames[at] : "unknown";
}

std::string_view advice_of(Practice practice) noexcept {
  constexpr std::array<std::string_view, 4> kAdvice{
      "do the slow part before it is acquired, or renew and release in between",
      "acquire fewer at once, or all of them by one AcquireAll",
      "name a timeout, and say what is done when it is over",
      "acquire them in one order everywhere, or by one AcquireAll"};
  const auto at = static_cast<std::size_t>(practice);
  return at < kAdvice.size() ? kAdvice[at] : "";
}

Status PracticeLint::validate(const PracticeLintConfig& config) {
  const auto bad = [](const char* what) {
    return fail(Errc::invalid_config, std::string("practice lint: ") + what);
  };
  if (!is_positive_duration(config.held_long_ns) || !is_duration(config.wait_max_ns) ||
      !is_duration(config.default_timeout_ns))
    return bad("held_long_ns, wait_max_ns or default_timeout_ns is below 0 or above 36 years");
  if (config.several_max == 0) return bad("several_max is 0: any holding would be one too many");
  if (config.agents_max == 0 || config.agents_max > 65'536)
    return bad("agents_max is outside 1..65536");
  if (config.holdings_max == 0 || config.holdings_max > SlotSet::kSlotsMax)
    return bad("holdings_max is outside 1..262144");
  if (config.findings_max == 0) return bad("findings_max is 0");
  return DependencyGraph::validate(order_config(config));
}

PracticeLint::PracticeLint(const PracticeLintConfig& config)
    : config_(config),
      holdings_(config.holdings_max),
      slots_(config.holdings_max),
      index_(config.holdings_max),
      first_(config.agents_max, kNone),
      counts_(config.agents_max),
      waits_(config.agents_max),
      orders_(order_config(config)),
      nodes_(config.resources_max),
      found_(static_cast<std::size_t>(last_of(Practice{})) + 1) {}

// --- what is found -----------------------------------------------------------------------------

void PracticeLint::find(PracticeFinding finding) {
  ++found_[static_cast<std::size_t>(finding.practice)];
  finding.advice = advice_of(finding.practice);
  if (findings_.size() == config_.findings_max) {
    findings_.pop_front();
    ++dropped_;
  }
  findings_.push_back(std::move(finding));
}

void PracticeLint::judge_wait(std::uint32_t agent, std::string_view resource, Nanos timeout,
                              Nanos now) {
  const Nanos waits = timeout.count() < 0 ? config_.default_timeout_ns : timeout;
  if (waits <= config_.wait_max_ns) return;
  find({Practice::no_timeout, agent, std::string(resource), {}, now, {}});
}

void PracticeLint::judge_age(std::uint32_t slot, Nanos now) {
  Holding& its = holdings_[slot];
  if (its.was_long || now.count() - its.since_ns <= config_.held_long_ns.count()) return;
  its.was_long = true;
  find({Practice::held_long, its.agent, its.name, {}, Nanos{its.since_ns}, {}});
}

std::uint64_t PracticeLint::node_of(std::string_view resource) {
  const std::uint32_t known = nodes_.find(hash_of(resource));
  if (known != kNone) return std::uint64_t{known} + 1;
  if (names_.size() == config_.resources_max) {
    ++untracked_;
    return 0;
  }
  nodes_.set(hash_of(resource), static_cast<std::uint32_t>(names_.size()));
  names_.emplace_back(resource);
  orders_.apply(graph::AddTask{names_.size(), {}}, Nanos{0});
  return names_.size();
}

// It comes after all that the agent holds. An order that closes a circle is one to be told; it does
// not go into the graph, and is told again when it is seen again.
void PracticeLint::note_order(std::uint32_t agent, std::string_view resource, Nanos now) {
  if (first_[agent] == kNone) return;
  const std::uint64_t node = node_of(resource);
  for (std::uint32_t at = first_[agent]; at != kNone; at = holdings_[at].next) {
    const std::uint64_t before = node_of(holdings_[at].name);
    if (node == 0 || before == 0 || node == before) continue;
    const auto reply = orders_.apply(graph::AddDependencies{node, {before}}, Nanos{0});
    untracked_ += reply.code == Errc::capacity ? 1U : 0U;
    if (reply.code != Errc::cycle) continue;
    PracticeFinding finding{Practice::unordered, agent, std::string(resource), {}, now, {}};
    for (const std::uint64_t one : reply.path) finding.circle.push_back(names_[one - 1]);
    find(std::move(finding));
  }
}

// --- who holds what ----------------------------------------------------------------------------

std::uint32_t PracticeLint::slot_of(std::uint32_t agent, std::string_view resource) const {
  return index_.find(hash_of_holding(agent, resource));
}

void PracticeLint::hold(std::uint32_t agent, std::uint32_t station, std::string_view resource,
                        Nanos now) {
  const std::uint32_t known = slot_of(agent, resource);
  if (known != kNone) {
    ++holdings_[known].count;
    return;
  }
  note_order(agent, resource, now);
  const std::uint32_t slot = slots_.take();
  if (slot == SlotSet::kNone) {
    ++untracked_;
    return;
  }
  holdings_[slot] = {std::string(resource), now.count(), agent, station, 1, first_[agent], false};
  index_.set(hash_of_holding(agent, resource), slot);
  first_[agent] = slot;
  if (++counts_[agent] == config_.several_max + 1) {
    find({Practice::held_several, agent, std::string(resource), {}, now, {}});
  }
}

void PracticeLint::drop(std::uint32_t slot, Nanos now) {
  judge_age(slot, now);
  const Holding& its = holdings_[slot];
  std::uint32_t* link = &first_[its.agent];
  while (*link != slot) link = &holdings_[*link].next;
  *link = its.next;
  --counts_[its.agent];
  index_.erase(hash_of_holding(its.agent, its.name));
  slots_.free(slot);
}

// --- commands ----------------------------------------------------------------------------------

void PracticeLint::on(const resource::Acquire& order, const ResourceReply& reply, Nanos now) {
  judge_wait(order.agent, order.resource, order.timeout, now);
  if (reply.refusal == Refusal::none) return hold(order.agent, order.station, order.resource, now);
  if (reply.ticket != 0) waits_[order.agent] = {reply.ticket, order.station, {order.resource}};
}

void PracticeLint::on(const resource::AcquireAll& order, const ResourceReply& reply, Nanos now) {
  std::vector<std::string> sorted = order.resources;
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  judge_wait(order.agent, sorted.front(), order.timeout, now);
  if (reply.refusal == Refusal::none) {
    for (const auto& one : sorted) hold(order.agent, order.station, one, now);
  } else if (reply.ticket != 0) {
    waits_[order.agent] = {reply.ticket, order.station, std::move(sorted)};
  }
}

void PracticeLint::on(const resource::Release& order, const ResourceReply&, Nanos now) {
  const std::uint32_t slot = slot_of(order.agent, order.resource);
  if (slot != kNone && --holdings_[slot].count == 0) drop(slot, now);
}

void PracticeLint::on(const resource::ReleaseAll& order, const ResourceReply&, Nanos now) {
  if (order.agent >= config_.agents_max) return;
  waits_[order.agent] = {};
  while (first_[order.agent] != kNone) drop(first_[order.agent], now);
}

void PracticeLint::on(const resource::Renew&, const ResourceReply&, Nanos) {}

void PracticeLint::on(const resource::StationClosed& order, const ResourceReply&, Nanos now) {
  for (Wait& wait : waits_) {
    if (wait.ticket != 0 && wait.station == order.station) wait = {};
  }
  for (std::uint32_t slot = 0; slot < config_.holdings_max; ++slot) {
    if (slots_.is_used(slot) && holdings_[slot].station == order.station) drop(slot, now);
  }
}

void PracticeLint::saw(const ResourceCommand& command, const ResourceReply& reply, Nanos now) {
  const bool is_known = std::visit(
      [&](const auto& order) {
        if constexpr (requires { order.agent; }) return order.agent < config_.agents_max;
        return true;
      },
      command);
  // What was due before the command happened first; of the command itself is what became of the
  // very ticket that it was given.
  heard(reply.news, now);
  if (!is_known) {
    ++untracked_;
    return;
  }
  if (reply.code != Errc::ok) return;
  std::visit([&](const auto& order) { on(order, reply, now); }, command);
  for (const ResourceNews& one : reply.news) {
    if (one.ticket != 0 && one.ticket == reply.ticket) heard(std::span(&one, 1), now);
  }
}

void PracticeLint::heard(std::span<const ResourceNews> news, Nanos now) {
  for (const ResourceNews& one : news) {
    if (one.agent >= config_.agents_max) continue;
    if (one.ticket == 0) {  // its lease is over
      const std::uint32_t slot = slot_of(one.agent, one.resource);
      if (slot != kNone) drop(slot, now);
      continue;
    }
    Wait& wait = waits_[one.agent];
    if (one.ticket != wait.ticket) continue;
    const Wait ended = std::exchange(wait, {});
    if (one.kind != ResourceNotice::granted) continue;
    for (const auto& name : ended.names) hold(one.agent, ended.station, name, now);
  }
}

void PracticeLint::look(Nanos now) {
  for (std::uint32_t slot = 0; slot < config_.holdings_max; ++slot) {
    if (slots_.is_used(slot)) judge_age(slot, now);
  }
}

}  // namespace mesh::tasks
