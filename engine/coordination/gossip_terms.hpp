// What a gossip engine is told and says: its config, commands, replies, actions, counters.
// The contract: gossip_engine.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/gossip_wire.hpp"
#include "engine/coordination/partition_sides.hpp"
#include "engine/coordination/swim_membership.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

struct GossipConfig {
  std::uint64_t self = 1;  // this host; of all hosts different, never 0
  // [first, first + block) is reserved for this life before the engine is made: after a restart
  // `first` is above all that was reserved before.
  std::uint64_t incarnation_first = 1;
  std::uint64_t incarnation_block = 64;
  Nanos probe_ns{kNsPerSecond};
  Nanos probe_timeout_ns{500 * kNsPerMs};
  std::uint32_t indirect = 3;
  std::uint32_t suspicion_mult = 4;
  Nanos gossip_ns{200 * kNsPerMs};
  std::uint32_t fanout = 3;
  std::uint32_t retransmit_mult = 4;
  Nanos anti_entropy_ns{30 * kNsPerSecond};
  std::uint32_t active = 5;  // links of the overlay, up to 400 members
  std::uint32_t passive = 30;
  std::uint32_t full_overlay_max = 200;  // up to so many members are themselves the passive view
  std::uint32_t piggyback_bytes = 1'200;
  Nanos summary_ns{250 * kNsPerMs};  // own summaries are said again, so that their age is known
  std::uint32_t bimodal_fanout = 3;
  std::uint32_t bimodal_rounds = 12;
  std::uint32_t rumor_k = 3;
  double delivery = 0.95;     // chance that all hear a rumour, which its fanout is made for
  double vanish_share = 0.2;  // of the members, silent at one time: a partition is suspected
  std::uint32_t members_max = 64;
  std::uint32_t messages_max = 1'024;  // broadcasts known at one time
  std::uint32_t rumors_max = 256;
  std::uint32_t summaries_max = 256;
  std::uint32_t payload_bytes_max = 2'048;  // of a broadcast, a rumour, a summary
  std::uint64_t store_bytes = 1U << 20;     // of payloads, for each part
  std::uint32_t outbox_messages = 2'048;    // between two ticks; what is beyond is lost
  std::uint32_t outbox_bytes = 1U << 21;
  std::uint32_t events_max = 128;

  static Result<GossipConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

// --- commands ----------------------------------------------------------------------------------

namespace gossip {
struct AddMember {
  std::uint64_t member = 0;
  std::string address;
  std::uint64_t incarnation = 1;
  std::string metadata;
};
// One that is dead or has left, and will not come back: its row goes, and no partition is told by
// its silence.
struct RemoveMember {
  std::uint64_t member = 0;
};
struct SetSelf {
  std::string address;
  std::string metadata;
};
struct Leave {};
struct CreateRumor {
  std::string key;
  std::vector<std::byte> payload;
  Nanos ttl{30 * kNsPerSecond};
  std::uint32_t budget = 10;  // transmissions of each host
};
struct Broadcast {
  std::vector<std::byte> payload;
  bool is_bimodal = false;  // else over the tree
};
// This host's own; all get it, and get it again after anything.
struct SetSummary {
  std::string key;
  std::vector<std::byte> value;
};
struct ClaimSector {
  std::uint32_t sector = 0;
  std::uint64_t epoch = 0;
};
struct ReleaseSector {
  std::uint32_t sector = 0;
};
// A message, as it came.
struct Hear {
  std::vector<std::byte> bytes;
};
// Incarnations up to this one are kept where a restart finds them.
struct Reserved {
  std::uint64_t until = 0;
};
}  // namespace gossip

using GossipCommand =
    std::variant<gossip::Hear, gossip::AddMember, gossip::RemoveMember, gossip::SetSelf,
                 gossip::Leave, gossip::CreateRumor, gossip::Broadcast, gossip::SetSummary,
                 gossip::ClaimSector, gossip::ReleaseSector, gossip::Reserved>;

enum class GossipNews : std::uint8_t { broadcast, multicast, rumor, summary };
constexpr GossipNews last_of(GossipNews) noexcept { return GossipNews::summary; }

struct GossipDelivery {
  GossipNews kind = GossipNews::broadcast;
  std::uint64_t origin = 0;    // broadcast, multicast; of a summary its owner
  std::uint64_t sequence = 0;  // of the origin; of a summary its version
  std::string key;             // rumour, summary
  std::vector<std::byte> payload;
};
struct GossipReply {
  Errc code = Errc::ok;
  std::uint64_t sequence = 0;             // Broadcast; SetSummary: its version
  std::vector<GossipDelivery> delivered;  // Hear
};

// --- actions -----------------------------------------------------------------------------------

enum class DivergenceKind : std::uint8_t { two_majorities, two_coordinators };
constexpr DivergenceKind last_of(DivergenceKind) noexcept {
  return DivergenceKind::two_coordinators;
}
// A CONTEXT_DIVERGENCE for the conflict handler.
struct ContextDivergence {
  DivergenceKind kind = DivergenceKind::two_majorities;
  std::uint32_t sector = 0;
  std::uint64_t ours = 0;    // member: this host, or the coordinator that was known
  std::uint64_t theirs = 0;  // member that contradicts
  std::uint64_t our_epoch = 0;
  std::uint64_t their_epoch = 0;
};

// Lists of messages: bytes_of(send) goes to host send.to. They keep their memory from tick to
// tick.
struct GossipActions {
  std::vector<GossipSend> probes;  // with the sequence that an acknowledgement will carry
  std::vector<GossipSend> ping_reqs;
  std::vector<GossipSend> answers;
  std::vector<GossipSend> rumor_pushes;
  std::vector<GossipSend> plumtree_sends;  // payloads, announcements, links
  std::vector<GossipSend> digests;         // bimodal rounds
  std::vector<GossipSend> syncs;           // anti-entropy, and lists of members
  std::vector<std::byte> bytes;
  std::vector<MembershipUpdate> membership_updates;
  std::vector<ContextDivergence> divergences;
  std::uint64_t anti_entropy_target = 0;  // whom it compares with this time; 0: nobody
  std::uint64_t reserve_until = 0;        // journal it, then gossip::Reserved; 0: enough is left
  bool view_changed = false;
  Nanos next_tick{0};

  [[nodiscard]] std::span<const std::byte> bytes_of(const GossipSend& send) const noexcept {
    return std::span(bytes).subspan(send.begin, send.size_bytes);
  }
  template <class Visit>
  void for_sends(Visit&& visit) const {
    for (const auto* list :
         {&probes, &ping_reqs, &answers, &rumor_pushes, &plumtree_sends, &digests, &syncs}) {
      for (const auto& send : *list) visit(send);
    }
  }
  void clear() noexcept {
    for (auto* list :
         {&probes, &ping_reqs, &answers, &rumor_pushes, &plumtree_sends, &digests, &syncs}) {
      list->clear();
    }
    bytes.clear();
    membership_updates.clear();
    divergences.clear();
    anti_entropy_target = reserve_until = 0;
    view_changed = false;
  }
};

struct GossipCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t heard = 0;  // taken + malformed + unknown_version + oversize + unsealed
  std::uint64_t taken = 0;
  std::uint64_t malformed = 0;
  std::uint64_t unknown_version = 0;
  std::uint64_t oversize = 0;
  std::uint64_t unsealed = 0;
  std::uint64_t sent = 0;
  std::uint64_t delivered = 0;
  std::uint64_t syncs = 0;
  std::uint64_t partitions = 0;
  std::uint64_t heals = 0;
  std::uint64_t divergences = 0;
};

// --- views -------------------------------------------------------------------------------------

struct GossipView {
  std::uint32_t alive = 0;  // this host among them
  std::uint32_t suspect = 0;
  std::uint32_t dead = 0;
  std::uint32_t left = 0;
  SideState partition = SideState::connected;
  std::uint32_t reachable = 0;  // of the reference
  std::uint32_t reference = 0;
  std::uint32_t active_rumors = 0;
};
struct GossipMemberRow {
  std::uint64_t member = 0;
  MemberState state = MemberState::alive;
  std::uint64_t incarnation = 0;
  std::uint64_t heartbeat = 0;
  Nanos last_contact{-1};
  double rtt_ms = 0;          // as their points say, without ever having asked
  std::string_view address;   // good until the next command
  std::string_view metadata;  // the same
};

// A keyed code over each message, by the owner of the keys: the engine appends it to what it sends
// and takes no message without the right one.
class GossipSeal {
 public:
  using Tag = std::array<std::byte, 16>;
  virtual ~GossipSeal() = default;
  [[nodiscard]] virtual Tag tag(std::span<const std::byte> message) const noexcept = 0;
};

}  // namespace mesh::coordination
