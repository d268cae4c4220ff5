// SequenceWindow: which sequence numbers of one producer have been seen: a high-water mark and the
// 1,024 below it. Unlimited in time, 136 bytes.
//
// Source      idempotent producers (Kafka); the anti-replay window of IPsec (RFC 4303).
#pragma once

#include <array>
#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"
#include "shm/base/errc.hpp"

namespace mesh::coordination {

class SequenceWindow {
 public:
  static constexpr std::uint64_t kWidth = 1'024;

  // ok, duplicate, or stale_token below the window: whether it was seen is not known any more.
  [[nodiscard]] Errc judge(std::uint64_t sequence) const noexcept {
    if (sequence <= high_ && high_ - sequence >= kWidth) return Errc::stale_token;
    return sequence <= high_ && bit(sequence) ? Errc::duplicate : Errc::ok;
  }
  Errc accept(std::uint64_t sequence) noexcept {
    const Errc verdict = judge(sequence);
    if (verdict != Errc::ok) return verdict;
    if (sequence > high_) {
      if (sequence - high_ >= kWidth) {
        words_ = {};
      } else {
        for (std::uint64_t passed = high_ + 1; passed < sequence; ++passed) set(passed, false);
      }
      high_ = sequence;
    }
    set(sequence, true);
    return Errc::ok;
  }
  [[nodiscard]] std::uint64_t high() const noexcept { return high_; }

  void save(StateWriter& writer) const {
    writer.put(high_);
    for (const auto word : words_) writer.put(word);
  }
  void load(StateReader& reader) {
    reader.get(high_);
    for (auto& word : words_) reader.get(word);
  }

 private:
  [[nodiscard]] bool bit(std::uint64_t sequence) const noexcept {
    return (words_[sequence % kWidth / 64] >> (sequence % 64) & 1U) != 0;
  }
  void set(std::uint64_t sequence, bool value) noexcept {
    const std::uint64_t mask = std::uint64_t{1} << (sequence % 64);
    auto& word = words_[sequence % kWidth / 64];
    word = value ? word | mask : word & ~mask;
  }

  std::uint64_t high_ = 0;
  std::array<std::uint64_t, kWidth / 64> words_{};
};

}  // namespace mesh::coordination
