# One target a box, one function a kind of target. Everything the project's targets share stands in mesh_flags.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
# Asserts are MESH_ASSERT and stay on; NDEBUG only silences third-party headers.
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG -g1")
# For sanitizers: lines for their reports, and half the compile time of -O2 -g.
set(CMAKE_CXX_FLAGS_SANITIZED "-O1 -DNDEBUG -g1")

find_program(MESH_CCACHE ccache)
if(MESH_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_CURRENT_LIST_DIR}/compile_cached.sh" "${PROJECT_SOURCE_DIR}")
endif()

# A third of the time that the usual linker takes, a hundred times a build. mold 1.10 lays out what becomes read-only
# after relocation so that now and then it cannot be protected, and the program does not start: nothing is protected.
# What is installed has the usual linker, and is.
find_program(MESH_MOLD mold)
if(MESH_MOLD AND NOT CMAKE_CROSSCOMPILING)
  add_link_options(-fuse-ld=mold LINKER:-z,norelro)
  set(mesh_usual_linker -fuse-ld=bfd LINKER:-z,relro)
endif()

find_package(Threads REQUIRED)

add_library(mesh_flags INTERFACE)
target_include_directories(mesh_flags INTERFACE "${PROJECT_SOURCE_DIR}")
target_link_libraries(mesh_flags INTERFACE Threads::Threads)
target_compile_options(mesh_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Wold-style-cast
  -ffp-contract=off   # every vector path equals the scalar reference bit for bit
  -fno-omit-frame-pointer
  $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>
  # A tenth of the compile time of templates: the collector runs seldom, for up to a fifth more memory.
  "$<$<CXX_COMPILER_ID:GNU>:SHELL:--param ggc-min-expand=1000 --param ggc-min-heapsize=1048576>"
  $<$<BOOL:${MESH_WERROR}>:-Werror>)
target_compile_definitions(mesh_flags INTERFACE
  $<$<BOOL:${MESH_FAULTS}>:MESH_FAULTS=1>
  $<$<BOOL:${MESH_DCHECKS}>:MESH_DCHECKS=1>)
if(MESH_SANITIZE)
  target_compile_options(mesh_flags INTERFACE -fsanitize=${MESH_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(mesh_flags INTERFACE -fsanitize=${MESH_SANITIZE})
endif()
if(MESH_COVERAGE)
  target_compile_options(mesh_flags INTERFACE --coverage -fprofile-update=atomic)
  target_link_options(mesh_flags INTERFACE --coverage)
endif()

# A program of ours allocates by mimalloc; a library never replaces the allocator of its host. Sanitizers bring their own.
function(mesh_use_mimalloc target)
  if(NOT MESH_SANITIZE)
    find_library(MESH_MIMALLOC mimalloc REQUIRED)
    target_link_options(${target} PRIVATE LINKER:--no-as-needed)
    target_link_libraries(${target} PRIVATE "${MESH_MIMALLOC}")
  endif()
endfunction()

# mesh_add_box(shm SOURCES a.cpp b.cpp USES other_box PRIVATE third_party [LIKE mesh_base]): a library target mesh_<name>.
# LIKE: with that target's precompiled header.
function(mesh_add_box name)
  cmake_parse_arguments(BOX "" "LIKE" "SOURCES;USES;PRIVATE" ${ARGN})
  if(BOX_SOURCES)
    add_library(mesh_${name} STATIC ${BOX_SOURCES})
    target_link_libraries(mesh_${name} PUBLIC mesh_flags ${BOX_USES} PRIVATE ${BOX_PRIVATE})
    if(BOX_LIKE)
      target_precompile_headers(mesh_${name} REUSE_FROM ${BOX_LIKE})
    endif()
  else()
    add_library(mesh_${name} INTERFACE)
    target_link_libraries(mesh_${name} INTERFACE mesh_flags ${BOX_USES})
  endif()
endfunction()

# mesh_precompile(target PUBLIC|PRIVATE engine/loop/loop_pch.hpp): named from the top of the tree, so that CMake's file
# that includes it, and all that is compiled with it, are the same in each clone.
function(mesh_precompile target visible header)
  target_precompile_headers(${target} ${visible} "<${header}>")
endfunction()

# For what is never hot: half of -O3's compile time, and without the warnings of g++ 12's flow analysis, which takes a
# moved std::string for an overflow there and not with -O3.
set(mesh_plainly $<$<CONFIG:Release>:-Og>
    "$<$<AND:$<CONFIG:Release>,$<CXX_COMPILER_ID:GNU>>:-Wno-array-bounds;-Wno-restrict;-Wno-stringop-overflow;-Wno-stringop-overread;-Wno-maybe-uninitialized>")

# mesh_compile_plainly(target [SOURCES a.cpp ...]): all of it, or those sources.
function(mesh_compile_plainly target)
  cmake_parse_arguments(PLAIN "" "" "SOURCES" ${ARGN})
  if(PLAIN_SOURCES)
    set_property(SOURCE ${PLAIN_SOURCES} APPEND PROPERTY COMPILE_OPTIONS ${mesh_plainly})
  else()
    target_compile_options(${target} PRIVATE ${mesh_plainly})
  endif()
endfunction()

# mesh_compile_together(target SIZE n [OF dir/]): its files, those under dir, in groups of n, one file a group for the
# compiler. What a precompiled header and headers cost, and the templates that each of them needs, is paid once a group:
# half of the time from nothing, some seconds more after a touch. No two files of a group have a name in their unnamed
# namespaces in common: what every verb has (Options, declare, run), and all that a test has, stands in a namespace of
# its file, `of_top`. What has compile definitions of its own, or no precompiled header, is compiled alone; what is
# compiled plainly is in a group with its like.
# MESH_TOGETHER=OFF, as in the lint preset: a file at a time.
option(MESH_TOGETHER "Compile groups of files together" ON)
function(mesh_compile_together target)
  cmake_parse_arguments(GROUP "" "SIZE;OF" "" ${ARGN})
  get_target_property(sources ${target} SOURCES)
  set(hot "")
  set(plain "")
  set(alone "")
  foreach(source IN LISTS sources)
    get_source_file_property(definitions "${source}" COMPILE_DEFINITIONS)
    get_source_file_property(options "${source}" COMPILE_OPTIONS)
    get_source_file_property(bare "${source}" SKIP_PRECOMPILE_HEADERS)
    get_filename_component(absolute "${source}" ABSOLUTE)
    string(FIND "${source}" "${GROUP_OF}" under)
    if(definitions OR bare OR (GROUP_OF AND NOT under EQUAL 0))
      list(APPEND alone "${absolute}")
    elseif(options)
      list(APPEND plain "${absolute}")
    else()
      list(APPEND hot "${absolute}")
    endif()
  endforeach()
  set(groups "")
  foreach(kind IN ITEMS hot plain)
    set(prefix ${target})
    if(kind STREQUAL "plain")
      string(APPEND prefix "_plain")
    endif()
    set(first 0)
    list(LENGTH ${kind} count)
    while(first LESS count)
      list(SUBLIST ${kind} ${first} ${GROUP_SIZE} members)
      mesh_write_group(group ${prefix}_${first} ${members})
      if(kind STREQUAL "plain" AND MESH_TOGETHER)
        set_property(SOURCE "${group}" APPEND PROPERTY COMPILE_OPTIONS ${mesh_plainly})
      endif()
      list(APPEND groups ${group})
      math(EXPR first "${first} + ${GROUP_SIZE}")
    endwhile()
  endforeach()
  set_property(TARGET ${target} PROPERTY SOURCES ${alone} ${groups})
endfunction()

# mesh_add_together(target a.cpp b.cpp ...): these files as one more group of the target.
function(mesh_add_together target)
  set(absolute "")
  foreach(source IN LISTS ARGN)
    get_filename_component(source "${source}" ABSOLUTE)
    list(APPEND absolute "${source}")
  endforeach()
  list(GET ARGN 0 first)
  get_filename_component(first "${first}" NAME_WE)
  mesh_write_group(group ${target}_${first} ${absolute})
  target_sources(${target} PRIVATE ${group})
endfunction()

# mesh_write_group(RESULT name /absolute/a.cpp ...): the file that includes them; they themselves where MESH_TOGETHER is
# off. Not CMake's own UNITY_BUILD: its files name the tree's folder, so that no two clones have the same.
function(mesh_write_group result name)
  set_property(GLOBAL APPEND PROPERTY MESH_COMPILED_TOGETHER ${ARGN})  # they prove no header: mesh_header_check
  if(NOT MESH_TOGETHER)
    set(${result} ${ARGN} PARENT_SCOPE)
    return()
  endif()
  set(content "")
  foreach(member IN LISTS ARGN)
    file(RELATIVE_PATH member "${PROJECT_SOURCE_DIR}" "${member}")
    string(APPEND content "#include \"${member}\"\n")
  endforeach()
  set(group "${CMAKE_CURRENT_BINARY_DIR}/together/${name}.cpp")
  file(CONFIGURE OUTPUT "${group}" CONTENT "${content}" @ONLY)
  set(${result} "${group}" PARENT_SCOPE)
endfunction()
