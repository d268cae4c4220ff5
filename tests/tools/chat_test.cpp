// mesh say and mesh chat, over a real engine and real agents.
#include <string>
#include <string_view>

#include "tests/tools/acting_mesh.hpp"

namespace mesh::testing {
namespace of_chat_test {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// 2,400 agents fill eight sectors, always in the same way.
std::vector<std::string> crowd() {
  std::vector<std::string> names = {"db-1"};
  for (int i = 1; i < 2'400; ++i) names.push_back("w-" + std::to_string(i));
  return names;
}

void say_who_is_stuck(engine::Station& station, const std::vector<AgentId>& ids) {
  const auto since = [&](std::int64_t seconds) {
    return station.now() - Nanos{seconds * kNsPerSecond};
  };
  EXPECT_TRUE(station.report(ids[0], {.task = "vacuum", .since = since(20'030)}));
  EXPECT_TRUE(
      station.report(ids[215], {.task = "index 7", .waiting_on = "db-1", .since = since(1'590)}));
  EXPECT_TRUE(
      station.report(ids[222], {.task = "merge", .waiting_on = "w-215", .since = since(11'550)}));
  EXPECT_TRUE(station.report(ids[3], {.task = "elsewhere", .waiting_on = "db-1"}));
}

// What differs from run to run.
std::string masked(std::string text) {
  constexpr std::string_view kBefore = "mean impedance ";
  for (std::size_t at = text.find(kBefore); at != std::string::npos; at = text.find(kBefore, at)) {
    at += kBefore.size();
    text.replace(at, text.find_first_not_of("0123456789.", at) - at, "M");
  }
  return text;
}

std::vector<std::size_t> active_by_sector(const ActingMesh& mesh) {
  std::vector<std::size_t> active;
  const Json health = Json::parse(mesh.run({"health", "--json"}).out);
  for (const Json& sector : health["sectors"]) active.push_back(sector["active"]);
  return active;
}

constexpr const char* kStuck =
    "w-222: merge, for 3 h 12 min: waits on w-215, and behind it on db-1; nothing to answer\n"
    "w-215: index 7, for 26 min: waits on db-1; nothing to answer\n"
    "who holds others back:\n"
    "  db-1 holds 2, 3 in all, the oldest for 3 h 12 min; 2 to answer\n"
    "  w-215 holds 1, 1 in all, the oldest for 3 h 12 min; nothing to answer\n";

// The conversation of mesh.md part 13.
TEST(Chat, HoldsTheConversationOfTheSpecification) {
  ActingMesh mesh("2400");
  const Agents agents(mesh.directory(), {.agents = named(crowd()),
                                         .handler =
                                             [](const std::string&, const std::string&) {
                                               return std::optional<engine::Answer>();
                                             },
                                         .begin = say_who_is_stuck});
  for (int i = 0; i < 2; ++i) mesh.ask({"send", "db-1", "?", "--no-wait"});
  while (mesh.ask({"who", "db-1"})["agents"][0]["depth"] != 2) sched_yield();
  while (active_by_sector(mesh) != std::vector<std::size_t>(8, 300)) sched_yield();
  ASSERT_EQ(mesh.ask({"inspect", "agents", "--agent", "w-215"})["agents"][0]["sector"], 7);

  const Ran ran = mesh.run({"chat"},
                           "what's happening in sector 7?\n"
                           "route around them and show me what they're stuck on\n"
                           "do it\n");
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(masked(ran.out),
            std::string("sector 7: 300 of 300 agents active in 10 clusters, healthy, mean "
                        "impedance M ms\n") +
                kStuck +
                "this could be done next:\n"
                "  mesh route-around w-222 w-215\n"
                "say \"do it\" to do it\n" +
                kStuck +
                "this would be done:\n"
                "  mesh route-around w-222 w-215\n"
                "say \"do it\" to do it, or \"no\"\n"
                "w-222: routed around\n"
                "w-215: routed around\n");
  // It was done, and to them alone.
  EXPECT_EQ(mesh.ask({"status"})["agents_routed_around"], 2);
  EXPECT_EQ(mesh.run({"send", "w-215", "?"}).exit_code, 4);
  EXPECT_EQ(mesh.run({"send", "w-222", "?"}).exit_code, 4);
  EXPECT_EQ(mesh.run({"send", "db-1", "?", "--no-wait"}).exit_code, 0);
}

TEST(Chat, DoesNothingThatItWasNotToldToDo) {
  ActingMesh mesh;
  const Agents agents(mesh.directory(), {.agents = named({"anna", "ben"})});
  const Ran ran = mesh.run({"chat"},
                           "route around anna\nno\ndo it\nroute around anna\nstatus\nyes\n"
                           "ask everybody \"well?\"\nask 2 agents \"well?\"\n"
                           "\n  \nmake me a sandwich\nquit\nroute around ben\nyes\n");
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, HasSubstr("not done:\n  mesh route-around anna\n"));
  EXPECT_THAT(ran.out, HasSubstr("that is nothing I understand"));
  EXPECT_THAT(ran.out, HasSubstr("2 of 2 agents active on 1 stations, 0 routed around"));
  EXPECT_THAT(ran.out, HasSubstr("  mesh ask 'well?'  (100 agents, drawn)\n"))
      << "whoever was said to be asked";
  EXPECT_THAT(ran.out, HasSubstr("  mesh ask 'well?' --sample 2  (2 agents, drawn)\n"));
  EXPECT_EQ(mesh.ask({"status"})["agents_routed_around"], 0);
}

TEST(Chat, GivesEachTurnAsALineOfJson) {
  ActingMesh mesh;
  const Agents agents(mesh.directory(), {.agents = named({"anna"})});
  const Ran ran = mesh.run({"chat", "--json"}, "avoid anna\ngo ahead\navoid nobody\nyes\n");
  std::istringstream lines(ran.out);
  std::vector<Json> turns;
  for (std::string line; std::getline(lines, line);) turns.push_back(Json::parse(line));
  ASSERT_EQ(turns.size(), 4U);
  EXPECT_THAT(turns[0]["awaiting"], ElementsAre("mesh route-around anna"));
  EXPECT_THAT(turns[0]["done"], IsEmpty());
  EXPECT_EQ(turns[1]["done"][0]["command"], "mesh route-around anna");
  EXPECT_EQ(turns[1]["done"][0]["succeeded"], true);
  EXPECT_THAT(turns[3]["done"][0]["error"].get<std::string>(), HasSubstr("'nobody'"));
}

TEST(Say, DoesWhatOnlyLooksAndNeedsAYesForTheRest) {
  ActingMesh mesh;
  const Agents agents(mesh.directory(),
                      {.agents = named({"anna", "ben"}),
                       .begin = [](engine::Station& station, const std::vector<AgentId>& ids) {
                         EXPECT_TRUE(station.report(ids[0], {.task = "1", .waiting_on = "ben"}));
                       }});
  const Json looked = mesh.ask({"say", "who is stuck?"});
  EXPECT_EQ(looked["done"][0]["answer"]["agents"][0]["waiting_on"], "ben");
  EXPECT_EQ(looked["kind"], "acts");
  const Json shown = mesh.ask({"say", "route around anna"}, 4);
  EXPECT_THAT(shown["awaiting"], ElementsAre("mesh route-around anna"));
  EXPECT_EQ(mesh.ask({"status"})["agents_routed_around"], 0);
  const Json done = mesh.ask({"say", "route around anna", "--yes"});
  EXPECT_EQ(done["done"][0]["answer"]["agents"][0]["changed"], true);
  EXPECT_EQ(mesh.ask({"status"})["agents_routed_around"], 1);
  EXPECT_EQ(mesh.ask({"say", "ask 2 agents \"well?\"", "--yes"})["done"][0]["answer"]["asked"], 1)
      << "who is routed around is not asked";
  EXPECT_EQ(mesh.ask({"say", "tell ben \"stop\"", "--yes"})["done"][0]["succeeded"], true);
  EXPECT_EQ(mesh.ask({"say", "tell everybody hello", "--yes"})["done"][0]["answer"]["sent"], 1);
  EXPECT_EQ(mesh.ask({"say", "delegate it all", "--yes"})["done"][0]["answer"]["agent"], "ben");
  EXPECT_EQ(mesh.ask({"say", "how is the mesh?"})["kind"], "acts");
  EXPECT_EQ(mesh.ask({"say", "show the health"})["done"].size(), 1U);
  EXPECT_EQ(mesh.ask({"say", "inspect ben"})["done"][0]["succeeded"], true);
  EXPECT_THAT(mesh.run({"say", "use anna again", "--yes"}).out,
              AllOf(HasSubstr("anna: sent to as everybody"), Not(HasSubstr("do it"))))
      << "what is done is not asked for";
}

TEST(Say, RunsPipelinesAsksClustersShowsContextsAndScales) {
  ActingMesh mesh;
  static constexpr std::string_view kOfBen = "ben's answer";
  static constexpr std::string_view kKnown = "what anna knows";
  const auto answers = [](const std::string& agent, const std::string& text) {
    const std::string_view said = agent == "ben" ? kOfBen : std::string_view(text);
    return std::optional(engine::Answer::ready(std::as_bytes(std::span(said.data(), said.size()))));
  };
  const Agents agents(mesh.directory(),
                      {.agents = named({"anna", "ben"}),
                       .handler = answers,
                       .begin = [](engine::Station& station, const std::vector<AgentId>& ids) {
                         EXPECT_TRUE(station.set_context(
                             ids[0], std::as_bytes(std::span(kKnown.data(), kKnown.size()))));
                       }});
  const Json piped = mesh.ask({"say", "run \"der Igel\" through ben and anna", "--yes"});
  EXPECT_EQ(piped["done"][0]["succeeded"], true) << piped.dump();
  EXPECT_EQ(piped["done"][0]["answer"]["body"], "ben's answer") << "anna is given what ben said";
  const Json cluster = mesh.ask({"inspect", "agents", "--agent", "anna"})["agents"][0]["cluster"];
  const Json asked =
      mesh.ask({"say", "ask cluster " + cluster.dump() + " ready for 2.0?", "--yes"});
  EXPECT_EQ(asked["done"][0]["succeeded"], true) << asked.dump();
  EXPECT_EQ(asked["done"][0]["answer"]["ready"], 2);
  const Json kept = mesh.ask({"say", "which contexts does anna have?"});
  EXPECT_EQ(kept["done"][0]["answer"]["versions"].size(), 1U) << kept.dump();
  EXPECT_THAT(mesh.run({"say", "which contexts does ben have?"}).out,
              HasSubstr("it has handed none over"));
  // No command to start them by is configured here.
  EXPECT_THAT(mesh.ask({"say", "scale by 3 agents"}, 4)["awaiting"],
              ElementsAre("mesh scale +3 --no-wait"));
  const Ran scaled = mesh.run({"say", "scale by 3 agents", "--yes"});
  EXPECT_EQ(scaled.exit_code, 1);
  EXPECT_THAT(scaled.err, HasSubstr("[recovery]"));
  EXPECT_EQ(mesh.ask({"status"})["agents_enrolled"], 2);
}

TEST(Say, RefusesWithTheNearestThingsItCanDo) {
  ActingMesh mesh;
  const Ran unknown = mesh.run({"say", "roote arround them"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.out, IsEmpty());
  EXPECT_THAT(unknown.err, HasSubstr("that is nothing I understand"));
  EXPECT_THAT(unknown.err, HasSubstr("route around them"));
  EXPECT_EQ(mesh.run({"say", "route around them"}).exit_code, 2);
  EXPECT_EQ(mesh.run({"say", "avoid nobody", "--yes"}).exit_code, 1);
  EXPECT_EQ(mesh.run({"say", "how is sector 99?"}).exit_code, 2);
  EXPECT_THAT(mesh.run({"say", "how is sector 99?"}).err, HasSubstr("there is no sector 99"));
  EXPECT_THAT(mesh.run({"say", "help"}).out, HasSubstr("what's happening in sector 7?"));
  EXPECT_EQ(run_mesh({"say"}).exit_code, 2);
  const Folder nowhere;
  EXPECT_EQ(run_mesh({"say", "status", "--dir", nowhere.mesh()}).exit_code, 3);
  EXPECT_EQ(run_mesh({"chat", "--dir", nowhere.mesh()}).exit_code, 3);
}

}  // namespace of_chat_test
}  // namespace mesh::testing
