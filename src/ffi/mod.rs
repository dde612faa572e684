//! The edge to C and JavaScript.
//!
//! Nothing here knows how the file system works: arguments are checked and converted, errors become
//! numbers. All `unsafe` of the edge is here.

// Each module of wasm has its edge: a program of Emscripten's (feature `wasmfs`), the keeper (`keeper`), JavaScript of a
// page, a worker or Node (`page`).
#[cfg(all(target_family = "wasm", any(feature = "keeper", feature = "wasmfs")))]
mod device;
#[cfg(all(feature = "keeper", target_os = "unknown"))]
mod keeper;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod locks;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod metrics;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod mount;
#[cfg(all(target_family = "wasm", any(feature = "page", feature = "wasmfs")))]
mod numbers;
#[cfg(all(target_family = "wasm", any(feature = "keeper", feature = "wasmfs")))]
mod open;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod own;
#[cfg(all(feature = "page", target_os = "unknown"))]
mod page;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod patience;
#[cfg(target_family = "wasm")]
mod prepare;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod space;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod vtable;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod watch;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod xattr;
