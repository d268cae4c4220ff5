#include "engine/coordination/gossip_engine.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <utility>

namespace mesh::coordination {
namespace {

constexpr std::uint64_t kSequencesALife = std::uint64_t{1} << 24;  // 2 years at one in 4 s
constexpr std::uint32_t kDivergencesMax = 64;

std::uint64_t first_sequence(const GossipConfig& config) noexcept {
  return config.incarnation_first * kSequencesALife + 1;
}
std::string_view sector_key(std::uint32_t sector, std::uint64_t member,
                            std::array<char, 48>& text) noexcept {
  const int size = std::snprintf(text.data(), text.size(), "sector/%u/%llu", sector,
                                 static_cast<unsigned long long>(member));
  return {text.data(), static_cast<std::size_t>(size)};
}

}  // namespace

SwimConfig GossipEngine::swim_config(const Config& config) noexcept {
  SwimConfig swim;
  swim.self = config.self;
  swim.period_ns = config.probe_ns;
  swim.timeout_ns = config.probe_timeout_ns;
  swim.indirect = config.indirect;
  swim.suspicion_mult = config.suspicion_mult;
  swim.gossip_ns = config.gossip_ns;
  swim.fanout = config.fanout;
  swim.retransmit_mult = config.retransmit_mult;
  swim.piggyback_bytes = config.piggyback_bytes;
  swim.members_max = config.members_max;
  swim.incarnation_first = config.incarnation_first;
  swim.incarnation_block = config.incarnation_block;
  return swim;
}
OverlayConfig GossipEngine::overlay_config(const Config& config) noexcept {
  OverlayConfig overlay;
  overlay.self = config.self;
  overlay.active = config.active;
  overlay.passive = std::max(config.passive, std::min(config.full_overlay_max, config.members_max));
  return overlay;
}
TreeConfig GossipEngine::tree_config(const Config& config) noexcept {
  TreeConfig tree;
  tree.self = config.self;
  tree.sequence_first = first_sequence(config);
  tree.messages_max = config.messages_max;
  tree.payload_bytes_max = config.payload_bytes_max + 1'024;  // a summary with its key
  tree.store_bytes = config.store_bytes;
  return tree;
}
BimodalConfig GossipEngine::bimodal_config(const Config& config) noexcept {
  BimodalConfig bimodal;
  bimodal.self = config.self;
  bimodal.sequence_first = first_sequence(config);
  bimodal.round_ns = config.gossip_ns;
  bimodal.fanout = config.bimodal_fanout;
  bimodal.rounds = config.bimodal_rounds;
  bimodal.messages_max = config.messages_max;
  bimodal.payload_bytes_max = config.payload_bytes_max;
  bimodal.store_bytes = config.store_bytes;
  return bimodal;
}
RumorConfig GossipEngine::rumor_config(const Config& config) noexcept {
  RumorConfig rumor;
  rumor.self = config.self;
  rumor.push_ns = config.gossip_ns;
  rumor.fanout = config.fanout;
  rumor.k = config.rumor_k;
  rumor.rumors_max = config.rumors_max;
  rumor.payload_bytes_max = config.payload_bytes_max;
  rumor.store_bytes = config.store_bytes;
  return rumor;
}
MerkleSyncConfig GossipEngine::sync_config(const Config& config) noexcept {
  MerkleSyncConfig sync;
  sync.self = config.self;
  sync.entries_max = config.summaries_max;
  sync.value_bytes_max = config.payload_bytes_max;
  sync.store_bytes = config.store_bytes;
  return sync;
}
SidesConfig GossipEngine::sides_config(const Config& config) noexcept {
  SidesConfig sides;
  sides.self = config.self;
  sides.share_min = config.vanish_share;
  sides.sweep_ns = 3 * config.probe_ns;
  sides.members_max = config.members_max;
  return sides;
}
FanoutConfig GossipEngine::fanout_config(const Config& config) noexcept {
  FanoutConfig fanout;
  fanout.chance = config.delivery;
  fanout.fanout_min = config.fanout;
  fanout.fanout_max = std::max(config.fanout, 16U);
  return fanout;
}

GossipEngine::GossipEngine(const Config& config, std::uint64_t seed)
    : ServiceForm(config),
      outbox_(config.self, {config.outbox_messages, config.outbox_bytes, 4'096}),
      rng_(seed),
      swim_(swim_config(config), seed + 1),
      overlay_(overlay_config(config), seed + 2),
      tree_(tree_config(config)),
      bimodal_(bimodal_config(config), seed + 3),
      rumors_(rumor_config(config), seed + 4),
      sync_(sync_config(config)),
      sides_(sides_config(config)),
      fanout_(fanout_config(config)),
      version_(config.incarnation_first * kSequencesALife) {
  peers_.reserve(config.members_max);
  rows_.reserve(config.members_max);
  divergences_.reserve(kDivergencesMax);
  value_.reserve(config.payload_bytes_max);
  const std::vector<std::byte> room(config.payload_bytes_max + 1'024);
  payload_.append(room);
  payload_.clear();
  overlay_.set_walks(false);
}

// --- commands ----------------------------------------------------------------------------------

GossipEngine::Reply GossipEngine::on(const gossip::Hear& order, std::int64_t now_ns) noexcept {
  return on_message(order.bytes, now_ns);
}
GossipEngine::Reply GossipEngine::on(const gossip::AddMember& order, std::int64_t now_ns) noexcept {
  if (has_left_) return refuse(Errc::wrong_state);
  const SwimRecord record{order.member, order.incarnation, order.address, order.metadata};
  const Errc added = swim_.add(record, now_ns, outbox_);
  if (added != Errc::ok) return refuse(added);
  follow_membership(now_ns, nullptr);
  return {};
}
GossipEngine::Reply GossipEngine::on(const gossip::RemoveMember& order, std::int64_t) noexcept {
  const Errc removed = swim_.remove(order.member);
  if (removed != Errc::ok) return refuse(removed);
  sides_.forget(order.member);
  view_changed_ = true;
  return {};
}
GossipEngine::Reply GossipEngine::on(const gossip::SetSelf& order, std::int64_t) noexcept {
  if (has_left_) return refuse(Errc::wrong_state);
  const Errc set = swim_.set_self(order.address, order.metadata);
  return set == Errc::ok ? Reply{} : refuse(set);
}
GossipEngine::Reply GossipEngine::on(const gossip::Leave&, std::int64_t) noexcept {
  if (has_left_) return refuse(Errc::wrong_state);
  has_left_ = true;
  swim_.leave();
  view_changed_ = true;
  return {};
}
GossipEngine::Reply GossipEngine::on(const gossip::CreateRumor& order,
                                     std::int64_t now_ns) noexcept {
  if (has_left_) return refuse(Errc::wrong_state);
  const Errc created = rumors_.create({order.key, order.payload, order.ttl, order.budget}, now_ns);
  return created == Errc::ok ? Reply{} : refuse(created);
}
GossipEngine::Reply GossipEngine::on(const gossip::Broadcast& order, std::int64_t now_ns) noexcept {
  if (has_left_) return refuse(Errc::wrong_state);
  if (order.payload.size() > config_.payload_bytes_max) return refuse(Errc::invalid_argument);
  BroadcastId id;
  Errc sent = Errc::ok;
  if (order.is_bimodal) {
    sent = bimodal_.broadcast(order.payload, peers(), outbox_, &id);
  } else {
    payload_.clear();
    payload_.put(Carries::broadcast);
    payload_.append(order.payload);
    sent = tree_.broadcast(payload_.bytes(), now_ns, outbox_, &id);
  }
  if (sent != Errc::ok) return refuse(sent);
  Reply reply;
  reply.sequence = id.sequence;
  return reply;
}
GossipEngine::Reply GossipEngine::on(const gossip::SetSummary& order,
                                     std::int64_t now_ns) noexcept {
  if (order.key.starts_with("sector/")) return refuse(Errc::invalid_id);  // claims go by those
  return put_summary(order.key, order.value, now_ns);
}
GossipEngine::Reply GossipEngine::on(const gossip::ClaimSector& order,
                                     std::int64_t now_ns) noexcept {
  if (order.epoch == 0) return refuse(Errc::invalid_argument);
  std::array<char, 48> text{};
  std::array<std::byte, 8> value{};
  std::memcpy(value.data(), &order.epoch, sizeof(order.epoch));
  Reply reply = put_summary(sector_key(order.sector, config_.self, text), value, now_ns);
  return reply;
}
GossipEngine::Reply GossipEngine::on(const gossip::ReleaseSector& order,
                                     std::int64_t now_ns) noexcept {
  std::array<char, 48> text{};
  const std::string_view key = sector_key(order.sector, config_.self, text);
  if (sync_.version_of(key) == 0) return refuse(Errc::not_found);
  return put_summary(key, {}, now_ns);
}
GossipEngine::Reply GossipEngine::on(const gossip::Reserved& order, std::int64_t) noexcept {
  if (order.until > kGossipIncarnationMax) return refuse(Errc::invalid_argument);
  swim_.reserved(order.until);
  return {};
}

GossipEngine::Reply GossipEngine::put_summary(std::string_view key,
                                              std::span<const std::byte> value,
                                              std::int64_t now_ns) noexcept {
  if (has_left_) return refuse(Errc::wrong_state);
  const SyncValue said{key, config_.self, std::max(version_, sync_.version_of(key)) + 1, now_ns,
                       value};
  const Errc judged = sync_.judge(said);
  if (judged != Errc::ok) return refuse(judged);
  if (!sync_.has_room(said)) return refuse(Errc::capacity);
  bool is_news = false;
  static_cast<void>(sync_.put(said, is_news));
  version_ = said.version;
  spread_summary(said, now_ns);
  look_at_claim(said, now_ns);
  Reply reply;
  reply.sequence = said.version;
  return reply;
}

// --- turns -------------------------------------------------------------------------------------

GossipEngine::Reply GossipEngine::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  return std::visit([&](const auto& order) { return on(order, now_ns); }, command);
}

void GossipEngine::tick(Nanos now, Actions& out) noexcept {
  out.clear();
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    swim_.tick(now_ns, outbox_);
    follow_membership(now_ns, &out);
    overlay_.tick(now_ns, outbox_);
    follow_links();
    tree_.tick(now_ns, outbox_);
    turn_rounds(now_ns);
    check_sides(now_ns);
    if (!has_left_) {
      say_summaries_again(now_ns);
      compare_with_somebody(now_ns, out);
    }
  }
  out.divergences.assign(divergences_.begin(), divergences_.end());
  divergences_.clear();
  out.reserve_until = swim_.reserve_until();
  hand_out(out);
  out.view_changed = view_changed_;
  view_changed_ = false;
  out.next_tick = Nanos{next_ns()};
}

std::int64_t GossipEngine::next_ns() const noexcept {
  std::int64_t next = std::min({swim_.next_ns(), overlay_.next_ns(), tree_.next_ns(),
                                bimodal_.next_ns(), rumors_.next_ns(), sides_ns_});
  if (!has_left_) next = std::min(next, anti_entropy_ns_);
  if (!has_left_ && sync_.count() != 0) next = std::min(next, summary_ns_);
  return next;
}

// What the others of the parts have to know of who came and went.
void GossipEngine::follow_membership(std::int64_t now_ns, Actions* out) noexcept {
  const auto follow = [&](const MembershipUpdate& update) {
    view_changed_ = true;
    if (update.member == config_.self) return;
    const bool is_gone = update.state == MemberState::dead || update.state == MemberState::left;
    is_gone ? overlay_.lost(update.member) : overlay_.learn(update.member);
    constexpr Event kEvents[] = {Event::member_alive, Event::member_suspected, Event::member_dead,
                                 Event::member_left};
    const Severity severity =
        update.state == MemberState::dead ? Severity::warning : Severity::info;
    emit(kEvents[static_cast<std::size_t>(update.state)], severity, now_ns,
         {update.member, update.incarnation});
  };
  if (out == nullptr) {  // they are told with the next tick
    swim_.for_members([&](const SwimMembership::Member& one, std::uint32_t) {
      if (one.has_changed && one.state == MemberState::alive) overlay_.learn(one.id);
    });
    return;
  }
  swim_.take_changes([&](const MembershipUpdate& update) {
    follow(update);
    out->membership_updates.push_back(update);
  });
  const std::uint32_t members = swim_.live_count();
  overlay_.set_walks(members > config_.full_overlay_max);
  overlay_.set_active(members <= 400 ? config_.active
                                     : std::max(config_.active, active_view_size(members)));
  if (overlay_.active().size() < overlay_.active_target() && overlay_.passive().empty()) {
    const std::uint64_t any = swim_.random_member(rng_);
    if (any != 0) overlay_.learn(any);
  }
}
void GossipEngine::follow_links() noexcept {
  overlay_.take_changes(
      [&](std::uint64_t peer, bool is_up) { is_up ? tree_.peer_up(peer) : tree_.peer_down(peer); });
}

std::span<std::uint64_t> GossipEngine::peers() noexcept {
  peers_.clear();
  swim_.for_members([&](const SwimMembership::Member& one, std::uint32_t) {
    const bool is_live = one.state == MemberState::alive || one.state == MemberState::suspect;
    if (is_live) peers_.push_back(one.id);  // reserved
  });
  return peers_;
}

void GossipEngine::turn_rounds(std::int64_t now_ns) noexcept {
  if (bimodal_.is_due(now_ns)) bimodal_.tick(now_ns, peers(), outbox_);
  if (!rumors_.is_due(now_ns)) {
    rumors_.tick(now_ns, {}, outbox_);
    return;
  }
  const RumorCounters& sums = rumors_.counters();
  const std::uint64_t pushed = sums.pushed - judged_.pushed;
  const std::uint64_t duplicates = sums.duplicates - judged_.duplicates;
  const std::uint64_t fresh = sums.delivered - judged_.delivered;
  fanout_.round(pushed == 0 ? 0 : fresh, fresh, duplicates);
  judged_ = sums;
  rumors_.set_fanout(fanout_.fanout(swim_.live_count()));
  rumors_.tick(now_ns, peers(), outbox_);
}

void GossipEngine::compare_with_somebody(std::int64_t now_ns, Actions& out) noexcept {
  std::uint64_t target = std::exchange(healing_with_, 0);
  if (target == 0) {
    if (now_ns < anti_entropy_ns_) return;
    anti_entropy_ns_ = now_ns + config_.anti_entropy_ns.count();
    target = swim_.random_member(rng_);
  }
  if (target == 0) return;
  ++counters_.syncs;
  out.anti_entropy_target = target;
  sync_.begin(target, outbox_);
  swim_.ask_sync(target, outbox_);
}

// --- which side of a partition -----------------------------------------------------------------

void GossipEngine::check_sides(std::int64_t now_ns) noexcept {
  if (now_ns < sides_ns_) return;
  sides_ns_ = now_ns + config_.probe_ns.count();
  rows_.clear();
  swim_.for_members([&](const SwimMembership::Member& one, std::uint32_t slot) {
    rows_.push_back({one.id, one.state, one.since_ns, one.last_contact_ns});  // reserved
    if (sides_.is_sweeping() && sides_.is_of_reference(one.id)) swim_.knock(slot, outbox_);
  });
  std::sort(rows_.begin(), rows_.end(),
            [](const SidesRow& a, const SidesRow& b) { return a.member < b.member; });
  const bool was_apart = sides_.is_apart();
  const SideState before = sides_.state();
  if (sides_.check(rows_, swim_.suspicion_max(), now_ns)) note_side(now_ns);
  if (sides_.state() == SideState::connected && (was_apart || before == SideState::healing)) {
    ++counters_.heals;
    emit(Event::healed, Severity::info, now_ns, {sides_.reachable(), sides_.reference().size()});
  }
}
void GossipEngine::note_side(std::int64_t now_ns) noexcept {
  view_changed_ = true;
  const std::uint64_t reachable = sides_.reachable();
  const std::uint64_t all = sides_.reference().size();
  PartitionClaim claim = PartitionClaim::none;
  switch (sides_.state()) {
    case SideState::suspected:
      emit(Event::partition_suspected, Severity::warning, now_ns, {reachable, all});
      break;
    case SideState::majority:
    case SideState::minority:
      claim = sides_.state() == SideState::majority ? PartitionClaim::majority
                                                    : PartitionClaim::minority;
      ++counters_.partitions;
      emit(Event::partitioned, Severity::error, now_ns,
           {reachable, all, static_cast<std::uint64_t>(claim)});
      break;
    case SideState::healing:
      healing_with_ = sides_.healed_with();
      emit(Event::healing, Severity::info, now_ns, {healing_with_});
      break;
    default:
      break;
  }
  outbox_.set_claim(claim, static_cast<std::uint32_t>(checksum(std::as_bytes(sides_.reference()))));
}

// --- what leaves -------------------------------------------------------------------------------

void GossipEngine::hand_out(Actions& out) noexcept {
  for (const GossipSend& send : outbox_.sends()) {
    GossipSend given = send;
    const auto bytes = outbox_.bytes_of(send);
    given.begin = static_cast<std::uint32_t>(out.bytes.size());
    out.bytes.insert(out.bytes.end(), bytes.begin(), bytes.end());
    if (seal_ != nullptr) {
      const GossipSeal::Tag tag = seal_->tag(bytes);
      out.bytes.insert(out.bytes.end(), tag.begin(), tag.end());
      given.size_bytes += static_cast<std::uint32_t>(tag.size());
    }
    std::vector<GossipSend>* const lists[] = {&out.probes,       &out.ping_reqs,      &out.answers,
                                              &out.rumor_pushes, &out.plumtree_sends, &out.digests,
                                              &out.syncs};
    lists[static_cast<std::size_t>(send.lane)]->push_back(given);
  }
  counters_.sent += outbox_.sends().size();
  outbox_.clear();
}

}  // namespace mesh::coordination
