// The usual example of each service (docs/coordination), alone, hosted in another process, and
// after that process was killed half way: the same replies each time.
#include "tests/engine/store/three_ways.hpp"

#include "engine/coordination/backpressure_controller.hpp"
#include "engine/coordination/capability_health.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/coordination/federation_router.hpp"
#include "engine/coordination/reputation_router.hpp"
#include "engine/coordination/service_discovery.hpp"
#include "engine/coordination/throttle_governor.hpp"
#include "engine/coordination/vector_clock.hpp"
#include "tests/engine/coordination/auction_kit.hpp"
#include "tests/engine/coordination/contention_kit.hpp"
#include "tests/engine/coordination/lock_kit.hpp"
#include "tests/engine/coordination/outbox_kit.hpp"
#include "tests/engine/coordination/pool_kit.hpp"
#include "tests/engine/coordination/queue_kit.hpp"
#include "tests/engine/coordination/token_kit.hpp"
#include "tests/engine/coordination/view_kit.hpp"

namespace mesh::coordination {
namespace of_three_ways_test {

using testing::bytes;
using testing::ms;
using testing::Script;
using testing::seconds;

using BreakerScript = Script<CircuitBreaker>;

void call(BreakerScript& script, Nanos now, CallOutcome outcome) {
  const std::size_t at = script.next();
  script.say(now, breaker::Allow{1},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.refusal, Refusal::none); });
  script.say(now, [at, outcome](const BreakerScript::Replies& replies) {
    return BreakerCommand{breaker::Record{replies[at].permit, outcome, ms(1), Nanos{0}}};
  });
}

TEST(ThreeWays, ABreakerOpensOnTheThirdFailureAndProbesOnce) {
  BreakerScript script(CircuitBreakerConfig::preset("agent-call").value());
  for (int i = 0; i < 3; ++i) call(script, Nanos{0}, CallOutcome::fail);
  script.say(Nanos{0}, breaker::Allow{1}, [](const auto& breaker, const auto& reply) {
    EXPECT_EQ(breaker.state(), BreakerState::open);
    EXPECT_EQ(reply.refusal, Refusal::rejected_open);
    EXPECT_EQ(reply.retry_after, seconds(30));
  });
  script.say(seconds(30), breaker::Allow{1}, [](const auto&, const auto& reply) {
    EXPECT_EQ(reply.refusal, Refusal::none);
    EXPECT_TRUE(reply.is_probe);
  });
  script.say(seconds(30), breaker::Allow{2}, [](const auto&, const auto& reply) {
    EXPECT_EQ(reply.refusal, Refusal::rejected_open) << "a second probe";
  });
  script.run();
}

TEST(ThreeWays, ABreakerOfAnExternalApiClosesAfterThreeProbesAndThenLetsAllPass) {
  BreakerScript script(CircuitBreakerConfig::preset("external-api").value());
  for (int i = 0; i < 5; ++i) call(script, Nanos{0}, CallOutcome::fail);
  const std::size_t first = script.next();
  for (int i = 0; i < 3; ++i) {
    script.say(seconds(60), breaker::Allow{1}, [i](const auto&, const auto& reply) {
      EXPECT_EQ(reply.refusal == Refusal::none, i < 2) << "two permits, a third refused";
    });
  }
  for (std::size_t i = 0; i < 2; ++i) {
    script.say(seconds(61), [at = first + i](const BreakerScript::Replies& replies) {
      return BreakerCommand{breaker::Record{replies[at].permit, CallOutcome::ok, ms(1), Nanos{0}}};
    });
  }
  call(script, seconds(62), CallOutcome::ok);
  for (int i = 0; i < 1'000; ++i) {
    script.say(seconds(63), breaker::Allow{1}, [](const auto& breaker, const auto& reply) {
      EXPECT_EQ(breaker.state(), BreakerState::closed);
      EXPECT_EQ(reply.refusal, Refusal::none);
    });
  }
  script.run(4);
}

TEST(ThreeWays, BackpressureThrottlesAtTheHighMarkUntilTheLowOne) {
  BackpressureConfig config;
  config.watermark_high = 100;
  config.watermark_low = 20;
  Script<BackpressureController> script(config);
  const std::array<std::pair<std::uint64_t, PressureState>, 4> depths{
      {{99, PressureState::accepting},
       {100, PressureState::throttling},
       {21, PressureState::throttling},
       {20, PressureState::accepting}}};
  for (const auto& [depth, state] : depths) {
    script.say(ms(1), pressure::Observe{depth, 0},
               [wanted = state](const auto& pressure, const auto&) {
                 EXPECT_EQ(pressure.view().state, wanted);
               });
    script.say(ms(1), pressure::ShouldAccept{2}, [wanted = state](const auto&, const auto& reply) {
      if (wanted == PressureState::accepting) {
        EXPECT_EQ(reply.refusal, Refusal::none);
      }
    });
  }
  script.run();
}

TEST(ThreeWays, ReputationRoutesToTheBetterAndTriesTheOtherAtTheFiftieth) {
  Script<ReputationWeightedRouter> script(ReputationConfig::preset("default").value());
  for (std::uint32_t agent = 0; agent < 2; ++agent) {
    script.say(Nanos{0}, reputation::Join{agent});
    script.say(Nanos{0}, reputation::Offer{agent, "summarize"});
  }
  script.say(Nanos{0}, reputation::RecordSuccess{0, ms(150)});
  script.say(Nanos{0}, reputation::RecordFailure{1, FailureKind::error},
             [](const auto& router, const auto&) {
               EXPECT_NEAR(router.reputation(0, kAnyCapability, Nanos{0}), 0.6667, 1e-4);
               EXPECT_NEAR(router.reputation(1, kAnyCapability, Nanos{0}), 0.3333, 1e-4);
             });
  for (std::uint32_t i = 1; i <= 50; ++i) {
    script.say(Nanos{0}, reputation::Route{0}, [i](const auto&, const auto& reply) {
      EXPECT_EQ(reply.agent, i == 50 ? 1U : 0U) << "call " << i;
      EXPECT_EQ(reply.explored, i == 50);
    });
  }
  script.run();
}

TEST(ThreeWays, AnOutboxDeliversOnceAndBuriesAfterEightAttempts) {
  auto config = OutboxConfig::preset("agent-event-bus").value();
  config.heartbeat_timeout_ns = seconds(3'600);
  config.events_capacity = 256;
  config.pending_max = 128;
  config.dead_max = 16;
  config.store_bytes = 1U << 20;
  Script<Outbox> script(config);
  script.say(Nanos{0}, outbox::AddWorker{"relay-1", 1});
  const std::size_t first = script.next();
  script.say(Nanos{0}, outbox::AppendEvent{"agent-0x1234", "task.completed", bytes("done")});
  script.tick(Nanos{0}, [](const auto&, const auto& actions) {
    ASSERT_EQ(actions.deliveries.size(), 1U);
    EXPECT_EQ(actions.deliveries[0].fence, 1U);
  });
  script.say(
      ms(1),
      [first](const auto& replies) {
        return OutboxCommand{outbox::Confirm{replies[first].event, 1}};
      },
      [](const auto& box, const auto& reply) {
        EXPECT_EQ(reply.code, Errc::ok);
        const auto view = box.view(box.partition_of("agent-0x1234"));
        EXPECT_EQ(view.confirmed, 1U);
        EXPECT_EQ(view.pending, 0U);
      });
  const std::size_t second = script.next();
  script.say(seconds(1), outbox::AppendEvent{"agent-0x1234", "task.completed", bytes("again")});
  for (std::uint64_t attempt = 1; attempt <= 8; ++attempt) {
    const Nanos now = seconds(40.0 * static_cast<double>(attempt));
    script.say(now, outbox::Heartbeat{"relay-1"},
               [](const auto&, const auto& reply) { EXPECT_EQ(reply.code, Errc::ok); });
    script.tick(now);
    script.say(
        now,
        [second, attempt](const auto& replies) {
          return OutboxCommand{outbox::Fail{replies[second].event, 1 + attempt, false, "refused"}};
        },
        [attempt](const auto& box, const auto& reply) {
          EXPECT_EQ(reply.code, Errc::ok);
          EXPECT_EQ(box.dead(9).size(), attempt == 8 ? 1U : 0U) << "attempt " << attempt;
        });
  }
  script.run();
}

TEST(ThreeWays, AThrottleSharesItsRateAndRefusesTheThirtyFirst) {
  ThrottleConfig config;
  config.initial_rate = 40;
  Script<AdaptiveThrottleGovernor> script(config);
  script.say(Nanos{0}, throttle::SetTenant{"agent-A", 3, 2, 100, 2});
  script.say(Nanos{0}, throttle::SetTenant{"agent-B", 1, 1, 50, 2},
             [](const auto& governor, const auto&) {
               EXPECT_DOUBLE_EQ(governor.share(0), 30);
               EXPECT_DOUBLE_EQ(governor.share(1), 10);
             });
  script.say(Nanos{0}, throttle::Record{0, ms(45), true, Nanos{0}});
  for (int i = 1; i <= 31; ++i) {
    script.say(Nanos{0}, throttle::ShouldAllow{0}, [i](const auto&, const auto& reply) {
      EXPECT_EQ(reply.refusal, i == 31 ? Refusal::rejected_rate : Refusal::none) << i;
    });
  }
  script.run();
}

TEST(ThreeWays, AFirstProbeIsTheHealthOfItsProvider) {
  Script<CapabilityHealthMonitor> script(CapabilityHealthConfig::preset("agent-mesh").value());
  script.say(Nanos{0}, health::AddCapability{"summarize"});
  script.say(Nanos{0}, health::Probe{ProbeType::performance, 0, 3, true, ms(145), Nanos{0}, 0},
             [](const auto&, const auto& reply) {
               EXPECT_NEAR(reply.score, 0.92, 0.0005);
               EXPECT_EQ(reply.status, HealthStatus::healthy);
               EXPECT_EQ(reply.remediation, Remediation::none);
             });
  script.say(Nanos{0}, health::BestProvider{0},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.agent, 3U); });
  script.run();
}

TEST(ThreeWays, AFederationShedsTheLowFirstAndCriticalNeverButAtTheQuota) {
  auto config = FederationConfig::preset("balanced").value();
  config.burst_ppm = 1'000'000;
  using Federation = Script<FederationRouter>;
  Federation script(config);
  script.say(Nanos{0}, federation::AddNetwork{"openai-cluster", 3, 900'000, 100, seconds(60)},
             [](const auto& router, const auto&) {
               EXPECT_TRUE(router.forecast(0, seconds(300)).low_confidence);
             });
  const auto expect = [&](std::uint32_t priority, Refusal refusal) {
    const std::size_t at = script.next();
    script.say(Nanos{0}, federation::Submit{0, 0, priority}, [=](const auto&, const auto& reply) {
      EXPECT_EQ(reply.refusal, refusal) << "priority " << priority;
      EXPECT_EQ(reply.retry_after.count() > 0, refusal != Refusal::none);
    });
    if (refusal != Refusal::none) return;
    script.say(Nanos{0}, [at](const Federation::Replies& replies) {
      return FederationCommand{federation::Cancel{replies[at].id}};
    });
  };
  int used = 0;
  const auto use = [&](int until) {
    for (; used < until; ++used) {
      script.say(Nanos{0}, federation::Submit{0, 0, 3});
      script.say(Nanos{0}, federation::DispatchNext{},
                 [](const auto&, const auto& reply) { EXPECT_TRUE(reply.any); });
    }
  };
  use(76);
  expect(0, Refusal::rejected_pressure);
  expect(1, Refusal::none);
  use(91);
  expect(1, Refusal::rejected_pressure);
  expect(2, Refusal::none);
  use(98);
  expect(2, Refusal::rejected_pressure);
  expect(3, Refusal::none);
  use(100);
  expect(3, Refusal::quota_exhausted);
  script.run(6);
}

TEST(ThreeWays, AnEventWaitsForItsCauses) {
  auto config = CausalityConfig::preset("small-cluster").value();
  config.self = 9;
  Script<VectorClockCausality> script(config);
  for (const std::uint64_t agent : {1U, 2U}) script.say(Nanos{0}, causal::AddMember{agent});
  script.say(Nanos{0}, causal::Receive{2, 1, 0, {{1, 1}, {2, 1}}, bytes("effect")},
             [](const auto& one, const auto& reply) {
               EXPECT_TRUE(reply.delivered.empty());
               EXPECT_EQ(one.missing().size(), 1U);
             });
  script.say(Nanos{0}, causal::Receive{1, 1, 0, {{1, 1}}, bytes("cause")},
             [](const auto&, const auto& reply) {
               ASSERT_EQ(reply.delivered.size(), 2U);
               EXPECT_EQ(reply.delivered[0].actor, 1U) << "the cause first";
             });
  script.say(Nanos{0}, causal::Receive{1, 1, 0, {{1, 1}}, bytes("cause")},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.code, Errc::duplicate); });
  script.run();
}

TEST(ThreeWays, AServiceIsFoundUntilItsLeaseEnds) {
  Script<ServiceDiscovery> script(DiscoveryConfig::preset("small-cluster").value());
  discovery::Register one;
  one.instance = "compute-001";
  one.type = "agent.compute";
  one.name = "GPT Worker";
  one.endpoint = "tls://10.0.0.7:4433";
  one.version = "1.2.0";
  one.locality = {"us-east", "a", ""};
  const auto resolve = [](const ServiceDiscovery& registry, Nanos now) {
    return registry.resolve_one("agent.compute", {.region = "us-east"}, now);
  };
  script.say(Nanos{0}, one, [=](const auto& registry, const auto&) {
    const auto best = resolve(registry, Nanos{0});
    ASSERT_TRUE(best);
    EXPECT_EQ(best->instance.content.instance, "compute-001");
    EXPECT_DOUBLE_EQ(best->breakdown.health, 1);
    EXPECT_DOUBLE_EQ(best->breakdown.locality, 0.7);
    EXPECT_DOUBLE_EQ(best->breakdown.load, 1);
    EXPECT_DOUBLE_EQ(best->breakdown.version, 1);
    EXPECT_DOUBLE_EQ(best->breakdown.latency, 0.5);
  });
  script.tick(seconds(14), [=](const auto& registry, const auto&) {
    EXPECT_TRUE(resolve(registry, seconds(14)));
  });
  script.tick(seconds(15), [=](const auto& registry, const auto&) {
    EXPECT_EQ(resolve(registry, seconds(15)).error().code, Errc::no_candidate);
  });
  script.say(seconds(15), discovery::Renew{"compute-001"},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.code, Errc::expired); });
  script.say(seconds(16), one, [=](const auto& registry, const auto& reply) {
    EXPECT_EQ(reply.incarnation, 2U);
    EXPECT_TRUE(resolve(registry, seconds(16)));
  });
  script.run();
}

TEST(ThreeWays, AQueueCommitsOnceUnderTheNewestFence) {
  using Queue = Script<ExactlyOnceQueue>;
  Queue script(testing::small_queue());
  once::Enqueue task = testing::task("task-1");
  task.affinity_key = "shard-a";
  const auto complete = [](std::size_t claim) {
    return [claim](const Queue::Replies& replies) {
      return ExactlyOnceQueueCommand{testing::done("task-1", replies[claim].tasks.at(0).fence)};
    };
  };
  const auto expect = [](Errc code) {
    return [code](const auto&, const auto& reply) { EXPECT_EQ(reply.code, code); };
  };
  script.say(Nanos{0}, task, expect(Errc::ok));
  const std::size_t first = script.next();
  script.say(Nanos{0}, testing::by("worker-1", 1));
  const std::size_t second = script.next();
  script.say(seconds(31), testing::by("worker-2", 2), [](const auto&, const auto& reply) {
    ASSERT_EQ(reply.tasks.size(), 1U) << "the lease is over";
  });
  script.say(seconds(32), complete(first), expect(Errc::stale_token));
  script.say(seconds(32), complete(second), expect(Errc::ok));
  script.say(seconds(33), complete(second), expect(Errc::ok));
  script.say(seconds(33), task, expect(Errc::duplicate));
  script.tick(seconds(34),
              [](const auto& queue, const auto&) { EXPECT_EQ(queue.counters().completed, 1U); });
  script.run();
}

TEST(ThreeWays, ALockIsHandedOverWithALargerTokenAndItsHoldersOutliveTheOwner) {
  using Locks = Script<LockManager>;
  Locks script(LockManagerConfig::preset("standard").value());
  const std::size_t first = script.next();
  script.say(Nanos{0}, testing::want(1, "shared-db", LockMode::x, 0),
             [](const auto& locks, const auto& reply) {
               EXPECT_EQ(reply.fence, 1U);
               EXPECT_EQ(locks.view("shared-db").first_holder, 1U);
             });
  script.say(
      ms(1), testing::want(2, "shared-db", LockMode::x, 1),
      [](const auto&, const auto& reply) { EXPECT_EQ(reply.refusal, Refusal::would_block); });
  script.say(ms(2), lock::Validate{"shared-db", 1},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.code, Errc::ok); });
  script.say(
      ms(3),
      [first](const Locks::Replies& replies) {
        return LockCommand{lock::Release{replies[first].grant, 0}};
      },
      [](const auto& locks, const auto& reply) {
        ASSERT_EQ(reply.news.size(), 1U);
        EXPECT_EQ(reply.news[0].fence, 2U);
        EXPECT_EQ(locks.view("shared-db").fence, 2U);
      });
  script.say(ms(4), lock::Validate{"shared-db", 1},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.code, Errc::stale_token); });
  script.run();
}

TEST(ThreeWays, APoolFreesOnReleaseOnExpiryAndWithItsStation) {
  using Pools = Script<ResourcePoolManager>;
  Pools script(ResourcePoolConfig::preset("small-host").value());
  auto wanted = testing::units(0, 0, 2);
  wanted.priority = 5;
  wanted.lease = seconds(60);
  wanted.purpose = "inference";
  const auto free = [](std::uint64_t left) {
    return [left](const auto& pools, const auto&) { EXPECT_EQ(pools.view(0).free, left); };
  };
  const auto release = [](std::size_t at) {
    return [at](const Pools::Replies& replies) {
      return ResourcePoolCommand{pool::Release{replies[at].reservation, 0}};
    };
  };
  const auto expect = [](Errc code) {
    return [code](const auto&, const auto& reply) { EXPECT_EQ(reply.code, code); };
  };
  script.say(Nanos{0}, compute_pool("gpu-cluster", 8));
  const std::size_t first = script.next();
  script.say(Nanos{0}, wanted, free(6));
  script.say(seconds(1), release(first), free(8));
  script.say(seconds(1), release(first), expect(Errc::not_owner));
  const std::size_t second = script.next();
  script.say(seconds(2), wanted, free(6));
  script.tick(seconds(62), free(8));
  script.say(seconds(62), release(second), expect(Errc::expired));
  script.say(seconds(63), wanted, free(6));
  script.say(seconds(64), pool::StationClosed{1}, free(8));
  script.run();
}

TEST(ThreeWays, TokensArePaidForStakedAndStillLockedAfterADeath) {
  auto config = TokenEconomyConfig::preset("agent-work").value();
  config.accounts_max = 4;
  Script<TokenEconomy> script(config);
  const auto whole = [](std::uint64_t tokens) {
    return amount_of(U128{tokens} * 1'000'000'000'000'000'000U);
  };
  const auto expect = [](Errc code) {
    return [code](const auto&, const auto& reply) { EXPECT_EQ(reply.code, code); };
  };
  script.say(Nanos{0}, token::Mint{1, whole(1'000), 0}, expect(Errc::insufficient_balance));
  script.say(Nanos{0}, token::DepositReserve{1, whole(20)});
  script.say(Nanos{0}, token::Mint{1, whole(1'000), 0}, [](const auto&, const auto& reply) {
    EXPECT_EQ(testing::text_of(reply.reserve), "10005000000000000000");
  });
  script.say(Nanos{0}, token::Stake{1, whole(500), 100},
             [=](const auto& economy, const auto& reply) {
               EXPECT_EQ(reply.free, whole(500));
               EXPECT_EQ(economy.balance(1).staked, whole(500));
             });
  script.say(seconds(1), token::Audit{}, expect(Errc::ok));
  script.say(seconds(2), token::Unstake{1, {}}, expect(Errc::wrong_state));
  script.run();
}

TEST(ThreeWays, AnAuctionGoesToTheBestScoreAtTheSecond) {
  Script<TaskAuction> script(testing::small_house());
  script.say(Nanos{0}, auction::AddCapability{"gpt-4"});
  for (std::uint32_t agent = 0; agent < 2; ++agent) {
    script.say(Nanos{0}, auction::SetAgent{agent, 1, 0});
  }
  script.say(Nanos{0}, auction::Open{"summarize-doc", 1});
  script.say(ms(1), testing::bid(0, 20'000, 200));
  script.say(ms(2), testing::bid(1, 10'000, 50));
  script.say(ms(3), testing::bid(2, 1, 1), [](const auto&, const auto& reply) {
    EXPECT_EQ(reply.refusal, Refusal::rejected_policy) << "without gpt-4";
  });
  script.say(seconds(5), auction::Resolve{0, false}, [](const auto&, const auto& reply) {
    ASSERT_EQ(reply.winners.size(), 1U);
    EXPECT_EQ(reply.winners[0].agent, 1U);
    EXPECT_EQ(reply.winners[0].score, -15'000);
    EXPECT_EQ(reply.winners[0].amount, 35'000);
  });
  script.say(seconds(5) + Nanos{1}, testing::bid(0, 5),
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.code, Errc::closed); });
  script.say(seconds(6), auction::Resolve{0, true},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.winners.at(0).amount, 35'000); });
  script.run();
}

TEST(ThreeWays, AnArbiterGrantsWithinTheBudgetAndChargesNothingForARefusal) {
  Script<ResourceContentionArbiter> script(testing::small_arbiter());
  script.say(Nanos{0}, contention::RegisterResource{"gpu-cluster", 8, true, true, "compute"});
  script.say(Nanos{0}, contention::SetBudget{0, 0, 4, seconds(60)});
  auto request = testing::ask(0, 3, 7, 200'000);
  request.utility_per_unit = 10'000'000;
  script.say(Nanos{0}, request, [](const auto& arbiter, const auto& reply) {
    EXPECT_EQ(reply.granted, 3U);
    EXPECT_EQ(reply.budget_left, 1U);
    EXPECT_EQ(arbiter.forecast(0, Nanos{0}).trend, Trend::stable);
    EXPECT_FALSE(arbiter.is_starved(0, Nanos{0}));
  });
  request.quantity = 2;
  script.say(ms(1), request, [](const auto&, const auto& reply) {
    EXPECT_EQ(reply.refusal, Refusal::quota_exhausted);
    EXPECT_EQ(reply.minimum, 2U);
  });
  script.say(ms(2), testing::ask(1, 6), [](const auto&, const auto& reply) {
    EXPECT_EQ(reply.refusal, Refusal::would_block);
  });
  script.say(ms(3), testing::ask(1, 9), [](const auto& arbiter, const auto& reply) {
    EXPECT_EQ(reply.code, Errc::insufficient_quantity);
    EXPECT_EQ(arbiter.held(0, 0), 3U);
  });
  script.run();
}

TEST(ThreeWays, TwoOfThreeAreAQuorumAndOneIsNot) {
  Script<ViewSynchronizer> script(testing::small_views());
  for (std::uint64_t agent = 1; agent <= 3; ++agent) {
    script.say(Nanos{0}, view::RegisterAgent{agent, 1, {}});
  }
  script.say(Nanos{0}, view::StartEpoch{});
  script.say(ms(1), view::ReceiveQc{testing::qc_of(0, {1, 2})}, [](const auto& views, auto& reply) {
    EXPECT_EQ(reply.outcome, ViewOutcome::entered);
    EXPECT_EQ(views.current_view(), 1U);
    EXPECT_EQ(views.leader(1), 2U);
  });
  script.say(ms(2), view::ReceiveQc{testing::qc_of(0, {1, 2})},
             [](const auto&, auto& reply) { EXPECT_EQ(reply.outcome, ViewOutcome::ignored); });
  script.say(ms(3), view::ReceiveQc{testing::qc_of(5, {1})}, [](const auto& views, auto& reply) {
    EXPECT_EQ(reply.code, Errc::verification_failed);
    EXPECT_EQ(views.current_view(), 1U);
  });
  script.run();
}

}  // namespace of_three_ways_test
}  // namespace mesh::coordination
