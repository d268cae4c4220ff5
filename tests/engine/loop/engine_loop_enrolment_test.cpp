// Agents that come to a station: all that are asked for, or none.
#include <initializer_list>

#include "tests/engine/loop/loop_fixture.hpp"

namespace mesh::engine {
namespace of_engine_loop_enrolment_test {

using testing::LoopFixture;
using testing::must;
using testing::RawStation;

TEST(EngineLoopEnrolment, EnrolsAllThatAreAskedForTogetherOrNone) {
  LoopFixture mesh(4, 3);
  mesh.add(1, 1, "taken");
  RawStation station(StationId{2}, 3);
  ASSERT_TRUE(mesh.loop->attach(station.number, station.memory(), 1001));
  const auto enrol = [&](std::initializer_list<const char*> names) {
    std::vector<AgentSpec> specs;
    for (const char* const name : names) specs.push_back({name});
    return mesh.loop->enrol(station.number, specs);
  };
  const auto is_refused = [&](std::initializer_list<const char*> names, Errc why) {
    const std::size_t before = mesh.loop->agents_enrolled();
    const auto refused = enrol(names);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, why) << refused.error().sentence;
    EXPECT_EQ(mesh.loop->agents_enrolled(), before) << "some of them were enrolled";
  };
  is_refused({"one", "taken-0"}, Errc::name_taken);
  is_refused({"one", "\xff"}, Errc::invalid_argument);
  is_refused({"one", "two", "three", "four"}, Errc::capacity);  // more than it declared
  // A name twice is one agent, also where room is short.
  const auto ids = must(enrol({"one", "one", "two", "two"}));
  EXPECT_EQ(ids[0], ids[1]);
  EXPECT_EQ(ids[2], ids[3]);
  RawStation third(StationId{3}, 3);
  ASSERT_TRUE(mesh.loop->attach(third.number, third.memory(), 1001));
  const std::vector<AgentSpec> two{{"three"}, {"four"}};  // one row is free
  EXPECT_EQ(mesh.loop->enrol(third.number, two).error().code, Errc::capacity);
  EXPECT_EQ(mesh.loop->agents_enrolled(), 3U);
  ASSERT_TRUE(mesh.loop->enrol(third.number, std::span(two).first(1)));
  EXPECT_TRUE(mesh.loop->verify());
}

}  // namespace of_engine_loop_enrolment_test
}  // namespace mesh::engine
