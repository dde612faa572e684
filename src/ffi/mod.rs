//! The edge to C and JavaScript.
//!
//! Nothing here knows how the file system works: arguments are checked and converted, errors become
//! numbers. All `unsafe` of the edge is here.

mod client;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod mount;
#[cfg(all(feature = "wasmfs", target_os = "emscripten"))]
mod vtable;
