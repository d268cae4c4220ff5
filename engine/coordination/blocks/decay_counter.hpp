// DecayCounter: a count that halves every half-life, in one word, and never sticks.
//
// Callers     one thread; the word can stand in a table and be read by anybody.
// Progress    wait-free.  Cost  a scale: one exp2, or two polynomials where its step is known. add,
//             read with a scale: 2 ns.
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

// What one instant means to counters of one half-life: worked out once for all of them.
struct DecayScale {
  static constexpr unsigned kFractionBits = 24;

  DecayScale() = default;
  DecayScale(std::int64_t now_ns, std::int64_t half_life_ns) noexcept;

  std::uint64_t epoch = 0;
  std::uint64_t unit = 1U << kFractionBits;  // what an event that comes now weighs
  double per_bit = 0x1p-24;                  // what a bit of a value is worth now
};

// The instants of a 1024th of a half-life, on a grid that begins anew with each epoch: what they
// have in common costs an exp2 and two divisions, what each has for itself two polynomials that are
// right to 1e-14. Every scale is made so: it depends on its instant, not on what was asked before.
struct DecayStep {
  static constexpr std::int64_t kSteps = 1'024;
  static constexpr std::int64_t kEpochHalfLives = 8;

  DecayStep() = default;  // holds no instant
  DecayStep(std::int64_t now_ns, std::int64_t half_life_ns) noexcept
      : per_ns(0.693147180559945309 / static_cast<double>(half_life_ns)) {
    const std::int64_t span_ns = kEpochHalfLives * half_life_ns;
    const std::int64_t step_ns = half_life_ns < kSteps ? 1 : half_life_ns / kSteps;
    const std::int64_t into_ns = now_ns % span_ns / step_ns * step_ns;
    epoch_number = now_ns / span_ns;
    begin_ns = epoch_number * span_ns + into_ns;
    length_ns = step_ns < span_ns - into_ns ? step_ns : span_ns - into_ns;
    weight = std::exp2(static_cast<double>(into_ns) / static_cast<double>(half_life_ns)) *
             (1U << DecayScale::kFractionBits);
    inverse = 1 / weight;
  }
  [[nodiscard]] bool holds(std::int64_t now_ns) const noexcept {
    return static_cast<std::uint64_t>(now_ns - begin_ns) < static_cast<std::uint64_t>(length_ns);
  }
  // holds(now_ns) must be.
  [[nodiscard]] DecayScale at(std::int64_t now_ns) const noexcept {
    const double y = static_cast<double>(now_ns - begin_ns) * per_ns;  // below 2^-10
    const double grown = 1 + y * (1 + y * (0.5 + y * (1.0 / 6)));
    const double shrunk = 1 - y * (1 - y * (0.5 - y * (1.0 / 6)));
    DecayScale scale;
    scale.epoch = static_cast<std::uint64_t>(epoch_number) & 0xFFU;
    scale.unit = static_cast<std::uint64_t>(static_cast<std::int64_t>(weight * grown + 0.5));
    scale.per_bit = inverse * shrunk;
    return scale;
  }

  std::int64_t begin_ns = 0;
  std::int64_t length_ns = 0;
  std::int64_t epoch_number = 0;  // not modulo 256
  double per_ns = 0;              // ln 2 / half-life
  double weight = 0;              // of an event at its beginning, in bits
  double inverse = 0;
};

inline DecayScale::DecayScale(std::int64_t now_ns, std::int64_t half_life_ns) noexcept
    : DecayScale(DecayStep(now_ns, half_life_ns).at(now_ns)) {}

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
