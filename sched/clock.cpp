#include "sched/clock.hpp"

#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace mesh::sched {
namespace {

__extension__ typedef __int128 Signed;
__extension__ typedef unsigned __int128 Unsigned;

// 2^-40 ns: a rate of 0.4 ns a tick is then exact to 2 ns a thousand seconds, and 1 ms a tick (1
// kHz) still fits 64 bits.
constexpr std::uint32_t kShift = 40;
constexpr std::uint64_t kOne = std::uint64_t{1} << kShift;

// An error is halved in about 2.4 s at one publication a second, and publications up to 8 s apart
// still converge: each takes off interval / 4 s of it.
constexpr std::int64_t kHorizonNs = 4 * kNsPerSecond;
constexpr std::int64_t kRateIntervalNsMin = 100 * kNsPerMs;  // shorter ones measure noise
constexpr std::int64_t kQuietNs = 50 * kNsPerUs;             // a wider measurement was interrupted
constexpr std::uint32_t kSkipsInARowMax = 8;
constexpr std::uint64_t kDisagreementPpm = 1'000;
constexpr std::uint64_t kMillion = 1'000'000;

// ns a tick between two samples; 0: none, or not one that plausible() takes.
std::uint64_t rate_between(const ClockDiscipline::Sample& a,
                           const ClockDiscipline::Sample& b) noexcept {
  const auto ticks = static_cast<std::int64_t>(b.tick - a.tick);
  const std::int64_t ns = b.ns - a.ns;
  if (ticks <= 0 || ns <= 0) return 0;
  const Unsigned rate = (static_cast<Unsigned>(ns) << kShift) / static_cast<Unsigned>(ticks);
  if (rate > (Unsigned{1} << 60) || rate < (kOne >> 10)) return 0;
  return static_cast<std::uint64_t>(rate);
}
bool agree(std::uint64_t a, std::uint64_t b) noexcept {
  const std::uint64_t difference = a > b ? a - b : b - a;
  return static_cast<Unsigned>(difference) * kMillion <=
         static_cast<Unsigned>(a) * kDisagreementPpm;
}

}  // namespace

bool plausible(const ClockLine& line) noexcept {
  if (line.counter != ClockCounter::ticks && line.counter != ClockCounter::monotonic) return false;
  if (line.mult == 0 || line.shift > 63 || line.ns0 < 0) return false;
  if ((line.mult >> line.shift) >= (std::uint64_t{1} << 20)) return false;  // under 1 kHz
  return line.shift < 10 || (line.mult >> (line.shift - 10)) != 0;          // over 1 THz
}

std::int64_t HostCounters::monotonic_ns() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

bool HostCounters::ticks_invariant() noexcept {
#if defined(__x86_64__)
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid(0x8000'0007U, &eax, &ebx, &ecx, &edx) == 0) return false;
  return (edx & (1U << 8)) != 0;
#elif defined(__aarch64__)
  return true;  // the architecture says so
#else
  return false;
#endif
}

void HostCounters::wait(std::int64_t duration_ns) noexcept {
  timespec left{duration_ns / kNsPerSecond, duration_ns % kNsPerSecond};
  while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) != 0) {
  }
}

bool ClockDiscipline::calibrate(const Sample& a, const Sample& b, const Sample& c) noexcept {
  const std::uint64_t first = rate_between(a, b);
  const std::uint64_t second = rate_between(b, c);
  const std::uint64_t whole = rate_between(a, c);
  if (first == 0 || second == 0 || whole == 0) return false;
  if (!agree(first, second)) return false;
  counter_ = ClockCounter::ticks;
  rate_ = whole;
  return true;
}

void ClockDiscipline::use_monotonic() noexcept {
  counter_ = ClockCounter::monotonic;
  rate_ = kOne;
  correction_ = 0;
}

void ClockDiscipline::correct(std::int64_t error_ns) noexcept {
  error_ns_ = error_ns;
  const Signed wanted = static_cast<Signed>(rate_) * error_ns / kHorizonNs;
  const Signed bound = static_cast<Signed>(rate_) * slew_ppm_max_ / static_cast<Signed>(kMillion);
  correction_ = static_cast<std::int64_t>(std::clamp(wanted, -bound, bound));
}

ClockDiscipline::Verdict ClockDiscipline::observe(const ClockLine& line,
                                                  const Sample& sample) noexcept {
  if (static_cast<std::int64_t>(sample.tick - last_.tick) < 0) return Verdict::kWentBack;
  const Unsigned width_ns = (static_cast<Unsigned>(sample.width_ticks) * rate_) >> kShift;
  if (width_ns > static_cast<Unsigned>(kQuietNs) && skips_in_a_row_ < kSkipsInARowMax) {
    ++skips_in_a_row_;
    return Verdict::kSkip;
  }
  const std::int64_t published = time_at(line, sample.tick);
  if (published == kNoTime) return Verdict::kDisagrees;
  if (counter_ == ClockCounter::ticks && sample.ns - last_.ns >= kRateIntervalNsMin) {
    const std::uint64_t rate = rate_between(last_, sample);
    if (rate == 0 || !agree(rate_, rate)) return Verdict::kDisagrees;
    rate_ = rate;
    last_ = sample;
  }
  skips_in_a_row_ = 0;
  correct(sample.ns - published);
  return Verdict::kFollow;
}

ClockLine ClockDiscipline::line_from(std::uint64_t tick, std::int64_t ns) const noexcept {
  const auto rate = static_cast<std::uint64_t>(static_cast<std::int64_t>(rate_) + correction_);
  return {tick, ns, rate, kShift, counter_};
}

double ClockDiscipline::slew_ppm() const noexcept {
  return rate_ == 0 ? 0 : 1e6 * static_cast<double>(correction_) / static_cast<double>(rate_);
}
double ClockDiscipline::counter_hz() const noexcept {
  return rate_ == 0 ? 0 : 1e9 * static_cast<double>(kOne) / static_cast<double>(rate_);
}

std::string_view name_of(ClockFallback reason) noexcept {
  switch (reason) {
    case ClockFallback::none:
      return "none";
    case ClockFallback::not_allowed:
      return "not_allowed";
    case ClockFallback::not_invariant:
      return "not_invariant";
    case ClockFallback::disagrees:
      return "disagrees";
    case ClockFallback::went_back:
      return "went_back";
  }
  return "unknown";
}

}  // namespace mesh::sched
