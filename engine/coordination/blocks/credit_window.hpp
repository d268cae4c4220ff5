// WindowSender, WindowReceiver: credit from end to end: who consumes says up to where it may be
// sent, so that nothing on the way has to hold more than that.
//
//   receiver: limit = consumed + window, told by any message     sender: sends while sent < limit
//
// Callers     one thread each; a pair for each stream.  Progress  wait-free.  Cost  a compare.
// Units       messages or bytes, as both ends agree; positions count from the stream's start (u64:
//             at a thousand million a second for 584 years).
// Guarantees  never more than `window` sent and not consumed. Limits are absolute: lost, repeated
//             and reordered ones do no harm, the greatest counts; one that was lost is made good by
//             the next, so tell it again while the sender may be waiting.
// If the      sender sends beyond the limit: accept() says corrupt, and takes nothing. The receiver
// other side  dies: the sender stops at its limit.
// dies,
// or lies
// Source      HTTP/2 flow control (RFC 9113, 5.2); request(n) of Reactive Streams, by positions.
#pragma once

#include <cstdint>

#include "shm/base/errc.hpp"

namespace mesh::coordination {

class WindowSender {
 public:
  explicit WindowSender(std::uint64_t limit = 0) noexcept : limit_(limit) {}

  [[nodiscard]] std::uint64_t available() const noexcept { return limit_ - sent_; }
  // True: it may go. False: wait for another limit; nothing has changed.
  [[nodiscard]] bool send(std::uint64_t count = 1) noexcept {
    if (count > available()) return false;
    sent_ += count;
    return true;
  }
  void heard(std::uint64_t limit) noexcept { limit_ = limit > limit_ ? limit : limit_; }
  [[nodiscard]] std::uint64_t sent() const noexcept { return sent_; }

 private:
  std::uint64_t limit_;
  std::uint64_t sent_ = 0;  // at most limit_
};

class WindowReceiver {
 public:
  explicit WindowReceiver(std::uint64_t window) noexcept : window_(window), told_(window) {}

  [[nodiscard]] Errc accept(std::uint64_t count = 1) noexcept {
    if (count > told_ - received_) return Errc::corrupt;
    received_ += count;
    return Errc::ok;
  }
  // Taken out of the receiver's queue, and done. At most what was received.
  [[nodiscard]] Errc consume(std::uint64_t count = 1) noexcept {
    if (count > received_ - consumed_) return Errc::invalid_argument;
    consumed_ += count;
    return Errc::ok;
  }
  // Worth telling: half of the window is free that the sender does not know of.
  [[nodiscard]] bool is_due() const noexcept {
    const std::uint64_t limit = consumed_ + window_;
    return limit > told_ && limit - told_ >= (window_ + 1) / 2;
  }
  // What to tell the sender; from now on it may send so far.
  std::uint64_t limit() noexcept {
    const std::uint64_t limit = consumed_ + window_;
    told_ = limit > told_ ? limit : told_;  // what was told stands, also where the window shrank
    return told_;
  }
  void resize(std::uint64_t window) noexcept { window_ = window; }
  [[nodiscard]] std::uint64_t queued() const noexcept { return received_ - consumed_; }

 private:
  std::uint64_t window_;
  std::uint64_t told_;
  std::uint64_t received_ = 0;
  std::uint64_t consumed_ = 0;
};

}  // namespace mesh::coordination
