//! What lies behind a file's end: zeros, which a file that grows shows.
//!
//! A power loss may leave something else there. What a commit overwrites may go to the image before the record that completes
//! the commit (`persist::plan`), and if that commit makes a file longer, its last block then has bytes behind the end that is
//! still in force. So whoever takes a loaded image into use clears what he finds there.

use super::Image;
use super::error::Result;
use super::rules::Rule;
use crate::format::{BLOCK_SIZE, Extent, Inode, is_zero};
use crate::store::Store;
use crate::store::runtime as rt;

/// What is not zero behind a file's end in one of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remains {
    pub block: u32,
    /// Byte of the block where the file ends, 0 if it ends before the block.
    pub within: usize,
}

/// Looks for remains in the blocks of an extent of a regular file.
pub(super) fn find<S: Store>(
    image: &Image<S>,
    inode: &Inode,
    extent: Extent,
    found: &mut dyn FnMut(Remains),
) {
    let size_bytes = inode.raw.size.get();
    let last = u32::try_from(size_bytes / BLOCK_SIZE as u64).unwrap_or(u32::MAX);
    let mut bytes = [0; BLOCK_SIZE];
    for file_block in last.max(extent.file_block)..extent.end() {
        let block = extent.block + (file_block - extent.file_block);
        let within = if file_block == last { size_bytes as usize % BLOCK_SIZE } else { 0 };
        image.read_block(block, &mut bytes);
        if !is_zero(&bytes[within..]) {
            found(Remains { block, within });
        }
    }
}

/// Clears what was found; what may be written is dirty afterwards, so that the image file gets it before a file grows.
pub(super) fn clear<S: Store>(image: &Image<S>, remains: &[Remains]) -> Result<()> {
    if remains.is_empty() || !image.rules().on(Rule::ClearEnds) {
        return Ok(());
    }
    let store = image.store();
    let writable = store.load(rt::READ_ONLY) == 0;
    image.lock_gate()?;
    for &Remains { block, within } in remains {
        if writable {
            image.mark_dirty(block, false);
        }
        store.zero(image.block_offset(block) + within as u64, (BLOCK_SIZE - within) as u64);
    }
    if writable {
        store.fetch_add(rt::CHANGE, 1);
    }
    image.unlock_gate();
    Ok(())
}
