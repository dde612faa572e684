# SABFS for CMake projects that Emscripten builds (emcmake, or its toolchain file):
#
#   find_package(sabfs REQUIRED)
#   target_link_libraries(app PRIVATE sabfs::sabfs)       # a program with threads: carries -pthread
#   target_link_libraries(app PRIVATE sabfs::sabfs-st)    # a program without
#
# WasmFS's C++ interface differs between Emscripten's versions, so the shim is compiled in the project.

if(NOT EMSCRIPTEN)
  set(sabfs_FOUND FALSE)
  set(sabfs_NOT_FOUND_MESSAGE "SABFS is for programs that Emscripten builds: run emcmake cmake")
  return()
endif()
if(EMSCRIPTEN_VERSION AND (EMSCRIPTEN_VERSION VERSION_LESS "@EMSCRIPTEN_FIRST@" OR
   NOT EMSCRIPTEN_VERSION VERSION_LESS "@EMSCRIPTEN_END@"))
  set(sabfs_FOUND FALSE)
  set(sabfs_NOT_FOUND_MESSAGE
    "SABFS needs Emscripten @EMSCRIPTEN_FIRST@ or newer, before @EMSCRIPTEN_END@; this is ${EMSCRIPTEN_VERSION}")
  return()
endif()
if(NOT CMAKE_CXX_COMPILER)
  set(sabfs_FOUND FALSE)
  set(sabfs_NOT_FOUND_MESSAGE "SABFS has a part in C++: add CXX to the project's languages")
  return()
endif()

get_filename_component(_sabfs_root "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

# _sabfs_add(NAME ARCHIVE COMPILE-OPTIONS LINK-OPTION...)
function(_sabfs_add name archive compile)
  if(TARGET sabfs::${name})
    return()
  endif()
  add_library(${name}-shim STATIC EXCLUDE_FROM_ALL
@SOURCES@  )
  # As libwasmfs itself is compiled, whatever the program's own settings are.
  set_target_properties(${name}-shim PROPERTIES CXX_STANDARD @SHIM_STANDARD@ CXX_EXTENSIONS OFF
    INTERPROCEDURAL_OPTIMIZATION OFF)
  target_compile_options(${name}-shim PRIVATE ${compile} @SHIM_FLAGS@)
  target_include_directories(${name}-shim PRIVATE "${_sabfs_root}/include")
  target_include_directories(${name}-shim SYSTEM PRIVATE @SHIM_HEADERS@)
  add_library(sabfs::${name} INTERFACE IMPORTED GLOBAL)
  set_target_properties(sabfs::${name} PROPERTIES
    INTERFACE_COMPILE_OPTIONS "${compile}"
    INTERFACE_INCLUDE_DIRECTORIES "${_sabfs_root}/include"
    INTERFACE_LINK_OPTIONS "${ARGN}"
    INTERFACE_LINK_LIBRARIES "${name}-shim;${_sabfs_root}/lib/${archive}")
endfunction()

@TARGETS@
