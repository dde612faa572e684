//! Who may do what: Linux's rules, as functions of an inode's attributes and nothing else.
//!
//! The operations call them inside of the transaction that makes the change, so what they saw is what
//! is changed.

use super::types::{Attr, SetAttr, TimeChange};
use crate::core;
use crate::errno::Errno;
use crate::format::{FileKind, Inode};
use bitflags::bitflags;

pub(super) const S_ISUID: u32 = 0o4000;
pub(super) const S_ISGID: u32 = 0o2000;
pub(super) const S_ISVTX: u32 = 0o1000;
const S_IXGRP: u32 = 0o010;
const ANY_EXEC: u32 = 0o111;

bitflags! {
    /// What `access` asks for; none asks only whether the inode is there.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u32 {
        /// Execute a file; search a directory.
        const EXEC = 1;
        /// Write a file; change the names of a directory.
        const WRITE = 2;
        /// Read a file; list a directory.
        const READ = 4;
    }
}

/// On whose behalf an operation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller<'a> {
    /// User; 0 has all of Linux's capabilities.
    pub uid: u32,
    /// Group that new files get.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: &'a [u32],
    /// Whether permissions are looked at. Who is not checked may do everything, and modes are set
    /// exactly as given.
    pub checked: bool,
}

impl Caller<'_> {
    /// Whoever calls the operations of a volume itself.
    pub const TRUSTED: Caller<'static> = Caller { uid: 0, gid: 0, groups: &[], checked: false };

    /// Whether nothing is refused for want of permission.
    pub(super) fn is_root(&self) -> bool {
        self.uid == 0 || !self.checked
    }

    fn is_in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }

    /// Whether set-group-ID may stand on a file of this group.
    pub(super) fn may_set_gid(&self, gid: u32) -> bool {
        self.is_root() || self.is_in_group(gid)
    }

    fn owns(&self, attr: &Attr) -> bool {
        self.is_root() || self.uid == attr.uid
    }

    /// `allowed` for an inode in hand, which costs those nothing who are not checked.
    pub(super) fn may(&self, inode: &Inode, access: Access) -> core::Result<()> {
        if self.checked {
            allowed(&Attr::of(inode), self, access)?;
        }
        Ok(())
    }

    /// `may_remove` for inodes in hand.
    pub(super) fn may_remove(&self, parent: &Inode, victim: &Inode) -> core::Result<()> {
        if self.checked {
            may_remove(&Attr::of(parent), &Attr::of(victim), self)?;
        }
        Ok(())
    }
}

/// Whether the permission bits let the caller do all of this; `EACCES` if not.
///
/// The owner has the owner's bits and no others, even where the group's would give more. Root may do
/// everything, but execute only what somebody may execute.
pub fn allowed(attr: &Attr, caller: &Caller<'_>, access: Access) -> Result<(), Errno> {
    if !caller.checked {
        return Ok(());
    }
    if caller.uid == 0 {
        let file = attr.kind != FileKind::Directory;
        let refused = file && access.contains(Access::EXEC) && attr.mode & ANY_EXEC == 0;
        return if refused { Err(Errno::EACCES) } else { Ok(()) };
    }
    let shift = match () {
        () if caller.uid == attr.uid => 6,
        () if caller.is_in_group(attr.gid) => 3,
        () => 0,
    };
    if access.bits() & !(attr.mode >> shift) == 0 { Ok(()) } else { Err(Errno::EACCES) }
}

/// Whether the caller may take a name of `victim` out of the directory `parent`: `EACCES` without
/// write and search permission there, `EPERM` where the sticky bit leaves that to the owner of either.
pub fn may_remove(parent: &Attr, victim: &Attr, caller: &Caller<'_>) -> Result<(), Errno> {
    allowed(parent, caller, Access::WRITE | Access::EXEC)?;
    if parent.mode & S_ISVTX != 0 && !caller.owns(victim) && !caller.owns(parent) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// What a change of attributes that a caller asks for comes to: refused, or with the set-ID bits that
/// it costs.
///
/// - The mode is changed by the owner (`EPERM`); set-group-ID falls when the group is not one of the
///   caller's.
/// - The owner of a file is changed by root, its group also by the owner to one of his own (`EPERM`).
///   Whoever does it, set-user-ID falls from what is not a directory, and set-group-ID where the group
///   may execute or is not one of the caller's.
/// - Both times are set to now by who may write (`EACCES`), any other change of times is the owner's
///   (`EPERM`).
/// - The size is changed by who may write (`EACCES`), which costs both set-ID bits unless it is root.
pub fn setattr_allowed(attr: &Attr, caller: &Caller<'_>, set: &SetAttr) -> Result<SetAttr, Errno> {
    let mut set = *set;
    if !caller.checked {
        return Ok(set);
    }
    let (explicit, mut fallen) = (set.mode, None);
    // Other kinds are refused for what they are, and that comes first.
    if set.size_bytes.is_some() && attr.kind == FileKind::Regular {
        allowed(attr, caller, Access::WRITE)?;
        fallen = mode_after_write(attr, caller);
    }
    if set.uid.is_some() || set.gid.is_some() {
        chown_allowed(attr, caller, &set)?;
        fallen = mode_after_chown(attr, caller).or(fallen);
    }
    set.mode = match explicit {
        None => fallen,
        Some(_) if !caller.owns(attr) => return Err(Errno::EPERM),
        Some(mode) if caller.may_set_gid(set.gid.unwrap_or(attr.gid)) => Some(mode),
        Some(mode) => Some(mode & !S_ISGID),
    };
    match (set.atime, set.mtime) {
        (None, None) => {}
        (None, Some(TimeChange::Now)) if set.size_bytes.is_some() => {}
        (Some(TimeChange::Now), Some(TimeChange::Now)) if !caller.owns(attr) => {
            allowed(attr, caller, Access::WRITE)?;
        }
        _ if caller.owns(attr) => {}
        _ => return Err(Errno::EPERM),
    }
    Ok(set)
}

/// Whether the caller may give the inode this owner and group.
fn chown_allowed(attr: &Attr, caller: &Caller<'_>, set: &SetAttr) -> Result<(), Errno> {
    let owner = caller.uid == attr.uid;
    let uid_right = set.uid.is_none_or(|uid| owner && uid == attr.uid);
    let gid_right = set.gid.is_none_or(|gid| owner && (gid == attr.gid || caller.is_in_group(gid)));
    if caller.is_root() || uid_right && gid_right { Ok(()) } else { Err(Errno::EPERM) }
}

/// The permission bits after `chown`, if they change.
fn mode_after_chown(attr: &Attr, caller: &Caller<'_>) -> Option<u32> {
    if attr.kind == FileKind::Directory {
        return None;
    }
    without_set_id(attr, caller)
}

/// The permission bits after the caller has changed the file's data, if they change.
pub(super) fn mode_after_write(attr: &Attr, caller: &Caller<'_>) -> Option<u32> {
    if caller.is_root() || attr.kind != FileKind::Regular {
        return None;
    }
    without_set_id(attr, caller)
}

/// Without set-user-ID, and without set-group-ID where the group may execute; where it may not, the
/// bit once meant mandatory locking, and only who is not of the group loses it.
fn without_set_id(attr: &Attr, caller: &Caller<'_>) -> Option<u32> {
    let mut mode = attr.mode & !S_ISUID;
    if mode & S_IXGRP != 0 || !caller.may_set_gid(attr.gid) {
        mode &= !S_ISGID;
    }
    (mode != attr.mode).then_some(mode & 0o7777)
}

/// Whether the caller may read an extended attribute, or set and remove it.
///
/// - `user.`: as the data, and only on files and directories; in a sticky directory's own attributes
///   only the owner writes.
/// - `trusted.`: root alone. Others are told `ENODATA` when they read, `EPERM` when they write; a list
///   leaves out what cannot be read.
/// - `security.`: everyone reads, root writes.
/// - `system.posix_acl_`: everyone reads, the owner writes; not on symlinks, and a default one only on
///   directories (`EACCES`).
/// - Other namespaces are not judged: the operation itself answers `EOPNOTSUPP`.
pub fn xattr_allowed(attr: &Attr, caller: &Caller<'_>, name: &[u8], write: bool) -> Result<(), Errno> {
    if !caller.checked {
        return Ok(());
    }
    let refused = if write { Errno::EPERM } else { Errno::ENODATA };
    if name.starts_with(b"trusted.") {
        return if caller.is_root() { Ok(()) } else { Err(refused) };
    }
    if name.starts_with(b"security.") {
        return if caller.is_root() || !write { Ok(()) } else { Err(Errno::EPERM) };
    }
    if name.starts_with(b"system.posix_acl_") {
        return match attr.kind {
            FileKind::Symlink => Err(Errno::EOPNOTSUPP),
            _ if !write => Ok(()),
            _ if !caller.owns(attr) => Err(Errno::EPERM),
            FileKind::Directory => Ok(()),
            _ if name == b"system.posix_acl_default" => Err(Errno::EACCES),
            _ => Ok(()),
        };
    }
    if name.starts_with(b"user.") {
        match attr.kind {
            FileKind::Directory if write && attr.mode & S_ISVTX != 0 && !caller.owns(attr) => {
                return Err(Errno::EPERM);
            }
            FileKind::Regular | FileKind::Directory => {}
            _ => return Err(refused),
        }
        return allowed(attr, caller, if write { Access::WRITE } else { Access::READ });
    }
    Ok(())
}
