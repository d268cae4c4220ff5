// What other threads want of stations' processes, on its way to the control thread.
//
// Callers     give, set_loads, loads: any thread. The rest: the control thread.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
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
    if (does)
      loading.insert(station);
    else
      loading.erase(station);
  }
  [[nodiscard]] bool loads(StationId station) const {
    const std::lock_guard lock(mutex);
    return loading.contains(station);
  }

  mutable std::mutex mutex;
  std::vector<LoadOrder> given;
  std::set<StationId> loading;  // stations that said that they load contexts
  std::map<std::uint64_t, Asked> asked;
  std::uint64_t last_number = 0;
};

}  // namespace mesh::engine
