#include "engine/coordination/blocks/credit_pool.hpp"

namespace mesh::coordination {

Status CreditPool::validate(const CreditConfig& config) {
  const auto bad = [](std::string_view field) {
    return fail(Errc::invalid_config, "credit pool: " + std::string(field));
  };
  if (config.kind == CreditKind::rate && !GcraBucket::is_valid(config.rate_per_s, config.burst)) {
    return bad("rate_per_s and burst make no bucket");
  }
  if (config.burst == 0) return bad("burst is 0");
  if (config.horizon_ns <= 0) return bad("horizon_ns is not above 0");
  if (config.expiry_ns <= 0) return bad("expiry_ns is not above 0");
  if (config.share_ppm_max == 0 || config.share_ppm_max > 1'000'000) {
    return bad("share_ppm_max is outside 1..1000000");
  }
  if (config.grants_max == 0) return bad("grants_max is 0");
  return {};
}

CreditPool::CreditPool(const CreditConfig& config)
    : config_(config),
      bucket_(config.kind == CreditKind::rate ? config.rate_per_s : 1.0,
              config.kind == CreditKind::rate ? config.burst : 1) {
  live_.reserve(config.grants_max);
  restart();
}

void CreditPool::restart() noexcept {
  bucket_.refill();
  level_free_ = config_.kind == CreditKind::level ? config_.burst : 0;
  sums_ = {};
  live_.clear();
}

std::uint64_t CreditPool::share_max() const noexcept {
  __extension__ using Wide = unsigned __int128;
  const auto share = static_cast<Wide>(config_.burst) * config_.share_ppm_max / 1'000'000;
  return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(share));
}

std::uint64_t CreditPool::available(std::int64_t now_ns) const noexcept {
  return config_.kind == CreditKind::rate ? bucket_.available(now_ns) : level_free_;
}

void CreditPool::take_back(std::uint64_t n, std::int64_t now_ns) noexcept {
  if (config_.kind == CreditKind::level) {
    level_free_ += n;
  } else {
    bucket_.give(now_ns, n);
  }
}

void CreditPool::tick(std::int64_t now_ns) noexcept {
  std::erase_if(live_, [&](const Live& grant) {
    if (grant.expires_ns > now_ns) return false;
    sums_.lapsed += grant.left;
    if (config_.kind == CreditKind::level) level_free_ += grant.left;
    return true;
  });
}

Grant CreditPool::want(std::uint32_t station, std::uint64_t n, std::int64_t now_ns,
                       std::int64_t not_after_ns) noexcept {
  tick(now_ns);
  if (live_.size() >= config_.grants_max) return {};
  std::uint64_t held = 0;
  for (const auto& grant : live_) held += grant.station == station ? grant.left : 0;
  const std::uint64_t cap = share_max();
  n = std::min({n, cap > held ? cap - held : 0, available(now_ns)});
  if (n == 0) return {};
  if (config_.kind == CreditKind::level) {
    level_free_ -= n;
  } else if (bucket_.take(now_ns, n).status != TakeStatus::kTaken) {
    return {};
  }
  sums_.granted += n;
  const std::int64_t expires_ns = std::min(now_ns + config_.expiry_ns, not_after_ns);
  live_.push_back({station, n, expires_ns});
  return {n, expires_ns};
}

std::uint64_t CreditPool::spend(std::uint32_t station, std::uint64_t n,
                                std::int64_t now_ns) noexcept {
  tick(now_ns);
  std::uint64_t done = 0;
  for (auto& grant : live_) {
    if (grant.station != station) continue;
    const std::uint64_t part = std::min(grant.left, n - done);
    grant.left -= part;
    done += part;
  }
  std::erase_if(live_, [](const Live& grant) { return grant.left == 0; });
  sums_.spent += done;
  return done;
}

std::uint64_t CreditPool::give_back(std::uint32_t station, std::int64_t now_ns) noexcept {
  tick(now_ns);
  std::uint64_t back = 0;
  std::erase_if(live_, [&](const Live& grant) {
    if (grant.station != station) return false;
    back += grant.left;
    return true;
  });
  take_back(back, now_ns);
  sums_.returned += back;
  return back;
}

void CreditPool::release(std::uint64_t n) noexcept {
  if (config_.kind == CreditKind::level) {
    level_free_ = std::min(level_free_ + n, config_.burst - audit().live);
  }
}

void CreditPool::void_all(std::int64_t now_ns) noexcept {
  std::uint64_t back = 0;
  for (const auto& grant : live_) back += grant.left;
  live_.clear();
  take_back(back, now_ns);
  sums_.lapsed += back;
}

void CreditPool::change_rate(double rate_per_s, std::uint64_t burst, std::int64_t now_ns) noexcept {
  if (config_.kind != CreditKind::rate || !GcraBucket::is_valid(rate_per_s, burst)) return;
  bucket_.change(rate_per_s, burst, now_ns);
  config_.rate_per_s = rate_per_s;
  config_.burst = burst;
}

CreditAudit CreditPool::audit() const noexcept {
  CreditAudit audit = sums_;
  audit.live = 0;
  for (const auto& grant : live_) audit.live += grant.left;
  return audit;
}

void CreditPool::save(StateWriter& writer) const {
  bucket_.save(writer);
  writer.put(level_free_);
  for (const auto sum : {sums_.granted, sums_.spent, sums_.lapsed, sums_.returned}) writer.put(sum);
  writer.put(static_cast<std::uint32_t>(live_.size()));
  for (const auto& grant : live_) {
    writer.put(grant.station);
    writer.put(grant.left);
    writer.put(grant.expires_ns);
  }
}

void CreditPool::load(StateReader& reader) {
  bucket_.load(reader);
  if (config_.kind == CreditKind::rate) config_.burst = bucket_.burst();
  reader.get(level_free_);
  for (auto* sum : {&sums_.granted, &sums_.spent, &sums_.lapsed, &sums_.returned}) reader.get(*sum);
  const std::size_t count = reader.get_count(20);
  if (count > config_.grants_max) return reader.fail();
  live_.clear();
  for (std::size_t i = 0; i < count; ++i) {
    Live grant;
    reader.get(grant.station);
    reader.get(grant.left);
    reader.get(grant.expires_ns);
    live_.push_back(grant);
  }
  if (!audit().is_balanced()) reader.fail();
}

}  // namespace mesh::coordination
