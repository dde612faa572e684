//! Extent trees: from a file's blocks to the image's.
//!
//! The inode holds up to 8 records. While they suffice they are the extents themselves (level 0);
//! then they become index entries of nodes with 338 records. Every node but the root is a sealed
//! metadata block owned by the inode.
//!
//! Here trees are read; `extent_edit` changes them.
//!
//! Invariants
//! - Records of a node are sorted by `file_block`; those of a leaf do not overlap.
//! - An index entry's `file_block` is not greater than any key below it, but for the first entry of a
//!   node, which also covers everything before it.
//! - No node but the root is empty.

use super::error::Result;
pub use super::extent_edit::{insert, remove, shift, take};
use super::{Blocks, Error};
use crate::format::{
    BLOCK_SIZE, Block, BlockKind, Corrupt, EXTENTS_PER_NODE, Extent, Geometry, HEADER_SIZE_BYTES,
    INLINE_EXTENTS, Inode, RawExtent, RawExtentRoot, check_header,
};
use zerocopy::FromBytes;

/// Levels above the leaves: 8 x 338 x 338 x 338 extents are more than an image has blocks.
pub const LEVELS_MAX: u16 = 3;

const RECORD: usize = size_of::<RawExtent>();

/// Where a file block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// At `block`; `count` blocks from there on belong to the following file blocks.
    Run {
        /// Block of the image.
        block: u32,
        /// How many blocks follow on, this one included.
        count: u32,
        /// How many blocks of the run come before it.
        skip: u32,
    },
    /// Nowhere; `count` file blocks from there on are holes.
    Hole {
        /// How many at least.
        count: u32,
    },
}

/// One node, decoded.
pub(super) struct Node {
    /// Block, 0 for the root in the inode.
    pub(super) block: u32,
    pub(super) level: u16,
    pub(super) records: Vec<RawExtent>,
}

impl Node {
    pub(super) fn of_root(root: &RawExtentRoot, inode: u32) -> Result<Self> {
        let (count, level) = (usize::from(root.count.get()), root.level.get());
        if count > INLINE_EXTENTS || level > LEVELS_MAX || (level > 0 && count == 0) {
            return Err(Corrupt::Tree { inode, block: 0 }.into());
        }
        Ok(Self { block: 0, level, records: root.records[..count].to_vec() })
    }

    pub(super) fn read<B: Blocks>(blocks: &B, block: u32, level: u16, inode: u32) -> Result<Self> {
        let mut bytes = [0; BLOCK_SIZE];
        blocks.read(block, 0, &mut bytes);
        let count = check_node(&bytes, block, level, inode)?;
        let records = (0..count).map(|index| record(&bytes, index)).collect();
        Ok(Self { block, level, records })
    }

    /// The child that an index entry of this node names.
    pub(super) fn read_child<B: Blocks>(&self, blocks: &B, index: usize, inode: u32) -> Result<Self> {
        let block = child_of(&self.records[index], &blocks.geometry(), inode)?;
        Self::read(blocks, block, self.level - 1, inode)
    }

    /// Index of the child that covers `file_block`.
    pub(super) fn child(&self, file_block: u32) -> usize {
        self.records.partition_point(|r| r.file_block.get() <= file_block).saturating_sub(1)
    }
}

fn record(bytes: &Block, index: usize) -> RawExtent {
    let at = HEADER_SIZE_BYTES + index * RECORD;
    RawExtent::read_from_bytes(&bytes[at..at + RECORD]).unwrap_or_default()
}

/// Number of records of a node that was copied out.
fn check_node(bytes: &Block, block: u32, level: u16, inode: u32) -> Result<usize> {
    let header = check_header(&bytes[..], BlockKind::Extents, block, inode)?;
    let [count, says] = header.extra.map(|word| word.get());
    if count == 0 || count as usize > EXTENTS_PER_NODE || says != u32::from(level) {
        return Err(Corrupt::Tree { inode, block }.into());
    }
    Ok(count as usize)
}

/// The block that an index entry names.
fn child_of(entry: &RawExtent, geometry: &Geometry, inode: u32) -> Result<u32> {
    let block = entry.block.get();
    if geometry.allocatable(block, 1) {
        Ok(block)
    } else {
        Err(Corrupt::BlockRange { block, inode }.into())
    }
}

/// Where `file_block` of a regular file (or of the inode table) is.
pub fn map<B: Blocks>(blocks: &B, inode: &Inode, file_block: u32) -> Result<Mapping> {
    let root = inode.extent_root();
    let (count, mut level) = (usize::from(root.count.get()), root.level.get());
    if count > INLINE_EXTENTS || level > LEVELS_MAX {
        return Err(Corrupt::Tree { inode: inode.number, block: 0 }.into());
    }
    let geometry = blocks.geometry();
    if level == 0 {
        return find(&root.records[..count], file_block, u32::MAX, &geometry, inode.number);
    }
    if count == 0 {
        return Err(Corrupt::Tree { inode: inode.number, block: 0 }.into());
    }
    // The end of what the nodes on the way cover bounds a hole at a leaf's end.
    let mut end = u32::MAX;
    let index = root.records[..count].partition_point(|r| r.file_block.get() <= file_block);
    let mut entry = root.records[index.saturating_sub(1)];
    if let Some(next) = root.records[..count].get(index.max(1)) {
        end = next.file_block.get();
    }
    let mut bytes = [0; BLOCK_SIZE];
    loop {
        let block = child_of(&entry, &geometry, inode.number)?;
        level -= 1;
        blocks.read(block, 0, &mut bytes);
        let count = check_node(&bytes, block, level, inode.number)?;
        let records = &bytes[HEADER_SIZE_BYTES..HEADER_SIZE_BYTES + count * RECORD];
        let Ok(records) = <[RawExtent]>::ref_from_bytes(records) else {
            return Err(Corrupt::Tree { inode: inode.number, block }.into());
        };
        if level == 0 {
            return find(records, file_block, end, &geometry, inode.number);
        }
        let index = records.partition_point(|r| r.file_block.get() <= file_block);
        entry = records[index.saturating_sub(1)];
        if let Some(next) = records.get(index.max(1)) {
            end = end.min(next.file_block.get());
        }
    }
}

/// Looks `file_block` up among the extents of one leaf, which covers file blocks before `end`.
fn find(
    records: &[RawExtent],
    file_block: u32,
    end: u32,
    geometry: &Geometry,
    inode: u32,
) -> Result<Mapping> {
    let index = records.partition_point(|r| r.file_block.get() <= file_block);
    if let Some(last) = index.checked_sub(1) {
        let extent = records[last].check(geometry, inode)?;
        if file_block < extent.end() {
            let skip = file_block - extent.file_block;
            return Ok(Mapping::Run {
                block: extent.block + skip,
                count: u32::from(extent.count) - skip,
                skip,
            });
        }
    }
    let next = records.get(index).map_or(end, |r| r.file_block.get());
    if next <= file_block {
        return Err(Corrupt::Tree { inode, block: 0 }.into());
    }
    Ok(Mapping::Hole { count: next - file_block })
}

/// Calls `visit` with every extent and with every node's block, in order; for mount and check.
pub fn walk<B: Blocks>(
    blocks: &B,
    inode: &Inode,
    visit: &mut dyn FnMut(Visit) -> Result<()>,
) -> Result<()> {
    let root = Node::of_root(inode.extent_root(), inode.number)?;
    let mut last_end = 0;
    walk_below(blocks, inode.number, &root, 0, &mut last_end, visit)
}

/// What `walk` comes across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// A run of file blocks.
    Extent(Extent),
    /// A block of the tree itself.
    Node(u32),
}

/// `low`: a lookup of what comes before it does not lead here.
fn walk_below<B: Blocks>(
    blocks: &B,
    inode: u32,
    node: &Node,
    low: u32,
    last_end: &mut u32,
    visit: &mut dyn FnMut(Visit) -> Result<()>,
) -> Result<()> {
    let geometry = blocks.geometry();
    let disordered = || Error::from(Corrupt::Tree { inode, block: node.block });
    let mut previous = None;
    for raw in &node.records {
        if node.level == 0 {
            let extent = raw.check(&geometry, inode)?;
            if extent.file_block < low.max(*last_end) {
                return Err(disordered());
            }
            *last_end = extent.end();
            visit(Visit::Extent(extent))?;
            continue;
        }
        // The first entry covers everything before it too, so its key bounds nothing.
        let mut low = low;
        let key = raw.file_block.get();
        if let Some(previous) = previous {
            if key <= previous || key < low.max(*last_end) {
                return Err(disordered());
            }
            low = key;
        }
        previous = Some(key);
        let block = child_of(raw, &geometry, inode)?;
        visit(Visit::Node(block))?;
        let child = Node::read(blocks, block, node.level - 1, inode)?;
        walk_below(blocks, inode, &child, low, last_end, visit)?;
    }
    Ok(())
}
