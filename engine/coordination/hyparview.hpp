// HyParView: a small active view of symmetric links over which messages travel, and a larger
// passive one to replace what fails.
//
//   passive --neighbour, accepted--> active --failed--> gone; --disconnect, made room--> passive
//
// Callers     one thread; messages in, messages out (gossip_wire.hpp). Usable alone.
// Progress    wait-free; no allocation after construction.
// Units       members are numbers, not 0. ns.
// Guarantees  active and passive have nobody in common, and not this one. A peer without any link
//             asks with high priority, which is never refused: no live peer stays outside.
// If the      peer dies: lost() takes it out and another of the passive view is asked. A link that
// other side  only one side has, after a lost message, ends when it is next looked at.
// dies,       A liar can fill a passive view with names of nobody: each is asked once.
// or lies
// Errors      hear -> bad_input, and nothing is taken.
// Source      Leitao, Pereira & Rodrigues, HyParView, 2007.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/gossip_wire.hpp"
#include "shm/base/errc.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::coordination {

struct OverlayConfig {
  std::uint64_t self = 1;
  std::uint32_t active = 5;
  std::uint32_t passive = 30;
  std::uint32_t active_walk = 6;   // ARWL: how far word of one that joined goes
  std::uint32_t passive_walk = 3;  // PRWL: where on the way it is remembered
  Nanos shuffle_ns{10 * kNsPerSecond};
  std::uint32_t shuffle_active = 3;
  std::uint32_t shuffle_passive = 4;
  Nanos answer_ns{kNsPerSecond};  // how long an asked peer has to answer
};
// ceil(ln N) + 1.
[[nodiscard]] inline std::uint32_t active_view_size(std::uint64_t members) noexcept {
  if (members < 2) return 1;
  return static_cast<std::uint32_t>(std::ceil(std::log(static_cast<double>(members)))) + 1;
}

class HyParView {
 public:
  enum Kind : std::uint8_t {
    join = 1,
    forward_join,
    neighbour,
    neighbour_answer,
    disconnect,
    shuffle,
    shuffle_answer,
  };
  static constexpr std::size_t kActiveMax = 64;
  static constexpr std::size_t kShuffleMax = 32;

  HyParView(const OverlayConfig& config, std::uint64_t seed);

  void join_at(std::uint64_t contact, GossipOutbox& out) noexcept;
  // Somebody that may be asked for a link.
  void learn(std::uint64_t peer) noexcept;
  void lost(std::uint64_t peer) noexcept;
  void set_active(std::uint32_t links) noexcept;
  // What is known otherwise, by membership: no walks and no shuffles are needed.
  void set_walks(bool on) noexcept { walks_ = on; }

  Errc hear(const Envelope& envelope, StateReader& reader, std::int64_t now_ns,
            GossipOutbox& out) noexcept;
  void tick(std::int64_t now_ns, GossipOutbox& out) noexcept;
  [[nodiscard]] std::int64_t next_ns() const noexcept;

  // Calls visit(peer, is_up) for each link that came or went since the last call, in order.
  template <class Visit>
  void take_changes(Visit&& visit) {
    for (const auto& change : changes_) visit(change.peer, change.is_up);
    changes_.clear();
  }
  [[nodiscard]] std::span<const std::uint64_t> active() const noexcept { return active_; }
  [[nodiscard]] std::span<const std::uint64_t> passive() const noexcept { return passive_; }
  [[nodiscard]] bool is_active(std::uint64_t peer) const noexcept;
  [[nodiscard]] std::uint32_t active_target() const noexcept { return target_; }

  void save(StateWriter& writer) const;
  void load(StateReader& reader);
  [[nodiscard]] bool is_sound() const noexcept;

 private:
  struct Change {
    std::uint64_t peer = 0;
    bool is_up = false;
  };
  void link(std::uint64_t peer, GossipOutbox& out) noexcept;
  bool unlink(std::uint64_t peer) noexcept;
  void note(std::uint64_t peer, bool is_up) noexcept;
  void remember(std::uint64_t peer) noexcept;
  void ask(std::uint64_t peer, std::int64_t now_ns, GossipOutbox& out) noexcept;
  void look_at_links(GossipOutbox& out) noexcept;
  void begin_shuffle(GossipOutbox& out) noexcept;
  void send_plain(Kind kind, std::uint64_t to, GossipOutbox& out) noexcept;
  struct Walk {
    std::uint64_t origin = 0;
    std::uint8_t left = 0;
  };
  [[nodiscard]] std::uint64_t pick_active(std::uint64_t not_this, std::uint64_t nor_this) noexcept;
  void hear_forward_join(std::uint64_t from, const Walk& one, std::int64_t now_ns,
                         GossipOutbox& out) noexcept;
  void hear_neighbour(std::uint64_t from, bool is_urgent, GossipOutbox& out) noexcept;
  void hear_answer(std::uint64_t from, bool is_accepted, GossipOutbox& out) noexcept;
  void hear_shuffle(const Envelope& envelope, StateReader& reader, GossipOutbox& out) noexcept;
  void put_walk(const Walk& one, StateWriter& writer) const;

  OverlayConfig config_;
  Rng rng_;
  std::vector<std::uint64_t> active_;
  std::vector<std::uint64_t> passive_;
  std::vector<Change> changes_;
  std::uint64_t asked_ = 0;
  std::int64_t asked_until_ns_ = 0;
  std::int64_t shuffle_ns_ = 0;
  std::uint32_t target_;
  bool walks_ = true;
};

}  // namespace mesh::coordination
