// Codel: says which of the things that leave a queue to drop, by how long they waited and not by
// how many wait. A queue that stays above the target for a whole interval is a standing one.
//
// Callers     one thread.  Progress  wait-free.  Cost  a few ns, one sqrt a drop.
// Units       ns. After a drop take the next from the queue and ask again.
// Source      RFC 8289, with its re-entry: dropping that starts again within 16 intervals goes on
//             at the rate at which it had stopped.
#pragma once

#include <cmath>
#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

class Codel {
 public:
  Codel(std::int64_t target_ns, std::int64_t interval_ns) noexcept
      : target_ns_(target_ns), interval_ns_(interval_ns) {}

  [[nodiscard]] bool on_dequeue(std::int64_t sojourn_ns, std::int64_t now_ns) noexcept {
    const bool standing = is_standing(sojourn_ns, now_ns);
    const auto now = static_cast<double>(now_ns);
    if (dropping_) {
      dropping_ = standing;
      if (!standing || now < drop_next_ns_) return false;
      ++count_;
      drop_next_ns_ += step();
      return true;
    }
    if (!standing) return false;
    dropping_ = true;
    const std::uint32_t delta = count_ - last_count_;
    const bool recent = now - drop_next_ns_ < 16 * static_cast<double>(interval_ns_);
    count_ = delta > 1 && recent ? delta : 1;
    last_count_ = count_;
    drop_next_ns_ = now + step();
    return true;
  }
  [[nodiscard]] bool is_dropping() const noexcept { return dropping_; }
  [[nodiscard]] double drop_next_ns() const noexcept { return drop_next_ns_; }

  void save(StateWriter& writer) const {
    writer.put(first_above_ns_);
    writer.put(drop_next_ns_);
    writer.put(count_);
    writer.put(last_count_);
    writer.put(dropping_);
  }
  void load(StateReader& reader) {
    reader.get(first_above_ns_);
    reader.get(drop_next_ns_);
    reader.get(count_);
    reader.get(last_count_);
    reader.get(dropping_);
  }

 private:
  [[nodiscard]] double step() const noexcept {
    return static_cast<double>(interval_ns_) / std::sqrt(static_cast<double>(count_));
  }
  [[nodiscard]] bool is_standing(std::int64_t sojourn_ns, std::int64_t now_ns) noexcept {
    if (sojourn_ns < target_ns_) {
      first_above_ns_ = 0;
      return false;
    }
    if (first_above_ns_ == 0) {
      first_above_ns_ = now_ns + interval_ns_;
      return false;
    }
    return now_ns >= first_above_ns_;
  }

  std::int64_t target_ns_;
  std::int64_t interval_ns_;
  std::int64_t first_above_ns_ = 0;  // 0: below the target
  double drop_next_ns_ = 0;
  std::uint32_t count_ = 0;
  std::uint32_t last_count_ = 0;
  bool dropping_ = false;
};

}  // namespace mesh::coordination
