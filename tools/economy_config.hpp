// What an economy was made with, as JSON: {"preset": "agent-work", "accounts_max": 64}
//
// Callers     any thread, cold.
// Units       the fields of TokenEconomyConfig by their names, over the preset; durations in ns;
//             amounts in base units, as a number or, above 2^64, as digits in quotes.
// Errors      invalid_config, with the key in the sentence; unknown_preset; bad_input: no JSON.
#pragma once

#include <string>
#include <string_view>

#include "engine/coordination/token_terms.hpp"
#include "shm/base/result.hpp"

namespace mesh::tools {

// Over the preset that it names, or over `agent-work`. What it gives is valid.
[[nodiscard]] Result<coordination::TokenEconomyConfig> economy_config_of(std::string_view json);

// In decimal digits.
[[nodiscard]] std::string digits_of(const coordination::Amount& amount);

}  // namespace mesh::tools
