// The `mesh` program itself: version, help, unknown verbs, exit codes.
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "tests/tools/run_mesh.hpp"
#include "tools/exit_code.hpp"
#include "tools/suggest.hpp"
#include "tools/text.hpp"

namespace mesh::testing {
namespace of_main_test {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using tools::ExitCode;

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

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
                "scatter, cascade, pipeline, ask, delegate, find-best, who, say, chat, "
                "route-around, heal, incident, scale, freeze, thaw, rules, context, conflicts, "
                "resolve, backup, restore, "
                "health, top, stat, hz, errors, kpi, history, tail, record, replay, "
                "doctor, inspect, swarm, agent, sim, chaos, plan, quorum, audit, size, layout, "
                "config, reload, help\n"));
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
  EXPECT_THAT(ran.out,
              MatchesRegex("mesh [0-9]+\\.[0-9]+\\.[0-9]+\n"
                           "layout header [0-9]+, hash [0-9a-f]+\n"
                           "vector target [A-Z0-9_]+\n"
                           "allocator (mimalloc [0-9]+[.][0-9]+[.][0-9]+|the C library's)\n"
                           "compiler [A-Za-z]+ [0-9.]+\n"));
}
// The verbs, as the program itself lists them, each with what its --help says.
std::map<std::string, std::string> helps() {
  const Folder folder;
  EXPECT_EQ(run_mesh({"help", "--pages", folder.file("")}).exit_code, 0);
  std::map<std::string, std::string> all;
  for (const auto& entry : std::filesystem::directory_iterator(folder.file(""))) {
    const std::string verb = entry.path().stem();
    if (verb == "README") continue;
    const Ran ran = run_mesh({verb, "--help"});
    EXPECT_EQ(ran.exit_code, 0) << verb;
    EXPECT_THAT(ran.err, IsEmpty()) << verb;
    all[verb] = ran.out;
  }
  EXPECT_GE(all.size(), 50U);
  return all;
}

TEST(Mesh, HelpsWithExamplesForEveryVerb) {
  const std::string all = run_mesh({"--help"}).out;
  EXPECT_THAT(all, HasSubstr("Exit codes: 0 done, 1"));
  for (const auto& [verb, help] : helps()) {
    EXPECT_THAT(all, HasSubstr("\n  " + verb + " ")) << "it is not listed";
    EXPECT_THAT(help, HasSubstr("Examples:\n  mesh " + verb));
  }
}

// An entry of a help: what is typed, and what is said of it, on its line or, where that is too
// long, on those below.
struct Entry {
  std::string typed, meaning;
};
std::vector<Entry> entries_of(const std::string& help) {
  constexpr std::size_t kMeaningAt = 30;
  std::vector<Entry> entries;
  std::istringstream lines(help);
  bool is_listing = false;
  for (std::string line; std::getline(lines, line);) {
    if (line == "Positionals:" || line == "Options:") {
      is_listing = true;
    } else if (line.empty()) {
      is_listing = false;
    } else if (is_listing && line.rfind("   ", 0) == 0) {
      entries.back().meaning += line.substr(line.find_first_not_of(' '));
    } else if (is_listing) {
      const bool has_both = line.size() > kMeaningAt && line[kMeaningAt - 1] == ' ';
      entries.push_back({line.substr(0, has_both ? kMeaningAt - 1 : line.npos),
                         has_both ? line.substr(kMeaningAt) : ""});
    }
  }
  return entries;
}

// By POSIX's regexec: std::regex is warned of where g++ 12 compiles for a sanitizer.
bool finds(const std::string& text, const std::string& expression) {
  return ::testing::Matches(::testing::ContainsRegex(expression))(text);
}

// What every option means, what it is where it is not given, and in which unit a time is.
TEST(Mesh, SaysOfEveryOptionWhatItMeansItsDefaultAndItsUnit) {
  const std::string of_time = "(^| )(MS|SECONDS|MINUTES|HOURS)(=| |$)";
  const std::string says_unit = "(^|[^a-z])(ms|seconds|minutes|hours)([^a-z]|$)";
  const std::string takes_value = " [A-Z+][A-Z|:.a-z]*";
  std::size_t seen = 0;
  for (const auto& [verb, help] : helps()) {
    bool is_positional = help.find("Positionals:") != help.npos;
    for (const auto& [typed, meaning] : entries_of(help)) {
      SCOPED_TRACE("mesh " + verb + ": " + typed);
      if (typed.find("--help") != typed.npos) continue;
      ++seen;
      is_positional = is_positional && typed.find("  -") != 0;
      EXPECT_GE(meaning.size(), 5U) << "nothing is said of it";
      // What excludes others stands behind, in capitals and with them.
      const std::string itself = typed.substr(0, typed.find(" Excludes:"));
      const bool is_flag = !is_positional && !finds(itself, takes_value);
      const bool is_needed = itself.find("REQUIRED") != itself.npos;
      const bool has_default = itself.find('=') != itself.npos;
      EXPECT_TRUE(is_flag || is_needed || has_default || meaning.find("default: ") != meaning.npos)
          << "what if it is not given? " << meaning;
      if (finds(itself, of_time)) {
        EXPECT_TRUE(finds(meaning, says_unit)) << meaning;
      }
    }
  }
  EXPECT_GT(seen, 200U);
}

// mesh.md part 13. What stays, and so answers nothing at its end, has no answer to print.
TEST(Mesh, GivesEveryVerbThatAnswersAJsonForm) {
  for (const char* const verb :
       {"status",    "broadcast", "ask",    "delegate", "heal",         "freeze",    "thaw",
        "cascade",   "scatter",   "stat",   "top",      "hz",           "tail",      "errors",
        "who",       "doctor",    "record", "replay",   "route-around", "conflicts", "resolve",
        "kpi",       "health",    "chat",   "say",      "incident",     "scale",     "rules",
        "find-best", "pipeline",  "quorum", "backup",   "restore",      "history",   "context",
        "inspect",   "config",    "reload", "sim",      "plan",         "size",      "demo",
        "audit"}) {
    const Ran ran = run_mesh({verb, "--help"});
    EXPECT_EQ(ran.exit_code, 0) << verb;
    EXPECT_THAT(ran.out, HasSubstr("--json")) << verb;
  }
}

TEST(MeshHelp, RefusesAnUnknownVerbAndAFolderThatIsNone) {
  const Ran verb = run_mesh({"help", "tpo"});
  EXPECT_EQ(verb.exit_code, 2);
  EXPECT_THAT(verb.out, IsEmpty());
  EXPECT_THAT(verb.err, HasSubstr("no verb \"tpo\", did you mean top?"));
  const Ran folder = run_mesh({"help", "--pages", "/nowhere/at/all"});
  EXPECT_EQ(folder.exit_code, 2);
  EXPECT_THAT(folder.err, HasSubstr("\"/nowhere/at/all\" is no folder"));
}
TEST(MeshHelp, SaysWhatTheVerbItselfSays) {
  EXPECT_EQ(run_mesh({"help", "top"}).out, run_mesh({"top", "--help"}).out);
  EXPECT_EQ(run_mesh({"help"}).out, run_mesh({"--help"}).out);
}
TEST(MeshHelp, ReplacesItsOwnPagesAndNobodyElses) {
  const Folder folder;
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(folder.file(name)) << text;
  };
  write("theirs.md", "# mine\n");
  write("gone.md", "<!-- generated by: mesh help --pages docs/verbs -->\n# mesh gone\n");
  EXPECT_EQ(run_mesh({"help", "--pages", folder.file("")}).exit_code, 0);
  EXPECT_EQ(content_of(folder.file("theirs.md")), "# mine\n");
  EXPECT_FALSE(std::filesystem::exists(folder.file("gone.md")));
  EXPECT_THAT(content_of(folder.file("top.md")), HasSubstr("# mesh top\n\nthe live screen"));
}
// docs/verbs: after a change of a verb, `mesh help --pages docs/verbs`.
TEST(MeshHelp, PagesOfTheTreeAreWhatTheVerbsSay) {
  const Folder folder;
  ASSERT_EQ(run_mesh({"help", "--pages", folder.file("")}).exit_code, 0);
  std::set<std::string> made;
  for (const auto& entry : std::filesystem::directory_iterator(folder.file(""))) {
    const std::string name = entry.path().filename();
    made.insert(name);
    EXPECT_EQ(content_of(entry.path()), content_of(MESH_VERB_PAGES "/" + name)) << name;
  }
  EXPECT_GT(made.size(), 40U);
  for (const auto& entry : std::filesystem::directory_iterator(MESH_VERB_PAGES))
    EXPECT_EQ(made.count(entry.path().filename()), 1U) << entry.path().filename();
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

}  // namespace of_main_test
}  // namespace mesh::testing
