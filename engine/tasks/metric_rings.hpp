// MetricRings: the points of all metrics of one step, as differences.
//
// Callers     the thread that owns the store.
// Cost        push: a few words a metric. A question decodes from the oldest point on.
// Units       slots are instants / step; all metrics have the same. A point takes 4 bytes; one that
//             differs from the one before by more than 2^31 takes 16 more, kWideMax at once.
// Invariants  base + the differences that stand == last.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::tasks {
using namespace coordination;  // the services and their blocks, upon which this box stands

inline constexpr std::int64_t kMinute = 60;  // in seconds

class MetricRings {
 public:
  static constexpr std::uint32_t kWideMax = 32;

  MetricRings(std::uint32_t metrics, std::uint32_t kept)
      : kept_(kept), cells_(std::size_t{metrics} * kept, kGap), tracks_(metrics) {}

  // The next slot of every metric is `slot`; what is between is a gap.
  void begin(std::int64_t slot) noexcept { next_ = slot; }
  [[nodiscard]] std::int64_t next() const noexcept { return next_; }
  [[nodiscard]] std::int64_t oldest() const noexcept { return next_ - count_; }

  // Of the slot next(); nothing: a gap. False: it could not be kept, and is one.
  bool push(std::uint32_t metric, std::optional<std::int64_t> value) noexcept;
  // All metrics have had theirs.
  void close_slot() noexcept {
    ++next_;
    count_ += count_ == kept_ ? 0 : 1;
  }
  // So many slots in which nobody looked.
  void skip(std::int64_t slots, std::uint32_t metrics) noexcept;

  // Calls visit(slot, value or nothing) for each point from `from` on, to next() - 1.
  template <class Visit>
  void each(std::uint32_t metric, std::int64_t from, Visit&& visit) const {
    std::int64_t value = tracks_[metric].base;
    std::uint32_t wide = 0;
    for (std::int64_t slot = oldest(); slot < next_; ++slot) {
      const bool is_point = decode(metric, slot, value, wide);
      if (slot < from) continue;
      visit(slot, is_point ? std::optional<std::int64_t>(value) : std::nullopt);
    }
  }
  // The last point up to the end of `slot`; nothing: there is none.
  [[nodiscard]] std::optional<std::int64_t> at(std::uint32_t metric, std::int64_t slot) const;

  void save(StateWriter& writer, std::uint32_t metrics) const;
  void load(StateReader& reader, std::uint32_t metrics);
  [[nodiscard]] bool is_sound(std::uint32_t metrics) const;

 private:
  static constexpr std::int32_t kGap = INT32_MIN;
  static constexpr std::int32_t kWide = INT32_MIN + 1;

  struct Track {
    std::int64_t base = 0;  // before the oldest point
    std::int64_t last = 0;
    std::uint32_t first_wide = 0;
    std::uint32_t wide_count = 0;
    std::array<std::int64_t, kWideMax> wide{};  // of the points that are, in order
    bool has_base = false;                      // there is a point at or before the base
    bool known = false;                         // there was a point ever
  };

 public:
  static constexpr std::size_t kPointBytes = sizeof(std::int32_t);
  static constexpr std::size_t kTrackBytes = sizeof(Track);

 private:
  [[nodiscard]] std::size_t index_of(std::uint32_t metric, std::int64_t slot) const noexcept {
    return std::size_t{metric} * static_cast<std::size_t>(kept_) +
           static_cast<std::size_t>(slot % kept_);
  }
  [[nodiscard]] const std::int32_t& cell(std::uint32_t metric, std::int64_t slot) const noexcept {
    return cells_[index_of(metric, slot)];
  }
  void forget_oldest(std::uint32_t metric) noexcept;
  bool decode(std::uint32_t metric, std::int64_t slot, std::int64_t& value,
              std::uint32_t& wide) const noexcept;

  std::int64_t kept_;
  std::int64_t next_ = 0;
  std::int64_t count_ = 0;  // slots that stand
  std::vector<std::int32_t> cells_;
  std::vector<Track> tracks_;
};

}  // namespace mesh::tasks
