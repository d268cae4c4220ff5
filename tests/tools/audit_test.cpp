// mesh audit, run as a program over journals that somebody else owns: sound books, printed money,
// a damaged file, and what it refuses.
#include <filesystem>
#include <fstream>
#include <memory>

#include <sqlite3.h>

#include <nlohmann/json.hpp>

#include "engine/coordination/journaled_service.hpp"
#include "engine/coordination/token_economy.hpp"
#include "engine/store/sqlite_journal.hpp"
#include "tests/tools/run_mesh.hpp"

namespace mesh::testing {
namespace of_audit_test {

using coordination::amount_of;
using coordination::seal_snapshot;
using coordination::StateWriter;
using coordination::TokenEconomy;
using coordination::TokenEconomyCommand;
using coordination::TokenEconomyConfig;
using engine::SqliteJournal;
using ::testing::HasSubstr;
namespace token = coordination::token;
using Hosted = coordination::JournaledService<TokenEconomy>;
using Json = nlohmann::json;

constexpr const char* kConfig =
    R"({"preset": "agent-work", "initial_supply": "1000000000", "accounts_max": 6,
        "epoch_ns": 1000000000})";
TokenEconomyConfig config() {
  TokenEconomyConfig config = TokenEconomyConfig::preset("agent-work").value();
  config.initial_supply = amount_of(1'000'000'000);
  config.accounts_max = 6;
  config.epoch_ns = Nanos{1'000'000'000};
  return config;
}

// An economy with its journal in a file, and what a person who audits it writes down.
class Books {
 public:
  Books() { std::ofstream(folder_.file("economy.json")) << kConfig; }

  void say(const TokenEconomyCommand& command) {
    const auto reply = economy_.execute({{1, ++sequence_}, command}, Nanos{1});
    ASSERT_TRUE(reply) << reply.error().sentence;
    ASSERT_EQ(reply->code, Errc::ok);
  }
  void trade() {
    say(token::SetKey{0, 11});
    say(token::SetKey{1, 12});
    say(token::DepositReserve{0, amount_of(500'000'000)});
    say(token::Mint{0, amount_of(1'000'000), 0});
    say(token::Stake{0, amount_of(300), 9});
    say(token::OpenEscrow{0, amount_of(77)});
    say(token::OpenChannel{0, 1, amount_of(60), {}});
    say(token::Transfer{0, 1, amount_of(1'000)});
  }
  [[nodiscard]] Ran audit() const {
    return run_mesh({"audit", path(), "--config", folder_.file("economy.json"), "--json"});
  }
  [[nodiscard]] std::string path() const { return folder_.file("economy.db"); }
  [[nodiscard]] std::string file(const std::string& name) const { return folder_.file(name); }
  Hosted& economy() { return economy_; }
  SqliteJournal& journal() { return *journal_; }

 private:
  Folder folder_;
  std::unique_ptr<SqliteJournal> journal_ =
      SqliteJournal::open({.where = folder_.file("economy.db"), .service = "token_economy"})
          .value();
  Hosted economy_ = Hosted::open(config(), *journal_).value();
  std::uint64_t sequence_ = 0;
};

void run_sql(const std::string& path, const char* script) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(database, script, nullptr, nullptr, nullptr), SQLITE_OK)
      << sqlite3_errmsg(database);
  sqlite3_close(database);
}

TEST(AuditVerb, FindsEveryUnitAndLeavesTheOwnerItsJournal) {
  Books books;
  books.trade();
  const Ran ran = books.audit();
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  const Json report = Json::parse(ran.out);
  EXPECT_TRUE(report["sound"].get<bool>()) << report;
  EXPECT_EQ(report["records"], 8);
  EXPECT_EQ(report["supply"], "1001000000");
  EXPECT_EQ(report["held"]["free"], std::to_string(1'000'000 - 300 - 77 - 60));
  EXPECT_EQ(report["held"]["staked"], "300");
  EXPECT_EQ(report["held"]["escrow"], "77");
  EXPECT_EQ(report["held"]["channels"], "60");
  EXPECT_EQ(report["held"]["treasury"], "1000000000");
  EXPECT_EQ(report["reserve"]["deposited"],
            std::to_string(books.economy().service().books().reserve.low));
  EXPECT_EQ(report["ledger_hash"], books.economy().service().entries().back().hash);

  books.say(token::Burn{0, amount_of(7)});  // it is its owner's as before
  ASSERT_TRUE(books.economy().checkpoint());
  const Json later = Json::parse(books.audit().out);
  EXPECT_EQ(later["burned"], "7");
  EXPECT_EQ(later["records"], 9);
}

TEST(AuditVerb, SaysItToPeopleInLines) {
  Books books;
  books.trade();
  const Ran ran = run_mesh({"audit", books.path(), "--config", books.file("economy.json")});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, HasSubstr("held.staked"));
  EXPECT_THAT(ran.out, HasSubstr("every unit is where the books say"));
}

// Somebody adds a unit to the supply in the snapshot, and makes every checksum fit.
TEST(AuditVerb, FindsMoneyThatWasPrintedIntoTheFile) {
  Books books;
  books.trade();
  const auto honest = books.economy().service().snapshot();
  const auto body = coordination::open_snapshot({"token_economy", 1}, honest.bytes);
  ASSERT_TRUE(body);
  std::vector<std::byte> forged(body->begin(), body->end());
  forged[0] = static_cast<std::byte>(std::to_integer<unsigned>(forged[0]) ^ 1U);
  StateWriter around;
  around.put(std::span<const std::byte>(seal_snapshot({"token_economy", 1}, forged).bytes));
  around.put(std::uint32_t{0});
  ASSERT_TRUE(books.journal().replace_snapshot(
      {books.journal().last_sequence(), seal_snapshot({"journaled_service", 1}, around.bytes())}));
  const Ran ran = books.audit();
  EXPECT_EQ(ran.exit_code, 1);
  const Json report = Json::parse(ran.out);
  EXPECT_FALSE(report["sound"].get<bool>());
  EXPECT_THAT(report["sentence"].get<std::string>(), HasSubstr("what is held is not the supply"));
}

TEST(AuditVerb, FindsARecordThatWasChangedAndOneThatIsGone) {
  Books books;
  books.trade();
  run_sql(books.path(), "UPDATE journal_records SET record = zeroblob(8) WHERE sequence = 3");
  Json report = Json::parse(books.audit().out);
  EXPECT_FALSE(report["sound"].get<bool>());
  EXPECT_THAT(report["sentence"].get<std::string>(),
              HasSubstr("record 3 does not match its checksum"));
  run_sql(books.path(), "DELETE FROM journal_records WHERE sequence = 8");
  const Ran ran = books.audit();
  EXPECT_EQ(ran.exit_code, 1);
  report = Json::parse(ran.out);
  EXPECT_THAT(report["sentence"].get<std::string>(), HasSubstr("its head says 1 to 8"));
}

TEST(AuditVerb, RefusesWhatIsNoEconomysJournal) {
  Books books;
  expect_refusal({"audit", books.file("nowhere.db")}, "nowhere.db");
  EXPECT_FALSE(std::filesystem::exists(books.file("nowhere.db"))) << "it makes nothing";
  ASSERT_TRUE(SqliteJournal::open({.where = books.file("outbox.db"), .service = "outbox"}));
  expect_refusal({"audit", books.file("outbox.db")}, "it is of 'outbox'");
  run_sql(books.file("other.db"), "CREATE TABLE things (one INTEGER)");
  expect_refusal({"audit", books.file("other.db")}, "the file is none");
}

TEST(AuditVerb, RefusesAConfigurationThatIsNone) {
  Books books;
  const auto refuses = [&](const std::string& text, const std::string& sentence) {
    std::ofstream(books.file("bad.json")) << text;
    expect_refusal({"audit", books.path(), "--config", books.file("bad.json")}, sentence);
  };
  expect_refusal({"audit", books.path(), "--preset", "gold"}, "halving");
  expect_refusal({"audit", books.path(), "--preset", "halving", "--config", "x"},
                 "--preset and --config");
  refuses("[1]", "no JSON object");
  refuses(R"({"acounts_max": 6})", "there is no key acounts_max");
  refuses(R"({"accounts_max": -6})", "accounts_max cannot be -6");
  refuses(R"({"decimals": 4294967296})", "decimals cannot be");
  refuses(R"({"schedule": "bonds"})", "schedule cannot be");
  refuses(R"({"cap": "79228162514264337593543950336"})", "cap cannot be");
  refuses(R"({"initial_supply": "1e9"})", "initial_supply cannot be");
  refuses(R"({"accounts_max": 0})", "accounts_max");
  refuses(R"({"preset": "gold"})", "halving");
}

TEST(AuditVerb, IsToldTheEconomyAsItsOwnerTellsIt) {
  Books books;
  books.trade();
  const Ran ran = run_mesh({"audit", books.path(), "--json"});
  EXPECT_EQ(ran.exit_code, 0) << "sound by itself, and of another supply";
  EXPECT_EQ(Json::parse(ran.out)["held"]["treasury"], "1" + std::string(24, '0'));
}

}  // namespace of_audit_test
}  // namespace mesh::testing
