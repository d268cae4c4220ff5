// DecayCounter: a count that halves every half-life, in one word, and never sticks.
//
// Callers     one thread; the word can stand in a table and be read by anybody.
// Progress    wait-free.  Cost  a scale: one exp2. add, read with a scale: 2 ns.
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

// What one instant means to counters of one half-life: the exp2, done once for all of them.
struct DecayScale {
  static constexpr unsigned kFractionBits = 24;

  DecayScale() = default;
  DecayScale(std::int64_t now_ns, std::int64_t half_life_ns) noexcept
      : DecayScale(within(static_cast<std::uint64_t>(now_ns / (8 * half_life_ns)),
                          now_ns % (8 * half_life_ns), half_life_ns)) {}
  // The same, of an instant so far into an epoch that is known: without a division of integers.
  [[nodiscard]] static DecayScale within(std::uint64_t epoch, std::int64_t into_ns,
                                         std::int64_t half_life_ns) noexcept {
    const double into = static_cast<double>(into_ns) / static_cast<double>(half_life_ns);  // 0..8
    const double one = std::exp2(into);
    DecayScale scale;
    scale.epoch = epoch & 0xFFU;
    scale.unit = static_cast<std::uint64_t>(std::llrint(one * (1U << kFractionBits)));
    scale.per_bit = 1 / (one * (1U << kFractionBits));
    return scale;
  }

  std::uint64_t epoch = 0;
  std::uint64_t unit = 1U << kFractionBits;  // what an event that comes now weighs
  double per_bit = 0x1p-24;                  // what a bit of a value is worth now
};

class DecayCounter {
 public:
  static constexpr unsigned kFractionBits = DecayScale::kFractionBits;
  static constexpr std::uint64_t kValueMax = (std::uint64_t{1} << 56) - 1;

  void add(const DecayScale& at, std::uint64_t weight = 1) noexcept {
    advance(at);
    add_bits(weight > room() / at.unit ? room() : weight * at.unit);
  }
  void add(std::int64_t now_ns, std::int64_t half_life_ns, std::uint64_t weight = 1) noexcept {
    add(DecayScale(now_ns, half_life_ns), weight);
  }
  // As if `amount` events, which need not be a whole number, came now.
  void add_amount(const DecayScale& at, double amount) noexcept {
    advance(at);
    const double bits = amount * static_cast<double>(at.unit);
    add_bits(bits < static_cast<double>(room()) ? static_cast<std::uint64_t>(bits) : room());
  }
  [[nodiscard]] double read(const DecayScale& at) const noexcept {
    DecayCounter advanced = *this;
    advanced.advance(at);
    return static_cast<double>(static_cast<std::int64_t>(advanced.value())) * at.per_bit;
  }
  [[nodiscard]] double read(std::int64_t now_ns, std::int64_t half_life_ns) const noexcept {
    return read(DecayScale(now_ns, half_life_ns));
  }
  // Keeps the epoch near: call it at least once in 100 epochs.
  void advance(const DecayScale& at) noexcept {
    const std::uint64_t passed = (at.epoch - epoch()) & 0xFFU;
    if (passed == 0) return;
    store(passed >= 7 ? 0 : value() >> (8 * passed), at.epoch);
  }
  void advance(std::int64_t now_ns, std::int64_t half_life_ns) noexcept {
    advance(DecayScale(now_ns, half_life_ns));
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
  [[nodiscard]] std::uint64_t room() const noexcept { return kValueMax - value(); }
  void add_bits(std::uint64_t bits) noexcept { store(value() + bits, epoch()); }
  [[nodiscard]] std::uint64_t value() const noexcept { return word_ >> 8; }
  [[nodiscard]] std::uint64_t epoch() const noexcept { return word_ & 0xFFU; }
  void store(std::uint64_t value, std::uint64_t epoch) noexcept { word_ = (value << 8) | epoch; }

  std::uint64_t word_ = 0;
};
static_assert(sizeof(DecayCounter) == 8);

}  // namespace mesh::coordination
