//! SABFS: a crash-consistent file system in shared memory, for Emscripten programs, the page that
//! runs them, and native tools. See ARCHITECTURE.md for the map.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod core;
pub mod errno;
#[cfg(any(feature = "wasmfs", feature = "keeper", feature = "page"))]
#[allow(unsafe_code)] // the edge to C and JavaScript
pub mod ffi;
pub mod format;
#[cfg(all(feature = "tool", target_os = "linux"))]
pub mod fuse;
#[cfg(all(test, feature = "models"))]
mod models;
pub mod persist;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
#[allow(unsafe_code)] // the one place where shared memory is touched
pub mod store;
pub mod vfs;
