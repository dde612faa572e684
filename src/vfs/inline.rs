//! Bytes of small files, which lie in the inode itself, and their way into a block.
//!
//! A file is made inline and leaves the inode when it outgrows it, in the transaction that needs this.
//! It comes back only when it is cut to nothing.

use super::data::{BLOCK, Piece, fill_hole, mark_data};
use crate::core::extent::{self, Mapping};
use crate::core::{self, Core, InodeSlot, Txn};
use crate::format::{INLINE_DATA_MAX, INODE_ROOT_AT, Inode};
use crate::store::Store;

/// What an inode held before it got extents.
pub(super) struct Outgrown {
    bytes: [u8; INLINE_DATA_MAX],
    len: usize,
}

impl Outgrown {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Whether a file keeps its bytes in its inode when it reaches up to `end`.
pub(super) fn stays(inode: &Inode, end: u64) -> bool {
    inode.is_inline() && end <= INLINE_DATA_MAX as u64
}

/// Where the bytes of an inline file are in the store.
pub(super) fn piece<S: Store>(core: &Core<S>, slot: InodeSlot, size: u64) -> Piece {
    let at = core.image.block_offset(slot.block) + (slot.at + INODE_ROOT_AT) as u64;
    Piece { from: 0, to: size, at }
}

/// Copies bytes into an inline file that keeps room for them.
pub(super) fn patch(inode: &mut Inode, offset: u64, bytes: &[u8]) {
    let from = offset as usize;
    inode.raw.root[from..from + bytes.len()].copy_from_slice(bytes);
}

/// Clears what an inline file has of `from..to`.
pub(super) fn clear(inode: &mut Inode, from: u64, to: u64) {
    let size = inode.raw.size.get();
    let (from, to) = (from.min(size) as usize, to.min(size) as usize);
    inode.raw.root[from..to.max(from)].fill(0);
}

/// Gives a file an empty extent tree; its bytes, if it was inline, have to be settled in block 0.
pub(super) fn leave(inode: &mut Inode) -> Outgrown {
    let mut old = Outgrown { bytes: [0; INLINE_DATA_MAX], len: 0 };
    if inode.is_inline() {
        old.len = inode.inline_data().len();
        old.bytes[..old.len].copy_from_slice(inode.inline_data());
        inode.set_inline(false);
    }
    old
}

/// Puts the bytes that were inline into block 0, which is reserved unless it has been already.
pub(super) fn settle<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    old: &Outgrown,
) -> core::Result<()> {
    if old.is_empty() {
        return Ok(());
    }
    let block = match extent::map(txn, inode, 0)? {
        Mapping::Run { block, .. } => block,
        Mapping::Hole { .. } => {
            let (block, _) = fill_hole(txn, inode, 0, 1, 0)?;
            let image = txn.image();
            image.store().zero(image.block_offset(block), BLOCK);
            block
        }
    };
    // The block is new: nobody else sees it before the commit.
    mark_data(txn.core(), block, 1);
    txn.image().write(block, 0, &old.bytes[..old.len]);
    Ok(())
}
