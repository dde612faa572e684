//! Changing extent trees: adding, removing and moving extents.
//!
//! A node that gets too many records splits; the root's move into a node of their own. Removing frees
//! nodes that are left empty, joins neighbours that have little left, and takes the records back into
//! the inode when they fit there. Only adding ever needs space.

use super::Blocks;
use super::error::Result;
use super::extent::{LEVELS_MAX, Mapping, Node, map};
use super::txn::Txn;
use crate::errno::Errno;
use crate::format::{
    BlockKind, EXTENTS_PER_NODE, Extent, HEADER_SIZE_BYTES, INLINE_EXTENTS, Inode, RawExtent,
    RawExtentRoot,
};
use crate::store::Store;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32};

/// Neighbours with this many records together become one node. It has room for more, so that a file
/// that shrinks and grows by a little does not split and join all the time.
const JOIN_MAX: usize = EXTENTS_PER_NODE / 4 * 3;

impl Node {
    fn write<S: Store>(&self, txn: &mut Txn<'_, S>, inode: &mut Inode) {
        let count = U16::new(u16::try_from(self.records.len()).unwrap_or(u16::MAX));
        if self.block == 0 {
            let mut root = RawExtentRoot { count, level: U16::new(self.level), ..Default::default() };
            root.records[..self.records.len()].copy_from_slice(&self.records);
            inode.set_extent_root(&root);
            return;
        }
        let end = HEADER_SIZE_BYTES + self.records.len() * size_of::<RawExtent>();
        let bytes = txn.edit(self.block, HEADER_SIZE_BYTES - 8, end);
        bytes[24..28].copy_from_slice(&u32::from(count.get()).to_le_bytes());
        bytes[28..32].copy_from_slice(&u32::from(self.level).to_le_bytes());
        bytes[HEADER_SIZE_BYTES..end].copy_from_slice(self.records.as_bytes());
    }

    /// The index entry for this node, which has records.
    fn entry(&self) -> RawExtent {
        let file_block = self.records[0].file_block;
        RawExtent { file_block, block: U32::new(self.block), ..Default::default() }
    }
}

fn add_blocks(inode: &mut Inode, delta: i64) {
    inode.raw.blocks = inode.raw.blocks.get().saturating_add_signed(delta).into();
}

/// Adds an extent over a hole. It becomes one with those before and behind it that lie next to it in the
/// image, if they are in the same node.
///
/// The caller puts the inode back; node blocks are counted in it. Needs at most one block for each level
/// of the tree, and one more. `EFBIG` when the tree would become too high, which no sound file is large
/// enough for.
pub fn insert<S: Store>(txn: &mut Txn<'_, S>, inode: &mut Inode, extent: Extent) -> Result<()> {
    let mut root = Node::of_root(inode.extent_root(), inode.number)?;
    let effect = insert_below(txn, inode, &mut root, extent, true)?;
    if effect == Effect::Shrunk {
        take_back(txn, inode, &mut root)?;
    }
    if root.records.len() > INLINE_EXTENTS {
        // The root's records move into a node of their own, and the root gets one entry for it.
        if root.level >= LEVELS_MAX {
            return Err(Errno::EFBIG.into());
        }
        let block = txn.allocate_block(extent.block, BlockKind::Extents, inode.number)?;
        let child = Node { block, level: root.level, records: std::mem::take(&mut root.records) };
        child.write(txn, inode);
        root.level += 1;
        root.records.push(child.entry());
        add_blocks(inode, 1);
    }
    root.write(txn, inode);
    Ok(())
}

/// What inserting or moving did to a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It is as before.
    None,
    /// The caller has to write it. It may have one record too many.
    Changed,
    /// It has to be written and has fewer records than before, because a gap was closed.
    Shrunk,
}

/// Inserts below `node`. `last`: no node of this level is behind it.
fn insert_below<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    node: &mut Node,
    extent: Extent,
    last: bool,
) -> Result<Effect> {
    let before = node.records.len();
    if node.level == 0 {
        insert_record(node, extent);
        return Ok(if node.records.len() < before { Effect::Shrunk } else { Effect::Changed });
    }
    let index = node.child(extent.file_block);
    let mut child = node.read_child(txn, index, inode.number)?;
    let entry = &mut node.records[index];
    let mut changed = extent.file_block < entry.file_block.get();
    if changed {
        entry.file_block = U32::new(extent.file_block);
    }
    let last = last && index + 1 == before;
    let effect = insert_below(txn, inode, &mut child, extent, last)?;
    if child.records.len() > EXTENTS_PER_NODE {
        let right = split(txn, inode, &mut child, extent, last)?;
        node.records.insert(index + 1, right.entry());
        changed = true;
    }
    if effect != Effect::None {
        child.write(txn, inode);
    }
    if effect == Effect::Shrunk && join(txn, inode, node, index.saturating_sub(1), index + 1)? {
        return Ok(Effect::Shrunk);
    }
    Ok(if changed { Effect::Changed } else { Effect::None })
}

/// Moves the right part of a node that has too many records into a new one.
fn split<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    node: &mut Node,
    extent: Extent,
    last: bool,
) -> Result<Node> {
    // Appending at the end of the file is the common case: leave the left node nearly full. At the end
    // of another node this would give every extent that follows a node of its own.
    let at_end = last && node.records.last().is_some_and(|r| r.file_block.get() <= extent.file_block);
    let keep = if at_end { node.records.len() - 1 } else { node.records.len() / 2 };
    let block = txn.allocate_block(node.block, BlockKind::Extents, inode.number)?;
    let right = Node { block, level: node.level, records: node.records.split_off(keep) };
    add_blocks(inode, 1);
    right.write(txn, inode);
    Ok(right)
}

/// Whether `b` goes on where `a` ends, in the file and in the image, within one record's reach.
fn continues(a: &RawExtent, b: &RawExtent) -> bool {
    let count = u32::from(a.count.get());
    a.file_block.get().checked_add(count) == Some(b.file_block.get())
        && a.block.get().checked_add(count) == Some(b.block.get())
        && a.count.get().checked_add(b.count.get()).is_some()
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

/// What a removal has to say about each piece that it takes out.
type Taken<'a, 'b, S> = &'a mut dyn FnMut(&mut Txn<'b, S>, &mut Inode, Extent);

/// Frees the blocks of file blocks `from..to`; the rest of the file keeps its place.
///
/// The caller puts the inode back. Cutting into the middle of an extent needs a new record and may need
/// space for it; every other removal does not.
pub fn remove<S: Store>(txn: &mut Txn<'_, S>, inode: &mut Inode, from: u32, to: u32) -> Result<()> {
    cut(txn, inode, from, to, true, &mut |txn, inode, extent| {
        txn.free(extent.block, u32::from(extent.count));
        add_blocks(inode, -i64::from(extent.count));
    })
}

/// Takes the extents of file blocks `from..to` out of the file, in order. Their blocks stay in use and are
/// still counted in the inode: the caller inserts them again, wherever, or frees them.
///
/// Needs space as `remove` does.
pub fn take<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    from: u32,
    to: u32,
) -> Result<Vec<Extent>> {
    let mut taken = Vec::new();
    cut(txn, inode, from, to, true, &mut |_, _, extent| taken.push(extent))?;
    Ok(taken)
}

/// Takes `from..to` out of the tree. `tidy`: lets the tree become smaller.
fn cut<'b, S: Store>(
    txn: &mut Txn<'b, S>,
    inode: &mut Inode,
    from: u32,
    to: u32,
    tidy: bool,
    taken: Taken<'_, 'b, S>,
) -> Result<()> {
    let mut root = Node::of_root(inode.extent_root(), inode.number)?;
    let mut removal = Removal { from, to, tidy, rest: None, taken };
    removal.below(txn, inode, &mut root)?;
    let rest = removal.rest;
    if root.records.is_empty() {
        root.level = 0;
    }
    // What the middle of an extent leaves behind adds a record: no time to make the tree smaller.
    if tidy && rest.is_none() {
        take_back(txn, inode, &mut root)?;
    }
    root.write(txn, inode);
    match rest {
        Some(extent) => insert(txn, inode, extent),
        None => Ok(()),
    }
}

/// Takes the records of the root's only child into the root while they fit.
fn take_back<S: Store>(txn: &mut Txn<'_, S>, inode: &mut Inode, root: &mut Node) -> Result<()> {
    while root.level > 0 && root.records.len() == 1 {
        let child = root.read_child(txn, 0, inode.number)?;
        if child.records.len() > INLINE_EXTENTS {
            break;
        }
        root.level = child.level;
        root.records = child.records;
        txn.free(child.block, 1);
        add_blocks(inode, -1);
    }
    Ok(())
}

struct Removal<'a, 'b, S: Store> {
    from: u32,
    to: u32,
    tidy: bool,
    /// What is left behind a cut into the middle of an extent.
    rest: Option<Extent>,
    taken: Taken<'a, 'b, S>,
}

impl<'b, S: Store> Removal<'_, 'b, S> {
    /// Removes below `node`; true if it was changed. The caller writes it.
    fn below(&mut self, txn: &mut Txn<'b, S>, inode: &mut Inode, node: &mut Node) -> Result<bool> {
        if node.level == 0 {
            return self.records(txn, inode, node);
        }
        let (mut changed, mut any_changed) = (false, false);
        let first = node.child(self.from);
        let mut index = first;
        while index < node.records.len()
            && (node.records[index].file_block.get() < self.to || index == 0)
        {
            let mut child = node.read_child(txn, index, inode.number)?;
            let child_changed = self.below(txn, inode, &mut child)?;
            any_changed |= child_changed;
            if child.records.is_empty() {
                node.records.remove(index);
                txn.free(child.block, 1);
                add_blocks(inode, -1);
                changed = true;
            } else {
                if child_changed {
                    child.write(txn, inode);
                }
                index += 1;
            }
        }
        if any_changed && self.tidy {
            changed |= join(txn, inode, node, first.saturating_sub(1), index)?;
        }
        Ok(changed)
    }

    fn records(&mut self, txn: &mut Txn<'b, S>, inode: &mut Inode, node: &mut Node) -> Result<bool> {
        let geometry = txn.geometry();
        let mut changed = false;
        let mut kept = Vec::with_capacity(node.records.len());
        for raw in &node.records {
            let extent = raw.check(&geometry, inode.number)?;
            let from = self.from.max(extent.file_block);
            let to = self.to.min(extent.end());
            if from >= to {
                kept.push(*raw);
                continue;
            }
            changed = true;
            (self.taken)(txn, inode, part(extent, from, to));
            if extent.file_block < from {
                kept.push(part(extent, extent.file_block, from).raw());
            }
            if to < extent.end() {
                let right = part(extent, to, extent.end());
                if extent.file_block < from {
                    self.rest = Some(right);
                } else {
                    kept.push(right.raw());
                }
            }
        }
        node.records = kept;
        Ok(changed)
    }
}

/// The part of an extent that maps file blocks `from..to`, which are within it.
fn part(extent: Extent, from: u32, to: u32) -> Extent {
    Extent {
        file_block: from,
        block: extent.block + (from - extent.file_block),
        // Not more than the extent's own count, which is as narrow.
        count: u16::try_from(to - from).unwrap_or(u16::MAX),
    }
}

/// Joins neighbours with few records among the children `first..=last` of a node; true if there were any.
fn join<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    node: &mut Node,
    first: usize,
    mut last: usize,
) -> Result<bool> {
    let before = node.records.len();
    if before < 2 {
        return Ok(false);
    }
    let mut index = first;
    let mut left = node.read_child(txn, index, inode.number)?;
    while index < last && index + 1 < node.records.len() {
        let mut right = node.read_child(txn, index + 1, inode.number)?;
        if left.records.len() + right.records.len() > JOIN_MAX {
            left = right;
            index += 1;
            continue;
        }
        // As the first entry of its node it covered what comes before its key; now its key bounds it.
        let key = node.records[index + 1].file_block;
        if right.level > 0 && key.get() < right.records[0].file_block.get() {
            right.records[0].file_block = key;
        }
        let boundary = left.records.len();
        left.records.append(&mut right.records);
        // What were the last and the first of two nodes are neighbours now.
        if left.level > 0 {
            join(txn, inode, &mut left, boundary - 1, boundary)?;
        } else if continues(&left.records[boundary - 1], &left.records[boundary]) {
            let record = left.records.remove(boundary);
            let count = left.records[boundary - 1].count.get() + record.count.get();
            left.records[boundary - 1].count = U16::new(count);
        }
        left.write(txn, inode);
        node.records.remove(index + 1);
        txn.free(right.block, 1);
        add_blocks(inode, -1);
        last -= 1;
    }
    Ok(node.records.len() < before)
}

/// Moves everything from file block `from` on by `delta` blocks, to the front or to the back.
///
/// To the front only over a hole: `EINVAL` when anything is in the `-delta` blocks before `from`, or when
/// there are not that many. To the back it leaves a hole; an extent around `from` comes apart, which may
/// need space. `EFBIG` when something would be moved behind the last possible block. The caller puts the
/// inode back, and changes its size.
pub fn shift<S: Store>(txn: &mut Txn<'_, S>, inode: &mut Inode, from: u32, delta: i64) -> Result<()> {
    if delta < 0 {
        let to = i64::from(from) + delta;
        let to = u32::try_from(to).map_err(|_| Errno::EINVAL)?;
        if !is_hole(txn, inode, to, from)? {
            return Err(Errno::EINVAL.into());
        }
    }
    // The right part of an extent around `from` is taken out, so that only whole ones are to be moved.
    let mut split = None;
    if let Mapping::Run { count, skip: 1.., .. } = map(txn, inode, from)? {
        let end = from.checked_add(count).ok_or(Errno::EFBIG)?;
        cut(txn, inode, from, end, false, &mut |_, _, extent| split = Some(extent))?;
    }
    let mut root = Node::of_root(inode.extent_root(), inode.number)?;
    let effect = shift_below(txn, inode, &mut root, from, delta)?;
    if effect == Effect::Shrunk && split.is_none() {
        take_back(txn, inode, &mut root)?;
    }
    root.write(txn, inode);
    match split {
        Some(extent) => {
            let file_block = moved(extent.file_block, u32::from(extent.count), delta)?;
            insert(txn, inode, Extent { file_block, ..extent })
        }
        None => Ok(()),
    }
}

fn is_hole<S: Store>(txn: &Txn<'_, S>, inode: &Inode, mut from: u32, to: u32) -> Result<bool> {
    while from < to {
        match map(txn, inode, from)? {
            Mapping::Run { .. } => return Ok(false),
            // At least one, or the lookup would have failed.
            Mapping::Hole { count } => from = from.saturating_add(count),
        }
    }
    Ok(true)
}

/// Where a run of `count` file blocks is after it was moved.
fn moved(file_block: u32, count: u32, delta: i64) -> Result<u32> {
    let to = i64::from(file_block).checked_add(delta).ok_or(Errno::EFBIG)?;
    let to = u32::try_from(to).map_err(|_| Errno::EFBIG)?;
    to.checked_add(count).ok_or(Errno::EFBIG)?;
    Ok(to)
}

/// Moves what is below a node. What comes to lie next to each other in a node becomes one.
fn shift_below<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    node: &mut Node,
    from: u32,
    delta: i64,
) -> Result<Effect> {
    let before = node.records.len();
    let mut effect = Effect::None;
    if node.level == 0 {
        for raw in node.records.iter_mut().filter(|raw| raw.file_block.get() >= from) {
            let count = u32::from(raw.count.get());
            raw.file_block = U32::new(moved(raw.file_block.get(), count, delta)?);
            effect = Effect::Changed;
        }
        node.records.dedup_by(|raw, last| {
            let one = continues(last, raw);
            if one {
                last.count = U16::new(last.count.get() + raw.count.get());
            }
            one
        });
        return Ok(if node.records.len() < before { Effect::Shrunk } else { effect });
    }
    let (first, mut shrunk) = (node.child(from), false);
    for index in first..before {
        let mut child = node.read_child(txn, index, inode.number)?;
        let below = shift_below(txn, inode, &mut child, from, delta)?;
        shrunk |= below == Effect::Shrunk;
        if below != Effect::None {
            child.write(txn, inode);
            // An entry's key may be less than all below it, and end up between what it is to part.
            node.records[index].file_block = child.records[0].file_block;
            effect = Effect::Changed;
        }
    }
    if shrunk && join(txn, inode, node, first.saturating_sub(1), before)? {
        effect = Effect::Shrunk;
    }
    Ok(effect)
}
