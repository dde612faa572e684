//! What one inode owns: its extents or its target, its attributes, its count of blocks.

use super::{Checker, Finding};
use crate::core::extent::{self, Mapping, Visit};
use crate::core::{Blocks, Error, XattrList};
use crate::errno::Errno;
use crate::format::{
    BLOCK_SIZE, BlockKind, Extent, FileKind, HEADER_SIZE_BYTES, INO_INODE_FILE, Inode, SYMLINK_HEAD,
    SYMLINK_INLINE_MAX, check_header, check_xattrs, is_zero,
};
use crate::store::Store;

/// Ends a walk whose reason has been reported already.
const REPORTED: Error = Error::Os(Errno::EIO);

impl<S: Store> Checker<'_, S> {
    pub(super) fn inode(&mut self, inode: &Inode) {
        let before = self.report.blocks;
        let whole = match inode.kind {
            FileKind::Regular if inode.is_inline() => self.inline_data(inode),
            FileKind::Regular => self.extents(inode),
            FileKind::Directory => self.directory(inode),
            FileKind::Symlink => self.target(inode),
            _ => true,
        };
        let whole = self.xattrs(inode) && whole;
        if !whole {
            self.all_blocks = false;
            return;
        }
        let (says, found) = (inode.raw.blocks.get(), u64::from(self.report.blocks - before));
        if says != found {
            self.report.add(Finding::BlockCount { inode: inode.number, says, found });
        }
    }

    /// Walks the extent tree; false if it could not be walked to its end.
    fn extents(&mut self, inode: &Inode) -> bool {
        let core = self.core;
        let walked = extent::walk(&core.image, inode, &mut |visit| match visit {
            Visit::Node(block) => self.node(inode.number, block),
            Visit::Extent(extent) => self.extent(inode, extent),
        });
        match walked {
            Ok(()) => {
                self.tail(inode);
                true
            }
            Err(Error::Corrupt(corrupt)) => {
                self.report.add(Finding::Structure(corrupt));
                false
            }
            Err(Error::Os(_)) => false,
        }
    }

    fn node(&mut self, inode: u32, block: u32) -> Result<(), Error> {
        if !self.claim(block, inode) {
            return Err(REPORTED);
        }
        if self.seals {
            let mut bytes = Box::new([0; BLOCK_SIZE]);
            self.core.image.read_block(block, &mut bytes);
            self.seal(block, inode, &bytes);
        }
        Ok(())
    }

    fn extent(&mut self, inode: &Inode, extent: Extent) -> Result<(), Error> {
        for block in extent.block..extent.block + u32::from(extent.count) {
            // One report for a run is enough, and going on could take for ever.
            if !self.claim(block, inode.number) {
                return Err(REPORTED);
            }
        }
        self.behind_end(inode, extent);
        Ok(())
    }

    /// Blocks behind the end are reserved and hold zeros; the table reserves none.
    fn behind_end(&mut self, inode: &Inode, extent: Extent) {
        let end = inode.raw.size.get().div_ceil(BLOCK_SIZE as u64);
        let first = u32::try_from(end).unwrap_or(u32::MAX).max(extent.file_block);
        let mut bytes = [0; BLOCK_SIZE];
        let found = (first..extent.end()).find(|file_block| {
            self.core.image.read_block(extent.block + (file_block - extent.file_block), &mut bytes);
            inode.number == INO_INODE_FILE || !is_zero(&bytes)
        });
        if let Some(file_block) = found {
            self.report.add(Finding::BehindEnd { inode: inode.number, file_block });
        }
    }

    /// The rest of the last block is zero, so that a file that grows shows zeros there.
    fn tail(&mut self, inode: &Inode) {
        let size = inode.raw.size.get();
        let within = (size % BLOCK_SIZE as u64) as usize;
        let Ok(last) = u32::try_from(size / BLOCK_SIZE as u64) else { return };
        if within == 0 {
            return;
        }
        if let Ok(Mapping::Run { block, .. }) = extent::map(&self.core.image, inode, last) {
            let mut bytes = [0; BLOCK_SIZE];
            self.core.image.read_block(block, &mut bytes);
            if !is_zero(&bytes[within..]) {
                self.report.add(Finding::DirtyTail { inode: inode.number, block });
            }
        }
    }

    /// The rest of an inode that holds a file's bytes is zero, for the same reason.
    fn inline_data(&mut self, inode: &Inode) -> bool {
        if !is_zero(&inode.raw.root[inode.inline_data().len()..]) {
            self.report.add(Finding::DirtyInline { inode: inode.number });
        }
        true
    }

    fn target(&mut self, inode: &Inode) -> bool {
        let size = inode.raw.size.get() as usize;
        let number = inode.number;
        if size <= SYMLINK_INLINE_MAX {
            if inode.raw.root[..size].contains(&0) {
                self.report.add(Finding::Target { inode: number });
            }
            return true;
        }
        let Some((bytes, used)) = self.owned_block(inode.symlink_block(), BlockKind::Symlink, number)
        else {
            return false;
        };
        let tail = size - SYMLINK_HEAD;
        let head = &inode.raw.root[8..8 + SYMLINK_HEAD];
        let targets = [head, &bytes[HEADER_SIZE_BYTES..HEADER_SIZE_BYTES + tail]];
        if used as usize != tail || targets.iter().any(|part| part.contains(&0)) {
            self.report.add(Finding::Target { inode: number });
        }
        true
    }

    /// Looks at the attributes; false if their block is not what the inode says.
    fn xattrs(&mut self, inode: &Inode) -> bool {
        let list = match inode.raw.xattr_block.get() {
            0 => XattrList::read(&self.core.image, inode),
            block => match self.owned_block(block, BlockKind::Xattrs, inode.number) {
                Some((bytes, _)) => XattrList::of_block(bytes, inode),
                None => return false,
            },
        };
        match list {
            Ok(list) => {
                if let Err(corrupt) = check_xattrs(list.as_bytes(), inode.number) {
                    self.report.add(Finding::Structure(corrupt));
                }
                let behind = inode.raw.xattrs.get(usize::from(inode.raw.xattr_len.get())..);
                if list.has_remains() || behind.is_some_and(|rest| !is_zero(rest)) {
                    self.report.add(Finding::XattrRemains { inode: inode.number });
                }
            }
            Err(_) => self.report.add(Finding::Xattrs { inode: inode.number }),
        }
        true
    }

    /// Claims a single metadata block of an inode; its bytes and the first extra word, none if it
    /// is not what the inode says.
    fn owned_block(
        &mut self,
        block: u32,
        kind: BlockKind,
        inode: u32,
    ) -> Option<(Box<[u8; BLOCK_SIZE]>, u32)> {
        let image = &self.core.image;
        if let Err(Error::Corrupt(corrupt)) =
            crate::core::dir::check_block(&Blocks::geometry(image), block, inode)
        {
            self.report.add(Finding::Structure(corrupt));
            return None;
        }
        if !self.claim(block, inode) {
            return None;
        }
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        image.read_block(block, &mut bytes);
        self.seal(block, inode, &bytes);
        match check_header(&bytes[..], kind, block, inode) {
            Ok(header) => Some((bytes, header.extra[0].get())),
            Err(corrupt) => {
                self.report.add(Finding::Structure(corrupt));
                None
            }
        }
    }
}
