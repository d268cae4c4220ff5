// The published formulas of SWIM and Lifeguard, the state in bytes, what must hold of it.
#include <algorithm>
#include <cmath>

#include "engine/coordination/swim_membership.hpp"

namespace mesh::coordination {

std::string_view to_string(MemberState state) noexcept {
  constexpr std::string_view kNames[] = {"alive", "suspect", "dead", "left"};
  const auto index = static_cast<std::size_t>(state);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

double suspicion_min_ms(double mult, std::uint64_t members, double period_ms) noexcept {
  const double scale = std::log10(static_cast<double>(std::max<std::uint64_t>(members, 1)));
  return mult * std::fmax(1, scale) * period_ms;
}
double suspicion_timeout_ms(std::uint32_t c, std::uint32_t k, double min_ms,
                            double max_ms) noexcept {
  if (k == 0) return min_ms;
  const double share = std::log(static_cast<double>(c) + 1) / std::log(static_cast<double>(k) + 1);
  return std::fmax(min_ms, std::floor(max_ms - share * (max_ms - min_ms)));
}
std::uint32_t retransmit_limit(std::uint32_t mult, std::uint64_t members) noexcept {
  std::uint32_t digits = 0;  // ceil(log10(N + 1)), in integers
  for (std::uint64_t bound = 1; bound < members + 1 && digits < 19; bound *= 10) ++digits;
  return mult * digits;
}
double swim_probe_chance(std::uint64_t members) noexcept {
  if (members < 2) return 0;
  const auto others = static_cast<double>(members - 1);
  return 1 - std::pow(1 - 1 / others, others);
}

namespace {

template <class Member, class Visit>
void words_of_member(Member& one, Visit&& visit) {
  visit(one.id);
  visit(one.incarnation);
  visit(one.heartbeat);
  visit(one.accuser);
  visit(one.since_ns);
  visit(one.last_contact_ns);
  for (auto& confirmer : one.confirmers) visit(confirmer);
  visit(one.confirmations);
  visit(one.transmits);
  visit(one.calls);
  visit(one.is_pending);
  visit(one.has_changed);
}
template <class Counters, class Visit>
void words_of_swim(Counters& counters, Visit&& visit) {
  visit(counters.probes);
  visit(counters.acknowledged);
  visit(counters.failed);
  visit(counters.ping_reqs);
  visit(counters.nacks_missed);
  visit(counters.suspected);
  visit(counters.died);
  visit(counters.refuted);
  visit(counters.updates_heard);
  visit(counters.unknown);
}

}  // namespace

void SwimMembership::save(StateWriter& writer) const {
  const auto put = [&](const auto& value) { writer.put(value); };
  rng_.save(writer);
  writer.put(slots_.used());
  for (std::uint32_t slot = 0; slot < config_.members_max; ++slot) {
    if (!slots_.is_used(slot)) continue;
    const Member& one = members_[slot];
    writer.put(slot);
    words_of_member(one, put);
    writer.put(one.state);
    one.point.save(writer);
    writer.put(one.address.view());
    writer.put(one.metadata.view());
    writer.put(deadlines_.at_ns(slot));
  }
  writer.put(static_cast<std::uint32_t>(order_.size()));
  for (const auto slot : order_) writer.put(slot);
  writer.put(static_cast<std::uint32_t>(pending_.size()));
  for (const auto slot : pending_) writer.put(slot);
  writer.put(next_);
  for (const auto& relay : relays_) {
    writer.put(relay.is_used);
    writer.put(relay.sequence);
    writer.put(relay.origin);
    writer.put(relay.origin_sequence);
    writer.put(relay.until_ns);
  }
  writer.put(probe_.phase);
  writer.put(probe_.slot);
  writer.put(probe_.sequence);
  writer.put(probe_.sent_ns);
  writer.put(probe_.direct_ns);
  writer.put(probe_.asked);
  writer.put(probe_.nacks);
  for (const auto word : {sequence_, reserved_until_, wanted_until_, owed_}) writer.put(word);
  writer.put(round_ns_);
  writer.put(gossip_ns_);
  writer.put(awareness_);
  writer.put(any_changed_);
  writer.put(is_leaving_);
  words_of_swim(counters_, put);
}

void SwimMembership::load_members(StateReader& reader) {
  const auto get = [&](auto& value) { reader.get(value); };
  slots_.free(0);
  index_.erase(hash_of(config_.self, 0));
  live_ = 0;
  const std::size_t count = reader.get_count(181);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!slots_.use(slot)) return reader.fail();
    Member& one = members_[slot] = {};
    words_of_member(one, get);
    one.state = reader.get_enum(MemberState::left);
    one.point.load(reader);
    const bool fits = one.address.assign(text_in(reader)) && one.metadata.assign(text_in(reader));
    const auto deadline_ns = reader.get<std::int64_t>();
    const bool is_possible = fits && one.id != 0 && slot_of(one.id) == kNone &&
                             (slot == 0) == (one.id == config_.self) &&
                             one.confirmations < kConfirmersMax;
    if (!is_possible) return reader.fail();
    index_.set(hash_of(one.id, 0), slot);
    live_ += slot == 0 || is_live(one) ? 1U : 0U;
    if (deadline_ns != 0) deadlines_.set(slot, deadline_ns, one.id);
  }
  if (!slots_.is_used(0)) reader.fail();
}

void SwimMembership::load_list(std::vector<std::uint32_t>& list, StateReader& reader) const {
  list.clear();
  const std::size_t count = reader.get_count(4);
  if (count > config_.members_max) return reader.fail();
  for (std::size_t i = 0; i < count; ++i) {
    list.push_back(reader.get<std::uint32_t>());
    if (!slots_.is_used(list.back())) return reader.fail();
  }
}

void SwimMembership::load(StateReader& reader) {
  rng_.load(reader);
  load_members(reader);
  if (!reader.failed()) load_list(order_, reader);
  if (!reader.failed()) load_list(pending_, reader);
  reader.get(next_);
  for (auto& relay : relays_) {
    reader.get(relay.is_used);
    reader.get(relay.sequence);
    reader.get(relay.origin);
    reader.get(relay.origin_sequence);
    reader.get(relay.until_ns);
  }
  probe_.phase = reader.get_enum(Phase::answered);
  reader.get(probe_.slot);
  reader.get(probe_.sequence);
  reader.get(probe_.sent_ns);
  reader.get(probe_.direct_ns);
  reader.get(probe_.asked);
  reader.get(probe_.nacks);
  for (auto* word : {&sequence_, &reserved_until_, &wanted_until_, &owed_}) reader.get(*word);
  reader.get(round_ns_);
  reader.get(gossip_ns_);
  reader.get(awareness_);
  reader.get(any_changed_);
  reader.get(is_leaving_);
  words_of_swim(counters_, [&](auto& value) { reader.get(value); });
  const bool is_possible = next_ <= order_.size() && probe_.slot < config_.members_max &&
                           awareness_ <= config_.awareness_max;
  if (!is_possible) reader.fail();
}

bool SwimMembership::is_sound() const noexcept {
  std::uint32_t live = 1;
  bool is_good = members_[0].id == config_.self && members_[0].incarnation <= reserved_until_;
  for_members([&](const Member& one, std::uint32_t slot) {
    live += is_live(one) ? 1U : 0U;
    const auto turns = std::count(order_.begin(), order_.end(), slot);
    const bool has_deadline = one.state != MemberState::alive;
    is_good = is_good && turns == 1 && has_deadline == deadlines_.has(slot) && one.incarnation != 0;
  });
  std::size_t pending = 0;
  for (const auto slot : pending_) pending += members_[slot].is_pending ? 1U : 0U;
  const std::uint64_t out = is_probing() && probe_.phase != Phase::answered ? 1 : 0;
  return is_good && live == live_ && order_.size() + 1 == slots_.used() &&
         pending == pending_.size() &&
         counters_.probes == counters_.acknowledged + counters_.failed + out;
}

}  // namespace mesh::coordination
