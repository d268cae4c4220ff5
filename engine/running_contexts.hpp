// RunningContexts: agents' contexts in a running engine (mesh.md part 11): in its store where it
// has one, else in memory as long as it runs.
//
// Callers     any thread.
// Progress    with a store: by a call on the conflict office's thread, which is told `done` there;
//             the loop has no part in it. In memory: at once, and `done` is called before the
//             return.
// Ordering    calls of one thread in their order.
// If the      store is away: not_ready, and nothing is kept. The engine stops first: `done` is
// other side  destroyed untold.
// dies
// Errors      invalid_argument, no_space, not_ready, and the store's own.
#pragma once

#include <functional>
#include <vector>

#include "engine/conflict/context_shelf.hpp"
#include "engine/running_conflicts.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

class RunningContexts {
 public:
  // Null: there is no store.
  explicit RunningContexts(RunningConflicts* conflicts) : conflicts_(conflicts) {}

  [[nodiscard]] bool is_in_store() const noexcept { return conflicts_ != nullptr; }

  using Kept = std::function<void(Result<std::uint64_t> version)>;
  void keep(ContextVersion context, Kept done);
  using Listed = std::function<void(Result<std::vector<ContextVersion>> newest_first)>;
  void list(ContextOwner owner, Listed done);

 private:
  RunningConflicts* conflicts_;
  ContextShelf shelf_;
};

}  // namespace mesh::engine
