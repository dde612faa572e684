//! Names: looking up, listing, removing.

use super::access::{Access, Caller};
use super::attr::modified;
use super::types::{Attr, Entry, Ino};
use super::{AsCaller, Volume, hold, recall};
use crate::core::{self, Core, DirView, Error, Note, Txn, stripe_seq};
use crate::errno::Errno;
use crate::format::dirent::{name_allowed, records};
use crate::format::{BLOCK_SIZE, FileKind, Inode, NAME_MAX};
use crate::store::Store;

/// How often a lookup tries again while others change the directory, before it takes the gate.
const LOOKUP_TRIES: u32 = 64;

/// Accepts a name that an entry could have.
pub(super) fn check_name(name: &[u8]) -> Result<(), Errno> {
    match name {
        _ if name.len() > NAME_MAX => Err(Errno::ENAMETOOLONG),
        b"" => Err(Errno::ENOENT),
        _ if !name_allowed(name) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// The inode of a directory that is still in the tree and that the caller may search.
pub(super) fn directory<S: Store>(
    txn: &Txn<'_, S>,
    caller: &Caller<'_>,
    dir: Ino,
) -> core::Result<Inode> {
    let inode = txn.inode(dir)?;
    if inode.kind != FileKind::Directory {
        return Err(Errno::ENOTDIR.into());
    }
    caller.may(&inode, Access::EXEC)?;
    if inode.raw.nlink.get() == 0 { Err(Errno::ENOENT.into()) } else { Ok(inode) }
}

/// A directory to read without the gate.
fn view<S: Store>(core: &Core<S>, dir: Ino) -> core::Result<(Inode, DirView<'_, core::Image<S>>)> {
    let inode = core.read_inode(dir)?;
    if inode.kind != FileKind::Directory {
        return Err(Errno::ENOTDIR.into());
    }
    let view = DirView::new(&core.image, &inode, &core.superblock.hash_key);
    Ok((inode, view))
}

/// The inode that a name stands for in a directory.
fn find<S: Store>(core: &Core<S>, dir: Ino, name: &[u8]) -> core::Result<Option<Ino>> {
    let (inode, view) = view(core, dir)?;
    Ok(match name {
        b"." => Some(dir),
        // Where a removed directory was, another inode may be by now.
        b".." if inode.raw.nlink.get() == 0 => None,
        b".." => Some(inode.dir_root().parent.get()),
        _ => view.lookup(name)?.map(|entry| entry.inode),
    })
}

/// Takes one name from an inode; frees it if that was the last one and nobody holds it.
pub(super) fn drop_name<S: Store>(txn: &mut Txn<'_, S>, ino: Ino, now_ns: i64) -> core::Result<()> {
    let mut inode = txn.inode(ino)?;
    let left = match inode.kind {
        FileKind::Directory => 0,
        _ => inode.raw.nlink.get().saturating_sub(1),
    };
    if left == 0 && !hold::is_held(txn.core(), ino) {
        return txn.release_inode(ino);
    }
    inode.raw.nlink = left.into();
    inode.raw.ctime = now_ns.into();
    txn.put_inode(&inode)?;
    txn.note(Note::Links(ino, inode.kind));
    if left == 0 {
        txn.set_orphan(ino, true)?;
    }
    Ok(())
}

impl<S: Store> Volume<S> {
    /// Hands the names of a directory to `emit`, from `cookie` on (0: from the start), until it gives
    /// false. Names that come or go meanwhile may or may not be among them; all others are, once.
    pub fn read_dir(
        &self,
        dir: Ino,
        cookie: u64,
        emit: &mut dyn FnMut(Entry) -> bool,
    ) -> Result<(), Errno> {
        let mut from = cookie;
        loop {
            let mut entries: Vec<Entry> = Vec::new();
            let next = self.stable(dir, |core| {
                entries.clear();
                view(core, dir)?.1.read_leaf(from, &mut |name, entry, hash| {
                    // Names of one hash are read again together: only the last one moves on.
                    if let Some(last) = entries.last_mut()
                        && last.cookie == hash + 1
                    {
                        last.cookie = hash;
                    }
                    entries.push(Entry {
                        name: name.to_vec(),
                        ino: entry.inode,
                        kind: entry.kind,
                        cookie: hash + 1,
                    });
                })
            })?;
            for entry in entries {
                if !emit(entry) {
                    return Ok(());
                }
            }
            match next {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }

    /// Hands all names of a directory to `emit` in no order, as bytes, inode and kind, until it gives
    /// false. As `read_dir`, but without cookies and without a copy of each name.
    pub fn list(
        &self,
        dir: Ino,
        emit: &mut dyn FnMut(&[u8], Ino, FileKind) -> bool,
    ) -> Result<(), Errno> {
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        let mut from = 0;
        loop {
            let leaf = self.stable(dir, |core| view(core, dir)?.1.copy_leaf(from, &mut bytes))?;
            let Some((block, next)) = leaf else { return Ok(()) };
            for record in records(&bytes[..], dir, block) {
                let record = record.map_err(|_| Errno::EIO)?;
                // A leaf that was split meanwhile may hold names that were handed over already.
                if record.inode == 0 || record.hash < from {
                    continue;
                }
                record.check(dir, block).map_err(|_| Errno::EIO)?;
                if !emit(record.name, record.inode, record.kind) {
                    return Ok(());
                }
            }
            match next {
                Some(next) => from = next,
                None => return Ok(()),
            }
        }
    }

    /// Number of names in a directory.
    pub fn count_names(&self, dir: Ino) -> Result<u64, Errno> {
        self.stable(dir, |core| Ok(view(core, dir)?.0.raw.size.get()))
    }

    /// The directory that holds a directory; the root holds itself.
    pub fn parent(&self, dir: Ino) -> Result<Ino, Errno> {
        self.stable(dir, |core| {
            let (inode, _) = view(core, dir)?;
            if inode.raw.nlink.get() == 0 {
                return Err(Errno::ENOENT.into());
            }
            Ok(inode.dir_root().parent.get())
        })
    }

    /// A name of `child` in `dir`.
    pub fn name_of(&self, dir: Ino, child: Ino) -> Result<Vec<u8>, Errno> {
        self.stable(dir, |core| view(core, dir)?.1.name_of(child))?.ok_or(Errno::ENOENT)
    }
}

impl<S: Store> AsCaller<'_, S> {
    /// What `name` stands for in a directory. "." and ".." are understood.
    pub fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Attr, Errno> {
        let (volume, caller) = (self.volume, self.caller);
        let search = |core: &Core<S>| caller.may(&core.read_inode(dir)?, Access::EXEC);
        if name.len() > NAME_MAX {
            volume.stable(dir, search)?;
            return Err(Errno::ENAMETOOLONG);
        }
        let (store, word) = (volume.core.image.store(), stripe_seq(dir));
        for _ in 0..LOOKUP_TRIES {
            let before = store.load(word);
            if caller.checked {
                volume.stable(dir, search)?;
            }
            let ino = match recall::name(volume.id, dir, before, name) {
                Some(ino) => ino,
                None => {
                    let (found, seq) = volume.stable_at(dir, |core| find(core, dir, name))?;
                    let ino = found.ok_or(Errno::ENOENT)?;
                    if let Some(seq) = seq {
                        recall::keep_name(volume.id, dir, seq, name, ino);
                    }
                    ino
                }
            };
            let answer = volume.getattr(ino);
            // While the directory stays as it is, its name keeps the number from going to another file.
            if store.load(word) == before {
                return answer;
            }
        }
        let _gate = volume.gate()?;
        search(&volume.core).map_err(Error::errno)?;
        let found = find(&volume.core, dir, name).map_err(Error::errno)?;
        let inode = volume.core.read_inode(found.ok_or(Errno::ENOENT)?).map_err(Error::errno)?;
        Ok(Attr::of(&inode))
    }

    /// Takes a name of anything but a directory away.
    pub fn unlink(&self, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        if name == b"." || name == b".." {
            return Err(Errno::EISDIR);
        }
        check_name(name)?;
        let now = self.volume.now();
        self.volume.mutate_names([(dir, name)], |txn| {
            let mut parent = directory(txn, self.caller, dir)?;
            let entry = txn.dir_lookup(&parent, name)?.ok_or(Errno::ENOENT)?;
            self.caller.may_remove(&parent, &txn.inode(entry.inode)?)?;
            if entry.kind == FileKind::Directory {
                return Err(Errno::EISDIR.into());
            }
            txn.dir_remove(&mut parent, name)?;
            modified(&mut parent, now);
            txn.put_inode(&parent)?;
            txn.note(Note::Delete((dir, name), entry));
            drop_name(txn, entry.inode, now)
        })
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        match name {
            b"." => return Err(Errno::EINVAL),
            b".." => return Err(Errno::ENOTEMPTY),
            _ => check_name(name)?,
        }
        let now = self.volume.now();
        self.volume.mutate_names([(dir, name)], |txn| {
            let mut parent = directory(txn, self.caller, dir)?;
            let entry = txn.dir_lookup(&parent, name)?.ok_or(Errno::ENOENT)?;
            let removed = txn.inode(entry.inode)?;
            self.caller.may_remove(&parent, &removed)?;
            if entry.kind != FileKind::Directory {
                return Err(Errno::ENOTDIR.into());
            }
            if removed.raw.size.get() != 0 {
                return Err(Errno::ENOTEMPTY.into());
            }
            txn.dir_remove(&mut parent, name)?;
            parent.raw.nlink = parent.raw.nlink.get().saturating_sub(1).into();
            modified(&mut parent, now);
            txn.put_inode(&parent)?;
            txn.note(Note::Delete((dir, name), entry));
            drop_name(txn, entry.inode, now)
        })
    }
}
