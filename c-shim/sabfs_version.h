// Which versions fit together.
//
// WasmFS's C++ interface is not stable: the shim is compiled by the Emscripten that links the program, and only by versions
// whose interface is known.
#ifndef SABFS_VERSION_H
#define SABFS_VERSION_H

#include <emscripten/version.h>

#define SABFS_VERSION "0.1.0"

// Emscripten's versions, as major * 10000 + minor * 100 + patch: from the first one until before the other.
#define SABFS_EMSCRIPTEN_FIRST 40007
#define SABFS_EMSCRIPTEN_END 70000

// The names that older versions have, and newer ones no longer like.
#ifdef __EMSCRIPTEN_MAJOR__
#define SABFS_EMSCRIPTEN (__EMSCRIPTEN_MAJOR__ * 10000 + __EMSCRIPTEN_MINOR__ * 100 + __EMSCRIPTEN_TINY__)
#else
#define SABFS_EMSCRIPTEN (__EMSCRIPTEN_major__ * 10000 + __EMSCRIPTEN_minor__ * 100 + __EMSCRIPTEN_tiny__)
#endif

#if SABFS_EMSCRIPTEN < SABFS_EMSCRIPTEN_FIRST || SABFS_EMSCRIPTEN >= SABFS_EMSCRIPTEN_END
#error "SABFS needs Emscripten 4.0.7 or newer, before 7.0.0: docs/linking.md"
#endif

#endif
