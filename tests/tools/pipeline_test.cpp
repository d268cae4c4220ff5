// mesh ask --cluster, mesh pipeline and mesh cascade: by the program, with agents that do what a
// test tells them.
#include "tests/tools/acting_mesh.hpp"

namespace mesh::testing {
namespace of_pipeline_test {

using ::testing::HasSubstr;

// Says what it was sent, and its name behind it; what its name begins with says what else.
std::optional<engine::Answer> in_line(const std::string& agent, const std::string& text) {
  static thread_local std::string said;
  if (agent.starts_with("silent")) return std::nullopt;
  if (agent.starts_with("declines")) return engine::Answer::declined();
  said = text + agent;
  if (agent.starts_with("objects"))
    return engine::Answer::in_conflict(sched::ConflictType::other, {1, 2},
                                       std::as_bytes(std::span(said)));
  return engine::Answer::ready(std::as_bytes(std::span(said)));
}

TEST(Cascade, NamesWhoLedWhereItWasNotReached) {
  const ActingMesh mesh;
  const Agents agents(mesh.directory(), {.agents = named({"objects"}), .handler = in_line});
  const Json failed = mesh.ask({"cascade", "go", "--sector-window-ms", "15000"}, 1);
  ASSERT_FALSE(failed["missed"].empty()) << failed;
  EXPECT_EQ(failed["missed"][0]["why"], "conflict");
  EXPECT_EQ(failed["missed"][0]["leader_name"], "objects");
  const Ran ran = mesh.run({"cascade", "go", "--sector-window-ms", "15000"});
  EXPECT_THAT(ran.out, AllOf(HasSubstr("objects"), Not(HasSubstr("leader_name"))));
}

TEST(AskCluster, RefusesWhatCannotBe) {
  expect_refusal({"ask", "q", "--cluster", "x"}, "--cluster");
  expect_refusal({"ask", "q", "--cluster", "0", "--sample", "3"}, "it has no --sample");
  expect_refusal({"ask", "q", "--cluster", "0", "--capability", "see"}, "it has no --capability");
  expect_refusal({"ask", "q", "--cluster", "0", "--lead-timeout", "0"}, "--lead-timeout");
  const ActingMesh mesh;
  const Ran nowhere = mesh.run({"ask", "q", "--cluster", "4000"});
  EXPECT_EQ(nowhere.exit_code, 2);
  EXPECT_THAT(nowhere.err, HasSubstr("cluster 4000: the mesh has"));
  const Ran nobody = mesh.run({"ask", "q", "--cluster", "1"});
  EXPECT_EQ(nobody.exit_code, 1);
  EXPECT_THAT(nobody.err, HasSubstr("nobody is in it"));
}

TEST(AskCluster, IsAQuorumOfItsAgentsByTheirLead) {
  const ActingMesh mesh;
  std::vector<std::string> names = {"coordinator", "lead"};
  for (int i = 2; i < 30; ++i) names.push_back("agent-" + std::to_string(i));
  const Agents agents(mesh.directory(), {.agents = named(names), .handler = in_line});
  const Json said = mesh.ask(
      {"ask", "ready?", "--cluster", "0", "--timeout", "15000", "--lead-timeout", "15000"});
  EXPECT_EQ(said["status"], "SUCCESS") << said;
  EXPECT_EQ(said["decision"], "proceed");
  EXPECT_EQ(said["confidence"], 1.0);
  EXPECT_EQ(said["ready"], 30);
  EXPECT_EQ(said["targeted"], 30);
  EXPECT_THAT(said["lead"].get<std::string>(), ::testing::Not(::testing::IsEmpty()));
  EXPECT_EQ(agents.handled(), 30U);
  EXPECT_THAT(mesh.run({"ask", "ready?", "--cluster", "0", "--timeout", "15000"}).out,
              HasSubstr("30 of 30 asked: 30 ready, 0 conflict, 0 in transit"));
}

TEST(AskCluster, NamesWhoObjectsAndIsNoSuccessWhereTooManyDo) {
  const ActingMesh mesh;
  const Agents agents(
      mesh.directory(),
      {.agents = named({"coordinator", "lead", "agrees", "objects"}), .handler = in_line});
  const Json said = mesh.ask(
      {"ask", "ready?", "--cluster", "0", "--timeout", "15000", "--lead-timeout", "15000"}, 1);
  EXPECT_EQ(said["status"], "PARTIAL");
  EXPECT_EQ(said["decision"], "resolve_conflicts");
  EXPECT_TRUE(said["confidence"].is_null());
  ASSERT_EQ(said["not_ready"].size(), 1U);
  EXPECT_EQ(said["not_ready"][0]["agent"], "objects");
  EXPECT_EQ(said["not_ready"][0]["state"], "conflict");
}

TEST(Pipeline, RefusesWhatCannotBe) {
  expect_refusal({"pipeline"}, "agents is required");
  expect_refusal({"pipeline", "a", "--window-ms", "0"}, "--window-ms");
  expect_refusal({"pipeline", "a", "--horizon-ms", "x"}, "--horizon-ms");
  std::vector<std::string> many(34, "a");
  many[0] = "pipeline";
  expect_refusal(many, "at most 32 steps");
  const ActingMesh mesh;
  const Agents agents(mesh.directory(), {.agents = named({"a"}), .handler = in_line});
  const Ran nobody = mesh.run({"pipeline", "a", "nobody"});
  EXPECT_EQ(nobody.exit_code, 1);
  EXPECT_THAT(nobody.err, HasSubstr("no agent is called 'nobody'"));
  const Ran soon = mesh.run({"pipeline", "a", "a", "a", "--horizon-ms", "5"});
  EXPECT_EQ(soon.exit_code, 1);
  EXPECT_THAT(soon.err, HasSubstr("3 steps need"));
  mesh.ask({"route-around", "a"});
  const Ran held = mesh.run({"pipeline", "a"});
  EXPECT_EQ(held.exit_code, 4);
  EXPECT_THAT(held.err, HasSubstr("step 1"));
}

TEST(Pipeline, GivesEachTheAnswerOfTheOneBefore) {
  const ActingMesh mesh;
  const Agents agents(mesh.directory(),
                      {.agents = named({"parse", "translate", "print"}), .handler = in_line});
  const std::vector<std::string> wide = {"--window-ms", "60000"};
  std::vector<std::string> words = {"pipeline", "parse", "translate", "print", "--body", "egg "};
  words.insert(words.end(), wide.begin(), wide.end());
  const Json said = mesh.ask(words);
  EXPECT_EQ(said["status"], "SUCCESS") << said;
  EXPECT_EQ(said["done"], 3);
  EXPECT_EQ(said["body"], "egg parsetranslateprint");
  ASSERT_EQ(said["steps"].size(), 3U);
  EXPECT_EQ(said["steps"][1]["agent"], "translate");
  EXPECT_EQ(said["steps"][1]["state"], "ready");
  EXPECT_LE(said["steps"][0]["target_ms"], said["steps"][1]["target_ms"]);
  EXPECT_LE(said["steps"][1]["answered_ms"], said["steps"][2]["answered_ms"]);
  EXPECT_THAT(mesh.run(words).out, HasSubstr("SUCCESS: 3 of 3 steps READY"));
  EXPECT_EQ(mesh.ask({"status"})["counters"]["pipelines_done"], 2);
}

TEST(Pipeline, EndsAtAConflictARefusalOrADeadline) {
  const ActingMesh mesh;
  const Agents agents(mesh.directory(), {.agents = named({"a", "objects", "declines", "silent"}),
                                         .handler = in_line});
  const auto ends = [&](const std::string& second, const char* window) {
    return mesh.ask({"pipeline", "a", second, "a", "--body", "x", "--window-ms", window}, 1);
  };
  const Json objects = ends("objects", "60000");
  EXPECT_EQ(objects["status"], "FAILED_AT_STEP");
  EXPECT_EQ(objects["done"], 1);
  EXPECT_EQ(objects["steps"][1]["state"], "conflict");
  EXPECT_EQ(objects["conflict"]["received"], 2);
  EXPECT_EQ(objects["body"], "xaobjects");
  EXPECT_EQ(objects["steps"][2]["state"], "none");
  EXPECT_EQ(ends("declines", "60000")["steps"][1]["state"], "declined");
  const Json silent = ends("silent", "300");
  EXPECT_EQ(silent["status"], "FAILED_AT_STEP") << silent;
}

}  // namespace of_pipeline_test
}  // namespace mesh::testing
