// The arbiter on random instances: no better division, nothing twice, nobody
// for ever; restarts and deaths.
#include <algorithm>
#include <cmath>
#include <set>

#include "engine/coordination/contention_arbiter.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/coordination/contention_kit.hpp"

namespace mesh::coordination {
namespace of_contention_rules_test {

using testing::arbiter_ms;
using testing::ask;
using testing::contention_trace;
using testing::small_arbiter;
using Arbiter = ResourceContentionArbiter;

Arbiter with_resource(const ContentionConfig& config, std::uint64_t capacity) {
  Arbiter arbiter(config);
  arbiter.apply(contention::RegisterResource{"gpu", capacity, false, true, "compute"}, Nanos{0});
  return arbiter;
}
double product(std::span<const NashClaim> claims, std::span<const std::uint64_t> shares) {
  double sum = 0;
  for (std::size_t i = 0; i < claims.size(); ++i) {
    sum += claims[i].weight * std::log(static_cast<double>(shares[i]) - claims[i].base);
  }
  return sum;
}
void brute(std::span<const NashClaim> claims, std::vector<std::uint64_t>& shares, std::size_t at,
           std::uint64_t left, double& best) {
  if (at == claims.size()) {
    best = std::max(best, product(claims, shares));
    return;
  }
  for (std::uint64_t x = claims[at].floor; x <= std::min(left, claims[at].cap); ++x) {
    shares[at] = x;
    brute(claims, shares, at + 1, left - x, best);
  }
}

TEST(ContentionArbiter, NoOtherDivisionHasALargerNashProduct) {
  Rng rng(4);
  for (int i = 0; i < 300; ++i) {
    std::vector<NashClaim> claims(1 + rng.below(4));
    std::uint64_t floors = 0;
    for (auto& one : claims) {
      one.weight = 1 + static_cast<double>(rng.below(11)) / 10;
      one.floor = 1 + rng.below(2);
      one.cap = one.floor + rng.below(6);
      floors += one.floor;
    }
    const std::uint64_t total = floors + rng.below(8);
    std::vector<std::uint64_t> shares(claims.size());
    nash_integer(total, claims, shares);
    double best = -1e300;
    std::vector<std::uint64_t> tried(claims.size());
    brute(claims, tried, 0, total, best);
    ASSERT_GE(product(claims, shares), best - 1e-9) << "instance " << i;
  }
}

// One round over some demands for more than there is; what each agent holds after it.
std::vector<std::uint64_t> shares_of(std::uint64_t capacity,
                                     const std::vector<contention::Request>& demands) {
  auto config = small_arbiter();
  Arbiter arbiter(config);
  arbiter.apply(contention::RegisterResource{"mem", capacity, true, true, "memory"}, Nanos{0});
  const auto all = arbiter.apply(ask(7, capacity), Nanos{0});
  for (const auto& one : demands) arbiter.apply(one, Nanos{0});
  arbiter.apply(contention::Release{all.allocation, 0}, Nanos{0});
  ContentionActions actions;
  arbiter.tick(arbiter_ms(60), actions);
  std::vector<std::uint64_t> shares;
  for (std::uint32_t agent = 0; agent < demands.size(); ++agent) {
    shares.push_back(arbiter.held(agent, 0));
  }
  return shares;
}
// 2 to 5 agents that want any part of up to so much each.
std::vector<contention::Request> flexible_demands(Rng& rng, std::uint64_t most) {
  std::vector<contention::Request> demands;
  const auto agents = static_cast<std::uint32_t>(2 + rng.below(4));
  for (std::uint32_t agent = 0; agent < agents; ++agent) {
    demands.push_back(ask(agent, 1'000 + rng.below(most), 0, 1'000'000));
    demands.back().priority = static_cast<std::uint32_t>(rng.below(11));
    demands.back().utility_per_unit = 1 + rng.below(5'000'000);
  }
  return demands;
}

RC_GTEST_PROP(ContentionArbiter, AgentsThatAreAlikeGetTheSameOfADivisibleThing, ()) {
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  auto demands = flexible_demands(rng, 1'000'000);
  const std::size_t twin = demands.size() - 1;
  demands[twin] = demands[0];
  demands[twin].agent = static_cast<std::uint32_t>(twin);
  const auto shares = shares_of(100'000 + rng.below(1'000'000), demands);
  const std::uint64_t more = std::max(shares[0], shares[twin]);
  RC_ASSERT(more - std::min(shares[0], shares[twin]) <= 1U);  // of what does not divide
}

RC_GTEST_PROP(ContentionArbiter, WhatAUnitIsWorthToOneChangesNoShare, ()) {
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  auto demands = flexible_demands(rng, 1'000'000);
  const std::uint64_t capacity = 100'000 + rng.below(1'000'000);
  const auto shares = shares_of(capacity, demands);
  demands[rng.below(demands.size())].utility_per_unit *= 7;
  RC_ASSERT(shares_of(capacity, demands) == shares);
}

RC_GTEST_PROP(ContentionArbiter, NothingIsFreeWhileSomebodyWantsMoreOfADivisibleThing, ()) {
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  const auto demands = flexible_demands(rng, 400'000);
  const std::uint64_t capacity = 401'000 + rng.below(1'000'000);  // none asks for more than all
  const auto shares = shares_of(capacity, demands);
  std::uint64_t given = 0;
  bool wants_more = false;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    given += shares[i];
    wants_more = wants_more || shares[i] < demands[i].quantity;
  }
  RC_ASSERT(given <= capacity);
  RC_ASSERT(!wants_more || given == capacity);
}

RC_GTEST_PROP(ContentionArbiter, NeverGivesOutMoreThanThereIsAndEndsEverythingOnce, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  auto config = small_arbiter();
  config.mode = *rc::gen::element(ArbiterMode::nash, ArbiterMode::priority, ArbiterMode::auction,
                                  ArbiterMode::leximin);
  config.preempts = config.mode == ArbiterMode::priority;
  config.wait_die = *rc::gen::element(WaitDie::off, WaitDie::always);
  Arbiter arbiter(config);
  std::set<std::uint64_t> ended;
  for (const auto& [now, command] : contention_trace(config, 150, seed)) {
    ContentionActions actions;
    auto news = arbiter.apply(command, now).news;
    arbiter.tick(now, actions);
    news.insert(news.end(), actions.news.begin(), actions.news.end());
    for (const auto& one : news) {
      const bool is_end = one.allocation != 0 && one.kind != ArbiterNotice::granted &&
                          one.kind != ArbiterNotice::warned;
      if (is_end) {
        RC_ASSERT(ended.insert(one.allocation).second);
      }
    }
    const auto sound = arbiter.verify();
    if (!sound) RC_LOG() << sound.error().sentence;
    RC_ASSERT(sound.has_value());
    RC_ASSERT(config.wait_die == WaitDie::off || arbiter.waits_only_for_younger());
  }
}

// Whoever comes again as old as it was is served in the end.
TEST(ContentionArbiter, UnderWaitDieEveryDemandIsServedInTheEnd) {
  auto config = small_arbiter("priority-driven");
  config.wait_die = WaitDie::always;
  auto arbiter = with_resource(config, 4);
  Rng rng(6);
  std::vector<std::int64_t> born(6);
  std::vector<std::uint64_t> holds(6);
  std::vector<bool> waits(6);
  std::vector<int> served(6);
  ContentionActions actions;
  const auto hear = [&](const std::vector<ArbiterNews>& all) {
    for (const auto& news : all) {
      if (news.kind == ArbiterNotice::granted) {
        holds[news.agent] = news.allocation;
        waits[news.agent] = false;
        ++served[news.agent];
      } else if (news.kind == ArbiterNotice::preempted || news.kind == ArbiterNotice::expired) {
        holds[news.agent] = 0;
      }
    }
  };
  for (int i = 0; i < 20'000; ++i) {
    const Nanos now = arbiter_ms(20 * i);
    const auto agent = static_cast<std::uint32_t>(rng.below(6));
    if (holds[agent] != 0) {
      const auto gone = holds[agent];
      holds[agent] = 0;
      born[agent] = i;
      hear(arbiter.apply(contention::Release{gone, 0}, now).news);
    } else if (!waits[agent]) {
      auto one = ask(agent, 2 + rng.below(3), 5);
      one.timestamp = Nanos{born[agent]};
      const auto reply = arbiter.apply(one, now);
      hear(reply.news);
      holds[agent] = reply.allocation;
      waits[agent] = reply.ticket != 0;
      served[agent] += reply.allocation != 0 ? 1 : 0;
    }
    arbiter.tick(now, actions);
    hear(actions.news);
  }
  for (const int count : served) EXPECT_GT(count, 300);
}

TEST(ContentionArbiter, ReplaysToTheSameBytes) {
  for (const char* preset : {"fair-share", "priority-driven", "market-based"}) {
    const auto config = small_arbiter(preset);
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
      testing::expect_replays<Arbiter>(config, contention_trace(config, 200, seed));
    }
  }
}

TEST(ContentionArbiter, FindsADamagedSnapshot) {
  Arbiter arbiter(small_arbiter());
  for (const auto& [now, command] : contention_trace(small_arbiter(), 20, 4)) {
    arbiter.apply(command, now);
  }
  testing::expect_damage_found(arbiter, small_arbiter());
}

TEST(ContentionArbiter, SurvivesADeathAtEachStepOfItsJournal) {
  const auto config = small_arbiter("priority-driven");
  testing::CrashSweep<Arbiter> sweep(config, contention_trace(config, 30, 5));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(5), 3U * 30 * 4);
}

TEST(ContentionArbiter, MeetsRequestsWithoutAllocating) {
  auto arbiter = with_resource(small_arbiter(), 8);
  ContentionActions actions;
  bool sound = true;
  const auto wanted = ask(0, 3);
  const std::uint64_t before = mesh::testing::allocation_count();
  for (int i = 0; i < 1'000; ++i) {
    const auto reply = arbiter.apply(wanted, Nanos{i});
    sound = sound && reply.granted == 3;
    arbiter.apply(contention::Release{reply.allocation, 0}, Nanos{i});
    arbiter.tick(Nanos{i}, actions);
  }
  EXPECT_EQ(mesh::testing::allocation_count(), before);
  EXPECT_TRUE(sound);
}

}  // namespace of_contention_rules_test
}  // namespace mesh::coordination
