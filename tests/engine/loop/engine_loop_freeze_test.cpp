// Delivery paused and gone on with, on virtual time.
#include <random>

#include "engine/loop/engine_loop.hpp"
#include "tests/engine/loop/loop_pair.hpp"
#include "tests/seed.hpp"

namespace mesh::engine {
namespace of_engine_loop_freeze_test {

constexpr auto kGpus = sched::selector(sched::SelectorKind::agent_class, 3);

// alice on station 1, of class A; bob's two agents on station 2, of class D.
struct Freezer : LoopFixture {
  Freezer() : LoopFixture(10, 3), alice(add(1, 1, "alice")), bob(add_bob(2)) {}
  RawStation& add_bob(std::uint16_t number) {
    return add(number, 2, "bob", sched::AgentClass::gpu);
  }
  EngineLoop::Frozen freeze(bool frozen) {
    return must(loop->freeze(kGpus, frozen, from_ns(now_ns)));
  }
  Errc post(AgentId target, std::string_view text, HostTime arrive = {}) {
    const auto posted =
        loop->post({.target = target, .arrive = arrive, .body = bytes(text)}, from_ns(now_ns));
    return posted ? Errc::ok : posted.error().code;
  }
  std::vector<std::string> heard(RawStation& station) {
    std::vector<std::string> texts;
    for (const auto& delivery : station.poll()) {
      texts.push_back(station.read(delivery).body);
      station.answer(delivery, TrinaryState::ready, now_ns);
    }
    return texts;
  }
  AgentId bob_id() { return ids[2][0]; }
  RawStation& alice;
  RawStation& bob;
};
using Texts = std::vector<std::string>;

TEST(Freeze, RefusesAPlaceWhereNobodyIs) {
  Freezer mesh;
  const auto code = [&](sched::Selector scope) {
    const auto frozen = mesh.loop->freeze(scope, true, from_ns(mesh.now_ns));
    return frozen ? Errc::ok : frozen.error().code;
  };
  EXPECT_EQ(code(sched::selector(sched::SelectorKind::sector, 99)), Errc::no_such_agent);
  EXPECT_EQ(code(sched::selector(sched::SelectorKind::cluster, 7)), Errc::no_such_agent);
  EXPECT_EQ(code(sched::selector(sched::SelectorKind::list, 1)), Errc::invalid_argument);
  EXPECT_EQ(mesh.loop->gauges().frozen, 0U);
  EXPECT_EQ(code(sched::selector(sched::SelectorKind::sector, 0)), Errc::ok);
  EXPECT_EQ(mesh.loop->gauges().frozen, 3U);
  must(mesh.loop->verify());
}

TEST(Freeze, KeepsWhatIsSentAndGivesItInItsOrderAfterTheThaw) {
  Freezer mesh;
  EXPECT_EQ(mesh.post(mesh.bob_id(), "before"), Errc::ok);
  const EngineLoop::Frozen frozen = mesh.freeze(true);
  EXPECT_EQ(frozen.agents, mesh.ids[2]);
  EXPECT_EQ(frozen.changed, 2U);
  EXPECT_EQ(mesh.freeze(true).changed, 0U) << "it was so before";
  EXPECT_EQ(mesh.post(mesh.bob_id(), "one"), Errc::ok);
  RawStation::Message message{.source = mesh.ids[1][0],
                              .target = to(mesh.bob_id()),
                              .created_ns = mesh.now_ns,
                              .body = bytes("two, which is too long to travel bare")};
  ASSERT_TRUE(mesh.alice.send(message));
  mesh.tick();
  ASSERT_TRUE(mesh.alice.send_bare(mesh.ids[1][0], mesh.bob_id(), bytes("three"), mesh.now_ns));
  EXPECT_EQ(mesh.post(mesh.ids[1][0], "to alice"), Errc::ok);
  mesh.run(50 * kMs, kMs);
  EXPECT_EQ(mesh.heard(mesh.bob), Texts{"before"}) << "it was in the inbox";
  EXPECT_EQ(mesh.heard(mesh.alice), Texts{"to alice"}) << "nobody else is frozen";
  must(mesh.loop->verify());
  EXPECT_EQ(mesh.freeze(false).messages, 3U);
  mesh.tick();
  EXPECT_EQ(mesh.heard(mesh.bob), (Texts{"one", "two, which is too long to travel bare", "three"}));
  mesh.tick();
  must(mesh.loop->verify());
  EXPECT_EQ(mesh.loop->gauges().frozen, 0U);
}

TEST(Freeze, HoldsWhatWaitsForRoomInAnInbox) {
  Freezer mesh;
  Texts sent;
  for (int i = 0; i < 1'200; ++i) {
    sent.push_back(std::to_string(i));
    ASSERT_EQ(mesh.post(mesh.ids[2][static_cast<std::size_t>(i % 2)], sent.back()), Errc::ok) << i;
  }
  mesh.tick();
  ASSERT_GT(mesh.loop->gauges().pending, 0U);
  mesh.freeze(true);
  must(mesh.loop->verify());
  EXPECT_EQ(mesh.loop->gauges().pending, 0U);
  Texts got = mesh.heard(mesh.bob);
  EXPECT_LE(got.size(), 1'024U);
  mesh.run(20 * kMs, kMs);
  EXPECT_EQ(mesh.heard(mesh.bob), Texts{});
  mesh.freeze(false);
  for (int i = 0; i < 5; ++i) {
    mesh.run(5 * kMs, kMs);
    const Texts more = mesh.heard(mesh.bob);
    got.insert(got.end(), more.begin(), more.end());
  }
  EXPECT_EQ(got, sent) << "all, in their order";
  must(mesh.loop->verify());
}

TEST(Freeze, TakesTheAnswersOfThoseItHasFrozen) {
  Freezer mesh;
  ASSERT_EQ(mesh.post(mesh.bob_id(), "?"), Errc::ok);
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  mesh.freeze(true);
  ASSERT_TRUE(mesh.bob.answer_with(got[0], bytes("!"), mesh.now_ns));
  mesh.tick();
  EXPECT_TRUE(mesh.loop->take_answered().has_value());
}

// To an agent that is frozen after it has asked: the reply waits, bare or not.
TEST(Freeze, HoldsRepliesToo) {
  Freezer mesh;
  ASSERT_TRUE(mesh.bob.send_bare(mesh.bob_id(), mesh.ids[1][0], bytes("well?"), mesh.now_ns));
  mesh.tick();
  const auto asked = mesh.alice.poll();
  ASSERT_EQ(asked.size(), 1U);
  mesh.freeze(true);
  ASSERT_TRUE(mesh.alice.answer(asked[0], TrinaryState::ready, mesh.now_ns));
  mesh.run(5 * kMs, kMs);
  EXPECT_EQ(mesh.bob.poll().size(), 0U);
  must(mesh.loop->verify());
  mesh.freeze(false);
  mesh.tick();
  const auto replies = mesh.bob.poll();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(replies[0].kind, RecordKind::reply);
}

TEST(Freeze, HoldsAMessageWhoseMomentComesMeanwhile) {
  Freezer mesh;
  ASSERT_EQ(mesh.post(mesh.bob_id(), "at its time", from_ns(mesh.now_ns + 500 * kMs)), Errc::ok);
  mesh.freeze(true);
  mesh.run(1'000 * kMs, kMs);
  EXPECT_EQ(mesh.heard(mesh.bob), Texts{});
  must(mesh.loop->verify());
  mesh.freeze(false);
  mesh.run(10 * kMs, kMs);
  EXPECT_EQ(mesh.heard(mesh.bob), Texts{"at its time"});
}

TEST(Freeze, MakesOperationsSkipWhomTheyWouldReach) {
  Freezer mesh;
  const auto open = [&] {
    must(mesh.loop->open({.horizon = Nanos{1'500 * kMs}, .window = Nanos{50 * kMs}},
                         from_ns(mesh.now_ns)));
  };
  std::size_t heard_by_bob = 0;
  const auto serve = [&] {
    mesh.heard(mesh.alice);
    heard_by_bob += mesh.heard(mesh.bob).size();
  };
  mesh.freeze(true);
  open();
  mesh.run(3'000 * kMs, kMs, serve);
  const auto skipped = mesh.loop->take_finished();
  ASSERT_TRUE(skipped.has_value());
  EXPECT_EQ(skipped->result.counts.skipped.not_routable, 2U);
  EXPECT_EQ(skipped->result.counts.ready, 1U);
  mesh.freeze(false);
  open();
  mesh.freeze(true);  // planned before, its buckets leave after
  mesh.run(3'000 * kMs, kMs, serve);
  const auto straggled = mesh.loop->take_finished();
  ASSERT_TRUE(straggled.has_value());
  EXPECT_EQ(straggled->result.counts.straggler(), 2U);
  EXPECT_EQ(heard_by_bob, 0U);
  must(mesh.loop->verify());
}

TEST(Freeze, OutlivesTheEngineAndTheStationsAbsence) {
  Freezer mesh;
  mesh.freeze(true);
  ASSERT_EQ(mesh.post(mesh.bob_id(), "one"), Errc::ok);
  mesh.tick();
  mesh.restart();
  EXPECT_EQ(mesh.loop->gauges().frozen, 2U);
  must(mesh.loop->verify());
  ASSERT_EQ(mesh.post(mesh.bob_id(), "two"), Errc::ok);
  mesh.run(20 * kMs, kMs);
  EXPECT_EQ(mesh.heard(mesh.bob), Texts{});
  mesh.lose(2);
  must(mesh.loop->verify());
  RawStation& back = mesh.add_bob(3);
  mesh.run(20 * kMs, kMs);
  EXPECT_EQ(mesh.heard(back), Texts{}) << "it is back, and frozen as before";
  must(mesh.loop->verify());
  mesh.freeze(false);
  mesh.run(20 * kMs, kMs);
  EXPECT_EQ(mesh.heard(back), (Texts{"one", "two"}));
  must(mesh.loop->verify());
}

// Whatever comes in between: nothing is lost, and what the loop counts stays right.
TEST(Freeze, LosesNothingInAnyOrderOfThings) {
  std::mt19937_64 random(testing::seed());
  for (int round = 0; round < 12; ++round) {
    Freezer mesh;
    RawStation* bob = &mesh.bob;
    std::uint16_t number = 2;
    std::set<std::string> sent;
    std::set<std::string> got;
    const auto listen = [&] {
      for (const std::string& text : mesh.heard(*bob)) got.insert(text);
    };
    for (int step = 0; step < 60; ++step) {
      switch (random() % 6) {
        case 0:
          mesh.freeze(random() % 2 == 0);
          break;
        case 1:
          mesh.restart();
          break;
        case 2:
          listen();
          mesh.tick(kMs);  // its answers are in before it goes
          mesh.lose(number);
          number = number == 2 ? 3 : 2;
          bob = &mesh.add_bob(number);
          break;
        case 3:
          listen();
          break;
        case 4: {  // by the short way, where it is open
          const std::string text = "bare" + std::to_string(step);
          if (mesh.alice.send_bare(mesh.ids[1][0], mesh.ids[number][random() % 2], bytes(text),
                                   mesh.now_ns))
            sent.insert(text);
          break;
        }
        default: {
          const std::string text = std::to_string(step);
          if (mesh.post(mesh.ids[number][random() % 2], text) == Errc::ok) sent.insert(text);
        }
      }
      mesh.tick(kMs);
      must(mesh.loop->verify());
    }
    mesh.freeze(false);
    for (int i = 0; i < 5; ++i) {
      mesh.tick(kMs);
      listen();
    }
    mesh.tick(kMs);
    ASSERT_EQ(got, sent) << "round " << round;
    must(mesh.loop->verify());
    EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
  }
}

}  // namespace of_engine_loop_freeze_test
}  // namespace mesh::engine
