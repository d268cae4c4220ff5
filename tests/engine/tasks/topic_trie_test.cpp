// Topics and their patterns; what a receiver has had of a sender.
#include "engine/tasks/topic_trie.hpp"

#include <algorithm>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/tasks/pair_receiver.hpp"
#include "tests/engine/coordination/goldens.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_topic_trie_test {

using coordination::testing::golden;
using coordination::testing::Json;
using coordination::testing::matches;

TEST(TopicTrie, GoldenTopics) {
  const auto [inputs, expected] = golden("message_router", "topics");
  Json by_pattern = Json::array();
  Json by_trie = Json::array();
  for (const auto& row : inputs) {
    const auto pattern = row.at(0).get<std::string>();
    const auto topic = row.at(1).get<std::string>();
    by_pattern.push_back(topic_matches(pattern, topic));
    TopicTrie trie(4);
    ASSERT_TRUE(trie.subscribe(pattern, 7));
    by_trie.push_back(!trie.match(topic).empty());
  }
  EXPECT_TRUE(matches(expected, by_pattern));
  EXPECT_TRUE(matches(expected, by_trie));
}

TEST(TopicTrie, RefusesWhatIsNoPattern) {
  TopicTrie trie(2);
  for (const char* wrong : {"", ".", "a.", ".a", "a..b", "a*", "a.*b", "***"}) {
    EXPECT_EQ(trie.subscribe(wrong, 1).error().code, Errc::invalid_argument) << wrong;
  }
  EXPECT_FALSE(is_topic("a.*"));
  EXPECT_FALSE(is_topic("1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17"));
  EXPECT_TRUE(trie.subscribe("a.b", 1));
  EXPECT_EQ(trie.subscribe("a.b", 1).error().code, Errc::already_exists);
  EXPECT_TRUE(trie.subscribe("a.*", 1));
  EXPECT_EQ(trie.subscribe("a.c", 1).error().code, Errc::capacity);
  EXPECT_EQ(trie.match("a.b"), std::vector<std::uint32_t>{1}) << "once, by two patterns";
  EXPECT_TRUE(trie.unsubscribe("a.b", 1));
  EXPECT_EQ(trie.unsubscribe("a.b", 1).error().code, Errc::not_found);
  EXPECT_EQ(trie.count(), 1U);
}

TEST(TopicTrie, FindsWhomEachPatternAloneWouldFind) {
  Rng rng(mesh::testing::seed());
  const auto text = [&](std::initializer_list<const char*> words) {
    std::string all;
    for (std::uint64_t i = 1 + rng.below(4); i != 0; --i) {
      all += all.empty() ? "" : ".";
      all += *(words.begin() + rng.below(words.size()));
    }
    return all;
  };
  for (int round = 0; round < 300; ++round) {
    TopicTrie trie(64);
    std::vector<std::string> patterns;
    for (std::uint32_t i = 0; i < 8; ++i) {
      patterns.push_back(text({"a", "b", "c", "*", "**"}));
      ASSERT_TRUE(trie.subscribe(patterns.back(), i));
    }
    for (int k = 0; k < 10; ++k) {
      const std::string topic = text({"a", "b", "c"});
      std::vector<std::uint32_t> expected;
      for (std::uint32_t i = 0; i < 8; ++i) {
        if (topic_matches(patterns[i], topic)) expected.push_back(i);
      }
      ASSERT_EQ(trie.match(topic), expected) << topic;
    }
  }
}

TEST(PairReceiver, GoldenReorderAndDuplicates) {
  const auto [inputs, expected] = golden("message_router", "reorder_and_duplicates");
  PairReceiver receiver;
  Json actual = Json::array();
  for (const auto& one : inputs.at("sequences")) {
    Json delivered = Json::array();
    const Errc code = receiver.accept(
        one.get<std::uint64_t>(), [&](std::uint64_t sequence) { delivered.push_back(sequence); });
    actual.push_back({{"status", std::string(name_of(code))}, {"delivered", delivered}});
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(PairReceiver, GoldenWindowTooOld) {
  const auto [inputs, expected] = golden("message_router", "window_too_old");
  EXPECT_EQ(inputs.at("window").get<std::uint64_t>(), SequenceWindow::kWidth);
  PairReceiver receiver(PairOrder::none);
  Json actual = Json::array();
  for (const auto& one : inputs.at("sequences")) {
    actual.push_back(
        std::string(name_of(receiver.accept(one.get<std::uint64_t>(), [](std::uint64_t) {}))));
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(PairReceiver, DeliversEachOnceInOrderUnderLossAndReordering) {
  Rng rng(mesh::testing::seed());
  for (int round = 0; round < 50; ++round) {
    PairReceiver receiver;
    std::uint64_t last = 0;
    std::vector<std::uint64_t> way;  // what is on its way; what is lost is sent again
    for (std::uint64_t i = 1; i <= 300; ++i) way.push_back(i);
    while (!way.empty()) {
      const std::size_t at = rng.below(std::min<std::size_t>(way.size(), 40));
      const std::uint64_t sequence = way[at];
      if (rng.below(4) == 0) continue;  // lost
      const Errc code = receiver.accept(sequence, [&](std::uint64_t one) {
        ASSERT_EQ(one, last + 1);
        last = one;
      });
      ASSERT_TRUE(code == Errc::ok || code == Errc::duplicate);
      if (rng.below(4) != 0) way.erase(way.begin() + static_cast<std::ptrdiff_t>(at));  // acked
    }
    EXPECT_EQ(last, 300U);
    StateWriter writer;
    receiver.save(writer);
    PairReceiver again;
    StateReader reader(writer.bytes());
    again.load(reader);
    EXPECT_TRUE(reader.finish("pair"));
    EXPECT_EQ(again.next(), 301U);
  }
}

TEST(PairReceiver, TakesNothingSoFarAheadThatItCouldNotWait) {
  PairReceiver receiver;
  const auto nobody = [](std::uint64_t) { FAIL(); };
  EXPECT_EQ(receiver.accept(0, nobody), Errc::invalid_argument);
  EXPECT_EQ(receiver.accept(1'025, nobody), Errc::capacity);
  EXPECT_EQ(receiver.accept(1'024, nobody), Errc::ok);
  std::uint64_t delivered = 0;
  for (std::uint64_t i = 1; i < 1'024; ++i) {
    EXPECT_EQ(receiver.accept(i, [&](std::uint64_t) { ++delivered; }), Errc::ok);
  }
  EXPECT_EQ(delivered, 1'024U);
}

}  // namespace of_topic_trie_test
}  // namespace mesh::tasks
