// DecayCounter: a count that halves every half-life, in one word, and never sticks.
//
// Callers     one thread; the word can stand in a table and be read by anybody.
// Progress    wait-free.  Cost  add, read: one exp2.
// Units       value Q32.24 in 56 bits (16.7 million events, then it stays there), epoch of 8
//             half-lives in 8 bits: touch each counter at least once in 100 epochs, or 256 of them
//             look like none.
// Why         forward decay: an event weighs more the later it comes, and reading divides. A stored
//             value that is decayed again and again sticks: 46 * 2^(-1/64) rounds to 46.
// Source      Cormode, Shkapenyuk, Srivastava, Xu 2009. exp2 may differ by an ulp between CPUs.
#pragma once

#include <cmath>
#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

class DecayCounter {
 public:
  static constexpr unsigned kFractionBits = 24;
  static constexpr std::uint64_t kValueMax = (std::uint64_t{1} << 56) - 1;

  void add(std::int64_t now_ns, std::int64_t half_life_ns, std::uint64_t weight = 1) noexcept {
    advance(now_ns, half_life_ns);
    const double one = std::exp2(into_epoch(now_ns, half_life_ns)) * (1U << kFractionBits);
    const auto unit = static_cast<std::uint64_t>(std::llrint(one));
    const std::uint64_t room = kValueMax - value();
    const std::uint64_t more = weight > room / unit ? room : weight * unit;
    store(value() + more, epoch());
  }
  [[nodiscard]] double read(std::int64_t now_ns, std::int64_t half_life_ns) const noexcept {
    DecayCounter advanced = *this;
    advanced.advance(now_ns, half_life_ns);
    return static_cast<double>(advanced.value()) / (1U << kFractionBits) *
           std::exp2(-into_epoch(now_ns, half_life_ns));
  }
  // Keeps the epoch near: call it at least once in 100 epochs.
  void advance(std::int64_t now_ns, std::int64_t half_life_ns) noexcept {
    const auto target = static_cast<std::uint64_t>(now_ns / (8 * half_life_ns)) & 0xFFU;
    const std::uint64_t passed = (target - epoch()) & 0xFFU;
    if (passed == 0) return;
    store(passed >= 7 ? 0 : value() >> (8 * passed), target);
  }
  [[nodiscard]] std::uint64_t word() const noexcept { return word_; }
  static DecayCounter from_word(std::uint64_t word) noexcept {
    DecayCounter counter;
    counter.word_ = word;
    return counter;
  }

  void save(StateWriter& writer) const { writer.put(word_); }
  void load(StateReader& reader) { reader.get(word_); }

 private:
  // Half-lives since the epoch began: 0..8.
  [[nodiscard]] static double into_epoch(std::int64_t now_ns, std::int64_t half_life_ns) noexcept {
    return static_cast<double>(now_ns % (8 * half_life_ns)) / static_cast<double>(half_life_ns);
  }
  [[nodiscard]] std::uint64_t value() const noexcept { return word_ >> 8; }
  [[nodiscard]] std::uint64_t epoch() const noexcept { return word_ & 0xFFU; }
  void store(std::uint64_t value, std::uint64_t epoch) noexcept { word_ = (value << 8) | epoch; }

  std::uint64_t word_ = 0;
};
static_assert(sizeof(DecayCounter) == 8);

}  // namespace mesh::coordination
