//! Finding blocks that are marked as used and that nobody uses, by walking all that an image holds.
//!
//! Needed when a client died while it gave back more blocks than its redo slot could name: a file in tens of
//! thousands of pieces. It walks every tree of the volume, which is why nothing else works this way.

use super::error::Result;
use super::image::Image;
use super::inodes::{for_each_block_of_table, inode_in};
use super::redo::{self, Record};
use super::txn::Run;
use super::{DirView, extent};
use crate::format::{
    BLOCK_SIZE, FileKind, HEADER_SIZE_BYTES, INO_INODE_FILE, INODES_PER_BLOCK, Inode,
    SYMLINK_INLINE_MAX, Superblock,
};
use crate::store::Store;
use crate::store::runtime::Bitmap;

/// Gives back every block that is marked as used and belongs to nobody. The caller has the gate; the image is
/// whole but for such blocks.
pub(super) fn sweep<S: Store>(image: &Image<S>, superblock: &Superblock) -> Result<()> {
    let geometry = image.geometry();
    let mut used = Used(vec![0; geometry.image_blocks().div_ceil(64) as usize]);
    let mut inodes = Vec::new();
    for_each_block_of_table(image, superblock.inode_file_block, &mut |table, bytes| {
        used.add(table.block, 1);
        for slot in (0..INODES_PER_BLOCK).filter(|slot| table.used >> slot & 1 == 1) {
            let ino = table.part * INODES_PER_BLOCK + slot;
            if ino >= INO_INODE_FILE {
                inodes.push(inode_in(bytes, ino, &geometry)?);
            }
        }
        Ok(())
    })?;
    for inode in &inodes {
        used.add_inode(image, superblock, inode)?;
    }
    let mut records = Vec::new();
    for group in 0..geometry.groups() {
        let start = geometry.group_start(group);
        let mut bitmap = [0; BLOCK_SIZE];
        image.read_block(start, &mut bitmap);
        let bits = &bitmap[HEADER_SIZE_BYTES..];
        for bit in 1..geometry.group_len(group) {
            let taken = bits[(bit / 8) as usize] >> (bit % 8) & 1 == 1;
            // One that is free already may have been on its way there.
            let listed = taken || image.bit(Bitmap::Dirty, start + bit);
            if listed && !used.has(start + bit) {
                Record::Free(Run { block: start + bit, count: 1 }).encode(&mut records);
            }
        }
    }
    redo::apply(image, &records)?;
    Ok(())
}

/// A bit for each block that somebody uses.
struct Used(Vec<u64>);

impl Used {
    fn add(&mut self, block: u32, count: u32) {
        for block in block..block + count {
            if let Some(word) = self.0.get_mut((block / 64) as usize) {
                *word |= 1 << (block % 64);
            }
        }
    }

    fn has(&self, block: u32) -> bool {
        self.0[(block / 64) as usize] >> (block % 64) & 1 == 1
    }

    fn add_inode<S: Store>(
        &mut self,
        image: &Image<S>,
        superblock: &Superblock,
        inode: &Inode,
    ) -> Result<()> {
        match inode.kind {
            FileKind::Directory => {
                let view = DirView::new(image, inode, &superblock.hash_key);
                view.walk(&mut |block, _, _| {
                    self.add(block, 1);
                    Ok(())
                })?;
            }
            FileKind::Regular => extent::walk(image, inode, &mut |visit| {
                match visit {
                    extent::Visit::Node(block) => self.add(block, 1),
                    extent::Visit::Extent(extent) => self.add(extent.block, u32::from(extent.count)),
                }
                Ok(())
            })?,
            FileKind::Symlink if inode.raw.size.get() > SYMLINK_INLINE_MAX as u64 => {
                self.add(inode.symlink_block(), 1);
            }
            _ => {}
        }
        if inode.raw.xattr_block.get() != 0 {
            self.add(inode.raw.xattr_block.get(), 1);
        }
        Ok(())
    }
}
