//! The integration tests, as one program: what is generic is compiled once for all of them, not once for each file.

mod host;
mod model;

mod acl;
mod against_model;
mod amplification;
mod check;
mod data;
mod durable;
mod enospc;
mod extents;
mod files;
mod format;
mod fuse_folder;
mod fuse_mount;
mod golden;
mod hostile;
mod locks;
mod locks_random;
mod log;
mod one_file;
mod permissions;
mod persist;
mod repair;
mod threads;
mod tool;
mod tool_export;
mod tool_import;
mod vfs;
mod vfs_names;
mod xattr;
