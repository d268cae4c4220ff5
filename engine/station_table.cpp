#include "engine/station_table.hpp"

#include <algorithm>

namespace mesh::engine {

std::string station_name(std::string_view wished) {
  std::string name(wished.substr(0, kAgentNameBytes));
  if (check_name("station", name)) return name;
  // Byte by byte what a console can print; a character that was cut in two goes with the rest.
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return name.empty() ? "station" : name;
}

Result<StationTable> StationTable::create(const shm::Layout& engine_layout,
                                          std::span<std::byte> engine_memory) {
  MESH_TRY(const std::span<StationRow> rows,
           engine_layout.array<StationRow>(engine_memory, "stations"));
  StationTable table(rows);
  MESH_CHECK_OK(table.recover());
  return table;
}

Status StationTable::recover() {
  std::vector<bool> met(kMaxStations + 1);
  for (std::size_t at = 0; at < rows_.rows(); ++at) {
    const std::uint32_t number = rows_.number_of(at);
    if (number > kMaxStations) {
      return fail(Errc::corrupt,
                  "engine stations row " + std::to_string(at) + ": number " +
                      std::to_string(number) + ", the highest is " + std::to_string(kMaxStations),
                  number);
    }
    last_number_ = std::max(last_number_, number);
    const StationState state = rows_.state_of(at);
    if (state == StationState::free) continue;
    if (state > StationState::leaving) {
      return fail(Errc::corrupt, "engine stations row " + std::to_string(at) + ": state " +
                                     std::to_string(static_cast<std::uint32_t>(state)));
    }
    MESH_TRY(StationEntry entry, rows_.read(at));
    if (met[entry.number]) {
      return fail(Errc::corrupt, "engine stations row " + std::to_string(at) + ": station " +
                                     std::to_string(entry.number) + " stands in another row too");
    }
    met[entry.number] = true;
    left_.push_back({std::move(entry), state});
  }
  return {};
}

std::optional<std::size_t> StationTable::row_of_station(std::uint16_t number) const noexcept {
  for (std::size_t at = 0; at < rows_.rows(); ++at) {
    if (rows_.number_of(at) == number && rows_.state_of(at) != StationState::free) return at;
  }
  return std::nullopt;
}

Status StationTable::attach(const StationEntry& entry) {
  if (entry.number == 0 || row_of_station(entry.number)) {
    return fail(Errc::already_exists,
                "stations: number " + std::to_string(entry.number) + " is in use");
  }
  for (std::size_t at = 0; at < rows_.rows(); ++at) {
    if (rows_.state_of(at) != StationState::free) continue;
    rows_.write(at, entry);
    last_number_ = std::max(last_number_, std::uint32_t{entry.number});
    return {};
  }
  return fail(
      Errc::capacity,
      "stations: " + std::to_string(rows_.rows()) + " are attached, as many as this mesh has",
      static_cast<std::int64_t>(rows_.rows()));
}

void StationTable::leave(std::uint16_t number) noexcept {
  if (const auto at = row_of_station(number)) rows_.leave(*at);
}

void StationTable::free(std::uint16_t number) noexcept {
  if (const auto at = row_of_station(number)) rows_.free(*at);
}

}  // namespace mesh::engine
