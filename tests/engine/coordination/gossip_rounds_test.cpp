// What travels in rounds: bimodal multicast, rumours; and how many each is told to.
#include <rapidcheck.h>

#include "tests/engine/coordination/gossip_net.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_gossip_rounds_test {

using testing::bytes;
using testing::gossip_ms;
using testing::opened;

// Hosts of one part that are told who there is; messages arrive at once, but those that are lost.
template <class Part>
struct Crowd {
  std::vector<std::unique_ptr<Part>> parts;
  std::vector<std::unique_ptr<GossipOutbox>> outs;
  std::vector<std::vector<std::uint64_t>> peers;
  std::vector<bool> is_up;
  Rng rng;
  double loss = 0;

  explicit Crowd(std::uint64_t seed) : rng(seed) {}
  void add(std::unique_ptr<Part> part, std::uint64_t count) {
    parts.push_back(std::move(part));
    outs.push_back(
        std::make_unique<GossipOutbox>(parts.size(), GossipOutbox::Limits{1'024, 1U << 18, 4'096}));
    is_up.push_back(true);
    auto& mine = peers.emplace_back();
    for (std::uint64_t id = 1; id <= count; ++id) {
      if (id != parts.size()) mine.push_back(id);
    }
  }
  template <class Deliver>
  void carry(std::int64_t now_ns, Deliver&& deliver, std::size_t first_max = SIZE_MAX) {
    bool is_moving = true;
    while (is_moving) {
      is_moving = false;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        std::vector<std::pair<std::uint64_t, std::vector<std::byte>>> sends;
        for (const auto& send : outs[i]->sends()) {
          const auto one = outs[i]->bytes_of(send);
          if (sends.size() < first_max) sends.push_back({send.to, {one.begin(), one.end()}});
        }
        outs[i]->clear();
        if (!is_up[i]) continue;
        for (const auto& [to, message] : sends) {
          if (rng.u01() < loss || !is_up[to - 1]) continue;
          is_moving = true;
          StateReader reader(message);
          Envelope envelope;
          ASSERT_EQ(open_envelope(reader, envelope), EnvelopeVerdict::good);
          deliver(*parts[to - 1], envelope, reader, now_ns, *outs[to - 1]);
        }
      }
      first_max = SIZE_MAX;
    }
  }
};

// --- bimodal -----------------------------------------------------------------------------------

struct Bimodal {
  std::uint64_t all = 0;      // nearly all
  std::uint64_t nobody = 0;   // nearly nobody
  std::uint64_t between = 0;  // what must hardly happen
};
// Each of `broadcasts` from a sender that dies while it sends with a chance of .3: 50 hosts, a
// fifth of all messages lost, 12 rounds.
Bimodal bimodal_spread(std::uint32_t fanout, std::uint64_t broadcasts, std::uint64_t seed) {
  constexpr std::uint64_t kHosts = 50;
  Bimodal sums;
  Crowd<BimodalMulticast> crowd(seed);
  BimodalConfig config;
  config.fanout = fanout;
  config.messages_max = 64;
  config.store_bytes = 64 * 240;
  config.round_ns = Nanos{1};
  for (std::uint64_t self = 1; self <= kHosts; ++self) {
    config.self = self;
    crowd.add(std::make_unique<BimodalMulticast>(config, seed * 100 + self), kHosts);
  }
  const auto deliver = [](BimodalMulticast& part, const Envelope& envelope, StateReader& reader,
                          std::int64_t, GossipOutbox& out) {
    EXPECT_EQ(part.hear(envelope, reader, out), Errc::ok);
  };
  std::int64_t round = 0;
  crowd.loss = 0.2;
  for (std::uint64_t i = 0; i < broadcasts; ++i) {
    const std::uint64_t sender = crowd.rng.below(kHosts);
    const bool dies = crowd.rng.u01() < 0.3;
    auto& targets = crowd.peers[sender];
    for (std::size_t k = targets.size(); k > 1; --k) {
      std::swap(targets[k - 1], targets[crowd.rng.below(k)]);
    }
    BroadcastId id;
    EXPECT_EQ(crowd.parts[sender]->broadcast(bytes("x"), targets, *crowd.outs[sender], &id),
              Errc::ok);
    const std::size_t sent = dies ? crowd.rng.below(kHosts) : kHosts;
    crowd.carry(round, deliver, sent);
    if (dies) crowd.is_up[sender] = false;
    for (std::uint32_t turn = 0; turn < config.rounds; ++turn) {
      ++round;
      for (std::size_t k = 0; k < kHosts; ++k) {
        if (crowd.is_up[k]) crowd.parts[k]->tick(round, crowd.peers[k], *crowd.outs[k]);
      }
      crowd.carry(round, deliver);
    }
    std::uint64_t have = 0;
    for (std::size_t k = 0; k < kHosts; ++k) {
      have += crowd.is_up[k] && crowd.parts[k]->has(id) ? 1U : 0U;
    }
    const double share = static_cast<double>(have) / static_cast<double>(dies ? 49 : 50);
    (share >= 0.999 ? sums.all : share <= 0.1 ? sums.nobody : sums.between) += 1;
    crowd.is_up[sender] = true;
  }
  for (const auto& part : crowd.parts) EXPECT_TRUE(part->is_sound());
  return sums;
}

// Published: .991 nearly all, .009 nearly nobody, below .0001 in between.
TEST(BimodalMulticast, ReachesNearlyAllOrNearlyNobody) {
  Bimodal sums;
  std::uint64_t broadcasts = 0;
  for (mesh::testing::Repeats turns(3); turns.next();) {
    const auto one = bimodal_spread(3, 100, mesh::testing::seed() + turns.count());
    sums.all += one.all;
    sums.nobody += one.nobody;
    sums.between += one.between;
    broadcasts += 100;
  }
  const auto share = [&](std::uint64_t count) {
    return static_cast<double>(count) / static_cast<double>(broadcasts);
  };
  std::printf("bimodal, fanout 3: nearly all %.4f, nearly nobody %.4f, between %.4f of %llu\n",
              share(sums.all), share(sums.nobody), share(sums.between),
              static_cast<unsigned long long>(broadcasts));
  EXPECT_LT(share(sums.between), 1e-3);
  EXPECT_GT(share(sums.all), 0.97);
  EXPECT_LT(share(sums.nobody), 0.03);
}

TEST(BimodalMulticast, LeavesManyHalfDoneWithAFanoutOfOne) {
  const auto sums = bimodal_spread(1, 100, mesh::testing::seed());
  EXPECT_GT(sums.between, 2U) << "why a fanout of 1 is refused below 20 rounds";
}

TEST(BimodalMulticast, SendsNoMoreThanItsLimitInOneRound) {
  BimodalConfig config;
  config.retransmit_max = 2;
  BimodalMulticast one(config, 1);
  GossipOutbox out(1, {});
  std::vector<BroadcastId> ids(5);
  for (auto& id : ids) ASSERT_EQ(one.broadcast(bytes("x"), {}, out, &id), Errc::ok);
  const auto solicit = [&] {
    GossipOutbox asked(2, {});
    StateWriter& writer = asked.begin(GossipPart::bimodal, BimodalMulticast::solicit, 1);
    writer.put(static_cast<std::uint32_t>(ids.size()));
    for (const auto& id : ids) {
      writer.put(id.origin);
      writer.put(id.sequence);
    }
    asked.end(GossipLane::digest);
    StateReader reader(asked.bytes_of(asked.sends()[0]));
    Envelope envelope = opened(reader);
    EXPECT_EQ(one.hear(envelope, reader, out), Errc::ok);
  };
  solicit();
  solicit();
  EXPECT_EQ(one.counters().retransmitted, 2U);
  EXPECT_EQ(one.counters().refused, 8U);
  std::vector<std::uint64_t> nobody;
  one.tick(0, nobody, out);
  solicit();
  EXPECT_EQ(one.counters().retransmitted, 4U) << "a new round";
}

TEST(BimodalMulticast, KeepsWhatItHasForItsRounds) {
  BimodalMulticast one(BimodalConfig{}, 1);
  GossipOutbox out(1, {});
  BroadcastId id;
  ASSERT_EQ(one.broadcast(bytes("x"), {}, out, &id), Errc::ok);
  std::vector<std::uint64_t> peers{2};
  const auto rounds_until = [&](auto is_over) {
    std::int64_t rounds = 0;
    while (!is_over() && rounds < 100) {
      out.clear();
      one.tick(kNsPerSecond * (1'000 + ++rounds), peers, out);
    }
    return rounds;
  };
  EXPECT_EQ(rounds_until([&] { return rounds_until([] { return true; }) == 0 && !one.has(id); }),
            24)
      << "kept for 12 rounds, known for 24";
  EXPECT_TRUE(one.is_sound());
}

// --- rumours -----------------------------------------------------------------------------------

// The share that has not heard when all are quiet.
double rumour_residue(std::uint32_t k, std::uint64_t seed) {
  constexpr std::uint64_t kHosts = 300;
  Crowd<RumorManager> crowd(seed);
  RumorConfig config;
  config.k = k;
  config.fanout = 1;
  config.push_ns = Nanos{1};
  config.rumors_max = 4;
  config.store_bytes = 960;
  for (std::uint64_t self = 1; self <= kHosts; ++self) {
    config.self = self;
    crowd.add(std::make_unique<RumorManager>(config, seed * 1'000 + self), kHosts);
  }
  EXPECT_EQ(crowd.parts[0]->create({"news", bytes("x"), Nanos{kNsPerSecond}, 1'000}, 0), Errc::ok);
  const auto deliver = [](RumorManager& part, const Envelope& envelope, StateReader& reader,
                          std::int64_t now_ns, GossipOutbox& out) {
    EXPECT_EQ(part.hear(envelope, reader, now_ns, out), Errc::ok);
  };
  for (std::int64_t round = 1; round < 100; ++round) {
    for (std::size_t i = 0; i < kHosts; ++i) {
      crowd.parts[i]->tick(round, crowd.peers[i], *crowd.outs[i]);
    }
    crowd.carry(round, deliver);
  }
  std::uint64_t without = 0;
  for (const auto& part : crowd.parts) {
    without += part->knows("news") ? 0U : 1U;
    EXPECT_EQ(part->active_count(), 0U) << "all are quiet";
    EXPECT_TRUE(part->is_sound());
  }
  return static_cast<double>(without) / kHosts;
}

TEST(RumorManager, LeavesAsManyWithoutAsPublished) {
  for (const std::uint32_t k : {1U, 2U, 3U}) {
    double sum = 0;
    constexpr int kRuns = 6;
    for (int run = 0; run < kRuns; ++run) {
      sum += rumour_residue(k, mesh::testing::seed() + static_cast<std::uint64_t>(run));
    }
    const double mean = sum / kRuns;
    EXPECT_LE(mean, 1.3 * rumor_residue(k) + 0.01) << "k " << k;
    if (k == 1) {
      EXPECT_GT(mean, 0) << "why it needs anti-entropy beside it";
    }
  }
}

TEST(RumorManager, PushesTheFreshestFirst) {
  RumorConfig config;
  config.pushes_max = 1;
  config.fanout = 1;
  RumorManager rumors(config, 1);
  GossipOutbox out(1, {});
  rumors.create({"old", bytes("o"), Nanos{kNsPerSecond}, 10}, 0);
  rumors.create({"new", bytes("n"), Nanos{kNsPerSecond}, 10}, 5);
  std::vector<std::uint64_t> peers{2};
  rumors.tick(10, peers, out);
  ASSERT_EQ(out.sends().size(), 1U);
  StateReader reader(out.bytes_of(out.sends()[0]));
  static_cast<void>(opened(reader));
  EXPECT_EQ(text_in(reader), "new");
}

TEST(RumorManager, IsQuietAfterKThatKnewIt) {
  RumorManager rumors(RumorConfig{}, 1);
  GossipOutbox out(1, {});
  rumors.create({"a", bytes("o"), Nanos{kNsPerSecond}, 10}, 0);
  const auto answer = [&](bool was_known) {
    GossipOutbox said(2, {});
    StateWriter& writer = said.begin(GossipPart::rumor, RumorManager::feedback, 1);
    writer.put(std::string_view("a"));
    writer.put(was_known);
    said.end(GossipLane::answer);
    StateReader reader(said.bytes_of(said.sends()[0]));
    Envelope envelope = opened(reader);
    EXPECT_EQ(rumors.hear(envelope, reader, 0, out), Errc::ok);
  };
  answer(true);
  answer(false);
  answer(true);
  EXPECT_TRUE(rumors.is_active("a"));
  answer(true);
  EXPECT_FALSE(rumors.is_active("a"));
  EXPECT_EQ(rumors.counters().quiet_by_feedback, 1U);
  EXPECT_TRUE(rumors.knows("a")) << "until its time is over, so that it is not delivered again";
  std::vector<std::uint64_t> nobody;
  rumors.tick(kNsPerSecond, nobody, out);
  EXPECT_FALSE(rumors.knows("a"));
}

// --- to how many -------------------------------------------------------------------------------

TEST(AdaptiveFanout, TakesOneMoreWhereItReachesTooFew) {
  AdaptiveFanout fanout;
  const std::uint32_t before = fanout.fanout(30);
  for (int round = 0; round < 9; ++round) fanout.round(100, 90, 0);
  EXPECT_EQ(fanout.fanout(30), before) << "every ten rounds";
  fanout.round(100, 90, 0);
  EXPECT_EQ(fanout.fanout(30), before + 1);
}

TEST(AdaptiveFanout, TakesOneLessAfterThreeWindowsOfWaste) {
  AdaptiveFanout fanout;
  const std::uint32_t before = fanout.fanout(30);
  const auto window = [&](std::uint64_t received, std::uint64_t duplicates) {
    for (int round = 0; round < 10; ++round) fanout.round(100, received, duplicates);
  };
  window(100, 900);
  window(100, 900);
  EXPECT_EQ(fanout.fanout(30), before);
  window(100, 100);  // the row is broken
  window(100, 900);
  window(100, 900);
  EXPECT_EQ(fanout.fanout(30), before);
  window(100, 900);
  EXPECT_EQ(fanout.fanout(30), before - 1);
}

TEST(AdaptiveFanout, StaysWithinItsLimits) {
  FanoutConfig config;
  config.fanout_min = 3;
  config.fanout_max = 5;
  AdaptiveFanout fanout(config);
  EXPECT_EQ(fanout.fanout(2), 4U) << "ln 2 + c of .95 is 3.66";
  EXPECT_EQ(fanout.fanout(30'000), 5U);
  EXPECT_EQ(fanout.fanout(30'000, 0.99), 5U);
  for (int round = 0; round < 1'000; ++round) fanout.round(100, 100, 9'900);
  EXPECT_EQ(fanout.fanout(2), 3U);
}

TEST(ExtremaEstimate, TellsHowManyThereAreHoweverItIsMerged) {
  for (const std::uint64_t members : {10U, 200U, 3'000U}) {
    double sum = 0;
    constexpr int kRuns = 10;
    for (int run = 0; run < kRuns; ++run) {
      ExtremaEstimate all(1);
      for (std::uint64_t i = 0; i < members; ++i) {
        const ExtremaEstimate one(mesh::testing::seed() * 100 + i * kRuns +
                                  static_cast<std::uint64_t>(run) + 2);
        all.merge(one);
        EXPECT_FALSE(all.merge(one)) << "twice is once";
      }
      sum += all.members();
    }
    EXPECT_NEAR(sum / kRuns, static_cast<double>(members), 0.25 * static_cast<double>(members));
  }
}

}  // namespace of_gossip_rounds_test
}  // namespace mesh::coordination
