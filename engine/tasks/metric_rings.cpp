#include "engine/tasks/metric_rings.hpp"

#include <algorithm>

namespace mesh::tasks {
namespace {

// As the difference was made; bytes that lie make no harm, is_sound() finds them.
std::int64_t moved_by(std::int64_t value, std::int32_t difference) noexcept {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(value) +
                                   static_cast<std::uint64_t>(std::int64_t{difference}));
}

}  // namespace

// The oldest point becomes the base. Its cell is free then.
void MetricRings::forget_oldest(std::uint32_t metric) noexcept {
  const std::int32_t old = cell(metric, oldest());
  if (old == kGap) return;
  Track& track = tracks_[metric];
  track.has_base = true;
  if (old != kWide) {
    track.base = moved_by(track.base, old);
    return;
  }
  track.base = track.wide[track.first_wide];
  track.first_wide = (track.first_wide + 1) % kWideMax;
  --track.wide_count;
}

bool MetricRings::push(std::uint32_t metric, std::optional<std::int64_t> value) noexcept {
  if (count_ == kept_) forget_oldest(metric);
  std::int32_t& place = cells_[index_of(metric, next_)];
  place = kGap;
  if (!value) return true;
  Track& track = tracks_[metric];
  std::int64_t difference = 0;
  const bool fits = !__builtin_sub_overflow(*value, track.last, &difference) &&
                    difference > kWide && difference <= INT32_MAX;
  if (fits) {
    place = static_cast<std::int32_t>(difference);
  } else {
    if (track.wide_count == kWideMax) return false;
    place = kWide;
    track.wide[(track.first_wide + track.wide_count++) % kWideMax] = *value;
  }
  track.last = *value;
  track.known = true;
  return true;
}

void MetricRings::skip(std::int64_t slots, std::uint32_t metrics) noexcept {
  const std::int64_t gaps = std::min(slots, kept_);
  next_ += slots - gaps;  // those would be forgotten at once
  if (slots > gaps) {
    // What stood is as old: the last known is the base of what comes.
    for (std::uint32_t metric = 0; metric < metrics; ++metric) {
      Track& track = tracks_[metric];
      track.has_base = track.known;
      track.base = track.last;
      track.first_wide = track.wide_count = 0;
      std::fill_n(&cells_[index_of(metric, 0)], kept_, kGap);
    }
  }
  for (std::int64_t i = 0; i < gaps; ++i) {
    for (std::uint32_t metric = 0; metric < metrics; ++metric) push(metric, std::nullopt);
    close_slot();
  }
}

// False: a gap, and the value is the one before it. `wide` counts those that were passed.
bool MetricRings::decode(std::uint32_t metric, std::int64_t slot, std::int64_t& value,
                         std::uint32_t& wide) const noexcept {
  const std::int32_t found = cell(metric, slot);
  if (found == kGap) return false;
  const Track& track = tracks_[metric];
  value =
      found == kWide ? track.wide[(track.first_wide + wide++) % kWideMax] : moved_by(value, found);
  return true;
}

std::optional<std::int64_t> MetricRings::at(std::uint32_t metric, std::int64_t slot) const {
  std::int64_t value = tracks_[metric].base;
  bool is_known = tracks_[metric].has_base;
  std::uint32_t wide = 0;
  for (std::int64_t i = oldest(); i < next_ && i <= slot; ++i) {
    is_known = decode(metric, i, value, wide) || is_known;
  }
  return is_known ? std::optional<std::int64_t>(value) : std::nullopt;
}

void MetricRings::save(StateWriter& writer, std::uint32_t metrics) const {
  writer.put(next_);
  writer.put(count_);
  for (std::uint32_t metric = 0; metric < metrics; ++metric) {
    const Track& track = tracks_[metric];
    writer.put(track.base);
    writer.put(track.last);
    writer.put(track.has_base);
    writer.put(track.known);
    writer.put(track.wide_count);
    for (std::uint32_t i = 0; i < track.wide_count; ++i) {
      writer.put(track.wide[(track.first_wide + i) % kWideMax]);
    }
    for (std::int64_t slot = oldest(); slot < next_; ++slot) writer.put(cell(metric, slot));
  }
}

void MetricRings::load(StateReader& reader, std::uint32_t metrics) {
  reader.get(next_);
  reader.get(count_);
  const bool is_possible =
      !reader.failed() && next_ >= 0 && count_ >= 0 && count_ <= kept_ && count_ <= next_;
  if (!is_possible) {
    count_ = 0;
    return reader.fail();
  }
  for (std::uint32_t metric = 0; metric < metrics && !reader.failed(); ++metric) {
    Track& track = tracks_[metric];
    reader.get(track.base);
    reader.get(track.last);
    reader.get(track.has_base);
    reader.get(track.known);
    reader.get(track.wide_count);
    if (track.wide_count > kWideMax) {
      track.wide_count = 0;
      return reader.fail();
    }
    for (std::uint32_t i = 0; i < track.wide_count; ++i) reader.get(track.wide[i]);
    for (std::int64_t slot = oldest(); slot < next_; ++slot) {
      reader.get(cells_[index_of(metric, slot)]);
    }
  }
}

bool MetricRings::is_sound(std::uint32_t metrics) const {
  for (std::uint32_t metric = 0; metric < metrics; ++metric) {
    const Track& track = tracks_[metric];
    std::uint32_t wides = 0;
    for (std::int64_t slot = oldest(); slot < next_; ++slot) {
      wides += cell(metric, slot) == kWide ? 1U : 0U;
    }
    if (wides != track.wide_count) return false;
    std::int64_t value = track.base;
    std::uint32_t wide = 0;
    for (std::int64_t slot = oldest(); slot < next_; ++slot) decode(metric, slot, value, wide);
    if (value != track.last) return false;
  }
  return true;
}

}  // namespace mesh::tasks
