// PriorityAdmission: which requests an overloaded service still takes: the most urgent first, and
// of one urgency always those of the same senders, so that what needs several calls gets all of
// them or none. Its floor travels back on answers, and senders stop what would be refused
// (PeerFloor).
//
//   level = priority (0..3) * 128 + the sender's share (0..127); admitted where level >= floor
//   overloaded: the floor rises until 5 % fewer would pass; else it falls until 1 % more would
//
// Callers     one thread.  Progress  wait-free.
// Cost        admit: two increments and a compare. The end of a window: one walk over 512 counts.
// Units       Nanos of the host clock. A window ends after window_ns or window_requests, whichever
//             comes first.
// Guarantees  critical requests (priority 3) are never refused here: hard limits are
//             BackpressureController's. Within a window the floor stands still.
// If the      peer is gone: what it said last is forgotten after its time to live.
// other side
// dies
// Source      DAGOR: Zhou et al., Overload Control for Scaling WeChat Microservices, 2018. Overload
//             is told by the mean wait in the queue, not by answer times, which are others' too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/coordination/blocks/id_hash.hpp"

namespace mesh::coordination {

struct AdmissionConfig {
  std::int64_t window_ns = 1'000'000'000;
  std::uint32_t window_requests = 2'000;
  std::int64_t wait_max_ns = 20'000'000;  // mean of a window; above it: overloaded
  std::uint32_t cut_ppm = 50'000;         // of what was admitted
  std::uint32_t grow_ppm = 10'000;        // of what came
};

class PriorityAdmission {
 public:
  static constexpr std::uint32_t kPriorities = 4;
  static constexpr std::uint32_t kShares = 128;
  static constexpr std::uint32_t kLevels = kPriorities * kShares;
  static constexpr std::uint32_t kFloorMax = (kPriorities - 1) * kShares;

  explicit PriorityAdmission(const AdmissionConfig& config = {}) noexcept : config_(config) {}

  // A sender keeps its share for `epoch` (an hour, say), so that nobody is the last for ever.
  [[nodiscard]] static std::uint32_t level_of(std::uint32_t priority, std::uint64_t sender,
                                              std::uint64_t epoch) noexcept {
    const std::uint32_t urgency = priority < kPriorities ? priority : kPriorities - 1;
    return urgency * kShares + static_cast<std::uint32_t>(hash_of(sender, epoch).low % kShares);
  }

  [[nodiscard]] bool admit(std::uint32_t level, std::int64_t now_ns) noexcept {
    roll(now_ns);
    const std::uint32_t at = level < kLevels ? level : kLevels - 1;
    ++arrived_[at];
    ++arrivals_;
    if (at < floor_) return false;
    ++admitted_;
    return true;
  }
  // How long one waited in the queue before it was begun.
  void waited(std::int64_t wait_ns) noexcept {
    wait_sum_ns_ += wait_ns > 0 ? wait_ns : 0;
    ++waits_;
  }
  [[nodiscard]] std::uint32_t floor() const noexcept { return floor_; }

  // Ends the window if it is over; admit() does so by itself.
  void roll(std::int64_t now_ns) noexcept {
    const bool is_over =
        now_ns - began_ns_ >= config_.window_ns || arrivals_ >= config_.window_requests;
    if (!is_over) return;
    const bool is_overloaded =
        waits_ != 0 && wait_sum_ns_ / static_cast<std::int64_t>(waits_) > config_.wait_max_ns;
    if (is_overloaded) {
      raise(admitted_ - share_of(admitted_, config_.cut_ppm));
    } else {
      lower(admitted_ + share_of(arrivals_, config_.grow_ppm));
    }
    arrived_.fill(0);
    arrivals_ = admitted_ = waits_ = 0;
    wait_sum_ns_ = 0;
    began_ns_ = now_ns;
  }

 private:
  // At least one, or few requests would move nothing.
  static std::uint64_t share_of(std::uint64_t count, std::uint32_t ppm) noexcept {
    const std::uint64_t share = count * ppm / 1'000'000;
    return count == 0 ? 0 : share == 0 ? 1 : share;
  }
  void raise(std::uint64_t wanted) noexcept {
    std::uint64_t passing = admitted_;
    while (passing > wanted && floor_ < kFloorMax) passing -= arrived_[floor_++];
  }
  void lower(std::uint64_t wanted) noexcept {
    std::uint64_t passing = admitted_;
    while (floor_ != 0 && passing + arrived_[floor_ - 1] <= wanted) passing += arrived_[--floor_];
  }

  AdmissionConfig config_;
  std::array<std::uint32_t, kLevels> arrived_{};  // in this window
  std::uint64_t arrivals_ = 0;
  std::uint64_t admitted_ = 0;
  std::uint64_t waits_ = 0;
  std::int64_t wait_sum_ns_ = 0;
  std::int64_t began_ns_ = 0;
  std::uint32_t floor_ = 0;  // levels below it are refused
};

// What a sender knows of one peer's floor, from its answers.
class PeerFloor {
 public:
  explicit PeerFloor(std::int64_t ttl_ns = 2'000'000'000) noexcept : ttl_ns_(ttl_ns) {}
  void heard(std::uint32_t floor, std::int64_t now_ns) noexcept {
    floor_ = floor < PriorityAdmission::kFloorMax ? floor : PriorityAdmission::kFloorMax;
    heard_ns_ = now_ns;
  }
  [[nodiscard]] bool passes(std::uint32_t level, std::int64_t now_ns) const noexcept {
    return level >= floor_ || now_ns - heard_ns_ > ttl_ns_;
  }

 private:
  std::int64_t ttl_ns_;
  std::uint32_t floor_ = 0;
  std::int64_t heard_ns_ = 0;
};

}  // namespace mesh::coordination
