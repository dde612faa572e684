//! The waist: one set of operations by inode, which every front end calls.

mod types;

pub use types::{Attr, Entry, Ino, NewInode, SetAttr, StatFs};
