// What passes, a page at a time over the control socket; recorded so, and played again.
#include "engine/reports/tail_page.hpp"

#include <atomic>
#include <map>
#include <sstream>
#include <thread>

#include "engine/reports/report_requests.hpp"
#include "engine/station/control_client.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace of_tail_page_test {

using engine::Engine;
using engine::reports::Json;
using ::testing::HasSubstr;

// Agents that answer READY to everything, once they listen: what they have not read stands in their
// inbox with its body.
class Listeners {
 public:
  Listeners(const std::string& directory, std::vector<std::string> names)
      : thread_([this, directory, names = std::move(names)] { run(directory, names); }) {}
  ~Listeners() {
    over_.store(true, std::memory_order_relaxed);  // relaxed: the join orders what follows
    thread_.join();
  }
  void listen() { listens_.store(true, std::memory_order_relaxed); }  // relaxed: looked at again
  [[nodiscard]] std::uint64_t heard() const {
    return heard_.load(std::memory_order_relaxed);  // relaxed: a count
  }

 private:
  void run(const std::string& directory, const std::vector<std::string>& names) {
    auto station = engine::Station::attach(
        directory, {.name = names.front(), .agents = static_cast<std::uint32_t>(names.size())});
    ASSERT_TRUE(station.has_value()) << station.error().sentence;
    std::vector<engine::AgentDeclaration> agents;
    for (const std::string& name : names) agents.push_back({name});
    ASSERT_TRUE((*station)->enrol(agents).has_value());
    while (!over_.load(std::memory_order_relaxed) && !(*station)->is_lost()) {  // relaxed: as above
      if (!listens_.load(std::memory_order_relaxed)) {                          // relaxed: as above
        ::sched_yield();
        continue;
      }
      const std::size_t polled =
          (*station)->poll(64, [](const engine::Delivery&) { return engine::Answer::ready(); });
      heard_.fetch_add(polled, std::memory_order_relaxed);  // relaxed: a count
      (void)(*station)->wait((*station)->now() + Nanos{10 * kNsPerMs});
    }
  }
  std::atomic<bool> over_{false};
  std::atomic<bool> listens_{false};
  std::atomic<std::uint64_t> heard_{0};
  std::thread thread_;
};

class TailPages : public ::testing::Test {
 protected:
  void SetUp() override {
    engine_ = start_engine(directory_.path());
    ASSERT_NE(engine_, nullptr);
  }
  void enrolled(const std::vector<std::string>& names) const {
    for (const std::string& name : names)
      ASSERT_TRUE(eventually([&] { return engine_->find(name).has_value(); })) << name;
  }
  void send(const std::string& name, const std::string& body) const {
    ASSERT_TRUE(engine_->send(engine_->find(name).value(), std::as_bytes(std::span(body))));
  }
  Result<Json> ask(const Json& request) const {
    MESH_TRY(auto client, engine::ControlClient::connect(directory_.path(), {}));
    MESH_TRY(const std::string text, client.request(request.dump()));
    EXPECT_LE(text.size(), engine::kControlPacketBytes);
    return Json::parse(text);
  }
  std::string refusal_of(const Json& request) const {
    const auto answer = ask(request);
    if (answer) return "taken";
    EXPECT_EQ(answer.error().code, Errc::bad_input) << request;
    return answer.error().sentence;
  }
  // Page after page from `since` on, until `count` deliveries were seen.
  std::vector<Json> all_of(Json request, std::size_t count) const {
    std::vector<Json> seen;
    request["wait_ms"] = 60'000;  // the deadline of a test that has failed
    while (seen.size() < count) {
      auto page = ask(request);
      EXPECT_TRUE(page.has_value()) << page.error().sentence;
      if (!page) return seen;
      EXPECT_EQ((*page)["missed"], 0);
      EXPECT_FALSE((*page)["passed"].empty()) << "nothing came within the wait";
      if ((*page)["passed"].empty()) return seen;
      for (const Json& one : (*page)["passed"]) seen.push_back(one);
      request["since"] = (*page)["next"];
    }
    return seen;
  }

  ScratchDirectory directory_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(TailPages, RefuseWhatTheyCannotRead) {
  EXPECT_THAT(refusal_of({{"op", "tail"}, {"follow", true}}), HasSubstr("field 'follow'"));
  EXPECT_THAT(refusal_of({{"op", "tail"}, {"count", 0}}), HasSubstr("0 is not"));
  EXPECT_THAT(refusal_of({{"op", "tail"}, {"count", 1'001}}), HasSubstr("1 to 1000"));
  EXPECT_THAT(refusal_of({{"op", "tail"}, {"wait_ms", 60'001}}), HasSubstr("60001 is not"));
  EXPECT_THAT(refusal_of({{"op", "tail"}, {"since", 7}}), HasSubstr("field 'since': 7 is not"));
  EXPECT_THAT(refusal_of({{"op", "tail"}, {"since", {{"x", 7}}}}), HasSubstr("field 'since'"));
  EXPECT_THAT(refusal_of({{"op", "tail"}, {"since", {{"1", -7}}}}), HasSubstr("field 'since'"));
  EXPECT_THAT(refusal_of({{"op", "tail"}, {"check", ""}}), HasSubstr("field 'check'"));
  EXPECT_THAT(refusal_of({{"op", "record"}, {"file", "x"}}), HasSubstr("field 'file'"));
  EXPECT_THAT(refusal_of({{"op", "replay"}}), HasSubstr("field 'lines': null is not"));
  EXPECT_THAT(refusal_of({{"op", "replay"}, {"lines", {1}}}), HasSubstr("1 is not a line"));
  EXPECT_THAT(refusal_of({{"op", "replay"}, {"lines", {"hello"}}}), HasSubstr("line 1"));
  EXPECT_THAT(refusal_of({{"op", "replay"}, {"lines", {"x"}}, {"speed", 0}}),
              HasSubstr("field 'speed': 0 is not"));
  const Listeners listeners(directory_.path(), {"a"});
  enrolled({"a"});
  const Json next = (*ask({{"op", "tail"}, {"wait_ms", 0}}))["next"];
  ASSERT_EQ(next.size(), 1U);
  const std::string station = next.items().begin().key();
  EXPECT_THAT(refusal_of({{"op", "tail"}, {"since", {{station, 1'000'000}}}}),
              HasSubstr("station " + station + " is at "));
}

TEST_F(TailPages, GoOnWhereTheOneBeforeThemEndedAndMissNothing) {
  const Listeners listeners(directory_.path(), {"a"});
  const Listeners others(directory_.path(), {"b", "c"});
  enrolled({"a", "b", "c"});
  constexpr int kMessages = 90;
  const char* const names[] = {"a", "b", "c"};
  for (int i = 0; i < kMessages; ++i) send(names[i % 3], std::to_string(i));
  // From the beginning of every inbox.
  const auto seen = all_of({{"op", "tail"}, {"count", 7}, {"since", Json::object()}}, kMessages);
  ASSERT_EQ(seen.size(), static_cast<std::size_t>(kMessages));
  std::map<std::string, std::vector<int>> by_agent;
  for (const Json& one : seen) {
    EXPECT_EQ(one["kind"], "message") << one;
    by_agent[one["to"].get<std::string>()].push_back(std::stoi(one["body"].get<std::string>()));
  }
  for (int which = 0; which < 3; ++which) {
    std::vector<int> sent;
    for (int i = which; i < kMessages; i += 3) sent.push_back(i);
    EXPECT_EQ(by_agent[names[which]], sent) << "in their order, each once";
  }
  const auto of_b = all_of(
      {{"op", "tail"}, {"agent", "b"}, {"count", 1'000}, {"since", Json::object()}}, kMessages / 3);
  for (const Json& one : of_b) EXPECT_EQ(one["to"], "b");
}

TEST_F(TailPages, BeginNowWhereTheySayNoPositionAndAreEmptyWhenNothingComes) {
  const Listeners listeners(directory_.path(), {"a"});
  enrolled({"a"});
  send("a", "before");
  ASSERT_EQ(all_of({{"op", "tail"}, {"since", Json::object()}}, 1).size(), 1U);
  const Json page = *ask({{"op", "tail"}, {"wait_ms", 0}});
  EXPECT_TRUE(page["passed"].empty());
  EXPECT_EQ(page["missed"], 0);
  send("a", "after");
  const Json next = *ask({{"op", "tail"}, {"since", page["next"]}, {"wait_ms", 60'000}});
  ASSERT_EQ(next["passed"].size(), 1U);
  EXPECT_EQ(next["passed"][0]["body"], "after");
}

TEST_F(TailPages, FitIntoAPacketHoweverLongTheBodies) {
  const Listeners listeners(directory_.path(), {"a"});
  enrolled({"a"});
  // As JSON a byte of these is six.
  for (int i = 0; i < 12; ++i) send("a", std::string(9'000, '\x01'));
  send("a", std::string(100'000, '\x01'));
  const auto seen = all_of({{"op", "tail"}, {"count", 100}, {"since", Json::object()}}, 13);
  ASSERT_EQ(seen.size(), 13U);
  EXPECT_EQ(seen.back()["body_bytes"], 100'000);
  EXPECT_LT(seen.back()["body"].get<std::string>().size(), 100'000U) << "it is cut";
  const auto recorded = ask({{"op", "record"}, {"since", Json::object()}, {"count", 100}});
  ASSERT_TRUE(recorded.has_value()) << recorded.error().sentence;
  EXPECT_GT((*recorded)["messages"], 0U);
  EXPECT_LT((*recorded)["messages"], 12U) << "hexadecimal digits of all do not fit";
}

TEST_F(TailPages, OfARecordingAreOneTogetherAndArePlayedAgain) {
  Listeners listeners(directory_.path(), {"a", "b"});
  enrolled({"a", "b"});
  constexpr std::uint64_t kMessages = 20;
  for (std::uint64_t i = 0; i < kMessages; ++i) send(i % 2 == 0 ? "a" : "b", std::to_string(i));
  ASSERT_EQ(all_of({{"op", "tail"}, {"since", Json::object()}}, kMessages).size(), kMessages);
  Json lines = Json::array();
  Json request = {{"op", "record"}, {"count", 6}, {"since", Json::object()}};
  for (std::uint64_t kept = 0; kept < kMessages;) {
    const auto page = ask(request);
    ASSERT_TRUE(page.has_value()) << page.error().sentence;
    ASSERT_GT((*page)["messages"], 0U);
    kept += (*page)["messages"].get<std::uint64_t>();
    for (const Json& line : (*page)["lines"]) lines.push_back(line);
    request["since"] = (*page)["next"];
    request["check"] = (*page)["check"];
  }
  std::stringstream text;
  for (const Json& line : lines) text << line.get<std::string>() << '\n';
  const auto recording = engine::reports::read_recording(text, "pages");
  ASSERT_TRUE(recording.has_value()) << recording.error().sentence;
  EXPECT_EQ(recording->messages.size(), kMessages);
  EXPECT_EQ(recording->mesh, directory_.path());

  listeners.listen();
  ASSERT_TRUE(eventually([&] { return listeners.heard() == kMessages; }));
  const auto played = ask({{"op", "replay"}, {"lines", lines}, {"speed", 1'000}});
  ASSERT_TRUE(played.has_value()) << played.error().sentence;
  EXPECT_EQ((*played)["messages"], kMessages);
  EXPECT_EQ((*played)["ready"], kMessages);
  EXPECT_EQ(listeners.heard(), 2 * kMessages);
  lines[1] = lines[2];
  EXPECT_THAT(refusal_of({{"op", "replay"}, {"lines", lines}}), HasSubstr("its checksum"));
}

}  // namespace of_tail_page_test
}  // namespace mesh::testing
