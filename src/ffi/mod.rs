//! The edge to C and JavaScript.
//!
//! Nothing here knows how the file system works: arguments are checked and converted, errors become
//! numbers. All `unsafe` of the edge is here.

#[cfg(target_family = "wasm")]
mod device;
#[cfg(all(feature = "keeper", target_os = "unknown"))]
mod keeper;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod metrics;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod mount;
#[cfg(target_family = "wasm")]
mod open;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod own;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod vtable;
