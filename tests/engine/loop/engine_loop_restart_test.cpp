// An engine that is killed, and another that goes on from its memory: real SIGKILLs of a child that
// runs the loop, at random moments and at every named point, while stations in this process send,
// answer and open operations.
//
// What must hold at the end: every committed message was delivered, or refused with a report that
// says why (target_full: the engine takes a bounded number of unanswered ones); a second delivery
// says `redelivered`; first deliveries keep the order of each (source, target station); every
// answer to a message came back as a reply; every operation's result came back; and nothing is
// left over.
#include <chrono>
#include <climits>
#include <map>
#include <random>
#include <set>

#include "engine/loop/engine_loop.hpp"
#include "shm/base/point.hpp"
#include "tests/engine/loop/loop_fixture.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::engine {
namespace of_engine_loop_restart_test {

using testing::Memory;
using testing::must;
using testing::RawStation;

constexpr std::uint16_t kStations = 4;
constexpr std::uint32_t kAgentsEach = 8;
constexpr std::int64_t kMs = kNsPerMs;
constexpr std::int64_t kStart = 1'000'000'000'000;

// A body: who, and the how-manieth to this station.
struct Body {
  std::uint32_t agent = 0;
  std::uint32_t to_station = 0;
  std::uint64_t number = 0;
};
static_assert(sizeof(Body) == kBareBodyBytes);

// What the parent and the engines share beside the mesh: time goes on from one to the next.
struct Shared {
  std::int64_t now_ns = kStart;
  ShmWord<std::uint64_t> adopted{};
};

class Survival {
 public:
  explicit Survival(std::uint64_t seed)
      : random_(seed),
        size_{.agents = 64, .stations = kStations, .agents_per_station = kAgentsEach},
        table_(must(table_layout(size_)).total_bytes()),
        payload_(must(payload_layout(size_)).total_bytes()),
        engine_(must(engine_layout(size_)).total_bytes()),
        shared_memory_(sizeof(Shared)),
        shared_(*new (shared_memory_.span().data()) Shared) {
    for (std::uint16_t number = 1; number <= kStations; ++number)
      stations_.push_back(std::make_unique<RawStation>(StationId{number}, kAgentsEach));
    // The first engine enrols everybody, and dies too.
    const int status = testing::status_of_child([&] {
      const auto loop = make();
      for (auto& station : stations_) {
        must(loop->attach(station->number, station->memory(), 1000));
        std::vector<std::string> names;
        for (std::uint32_t i = 0; i < kAgentsEach; ++i)
          names.push_back(std::string("s")
                              .append(std::to_string(static_cast<int>(station->number)))
                              .append("-")
                              .append(std::to_string(i)));
        std::vector<AgentSpec> specs;
        for (const std::string& name : names) specs.push_back({name, sched::AgentClass::edge});
        must(loop->enrol(station->number, specs));
      }
      return ::kill(::getpid(), SIGKILL);
    });
    EXPECT_TRUE(WIFSIGNALED(status));
    const auto table = must(table_layout(size_));
    ids_ = must(table.column<AgentId>(std::span<const std::byte>(table_.span()), "agent.id"));
    station_ =
        must(table.column<StationId>(std::span<const std::byte>(table_.span()), "agent.station"));
    for (std::size_t row = 0; row < 64; ++row)
      if (ids_.load_relaxed(row) != AgentId{0})
        agents_[static_cast<std::uint16_t>(station_.load_relaxed(row))].push_back(
            ids_.load_relaxed(row));
  }

  // Runs an engine for up to `ticks`, which `dies` may end.
  int run_engine(int ticks, const std::function<void()>& before) {
    return testing::status_of_child([&] { return engine_body(ticks, before); });
  }
  int engine_body(int ticks, const std::function<void()>& before) {
    before();
    const auto loop = make();
    for (auto& station : stations_) must(loop->readopt(station->number, station->memory(), 1000));
    // SYNC test.adopted release: all of it.
    shared_.adopted.store_release(shared_.adopted.load_relaxed() + 1);  // relaxed: its one writer
    for (int i = 0; i < ticks; ++i) {
      shared_.now_ns += kMs;
      loop->tick(from_ns(shared_.now_ns));
    }
    must(loop->verify());
    return 0;
  }
  // The same, killed from outside after a random while. True: it was still alive.
  bool run_and_kill() {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        static_cast<void>(engine_body(INT_MAX, [] {}));
      } catch (const std::exception& error) {
        std::fprintf(stderr, "engine: %s\n", error.what());
      }
      ::_exit(99);
    }
    // Half of them die while they take over, the others once they have.
    using std::chrono::steady_clock;
    const auto patience = steady_clock::now() + std::chrono::seconds(10);
    const std::uint64_t adopted = shared_.adopted.load_acquire();  // SYNC test.adopted acquire
    if (random_() % 2 == 0) {
      while (shared_.adopted.load_acquire() == adopted &&  // SYNC test.adopted acquire
             steady_clock::now() < patience)
        act();
    }
    const auto until = steady_clock::now() + std::chrono::microseconds(random_() % 3'000);
    while (steady_clock::now() < until) act();
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << "the engine failed by itself: " << status;
    return WIFSIGNALED(status);
  }

  // Something of everything that stations do.
  void act() {
    for (auto& station : stations_) {
      for (const auto& delivery : station->poll(random_() % 20)) take(*station, delivery);
      if (random_() % 4 == 0) send(*station);
      if (random_() % 200 == 0) open(*station);
      answer_some(*station);
    }
  }
  // An operation of each station, whatever chance says.
  void open_operations() {
    for (auto& station : stations_) open(*station);
  }
  void settle() {
    for (int round = 0; round < 60 && !is_settled(); ++round) {
      const int status = run_engine(60, [] {});
      ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
      for (auto& station : stations_) {
        for (const auto& delivery : station->poll()) take(*station, delivery);
        while (!at_work_[number(*station)].empty() && answer_one(*station)) {
        }
      }
    }
  }

  void check() {
    EXPECT_EQ(delivered_.size() + refused_.size(), sent_.size()) << "messages that were lost";
    EXPECT_EQ(unmarked_, 0U) << "delivered twice, and not said so";
    EXPECT_EQ(disordered_, 0U) << "out of order";
    EXPECT_EQ(replied_.size(), answered_);
    EXPECT_EQ(results_.size(), opened_);
    EXPECT_EQ(wrongly_refused_, 0U);
    EXPECT_GT(sent_.size(), 0U);
    const int status = run_engine(1, [] {});
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    const auto loop = make();  // here, to look at it
    for (auto& station : stations_) must(loop->readopt(station->number, station->memory(), 1000));
    loop->tick(from_ns(shared_.now_ns += kMs));
    EXPECT_EQ(loop->gauges().unanswered, 0U);
    EXPECT_TRUE(loop->verify());
  }
  void print() const {
    std::printf(
        "%zu messages, %zu refused, %zu replies, %zu results, %llu redelivered, %llu engines\n",
        sent_.size(), refused_.size(), replied_.size(), results_.size(),
        static_cast<unsigned long long>(redelivered_),
        static_cast<unsigned long long>(shared_.adopted.raw));
  }
  [[nodiscard]] const Shared& shared() const { return shared_; }

 private:
  using Number = std::uint16_t;
  static Number number(const RawStation& station) { return static_cast<Number>(station.number); }

  std::unique_ptr<EngineLoop> make() {
    LoopOptions options;  // time runs ahead of the stations here: what nobody answers is no failure
    options.watch.breakers.cluster_failures_max = 1'000'000'000;
    options.watch.breakers.sector_failures_max = 1'000'000'000;
    return must(EngineLoop::create({size_, table_.span(), payload_.span(), engine_.span()}, options,
                                   {.wakes = &wakes_}));
  }
  [[nodiscard]] bool is_settled() const {
    for (const auto& [station, waiting] : at_work_)
      if (!waiting.empty()) return false;
    return delivered_.size() + refused_.size() == sent_.size() && replied_.size() == answered_ &&
           results_.size() == opened_;
  }

  void send(RawStation& station) {
    // Fewer than the engine keeps: it need refuse none.
    if (sent_.size() - delivered_.size() - refused_.size() > 500) return;
    const std::vector<AgentId>& own = agents_[number(station)];
    const auto to = static_cast<Number>(1 + random_() % kStations);
    const AgentId from = own[random_() % own.size()];
    const std::uint64_t key = static_cast<std::uint64_t>(from) << 8 | to;
    Body body{static_cast<std::uint32_t>(index_of(from)), to, next_[key]};
    const AgentId target = agents_[to][random_() % kAgentsEach];
    const auto bytes = std::as_bytes(std::span(&body, 1));
    const bool bare = random_() % 2 == 0;
    if (!(bare ? station.send_bare(from, target, bytes, shared_.now_ns)
               : station.send({.source = from,
                               .target = static_cast<std::uint64_t>(target),
                               .created_ns = shared_.now_ns,
                               .body = bytes})))
      return;
    ++next_[key];
    sent_.insert({key, body.number});
    by_position_[{number(station), station.outbox.head() - 1}] = {key, body.number};
  }
  void open(RawStation& station) {
    if (opened_ - results_.size() > 100) return;
    std::vector<std::byte> message(sched::kMessageHeaderBytes + 4);
    sched::MessageHeader header{};
    header.body_bytes = 4;
    header.set_weight(1);
    header.verb = sched::Verb::act;
    header.strategy = sched::Strategy::scatter_gather;
    header.priority = sched::Priority::normal;
    std::memcpy(message.data(), &header, sizeof header);
    const auto appended = station.sent_bodies.append(std::span<const std::byte>(message));
    if (appended.status != queues::AppendStatus::kOk) return;
    sched::SendRecord record{};
    record.source = agents_[number(station)].front();
    record.target = static_cast<std::uint64_t>(sched::selector(sched::SelectorKind::all));
    record.created_ns = shared_.now_ns;
    record.arrive_ns = shared_.now_ns + 80 * kMs;
    record.body_offset = static_cast<std::uint32_t>(appended.position);
    record.body_bytes = 4;
    record.verb_and_priority = sched::verb_and_priority(sched::Verb::act, sched::Priority::normal);
    record.kind = sched::RecordKind::send;
    record.flags = sched::RecordFlags::selector;
    if (station.put(record)) ++opened_;
  }

  void take(RawStation& station, const sched::DeliveryRecord& delivery) {
    const bool again = sched::has(delivery.flags, sched::RecordFlags::redelivered);
    if (again) ++redelivered_;
    if (delivery.kind == sched::RecordKind::report) {
      const sched::BareBody bare = sched::bare_body(delivery);
      sched::ReportBody body{};
      std::memcpy(&body, bare.bytes, sizeof body);
      const auto found = by_position_.find({number(station), body.outbox_position});
      if (found == by_position_.end() || static_cast<Errc>(body.code) != Errc::target_full)
        ++wrongly_refused_;
      else if (!refused_.insert(found->second).second)
        unmarked_ += again ? 0U : 1U;
      return;
    }
    if (RawStation::operation_of(delivery) != OperationId{0}) {
      // Of an operation: one target of it, once.
      const auto key = std::pair(static_cast<std::uint64_t>(delivery.operation),
                                 static_cast<std::uint64_t>(delivery.target));
      if (!operation_seen_.insert(key).second) {
        unmarked_ += again ? 0U : 1U;
        return;
      }
      at_work_[number(station)].push_back(delivery);
      return;
    }
    const RawStation::Read found = station.read(delivery);
    ASSERT_TRUE(found.is_there);
    const sched::MessageHeader& header = found.header;
    if (delivery.kind == sched::RecordKind::reply || delivery.kind == sched::RecordKind::result) {
      auto& seen = delivery.kind == sched::RecordKind::reply ? replied_ : results_;
      if (!seen.insert({header.id.high, header.id.low}).second) unmarked_ += again ? 0U : 1U;
      return;
    }
    if (header.source == AgentId{0}) return take_told(station, delivery, header);
    Body body{};
    ASSERT_EQ(found.body.size(), sizeof body);
    std::memcpy(&body, found.body.data(), sizeof body);
    const std::uint64_t key =
        static_cast<std::uint64_t>(ids_.load_relaxed(body.agent)) << 8 | body.to_station;
    EXPECT_EQ(sent_.count({key, body.number}), 1U) << "never sent";
    if (!delivered_.insert({key, body.number}).second) {
      unmarked_ += again ? 0U : 1U;
      return;
    }
    disordered_ += body.number >= expected_[key] ? 0U : 1U;
    expected_[key] = body.number + 1;
    at_work_[number(station)].push_back(delivery);
  }
  // The engine tells a coordinator who leaves all unanswered.
  void take_told(RawStation& station, const sched::DeliveryRecord& delivery,
                 const sched::MessageHeader& header) {
    if (told_.insert({header.id.high, header.id.low}).second) {
      of_engine_.insert({number(station), delivery.message});
      at_work_[number(station)].push_back(delivery);
    } else {
      unmarked_ += sched::has(delivery.flags, sched::RecordFlags::redelivered) ? 0U : 1U;
    }
  }
  bool answer_one(RawStation& station) {
    auto& waiting = at_work_[number(station)];
    const std::size_t at = random_() % waiting.size();
    const sched::DeliveryRecord delivery = waiting[at];
    if (!station.answer(delivery, sched::TrinaryState::ready, shared_.now_ns)) return false;
    const bool is_asked = RawStation::operation_of(delivery) == OperationId{0} &&
                          !of_engine_.contains({number(station), delivery.message});
    if (is_asked) ++answered_;
    waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(at));
    return true;
  }
  void answer_some(RawStation& station) {
    auto& waiting = at_work_[number(station)];
    for (std::size_t left = waiting.size() > 200 ? 100 : random_() % 20; left != 0; --left)
      if (waiting.empty() || !answer_one(station)) return;
  }

  std::mt19937_64 random_;
  MeshSize size_;
  Memory table_, payload_, engine_, shared_memory_;
  Shared& shared_;
  testing::Wakes wakes_;
  std::vector<std::unique_ptr<RawStation>> stations_;
  std::map<Number, std::vector<AgentId>> agents_;
  shm::ColumnView<HostMemory, AgentId> ids_;
  shm::ColumnView<HostMemory, StationId> station_;
  std::map<std::uint64_t, std::uint64_t> next_, expected_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> sent_, delivered_, refused_, operation_seen_,
      replied_, results_, told_;
  std::set<std::pair<Number, sched::MessageWord>> of_engine_;
  std::map<Number, std::vector<sched::DeliveryRecord>> at_work_;
  std::size_t answered_ = 0, opened_ = 0;
  std::uint64_t unmarked_ = 0, disordered_ = 0, redelivered_ = 0;
  std::uint64_t wrongly_refused_ = 0;
  std::map<std::pair<Number, std::uint64_t>, std::pair<std::uint64_t, std::uint64_t>> by_position_;
};

TEST(EngineLoopRestart, AnEngineThatStopsBetweenTicksLosesNothing) {
  Survival mesh(testing::seed());
  std::mt19937_64 random(testing::seed());
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 20; ++i) mesh.act();
    const int status = mesh.run_engine(static_cast<int>(random() % 30), [] {});
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  mesh.settle();
  mesh.check();
  mesh.print();
}

TEST(EngineLoopRestart, RandomKillsLoseNothingAndMarkWhatComesTwice) {
  Survival mesh(testing::seed());
  for (testing::Repeats kills(120); !HasFailure() && kills.next();) mesh.run_and_kill();
  mesh.settle();
  mesh.check();
  mesh.print();
}

#ifdef MESH_FAULTS
constexpr bool kHasPoints = true;
#else
constexpr bool kHasPoints = false;
#endif

// Every named point of a tick, at its first, second and twentieth time.
TEST(EngineLoopRestart, KilledAtEachPointOfATickItLosesNothing) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS: ./dev asan has it";
  constexpr const char* kPoints[] = {
      "loop.tick:after_intake",          "loop.tick:after_dispatch",
      "loop.tick:before_reveal",         "loop.tick:after_reveal",
      "loop.tick:after_settle",          "loop.settle:before_told",
      "loop.settle:before_taken",        "operation.publish:before_state",
      "operation.end:before_state",      "unanswered.accept:before_state",
      "unanswered.deliver:before_state", "unanswered.hold:before_turn"};
  for (const char* const point : kPoints) {
    Survival mesh(testing::seed());
    int killed = 0;
    for (const unsigned at_count : {1U, 2U, 3U, 5U, 20U}) {
      for (int i = 0; i < 60; ++i) mesh.act();
      mesh.open_operations();
      // Longer than an operation takes that not everybody answers: 80 ms to T, 500 ms window.
      const int status = mesh.run_engine(700, [&] {
        points::arm(
            point, at_count, [](void*) { ::kill(::getpid(), SIGKILL); }, nullptr);
      });
      killed += WIFSIGNALED(status) ? 1 : 0;
    }
    // Nothing need wait here, so nothing that waited need be placed: engine_restart_load_test
    // sees to it that these two are reached.
    const std::string_view name(point);
    if (name != "unanswered.hold:before_turn" && name != "unanswered.deliver:before_state") {
      EXPECT_GT(killed, 0) << point << " was never reached";
    }
    mesh.settle();
    mesh.check();
    if (HasFailure()) {
      ADD_FAILURE() << "killed at " << point;
      return;
    }
  }
}

}  // namespace of_engine_loop_restart_test
}  // namespace mesh::engine
