// Reports as a program asks for them over the control socket, and as whoever embeds the engine
// calls them: refusals first, then that both say the same.
#include "engine/reports/report_requests.hpp"

#include <atomic>
#include <chrono>
#include <thread>

#include "engine/station/control_client.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace of_report_requests_test {

using engine::Engine;
using engine::reports::Json;
using engine::reports::MeshReports;
using engine::reports::packet_of;
using engine::reports::ReportRequest;
using ::testing::HasSubstr;

std::string refusal_of(const std::string& request) {
  const auto object = nlohmann::json::parse(request);
  const auto read = engine::reports::request_of(object.value("op", ""), object);
  if (read) return "taken";
  EXPECT_EQ(read.error().code, Errc::bad_input) << request;
  return read.error().sentence;
}

TEST(ReportRequests, RefuseAFieldThatTheyDoNotHave) {
  EXPECT_EQ(refusal_of(R"({"op":"kpi","patern":"x"})"), "field 'patern': kpi has no fields");
  EXPECT_EQ(refusal_of(R"({"op":"doctor","fix":true})"), "field 'fix': doctor has no fields");
  EXPECT_EQ(refusal_of(R"({"op":"stat","patern":"x"})"),
            "field 'patern': stat has only pattern, skip");
  EXPECT_THAT(refusal_of(R"({"op":"history","kinds":"scatter"})"), HasSubstr("field 'kinds'"));
  EXPECT_THAT(refusal_of(R"({"op":"history","what":"agents","kind":"scatter"})"),
              HasSubstr("field 'kind'"));
  EXPECT_THAT(refusal_of(R"({"op":"conflicts","what":"verify","limit":1})"),
              HasSubstr("field 'limit'"));
  for (const char* const op :
       {"stat", "hz", "errors", "kpi", "health", "top", "doctor", "conflicts", "history"}) {
    EXPECT_TRUE(engine::reports::is_report(op)) << op;
    EXPECT_THAT(engine::reports::kReportOps, HasSubstr(op));
    EXPECT_THAT(refusal_of(Json{{"op", op}, {"nonsense", 1}}.dump()), HasSubstr("'nonsense'"));
    EXPECT_EQ(refusal_of(Json{{"op", op}}.dump()), "taken") << op;
  }
  EXPECT_FALSE(engine::reports::is_report("status"));
}

TEST(ReportRequests, RefuseAValueOfAnotherTypeAndNameIt) {
  EXPECT_EQ(refusal_of(R"({"op":"stat","pattern":7})"), "field 'pattern': 7 is not a text");
  EXPECT_EQ(refusal_of(R"({"op":"hz","all":"yes"})"), "field 'all': \"yes\" is not true or false");
  EXPECT_EQ(refusal_of(R"({"op":"errors","skip":"1"})"),
            "field 'skip': \"1\" is not a whole number from 0 to 4294967295");
  EXPECT_THAT(refusal_of(R"({"op":"conflicts","type":null})"), HasSubstr("null is not a text"));
  EXPECT_THAT(refusal_of(R"({"op":"history","what":["agents"]})"), HasSubstr("field 'what'"));
  const std::string a_long_one(1'000, 'x');
  EXPECT_LT(refusal_of(Json{{"op", "hz"}, {"all", a_long_one}}.dump()).size(), 100U);
}

TEST(ReportRequests, RefuseAValueOutOfItsRangeAndNameItAndWhatItMayBe) {
  EXPECT_EQ(refusal_of(R"({"op":"hz","interval_ms":99})"),
            "field 'interval_ms': 99 is not a whole number from 100 to 3600000");
  EXPECT_THAT(refusal_of(R"({"op":"hz","interval_ms":3600001})"), HasSubstr("3600001"));
  EXPECT_THAT(refusal_of(R"({"op":"health","hours":0})"), HasSubstr("0 is not a whole number"));
  EXPECT_THAT(refusal_of(R"({"op":"health","hours":721})"), HasSubstr("1 to 720"));
  EXPECT_THAT(refusal_of(R"({"op":"health","sector":-1})"), HasSubstr("-1 is not"));
  EXPECT_THAT(refusal_of(R"({"op":"conflicts","limit":10001})"), HasSubstr("1 to 10000"));
  EXPECT_THAT(refusal_of(R"({"op":"conflicts","type":"none"})"), HasSubstr("\"none\" is not"));
  EXPECT_THAT(refusal_of(R"({"op":"conflicts","state":"lost"})"), HasSubstr("\"lost\" is not"));
  EXPECT_THAT(refusal_of(R"({"op":"conflicts","what":"verify","head":"7:xyz"})"),
              HasSubstr("'7:xyz' is no POSITION:HASH"));
  EXPECT_THAT(refusal_of(R"({"op":"history","since_min":0.5})"), HasSubstr("0.5 is not"));
  EXPECT_THAT(refusal_of(R"({"op":"history","kind":"gossip"})"), HasSubstr("\"gossip\" is not"));
  EXPECT_THAT(refusal_of(R"({"op":"history","what":"agents","sector":1,"cluster":2})"),
              HasSubstr("sector and cluster: one of them"));
}

Json list_of(std::size_t count, std::size_t bytes) {
  Json list = Json::array();
  for (std::size_t i = 0; i < count; ++i) list.push_back(std::string(bytes, 'x'));
  return list;
}

TEST(ReportPackets, HoldAsMuchOfTheirListsAsThereIsRoomForAndSayWhatIsLeftOut) {
  const ReportRequest request{.lists = {"first", "second"}};
  const std::string packet = packet_of(
      {{"n", 7}, {"first", list_of(1'000, 100)}, {"second", list_of(3, 100)}}, request, 10'000);
  EXPECT_LE(packet.size(), 10'000U);
  const Json answer = Json::parse(packet);
  EXPECT_EQ(answer["ok"], true);
  EXPECT_EQ(answer["n"], 7);
  EXPECT_EQ(answer["second"].size(), 3U) << "the short one stays";
  EXPECT_GT(answer["first"].size(), 50U) << "no more goes than must";
  EXPECT_EQ(answer["left_out"]["first"], 1'000 - answer["first"].size());
  EXPECT_EQ(answer["left_out"]["second"], 0);
}

TEST(ReportPackets, GoOnBehindWhatWasSkippedUntilNothingIsLeft) {
  Json all = Json::array();
  for (int i = 0; i < 1'000; ++i) all.push_back(i);
  std::vector<int> seen;
  ReportRequest request{.lists = {"all"}};
  for (std::size_t left = 1; left != 0;) {
    request.skip = seen.size();
    const Json answer = Json::parse(packet_of({{"all", all}}, request, 500));
    ASSERT_FALSE(answer["all"].empty());
    for (const Json& one : answer["all"]) seen.push_back(one.get<int>());
    left = answer["left_out"]["all"].get<std::size_t>();
  }
  EXPECT_EQ(Json(seen), all);
  request.skip = 5'000;
  EXPECT_TRUE(Json::parse(packet_of({{"all", all}}, request, 500))["all"].empty());
}

// The keys of all of it, and how long its lists are. What changes from one look to the next is how
// much of something there is.
Json shape_of(const Json& json) {
  if (!json.is_structured()) return nullptr;
  Json shape = json.is_array() ? Json::array() : Json::object();
  for (const auto& [key, value] : json.items()) {
    if (json.is_array())
      shape.push_back(shape_of(value));
    else
      shape[key] = shape_of(value);
  }
  return shape;
}

class MeshReportsTest : public ::testing::Test {
 protected:
  void start(bool with_store) {
    engine::EngineOptions options;
    options.directory = directory_.path();
    options.size = {.agents = 64, .stations = 8};
    options.stuck_after = Nanos{600 * kNsPerSecond};
    if (with_store) options.conflicts.store = files_.path() + "/conflicts.db";
    auto engine = Engine::start(options);
    ASSERT_TRUE(engine.has_value()) << engine.error().sentence;
    engine_ = std::move(*engine);
  }
  Result<Json> ask(const std::string& request) const {
    MESH_TRY(auto client, engine::ControlClient::connect(directory_.path(), {}));
    MESH_TRY(const std::string text, client.request(request));
    return Json::parse(text);
  }
  // Without what only a packet says.
  Json report(const std::string& request) const {
    auto answer = ask(request);
    EXPECT_TRUE(answer.has_value()) << request << ": " << answer.error().sentence;
    if (!answer) return {};
    EXPECT_EQ((*answer)["ok"], true) << request;
    answer->erase("ok");
    for (const Json& left : (*answer)["left_out"]) EXPECT_EQ(left, 0) << request;
    answer->erase("left_out");
    return *answer;
  }
  void is_published() const {
    ASSERT_TRUE(eventually([&] { return engine_->reports().kpis().has_value(); }));
    ASSERT_TRUE(eventually([&] {
      const auto health = engine_->reports().health();
      return health && health->mesh && health->mesh->mode;
    }));
  }

  ScratchDirectory directory_;
  ScratchDirectory files_;
  std::unique_ptr<Engine> engine_;
};

template <class Report>
Report taken(Result<Report> report) {
  EXPECT_TRUE(report.has_value()) << report.error().sentence;
  return report ? std::move(*report) : Report{};
}

TEST_F(MeshReportsTest, AreRefusedWhereThereIsNoStoreAndNoSuchThing) {
  start(false);
  is_published();
  const MeshReports mesh = engine_->reports();
  for (const char* const request :
       {R"({"op":"conflicts"})", R"({"op":"history"})", R"({"op":"conflicts","what":"verify"})"}) {
    const auto answer = ask(request);
    ASSERT_FALSE(answer.has_value()) << request;
    EXPECT_EQ(answer.error().code, Errc::unsupported);
    EXPECT_THAT(answer.error().sentence, HasSubstr("--store"));
  }
  EXPECT_EQ(mesh.conflicts().error().code, Errc::unsupported);
  EXPECT_EQ(mesh.agents().error().code, Errc::unsupported);
  EXPECT_EQ(engine_->resolve(std::string(32, '0'), "so").error().code, Errc::unsupported);
  EXPECT_EQ(engine_->contexts("nobody").error().code, Errc::no_such_agent);
  const auto nothing = ask(R"({"op":"stat","pattern":"nosuch"})");
  ASSERT_FALSE(nothing.has_value());
  EXPECT_EQ(nothing.error().code, Errc::bad_input);
  EXPECT_THAT(nothing.error().sentence, HasSubstr("no counter is called \"nosuch\""));
  EXPECT_THAT(ask(R"({"op":"health","sector":99999})").error().sentence,
              HasSubstr("sector: 99999 is not 0 to "));
  EXPECT_EQ(mesh.rates(Nanos{0}).error().code, Errc::bad_input);
  EXPECT_EQ(mesh.health({.hours = 0}).error().code, Errc::bad_input);
  EXPECT_EQ(mesh.agents({.sector = 1, .cluster = 1}).error().code, Errc::bad_input);
  EXPECT_THAT(ask(R"({"op":"nosuch"})").error().sentence, HasSubstr(engine::reports::kReportOps));
}

TEST_F(MeshReportsTest, AreTheSameByCallAndByRequest) {
  start(false);
  is_published();
  const MeshReports mesh = engine_->reports();
  EXPECT_EQ(shape_of(report(R"({"op":"stat"})")), shape_of(counters_json(taken(mesh.counters()))));
  EXPECT_EQ(shape_of(report(R"({"op":"stat","pattern":"breaker_*"})")),
            shape_of(counters_json(taken(mesh.counters("breaker_*")))));
  EXPECT_EQ(shape_of(report(R"({"op":"errors"})")), shape_of(errors_json(taken(mesh.errors()))));
  EXPECT_EQ(shape_of(report(R"({"op":"kpi"})")), shape_of(kpi_json(taken(mesh.kpis()))));
  EXPECT_EQ(shape_of(report(R"({"op":"health"})")), shape_of(health_json(taken(mesh.health()))));
  EXPECT_EQ(shape_of(report(R"({"op":"health","sector":0,"hours":24})")),
            shape_of(health_json(taken(mesh.health({.sector = 0, .hours = 24})))));
  EXPECT_EQ(shape_of(report(R"({"op":"doctor"})")), shape_of(doctor_json(taken(mesh.doctor()))));
  EXPECT_EQ(shape_of(report(R"({"op":"top"})")), shape_of(top_json(taken(mesh.top()))));
  const auto rates = taken(mesh.rates(engine::reports::kRatesIntervalMin));
  EXPECT_EQ(shape_of(report(R"({"op":"hz","all":true,"interval_ms":100})")),
            shape_of(rates_json(rates.before, rates.after, {.all = true})));
}

TEST_F(MeshReportsTest, SayWhoRunsTheMeshAndGoOnWhenNobodyDoes) {
  start(false);
  is_published();
  const Json stat = report(R"({"op":"stat","pattern":"ticks"})");
  EXPECT_EQ(stat["engine_running"], true);
  EXPECT_EQ(stat["counters"][0]["counter"], "ticks");
  EXPECT_GT(stat["counters"][0]["value"].get<std::uint64_t>(), 0U);
  EXPECT_EQ(report(R"({"op":"top"})")["engine_process"], ::getpid());
  EXPECT_TRUE(eventually([&] { return report(R"({"op":"top"})")["per_second"]["in"].is_number(); }))
      << "a frame of an engine that runs has rates";
  EXPECT_EQ(report(R"({"op":"kpi"})")["kpis"].size(), taken(engine_->reports().kpis()).rows.size());
  const Json checks = report(R"({"op":"doctor"})")["checks"];
  EXPECT_EQ(checks[1]["check"], "it answers its control socket");
  EXPECT_EQ(checks[1]["finding"], "pass") << checks[1];
  const MeshReports mesh = engine_->reports();
  engine_->stop();
  EXPECT_TRUE(mesh.kpis().has_value()) << "what it left is read";
  engine_.reset();
  EXPECT_EQ(mesh.kpis().error().code, Errc::no_mesh);
}

// A console that waits for rates holds up neither the engine nor other consoles.
TEST_F(MeshReportsTest, ThatTakeTheirTimeHoldNobodyUp) {
  start(false);
  is_published();
  auto slow = engine::ControlClient::connect(directory_.path(), {});
  ASSERT_TRUE(slow.has_value());
  ASSERT_TRUE(slow->send(R"({"op":"hz","interval_ms":3600000})", {}));
  const std::uint64_t before = engine_->status()->counters.ticks;
  for (const char* const request : {R"({"op":"stat"})", R"({"op":"status"})", R"({"op":"top"})",
                                    R"({"op":"hz","interval_ms":100})"})
    EXPECT_TRUE(ask(request).has_value()) << request;
  EXPECT_GT(engine_->status()->counters.ticks, before);
  const auto nothing_yet = slow->try_receive();
  ASSERT_TRUE(nothing_yet.has_value()) << nothing_yet.error().sentence;
  EXPECT_EQ(*nothing_yet, std::nullopt);
  engine_->stop();  // and it is not waited for
}

// One agent that answers every message in CONFLICT, for a person to decide.
class Objector {
 public:
  explicit Objector(const std::string& directory)
      : thread_([this, directory] { run(directory); }) {}
  ~Objector() {
    over_.store(true, std::memory_order_relaxed);  // relaxed: the join orders what follows
    thread_.join();
  }

 private:
  void run(const std::string& directory) {
    auto station = engine::Station::attach(directory, {.name = "objector", .agents = 1});
    ASSERT_TRUE(station.has_value()) << station.error().sentence;
    const std::vector<engine::AgentDeclaration> agents = {{"objector"}};
    ASSERT_TRUE((*station)->enrol(agents).has_value());
    while (!over_.load(std::memory_order_relaxed) && !(*station)->is_lost()) {  // relaxed: as above
      (*station)->poll(16, [](const engine::Delivery&) {
        return engine::Answer::in_conflict(sched::ConflictType::other, {1, 2});
      });
      (void)(*station)->wait((*station)->now() + Nanos{10 * kNsPerMs});
    }
  }
  std::atomic<bool> over_{false};
  std::thread thread_;
};

TEST_F(MeshReportsTest, ListConflictsThatAPersonResolvesByACall) {
  start(true);
  const Objector objector(directory_.path());
  ASSERT_TRUE(eventually([&] { return engine_->find("objector").has_value(); }));
  const std::string question = "so?";
  const auto answered = engine_->ask(engine_->find("objector").value(),
                                     std::as_bytes(std::span(question)), Nanos{60 * kNsPerSecond});
  ASSERT_TRUE(answered.has_value()) << answered.error().sentence;
  const MeshReports mesh = engine_->reports();
  const engine::RecordQuery waiting{.state_now = engine::ConflictState::for_person};
  std::vector<engine::reports::ConflictSeen> found;
  // Its steps go on meanwhile: some time the two looks see the same.
  ASSERT_TRUE(eventually([&] {
    found = taken(mesh.conflicts(waiting));
    return found.size() == 1 &&
           report(R"({"op":"conflicts","state":"for_person"})") == conflicts_json(found);
  }));
  EXPECT_EQ(found[0].record.type, sched::ConflictType::other);
  EXPECT_EQ(report(R"({"op":"conflicts","type":"hash_mismatch"})")["conflicts"].size(), 0U);
  const std::string id = engine::name_of(found[0].record.subject);
  EXPECT_EQ(engine_->resolve("nonsense", "so").error().code, Errc::bad_input);
  EXPECT_EQ(engine_->resolve(std::string(32, 'f'), "so").error().code, Errc::not_found);
  const Status resolved = engine_->resolve(id, "the second sensor is right");
  ASSERT_TRUE(resolved.has_value()) << resolved.error().sentence;
  const Json after = report(R"({"op":"conflicts","state":"resolved"})")["conflicts"];
  ASSERT_EQ(after.size(), 1U);
  EXPECT_EQ(after[0]["conflict"], id);
  EXPECT_THAT(after[0]["outcome"].get<std::string>(), HasSubstr("the second sensor is right"));
  const Json chain = report(R"({"op":"conflicts","what":"verify"})");
  EXPECT_EQ(chain["whole"], true);
  EXPECT_EQ(chain, engine::reports::verification_json(taken(mesh.verify_conflicts())));
}

TEST_F(MeshReportsTest, TellOperationsAndAgentsFromTheStore) {
  constexpr std::int64_t kHour = 3'600 * kNsPerSecond;
  const std::int64_t now = engine::reports::unix_now_ns();
  {
    auto store = engine::open_store({.where = files_.path() + "/conflicts.db"});
    ASSERT_TRUE(store.has_value()) << store.error().sentence;
    const std::vector<engine::OperationResult> results = {
        {.id = {1, 1}, .kind = 1, .verdict = 1, .ended = static_cast<WireTime>(now - kHour)},
        {.id = {2, 1}, .kind = 3, .verdict = 2, .ended = static_cast<WireTime>(now - 2 * kHour)}};
    ASSERT_TRUE((*store)->append_results(results));
    const std::vector<engine::HistoryPoint> points = {
        {.cluster = 0, .minute = now / (60 * kNsPerSecond) - 2, .agents = 30, .active = 29},
        {.cluster = 10, .minute = now / (60 * kNsPerSecond) - 2, .agents = 7, .active = 7}};
    ASSERT_TRUE((*store)->append_history(points));
  }
  start(true);
  const MeshReports mesh = engine_->reports();
  const Json all = report(R"({"op":"history"})");
  ASSERT_EQ(all["operations"].size(), 2U);
  EXPECT_EQ(all["operations"][0]["kind"], "scatter");
  EXPECT_EQ(all, engine::reports::past_operations_json(taken(mesh.operations())));
  const Json cascades = report(R"({"op":"history","kind":"cascade","verdict":"partial"})");
  EXPECT_EQ(cascades["operations"].size(), 1U);
  EXPECT_EQ(report(R"({"op":"history","since_min":90})")["operations"].size(), 1U);
  EXPECT_EQ(report(R"({"op":"history","limit":1})")["operations"].size(), 1U);
  const Json second = *ask(R"({"op":"history","skip":1})");
  ASSERT_EQ(second["operations"].size(), 1U);
  EXPECT_EQ(second["operations"][0], all["operations"][1]);
  const Json sector = report(R"({"op":"history","what":"agents","sector":1})");
  ASSERT_EQ(sector["agents"].size(), 1U);
  EXPECT_EQ(sector["agents"][0]["agents"], 7.0) << "cluster 10 is of sector 1";
  EXPECT_EQ(report(R"({"op":"history","what":"agents","cluster":0})")["agents"][0]["active"], 29.0);
  EXPECT_EQ(sector, engine::reports::past_agents_json(taken(mesh.agents({.sector = 1}))));
}

// Reporter.

TEST(Reporter, DoesOneStepAfterAnotherAndComesBackToWhatIsNotOver) {
  engine::reports::Reporter reporter;
  std::atomic<int> steps{0};
  std::atomic<bool> other{false};
  reporter.post([&]() -> std::optional<Nanos> {
    // The one behind it has its turn before this is over.
    if (steps.fetch_add(1, std::memory_order_relaxed) == 0) return Nanos{0};  // relaxed: a count
    if (!other.load(std::memory_order_relaxed)) return Nanos{0};              // relaxed: as above
    return std::nullopt;
  });
  reporter.post([&]() -> std::optional<Nanos> {
    other.store(true, std::memory_order_relaxed);  // relaxed: as above
    return std::nullopt;
  });
  EXPECT_TRUE(eventually([&] {
    return other.load(std::memory_order_relaxed) &&  // relaxed: as above
           steps.load(std::memory_order_relaxed) >= 2;
  }));
  reporter.stop();
}

TEST(Reporter, ThatIsStoppedDropsWhatIsLeftUntold) {
  std::weak_ptr<int> held;
  {
    engine::reports::Reporter reporter;
    auto kept = std::make_shared<int>(1);
    held = kept;
    reporter.post([kept]() -> std::optional<Nanos> { return Nanos{3'600 * kNsPerSecond}; });
    kept.reset();
    reporter.stop();
    EXPECT_TRUE(held.expired());
    reporter.post([]() -> std::optional<Nanos> {
      ADD_FAILURE() << "it was stopped";
      return std::nullopt;
    });
  }
}

}  // namespace of_report_requests_test
}  // namespace mesh::testing
