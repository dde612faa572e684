//! The waist: one set of operations by inode, which every front end calls.
//!
//! A [`Volume`] is one process's view of a mounted volume. Every operation gives an [`Errno`] word;
//! numbers are mapped at the edges. Names are bytes; "." and ".." are understood by `lookup` alone.
//!
//! Locking: mutations run one at a time under the image's gate. Readers take no lock: they read the
//! sequence word of the inode's stripe, read, and look at the word again.

mod access;
mod acl;
#[cfg(test)]
mod admission;
mod allocate;
mod as_caller;
mod atime;
mod attr;
mod clients;
mod copy;
mod create;
mod data;
#[cfg(test)]
mod deaths;
mod files;
mod grow;
mod hold;
mod inline;
mod links;
mod locks;
mod log;
mod names;
mod open;
mod patience;
mod recall;
mod rename;
mod seek;
mod sync;
mod types;
mod volume;
mod walk;
mod watched;
mod xattr;

pub use access::{Access, Caller, allowed, may_remove, setattr_allowed, xattr_allowed};
pub use allocate::AllocateMode;
pub use as_caller::AsCaller;
pub use atime::Atime;
pub use files::{Handle, OpenFile, OpenFiles, OpenMode, Whence};
pub use locks::{HeldLock, LockMode, LockOwner, LockRange, LockRequest, OwnerKind, Waiting};
pub use log::{Event, Watcher};
pub use open::OpenFlags;
pub use patience::{Refusal, Sleep};
pub use rename::RenameFlags;
pub use sync::Committer;
pub use types::{Attr, Entry, Ino, NewInode, SetAttr, StatFs, TimeChange};
pub use volume::{Clock, Volume};
pub use walk::{Purpose, WalkOptions};
pub use watched::{TreeChange, TreeEvent, WatchedTree};
pub use xattr::XattrFlags;
