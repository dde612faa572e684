//! The file system proper: blocks, inodes, extents and directories of one image, under its gate.

mod image;

pub use image::{GATE_TIMEOUT_MS, Image};
