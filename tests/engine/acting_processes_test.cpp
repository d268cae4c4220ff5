// A lead's quorum and a pipeline with real processes: SIGKILLs of a lead, of a step, of the engine.
#include <cstring>
#include <utility>

#include "engine/cluster_quorum.hpp"
#include "tests/engine/engine_process.hpp"

namespace mesh::testing {
namespace of_acting_processes_test {

using engine::Answer;
using engine::Delivery;
using nlohmann::json;

constexpr std::size_t kWindowMs = 15'000;  // far longer than anything here takes

// An agent in a process of its own. It tells each message, and answers READY, its name behind what
// it was sent, once it is told to go on; and it tells what it is told of its own operations, judged
// by itself.
int deliberate_agent(const Channel& channel, const std::string& name) {
  const std::string directory = channel.hear();
  auto attached =
      engine::Station::attach(directory, {.name = "of " + name, .engine_patience = kForEver});
  if (!attached) return 1;
  engine::Station& station = **attached;
  if (!station.enrol(std::vector<engine::AgentDeclaration>{{name}})) return 1;
  channel.tell("enrolled");
  std::string said;
  while (!station.is_lost()) {
    station.poll(256, [&](const Delivery& delivery) {
      if (delivery.kind == sched::RecordKind::result) {
        sched::ResultBody result{};
        std::memcpy(&result, delivery.body.data(), sizeof result);
        sched::QuorumCounts counts = sched::counts_of(result);
        ++counts.ready;  // it was READY itself
        channel.tell(std::to_string(counts.total()) + " " +
                     std::string(sched::name_of(sched::judge(counts, {}))));
        return Answer::ready();
      }
      said = std::string(delivery.text()) + name;
      channel.tell(std::string(delivery.text()));
      return channel.hear() == "go on" ? Answer::ready(bytes_of(said)) : Answer::declined();
    });
    (void)station.wait(station.now() + Nanos{100 * kNsPerMs});
  }
  return 0;
}

std::unique_ptr<Child> agent(const std::string& name) {
  return std::make_unique<Child>(
      [name](const Channel& channel) { return deliberate_agent(channel, name); });
}

// A console that asks once, in a process of its own, and tells the answer, or that its engine died.
std::unique_ptr<Child> console() {
  return std::make_unique<Child>([](const Channel& channel) {
    const std::string directory = channel.hear();
    const std::string request = channel.hear();
    auto client = engine::ControlClient::connect(directory, {.patience = kForEver});
    if (!client) return 1;
    const auto answer = client->request(request);
    channel.tell(answer ? *answer : "lost");
    return 0;
  });
}
void ask(const Child& console, const std::string& directory, const json& request) {
  console.tell(directory);
  console.tell(request.dump());
}
json quorum() {
  return {{"op", "ask"},
          {"text", "well?"},
          {"cluster", 0},
          {"lead_timeout_ms", kWindowMs},
          {"timeout_ms", kWindowMs}};
}
json pipeline(const std::vector<std::string>& agents) {
  return {{"op", "pipeline"}, {"agents", agents}, {"text", "x:"}, {"window_ms", 600'000}};
}

// The first leads the sector, the second the cluster.
struct Cluster {
  Cluster()
      : asker(console()), engine(std::make_unique<EngineProcess>(engine_options(folder.path()))) {
    EXPECT_EQ(engine->hear(), "up");
    for (const auto& one : {&a, &b, &c, &d}) {
      (*one)->tell(folder.path());
      EXPECT_EQ((*one)->hear(), "enrolled");
    }
  }
  void restart() {
    engine->kill();
    engine = std::make_unique<EngineProcess>(engine_options(folder.path()));
    EXPECT_EQ(engine->hear(), "up");
  }
  ScratchDirectory folder;
  // Before the engine: they inherit nothing of it.
  std::unique_ptr<Child> a = agent("a"), b = agent("b"), c = agent("c"), d = agent("d");
  std::unique_ptr<Child> asker;
  std::unique_ptr<EngineProcess> engine;
};

TEST(QuorumProcesses, TheLeadsOwnProcessIsToldWhatItsClusterSaidAndJudgesAsTheEngineDoes) {
  Cluster mesh;
  ask(*mesh.asker, mesh.folder.path(), quorum());
  EXPECT_EQ(mesh.b->hear(), "well?") << "the lead, before anybody else";
  mesh.b->tell("go on");
  for (Child* const one : {mesh.a.get(), mesh.c.get(), mesh.d.get()}) {
    EXPECT_EQ(one->hear(), "well?");
    one->tell("go on");
  }
  EXPECT_EQ(mesh.b->hear(), "4 proceed");
  const json said = json::parse(mesh.asker->hear());
  EXPECT_EQ(said["lead"], "b");
  EXPECT_EQ(said["status"], "SUCCESS");
  EXPECT_EQ(said["decision"], "proceed");
  EXPECT_EQ(said["ready"], 4);
  EXPECT_EQ(mesh.engine->end(), 0);
}

TEST(QuorumProcesses, ALeadThatIsKilledWhileItIsAskedIsReplaced) {
  Cluster mesh;
  ask(*mesh.asker, mesh.folder.path(), quorum());
  EXPECT_EQ(mesh.b->hear(), "well?");
  mesh.b->end();
  EXPECT_EQ(mesh.c->hear(), "well?") << "the next best";
  mesh.c->tell("go on");
  for (Child* const one : {mesh.a.get(), mesh.d.get()}) {
    EXPECT_EQ(one->hear(), "well?");
    one->tell("go on");
  }
  EXPECT_EQ(mesh.c->hear(), "3 proceed");
  const json said = json::parse(mesh.asker->hear());
  EXPECT_EQ(said["lead"], "c");
  EXPECT_EQ(said["promoted"], 1);
  EXPECT_EQ(said["ready"], 3);
  EXPECT_EQ(mesh.engine->end(), 0);
}

TEST(QuorumProcesses, AnEngineThatIsKilledInTheMiddleGoesOnAndTheLeadIsTold) {
  Cluster mesh;
  ask(*mesh.asker, mesh.folder.path(), quorum());
  EXPECT_EQ(mesh.b->hear(), "well?");
  mesh.restart();
  EXPECT_EQ(mesh.asker->hear(), "lost") << "who waited is told by nobody";
  // The lead's process comes back once it has answered; who is not back by then is not asked.
  EXPECT_TRUE(eventually([&] { return mesh.engine->status()["adopted"]["returned"] >= 3; }));
  mesh.b->tell("go on");
  for (Child* const one : {mesh.a.get(), mesh.c.get(), mesh.d.get()}) {
    EXPECT_EQ(one->hear(), "well?");
    one->tell("go on");
  }
  EXPECT_EQ(mesh.b->hear(), "4 proceed");
  EXPECT_EQ(mesh.engine->end(), 0);
}

TEST(PipelineProcesses, EachProcessIsGivenWhatTheOneBeforeAnswered) {
  Cluster mesh;
  ask(*mesh.asker, mesh.folder.path(), pipeline({"c", "a", "d"}));
  const std::vector<std::pair<Child*, std::string>> steps = {
      {mesh.c.get(), "x:"}, {mesh.a.get(), "x:c"}, {mesh.d.get(), "x:ca"}};
  for (const auto& [one, text] : steps) {
    EXPECT_EQ(one->hear(), text);
    one->tell("go on");
  }
  const json said = json::parse(mesh.asker->hear());
  EXPECT_EQ(said["status"], "SUCCESS");
  EXPECT_EQ(said["done"], 3);
  EXPECT_EQ(said["body"], "x:cad");
  EXPECT_EQ(mesh.engine->end(), 0);
}

TEST(PipelineProcesses, AStepThatIsKilledIsGivenToTheProcessThatHasItsAgentNext) {
  const std::unique_ptr<Child> second_life = agent("a");
  Cluster mesh;
  ask(*mesh.asker, mesh.folder.path(), pipeline({"c", "a", "d"}));
  EXPECT_EQ(mesh.c->hear(), "x:");
  mesh.c->tell("go on");
  EXPECT_EQ(mesh.a->hear(), "x:c");
  mesh.a->end();
  second_life->tell(mesh.folder.path());
  EXPECT_EQ(second_life->hear(), "enrolled");
  EXPECT_EQ(second_life->hear(), "x:c");
  second_life->tell("go on");
  EXPECT_EQ(mesh.d->hear(), "x:ca");
  mesh.d->tell("go on");
  EXPECT_EQ(json::parse(mesh.asker->hear())["body"], "x:cad");
  EXPECT_EQ(mesh.engine->end(), 0);
}

TEST(PipelineProcesses, AnEngineThatIsKilledInTheMiddleGoesOnToTheLastStep) {
  Cluster mesh;
  ask(*mesh.asker, mesh.folder.path(), pipeline({"c", "a", "d"}));
  EXPECT_EQ(mesh.c->hear(), "x:");
  mesh.restart();
  EXPECT_EQ(mesh.asker->hear(), "lost");
  mesh.c->tell("go on");
  EXPECT_EQ(mesh.a->hear(), "x:c");
  mesh.restart();  // once more: with the answer of a step in its memory
  mesh.a->tell("go on");
  EXPECT_EQ(mesh.d->hear(), "x:ca");
  mesh.d->tell("go on");
  EXPECT_TRUE(eventually([&] { return mesh.engine->status()["counters"]["pipelines_done"] == 1; }));
  EXPECT_EQ(mesh.engine->end(), 0);
}

}  // namespace of_acting_processes_test
}  // namespace mesh::testing
