# mesh_header_check(ROOT dir BOXES shm queues ... [PRECOMPILED tools ...] USES libraries): an object library of one file a header, which
# includes that header alone and twice: what needs an include before it, or lacks its guard, does not compile.
# Not part of `all`, a twelfth of which it would cost: `./dev lint` reads it as everything else. The objects hold no code.
# A header whose own source (a.cpp beside a.hpp) includes it before everything else is proved by that source, and has no
# file here, but in a box that is compiled with a precompiled header. Its guard is tidy.py's (rule pragma-once).
function(mesh_header_check)
  cmake_parse_arguments(CHECK "" "ROOT" "BOXES;PRECOMPILED;USES" ${ARGN})
  set(sources "")
  get_property(together GLOBAL PROPERTY MESH_COMPILED_TOGETHER)  # all but a group's first see what others have included
  foreach(box IN LISTS CHECK_BOXES CHECK_PRECOMPILED)
    file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE "${CHECK_ROOT}" "${CHECK_ROOT}/${box}/*.hpp")
    foreach(header IN LISTS headers)
      mesh_included_first_by_its_source(proved "${CHECK_ROOT}" "${header}")
      string(REGEX REPLACE "\\.hpp$" ".cpp" source "${CHECK_ROOT}/${header}")
      if(proved AND NOT box IN_LIST CHECK_PRECOMPILED AND NOT source IN_LIST together)
        continue()
      endif()
      set(source "${CMAKE_BINARY_DIR}/header_check/${header}.cpp")
      file(CONFIGURE OUTPUT "${source}" CONTENT "#include \"@header@\"\n#include \"@header@\"\n" @ONLY)
      list(APPEND sources "${source}")
    endforeach()
  endforeach()
  if(sources)
    add_library(mesh_header_check OBJECT EXCLUDE_FROM_ALL ${sources})
    target_link_libraries(mesh_header_check PRIVATE ${CHECK_USES})
    target_compile_options(mesh_header_check PRIVATE -O0 -g0)
  else()
    add_custom_target(mesh_header_check COMMENT "every header is proved by its own source")
  endif()
endfunction()

# mesh_included_first_by_its_source(RESULT root box/a.hpp): whether box/a.cpp's first #include is "box/a.hpp". Read when
# CMake configures, and only then: a touched source shall not cost a configuration.
function(mesh_included_first_by_its_source result root header)
  set(${result} FALSE PARENT_SCOPE)
  string(REGEX REPLACE "\\.hpp$" ".cpp" source "${header}")
  if(NOT EXISTS "${root}/${source}")
    return()
  endif()
  file(STRINGS "${root}/${source}" includes REGEX "^[ \t]*#[ \t]*(include|if|define)" LIMIT_COUNT 1)
  if(includes STREQUAL "#include \"${header}\"")
    set(${result} TRUE PARENT_SCOPE)
  endif()
endfunction()
