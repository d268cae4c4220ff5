// What an operator has a mesh do, by the program and in real processes.
#include <filesystem>
#include <fstream>

#include <sys/stat.h>

#include "tests/tools/acting_mesh.hpp"

namespace mesh::testing {
namespace of_acting_test {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(Acting, RefusesWhatItCannotDo) {
  expect_refusal({"route-around"}, "agent");
  expect_refusal({"route-around", "\xff"}, "not UTF-8");
  expect_refusal({"find-best", "--count", "0"}, "--count");
  expect_refusal({"find-best", "--max-score", "1001"}, "--max-score");
  expect_refusal({"delegate"}, "task");
  expect_refusal({"delegate", "\xff"}, "not UTF-8");
  expect_refusal({"delegate", "t", "--to", "worst"}, "--to \"worst\": is best, class A to F");
  expect_refusal({"delegate", "t", "--to", "class", "G"}, "--to class \"G\"");
  expect_refusal({"delegate", "t", "--to", "agent", "a", "--capability", "x"}, "no --capability");
  expect_refusal({"delegate", "t", "--attempts", "17"}, "--attempts");
  expect_refusal({"delegate", "t", "--timeout", "0"}, "--timeout");
  expect_refusal({"send", "a", "t", "--priority", "4"}, "--priority");
  expect_refusal({"send", "a", "t", "--ttl-ms", "-1"}, "--ttl-ms");
  expect_refusal({"broadcast", "t", "--priority", "high"}, "--priority");
  expect_refusal({"ask"}, "question");
  expect_refusal({"ask", "q", "--sample", "201"}, "--sample");
  expect_refusal({"ask", "q", "--seed", "x"}, "--seed");
  expect_refusal({"who", "a", "--sector", "1"}, "only one of them");
  expect_refusal({"who", "--cluster", "-1"}, "--cluster");
  expect_refusal({"freeze", "moon"}, "SCOPE \"moon\": is mesh, sector N or cluster N");
  expect_refusal({"freeze", "sector", "x"}, "SCOPE sector");
  expect_refusal({"thaw", "mesh", "1"}, "SCOPE");
  expect_refusal({"rules", "maybe", "x", "--class", "A"}, "is allow, deny or drop");
  expect_refusal({"rules", "deny"}, "CAPABILITY");
  expect_refusal({"rules", "deny", "x"}, "--class or --agent");
  expect_refusal({"rules", "deny", "x", "--class", "A", "--agent", "b"}, "one of them");
  expect_refusal({"rules", "deny", "x", "--class", "G"}, "--class");
}

TEST(Acting, RefusesToShowAContextThatCannotBe) {
  expect_refusal({"context"}, "agent");
  expect_refusal({"context", "\xff"}, "not UTF-8");
  expect_refusal({"context", "a", "--version", "1"}, "--output");
  expect_refusal({"context", "a", "--version", "0", "--output", "-"}, "--version");
}

TEST(Acting, SaysThatThereIsNoMeshWithExitCode3) {
  const Folder folder;
  const std::vector<std::vector<std::string>> verbs = {
      {"route-around", "a"}, {"find-best"}, {"delegate", "t"}, {"ask", "q"}, {"who"},
      {"context", "a"},      {"freeze"},    {"thaw"},          {"rules"}};
  for (std::vector<std::string> words : verbs) {
    words.insert(words.end(), {"--dir", folder.mesh()});
    const Ran ran = run_mesh(words);
    EXPECT_EQ(ran.exit_code, 3) << words[0];
    EXPECT_THAT(ran.err, HasSubstr(folder.mesh()));
  }
}

TEST(Status, SaysFirstWhatAPersonAsksAndLeavesOutWhatIsNothing) {
  ActingMesh mesh;
  const Agents agents(mesh.directory(), {.agents = named({"a", "b"})});
  EXPECT_EQ(mesh.ask({"send", "a", "?"})["state"], "ready");
  ASSERT_EQ(mesh.run({"route-around", "b"}).exit_code, 0);
  const std::string said = mesh.run({"status"}).out;
  EXPECT_EQ(said.find("2 of 2 agents active on 1 stations, 1 routed around; 0 messages"), 0U);
  EXPECT_THAT(said, HasSubstr("\nagents  death_known_by"));  // the table of those attached
  EXPECT_THAT(said, HasSubstr("counters.answers "));
  EXPECT_THAT(said, Not(HasSubstr("counters.expired"))) << "it is 0";
  EXPECT_THAT(said, Not(HasSubstr("unknown")));
  EXPECT_THAT(said, HasSubstr("conflicts are not recorded: there is no store"));
  const std::string all = mesh.run({"status", "--all"}).out;
  EXPECT_THAT(all, HasSubstr("counters.expired "));
  EXPECT_THAT(all, HasSubstr("agents_routed_around "));
}

TEST(Send, SaysThatAMessageExpiredBeforeItsAgentCameForIt) {
  ActingMesh mesh;
  const Agents agents(mesh.directory(), {.agents = named({"a"})});
  EXPECT_EQ(mesh.ask({"send", "a", "?", "--priority", "3", "--ttl-ms", "60000"})["state"], "ready");
  ASSERT_EQ(mesh.run({"freeze", "mesh"}).exit_code, 0);
  const Ran late = mesh.run({"send", "a", "?", "--ttl-ms", "1", "--timeout", "200"});
  EXPECT_EQ(late.exit_code, 1) << late.out;
  ASSERT_EQ(mesh.run({"thaw", "mesh"}).exit_code, 0);
  EXPECT_EQ(mesh.ask({"send", "a", "?"})["state"], "ready");
  EXPECT_EQ(mesh.ask({"status"})["counters"]["expired"], 1) << "nobody was given it";
}

TEST(RouteAround, HoldsAnAgentAlsoAcrossTheEnginesDeath) {
  ActingMesh mesh;
  const Agents agents(mesh.directory(), {.agents = named({"a", "b"})});
  EXPECT_EQ(mesh.ask({"send", "a", "?"})["state"], "ready");
  const Ran nobody = mesh.run({"route-around", "b", "nobody"});
  EXPECT_EQ(nobody.exit_code, 1);
  EXPECT_THAT(nobody.err, HasSubstr("no agent is called 'nobody'"));
  EXPECT_EQ(mesh.ask({"status"})["agents_routed_around"], 0) << "all or none";

  const Json held = mesh.ask({"route-around", "a"});
  EXPECT_EQ(held["routed_around"], true);
  EXPECT_EQ(held["agents"][0]["agent"], "a");
  EXPECT_EQ(held["agents"][0]["changed"], true);
  EXPECT_EQ(mesh.run({"route-around", "a"}).out, "a: routed around, as before\n");
  const Ran refused = mesh.run({"send", "a", "?"});
  EXPECT_EQ(refused.exit_code, 4) << refused.out;
  EXPECT_THAT(refused.err, HasSubstr("the operator routes around this agent"));
  EXPECT_EQ(mesh.ask({"send", "b", "?"})["state"], "ready");
  EXPECT_EQ(mesh.ask({"inspect", "agents", "--agent", "a"})["agents"][0]["routed_around"], true);

  mesh.kill();
  mesh.start();
  mesh.wait_for(2);
  EXPECT_EQ(mesh.ask({"status"})["agents_routed_around"], 1);
  EXPECT_EQ(mesh.run({"send", "a", "?"}).exit_code, 4);
  EXPECT_EQ(mesh.run({"route-around", "a", "--undo"}).out, "a: sent to as everybody\n");
  EXPECT_EQ(mesh.ask({"send", "a", "?"})["state"], "ready");
  EXPECT_EQ(mesh.ask({"inspect", "agents", "--agent", "a"})["agents"][0]["routed_around"], false);
}

// Scores of agents without history: class A is lower than class D. The lower row wins ties.
TEST(FindBest, NamesTheLowestScoresThatFitAndLeavesOutWhoIsRoutedAround) {
  ActingMesh mesh;
  const Agents agents(
      mesh.directory(),
      {.agents = {{.name = "gpu", .agent_class = sched::AgentClass::gpu, .capabilities = {"see"}},
                  {.name = "edge-1", .capabilities = {"see"}},
                  {.name = "edge-2", .capabilities = {"see", "hear"}},
                  {.name = "edge-3"}}});
  const auto names = [&](std::vector<std::string> more, int exit_code) {
    std::vector<std::string> words = {"find-best"};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<std::string> found;
    const Json answer = mesh.ask(words, exit_code);
    for (const Json& agent : answer["agents"]) found.push_back(agent["agent"]);
    return found;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names({"--capability", "see", "--count", "3", "--max-score", "1000"}, 0),
            (Names{"edge-1", "edge-2", "gpu"}));
  EXPECT_EQ(names({"--capability", "see", "--capability", "hear"}, 0), Names{"edge-2"});
  EXPECT_EQ(names({"--capability", "see", "--count", "5", "--max-score", "1000"}, 1).size(), 3U);
  mesh.ask({"route-around", "edge-1"});
  EXPECT_EQ(names({"--capability", "see"}, 0), Names{"edge-2"});
  const Ran unknown = mesh.run({"find-best", "--capability", "fly"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("no agent ever had the capability 'fly'"));
}

// What an agent answers is in its name.
std::optional<engine::Answer> by_name(const std::string& agent, const std::string& text) {
  static const std::string kYes = "yes\n";
  static const std::string kNo = "no";
  const auto bytes = [](const std::string& body) { return std::as_bytes(std::span(body)); };
  if (agent.starts_with("silent")) return std::nullopt;
  if (agent.starts_with("declines")) return engine::Answer::declined();
  if (agent.starts_with("objects"))
    return engine::Answer::in_conflict(sched::ConflictType::other, {1, 2}, bytes(kNo));
  return engine::Answer::ready(bytes(text == "echo" ? text : kYes));
}

TEST(Delegate, GoesOnToTheNextUntilOneIsReadyAndSaysWhatBecameOfEach) {
  ActingMesh mesh;
  const Agents agents(
      mesh.directory(),
      {.agents = named({"declines", "objects", "agrees", "agrees too"}), .handler = by_name});
  const Json done = mesh.ask({"delegate", "work", "--attempts", "4"});
  EXPECT_EQ(done["done"], true);
  EXPECT_EQ(done["agent"], "agrees");
  EXPECT_EQ(done["body"], "yes\n");
  ASSERT_EQ(done["attempts"].size(), 3U);
  EXPECT_EQ(done["attempts"][0]["end"], "declined");
  EXPECT_EQ(done["attempts"][1]["end"], "conflict");
  EXPECT_EQ(done["attempts"][2]["end"], "done");
  EXPECT_GE(done["took_ms"].get<double>(), done["attempts"][2]["took_ms"].get<double>());
}

// Their scores change as they answer, and so does who is the best: both are asked, in either order.
TEST(Delegate, SaysThatNobodyDidItWhereNobodyDid) {
  ActingMesh mesh;
  const Agents agents(mesh.directory(),
                      {.agents = named({"declines", "objects"}), .handler = by_name});
  const Json failed = mesh.ask({"delegate", "work", "--attempts", "2"}, 1);
  EXPECT_EQ(failed["done"], false);
  ASSERT_EQ(failed["attempts"].size(), 2U);
  EXPECT_NE(failed["attempts"][0]["end"], failed["attempts"][1]["end"]);
  const Json objects = mesh.ask({"delegate", "work", "--to", "agent", "objects"}, 1);
  EXPECT_EQ(objects["conflict"]["expected"], 1) << "the last answer, as it was";
}

TEST(Delegate, GivesItToTheClassOrTheAgentThatIsNamed) {
  ActingMesh mesh;
  const Agents agents(mesh.directory(),
                      {.agents = {{.name = "a"},
                                  {.name = "seer", .agent_class = sched::AgentClass::gpu},
                                  {.name = "objects"}},
                       .handler = by_name});
  EXPECT_EQ(mesh.ask({"delegate", "echo", "--to", "best"})["agent"], "a");
  EXPECT_EQ(mesh.ask({"delegate", "echo", "--to", "class", "D"})["agent"], "seer");
  EXPECT_EQ(mesh.ask({"delegate", "echo", "--to", "agent", "seer"})["body"], "echo");
  const Json alone = mesh.ask({"delegate", "echo", "--to", "agent", "objects"}, 1);
  EXPECT_EQ(alone["attempts"].size(), 1U) << "nobody else is given it";
  const Ran nobody = mesh.run({"delegate", "echo", "--to", "class", "F"});
  EXPECT_EQ(nobody.exit_code, 1);
  EXPECT_THAT(nobody.err, HasSubstr("no agent that is active and routable fits"));
  const Ran unknown = mesh.run({"delegate", "echo", "--to", "agent", "nobody"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("'nobody'"));
  mesh.ask({"route-around", "seer"});
  const Json refused = mesh.ask({"delegate", "echo", "--to", "agent", "seer"}, 1);
  EXPECT_EQ(refused["attempts"][0]["end"], "refused");
  EXPECT_THAT(refused["attempts"][0]["sentence"].get<std::string>(), HasSubstr("routes around"));
}

TEST(Delegate, DoesNotWaitForASilentAgentLongerThanItIsTold) {
  ActingMesh mesh;
  const Agents agents(mesh.directory(),
                      {.agents = named({"silent", "agrees"}), .handler = by_name});
  const Json done = mesh.ask({"delegate", "work", "--timeout", "300"});
  ASSERT_EQ(done["attempts"].size(), 2U) << done;
  EXPECT_EQ(done["attempts"][0]["agent"], "silent");
  EXPECT_EQ(done["attempts"][0]["end"], "timed_out");
  EXPECT_EQ(done["agent"], "agrees");
  EXPECT_GE(done["took_ms"].get<double>(), 300);
}

TEST(Ask, CountsEqualAnswersTogetherAndConflictsApart) {
  ActingMesh mesh;
  std::vector<std::string> names;
  for (int i = 0; i < 30; ++i)
    names.push_back((i < 20 ? "agrees-" : i < 27 ? "objects-" : "declines-") + std::to_string(i));
  const Agents agents(mesh.directory(), {.agents = named(names), .handler = by_name});
  const Json all = mesh.ask({"ask", "well?", "--seed", "7"});
  EXPECT_EQ(all["asked"], 30);
  EXPECT_EQ(all["ready"], 20);
  EXPECT_EQ(all["conflict"], 7);
  EXPECT_EQ(all["declined"], 3);
  EXPECT_EQ(all["unanswered"], 0);
  EXPECT_EQ(all["seed"], 7);
  ASSERT_EQ(all["groups"].size(), 1U);
  EXPECT_EQ(all["groups"][0]["answer"], "yes");
  EXPECT_EQ(all["groups"][0]["count"], 20);
  EXPECT_EQ(all["groups"][0]["agents"].size(), 5U);
  ASSERT_EQ(all["conflicts"].size(), 1U);
  EXPECT_EQ(all["conflicts"][0]["answer"], "no");
  EXPECT_EQ(all["conflicts"][0]["count"], 7);
  const std::size_t before = agents.handled();
  const Json five = mesh.ask({"ask", "well?", "--sample", "5", "--seed", "7"});
  EXPECT_EQ(five["asked"], 5);
  EXPECT_EQ(agents.handled(), before + 5);
  const Json again = mesh.ask({"ask", "well?", "--sample", "5", "--seed", "7"});
  EXPECT_EQ(five["ready"], again["ready"]) << "the same sample";
  EXPECT_EQ(five["conflict"], again["conflict"]);
}

// A mesh without a store accuses in its counters alone.
TEST(Scatter, ComparesAnswersWhereItAsksAllTheSame) {
  ActingMesh mesh;
  std::vector<std::string> names = {"differs"};
  for (int i = 0; i < 7; ++i) names.push_back("agrees-" + std::to_string(i));
  const Agents agents(
      mesh.directory(),
      {.agents = named(names), .handler = [](const std::string& agent, const std::string&) {
         constexpr std::string_view kSaid[] = {"7", "8"};
         return std::optional(engine::Answer::ready(
             std::as_bytes(std::span(agent == "differs" ? kSaid[1] : kSaid[0]))));
       }});
  const std::vector<std::string> words = {"scatter", "sum?", "--window-ms", "60000"};
  EXPECT_TRUE(mesh.ask(words)["compared"].is_null());
  std::vector<std::string> comparable = words;
  comparable.emplace_back("--comparable");
  const Json done = mesh.ask(comparable);
  EXPECT_EQ(done["ready"], 8);
  EXPECT_EQ(done["compared"]["verdict"], "outliers");
  EXPECT_EQ(done["compared"]["answers"], 8);
  EXPECT_EQ(done["compared"]["majority_count"], 7);
  const auto byzantine = [&] {
    return mesh.ask({"stat", "byzantine"})["counters"][0]["value"].get<int>();
  };
  while (byzantine() != 1) sched_yield();  // counters are published now and then
  EXPECT_EQ(mesh.ask({"status"})["agents_quarantined"], 0);
}

// What each says that it is doing: "a" waits on "b", which waits on "c"; "d" waits on words.
void say_what_they_do(engine::Station& station, const std::vector<AgentId>& ids) {
  const auto since = [&](std::int64_t seconds) {
    return station.now() - Nanos{seconds * kNsPerSecond};
  };
  EXPECT_TRUE(
      station.report(ids[0], {.task = "index 7", .waiting_on = "b", .since = since(9'000)}));
  EXPECT_TRUE(station.report(ids[1], {.task = "lookup", .waiting_on = "c", .since = since(400)}));
  EXPECT_TRUE(station.report(ids[2], {.task = "compact", .since = since(500)}));
  EXPECT_TRUE(
      station.report(ids[3], {.task = "scan", .waiting_on = "the disk", .since = since(50)}));
}

TEST(Who, SaysWhoHoldsWhomBackByNameAgeAndDepth) {
  ActingMesh mesh;
  const Agents agents(mesh.directory(), {.agents = named({"a", "b", "c", "d", "quiet"}),
                                         .handler =
                                             [](const std::string&, const std::string&) {
                                               return std::optional<engine::Answer>();
                                             },
                                         .begin = say_what_they_do});
  for (int i = 0; i < 3; ++i) mesh.ask({"send", "c", "?", "--no-wait"});
  while (mesh.ask({"who", "c"})["agents"][0]["depth"] != 3) sched_yield();
  const Json who = mesh.ask({"who"});
  EXPECT_EQ(who["enrolled"], 5);
  EXPECT_EQ(who["said"], 4);
  ASSERT_EQ(who["agents"].size(), 4U) << "longest first, then who has most to answer";
  EXPECT_EQ(who["agents"][0]["agent"], "a");
  EXPECT_EQ(who["agents"][0]["task"], "index 7");
  EXPECT_EQ(who["agents"][0]["waiting_on"], "b");
  EXPECT_EQ(who["agents"][0]["stuck_on"], "c");
  EXPECT_GE(who["agents"][0]["age_ms"], 9'000'000);
  EXPECT_EQ(who["agents"][2]["agent"], "d");
  EXPECT_EQ(who["agents"][2]["on_agent"], false);
  EXPECT_TRUE(who["agents"][2]["stuck_on"].is_null());
  EXPECT_EQ(who["agents"][3]["agent"], "c");
  ASSERT_EQ(who["holders"].size(), 2U);
  EXPECT_EQ(who["holders"][0]["agent"], "c");
  EXPECT_EQ(who["holders"][0]["holds"], 1);
  EXPECT_EQ(who["holders"][0]["holds_in_all"], 2);
  EXPECT_EQ(who["holders"][0]["depth"], 3);
  EXPECT_EQ(mesh.run({"who", "a", "quiet"}).out,
            "a: index 7, for 2 h 30 min: waits on b, and behind it on c; nothing to answer\n"
            "quiet: has not said what it is doing; nothing to answer\n"
            "who holds others back:\n"
            "  c holds 1, 2 in all, the oldest for 2 h 30 min; 3 to answer\n"
            "  b holds 1, 1 in all, the oldest for 2 h 30 min; nothing to answer\n");
  EXPECT_EQ(mesh.run({"who", "nobody"}).exit_code, 1);
  EXPECT_TRUE(mesh.ask({"who", "--sector", "1"})["agents"].empty());
  // It stands in the station's own memory: the engine's death changes nothing of it.
  mesh.kill();
  mesh.start();
  // Once the station is back; until then its agents are waited for, and say nothing.
  while (mesh.ask({"who", "a"})["agents"][0]["waiting_on"] != "b") sched_yield();
}

// `mesh agent` says which message its command works on.
TEST(Who, ShowsWhatAShellAgentWorksOn) {
  ActingMesh mesh;
  const std::string fifo = mesh.directory() + "/never";  // its command reads what nobody writes yet
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const StartedMesh agent({"agent", "--name", "counter", "--dir", mesh.directory(), "--exec",
                           "exec cat " + fifo, "--waiting-on", "the sky"});
  mesh.wait_for(1);
  const auto seen = [&] { return mesh.ask({"who", "counter"})["agents"][0]; };
  EXPECT_TRUE(seen()["task"].is_null());
  mesh.ask({"send", "counter", "count the stars\nall", "--no-wait"});
  while (seen()["task"] != "count the stars") sched_yield();
  EXPECT_EQ(seen()["waiting_on"], "the sky");
  std::ofstream(fifo) << "many";
  while (!seen()["task"].is_null()) sched_yield();
  EXPECT_TRUE(seen()["waiting_on"].is_null());
}

TEST(Who, NamesACircle) {
  ActingMesh mesh;
  const Agents agents(mesh.directory(),
                      {.agents = named({"x", "y"}),
                       .begin = [](engine::Station& station, const std::vector<AgentId>& ids) {
                         EXPECT_TRUE(station.report(ids[0], {.task = "1", .waiting_on = "y"}));
                         EXPECT_TRUE(station.report(ids[1], {.task = "2", .waiting_on = "x"}));
                       }});
  EXPECT_EQ(mesh.ask({"who"})["circles"], Json::parse(R"([["x", "y"]])"));
  EXPECT_EQ(mesh.ask({"who", "x"})["agents"][0]["in_circle"], true);
  EXPECT_THAT(mesh.run({"who"}).out, HasSubstr("a circle: x -> y -> x\n"));
}

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Freeze, KeepsWhatIsSentUntilTheThawAlsoAcrossTheEnginesDeath) {
  ActingMesh mesh;
  const Agents agents(mesh.directory(), {.agents = named({"a", "b"})});
  EXPECT_EQ(mesh.run({"freeze", "sector", "99"}).exit_code, 1);
  const Json frozen = mesh.ask({"freeze", "sector", "0"});
  EXPECT_EQ(frozen["agents"], 2);
  EXPECT_EQ(frozen["changed"], 2);
  const std::string path = frozen["snapshot"]["path"];
  EXPECT_EQ(path, mesh.directory() + "/frozen-sector-0.snapshot");
  EXPECT_THAT(content_of(path), HasSubstr(frozen["snapshot"]["xxh3"].get<std::string>()));
  std::istringstream lines(content_of(path));
  std::vector<Json> kept;
  for (std::string line; std::getline(lines, line);) kept.push_back(Json::parse(line));
  ASSERT_EQ(kept.size(), 3U);
  EXPECT_EQ(kept[0]["agents"], 2);
  EXPECT_EQ(kept[2]["name"], "b");
  EXPECT_EQ(kept[2]["sector"], 0);
  EXPECT_EQ(kept[2]["id"], mesh.ask({"inspect", "agents", "--agent", "b"})["agents"][0]["id"]);
  EXPECT_EQ(mesh.ask({"status"})["agents_frozen"], 2);
  EXPECT_EQ(mesh.ask({"inspect", "agents", "--agent", "a"})["agents"][0]["frozen"], true);
  EXPECT_EQ(mesh.ask({"send", "a", "?", "--timeout", "100"}, 1)["answered"], false);
  EXPECT_EQ(mesh.run({"scatter", "x", "--horizon-ms", "100"}).exit_code, 1);
  EXPECT_EQ(agents.handled(), 0U);

  mesh.kill();
  mesh.start();
  mesh.wait_for(2);
  EXPECT_EQ(mesh.ask({"status"})["agents_frozen"], 2);
  mesh.ask({"send", "a", "!", "--no-wait"});
  const Json thawed = mesh.ask({"thaw", "sector", "0"});
  EXPECT_EQ(thawed["changed"], 2);
  EXPECT_EQ(thawed["messages_waiting"], 2);
  EXPECT_EQ(thawed["gone"], 0);
  EXPECT_EQ(thawed["snapshot"]["xxh3"], frozen["snapshot"]["xxh3"]);
  while (agents.handled() != 2) sched_yield();
  EXPECT_EQ(mesh.ask({"send", "a", "?"})["state"], "ready");
  EXPECT_FALSE(std::filesystem::exists(path));
  const Ran again = mesh.run({"thaw", "sector", "0"});
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_THAT(again.out, HasSubstr("no snapshot: there is no"));
}

TEST(Freeze, DoesNotThawWhereTheSnapshotIsDamagedUnlessForced) {
  ActingMesh mesh;
  const Agents agents(mesh.directory(), {.agents = named({"a"})});
  const std::string path = mesh.ask({"freeze"})["snapshot"]["path"];
  std::string text = content_of(path);
  text[text.size() / 2] ^= 1;
  std::ofstream(path) << text;
  const Ran refused = mesh.run({"thaw"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("snapshot '" + path + "'"));
  EXPECT_EQ(mesh.ask({"status"})["agents_frozen"], 1);
  const Json forced = mesh.ask({"thaw", "--force"});
  EXPECT_TRUE(forced["snapshot"].is_null());
  EXPECT_EQ(mesh.ask({"status"})["agents_frozen"], 0);
}

TEST(Rules, SayWhoGetsWhichWorkAlsoAfterARestart) {
  ActingMesh mesh;
  const Agents agents(
      mesh.directory(),
      {.agents = {
           {.name = "pi", .agent_class = sched::AgentClass::local, .capabilities = {"inference"}},
           {.name = "pi-7", .agent_class = sched::AgentClass::local, .capabilities = {"inference"}},
           {.name = "gpu", .agent_class = sched::AgentClass::gpu, .capabilities = {"inference"}}}});
  const auto takes = [&](const std::string& agent) {
    return mesh.run({"send", agent, "?", "--require", "inference"}).exit_code == 0;
  };
  EXPECT_EQ(mesh.run({"rules"}).out, "no rule stands: whoever can may\n");
  EXPECT_TRUE(takes("pi"));
  EXPECT_EQ(mesh.ask({"rules", "deny", "inference", "--class", "E"})["changed"], true);
  EXPECT_EQ(mesh.ask({"rules", "deny", "inference", "--class", "E"})["changed"], false);
  EXPECT_EQ(mesh.ask({"rules", "allow", "inference", "--agent", "pi-7"})["rules"].size(), 2U);
  const auto expect_obeyed = [&] {
    EXPECT_FALSE(takes("pi"));
    EXPECT_TRUE(takes("pi-7"));
    EXPECT_TRUE(takes("gpu"));
    EXPECT_EQ(mesh.run({"send", "pi", "?"}).exit_code, 0) << "other work is its own";
    const Json found = mesh.ask(
        {"find-best", "--capability", "inference", "--count", "3", "--max-score", "1000"}, 1);
    EXPECT_EQ(found["agents"].size(), 2U);
    EXPECT_EQ(mesh.ask({"ask", "?", "--capability", "inference"})["asked"], 2);
    const Json done =
        mesh.ask({"delegate", "t", "--capability", "inference", "--to", "class", "E"});
    EXPECT_EQ(done["agent"], "pi-7");
    EXPECT_EQ(mesh.run({"rules"}).out, "deny  inference  class E\nallow  inference  agent pi-7\n");
  };
  expect_obeyed();
  mesh.kill();
  mesh.start();
  mesh.wait_for(3);
  expect_obeyed();
  EXPECT_EQ(mesh.ask({"rules", "drop", "inference", "--class", "E"})["rules"].size(), 1U);
  EXPECT_TRUE(takes("pi"));
}

TEST(Rules, AreNotReadFromAJournalThatMakesNoSense) {
  ActingMesh mesh;
  mesh.ask({"rules", "deny", "x", "--class", "A"});
  mesh.kill();
  const std::string journal = mesh.directory() + "/rules.journal";
  std::ofstream(journal, std::ios::app) << "deny class B ha";  // whoever wrote it died
  mesh.start();
  EXPECT_EQ(mesh.ask({"rules"})["rules"].size(), 1U);
  mesh.kill();
  std::ofstream(journal, std::ios::app) << "allow everything\n";
  const Ran refused =
      run_mesh({"up", "--agents", "300", "--stations", "8", "--dir", mesh.directory()});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("rules.journal' line 2"));
  std::filesystem::remove(journal);
  mesh.start();
}

}  // namespace of_acting_test
}  // namespace mesh::testing
