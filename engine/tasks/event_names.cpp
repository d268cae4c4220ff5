#include "engine/tasks/event_names.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace mesh::tasks {
namespace {

constexpr std::size_t kNameShown = 64;  // of what was asked for
constexpr std::array<std::string_view, kEventNames + 1> kTexts{"none",
#define MESH_EVENT_TEXT(enumerator, number, name) name,
                                                               MESH_EVENT_LIST(MESH_EVENT_TEXT)
#undef MESH_EVENT_TEXT
};

// How many letters have to be put in, taken out or replaced.
std::size_t edit_distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = i;
  for (std::size_t i = 1; i <= from.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      const std::size_t replaced = diagonal + (from[i - 1] == to[j - 1] ? 0U : 1U);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

// The three that are nearest; of two alike the one with the lower number.
std::string nearest_names(std::string_view wanted) {
  constexpr std::size_t kShown = 3;
  std::vector<std::pair<std::size_t, std::size_t>> ranked;
  for (std::size_t i = 1; i < kTexts.size(); ++i) {
    ranked.emplace_back(edit_distance(wanted.substr(0, kNameShown), kTexts[i]), i);
  }
  std::sort(ranked.begin(), ranked.end());
  std::string list;
  for (std::size_t i = 0; i < kShown; ++i) {
    list += i == 0 ? " " : ", ";
    list += kTexts[ranked[i].second];
  }
  return list;
}

}  // namespace

std::string_view name_of(EventName name) noexcept {
  const auto index = static_cast<std::size_t>(name);
  return index < kTexts.size() ? kTexts[index] : kTexts[0];
}

EventName find_event(std::string_view name) noexcept {
  for (std::size_t i = 1; i < kTexts.size(); ++i) {
    if (kTexts[i] == name) return static_cast<EventName>(i);
  }
  return EventName::none;
}

bool event_matches(std::string_view pattern, std::string_view name) noexcept {
  if (pattern.empty() || pattern.back() != '*') return pattern == name;
  pattern.remove_suffix(1);
  return name.substr(0, pattern.size()) == pattern;
}

Result<EventFilter> EventFilter::of(std::string_view pattern, Severity at_least,
                                    std::uint32_t source) {
  EventFilter filter;
  filter.at_least_ = at_least;
  filter.source_ = source;
  bool any = false;
  for (std::size_t i = 1; i < kTexts.size(); ++i) {
    if (!event_matches(pattern, kTexts[i])) continue;
    filter.bits_[i / 64] |= std::uint64_t{1} << (i % 64);
    any = true;
  }
  if (any) return filter;
  return fail(Errc::invalid_argument, "event bus: no event is named \"" +
                                          std::string(pattern.substr(0, kNameShown)) +
                                          "\"; nearest:" + nearest_names(pattern));
}

}  // namespace mesh::tasks
