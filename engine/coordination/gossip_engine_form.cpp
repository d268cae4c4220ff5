// What the gossip engine looks like from outside: presets, the range of its config, views, bytes,
// and what must hold.
#include <algorithm>
#include <array>

#include "engine/coordination/gossip_engine.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 3> kPresets{"small-cluster", "medium-network",
                                                   "large-federation"};
constexpr std::int64_t kDay = 24 * 3'600 * kNsPerSecond;

bool is_span_of_gossip(Nanos span) noexcept {
  return span.count() >= kNsPerMs && span.count() <= kDay;
}

}  // namespace

std::span<const std::string_view> GossipConfig::names() noexcept { return kPresets; }

Result<GossipConfig> GossipConfig::preset(std::string_view name) {
  GossipConfig config;
  if (name == "small-cluster") {
    config.probe_ns = Nanos{500 * kNsPerMs};
    config.probe_timeout_ns = Nanos{200 * kNsPerMs};
    config.indirect = 2;
    config.suspicion_mult = 3;
    config.gossip_ns = Nanos{100 * kNsPerMs};
    config.fanout = 2;
    config.retransmit_mult = 3;
    config.anti_entropy_ns = Nanos{10 * kNsPerSecond};
    config.active = 4;
    config.members_max = 32;
    config.summaries_max = 128;
    return config;
  }
  if (name == "medium-network") {
    config.members_max = 256;
    config.messages_max = 4'096;
    config.summaries_max = 1'024;
    config.store_bytes = 1U << 21;
    return config;
  }
  if (name == "large-federation") {
    config.probe_ns = Nanos{2 * kNsPerSecond};
    config.probe_timeout_ns = Nanos{kNsPerSecond};
    config.indirect = 4;
    config.suspicion_mult = 5;
    config.gossip_ns = Nanos{500 * kNsPerMs};
    config.fanout = 4;
    config.anti_entropy_ns = Nanos{60 * kNsPerSecond};
    config.active = 6;
    config.members_max = 1'024;
    config.summaries_max = 2'048;
    config.messages_max = 16'384;
    config.store_bytes = 1U << 23;
    config.outbox_messages = 8'192;
    config.outbox_bytes = 1U << 23;
    return config;
  }
  return unknown_preset("gossip engine", name, kPresets);
}

Status GossipEngine::validate(const Config& config) {
  const auto is_in = [](std::uint64_t value, std::uint64_t least, std::uint64_t most) {
    return value >= least && value <= most;
  };
  const std::array<Check, 17> checks{{
      {config.self != 0, "self is 0"},
      {is_in(config.incarnation_first, 1, std::uint64_t{1} << 36) &&
           is_in(config.incarnation_block, 2, 1'000'000),
       "incarnation_first is outside 1..2^36, or incarnation_block outside 2..1000000"},
      {is_span_of_gossip(config.probe_ns) && is_span_of_gossip(config.probe_timeout_ns) &&
           config.probe_timeout_ns < config.probe_ns,
       "probe_ns or probe_timeout_ns is outside 1 ms..1 day, or the timeout is no shorter"},
      {is_in(config.indirect, 0, 15), "indirect is above 15"},
      {is_in(config.suspicion_mult, 1, 9), "suspicion_mult is outside 1..9"},
      {is_span_of_gossip(config.gossip_ns) && is_in(config.fanout, 1, 16),
       "gossip_ns is outside 1 ms..1 day, or fanout outside 1..16"},
      {is_in(config.retransmit_mult, 1, 64), "retransmit_mult is outside 1..64"},
      {is_span_of_gossip(config.anti_entropy_ns) && is_span_of_gossip(config.summary_ns),
       "anti_entropy_ns or summary_ns is outside 1 ms..1 day"},
      {is_in(config.active, 1, 64) && is_in(config.passive, 1, 1'024) &&
           is_in(config.full_overlay_max, 1, 1'024),
       "active is outside 1..64, or passive or full_overlay_max outside 1..1024"},
      {is_in(config.piggyback_bytes, 256, 2'048), "piggyback_bytes is outside 256..2048"},
      {is_in(config.bimodal_fanout, 1, 16) && is_in(config.bimodal_rounds, 1, 1'000),
       "bimodal_fanout is outside 1..16, or bimodal_rounds outside 1..1000"},
      {config.bimodal_fanout > 1 || config.bimodal_rounds >= 20,
       "bimodal_fanout 1 with bimodal_rounds below 20 leaves one in ten broadcasts half done"},
      {is_in(config.rumor_k, 1, 64), "rumor_k is outside 1..64"},
      {config.delivery > 0 && config.delivery < 1 && config.vanish_share > 0 &&
           config.vanish_share <= 1,
       "delivery or vanish_share is no share"},
      {is_in(config.members_max, 2, 4'096) && is_in(config.messages_max, 16, 65'536) &&
           is_in(config.rumors_max, 1, 65'536) && is_in(config.summaries_max, 1, 65'536),
       "members_max is outside 2..4096, messages_max below 16, or a limit above 65536 or 0"},
      {is_in(config.payload_bytes_max, 64, 2'048) &&
           is_in(config.store_bytes, 4'096, std::uint64_t{1} << 32) &&
           is_in(config.outbox_messages, 64, 1'000'000) &&
           is_in(config.outbox_bytes, 65'536, std::uint64_t{1} << 30),
       "payload_bytes_max is outside 64..2048, or store_bytes, outbox_messages or outbox_bytes "
       "too small or too large"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- views -------------------------------------------------------------------------------------

GossipView GossipEngine::view() const noexcept {
  GossipView view;
  view.alive = has_left_ ? 0 : 1;
  view.left = has_left_ ? 1 : 0;
  swim_.for_members([&](const SwimMembership::Member& one, std::uint32_t) {
    std::uint32_t* const counts[] = {&view.alive, &view.suspect, &view.dead, &view.left};
    ++*counts[static_cast<std::size_t>(one.state)];
  });
  view.partition = sides_.state();
  view.reachable = sides_.reachable();
  view.reference = static_cast<std::uint32_t>(sides_.reference().size());
  view.active_rumors = rumors_.active_count();
  return view;
}
GossipMemberRow GossipEngine::row_of(const SwimMembership::Member& one) const noexcept {
  return {one.id,
          one.state,
          one.incarnation,
          one.heartbeat,
          Nanos{one.last_contact_ns},
          vivaldi_ms(swim_.point(), one.point),
          one.address.view(),
          one.metadata.view()};
}
std::optional<GossipMemberRow> GossipEngine::member(std::uint64_t id) const noexcept {
  const auto* const one = swim_.find(id);
  if (one == nullptr) return std::nullopt;
  return row_of(*one);
}

// --- bytes -------------------------------------------------------------------------------------

void GossipEngine::save_state(StateWriter& writer) const {
  outbox_.save(writer);
  rng_.save(writer);
  swim_.save(writer);
  overlay_.save(writer);
  tree_.save(writer);
  bimodal_.save(writer);
  rumors_.save(writer);
  sync_.save(writer);
  sides_.save(writer);
  fanout_.save(writer);
  writer.put(static_cast<std::uint32_t>(divergences_.size()));
  for (const auto& one : divergences_) put_fields(one, writer);
  writer.put(version_);
  writer.put(healing_with_);
  for (const auto at_ns : {anti_entropy_ns_, summary_ns_, sides_ns_, diverged_ns_}) {
    writer.put(at_ns);
  }
  save_counters(judged_, writer);
  writer.put(has_left_);  // not view_changed_: who is restored shows its view
}
void GossipEngine::load_state(StateReader& reader) {
  outbox_.load(reader);
  rng_.load(reader);
  const auto load = [&](auto& part) {
    if (!reader.failed()) part.load(reader);
  };
  load(swim_);
  load(overlay_);
  load(tree_);
  load(bimodal_);
  load(rumors_);
  load(sync_);
  load(sides_);
  load(fanout_);
  const std::size_t count = reader.get_count(37);
  if (count > divergences_.capacity()) return reader.fail();
  for (std::size_t i = 0; i < count; ++i) get_fields(divergences_.emplace_back(), reader);
  reader.get(version_);
  reader.get(healing_with_);
  for (auto* at_ns : {&anti_entropy_ns_, &summary_ns_, &sides_ns_, &diverged_ns_}) {
    reader.get(*at_ns);
  }
  load_counters(judged_, reader);
  reader.get(has_left_);
}

// --- what must hold ----------------------------------------------------------------------------

Status GossipEngine::verify() const {
  const Counters& sums = counters_;
  const auto links = overlay_.active();
  const bool are_same = std::all_of(links.begin(), links.end(),
                                    [&](std::uint64_t peer) { return tree_.is_peer(peer); });
  const std::array<Check, 9> checks{{
      {sums.heard ==
           sums.taken + sums.malformed + sums.unknown_version + sums.oversize + sums.unsealed,
       "a message was neither taken nor refused, or both"},
      {swim_.is_sound(), "membership: an order, a deadline or a count is wrong"},
      {overlay_.is_sound(), "overlay: a view holds one twice, or itself"},
      {are_same && tree_.peer_count() == links.size(), "the tree's links are not the overlay's"},
      {tree_.is_sound(), "tree: a message is known and missing, or its bytes are lost"},
      {bimodal_.is_sound(), "bimodal: a message is kept too long, or its bytes are lost"},
      {rumors_.is_sound(), "rumours: a budget is overdrawn, or bytes are lost"},
      {sync_.is_sound(), "summaries: the tree of digests is not that of the values"},
      {sides_.is_sound(), "partition: more can be reached than there are"},
  }};
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<GossipEngine, GossipConfig, GossipCommand, GossipReply, GossipCounters,
                           GossipActions>;

}  // namespace mesh::coordination
