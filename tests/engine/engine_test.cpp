// The engine and its stations, in processes of their own.
#include "engine/engine.hpp"

#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace {

using engine::Answer;
using engine::Delivery;
using engine::Engine;
using engine::SendOptions;
using engine::SendStatus;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// A station with one agent, `name`, that tells each text it is sent and answers READY.
int listener(const Channel& channel, const std::string& name) {
  const auto station = attach(channel, channel.hear());
  if (station == nullptr) return 1;
  const auto enrolled = station->enrol(std::vector<engine::AgentDeclaration>{{name}});
  if (!enrolled) {
    channel.tell(std::string(name_of(enrolled.error().code)));
    return 1;
  }
  channel.tell("enrolled");
  while (!station->is_lost()) {
    station->poll(256, [&](const Delivery& delivery) {
      channel.tell(std::string(delivery.text()));
      return Answer::ready();
    });
    (void)station->wait(station->now() + Nanos{kNsPerSecond});
  }
  channel.tell("lost");
  return 0;
}

TEST(Engine, BringsADirectMessageToAnAgentAndTakesItsAnswer) {
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) { return listener(channel, "alice"); });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  child.tell(directory.path());
  ASSERT_EQ(child.hear(), "enrolled");
  const auto alice = engine->find("alice");
  ASSERT_TRUE(alice.has_value()) << alice.error().sentence;
  ASSERT_TRUE(engine->send(*alice, bytes_of("hello")).has_value());
  EXPECT_EQ(child.hear(), "hello");
  EXPECT_TRUE(eventually([&] { return engine->status()->counters.answers == 1; }));
}

}  // namespace
}  // namespace mesh::testing
