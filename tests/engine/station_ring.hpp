// Stations at work in a ring, each in a process of its own, whatever becomes of their engine and of
// others: numbers go from each to the next, and every one is accounted for.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/engine/engine_process.hpp"
#include "tests/engine/test_table.hpp"

namespace mesh::testing {

inline constexpr std::size_t kRingStationsMax = 4;
inline constexpr std::uint64_t kSendsATurn = 16;
inline constexpr std::uint64_t kOutstandingMax = 512;  // sent and not replied to
// Room for all that is outstanding: what finds none is refused, and that is not tested here.
inline constexpr engine::MeshSize kRoomyMesh{.agents = 4'096, .stations = 8};

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
  Told of[kRingStationsMax];
  ShmWord<std::uint64_t> stop;  // the test's
};

// Sends numbers to the next station's agent, and checks those of the station before.
class RingMember {
 public:
  RingMember(engine::Station& station, AgentId source, AgentId target)
      : station_(station), to_{.source = source, .target = target} {}

  void turn(Told& told, bool stop) {
    station_.poll(256, [this](const engine::Delivery& delivery) { return hear(delivery); });
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
      if (station_.send(to_, std::as_bytes(std::span(&next_, 1))) != engine::SendStatus::sent)
        break;
      ++next_;
    }
    station_.flush();
    told.committed.store_relaxed(next_ - 1);  // relaxed: as above
  }

 private:
  engine::Answer hear(const engine::Delivery& delivery) {
    refused_ += delivery.kind == sched::RecordKind::report ? 1 : 0;
    replies_ += delivery.kind == sched::RecordKind::reply ? 1 : 0;
    if (!delivery.wants_answer()) return engine::Answer::ready();
    std::uint64_t number = 0;
    std::memcpy(&number, delivery.body.data(), std::min(sizeof number, delivery.body.size()));
    doubled_ += number < expected_ ? 1 : 0;
    gaps_ += number > expected_ ? 1 : 0;
    expected_ = std::max(expected_, number + 1);
    return engine::Answer::ready();
  }

  engine::Station& station_;
  engine::SendOptions to_;
  std::uint64_t next_ = 1, expected_ = 1;
  std::uint64_t gaps_ = 0, doubled_ = 0, refused_ = 0, replies_ = 0;
};

inline int ring_member(const Channel& channel, Told& told, const Board& board,
                       const std::string& name) {
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
  [[nodiscard]] std::string directory() const { return directory_.path(); }
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

}  // namespace mesh::testing
