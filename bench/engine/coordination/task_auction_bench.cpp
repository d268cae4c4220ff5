// TaskAuction: a bid, and a whole auction of sixteen bids, beside a map of bids behind a mutex
// (doubles, the lowest wins and gets its own price).
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/task_auction.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;

struct PlainAuction {
  void bid(const std::string& agent, double price) {
    const std::lock_guard guard(mutex);
    bids[agent] = price;
  }
  std::string resolve() {
    const std::lock_guard guard(mutex);
    std::string best;
    double price = 1e300;
    for (const auto& [agent, asked] : bids) {
      if (asked < price) {
        price = asked;
        best = agent;
      }
    }
    bids.clear();
    return best;
  }
  std::mutex mutex;
  std::map<std::string, double> bids;
};

constexpr std::uint32_t kBids = 16;

}  // namespace

int main() {
  bench::print_head();
  auto config = TaskAuctionConfig::preset("task-assignment").value();
  config.rules.timeout_ns = Nanos{3'600 * kNsPerSecond};
  TaskAuction house(config);
  PlainAuction plain;
  std::vector<std::string> names;
  for (std::uint32_t i = 0; i < 256; ++i) names.push_back("agent-" + std::to_string(i));
  house.apply(auction::Open{"standing", 0}, Nanos{0});
  const auto ours = bench::measure([&](std::uint64_t i) {
    const auto agent = static_cast<std::uint32_t>(i % 256);
    const auto price = static_cast<std::int64_t>(i % 1'000);
    const auto reply = house.apply(auction::Bid{0, agent, price, Nanos{kNsPerMs}},
                                   Nanos{static_cast<std::int64_t>(i)});
    if (reply.code != Errc::ok) std::abort();  // a refusal would be timed as work
    return reply.arrival;
  });
  const auto theirs = bench::measure([&](std::uint64_t i) {
    plain.bid(names[i % 256], static_cast<double>(i % 1'000));
    return plain.bids.size();
  });
  bench::print_row("TaskAuction/bid, replacing its own", 100, ours, theirs);

  TaskAuction other(config);
  const auto whole = bench::measure([&](std::uint64_t i) {
    const Nanos now{static_cast<std::int64_t>(i)};
    other.apply(auction::Open{"task", 0}, now);
    for (std::uint32_t agent = 0; agent < kBids; ++agent) {
      other.apply(auction::Bid{0, agent, 1'000 - agent, Nanos{0}}, now);
    }
    if (other.apply(auction::Resolve{0, true}, now).winners.size() != 1) std::abort();
    return other.apply(auction::Forget{0}, now).code;
  });
  plain.bids.clear();
  const auto plain_whole = bench::measure([&](std::uint64_t) {
    for (std::uint32_t agent = 0; agent < kBids; ++agent) plain.bid(names[agent], 1'000 - agent);
    return plain.resolve().size();
  });
  bench::print_row("TaskAuction/open, 16 bids, resolve, forget", 4'000, whole, plain_whole);
  return 0;
}
