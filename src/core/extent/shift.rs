//! Moving a file's extents: taking file blocks out of the middle, and making room there.
//!
//! Only records change, no data. All nodes from the place on are written again, since a record says which
//! file block it begins at.

use super::{LEVELS_MAX, Node, child_of, continues, insert, remove};
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
    by: i64,
    /// The part that moves of an extent that does not move as a whole.
    rest: Option<Extent>,
    nodes: u32,
}

/// Takes file blocks `from..to` out: frees their blocks and moves everything behind them down. Gives how
/// many nodes this wrote. The caller puts the inode back.
pub fn collapse<S: Store>(txn: &mut Txn<'_, S>, inode: &mut Inode, from: u32, to: u32) -> Result<u32> {
    remove(txn, inode, from, to)?;
    shift(txn, inode, to, -i64::from(to - from))
}

/// Moves everything from file block `from` on up by `count` blocks, which leaves a hole. Gives how many
/// nodes this wrote; `EFBIG` when a block would come to lie behind the last one that can be. The caller
/// puts the inode back.
pub fn make_room<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    from: u32,
    count: u32,
) -> Result<u32> {
    shift(txn, inode, from, i64::from(count))
}

fn shift<S: Store>(txn: &mut Txn<'_, S>, inode: &mut Inode, from: u32, by: i64) -> Result<u32> {
    let mut root = Node::of_root(inode.extent_root(), inode.number)?;
    let mut shift = Shift { from, by, rest: None, nodes: 0 };
    shift.below(txn, inode, &mut root)?;
    root.write(txn, inode);
    if let Some(extent) = shift.rest {
        insert(txn, inode, extent)?;
    }
    // A new record may split a node on each level.
    Ok(shift.nodes + u32::from(LEVELS_MAX) + 1)
}

impl Shift {
    fn place(&self, file_block: u32, count: u16) -> Result<u32> {
        let place = i64::from(file_block) + self.by;
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
            self.nodes += 1;
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
