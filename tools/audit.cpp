// mesh audit: the books of a token economy, from its journal.
#include <memory>
#include <ostream>
#include <string>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "engine/coordination/journaled_service.hpp"
#include "engine/coordination/token_economy.hpp"
#include "engine/store/sqlite_journal.hpp"
#include "tools/console_request.hpp"
#include "tools/economy_config.hpp"
#include "tools/read_file.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_audit {
namespace {

using coordination::JournaledService;
using coordination::TokenBooks;
using coordination::TokenEconomy;
using coordination::TokenEconomyConfig;
using Json = nlohmann::ordered_json;

constexpr const char* kFooter = R"(
FILE is the journal of a token economy (SqliteJournal, service "token_economy"). It is read
as a whole: every record and the snapshot against their checksums, every command played again
from the snapshot on; then every unit is looked for, and the chain of the ledger's last
movements. Sound is: free + staked + unbonding + channels + pool + escrow + rewards + treasury
= supply = minted - burned, and accounts + curve + pool of the reserve currency = deposited.

Nothing is changed, and whoever owns the journal stays its owner and goes on: what is audited
is the moment at which the file was opened. The economy must be told as its owner tells it:
--config is a file with JSON, the fields of TokenEconomyConfig over a preset, for example
{"preset": "agent-work", "accounts_max": 64, "epoch_ns": 1000000000}. A file that is damaged so
that it fits again (its newest transactions cut off, whole) shows to who has written down a
sequence of the ledger and its hash, which this prints.

Exit code 0: the books are sound. 1: they are not, the sentence says what, or the file could
not be read. 2: no such file, no journal of an economy, or a configuration that is none.

Examples:
  mesh audit economy.db
  mesh audit economy.db --preset halving --json
  mesh audit economy.db --config economy.json
)";

struct Options {
  std::string file;
  std::string preset;
  std::string config;
  bool json = false;
};

Result<TokenEconomyConfig> config_of(const Options& options) {
  if (options.config.empty()) {
    return TokenEconomyConfig::preset(options.preset.empty() ? "agent-work" : options.preset);
  }
  if (!options.preset.empty()) {
    return fail(Errc::bad_input, "--preset and --config: a file names its preset itself");
  }
  MESH_TRY(const std::string text, read_file(options.config));
  return economy_config_of(text);
}

// What was typed cannot be used, as opposed to what the file says.
bool is_bad_input(Errc code) {
  return code == Errc::not_found || code == Errc::invalid_argument ||
         code == Errc::permission_denied || code == Errc::version_skew;
}

Json json_of(const TokenBooks& books) {
  return {{"held",
           {{"free", digits_of(books.free)},
            {"staked", digits_of(books.staked)},
            {"unbonding", digits_of(books.unbonding)},
            {"channels", digits_of(books.channels)},
            {"pool", digits_of(books.pool)},
            {"escrow", digits_of(books.escrow)},
            {"rewards", digits_of(books.rewards)},
            {"treasury", digits_of(books.treasury)}}},
          {"supply", digits_of(books.supply)},
          {"minted", digits_of(books.minted)},
          {"burned", digits_of(books.burned)},
          {"reserve",
           {{"accounts", digits_of(books.reserve_accounts)},
            {"curve", digits_of(books.reserve_curve)},
            {"pool", digits_of(books.reserve_pool)},
            {"deposited", digits_of(books.reserve)}}}};
}

Json report_of(const TokenEconomy& economy) {
  const auto entries = economy.entries();
  Json report{{"symbol", economy.config().symbol},
              {"decimals", economy.config().decimals},
              {"epoch", economy.view().epoch},
              {"ledger_sequence", economy.view().sequence},
              {"ledger_hash", entries.empty() ? 0 : entries.back().hash}};
  report.update(json_of(economy.books()));
  return report;
}

Result<ExitCode> run(const Options& options, Console& console) {
  auto config = config_of(options);
  if (!config) return fail(Errc::bad_input, config.error().sentence);
  const auto journal =
      engine::SqliteJournal::open_to_read({.where = options.file, .service = "token_economy"});
  if (!journal && is_bad_input(journal.error().code)) {
    return fail(Errc::bad_input, in_quotes(options.file) + ": " + journal.error().sentence);
  }
  Json report{{"file", options.file}, {"sound", false}};
  if (journal) {
    const auto economy = JournaledService<TokenEconomy>::open(*config, **journal);
    report["sound"] = economy.has_value();
    report["records"] = (*journal)->last_sequence();
    report["sentence"] = economy ? "every unit is where the books say" : economy.error().sentence;
    if (economy) report.update(report_of(economy->service()));
  } else {
    report["sentence"] = journal.error().sentence;
  }
  if (options.json) {
    console.out << report.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    console.out << lines_of(report);
  }
  return report["sound"].get<bool>() ? ExitCode::done : ExitCode::failed;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command.add_option("file", options->file, "the journal")->required()->type_name("FILE");
  command.add_option("--preset", options->preset, "of the economy; default: agent-work")
      ->type_name("NAME");
  command.add_option("--config", options->config, "what it was made with; default: the preset")
      ->type_name("FILE");
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_audit

Verb audit_verb() {
  return {"audit", "the books of a token economy, from its journal; needs no mesh",
          &of_audit::declare};
}

}  // namespace mesh::tools
