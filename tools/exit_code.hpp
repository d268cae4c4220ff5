// ExitCode: what every verb of `mesh` tells its caller, and which Errc becomes which.
#pragma once

#include <cstdint>

#include "shm/base/errc.hpp"

namespace mesh::tools {

enum class ExitCode : std::uint8_t {
  done = 0,
  failed = 1,     // the operation did not succeed
  bad_input = 2,  // an option, a file or a value cannot be used
  no_mesh = 3,    // no engine runs there, or it cannot be attached to
  refused = 4,    // permission, policy or a limit of the running mesh says no
  defect = 70     // EX_SOFTWARE: our own mistake
};

constexpr ExitCode exit_code_of(Errc code) noexcept {
  switch (code) {
    case Errc::ok:
      return ExitCode::done;
    case Errc::invalid_argument:
    case Errc::bad_input:
      return ExitCode::bad_input;
    case Errc::no_mesh:
    case Errc::bad_magic:
    case Errc::version_skew:
    case Errc::layout_mismatch:
    case Errc::endianness_mismatch:
    case Errc::page_size_mismatch:
    case Errc::truncated:
    case Errc::corrupt:
    case Errc::unsealed:
    case Errc::not_yours:
    case Errc::wrong_descriptor_count:
      return ExitCode::no_mesh;
    case Errc::permission_denied:
    case Errc::name_taken:
    case Errc::evicted:
    case Errc::capability_mismatch:
    case Errc::not_routable:
    case Errc::open:
      return ExitCode::refused;
    default:
      return ExitCode::failed;
  }
}

}  // namespace mesh::tools
