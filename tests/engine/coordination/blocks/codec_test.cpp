#include "engine/coordination/blocks/credit_pool.hpp"
#include "engine/coordination/blocks/ols.hpp"
#include "engine/coordination/blocks/snapshot.hpp"
#include "engine/coordination/blocks/state_codec.hpp"
#include "engine/coordination/blocks/window_counter.hpp"

namespace mesh::coordination {
namespace of_codec_test {

constexpr SnapshotKind kKind{"codec_test", 3};

TEST(StateCodec, GivesBackWhatWasPut) {
  StateWriter writer;
  writer.put(std::uint8_t{7});
  writer.put(std::int64_t{-5});
  writer.put(true);
  writer.put(0.1);
  writer.put("name");
  writer.put(Nanos{9});
  StateReader reader(writer.bytes());
  EXPECT_EQ(reader.get<std::uint8_t>(), 7);
  EXPECT_EQ(reader.get<std::int64_t>(), -5);
  EXPECT_TRUE(reader.get<bool>());
  EXPECT_EQ(reader.get<double>(), 0.1);
  EXPECT_EQ(reader.get<std::string>(), "name");
  EXPECT_EQ(reader.get<Nanos>(), Nanos{9});
  EXPECT_TRUE(reader.finish("test"));
}

TEST(StateCodec, RefusesWhatIsCutOffTooLongOrImpossible) {
  StateWriter writer;
  writer.put(std::uint32_t{1'000'000});
  StateReader text(writer.bytes());
  EXPECT_EQ(text.get<std::string>(), "");
  EXPECT_EQ(text.finish("test").error().code, Errc::corrupt);
  StateReader count(writer.bytes());
  EXPECT_EQ(count.get_count(8), 0U);
  EXPECT_TRUE(count.failed());
  StateReader left(writer.bytes());
  EXPECT_EQ(left.finish("test").error().detail, 4);
  StateReader boolean(writer.bytes());
  static_cast<void>(boolean.get<bool>());
  EXPECT_TRUE(boolean.failed());
}

TEST(Snapshot, IsRefusedWhenItIsNotWhatItShouldBe) {
  StateWriter body;
  body.put(std::uint64_t{42});
  const Snapshot whole = seal_snapshot(kKind, body.bytes());
  ASSERT_TRUE(open_snapshot(kKind, whole.bytes));
  EXPECT_EQ(open_snapshot({"another", 3}, whole.bytes).error().code, Errc::invalid_argument);
  EXPECT_EQ(open_snapshot({"codec_test", 4}, whole.bytes).error().code, Errc::version_skew);
  for (std::size_t at = 0; at < whole.bytes.size(); ++at) {
    Snapshot flipped = whole;
    flipped.bytes[at] ^= std::byte{1};
    EXPECT_FALSE(open_snapshot(kKind, flipped.bytes)) << at;
    const auto cut = std::span(whole.bytes).first(at);
    EXPECT_FALSE(open_snapshot(kKind, cut)) << at;
  }
}

TEST(Snapshot, OfBlocksGoesOnWhereItStopped) {
  WindowCounter window(1'000, 10);
  window.add(950, true, true);
  CreditPool pool(CreditConfig{});
  static_cast<void>(pool.want(1, 10, 5));
  SampleRing samples;
  for (int i = 0; i < 40; ++i) samples.add({static_cast<double>(i), 2.0 * i});
  StateWriter writer;
  window.save(writer);
  pool.save(writer);
  samples.save(writer);
  WindowCounter window_again(1'000, 10);
  CreditPool pool_again(CreditConfig{});
  SampleRing samples_again;
  StateReader reader(writer.bytes());
  window_again.load(reader);
  pool_again.load(reader);
  samples_again.load(reader);
  ASSERT_TRUE(reader.finish("blocks"));
  EXPECT_EQ(window_again.totals(1'100), window.totals(1'100));
  EXPECT_EQ(pool_again.spend(1, 20, 6), 10U);
  EXPECT_EQ(samples_again.count(), 32U);
  EXPECT_EQ(samples_again.at(0).x, 8);
}

}  // namespace of_codec_test
}  // namespace mesh::coordination
