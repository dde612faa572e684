//! Extent records: where the bytes of a file live.
//!
//! An extent maps a run of file blocks to a run of image blocks. Records are sorted by `file_block`
//! and never overlap. A hole is the absence of a record. A run never crosses its group.
//!
//! ```text
//!  0           4           8        10      12
//!  +-----------+-----------+---------+-------+
//!  | file_block| block     | count   | flags |     flags: none defined, must be 0
//!  +-----------+-----------+---------+-------+
//! ```
//! The inode holds up to 8 records; beyond that its records are index entries (see `node`).

use super::{BLOCK_SIZE, Corrupt, Geometry, HEADER_SIZE_BYTES};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Records in the inode.
pub const INLINE_EXTENTS: usize = 8;
/// Records in a node of the tree.
pub const EXTENTS_PER_NODE: usize = (BLOCK_SIZE - HEADER_SIZE_BYTES) / size_of::<RawExtent>();

/// An extent's bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct RawExtent {
    /// First block of the file that it maps.
    pub file_block: U32,
    /// Block of the image where that lies.
    pub block: U32,
    /// Number of blocks.
    pub count: U16,
    /// Zero.
    pub flags: U16,
}

/// Root of the extent tree, inside the inode: 104 bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct RawExtentRoot {
    /// Number of records in use.
    pub count: U16,
    /// 0: the records are extents. Otherwise they are index entries, the nodes below have level - 1.
    pub level: U16,
    /// Zero.
    pub unused: U32,
    /// The records.
    pub records: [RawExtent; INLINE_EXTENTS],
}

const _: () = assert!(size_of::<RawExtent>() == 12);
const _: () = assert!(size_of::<RawExtentRoot>() == 104);
const _: () = assert!(EXTENTS_PER_NODE == 338);

impl RawExtentRoot {
    /// The root of a file without blocks.
    pub const EMPTY: Self = {
        let record =
            RawExtent { file_block: U32::ZERO, block: U32::ZERO, count: U16::ZERO, flags: U16::ZERO };
        let records = [record; INLINE_EXTENTS];
        Self { count: U16::ZERO, level: U16::ZERO, unused: U32::ZERO, records }
    };
}

/// A checked extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First block of the file that it maps.
    pub file_block: u32,
    /// Block of the image where that lies.
    pub block: u32,
    /// Number of blocks, 1 or more.
    pub count: u16,
}

impl Extent {
    /// First file block behind the extent.
    pub fn end(&self) -> u32 {
        self.file_block + u32::from(self.count)
    }

    /// The record's bytes.
    pub fn raw(&self) -> RawExtent {
        RawExtent {
            file_block: U32::new(self.file_block),
            block: U32::new(self.block),
            count: U16::new(self.count),
            flags: U16::ZERO,
        }
    }
}

impl RawExtent {
    /// Accepts the record only if it lies wholly inside one group of the image.
    pub fn check(&self, geometry: &Geometry, inode: u32) -> Result<Extent, Corrupt> {
        let (block, count) = (self.block.get(), self.count.get());
        if !geometry.allocatable(block, u32::from(count)) {
            return Err(Corrupt::BlockRange { block, inode });
        }
        let file_block = self.file_block.get();
        if self.flags.get() != 0 || file_block.checked_add(u32::from(count)).is_none() {
            return Err(Corrupt::Extent { inode });
        }
        Ok(Extent { file_block, block, count })
    }
}
