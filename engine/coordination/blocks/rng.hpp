// Rng: the one seeded generator of the services: xoshiro256**, seeded by SplitMix64.
//
// Callers     one thread.  Progress  wait-free but below(), which draws again with a chance <
//             n/2^64.
// Cost        next: about 1 ns. No allocation. Never std::*_distribution: libraries differ there.
// Source      Blackman & Vigna 2018; below(): Lemire 2019, multiply and reject.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

class SplitMix64 {
 public:
  explicit constexpr SplitMix64(std::uint64_t seed) noexcept : state_(seed) {}

  constexpr std::uint64_t next() noexcept {
    state_ += 0x9E37'79B9'7F4A'7C15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58'476D'1CE4'E5B9U;
    z = (z ^ (z >> 27)) * 0x94D0'49BB'1331'11EBU;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

class Rng {
 public:
  explicit constexpr Rng(std::uint64_t seed) noexcept {
    SplitMix64 seeds(seed);
    for (auto& word : words_) word = seeds.next();
  }

  constexpr std::uint64_t next() noexcept {
    const std::uint64_t result = std::rotl(words_[1] * 5, 7) * 9;
    const std::uint64_t shifted = words_[1] << 17;
    words_[2] ^= words_[0];
    words_[3] ^= words_[1];
    words_[1] ^= words_[2];
    words_[0] ^= words_[3];
    words_[2] ^= shifted;
    words_[3] = std::rotl(words_[3], 45);
    return result;
  }
  // In [0, 1), 53 bits.
  constexpr double u01() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }
  // In [0, n), each equally likely; 0 for n = 0.
  constexpr std::uint64_t below(std::uint64_t n) noexcept {
    if (n == 0) return 0;
    for (;;) {
      const Wide product = static_cast<Wide>(next()) * n;
      const auto low = static_cast<std::uint64_t>(product);
      if (low < n && low < (std::uint64_t{0} - n) % n) continue;
      return static_cast<std::uint64_t>(product >> 64);
    }
  }

  void save(StateWriter& writer) const {
    for (const auto word : words_) writer.put(word);
  }
  void load(StateReader& reader) {
    for (auto& word : words_) reader.get(word);
  }

 private:
  __extension__ using Wide = unsigned __int128;
  std::array<std::uint64_t, 4> words_{};
};

}  // namespace mesh::coordination
