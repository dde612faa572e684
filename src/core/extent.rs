//! Extent trees: from a file's blocks to the image's.
//!
//! The inode holds up to 8 records. While they suffice they are the extents themselves (level 0);
//! then they become index entries of nodes with 338 records. Every node but the root is a sealed
//! metadata block owned by the inode.
//!
//! Invariants
//! - Records of a node are sorted by `file_block`; those of a leaf do not overlap.
//! - An index entry's `file_block` is not greater than any key below it, but for the first entry of a
//!   node, which also covers everything before it.
//! - No node but the root is empty.

mod shift;

pub use shift::shift;

use super::error::Result;
use super::txn::Txn;
use super::{Blocks, Error};
use crate::format::{
    BLOCK_SIZE, Block, BlockKind, Corrupt, EXTENTS_PER_NODE, Extent, Geometry, HEADER_SIZE_BYTES,
    INLINE_EXTENTS, Inode, RawExtent, RawExtentRoot, check_header,
};
use crate::store::Store;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

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
struct Node {
    /// Block, 0 for the root in the inode.
    block: u32,
    level: u16,
    records: Vec<RawExtent>,
}

impl Node {
    fn of_root(root: &RawExtentRoot, inode: u32) -> Result<Self> {
        let (count, level) = (usize::from(root.count.get()), root.level.get());
        if count > INLINE_EXTENTS || level > LEVELS_MAX || (level > 0 && count == 0) {
            return Err(Corrupt::Tree { inode, block: 0 }.into());
        }
        Ok(Self { block: 0, level, records: root.records[..count].to_vec() })
    }

    fn read<B: Blocks>(blocks: &B, block: u32, level: u16, inode: u32) -> Result<Self> {
        let mut bytes = [0; BLOCK_SIZE];
        blocks.read(block, 0, &mut bytes);
        let count = check_node(&bytes, block, level, inode)?;
        let records = (0..count).map(|index| record(&bytes, index)).collect();
        Ok(Self { block, level, records })
    }

    fn full(&self) -> bool {
        let room = if self.block == 0 { INLINE_EXTENTS } else { EXTENTS_PER_NODE };
        self.records.len() >= room
    }

    /// Index of the child that covers `file_block`.
    fn child(&self, file_block: u32) -> usize {
        self.records.partition_point(|r| r.file_block.get() <= file_block).saturating_sub(1)
    }

    fn write<S: Store>(&self, txn: &mut Txn<'_, S>, inode: &mut Inode) {
        let count = U16::new(u16::try_from(self.records.len()).unwrap_or(u16::MAX));
        if self.block == 0 {
            let mut root = RawExtentRoot { count, level: U16::new(self.level), ..Default::default() };
            root.records[..self.records.len()].copy_from_slice(&self.records);
            inode.set_extent_root(&root);
            return;
        }
        let end = HEADER_SIZE_BYTES + self.records.len() * RECORD;
        let bytes = txn.edit(self.block, HEADER_SIZE_BYTES - 8, end);
        bytes[24..28].copy_from_slice(&u32::from(count.get()).to_le_bytes());
        bytes[28..32].copy_from_slice(&u32::from(self.level).to_le_bytes());
        bytes[HEADER_SIZE_BYTES..end].copy_from_slice(self.records.as_bytes());
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

/// Adds an extent over a hole. The caller puts the inode back; node blocks are counted in it.
pub fn insert<S: Store>(txn: &mut Txn<'_, S>, inode: &mut Inode, extent: Extent) -> Result<()> {
    let mut root = Node::of_root(inode.extent_root(), inode.number)?;
    if root.full() && !merges(&root, extent) {
        // The root's records move into a node of their own, and the root gets one entry for it.
        if root.level >= LEVELS_MAX {
            return Err(Corrupt::Tree { inode: inode.number, block: 0 }.into());
        }
        let goal = extent.block;
        let block = txn.allocate_block(goal, BlockKind::Extents, inode.number)?;
        let child = Node { block, level: root.level, records: std::mem::take(&mut root.records) };
        let first = child.records[0].file_block;
        child.write(txn, inode);
        root.level += 1;
        root.records.push(RawExtent { file_block: first, block: U32::new(block), ..Default::default() });
        add_blocks(inode, 1);
        root.write(txn, inode);
    }
    let split = insert_below(txn, inode, root, extent, true)?;
    debug_assert!(split.is_none(), "the root was given room");
    Ok(())
}

/// Whether a leaf can take the extent without another record.
fn merges(node: &Node, extent: Extent) -> bool {
    if node.level != 0 {
        // An inner root needs room only if a child splits; make it beforehand, it costs little.
        return false;
    }
    let at = node.records.partition_point(|r| r.file_block.get() < extent.file_block);
    at > 0 && continues(&node.records[at - 1], &extent.raw())
        || node.records.get(at).is_some_and(|next| continues(&extent.raw(), next))
}

/// Whether `b` goes on where `a` ends, in the file and in the image, within one record's reach.
fn continues(a: &RawExtent, b: &RawExtent) -> bool {
    let count = u32::from(a.count.get());
    a.file_block.get().checked_add(count) == Some(b.file_block.get())
        && a.block.get().checked_add(count) == Some(b.block.get())
        && a.count.get().checked_add(b.count.get()).is_some()
}

/// Inserts below `node`; gives an index entry for the right half if the node had to split. `last`: no
/// node of this level is behind it.
fn insert_below<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    mut node: Node,
    extent: Extent,
    last: bool,
) -> Result<Option<RawExtent>> {
    if node.level == 0 {
        insert_record(&mut node, extent);
    } else {
        let index = node.child(extent.file_block);
        let entry = &mut node.records[index];
        let changed = extent.file_block < entry.file_block.get();
        if changed {
            entry.file_block = U32::new(extent.file_block);
        }
        let block = child_of(entry, &txn.geometry(), inode.number)?;
        let child = Node::read(txn, block, node.level - 1, inode.number)?;
        let last = last && index + 1 == node.records.len();
        match insert_below(txn, inode, child, extent, last)? {
            Some(right) => node.records.insert(index + 1, right),
            None if !changed => return Ok(None),
            None => {}
        }
    }
    let room = if node.block == 0 { INLINE_EXTENTS } else { EXTENTS_PER_NODE };
    if node.records.len() <= room {
        node.write(txn, inode);
        return Ok(None);
    }
    // Appending at the end of the file is the common case: leave the left node nearly full. At the end
    // of another node this would give every extent that follows a node of its own.
    let at_end = last && node.records.last().is_some_and(|r| r.file_block.get() <= extent.file_block);
    let keep = if at_end { node.records.len() - 1 } else { node.records.len() / 2 };
    let block = txn.allocate_block(node.block, BlockKind::Extents, inode.number)?;
    let right = Node { block, level: node.level, records: node.records.split_off(keep) };
    let entry = RawExtent {
        file_block: right.records[0].file_block,
        block: U32::new(block),
        ..Default::default()
    };
    add_blocks(inode, 1);
    right.write(txn, inode);
    node.write(txn, inode);
    Ok(Some(entry))
}

fn insert_record(node: &mut Node, extent: Extent) {
    let raw = extent.raw();
    let at = node.records.partition_point(|r| r.file_block.get() < extent.file_block);
    let joins_next = node.records.get(at).is_some_and(|next| continues(&raw, next));
    if at > 0 && continues(&node.records[at - 1], &raw) {
        let merged = node.records[at - 1].count.get() + raw.count.get();
        node.records[at - 1].count = U16::new(merged);
        if let Some(next) = node.records.get(at)
            && joins_next
            && let Some(sum) = merged.checked_add(next.count.get())
        {
            node.records[at - 1].count = U16::new(sum);
            node.records.remove(at);
        }
    } else if joins_next {
        let sum = raw.count.get() + node.records[at].count.get();
        node.records[at] = RawExtent { count: U16::new(sum), ..raw };
    } else {
        node.records.insert(at, raw);
    }
}

fn add_blocks(inode: &mut Inode, delta: i64) {
    inode.raw.blocks = inode.raw.blocks.get().saturating_add_signed(delta).into();
}

/// Frees the blocks of file blocks `from..to`; the rest of the file keeps its place.
///
/// The caller puts the inode back. Cutting into the middle of an extent may need a new record, so
/// only a cut that reaches the file's end is sure not to need space.
pub fn remove<S: Store>(txn: &mut Txn<'_, S>, inode: &mut Inode, from: u32, to: u32) -> Result<()> {
    let mut root = Node::of_root(inode.extent_root(), inode.number)?;
    let mut rest = None;
    remove_below(txn, inode, &mut root, from, to, &mut rest)?;
    if root.records.is_empty() {
        root.level = 0;
    }
    root.write(txn, inode);
    match rest {
        Some(extent) => insert(txn, inode, extent),
        None => Ok(()),
    }
}

fn remove_below<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    node: &mut Node,
    from: u32,
    to: u32,
    rest: &mut Option<Extent>,
) -> Result<()> {
    let geometry = txn.geometry();
    if node.level > 0 {
        let mut index = node.child(from);
        while index < node.records.len() && (node.records[index].file_block.get() < to || index == 0) {
            let block = child_of(&node.records[index], &geometry, inode.number)?;
            let mut child = Node::read(txn, block, node.level - 1, inode.number)?;
            remove_below(txn, inode, &mut child, from, to, rest)?;
            if child.records.is_empty() {
                node.records.remove(index);
                txn.free(block, 1);
                add_blocks(inode, -1);
            } else {
                child.write(txn, inode);
                index += 1;
            }
        }
        return Ok(());
    }
    let mut kept = Vec::with_capacity(node.records.len());
    for raw in &node.records {
        let extent = raw.check(&geometry, inode.number)?;
        let cut_from = from.max(extent.file_block);
        let cut_to = to.min(extent.end());
        if cut_from >= cut_to {
            kept.push(*raw);
            continue;
        }
        let skip = cut_from - extent.file_block;
        txn.free(extent.block + skip, cut_to - cut_from);
        add_blocks(inode, -i64::from(cut_to - cut_from));
        let count = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        if skip > 0 {
            kept.push(Extent { count: count(skip), ..extent }.raw());
        }
        if cut_to < extent.end() {
            let right = Extent {
                file_block: cut_to,
                block: extent.block + (cut_to - extent.file_block),
                count: count(extent.end() - cut_to),
            };
            if skip > 0 {
                *rest = Some(right);
            } else {
                kept.push(right.raw());
            }
        }
    }
    node.records = kept;
    Ok(())
}

/// Calls `visit` with every extent and with every node's block, in order; for mount and check.
pub fn walk<B: Blocks>(
    blocks: &B,
    inode: &Inode,
    visit: &mut dyn FnMut(Visit) -> Result<()>,
) -> Result<()> {
    let root = Node::of_root(inode.extent_root(), inode.number)?;
    let mut last_end = 0;
    walk_below(blocks, inode.number, &root, &mut last_end, visit)
}

/// What `walk` comes across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// A run of file blocks.
    Extent(Extent),
    /// A block of the tree itself.
    Node(u32),
}

fn walk_below<B: Blocks>(
    blocks: &B,
    inode: u32,
    node: &Node,
    last_end: &mut u32,
    visit: &mut dyn FnMut(Visit) -> Result<()>,
) -> Result<()> {
    let geometry = blocks.geometry();
    let disordered = || Error::from(Corrupt::Tree { inode, block: node.block });
    let mut previous = None;
    for raw in &node.records {
        if node.level == 0 {
            let extent = raw.check(&geometry, inode)?;
            if extent.file_block < *last_end {
                return Err(disordered());
            }
            *last_end = extent.end();
            visit(Visit::Extent(extent))?;
            continue;
        }
        if previous.is_some_and(|p| p >= raw.file_block.get()) {
            return Err(disordered());
        }
        // The first entry covers everything before it too, so its key bounds nothing.
        if previous.is_some() && raw.file_block.get() < *last_end {
            return Err(disordered());
        }
        previous = Some(raw.file_block.get());
        let block = child_of(raw, &geometry, inode)?;
        visit(Visit::Node(block))?;
        let child = Node::read(blocks, block, node.level - 1, inode)?;
        walk_below(blocks, inode, &child, last_end, visit)?;
    }
    Ok(())
}
