// What the tests of the view synchronizer share: members, certificates as honest members would have
// made them, and a trace in which everything happens.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <set>
#include <utility>
#include <vector>

#include "engine/coordination/view_synchronizer.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination::testing {

constexpr Nanos view_ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

inline ViewSyncConfig small_views(std::uint64_t self = 1) {
  auto config = ViewSyncConfig::preset("fast-consensus").value();
  config.self = self;
  config.members_max = 10;
  config.history = 8;
  config.events_max = 16;
  return config;
}
inline BlockHash block_of(std::uint64_t view, std::uint64_t which = 0) {
  return {view * 1'000 + which, which, 3, 4};
}
inline KeySeed seed_of(std::uint64_t agent) {
  KeySeed seed{};
  for (std::size_t i = 0; i < seed.size(); ++i) {
    seed[i] = static_cast<std::uint8_t>(agent * 31 + i * 7 + 1);
  }
  return seed;
}
// Members 1..count of weight 1, in their first epoch.
inline ViewSynchronizer views_of(const ViewSyncConfig& config, std::uint64_t count,
                                 std::uint64_t seed = 1) {
  ViewSynchronizer views(config, seed);
  for (std::uint64_t agent = 1; agent <= count; ++agent) {
    view::RegisterAgent order{agent, 1, {}};
    if (config.auth == ViewAuth::ed25519) order.key = key_pair_of(seed_of(agent)).open;
    views.apply(order, Nanos{0});
  }
  views.apply(view::StartEpoch{}, Nanos{0});
  return views;
}

using Agents = std::vector<std::uint64_t>;

inline std::uint64_t distinct(const Agents& signers) {
  return std::set<std::uint64_t>(signers.begin(), signers.end()).size();
}
inline QuorumCertificate qc_of(std::uint64_t view, const Agents& signers, std::uint64_t which = 0) {
  QuorumCertificate qc;
  qc.epoch = 1;
  qc.view = view;
  qc.block = block_of(view, which);
  qc.weight = distinct(signers);
  qc.signers = signers;
  return qc;
}
inline TimeoutCertificate tc_of(std::uint64_t view, const Agents& signers,
                                const QuorumCertificate& high_qc = {}) {
  TimeoutCertificate tc;
  tc.epoch = 1;
  tc.view = view;
  tc.weight = distinct(signers);
  tc.signers = signers;
  tc.ranks.assign(signers.size(), rank_of(high_qc));
  tc.high_qc = high_qc;
  return tc;
}
inline Timeout timeout_of(std::uint64_t view, std::uint64_t signer,
                          const QuorumCertificate& high_qc = {}) {
  Timeout timeout;
  timeout.epoch = 1;
  timeout.view = view;
  timeout.at = view;
  timeout.signer = signer;
  timeout.rank = rank_of(high_qc);
  timeout.high_qc = high_qc;
  return timeout;
}
inline std::size_t count_of(const std::vector<ViewSend>& sends, ViewSendKind kind) {
  return static_cast<std::size_t>(std::count_if(
      sends.begin(), sends.end(), [&](const ViewSend& one) { return one.kind == kind; }));
}

// Random messages of a network that is neither well nor honest.
class ViewPlayer {
 public:
  explicit ViewPlayer(std::uint64_t seed) : rng_(seed) {}

  // `at` is where the listener is.
  ViewCommand next(std::uint64_t at) {
    if (begun_ < 6) return begin();
    const std::uint64_t what = rng_.below(100);
    const std::uint64_t view = at + rng_.below(4) - (at >= 2 ? 2 : 0);
    if (what < 45) return view::ReceiveTimeout{timeout(view)};
    if (what < 55) return view::ReceiveQc{qc_of(view, some(), rng_.below(40) == 0 ? 1 : 0)};
    if (what < 62) return view::ReceiveTc{tc_of(view, some(), old_qc(at))};
    if (what < 72) return view::Vote{at, block_of(at, rng_.below(3) == 0 ? 1 : 0)};
    if (what < 78) return view::Commit{at - std::min<std::uint64_t>(at, rng_.below(4))};
    return what < 94 ? of_a_peer(what, at, view) : of_an_epoch();
  }
  [[nodiscard]] Rng& rng() { return rng_; }

 private:
  ViewCommand of_a_peer(std::uint64_t what, std::uint64_t at, std::uint64_t view) {
    if (what < 82) return view::PeerView{agent(), at + rng_.below(6)};
    if (what < 86) return view::CatchUpWanted{agent(), 1};
    if (what < 90) {
      return view::ReceiveCatchUp{agent(), 1, qc_of(view, some()), tc_of(view, some())};
    }
    return view::ReceiveWishes{agent(), tc_of(view, {2, 3})};
  }
  ViewCommand of_an_epoch() {
    if (rng_.below(2) == 0) return view::RegisterAgent{7, 1, {}};
    return rng_.below(20) == 0 ? ViewCommand{view::EndEpoch{}} : ViewCommand{view::StartEpoch{}};
  }
  ViewCommand begin() {
    ++begun_;
    if (begun_ < 5) return view::RegisterAgent{begun_, 1, {}};
    if (begun_ == 5) return view::RemoveAgent{9};
    return view::StartEpoch{};
  }
  std::uint64_t agent() { return 1 + rng_.below(5); }
  Agents some() {
    Agents signers;
    const std::uint64_t count = rng_.below(4) == 0 ? rng_.below(4) : 3;
    for (std::uint64_t i = 0; i < count; ++i) signers.push_back(1 + i + rng_.below(2));
    return signers;
  }
  QuorumCertificate old_qc(std::uint64_t at) {
    return at == 0 || rng_.below(2) == 0 ? QuorumCertificate{} : qc_of(at - 1, {1, 2, 3});
  }
  Timeout timeout(std::uint64_t view) {
    Timeout one = timeout_of(view, 2 + rng_.below(3), old_qc(view));
    if (rng_.below(6) == 0) one.entered_by = tc_of(view, {2, 3, 4}, one.high_qc);
    if (rng_.below(10) == 0) one.rank += 1;
    return one;
  }

  Rng rng_;
  std::uint64_t begun_ = 0;
};

inline std::vector<ViewSend> tick(ViewSynchronizer& views, Nanos now) {
  ViewSyncActions actions;
  views.tick(now, actions);
  return actions.sends;
}
inline ViewReply hear(ViewSynchronizer& views, const Timeout& timeout, Nanos now = Nanos{0}) {
  return views.apply(view::ReceiveTimeout{timeout}, now);
}
inline std::uint64_t events_of(const ViewSynchronizer& views, ViewSynchronizer::Event kind) {
  std::uint64_t count = 0;
  views.events().after(0, [&](const EventRecord& event) {
    count += event.kind == static_cast<std::uint16_t>(kind) ? 1U : 0U;
  });
  return count;
}

inline std::vector<Timed<ViewCommand>> view_trace(const ViewSyncConfig& config, std::size_t count,
                                                  std::uint64_t seed) {
  std::vector<Timed<ViewCommand>> commands;
  ViewSynchronizer follower(config, 7);
  ViewPlayer player(seed);
  Nanos now{0};
  for (std::size_t i = 0; i < count; ++i) {
    const auto command = player.next(follower.current_view());
    follower.apply(command, now);
    ViewSyncActions actions;
    follower.tick(now, actions);
    commands.push_back({now, command});
    now += view_ms(static_cast<std::int64_t>(player.rng().below(120)));
  }
  return commands;
}

}  // namespace mesh::coordination::testing
