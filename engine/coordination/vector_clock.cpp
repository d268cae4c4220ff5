#include "engine/coordination/vector_clock.hpp"

#include <algorithm>
#include <utility>

#include "engine/coordination/blocks/mutant.hpp"

namespace mesh::coordination {

VectorClockCausality::VectorClockCausality(const Config& config, std::uint64_t /*seed*/)
    : ServiceForm(config),
      matrix_(std::size_t{config.members_max} * config.members_max),
      held_(std::size_t{config.buffer_max} + config.log_max),
      clocks_(held_.size() * config.members_max),
      store_(config.store_bytes),
      readers_(config.readers_max),
      barriers_(config.barriers_max),
      hybrid_({}, static_cast<std::uint64_t>(config.skew_max_ns.count() / kNsPerMs)),
      heard_(config.members_max) {
  members_.reserve(config.members_max);
  pruned_.reserve(config.members_max);
  members_.push_back({config.self, true, 0, 0});
  free_.reserve(held_.size());
  waiting_.reserve(std::size_t{config.buffer_max} + 1);  // one that goes at once passes through
  for (auto i = static_cast<std::uint32_t>(held_.size()); i != 0; --i) free_.push_back(i - 1);
  order_.reserve(config.log_max);
  for (auto& barrier : barriers_) barrier.clock.resize(config.members_max);
}

std::uint32_t VectorClockCausality::member(std::uint64_t agent) const noexcept {
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    if (members_[i].agent == agent) return i;
  }
  return kNone;
}

bool VectorClockCausality::knows_all(std::span<const ClockEntry> clock) const noexcept {
  return std::all_of(clock.begin(), clock.end(), [&](const ClockEntry& entry) {
    return entry.count == 0 || member(entry.agent) != kNone ||
           entry.count <= pruned_count(entry.agent);
  });
}

// Own events that a peer claims to know, and that were never emitted.
VectorClockCausality::Reply VectorClockCausality::paradox(std::uint64_t agent, std::uint64_t ahead,
                                                          std::int64_t now_ns) noexcept {
  ++counters_.paradoxes;
  ++new_paradoxes_;
  emit(Event::paradox, Severity::debug, now_ns, {agent, ahead});
  return refuse(Errc::invalid_argument);
}

// --- events ------------------------------------------------------------------------------------

std::uint32_t VectorClockCausality::hold(const Dot& dot,
                                         std::span<const std::byte> payload) noexcept {
  const std::uint32_t at = free_.back();
  free_.pop_back();
  held_[at] = {dot, 0, 0, true, store_.put(payload)};
  for (auto& count : row_of(at)) count = 0;
  return at;
}

void VectorClockCausality::let_go(std::uint32_t at) noexcept {
  store_.free(held_[at].payload);
  held_[at] = {};
  free_.push_back(at);  // reserved
}

bool VectorClockCausality::is_deliverable(std::uint32_t at) const noexcept {
  const Held& held = held_[at];
  const std::uint32_t origin = member(held.dot.actor);
  const std::uint64_t have = members_[origin].count;
  if (held.dot.counter <= have || held.dot.counter - 1 - held.gap > have) return false;
  const auto clock = row_of(at);
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    if (i != origin && clock[i] > members_[i].count && !MESH_MUTANT("causal.order")) return false;
  }
  return true;
}

// By the sum of its clock, then origin, then sequence: the same on every replica.
bool VectorClockCausality::comes_before(std::uint32_t a, std::uint32_t b) const noexcept {
  __extension__ using Wide = unsigned __int128;
  const auto sum = [&](std::uint32_t at) {
    Wide total = 0;
    for (const auto count : row_of(at)) total += count;
    return total;
  };
  const Wide left = sum(a);
  const Wide right = sum(b);
  if (MESH_MUTANT("causal.ties")) return false;
  return left != right ? left < right : held_[a].dot < held_[b].dot;
}

void VectorClockCausality::deliver(std::uint32_t at, std::vector<Dot>& delivered) noexcept {
  Held& held = held_[at];
  const std::uint32_t origin = member(held.dot.actor);
  members_[origin].count = held.dot.counter;
  members_[origin].last_ns = clock_.last_ns();
  known(0, origin) = held.dot.counter;
  if (origin != 0) {
    const auto clock = row_of(at);
    for (std::uint32_t i = 0; i < members_.size(); ++i) {
      known(origin, i) = std::max(known(origin, i), clock[i]);
    }
  }
  held.position = ++position_;
  order_.push_back(at);  // reserved
  ++counters_.delivered;
  view_changed_ = true;
  delivered.push_back(held.dot);
}

void VectorClockCausality::deliver_all(std::vector<Dot>& delivered) noexcept {
  while (order_.size() < config_.log_max) {
    auto first = waiting_.end();
    for (auto at = waiting_.begin(); at != waiting_.end(); ++at) {
      if (!is_deliverable(*at)) continue;
      if (first == waiting_.end() || comes_before(*at, *first)) first = at;
    }
    if (first == waiting_.end()) return;
    const std::uint32_t next = std::exchange(*first, waiting_.back());
    waiting_.pop_back();
    deliver(next, delivered);
  }
}

VectorClockCausality::Reply VectorClockCausality::emit_event(const causal::Emit& command,
                                                             std::int64_t now_ns) noexcept {
  if (command.payload.size() > config_.payload_bytes_max) return refuse(Errc::invalid_argument);
  if (last_dot_ == UINT64_MAX) return refuse(Errc::overflow);
  Reply reply;
  if (last_dot_ >= bound_ && !MESH_MUTANT("causal.reserved")) {
    reply.refusal = Refusal::would_block;  // the host has yet to journal more dots
    return reply;
  }
  if (order_.size() >= config_.log_max || free_.empty() || !store_.fits(command.payload.size())) {
    return refuse(Errc::capacity);
  }
  const std::uint64_t before = members_[0].count;
  reply.dot = {config_.self, ++last_dot_};
  reply.gap = last_dot_ - 1 - before;
  const std::uint32_t at = hold(reply.dot, command.payload);
  held_[at].gap = reply.gap;
  const auto clock = row_of(at);
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    clock[i] = is_quiet(i, now_ns) ? 0 : members_[i].count;
  }
  clock[0] = last_dot_;
  deliver(at, reply.delivered);
  reply.clock = clock_of(clock);
  reply.guarantee = guarantee_;
  ++counters_.emitted;
  return reply;
}

Errc VectorClockCausality::judge(const causal::Receive& event) const noexcept {
  const std::uint32_t origin = member(event.origin);
  if (origin == kNone && event.sequence != 0 && event.sequence <= pruned_count(event.origin)) {
    return Errc::duplicate;
  }
  if (origin == kNone || !knows_all(event.clock)) return Errc::not_found;
  const bool has_dot = std::count(event.clock.begin(), event.clock.end(),
                                  ClockEntry{event.origin, event.sequence}) == 1;
  const auto entries = std::count_if(event.clock.begin(), event.clock.end(),
                                     [&](const auto& one) { return one.agent == event.origin; });
  const bool fits = event.sequence != 0 && event.gap < event.sequence && has_dot && entries == 1 &&
                    event.payload.size() <= config_.payload_bytes_max;
  if (!fits) return Errc::invalid_argument;
  if (event.sequence <= members_[origin].count && !MESH_MUTANT("causal.duplicate")) {
    return Errc::duplicate;
  }
  const Dot dot{event.origin, event.sequence};
  const bool is_here = std::any_of(waiting_.begin(), waiting_.end(),
                                   [&](std::uint32_t at) { return held_[at].dot == dot; });
  return is_here ? Errc::duplicate : Errc::ok;
}

VectorClockCausality::Reply VectorClockCausality::receive(const causal::Receive& event,
                                                          std::int64_t now_ns) noexcept {
  for (const auto& entry : event.clock) {
    const bool is_own =
        entry.agent == config_.self && entry.count > last_dot_ && !MESH_MUTANT("causal.paradox");
    if (is_own) return paradox(event.origin, entry.count - last_dot_, now_ns);
  }
  const Errc bad = judge(event);
  counters_.duplicates += bad == Errc::duplicate ? 1U : 0U;
  if (bad != Errc::ok) return refuse(bad);
  if (free_.empty() || !store_.fits(event.payload.size())) {
    ++counters_.buffer_full;
    return refuse(Errc::capacity);
  }
  const std::uint32_t at = hold({event.origin, event.sequence}, event.payload);
  held_[at].gap = event.gap;
  const auto clock = row_of(at);
  for (const auto& entry : event.clock) {
    const std::uint32_t place = member(entry.agent);  // none: pruned, and here already
    if (entry.count != 0 && place != kNone) clock[place] = entry.count;
  }
  const bool may_go = is_deliverable(at) && order_.size() < config_.log_max;
  if (!may_go && waiting_.size() >= config_.buffer_max) {
    let_go(at);
    ++counters_.buffer_full;
    return refuse(Errc::capacity);
  }
  ++counters_.received;
  waiting_.push_back(at);  // reserved
  view_changed_ = true;
  Reply reply;
  reply.dot = held_[at].dot;
  reply.guarantee = guarantee_;
  deliver_all(reply.delivered);
  return reply;
}

// --- what is known everywhere ------------------------------------------------------------------

std::uint64_t VectorClockCausality::stable(std::uint32_t column) const noexcept {
  if (!config_.matrix) return 0;
  std::uint64_t least = UINT64_MAX;
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    if (members_[i].is_live) least = std::min(least, known(i, column));
  }
  return least;
}

void VectorClockCausality::truncate() noexcept {
  std::uint64_t read = UINT64_MAX;
  for (const auto& reader : readers_) {
    if (reader.id != 0) read = std::min(read, reader.position);
  }
  std::size_t gone = 0;
  for (; gone < order_.size(); ++gone) {
    const Held& held = held_[order_[gone]];
    const bool is_stable = !config_.matrix || MESH_MUTANT("causal.stable") ||
                           held.dot.counter <= stable(member(held.dot.actor));
    if (!is_stable || (held.position > read && !MESH_MUTANT("causal.reader"))) break;
    let_go(order_[gone]);
  }
  order_.erase(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(gone));
  counters_.truncated += gone;
  view_changed_ = view_changed_ || gone != 0;
}

VectorClockCausality::Reply VectorClockCausality::hear(const causal::Hear& command) noexcept {
  for (const auto& row : command.rows) {
    if (member(row.agent) == kNone || !knows_all(row.clock)) return refuse(Errc::not_found);
    for (const auto& entry : row.clock) {
      if (entry.agent != config_.self || entry.count <= last_dot_) continue;
      return paradox(row.agent, entry.count - last_dot_, clock_.last_ns());
    }
  }
  for (const auto& row : command.rows) {
    const std::uint32_t at = member(row.agent);
    heard_[at] = true;
    if (at == 0) continue;  // what is known here is known best here
    for (const auto& entry : row.clock) {
      const std::uint32_t of = member(entry.agent);
      if (of != kNone) known(at, of) = std::max(known(at, of), entry.count);
    }
  }
  bool all = true;
  for (std::uint32_t i = 1; i < members_.size(); ++i)
    all = all && (heard_[i] || !members_[i].is_live);
  if (all) guarantee_ = Guarantee::exact;
  view_changed_ = true;
  return {};
}

VectorClockCausality::Reply VectorClockCausality::membership(const Command& command,
                                                             std::int64_t now_ns) noexcept {
  if (const auto* added = std::get_if<causal::AddMember>(&command)) {
    const std::uint32_t at = member(added->agent);
    if (at != kNone && members_[at].is_live) return refuse(Errc::already_exists);
    if (at == kNone && members_.size() >= config_.members_max) return refuse(Errc::capacity);
    if (at == kNone) {
      const std::uint64_t count = take_pruned(added->agent);
      members_.push_back({added->agent, true, count, now_ns});  // reserved
      known(0, static_cast<std::uint32_t>(members_.size() - 1)) = count;
    } else {
      members_[at].is_live = true;
    }
    return {};
  }
  const std::uint32_t gone = member(std::get<causal::RemoveMember>(command).agent);
  if (gone == kNone || !members_[gone].is_live) return refuse(Errc::not_found);
  if (gone == 0) return refuse(Errc::invalid_argument);
  members_[gone].is_live = false;
  members_[gone].last_ns = now_ns;
  for (std::uint32_t i = 0; i < config_.members_max; ++i) known(gone, i) = 0;
  emit(Event::member_gone, Severity::info, now_ns, {members_[gone].agent, members_[gone].count});
  view_changed_ = true;
  return {};
}

VectorClockCausality::Reply VectorClockCausality::reconstruct(
    const causal::Reconstruct& command) noexcept {
  if (command.answers.size() <= config_.faults_max) return refuse(Errc::no_candidate);
  if (position_ != 0) return refuse(Errc::wrong_state);
  for (const auto& answer : command.answers) {
    if (!knows_all(answer)) return refuse(Errc::not_found);
  }
  for (const auto& answer : command.answers) {
    for (const auto& entry : answer) {
      if (entry.count == 0) continue;
      const std::uint32_t at = member(entry.agent);
      if (at == kNone) continue;  // pruned, and here already
      members_[at].count = std::max(members_[at].count, entry.count);
      known(0, at) = members_[at].count;
    }
  }
  last_dot_ = std::max(last_dot_, members_[0].count);
  guarantee_ = members_.size() > 1 ? Guarantee::plausible : Guarantee::exact;
  std::fill(heard_.begin(), heard_.end(), false);
  std::erase_if(waiting_, [&](std::uint32_t at) {
    const bool is_late = held_[at].dot.counter <= members_[member(held_[at].dot.actor)].count;
    if (is_late) let_go(at);
    return is_late;
  });
  Reply reply;
  reply.guarantee = guarantee_;
  deliver_all(reply.delivered);
  view_changed_ = true;
  return reply;
}

// --- barriers, readers, stamps -----------------------------------------------------------------

bool VectorClockCausality::is_reached(std::span<const ClockEntry> clock) const noexcept {
  return std::all_of(clock.begin(), clock.end(), [&](const ClockEntry& entry) {
    const std::uint32_t at = member(entry.agent);
    if (at == kNone) return entry.count <= pruned_count(entry.agent);
    return members_[at].count >= entry.count;
  });
}

VectorClockCausality::Reply VectorClockCausality::of_barrier(const Command& command,
                                                             std::int64_t now_ns) noexcept {
  const auto named = [&](std::uint64_t id) {
    return std::find_if(barriers_.begin(), barriers_.end(),
                        [&](const Barrier& barrier) { return barrier.id == id; });
  };
  if (const auto* cancelled = std::get_if<causal::Cancel>(&command)) {
    const auto place = named(cancelled->barrier);
    if (cancelled->barrier == 0 || place == barriers_.end()) return refuse(Errc::not_found);
    place->id = 0;
    return {};
  }
  const auto& wanted = std::get<causal::Wait>(command);
  if (wanted.barrier == 0 || !ServiceClock::is_valid(wanted.deadline)) {
    return refuse(Errc::invalid_argument);
  }
  if (!knows_all(wanted.clock)) return refuse(Errc::not_found);
  if (named(wanted.barrier) != barriers_.end()) return refuse(Errc::already_exists);
  if (is_reached(wanted.clock)) {
    ++counters_.barriers_met;
    return {};
  }
  if (wanted.deadline.count() != 0 && wanted.deadline.count() <= now_ns) {
    return refuse(Errc::expired);
  }
  const auto free = named(0);
  if (free == barriers_.end()) return refuse(Errc::capacity);
  free->id = wanted.barrier;
  free->deadline_ns = wanted.deadline.count();
  std::fill(free->clock.begin(), free->clock.end(), 0);
  for (const auto& entry : wanted.clock) {
    const std::uint32_t place = member(entry.agent);
    if (entry.count != 0 && place != kNone) free->clock[place] = entry.count;
  }
  Reply reply;
  reply.refusal = Refusal::would_block;
  return reply;
}

VectorClockCausality::Reply VectorClockCausality::of_reader(const Command& command) noexcept {
  const auto named = [&](std::uint64_t id) {
    return std::find_if(readers_.begin(), readers_.end(),
                        [&](const Reader& reader) { return reader.id == id; });
  };
  const std::uint64_t floor = order_.empty() ? position_ : held_[order_.front()].position - 1;
  if (const auto* added = std::get_if<causal::AddReader>(&command)) {
    if (added->reader == 0) return refuse(Errc::invalid_argument);
    if (named(added->reader) != readers_.end()) return refuse(Errc::already_exists);
    const auto free = named(0);
    if (free == readers_.end()) return refuse(Errc::capacity);
    *free = {added->reader, floor};
    return {};
  }
  const auto* moved = std::get_if<causal::Advance>(&command);
  const std::uint64_t id =
      moved != nullptr ? moved->reader : std::get<causal::RemoveReader>(command).reader;
  const auto place = named(id);
  if (id == 0 || place == readers_.end()) return refuse(Errc::not_found);
  if (moved == nullptr) {
    *place = {};
    return {};
  }
  if (moved->position > position_) return refuse(Errc::invalid_argument);
  if (moved->position < floor) return refuse(Errc::expired);
  place->position = moved->position;
  return {};
}

VectorClockCausality::Reply VectorClockCausality::of_stamp(const Command& command,
                                                           std::int64_t now_ns) noexcept {
  const auto physical_ms = static_cast<std::uint64_t>(now_ns / kNsPerMs);
  Reply reply;
  if (const auto* heard = std::get_if<causal::HearStamp>(&command)) {
    const HybridStamp remote = HybridStamp::of(heard->word);
    if (hybrid_.receive(remote, physical_ms) != Errc::ok) {
      return paradox(0, remote.ms - std::min(remote.ms, physical_ms), now_ns);
    }
  } else {
    hybrid_.tick(physical_ms);
  }
  reply.stamp = hybrid_.last().word();
  return reply;
}

// --- commands ----------------------------------------------------------------------------------

VectorClockCausality::Reply VectorClockCausality::reserve(const causal::Reserve& dots) noexcept {
  const bool is_first = bound_ == 0;
  const bool goes_on = !is_first && dots.first <= bound_ + 1 && dots.bound > bound_;
  const bool begins = is_first && dots.first > last_dot_ && dots.bound >= dots.first;
  if (!goes_on && !begins) return refuse(Errc::invalid_argument);
  if (begins) last_dot_ = dots.first - 1;
  bound_ = dots.bound;
  return {};
}

VectorClockCausality::Reply VectorClockCausality::apply(const Command& command,
                                                        Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  if (const auto* event = std::get_if<causal::Receive>(&command)) return receive(*event, now_ns);
  if (const auto* own = std::get_if<causal::Emit>(&command)) return emit_event(*own, now_ns);
  if (const auto* rows = std::get_if<causal::Hear>(&command)) return hear(*rows);
  if (const auto* dots = std::get_if<causal::Reserve>(&command)) return reserve(*dots);
  if (const auto* joined = std::get_if<causal::Reconstruct>(&command)) return reconstruct(*joined);
  const std::size_t index = command.index();
  if (index <= 1) return membership(command, now_ns);
  if (std::holds_alternative<causal::Wait>(command) ||
      std::holds_alternative<causal::Cancel>(command)) {
    return of_barrier(command, now_ns);
  }
  if (std::holds_alternative<causal::Stamp>(command) ||
      std::holds_alternative<causal::HearStamp>(command)) {
    return of_stamp(command, now_ns);
  }
  return of_reader(command);
}

void VectorClockCausality::tick(Nanos now, Actions& out) noexcept {
  out.barriers.clear();
  out.delivered.clear();
  out.reserve = {};
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    truncate();
    deliver_all(out.delivered);  // the log may have room again
    for (auto& barrier : barriers_) {
      if (barrier.id == 0) continue;
      bool is_met = true;
      for (std::uint32_t i = 0; i < members_.size(); ++i) {
        is_met = is_met && members_[i].count >= barrier.clock[i];
      }
      const bool is_late = barrier.deadline_ns != 0 && now_ns >= barrier.deadline_ns;
      if (!is_met && !is_late) continue;
      ++(is_met ? counters_.barriers_met : counters_.barriers_late);
      out.barriers.push_back({barrier.id, is_met});
      barrier.id = 0;
    }
    if (config_.prune_idle_ns.count() != 0) prune(now_ns);
    if (bound_ - std::min(bound_, last_dot_) < config_.dots_block / 4 &&
        bound_ < UINT64_MAX - config_.dots_block) {
      out.reserve = {bound_ + 1, bound_ + config_.dots_block};
    }
  }
  out.paradoxes = std::exchange(new_paradoxes_, 0);
  out.view_changed = std::exchange(view_changed_, false);
}

}  // namespace mesh::coordination
