//! Bitmaps, superblock copies, and blocks that a file has behind its end.

use super::super::Checker;
use super::apply;
use crate::core::{Core, Result, extent};
use crate::errno::Errno;
use crate::format::{
    BLOCK_SIZE, BlockKind, FileKind, GROUP_BLOCKS, Geometry, HEADER_SIZE_BYTES, Superblock, seal,
};
use crate::store::Store;
use crate::store::runtime as rt;

/// Where a block's own number is in its header.
const NUMBER_AT: usize = 12;

/// The group whose bitmap this block is.
fn group_of(geometry: &Geometry, block: u32) -> Option<u32> {
    geometry.place(block).filter(|place| place.bit == 0).map(|place| place.group)
}

/// Whether a block is the bitmap of a group.
pub(super) fn is_bitmap<S: Store>(checker: &Checker<'_, S>, block: u32) -> bool {
    group_of(&checker.core.image.geometry(), block).is_some()
}

/// Makes a bitmap from what the check knows of who uses which block.
pub(super) fn rebuild_bitmap<S: Store>(checker: &Checker<'_, S>, block: u32) -> Result<String> {
    let geometry = checker.core.image.geometry();
    let group = group_of(&geometry, block).ok_or(Errno::EINVAL)?;
    let len = geometry.group_len(group);
    apply(checker.core, |txn| {
        let bits = &mut txn.create_block(block, BlockKind::Bitmap, 0)[HEADER_SIZE_BYTES..];
        for bit in 0..GROUP_BLOCKS {
            let used = bit >= len || checker.owners.get((block + bit) as usize).is_none_or(|&o| o != 0);
            bits[(bit / 8) as usize] |= u8::from(used) << (bit % 8);
        }
        Ok("the bitmap is built anew".to_owned())
    })
}

/// Makes a superblock copy from the other one, features that this version does not know included.
pub(super) fn copy_superblock<S: Store>(core: &Core<S>, copy: u32) -> Result<String> {
    let other = 1 - copy.min(1);
    apply(core, |txn| {
        let mut bytes = *txn.load(other);
        Superblock::check(&bytes, other).map_err(|error| error.errno())?;
        bytes[NUMBER_AT..NUMBER_AT + 4].copy_from_slice(&copy.to_le_bytes());
        // The copies are compared by their seals in memory, too.
        seal(&mut bytes);
        *txn.edit(copy, 0, BLOCK_SIZE) = bytes;
        Ok("copied from the other one".to_owned())
    })
}

/// Sets the bits that stand for the bitmap itself and for no block.
pub(super) fn set_tail<S: Store>(core: &Core<S>, group: u32) -> Result<String> {
    let geometry = core.image.geometry();
    let len = geometry.group_len(group);
    apply(core, |txn| {
        let bytes = txn.edit(geometry.group_start(group), HEADER_SIZE_BYTES, BLOCK_SIZE);
        for bit in (0..1).chain(len..GROUP_BLOCKS) {
            bytes[HEADER_SIZE_BYTES + (bit / 8) as usize] |= 1 << (bit % 8);
        }
        Ok("set".to_owned())
    })
}

/// Marks a block as used.
pub(super) fn mark<S: Store>(core: &Core<S>, block: u32) -> Result<String> {
    let geometry = core.image.geometry();
    let place = geometry.place(block).ok_or(Errno::EINVAL)?;
    apply(core, |txn| {
        let at = HEADER_SIZE_BYTES + (place.bit / 8) as usize;
        txn.edit(geometry.group_start(place.group), at, at + 1)[at] |= 1 << (place.bit % 8);
        Ok("marked as used".to_owned())
    })
}

/// Frees a file's blocks from `file_block` on, which are behind its end.
pub(super) fn cut<S: Store>(core: &Core<S>, ino: u32, file_block: u32) -> Result<String> {
    apply(core, |txn| {
        let mut inode = txn.inode(ino)?;
        if inode.kind != FileKind::Regular {
            return Err(Errno::EINVAL.into());
        }
        txn.touch(ino);
        extent::remove(txn, &mut inode, file_block, u32::MAX)?;
        txn.put_inode(&inode)?;
        Ok("freed".to_owned())
    })
}

/// Zeros what a file's last block holds behind its end. It is file data, which no transaction carries.
pub(super) fn zero_tail<S: Store>(core: &Core<S>, ino: u32, block: u32) -> Result<String> {
    let size = core.read_inode(ino)?.raw.size.get();
    let within = (size % BLOCK_SIZE as u64) as usize;
    core.image.lock_gate()?;
    core.image.write(block, within, &[0; BLOCK_SIZE][within..]);
    core.image.mark_dirty(block, false);
    core.image.store().fetch_add(rt::CHANGE, 1);
    core.image.unlock_gate();
    Ok("zeroed".to_owned())
}
