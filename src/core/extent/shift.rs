//! Moving a file's extents: taking file blocks out of the middle, and making room there.
//!
//! Only records change, no data. All nodes from the place on are written again, since a record says which
//! file block it begins at.

use super::{Node, child_of, continues, insert};
use crate::core::Blocks;
use crate::core::error::Result;
use crate::core::txn::Txn;
use crate::errno::Errno;
use crate::format::{Extent, Inode, RawExtent};
use crate::store::Store;
use zerocopy::little_endian::U16;

/// A shift on its way through the tree.
struct Shift {
    /// First file block that moves.
    from: u32,
    /// By how many blocks, down if negative.
    delta: i64,
    /// The part that moves of an extent that does not move as a whole.
    rest: Option<Extent>,
}

/// Moves everything from file block `from` on by `delta` blocks: down over a hole, or up, which leaves one.
/// An extent around `from` comes apart, for which there may be no space.
///
/// `EFBIG` when something would come to lie behind the last block that can be. The caller puts the inode
/// back and changes its size.
pub fn shift<S: Store>(txn: &mut Txn<'_, S>, inode: &mut Inode, from: u32, delta: i64) -> Result<()> {
    let mut root = Node::of_root(inode.extent_root(), inode.number)?;
    let mut shift = Shift { from, delta, rest: None };
    shift.below(txn, inode, &mut root)?;
    root.write(txn, inode);
    match shift.rest {
        Some(extent) => insert(txn, inode, extent),
        None => Ok(()),
    }
}

impl Shift {
    fn place(&self, file_block: u32, count: u16) -> Result<u32> {
        let place = i64::from(file_block) + self.delta;
        let place = u32::try_from(place).map_err(|_| Errno::EFBIG)?;
        place.checked_add(u32::from(count)).ok_or(Errno::EFBIG)?;
        Ok(place)
    }

    fn below<S: Store>(
        &mut self,
        txn: &mut Txn<'_, S>,
        inode: &mut Inode,
        node: &mut Node,
    ) -> Result<()> {
        let geometry = txn.geometry();
        if node.level == 0 {
            let mut records: Vec<RawExtent> = Vec::with_capacity(node.records.len());
            for raw in &node.records {
                let extent = raw.check(&geometry, inode.number)?;
                let raw = self.moved(extent)?;
                match records.last_mut() {
                    // What a shift brings together becomes one again.
                    Some(last) if continues(last, &raw) => {
                        last.count = U16::new(last.count.get() + raw.count.get());
                    }
                    _ => records.push(raw),
                }
            }
            node.records = records;
            return Ok(());
        }
        for index in node.child(self.from)..node.records.len() {
            let block = child_of(&node.records[index], &geometry, inode.number)?;
            let mut child = Node::read(txn, block, node.level - 1, inode.number)?;
            self.below(txn, inode, &mut child)?;
            // Not less than it was, or as much less as everything below it.
            node.records[index].file_block = child.records[0].file_block;
            child.write(txn, inode);
        }
        Ok(())
    }

    /// Where an extent is afterwards, as far as it does not become one of its own.
    fn moved(&mut self, extent: Extent) -> Result<RawExtent> {
        if extent.end() <= self.from {
            return Ok(extent.raw());
        }
        if extent.file_block >= self.from {
            let file_block = self.place(extent.file_block, extent.count)?;
            return Ok(Extent { file_block, ..extent }.raw());
        }
        let stays = self.from - extent.file_block;
        let count = u16::try_from(extent.end() - self.from).unwrap_or(u16::MAX);
        let file_block = self.place(self.from, count)?;
        self.rest = Some(Extent { file_block, block: extent.block + stays, count });
        Ok(RawExtent { count: U16::new(extent.count - count), ..extent.raw() })
    }
}
