// Maps that compare themselves by digests: equal roots for equal maps, and both the same after it.
#include "tests/engine/coordination/gossip_net.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_gossip_sync_test {

using testing::bytes;
using testing::opened;

MerkleSyncConfig config_of(std::uint64_t self) {
  MerkleSyncConfig config;
  config.self = self;
  config.entries_max = 1'024;
  config.value_bytes_max = 64;
  config.store_bytes = 1'024 * 240;
  return config;
}
void put(MerkleSync& map, const std::string& key, std::uint64_t version, std::string_view value,
         std::uint64_t owner = 7) {
  bool is_news = false;
  const auto held = bytes(value);
  ASSERT_EQ(map.put({key, owner, version, 0, held}, is_news), Errc::ok);
}
struct Exchange {
  std::size_t messages = 0;
  std::size_t bytes = 0;
  std::size_t trips = 0;  // there and back
};
// `a` compares itself with `b` until there is nothing to say, or for so many messages.
Exchange exchange(MerkleSync& a, MerkleSync& b, std::size_t messages_max = SIZE_MAX) {
  GossipOutbox of_a(1, {512, 1U << 18, 4'096});
  GossipOutbox of_b(2, {512, 1U << 18, 4'096});
  Exchange done;
  a.begin(2, of_a);
  bool is_to_b = true;
  std::size_t ways = 0;
  while (!(is_to_b ? of_a : of_b).sends().empty()) {
    GossipOutbox& from = is_to_b ? of_a : of_b;
    ++ways;
    for (const auto& send : from.sends()) {
      if (done.messages == messages_max) return done;
      ++done.messages;
      done.bytes += send.size_bytes;
      StateReader reader(from.bytes_of(send));
      Envelope envelope;
      EXPECT_EQ(open_envelope(reader, envelope), EnvelopeVerdict::good);
      EXPECT_EQ((is_to_b ? b : a).hear(envelope, reader, 0, is_to_b ? of_b : of_a), Errc::ok);
    }
    from.clear();
    is_to_b = !is_to_b;
  }
  done.trips = (ways + 1) / 2;
  return done;
}

TEST(MerkleSync, FindsOneKeyInFourRoundTripsAndAboutAKilobyte) {
  MerkleSync a(config_of(1));
  MerkleSync b(config_of(2));
  for (int i = 0; i < 1'000; ++i) {
    put(a, "k" + std::to_string(i), 1, "v");
    put(b, "k" + std::to_string(i), 1, "v");
  }
  EXPECT_EQ(exchange(a, b).messages, 1U) << "equal: the root says so";
  put(a, "k500", 2, "w");
  const Exchange done = exchange(a, b);
  EXPECT_EQ(a.digest(), b.digest());
  EXPECT_EQ(b.version_of("k500"), 2U);
  EXPECT_LE(done.trips, 4U);
  EXPECT_EQ(a.counters().digests_sent + b.counters().digests_sent, 2U + 4 * 16)
      << "two roots, and sixteen digests of each level";
  EXPECT_LT(done.bytes, 1'400U);
}

TEST(MerkleSync, KeepsTheGreaterOfTwoValues) {
  MerkleSync map(config_of(1));
  put(map, "k", 2, "b", 5);
  put(map, "k", 1, "a", 9);
  SyncValue found;
  std::vector<std::byte> into;
  ASSERT_TRUE(map.find("k", found, into));
  EXPECT_EQ(found.version, 2U);
  put(map, "k", 2, "c", 6);
  ASSERT_TRUE(map.find("k", found, into));
  EXPECT_EQ(found.owner, 6U) << "the same version: the higher owner";
  EXPECT_EQ(map.counters().stale, 1U);
}

TEST(MerkleSync, EndsWithTheMergeOfBothAndEqualRoots) {
  for (std::uint64_t i = 0; i < 25; ++i) {
    const std::uint64_t seed = mesh::testing::seed() + i;
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    MerkleSync a(config_of(1));
    MerkleSync b(config_of(2));
    MerkleSync both(config_of(3));
    std::uint64_t different = 0;
    for (int k = 0; k < 60; ++k) {
      const std::string key = "k" + std::to_string(rng.below(40));
      const std::uint64_t version = 1 + rng.below(3);
      const std::string value = "v" + std::to_string(rng.below(3));
      const std::uint64_t owner = 7 + rng.below(2);
      const std::uint64_t who = rng.below(3);
      if (who != 1) put(a, key, version, value, owner);
      if (who != 0) put(b, key, version, value, owner);
      put(both, key, version, value, owner);
      different += who == 2 ? 0U : 1U;
    }
    const Exchange done = exchange(a, b);
    ASSERT_EQ(a.digest(), both.digest());
    ASSERT_EQ(b.digest(), both.digest());
    ASSERT_TRUE(a.is_sound());
    ASSERT_TRUE(b.is_sound());
    // c * (d * 16 * depth) bytes, with 16 bytes a digest and the values themselves.
    ASSERT_LE(done.bytes, 64 + 24 * (different + 1) * 16 * MerkleMap::kDepth);
    ASSERT_EQ(exchange(a, b).messages, 1U);
  }
}

TEST(MerkleSync, HasEqualRootsForEqualMapsAlone) {
  Rng rng(5);
  MerkleSync a(config_of(1));
  MerkleSync b(config_of(2));
  std::map<std::string, std::uint64_t> in_a;
  std::map<std::string, std::uint64_t> in_b;
  std::size_t equal = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string key = "k" + std::to_string(rng.below(6));
    auto& model = rng.below(2) == 0 ? in_a : in_b;
    const std::uint64_t version = std::max<std::uint64_t>(model[key], 1 + rng.below(3));
    model[key] = version;
    put(&model == &in_a ? a : b, key, version, "v");
    const bool are_equal = in_a == in_b;
    equal += are_equal ? 1U : 0U;
    ASSERT_EQ(a.digest() == b.digest(), are_equal) << i;
  }
  EXPECT_GT(equal, 100U);
}

TEST(MerkleSync, GoesOnAfterAnExchangeThatBrokeOff) {
  for (const std::size_t cut : {1U, 2U, 3U, 5U, 8U, 13U, 21U, 34U}) {
    MerkleSync a(config_of(1));
    MerkleSync b(config_of(2));
    for (int i = 0; i < 50; ++i) {
      put(a, "a" + std::to_string(i), 1, "v");
      put(b, "b" + std::to_string(i), 1, "v");
    }
    exchange(a, b, cut);
    ASSERT_TRUE(a.is_sound());
    ASSERT_TRUE(b.is_sound());
    exchange(a, b);
    ASSERT_EQ(a.digest(), b.digest()) << "cut after " << cut;
    ASSERT_EQ(a.count(), 100U);
  }
}

TEST(MerkleSync, TakesNothingOfAMessageThatIsNotWhole) {
  MerkleSync a(config_of(1));
  MerkleSync b(config_of(2));
  for (int i = 0; i < 5; ++i) put(a, "a" + std::to_string(i), 1, "v");
  GossipOutbox out(1, {});
  GossipOutbox answers(2, {});
  // Values of two keys, of which the second is impossible.
  StateWriter& writer = out.begin(GossipPart::sync, MerkleSync::values, 2);
  writer.put(std::uint8_t{0});
  for (const std::uint64_t version : {std::uint64_t{1}, std::uint64_t{0}}) {
    writer.put(true);
    writer.put(std::string_view("k"));
    writer.put(std::uint64_t{7});
    writer.put(version);
    writer.put(std::uint32_t{0});
    writer.put(std::span<const std::byte>(bytes("v")));
  }
  writer.put(false);
  out.end(GossipLane::sync);
  StateReader reader(out.bytes_of(out.sends()[0]));
  Envelope envelope = opened(reader);
  EXPECT_EQ(b.hear(envelope, reader, 0, answers), Errc::bad_input);
  EXPECT_EQ(b.count(), 0U);
  for (std::uint8_t kind = 0; kind < 8; ++kind) {
    const std::vector<std::byte> tail(5, std::byte{9});
    StateReader rest(tail);
    const Envelope one{1, GossipPart::sync, kind, PartitionClaim::none, 1};
    EXPECT_NE(b.hear(one, rest, 0, answers), Errc::ok) << int{kind};
  }
}

TEST(MerkleSync, LeavesOutWhatItHasNoRoomForAndCountsIt) {
  auto config = config_of(1);
  config.entries_max = 2;
  MerkleSync map(config);
  put(map, "a", 1, "v");
  put(map, "b", 1, "v");
  bool is_news = true;
  const auto held = bytes("v");
  EXPECT_EQ(map.put({"c", 7, 1, 0, held}, is_news), Errc::capacity);
  EXPECT_FALSE(is_news);
  EXPECT_EQ(map.counters().left_out, 1U);
  put(map, "a", 2, "w");
  EXPECT_EQ(map.version_of("a"), 2U) << "what is there can change";
}

}  // namespace of_gossip_sync_test
}  // namespace mesh::coordination
