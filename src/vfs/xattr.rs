//! Extended attributes, as Linux's `getxattr` and its relatives know them.
//!
//! Names carry their namespace: `user.`, `trusted.`, `security.`, `system.posix_acl_access` and
//! `system.posix_acl_default`. Values are bytes that nobody here looks at; the mode's bits follow an
//! access control list that is set with [`Volume::set_acl`].
//!
//! A volume's own operations do not know who asks; those of [`AsCaller`] do, by the rules of
//! [`super::xattr_allowed`].

use super::access::xattr_allowed;
use super::types::{Attr, Ino};
use super::{AsCaller, Volume};
use crate::core::{self, Note, XattrList};
use crate::errno::Errno;
use crate::format::{
    FileKind, Inode, Namespace, XATTR_NAME_MAX, XATTRS_MAX, XattrKey, find_xattr, xattr_len, xattrs,
};
use crate::store::Store;

/// Longest value that is looked at, as on Linux.
const VALUE_MAX: usize = 65_536;

bitflags::bitflags! {
    /// What `set_xattr` expects, with Linux's numbers.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct XattrFlags: u32 {
        /// The attribute is new: `EEXIST` otherwise.
        const CREATE = 1;
        /// The attribute is there: `ENODATA` otherwise.
        const REPLACE = 2;
    }
}

/// What is to be done with an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Get,
    Set,
    Remove,
}

/// Refuses a name that is no name at all, before anything is looked at.
fn check_length(name: &[u8]) -> Result<(), Errno> {
    if name.is_empty() || name.len() > XATTR_NAME_MAX { Err(Errno::ERANGE) } else { Ok(()) }
}

/// The attribute of that name, if an inode of this kind may have it.
fn key_for<'a>(inode: &Inode, name: &'a [u8], access: Access) -> Result<XattrKey<'a>, Errno> {
    let key = XattrKey::split(name).ok_or(Errno::EOPNOTSUPP)?;
    match (key.namespace, inode.kind) {
        (Namespace::User, FileKind::Regular | FileKind::Directory) => {}
        (Namespace::User, _) if access == Access::Get => return Err(Errno::ENODATA),
        (Namespace::User, _) => return Err(Errno::EPERM),
        // A link's permissions are nobody's concern.
        (Namespace::AclAccess | Namespace::AclDefault, FileKind::Symlink) => {
            return Err(Errno::EOPNOTSUPP);
        }
        // What is made in a directory takes its default list over; nothing is made in a file.
        (Namespace::AclDefault, kind) if kind != FileKind::Directory && access == Access::Set => {
            return Err(Errno::EACCES);
        }
        _ => {}
    }
    if key.is_allowed() { Ok(key) } else { Err(Errno::EINVAL) }
}

impl<S: Store> Volume<S> {
    /// The value of an attribute.
    ///
    /// `ENODATA` when there is none of that name, `EOPNOTSUPP` when its namespace is unknown, `EINVAL`
    /// when it is nothing but a namespace, `ERANGE` when it is empty or longer than 255 bytes.
    pub fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>, Errno> {
        check_length(name)?;
        self.stable(ino, |core| {
            let inode = core.read_inode(ino)?;
            let key = key_for(&inode, name, Access::Get)?;
            let list = XattrList::read(&core.image, &inode)?;
            let xattr = find_xattr(list.as_bytes(), &key, ino)?.ok_or(Errno::ENODATA)?;
            Ok(xattr.value.to_vec())
        })
    }

    /// The names of all attributes, in no order.
    pub fn list_xattr(&self, ino: Ino) -> Result<Vec<Vec<u8>>, Errno> {
        self.stable(ino, |core| {
            let inode = core.read_inode(ino)?;
            let list = XattrList::read(&core.image, &inode)?;
            let names = xattrs(list.as_bytes(), ino).map(|xattr| Ok(xattr?.key.parts().concat()));
            names.collect()
        })
    }

    /// Gives an attribute a value. All attributes of an inode together have room in one block: a name
    /// without its namespace, its value and 4 bytes each, 4,064 bytes in all.
    ///
    /// Errors as of `get_xattr`; `E2BIG` for a value of more than 65,536 bytes, `ENOSPC` for what does not
    /// fit, `EPERM` for `user.` of what is neither a regular file nor a directory, `EOPNOTSUPP` for an
    /// access control list of a symbolic link, `EACCES` for a default one of anything but a directory.
    /// The flags are not looked at for access control lists, as on Linux.
    pub fn set_xattr(
        &self,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
    ) -> Result<(), Errno> {
        self.set_xattr_if(ino, name, value, flags, |_| Ok(()))
    }

    /// As `set_xattr`, if `allow` says so, which sees the inode in the very transaction.
    pub(super) fn set_xattr_if(
        &self,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
        mut allow: impl FnMut(&Inode) -> core::Result<()>,
    ) -> Result<(), Errno> {
        check_length(name)?;
        if value.len() > VALUE_MAX {
            return Err(Errno::E2BIG);
        }
        self.change_xattr(ino, Some(value), |inode, list| {
            allow(inode)?;
            let key = key_for(inode, name, Access::Set)?;
            let exists = find_xattr(list, &key, ino)?.is_some();
            if !key.namespace.is_whole_name() {
                if exists && flags.contains(XattrFlags::CREATE) {
                    return Err(Errno::EEXIST.into());
                }
                if !exists && flags.contains(XattrFlags::REPLACE) {
                    return Err(Errno::ENODATA.into());
                }
            }
            Ok(Some(key))
        })
    }

    /// Takes an attribute away. Never needs space.
    ///
    /// Errors as of `set_xattr`; `ENODATA` when there is none, but for access control lists, of which
    /// there is none then.
    pub fn remove_xattr(&self, ino: Ino, name: &[u8]) -> Result<(), Errno> {
        self.remove_xattr_if(ino, name, |_| Ok(()))
    }

    /// As `remove_xattr`, if `allow` says so, which sees the inode in the very transaction.
    pub(super) fn remove_xattr_if(
        &self,
        ino: Ino,
        name: &[u8],
        mut allow: impl FnMut(&Inode) -> core::Result<()>,
    ) -> Result<(), Errno> {
        check_length(name)?;
        self.change_xattr(ino, None, |inode, list| {
            allow(inode)?;
            let key = key_for(inode, name, Access::Remove)?;
            match find_xattr(list, &key, ino)? {
                Some(_) => Ok(Some(key)),
                None if key.namespace.is_whole_name() => Ok(None),
                None => Err(Errno::ENODATA.into()),
            }
        })
    }

    /// Gives the attribute that `choose` names this value, or takes it away.
    fn change_xattr<'a>(
        &self,
        ino: Ino,
        value: Option<&[u8]>,
        mut choose: impl FnMut(&Inode, &[u8]) -> core::Result<Option<XattrKey<'a>>>,
    ) -> Result<(), Errno> {
        let now = self.now();
        let answer = self.mutate(|txn| {
            let mut inode = txn.inode(ino)?;
            let old = XattrList::read(txn, &inode)?;
            let Some(key) = choose(&inode, old.as_bytes())? else { return Ok(()) };
            // That it does not fit is no want of space, which would let the volume grow.
            if value.is_some_and(|value| xattr_len(&key, value.len()) > XATTRS_MAX) {
                return Err(Errno::E2BIG.into());
            }
            let new = old.replaced(&key, value, ino)?.ok_or(Errno::E2BIG)?;
            txn.put_xattrs(&mut inode, &old, &new)?;
            inode.raw.ctime = now.into();
            txn.note(Note::Attrib(ino, inode.kind));
            txn.put_inode(&inode)
        });
        answer.map_err(|errno| if errno == Errno::E2BIG { Errno::ENOSPC } else { errno })
    }
}

impl<S: Store> AsCaller<'_, S> {
    /// As `Volume::get_xattr`; `EACCES` for `user.` of what the caller may not read, `ENODATA` for
    /// `trusted.` unless it is root.
    pub fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>, Errno> {
        check_length(name)?;
        xattr_allowed(&self.volume.getattr(ino)?, self.caller, name, false)?;
        self.volume.get_xattr(ino, name)
    }

    /// As `Volume::list_xattr`, without `trusted.` unless the caller is root.
    pub fn list_xattr(&self, ino: Ino) -> Result<Vec<Vec<u8>>, Errno> {
        let mut names = self.volume.list_xattr(ino)?;
        names.retain(|name| self.caller.is_root() || !name.starts_with(b"trusted."));
        Ok(names)
    }

    /// As `Volume::set_xattr`; `EACCES` for `user.` of what the caller may not write, `EPERM` for what is
    /// the owner's or root's to change.
    ///
    /// `EOPNOTSUPP` for access control lists of a caller that is checked: it would be kept, but the checks
    /// ask the mode alone.
    pub fn set_xattr(
        &self,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        flags: XattrFlags,
    ) -> Result<(), Errno> {
        if self.caller.checked && name.starts_with(b"system.posix_acl_") {
            return Err(Errno::EOPNOTSUPP);
        }
        self.volume.set_xattr_if(ino, name, value, flags, |inode| self.may_change(inode, name))
    }

    /// As `Volume::remove_xattr`; who may not is answered as by `set_xattr`.
    pub fn remove_xattr(&self, ino: Ino, name: &[u8]) -> Result<(), Errno> {
        self.volume.remove_xattr_if(ino, name, |inode| self.may_change(inode, name))
    }

    fn may_change(&self, inode: &Inode, name: &[u8]) -> core::Result<()> {
        Ok(xattr_allowed(&Attr::of(inode), self.caller, name, true)?)
    }
}
