// The `mesh` program itself: version, help, unknown verbs, exit codes.
#include "tests/tools/run_mesh.hpp"
#include "tools/exit_code.hpp"
#include "tools/suggest.hpp"
#include "tools/text.hpp"

namespace mesh::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using tools::ExitCode;

TEST(Mesh, RefusesAnUnknownVerbWithTheNearestOne) {
  for (const auto& [typed, meant] : std::map<std::string, std::string>{
           {"paln", "plan"}, {"plans", "plan"}, {"sizes", "size"}, {"layuot", "layout"}}) {
    const Ran ran = run_mesh({typed});
    EXPECT_EQ(ran.exit_code, 2);
    EXPECT_THAT(ran.out, IsEmpty());
    EXPECT_THAT(ran.err, HasSubstr("did you mean " + meant + "?"));
  }
}
TEST(Mesh, ListsTheVerbsWhereNoneIsNear) {
  const Ran ran = run_mesh({"xylophone"});
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_THAT(
      ran.err,
      HasSubstr("the verbs are: demo, up, down, status, send, broadcast, "
                "scatter, cascade, ask, delegate, find-best, who, say, chat, "
                "route-around, heal, freeze, thaw, rules, conflicts, resolve, backup, "
                "restore, health, top, stat, hz, errors, kpi, tail, record, replay, doctor, "
                "inspect, swarm, agent, sim, plan, quorum, size, layout, config, "
                "reload\n"));
  EXPECT_THAT(ran.err, Not(HasSubstr("did you mean")));
}
TEST(Mesh, RefusesToRunWithoutAVerbAndShowsTheHelp) {
  const Ran ran = run_mesh({});
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, HasSubstr("Usage: mesh"));
}
TEST(Mesh, RefusesAnUnknownOption) { EXPECT_EQ(run_mesh({"--verbose"}).exit_code, 2); }
TEST(Mesh, EscapesWhatItRepeats) { EXPECT_THAT(run_mesh({"\x1b[2J"}).err, Not(HasSubstr("\x1b"))); }

TEST(Mesh, SaysItsVersionLayoutTargetAndCompiler) {
  const Ran ran = run_mesh({"--version"});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, MatchesRegex("mesh [0-9]+\\.[0-9]+\\.[0-9]+\n"
                                    "layout header [0-9]+, hash [0-9a-f]+\n"
                                    "vector target [A-Z0-9_]+\n"
                                    "compiler [A-Za-z]+ [0-9.]+\n"));
}
TEST(Mesh, HelpsWithExamplesForEveryVerb) {
  EXPECT_THAT(run_mesh({"--help"}).out, HasSubstr("Exit codes: 0 done, 1"));
  for (const char* const verb : {"demo", "up", "down", "status", "send", "broadcast", "scatter",
                                 "swarm", "agent", "plan", "size", "layout"}) {
    const Ran ran = run_mesh({verb, "--help"});
    EXPECT_EQ(ran.exit_code, 0);
    EXPECT_THAT(ran.out, HasSubstr("Examples:\n  mesh " + std::string(verb)));
    EXPECT_THAT(ran.err, IsEmpty());
  }
}

TEST(ExitCodes, FollowTheErrorCode) {
  EXPECT_EQ(tools::exit_code_of(Errc::bad_input), ExitCode::bad_input);
  EXPECT_EQ(tools::exit_code_of(Errc::invalid_argument), ExitCode::bad_input);
  EXPECT_EQ(tools::exit_code_of(Errc::no_mesh), ExitCode::no_mesh);
  EXPECT_EQ(tools::exit_code_of(Errc::layout_mismatch), ExitCode::no_mesh);
  EXPECT_EQ(tools::exit_code_of(Errc::permission_denied), ExitCode::refused);
  EXPECT_EQ(tools::exit_code_of(Errc::no_space), ExitCode::failed);
  EXPECT_EQ(static_cast<int>(ExitCode::defect), 70);
}

TEST(Nearest, CountsASwapAsOneError) {
  constexpr std::array<std::string_view, 3> kWords = {"freeze", "thaw", "cascade"};
  EXPECT_EQ(tools::nearest("thwa", kWords), "thaw");
  EXPECT_EQ(tools::nearest("freze", kWords), "freeze");
  EXPECT_EQ(tools::nearest("", kWords), "");
  EXPECT_EQ(tools::nearest("zz", kWords), "");
}

TEST(ParseNumber, KnowsTooLargeFromTooSmall) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  const std::string zeros(400, '0');
  EXPECT_EQ(tools::parse_number("1e309"), kInfinite);
  EXPECT_EQ(tools::parse_number("-1e309"), -kInfinite);
  EXPECT_EQ(tools::parse_number("1" + zeros), kInfinite);
  EXPECT_EQ(tools::parse_number("0.0001e999999999999999999999"), kInfinite);
  EXPECT_EQ(tools::parse_number("1e-400"), 0.0);
  EXPECT_EQ(tools::parse_number("0." + zeros + "1"), 0.0);
  EXPECT_EQ(tools::parse_number("12345e-99999999999999999999"), 0.0);
  EXPECT_EQ(tools::parse_number("1" + zeros + "e-400"), 1.0);
  EXPECT_EQ(tools::parse_number("5e-324"), 5e-324);
}

}  // namespace
}  // namespace mesh::testing
