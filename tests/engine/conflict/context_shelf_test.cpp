// Contexts in memory: bounded, the last three of each.
#include "engine/conflict/context_shelf.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace mesh::engine {
namespace of_context_shelf_test {

const ContextOwner kA{"a", 1};
const ContextOwner kB{"b", 1};

TEST(ContextShelf, RefusesWhatHasNoOwnerOrIsTooLong) {
  ContextShelf shelf;
  EXPECT_EQ(shelf.keep({.bytes = "x"}).error().code, Errc::invalid_argument);
  EXPECT_EQ(shelf.keep({.owner = kA, .bytes = std::string(kContextBytesMax + 1, 'x')}).error().code,
            Errc::invalid_argument);
  EXPECT_TRUE(shelf.contexts(kA).empty());
  EXPECT_EQ(shelf.bytes_used(), 0U);
}

TEST(ContextShelf, RefusesWhatDoesNotFitAndKeepsWhatIsThere) {
  ContextShelf shelf(10);
  EXPECT_EQ(shelf.keep({.owner = kA, .bytes = "12345"}).value(), 1U);
  EXPECT_EQ(shelf.keep({.owner = kB, .bytes = "123456"}).error().code, Errc::no_space);
  EXPECT_TRUE(shelf.contexts(kB).empty());
  EXPECT_EQ(shelf.keep({.owner = kB, .bytes = "12345"}).value(), 1U);
  EXPECT_EQ(shelf.contexts(kA).front().bytes, "12345");
  EXPECT_EQ(shelf.bytes_used(), 10U);
}

TEST(ContextShelf, WhatItDrivesOutMakesRoomForTheNew) {
  ContextShelf shelf(30);
  for (const char* const bytes : {"aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc", "dddddddddd"})
    EXPECT_TRUE(shelf.keep({.owner = kA, .bytes = bytes})) << bytes;
  EXPECT_EQ(shelf.contexts(kA).front().version, 4U);
  EXPECT_EQ(shelf.contexts(kA).back().version, 2U);
}

// Against a list: the last three distinct neighbours, the sum of their bytes.
TEST(ContextShelf, HoldsTheLastThreeThatDifferFromTheOneBefore) {
  EXPECT_TRUE(rc::check("last three", [](const std::vector<std::uint8_t>& handed) {
    ContextShelf shelf;
    std::vector<std::string> model;
    for (const std::uint8_t one : handed) {
      const std::string bytes(one % 4, static_cast<char>('a' + one % 4));
      if (model.empty() || model.back() != bytes) model.push_back(bytes);
      RC_ASSERT(shelf.keep({.owner = kA, .bytes = bytes}).value() == model.size());
    }
    const auto kept = shelf.contexts(kA);
    RC_ASSERT(kept.size() == std::min<std::size_t>(model.size(), kContextVersions));
    std::size_t sum = 0;
    for (std::size_t i = 0; i < kept.size(); ++i) {
      RC_ASSERT(kept[i].bytes == model[model.size() - 1 - i]);
      RC_ASSERT(kept[i].version == model.size() - i);
      sum += kept[i].bytes.size();
    }
    RC_ASSERT(shelf.bytes_used() == sum);
  }));
}

}  // namespace of_context_shelf_test
}  // namespace mesh::engine
