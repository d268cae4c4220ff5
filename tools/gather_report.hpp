// What came of a scatter-gather, or of a broadcast that was acknowledged, for people.
#pragma once

#include <iosfwd>

#include <nlohmann/json_fwd.hpp>

namespace mesh::tools {

// How many were READY at T and why the others were not, when they were, what to do with it, and
// what it cost the engine. Counts of 0 are left out.
void write_gather(const nlohmann::ordered_json& answer, std::ostream& out);

}  // namespace mesh::tools
