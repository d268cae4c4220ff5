// TokenEconomy: a transfer, a purchase on the curve and a swap before the journal, beside a map of
// balances behind a mutex (doubles, no ledger, no audit).
#include <cmath>
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/token_economy.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;

struct PlainLedger {
  bool transfer(const std::string& from, const std::string& to, double amount) {
    const std::lock_guard guard(mutex);
    double& balance = free[from];
    if (balance < amount) return false;
    balance -= amount;
    free[to] += amount;
    return true;
  }
  double buy(const std::string& who, double payment) {
    const std::lock_guard guard(mutex);
    const double bought = supply * (std::sqrt(1 + payment / reserve) - 1);
    reserve += payment;
    supply += bought;
    return free[who] += bought;
  }
  std::mutex mutex;
  std::map<std::string, double> free;
  double supply = 1e6;
  double reserve = 5e3;
};

constexpr U128 kToken = 1'000'000'000'000'000'000U;

}  // namespace

int main() {
  bench::print_head();
  TokenEconomy economy(TokenEconomyConfig::preset("agent-work").value());
  PlainLedger plain;
  economy.apply(token::DepositReserve{0, amount_of(1'000'000'000 * kToken)}, Nanos{0});
  economy.apply(token::Mint{0, amount_of(1'000'000 * kToken), 0}, Nanos{0});
  plain.free["agent-0"] = 1e15;
  for (int i = 0; i < 1'000; ++i) plain.free["agent-" + std::to_string(i)] += 1;
  const auto ok = [](const TokenEconomyReply& reply) {
    if (reply.code != Errc::ok || reply.refusal != Refusal::none) std::abort();
    return reply.code;
  };
  const auto transfer = bench::measure([&](std::uint64_t i) {
    return ok(economy.apply(token::Transfer{0, 1 + static_cast<std::uint32_t>(i % 900), {1, 0}},
                            Nanos{static_cast<std::int64_t>(i)}));
  });
  const auto moved =
      bench::measure([&](std::uint64_t) { return plain.transfer("agent-0", "agent-1", 1); });
  bench::print_row("TokenEconomy/transfer", 100, transfer, moved);
  const auto buy = bench::measure([&](std::uint64_t i) {
    return ok(economy.apply(token::Buy{0, amount_of(kToken / 1'000), {}},
                            Nanos{static_cast<std::int64_t>(i)}));
  });
  const auto bought = bench::measure([&](std::uint64_t) { return plain.buy("agent-0", 1e-3); });
  bench::print_row("TokenEconomy/buy on the curve", 20'000, buy, bought);
  ok(economy.apply(
      token::AddLiquidity{0, amount_of(100'000 * kToken), amount_of(100'000 * kToken), {}},
      Nanos{0}));
  const auto swap = bench::measure([&](std::uint64_t i) {
    return ok(economy.apply(token::Swap{0, i % 2 == 0, amount_of(kToken), {}},
                            Nanos{static_cast<std::int64_t>(i)}));
  });
  bench::print_row("TokenEconomy/swap", 5'000, swap, bought);
  return 0;
}
