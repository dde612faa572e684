//! Hard links and symbolic links.

use super::access::{Access, Caller};
use super::attr::modified;
use super::names::{check_name, directory};
use super::types::{Attr, Ino, NewInode};
use super::{AsCaller, Volume};
use crate::core::{DirEntry, Note};
use crate::errno::Errno;
use crate::format::{
    BLOCK_SIZE, BlockKind, FileKind, HEADER_SIZE_BYTES, SYMLINK_HEAD, SYMLINK_INLINE_MAX, SYMLINK_MAX,
    check_header,
};
use crate::store::Store;

/// As on ext4: far more than anyone has, and the counter never wraps.
const LINKS_MAX: u32 = 65_000;

impl<S: Store> AsCaller<'_, S> {
    /// Gives an inode that is not a directory one more name. One that has lost its last name gets none
    /// again (`ENOENT`); one that `create_unnamed` made here gets its first.
    pub fn link(&self, ino: Ino, dir: Ino, name: &[u8]) -> Result<Attr, Errno> {
        if name == b"." || name == b".." {
            return Err(Errno::EEXIST);
        }
        check_name(name)?;
        let now = self.volume.now();
        let unnamed = self.volume.holds_unnamed(ino);
        let attr = self.volume.mutate(|txn| {
            let mut parent = directory(txn, self.caller, dir)?;
            let mut inode = txn.inode(ino)?;
            if txn.dir_lookup(&parent, name)?.is_some() {
                return Err(Errno::EEXIST.into());
            }
            self.caller.may(&parent, Access::WRITE)?;
            if inode.kind == FileKind::Directory {
                return Err(Errno::EPERM.into());
            }
            let links = inode.raw.nlink.get();
            match links {
                0 if unnamed => txn.set_orphan(ino, false)?,
                0 => return Err(Errno::ENOENT.into()),
                LINKS_MAX.. => return Err(Errno::EMLINK.into()),
                _ => {}
            }
            inode.raw.nlink = (links + 1).into();
            inode.raw.ctime = now.into();
            txn.put_inode(&inode)?;
            txn.dir_insert(&mut parent, name, DirEntry { inode: ino, kind: inode.kind })?;
            modified(&mut parent, now);
            txn.put_inode(&parent)?;
            txn.note(Note::Create((dir, name), DirEntry { inode: ino, kind: inode.kind }));
            txn.note(Note::Links(ino, inode.kind));
            Ok(Attr::of(&inode))
        })?;
        if unnamed {
            self.volume.named(ino);
        }
        Ok(attr)
    }

    /// Makes a symbolic link that is the caller's. The target is 1 to 4,095 bytes without NUL and is
    /// not looked at.
    pub fn symlink(&self, dir: Ino, name: &[u8], target: &[u8]) -> Result<Attr, Errno> {
        match target {
            b"" => return Err(Errno::ENOENT),
            _ if target.len() > SYMLINK_MAX => return Err(Errno::ENAMETOOLONG),
            _ if target.contains(&0) => return Err(Errno::EINVAL),
            _ => {}
        }
        let Caller { uid, gid, .. } = *self.caller;
        let new = NewInode { kind: FileKind::Symlink, permissions: 0o777, uid, gid, rdev: 0 };
        self.enter_new(dir, name, &new, |txn, inode| {
            inode.raw.size = (target.len() as u64).into();
            if target.len() <= SYMLINK_INLINE_MAX {
                inode.raw.root[..target.len()].copy_from_slice(target);
                return Ok(());
            }
            let (head, tail) = target.split_at(SYMLINK_HEAD);
            let block = txn.allocate_block(0, BlockKind::Symlink, inode.number)?;
            let bytes = txn.edit(block, 24, BLOCK_SIZE);
            let len = u32::try_from(tail.len()).map_err(|_| Errno::ENAMETOOLONG)?;
            bytes[24..28].copy_from_slice(&len.to_le_bytes());
            bytes[HEADER_SIZE_BYTES..HEADER_SIZE_BYTES + tail.len()].copy_from_slice(tail);
            inode.raw.root[..4].copy_from_slice(&block.to_le_bytes());
            inode.raw.root[8..8 + SYMLINK_HEAD].copy_from_slice(head);
            inode.raw.blocks = 1.into();
            Ok(())
        })
    }
}

impl<S: Store> Volume<S> {
    /// The target of a symbolic link.
    pub fn readlink(&self, ino: Ino) -> Result<Vec<u8>, Errno> {
        self.stable(ino, |core| {
            let inode = core.read_inode(ino)?;
            if inode.kind != FileKind::Symlink {
                return Err(Errno::EINVAL.into());
            }
            let len = usize::try_from(inode.raw.size.get()).map_err(|_| Errno::EIO)?;
            if len <= SYMLINK_INLINE_MAX {
                return Ok(inode.raw.root[..len].to_vec());
            }
            let block = inode.symlink_block();
            let mut bytes = [0; BLOCK_SIZE];
            core.image.read(block, 0, &mut bytes);
            check_header(&bytes, BlockKind::Symlink, block, ino)?;
            let mut target = inode.raw.root[8..8 + SYMLINK_HEAD].to_vec();
            target.extend(&bytes[HEADER_SIZE_BYTES..HEADER_SIZE_BYTES + len - SYMLINK_HEAD]);
            Ok(target)
        })
    }
}
