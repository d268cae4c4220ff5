#include "engine/health/reliability.hpp"

#include <algorithm>
#include <numeric>

namespace mesh::engine::health {
namespace {

using Bins = std::array<std::uint8_t, ReliabilityBook::kBins>;
constexpr std::uint32_t kBinMost = 255;
constexpr std::uint8_t kShiftMost = 24;

// Half to even: rounded one way a failure would become a thousand, or none.
void halve(Bins& bins) noexcept {
  for (std::uint8_t& bin : bins) bin = static_cast<std::uint8_t>((bin + (bin >> 1U & 1U)) / 2);
}
void twice(Bins& bins) noexcept {
  for (std::uint8_t& bin : bins) bin = static_cast<std::uint8_t>(bin * 2);
}
bool can_be_twice(const Bins& bins) noexcept {
  return std::all_of(bins.begin(), bins.end(), [](auto bin) { return bin <= kBinMost / 2; });
}
double sum(const Bins& bins) noexcept { return std::accumulate(bins.begin(), bins.end(), 0U); }

}  // namespace

// What is new into this minute's bin, in whole units; `rest`: below half of one, and above.
void ReliabilityBook::add(New& news, Kept& kept, std::uint16_t minute, Rest rest) noexcept {
  const std::size_t at = minute % kBins;
  const std::uint32_t half = rest == Rest::rounds ? (1U << kept.shift) / 2 : 0;
  const auto fits = [&] {
    return kept.answered[at] + (news.answered >> kept.shift) < kBinMost &&
           kept.failed[at] + (std::uint32_t{news.failed} >> kept.shift) < kBinMost;
  };
  while (!fits() && kept.shift < kShiftMost) {
    halve(kept.answered);
    halve(kept.failed);
    ++kept.shift;
  }
  const std::uint32_t answered = (news.answered + half) >> kept.shift;
  const std::uint32_t failed = (std::uint32_t{news.failed} + half) >> kept.shift;
  kept.answered[at] = static_cast<std::uint8_t>(std::min(kept.answered[at] + answered, kBinMost));
  kept.failed[at] = static_cast<std::uint8_t>(std::min(kept.failed[at] + failed, kBinMost));
  if (rest == Rest::rounds) {
    news.answered = news.failed = 0;
  } else {
    news.answered -= answered << kept.shift;
    news.failed = static_cast<std::uint16_t>(news.failed - (failed << kept.shift));
  }
}

std::optional<float> ReliabilityBook::fold(std::uint32_t row, std::uint16_t minute) noexcept {
  New& news = new_[row];
  Kept& kept = kept_[row];
  const bool is_new = news.answered != 0 || news.failed != 0;
  const bool has_any = sum(kept.answered) + sum(kept.failed) != 0;
  const std::uint32_t passed = (minute + kMinutes - news.minute) % kMinutes;
  if (passed != 0 && passed < kBins) add(news, kept, news.minute, Rest::rounds);
  for (std::uint32_t i = 0; i < std::min(passed, kBins); ++i) {
    const std::size_t over = (minute + kMinutes - i) % kBins;
    kept.answered[over] = kept.failed[over] = 0;
  }
  news.minute = minute;
  if (!has_any && !is_new) return std::nullopt;
  // As small a unit as will do.
  while (kept.shift != 0 && can_be_twice(kept.answered) && can_be_twice(kept.failed)) {
    twice(kept.answered);
    twice(kept.failed);
    --kept.shift;
  }
  add(news, kept, minute, Rest::waits);
  const double unit = static_cast<double>(std::uint32_t{1} << kept.shift);
  const double succeeded = sum(kept.answered) * unit + news.answered;
  const double lost = sum(kept.failed) * unit + news.failed;
  return static_cast<float>((succeeded + kPriorAttempts) / (succeeded + lost + kPriorAttempts));
}

}  // namespace mesh::engine::health
