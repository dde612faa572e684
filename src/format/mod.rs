//! The on-store format, version 1: what `docs/format.md` says, as types.
//!
//! Every structure exists twice: as raw bytes, little-endian with alignment 1, and as a checked value
//! that only `check` makes. Nothing here reads or writes a store, allocates or panics on bad data.

mod bitmap;
mod corrupt;
pub mod dirent;
mod extent;
mod header;
mod inode;
pub mod journal;
mod node;
mod superblock;
mod xattr;

pub use bitmap::{GROUP_BLOCKS, Geometry, Place};
pub use corrupt::Corrupt;
pub use dirent::{Dirent, NAME_MAX};
pub use extent::{EXTENTS_PER_NODE, Extent, INLINE_EXTENTS, RawExtent, RawExtentRoot};
pub use header::{BlockKind, HEADER_SIZE_BYTES, RawHeader, check_header, init_header, seal, verify};
pub use inode::{
    FileKind, INLINE_DATA_MAX, INODE_ROOT_AT, INODE_SIZE_BYTES, INODES_PER_BLOCK, Inode, RawDirRoot,
    RawInode, SYMLINK_HEAD, SYMLINK_INLINE_MAX, SYMLINK_MAX,
};
pub use node::{DIR_NODE_ENTRIES, RawDirEntry, RawIndexEntry};
pub use superblock::{
    FEATURES_COMPAT, FEATURES_INCOMPAT, FEATURES_RO_COMPAT, FORMAT_MAJOR, FORMAT_MINOR, RawSuperblock,
    Superblock, SuperblockError,
};
pub use xattr::{
    Namespace, XATTR_NAME_MAX, XATTRS_INLINE_MAX, XATTRS_MAX, Xattr, XattrKey, Xattrs, check_xattrs,
    find_xattr, replace_xattr, xattr_len, xattrs,
};

/// Size of a block in bytes: the page size of every host file system below OPFS.
pub const BLOCK_SIZE: usize = 4096;

/// A block's bytes.
pub type Block = [u8; BLOCK_SIZE];

/// Whether all bytes are zero; by pieces that are looked at as a whole, which is many times faster than byte by byte.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (pieces, rest) = bytes.as_chunks::<64>();
    let none = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all | byte) == 0;
    pieces.iter().all(|piece| none(piece)) && none(rest)
}

/// The inode file, whose blocks are the inode table.
pub const INO_INODE_FILE: u32 = 1;
/// The root directory.
pub const INO_ROOT: u32 = 2;
/// Inodes 0 to 14 fill the first inode block; those below this number are never given out.
pub const INO_FIRST_FREE: u32 = 3;

/// Largest file: the block number within a file is 32 bits wide.
pub const FILE_SIZE_MAX: u64 = (u32::MAX as u64) * BLOCK_SIZE as u64;
