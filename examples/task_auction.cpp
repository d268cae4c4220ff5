// A task goes to the bidder that suits it best: price and latency both count, and the winner gets
// the second score. Then a sale that nobody can snipe.
#include "engine/coordination/task_auction.hpp"

#include <cstdio>

int main() {
  using namespace mesh;
  using namespace mesh::coordination;
  TaskAuction tasks(TaskAuctionConfig::preset("task-assignment").value());
  const auto ms = [](std::int64_t count) { return Nanos{count * kNsPerMs}; };
  tasks.apply(auction::AddCapability{"gpt-4"}, ms(0));
  for (std::uint32_t agent = 1; agent <= 2; ++agent)
    tasks.apply(auction::SetAgent{agent, 1, 0}, ms(0));
  const std::uint32_t task = tasks.apply(auction::Open{"summarize-doc", 1}, ms(0)).auction;
  tasks.apply(auction::Bid{task, 1, 20'000, ms(200)}, ms(10));
  tasks.apply(auction::Bid{task, 2, 10'000, ms(50)}, ms(20));
  const auto unfit = tasks.apply(auction::Bid{task, 3, 1, ms(1)}, ms(30));
  const auto done = tasks.apply(auction::Resolve{task, false}, ms(5'000));

  TaskAuction sale(TaskAuctionConfig::preset("open-market").value());
  const std::uint32_t lot = sale.apply(auction::Open{"gpu-hour", 0}, ms(0)).auction;
  sale.apply(auction::Bid{lot, 1, 100, ms(0)}, ms(1'000));
  const auto sniped = sale.apply(auction::Bid{lot, 2, 101, ms(0)}, ms(29'900));
  sale.apply(auction::Bid{lot, 1, 150, ms(0)}, ms(30'100));  // there was time to answer
  const auto sold = sale.apply(auction::Resolve{lot, false}, ms(31'000));
  std::printf(
      "unfit %s; agent %u gets %lld millionths; the end moved to %lld ms, agent %u pays %lld\n",
      to_string(unfit.refusal).data(), done.winners.at(0).agent,
      static_cast<long long>(done.winners.at(0).amount),
      static_cast<long long>(sniped.ends.count() / kNsPerMs), sold.winners.at(0).agent,
      static_cast<long long>(sold.winners.at(0).amount));
  return tasks.verify() && sale.verify() ? 0 : 1;
}
