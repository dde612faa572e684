//! Inner records of the two trees.
//!
//! Extent index entry, 12 bytes, same size as an extent so that a node holds 338 of either:
//! ```text
//!  0           4           8          12
//!  +-----------+-----------+-----------+
//!  | file_block| child     | zero      |   the child maps file blocks from file_block on
//!  +-----------+-----------+-----------+
//! ```
//! Directory node entry, 12 bytes:
//! ```text
//!  0           8           12
//!  +-----------+-----------+
//!  | hash      | child     |               the child holds names whose hash is hash or greater
//!  +-----------+-----------+
//! ```
//! Both are sorted. The first entry of a node also covers everything before it.

use super::{BLOCK_SIZE, HEADER_SIZE_BYTES};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Entries of a directory node.
pub const DIR_NODE_ENTRIES: usize = (BLOCK_SIZE - HEADER_SIZE_BYTES) / size_of::<RawDirEntry>();

/// Index entry of an extent tree.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct RawIndexEntry {
    /// First file block that the child may map.
    pub file_block: U32,
    /// Block of the child.
    pub child: U32,
    /// Zero.
    pub unused: U32,
}

/// Entry of a directory's inner node.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct RawDirEntry {
    /// Smallest hash in the child.
    pub hash: U64,
    /// Block of the child.
    pub child: U32,
}

const _: () = assert!(size_of::<RawIndexEntry>() == 12);
const _: () = assert!(size_of::<RawDirEntry>() == 12);
const _: () = assert!(DIR_NODE_ENTRIES == 338);
