// Values of options, read the same in every locale and refused with a sentence.
//
// Errors      bad_input: which option, what was typed, what it may be.
#pragma once

#include <cstdint>
#include <string>

#include "sched/agent_class.hpp"
#include "shm/base/result.hpp"

namespace mesh::tools {

struct CountOption {
  const char* name;  // "--agents"
  std::uint64_t least;
  std::uint64_t most;
};
Result<std::uint64_t> whole_number(const CountOption& option, const std::string& text);

Result<double> number_from_0(const char* option, const std::string& text, double most);

// A letter from A to F. `option` is "--class".
Result<sched::AgentClass> class_letter(const char* option, const std::string& text);

}  // namespace mesh::tools
