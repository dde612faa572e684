//! Names that lead nowhere, names that cannot be found, and inodes without any.

use super::apply;
use crate::core::{Core, DirEntry, DirView, Result, Txn};
use crate::errno::Errno;
use crate::format::dirent::{name_allowed, records, set_inode};
use crate::format::{FileKind, INO_ROOT, Inode, RawDirRoot};
use crate::store::Store;
use zerocopy::little_endian::U32;

/// Where inodes without a name get one.
const LOST_AND_FOUND: &[u8] = b"lost+found";
/// How many names are tried for one of them.
const TRIES: u32 = 100;

/// A directory's name for an inode that `wanted` accepts.
fn name_for<S: Store>(
    txn: &Txn<'_, S>,
    directory: &Inode,
    inode: u32,
    wanted: impl Fn(FileKind) -> bool,
) -> Result<Vec<u8>> {
    let mut found = None;
    let key = txn.core().superblock.hash_key;
    DirView::new(txn, directory, &key).walk(&mut |block, leaf, bytes| {
        if !leaf || found.is_some() {
            return Ok(());
        }
        for record in records(&bytes[..], directory.number, block) {
            let record = record?;
            if record.inode == inode && wanted(record.kind) {
                found = Some(record.name.to_vec());
                break;
            }
        }
        Ok(())
    })?;
    found.ok_or_else(|| Errno::ENOENT.into())
}

fn shown(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

/// Takes one name that leads to `inode` out of a directory.
pub(super) fn remove<S: Store>(core: &Core<S>, directory: u32, inode: u32) -> Result<String> {
    apply(core, |txn| {
        let mut dir = txn.inode(directory)?;
        let name = name_for(txn, &dir, inode, |_| true)?;
        txn.dir_remove(&mut dir, &name)?;
        txn.put_inode(&dir)?;
        Ok(format!("the name {} is removed", shown(&name)))
    })
}

/// Sets the kind in one name of an inode that has another one.
pub(super) fn set_kind<S: Store>(
    core: &Core<S>,
    directory: u32,
    inode: u32,
    kind: FileKind,
) -> Result<String> {
    apply(core, |txn| {
        let dir = txn.inode(directory)?;
        let name = name_for(txn, &dir, inode, |says| says != kind)?;
        txn.dir_replace(&dir, &name, DirEntry { inode, kind })?;
        Ok(format!("the name {} says so now", shown(&name)))
    })
}

/// Takes a record that cannot be found out of its leaf and enters its name again.
pub(super) fn enter_again<S: Store>(
    core: &Core<S>,
    directory: u32,
    leaf: u32,
    at: u16,
) -> Result<String> {
    apply(core, |txn| {
        let mut dir = txn.inode(directory)?;
        txn.touch(directory);
        let bytes = Box::new(*txn.load(leaf));
        let mut found = None;
        let mut count = 0_u32;
        for record in records(&bytes[..], directory, leaf) {
            let record = record?;
            count += u32::from(record.inode != 0);
            if record.at == usize::from(at) && record.inode != 0 {
                found = Some(record);
            }
        }
        let record = found.ok_or(Errno::ENOENT)?;
        // Where it is a leaf's only name, the tree above may be what is wrong. And of two equal names
        // nobody knows which one is meant.
        if count < 2 || !name_allowed(record.name) || txn.dir_lookup(&dir, record.name)?.is_some() {
            return Err(Errno::EINVAL.into());
        }
        let edited = txn.edit(leaf, record.at + 8, record.at + 16);
        set_inode(&mut edited[..], record.at, 0, FileKind::Regular);
        txn.edit(leaf, 24, 28)[24..28].copy_from_slice(&(count - 1).to_le_bytes());
        dir.raw.size = dir.raw.size.get().saturating_sub(1).into();
        let entry = DirEntry { inode: record.inode, kind: record.kind };
        txn.dir_insert(&mut dir, record.name, entry)?;
        txn.put_inode(&dir)?;
        Ok(format!("the name {} is entered again", shown(record.name)))
    })
}

/// Gives an inode without a name one in `lost+found`.
pub(super) fn keep<S: Store>(core: &Core<S>, ino: u32, now_ns: i64) -> Result<String> {
    apply(core, |txn| {
        let mut lost = lost_and_found(txn, now_ns)?;
        let mut inode = txn.inode(ino)?;
        let mut name = format!("#{ino}");
        for number in 1.. {
            if txn.dir_lookup(&lost, name.as_bytes())?.is_none() {
                break;
            }
            if number > TRIES {
                return Err(Errno::EEXIST.into());
            }
            name = format!("#{ino}.{number}");
        }
        let directory = inode.kind == FileKind::Directory;
        if directory {
            let mut root = inode.dir_root();
            root.parent = U32::new(lost.number);
            inode.set_dir_root(&root);
            lost.raw.nlink = lost.raw.nlink.get().saturating_add(1).into();
        } else {
            inode.raw.nlink = U32::new(1);
        }
        txn.put_inode(&inode)?;
        txn.dir_insert(&mut lost, name.as_bytes(), DirEntry { inode: ino, kind: inode.kind })?;
        txn.put_inode(&lost)?;
        Ok(format!("it is /{}/{name} now", shown(LOST_AND_FOUND)))
    })
}

/// The directory `lost+found` in the root, which is made if it is not there.
fn lost_and_found<S: Store>(txn: &mut Txn<'_, S>, now_ns: i64) -> Result<Inode> {
    let mut root = txn.inode(INO_ROOT)?;
    if let Some(entry) = txn.dir_lookup(&root, LOST_AND_FOUND)? {
        let inode = txn.inode(entry.inode)?;
        return match inode.kind {
            FileKind::Directory => Ok(inode),
            _ => Err(Errno::ENOTDIR.into()),
        };
    }
    let (number, mut raw) = txn.allocate_inode()?;
    raw.mode = (FileKind::Directory.mode_bits() | 0o700).into();
    raw.nlink = U32::new(2);
    for time in [&mut raw.atime, &mut raw.mtime, &mut raw.ctime, &mut raw.btime] {
        *time = now_ns.into();
    }
    let mut inode = Inode { number, kind: FileKind::Directory, raw };
    inode.set_dir_root(&RawDirRoot { parent: U32::new(INO_ROOT), ..Default::default() });
    txn.put_inode(&inode)?;
    let entry = DirEntry { inode: number, kind: FileKind::Directory };
    txn.dir_insert(&mut root, LOST_AND_FOUND, entry)?;
    root.raw.nlink = root.raw.nlink.get().saturating_add(1).into();
    txn.put_inode(&root)?;
    Ok(inode)
}
