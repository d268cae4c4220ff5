// PairReceiver: what one receiver has had of one sender: each message once, in the order in which
// it was sent or as it comes.
//
// Callers     one thread.  Progress  wait-free.  Cost  144 bytes a pair; a few bits a message.
// Units       sequences of a pair from 1.
// Errors      duplicate: it was had, the acknowledgement is sent again. stale_token: it is so old
//             that nobody knows, or its sender has given it up. capacity: in order, and 1,024 or
//             more ahead of what is missing.
// Source      the anti-replay window of IPsec (RFC 4303).
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/coordination/blocks/sequence_window.hpp"

namespace mesh::tasks {
using namespace coordination;  // the services and their blocks, upon which this box stands

enum class PairOrder : std::uint8_t { per_pair_fifo, none };
constexpr PairOrder last_of(PairOrder) noexcept { return PairOrder::none; }

class PairReceiver {
 public:
  explicit PairReceiver(PairOrder order = PairOrder::per_pair_fifo) noexcept : order_(order) {}

  // What accept() says once skip_to(floor) was called; changes nothing.
  [[nodiscard]] Errc judge(std::uint64_t sequence, std::uint64_t floor = 0) const noexcept {
    if (sequence == 0) return Errc::invalid_argument;
    const std::uint64_t next = std::max(next_, floor);
    if (is_in_order() && sequence >= next && sequence - next >= SequenceWindow::kWidth) {
      return Errc::capacity;
    }
    const Errc verdict = window_.judge(sequence);
    const bool is_skipped = verdict == Errc::ok && is_in_order() && sequence < next_;
    return is_skipped ? Errc::stale_token : verdict;
  }
  // Calls deliver(sequence) for each that may be handed over now. In order the window itself says
  // what waits: it has been had and is not before what comes next.
  template <class Deliver>
  Errc accept(std::uint64_t sequence, Deliver&& deliver) {
    const Errc verdict = judge(sequence);
    if (verdict != Errc::ok) return verdict;
    window_.accept(sequence);
    if (is_in_order()) {
      release(deliver);
    } else {
      deliver(sequence);
    }
    return Errc::ok;
  }
  // None before `floor` comes any more: what was had is delivered, what is missing is not waited
  // for.
  template <class Deliver>
  void skip_to(std::uint64_t floor, Deliver&& deliver) {
    if (!is_in_order()) return;
    for (; next_ < floor && next_ <= window_.high(); ++next_) {
      if (was_had(next_)) deliver(next_);
    }
    next_ = std::max(next_, floor);
    release(deliver);
  }
  // What it waits for; what is above it and was had waits with it.
  [[nodiscard]] std::uint64_t next() const noexcept { return next_; }

  void save(StateWriter& writer) const {
    writer.put(order_);
    writer.put(next_);
    window_.save(writer);
  }
  void load(StateReader& reader) {
    order_ = reader.get_enum(last_of(PairOrder{}));
    reader.get(next_);
    window_.load(reader);
    if (next_ == 0) reader.fail();
  }

 private:
  [[nodiscard]] bool is_in_order() const noexcept { return order_ == PairOrder::per_pair_fifo; }
  [[nodiscard]] bool was_had(std::uint64_t sequence) const noexcept {
    return window_.judge(sequence) == Errc::duplicate;
  }
  template <class Deliver>
  void release(Deliver&& deliver) {
    while (next_ <= window_.high() && was_had(next_)) deliver(next_++);
  }

  SequenceWindow window_;
  std::uint64_t next_ = 1;
  PairOrder order_;
};

}  // namespace mesh::tasks
