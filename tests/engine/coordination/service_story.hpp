// What ServiceBytes tests tell a service: each of its commands, and the checksum of what came of
// it.
#pragma once

#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination::testing {

constexpr Nanos story_ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

// Checksum of all commands, replies and the last snapshot, in the order in which they came.
template <DurableService Service>
std::uint64_t story(const typename Service::Config& config,
                    const std::vector<typename Service::Command>& commands) {
  Service service(config, 7);
  StateWriter all;
  std::vector<bool> told(std::variant_size_v<typename Service::Command>);
  Nanos now{0};
  for (const auto& command : commands) {
    now += story_ms(10);
    told[command.index()] = true;
    StateWriter one;
    Service::encode(command, one);
    StateReader reader(one.bytes());
    StateWriter again;
    Service::encode(Service::decode_command(reader), again);
    EXPECT_TRUE(reader.finish("command"));
    EXPECT_EQ(checksum(again.bytes()), checksum(one.bytes()));
    all.append(one.bytes());
    StateWriter reply;
    Service::encode(service.apply(command, now), reply);
    StateReader answered(reply.bytes());
    StateWriter repeated;
    Service::encode(Service::decode_reply(answered), repeated);
    EXPECT_TRUE(answered.finish("reply"));
    EXPECT_EQ(checksum(repeated.bytes()), checksum(reply.bytes()));
    all.append(reply.bytes());
    typename Service::Actions actions{};
    service.tick(now, actions);
  }
  for (std::size_t i = 0; i < told.size(); ++i) EXPECT_TRUE(told[i]) << "no command " << i;
  const auto sound = service.verify();
  EXPECT_TRUE(sound) << sound.error().sentence;
  all.append(service.snapshot().bytes);
  return checksum(all.bytes());
}

}  // namespace mesh::coordination::testing
