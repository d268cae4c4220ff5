// Recordings: what is written is read again, and what was changed is found.
#include "engine/reports/recording.hpp"

#include <sstream>

namespace mesh::testing {
namespace of_recording_test {

using engine::reports::RecordedMessage;
using engine::reports::Recording;
using engine::reports::RecordingWriter;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::string a_recording(const std::vector<RecordedMessage>& messages, bool has_end = true) {
  std::ostringstream out;
  RecordingWriter writer(out, "/dev/shm/mesh", "2026-11-29T09:57:40Z");
  for (const RecordedMessage& message : messages) {
    writer.add(message);
    writer.add_missed(message.body.size() % 3);
  }
  if (has_end) writer.end();
  return out.str();
}
Result<Recording> read(const std::string& text) {
  std::istringstream in(text);
  return engine::reports::read_recording(in, "a.rec");
}
RecordedMessage message(std::int64_t at_ns, const std::string& body) {
  return {.at_ns = at_ns, .from = "a", .to = "b", .body = body};
}
void expect_refused(const std::string& text, const std::string& sentence) {
  const auto recording = read(text);
  ASSERT_FALSE(recording.has_value()) << text;
  EXPECT_EQ(recording.error().code, Errc::bad_input);
  EXPECT_THAT(recording.error().sentence, HasSubstr(sentence));
}

TEST(Recording, RefusesWhatIsNone) {
  expect_refused("", "it is empty");
  expect_refused("hello\n", "line 1: it is no line of a recording");
  expect_refused("{\"check\":\"0\"}\n", "line 1: its checksum does not hold");
  const std::string whole = a_recording({message(1, "x")});
  expect_refused(whole.substr(whole.find('\n') + 1), "line 1: its checksum");
  expect_refused(whole + whole, "behind the end");
}
TEST(Recording, FindsALineThatWasChangedLeftOutOrMoved) {
  const std::string whole = a_recording({message(1, "one"), message(2, "two"), message(3, "six")});
  ASSERT_TRUE(read(whole).has_value());
  std::vector<std::string> lines;
  std::istringstream in(whole);
  for (std::string line; std::getline(in, line);) lines.push_back(line + "\n");
  const auto joined = [&](const std::vector<std::size_t>& order) {
    std::string text;
    for (const std::size_t at : order) text += lines[at];
    return text;
  };
  ASSERT_THAT(lines, SizeIs(5));
  expect_refused(joined({0, 1, 3, 4}), "line 3");
  expect_refused(joined({0, 2, 1, 3, 4}), "line 2");
  EXPECT_TRUE(rc::check("any byte", [&] {
    const std::size_t at = *rc::gen::inRange<std::size_t>(0, whole.size() - 1);
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    RC_ASSERT(!read(changed).has_value());
  }));
}
TEST(Recording, WithoutAnEndIsWholeUpToItsLastLine) {
  const auto cut = read(a_recording({message(1, "one")}, false));
  ASSERT_TRUE(cut.has_value());
  EXPECT_FALSE(cut->has_end);
  EXPECT_THAT(cut->messages, SizeIs(1));
}
TEST(Recording, GivesBackEveryMessageAsItWas) {
  EXPECT_TRUE(rc::check("round trip", [] {
    std::vector<RecordedMessage> messages;
    std::uint64_t missed = 0;
    for (const auto& body : *rc::gen::arbitrary<std::vector<std::string>>()) {
      RecordedMessage one = message(*rc::gen::inRange<std::int64_t>(0, INT64_MAX), body);
      one.verb = *rc::gen::inRange<std::uint8_t>(1, 7);
      one.priority = *rc::gen::inRange<std::uint8_t>(0, 4);
      one.ttl_ms = *rc::gen::arbitrary<std::uint32_t>();
      one.bare = *rc::gen::arbitrary<bool>();
      one.weight = 0.1F;
      missed += body.size() % 3;
      messages.push_back(one);
    }
    const auto recording = read(a_recording(messages));
    RC_ASSERT(recording.has_value());
    RC_ASSERT(recording->messages == messages);
    RC_ASSERT(recording->missed == missed);
    RC_ASSERT(recording->has_end);
  }));
}
TEST(Recording, IsPlayedAtItsOwnDistancesOrFaster) {
  const std::vector<RecordedMessage> messages = {message(5'000, "b"), message(1'000, "a"),
                                                 message(2'000, "c")};
  EXPECT_EQ(engine::reports::due_after_start(messages, 1),
            (std::vector<Nanos>{Nanos{4'000}, Nanos{0}, Nanos{1'000}}));
  EXPECT_EQ(engine::reports::due_after_start(messages, 4),
            (std::vector<Nanos>{Nanos{1'000}, Nanos{0}, Nanos{250}}));
}

}  // namespace of_recording_test
}  // namespace mesh::testing
