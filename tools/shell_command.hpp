// run_shell_command: a command of a shell, with text in and text out.
//
// Callers     any thread, one command each. Waits until the command ends, however long that takes.
// Units       bytes; of the output the first `output_max` are kept, and the rest is read and
//             dropped.
// If the      command closes its input early: the rest is not written. It leaves children that hold
// other side  its output open: they are waited for, as a shell's pipe would.
// Errors      system_error, no_memory: it could not be started.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "shm/base/result.hpp"

namespace mesh::tools {

struct ShellResult {
  int exit_code = 0;
  int killed_by = 0;  // a signal; 0: it ended by itself
  std::vector<std::byte> output;
};

struct ShellRequest {
  std::string command;
  std::span<const std::byte> input;
  std::size_t output_max = 0;
};

Result<ShellResult> run_shell_command(const ShellRequest& request);

}  // namespace mesh::tools
