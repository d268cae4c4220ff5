// What people see of a value, in a line or a table.
#include "tools/text_table.hpp"

#include <sstream>

#include <nlohmann/json.hpp>

namespace mesh::tools {
namespace of_text_table_test {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;

TEST(TextTable, ACellIsTheValueAsPeopleReadIt) {
  EXPECT_EQ(cell_of(nullptr), "unknown");
  EXPECT_EQ(cell_of("text"), "text");
  EXPECT_EQ(cell_of(7), "7");
  EXPECT_EQ(cell_of(18'446'744'073'709'551'615U), "18446744073709551615");
  EXPECT_EQ(cell_of(true), "true");
  EXPECT_EQ(cell_of(Json::array()), "-");
  EXPECT_EQ(cell_of(Json::array({"a", 2, nullptr})), "a,2,unknown");
}

TEST(TextTable, AFractionHasSixDigitsAndNoExponent) {
  EXPECT_EQ(cell_of(24.0), "24.0");
  EXPECT_EQ(cell_of(1.545989990234375), "1.54599");
  EXPECT_EQ(cell_of(-1.545989990234375), "-1.54599");
  EXPECT_EQ(cell_of(999'999.4321), "999999");
  EXPECT_EQ(cell_of(1'234'567.891), "1234567.9");
  EXPECT_EQ(cell_of(0.00012345678), "0.000123457");
  EXPECT_EQ(cell_of(Json::array({0.333333333333, 0.5})), "0.333333,0.5");
}

TEST(TextTable, NumbersStandToTheRightAndWhatIsMissingIsUnknown) {
  const Json rows = Json::array({{{"agent", "a"}, {"ms", 1.23456789}}, {{"agent", "long name"}}});
  std::ostringstream out;
  table_of(rows).write(out);
  EXPECT_THAT(out.str(), HasSubstr("a          1.23457\n"));
  EXPECT_THAT(out.str(), HasSubstr("long name  unknown\n"));
}

}  // namespace of_text_table_test
}  // namespace mesh::tools
