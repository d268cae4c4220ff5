// ContextShelf: agents' contexts in memory, where a mesh has no store: each one's last 3 versions,
// and so many bytes in all.
//
// Callers     any thread.
// Progress    blocking: a mutex around a map.
// Units       bytes of contexts alone.
// If the      engine dies: all of it is gone, which is what a store is for.
// engine
// dies
// Errors      keep -> invalid_argument (validate(ContextVersion)); no_space: nothing is kept.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "engine/store/store.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

inline constexpr std::size_t kShelfBytesMax = std::size_t{256} << 20;

class ContextShelf {
 public:
  explicit ContextShelf(std::size_t bytes_max = kShelfBytesMax) : bytes_max_(bytes_max) {}

  // Its version, as Store::keep_context.
  Result<std::uint64_t> keep(ContextVersion context);
  [[nodiscard]] std::vector<ContextVersion> contexts(
      const ContextOwner& owner) const;  // newest first
  [[nodiscard]] std::size_t bytes_used() const;

 private:
  const std::size_t bytes_max_;
  mutable std::mutex mutex_;
  std::map<ContextOwner, std::deque<ContextVersion>> shelf_;  // newest first
  std::size_t bytes_used_ = 0;
};

}  // namespace mesh::engine
