//! Rename, with POSIX's rules and Linux's flags.

use super::AsCaller;
use super::access::{Access, Caller};
use super::attr::modified;
use super::create::new_inode;
use super::names::{check_name, directory, drop_name};
use super::types::{Ino, NewInode};
use crate::core::{self, DirEntry, Note, Txn};
use crate::errno::Errno;
use crate::format::{FileKind, INO_ROOT, Inode};
use crate::store::Store;
use bitflags::bitflags;

/// No tree is deeper than it has directories; this bounds the walk to the root in a damaged one.
const DEPTH_MAX: u32 = 1 << 20;

bitflags! {
    /// Linux's flags of `renameat2`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RenameFlags: u32 {
        /// Fail with `EEXIST` instead of replacing.
        const NOREPLACE = 1;
        /// Let both names change places.
        const EXCHANGE = 2;
        /// Leave a whiteout, a character device 0:0, under the old name.
        const WHITEOUT = 4;
    }
}

impl RenameFlags {
    /// `EINVAL` for a combination that makes no sense.
    pub(super) fn check(self) -> Result<(), Errno> {
        let alone = !self.intersects(Self::NOREPLACE | Self::WHITEOUT);
        let known = Self::all().contains(self);
        if known && (alone || !self.contains(Self::EXCHANGE)) { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

/// One of the two names.
#[derive(Clone, Copy)]
struct Side<'a> {
    dir: Ino,
    name: &'a [u8],
}

impl<S: Store> AsCaller<'_, S> {
    /// Moves a name; what the new name stood for is replaced, at once and as a whole.
    ///
    /// A caller who is checked may remove both names and, to give a directory another parent, write
    /// the directory itself: its ".." changes.
    pub fn rename(
        &self,
        from_dir: Ino,
        from: &[u8],
        to_dir: Ino,
        to: &[u8],
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        flags.check()?;
        let noreplace = flags.contains(RenameFlags::NOREPLACE);
        for (name, errno) in
            [(from, Errno::EBUSY), (to, if noreplace { Errno::EEXIST } else { Errno::EBUSY })]
        {
            if name == b"." || name == b".." {
                return Err(errno);
            }
        }
        check_name(from)?;
        let now = self.volume.now();
        let (from, to) = (Side { dir: from_dir, name: from }, Side { dir: to_dir, name: to });
        let names = [(from.dir, from.name), (to.dir, to.name)];
        self.volume.mutate_names(names, |txn| rename(txn, self.caller, from, to, flags, now))
    }
}

fn rename<S: Store>(
    txn: &mut Txn<'_, S>,
    caller: &Caller<'_>,
    from: Side<'_>,
    to: Side<'_>,
    flags: RenameFlags,
    now: i64,
) -> core::Result<()> {
    let (from_dir, to_dir) = (directory(txn, caller, from.dir)?, directory(txn, caller, to.dir)?);
    let moved = txn.dir_lookup(&from_dir, from.name)?.ok_or(Errno::ENOENT)?;
    check_name(to.name)?;
    let replaced = txn.dir_lookup(&to_dir, to.name)?;
    let exchange = flags.contains(RenameFlags::EXCHANGE);
    if replaced.is_some() && flags.contains(RenameFlags::NOREPLACE) {
        return Err(Errno::EEXIST.into());
    }
    if replaced.is_none() && exchange {
        return Err(Errno::ENOENT.into());
    }
    if moved.kind == FileKind::Directory {
        refuse_below(txn, moved.inode, to.dir, Errno::EINVAL)?;
    }
    if let Some(replaced) = replaced {
        if replaced.kind == FileKind::Directory {
            let errno = if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY };
            refuse_below(txn, replaced.inode, from.dir, errno)?;
        }
        if moved.inode == replaced.inode {
            return Ok(());
        }
    }
    permit(txn, caller, (&from_dir, moved), (&to_dir, replaced), exchange)?;
    txn.note(Note::Rename {
        from: (from.dir, from.name),
        to: (to.dir, to.name),
        moved,
        replaced,
        exchange,
    });
    let Some(replaced) = replaced else {
        enter(txn, to, moved, now)?;
        leave(txn, caller, from, flags, now)?;
        return settle(txn, moved, from.dir, to.dir, now);
    };
    if exchange {
        replace(txn, to, moved, now)?;
        replace(txn, from, replaced, now)?;
        settle(txn, moved, from.dir, to.dir, now)?;
        return settle(txn, replaced, to.dir, from.dir, now);
    }
    if replaced.kind == FileKind::Directory && txn.inode(replaced.inode)?.raw.size.get() != 0 {
        return Err(Errno::ENOTEMPTY.into());
    }
    replace(txn, to, moved, now)?;
    leave(txn, caller, from, flags, now)?;
    if replaced.kind == FileKind::Directory {
        add_links(txn, to.dir, -1)?;
    }
    drop_name(txn, replaced.inode, now)?;
    settle(txn, moved, from.dir, to.dir, now)
}

/// Whether the caller may do it, and the kinds fit, in Linux's order.
fn permit<S: Store>(
    txn: &Txn<'_, S>,
    caller: &Caller<'_>,
    (from_dir, moved): (&Inode, DirEntry),
    (to_dir, replaced): (&Inode, Option<DirEntry>),
    exchange: bool,
) -> core::Result<()> {
    caller.may_remove(from_dir, &txn.inode(moved.inode)?)?;
    match replaced {
        None => caller.may(to_dir, Access::WRITE)?,
        Some(replaced) => caller.may_remove(to_dir, &txn.inode(replaced.inode)?)?,
    }
    match replaced.map(|replaced| (moved.kind, replaced.kind)) {
        _ if exchange => {}
        None | Some((FileKind::Directory, FileKind::Directory)) => {}
        Some((FileKind::Directory, _)) => return Err(Errno::ENOTDIR.into()),
        Some((_, FileKind::Directory)) => return Err(Errno::EISDIR.into()),
        Some(_) => {}
    }
    let returns = replaced.filter(|_| exchange);
    for entry in [Some(moved), returns].into_iter().flatten() {
        if entry.kind == FileKind::Directory && from_dir.number != to_dir.number {
            caller.may(&txn.inode(entry.inode)?, Access::WRITE)?;
        }
    }
    Ok(())
}

/// Gives `errno` when `dir` is `ancestor` or lies below it.
fn refuse_below<S: Store>(
    txn: &Txn<'_, S>,
    ancestor: Ino,
    mut dir: Ino,
    errno: Errno,
) -> core::Result<()> {
    for _ in 0..DEPTH_MAX {
        if dir == ancestor {
            return Err(errno.into());
        }
        if dir == INO_ROOT {
            return Ok(());
        }
        dir = directory(txn, &Caller::TRUSTED, dir)?.dir_root().parent.get();
    }
    Err(Errno::EIO.into())
}

fn enter<S: Store>(txn: &mut Txn<'_, S>, side: Side<'_>, entry: DirEntry, now: i64) -> core::Result<()> {
    let mut dir = txn.inode(side.dir)?;
    txn.dir_insert(&mut dir, side.name, entry)?;
    modified(&mut dir, now);
    txn.put_inode(&dir)
}

fn replace<S: Store>(
    txn: &mut Txn<'_, S>,
    side: Side<'_>,
    entry: DirEntry,
    now: i64,
) -> core::Result<()> {
    let mut dir = txn.inode(side.dir)?;
    txn.dir_replace(&dir, side.name, entry)?;
    modified(&mut dir, now);
    txn.put_inode(&dir)
}

fn take_out<S: Store>(txn: &mut Txn<'_, S>, side: Side<'_>, now: i64) -> core::Result<()> {
    let mut dir = txn.inode(side.dir)?;
    txn.dir_remove(&mut dir, side.name)?;
    modified(&mut dir, now);
    txn.put_inode(&dir)
}

/// Takes the old name out, or leaves a whiteout under it.
fn leave<S: Store>(
    txn: &mut Txn<'_, S>,
    caller: &Caller<'_>,
    from: Side<'_>,
    flags: RenameFlags,
    now: i64,
) -> core::Result<()> {
    if !flags.contains(RenameFlags::WHITEOUT) {
        return take_out(txn, from, now);
    }
    let (kind, Caller { uid, gid, .. }) = (FileKind::Character, *caller);
    let new = NewInode { kind, permissions: 0, uid, gid, rdev: 0 };
    let dir = txn.inode(from.dir)?;
    let whiteout = new_inode(txn, caller, &dir, &new, now)?;
    txn.put_inode(&whiteout)?;
    txn.note(Note::Create((from.dir, from.name), DirEntry { inode: whiteout.number, kind }));
    replace(txn, from, DirEntry { inode: whiteout.number, kind }, now)
}

fn add_links<S: Store>(txn: &mut Txn<'_, S>, dir: Ino, delta: i32) -> core::Result<()> {
    let mut inode = txn.inode(dir)?;
    inode.raw.nlink = inode.raw.nlink.get().saturating_add_signed(delta).into();
    txn.put_inode(&inode)
}

/// Notes the new place of a moved inode.
fn settle<S: Store>(
    txn: &mut Txn<'_, S>,
    moved: DirEntry,
    from_dir: Ino,
    to_dir: Ino,
    now: i64,
) -> core::Result<()> {
    let mut inode = txn.inode(moved.inode)?;
    inode.raw.ctime = now.into();
    if moved.kind == FileKind::Directory && from_dir != to_dir {
        let mut root = inode.dir_root();
        root.parent = to_dir.into();
        inode.set_dir_root(&root);
        txn.put_inode(&inode)?;
        add_links(txn, from_dir, -1)?;
        return add_links(txn, to_dir, 1);
    }
    txn.put_inode(&inode)
}
