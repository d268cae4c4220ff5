// Values of options, read the same in every locale and refused with a sentence.
//
// Errors      bad_input: which option, what was typed, what it may be.
#pragma once

#include <cstdint>
#include <string>

#include "shm/base/result.hpp"

namespace mesh::tools {

struct CountOption {
  const char* name;  // "--agents"
  std::uint64_t least;
  std::uint64_t most;
};
Result<std::uint64_t> whole_number(const CountOption& option, const std::string& text);

}  // namespace mesh::tools
