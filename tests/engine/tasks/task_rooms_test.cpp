// What every room of the family has from the pattern.
#include "engine/conflict/conflict_handler.hpp"
#include "engine/tasks/coordination_manager.hpp"
#include "engine/tasks/dependency_graph.hpp"
#include "engine/tasks/event_bus.hpp"
#include "engine/tasks/message_router.hpp"
#include "engine/tasks/metric_store.hpp"
#include "engine/tasks/resource_manager.hpp"
#include "engine/tasks/task_scheduler.hpp"
#include "engine/tasks/work_stealing.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::tasks {
namespace of_task_rooms_test {

template <class Service>
class EveryTaskRoom : public ::testing::Test {};
using TaskRooms =
    ::testing::Types<ConflictHandler, CoordinationManager, DependencyGraph, EventBus, MessageRouter,
                     MetricStore, ResourceManager, TaskScheduler, WorkStealing>;
TYPED_TEST_SUITE(EveryTaskRoom, TaskRooms);

TYPED_TEST(EveryTaskRoom, RefusesInstantsThatCannotBe) {
  TypeParam service({}, 1);
  const std::uint64_t hash = service.state_hash();
  std::uint64_t refused = 0;
  for (const std::int64_t ns : {std::int64_t{-1}, INT64_MIN, kInstantMaxNs + 1, INT64_MAX}) {
    const auto reply = service.apply(typename TypeParam::Command{}, Nanos{ns});
    EXPECT_NE(reply.code, Errc::ok) << ns;
    EXPECT_EQ(service.counters().refused, ++refused) << ns;
    typename TypeParam::Actions actions{};
    service.tick(Nanos{ns}, actions);
  }
  EXPECT_EQ(service.state_hash(), hash);
  EXPECT_EQ(service.clock_regressions(), 0U) << "an instant that cannot be is no instant";
  typename TypeParam::Actions actions{};
  service.tick(Nanos{kInstantMaxNs}, actions);  // the last one is one
  EXPECT_TRUE(service.verify());
}

TYPED_TEST(EveryTaskRoom, RefusesALogOfEventsWithoutEnd) {
  for (const std::uint32_t count : {0U, kEventsMax + 1, UINT32_MAX}) {
    typename TypeParam::Config config;
    config.events_max = count;
    const auto judged = TypeParam::validate(config);
    ASSERT_FALSE(judged) << count;
    EXPECT_EQ(judged.error().code, Errc::invalid_config);
    EXPECT_NE(judged.error().sentence.find("events_max"), std::string::npos);
  }
}

TYPED_TEST(EveryTaskRoom, NamesItsPresetsWhenAskedForAnother) {
  const auto none = TypeParam::Config::preset("no-such");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::unknown_preset);
  for (const auto name : TypeParam::Config::names()) {
    EXPECT_NE(none.error().sentence.find(name), std::string::npos) << name;
    EXPECT_TRUE(TypeParam::validate(TypeParam::Config::preset(name).value())) << name;
  }
}

TYPED_TEST(EveryTaskRoom, RefusesBytesThatAreNoCommand) {
  for (const std::size_t index :
       {std::variant_size_v<typename TypeParam::Command>, std::size_t{255}}) {
    const std::array bytes{static_cast<std::byte>(index)};
    StateReader reader(bytes);
    TypeParam::decode_command(reader);
    EXPECT_EQ(reader.finish("command").error().code, Errc::corrupt);
  }
}

}  // namespace of_task_rooms_test
}  // namespace mesh::tasks
