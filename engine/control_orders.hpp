// What other threads want of stations' processes, on its way to the control thread.
//
// Callers     give, set_loads, forget, loads: any thread. The rest: the control thread.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "engine/control_server.hpp"
#include "engine/running_steps.hpp"

namespace mesh::engine {

struct ControlServer::Orders {
  struct Asked {
    std::uint64_t connection = 0;
    LoadOrder order;
  };

  void give(LoadOrder order) {
    const std::lock_guard lock(mutex);
    given.push_back(std::move(order));
  }
  [[nodiscard]] std::vector<LoadOrder> take() {
    const std::lock_guard lock(mutex);
    return std::exchange(given, {});
  }
  void set_loads(StationId station, bool does) {
    const std::lock_guard lock(mutex);
    loading[station] = does;
  }
  void forget(StationId station) {
    const std::lock_guard lock(mutex);
    loading.erase(station);
  }
  // None: it is not here. A dead engine's station is in the table before it has come back to us.
  [[nodiscard]] std::optional<bool> loads(StationId station) const {
    const std::lock_guard lock(mutex);
    const auto said = loading.find(station);
    return said == loading.end() ? std::nullopt : std::optional(said->second);
  }

  mutable std::mutex mutex;
  std::vector<LoadOrder> given;
  std::map<StationId, bool> loading;  // whether they load contexts, as those who are here said
  std::map<std::uint64_t, Asked> asked;
  std::uint64_t last_number = 0;
};

}  // namespace mesh::engine
