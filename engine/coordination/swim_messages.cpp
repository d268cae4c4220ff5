// What members tell each other, and what it does here.
#include <algorithm>

#include "engine/coordination/swim_membership.hpp"

namespace mesh::coordination {
namespace {

constexpr std::size_t kRowBytesMax = 64 + kAddressBytesMax + kMetadataBytesMax;

// What stands before the updates of every message.
struct SwimHead {
  std::uint64_t sequence = 0;
  std::uint64_t incarnation = 0;  // the sender's
  std::uint64_t target = 0;
};
SwimHead read_swim_head(StateReader& reader) {
  SwimHead head;
  reader.get(head.sequence);
  reader.get(head.incarnation);
  reader.get(head.target);
  if (head.incarnation == 0 || head.incarnation > kGossipIncarnationMax) reader.fail();
  return head;
}
bool is_against(MemberState state) {
  return state == MemberState::suspect || state == MemberState::dead;
}
// False: there is no further one, or the reader has failed.
bool next_swim_update(StateReader& reader, SwimUpdate& update) {
  if (!reader.get<bool>() || reader.failed()) return false;
  update = {};
  update.state = reader.get_enum(MemberState::left);
  reader.get(update.member);
  reader.get(update.incarnation);
  if (update.state == MemberState::suspect) reader.get(update.accuser);
  if (update.state == MemberState::alive) {
    update.address = text_in(reader);
    update.metadata = text_in(reader);
  }
  const bool is_possible = update.member != 0 && update.incarnation != 0 &&
                           update.incarnation <= kGossipIncarnationMax &&
                           update.address.size() <= kAddressBytesMax &&
                           update.metadata.size() <= kMetadataBytesMax &&
                           (update.state != MemberState::suspect || update.accuser != 0);
  if (!is_possible) reader.fail();
  return !reader.failed();
}

}  // namespace

// --- messages ----------------------------------------------------------------------------------

bool SwimMembership::is_whole(const Envelope& envelope, StateReader reader) {
  read_swim_head(reader);
  VivaldiPoint point;
  if (envelope.kind == ack) point.load(reader);
  SwimUpdate update;
  while (next_swim_update(reader, update)) {
  }
  return envelope.kind >= ping && envelope.kind <= sync_rows && !reader.failed() &&
         reader.left() == 0;
}

// Word against somebody that is older than what is known here is answered with that: whoever says
// it has missed the refutation.
void SwimMembership::take_updates(const Envelope& envelope, StateReader reader, std::int64_t now_ns,
                                  GossipOutbox& out) noexcept {
  std::array<std::uint32_t, 16> refuted{};
  std::size_t count = 0;
  read_swim_head(reader);
  VivaldiPoint point;
  if (envelope.kind == ack) point.load(reader);
  const bool is_sync = envelope.kind == sync_request || envelope.kind == sync_rows;
  SwimUpdate update;
  while (next_swim_update(reader, update)) {
    // A dead one of a list may have refuted since: it is asked first.
    if (is_sync && update.state == MemberState::dead) {
      update.state = MemberState::suspect;
      update.accuser = envelope.from;
    }
    const std::uint32_t slot = is_against(update.state) ? slot_of(update.member) : kNone;
    const bool is_old = slot != kNone && update.incarnation < members_[slot].incarnation;
    if (is_old && !is_sync && count < refuted.size()) refuted[count++] = slot;
    apply(update, now_ns);
  }
  if (count != 0) send_some(std::span(refuted).first(count), envelope.from, out);
}

// The whole of it is looked at before any of it is taken.
Errc SwimMembership::hear(const Envelope& envelope, StateReader& reader, std::int64_t now_ns,
                          GossipOutbox& out) noexcept {
  if (envelope.from == config_.self) return Errc::invalid_argument;
  if (!is_whole(envelope, reader)) return Errc::bad_input;
  StateReader head_reader = reader;
  const SwimHead head = read_swim_head(head_reader);
  if (slot_of(envelope.from) != kNone) {
    sign_of_life(envelope.from, head.incarnation, now_ns, out);
  } else if (envelope.kind < sync_request && !is_leaving_) {
    ask_sync(envelope.from, out);
  }
  take_updates(envelope, reader, now_ns, out);
  switch (envelope.kind) {
    case ping:
    case ping_req:
      hear_ping_req(envelope, reader, now_ns, out);
      break;
    case ack:
      hear_ack(reader, envelope, now_ns, out);
      break;
    case nack:
      hear_nack(head.sequence);
      break;
    case sync_request:
      send_rows(sync_rows, envelope.from, out);
      break;
    default:
      break;
  }
  return Errc::ok;
}

void SwimMembership::contact(std::uint64_t member, std::int64_t now_ns) noexcept {
  const std::uint32_t slot = slot_of(member);
  if (slot == kNone || slot == 0) return;
  members_[slot].last_contact_ns = now_ns;
  ++members_[slot].heartbeat;
}

// What it says of its own incarnation stands: nobody else may raise it.
void SwimMembership::sign_of_life(std::uint64_t from, std::uint64_t incarnation,
                                  std::int64_t now_ns, GossipOutbox& out) noexcept {
  contact(from, now_ns);
  const std::uint32_t slot = slot_of(from);
  const Member& one = members_[slot];
  if (incarnation <= one.incarnation) return;
  const bool was_away = !is_live(one);
  turn(slot, {MemberState::alive, from, incarnation, 0, {}, {}}, now_ns);
  if (was_away) ask_sync(from, out);  // there is more that each has missed
}

void SwimMembership::hear_ping_req(const Envelope& envelope, StateReader& reader,
                                   std::int64_t now_ns, GossipOutbox& out) noexcept {
  const SwimHead head = read_swim_head(reader);
  const bool is_for_me = head.target == config_.self;
  if (is_for_me) {
    StateWriter& writer = begin_to(ack, envelope.from, out);
    writer.put(head.sequence);
    writer.put(members_[0].incarnation);
    writer.put(std::uint64_t{0});
    members_[0].point.save(writer);
    put_updates(envelope.from, writer, out);
    out.end(GossipLane::answer, head.sequence);
    return;
  }
  const std::uint32_t slot = slot_of(head.target);
  if (envelope.kind != ping_req || slot == kNone) return;
  const auto free = std::find_if(relays_.begin(), relays_.end(),
                                 [](const Relay& relay) { return !relay.is_used; });
  if (free == relays_.end()) return;
  *free = {++sequence_, envelope.from, head.sequence, now_ns + config_.timeout_ns.count(), true};
  StateWriter& writer = begin_to(ping, head.target, out);
  writer.put(free->sequence);
  writer.put(members_[0].incarnation);
  writer.put(head.target);
  put_updates(head.target, writer, out);
  out.end(GossipLane::probe, free->sequence);
}

void SwimMembership::hear_ack(StateReader& reader, const Envelope& envelope, std::int64_t now_ns,
                              GossipOutbox& out) noexcept {
  const SwimHead head = read_swim_head(reader);
  VivaldiPoint point;
  point.load(reader);
  const bool is_waited_for = probe_.phase == Phase::direct || probe_.phase == Phase::indirect;
  if (is_waited_for && head.sequence == probe_.sequence) {
    Member& one = members_[probe_.slot];
    if (one.id == envelope.from && probe_.phase == Phase::direct) {
      one.point = point;
      const auto rtt = static_cast<double>(now_ns - probe_.sent_ns) / kNsPerMs;
      vivaldi_move(members_[0].point, point, rtt, rng_);
    }
    probe_.phase = Phase::answered;
    ++counters_.acknowledged;
    doubt(-1);
    return;
  }
  const auto relay = std::find_if(relays_.begin(), relays_.end(), [&](const Relay& each) {
    return each.is_used && each.sequence == head.sequence;
  });
  if (relay == relays_.end()) return;
  relay->is_used = false;
  StateWriter& writer = begin_to(ack, relay->origin, out);
  writer.put(relay->origin_sequence);
  writer.put(members_[0].incarnation);
  writer.put(std::uint64_t{0});
  members_[0].point.save(writer);
  put_updates(relay->origin, writer, out);
  out.end(GossipLane::answer, relay->origin_sequence);
}
void SwimMembership::hear_nack(std::uint64_t sequence) noexcept {
  if (probe_.phase == Phase::indirect && sequence == probe_.sequence) ++probe_.nacks;
}

StateWriter& SwimMembership::begin_to(Kind kind, std::uint64_t to, GossipOutbox& out) noexcept {
  return out.begin(GossipPart::swim, kind, to);
}

void SwimMembership::put_row(const Member& one, StateWriter& writer) const {
  writer.put(true);
  writer.put(one.state);
  writer.put(one.id);
  writer.put(one.incarnation);
  if (one.state == MemberState::suspect) writer.put(one.accuser);
  if (one.state != MemberState::alive) return;
  writer.put(one.address.view());
  writer.put(one.metadata.view());
}

// What was passed on least comes first; what is said of the one it goes to, before all.
void SwimMembership::put_updates(std::uint64_t to, StateWriter& writer,
                                 const GossipOutbox& out) noexcept {
  constexpr std::size_t kRowBytes = 36;  // and its texts
  std::size_t left = std::min<std::size_t>(config_.piggyback_bytes, out.room(writer));
  const Member* const reader = find(to);
  if (reader != nullptr && reader->state != MemberState::alive && left > 2 * kRowBytes) {
    put_row(*reader, writer);
    left -= kRowBytes;
  }
  std::sort(pending_.begin(), pending_.end(), [&](std::uint32_t a, std::uint32_t b) {
    const Member& one = members_[a];
    const Member& other = members_[b];
    return one.transmits != other.transmits ? one.transmits < other.transmits : one.id < other.id;
  });
  const std::uint32_t limit = retransmit_limit(config_.retransmit_mult, live_);
  for (const std::uint32_t slot : pending_) {
    Member& one = members_[slot];
    const std::size_t size = kRowBytes + one.address.view().size() + one.metadata.view().size();
    if (size + 1 > left) continue;
    left -= size;
    put_row(one, writer);
    one.is_pending = ++one.transmits < limit;
  }
  writer.put(false);
  pending_.erase(std::remove_if(pending_.begin(), pending_.end(),
                                [&](std::uint32_t slot) { return !members_[slot].is_pending; }),
                 pending_.end());
}

void SwimMembership::send_rows(Kind kind, std::uint64_t to, GossipOutbox& out) noexcept {
  StateWriter* writer = nullptr;
  const auto finish = [&] {
    writer->put(false);
    out.end(GossipLane::sync);
  };
  for (std::uint32_t slot = 0; slot < config_.members_max; ++slot) {
    if (!slots_.is_used(slot)) continue;
    if (writer != nullptr && out.room(*writer) < kRowBytesMax) {
      finish();
      writer = nullptr;
    }
    if (writer == nullptr) {  // only the first asks
      writer = &begin_to(slot == 0 ? kind : sync_rows, to, out);
      writer->put(std::uint64_t{0});
      writer->put(members_[0].incarnation);
      writer->put(std::uint64_t{0});
    }
    put_row(members_[slot], *writer);
  }
  finish();
}
void SwimMembership::send_some(std::span<const std::uint32_t> slots, std::uint64_t to,
                               GossipOutbox& out) noexcept {
  StateWriter& writer = begin_to(updates, to, out);
  writer.put(std::uint64_t{0});
  writer.put(members_[0].incarnation);
  writer.put(std::uint64_t{0});
  for (const std::uint32_t slot : slots) {
    if (out.room(writer) > kRowBytesMax) put_row(members_[slot], writer);
  }
  writer.put(false);
  out.end(GossipLane::answer);
}
void SwimMembership::ask_sync(std::uint64_t to, GossipOutbox& out) noexcept {
  send_rows(sync_request, to, out);
}

}  // namespace mesh::coordination
