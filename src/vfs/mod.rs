//! The waist: one set of operations by inode, which every front end calls.
//!
//! A [`Volume`] is one process's view of a mounted volume. Every operation gives an [`Errno`] word;
//! numbers are mapped at the edges. Names are bytes; "." and ".." are understood by `lookup` alone.
//!
//! Locking: mutations run one at a time under the image's gate. Readers take no lock: they read the
//! sequence word of the inode's stripe, read, and look at the word again.

mod attr;
mod data;
mod hold;
mod links;
mod names;
mod recall;
mod rename;
mod sync;
mod types;
mod volume;
mod xattr;

pub use rename::RenameFlags;
pub use sync::Committer;
pub use types::{Attr, Entry, Ino, NewInode, SetAttr, StatFs};
pub use volume::{Clock, Volume};
pub use xattr::XattrFlags;
