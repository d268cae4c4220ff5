// Engines killed under load: what was committed arrives, once, in order, and nobody is lost.
#include <chrono>
#include <random>

#include "shm/base/point.hpp"
#include "tests/engine/engine_process.hpp"
#include "tests/engine/test_table.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::testing {
namespace of_restart_load_test {

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
class RingMember {
 public:
  RingMember(engine::Station& station, AgentId source, AgentId target)
      : station_(station), to_{.source = source, .target = target} {}

  void turn(Told& told, bool stop) {
    station_.poll(256, [this](const Delivery& delivery) { return hear(delivery); });
    // The order of their stores does not matter: the test waits until nothing changes any more.
    told.gaps.store_relaxed(gaps_);                                     // relaxed: as above
    told.doubled.store_relaxed(doubled_);                               // relaxed: as above
    told.refused.store_relaxed(refused_);                               // relaxed: as above
    told.dropped.store_relaxed(station_.core().counters().duplicates);  // relaxed: as above
    told.reattached.store_relaxed(station_.reattached());               // relaxed: as above
    told.replies.store_relaxed(replies_);                               // relaxed: as above
    told.received.store_relaxed(expected_ - 1);                         // relaxed: as above
    if (stop) return told.stopped.store_relaxed(1);                     // relaxed: as above
    for (std::uint64_t i = 0; i < kSendsATurn && next_ - replies_ <= kOutstandingMax; ++i) {
      if (station_.send(to_, std::as_bytes(std::span(&next_, 1))) != SendStatus::sent) break;
      ++next_;
    }
    station_.flush();
    told.committed.store_relaxed(next_ - 1);  // relaxed: as above
  }

 private:
  Answer hear(const Delivery& delivery) {
    refused_ += delivery.kind == sched::RecordKind::report ? 1 : 0;
    replies_ += delivery.kind == sched::RecordKind::reply ? 1 : 0;
    if (!delivery.wants_answer()) return Answer::ready();
    std::uint64_t number = 0;
    std::memcpy(&number, delivery.body.data(), std::min(sizeof number, delivery.body.size()));
    doubled_ += number < expected_ ? 1 : 0;
    gaps_ += number > expected_ ? 1 : 0;
    expected_ = std::max(expected_, number + 1);
    return Answer::ready();
  }

  engine::Station& station_;
  SendOptions to_;
  std::uint64_t next_ = 1, expected_ = 1;
  std::uint64_t gaps_ = 0, doubled_ = 0, refused_ = 0, replies_ = 0;
};

int ring_member(const Channel& channel, Told& told, const Board& board, const std::string& name) {
  engine::StationOptions options;
  options.name = name;
  options.engine_patience = kForEver;
  auto station = engine::Station::attach(channel.hear(), options);
  if (!station) return 1;
  const auto ids = (*station)->enrol(std::vector<engine::AgentDeclaration>{{name}});
  if (!ids) return 1;
  channel.tell(std::to_string(static_cast<std::uint64_t>(ids->front())));
  RingMember member(**station, ids->front(), AgentId{std::stoull(channel.hear())});
  while (!(*station)->is_lost()) {
    member.turn(told, board.stop.load_relaxed() != 0);  // relaxed: it is seen sooner or later
    (void)(*station)->wait((*station)->now() + Nanos{kNsPerMs});
  }
  channel.tell(std::string(name_of((*station)->lost_reason().code)));
  return 0;
}

// Stations at work in a ring, whatever becomes of their engine.
class Ring {
 public:
  explicit Ring(std::size_t count)
      : count_(count),
        memory_((sizeof(Board) + 4'095) / 4'096 * 4'096),
        board_(*reinterpret_cast<Board*>(memory_.bytes().data())) {
    for (std::size_t i = 0; i < count_; ++i) {
      stations_.push_back(std::make_unique<Child>([this, i](const Channel& channel) {
        return ring_member(channel, board_.of[i], board_, "member-" + std::to_string(i));
      }));
    }
  }
  // Once an engine runs.
  void begin() {
    std::vector<std::string> ids;
    for (const auto& station : stations_) {
      station->tell(directory_.path());
      ids.push_back(station->hear());
      ASSERT_NE(ids.back(), kGone);
    }
    for (std::size_t i = 0; i < count_; ++i) stations_[i]->tell(ids[(i + 1) % count_]);
  }
  // Until as many more messages have arrived.
  [[nodiscard]] bool goes_on(std::uint64_t more) const {
    const std::uint64_t until = sum(&Told::received) + more;
    return eventually([&] { return sum(&Told::received) >= until; });
  }
  [[nodiscard]] std::uint64_t sum(ShmWord<std::uint64_t> Told::*word) const {
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      all += (board_.of[i].*word).load_relaxed();  // relaxed: a count
    }
    return all;
  }
  // Nobody sends any more; all that was committed arrives, and nothing else.
  void settle(const EngineProcess& engine) {
    board_.stop.store_relaxed(1);  // relaxed: it is seen sooner or later
    ASSERT_TRUE(eventually([&] { return sum(&Told::stopped) == count_; }));
    const auto settled = [&] {
      return sum(&Told::received) == sum(&Told::committed) &&
             sum(&Told::replies) >= sum(&Told::committed) &&
             engine.status()["in_use"]["messages"] == 0;
    };
    EXPECT_TRUE(eventually(settled)) << engine.status().dump(1);
    for (std::size_t i = 0; i < count_; ++i) {
      EXPECT_EQ(board_.of[(i + 1) % count_].received.load_relaxed(),
                board_.of[i].committed.load_relaxed())
          << i;
    }
    EXPECT_EQ(sum(&Told::gaps), 0U);
    EXPECT_EQ(sum(&Told::doubled), 0U) << "a duplicate was not marked";
    EXPECT_EQ(sum(&Told::refused), 0U);
    EXPECT_EQ(sum(&Told::replies), sum(&Told::committed));
  }
  [[nodiscard]] engine::EngineOptions options() const {
    engine::EngineOptions options = engine_options(directory_.path());
    options.size = kRoomyMesh;
    return options;
  }

 private:
  std::size_t count_;
  ScratchDirectory directory_;
  SharedBytes memory_;
  Board& board_;
  std::vector<std::unique_ptr<Child>> stations_;
};

class RestartUnderLoad : public ::testing::TestWithParam<std::size_t> {};

INSTANTIATE_TEST_SUITE_P(Stations, RestartUnderLoad, ::testing::Values(1, 4),
                         [](const auto& one) { return std::to_string(one.param); });

TEST_P(RestartUnderLoad, LosesNothingThatWasCommittedAndKeepsItsOrder) {
  Ring ring(GetParam());
  auto engine = std::make_unique<EngineProcess>(ring.options());
  ASSERT_EQ(engine->hear(), "up");
  ASSERT_NO_FATAL_FAILURE(ring.begin());
  std::mt19937_64 random(seed());
  std::vector<double> back_ms;
  for (Repeats kills(10); kills.next();) {
    SCOPED_TRACE(kills.count());
    ASSERT_TRUE(ring.goes_on(1 + random() % 2'000));
    engine->kill();
    const auto killed_at = std::chrono::steady_clock::now();
    engine = std::make_unique<EngineProcess>(ring.options());
    ASSERT_EQ(engine->hear(), "up");
    // What was in inboxes goes on without an engine: back is who has heard of the new one.
    const std::uint64_t returns = kills.count() * GetParam();
    ASSERT_TRUE(eventually([&] { return ring.sum(&Told::reattached) >= returns; }));
    ASSERT_TRUE(ring.goes_on(1));
    back_ms.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - killed_at)
            .count());
  }
  ring.settle(*engine);
  std::sort(back_ms.begin(), back_ms.end());
  std::printf(
      "%zu stations, %zu kills: %llu messages, %llu duplicates dropped, service back after %.0f ms "
      "(median), %.0f ms (most)\n",
      GetParam(), back_ms.size(), static_cast<unsigned long long>(ring.sum(&Told::committed)),
      static_cast<unsigned long long>(ring.sum(&Told::dropped)), back_ms[back_ms.size() / 2],
      back_ms.back());
}

#ifdef MESH_FAULTS
constexpr bool kHasPoints = true;
#else
constexpr bool kHasPoints = false;
#endif

TEST(RestartUnderLoadAtPoints, LosesNothingWhereverTheEngineDies) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS: ./dev asan has it";
  Ring ring(2);
  {
    EngineProcess first(ring.options());
    ASSERT_EQ(first.hear(), "up");
    ASSERT_NO_FATAL_FAILURE(ring.begin());
    ASSERT_TRUE(ring.goes_on(100));
    first.kill();
  }
  for (const char* const point :
       {"loop.tick:after_intake", "loop.tick:after_dispatch", "loop.tick:before_reveal",
        "loop.tick:after_reveal", "loop.tick:after_settle", "loop.settle:before_taken",
        "unanswered.accept:before_state", "unanswered.deliver:before_state",
        "payload.commit:before_entry", "payload.commit:before_head", "payload.commit:after_head",
        "payload.entry:before_stamp", "payload.advance_tail:before_tail",
        "payload.advance_tail:after_tail", "spsc.reveal:before_stamp", "spsc.reveal:after_stamp",
        "spsc.take_over:before_wipe", "clock.publish:odd", "clock.publish:before_even"}) {
    for (const unsigned count : {1U, 2U, 50U}) {
      if (count == 50 && std::string_view(point).substr(0, 4) != "loop") continue;
      SCOPED_TRACE(::testing::Message() << point << " " << count);
      const EngineProcess dying(ring.options(), [point, count] {
        points::arm(
            point, count, [](void*) { ::kill(::getpid(), SIGKILL); }, nullptr);
      });
      ASSERT_TRUE(dying.dies()) << "the point was not reached";
    }
  }
  EngineProcess last(ring.options());
  ASSERT_EQ(last.hear(), "up");
  ASSERT_TRUE(ring.goes_on(1'000));
  ring.settle(last);
}

}  // namespace of_restart_load_test
}  // namespace mesh::testing
