// system_failure: errno becomes an Error that says which call, on what, and why.
#pragma once

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "shm/base/result.hpp"

namespace mesh::shm {

constexpr Errc errc_of(int error) noexcept {
  switch (error) {
    case EACCES:
    case EPERM:
      return Errc::permission_denied;
    case ENOENT:
      return Errc::not_found;
    case EEXIST:
      return Errc::already_exists;
    case ENOMEM:
      return Errc::no_memory;
    case ENOSPC:
      return Errc::no_space;
    case EPIPE:
    case ECONNRESET:
      return Errc::closed;
    default:
      return Errc::system_error;
  }
}

// `what` names the call and its object: "open 'table'".
[[nodiscard]] inline tl::unexpected<Error> system_failure(std::string what, int error) {
  what += ": " + std::generic_category().message(error) + " (errno " + std::to_string(error) + ")";
  return fail(errc_of(error), std::move(what), error);
}

}  // namespace mesh::shm
