// PairReceiver: what one receiver has had of one sender: each message once, in the order in which
// it was sent or as it comes.
//
// Callers     one thread.  Progress  wait-free.  Cost  144 bytes a pair; a few bits a message.
// Units       sequences of a pair from 1.
// Errors      duplicate: it was had, the acknowledgement is sent again. stale_token: it is so old
//             that nobody knows. capacity: in order, and 1,024 or more ahead of what is missing.
// Source      the anti-replay window of IPsec (RFC 4303).
#pragma once

#include <cstdint>

#include "engine/coordination/blocks/sequence_window.hpp"

namespace mesh::tasks {
using namespace coordination;  // the services and their blocks, upon which this box stands

enum class PairOrder : std::uint8_t { per_pair_fifo, none };
constexpr PairOrder last_of(PairOrder) noexcept { return PairOrder::none; }

class PairReceiver {
 public:
  explicit PairReceiver(PairOrder order = PairOrder::per_pair_fifo) noexcept : order_(order) {}

  // Calls deliver(sequence) for each that may be handed over now. In order the window itself says
  // what waits: it has been had and is not before what comes next.
  template <class Deliver>
  Errc accept(std::uint64_t sequence, Deliver&& deliver) {
    if (sequence == 0) return Errc::invalid_argument;
    const bool in_order = order_ == PairOrder::per_pair_fifo;
    if (in_order && sequence >= next_ && sequence - next_ >= SequenceWindow::kWidth) {
      return Errc::capacity;
    }
    const Errc verdict = window_.accept(sequence);
    if (verdict != Errc::ok) return verdict;
    if (!in_order) {
      deliver(sequence);
      return Errc::ok;
    }
    while (next_ <= window_.high() && window_.judge(next_) == Errc::duplicate) deliver(next_++);
    return Errc::ok;
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
  SequenceWindow window_;
  std::uint64_t next_ = 1;
  PairOrder order_;
};

}  // namespace mesh::tasks
