// What an engine's answer to "status" says, for people.
#pragma once

#include <iosfwd>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace mesh::tools {

// "2 of 3 agents active on 1 stations, ..."
[[nodiscard]] std::string sentence_of_status(const nlohmann::ordered_json& status);

// The sentence, who is attached, and whatever is not 0 or empty.
void write_status(const nlohmann::ordered_json& status, std::ostream& out);

}  // namespace mesh::tools
