//! What several requests have in common: making inodes, and what depends on who asks.

use super::{Front, Permissions, groups_of, ino_of};
use crate::errno::Errno;
use crate::format::FileKind;
use crate::store::Store;
use crate::vfs::{Access, Attr, Caller, Ino, NewInode, SetAttr, xattr_allowed};
use fuser::{INodeNo, Request};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// In the flags of an open: the file is to be executed.
const OPEN_EXEC: i32 = 0x20;

impl<S: Store> Front<S> {
    pub(super) fn make(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
    ) -> Result<Attr, Errno> {
        let kind = FileKind::from_mode(mode).ok_or(Errno::EINVAL)?;
        let (uid, gid) = (request.uid(), request.gid());
        let dir = ino_of(parent)?;
        // Which the kernel leaves to us, as a default list takes its place.
        let umask = if self.volume.has_default_acl(dir)? { 0 } else { umask };
        let permissions = mode & 0o7777 & !umask;
        let new = NewInode { kind, permissions, uid, gid, rdev: u64::from(rdev) };
        self.with_caller(request, |caller| {
            self.volume.as_caller(caller).create(dir, name.as_bytes(), &new)
        })
    }

    /// What the kernel asks when it does not check permissions itself.
    pub(super) fn may(&self, request: &Request, ino: Ino, access: Access) -> Result<(), Errno> {
        if self.permissions == Permissions::Kernel {
            return Ok(());
        }
        self.with_caller(request, |caller| self.volume.as_caller(caller).access(ino, access).map(drop))
    }

    pub(super) fn may_xattr(
        &self,
        request: &Request,
        ino: Ino,
        name: &OsStr,
        write: bool,
    ) -> Result<(), Errno> {
        // The kernel has judged those that are for the privileged. With some it means its own housekeeping:
        // a file that is written to loses its capabilities, whoever writes.
        let judged =
            name.as_bytes().starts_with(b"security.") || name.as_bytes().starts_with(b"trusted.");
        if judged || self.permissions == Permissions::Kernel {
            return Ok(());
        }
        let attr = self.volume.getattr(ino)?;
        self.with_caller(request, |caller| xattr_allowed(&attr, caller, name.as_bytes(), write))
    }

    pub(super) fn set_acl(
        &self,
        request: &Request,
        ino: Ino,
        name: &OsStr,
        value: &[u8],
    ) -> Result<(), Errno> {
        let gid = self.volume.getattr(ino)?.gid;
        let groups = if request.uid() == 0 { Vec::new() } else { groups_of(request.pid()) };
        let keep = request.uid() == 0 || request.gid() == gid || groups.contains(&gid);
        self.volume.set_acl(ino, name.as_bytes(), value, keep)
    }

    pub(super) fn change(
        &self,
        caller: &Caller<'_>,
        ino: Ino,
        mut set: SetAttr,
        opened: bool,
    ) -> Result<Attr, Errno> {
        let volume = self.volume.as_caller(caller);
        if opened && let Some(size_bytes) = set.size_bytes.take() {
            let attr = volume.resize_opened(ino, size_bytes)?;
            if set == SetAttr::default() {
                return Ok(attr);
            }
        }
        volume.setattr(ino, &set)
    }
}

pub(super) fn is_acl(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"system.posix_acl_")
}

pub(super) fn open_access(flags: i32) -> Access {
    let mut access = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => Access::READ,
        libc::O_WRONLY => Access::WRITE,
        _ => Access::READ | Access::WRITE,
    };
    if flags & OPEN_EXEC != 0 {
        access = Access::EXEC;
    }
    access
}
