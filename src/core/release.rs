//! Giving back everything that an inode without a name owns.

use super::error::Result;
use super::extent;
use super::txn::Txn;
use crate::format::{FileKind, SYMLINK_INLINE_MAX};
use crate::store::Store;

impl<S: Store> Txn<'_, S> {
    /// Frees an inode, its blocks and its number. Never needs space.
    pub fn release_inode(&mut self, ino: u32) -> Result<()> {
        let mut inode = self.inode(ino)?;
        self.touch(ino);
        match inode.kind {
            FileKind::Regular if inode.is_inline() => {}
            FileKind::Regular => extent::remove(self, &mut inode, 0, u32::MAX)?,
            FileKind::Directory => self.dir_clear(&mut inode)?,
            FileKind::Symlink if inode.raw.size.get() > SYMLINK_INLINE_MAX as u64 => {
                self.free(inode.symlink_block(), 1);
            }
            _ => {}
        }
        match inode.raw.xattr_block.get() {
            0 => {}
            block => self.free(block, 1),
        }
        self.free_inode(ino)
    }
}
