// A configuration file, read for a verb: its mistakes as lines of text, a file with any refused.
//
// Callers     a verb's thread; the control thread, for reload. Reads the file anew each time.
// Errors      bad_input: it cannot be read, or has mistakes; all of them in the sentence, a line
//             each: "mesh.toml:7: scheduling.bucket_ms = 500: must be 0.1 to 100 ms".
#pragma once

#include <string>

#include "engine/configuration/configuration.hpp"
#include "shm/base/result.hpp"

namespace mesh::tools {

Result<engine::Configuration> configuration_of(const std::string& path);

}  // namespace mesh::tools
