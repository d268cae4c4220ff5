#include "engine/conflict/context_shelf.hpp"

#include <utility>

#include "shm/hash.hpp"

namespace mesh::engine {

// What the new one drives out makes room for it, and so the last that fits is always kept.
Result<std::uint64_t> ContextShelf::keep(ContextVersion context) {
  MESH_CHECK_OK(validate(context));
  context.hash = shm::hash64(context.bytes);
  const std::lock_guard lock(mutex_);
  std::deque<ContextVersion>& versions = shelf_[context.owner];
  if (!versions.empty() && versions.front().hash == context.hash) return versions.front().version;
  const std::size_t leaves = versions.size() < kContextVersions ? 0 : versions.back().bytes.size();
  if (bytes_used_ - leaves + context.bytes.size() > bytes_max_) {
    if (versions.empty()) shelf_.erase(context.owner);
    return fail(Errc::no_space,
                "context of '" + context.owner.name + "': " + std::to_string(context.bytes.size()) +
                    " bytes, and " + std::to_string(bytes_max_ - bytes_used_) + " of " +
                    std::to_string(bytes_max_) +
                    " are free in memory; start the engine with a store",
                static_cast<std::int64_t>(bytes_max_));
  }
  if (versions.size() == kContextVersions) versions.pop_back();
  bytes_used_ = bytes_used_ - leaves + context.bytes.size();
  context.version = versions.empty() ? 1 : versions.front().version + 1;
  versions.push_front(std::move(context));
  return versions.front().version;
}

std::vector<ContextVersion> ContextShelf::contexts(const ContextOwner& owner) const {
  const std::lock_guard lock(mutex_);
  const auto found = shelf_.find(owner);
  if (found == shelf_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

std::size_t ContextShelf::bytes_used() const {
  const std::lock_guard lock(mutex_);
  return bytes_used_;
}

}  // namespace mesh::engine
