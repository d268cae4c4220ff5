// A CoordinationConfig as JSON, and single options as a command line gives them.
//
//   {"preset": "pi4b", "maxRetries": 3, "retryDelay": 1000, "messages": {"queue_max": 256}}
//
// Callers     any thread, before a manager is created.
// Units       maxRetries, retryDelay, deadlockDetection, resourceTimeout, messageTimeout have the
//             names that they are known by; all others are those of the configs, _ns as _ms. Times
//             are whole milliseconds.
// Errors      invalid_config, with the key in the sentence: one that there is not, one of another
//             type, one outside its range; unknown_preset; bad_input: it is no JSON.
#pragma once

#include <string_view>

#include "engine/tasks/coordination_terms.hpp"
#include "shm/base/result.hpp"

namespace mesh::tasks {

// Over the preset that it names, or over `production`. What it gives is valid.
[[nodiscard]] Result<CoordinationConfig> coordination_config_of(std::string_view json);

// "messages.queue_max=256" or "maxRetries=5". The config is not changed where it is refused.
Status set_coordination_option(CoordinationConfig& config, std::string_view assignment);

}  // namespace mesh::tasks
