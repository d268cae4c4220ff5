// GossipOutbox, Envelope: the messages of the gossip engine and of its parts, as bytes.
//
//   version u8, part u8, kind u8, claim u8, reference u32, from u64, then what the part wrote
//
// Callers     one thread. A part writes between begin() and end(); whoever owns the parts sends.
// Progress    wait-free; no allocation after construction.
// If the      bytes are input: open_envelope() and each part's reader check every length before a
// other side  byte is used, and a message is taken whole or not at all.
// lies
// Limits      a message that finds the outbox full is dropped and counted: as if the network had
//             lost it, which every part survives.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

inline constexpr std::uint8_t kGossipVersion = 1;

enum class GossipPart : std::uint8_t { swim, overlay, tree, bimodal, rumor, sync, sector };
constexpr GossipPart last_of(GossipPart) noexcept { return GossipPart::sector; }

// Which list of the actions a message belongs to.
enum class GossipLane : std::uint8_t { probe, ping_req, answer, rumor, tree, digest, sync };
constexpr GossipLane last_of(GossipLane) noexcept { return GossipLane::sync; }

// What the sender says of its side of a partition.
enum class PartitionClaim : std::uint8_t { none, majority, minority };
constexpr PartitionClaim last_of(PartitionClaim) noexcept { return PartitionClaim::minority; }

struct Envelope {
  std::uint8_t version = 0;
  GossipPart part = GossipPart::swim;
  std::uint8_t kind = 0;
  PartitionClaim claim = PartitionClaim::none;
  std::uint32_t reference = 0;  // of which membership the claim is
  std::uint64_t from = 0;
};
enum class EnvelopeVerdict : std::uint8_t { good, unknown_version, malformed };
// `reader` stands behind the envelope afterwards.
[[nodiscard]] inline EnvelopeVerdict open_envelope(StateReader& reader, Envelope& envelope) {
  reader.get(envelope.version);
  if (reader.failed()) return EnvelopeVerdict::malformed;
  if (envelope.version != kGossipVersion) return EnvelopeVerdict::unknown_version;
  envelope.part = reader.get_enum(GossipPart::sector);
  reader.get(envelope.kind);
  envelope.claim = reader.get_enum(PartitionClaim::minority);
  reader.get(envelope.reference);
  reader.get(envelope.from);
  const bool is_good = !reader.failed() && envelope.from != 0;
  return is_good ? EnvelopeVerdict::good : EnvelopeVerdict::malformed;
}

struct GossipSend {
  std::uint64_t to = 0;
  std::uint64_t sequence = 0;  // of a probe: what its acknowledgement will carry
  std::uint32_t begin = 0;     // of its bytes
  std::uint32_t size_bytes = 0;
  GossipLane lane = GossipLane::answer;
};

class GossipOutbox {
 public:
  struct Limits {
    std::uint32_t messages = 256;
    std::uint32_t bytes = 1U << 16;
    std::uint32_t message_bytes = 4'096;  // no part writes a longer one
  };
  GossipOutbox(std::uint64_t self, const Limits& limits) : self_(self), limits_(limits) {
    sends_.reserve(limits.messages);
    const std::vector<std::byte> room(limits.bytes);
    wire_.append(room);  // what clear() keeps is all that is ever needed
    wire_.clear();
    const std::vector<std::byte> one(limits.message_bytes);
    lost_.append(one);
    lost_.clear();
  }

  // Write the message into what this returns, then end().
  [[nodiscard]] StateWriter& begin(GossipPart part, std::uint8_t kind, std::uint64_t to) {
    is_lost_ = sends_.size() == limits_.messages ||
               wire_.bytes().size() + limits_.message_bytes > limits_.bytes;
    current_ = {to, 0, static_cast<std::uint32_t>(wire_.bytes().size()), 0, GossipLane::answer};
    lost_.clear();
    StateWriter& writer = is_lost_ ? lost_ : wire_;
    writer.put(kGossipVersion);
    writer.put(part);
    writer.put(kind);
    writer.put(claim_);
    writer.put(reference_);
    writer.put(self_);
    return writer;
  }
  void end(GossipLane lane, std::uint64_t sequence = 0) noexcept {
    if (is_lost_) {
      ++dropped_;
      return;
    }
    current_.lane = lane;
    current_.sequence = sequence;
    current_.size_bytes = static_cast<std::uint32_t>(wire_.bytes().size()) - current_.begin;
    sends_.push_back(current_);  // reserved
  }
  // How long the message that is being written may still become.
  [[nodiscard]] std::size_t room(const StateWriter& writer) const noexcept {
    const std::size_t written = writer.bytes().size() - (is_lost_ ? 0 : current_.begin);
    return limits_.message_bytes - std::min<std::size_t>(written, limits_.message_bytes);
  }

  [[nodiscard]] std::span<const GossipSend> sends() const noexcept { return sends_; }
  [[nodiscard]] std::span<const std::byte> bytes_of(const GossipSend& send) const noexcept {
    return wire_.bytes().subspan(send.begin, send.size_bytes);
  }
  void clear() noexcept {
    sends_.clear();
    wire_.clear();
  }
  void set_claim(PartitionClaim claim, std::uint32_t reference) noexcept {
    claim_ = claim;
    reference_ = reference;
  }
  [[nodiscard]] std::uint32_t reference() const noexcept { return reference_; }
  [[nodiscard]] std::uint64_t self() const noexcept { return self_; }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }
  [[nodiscard]] const Limits& limits() const noexcept { return limits_; }

  void save(StateWriter& writer) const {
    writer.put(claim_);
    writer.put(reference_);
    writer.put(dropped_);
    writer.put(static_cast<std::uint32_t>(sends_.size()));
    for (const auto& send : sends_) {
      writer.put(send.to);
      writer.put(send.sequence);
      writer.put(send.lane);
      writer.put(bytes_of(send));
    }
  }
  void load(StateReader& reader) {
    clear();
    claim_ = reader.get_enum(PartitionClaim::minority);
    reader.get(reference_);
    reader.get(dropped_);
    const std::size_t count = reader.get_count(21);
    if (count > limits_.messages) return reader.fail();
    for (std::size_t i = 0; i < count; ++i) {
      GossipSend send;
      reader.get(send.to);
      reader.get(send.sequence);
      send.lane = reader.get_enum(GossipLane::sync);
      const auto bytes = reader.get_bytes();
      send.begin = static_cast<std::uint32_t>(wire_.bytes().size());
      send.size_bytes = static_cast<std::uint32_t>(bytes.size());
      if (wire_.bytes().size() + bytes.size() > limits_.bytes) return reader.fail();
      wire_.append(bytes);
      sends_.push_back(send);
    }
  }

 private:
  std::uint64_t self_;
  Limits limits_;
  std::vector<GossipSend> sends_;
  StateWriter wire_;
  StateWriter lost_;
  GossipSend current_;
  std::uint64_t dropped_ = 0;
  std::uint32_t reference_ = 0;
  PartitionClaim claim_ = PartitionClaim::none;
  bool is_lost_ = false;
};

// A text of bounded length in its row.
template <std::size_t N>
class RowText {
 public:
  // False: too long, and nothing is changed.
  bool assign(std::string_view text) noexcept {
    if (text.size() > N) return false;
    std::copy(text.begin(), text.end(), chars_.begin());
    size_ = static_cast<std::uint16_t>(text.size());
    return true;
  }
  [[nodiscard]] std::string_view view() const noexcept { return {chars_.data(), size_}; }

 private:
  static_assert(N <= UINT16_MAX);
  std::uint16_t size_ = 0;
  std::array<char, N> chars_{};
};
// Into the message itself: good as long as its bytes are.
[[nodiscard]] inline std::string_view text_in(StateReader& reader) {
  const auto bytes = reader.get_bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace mesh::coordination
