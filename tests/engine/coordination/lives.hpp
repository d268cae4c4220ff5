// One durable service through thousands of lives. Its clients, the world, outlive each death: what
// was answered they know, what was not they send again under the same number. The service's own
// memory is the journal alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination::testing {

// What of a life its world gets to know, in bytes: they cross a pipe where the life is a process.
using Told = std::function<void(std::span<const std::byte>)>;

// A World has: Service, config(), clients(), command(i), sequence(i), now(), answered(i, now,
// reply), note(service, actions, writer) (what of a tick leaves the service), ticked(now, reader).
template <class World>
class Lives {
 public:
  using Service = typename World::Service;
  using Journaled = JournaledService<Service>;

  // Lives on `journal` until something kills it, or for `turns`.
  static void live(World& world, Journal& journal, JournalOptions options, Rng rng,
                   const Told& told) {
    options.replies_max = 32;  // few, so that they are forgotten, too
    auto service = Journaled::open(World::config(), journal, options);
    ASSERT_TRUE(service) << service.error().sentence;
    const auto sound = service->service().verify();
    ASSERT_TRUE(sound) << sound.error().sentence;
    constexpr int kTurns = 24;
    for (int turn = 0; turn < kTurns; ++turn) {
      const Nanos now = world.now() + Nanos{static_cast<std::int64_t>(rng.below(3'000)) * kNsPerMs};
      burst(world, *service, now, rng, told);
      if (rng.below(3) != 0) tick(world, *service, now, told);
      if (rng.below(6) == 0) {
        const auto kept = service->checkpoint();
        ASSERT_TRUE(kept) << kept.error().sentence;
      }
    }
  }
  // What `told` was given, to a world that was not there.
  static void hear(World& world, std::span<const std::byte> bytes) {
    StateReader reader(bytes);
    const auto client = reader.get<std::uint32_t>();
    const auto now = reader.get<Nanos>();
    if (client == kTick) {
      world.ticked(now, reader);
    } else {
      world.answered(client, now, Service::decode_reply(reader));
    }
    ASSERT_FALSE(reader.failed());
  }

 private:
  static constexpr std::uint32_t kTick = UINT32_MAX;

  static void burst(World& world, Journaled& service, Nanos now, Rng& rng, const Told& told) {
    std::vector<typename Journaled::Request> requests;
    std::vector<std::uint32_t> who;
    for (std::uint32_t i = 0; i < world.clients(); ++i) {
      if (rng.below(2) == 0) continue;
      who.push_back(i);
      requests.push_back({{i + 1, world.sequence(i)}, world.command(i)});
    }
    const auto replies = service.execute(requests, now);
    ASSERT_TRUE(replies) << replies.error().sentence;
    for (std::size_t i = 0; i < who.size(); ++i) {
      StateWriter frame;
      frame.put(who[i]);
      frame.put(now);
      Service::encode((*replies)[i], frame);
      told(frame.bytes());
      hear(world, frame.bytes());
    }
  }
  static void tick(World& world, Journaled& service, Nanos now, const Told& told) {
    typename Service::Actions actions{};
    const auto ticked = service.tick(now, actions);
    ASSERT_TRUE(ticked) << ticked.error().sentence;
    StateWriter frame;
    frame.put(kTick);
    frame.put(now);
    World::note(service.service(), actions, frame);
    told(frame.bytes());
    hear(world, frame.bytes());
  }
};

}  // namespace mesh::coordination::testing
