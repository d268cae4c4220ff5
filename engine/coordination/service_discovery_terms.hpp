// What a registry of services is told and says: its config, records, commands, replies, messages.
// The contract: service_discovery.hpp.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/merkle_map.hpp"
#include "engine/coordination/blocks/partition_detector.hpp"
#include "engine/coordination/blocks/service_clock.hpp"
#include "shm/base/errc.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

struct DiscoveryConfig {
  std::uint64_t self = 1;               // this node; of all nodes different, never 0
  std::uint64_t incarnation_first = 1;  // after a lost journal: boot_count << 40
  Nanos lease_ns{15 * kNsPerSecond};    // of a registration that names none
  Nanos lease_ns_min{5 * kNsPerSecond};
  Nanos lease_ns_max{60 * kNsPerSecond};
  Nanos refresh_ns{5 * kNsPerSecond};  // when an owner should renew
  Nanos gossip_ns{kNsPerSecond};
  std::uint32_t fanout = 2;
  Nanos anti_entropy_ns{10 * kNsPerSecond};
  Nanos tombstone_ns{300 * kNsPerSecond};
  double share_min = 0.5;  // of the last stable membership, below it: partition_suspected
  std::uint32_t partition_checks = 3;
  double panic_share = 0.5;  // of a type, healthy; below it health does not count
  double health_min = 0.3;   // below it an instance is failed
  double health_alpha = 0.3;
  Nanos latency_ref_ns{50 * kNsPerMs};
  Nanos probe_ns{5 * kNsPerSecond};  // of instances that asked for it
  Nanos probe_timeout_ns{kNsPerSecond};
  std::uint32_t misses_max = 3;
  std::uint32_t awareness_max = 8;
  std::uint32_t instances_max = 1'024;  // and tombstones
  std::uint32_t types_max = 128;
  std::uint32_t peers_max = 20;
  std::uint32_t changes_max = 256;          // what a watcher may lag behind
  std::uint32_t message_records_max = 128;  // of one message
  std::uint32_t message_nodes_max = 256;
  std::uint32_t summaries_max = 256;  // of other domains, by type
  std::uint64_t store_bytes = 1U << 20;
  std::uint32_t events_max = 64;

  static Result<DiscoveryConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

inline constexpr std::size_t kAttributesMax = 32;
inline constexpr std::size_t kAttributeBytesMax = 1'024;  // of all keys and values
inline constexpr std::size_t kEndpointBytesMax = 256;
inline constexpr std::size_t kVersionBytesMax = 64;
inline constexpr std::uint32_t kLoadFull = 1'000'000;  // ppm

enum class InstanceStatus : std::uint8_t { starting, ready, not_ready, draining, dead };
constexpr InstanceStatus last_of(InstanceStatus) noexcept { return InstanceStatus::dead; }
[[nodiscard]] std::string_view to_string(InstanceStatus status) noexcept;

struct Locality {
  std::string region;
  std::string zone;
  std::string rack;
  friend bool operator==(const Locality&, const Locality&) = default;
};
struct Attribute {
  std::string key;
  std::string value;
  friend bool operator==(const Attribute&, const Attribute&) = default;
};

// Which of two records of one instance stands: the greater. No times in it: clocks differ.
struct RecordOrder {
  std::uint64_t incarnation = 0;
  bool is_tombstone = false;
  std::uint64_t sequence = 0;
  std::uint64_t owner = 0;  // compared by its hash
};
[[nodiscard]] std::strong_ordering compare(const RecordOrder& a, const RecordOrder& b) noexcept;
inline constexpr std::uint64_t kIncarnationMax = std::uint64_t{1} << 62;  // and sequence

// What an instance says of itself; of a tombstone only instance and type stand.
struct ServiceContent {
  std::string instance;
  std::string type;
  std::string name;
  std::string agent;
  std::string endpoint;
  std::string version;
  Locality locality;
  std::vector<Attribute> attributes;
  std::uint32_t weight = 1;
  InstanceStatus status = InstanceStatus::ready;
  std::uint32_t load_ppm = 0;
  Nanos lease{0};
};
struct ServiceRecord {
  ServiceContent content;
  RecordOrder order;
  Nanos left{0};  // of the lease, or of a tombstone's keeping, when it was sent
};

// --- between nodes -----------------------------------------------------------------------------

struct TypeSummary {
  std::string type;
  std::uint32_t live = 0;
  std::uint32_t healthy = 0;
  std::uint32_t load_ppm_mean = 0;  // of the healthy ones
};

//   delta    what has changed here lately; no answer
//   root     are we equal? -> none, or digests of the root's children
//   digests  -> digests of what differs one level down, or keys of the buckets that differ
//   keys     -> records: what the other lacks, and what is wanted of it
//   records  -> records: what was wanted
//   summaries  of all types here, for another domain; no answer
enum class SyncKind : std::uint8_t { none, delta, root, digests, keys, records, summaries };
constexpr SyncKind last_of(SyncKind) noexcept { return SyncKind::summaries; }

struct DigestRow {
  std::uint32_t index = 0;
  MerkleMap::Children children{};
};
struct KeyVersion {
  IdHash id;
  RecordOrder order;
  std::uint64_t sum = 0;  // of the content
};
struct SyncMessage {
  SyncKind kind = SyncKind::none;
  std::uint8_t level = 0;  // digests
  bool more = false;       // a limit of a message left something out: begin again afterwards
  IdHash root;
  std::vector<DigestRow> rows;
  std::vector<std::uint32_t> buckets;
  std::vector<KeyVersion> keys;
  std::vector<ServiceRecord> records;
  std::vector<IdHash> wants;
  std::vector<TypeSummary> summaries;
};

// --- commands ----------------------------------------------------------------------------------

enum class ProbeKind : std::uint8_t { liveness, readiness };
constexpr ProbeKind last_of(ProbeKind) noexcept { return ProbeKind::readiness; }

// `station` is who holds the instance on this host; 0: the program that owns the registry.
namespace discovery {
// Again by its holder: what it says now stands, and its lease begins anew.
struct Register {
  std::string instance;
  std::string type;
  std::string name;
  std::string agent;
  std::string endpoint;
  std::string version;
  Locality locality;
  std::vector<Attribute> attributes;
  std::uint32_t weight = 1;
  InstanceStatus status = InstanceStatus::ready;  // or starting, not_ready
  Nanos lease{0};                                 // 0: the config's
  std::uint32_t station = 0;
};
struct Renew {
  std::string instance;
  std::uint32_t station = 0;
};
struct Deregister {
  std::string instance;
  std::uint32_t station = 0;
};
struct Drain {
  std::string instance;
  std::uint32_t station = 0;
};
struct SetStatus {
  std::string instance;
  InstanceStatus status = InstanceStatus::ready;  // starting, ready or not_ready
  std::uint32_t station = 0;
};
struct UpdateLoad {
  std::string instance;
  std::uint32_t load_ppm = 0;
  std::uint32_t station = 0;
};
// What this node has seen of any instance.
struct Observe {
  std::string instance;
  double health = 1;  // 0..1
  Nanos latency{0};
};
// Whether tick() is to ask for probes of it.
struct SetProbing {
  std::string instance;
  bool is_on = true;
  std::uint32_t station = 0;
};
struct ProbeResult {
  std::string instance;
  std::uint64_t sequence = 0;
  bool is_good = false;
  Nanos latency{0};
};
struct StationClosed {
  std::uint32_t station = 0;
};
struct AddPeer {
  std::uint64_t peer = 0;
  bool summaries_only = false;  // of another domain: it is told what there is, not of whom
};
struct RemovePeer {
  std::uint64_t peer = 0;
};
// What membership says of a peer.
struct SetReachable {
  std::uint64_t peer = 0;
  bool is_reachable = true;
};
struct Hear {
  std::uint64_t peer = 0;
  SyncMessage message;
};
}  // namespace discovery

using DiscoveryCommand =
    std::variant<discovery::Register, discovery::Renew, discovery::Deregister, discovery::Drain,
                 discovery::SetStatus, discovery::UpdateLoad, discovery::Observe,
                 discovery::SetProbing, discovery::ProbeResult, discovery::StationClosed,
                 discovery::AddPeer, discovery::RemovePeer, discovery::SetReachable,
                 discovery::Hear>;

struct DiscoveryReply {
  Errc code = Errc::ok;
  std::uint64_t incarnation = 0;  // Register, and what else an owner does
  std::uint64_t sequence = 0;
  std::uint64_t version = 0;   // of the registry, after the command
  Nanos expires{0};            // Register, Renew
  Nanos renew_at{0};           // Register, Renew
  std::uint32_t taken = 0;     // Hear: records that stand now
  std::uint32_t left_out = 0;  // Hear: no room for these
  SyncMessage answer;          // Hear: to the same peer, unless its kind is none
};

// --- questions ---------------------------------------------------------------------------------

enum class FilterOp : std::uint8_t { equal, not_equal, in, exists, in_range };
struct AttributeFilter {
  std::string key;
  FilterOp op = FilterOp::exists;
  std::vector<std::string> values;  // in_range: one, a range of versions
};
struct DiscoveryQuery {
  std::string type;  // also "agent.*", "*" and "_agent._compute"
  std::vector<AttributeFilter> filters{};
  std::string versions{};  // a range; empty: any
  std::uint32_t limit = 1'000;
  bool include_unhealthy = false;  // also failed, draining, starting and expired ones
};
struct DiscoveryPreferences {
  std::string region{};
  std::string zone{};  // of that region
  std::string rack{};  // of that zone
  std::string versions{};
  bool include_unhealthy = false;
  // Above 0: nobody outside the zone while those in it are loaded less, on average.
  std::uint32_t spill_load_ppm = 0;
};
// The terms, each in 0..1, and their weighted sum.
struct ScoreBreakdown {
  double health = 0;
  double locality = 0;
  double load = 0;  // 1 - load
  double version = 0;
  double latency = 0;
  double score = 0;
};
[[nodiscard]] ScoreBreakdown resolve_score(ScoreBreakdown terms) noexcept;

struct DiscoveredInstance {
  ServiceContent content;
  RecordOrder order;
  Nanos expires{0};
};
struct QueryResult {
  std::uint64_t version = 0;
  bool is_stale = false;                      // this side of a suspected partition may lack some
  std::vector<DiscoveredInstance> instances;  // by instance id
};
struct Resolution {
  DiscoveredInstance instance;
  ScoreBreakdown breakdown;
  bool is_stale = false;
  bool is_panic = false;  // too few of the type are healthy: health was not asked for
};

// --- what happens ------------------------------------------------------------------------------

enum class ChangeKind : std::uint8_t { added, updated, removed };
struct RegistryChange {
  std::uint64_t version = 0;
  ChangeKind kind = ChangeKind::added;
  std::string_view instance;  // good until the registry changes
  std::string_view type;
};
struct WatchEnd {
  std::uint64_t version = 0;        // ask for what comes after it
  bool is_resync_required = false;  // changes were lost: query, then watch from `version`
};

struct DiscoveryCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t registered = 0;  // new incarnations
  std::uint64_t renewed = 0;
  std::uint64_t deregistered = 0;
  std::uint64_t expired = 0;
  std::uint64_t heard = 0;  // records of peers: merged + stale + left_out
  std::uint64_t merged = 0;
  std::uint64_t stale = 0;
  std::uint64_t left_out = 0;
  std::uint64_t refuted = 0;    // false deaths of own instances, and lives that were not theirs
  std::uint64_t conflicts = 0;  // instances that another owner took from this node
  std::uint64_t probes = 0;
  std::uint64_t probes_missed = 0;
  std::uint64_t partitions = 0;
  std::uint64_t heals = 0;
};

struct SyncSend {
  std::uint64_t peer = 0;
  SyncMessage message;
};
struct ProbeSend {
  std::string instance;
  std::string endpoint;
  std::uint64_t sequence = 0;
  ProbeKind kind = ProbeKind::liveness;
  Nanos deadline{0};
};
struct DiscoveryActions {
  std::vector<SyncSend> sends;
  std::vector<ProbeSend> probes;
  bool view_changed = false;
};

struct DiscoveryView {
  std::uint64_t version = 0;
  std::uint64_t live = 0;
  std::uint64_t tombstones = 0;
  PartitionState partition = PartitionState::connected;
};
// What another domain has of a type.
struct DomainSummary {
  std::uint64_t peer = 0;  // which told it
  TypeSummary summary;
  Nanos heard{0};
};

}  // namespace mesh::coordination
