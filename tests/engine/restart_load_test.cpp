// Engines killed under load: what was committed arrives, once, in order, and nobody is lost.
#include <chrono>
#include <random>

#include "tests/engine/engine_process.hpp"
#include "tests/engine/test_table.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::testing {
namespace {

using engine::Answer;
using engine::Delivery;
using engine::SendOptions;
using engine::SendStatus;

constexpr std::size_t kStationsMax = 4;
constexpr std::uint64_t kSendsATurn = 16;
constexpr std::uint64_t kOutstandingMax = 512;  // sent and not replied to
// Room for all that is outstanding: what finds none is refused, and that is not tested here.
constexpr engine::MeshSize kRoomyMesh{.agents = 4'096, .stations = 8};

// What one station tells the test: each word has that station as its one writer.
struct Told {
  ShmWord<std::uint64_t> committed;  // messages to the next station, by their number from 1
  ShmWord<std::uint64_t> received;   // of the station before
  ShmWord<std::uint64_t> replies;    // to those committed
  ShmWord<std::uint64_t> gaps;       // a later message came first
  ShmWord<std::uint64_t> doubled;    // given to the handler twice
  ShmWord<std::uint64_t> refused;    // came back as a report
  ShmWord<std::uint64_t> dropped;    // duplicates that the station knew
  ShmWord<std::uint64_t> reattached;
  ShmWord<std::uint64_t> stopped;
};
struct Board {
  Told of[kStationsMax];
  ShmWord<std::uint64_t> stop;  // the test's
};

// Sends numbers to the next station's agent, and checks those of the station before.
int ring_member(const Channel& channel, Told& told, const Board& board, const std::string& name) {
  engine::StationOptions options;
  options.name = name;
  options.engine_patience = kForEver;
  auto attached = engine::Station::attach(channel.hear(), options);
  if (!attached) return 1;
  engine::Station& station = **attached;
  const auto ids = station.enrol(std::vector<engine::AgentDeclaration>{{name}});
  if (!ids) return 1;
  channel.tell(std::to_string(static_cast<std::uint64_t>(ids->front())));
  SendOptions to;
  to.source = ids->front();
  to.target = AgentId{std::stoull(channel.hear())};
  std::uint64_t next = 1;
  std::uint64_t expected = 1;
  std::uint64_t gaps = 0;
  std::uint64_t doubled = 0;
  std::uint64_t refused = 0;
  std::uint64_t replies = 0;
  while (!station.is_lost()) {
    station.poll(256, [&](const Delivery& delivery) {
      if (delivery.kind == sched::RecordKind::report) ++refused;
      if (delivery.kind == sched::RecordKind::reply) ++replies;
      if (!delivery.wants_answer()) return Answer::ready();
      std::uint64_t number = 0;
      std::memcpy(&number, delivery.body.data(), std::min(sizeof number, delivery.body.size()));
      if (number < expected) ++doubled;
      if (number > expected) ++gaps;
      if (number >= expected) expected = number + 1;
      return Answer::ready();
    });
    // SYNC is the death of the one process or the patience of the other: counts, each by itself.
    told.gaps.store_relaxed(gaps);                                     // relaxed: as above
    told.doubled.store_relaxed(doubled);                               // relaxed: as above
    told.refused.store_relaxed(refused);                               // relaxed: as above
    told.dropped.store_relaxed(station.core().counters().duplicates);  // relaxed: as above
    told.reattached.store_relaxed(station.reattached());               // relaxed: as above
    told.replies.store_relaxed(replies);                               // relaxed: as above
    told.received.store_relaxed(expected - 1);                         // relaxed: as above
    if (board.stop.load_relaxed() != 0) {                              // relaxed: as above
      told.stopped.store_relaxed(1);                                   // relaxed: as above
    } else {
      for (std::uint64_t i = 0; i < kSendsATurn && next - replies <= kOutstandingMax; ++i) {
        if (station.send(to, std::as_bytes(std::span(&next, 1))) != SendStatus::sent) break;
        ++next;
      }
      station.flush();
      told.committed.store_relaxed(next - 1);  // relaxed: as above
    }
    (void)station.wait(station.now() + Nanos{kNsPerMs});
  }
  channel.tell(std::string(name_of(station.lost_reason().code)) + ": " +
               station.lost_reason().sentence);
  return 0;
}

engine::EngineOptions roomy(const std::string& directory) {
  engine::EngineOptions options = engine_options(directory);
  options.size = kRoomyMesh;
  return options;
}

class RestartUnderLoad : public ::testing::TestWithParam<std::size_t> {};

INSTANTIATE_TEST_SUITE_P(Stations, RestartUnderLoad, ::testing::Values(1, 4),
                         [](const auto& one) { return std::to_string(one.param); });

TEST_P(RestartUnderLoad, LosesNothingThatWasCommittedAndKeepsItsOrder) {
  const std::size_t count = GetParam();
  const std::uint64_t kills = repeats(10);
  const ScratchDirectory directory;
  const SharedBytes memory((sizeof(Board) + 4'095) / 4'096 * 4'096);
  Board& board = *reinterpret_cast<Board*>(memory.bytes().data());
  std::vector<std::unique_ptr<Child>> stations;
  for (std::size_t i = 0; i < count; ++i) {
    stations.push_back(std::make_unique<Child>([&board, i](const Channel& channel) {
      return ring_member(channel, board.of[i], board, "member-" + std::to_string(i));
    }));
  }
  auto engine = std::make_unique<EngineProcess>(roomy(directory.path()));
  ASSERT_EQ(engine->hear(), "up");
  std::vector<std::string> ids;
  for (const auto& station : stations) {
    station->tell(directory.path());
    ids.push_back(station->hear());
    ASSERT_NE(ids.back(), kGone);
  }
  for (std::size_t i = 0; i < count; ++i) stations[i]->tell(ids[(i + 1) % count]);

  const auto sum = [&](ShmWord<std::uint64_t> Told::*word) {
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < count; ++i) all += (board.of[i].*word).load_relaxed();
    return all;
  };
  std::mt19937_64 random(seed());
  std::chrono::nanoseconds longest{0};
  for (std::uint64_t kill = 0; kill < kills; ++kill) {
    SCOPED_TRACE(kill);
    const std::uint64_t until = sum(&Told::received) + 1 + random() % 2'000;
    ASSERT_TRUE(eventually([&] { return sum(&Told::received) >= until; }));
    engine->kill();
    const std::uint64_t before = sum(&Told::received);
    const auto killed_at = std::chrono::steady_clock::now();
    engine = std::make_unique<EngineProcess>(roomy(directory.path()));
    ASSERT_EQ(engine->hear(), "up");
    // What was in inboxes goes on without an engine: back is who has heard of the new one.
    const std::uint64_t returns = (kill + 1) * count;
    ASSERT_TRUE(eventually([&] {
      return sum(&Told::reattached) >= returns && sum(&Told::received) > before;
    })) << engine->status();
    longest =
        std::max<std::chrono::nanoseconds>(longest, std::chrono::steady_clock::now() - killed_at);
  }
  board.stop.store_relaxed(1);
  ASSERT_TRUE(eventually([&] { return sum(&Told::stopped) == count; }));
  const bool all_arrived =
      eventually([&] { return sum(&Told::received) == sum(&Told::committed); });
  EXPECT_TRUE(all_arrived) << engine->status().dump(1);
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_EQ(board.of[(i + 1) % count].received.load_relaxed(),
              board.of[i].committed.load_relaxed())
        << i;
  }
  EXPECT_EQ(sum(&Told::gaps), 0U);
  EXPECT_EQ(sum(&Told::doubled), 0U) << "a duplicate was not marked";
  EXPECT_EQ(sum(&Told::refused), 0U);
  EXPECT_TRUE(eventually([&] { return sum(&Told::replies) >= sum(&Told::committed); }))
      << engine->status().dump(1);
  EXPECT_EQ(sum(&Told::replies), sum(&Told::committed));
  EXPECT_TRUE(eventually([&] { return engine->status()["in_use"]["messages"] == 0; }))
      << engine->status().dump(1);
  std::printf("%zu stations, %llu kills: %llu messages, %llu duplicates dropped, back in %lld ms\n",
              count, static_cast<unsigned long long>(kills),
              static_cast<unsigned long long>(sum(&Told::committed)),
              static_cast<unsigned long long>(sum(&Told::dropped)),
              static_cast<long long>(longest.count() / 1'000'000));
}

}  // namespace
}  // namespace mesh::testing
