// ServiceDiscovery: who offers what, across hosts. Each node has the whole registry, answers from
// it at any time, and merges what others send; there is no leader and no agreement to wait for.
//
//   registered --lease ends, deregister, the station closes--> tombstone --tombstone_ns--> gone
//        ^---- register again: incarnation + 1 ------------------|
//
// Callers     one thread, which owns the machine. query, resolve and watch are const: in a mesh
//             readers do the same over the published index.
// Progress    wait-free. Allocates nothing after construction but the bytes of answers to peers,
//             of actions and of what a question returns.
// Cost        register, renew: one record and its digest. resolve_one: each one of the type and
//             no other; most of it is memory that is not in a cache.
// Units       nodes are numbers, not 0. Load in ppm. Nanos of this host's clock; between hosts
//             only what is left of a lease travels, so clocks may differ.
// Guarantees  Of two records of an instance the greater (incarnation, tombstone, sequence, hash of
//             the owner) stands, so merging commutes, associates and repeats without effect. Where
//             all four are equal and the content is not, its greater checksum stands.
//             Nothing returns below a tombstone; and no record outlives its lease on the way, so
//             nothing returns after the tombstone is gone either.
//             What is returned is ready, healthy, not draining and within its lease, unless
//             include_unhealthy or panic says otherwise.
// If the      owner's station dies: its leases end at once (StationClosed). Its host dies: each
// other side  node buries what was not renewed. A node is cut off: it goes on serving, is_stale on
// dies,       every answer; a false death is refuted by the owner with incarnation + 1.
// or lies     A peer that lies can bury or replace any record: peers are trusted as hosts of one
//             mesh are. What is no record is refused whole: invalid_argument, nothing merged.
// Invariants  live + tombstones == instances; each live one stands once in the index of its type;
//             heard == merged + stale + left_out; the tree of digests is that of the records.
// Errors      validate -> invalid_config. invalid_id: a name. invalid_argument: attributes,
//             version, lease, load, a message. already_exists: another owner has it. not_owner.
//             expired: renew after the end. not_found. capacity: instances, types, peers, bytes.
//             overflow: no incarnation above. resolve: no_candidate, with what was left out.
// Source      LWW-element map: Shapiro 2011; SWIM's incarnations; Lifeguard (Dadgar 2018): a slow
//             observer doubts itself first; Merkle anti-entropy: Dynamo 2007; RFC 6763 for names.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/chunk_store.hpp"
#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/recency_list.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/semver.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/service.hpp"
#include "engine/coordination/service_discovery_terms.hpp"
#include "engine/coordination/service_index.hpp"

namespace mesh::coordination {

class ServiceDiscovery final
    : public ServiceForm<ServiceDiscovery, DiscoveryConfig, DiscoveryCommand, DiscoveryReply,
                         DiscoveryCounters, DiscoveryActions> {
 public:
  // a: what the sentence says, b: of which owner or peer.
  enum class Event : std::uint16_t {
    added = 1,                // a: registry version, b: owner
    removed = 2,              // a: registry version, b: owner
    refuted = 3,              // a: new incarnation
    owner_conflict = 4,       // a: incarnation, b: the owner that has it now
    partition_suspected = 5,  // a: reachable, b: of how many
    healed = 6,               // a: conflicts
  };

  static Status validate(const Config& config);
  explicit ServiceDiscovery(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  // Ends leases, asks for probes, spreads what has changed, compares with a peer.
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] Result<QueryResult> query(const DiscoveryQuery& query, Nanos now) const;
  // The best of the type; ties end at the lower hash of the instance id.
  [[nodiscard]] Result<Resolution> resolve_one(std::string_view type,
                                               const DiscoveryPreferences& preferences,
                                               Nanos now) const;
  // The best `limit`, best first.
  [[nodiscard]] Result<std::vector<Resolution>> resolve(std::string_view type,
                                                        const DiscoveryPreferences& preferences,
                                                        std::uint32_t limit, Nanos now) const;
  // For each key the id of an instance of the type: none has more than c times its share (weight).
  [[nodiscard]] Result<std::vector<std::string>> place(std::string_view type,
                                                       std::span<const std::uint64_t> keys,
                                                       double c, Nanos now) const;
  [[nodiscard]] Result<DiscoveredInstance> find(std::string_view instance) const;

  // Calls visit(RegistryChange) for what came after `version`, of one type or instance or of all
  // (both empty). Where changes were lost it visits none.
  template <class Visit>
  WatchEnd watch(std::uint64_t version, std::string_view type, std::string_view instance,
                 Visit&& visit) const {
    TypeName wanted;
    const bool is_all = type.empty();
    if (!is_all && !wanted.parse(type)) return {version, false};
    const std::uint64_t oldest = version_ - std::min<std::uint64_t>(version_, changes_.size());
    if (version < oldest || version > version_) return {version_, true};
    for (std::uint64_t next = version + 1; next <= version_; ++next) {
      const Change& change = changes_[(next - 1) % changes_.size()];
      if (!is_all && change.type.view() != wanted.view()) continue;
      if (!instance.empty() && change.instance.view() != instance) continue;
      visit(RegistryChange{next, change.kind, change.instance.view(), change.type.view()});
    }
    return {version_, false};
  }

  [[nodiscard]] DiscoveryView view() const noexcept;
  [[nodiscard]] std::vector<TypeSummary> summaries(Nanos now) const;  // by type name
  // What other domains have of it; "agent.*" too. By peer, then type.
  [[nodiscard]] std::vector<DomainSummary> elsewhere(std::string_view type) const;
  // Up to `size` of the type's instances for this client, so that not all clients watch all:
  // clients 0, 1, 2.. of any host are spread evenly.
  [[nodiscard]] Result<std::vector<std::string>> subset(std::string_view type, std::uint64_t client,
                                                        std::uint32_t size, Nanos now) const;
  // What is published: the rows of all types, and which of them are of one.
  [[nodiscard]] const ServiceIndex& index() const noexcept { return index_; }
  [[nodiscard]] ServiceIndex::List rows_of(std::string_view type) const noexcept;
  [[nodiscard]] bool is_stale() const noexcept {
    return partition_.state() != PartitionState::connected;
  }
  [[nodiscard]] std::uint32_t awareness() const noexcept { return awareness_; }
  [[nodiscard]] IdHash digest() noexcept { return tree_.root(); }  // equal registries, equal digest
  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"service_discovery", 2};
  static constexpr std::string_view kWho = "service discovery";
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static std::uint64_t hash_or_none(std::string_view text) noexcept {
    return text.empty() ? 0 : hash_of(text).low;
  }
  // The longest text of a record: six names, three places, attributes with their lengths.
  static constexpr std::size_t kTextBytesMax = 4'096;
  static_assert(8 * kNameBytesMax + kEndpointBytesMax + kVersionBytesMax + kAttributeBytesMax +
                    4 * (10 + 2 * kAttributesMax) <=
                kTextBytesMax);

  // A name of at most 128 bytes in its own place.
  struct Text {
    std::array<char, kNameBytesMax> bytes{};
    std::uint32_t size = 0;
    void set(std::string_view text) noexcept;
    [[nodiscard]] std::string_view view() const noexcept { return {bytes.data(), size}; }
  };
  // "_agent._compute" is "agent.compute". With a `.*` at the end, or `*`: all below it.
  struct TypeName : Text {
    bool is_prefix = false;
    [[nodiscard]] bool parse(std::string_view type) noexcept;
    [[nodiscard]] bool covers(std::string_view type) const noexcept;
  };
  struct alignas(64) Slot {
    IdHash id;
    std::uint32_t load_ppm = 0;
    std::int64_t expires_ns = 0;  // of the lease; of a tombstone: when it goes
    std::uint64_t region = 0;     // hashes; 0: none
    std::uint64_t zone = 0;
    std::uint64_t rack = 0;
    double health = 1;
    Semver version;
    std::int64_t latency_ns = -1;  // below 0: none was seen
    InstanceStatus status = InstanceStatus::ready;
    InstanceStatus declared = InstanceStatus::ready;  // by its holder; probes may say worse
    bool is_used = false;
    bool is_listed = false;  // in spreading_
    bool is_probed = false;
    bool is_probe_open = false;
    std::uint8_t spread = 0;      // rounds for which it is still to be sent
    std::uint32_t type = kNone;   // row in types_; of a tombstone kNone
    std::uint32_t place = kNone;  // in the index
    std::int64_t queued_ns = 0;   // its place in leases_: no later than expires_ns
    RecordOrder order;
    std::int64_t lease_ns = 0;
    std::uint64_t text_sum = 0;
    std::uint64_t sum = 0;  // of the content; of a tombstone 0
    ChunkStore::Bytes text;
    std::uint32_t weight = 1;
    std::uint32_t station = 0;
    std::uint64_t probe = 0;  // of the last probe
    std::array<std::uint32_t, 2> misses{};
    [[nodiscard]] bool is_live() const noexcept { return type != kNone; }
  };
  struct TypeRow {
    Text name;
    IdHash id;
    ServiceIndex::List list;  // of nobody: the row is free
  };
  struct Change {
    ChangeKind kind = ChangeKind::added;
    Text instance;
    Text type;
  };
  struct Peer {
    std::uint64_t id = 0;
    bool is_reachable = true;
    bool is_settled = false;   // belongs to the last stable membership
    std::uint32_t checks = 0;  // in which it was reachable, in a row
    bool summaries_only = false;
    [[nodiscard]] bool takes_records() const noexcept { return is_reachable && !summaries_only; }
  };
  struct HeardSummary {
    std::uint64_t peer = 0;  // 0: the row is free
    Text type;
    std::uint32_t live = 0;
    std::uint32_t healthy = 0;
    std::uint32_t load_ppm = 0;
    std::int64_t heard_ns = 0;
  };
  // What is offered by a registration or by a peer's record, without a copy.
  struct Offered {
    std::string_view instance;
    std::string_view type;
    std::string_view name;
    std::string_view agent;
    std::string_view endpoint;
    std::string_view version;
    const Locality* locality = nullptr;  // of a tombstone
    std::span<const Attribute> attributes{};
    std::uint32_t weight = 1;
    InstanceStatus status = InstanceStatus::ready;
    std::uint32_t load_ppm = 0;
    std::int64_t lease_ns = 0;
  };
  struct Choice;  // of one question: see service_discovery_query.cpp

  // service_discovery.cpp: instances of this node
  Reply register_one(const discovery::Register& wanted, std::int64_t now_ns) noexcept;
  Reply renew(const discovery::Renew& wanted, std::int64_t now_ns) noexcept;
  Reply deregister(const discovery::Deregister& gone, std::int64_t now_ns) noexcept;
  Reply set_status(std::string_view instance, std::uint32_t station, InstanceStatus status,
                   std::int64_t now_ns) noexcept;
  Reply update_load(const discovery::UpdateLoad& load, std::int64_t now_ns) noexcept;
  Reply close_station(std::uint32_t station, std::int64_t now_ns) noexcept;
  Reply apply_own(const Command& command, std::int64_t now_ns) noexcept;
  Reply apply_rest(const Command& command, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc find_own(std::string_view instance, std::uint32_t station, std::int64_t now_ns,
                              std::uint32_t& slot) const noexcept;
  [[nodiscard]] Reply owned(std::uint32_t slot) const noexcept;
  void prefetch(std::uint32_t slot) const noexcept;
  void queue(std::uint32_t slot) noexcept;
  void expire_due(std::int64_t now_ns) noexcept;

  // service_discovery_records.cpp: records and the indexes over them
  [[nodiscard]] static Offered offered(const ServiceContent& content) noexcept;
  [[nodiscard]] static Errc judge(const Offered& offer) noexcept;
  // Whether it fits in place of what `slot` holds; leaves its text in scratch_.
  [[nodiscard]] bool has_room(const Offered& offer, std::uint32_t slot) noexcept;
  [[nodiscard]] std::uint32_t take_slot(const IdHash& id) noexcept;
  // has_room() must have said so. settle() comes next.
  void store(std::uint32_t slot, const Offered& offer, std::int64_t now_ns) noexcept;
  static void store_facts(Slot& slot, const Offered& offer) noexcept;  // what its text says
  // It is what it will be now: its digest, its deadline, word to others.
  void settle(std::uint32_t slot, std::int64_t expires_ns) noexcept;
  void sum_up(Slot& slot) const noexcept;
  void change(std::uint32_t slot, std::int64_t now_ns) noexcept;  // by its owner: sequence + 1
  void bury(std::uint32_t slot, const RecordOrder& order, std::int64_t gone_ns,
            std::int64_t now_ns) noexcept;
  void drop(std::uint32_t slot) noexcept;
  void link(std::uint32_t slot, std::string_view type) noexcept;
  void unlink(std::uint32_t slot) noexcept;
  [[nodiscard]] ServiceRow row_of(std::uint32_t slot) const noexcept;
  void publish(std::uint32_t slot) noexcept;  // what of it has changed, in the index
  [[nodiscard]] std::uint32_t find_slot(const IdHash& id) const noexcept { return ids_.find(id); }
  [[nodiscard]] std::uint32_t find_type(std::string_view type) const noexcept {
    return type_ids_.find(hash_of(type));
  }
  void tell(ChangeKind kind, std::uint32_t slot, std::int64_t now_ns) noexcept;
  void head_of(const Slot& slot, Text& instance, Text& type) const noexcept;
  void write_text(const Offered& offer) noexcept;  // into scratch_
  [[nodiscard]] bool is_own(const Slot& slot) const noexcept {
    return slot.order.owner == config_.self;
  }
  [[nodiscard]] ServiceContent content_of(const Slot& slot) const;
  [[nodiscard]] ServiceRecord record_of(const Slot& slot, std::int64_t now_ns) const;
  [[nodiscard]] std::vector<std::uint32_t> used_by_id() const;

  // service_discovery_sync.cpp: other nodes
  Reply hear(const discovery::Hear& heard, std::int64_t now_ns) noexcept;
  Reply of_peer(const Command& command) noexcept;
  [[nodiscard]] bool is_possible(const SyncMessage& message) const noexcept;
  [[nodiscard]] bool is_possible(const ServiceRecord& record) const noexcept;
  void merge(const ServiceRecord& record, std::int64_t now_ns, Reply& reply) noexcept;
  [[nodiscard]] bool is_news(const ServiceRecord& record, std::uint32_t slot) noexcept;
  void take(std::uint32_t slot, const ServiceRecord& record, std::int64_t now_ns) noexcept;
  void take_end(std::uint32_t slot, const ServiceRecord& record, std::int64_t now_ns) noexcept;
  void refute(std::uint32_t slot, const RecordOrder& claimed, std::int64_t now_ns) noexcept;
  [[nodiscard]] SyncMessage answer(const SyncMessage& message, bool has_merged,
                                   std::int64_t now_ns);
  [[nodiscard]] SyncMessage answer_digests(const SyncMessage& message);
  [[nodiscard]] SyncMessage answer_keys(const SyncMessage& message, std::int64_t now_ns);
  [[nodiscard]] SyncMessage root_message();
  [[nodiscard]] Peer* find_peer(std::uint64_t id) noexcept;
  void spread(std::uint32_t slot) noexcept;
  void gossip(std::int64_t now_ns, Actions& out);
  void compare_roots(Actions& out);
  void check_partition(std::int64_t now_ns, Actions& out);

  // service_discovery_scale.cpp
  void send_summaries(std::int64_t now_ns, Actions& out);
  [[nodiscard]] static bool is_possible(const TypeSummary& summary) noexcept;
  void take_summary(std::uint64_t peer, const TypeSummary& summary, std::int64_t now_ns,
                    Reply& reply) noexcept;
  Reply hear_summaries(const discovery::Hear& heard, std::int64_t now_ns) noexcept;
  void forget_summaries(std::int64_t now_ns) noexcept;
  void save_summaries(StateWriter& writer) const;
  void load_summaries(StateReader& reader);

  // service_discovery_probes.cpp
  Reply observe(const discovery::Observe& seen) noexcept;
  Reply set_probing(const discovery::SetProbing& wanted, std::int64_t now_ns) noexcept;
  Reply probe_result(const discovery::ProbeResult& result, std::int64_t now_ns) noexcept;
  void probe_due(std::int64_t now_ns, Actions& out);
  void judge_probe(std::uint32_t slot, bool is_good, std::int64_t now_ns) noexcept;

  // service_discovery_query.cpp
  [[nodiscard]] bool is_healthy(const ServiceRow& row) const noexcept {
    return row.status == InstanceStatus::ready && row.health >= config_.health_min;
  }
  template <class Visit>
  void each_candidate(const Choice& choice, Visit&& visit) const;
  [[nodiscard]] Result<std::int64_t> instant_of(Nanos now) const;
  [[nodiscard]] DiscoveredInstance describe(const Slot& slot) const;
  void add_matches(const DiscoveryQuery& query, const TypeRow& type, std::int64_t now_ns,
                   QueryResult& result) const;
  void survey(Choice& choice) const;
  void keep_local(Choice& choice, std::uint32_t spill_load_ppm) const;
  [[nodiscard]] Result<Choice> choose(std::string_view type,
                                      const DiscoveryPreferences& preferences, Nanos now) const;
  [[nodiscard]] ScoreBreakdown score_of(const ServiceRow& row, const Choice& choice) const noexcept;
  [[nodiscard]] Resolution resolution_of(std::uint32_t slot, const Choice& choice) const;

  void save_state(StateWriter& writer) const;
  void save_slot(const Slot& slot, StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_slot(StateReader& reader);
  void load_peers(StateReader& reader);
  void load_spreading(StateReader& reader);

  Rng rng_;
  std::vector<Slot> slots_;
  ServiceIndex index_;  // of the live ones
  std::vector<std::uint32_t> free_;
  IdTable ids_;
  std::vector<TypeRow> types_;
  std::vector<std::uint32_t> free_types_;
  IdTable type_ids_;
  ChunkStore store_;
  MerkleMap tree_;
  DeadlineHeap leases_;
  DeadlineHeap probes_;
  RecencyNodes nodes_;
  RecencyList spreading_;  // in the order in which they are to be sent
  std::vector<Change> changes_;
  std::uint64_t version_ = 0;
  std::uint64_t live_ = 0;
  std::vector<Peer> peers_;  // by id
  std::vector<HeardSummary> heard_summaries_;
  std::vector<std::uint32_t> free_summaries_;
  IdTable summary_ids_;  // by type and peer
  PartitionDetector partition_;
  std::int64_t next_gossip_ns_ = 0;
  std::int64_t next_compare_ns_ = 0;
  std::int64_t healed_ns_ = 0;  // healing ends then
  std::uint64_t conflicts_in_heal_ = 0;
  std::uint32_t awareness_ = 0;  // how much this node doubts itself
  std::uint64_t seen_version_ = 0;
  StateWriter scratch_;
};

static_assert(DurableService<ServiceDiscovery>);

extern template class ServiceForm<ServiceDiscovery, DiscoveryConfig, DiscoveryCommand,
                                  DiscoveryReply, DiscoveryCounters, DiscoveryActions>;

}  // namespace mesh::coordination
