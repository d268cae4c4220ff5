// The ledger under random commands, restarts and deaths: conserved to the unit.
#include <optional>

#include "engine/coordination/token_economy.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/coordination/token_kit.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_token_ledger_test {

using testing::Death;
using testing::small_economy;
using testing::token_s;
using testing::token_trace;
using testing::TokenPlayer;
using testing::units_of;
using Journaled = JournaledService<TokenEconomy>;

// A life of random commands that dies at steps of its commits. What was answered is there again,
// with the same answer; and after every command the sums are what they must be.
class MortalLedger {
 public:
  explicit MortalLedger(std::uint64_t seed) : player_(seed) { open(); }

  void step() {
    Rng& rng = player_.rng();
    now_ += token_s(static_cast<double>(rng.below(4)));
    const Journaled::Request request{{1, ++sequence_}, player_.next()};
    left_ = rng.below(12) == 0 ? 1 + rng.below(6) : 0;
    std::optional<TokenEconomyReply> reply;
    try {
      reply = ledger_->execute(request, now_).value();
    } catch (const Death&) {
      ++deaths_;
      left_ = 0;
      journal_.crash(rng.below(journal_.unsynced_bytes() + 1));
      open();
      reply = ledger_->execute(request, now_).value();
    }
    left_ = 0;
    player_.hear(*reply);
    if (rng.below(16) == 0) {
      ASSERT_TRUE(ledger_->checkpoint());
    }
    const auto sound = ledger_->service().verify();
    ASSERT_TRUE(sound) << sound.error().sentence;
    never_falls();
  }
  [[nodiscard]] std::uint64_t deaths() const { return deaths_; }

 private:
  // x * y of the pool, but for shares that are taken out.
  void never_falls() {
    const auto view = ledger_->service().view();
    const U128 k = wide(view.pool_tokens) * wide(view.pool_reserve);
    if (wide(view.pool_shares) >= shares_) {
      ASSERT_TRUE(k >= k_);
    }
    k_ = k;
    shares_ = wide(view.pool_shares);
  }
  void open() {
    JournalOptions options;
    options.replies_max = 8;
    options.context = this;
    options.at_step = [](void* self, CommitStep) {
      auto& left = static_cast<MortalLedger*>(self)->left_;
      if (left != 0 && --left == 0) throw Death{};
    };
    auto opened = Journaled::open(small_economy(), journal_, options);
    ASSERT_TRUE(opened) << opened.error().sentence;
    ledger_.emplace(std::move(*opened));
  }

  TokenPlayer player_;
  MemoryJournal journal_;
  std::optional<Journaled> ledger_;
  Nanos now_{0};
  std::uint64_t sequence_ = 0;
  std::uint64_t left_ = 0;
  std::uint64_t deaths_ = 0;
  U128 k_ = 0;
  U128 shares_ = 0;
};

// Two hundred commands a turn: the stress tier runs a million of them.
TEST(TokenLedger, IsConservedToTheUnitHoweverOftenItDies) {
  Rng seeds(mesh::testing::seed());
  std::uint64_t deaths = 0;
  for (mesh::testing::Repeats lives(20); lives.next();) {
    SCOPED_TRACE("life " + std::to_string(lives.count()));
    MortalLedger ledger(seeds.next());
    for (int i = 0; i < 200; ++i) {
      ledger.step();
      if (::testing::Test::HasFatalFailure()) return;
    }
    deaths += ledger.deaths();
  }
  EXPECT_GT(deaths, 20U);
}

TEST(TokenLedger, ReplaysToTheSameBytes) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    testing::expect_replays<TokenEconomy>(small_economy(), token_trace(small_economy(), 200, seed));
  }
}

TEST(TokenLedger, FindsADamagedSnapshot) {
  TokenEconomy economy(small_economy());
  for (const auto& [now, command] : token_trace(small_economy(), 30, 4))
    economy.apply(command, now);
  testing::expect_damage_found(economy, small_economy());
}

TEST(TokenLedger, SurvivesADeathAtEachStepOfItsJournal) {
  testing::CrashSweep<TokenEconomy> sweep(small_economy(), token_trace(small_economy(), 40, 5));
  EXPECT_GT(sweep.run(5), 3U * 40 * 4);
}

TEST(TokenLedger, AChangedOrMissingEntryShows) {
  TokenEconomy economy(small_economy());
  economy.apply(token::DepositReserve{0, units_of(1'000'000)}, Nanos{0});
  economy.apply(token::Mint{0, units_of(1'000), 0}, Nanos{0});
  for (std::uint64_t i = 1; i <= 20; ++i) {
    economy.apply(token::Transfer{0, 1, units_of(i % 5 + 1)}, Nanos{0});
  }
  const auto entries = economy.entries();
  ASSERT_TRUE(TokenEconomy::is_chain(entries));
  for (std::size_t i = 1; i + 1 < entries.size(); ++i) {
    auto changed = entries;
    changed[i].amount.low += 1;
    EXPECT_FALSE(TokenEconomy::is_chain(changed));
    changed = entries;
    changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(TokenEconomy::is_chain(changed));
  }
}

TEST(TokenLedger, MovesWithoutAllocating) {
  TokenEconomy economy(small_economy());
  economy.apply(token::DepositReserve{0, units_of(1'000'000)}, Nanos{0});
  economy.apply(token::Mint{0, units_of(100'000), 0}, Nanos{0});
  TokenEconomyActions actions;
  bool sound = true;
  const std::uint64_t before = mesh::testing::allocation_count();
  for (int i = 0; i < 1'000; ++i) {
    sound = sound && economy.apply(token::Transfer{0, 1, units_of(2)}, Nanos{i}).code == Errc::ok;
    sound = sound && economy.apply(token::Buy{0, units_of(50), {}}, Nanos{i}).code == Errc::ok;
    economy.tick(Nanos{i}, actions);
  }
  EXPECT_EQ(mesh::testing::allocation_count(), before);
  EXPECT_TRUE(sound);
}

}  // namespace of_token_ledger_test
}  // namespace mesh::coordination
