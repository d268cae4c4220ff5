// CircuitBreaker against a model that says the specification as plainly as it can be said.
#include "engine/coordination/circuit_breaker.hpp"

namespace mesh::coordination {
namespace of_circuit_breaker_model_test {

constexpr Nanos seconds(double count) { return Nanos{static_cast<std::int64_t>(count * 1e9)}; }

// The specification as plainly as it can be said: all calls kept, everything counted anew.
class ModelBreaker {
 public:
  explicit ModelBreaker(const CircuitBreakerConfig& config) : config_(config) {}

  bool allow(std::int64_t now) {
    expire(now);
    if (state == BreakerState::open && now >= until_) {
      if (ratio()) {
        if (out) return false;
        ++out;
        return true;
      }
      enter(BreakerState::half_open, now);
    }
    if (state == BreakerState::open) return false;
    if (state == BreakerState::closed) return true;
    if (ratio()) return seen_++ % config_.half_open_pass_every == 0;
    if (out >= config_.half_open_probes_max) return false;
    ++out;
    return true;
  }
  void record(std::uint32_t of_epoch, bool ok, std::int64_t now) {
    expire(now);
    if (of_epoch != epoch) return;
    if (state == BreakerState::closed) {
      calls_.emplace_back(now, ok);
      judge(now);
    } else if (state == BreakerState::open) {
      --out;
      if (ok) return enter(BreakerState::half_open, now);
      until_ = now + config_.probe_retry_ns.count();
    } else if (ratio()) {
      ++passed_;
      failed_ += !ok;
    } else {
      --out;
      if (!ok) return trip(now);
      if (++good_ == config_.success_threshold) close(now);
    }
  }
  BreakerState state = BreakerState::closed;
  std::uint32_t epoch = 0;
  std::uint32_t out = 0;

 private:
  bool ratio() const { return config_.recovery == BreakerRecovery::probe_then_ratio; }
  void judge(std::int64_t now) {
    const std::int64_t length = config_.window_ns.count() / config_.buckets;
    std::uint64_t total = 0;
    std::uint64_t failed = 0;
    for (const auto& [at, ok] : calls_) {
      if (at / length <= now / length - config_.buckets) continue;
      ++total;
      failed += !ok;
    }
    const bool counted = config_.failure_threshold != 0 && failed >= config_.failure_threshold;
    const bool rated = config_.failure_rate_ppm != 0 && total >= config_.min_calls &&
                       failed * 1'000'000 >= config_.failure_rate_ppm * total;
    if (counted || rated) trip(now);
  }
  void enter(BreakerState next, std::int64_t now) {
    state = next;
    ++epoch;
    since_ = now;
    out = good_ = 0;
    seen_ = passed_ = failed_ = 0;
  }
  void trip(std::int64_t now) {
    until_ = now + open_backoff_ns(config_, trips_++);
    enter(BreakerState::open, now);
  }
  void close(std::int64_t now) {
    trips_ = 0;
    calls_.clear();
    enter(BreakerState::closed, now);
  }
  void expire(std::int64_t now) {
    if (state != BreakerState::half_open) return;
    if (!ratio()) {
      if (now - since_ >= config_.half_open_ns_max.count()) trip(now);
    } else if (now - since_ >= config_.half_open_ns.count()) {
      if (failed_ * 1'000'000 <
          config_.half_open_failure_ppm * std::max<std::uint64_t>(1, passed_)) {
        return close(now);
      }
      until_ = now + config_.open_ns.count();
      enter(BreakerState::open, now);
    }
  }

  CircuitBreakerConfig config_;
  std::vector<std::pair<std::int64_t, bool>> calls_;
  std::int64_t until_ = 0;
  std::int64_t since_ = 0;
  std::uint32_t trips_ = 0;
  std::uint32_t good_ = 0;
  std::uint64_t seen_ = 0;
  std::uint64_t passed_ = 0;
  std::uint64_t failed_ = 0;
};

RC_GTEST_PROP(CircuitBreaker, DoesWhatTheModelDoes, ()) {
  CircuitBreakerConfig config =
      CircuitBreakerConfig::preset(*rc::gen::element("agent-call", "external-api", "mesh-cluster"))
          .value();
  config.failure_rate_ppm = *rc::gen::element(0U, 400'000U);
  config.min_calls = 5;
  config.probe_retry_ns = seconds(1e6);  // lost probes have a test of their own
  CircuitBreaker breaker(config);
  ModelBreaker model(config);
  std::vector<Permit> held;
  std::int64_t now = 0;
  const int ok_percent = *rc::gen::inRange(0, 101);
  for (int i = 0; i < 400; ++i) {
    now += *rc::gen::inRange<std::int64_t>(0, seconds(4).count());
    if (*rc::gen::inRange(0, 2) == 0 || held.empty()) {
      const auto reply = breaker.allow(Nanos{now});
      RC_ASSERT((reply.refusal == Refusal::none) == model.allow(now));
      if (reply.refusal == Refusal::none) held.push_back(reply.permit);
    } else {
      const auto pick = *rc::gen::inRange<std::size_t>(0, held.size());
      const bool ok = *rc::gen::inRange(0, 100) < ok_percent;
      const auto outcome = ok ? CallOutcome::ok : CallOutcome::fail;
      breaker.record({held[pick], outcome, Nanos{0}, Nanos{0}}, Nanos{now});
      model.record(held[pick].epoch, ok, now);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(pick));
    }
    RC_ASSERT(breaker.state() == model.state);
    RC_ASSERT(breaker.epoch() == model.epoch);
    RC_ASSERT(breaker.probes_out() == model.out);
    RC_ASSERT(breaker.probes_out() <= config.half_open_probes_max);
    RC_ASSERT(breaker.verify().has_value());
  }
}

}  // namespace of_circuit_breaker_model_test
}  // namespace mesh::coordination
