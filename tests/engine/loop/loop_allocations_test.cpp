// tick() allocates nothing, whatever it has to do, once it has done it before.
#include "engine/cluster_quorum.hpp"
#include "engine/loop/pipelines.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/loop/loop_fixture.hpp"

namespace mesh::testing {
namespace of_loop_allocations_test {

constexpr std::uint32_t kAgents = 40;

// A mesh in which every phase has work: messages between stations, operations of all, answers in
// all three states, upkeep.
class Busy {
 public:
  Busy() : mesh_(2 * kAgents, 2) {
    mesh_.add(1, kAgents, "one");
    mesh_.add(2, kAgents, "two", sched::AgentClass::gpu);
  }

  // Allocations of the ticks alone: opening an operation and reading its result are set-up.
  std::uint64_t turn() {
    const std::vector<std::byte> body(300);
    must(mesh_.loop->open(
        {.horizon = Nanos{400 * kNsPerMs}, .window = Nanos{200 * kNsPerMs}, .body = body},
        from_ns(mesh_.now_ns)));
    std::uint64_t allocated = 0;
    for (int step = 0; step < 700; ++step) {
      const std::uint64_t before = allocation_count();
      mesh_.tick(kNsPerMs);
      allocated += allocation_count() - before;
      for (auto& station : mesh_.stations) answer(*station);
      send(step);
    }
    while (const auto finished = mesh_.loop->take_finished()) ++finished_;
    return allocated;
  }
  [[nodiscard]] std::uint64_t finished() const { return finished_; }
  [[nodiscard]] const engine::LoopCounters& counters() const { return mesh_.loop->counters(); }

 private:
  void answer(RawStation& station) {
    for (const sched::DeliveryRecord& delivery : station.poll()) {
      if (delivery.kind != sched::RecordKind::message) continue;
      if (answered_ % 8 != 7) {  // one in eight stays silent
        station.answer(
            delivery,
            answered_ % 8 == 6 ? sched::TrinaryState::conflict : sched::TrinaryState::ready,
            mesh_.now_ns);
      }
      ++answered_;
    }
  }
  void send(int step) {
    if (step % 10 != 0) return;
    const std::vector<std::byte> body(8);
    mesh_.stations[0]->send_bare(mesh_.ids[1][0], mesh_.ids[2][0], body, mesh_.now_ns);
    mesh_.stations[0]->send_bare(mesh_.ids[1][0], AgentId{12'345}, body, mesh_.now_ns);
  }

  LoopFixture mesh_;
  std::uint64_t answered_ = 0;
  std::uint64_t finished_ = 0;
};

TEST(EngineLoop, TicksWithoutAllocating) {
  Busy busy;
  (void)busy.turn();  // whatever grows once has grown
  EXPECT_EQ(busy.turn(), 0U);
  EXPECT_EQ(busy.turn(), 0U);
  // It did do all that.
  EXPECT_EQ(busy.finished(), 3U);
  EXPECT_GT(busy.counters().deliveries, 3U * 2 * kAgents);
  EXPECT_GT(busy.counters().answers, 3U * kAgents);
  EXPECT_GT(busy.counters().sends, 100U);
  EXPECT_GT(busy.counters().no_such_agent, 100U);
}

// Every kind of traffic by itself, so that an allocation is of one kind and has a name.

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Stations "one", "two" and "deaf" stay, the last reads nothing; "mortal" dies and comes back under
// the next number. Of those that read, agents answer in every way that there is.
class Traffic : public LoopFixture {
 public:
  static constexpr int kSteps = 2'500;  // ms: whatever was begun is over, or waits

  Traffic() : LoopFixture(4 * kAgents, 8) {
    add(1, kAgents, "one");
    add(2, kAgents, "two", sched::AgentClass::gpu);
    add(3, 2, "deaf");
    revive();
  }
  using Begin = void (*)(Traffic&);
  // Allocations of the ticks alone, from `begin` until all is over; and then until every breaker
  // that it opened has closed again.
  std::uint64_t run_through(Begin begin) {
    begin(*this);
    is_docile_ = false;
    std::uint64_t allocated = 0;
    for (int step = 0; step < kSteps; ++step) {
      if (step == dies_at) lose(mortal_);
      if (step == returns_at) revive();
      allocated += turn(kNsPerMs);
    }
    dies_at = returns_at = -1;
    is_docile_ = true;
    for (int second = 0; second < 240; ++second) allocated += turn(kNsPerSecond);
    // Taking results is not the loop's part of it.
    while (loop->take_finished()) ++over;
    while (loop->take_finished_cascade()) ++over;
    while (take_finished_pipeline(*loop)) ++over;
    while (loop->take_answered()) ++over;
    return allocated;
  }
  [[nodiscard]] RawStation& station(std::uint16_t number) const {
    for (const auto& station : stations)
      if (station->number == StationId{number}) return *station;
    throw std::runtime_error("no such station");
  }
  [[nodiscard]] AgentId one(std::size_t i = 0) { return ids[1][i]; }
  [[nodiscard]] AgentId two(std::size_t i = 0) { return ids[2][i]; }
  [[nodiscard]] AgentId mortal(std::size_t i = 0) { return ids[mortal_][i]; }
  [[nodiscard]] HostTime now() const { return from_ns(now_ns); }
  RawStation::Message from_one_to(AgentId target, std::string_view body = "a body") {
    return {.source = one(),
            .target = static_cast<std::uint64_t>(target),
            .created_ns = now_ns,
            .body = bytes_of(body)};
  }

  int dies_at = -1, returns_at = -1;
  std::uint64_t over = 0;

 private:
  std::uint64_t turn(std::int64_t after_ns) {
    const std::uint64_t before = allocation_count();
    tick(after_ns);
    const std::uint64_t allocated = allocation_count() - before;
    for (auto& station : stations) serve(*station);
    return allocated;
  }
  void revive() {
    ++mortal_;
    add(mortal_, kAgents, "mortal");
  }
  void serve(RawStation& station) {
    if (station.number == StationId{3}) return;
    // What was answered before has been taken in.
    static_cast<void>(station.sent_bodies.advance_tail(station.sent_bodies.head()));
    for (const sched::DeliveryRecord& delivery : station.poll()) {
      if (delivery.kind == sched::RecordKind::message) answer(station, delivery);
    }
  }
  void answer(RawStation& station, const sched::DeliveryRecord& delivery) {
    using sched::TrinaryState;
    switch (is_docile_ ? 15 : ++answered_ % 16) {
      case 0:
        break;  // silent
      case 1:
        station.answer(delivery, TrinaryState::conflict, now_ns);
        break;
      case 2: {
        sched::AnswerRecord record{};
        record.message = delivery.message;
        record.agent = delivery.target;
        record.operation = RawStation::operation_of(delivery);
        record.received_ns = record.finished_ns = now_ns;
        record.kind = sched::RecordKind::refusal;
        station.put(record);
        break;
      }
      case 3:
        station.answer(delivery, TrinaryState::ready, now_ns);
        station.answer(delivery, TrinaryState::conflict, now_ns);  // its first stands
        break;
      case 4:
      case 5:
      case 6:
      case 7:
        station.answer_with(delivery, bytes_of("an answer of some length, as it were"), now_ns);
        break;
      default:
        station.answer(delivery, TrinaryState::ready, now_ns);
    }
  }
  bool is_docile_ = true;
  std::uint16_t mortal_ = 3;
  std::uint64_t answered_ = 0;
};

engine::OperationRequest operation_of(std::string_view body) {
  return {
      .horizon = Nanos{600 * kNsPerMs}, .window = Nanos{300 * kNsPerMs}, .body = bytes_of(body)};
}

void scatter(Traffic& mesh) {
  must(mesh.loop->open(operation_of("to all"), mesh.now()));
  engine::OperationRequest request = operation_of("to all, by T, with a trace");
  request.aim = sched::Aim::kByT;
  request.with_trace = true;
  must(mesh.loop->open(request, mesh.now()));
}
void broadcast(Traffic& mesh) {
  engine::OperationRequest request = operation_of("to all, at once");
  request.at_once = true;
  request.timeout = Nanos{500 * kNsPerMs};
  request.ttl = Nanos{400 * kNsPerMs};
  must(mesh.loop->open(request, mesh.now()));
}
void confidential(Traffic& mesh) {
  engine::OperationRequest request = operation_of("for each of them alone");
  request.confidential = true;
  must(mesh.loop->open(request, mesh.now()));
}
void comparable(Traffic& mesh) {
  engine::OperationRequest request = operation_of("how much is it?");
  request.comparable = true;
  must(mesh.loop->open(request, mesh.now()));
}
void to_some(Traffic& mesh) {
  const std::vector<AgentId> list = {mesh.one(1), mesh.two(2), mesh.mortal(3), mesh.one(4)};
  engine::OperationRequest request = operation_of("to some");
  request.targets =
      sched::selector(sched::SelectorKind::list, static_cast<std::uint32_t>(list.size()));
  request.list = list;
  must(mesh.loop->open(request, mesh.now()));
  request = operation_of("to a class");
  request.targets = sched::selector(sched::SelectorKind::agent_class,
                                    static_cast<std::uint32_t>(sched::AgentClass::gpu));
  must(mesh.loop->open(request, mesh.now()));
}
void of_a_station(Traffic& mesh) {
  RawStation::Message message = mesh.from_one_to(AgentId{});
  message.target = static_cast<std::uint64_t>(sched::selector(sched::SelectorKind::all));
  message.is_selector = true;
  message.strategy = sched::Strategy::scatter_gather;
  message.arrive_ns = mesh.now_ns + 600 * kNsPerMs;
  EXPECT_TRUE(mesh.station(1).send(message));
}
void direct(Traffic& mesh) {
  RawStation& from = mesh.station(1);
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_TRUE(from.send(mesh.from_one_to(mesh.two(i))));
    EXPECT_TRUE(from.send_bare(mesh.one(i), mesh.two(i), bytes_of("bare"), mesh.now_ns));
  }
  RawStation::Message message = mesh.from_one_to(mesh.two());
  message.confidential = true;
  EXPECT_TRUE(from.send(message));
  message = mesh.from_one_to(mesh.two());
  message.priority = sched::Priority::critical;
  message.arrive_ns = mesh.now_ns + 1'000 * kNsPerMs;
  EXPECT_TRUE(from.send(message));
}
void refused(Traffic& mesh) {
  RawStation& from = mesh.station(1);
  EXPECT_TRUE(from.send(mesh.from_one_to(AgentId{12'345})));
  RawStation::Message message = mesh.from_one_to(mesh.two());
  message.ttl_ms = 1;
  message.created_ns -= 5 * kNsPerMs;
  EXPECT_TRUE(from.send(message));
  message = mesh.from_one_to(mesh.two());
  message.capabilities = {200};
  EXPECT_TRUE(from.send(message));
  message = mesh.from_one_to(mesh.two());
  message.source = mesh.two(1);  // not its own
  EXPECT_TRUE(from.send(message));
  Ring::Record nonsense{};
  for (auto& word : nonsense.words) word = ~std::uint64_t{0};
  EXPECT_TRUE(from.put(nonsense));
}
// More than its inbox holds, of which the less urgent gives way.
void to_the_deaf(Traffic& mesh) {
  for (int i = 0; i < 600; ++i) {
    EXPECT_TRUE(mesh.station(1).send_bare(mesh.one(), mesh.ids[3][0], bytes_of("?"), mesh.now_ns));
  }
}
void of_the_engine(Traffic& mesh) {
  for (std::size_t i = 0; i < 20; ++i)
    must(mesh.loop->post({.target = mesh.two(i), .body = bytes_of("a question")}, mesh.now()));
}
void cascades(Traffic& mesh) {
  for (const engine::CascadeStrategy strategy :
       {engine::CascadeStrategy::wave, engine::CascadeStrategy::parallel,
        engine::CascadeStrategy::priority_first}) {
    must(mesh.loop->open_cascade({.strategy = strategy}, mesh.now()));
  }
}
void quorum(Traffic& mesh) {
  const engine::QuorumRequest request{.cluster = 0, .question = "well?"};
  must(mesh.loop->open_cascade(engine::cascade_of(request), mesh.now()));
}
void pipelines(Traffic& mesh) {
  const std::vector<AgentId> targets = {mesh.one(1), mesh.two(1), mesh.one(2), mesh.mortal(1)};
  engine::PipelineRequest request;
  request.targets = targets;
  request.body = bytes_of("step by step");
  for (int i = 0; i < 5; ++i) must(engine::open_pipeline(*mesh.loop, request, mesh.now()));
}
// In the middle of operations of every kind, and of messages to it.
void death_and_return(Traffic& mesh) {
  scatter(mesh);
  broadcast(mesh);
  pipelines(mesh);
  for (std::size_t i = 0; i < 20; ++i)
    EXPECT_TRUE(mesh.station(1).send(mesh.from_one_to(mesh.mortal(i), "before")));
  mesh.dies_at = 620;
  mesh.returns_at = 1'200;
}
void frozen_and_held(Traffic& mesh) {
  const auto all = sched::selector(sched::SelectorKind::agent_class,
                                   static_cast<std::uint32_t>(sched::AgentClass::gpu));
  must(mesh.loop->freeze(all, true, mesh.now()));
  must(mesh.loop->route_around(mesh.one(5), true));
  direct(mesh);
  scatter(mesh);
  RawStation::Message message = mesh.from_one_to(mesh.one(5));
  message.source = mesh.two();
  EXPECT_TRUE(mesh.station(2).send(message));
  mesh.tick(kNsPerMs);
  must(mesh.loop->freeze(all, false, mesh.now()));
  must(mesh.loop->route_around(mesh.one(5), false));
}

struct Kind {
  const char* name;
  Traffic::Begin begin;
};
constexpr Kind kKinds[] = {{"scatter-gathers", scatter},
                           {"a broadcast", broadcast},
                           {"a confidential operation", confidential},
                           {"a comparable operation", comparable},
                           {"operations of some", to_some},
                           {"a station's scatter-gather", of_a_station},
                           {"direct messages", direct},
                           {"messages that are refused", refused},
                           {"messages that nobody reads", to_the_deaf},
                           {"the engine's own questions", of_the_engine},
                           {"cascades", cascades},
                           {"a lead's quorum", quorum},
                           {"pipelines", pipelines},
                           {"a death and a return", death_and_return},
                           {"what is frozen or held", frozen_and_held}};

TEST(EngineLoop, TicksOfEveryKindOfTrafficAllocateNothing) {
  Traffic mesh;
  for (int round = 0; round < 2; ++round) {  // whatever grows once has grown
    for (const Kind& kind : kKinds) (void)mesh.run_through(kind.begin);
  }
  for (const Kind& kind : kKinds) EXPECT_EQ(mesh.run_through(kind.begin), 0U) << kind.name;
  const auto all_at_once = [](Traffic& traffic) {
    for (const Kind& kind : kKinds) kind.begin(traffic);
  };
  (void)mesh.run_through(all_at_once);
  EXPECT_EQ(mesh.run_through(all_at_once), 0U) << "all at once";
  // It did do all that.
  const engine::LoopCounters& did = mesh.loop->counters();
  for (const auto& [what, count] : {std::pair{"operations", did.operations_ended},
                                    {"answers", did.answers},
                                    {"conflicts", did.conflicts},
                                    {"sends", did.sends},
                                    {"refused", did.refused_records},
                                    {"expired", did.expired},
                                    {"unknown", did.no_such_agent},
                                    {"incapable", did.capability_mismatch},
                                    {"full", did.target_full},
                                    {"pending", did.pending},
                                    {"cascades", did.cascades_ended},
                                    {"pipelines", did.pipelines_ended},
                                    {"lost", did.stations_lost},
                                    {"held", did.held},
                                    {"given again", did.redelivered},
                                    {"not routable", did.not_routable},
                                    {"duplicates", did.duplicates}}) {
    EXPECT_GT(count, 0U) << what;
  }
  EXPECT_GT(mesh.over, 0U);
  EXPECT_TRUE(mesh.loop->verify());
}

}  // namespace of_loop_allocations_test
}  // namespace mesh::testing
