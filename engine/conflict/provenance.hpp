// Which of several values has the stronger provenance: the one that more, and more reliable,
// independent origins stand for.
//
// A value's weight is the sum of its origins' reliabilities. An origin counts once a value however
// many agents repeated it; one that stands for two different values contradicts itself and counts
// for none. The heaviest value wins when it has more than the second by a tenth of all the weight;
// else the evidence is too even for a machine.
//
// Callers     anyone; a pure function.
// Units       reliability in millionths (1'000'000 = always right), so that sums are exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "shm/base/ids.hpp"

namespace mesh::engine {

struct Testimony {
  std::string value;
  AgentId origin{};               // who saw it, not who passed it on
  std::uint32_t reliability = 0;  // of the origin
};
struct ProvenanceVerdict {
  std::optional<std::string> value;  // nothing: a person decides
  std::uint64_t weight = 0;          // of the heaviest value
  std::uint64_t weight_of_all = 0;
  std::size_t origins = 0;    // that counted for the heaviest value
  std::size_t discarded = 0;  // origins that contradicted themselves
};
[[nodiscard]] ProvenanceVerdict stronger(std::span<const Testimony> testimonies);

}  // namespace mesh::engine
