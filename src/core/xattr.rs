//! The extended attributes of one inode: reading the list, and putting another one in its place.

use super::Blocks;
use super::error::Result;
use super::txn::Txn;
use crate::format::{
    BLOCK_SIZE, Block, BlockKind, Corrupt, HEADER_SIZE_BYTES, Inode, XATTRS_INLINE_MAX, XATTRS_MAX,
    XattrKey, check_header, is_zero, replace_xattr,
};
use crate::store::Store;

const USED_AT: usize = 24;

/// A list of attributes, copied out. Its records are not checked.
pub struct XattrList {
    /// The list lies behind the header, wherever it comes from.
    bytes: Box<Block>,
    len: usize,
}

impl XattrList {
    /// The list of an inode; damage when its length cannot be.
    pub fn read<B: Blocks>(blocks: &B, inode: &Inode) -> Result<Self> {
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        let bad = Corrupt::InodeField { inode: inode.number, field: "xattr_len" };
        let (block, inline_len) = (inode.raw.xattr_block.get(), usize::from(inode.raw.xattr_len.get()));
        if block == 0 {
            let list = inode.raw.xattrs.get(..inline_len).ok_or(bad)?;
            bytes[HEADER_SIZE_BYTES..HEADER_SIZE_BYTES + inline_len].copy_from_slice(list);
            return Ok(Self { bytes, len: inline_len });
        }
        super::dir::check_block(&blocks.geometry(), block, inode.number)?;
        blocks.read(block, 0, &mut bytes[..]);
        Self::of_block(bytes, inode)
    }

    /// The list in an inode's block that was copied out.
    pub fn of_block(bytes: Box<Block>, inode: &Inode) -> Result<Self> {
        let (block, number) = (inode.raw.xattr_block.get(), inode.number);
        let header = check_header(&bytes[..], BlockKind::Xattrs, block, number)?;
        let len = header.extra[0].get() as usize;
        if !(XATTRS_INLINE_MAX + 1..=XATTRS_MAX).contains(&len) || inode.raw.xattr_len.get() != 0 {
            return Err(Corrupt::InodeField { inode: number, field: "xattr_len" }.into());
        }
        Ok(Self { bytes, len })
    }

    /// The list's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[HEADER_SIZE_BYTES..HEADER_SIZE_BYTES + self.len]
    }

    /// Whether anything but zeros lies behind the list in its block.
    pub fn has_remains(&self) -> bool {
        !is_zero(&self.bytes[HEADER_SIZE_BYTES + self.len..])
    }

    /// The list with another value for `key`, which is allowed, or with none. None when it would be too
    /// long.
    pub fn replaced(
        &self,
        key: &XattrKey<'_>,
        value: Option<&[u8]>,
        inode: u32,
    ) -> Result<Option<Self>> {
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        let list = &mut bytes[HEADER_SIZE_BYTES..];
        let len = replace_xattr(self.as_bytes(), key, value, inode, list)?;
        Ok(len.map(|len| Self { bytes, len }))
    }
}

impl<S: Store> Txn<'_, S> {
    /// Makes `new` the list of an inode whose list is `old`. The caller puts the inode back.
    ///
    /// Needs a block, and space for it, only when the list no longer fits into the inode.
    pub fn put_xattrs(&mut self, inode: &mut Inode, old: &XattrList, new: &XattrList) -> Result<()> {
        self.touch(inode.number);
        let list = new.as_bytes();
        let (mut block, blocks) = (inode.raw.xattr_block.get(), inode.raw.blocks.get());
        inode.raw.xattrs.fill(0);
        if new.len <= XATTRS_INLINE_MAX {
            inode.raw.xattrs[..new.len].copy_from_slice(list);
            inode.raw.xattr_len = u16::try_from(new.len).unwrap_or(0).into();
            if block != 0 {
                self.free(block, 1);
                inode.raw.xattr_block = 0.into();
                inode.raw.blocks = blocks.saturating_sub(1).into();
            }
            return Ok(());
        }
        let mut before = old.len;
        if block == 0 {
            block = self.allocate_block(0, BlockKind::Xattrs, inode.number)?;
            inode.raw.xattr_block = block.into();
            inode.raw.xattr_len = 0.into();
            inode.raw.blocks = blocks.saturating_add(1).into();
            before = 0;
        }
        // What a longer list leaves behind must not stay: it may have been a secret.
        let end = HEADER_SIZE_BYTES + new.len.max(before);
        let bytes = self.edit(block, USED_AT, end);
        bytes[USED_AT..USED_AT + 4].copy_from_slice(&u32::try_from(new.len).unwrap_or(0).to_le_bytes());
        bytes[HEADER_SIZE_BYTES..end].copy_from_slice(&new.bytes[HEADER_SIZE_BYTES..end]);
        Ok(())
    }
}
