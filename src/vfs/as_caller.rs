//! A volume as one caller sees it. What needs permission, or depends on who does it, is done here; the
//! volume's own operations are those of a trusted caller.

use super::access::{self, Access, Caller};
use super::rename::RenameFlags;
use super::types::{Attr, Ino, NewInode, SetAttr};
use super::{AllocateMode, Purpose, Volume, WalkOptions};
use crate::errno::Errno;
use crate::format::FileKind;
use crate::store::Store;
use crate::store::runtime as rt;

/// The operations on a volume on a caller's behalf.
///
/// Checks are made as Linux makes them, at the same operations: what it checks when a file is opened
/// is asked with [`AsCaller::access`] by those who open, and not asked again when they read or write.
pub struct AsCaller<'a, S: Store> {
    pub(super) volume: &'a Volume<S>,
    pub(super) caller: &'a Caller<'a>,
}

impl<S: Store> AsCaller<'_, S> {
    /// Whether the caller may do this with an inode: `EACCES`, or `EROFS` for writing to a volume that
    /// is only read.
    pub fn access(&self, ino: Ino, access: Access) -> Result<Attr, Errno> {
        let attr = self.volume.getattr(ino)?;
        let read_only = self.volume.core.image.store().load(rt::READ_ONLY) != 0;
        // Devices, pipes and sockets are written elsewhere.
        let here = matches!(attr.kind, FileKind::Regular | FileKind::Directory | FileKind::Symlink);
        if access.contains(Access::WRITE) && read_only && here {
            return Err(Errno::EROFS);
        }
        access::allowed(&attr, self.caller, access)?;
        Ok(attr)
    }

    /// As `Volume::write`, which costs a file its set-ID bits unless root does it. They fall first, as on
    /// Linux, even when there is no space for the bytes then: at no moment may foreign bytes have them.
    pub fn write(&self, ino: Ino, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        if !bytes.is_empty() {
            self.drop_set_id(ino)?;
        }
        self.volume.write(ino, offset, bytes)
    }

    /// As `Volume::append`, which costs a file its set-ID bits as `write` does.
    pub fn append(&self, ino: Ino, bytes: &[u8]) -> Result<(u64, usize), Errno> {
        if !bytes.is_empty() {
            self.drop_set_id(ino)?;
        }
        self.volume.append(ino, bytes)
    }

    /// As `Volume::allocate`, which costs a file its set-ID bits as `write` does.
    pub fn allocate(&self, ino: Ino, mode: AllocateMode, offset: u64, len: u64) -> Result<(), Errno> {
        self.drop_set_id(ino)?;
        self.volume.allocate(ino, mode, offset, len)
    }

    /// Takes the set-ID bits from a file that is about to be written by anyone but root.
    pub fn drop_set_id(&self, ino: Ino) -> Result<(), Errno> {
        let has_any = |attr: &Attr| access::mode_after_write(attr, self.caller).is_some();
        if !self.caller.checked || !has_any(&self.volume.getattr(ino)?) {
            return Ok(());
        }
        self.change(ino, |attr, caller| {
            Ok(SetAttr { mode: access::mode_after_write(attr, caller), ..Default::default() })
        })
        .map(drop)
    }
}

impl<S: Store> Volume<S> {
    /// The operations on a caller's behalf.
    pub fn as_caller<'a>(&'a self, caller: &'a Caller<'a>) -> AsCaller<'a, S> {
        AsCaller { volume: self, caller }
    }

    fn trusted(&self) -> AsCaller<'_, S> {
        self.as_caller(&Caller::TRUSTED)
    }

    /// What `name` stands for in a directory. "." and ".." are understood.
    pub fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Attr, Errno> {
        self.trusted().lookup(dir, name)
    }

    /// Changes attributes; gives what they are then.
    pub fn setattr(&self, ino: Ino, set: &SetAttr) -> Result<Attr, Errno> {
        self.trusted().setattr(ino, set)
    }

    /// Creates an inode of any kind but a symlink under a new name. In a set-group-ID directory it gets
    /// the directory's group, and a directory the bit.
    pub fn create(&self, dir: Ino, name: &[u8], new: &NewInode) -> Result<Attr, Errno> {
        self.trusted().create(dir, name, new)
    }

    /// Creates a regular file without a name in `dir`'s place, as `O_TMPFILE` does. This process holds
    /// it once: `forget` frees it, and so does a mount after a crash, unless `link` has given it a name.
    pub fn create_unnamed(&self, dir: Ino, new: &NewInode) -> Result<Attr, Errno> {
        self.trusted().create_unnamed(dir, new)
    }

    /// Makes a symbolic link. The target is 1 to 4,095 bytes without NUL and is not looked at.
    pub fn symlink(
        &self,
        dir: Ino,
        name: &[u8],
        target: &[u8],
        uid: u32,
        gid: u32,
    ) -> Result<Attr, Errno> {
        let caller = Caller { uid, gid, ..Caller::TRUSTED };
        self.as_caller(&caller).symlink(dir, name, target)
    }

    /// Gives an inode that is not a directory one more name. One that has lost its last name gets none
    /// again (`ENOENT`); one that `create_unnamed` made here gets its first.
    pub fn link(&self, ino: Ino, dir: Ino, name: &[u8]) -> Result<Attr, Errno> {
        self.trusted().link(ino, dir, name)
    }

    /// Takes a name of anything but a directory away.
    pub fn unlink(&self, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        self.trusted().unlink(dir, name)
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, dir: Ino, name: &[u8]) -> Result<(), Errno> {
        self.trusted().rmdir(dir, name)
    }

    /// Moves a name; what the new name stood for is replaced, at once and as a whole.
    pub fn rename(
        &self,
        from_dir: Ino,
        from: &[u8],
        to_dir: Ino,
        to: &[u8],
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        self.trusted().rename(from_dir, from, to_dir, to, flags)
    }

    /// What a path leads to; see [`AsCaller::walk`].
    pub fn walk(&self, start: Ino, root: Ino, path: &[u8], options: WalkOptions) -> Result<Attr, Errno> {
        self.trusted().walk(start, root, path, options)
    }

    /// Where the last name of a path lies; see [`AsCaller::walk_parent`].
    pub fn walk_parent(
        &self,
        start: Ino,
        root: Ino,
        path: &[u8],
        purpose: Purpose,
    ) -> Result<(Ino, Vec<u8>), Errno> {
        self.trusted().walk_parent(start, root, path, purpose)
    }

    /// Renames from path to path; see [`AsCaller::rename_paths`].
    pub fn rename_paths(
        &self,
        from: (Ino, &[u8]),
        to: (Ino, &[u8]),
        root: Ino,
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        self.trusted().rename_paths(from, to, root, flags)
    }
}
