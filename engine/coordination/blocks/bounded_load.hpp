// bounded_load_cap, place_bounded: which server has which key, so that a key keeps its server when
// others come or go, and no server has more than c times its share.
//
// Callers     any; values, no state.
// Cost        place_bounded: keys times servers hashes, which is for hundreds of servers.
// Guarantees  the same keys and servers give the same places on every host, whatever the order of
//             the servers. A server has at most ceil(c * keys * weight / weights) keys.
// Errors      place_bounded needs c >= 1: below it the caps do not hold all the keys.
// Source      Mirrokni, Thorup & Zadimoghaddam 2018; the next server of a key is the next in its
//             own order of servers (Thaler & Ravishankar 1998) in place of a ring.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/blocks/id_hash.hpp"

namespace mesh::coordination {

// `of` shares of one server among `all`.
[[nodiscard]] inline std::uint64_t bounded_load_cap(double c, std::uint64_t keys, std::uint64_t of,
                                                    std::uint64_t all) noexcept {
  return static_cast<std::uint64_t>(std::ceil(c * static_cast<double>(keys) *
                                              static_cast<double>(of) / static_cast<double>(all)));
}

struct BoundedServer {
  IdHash id;
  std::uint64_t weight = 1;
};

// By key, the index of its server. `servers` is not empty and some weight is above 0.
[[nodiscard]] inline std::vector<std::uint32_t> place_bounded(
    double c, std::span<const std::uint64_t> keys, std::span<const BoundedServer> servers) {
  std::uint64_t weights = 0;
  for (const auto& server : servers) weights += server.weight;
  std::vector<std::uint64_t> left;
  left.reserve(servers.size());
  for (const auto& server : servers) {
    left.push_back(bounded_load_cap(c, keys.size(), server.weight, weights));
  }
  std::vector<std::uint32_t> places;
  places.reserve(keys.size());
  for (const auto key : keys) {
    std::uint32_t best = 0;
    IdHash most;
    bool found = false;
    for (std::uint32_t i = 0; i < servers.size(); ++i) {
      if (left[i] == 0) continue;
      const IdHash rank = hash_of(servers[i].id.low ^ key, servers[i].id.high);
      if (found && !(rank > most)) continue;
      best = i;
      most = rank;
      found = true;
    }
    --left[best];
    places.push_back(best);
  }
  return places;
}

}  // namespace mesh::coordination
