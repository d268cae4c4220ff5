// What a federation router looks like from outside: presets, ranges, forecast, bytes.
#include <array>
#include <string>

#include "engine/coordination/blocks/ppm.hpp"
#include "engine/coordination/federation_router.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 3> kPresets{"conservative", "balanced", "aggressive"};
constexpr std::size_t kSamplesMin = 5;
constexpr double kR2Min = 0.3;

FederationConfig conservative() {
  FederationConfig config;
  config.burst_ppm = 100'000;
  config.reserve_ppm = 200'000;
  config.shed_ppm = {500'000, 250'000, 100'000};
  config.requester_share_ppm = 250'000;
  config.donate_ppm = 250'000;
  config.idle_after_ns = Nanos{10 * kNsPerSecond};
  config.coalesce_window_ns = Nanos{20 * kNsPerMs};
  config.breaker_429 = 2;
  config.breaker_open_ns = Nanos{60 * kNsPerSecond};
  config.aging_ns = Nanos{kNsPerSecond};
  config.queue_max = 1'000;
  return config;
}

FederationConfig aggressive() {
  FederationConfig config;
  config.burst_ppm = 500'000;
  config.reserve_ppm = 20'000;
  config.shed_ppm = {100'000, 30'000, 0};
  config.requester_share_ppm = 800'000;
  config.coalesce_window_ns = Nanos{5 * kNsPerMs};
  config.breaker_429 = 5;
  config.breaker_open_ns = Nanos{10 * kNsPerSecond};
  config.aging_ns = Nanos{5 * kNsPerSecond};
  config.queue_max = 20'000;
  return config;
}

}  // namespace

std::span<const std::string_view> FederationConfig::names() noexcept { return kPresets; }

Result<FederationConfig> FederationConfig::preset(std::string_view name) {
  if (name == "conservative") return conservative();
  if (name == "balanced") return FederationConfig{};
  if (name == "aggressive") return aggressive();
  return unknown_preset("federation router", name, kPresets);
}

Status FederationRouter::validate(const Config& config) {
  const auto share = [](std::uint32_t ppm) { return ppm <= kPpm; };
  const auto& shed = config.shed_ppm;
  const std::array<Check, 14> checks{{
      {config.burst_ppm >= 1 && share(config.burst_ppm), "burst_ppm is outside 1..1000000"},
      {share(config.reserve_ppm), "reserve_ppm is above 1000000"},
      {share(shed[0]) && shed[0] >= shed[1] && shed[1] >= shed[2],
       "shed_ppm rises with the priority"},
      {config.requester_share_ppm >= 1 && share(config.requester_share_ppm),
       "requester_share_ppm is outside 1..1000000"},
      {share(config.donate_ppm) && share(config.min_trust_ppm),
       "donate_ppm or min_trust_ppm is above 1000000"},
      {is_duration(config.coalesce_window_ns), "coalesce_window_ns is outside 0..36 years"},
      {config.breaker_429 >= 1 && is_positive_duration(config.breaker_open_ns),
       "breaker_429 or breaker_open_ns is not above 0, or that above 36 years"},
      {is_positive_duration(config.aging_ns), "aging_ns is outside 1 ns..36 years"},
      {config.queue_max >= 1 && config.queue_max <= 1'000'000, "queue_max is outside 1..1000000"},
      {config.networks_max >= 1 && config.networks_max <= 4'096, "networks_max is outside 1..4096"},
      {config.loans_max <= 65'536, "loans_max is above 65536"},
      {is_duration(config.idle_after_ns) && share(config.hedge_ppm),
       "idle_after_ns is outside 0..36 years or hedge_ppm above 1000000"},
      {is_positive_duration(config.credit_expiry_ns) && config.grants_max >= 1 &&
           config.grants_max <= 65'536,
       "credit_expiry_ns or grants_max is outside its range"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- forecast ----------------------------------------------------------------------------------

QuotaRisk risk_of(double share) noexcept {
  if (share < 0.7) return QuotaRisk::low;
  if (share < 0.9) return QuotaRisk::medium;
  return share < 1 ? QuotaRisk::high : QuotaRisk::critical;
}

FederationForecast forecast_of(const Line& rates, double quota, double now_s,
                               double horizon_s) noexcept {
  FederationForecast forecast;
  forecast.mean = rates.at(now_s + horizon_s / 2);
  forecast.share = quota > 0 ? forecast.mean / quota : 0;
  forecast.risk = risk_of(forecast.share);
  if (rates.slope > 0) forecast.exhaust_at_s = (quota - rates.intercept) / rates.slope;
  return forecast;
}

FederationForecast FederationRouter::forecast(std::uint32_t id, Nanos horizon) const noexcept {
  if (id >= networks_.size()) return {};
  const Network& network = networks_[id];
  const auto quota = static_cast<double>(effective_quota(id));
  const double now_s = static_cast<double>(clock_.last_ns()) * 1e-9;
  Line line;
  const bool fitted = network.rates.count() >= kSamplesMin && network.rates.fit(line);
  if (fitted && line.r2 >= kR2Min) {
    return forecast_of(line, quota, now_s, static_cast<double>(horizon.count()) * 1e-9);
  }
  FederationForecast level;  // nothing sure about where it goes: where it is
  level.mean = network.level;
  level.share = quota > 0 ? level.mean / quota : 0;
  level.risk = risk_of(level.share);
  level.low_confidence = true;
  return level;
}

// --- bytes -------------------------------------------------------------------------------------

void FederationRouter::save_network(const Network& network, StateWriter& writer) {
  writer.put(network.name);
  for (const auto value : {network.capabilities, network.quota, network.lent, network.borrowed,
                           network.sample_count}) {
    writer.put(value);
  }
  writer.put(network.trust_ppm);
  writer.put(network.start_ppm);
  for (const auto ns : {network.window.window_ns(), network.window_end_ns, network.sample_end_ns}) {
    writer.put(ns);
  }
  network.window.save(writer);
  network.bucket.save(writer);
  writer.put(std::span<const std::byte>(network.breaker.snapshot().bytes));
  writer.put(network.level);
  network.rates.save(writer);
  writer.put(network.is_clean);
  writer.put(network.shed_told);
  std::uint32_t users = 0;
  for (const auto used : network.used) users += used == 0 ? 0 : 1;
  writer.put(users);
  for (std::uint32_t share = 0; share < kShares; ++share) {
    if (network.used[share] == 0) continue;
    writer.put(share);
    writer.put(network.used[share]);
  }
  writer.put(network.price);
  writer.put(network.last_sent_ns);
  network.took.save(writer);
  writer.put(network.success_all);
  for (const auto success : network.success) writer.put(success);
}

void FederationRouter::save_request(const Request& one, StateWriter& writer) {
  writer.put(one.stage);
  writer.put(one.priority);
  for (const auto value : {one.network, one.capability, one.requester, one.leader, one.followers,
                           one.serial, one.permit.epoch, one.permit.serial}) {
    writer.put(value);
  }
  writer.put(one.outcome);
  writer.put(one.key);
  writer.put(one.payload);
  writer.put(one.since_ns);
  writer.put(one.deadline_ns);
  for (const auto fact : {one.may_hedge, one.is_out, one.hedge_is_out}) writer.put(fact);
  for (const auto value : {one.hedge_network, one.hedge_permit.epoch, one.hedge_permit.serial}) {
    writer.put(value);
  }
  writer.put(one.sent_ns);
}

void FederationRouter::save_state(StateWriter& writer) const {
  writer.put(static_cast<std::uint32_t>(networks_.size()));
  for (const auto& network : networks_) {
    save_network(network, writer);
  }
  writer.put(hedge_budget_);
  writer.put(last_serial_);
  std::uint32_t taken = 0;
  for (const auto& one : requests_) taken += one.stage == Stage::free ? 0 : 1;
  writer.put(taken);
  for (std::uint32_t slot = 0; slot < requests_.size(); ++slot) {
    const Request& one = requests_[slot];
    if (one.stage == Stage::free) continue;
    writer.put(slot);
    save_request(one, writer);
  }
  for (const auto& loan : loans_) {
    writer.put(loan.lender);
    if (loan.lender == kNone) continue;
    writer.put(loan.borrower);
    writer.put(loan.count);
    writer.put(loan.expires_ns);
  }
}

void FederationRouter::load_state(StateReader& reader) {
  const std::size_t networks = reader.get_count(64);
  if (networks > config_.networks_max) return reader.fail();
  for (std::size_t i = 0; i < networks && !reader.failed(); ++i) {
    federation::AddNetwork wanted;
    reader.get(wanted.name);
    reader.get(wanted.capabilities);
    std::uint64_t lent = 0;
    std::uint64_t borrowed = 0;
    std::uint64_t samples = 0;
    for (auto* value : {&wanted.quota, &lent, &borrowed, &samples}) reader.get(*value);
    reader.get(wanted.trust_ppm);
    const auto start_ppm = reader.get<std::uint32_t>();
    reader.get(wanted.window);
    if (!is_possible(wanted)) return reader.fail();
    Network& network = networks_.emplace_back(wanted, config_);
    network.lent = lent;
    network.borrowed = borrowed;
    network.sample_count = samples;
    network.start_ppm = start_ppm;
    reader.get(network.window_end_ns);
    reader.get(network.sample_end_ns);
    network.window.load(reader);
    network.bucket.load(reader);
    const auto bytes = reader.get_bytes();
    auto breaker =
        CircuitBreaker::restore(network.breaker.config(), Snapshot{{bytes.begin(), bytes.end()}});
    if (!breaker) return reader.fail();
    network.breaker = std::move(*breaker);
    reader.get(network.level);
    network.rates.load(reader);
    reader.get(network.is_clean);
    reader.get(network.shed_told);
    const std::size_t users = reader.get_count(8);
    for (std::size_t k = 0; k < users; ++k) {
      const auto share = reader.get<std::uint32_t>();
      if (share >= kShares) return reader.fail();
      reader.get(network.used[share]);
    }
    reader.get(network.price);
    reader.get(network.last_sent_ns);
    network.took.load(reader);
    reader.get(network.success_all);
    for (auto& success : network.success) reader.get(success);
  }
  reader.get(hedge_budget_);
  load_requests(reader);
}

void FederationRouter::load_request(Request& one, StateReader& reader) {
  one.stage = reader.get_enum(Stage::answered);
  reader.get(one.priority);
  for (auto* value : {&one.network, &one.capability, &one.requester, &one.leader, &one.followers,
                      &one.serial, &one.permit.epoch, &one.permit.serial}) {
    reader.get(*value);
  }
  one.outcome = reader.get_enum(RequestOutcome::cancelled);
  reader.get(one.key);
  reader.get(one.payload);
  reader.get(one.since_ns);
  reader.get(one.deadline_ns);
  for (auto* fact : {&one.may_hedge, &one.is_out, &one.hedge_is_out}) reader.get(*fact);
  for (auto* value : {&one.hedge_network, &one.hedge_permit.epoch, &one.hedge_permit.serial}) {
    reader.get(*value);
  }
  reader.get(one.sent_ns);
  const bool is_hedged = one.hedge_network != kNone;
  if ((is_hedged && one.hedge_network >= networks_.size()) || one.capability >= 64) reader.fail();
}

void FederationRouter::load_requests(StateReader& reader) {
  reader.get(last_serial_);
  queued_ = 0;
  const std::size_t taken = reader.get_count(32);
  for (std::size_t i = 0; i < taken && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (slot >= requests_.size()) return reader.fail();
    Request& one = requests_[slot];
    load_request(one, reader);
    if (one.network >= networks_.size()) return reader.fail();
    queued_ += one.stage == Stage::queued ? 1 : 0;
  }
  for (auto& loan : loans_) {
    reader.get(loan.lender);
    if (loan.lender == kNone) continue;
    reader.get(loan.borrower);
    reader.get(loan.count);
    reader.get(loan.expires_ns);
    if (loan.lender >= networks_.size() || loan.borrower >= networks_.size()) return reader.fail();
  }
}

Status FederationRouter::verify() const {
  std::uint64_t granted = 0;
  std::uint64_t effective = 0;
  std::uint64_t lent = 0;
  for (std::uint32_t i = 0; i < networks_.size(); ++i) {
    granted += networks_[i].quota;
    effective += effective_quota(i);
    lent += networks_[i].lent;
    MESH_CHECK_OK(networks_[i].breaker.verify());
    if (networks_[i].lent > networks_[i].quota) return complain(Errc::corrupt, "lent above quota");
  }
  for (const auto& loan : loans_) lent -= loan.lender == kNone ? 0 : loan.count;
  std::uint64_t open = 0;
  std::uint32_t queued = 0;
  for (const auto& one : requests_) {
    open += one.stage == Stage::free ? 0 : 1;
    queued += one.stage == Stage::queued ? 1 : 0;
    if (one.stage != Stage::following) continue;
    const bool led =
        one.leader < requests_.size() && (requests_[one.leader].stage == Stage::queued ||
                                          requests_[one.leader].stage == Stage::in_flight);
    if (!led) return complain(Errc::corrupt, "a follower without a leader");
  }
  if (granted != effective) return complain(Errc::corrupt, "loans are not zero-sum");
  if (lent != 0) return complain(Errc::corrupt, "what is lent is not the sum of the loans");
  if (queued != queued_) return complain(Errc::corrupt, "queued does not match the slots");
  if (counters_.submitted != open + counters_.completed + counters_.cancelled) {
    return complain(Errc::corrupt, "submitted is not open + completed + cancelled");
  }
  return {};
}

template class ServiceForm<FederationRouter, FederationConfig, FederationCommand, FederationReply,
                           FederationCounters, FederationActions>;

}  // namespace mesh::coordination
