// What comes in: which part each message is for, and what of it is news here.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "engine/coordination/gossip_engine.hpp"

namespace mesh::coordination {
namespace {

// "sector/7/42": the claim of host 42 to sector 7.
struct SectorClaim {
  std::uint32_t sector = 0;
  std::uint64_t member = 0;
  std::uint64_t epoch = 0;  // 0: released
};
bool read_claim(const SyncValue& value, SectorClaim& claim) noexcept {
  constexpr std::string_view kPrefix = "sector/";
  if (!value.key.starts_with(kPrefix)) return false;
  const char* const end = value.key.data() + value.key.size();
  const auto sector = std::from_chars(value.key.data() + kPrefix.size(), end, claim.sector);
  if (sector.ec != std::errc{} || sector.ptr == end || *sector.ptr != '/') return false;
  const auto member = std::from_chars(sector.ptr + 1, end, claim.member);
  if (member.ec != std::errc{} || member.ptr != end || claim.member != value.owner) return false;
  claim.epoch = 0;
  if (value.value.size() == sizeof(claim.epoch)) {
    std::memcpy(&claim.epoch, value.value.data(), sizeof(claim.epoch));
  }
  return true;
}

}  // namespace

GossipEngine::Reply GossipEngine::on_message(std::span<const std::byte> bytes,
                                             std::int64_t now_ns) noexcept {
  ++counters_.heard;
  const std::size_t limit = outbox_.limits().message_bytes + kTagBytes;
  if (bytes.size() > limit) {
    ++counters_.oversize;
    return refuse(Errc::invalid_argument);
  }
  if (seal_ != nullptr) {
    const bool has_tag = bytes.size() >= kTagBytes;
    const auto message = bytes.first(bytes.size() - (has_tag ? kTagBytes : 0));
    const GossipSeal::Tag tag = seal_->tag(message);
    if (!has_tag || !std::equal(tag.begin(), tag.end(), bytes.last(kTagBytes).begin())) {
      ++counters_.unsealed;
      return refuse(Errc::not_authorized);
    }
    bytes = message;
  }
  StateReader reader(bytes);
  Envelope envelope;
  const EnvelopeVerdict verdict = open_envelope(reader, envelope);
  if (verdict == EnvelopeVerdict::unknown_version) {  // a newer host: no fault of anybody
    ++counters_.unknown_version;
    return {};
  }
  const Errc heard =
      verdict == EnvelopeVerdict::good ? hand_over(envelope, reader, now_ns) : Errc::bad_input;
  if (heard != Errc::ok) {
    ++counters_.malformed;
    return refuse(heard);
  }
  ++counters_.taken;
  look_at_envelope(envelope, now_ns);
  Reply reply;
  collect(reply, now_ns);
  counters_.delivered += reply.delivered.size();
  return reply;
}

Errc GossipEngine::hand_over(const Envelope& envelope, StateReader& reader,
                             std::int64_t now_ns) noexcept {
  Errc heard = Errc::bad_input;
  switch (envelope.part) {
    case GossipPart::swim:
      heard = swim_.hear(envelope, reader, now_ns, outbox_);
      if (heard == Errc::ok) follow_membership(now_ns, nullptr);
      return heard;
    case GossipPart::overlay:
      heard = overlay_.hear(envelope, reader, now_ns, outbox_);
      follow_links();
      break;
    case GossipPart::tree:
      heard = tree_.hear(envelope, reader, now_ns, outbox_);
      break;
    case GossipPart::bimodal:
      heard = bimodal_.hear(envelope, reader, outbox_);
      break;
    case GossipPart::rumor:
      heard = rumors_.hear(envelope, reader, now_ns, outbox_);
      break;
    case GossipPart::sync:
      heard = sync_.hear(envelope, reader, now_ns, outbox_);
      break;
    default:
      return heard;
  }
  if (heard == Errc::ok) swim_.contact(envelope.from, now_ns);
  return heard;
}

void GossipEngine::collect(Reply& reply, std::int64_t now_ns) {
  collect_tree(reply, now_ns);
  bimodal_.take_delivery([&](const BroadcastId& id, std::span<const std::byte> payload) {
    reply.delivered.push_back(
        {GossipNews::multicast, id.origin, id.sequence, {}, {payload.begin(), payload.end()}});
  });
  rumors_.take_delivery([&](std::string_view key, std::span<const std::byte> payload) {
    reply.delivered.push_back(
        {GossipNews::rumor, 0, 0, std::string(key), {payload.begin(), payload.end()}});
  });
  collect_news(reply, now_ns);
}

// A payload of the tree is a broadcast, or a summary on its fast way.
void GossipEngine::collect_tree(Reply& reply, std::int64_t now_ns) {
  tree_.take_delivery([&](const BroadcastId& id, std::span<const std::byte> payload) {
    StateReader reader(payload);
    const auto carries = reader.get_enum(Carries::summary);
    if (reader.failed()) return;
    if (carries == Carries::broadcast) {
      const auto rest = payload.subspan(1);
      reply.delivered.push_back(
          {GossipNews::broadcast, id.origin, id.sequence, {}, {rest.begin(), rest.end()}});
      return;
    }
    SyncValue value;
    value.key = text_in(reader);
    reader.get(value.owner);
    reader.get(value.version);
    value.birth_ns = now_ns;
    value.value = reader.get_bytes();
    bool is_news = false;
    if (reader.failed() || reader.left() != 0) return;
    if (sync_.put(value, is_news) != Errc::ok || !is_news) return;
    look_at_claim(value, now_ns);
    reply.delivered.push_back({GossipNews::summary,
                               value.owner,
                               value.version,
                               std::string(value.key),
                               {value.value.begin(), value.value.end()}});
  });
}
void GossipEngine::collect_news(Reply& reply, std::int64_t now_ns) {
  const std::size_t first = reply.delivered.size();
  sync_.take_news(value_, [&](const SyncValue& value) {
    reply.delivered.push_back({GossipNews::summary,
                               value.owner,
                               value.version,
                               std::string(value.key),
                               {value.value.begin(), value.value.end()}});
  });
  for (std::size_t i = first; i < reply.delivered.size(); ++i) {
    const GossipDelivery& one = reply.delivered[i];
    look_at_claim({one.key, one.origin, one.sequence, now_ns, one.payload}, now_ns);
  }
}

// --- summaries ---------------------------------------------------------------------------------

bool GossipEngine::spread_summary(const SyncValue& value, std::int64_t now_ns) noexcept {
  payload_.clear();
  payload_.put(Carries::summary);
  payload_.put(value.key);
  payload_.put(value.owner);
  payload_.put(value.version);
  payload_.put(value.value);
  // The next version is said soon: this one need not be known for long.
  const Nanos ttl{std::min<std::int64_t>(4 * config_.summary_ns.count(), 60 * kNsPerSecond)};
  const auto sent = tree_.broadcast_for(ttl, payload_.bytes(), now_ns, outbox_);
  return sent == Errc::ok;  // else it is had by comparison
}

// The same value in a new version: whoever has it knows that this host was there a moment ago.
void GossipEngine::say_summaries_again(std::int64_t now_ns) noexcept {
  if (now_ns < summary_ns_) return;
  summary_ns_ = now_ns + config_.summary_ns.count();
  sync_.for_values(value_, [&](SyncValue value) {
    const bool is_old = now_ns - value.birth_ns >= config_.summary_ns.count();
    if (value.owner != config_.self || !is_old || value.value.empty()) return;
    value.version = ++version_;
    value.birth_ns = now_ns;
    bool is_news = false;
    static_cast<void>(sync_.put(value, is_news));
    spread_summary(value, now_ns);
  });
}

std::optional<GossipDelivery> GossipEngine::summary(std::string_view key) const {
  SyncValue found;
  if (!sync_.find(key, found, value_) || found.value.empty()) return std::nullopt;
  return GossipDelivery{GossipNews::summary,
                        found.owner,
                        found.version,
                        std::string(found.key),
                        {found.value.begin(), found.value.end()}};
}
std::optional<Nanos> GossipEngine::summary_age(std::uint64_t member, Nanos now) const {
  std::optional<Nanos> age;
  sync_.for_values(value_, [&](const SyncValue& value) {
    if (value.owner != member) return;
    const Nanos one = now - Nanos{value.birth_ns};
    age = age ? std::min(*age, one) : one;
  });
  return age;
}

// --- who contradicts ---------------------------------------------------------------------------

void GossipEngine::diverge(const ContextDivergence& record, std::int64_t now_ns) noexcept {
  ++counters_.divergences;
  if (divergences_.size() < divergences_.capacity()) divergences_.push_back(record);
  emit(Event::split_brain, Severity::error, now_ns,
       {record.ours, record.theirs, std::uint64_t{record.sector}});
}

// Two coordinators of one sector, with different epochs, both there.
void GossipEngine::look_at_claim(const SyncValue& value, std::int64_t now_ns) {
  SectorClaim claim;
  if (!read_claim(value, claim) || claim.epoch == 0) return;
  const auto is_there = [&](std::uint64_t member) {
    if (member == config_.self) return !has_left_;
    const auto* const row = swim_.find(member);
    return row != nullptr && row->state == MemberState::alive;
  };
  if (!is_there(claim.member)) return;
  sync_.for_values(value_, [&](const SyncValue& known) {
    SectorClaim other;
    const bool is_claim = read_claim(known, other) && other.epoch != 0;
    if (!is_claim || other.sector != claim.sector || other.member == claim.member) return;
    if (other.epoch == claim.epoch || !is_there(other.member)) return;
    diverge({DivergenceKind::two_coordinators, claim.sector, other.member, claim.member,
             other.epoch, claim.epoch},
            now_ns);
  });
}

// Two majorities of one reference have a member in common. Of another one: two meshes, each of
// which goes on as if it were the only one.
void GossipEngine::look_at_envelope(const Envelope& envelope, std::int64_t now_ns) noexcept {
  const bool are_both =
      envelope.claim == PartitionClaim::majority && sides_.state() == SideState::majority;
  if (!are_both || envelope.reference == outbox_.reference()) return;
  const bool was_said = diverged_ns_ >= 0 && now_ns - diverged_ns_ < swim_.suspicion_max().count();
  if (was_said) return;
  diverged_ns_ = now_ns;
  diverge({DivergenceKind::two_majorities, 0, config_.self, envelope.from, 0, 0}, now_ns);
}

}  // namespace mesh::coordination
