//! Making inodes: with a name, without one, and as the leavings of a rename.

use super::access::{Access, Caller, S_ISGID, S_ISVTX};
use super::attr::modified;
use super::names::{check_name, directory};
use super::types::{Attr, Ino, NewInode};
use super::{AsCaller, acl, hold};
use crate::core::{self, DirEntry, Note, Txn};
use crate::errno::Errno;
use crate::format::{FileKind, Inode, RawDirRoot};
use crate::store::Store;
use zerocopy::little_endian::U32;

/// Group-executable and set-group-ID: what a program that runs with its group's rights has.
const SGID_PROGRAM: u32 = 0o2010;

/// Takes a free inode and completes all of it but a symlink's target. The caller puts it back.
///
/// A directory with set-group-ID hands on its group, and the bit to directories. A program that would
/// run with that group's rights loses the bit unless the caller has them.
pub(super) fn new_inode<S: Store>(
    txn: &mut Txn<'_, S>,
    caller: &Caller<'_>,
    parent: &Inode,
    new: &NewInode,
    now: i64,
) -> core::Result<Inode> {
    let (mut uid, mut gid, mut permissions) = (new.uid, new.gid, new.permissions & 0o7777);
    let is_directory = new.kind == FileKind::Directory;
    if caller.checked {
        (uid, gid) = (caller.uid, caller.gid);
        if is_directory {
            permissions &= 0o777 | S_ISVTX;
        }
    }
    if parent.raw.mode.get() & S_ISGID != 0 {
        gid = parent.raw.gid.get();
        if is_directory {
            permissions |= S_ISGID;
        } else if permissions & SGID_PROGRAM == SGID_PROGRAM && !caller.may_set_gid(gid) {
            permissions &= !S_ISGID;
        }
    }
    let (number, mut raw) = txn.allocate_inode()?;
    raw.mode = (new.kind.mode_bits() | permissions).into();
    raw.nlink = (1 + u32::from(is_directory)).into();
    raw.uid = uid.into();
    raw.gid = gid.into();
    for time in [&mut raw.atime, &mut raw.mtime, &mut raw.ctime, &mut raw.btime] {
        *time = now.into();
    }
    let mut inode = Inode { number, kind: new.kind, raw };
    match new.kind {
        FileKind::Directory => {
            let root = RawDirRoot { parent: U32::new(parent.number), ..Default::default() };
            inode.set_dir_root(&root);
        }
        FileKind::Regular => inode.set_inline(true),
        FileKind::Character | FileKind::Block => {
            inode.raw.root[..8].copy_from_slice(&new.rdev.to_le_bytes());
        }
        _ => {}
    }
    Ok(inode)
}

impl<S: Store> AsCaller<'_, S> {
    /// Creates an inode of any kind but a symlink under a new name.
    ///
    /// A caller who is checked owns it, and makes devices only as root (`EPERM`), whiteouts excepted.
    /// Set-ID bits of a directory come from its parent alone.
    pub fn create(&self, dir: Ino, name: &[u8], new: &NewInode) -> Result<Attr, Errno> {
        if new.kind == FileKind::Symlink {
            return Err(Errno::EINVAL);
        }
        self.enter_new(dir, name, new, |_, _| Ok(()))
    }

    /// Takes a free inode, lets `fill` complete it, and enters it under a new name.
    pub(super) fn enter_new(
        &self,
        dir: Ino,
        name: &[u8],
        new: &NewInode,
        mut fill: impl FnMut(&mut Txn<'_, S>, &mut Inode) -> core::Result<()>,
    ) -> Result<Attr, Errno> {
        if name == b"." || name == b".." {
            return Err(Errno::EEXIST);
        }
        check_name(name)?;
        let (now, caller) = (self.volume.now(), self.caller);
        self.volume.mutate_names([(dir, name)], |txn| {
            let mut parent = directory(txn, caller, dir)?;
            if txn.dir_lookup(&parent, name)?.is_some() {
                return Err(Errno::EEXIST.into());
            }
            caller.may(&parent, Access::WRITE)?;
            let device = matches!(new.kind, FileKind::Character | FileKind::Block);
            let whiteout = new.kind == FileKind::Character && new.rdev == 0;
            if device && !whiteout && !caller.is_root() {
                return Err(Errno::EPERM.into());
            }
            let mut inode = new_inode(txn, caller, &parent, new, now)?;
            acl::inherit(txn, &parent, &mut inode)?;
            fill(txn, &mut inode)?;
            txn.put_inode(&inode)?;
            txn.dir_insert(&mut parent, name, DirEntry { inode: inode.number, kind: inode.kind })?;
            if inode.kind == FileKind::Directory {
                // There are fewer inodes than the counter has numbers: no limit is needed.
                parent.raw.nlink = parent.raw.nlink.get().saturating_add(1).into();
            }
            modified(&mut parent, now);
            txn.put_inode(&parent)?;
            txn.note(Note::Create((dir, name), DirEntry { inode: inode.number, kind: inode.kind }));
            Ok(Attr::of(&inode))
        })
    }

    /// Creates a regular file without a name in `dir`'s place, as `O_TMPFILE` does. This process holds
    /// it once: `forget` frees it, and so does a mount after a crash, unless `link` has given it a name.
    pub fn create_unnamed(&self, dir: Ino, new: &NewInode) -> Result<Attr, Errno> {
        if new.kind != FileKind::Regular {
            return Err(Errno::EINVAL);
        }
        let (now, caller) = (self.volume.now(), self.caller);
        // Taken first, so that nobody can look for the hold before it is entered.
        let mut held = self.volume.held.lock();
        let attr = self.volume.mutate(|txn| {
            let parent = txn.inode(dir)?;
            if parent.kind != FileKind::Directory {
                return Err(Errno::ENOTDIR.into());
            }
            caller.may(&parent, Access::WRITE | Access::EXEC)?;
            let mut inode = new_inode(txn, caller, &parent, new, now)?;
            acl::inherit(txn, &parent, &mut inode)?;
            inode.raw.nlink = 0.into();
            txn.put_inode(&inode)?;
            txn.set_orphan(inode.number, true)?;
            // The last thing that can fail, because nothing takes it back.
            hold::enter(txn.core(), inode.number)?;
            Ok(Attr::of(&inode))
        })?;
        held.insert(attr.ino, hold::Hold::unnamed(attr.generation));
        Ok(attr)
    }
}
