//! The store as the wasm module reaches it.
