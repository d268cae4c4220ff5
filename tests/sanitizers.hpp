// Which sanitizer this test was built with. gcc defines macros, clang answers __has_feature.
#pragma once

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MESH_UNDER_THREAD_SANITIZER 1
#elif __has_feature(address_sanitizer)
#define MESH_UNDER_ADDRESS_SANITIZER 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define MESH_UNDER_THREAD_SANITIZER 1
#elif defined(__SANITIZE_ADDRESS__)
#define MESH_UNDER_ADDRESS_SANITIZER 1
#endif

#if defined(MESH_UNDER_THREAD_SANITIZER) || defined(MESH_UNDER_ADDRESS_SANITIZER)
#define MESH_UNDER_SANITIZER 1
#endif

namespace mesh::testing {

#ifdef MESH_UNDER_THREAD_SANITIZER
inline constexpr bool kUnderThreadSanitizer = true;
#else
inline constexpr bool kUnderThreadSanitizer = false;
#endif
#ifdef MESH_UNDER_SANITIZER
inline constexpr bool kUnderSanitizer = true;
#else
inline constexpr bool kUnderSanitizer = false;
#endif

// Where a step costs many times what it costs in release: under a sanitizer, and without
// optimisation.
#if defined(MESH_UNDER_SANITIZER) || defined(MESH_DCHECKS)
inline constexpr bool kSlowBuild = true;
#else
inline constexpr bool kSlowBuild = false;
#endif

}  // namespace mesh::testing
