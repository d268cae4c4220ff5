// The tables below the services, each against what the standard library says.
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/fingerprint_index.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/zeroed.hpp"

namespace mesh::coordination {
namespace of_index_test {

// Ids whose fingerprints are few, so that most places are somebody else's and many are alike.
IdHash crowded(Rng& rng) { return {rng.below(24) | rng.below(3) << 40, rng.below(4)}; }

TEST(FingerprintIndex, IsAMapAlsoWhereFingerprintsAreAlike) {
  EXPECT_TRUE(rc::check("a map of ids", [](std::uint64_t seed) {
    Rng rng(seed);
    constexpr std::size_t kCapacity = 32;
    FingerprintIndex index(kCapacity);
    std::vector<IdHash> ids(kCapacity);
    std::vector<std::uint32_t> free;
    for (std::uint32_t i = 0; i < kCapacity; ++i) free.push_back(i);
    std::map<IdHash, std::uint32_t> model;
    const auto found = [&](const IdHash& id) {
      return index.find(id, [&](std::uint32_t entry) { return ids[entry] == id; });
    };
    for (int step = 0; step < 400; ++step) {
      const IdHash id = crowded(rng);
      const auto known = model.find(id);
      RC_ASSERT(found(id) == (known == model.end() ? FingerprintIndex::kNone : known->second));
      if (known != model.end()) {
        index.erase(id, known->second);
        free.push_back(known->second);
        model.erase(known);
      } else if (!free.empty()) {
        const std::uint32_t entry = free[rng.below(free.size())];
        std::erase(free, entry);
        ids[entry] = id;
        index.add(id, entry);
        model[id] = entry;
      }
      RC_ASSERT(index.count() == model.size());
    }
    for (const auto& [id, entry] : model) RC_ASSERT(found(id) == entry);
  }));
}

TEST(FingerprintIndex, ErasesNothingThatIsNotThere) {
  FingerprintIndex index(4);
  index.add({7, 1}, 0);
  index.erase({7, 1}, 1);
  index.erase({8, 1}, 0);
  EXPECT_EQ(index.count(), 1U);
  EXPECT_EQ(index.find({7, 1}, [](std::uint32_t) { return true; }), 0U);
  EXPECT_EQ(index.find({7, 1}, [](std::uint32_t) { return false; }), FingerprintIndex::kNone);
}

TEST(DeadlineHeap, GivesOutTheEarliestAndOfOneInstantTheLowerRank) {
  EXPECT_TRUE(rc::check("a set of deadlines", [](std::uint64_t seed) {
    Rng rng(seed);
    constexpr std::uint32_t kSlots = 40;
    DeadlineHeap heap(kSlots);
    std::map<std::pair<std::int64_t, std::uint64_t>, std::uint32_t> model;
    std::vector<std::pair<std::int64_t, std::uint64_t>> set(kSlots);
    std::uint64_t rank = 0;
    const auto drop = [&](std::uint32_t slot) { model.erase(set[slot]); };
    for (int step = 0; step < 400; ++step) {
      const auto slot = static_cast<std::uint32_t>(rng.below(kSlots));
      const auto instant = static_cast<std::int64_t>(1 + rng.below(20));
      if (rng.below(3) != 0) {
        if (heap.has(slot)) drop(slot);
        set[slot] = {instant, ++rank};
        heap.set(slot, instant, rank);
        model[set[slot]] = slot;
      } else if (rng.below(2) == 0) {
        if (heap.has(slot)) drop(slot);
        heap.clear(slot);
      } else {
        const std::uint32_t due = heap.pop_due(instant);
        const bool any = !model.empty() && model.begin()->first.first <= instant;
        RC_ASSERT(due == (any ? model.begin()->second : DeadlineHeap::kNone));
        if (any) model.erase(model.begin());
      }
      RC_ASSERT(heap.count() == model.size());
      RC_ASSERT(heap.next_ns() == (model.empty() ? INT64_MAX : model.begin()->first.first));
    }
  }));
}

TEST(Zeroed, IsZeroAndItsCopyIsItsOwn) {
  Zeroed<std::uint64_t> words(100'000);
  for (const auto word : words) ASSERT_EQ(word, 0U);
  words[7] = 7;
  const Zeroed<std::uint64_t> copy = words;
  words[7] = 8;
  EXPECT_EQ(copy[7], 7U);
  EXPECT_EQ(copy[8], 0U);
}

// Eight bytes are looked at at once: a byte that is none of ASCII counts wherever it stands.
TEST(Names, AreUtf8WhereverTheirLongCharactersStand) {
  for (std::size_t size = 1; size <= 40; ++size) {
    EXPECT_TRUE(is_utf8(std::string(size, 'a')));
    for (std::size_t at = 0; at < size; ++at) {
      std::string name(size, 'a');
      name[at] = '\xC3';
      EXPECT_FALSE(is_utf8(name)) << size << ", " << at << ": the second byte is none";
      if (at + 1 == size) continue;
      name[at + 1] = '\xA9';
      EXPECT_TRUE(is_utf8(name)) << size << ", " << at;
    }
  }
}

}  // namespace of_index_test
}  // namespace mesh::coordination
