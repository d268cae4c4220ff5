// ReliabilityBook: of each agent, how many of the last hour's attempts succeeded (mesh.md part 4).
//
// An attempt that succeeded is a message that the agent answered, in READY or in CONFLICT. One that
// failed is what counts as a failure (failure_detector.hpp): a crash, an undeliverable or refused
// message, a wrong context hash, the third unanswered one in a row. A TRANSIT is neither.
//
// Callers     one thread: the engine's scheduler.
// Progress    every call: bounded. No allocation after construction.
// Cost        answered, failed: a count. turn: a compare where nothing is new, 120 bytes otherwise.
// Units       reliability 0 to 1, shrunk toward 1 as by eight attempts that succeeded; a minute a
//             bin, 60 of them. What comes between two turns of a row belongs to the earlier one's
//             minute.
// Accuracy    bins hold a byte each: of an agent with 255 attempts in a minute or more they count
//             in units of 2, 4, ... attempts, the same for all of its bins; what is below a unit
//             waits for more, until the minute is over, and is rounded then.
// If the      engine dies: a successor begins with no attempt, and the table keeps what it said
// other side  until there is one.
// dies
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "shm/base/nanos.hpp"

namespace mesh::engine::health {

class ReliabilityBook {
 public:
  static constexpr std::uint32_t kBins = 60;
  static constexpr Nanos kBin{60 * kNsPerSecond};
  static constexpr double kPriorAttempts = 8;

  explicit ReliabilityBook(std::size_t rows) : new_(rows), kept_(rows) {}

  void answered(std::uint32_t row) noexcept { ++new_[row].answered; }
  void failed(std::uint32_t row) noexcept { ++new_[row].failed; }
  // Somebody else's row from now on.
  void forget(std::uint32_t row) noexcept {
    new_[row] = {};
    kept_[row] = {};
  }
  // Brings the row up to now. Its reliability, where that may be another one.
  [[nodiscard]] std::optional<float> turn(std::uint32_t row, HostTime now) noexcept {
    const auto minute = static_cast<std::uint16_t>(to_ns(now) / kBin.count() % kMinutes);
    const New& news = new_[row];
    if (news.answered == 0 && news.failed == 0 && news.minute == minute) return std::nullopt;
    return fold(row, minute);
  }

 private:
  static constexpr std::uint32_t kMinutes = 1'092 * kBins;
  struct New {
    std::uint32_t answered = 0;
    std::uint16_t failed = 0;
    std::uint16_t minute = 0;  // of the last turn, modulo kMinutes
  };
  struct Kept {
    std::array<std::uint8_t, kBins> answered{};
    std::array<std::uint8_t, kBins> failed{};
    std::uint8_t shift = 0;  // a unit is 2^shift attempts
  };
  enum class Rest : std::uint8_t { waits, rounds };
  static void add(New& news, Kept& kept, std::uint16_t minute, Rest rest) noexcept;
  std::optional<float> fold(std::uint32_t row, std::uint16_t minute) noexcept;

  std::vector<New> new_;
  std::vector<Kept> kept_;
};

}  // namespace mesh::engine::health
