// Every simulated world of the services, played again from its seed, comes to the same bytes: each
// message and answer, and what is left at the end. Another seed comes to others, so that what is
// compared says something. The mesh's own: tools/sim_test.cpp, chaos_scenarios_test.cpp.
#include <functional>

#include "tests/engine/coordination/gossip_net.hpp"
#include "tests/engine/coordination/lives.hpp"
#include "tests/engine/coordination/outbox_world.hpp"
#include "tests/engine/coordination/queue_world.hpp"
#include "tests/engine/coordination/swim_kit.hpp"
#include "tests/engine/coordination/throttle_loop.hpp"
#include "tests/engine/coordination/view_world.hpp"
#include "tests/engine/tasks/message_world.hpp"
#include "tests/engine/tasks/task_world.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_replays_test {

using namespace testing;
using Bytes = std::vector<std::byte>;

// --- hosts that gossip -------------------------------------------------------------------------

template <class Net>
void put_net(StateWriter& writer, const Net& net) {
  writer.put(net.trace());
  writer.put(net.messages());
  writer.put(net.bytes());
}

// Lost and doubled messages, word of something, a death and a return, two sides that meet again.
Bytes gossip_engines(std::uint64_t seed) {
  EngineNet net(seed, {0.1, 0.05});
  const auto config = small_gossip();
  start_engines(net, 6, config, seed);
  net.run_for(10 * kNsPerSecond);
  gossip::Broadcast word;
  word.payload = {std::byte{7}, std::byte{8}};
  net[2].engine.apply(word, Nanos{net.now_ns()});
  net.flush(2);
  net.kill(4);
  net.run_for(10 * kNsPerSecond);
  for (std::uint64_t host = 1; host <= 2; ++host) net.set_group(host, 1);
  net.run_for(10 * kNsPerSecond);
  net.heal();
  net.run_for(10 * kNsPerSecond);
  StateWriter writer;
  put_net(writer, net);
  for (std::uint64_t host = 1; host <= net.size(); ++host) {
    writer.put(std::span<const std::byte>(net[host].engine.snapshot().bytes));
    writer.put(net[host].delivered.size());
    writer.put(net[host].divergences.size());
  }
  return writer.take();
}

Bytes membership(std::uint64_t seed) {
  LossyNet<SwimNode> net(seed, {0.1, 0.05});
  for (std::uint64_t self = 1; self <= 10; ++self) {
    auto node =
        std::make_unique<SwimNode>(self, SwimMembership(config_of(self), seed * 1'000 + self));
    for (std::uint64_t id = 1; id <= 10; ++id) {
      if (id != self) node->part.add({id, 1, "a", ""}, 0, node->out);
    }
    node->out.clear();
    net.add(std::move(node), static_cast<std::int64_t>(net.rng().below(kNsPerSecond)));
  }
  net.run_for(10 * kNsPerSecond);
  net.kill(3);
  net.stall(5, net.now_ns() + 2 * kNsPerSecond);
  net.run_for(30 * kNsPerSecond);
  StateWriter writer;
  put_net(writer, net);
  return writer.take();
}

Bytes overlay(std::uint64_t seed) {
  LossyNet<OverlayNode> net(seed, {});
  OverlayConfig config;
  config.active = 5;
  for (std::uint64_t self = 1; self <= 40; ++self) {
    config.self = self;
    auto node = std::make_unique<OverlayNode>(self, HyParView(config, seed * 1'000 + self));
    if (self != 1) node->part.join_at(1 + net.rng().below(self - 1), node->out);
    net.add(std::move(node), static_cast<std::int64_t>(net.rng().below(kNsPerSecond)));
    net.flush(self);
    net.run_for(gossip_ms(100));
  }
  net.kill(7);
  net.run_for(30 * kNsPerSecond);
  StateWriter writer;
  put_net(writer, net);
  for (std::uint64_t host = 1; host <= net.size(); ++host) {
    for (const std::uint64_t peer : net[host].part.active()) writer.put(peer);
  }
  return writer.take();
}

// --- members that agree on a view, some of whom lie --------------------------------------------

Bytes views(std::uint64_t seed, SyncMode sync) {
  ViewPlan plan;
  plan.members = 7;
  plan.faulty = 2;
  plan.seed = seed;
  plan.deaths_ppm = sync == SyncMode::broadcast ? 5'000 : 0;
  plan.config.base_timeout = Nanos{500 * kNsPerMs};
  plan.config.max_timeout = Nanos{5'000 * kNsPerMs};
  plan.config.multiplier_ppm = 1'500'000;
  plan.config.delta = Nanos{50 * kNsPerMs};
  plan.config.sync = sync;
  ViewWorld world(plan);
  world.run(4, Nanos{60 * kNsPerSecond});
  StateWriter writer;
  writer.put(world.trace());
  for (const std::uint64_t number :
       {world.rounds(), world.sync_sent(), world.certified(), world.lost_views(), world.refused(),
        world.deaths(), world.highest_view(), world.violations()})
    writer.put(number);
  writer.put(world.first_qc_ns());
  return writer.take();
}

// --- services that die and go on from their journals -------------------------------------------

template <class World>
class MortalWorld {
 public:
  explicit MortalWorld(std::uint64_t seed) : world_(seed), rng_(seed + 1) {}
  Bytes lives(int count) {
    for (int i = 0; i < count; ++i) live();
    StateWriter writer;
    writer.put(told_);
    writer.put(deaths_);
    writer.put(journal_.last_sequence());
    writer.put(world_.now());
    const auto service = Journaled::open(World::config(), journal_);
    EXPECT_TRUE(service);
    if (service) writer.put(std::span<const std::byte>(service->service().snapshot().bytes));
    return writer.take();
  }

 private:
  using Journaled = JournaledService<typename World::Service>;

  void live() {
    left_ = 1 + rng_.below(120);
    JournalOptions options;
    options.context = this;
    options.at_step = [](void* self, CommitStep) {
      if (--static_cast<MortalWorld*>(self)->left_ == 0) throw Death{};
    };
    try {
      Lives<World>::live(world_, journal_, options, Rng(rng_.next()),
                         [this](std::span<const std::byte> frame) {
                           const std::uint64_t words[] = {told_, checksum(frame)};
                           told_ = checksum(std::as_bytes(std::span(words)));
                         });
    } catch (const Death&) {
      ++deaths_;
    }
    journal_.crash(rng_.below(journal_.unsynced_bytes() + 1));
  }

  World world_;
  Rng rng_;
  MemoryJournal journal_;
  std::uint64_t left_ = 0;
  std::uint64_t deaths_ = 0;
  std::uint64_t told_ = 0;
};
template <class World>
Bytes mortal(std::uint64_t seed) {
  return MortalWorld<World>(seed).lives(40);
}

// --- routers on a bad network, a governor before a slow server ---------------------------------

Bytes messages(std::uint64_t seed) {
  auto config = tasks::testing::small_router();
  config.messages_max = 256;
  config.pairs_max = 256;
  config.queue_max = 64;
  tasks::testing::MessageWorld world(config, {30, 30, 10, 400, 2}, seed);
  world.run(100);
  StateWriter writer;
  writer.put(world.now());
  writer.put(world.acked());
  writer.put(world.duplicates());
  for (std::uint32_t host = 0; host < tasks::testing::MessageWorld::kHosts; ++host)
    writer.put(std::span<const std::byte>(world.router(host).snapshot().bytes));
  return writer.take();
}

Bytes throttles(std::uint64_t seed) {
  ThrottleLoop loop(2, seed, 5);
  loop.run_until(60, 40);
  StateWriter writer;
  for (const auto& [at, latency] : loop.latencies) {
    writer.put(at);
    writer.put(latency);
  }
  for (const auto& [at, rates] : loop.history) {
    for (const double rate : rates) writer.put(rate);
  }
  return writer.take();
}

// --- all of them -------------------------------------------------------------------------------

struct Played {
  const char* name;
  std::function<Bytes(std::uint64_t seed)> play;
};
void PrintTo(const Played& played, std::ostream* out) { *out << played.name; }

class Replay : public ::testing::TestWithParam<Played> {};

TEST_P(Replay, OfASeedComesToTheSameBytesAndOfAnotherToOthers) {
  const std::uint64_t seed = mesh::testing::seed();
  const Bytes first = GetParam().play(seed);
  ASSERT_FALSE(first.empty());
  EXPECT_EQ(GetParam().play(seed), first);
  EXPECT_NE(GetParam().play(seed + 1), first);
}

INSTANTIATE_TEST_SUITE_P(
    Worlds, Replay,
    ::testing::Values(
        Played{"gossip_engines", gossip_engines}, Played{"membership", membership},
        Played{"overlay", overlay},
        Played{"views", [](std::uint64_t seed) { return views(seed, SyncMode::broadcast); }},
        Played{"views_over_relays",
               [](std::uint64_t seed) { return views(seed, SyncMode::linear); }},
        Played{"views_by_epochs", [](std::uint64_t seed) { return views(seed, SyncMode::epochs); }},
        Played{"queue", mortal<QueueWorld>}, Played{"outbox", mortal<OutboxWorld>},
        Played{"task_scheduler", mortal<tasks::testing::TaskWorld>},
        Played{"message_routers", messages}, Played{"throttle_governors", throttles}),
    [](const auto& its) { return std::string(its.param.name); });

}  // namespace of_replays_test
}  // namespace mesh::coordination
