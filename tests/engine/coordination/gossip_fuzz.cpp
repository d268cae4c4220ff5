// Messages of hostile hosts to each part of the gossip engine: one is taken whole or changes
// nothing, and what must hold does.
#include <algorithm>
#include <optional>

#include "engine/coordination/gossip_engine.hpp"
#include "shm/base/assert.hpp"
#include "tests/fuzz.hpp"

namespace mesh::testing {
namespace {

using namespace coordination;

// Parts are made when the first message for them comes: the tree of digests alone is a megabyte.
struct FuzzedParts {
  std::optional<SwimMembership> swim;
  std::optional<HyParView> overlay;
  std::optional<Plumtree> tree;
  std::optional<BimodalMulticast> bimodal;
  std::optional<RumorManager> rumors;
  std::optional<MerkleSync> sync;
};

template <class Part, class Hear>
void hear_and_check(Part& part, Hear&& hear) {
  StateWriter before;
  part.save(before);
  const Errc heard = hear();
  MESH_ASSERT(part.is_sound());
  if (heard == Errc::ok) return;
  StateWriter after;
  part.save(after);
  MESH_ASSERT(checksum(after.bytes()) == checksum(before.bytes()));
}

SwimConfig small_swim() {
  SwimConfig config;
  config.members_max = 4;
  config.relays_max = 2;
  return config;
}
TreeConfig small_tree() {
  TreeConfig config;
  config.messages_max = 4;
  config.missing_max = 2;
  config.store_bytes = 960;
  return config;
}
BimodalConfig small_bimodal() {
  BimodalConfig config;
  config.messages_max = 4;
  config.store_bytes = 960;
  return config;
}
RumorConfig small_rumors() {
  RumorConfig config;
  config.rumors_max = 2;
  config.store_bytes = 480;
  return config;
}
MerkleSyncConfig small_sync() {
  MerkleSyncConfig config;
  config.entries_max = 2;
  config.store_bytes = 480;
  return config;
}

void hear(FuzzedParts& parts, std::span<const std::byte> message, std::int64_t now_ns,
          GossipOutbox& out) {
  StateReader reader(message);
  Envelope envelope;
  if (open_envelope(reader, envelope) != EnvelopeVerdict::good) return;
  const auto give = [&](auto& part, auto&&... made) {
    if (!part) part.emplace(made...);
    hear_and_check(*part, [&] { return part->hear(envelope, reader, now_ns, out); });
  };
  switch (envelope.part) {
    case GossipPart::swim:
      give(parts.swim, small_swim(), std::uint64_t{1});
      parts.swim->tick(now_ns, out);
      MESH_ASSERT(parts.swim->is_sound());
      break;
    case GossipPart::overlay:
      give(parts.overlay, OverlayConfig{}, std::uint64_t{1});
      parts.overlay->tick(now_ns, out);
      break;
    case GossipPart::tree:
      if (!parts.tree) parts.tree.emplace(small_tree()).peer_up(2);
      give(parts.tree, small_tree());
      parts.tree->tick(now_ns, out);
      break;
    case GossipPart::bimodal:
      if (!parts.bimodal) parts.bimodal.emplace(small_bimodal(), 1);
      hear_and_check(*parts.bimodal, [&] { return parts.bimodal->hear(envelope, reader, out); });
      break;
    case GossipPart::rumor:
      give(parts.rumors, small_rumors(), std::uint64_t{1});
      break;
    case GossipPart::sync:
      give(parts.sync, small_sync());
      break;
    default:
      break;
  }
}

}  // namespace

// The whole is a message; then again as many, each with its length in a byte before it.
void fuzz_one(std::span<const std::byte> bytes) {
  FuzzedParts parts;
  GossipOutbox out(1, {});
  hear(parts, bytes, 1, out);
  std::int64_t now_ns = 1;
  while (bytes.size() > 1) {
    const auto size = std::min(static_cast<std::size_t>(bytes[0]), bytes.size() - 1);
    now_ns += 100 * kNsPerMs;
    hear(parts, bytes.subspan(1, size), now_ns, out);
    bytes = bytes.subspan(1 + size);
  }
}

}  // namespace mesh::testing
