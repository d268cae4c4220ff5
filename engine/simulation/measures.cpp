#include "engine/simulation/measures.hpp"

#include <algorithm>

#include "shm/hash.hpp"

namespace mesh::engine::simulation {
namespace {

// Words as bytes of little-endian machines, whatever this one is.
std::uint64_t hash_of_words(std::span<const std::uint64_t> words) {
  std::vector<std::byte> bytes;
  bytes.reserve(words.size() * sizeof(std::uint64_t));
  for (const std::uint64_t word : words)
    for (unsigned shift = 0; shift < 64; shift += 8)
      bytes.push_back(static_cast<std::byte>(word >> shift & 0xFF));
  return shm::hash64(bytes);
}

}  // namespace

void TraceHash::add(std::initializer_list<std::uint64_t> words) {
  words_.insert(words_.end(), words);
  if (words_.size() >= kBlock) fold();
}

void TraceHash::fold() {
  const std::uint64_t hash = hash_of_words(words_);
  words_.assign(1, hash);
}

std::uint64_t TraceHash::value() const { return hash_of_words(words_); }

void ArrivalErrors::add(std::int64_t error_ns) noexcept {
  ++tally_->counts[tally_->scale.slot_of(error_ns)];
  std::uint64_t& most = error_ns < 0 ? tally_->early_ns_max : tally_->late_ns_max;
  most = std::max(most, sched::magnitude(error_ns));
}

std::optional<std::int64_t> quantile_of(std::span<const std::int64_t> values,
                                        std::int64_t share_ppm) {
  if (values.empty()) return std::nullopt;
  std::vector<std::int64_t> sorted(values.begin(), values.end());
  const auto count = static_cast<std::int64_t>(sorted.size());
  const std::int64_t rank =
      std::max<std::int64_t>((count * share_ppm + kShareAll - 1) / kShareAll, 1);
  const auto at = sorted.begin() + (rank - 1);
  std::nth_element(sorted.begin(), at, sorted.end());
  return *at;
}

}  // namespace mesh::engine::simulation
