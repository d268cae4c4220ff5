// MESH_ASSERT states what our own logic guarantees; it stays on in release. Bytes that another
// process may have written are input: they are validated and become Errc::corrupt, never asserted.
#pragma once

namespace mesh {

// Prints the sentence to standard error and aborts. A dead process is recovered; a wrong one is
// not.
[[noreturn]] void assert_failed(const char* expression, const char* file, int line) noexcept;

}  // namespace mesh

#define MESH_ASSERT(expression)                       \
  (__builtin_expect(static_cast<bool>(expression), 1) \
       ? static_cast<void>(0)                         \
       : ::mesh::assert_failed(#expression, __FILE__, __LINE__))

// For O(1) checks inside hot loops: on in debug and sanitizer builds.
#ifdef MESH_DCHECKS
#define MESH_DCHECK(expression) MESH_ASSERT(expression)
#else
#define MESH_DCHECK(expression) static_cast<void>(0)
#endif
