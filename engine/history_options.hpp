// HistoryOptions: how long a store keeps history and results (engine/history_keeper.hpp).
#pragma once

#include <cstddef>
#include <cstdint>

#include "shm/base/nanos.hpp"

namespace mesh::engine {

struct HistoryOptions {
  bool is_on = true;               // false: neither points nor results are kept
  std::int64_t history_days = 30;  // never less: the database itself refuses it
  std::int64_t results_days = 30;
  std::uint64_t results_max = 1'000'000;
  std::size_t queue_results = 16'384;  // taken and not yet looked at; and so many wait for a store
  std::size_t points_max = 65'536;     // that wait for a store: an hour of 1,000 clusters
  Nanos linger{200 * kNsPerMs};        // that a batch waits to grow
  Nanos retry{kNsPerSecond};           // after the store failed
  Nanos trim_every{3'600 * kNsPerSecond};
};

}  // namespace mesh::engine
