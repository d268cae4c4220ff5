// The gossip engine as a service: what it is told, what it answers, what it refuses.
#include "engine/coordination/gossip_engine.hpp"

#include <rapidcheck.h>

#include "tests/allocations.hpp"
#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/gossip_net.hpp"

namespace mesh::coordination {
namespace of_gossip_engine_test {

using testing::BadInput;
using testing::bytes;
using testing::expect_all_refused;
using testing::expect_damage_found;
using testing::expect_replays;
using testing::golden;
using testing::gossip_ms;
using testing::Json;
using testing::matches;
using testing::small_gossip;
using testing::Timed;
using Actions = GossipActions;

Nanos ms(std::int64_t count) { return Nanos{gossip_ms(count)}; }

// What `from` would say: its messages, whole.
std::vector<std::vector<std::byte>> said(GossipEngine& from, Nanos now) {
  Actions actions;
  from.tick(now, actions);
  std::vector<std::vector<std::byte>> all;
  actions.for_sends([&](const GossipSend& send) {
    const auto one = actions.bytes_of(send);
    all.emplace_back(one.begin(), one.end());
  });
  return all;
}

// --- presets -----------------------------------------------------------------------------------

TEST(GossipEngine, HasThePublishedPresets) {
  const auto small = GossipConfig::preset("small-cluster").value();
  EXPECT_EQ(small.probe_ns, ms(500));
  EXPECT_EQ(small.probe_timeout_ns, ms(200));
  EXPECT_EQ(small.indirect, 2U);
  EXPECT_EQ(small.suspicion_mult, 3U);
  EXPECT_EQ(small.gossip_ns, ms(100));
  EXPECT_EQ(small.fanout, 2U);
  EXPECT_EQ(small.retransmit_mult, 3U);
  EXPECT_EQ(small.anti_entropy_ns, ms(10'000));
  EXPECT_EQ(small.active, 4U);
  const auto medium = GossipConfig::preset("medium-network").value();
  EXPECT_EQ(medium.probe_ns, ms(1'000));
  EXPECT_EQ(medium.probe_timeout_ns, ms(500));
  EXPECT_EQ(medium.indirect, 3U);
  EXPECT_EQ(medium.suspicion_mult, 4U);
  EXPECT_EQ(medium.gossip_ns, ms(200));
  EXPECT_EQ(medium.fanout, 3U);
  EXPECT_EQ(medium.retransmit_mult, 4U);
  EXPECT_EQ(medium.anti_entropy_ns, ms(30'000));
  EXPECT_EQ(medium.active, 5U);
  const auto large = GossipConfig::preset("large-federation").value();
  EXPECT_EQ(large.probe_ns, ms(2'000));
  EXPECT_EQ(large.probe_timeout_ns, ms(1'000));
  EXPECT_EQ(large.indirect, 4U);
  EXPECT_EQ(large.suspicion_mult, 5U);
  EXPECT_EQ(large.gossip_ns, ms(500));
  EXPECT_EQ(large.fanout, 4U);
  EXPECT_EQ(large.retransmit_mult, 4U);
  EXPECT_EQ(large.anti_entropy_ns, ms(60'000));
  EXPECT_EQ(large.active, 6U);
  EXPECT_EQ(large.passive, 30U);
  EXPECT_EQ(large.piggyback_bytes, 1'200U);
}

TEST(GossipEngine, NamesWhatIsWrongWithAConfig) {
  const auto sentence = [](auto change) {
    GossipConfig config;
    change(config);
    const auto judged = GossipEngine::validate(config);
    EXPECT_FALSE(judged);
    return judged ? std::string() : judged.error().sentence;
  };
  using Config = GossipConfig;
  const auto has = [](const std::string& text, std::string_view word) {
    return text.find(word) != std::string::npos;
  };
  EXPECT_TRUE(has(sentence([](Config& one) { one.self = 0; }), "self"));
  EXPECT_TRUE(has(sentence([](Config& one) { one.incarnation_first = 0; }), "incarnation_first"));
  EXPECT_TRUE(has(sentence([](Config& one) { one.probe_timeout_ns = one.probe_ns; }), "timeout"));
  EXPECT_TRUE(has(sentence([](Config& one) { one.suspicion_mult = 0; }), "suspicion_mult"));
  EXPECT_TRUE(has(sentence([](Config& one) { one.fanout = 17; }), "fanout"));
  EXPECT_TRUE(has(sentence([](Config& one) { one.active = 65; }), "active"));
  EXPECT_TRUE(has(sentence([](Config& one) { one.delivery = 1; }), "delivery"));
  EXPECT_TRUE(has(sentence([](Config& one) { one.members_max = 1; }), "members_max"));
  EXPECT_TRUE(has(sentence([](Config& one) { one.payload_bytes_max = 9'999; }), "payload_bytes"));
}

TEST(GossipEngine, RefusesABimodalFanoutOfOneWithTooFewRounds) {
  GossipConfig config;
  config.bimodal_fanout = 1;
  EXPECT_NE(GossipEngine::validate(config).error().sentence.find("bimodal_fanout 1"),
            std::string::npos);
  config.bimodal_rounds = 20;
  EXPECT_TRUE(GossipEngine::validate(config));
}

// --- the usual example -------------------------------------------------------------------------

TEST(GossipEngine, ProbesWhomItKnowsAndTellsThemARumour) {
  GossipEngine engine(GossipConfig::preset("medium-network").value(), 7);
  const Nanos now = ms(0);
  ASSERT_EQ(engine.apply(gossip::AddMember{2, "tls://host-002", 1, ""}, now).code, Errc::ok);
  ASSERT_EQ(
      engine.apply(gossip::CreateRumor{"task-available-42", bytes("go"), ms(30'000), 10}, now).code,
      Errc::ok);
  Actions actions;
  engine.tick(now, actions);
  ASSERT_EQ(actions.probes.size(), 1U);
  EXPECT_EQ(actions.probes[0].to, 2U);
  EXPECT_NE(actions.probes[0].sequence, 0U);
  EXPECT_EQ(actions.rumor_pushes.size(), 1U);
  EXPECT_EQ(engine.view().alive, 2U) << "this host is one of them";
  EXPECT_EQ(engine.view().active_rumors, 1U);
  EXPECT_EQ(engine.swim().probed(), 2U);
  // The acknowledgement with that sequence clears the probe.
  GossipConfig other = GossipConfig::preset("medium-network").value();
  other.self = 2;
  GossipEngine peer(other, 8);
  const auto ping = actions.bytes_of(actions.probes[0]);
  ASSERT_EQ(peer.apply(gossip::Hear{{ping.begin(), ping.end()}}, ms(5)).code, Errc::ok);
  for (const auto& one : said(peer, ms(5))) engine.apply(gossip::Hear{one}, ms(10));
  EXPECT_EQ(engine.swim().probed(), 0U);
  EXPECT_EQ(engine.swim().counters().acknowledged, 1U);
  EXPECT_EQ(engine.member(2)->last_contact, ms(10));
}

TEST(GossipEngine, ForgetsARumourAfterItsPushesOrItsTime) {
  for (const bool by_time : {false, true}) {
    GossipEngine engine(small_gossip(), 7);
    engine.apply(gossip::AddMember{2, "tls://b", 1, ""}, ms(0));
    engine.apply(gossip::CreateRumor{"k", bytes("v"), ms(30'000), by_time ? 1'000U : 10U}, ms(0));
    std::size_t pushes = 0;
    Actions actions;
    const std::int64_t end = by_time ? 30'000 : 1'000;
    for (std::int64_t t = 0; t <= end; t += 100) {
      engine.tick(ms(t), actions);
      pushes += actions.rumor_pushes.size();
      if (t < 900) {
        EXPECT_EQ(engine.view().active_rumors, 1U) << t;
      }
    }
    EXPECT_EQ(engine.view().active_rumors, 0U);
    if (by_time) {
      EXPECT_EQ(engine.rumors().counters().expired, 1U);
    } else {
      EXPECT_EQ(pushes, 10U);
    }
  }
}

// --- refusals ----------------------------------------------------------------------------------

TEST(GossipEngine, RefusesBadInput) {
  GossipEngine engine(small_gossip(), 7);
  engine.apply(gossip::AddMember{2, "tls://b", 1, ""}, ms(0));
  engine.apply(gossip::CreateRumor{"known", bytes("v"), ms(1'000), 10}, ms(0));
  using Bad = BadInput<GossipEngine>;
  const std::string long_address(kAddressBytesMax + 1, 'a');
  const std::string long_metadata(kMetadataBytesMax + 1, 'm');
  const std::vector<std::byte> too_long(257);
  GossipEngine full(small_gossip(9), 7);
  expect_all_refused(
      engine,
      std::vector<Bad>{
          {"itself", gossip::AddMember{1, "tls://a", 1, ""}, Errc::invalid_argument},
          {"member 0", gossip::AddMember{0, "tls://a", 1, ""}, Errc::invalid_argument},
          {"incarnation 0", gossip::AddMember{3, "tls://a", 0, ""}, Errc::invalid_argument},
          {"incarnation too high", gossip::AddMember{3, "", kGossipIncarnationMax + 1, ""},
           Errc::invalid_argument},
          {"address", gossip::AddMember{3, long_address, 1, ""}, Errc::invalid_argument},
          {"metadata", gossip::AddMember{3, "", 1, long_metadata}, Errc::invalid_argument},
          {"twice", gossip::AddMember{2, "tls://b", 1, ""}, Errc::already_exists},
          {"remove nobody", gossip::RemoveMember{77}, Errc::not_found},
          {"remove itself", gossip::RemoveMember{1}, Errc::invalid_argument},
          {"remove a live one", gossip::RemoveMember{2}, Errc::wrong_state},
          {"own metadata", gossip::SetSelf{"", long_metadata}, Errc::invalid_argument},
          {"rumour without key", gossip::CreateRumor{"", {}, ms(1), 1}, Errc::invalid_id},
          {"rumour without time", gossip::CreateRumor{"k", {}, ms(0), 1}, Errc::invalid_argument},
          {"rumour without budget", gossip::CreateRumor{"k", {}, ms(1), 0}, Errc::invalid_argument},
          {"rumour too long", gossip::CreateRumor{"k", too_long, ms(1), 1}, Errc::invalid_argument},
          {"rumour twice", gossip::CreateRumor{"known", {}, ms(1), 1}, Errc::already_exists},
          {"broadcast too long", gossip::Broadcast{too_long, false}, Errc::invalid_argument},
          {"multicast too long", gossip::Broadcast{too_long, true}, Errc::invalid_argument},
          {"summary without key", gossip::SetSummary{"", {}}, Errc::invalid_id},
          {"summary in a claim's name", gossip::SetSummary{"sector/1/1", {}}, Errc::invalid_id},
          {"summary too long", gossip::SetSummary{"k", too_long}, Errc::invalid_argument},
          {"epoch 0", gossip::ClaimSector{1, 0}, Errc::invalid_argument},
          {"not claimed", gossip::ReleaseSector{1}, Errc::not_found},
          {"reserved too high", gossip::Reserved{kGossipIncarnationMax + 1},
           Errc::invalid_argument},
          {"nothing", gossip::Hear{{}}, Errc::bad_input},
          {"too much", gossip::Hear{std::vector<std::byte>(5'000)}, Errc::invalid_argument},
      });
  EXPECT_EQ(engine.counters().oversize, 1U);
}

TEST(GossipEngine, RefusesWhatThereIsNoRoomFor) {
  auto config = small_gossip();
  config.members_max = 2;
  config.rumors_max = 1;
  config.summaries_max = 1;
  GossipEngine engine(config, 7);
  engine.apply(gossip::AddMember{2, "", 1, ""}, ms(0));
  engine.apply(gossip::CreateRumor{"a", {}, ms(9'000), 9}, ms(0));
  engine.apply(gossip::SetSummary{"a", bytes("1")}, ms(0));
  expect_all_refused(engine, std::vector<BadInput<GossipEngine>>{
                                 {"member", gossip::AddMember{3, "", 1, ""}, Errc::capacity},
                                 {"rumour", gossip::CreateRumor{"b", {}, ms(1), 1}, Errc::capacity},
                                 {"summary", gossip::SetSummary{"b", {}}, Errc::capacity},
                             });
  Errc last = Errc::ok;
  for (int i = 0; i < 200 && last == Errc::ok; ++i) {
    last = engine.apply(gossip::Broadcast{bytes("x"), false}, ms(0)).code;
  }
  EXPECT_EQ(last, Errc::capacity) << "what is kept has an end";
  EXPECT_TRUE(engine.verify());
}

TEST(GossipEngine, SaysNothingMoreOnceItHasLeft) {
  GossipEngine engine(small_gossip(), 7);
  engine.apply(gossip::AddMember{2, "", 1, ""}, ms(0));
  ASSERT_EQ(engine.apply(gossip::Leave{}, ms(0)).code, Errc::ok);
  expect_all_refused(engine,
                     std::vector<BadInput<GossipEngine>>{
                         {"leave", gossip::Leave{}, Errc::wrong_state},
                         {"add", gossip::AddMember{3, "", 1, ""}, Errc::wrong_state},
                         {"self", gossip::SetSelf{"x", ""}, Errc::wrong_state},
                         {"rumour", gossip::CreateRumor{"b", {}, ms(1), 1}, Errc::wrong_state},
                         {"broadcast", gossip::Broadcast{{}, false}, Errc::wrong_state},
                         {"summary", gossip::SetSummary{"b", {}}, Errc::wrong_state},
                     });
  EXPECT_EQ(engine.view().left, 1U);
}

TEST(GossipEngine, CountsAndIgnoresAVersionItDoesNotKnow) {
  GossipEngine engine(small_gossip(), 7);
  GossipEngine other(small_gossip(2), 8);
  other.apply(gossip::AddMember{1, "", 1, ""}, ms(0));
  auto message = said(other, ms(0)).front();
  message[0] = std::byte{9};
  const std::uint64_t hash = engine.state_hash();
  EXPECT_EQ(engine.apply(gossip::Hear{message}, ms(0)).code, Errc::ok);
  EXPECT_EQ(engine.counters().unknown_version, 1U);
  EXPECT_EQ(engine.counters().refused, 0U);
  EXPECT_EQ(engine.state_hash(), hash);
}

// Every message of a busy pair, cut anywhere and with any byte changed.
TEST(GossipEngine, TakesNoMessageThatIsNotWhole) {
  GossipEngine other(small_gossip(2), 8);
  other.apply(gossip::SetSelf{"tls://b", "m"}, ms(0));
  other.apply(gossip::AddMember{1, "", 1, ""}, ms(0));
  other.apply(gossip::CreateRumor{"k", bytes("v"), ms(1'000), 10}, ms(0));
  other.apply(gossip::Broadcast{bytes("all"), true}, ms(0));
  other.apply(gossip::SetSummary{"load", bytes("5")}, ms(0));
  const auto messages = said(other, ms(0));
  ASSERT_GE(messages.size(), 4U);
  std::size_t cuts = 0;
  for (const auto& message : messages) {
    for (std::size_t size = 0; size < message.size(); ++size, ++cuts) {
      GossipEngine engine(small_gossip(), 7);
      const std::uint64_t hash = engine.state_hash();
      const auto cut = std::vector<std::byte>(message.begin(),
                                              message.begin() + static_cast<std::ptrdiff_t>(size));
      ASSERT_NE(engine.apply(gossip::Hear{cut}, ms(0)).code, Errc::ok) << size;
      ASSERT_EQ(engine.state_hash(), hash);
    }
  }
  EXPECT_GT(cuts, 100U);
}

TEST(GossipEngine, StaysSoundWhateverBytesItHears) {
  EXPECT_TRUE(rc::check("any change of any message", [] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    Rng rng(seed);
    GossipEngine other(small_gossip(2), seed);
    GossipEngine engine(small_gossip(), seed);
    other.apply(gossip::AddMember{1, "", 1, ""}, ms(0));
    other.apply(gossip::Broadcast{bytes("all"), rng.below(2) == 0}, ms(0));
    other.apply(gossip::SetSummary{"load", bytes("5")}, ms(0));
    for (auto message : said(other, ms(0))) {
      for (int i = 0; i < 3; ++i) {
        const auto at = rng.below(message.size());
        message[at] = static_cast<std::byte>(rng.below(256));
      }
      const std::uint64_t hash = engine.state_hash();
      const auto reply = engine.apply(gossip::Hear{message}, ms(1));
      RC_ASSERT(reply.code == Errc::ok || engine.state_hash() == hash);
      Actions actions;
      engine.tick(ms(2), actions);
      RC_ASSERT(engine.verify().has_value());
    }
  }));
}

// --- seal --------------------------------------------------------------------------------------

class KeyedSeal final : public GossipSeal {
 public:
  explicit KeyedSeal(std::uint64_t key) : key_(key) {}
  Tag tag(std::span<const std::byte> message) const noexcept override {
    const std::uint64_t words[] = {key_, checksum(message)};  // a test's, no cipher
    const std::uint64_t sum = checksum(std::as_bytes(std::span(words)));
    Tag tag{};
    std::memcpy(tag.data(), &sum, sizeof(sum));
    return tag;
  }

 private:
  std::uint64_t key_;
};

TEST(GossipEngine, TakesOnlyWhatIsSealedWithItsKey) {
  const KeyedSeal right(1);
  const KeyedSeal wrong(2);
  GossipEngine other(small_gossip(2), 8);
  other.apply(gossip::AddMember{1, "", 1, ""}, ms(0));
  GossipEngine engine(small_gossip(), 7);
  engine.set_seal(&right);
  const auto open = said(other, ms(0)).front();
  EXPECT_EQ(engine.apply(gossip::Hear{open}, ms(0)).code, Errc::not_authorized);
  other.set_seal(&wrong);
  const auto forged = said(other, ms(1'000)).front();
  EXPECT_EQ(engine.apply(gossip::Hear{forged}, ms(0)).code, Errc::not_authorized);
  EXPECT_EQ(engine.view().alive, 1U);
  other.set_seal(&right);
  const auto sealed = said(other, ms(2'000)).front();
  EXPECT_EQ(engine.apply(gossip::Hear{sealed}, ms(0)).code, Errc::ok);
  EXPECT_EQ(engine.counters().unsealed, 2U);
  EXPECT_TRUE(engine.verify());
}

// --- incarnations ------------------------------------------------------------------------------

TEST(GossipEngine, NeverUsesAnIncarnationThatIsNotReserved) {
  auto config = small_gossip();
  config.incarnation_first = 100;
  config.incarnation_block = 4;
  GossipEngine engine(config, 7);
  Actions actions;
  std::uint64_t asked = 0;
  for (int i = 0; i < 10; ++i) {
    engine.apply(gossip::SetSelf{"a", std::to_string(i)}, ms(i));
    engine.tick(ms(i), actions);
    asked = std::max(asked, actions.reserve_until);
    EXPECT_LE(engine.incarnation(), 103U);
  }
  EXPECT_EQ(engine.incarnation(), 103U);
  EXPECT_GT(asked, 103U) << "it asks for more";
  engine.apply(gossip::Reserved{asked}, ms(20));
  EXPECT_EQ(engine.incarnation(), 104U) << "what waited";
  EXPECT_TRUE(engine.verify());
}

// --- the pattern -------------------------------------------------------------------------------

// All that host 1 is told among three others that do everything, over links that lose.
std::vector<Timed<GossipCommand>> busy_trace(std::uint64_t seed, std::size_t count) {
  const auto config = small_gossip();
  std::vector<Timed<GossipCommand>> commands;
  Rng rng(seed);
  GossipEngine follower(config, 7);
  std::vector<std::unique_ptr<GossipEngine>> others;
  for (std::uint64_t self = 2; self <= 4; ++self) {
    others.push_back(std::make_unique<GossipEngine>(small_gossip(self), self));
    others.back()->apply(gossip::AddMember{1, "tls://1", 1, ""}, ms(0));
  }
  Nanos now = ms(0);
  const auto tell = [&](GossipCommand command) {
    follower.apply(command, now);
    commands.push_back({now, std::move(command)});
  };
  while (commands.size() < count) {
    now += ms(static_cast<std::int64_t>(rng.below(60)));
    auto& other = *others[rng.below(others.size())];
    const auto text = bytes("p" + std::to_string(rng.below(100)));
    switch (rng.below(12)) {
      case 0:
        tell(gossip::Broadcast{text, rng.below(2) == 0});
        break;
      case 1:
        tell(gossip::CreateRumor{"r" + std::to_string(rng.below(20)), text, ms(2'000), 6});
        break;
      case 2:
        tell(gossip::SetSummary{"s" + std::to_string(rng.below(4)), text});
        break;
      case 3:
        tell(gossip::SetSelf{"tls://1", std::to_string(rng.below(5))});
        break;
      case 4:
        tell(gossip::ClaimSector{1, 1 + rng.below(3)});
        break;
      case 5:
        other.apply(gossip::Broadcast{text, rng.below(2) == 0}, now);
        other.apply(gossip::SetSummary{"s" + std::to_string(rng.below(4)), text}, now);
        other.apply(gossip::ClaimSector{1, 1 + rng.below(3)}, now);
        break;
      default:
        break;
    }
    Actions actions;
    follower.tick(now, actions);
    actions.for_sends([&](const GossipSend& send) {
      if (send.to < 2 || send.to > 4 || rng.below(5) == 0) return;
      const auto one = actions.bytes_of(send);
      others[send.to - 2]->apply(gossip::Hear{{one.begin(), one.end()}}, now);
    });
    other.tick(now, actions);
    actions.for_sends([&](const GossipSend& send) {
      const auto one = actions.bytes_of(send);
      if (send.to == 1 && rng.below(8) != 0) tell(gossip::Hear{{one.begin(), one.end()}});
    });
  }
  return commands;
}

TEST(GossipEngine, ReplaysToTheSameBytesAlsoWhenRestoredOnTheWay) {
  expect_replays<GossipEngine>(small_gossip(), busy_trace(3, 300));
}

TEST(GossipEngine, FindsDamageInASnapshot) {
  auto config = small_gossip();
  config.members_max = 4;
  GossipEngine engine(config, 7);
  engine.apply(gossip::AddMember{2, "tls://b", 1, ""}, ms(0));
  engine.apply(gossip::CreateRumor{"k", bytes("v"), ms(1'000), 10}, ms(0));
  engine.apply(gossip::Broadcast{bytes("all"), false}, ms(0));
  engine.apply(gossip::SetSummary{"load", bytes("5")}, ms(0));
  Actions actions;
  engine.tick(ms(0), actions);
  expect_damage_found(engine, config);
}

TEST(GossipEngine, AllocatesNothingOnceItRuns) {
  GossipEngine engine(small_gossip(), 7);
  GossipEngine other(small_gossip(2), 8);
  engine.apply(gossip::AddMember{2, "tls://b", 1, ""}, ms(0));
  Actions mine;
  Actions theirs;
  std::vector<gossip::Hear> heard;
  std::uint64_t allocations = 0;
  // Both talk; what is counted is ticks, and messages that bring no payload.
  for (std::int64_t t = 0; t < 30'000; t += 50) {
    const std::uint64_t before = mesh::testing::allocation_count();
    engine.tick(ms(t), mine);
    if (t > 20'000) allocations += mesh::testing::allocation_count() - before;
    mine.for_sends([&](const GossipSend& send) {
      const auto one = mine.bytes_of(send);
      other.apply(gossip::Hear{{one.begin(), one.end()}}, ms(t));
    });
    other.tick(ms(t), theirs);
    heard.clear();
    theirs.for_sends([&](const GossipSend& send) {
      const auto one = theirs.bytes_of(send);
      heard.push_back({{one.begin(), one.end()}});
    });
    for (auto& one : heard) {
      const GossipCommand command{std::move(one)};
      const std::uint64_t start = mesh::testing::allocation_count();
      engine.apply(command, ms(t));
      if (t > 20'000) allocations += mesh::testing::allocation_count() - start;
    }
  }
  EXPECT_EQ(allocations, 0U);
  EXPECT_GT(engine.swim().counters().acknowledged, 40U);
}

}  // namespace of_gossip_engine_test
}  // namespace mesh::coordination
