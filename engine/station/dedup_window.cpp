#include "engine/station/dedup_window.hpp"

#include <algorithm>
#include <span>

#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

std::size_t slot_of(const DedupWindow::Key& key) noexcept {
  return static_cast<std::size_t>(shm::hash64(std::as_bytes(std::span(&key, 1))));
}

}  // namespace

// What left the window stays in the index until it is made anew, and is told by its position.
void DedupWindow::place(std::uint64_t position, const Key& key) noexcept {
  std::size_t slot = slot_of(key) % kSlots;
  while (index_[slot] != 0) slot = (slot + 1) % kSlots;
  index_[slot] = position + 1;
}

void DedupWindow::build() {
  index_.assign(kSlots, 0);
  const std::uint64_t first = next_ - std::min(next_, kDedupWindow);
  for (std::uint64_t at = first; at != next_; ++at) place(at, keys_[at % kDedupWindow]);
  indexed_until_ = next_ + kDedupWindow;
}

bool DedupWindow::contains(const Key& key) {
  if (next_ >= indexed_until_) build();
  for (std::size_t slot = slot_of(key) % kSlots; index_[slot] != 0; slot = (slot + 1) % kSlots) {
    const std::uint64_t position = index_[slot] - 1;
    if (stands(position) && keys_[position % kDedupWindow] == key) return true;
  }
  return false;
}

}  // namespace mesh::engine
