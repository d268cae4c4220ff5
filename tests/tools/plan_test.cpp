// mesh plan, run as a program: what it refuses, the worked numbers, and what holds for every table.
#include <cmath>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/tools/run_mesh.hpp"

namespace mesh::testing {
namespace of_plan_test {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kHeader =
    "agent,class,latency_ms,queue_depth,drift,reliability,heartbeat_age_s\n";
constexpr const char* kGoodLine = "a0,A,12,0,0.1,1,1\n";

std::string table(const std::string& lines) { return kHeader + lines; }

Ran plan(const std::string& csv, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"plan", "--input",  "-", "--window-ms",
                                        "500",  "--weight", "1", "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_mesh(arguments, csv);
}

// Exit 2, nothing on standard output, one line that says all of `parts`.
void expect_refused(const Ran& ran, const std::vector<std::string>& parts) {
  EXPECT_EQ(ran.exit_code, 2) << ran.err;
  EXPECT_THAT(ran.out, IsEmpty());
  for (const std::string& part : parts) EXPECT_THAT(ran.err, HasSubstr(part));
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
}

nlohmann::json planned(const std::string& csv, std::vector<std::string> more = {}) {
  const Ran ran = plan(csv, std::move(more));
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.err, IsEmpty());
  return nlohmann::json::parse(ran.out);
}

// ---- what is refused: the file

TEST(PlanRefuses, AnEmptyFile) {
  expect_refused(plan(""), {"standard input", "line 1, column 1", "empty"});
}
TEST(PlanRefuses, AFileOfBlankLines) {
  expect_refused(plan("\n\r\n\n"), {"line 1, column 1", "empty"});
}
TEST(PlanRefuses, ATableWithoutAgents) {
  expect_refused(plan(kHeader), {"line 2, column 1", "no agents"});
}
TEST(PlanRefuses, AMissingHeader) {
  expect_refused(plan(kGoodLine), {"line 1, column 1 (agent)", "\"a0\"", "agent,class,latency_ms"});
}
TEST(PlanRefuses, AnotherOrderOfColumns) {
  expect_refused(plan("agent,class,queue_depth,latency_ms,drift,reliability,heartbeat_age_s\n"),
                 {"line 1, column 3 (latency_ms)", "\"queue_depth\""});
}
TEST(PlanRefuses, AHeaderWithAColumnMissing) {
  expect_refused(plan("agent,class,latency_ms,queue_depth,drift,reliability\na,A,1,1,1,1\n"),
                 {"line 1, column 7 (heartbeat_age_s)", "missing"});
}
TEST(PlanRefuses, AHeaderWithAColumnTooMany) {
  expect_refused(plan("agent,class,latency_ms,queue_depth,drift,reliability,heartbeat_age_s,x\n"),
                 {"line 1, column 8", "too many"});
}
TEST(PlanRefuses, AMissingColumn) {
  expect_refused(plan(table("a0,A,12,0,0.1,1,1\na1,A,12,0,0.1,1\n")),
                 {"line 3, column 7 (heartbeat_age_s)", "missing", "6 of 7"});
}
TEST(PlanRefuses, AnExtraColumn) {
  expect_refused(plan(table("a0,A,12,0,0.1,1,1,9\n")), {"line 2, column 8", "too many"});
}
TEST(PlanRefuses, TextForANumber) {
  expect_refused(plan(table("a0,A,12,0,0.1,1,1\na1,A,12,many,0.1,1,1\n")),
                 {"line 3, column 4 (queue_depth)", "\"many\" is not a number"});
}
TEST(PlanRefuses, AnEmptyNumber) {
  expect_refused(plan(table("a0,A,,0,0.1,1,1\n")),
                 {"line 2, column 3 (latency_ms)", "\"\" is not a number"});
}
TEST(PlanRefuses, NumbersThatEndInText) {
  for (const char* const number :
       {"12ms", "1 2", "0x10", "1e", "--1", "+-1", "1_000", "12,5", "."}) {
    const std::string field = '"' + std::string(number) + '"';
    expect_refused(plan(table("a0,A," + field + ",0,0.1,1,1\n")),
                   {"line 2, column 3 (latency_ms)", "is not a number"});
  }
}
TEST(PlanRefuses, AnUnknownClass) {
  for (const char* const agent_class : {"G", "a", "", "AB", " A", "0"}) {
    expect_refused(plan(table("a0," + std::string(agent_class) + ",12,0,0.1,1,1\n")),
                   {"line 2, column 2 (class)", "unknown class", "A-F"});
  }
}
TEST(PlanRefuses, ADuplicateAgentAndNamesBothLines) {
  expect_refused(plan(table("a0,A,12,0,0.1,1,1\na1,A,12,0,0.1,1,1\n\"a0\",B,12,0,0.1,1,1\n")),
                 {"line 4, column 1 (agent)", "\"a0\"", "line 2"});
}
TEST(PlanRefuses, AnEmptyName) {
  expect_refused(plan(table(",A,12,0,0.1,1,1\n")), {"line 2, column 1 (agent)", "no name"});
}
TEST(PlanRefuses, ANameOf64Bytes) {
  expect_refused(plan(table(std::string(64, 'x') + ",A,12,0,0.1,1,1\n")),
                 {"line 2, column 1 (agent)", "64 bytes", "at most 63"});
}
TEST(PlanRefuses, ANameThatIsNotUtf8) {
  // A lone continuation, an overlong slash, a surrogate, beyond U+10FFFF, cut short.
  for (const char* const name :
       {"a\x80", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82"}) {
    expect_refused(plan(table(std::string(name) + ",A,12,0,0.1,1,1\n")),
                   {"line 2, column 1 (agent)", "not UTF-8", "\\x"});
  }
}
TEST(PlanRefuses, ABlankLineBetweenAgents) {
  expect_refused(plan(table("a0,A,12,0,0.1,1,1\n\na1,A,12,0,0.1,1,1\n")),
                 {"line 3, column 1", "blank"});
}
TEST(PlanRefuses, AQuoteInsideAField) {
  expect_refused(plan(table("a\"0,A,12,0,0.1,1,1\n")), {"line 2, column 1", "quote"});
}
TEST(PlanRefuses, TextAfterAClosingQuote) {
  expect_refused(plan(table("\"a\"0,A,12,0,0.1,1,1\n")),
                 {"line 2, column 1", "after the closing quote"});
}
TEST(PlanRefuses, AQuoteThatIsNeverClosed) {
  expect_refused(plan(table("a0,A,12,0,0.1,1,1\n\"a1,A,12,0,0.1,1,1\n")),
                 {"line 3, column 1", "never closed"});
}
TEST(PlanRefuses, ALoneCarriageReturn) {
  expect_refused(plan(table("a0,A,12,0,0.1,1,1\ra1,A,12,0,0.1,1,1\n")),
                 {"line 2, column 7", "carriage return"});
}
TEST(PlanRefuses, AUtf16File) {
  expect_refused(plan(std::string("\xFF\xFE"
                                  "a\0g\0",
                                  6)),
                 {"line 1, column 1"});
}
TEST(PlanRefuses, AMissingFile) {
  expect_refused(
      run_mesh({"plan", "--input", "/nonexistent/agents.csv", "--window-ms", "1", "--weight", "1"}),
      {"/nonexistent/agents.csv", "No such file"});
}
TEST(PlanRefuses, ADirectory) {
  expect_refused(run_mesh({"plan", "--input", "/", "--window-ms", "1", "--weight", "1"}),
                 {"/", "directory"});
}
TEST(PlanRefuses, ToSendControlCharactersToTheTerminal) {
  const Ran ran = plan(table("a0,\x1b[2J,12,0,0.1,1,1\n"));
  expect_refused(ran, {"\\x1b[2J"});
  EXPECT_THAT(ran.err, Not(HasSubstr("\x1b")));
}
TEST(PlanRefuses, MoreAgentsThanAMeshHolds) {
  std::string csv = kHeader;
  for (std::uint32_t i = 0; i <= (1U << 20); ++i) csv += std::to_string(i) + ",A,1,0,0,1,1\n";
  expect_refused(plan(csv), {"line 1048578, column 1", "1048576"});
}

// ---- what is refused: the options

TEST(PlanRefuses, AWindowThatIsNoAmount) {
  for (const char* const value : {"-1", "nan", "inf", "1e999", "soon", ""}) {
    expect_refused(
        run_mesh({"plan", "--input", "-", "--weight", "1", "--window-ms", value}, table(kGoodLine)),
        {"--window-ms"});
  }
}
TEST(PlanRefuses, AWeightThatIsNoAmount) {
  for (const char* const value : {"-0.5", "nan", "-inf", "heavy"}) {
    expect_refused(
        run_mesh({"plan", "--input", "-", "--window-ms", "1", "--weight", value}, table(kGoodLine)),
        {"--weight"});
  }
}
TEST(PlanRefuses, AZThatIsNoAmount) {
  for (const char* const value : {"-1.645", "nan", "inf", "z"}) {
    expect_refused(plan(table(kGoodLine), {"--z", value}), {"--z"});
  }
}
TEST(PlanRefuses, AnUnknownModel) {
  expect_refused(plan(table(kGoodLine), {"--model", "psychic"}), {"--model", "psychic", "nominal"});
}
TEST(PlanRefuses, AMissingOption) {
  expect_refused(run_mesh({"plan", "--input", "-", "--weight", "1"}, table(kGoodLine)),
                 {"--window-ms"});
}
TEST(PlanRefuses, AnOptionGivenTwice) {
  expect_refused(plan(table(kGoodLine), {"--weight", "2"}), {"--weight"});
}
TEST(PlanRefuses, AnUnknownOption) {
  expect_refused(plan(table(kGoodLine), {"--speed", "3"}), {"--speed"});
}

TEST(Plan, FailsWhenStandardOutputIsFull) {
  const Ran ran =
      run_mesh({"plan", "--input", "-", "--window-ms", "500", "--weight", "1", "--json"},
               table(kGoodLine), "/dev/full");
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.err, HasSubstr("standard output"));
}

// ---- worked numbers

// By hand, weight 1, z 1.645, T in 500 ms:
//   edge   one_way 6, processing 10 * 1.5 * 1 = 15, buffer 1.645 * 0.1 * 21 = 3.4545, lead 24.4545
//          confidence 0.5 * 1 - 0.3 * 0.1 + 0.2 = 0.67
//   deep   one_way 100, processing 200 * 1.5 * 1.2 = 360, buffer 1.645 * 0.2 * 460 = 151.34,
//          lead 611.34: too late
//   gpu    one_way 175, processing 100 * 1.5 * 1.3 = 195, buffer 0, lead 370
//          confidence 0.5 * 0.8 - 0 + 0 (heartbeat of exactly 10 s is not young) = 0.4
//   human  one_way 30000, processing 60000 * 1.5 = 90000, lead 120000: too late
//   shaky  one_way 50, processing 50 * 1.5 = 75, buffer 1.645 * 2 * 125 = 411.25,
//          lead 536.25: too late
constexpr const char* kWorked =
    "edge,A,12,0,0.1,1,1\n"
    "deep,C,200,2,0.2,0.9,1\n"
    "broken,B,nan,0,0.1,1,1\n"
    "gpu,D,350,3,0,0.8,10\n"
    "human,F,60000,0,0,1,1\n"
    "shaky,B,100,0,2,1,1\n";

TEST(Plan, GivesTheWorkedNumbersInInputOrder) {
  const nlohmann::json result = planned(table(kWorked));
  EXPECT_EQ(result["window_ms"], 500.0);
  EXPECT_EQ(result["scheduled"], 2);
  EXPECT_EQ(result["skipped"], 4);
  const nlohmann::json& agents = result["agents"];
  ASSERT_EQ(agents.size(), 6U);
  EXPECT_EQ(agents[0]["agent"], "edge");
  EXPECT_EQ(agents[0]["status"], "SCHEDULED");
  EXPECT_NEAR(agents[0]["lead_ms"], 24.4545, 1e-9);
  EXPECT_NEAR(agents[0]["send_in_ms"], 475.5455, 1e-9);
  EXPECT_NEAR(agents[0]["confidence"], 0.67, 1e-12);
  EXPECT_EQ(agents[1]["agent"], "deep");
  EXPECT_EQ(agents[1]["status"], "SKIP");
  EXPECT_EQ(agents[1]["reason"], "insufficient_lead_time");
  EXPECT_NEAR(agents[1]["needed_ms"], 611.34, 1e-9);
  EXPECT_EQ(agents[1]["available_ms"], 500.0);
  EXPECT_EQ(agents[2].dump(), R"({"agent":"broken","reason":"invalid_impedance","status":"SKIP"})");
  EXPECT_NEAR(agents[3]["lead_ms"], 370, 1e-9);
  EXPECT_NEAR(agents[3]["confidence"], 0.4, 1e-12);
  EXPECT_NEAR(agents[4]["needed_ms"], 120'000, 1e-6);
  EXPECT_NEAR(agents[5]["needed_ms"], 536.25, 1e-9);
}

TEST(Plan, PrintsTheKeysInTheDocumentedOrder) {
  EXPECT_EQ(plan(table("a0,A,10,0,0,1,1\na1,F,10,0,0,1,1\na2,A,-1,0,0,1,1\n")).out,
            R"({"window_ms":500,"scheduled":1,"skipped":2,"agents":[
{"agent":"a0","status":"SCHEDULED","send_in_ms":480,"lead_ms":20,"confidence":0.7},
{"agent":"a1","status":"SKIP","reason":"insufficient_lead_time",)"
            R"("needed_ms":90005,"available_ms":500},
{"agent":"a2","status":"SKIP","reason":"invalid_impedance"}
]}
)");
}

TEST(Plan, SchedulesAnAgentWhoseLeadIsTheWholeWindowAndSkipsItAnInstantLater) {
  // Leads that binary fractions do not hold exactly, where a rounded comparison would go wrong.
  for (const char* const latency : {"12.2", "0.1", "33.333", "56.45", "7.7777777"}) {
    const std::string csv = table("a0,A," + std::string(latency) + ",3,0.1,1,1\n");
    const auto at = [&](double window) {
      const Ran ran = run_mesh({"plan", "--input", "-", "--weight", "1", "--json", "--window-ms",
                                nlohmann::json(window).dump()},
                               csv);
      return nlohmann::json::parse(ran.out)["agents"][0];
    };
    const double lead = at(500)["lead_ms"];
    EXPECT_EQ(at(lead)["status"], "SCHEDULED") << latency;
    EXPECT_EQ(at(lead)["send_in_ms"], 0.0) << latency;
    EXPECT_EQ(at(std::nextafter(lead, 0))["reason"], "insufficient_lead_time") << latency;
  }
}

TEST(Plan, TakesTheBufferFromZ) {
  const std::vector<std::string> arguments = {
      "plan", "--input", "-", "--window-ms", "500", "--weight", "1", "--z", "0", "--json"};
  const Ran ran = run_mesh(arguments, table("a0,A,12,0,0.1,1,1\n"));
  EXPECT_EQ(nlohmann::json::parse(ran.out)["agents"][0]["lead_ms"], 21.0);
}

TEST(Plan, CalibratedEqualsNominalWithoutHistory) {
  EXPECT_EQ(plan(table(kWorked), {"--model", "calibrated"}).out,
            plan(table(kWorked), {"--model", "nominal"}).out);
  EXPECT_THAT(run_mesh({"plan", "--help"}).out,
              HasSubstr("calibrated model equals the nominal one"));
}

TEST(Plan, SkipsEveryValueThatIsNoAmountAsInvalid) {
  for (const char* const bad :
       {"nan", "NaN", "-nan", "inf", "INFINITY", "-inf", "-1", "-1e-300", "1e999", "-1e999"}) {
    for (std::size_t column = 2; column < 7; ++column) {
      std::vector<std::string> fields = {"a0", "A", "12", "0", "0.1", "1", "1"};
      fields[column] = bad;
      std::string line = fields[0];
      for (std::size_t i = 1; i < fields.size(); ++i) line += "," + fields[i];
      const nlohmann::json result = planned(table(line + "\n"));
      EXPECT_EQ(result["agents"][0]["reason"], "invalid_impedance") << line;
      EXPECT_EQ(result["skipped"], 1) << line;
    }
  }
}

// The table's row holds a queue as a count of 32 bits and a reliability as a share.
TEST(Plan, SkipsWhatARowCannotHoldAsInvalid) {
  for (const char* const line :
       {"a0,A,12,2.5,0,1,1\n", "a0,A,12,4294967296,0,1,1\n", "a0,A,12,0,0,1.01,1\n"}) {
    EXPECT_EQ(planned(table(line))["agents"][0]["reason"], "invalid_impedance") << line;
  }
}

TEST(Plan, CallsAHeartbeatYoungUntilTenSeconds) {
  const nlohmann::json agents =
      planned(table("a0,A,1,0,0,1,9.9999999999\na1,A,1,0,0,1,10\na2,A,1,0,0,1,1e300\n"))["agents"];
  EXPECT_NEAR(agents[0]["confidence"], 0.7, 1e-12);
  EXPECT_NEAR(agents[1]["confidence"], 0.5, 1e-12);
  EXPECT_NEAR(agents[2]["confidence"], 0.5, 1e-12);
}

TEST(Plan, SkipsALeadThatNoDoubleHolds) {
  const nlohmann::json result = planned(table("a0,A,1e308,0,1e308,1,1\n"));
  EXPECT_EQ(result["agents"][0]["reason"], "invalid_impedance");
}

TEST(Plan, ReadsNumbersTooSmallForADoubleAsZero) {
  const nlohmann::json result = planned(table("a0,A,1e-999,0,0.000e-400,1,1\n"));
  EXPECT_EQ(result["agents"][0]["lead_ms"], 15.0);
}

// ---- what is accepted

TEST(PlanAccepts, TheSameTableInEveryLineEndAndWithAByteOrderMark) {
  const std::string unix_lines = table(kWorked);
  std::string dos_lines;
  for (const char c : unix_lines) dos_lines += c == '\n' ? std::string("\r\n") : std::string(1, c);
  const std::string expected = plan(unix_lines).out;
  EXPECT_EQ(plan(dos_lines).out, expected);
  EXPECT_EQ(plan("\xEF\xBB\xBF" + unix_lines).out, expected);
  EXPECT_EQ(plan(unix_lines.substr(0, unix_lines.size() - 1)).out, expected);
  EXPECT_EQ(plan(unix_lines + "\n").out, expected);
  EXPECT_EQ(plan(dos_lines + "\r\n\r\n").out, expected);
}

TEST(PlanAccepts, BlanksAndSignsAroundNumbers) {
  EXPECT_EQ(plan(table("a0,A, 12 ,\t0,+0.1,1.0,1e0\n")).out,
            plan(table("a0,A,12,0,0.1,1,1\n")).out);
}

TEST(PlanAccepts, QuotedFields) {
  const nlohmann::json result =
      planned(table("\"a,0\",\"A\",\"12\",\"0\",0.1,1,1\n\"say "
                    "\"\"hi\"\"\",A,12,0,0.1,1,1\n\"two\nlines\",A,12,0,0.1,1,1\n"));
  EXPECT_EQ(result["agents"][0]["agent"], "a,0");
  EXPECT_EQ(result["agents"][1]["agent"], "say \"hi\"");
  EXPECT_EQ(result["agents"][2]["agent"], "two\nlines");
}

TEST(PlanAccepts, CountsLinesInsideQuotes) {
  expect_refused(plan(table("\"two\nlines\",A,12,0,0.1,1,1\na1,X,12,0,0.1,1,1\n")),
                 {"line 4, column 2 (class)"});
}

TEST(PlanAccepts, NamesOf63BytesInAnyScript) {
  const std::string name =
      std::string(51, 'n') + "\xC3\xA4\xE6\x97\xA5\xE6\x9C\xAC\xF0\x9F\xA4\x96";
  ASSERT_EQ(name.size(), 63U);
  EXPECT_EQ(planned(table(name + ",A,12,0,0.1,1,1\n"))["agents"][0]["agent"], name);
}

TEST(PlanAccepts, AFileByName) {
  const TemporaryFile file(table(kWorked));
  EXPECT_EQ(
      run_mesh({"plan", "--input", file.path(), "--window-ms", "500", "--weight", "1", "--json"})
          .out,
      plan(table(kWorked)).out);
}

// ---- for people

TEST(PlanText, SummarisesClassesSendsAndWhoIsSkipped) {
  const Ran ran =
      run_mesh({"plan", "--input", "-", "--window-ms", "500", "--weight", "1"}, table(kWorked));
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(
      ran.out,
      HasSubstr("6 agents, T in 500 ms, weight 1, z 1.645: 2 scheduled, 3 too late, 1 invalid"));
  EXPECT_THAT(ran.out, ContainsRegex("A EDGE +1 +1 +0 +24\\.45[45]+ +24\\.45[45]+ +0\\.670\n"));
  EXPECT_THAT(ran.out, ContainsRegex("B SERVERLESS +2 +0 +2 +536\\.250 +536\\.250 +-\n"));
  EXPECT_THAT(ran.out, HasSubstr("ms before T"));
  EXPECT_THAT(ran.out, HasSubstr("  deep  needs 611.340 ms, 111.340 too many\n"));
  EXPECT_THAT(ran.out, HasSubstr("  broken  line 4\n"));
  EXPECT_THAT(ran.out, Not(HasSubstr("E LOCAL")));
  EXPECT_THAT(ran.out, Not(HasSubstr("\xE2\x96")))
      << "block characters only on a terminal that takes UTF-8";
}

TEST(PlanText, NamesTenOfMany) {
  std::string lines;
  for (int i = 0; i < 25; ++i) lines += "late" + std::to_string(i) + ",F,60000,0,0,1,1\n";
  const Ran ran =
      run_mesh({"plan", "--input", "-", "--window-ms", "500", "--weight", "1"}, table(lines));
  EXPECT_THAT(ran.out, AllOf(HasSubstr("  late9  needs"), HasSubstr("  and 15 more\n"),
                             Not(HasSubstr("late10  "))));
}

// One histogram for leads of a millisecond and of 1e305: no line has hundreds of digits.
TEST(PlanText, WritesEdgesOfAnyMagnitudeInAFewCharacters) {
  const Ran ran = run_mesh({"plan", "--input", "-", "--window-ms", "1e306", "--weight", "1"},
                           table("near,E,1,0,0,1,1\nfar,E,1e305,0,0,1,1\n"));
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_THAT(ran.out, ContainsRegex("\n +5\\.5e\\+304 to +5e\\+304  #+ +1\n"));
  EXPECT_THAT(ran.out, ContainsRegex("\n +5e\\+303 to +0  #+ +1\n"));
  std::istringstream lines(ran.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
}

TEST(PlanText, EscapesControlCharactersOfNames) {
  const Ran ran = run_mesh({"plan", "--input", "-", "--window-ms", "500", "--weight", "1"},
                           table("\x1b]0;owned\x07,F,60000,0,0,1,1\n"));
  EXPECT_THAT(ran.out, AllOf(HasSubstr("\\x1b]0;owned\\x07"), Not(HasSubstr("\x1b"))));
}

// ---- for every table

// Rows of any kind: in time, late, invalid; names that need quotes.
rc::Gen<std::string> any_line(std::size_t row) {
  const auto number = rc::gen::oneOf(
      rc::gen::map(rc::gen::inRange(0, 400'000), [](int n) { return std::to_string(n / 1000.0); }),
      rc::gen::map(rc::gen::inRange(0, 100), [](int n) { return std::to_string(n); }),
      rc::gen::elementOf(std::vector<std::string>{"nan", "inf", "-3", "1e999", " 7\t", "1e-3"}));
  return rc::gen::map(
      rc::gen::tuple(rc::gen::elementOf(std::string("ABCDEF")), number, rc::gen::inRange(0, 12),
                     number, number, number),
      [row](
          const std::tuple<char, std::string, int, std::string, std::string, std::string>& value) {
        const auto& [agent_class, latency, queue, drift, reliability, age] = value;
        return "\"agent, \"\"" + std::to_string(row) + "\"\"\"," + agent_class + "," + latency +
               "," + std::to_string(queue) + "," + drift + "," + reliability + "," + age;
      });
}

RC_GTEST_PROP(PlanProperty, KeepsInputOrderAndTheCountsAddUp, ()) {
  const auto rows = *rc::gen::inRange<std::size_t>(1, 60);
  const double window = *rc::gen::inRange(0, 2'000'000) / 1000.0;
  std::string csv = kHeader;
  for (std::size_t row = 0; row < rows; ++row) csv += *any_line(row) + "\n";
  const Ran ran = run_mesh(
      {"plan", "--input", "-", "--weight", "1", "--json", "--window-ms", std::to_string(window)},
      csv);
  RC_ASSERT(ran.exit_code == 0);
  const nlohmann::json result = nlohmann::json::parse(ran.out);
  const nlohmann::json& agents = result["agents"];
  RC_ASSERT(agents.size() == rows);
  std::size_t scheduled = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    const nlohmann::json& agent = agents[row];
    RC_ASSERT(agent["agent"] == "agent, \"" + std::to_string(row) + "\"");
    if (agent["status"] == "SCHEDULED") {
      ++scheduled;
      const double send_in = agent["send_in_ms"];
      const double lead = agent["lead_ms"];
      RC_ASSERT(send_in >= 0.0);
      RC_ASSERT(std::abs(send_in + lead - window) <= 1e-12 * window);
      RC_ASSERT(agent["confidence"] >= 0.0);
      RC_ASSERT(agent["confidence"] <= 1.0);
      continue;
    }
    RC_ASSERT(agent["status"] == "SKIP");
    if (agent["reason"] == "invalid_impedance") continue;
    RC_ASSERT(agent["reason"] == "insufficient_lead_time");
    RC_ASSERT(agent["needed_ms"] > agent["available_ms"]);
  }
  RC_ASSERT(result["scheduled"] == scheduled);
  RC_ASSERT(result["skipped"] == rows - scheduled);
}

}  // namespace of_plan_test
}  // namespace mesh::testing
