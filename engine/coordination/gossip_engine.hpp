// GossipEngine: which hosts are there, and what each says of itself, without anybody in charge.
//
//   host        alive --silent--> suspect --suspicion--> dead;  it answers again, higher: alive
//   mesh        connected --a fifth silent at once--> suspected --sweep--> majority | minority
//                  ^------------------- healing <--heard from the other side--|
//
// Callers     one thread, which owns the machine. Between hosts the bridge carries what tick()
//             returns; tick after each burst of messages, for their answers leave with it.
// Progress    wait-free. Allocates nothing after construction but the bytes of a reply.
// Cost        a message: its updates; a tick without anything due: a few comparisons.
// Units       hosts are numbers, not 0. ns of this host's clock; between hosts only ages travel.
// Guarantees  Membership: SwimMembership's. A broadcast over the tree reaches all of the connected
//             component once; a bimodal one nearly all or nearly none; a rumour most; a summary
//             all, sooner or later, also those that were away. Only this host raises its own
//             incarnation, within what was reserved. Of two sides at most one says majority.
// If the      host dies, or lies: see the parts. It restarts: state is soft, and is had again from
// other side  any member; incarnations and sequences go on above those of the life before.
// dies        The bridge loses, doubles, delays or mixes messages: nothing depends on any one.
// Invariants  heard == taken + malformed + unknown_version + oversize + unsealed; each link of the
//             overlay is one of the tree; the parts' own (is_sound).
// Errors      invalid_argument (self, limits), invalid_id (keys), already_exists, not_found,
//             wrong_state (a live member is not removed; nothing is said after Leave), capacity,
//             bad_input (a message), not_authorized (its seal).
// Source      SWIM 2002, Lifeguard 2018, HyParView and Plumtree 2007, pbcast 1999, Demers 1987,
//             Dynamo 2007, Vivaldi 2004.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/coordination/adaptive_fanout.hpp"
#include "engine/coordination/bimodal_multicast.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/gossip_terms.hpp"
#include "engine/coordination/hyparview.hpp"
#include "engine/coordination/merkle_sync.hpp"
#include "engine/coordination/partition_sides.hpp"
#include "engine/coordination/plumtree.hpp"
#include "engine/coordination/rumor_manager.hpp"
#include "engine/coordination/service.hpp"
#include "engine/coordination/swim_membership.hpp"

namespace mesh::coordination {

class GossipEngine final : public ServiceForm<GossipEngine, GossipConfig, GossipCommand,
                                              GossipReply, GossipCounters, GossipActions> {
 public:
  enum class Event : std::uint16_t {
    member_alive = 1,         // a: member, b: incarnation
    member_suspected = 2,     // a: member, b: incarnation
    member_dead = 3,          // a: member, b: incarnation
    member_left = 4,          // a: member, b: incarnation
    partition_suspected = 5,  // a: reachable, b: of how many
    partitioned = 6,          // a: reachable, b: of how many, c: 1 majority, 2 minority
    healing = 7,              // a: the member that was heard from
    healed = 8,               // a: reachable, b: of how many
    split_brain = 9,          // a: ours, b: theirs, c: sector, or 0
  };

  static Status validate(const Config& config);
  explicit GossipEngine(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;
  // From now on; nullptr: none. It is no part of the state, and outlives the engine.
  void set_seal(const GossipSeal* seal) noexcept { seal_ = seal; }

  [[nodiscard]] GossipView view() const noexcept;
  // Members but this one, by slot.
  template <class Visit>
  void for_members(Visit&& visit) const {
    swim_.for_members(
        [&](const SwimMembership::Member& one, std::uint32_t) { visit(row_of(one)); });
  }
  [[nodiscard]] std::optional<GossipMemberRow> member(std::uint64_t id) const noexcept;
  // The latest that is here, whoever said it.
  [[nodiscard]] std::optional<GossipDelivery> summary(std::string_view key) const;
  // How old what is here of this host's summaries is: the youngest; nothing: there is none.
  [[nodiscard]] std::optional<Nanos> summary_age(std::uint64_t member, Nanos now) const;
  [[nodiscard]] std::uint64_t incarnation() const noexcept { return swim_.self().incarnation; }

  // The parts, to look at.
  [[nodiscard]] const SwimMembership& swim() const noexcept { return swim_; }
  [[nodiscard]] const HyParView& overlay() const noexcept { return overlay_; }
  [[nodiscard]] const Plumtree& tree() const noexcept { return tree_; }
  [[nodiscard]] const BimodalMulticast& bimodal() const noexcept { return bimodal_; }
  [[nodiscard]] const RumorManager& rumors() const noexcept { return rumors_; }
  [[nodiscard]] const MerkleSync& summaries() const noexcept { return sync_; }
  [[nodiscard]] const PartitionSides& sides() const noexcept { return sides_; }
  [[nodiscard]] IdHash summaries_digest() noexcept { return sync_.digest(); }
  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"gossip_engine", 2};
  static constexpr std::string_view kWho = "gossip engine";
  static constexpr std::int64_t kNever = INT64_MAX;
  static constexpr std::size_t kTagBytes = std::tuple_size_v<GossipSeal::Tag>;
  // What a payload of the tree is.
  enum class Carries : std::uint8_t { broadcast, summary };
  friend constexpr Carries last_of(Carries) noexcept { return Carries::summary; }

  Reply on(const gossip::Hear& order, std::int64_t now_ns) noexcept;
  Reply on(const gossip::AddMember& order, std::int64_t now_ns) noexcept;
  Reply on(const gossip::RemoveMember& order, std::int64_t now_ns) noexcept;
  Reply on(const gossip::SetSelf& order, std::int64_t now_ns) noexcept;
  Reply on(const gossip::Leave& order, std::int64_t now_ns) noexcept;
  Reply on(const gossip::CreateRumor& order, std::int64_t now_ns) noexcept;
  Reply on(const gossip::Broadcast& order, std::int64_t now_ns) noexcept;
  Reply on(const gossip::SetSummary& order, std::int64_t now_ns) noexcept;
  Reply on(const gossip::ClaimSector& order, std::int64_t now_ns) noexcept;
  Reply on(const gossip::ReleaseSector& order, std::int64_t now_ns) noexcept;
  Reply on(const gossip::Reserved& order, std::int64_t now_ns) noexcept;

  // gossip_messages.cpp
  Reply on_message(std::span<const std::byte> bytes, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc hand_over(const Envelope& envelope, StateReader& reader,
                               std::int64_t now_ns) noexcept;
  void collect(Reply& reply, std::int64_t now_ns);
  void collect_tree(Reply& reply, std::int64_t now_ns);
  void collect_news(Reply& reply, std::int64_t now_ns);
  Reply put_summary(std::string_view key, std::span<const std::byte> value,
                    std::int64_t now_ns) noexcept;
  bool spread_summary(const SyncValue& value, std::int64_t now_ns) noexcept;
  void say_summaries_again(std::int64_t now_ns) noexcept;
  void look_at_claim(const SyncValue& value, std::int64_t now_ns);
  void look_at_envelope(const Envelope& envelope, std::int64_t now_ns) noexcept;
  void diverge(const ContextDivergence& record, std::int64_t now_ns) noexcept;

  void follow_membership(std::int64_t now_ns, Actions* out) noexcept;
  void follow_links() noexcept;
  void check_sides(std::int64_t now_ns) noexcept;
  void note_side(std::int64_t now_ns) noexcept;
  [[nodiscard]] std::span<std::uint64_t> peers() noexcept;
  void turn_rounds(std::int64_t now_ns) noexcept;
  void compare_with_somebody(std::int64_t now_ns, Actions& out) noexcept;
  void hand_out(Actions& out) noexcept;
  [[nodiscard]] std::int64_t next_ns() const noexcept;
  [[nodiscard]] GossipMemberRow row_of(const SwimMembership::Member& one) const noexcept;

  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);

  static SwimConfig swim_config(const Config& config) noexcept;
  static OverlayConfig overlay_config(const Config& config) noexcept;
  static TreeConfig tree_config(const Config& config) noexcept;
  static BimodalConfig bimodal_config(const Config& config) noexcept;
  static RumorConfig rumor_config(const Config& config) noexcept;
  static MerkleSyncConfig sync_config(const Config& config) noexcept;
  static SidesConfig sides_config(const Config& config) noexcept;
  static FanoutConfig fanout_config(const Config& config) noexcept;

  GossipOutbox outbox_;
  Rng rng_;
  SwimMembership swim_;
  HyParView overlay_;
  Plumtree tree_;
  BimodalMulticast bimodal_;
  RumorManager rumors_;
  MerkleSync sync_;
  PartitionSides sides_;
  AdaptiveFanout fanout_;
  std::vector<std::uint64_t> peers_;
  std::vector<SidesRow> rows_;
  std::vector<ContextDivergence> divergences_;
  mutable std::vector<std::byte> value_;
  StateWriter payload_;
  std::uint64_t version_ = 0;  // of this host's last summary
  std::uint64_t healing_with_ = 0;
  std::int64_t anti_entropy_ns_ = 0;
  std::int64_t summary_ns_ = 0;
  std::int64_t sides_ns_ = 0;
  std::int64_t diverged_ns_ = -1;
  RumorCounters judged_{};  // what the fanout has been told of already
  bool has_left_ = false;
  bool view_changed_ = true;
  const GossipSeal* seal_ = nullptr;
};

static_assert(DurableService<GossipEngine>);

extern template class ServiceForm<GossipEngine, GossipConfig, GossipCommand, GossipReply,
                                  GossipCounters, GossipActions>;

}  // namespace mesh::coordination
