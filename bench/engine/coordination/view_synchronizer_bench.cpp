// ViewSynchronizer: what a message costs that is stale, kept, or leads on, beside a map of weights
// behind a mutex that adds up whoever is named. And what signatures cost.
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/view_synchronizer.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;

struct PlainQuorum {
  bool has(const std::vector<std::uint64_t>& signers) {
    const std::lock_guard guard(mutex);
    std::map<std::uint64_t, std::uint64_t> counted;
    std::uint64_t weight = 0;
    for (const auto signer : signers) {
      if (counted.emplace(signer, 1).second) weight += weights[signer];
    }
    return 3 * weight >= 2 * weights.size();
  }
  std::mutex mutex;
  std::map<std::uint64_t, std::uint64_t> weights;
};

KeySeed seed_of(std::uint64_t agent) {
  KeySeed seed{};
  seed[0] = static_cast<std::uint8_t>(agent + 1);
  return seed;
}

ViewSynchronizer views_of(std::uint64_t members, ViewAuth auth) {
  auto config = ViewSyncConfig::preset("fast-consensus").value();
  config.auth = auth;
  config.secret = seed_of(0);
  config.catch_up_threshold = UINT32_MAX;
  ViewSynchronizer views(config);
  for (std::uint64_t agent = 0; agent < members; ++agent) {
    view::RegisterAgent order{agent, 1, {}};
    if (auth == ViewAuth::ed25519) order.key = key_pair_of(seed_of(agent)).open;
    views.apply(order, Nanos{0});
  }
  views.apply(view::StartEpoch{}, Nanos{0});
  return views;
}

QuorumCertificate qc_of(std::uint64_t quorum) {
  QuorumCertificate qc;
  qc.epoch = 1;
  qc.weight = quorum;
  for (std::uint64_t agent = 0; agent < quorum; ++agent) qc.signers.push_back(agent);
  return qc;
}

void bench_certificates(std::uint64_t members, double budget_ns) {
  auto views = views_of(members, ViewAuth::trusted_bitmap);
  PlainQuorum plain;
  for (std::uint64_t agent = 0; agent < members; ++agent) plain.weights[agent] = 1;
  ViewCommand command = view::ReceiveQc{qc_of(views.quorum().quorum)};
  QuorumCertificate& qc = std::get<view::ReceiveQc>(command).qc;
  const auto ours = bench::measure([&](std::uint64_t i) {
    qc.view = i;
    if (views.apply(command, Nanos{0}).view != i + 1) std::abort();
    return views.current_view();
  });
  const auto theirs = bench::measure([&](std::uint64_t) { return plain.has(qc.signers); });
  const std::string name = "certificate enters, " + std::to_string(members) + " members";
  bench::print_row("ViewSynchronizer/" + name, budget_ns, ours, theirs);
  const auto stale =
      bench::measure([&](std::uint64_t) { return views.apply(command, Nanos{0}).outcome; });
  bench::print_row("ViewSynchronizer/the same, stale", budget_ns / 2, stale, theirs);
}

void bench_timeouts() {
  auto views = views_of(100, ViewAuth::trusted_bitmap);
  PlainQuorum plain;
  for (std::uint64_t agent = 0; agent < 100; ++agent) plain.weights[agent] = 1;
  ViewCommand command = view::ReceiveTimeout{};
  Timeout& timeout = std::get<view::ReceiveTimeout>(command).timeout;
  timeout.epoch = 1;
  const auto ours = bench::measure([&](std::uint64_t i) {
    timeout.signer = 1 + i % 30;  // too few to move anybody
    timeout.view = 10 + i;
    const auto reply = views.apply(command, Nanos{0});
    if (reply.outcome != ViewOutcome::kept) std::abort();
    return reply.view;
  });
  std::vector<std::uint64_t> signers;
  for (std::uint64_t agent = 0; agent < 30; ++agent) signers.push_back(agent);
  const auto theirs = bench::measure([&](std::uint64_t) { return plain.has(signers); });
  bench::print_row("ViewSynchronizer/timeout kept, 100 members", 300, ours, theirs);
}

// One certificate takes so long that it is timed alone.
void bench_signatures() {
  using Clock = std::chrono::steady_clock;
  auto views = views_of(4, ViewAuth::ed25519);
  std::vector<QuorumCertificate> all;
  for (std::uint64_t view = 0; view < 500; ++view) {
    QuorumCertificate qc = qc_of(3);
    qc.view = view;
    for (std::uint64_t agent = 0; agent < 3; ++agent) {
      const auto signature =
          sign(key_pair_of(seed_of(agent)), vote_bytes(views.epoch_hash(), 1, view, qc.block));
      const auto bytes = std::as_bytes(std::span(signature));
      qc.signatures.insert(qc.signatures.end(), bytes.begin(), bytes.end());
    }
    all.push_back(std::move(qc));
  }
  std::vector<double> samples;
  for (const auto& qc : all) {
    const ViewCommand command = view::ReceiveQc{qc};
    const auto begin = Clock::now();
    if (views.apply(command, Nanos{0}).view != qc.view + 1) std::abort();
    samples.push_back(std::chrono::duration<double, std::nano>(Clock::now() - begin).count());
  }
  std::sort(samples.begin(), samples.end());
  const bench::Spread ours{samples[samples.size() / 2], samples[samples.size() * 99 / 100]};
  bench::print_row("ViewSynchronizer/certificate of 3 signatures", 300'000, ours, ours);
}

}  // namespace

int main() {
  bench::print_head();
  bench_certificates(4, 200);
  bench_certificates(100, 3'000);
  bench_timeouts();
  bench_signatures();
  return 0;
}
