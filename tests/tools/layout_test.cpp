// mesh layout, run as a program, and the document it keeps up to date.
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/tools/run_mesh.hpp"
#include "tools/generated_part.hpp"
#include "tools/layout_report.hpp"

namespace mesh::testing {
namespace of_layout_test {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string read_whole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string document_around(const std::string& generated) {
  std::ostringstream document;
  document << "before\n"
           << tools::kGeneratedBegin << generated << tools::kGeneratedEnd << "after\n";
  return document.str();
}

TEST(ShmLayoutDocument, IsWhatTheCodeSays) {
  const std::string document = read_whole(MESH_SHM_LAYOUT_DOCUMENT);
  const Ran ran = run_mesh({"layout", "--markdown"});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const Result<std::string> updated =
      tools::replace_generated(document, {tools::kGeneratedBegin, ran.out});
  ASSERT_TRUE(updated.has_value()) << updated.error().sentence;
  EXPECT_EQ(document, *updated)
      << "run: mesh layout --write docs/SHM_LAYOUT.md, and review the difference";
}

TEST(Layout, WritesTheGeneratedPartAndNothingElse) {
  const TemporaryFile file(document_around("old\n"));
  const Ran ran = run_mesh({"layout", "--write", file.path()});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(read_whole(file.path()), document_around(run_mesh({"layout", "--markdown"}).out));
}

TEST(LayoutRefuses, ADocumentWithoutMarkersAndLeavesIt) {
  std::string swapped(tools::kGeneratedEnd);
  swapped += tools::kGeneratedBegin;
  for (const std::string& text : {std::string("no markers\n"), std::string(tools::kGeneratedBegin),
                                  swapped, document_around("") + document_around("")}) {
    const TemporaryFile file(text);
    const Ran ran = run_mesh({"layout", "--write", file.path()});
    EXPECT_EQ(ran.exit_code, 2);
    EXPECT_THAT(ran.err, HasSubstr("two lines once"));
    EXPECT_EQ(read_whole(file.path()), text);
  }
}
TEST(LayoutRefuses, AMissingDocument) {
  EXPECT_EQ(run_mesh({"layout", "--write", "/nonexistent/document.md"}).exit_code, 2);
}
TEST(LayoutRefuses, TwoFormsAtOnce) {
  const Ran ran = run_mesh({"layout", "--markdown", "--json"});
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_THAT(ran.out, IsEmpty());
}

TEST(Layout, ShowsTheSameStructuresInAllForms) {
  const nlohmann::json layout = nlohmann::json::parse(run_mesh({"layout", "--json"}).out);
  const std::string text = run_mesh({"layout"}).out;
  const std::string markdown = run_mesh({"layout", "--markdown"}).out;
  std::vector<std::string> names;
  for (const nlohmann::json& structure : layout["structures"]) {
    const std::string name = structure["name"];
    names.push_back(name);
    EXPECT_THAT(text, HasSubstr(name + " ("));
    EXPECT_THAT(markdown, HasSubstr("### " + name + " ("));
    std::size_t end = 0;
    for (const nlohmann::json& field : structure["fields"]) {
      EXPECT_EQ(field["offset"], end) << name;
      end += field["bytes"].get<std::size_t>();
    }
    EXPECT_EQ(structure["bytes"], end) << name;
  }
  EXPECT_THAT(names, ::testing::IsSupersetOf({"MappingHeader", "ClockWords", "RingSlot",
                                              "RingReaderPage", "MessageHeader", "DeliveryRecord",
                                              "AnswerRecord", "SendRecord"}));
  ASSERT_EQ(layout["memories"].size(), 5U);
  for (const nlohmann::json& memory : layout["memories"]) {
    EXPECT_THAT(text, HasSubstr('\n' + memory["name"].get<std::string>() + '\n'));
    EXPECT_THAT(memory["regions"].dump(), HasSubstr("header"));
  }
}

}  // namespace of_layout_test
}  // namespace mesh::testing
