//! Attributes, and what `statfs` shows.

use super::access::{Caller, mode_after_write, setattr_allowed};
use super::types::{Attr, Ino, SetAttr, StatFs};
use super::{AsCaller, Volume};
use crate::core::{Note, largest, usable_blocks};
use crate::errno::Errno;
use crate::format::{BLOCK_SIZE, FileKind, INODES_PER_BLOCK, Inode, NAME_MAX};
use crate::store::Store;
use crate::store::runtime as rt;

impl Attr {
    /// What `stat` shows of an inode.
    pub(super) fn of(inode: &Inode) -> Self {
        let raw = &inode.raw;
        let blocks = raw.blocks.get();
        let size_bytes = match inode.kind {
            FileKind::Directory => blocks.saturating_mul(BLOCK_SIZE as u64),
            _ => raw.size.get(),
        };
        Self {
            ino: inode.number,
            generation: raw.generation.get(),
            kind: inode.kind,
            mode: raw.mode.get(),
            nlink: raw.nlink.get(),
            uid: raw.uid.get(),
            gid: raw.gid.get(),
            rdev: inode.rdev(),
            size_bytes,
            blocks,
            atime_ns: raw.atime.get(),
            mtime_ns: raw.mtime.get(),
            ctime_ns: raw.ctime.get(),
            btime_ns: raw.btime.get(),
            change: raw.change.get(),
        }
    }
}

/// Notes a change of data or names.
pub(super) fn modified(inode: &mut Inode, now_ns: i64) {
    inode.raw.mtime = now_ns.into();
    inode.raw.ctime = now_ns.into();
    inode.raw.change = inode.raw.change.get().wrapping_add(1).into();
}

impl<S: Store> AsCaller<'_, S> {
    /// Changes attributes; gives what they are then. [`setattr_allowed`] says who may do what.
    /// `EOPNOTSUPP` for the mode of a symlink, which has no meaning.
    pub fn setattr(&self, ino: Ino, set: &SetAttr) -> Result<Attr, Errno> {
        self.change(ino, |attr, caller| {
            if set.mode.is_some() && attr.kind == FileKind::Symlink {
                return Err(Errno::EOPNOTSUPP);
            }
            setattr_allowed(attr, caller, set)
        })
    }

    /// Cuts off or lets grow a file that the caller has opened for writing: `ftruncate`. Whether he
    /// may write it was asked then.
    pub fn resize_opened(&self, ino: Ino, size_bytes: u64) -> Result<Attr, Errno> {
        self.change(ino, |attr, caller| {
            let mode = mode_after_write(attr, caller);
            Ok(SetAttr { size_bytes: Some(size_bytes), mode, ..Default::default() })
        })
    }

    /// Makes the change that `decide` comes to when it sees the attributes.
    pub(super) fn change(
        &self,
        ino: Ino,
        decide: impl Fn(&Attr, &Caller<'_>) -> Result<SetAttr, Errno>,
    ) -> Result<Attr, Errno> {
        let now = self.volume.now();
        self.volume.mutate(|txn| {
            let mut inode = txn.inode(ino)?;
            let set = decide(&Attr::of(&inode), self.caller)?;
            txn.touch(ino);
            if let Some(size) = set.size_bytes {
                super::data::resize(txn, &mut inode, size, now)?;
            }
            let raw = &mut inode.raw;
            if let Some(mode) = set.mode {
                raw.mode = (raw.mode.get() & !0o7777 | mode & 0o7777).into();
            }
            if let Some(uid) = set.uid {
                raw.uid = uid.into();
            }
            if let Some(gid) = set.gid {
                raw.gid = gid.into();
            }
            if let Some(atime) = set.atime {
                raw.atime = atime.ns(now).into();
            }
            if let Some(mtime) = set.mtime {
                raw.mtime = mtime.ns(now).into();
            }
            raw.ctime = now.into();
            if set.mode.is_some() {
                super::acl::follow_mode(txn, &mut inode)?;
            }
            txn.put_inode(&inode)?;
            if set.size_bytes.is_some() {
                txn.note(Note::Modify(ino));
            }
            if set != (SetAttr { size_bytes: set.size_bytes, ..Default::default() }) {
                txn.note(Note::Attrib(ino, inode.kind));
            }
            Ok(Attr::of(&inode))
        })
    }
}

impl<S: Store> Volume<S> {
    /// What `stat` shows of an inode; `ENOENT` when there is none of that number.
    pub fn getattr(&self, ino: Ino) -> Result<Attr, Errno> {
        self.stable(ino, |core| Ok(Attr::of(&core.read_inode(ino)?)))
    }

    /// What `statfs` shows of the volume.
    pub fn statfs(&self) -> Result<StatFs, Errno> {
        let image = &self.core.image;
        let store = image.store();
        let room = usable_blocks(&largest(image));
        let free = u64::from(store.load(rt::FREE_BLOCKS))
            + u64::from(store.load(rt::QUARANTINE_COUNT))
            + u64::from(room - usable_blocks(&image.geometry()));
        Ok(StatFs {
            block_size_bytes: BLOCK_SIZE as u32,
            blocks: u64::from(room),
            free_blocks: free,
            used_inodes: u64::from(store.load(rt::USED_INODES)),
            free_inodes: free * u64::from(INODES_PER_BLOCK),
            name_max: NAME_MAX as u32,
        })
    }
}
