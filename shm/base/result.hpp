// Result<T>: what a cold call returns when it can fail. C++23 turns the alias into std::expected.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <tl/expected.hpp>

#include "shm/base/errc.hpp"

namespace mesh {

// Built on cold paths only. `sentence` says who, what and which number: "attach mesh0:
// layout_version 7, this binary knows 5..6". `detail` is that number for programs: errno, a limit,
// a floor, retry_after_ns.
struct Error {
  Errc code = Errc::ok;
  std::int64_t detail = 0;
  std::string sentence;
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string sentence,
                                                std::int64_t detail = 0) {
  return tl::unexpected<Error>(Error{code, detail, std::move(sentence)});
}

}  // namespace mesh

#define MESH_CONCAT_INNER(a, b) a##b
#define MESH_CONCAT(a, b) MESH_CONCAT_INNER(a, b)
#define MESH_TRY_INNER(name, declaration, expression)                       \
  auto name = (expression);                                                 \
  if (!name) return tl::unexpected<::mesh::Error>(std::move(name).error()); \
  declaration = std::move(*name)
// MESH_TRY(auto segment, Segment::attach(path)): the value, or return its error to the caller.
#define MESH_TRY(declaration, expression) \
  MESH_TRY_INNER(MESH_CONCAT(mesh_try_, __COUNTER__), declaration, expression)
// The same for a Status.
#define MESH_CHECK_OK(expression)                                           \
  do {                                                                      \
    if (auto mesh_status = (expression); !mesh_status)                      \
      return tl::unexpected<::mesh::Error>(std::move(mesh_status).error()); \
  } while (false)
