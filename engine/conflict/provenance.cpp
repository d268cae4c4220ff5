#include "engine/conflict/provenance.hpp"

#include <algorithm>
#include <map>
#include <vector>

namespace mesh::engine {
namespace {

struct Origin {
  std::string value;
  std::uint32_t reliability = 0;
  bool contradicts_itself = false;
};
struct Weight {
  std::uint64_t sum = 0;
  std::size_t origins = 0;
};

}  // namespace

ProvenanceVerdict stronger(std::span<const Testimony> testimonies) {
  std::map<AgentId, Origin> origins;
  for (const Testimony& testimony : testimonies) {
    const auto [at, is_new] =
        origins.try_emplace(testimony.origin, Origin{testimony.value, testimony.reliability});
    Origin& origin = at->second;
    origin.contradicts_itself = origin.contradicts_itself || origin.value != testimony.value;
    // Said of one origin twice, the lower reliability holds: the order of reports decides nothing.
    origin.reliability = std::min(origin.reliability, testimony.reliability);
  }
  ProvenanceVerdict verdict;
  std::map<std::string, Weight> weights;
  for (const auto& [id, origin] : origins) {
    if (origin.contradicts_itself) {
      ++verdict.discarded;
      continue;
    }
    Weight& weight = weights[origin.value];
    weight.sum += origin.reliability;
    ++weight.origins;
    verdict.weight_of_all += origin.reliability;
  }
  std::uint64_t second = 0;
  const std::string* heaviest = nullptr;
  for (const auto& [value, weight] : weights) {
    if (heaviest != nullptr && weight.sum <= verdict.weight) {
      second = std::max(second, weight.sum);
      continue;
    }
    second = verdict.weight;
    verdict.weight = weight.sum;
    verdict.origins = weight.origins;
    heaviest = &value;
  }
  if (heaviest != nullptr && 10 * (verdict.weight - second) > verdict.weight_of_all)
    verdict.value = *heaviest;
  return verdict;
}

}  // namespace mesh::engine
