// Conflicts between the loop and the store, in memory that outlives the engine.
#include "engine/conflict/note_journal.hpp"

#include <deque>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tests/engine/conflict/journal_memory.hpp"

namespace mesh::engine {
namespace of_note_journal_test {

using testing::JournalMemory;

ConflictNote note(std::uint64_t number) {
  return {.answer = {7, number}, .message = {8, number}, .agent = AgentId{number}};
}
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
bool put(NoteJournal& journal, std::uint64_t number, const std::string& answer = {},
         const std::string& message = {}) {
  return journal.put(note(number), {.answer = std::as_bytes(std::span(answer)),
                                    .message = std::as_bytes(std::span(message))});
}
std::unique_ptr<NoteJournal> over(JournalMemory& memory) {
  auto made = NoteJournal::over(memory.place());
  if (!made) throw std::runtime_error(made.error().sentence);
  return std::move(*made);
}

struct Seen {
  std::uint64_t number = 0;
  std::string answer;
  std::string message;
  friend bool operator==(const Seen&, const Seen&) = default;
};
// What is there and was not taken before; `end` of the last.
std::vector<Seen> take(NoteJournal& journal, std::uint64_t& end, std::size_t limit = 1'000'000) {
  std::vector<Seen> seen;
  journal.take(limit, [&](const ConflictNote& note, const Carried& carried, std::uint64_t its) {
    seen.push_back({note.answer.low, text_of(carried.answer), text_of(carried.message)});
    EXPECT_EQ(note.message.low, note.answer.low);
    EXPECT_EQ(note.agent, AgentId{note.answer.low});
    end = its;
  });
  return seen;
}

TEST(NoteJournal, RefusesRoomForNoneAndForTooMany) {
  EXPECT_EQ(NoteJournal::make(0, 0).error().code, Errc::invalid_argument);
  EXPECT_EQ(NoteJournal::make(kRingSlotsMax + 1, 0).error().code, Errc::invalid_argument);
  EXPECT_TRUE(NoteJournal::make(1, 0));
  EXPECT_FALSE(NoteJournal::over({}));
}

// Of the first of two notes, which is done: its body was not given back before the engine died.
TEST(NoteJournal, RefusesANoteThatSaysItsBodyEndsWhereNoneDoes) {
  JournalMemory memory(64);
  {
    const auto journal = over(memory);
    ASSERT_TRUE(put(*journal, 1, "carried") && put(*journal, 2, "too"));
    std::uint64_t end = 0;
    ASSERT_EQ(take(*journal, end, 1).size(), 1U);
    journal->done_until(end);
  }
  auto& bodies_end = memory.place().slots[0].words[1];
  const std::uint64_t right = bodies_end.get();
  bodies_end.set(right + 8);
  const auto refused = NoteJournal::over(memory.place());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::corrupt) << refused.error().sentence;
  bodies_end.set(right);
  EXPECT_TRUE(NoteJournal::over(memory.place()));
}

TEST(NoteJournal, GivesNotesWithWhatTheyCarriedInTheirOrderAndEachOnce) {
  const auto journal = NoteJournal::make(64, 0).value();
  ASSERT_TRUE(put(*journal, 1, "answer", "work"));
  ASSERT_TRUE(put(*journal, 2));
  ASSERT_TRUE(put(*journal, 3, "", "work alone"));
  std::uint64_t end = 0;
  EXPECT_EQ(take(*journal, end, 2), (std::vector<Seen>{{1, "answer", "work"}, {2, "", ""}}));
  EXPECT_EQ(take(*journal, end), (std::vector<Seen>{{3, "", "work alone"}}));
  EXPECT_TRUE(take(*journal, end).empty());
  EXPECT_EQ(journal->taken_not_done(), 3U);
  journal->done_until(end);
  EXPECT_EQ(journal->taken_not_done(), 0U);
}

TEST(NoteJournal, CutsWhatIsCarriedBeyondItsLimit) {
  const auto journal = NoteJournal::make(64, 0).value();
  ASSERT_TRUE(put(*journal, 1, std::string(kCarriedBytesMax + 1, 'a'), std::string(10, 'b')));
  std::uint64_t end = 0;
  const auto seen = take(*journal, end);
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].answer.size(), kCarriedBytesMax);
  EXPECT_EQ(seen[0].message, std::string(10, 'b'));
}

TEST(NoteJournal, HasNoRoomForAnswersWhileWhatCannotWaitStillFindsSome) {
  JournalMemory memory(64);
  const auto journal = over(memory);
  std::uint64_t count = 0;
  while (journal->has_room()) ASSERT_TRUE(put(*journal, ++count));
  EXPECT_EQ(count, 64U - 8U);
  std::uint64_t end = 0;
  ASSERT_EQ(take(*journal, end).size(), count);
  EXPECT_FALSE(journal->has_room()) << "taken is not durable";
  journal->done_until(end);
  EXPECT_TRUE(journal->has_room());
}

TEST(NoteJournal, HasNoRoomWhileALongAnswerWouldNotFit) {
  const auto journal = NoteJournal::make(1'024, 0).value();
  const std::string longest(kCarriedBytesMax, 'x');
  std::uint64_t count = 0;
  while (journal->has_room()) ASSERT_TRUE(put(*journal, ++count, longest, longest));
  EXPECT_GE(count, 2U);
  EXPECT_LT(count, 64U);
  std::uint64_t end = 0;
  for (const Seen& seen : take(*journal, end)) EXPECT_EQ(seen.message, longest);
  journal->done_until(end);
  EXPECT_TRUE(journal->has_room());
}

TEST(NoteJournal, WhatCannotWaitIsKeptInPrivateMemoryAndFollowsInOrder) {
  JournalMemory memory(8);
  const auto journal = over(memory);
  for (std::uint64_t i = 1; i <= 20; ++i) ASSERT_TRUE(put(*journal, i, std::to_string(i)));
  std::vector<Seen> all;
  for (int turns = 0; turns < 4; ++turns) {
    std::uint64_t end = 0;
    for (const Seen& seen : take(*journal, end)) all.push_back(seen);
    if (end != 0) journal->done_until(end);
    journal->tend();
  }
  ASSERT_EQ(all.size(), 20U);
  for (std::uint64_t i = 1; i <= 20; ++i) EXPECT_EQ(all[i - 1], (Seen{i, std::to_string(i), ""}));
}

TEST(NoteJournal, IsFullOnceItsPrivateMemoryIs) {
  JournalMemory memory(2);
  const auto journal = over(memory);
  const std::string much(std::size_t{1} << 20, 'x');
  std::uint64_t count = 0;
  while (put(*journal, count + 1, much)) ++count;
  EXPECT_EQ(count, 2 + (NoteJournal::kPrivateBytesMax >> 20));
}

// Deaths at any moment, between any puts, takes and ends: whoever comes next has each note again
// that was not done, none that was, in order, with what it carried.
RC_GTEST_PROP(NoteJournal, LosesNothingAndKeepsItsOrderOverAnyDeaths, ()) {
  JournalMemory memory(16, std::size_t{1} << 20);
  auto journal = over(memory);
  std::deque<Seen> standing;  // not done
  std::size_t taken = 0;      // of them, by this journal
  std::uint64_t end = 0;
  std::uint64_t next = 0;
  for (const int what : *rc::gen::container<std::vector<int>>(200, rc::gen::inRange(0, 20))) {
    if (what < 12) {
      const std::string text((next * 7'919) % 40'000, static_cast<char>('a' + next % 26));
      if (!journal->has_room()) continue;
      ++next;
      RC_ASSERT(put(*journal, next, what < 6 ? text : "", std::to_string(next)));
      standing.push_back({next, what < 6 ? text : "", std::to_string(next)});
    } else if (what < 16) {
      for (const Seen& seen : take(*journal, end, static_cast<std::size_t>(what))) {
        RC_ASSERT(seen == standing[taken]);
        ++taken;
      }
    } else if (what < 18) {
      if (taken == 0) continue;
      journal->done_until(end);
      standing.erase(standing.begin(), standing.begin() + static_cast<std::ptrdiff_t>(taken));
      taken = 0;
    } else {
      journal.reset();
      journal = over(memory);
      taken = 0;
    }
  }
  journal.reset();
  journal = over(memory);
  const auto left = take(*journal, end);
  RC_ASSERT(std::equal(left.begin(), left.end(), standing.begin(), standing.end()));
}

}  // namespace of_note_journal_test
}  // namespace mesh::engine
