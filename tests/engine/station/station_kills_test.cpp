// A station killed again and again, at whatever moment, and now and then its engine, while another
// exchanges numbers with it and four more go on working: what was committed arrives, in order, what
// comes twice says so, and nobody else notices.
#include <random>

#include "tests/engine/station_ring.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::testing {
namespace of_station_kills_test {

using engine::Answer;
using engine::Delivery;
using engine::SendOptions;
using engine::SendStatus;

constexpr std::size_t kWorking = 4;
constexpr std::uint64_t kAhead = 128;          // sent and not replied to
constexpr std::uint32_t kManyDeaths = 20'000;  // more than a window has

// A number of one life: ordered by the life first.
struct Numbered {
  std::uint32_t life = 0;
  std::uint32_t number = 0;
};
constexpr std::uint64_t pack(Numbered of) { return (std::uint64_t{of.life} << 32) | of.number; }

// Each word has one writer: the struck station, whichever life it lives, or its partner.
struct Exchange {
  // The struck station's.
  ShmWord<std::uint64_t> committed;  // to its partner: pack()ed
  ShmWord<std::uint64_t> handled;    // the last number of its partner's
  ShmWord<std::uint64_t> again;      // given to it a second time, and marked as that
  ShmWord<std::uint64_t> unmarked;   // the same, and not marked
  ShmWord<std::uint64_t> gaps;       // a later number came first
  // Its partner's.
  ShmWord<std::uint64_t> sent;  // committed to the struck station
  ShmWord<std::uint64_t> replies;
  ShmWord<std::uint64_t> heard;         // the last of the struck station's: pack()ed
  ShmWord<std::uint64_t> out_of_order;  // of the struck station's: early, late, or a second time
  ShmWord<std::uint64_t> reports;       // refused
  ShmWord<std::uint64_t> reattached;
  ShmWord<std::uint64_t> stopped;
  // The test's.
  ShmWord<std::uint64_t> stop;
};

// relaxed, both: whoever reads waits until it has what it waits for.
std::uint64_t of(const ShmWord<std::uint64_t>& word) { return word.load_relaxed(); }
void add_one(ShmWord<std::uint64_t>& word) { word.store_relaxed(of(word) + 1); }

template <class T>
T body_of(const Delivery& delivery) {
  T value{};
  std::memcpy(&value, delivery.body.data(), std::min(sizeof value, delivery.body.size()));
  return value;
}

std::unique_ptr<engine::Station> enrolled(const Channel& channel, const std::string& name,
                                          SendOptions& to) {
  engine::StationOptions options;
  options.name = name;
  options.engine_patience = kForEver;
  options.connect.patience = kForEver;
  auto station = engine::Station::attach(channel.hear(), options);
  if (!station) return nullptr;
  const auto ids = (*station)->enrol(std::vector<engine::AgentDeclaration>{{name}});
  if (!ids) return nullptr;
  to.source = ids->front();
  channel.tell(std::to_string(static_cast<std::uint64_t>(ids->front())));
  to.target = AgentId{std::stoull(channel.hear())};
  return std::move(*station);
}

// Never killed.
int partner(const Channel& channel, Exchange& board) {
  SendOptions to;
  const auto station = enrolled(channel, "partner", to);
  if (station == nullptr) return 1;
  const auto hear = [&](const Delivery& delivery) {
    if (delivery.kind == sched::RecordKind::report) add_one(board.reports);
    if (delivery.kind == sched::RecordKind::reply) add_one(board.replies);
    if (!delivery.wants_answer()) return Answer::ready();
    const auto got = body_of<Numbered>(delivery);
    const std::uint64_t last = of(board.heard);
    const bool is_next = pack(got) == last + 1 || (got.life > last >> 32 && got.number == 1);
    if (!is_next) add_one(board.out_of_order);
    board.heard.store_relaxed(std::max(last, pack(got)));  // relaxed: as at of()
    return Answer::ready();
  };
  while (!station->is_lost()) {
    station->poll(256, hear);
    board.reattached.store_relaxed(station->reattached());    // relaxed: as at of()
    if (of(board.stop) != 0) board.stopped.store_relaxed(1);  // relaxed: as at of()
    for (int i = 0; i < 16 && of(board.stop) == 0 && of(board.sent) - of(board.replies) < kAhead;
         ++i) {
      const std::uint64_t next = of(board.sent) + 1;
      if (station->send(to, std::as_bytes(std::span(&next, 1))) != SendStatus::sent) break;
      board.sent.store_relaxed(next);  // relaxed: it is not killed before the flush
    }
    station->flush();
    (void)station->wait(station->now() + Nanos{kNsPerMs});
  }
  return 0;
}

// One life of the station that is struck.
int struck(const Channel& channel, Exchange& board, std::uint32_t life) {
  SendOptions to;
  const auto station = enrolled(channel, "struck", to);
  if (station == nullptr) return 1;
  std::uint64_t outstanding =
      0;  // of its own; to what a life before has sent it hears replies, too
  std::vector<engine::Reply> held;  // handled, and answered a turn later: a death comes between
  const auto hear = [&](const Delivery& delivery, engine::Reply reply) {
    if (delivery.kind == sched::RecordKind::reply && outstanding != 0) --outstanding;
    if (!delivery.wants_answer()) return;
    const auto number = body_of<std::uint64_t>(delivery);
    const std::uint64_t expected = of(board.handled) + 1;
    if (number < expected) add_one(delivery.redelivered ? board.again : board.unmarked);
    if (number > expected) add_one(board.gaps);
    board.handled.store_relaxed(std::max(number, expected - 1));  // relaxed: as at of()
    held.push_back(std::move(reply));
  };
  Numbered next{life, 1};
  while (!station->is_lost()) {
    for (engine::Reply& reply : std::exchange(held, {}))
      station->answer(std::move(reply), Answer::ready());
    station->poll(256, hear);
    for (int i = 0; i < 16 && of(board.stop) == 0 && outstanding < kAhead; ++i) {
      if (station->send(to, std::as_bytes(std::span(&next, 1))) != SendStatus::sent) break;
      ++next.number;
      ++outstanding;
    }
    station->flush();
    if (next.number > 1) board.committed.store_relaxed(pack({life, next.number - 1}));  // as above
    (void)station->wait(station->now() + Nanos{kNsPerMs});
  }
  return 0;
}

class StationKills : public ::testing::Test {
 protected:
  StationKills()
      : memory_(4'096),
        board_(*reinterpret_cast<Exchange*>(memory_.bytes().data())),
        ring_(kWorking),
        partner_([this](const Channel& channel) { return partner(channel, board_); }),
        options_(ring_.options()) {
    // That it dies is nothing new here: its cluster goes on.
    options_.loop.watch.breakers.cluster_failures_max = kManyDeaths;
    options_.loop.watch.breakers.sector_failures_max = kManyDeaths;
    options_.stuck_after = kForEver;
  }
  void begin() {
    engine_ = std::make_unique<EngineProcess>(options_);
    ASSERT_EQ(engine_->hear(), "up");
    ASSERT_NO_FATAL_FAILURE(ring_.begin());
    partner_.tell(ring_.directory());
    partner_id_ = partner_.hear();
    ASSERT_NE(partner_id_, kGone);
    ASSERT_NO_FATAL_FAILURE(rise());
    partner_.tell(struck_id_);
  }
  // Another life of the station that is struck: the same agent.
  void rise() {
    struck_ = std::make_unique<Child>(
        [this, life = ++lives_](const Channel& channel) { return struck(channel, board_, life); });
    struck_->tell(ring_.directory());
    const std::string id = struck_->hear();
    ASSERT_NE(id, kGone);
    if (lives_ > 1) {
      ASSERT_EQ(id, struck_id_) << "it is another agent";
    }
    struck_id_ = id;
    struck_->tell(partner_id_);
  }
  // Until as many more have come each way between the two of them.
  [[nodiscard]] bool exchanges(std::uint64_t more) const {
    const std::uint64_t handled = of(board_.handled) + more;
    const std::uint64_t heard = std::max(of(board_.heard), pack({lives_, 0})) + more;
    return eventually([&] { return of(board_.handled) >= handled && of(board_.heard) >= heard; });
  }
  // Everybody who lives is back, and goes on.
  void kill_engine() {
    engine_->kill();
    engine_ = std::make_unique<EngineProcess>(options_);
    ASSERT_EQ(engine_->hear(), "up");
    ++engine_kills_;
    ASSERT_TRUE(eventually([&] {
      return ring_.sum(&Told::reattached) >= kWorking * engine_kills_ &&
             of(board_.reattached) >= engine_kills_;
    }));
    ASSERT_TRUE(ring_.goes_on(1));
  }
  // What it had committed arrives although it is gone, and the others go on meanwhile.
  void strike() {
    struck_->end();
    const std::uint64_t committed = of(board_.committed);
    EXPECT_TRUE(ring_.goes_on(1 + random_() % 200));
    ASSERT_TRUE(eventually([&] { return of(board_.heard) >= committed; }))
        << of(board_.heard) - committed << " of what it committed did not arrive";
  }
  // Nobody sends any more: all that was sent has come, once or marked, and was answered once.
  void settle() {
    ASSERT_TRUE(exchanges(1));
    board_.stop.store_relaxed(1);  // relaxed: it is seen sooner or later
    ASSERT_TRUE(eventually([&] { return of(board_.stopped) == 1; }));
    EXPECT_TRUE(eventually([&] {
      return of(board_.handled) == of(board_.sent) && of(board_.replies) == of(board_.sent) &&
             of(board_.heard) == of(board_.committed);
    })) << of(board_.sent)
        << " sent, " << of(board_.handled) << " handled, " << of(board_.replies) << " replies, "
        << of(board_.heard) << " heard, " << of(board_.committed) << " committed";
    EXPECT_EQ(of(board_.gaps), 0U);
    EXPECT_EQ(of(board_.unmarked), 0U) << "a duplicate was not marked";
    EXPECT_EQ(of(board_.out_of_order), 0U);
    EXPECT_EQ(of(board_.reports), 0U);
    ring_.settle(*engine_);
    // The others learn of an engine's death, and of nothing else.
    EXPECT_EQ(ring_.sum(&Told::reattached), kWorking * engine_kills_);
    EXPECT_EQ(of(board_.reattached), engine_kills_);
    if (engine_kills_ == 0) {
      EXPECT_EQ(ring_.sum(&Told::dropped), 0U);
    }
    std::printf(
        "%u lives, %llu deaths of the engine: %llu numbers to it, %llu of them twice, %llu "
        "messages beside\n",
        lives_, static_cast<unsigned long long>(engine_kills_),
        static_cast<unsigned long long>(of(board_.sent)),
        static_cast<unsigned long long>(of(board_.again)),
        static_cast<unsigned long long>(ring_.sum(&Told::committed)));
  }
  std::uint64_t draw(std::uint64_t most) { return random_() % most; }

  SharedBytes memory_;
  Exchange& board_;
  Ring ring_;
  Child partner_;
  engine::EngineOptions options_;
  std::unique_ptr<EngineProcess> engine_;
  std::unique_ptr<Child> struck_;
  std::string partner_id_, struck_id_;
  std::uint32_t lives_ = 0;
  std::uint64_t engine_kills_ = 0;
  std::mt19937_64 random_{seed()};
};

TEST_F(StationKills, OfOneStationLoseNothingAndNobodyElseNotices) {
  ASSERT_NO_FATAL_FAILURE(begin());
  for (Repeats kills(20); kills.next();) {
    SCOPED_TRACE(kills.count());
    ASSERT_TRUE(exchanges(1 + draw(300)));
    ASSERT_NO_FATAL_FAILURE(strike());
    ASSERT_NO_FATAL_FAILURE(rise());
    if (kills.count() % 100 == 0)
      std::printf("%llu kills\n", static_cast<unsigned long long>(kills.count()));
  }
  settle();
}

// What the engine had not accepted when both die is lost, and that is promised to nobody (P1): it
// dies while the station lives, or once what the dead one had committed has arrived.
TEST_F(StationKills, AndOfTheEngineBetweenThemLoseNothing) {
  ASSERT_NO_FATAL_FAILURE(begin());
  for (Repeats kills(8); kills.next();) {
    SCOPED_TRACE(kills.count());
    ASSERT_TRUE(exchanges(1 + draw(300)));
    if (draw(4) == 0) {
      ASSERT_NO_FATAL_FAILURE(kill_engine());
      ASSERT_TRUE(exchanges(1 + draw(300)));
    }
    ASSERT_NO_FATAL_FAILURE(strike());
    if (draw(4) == 0) {
      ASSERT_NO_FATAL_FAILURE(kill_engine());
    }
    ASSERT_NO_FATAL_FAILURE(rise());
    if (kills.count() % 100 == 0)
      std::printf("%llu kills\n", static_cast<unsigned long long>(kills.count()));
  }
  settle();
}

}  // namespace of_station_kills_test
}  // namespace mesh::testing
