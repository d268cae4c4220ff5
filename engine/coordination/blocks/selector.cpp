#include "engine/coordination/blocks/selector.hpp"

#include <bit>

namespace mesh::coordination {

std::string_view to_string(PickPolicy policy) noexcept {
  constexpr std::array<std::string_view, 4> kNames{"p2c", "argmax", "weighted", "thompson"};
  const auto index = static_cast<std::size_t>(policy);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::string_view to_string(SelectFilter filter) noexcept {
  constexpr std::array<std::string_view, kSelectFilters> kNames{
      "capability", "inactive", "breaker", "quarantined",
      "excluded",   "region",   "health",  "impedance"};
  const auto index = static_cast<std::size_t>(filter);
  return index < kNames.size() ? kNames[index] : "unknown";
}

Selector::Selector(std::size_t rows, std::uint64_t explore_every)
    : rows_(rows),
      explore_every_(explore_every),
      active_(rows),
      routable_(rows),
      calm_(rows),
      tried_(rows),
      mask_(rows) {
  offers_.reserve(kCapabilitiesMax);
  for (std::size_t i = 0; i < kCapabilitiesMax; ++i) offers_.emplace_back(rows);
  for (std::uint32_t row = 0; row < rows; ++row) {
    routable_.set(row, true);
    calm_.set(row, true);
  }
}

void Selector::offer(std::uint32_t row, unsigned capability, bool offers) noexcept {
  if (row < rows_ && capability < kCapabilitiesMax) offers_[capability].set(row, offers);
}
void Selector::set_active(std::uint32_t row, bool active) noexcept {
  if (row < rows_) active_.set(row, active);
}
void Selector::set_routable(std::uint32_t row, bool routable) noexcept {
  if (row < rows_) routable_.set(row, routable);
}
void Selector::set_quarantined(std::uint32_t row, bool quarantined) noexcept {
  if (row < rows_) calm_.set(row, !quarantined);
}

void Selector::keep_columns(const SelectQuery& query, const SelectColumns& columns,
                            SelectFilter filter) noexcept {
  if (filter == SelectFilter::region) {
    mask_.keep_if([&](std::uint32_t row) {
      return row < columns.region.size() && columns.region[row] == query.region;
    });
  } else if (filter == SelectFilter::health) {
    mask_.keep_if([&](std::uint32_t row) {
      return row < columns.health.size() &&
             static_cast<double>(columns.health[row]) >= query.health_min;
    });
  } else {
    mask_.keep_if([&](std::uint32_t row) {
      return row < columns.impedance.size() &&
             static_cast<double>(columns.impedance[row]) <= query.impedance_max;
    });
  }
}

template <class Step>
void Selector::apply_filters(const SelectQuery& query, const SelectColumns& columns,
                             Step&& step) noexcept {
  mask_.fill();
  for (std::uint64_t left = query.capabilities; left != 0; left &= left - 1) {
    mask_.keep(offers_[static_cast<std::size_t>(std::countr_zero(left))].words());
  }
  step(SelectFilter::capability);
  mask_.keep(active_.words());
  step(SelectFilter::inactive);
  mask_.keep(routable_.words());
  step(SelectFilter::breaker);
  mask_.keep(calm_.words());
  step(SelectFilter::quarantined);
  mask_.count_again();
  for (const auto row : query.exclude) mask_.erase(row);
  step(SelectFilter::excluded);
  const std::array<std::pair<SelectFilter, bool>, 3> asked{{
      {SelectFilter::region, query.region != kAnyRegion},
      {SelectFilter::health, query.health_min > 0 && !columns.health.empty()},
      {SelectFilter::impedance, query.impedance_max < 1'000 && !columns.impedance.empty()},
  }};
  for (const auto& [filter, is_asked] : asked) {
    if (!is_asked) continue;
    keep_columns(query, columns, filter);
    mask_.count_again();
    step(filter);
  }
}

SelectResult Selector::filter(const SelectQuery& query, const SelectColumns& columns) noexcept {
  SelectResult result;
  if (std::isnan(query.impedance_max) || std::isnan(query.health_min)) {
    result.code = Errc::invalid_argument;
    return result;
  }
  apply_filters(query, columns, [](SelectFilter) {});
  if (mask_.count() != 0) return result;
  result.code = Errc::no_candidate;
  result.removed = explain(query, columns);
  return result;
}

SelectRemoved Selector::explain(const SelectQuery& query, const SelectColumns& columns) noexcept {
  SelectRemoved removed{};
  auto before = static_cast<std::uint32_t>(rows_);
  apply_filters(query, columns, [&](SelectFilter filter) {
    mask_.count_again();
    removed[static_cast<std::size_t>(filter)] = before - mask_.count();
    before = mask_.count();
  });
  return removed;
}

}  // namespace mesh::coordination
