// The document mill, with a worker of each kind killed at each step of its life: the same files,
// each result once, as if nothing had happened.
#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "examples/document_mill_terms.hpp"

namespace mill {
namespace of_document_mill_test {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = ::testing::TempDir() + "document_mill_test.XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const fs::path& path() const noexcept { return path_; }

 private:
  fs::path path_;
};

struct Outcome {
  int code = -1;
  std::string printed;
  std::map<std::string, std::string> files;  // by name, the ledger's lines sorted
};

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string sorted_lines(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::sort(lines.begin(), lines.end());
  std::string sorted;
  for (const auto& line : lines) sorted += line + "\n";
  return sorted;
}

// The program in a process of its own; what it left in its folder of results.
Outcome run(std::vector<std::string> words) {
  const Folder folder;
  const fs::path output = folder.path() / "output";
  std::string command = "'" MESH_DOCUMENT_MILL "' --output '" + output.string() + "'";
  for (const auto& word : words) command += " " + word;
  Outcome outcome;
  std::FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4'096> some{};
  for (std::size_t size = 0; (size = std::fread(some.data(), 1, some.size(), pipe)) != 0;) {
    outcome.printed.append(some.data(), size);
  }
  const int status = ::pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (!fs::exists(output)) return outcome;
  for (const auto& entry : fs::directory_iterator(output)) {
    if (!entry.is_regular_file()) continue;
    const auto name = entry.path().filename().string();
    const auto text = text_of(entry.path());
    outcome.files[name] = name == "ledger.txt" ? sorted_lines(text) : text;
  }
  return outcome;
}

const Outcome& undisturbed() {
  static const Outcome outcome = run({});
  return outcome;
}

bool says(const Outcome& outcome, const std::string& pattern) {
  return ::testing::Matches(::testing::ContainsRegex(pattern))(outcome.printed);
}

std::uint64_t number_after(const Outcome& outcome, const std::string& name) {
  const std::string& printed = outcome.printed;
  for (auto at = printed.find(name + ' '); at != printed.npos;
       at = printed.find(name + ' ', at + 1)) {
    const auto first = printed.find_first_not_of(' ', at + name.size());
    std::uint64_t number = 0;
    if (first != printed.npos &&
        std::from_chars(&printed[first], printed.data() + printed.size(), number).ec == std::errc{})
      return number;
  }
  return 0;
}

TEST(DocumentMill, MakesEachResultOnceAndAllOfThemAreThere) {
  const auto& whole = undisturbed();
  ASSERT_EQ(whole.code, 0) << whole.printed;
  EXPECT_EQ(number_after(whole, "task:assigned"), 25U);
  EXPECT_EQ(whole.files.size(), 26U) << "8 hashes, 8 summaries, 8 pages, an index, a ledger";
  const auto& ledger = whole.files.at("ledger.txt");
  EXPECT_EQ(std::count(ledger.begin(), ledger.end(), '\n'), 25);
  const auto& index = whole.files.at("index.txt");
  for (const char* name : {"alder.txt", "cedar.txt", "willow.txt"}) {
    EXPECT_NE(index.find(name), std::string::npos);
  }
  EXPECT_EQ(number_after(whole, "task:completed"), 25U);
  EXPECT_EQ(number_after(whole, "resource:acquired"), 25U);
}

// Each kind of worker at each step of its life; and each time it really was a death.
class DocumentMillDeaths
    : public ::testing::TestWithParam<std::tuple<std::string_view, std::string_view>> {
 protected:
  [[nodiscard]] static std::string place() {
    return std::string(std::get<0>(GetParam())) + ":" + std::string(std::get<1>(GetParam()));
  }
};
template <class Info>
std::string name_of_place(const Info& its) {
  return std::string(std::get<0>(its.param)) + "_" + std::string(std::get<1>(its.param));
}

TEST_P(DocumentMillDeaths, HurtNothing) {
  const auto outcome = run({"--kill", place()});
  ASSERT_EQ(outcome.code, 0) << outcome.printed;
  EXPECT_TRUE(says(outcome, "1 of 1 trials happened")) << outcome.printed;
  EXPECT_EQ(number_after(outcome, "agent:unregistered"), 1U);
  EXPECT_EQ(outcome.files, undisturbed().files);
}
INSTANTIATE_TEST_SUITE_P(At, DocumentMillDeaths,
                         ::testing::Combine(::testing::ValuesIn(kKindNames),
                                            ::testing::ValuesIn(kStepNames)),
                         [](const auto& place) { return name_of_place(place); });

// It stops while it has the lock, or has written all of its part, until its lease is over.
class DocumentMillStops : public DocumentMillDeaths {};
TEST_P(DocumentMillStops, AreWaitedForAsLongAsTheLeaseAndWhatComesLaterIsRefused) {
  const auto outcome = run({"--stop", place(), "--lease-ms", "400"});
  ASSERT_EQ(outcome.code, 0) << outcome.printed;
  EXPECT_TRUE(says(outcome, "each once; [1-9][0-9]* late ones refused")) << outcome.printed;
  EXPECT_EQ(outcome.files, undisturbed().files);
}
INSTANTIATE_TEST_SUITE_P(At, DocumentMillStops,
                         ::testing::Combine(::testing::ValuesIn(kKindNames),
                                            ::testing::Values("locked", "written")),
                         [](const auto& place) { return name_of_place(place); });

TEST(DocumentMill, SurvivesADeathAtEveryStepOfEveryKindInOneRun) {
  std::vector<std::string> words;
  for (const auto kind : kKindNames) {
    for (const auto step : kStepNames) {
      words.push_back("--kill");
      words.push_back(std::string(kind) + ":" + std::string(step));
    }
  }
  const auto outcome = run(words);
  ASSERT_EQ(outcome.code, 0) << outcome.printed;
  EXPECT_EQ(outcome.files, undisturbed().files);
  EXPECT_TRUE(says(outcome, "33 of 33 trials happened")) << outcome.printed;
}

TEST(DocumentMill, AWorkerThatFailsAtEverythingIsLeftAloneAfterThreeTimes) {
  const auto outcome = run({"--fail", "summariser"});
  ASSERT_EQ(outcome.code, 0) << outcome.printed;
  EXPECT_TRUE(says(outcome, "summariser-1 [^\n]* 3 +0  open")) << outcome.printed;
  EXPECT_EQ(number_after(outcome, "circuitbreaker:state-change"), 1U);
  EXPECT_EQ(outcome.files, undisturbed().files);
}

TEST(DocumentMill, RefusesWhatItDoesNotUnderstand) {
  EXPECT_EQ(run({"--kill", "hasher:lunch"}).code, 2);
  EXPECT_EQ(run({"--kill"}).code, 2);
  EXPECT_EQ(run({"--workers", "0"}).code, 2);
  EXPECT_EQ(run({"--documents", "/no/such/folder"}).code, 2);
  const auto nowhere = run({"--output", "/dev/null/output"});  // the last --output counts
  EXPECT_EQ(nowhere.code, 2);
  EXPECT_TRUE(says(nowhere, "/dev/null/output")) << nowhere.printed;
}

}  // namespace of_document_mill_test
}  // namespace mill
