// Plain sentences: what is understood, by which words, and what is not.
#include "engine/console/grammar.hpp"

#include "engine/console/conversation.hpp"
#include "engine/console/phrases.hpp"
#include "engine/console/sentence.hpp"

namespace mesh::console {
namespace of_grammar_test {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = Understanding::Kind;

// Spoken of: a and b, held back by h, in sector 3.
Memory spoken() {
  return {.agents = {"a", "b"}, .holders = {"h"}, .scope = Scope{ScopeKind::sector, 3}};
}

std::string commands_of(const std::vector<Act>& acts) {
  std::string text;
  for (const Act& act : acts)
    text += (text.empty() ? "" : "; ") + command_of(act) + (changes(act) ? " !" : "");
  return text;
}
std::string heard(std::string_view sentence, const Memory& memory = spoken()) {
  const Understanding understood = understand(sentence, memory);
  switch (understood.kind) {
    case Kind::acts:
      return commands_of(understood.acts);
    case Kind::yes:
      return "yes";
    case Kind::no:
      return "no";
    case Kind::help:
      return "help";
    case Kind::quit:
      return "quit";
    case Kind::unclear:
      break;
  }
  return "? " + understood.why;
}

struct Said {
  const char* sentence;
  const char* command;  // "!": it needs a yes
};
constexpr Said kTable[] = {
    // Looking.
    {"what's happening in sector 7?", "mesh who --sector 7"},
    {"What is happening in Sector seven", "mesh who --sector 7"},
    {"whats going on in cluster 70?", "mesh who --cluster 70"},
    {"how is sector 2 doing", "mesh who --sector 2"},
    {"look at cluster 12", "mesh who --cluster 12"},
    {"Could you please check sector 4?", "mesh who --sector 4"},
    {"any problems in sector 9?", "mesh who --sector 9"},
    {"is anything wrong in the mesh?", "mesh who"},
    {"sector 11", "mesh who --sector 11"},
    {"which agents are stuck?", "mesh who"},
    {"how many agents are ready?", "mesh status"},
    {"are all agents up?", "mesh status"},
    {"is everybody alive?", "mesh status"},
    {"what's wrong there?", "mesh who --sector 3"},
    {"how is the mesh?", "mesh who"},
    {"what's up", "mesh who"},
    {"any trouble?", "mesh who"},
    {"is the mesh healthy?", "mesh health"},
    {"is sector 5 healthy?", "mesh who --sector 5"},
    {"what mode is the mesh in?", "mesh health"},
    {"which breakers are open?", "mesh health"},
    {"status", "mesh status"},
    {"how many agents are there?", "mesh status"},
    {"show the rules", "mesh rules"},
    {"which rules are there?", "mesh rules"},
    {"who gets which work?", "mesh rules"},
    {"diagnose sector 7", "mesh incident 7"},
    {"why is sector 7 degraded?", "mesh incident 7"},
    {"write me an incident report for sector seven", "mesh incident 7"},
    {"what happened to sector 7?", "mesh incident 7"},
    {"diagnose it and heal it", "? that is nothing I understand"},
    {"diagnose sector 7 and heal there", "mesh incident 7; mesh heal sector 7 !"},
    // Who holds whom back.
    {"who is stuck?", "mesh who"},
    {"who's blocked", "mesh who"},
    {"who is holding everybody up?", "mesh who"},
    {"who is stuck in sector 7?", "mesh who --sector 7"},
    {"what are they stuck on?", "mesh who a b"},
    {"show me what they're stuck on", "mesh who a b"},
    {"show me what they\u2019re waiting for", "mesh who a b"},
    {"why is printer slow?", "mesh who printer"},
    {"what is db-1 waiting for", "mesh who db-1"},
    {"who is blocking printer?", "mesh who printer"},
    {"what's printer doing now?", "mesh who printer"},
    {"what are printer, db-1 and db-2 doing?", "mesh who printer db-1 db-2"},
    {"what are the holders doing?", "mesh who h"},
    // One agent.
    {"inspect printer", "mesh inspect agents --agent printer"},
    {"tell me about db-1", "mesh inspect agents --agent db-1"},
    {"where is \"two words\"?", "mesh inspect agents --agent 'two words'"},
    {"show me them", "mesh inspect agents --agent a; mesh inspect agents --agent b"},
    {"find the 3 best agents for vision", "mesh find-best --capability vision --count 3"},
    {"who can do vision?", "mesh find-best --capability vision"},
    {"find the best agent for ocr", "mesh find-best --capability ocr"},
    // What changes something.
    {"route around them", "mesh route-around a b !"},
    {"Route around db-1, db-2 and db-3!", "mesh route-around db-1 db-2 db-3 !"},
    {"please avoid printer", "mesh route-around printer !"},
    {"take them out of the traffic", "mesh route-around a b !"},
    {"don't send anything to printer", "mesh route-around printer !"},
    {"stop using the holders", "mesh route-around h !"},
    {"use printer again", "mesh route-around printer --undo !"},
    {"stop routing around them", "mesh route-around a b --undo !"},
    {"bring them back in", "mesh route-around a b --undo !"},
    {"delegate index shard 7", "mesh delegate 'index shard 7' !"},
    {"delegate index shard 7 to class D", "mesh delegate 'index shard 7' --to class D !"},
    {"delegate \"print it\" to printer", "mesh delegate 'print it' --to agent printer !"},
    {"get somebody to restart the cache", "mesh delegate 'restart the cache' !"},
    {"ask 50 agents which version are you?", "mesh ask 'which version are you?' --sample 50 !"},
    {"ask everybody are you ready", "mesh ask 'are you ready' !"},
    {"ask 5 agents that can vision \"ready?\"",
     "mesh ask 'ready?' --capability vision --sample 5 !"},
    {"tell printer to stop", "mesh send printer 'to stop' !"},
    {"ask db-1 how full are you?", "mesh send db-1 'how full are you?' !"},
    {"tell them \"stop\"", "mesh send a stop !; mesh send b stop !"},
    {"tell everybody \"freeze at noon\"", "mesh broadcast 'freeze at noon' --ack !"},
    {"send hello to all agents", "mesh broadcast hello --ack !"},
    {"say it's time to printer", "mesh send printer 'it'\\''s time' !"},
    {"freeze sector 7", "mesh freeze sector 7 !"},
    {"pause delivery to cluster 70", "mesh freeze cluster 70 !"},
    {"freeze everything", "mesh freeze !"},
    {"thaw the mesh", "mesh thaw !"},
    {"resume sector 7", "mesh thaw sector 7 !"},
    {"freeze it", "? that is nothing I understand"},
    {"heal sector 7", "mesh heal sector 7 !"},
    {"repair the mesh", "mesh heal !"},
    {"fix cluster 12 please", "mesh heal cluster 12 !"},
    {"reset the breakers of sector 7", "mesh heal sector 7 !"},
    {"replace what crashed in sector 2", "mesh heal sector 2 !"},
    {"heal there", "mesh heal sector 3 !"},
    {"heal printer", "? that is nothing I understand"},
    {"back up the mesh", "mesh backup !"},
    {"make a backup now", "mesh backup !"},
    {"could you please back everything up?", "mesh backup !"},
    {"back up the mesh to /var/backups", "mesh backup /var/backups !"},
    {"take a backup into \"my backups\"", "mesh backup 'my backups' !"},
    {"scatter step 7", "mesh scatter 'step 7' !"},
    {"scatter \"go\" to everybody", "mesh scatter go !"},
    {"cascade the new plan", "mesh cascade 'the new plan' !"},
    {"cascade stop in parallel", "mesh cascade stop --strategy parallel !"},
    {"cascade \"stop now\" by class", "mesh cascade 'stop now' --strategy priority_first !"},
    {"deny inference to class E", "mesh rules deny inference --class E !"},
    {"class e gets no inference work", "mesh rules deny inference --class E !"},
    {"no vision for printer", "mesh rules deny vision --agent printer !"},
    {"allow inference for pi-7", "mesh rules allow inference --agent pi-7 !"},
    {"forget the rule about inference for class E", "mesh rules drop inference --class E !"},
    {"handle the incident in sector 7", "mesh incident 7 --act !"},
    {"act on the incident there", "mesh incident 3 --act !"},
    {"freeze there", "mesh freeze sector 3 !"},
    // Newer verbs.
    {"scale by 1000 agents", "mesh scale +1000 --no-wait !"},
    {"scale +90", "mesh scale +90 --no-wait !"},
    {"scale the mesh up by 30", "mesh scale +30 --no-wait !"},
    {"grow the mesh by twelve agents", "mesh scale +12 --no-wait !"},
    {"we need 60 more agents of class D", "mesh scale +60 --class D --no-wait !"},
    {"please add 90 agents of class d", "mesh scale +90 --class D --no-wait !"},
    {"add one more agent", "mesh scale +1 --no-wait !"},
    {"scale by 0 agents", "? the mesh is scaled by one agent or more: by how many?"},
    {"scale the mesh", "? that is nothing I understand"},
    {"run der Igel through parse, translate and print",
     "mesh pipeline parse translate print --body 'der Igel' !"},
    {"pass \"one, two\" through printer", "mesh pipeline printer --body 'one, two' !"},
    {"pipeline parse, translate with der Igel",
     "mesh pipeline parse translate --body 'der Igel' !"},
    {"give the page to parse and print in order", "mesh pipeline parse print --body 'the page' !"},
    {"send it through them", "mesh pipeline a b --body it !"},
    {"send through printer again", "mesh route-around printer --undo !"},
    {"ask cluster 12 ready for 2.0?", "mesh ask 'ready for 2.0?' --cluster 12 !"},
    {"have the lead of cluster 3 ask \"all well?\"", "mesh ask 'all well?' --cluster 3 !"},
    {"ask the lead of cluster seven are you ready", "mesh ask 'are you ready' --cluster 7 !"},
    {"poll the mesh which version are you?", "mesh ask 'which version are you?' !"},
    {"ask sector 7 ready?", "? a quorum is a cluster's: which one?"},
    {"which contexts does printer have?", "mesh context printer"},
    {"show me the context of printer", "mesh context printer"},
    {"what is kept of them?", "mesh context a; mesh context b"},
    // Several at once; what the first speaks of the second means.
    {"route around them and show me what they're stuck on",
     "mesh route-around a b !; mesh who a b"},
    {"look at sector 7 and then who is stuck there", "mesh who --sector 7; mesh who --sector 7"},
    {"avoid printer and show me what it is waiting for",
     "mesh route-around printer !; mesh who printer"},
    {"status, health and who is stuck?", "mesh status; mesh health; mesh who"},
    // About the conversation itself.
    {"do it", "yes"},
    {"Yes, please.", "yes"},
    {"go ahead", "yes"},
    {"ok", "yes"},
    {"no", "no"},
    {"never mind", "no"},
    {"don't", "no"},
    {"help", "help"},
    {"what can you do?", "help"},
    {"bye", "quit"},
};

TEST(Grammar, UnderstandsTheTableOfPhrasings) {
  EXPECT_GE(std::size(kTable), 40U);
  for (const Said& said : kTable) EXPECT_EQ(heard(said.sentence), said.command) << said.sentence;
}

// What the help shows is understood, and as what its phrases say.
TEST(Grammar, UnderstandsEveryExampleThatItGives) {
  Memory one = spoken();
  for (std::size_t i = 0; i < examples().size(); ++i) {
    const Understanding understood = understand(examples()[i].sentence, one);
    ASSERT_NE(understood.kind, Kind::unclear) << examples()[i].sentence << understood.why;
    bool is_its = false;
    for (const Phrase& phrase : phrases()) {
      if (phrase.example != i || phrase.says != understood.kind) continue;
      is_its |= phrase.says != Kind::acts || phrase.act == understood.acts.front().kind;
    }
    EXPECT_TRUE(is_its) << examples()[i].sentence;
  }
}

TEST(Grammar, DoesNotGuessWhatIsMeant) {
  EXPECT_THAT(heard("route around them", {}), HasSubstr("No agent was spoken of yet"));
  EXPECT_THAT(heard("what are they stuck on?", {}), HasSubstr("No agent was spoken of yet"));
  EXPECT_THAT(heard("route around it"), HasSubstr("2 agents were spoken of"));
  EXPECT_EQ(heard("route around it", {.agents = {"a"}}), "mesh route-around a !");
  EXPECT_THAT(heard("what's wrong there?", {}), HasSubstr("No sector or cluster"));
  EXPECT_THAT(heard("avoid the holders", {}), HasSubstr("holds others back"));
  EXPECT_THAT(heard("delegate work to them"), HasSubstr("one agent"));
  EXPECT_THAT(heard("diagnose the mesh"), HasSubstr("an incident is a sector's"));
  EXPECT_THAT(heard("handle the incident in cluster 7"), HasSubstr("an incident is a sector's"));
  EXPECT_THAT(heard("deny vision to them"), HasSubstr("a class or one agent"));
  EXPECT_THAT(heard("show me the moon and route around them"), HasSubstr("nothing I understand"));
  EXPECT_THAT(heard("make me a sandwich"), HasSubstr("nothing I understand"));
  EXPECT_THAT(heard(""), HasSubstr("nothing was said"));
  EXPECT_THAT(heard("tell \"printer"), HasSubstr("does not end"));
  EXPECT_THAT(heard(std::string(2'000, 'x')), HasSubstr("at most 1024"));
}

TEST(Grammar, NamesTheNearestThingsItCanDo) {
  const auto nearest = [](std::string_view sentence) {
    return understand(sentence, spoken()).nearest;
  };
  EXPECT_THAT(nearest("roote arround them pls"), ::testing::Contains("route around them"));
  EXPECT_THAT(nearest("delegat it somewhere"), ::testing::Contains("delegate index shard 7"));
  EXPECT_THAT(nearest("why on earth would a breaker open"), ::testing::Contains("show the health"));
  EXPECT_THAT(nearest("xyzzy"),
              ElementsAre("what's happening in sector 7?", "who is stuck?", "help"));
  for (const std::string& sentence : nearest("show secter 7 stuck stuff"))
    EXPECT_NE(understand(sentence, spoken()).kind, Kind::unclear) << sentence;
}

// Whatever is typed: it ends, it is the same the second time, and what it would do can be typed.
TEST(Grammar, IsDeterministicForAnyBytes) {
  EXPECT_TRUE(rc::check([](const std::string& typed) {
    const Understanding first = understand(typed, spoken());
    const Understanding again = understand(typed, spoken());
    RC_ASSERT(first.kind == again.kind);
    RC_ASSERT(first.acts == again.acts);
    RC_ASSERT((first.kind == Kind::unclear) == !first.why.empty());
  }));
  const std::vector<std::string> words = {"route", "around", "them", "and", ",",   "sector", "7",
                                          "who",   "is",     "tell", "\"x", "y\"", "ask",    "to"};
  EXPECT_TRUE(rc::check([&](const std::vector<std::uint8_t>& picks) {
    std::string typed;
    for (const std::uint8_t pick : picks) typed += words[pick % words.size()] + " ";
    const Understanding heard_once = understand(typed, spoken());
    RC_ASSERT(heard_once.kind != Kind::acts || !heard_once.acts.empty());
  }));
}

// Conversation.

TEST(Conversation, ShowsWhatChangesSomethingAndDoesItOnlyWhenTold) {
  Conversation talk;
  Turn turn = talk.hear("what's happening in sector 7?");
  EXPECT_EQ(commands_of(turn.now), "mesh who --sector 7");
  EXPECT_TRUE(turn.shown.empty());
  const Act offer{.kind = ActKind::route_around, .agents = {"x", "y"}};
  EXPECT_TRUE(talk.found(turn.now[0], {.agents = {"x", "y"}, .holders = {"z"}, .offers = {offer}}));

  turn = talk.hear("route around them and show me what they're stuck on");
  EXPECT_EQ(commands_of(turn.now), "mesh who x y");
  EXPECT_EQ(commands_of(turn.shown), "mesh route-around x y !");
  EXPECT_FALSE(talk.found(turn.now[0], {.agents = {"x", "y"}, .offers = {Act{}}}))
      << "what was asked for waits, not what could be done besides";
  turn = talk.hear("do it");
  EXPECT_EQ(commands_of(turn.now), "mesh route-around x y !");
  EXPECT_EQ(talk.hear("do it").kind, Kind::unclear) << "it is done once";
}

TEST(Conversation, DoesWhatItOffered) {
  Conversation talk;
  const Turn turn = talk.hear("how is the mesh?");
  const Act offer{.kind = ActKind::route_around, .agents = {"x"}};
  EXPECT_TRUE(talk.found(turn.now[0], {.agents = {"x"}, .offers = {offer}}));
  EXPECT_EQ(commands_of(talk.hear("yes").now), "mesh route-around x !");
}

TEST(Conversation, ForgetsWhatWasShownWhenSomethingElseIsSaid) {
  Conversation talk;
  EXPECT_EQ(commands_of(talk.hear("avoid x").shown), "mesh route-around x !");
  EXPECT_EQ(talk.hear("do itt").kind, Kind::unclear);
  EXPECT_EQ(talk.awaiting().size(), 1U) << "a mistyped yes changes nothing";
  EXPECT_EQ(commands_of(talk.hear("status").now), "mesh status");
  EXPECT_EQ(talk.hear("do it").kind, Kind::unclear);
  EXPECT_EQ(commands_of(talk.hear("avoid x").shown), "mesh route-around x !");
  EXPECT_EQ(commands_of(talk.hear("no").shown), "mesh route-around x !");
  EXPECT_EQ(talk.hear("do it").kind, Kind::unclear);
}

TEST(Conversation, RemembersTheClusterThatWasAsked) {
  Conversation talk;
  EXPECT_EQ(commands_of(talk.hear("ask cluster 12 ready?").shown),
            "mesh ask 'ready?' --cluster 12 !");
  EXPECT_EQ(commands_of(talk.hear("what's wrong there?").now), "mesh who --cluster 12");
}

TEST(Conversation, KnowsNobodyOfAPlaceWhereNobodyIsStuck) {
  Conversation talk;
  Turn turn = talk.hear("sector 1");
  talk.found(turn.now[0], {.agents = {"x"}});
  turn = talk.hear("sector 2");
  EXPECT_FALSE(talk.found(turn.now[0], {}));
  EXPECT_EQ(talk.hear("route around them").kind, Kind::unclear);
  EXPECT_EQ(talk.memory().scope, (Scope{ScopeKind::sector, 2}));
}

TEST(Command, IsWhatAShellTakes) {
  EXPECT_EQ(command_of({.kind = ActKind::send, .agents = {"a b"}, .text = "it's $HOME; `x`"}),
            "mesh send 'a b' 'it'\\''s $HOME; `x`'");
}

}  // namespace of_grammar_test
}  // namespace mesh::console
