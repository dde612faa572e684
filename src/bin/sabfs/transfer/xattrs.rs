//! Extended attributes on the way.
//!
//! `user.` ones are carried over by everybody. All others say who may do what, as owners do, and go with
//! them: a capability of a program must not come to hold where its owner is not kept.

use super::Progress;
use crate::text::{host_failed, shown};
use rustix::fs::{self, XattrFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Name and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// Linux's longest list of names and longest value.
const MAX_BYTES: usize = 65_536;
/// How records of archives that hold attributes begin.
pub const RECORD_PREFIX: &[u8] = b"SCHILY.xattr.";

/// Whether an attribute of that name is carried over.
pub fn is_carried(name: &[u8], owners: bool) -> bool {
    owners || name.starts_with(b"user.")
}

/// The attributes of a file of the host.
pub enum Place<'a> {
    /// One that is open.
    Open(BorrowedFd<'a>),
    /// One that cannot be opened, by its directory and its name: a symbolic link or a special file.
    Named(&'a OwnedFd, &'a [u8]),
}

impl Place<'_> {
    /// A path that leads through the handle of the directory, and whose last name is not followed. There
    /// are no calls that take both.
    fn path(dir: &OwnedFd, name: &[u8]) -> Vec<u8> {
        let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
        path.extend(name);
        path
    }

    fn list(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(file) => fs::flistxattr(file, buffer),
            Self::Named(dir, name) => fs::llistxattr(Self::path(dir, name), buffer),
        }
    }

    fn get(&self, attribute: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(file) => fs::fgetxattr(file, attribute, buffer),
            Self::Named(dir, name) => fs::lgetxattr(Self::path(dir, name), attribute, buffer),
        }
    }

    fn set(&self, (attribute, value): &Xattr) -> Result<(), Errno> {
        let (attribute, flags) = (attribute.as_slice(), XattrFlags::empty());
        match self {
            Self::Open(file) => fs::fsetxattr(file, attribute, value, flags),
            Self::Named(dir, name) => fs::lsetxattr(Self::path(dir, name), attribute, value, flags),
        }
    }

    /// Whether there is a way to this file's attributes.
    fn is_reachable(&self) -> bool {
        matches!(self, Self::Open(_)) || cfg!(target_os = "linux")
    }

    /// The attributes that are carried over, sorted.
    pub fn read(&self, path: &[u8], owners: bool) -> Result<Vec<Xattr>, String> {
        // Those that cannot be opened can only have attributes that go with owners.
        if !self.is_reachable() || !owners && matches!(self, Self::Named(..)) {
            return Ok(Vec::new());
        }
        let wrong = |errno: Errno| host_failed("read the attributes of", path, errno.into());
        let mut buffer = vec![0; MAX_BYTES];
        let len = match self.list(&mut buffer) {
            Ok(len) => len,
            // A file system without them.
            Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
            Err(errno) => return Err(wrong(errno)),
        };
        let names: Vec<Vec<u8>> = buffer[..len]
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty() && is_carried(name, owners))
            .map(<[u8]>::to_vec)
            .collect();
        let mut found = Vec::new();
        for name in names {
            match self.get(&name, &mut buffer) {
                Ok(len) => found.push((name, buffer[..len].to_vec())),
                // It has just gone.
                Err(Errno::NODATA) => {}
                Err(errno) => return Err(wrong(errno)),
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Sets attributes; leaves out, with a message, those that this file system or user cannot set.
    pub fn write(&self, path: &[u8], xattrs: &[Xattr], progress: &mut Progress) -> Result<(), String> {
        for xattr in xattrs {
            if !self.is_reachable() {
                left_out(progress, path, xattr, "this system has no way to set it");
                continue;
            }
            match self.set(xattr) {
                Ok(()) => {}
                Err(
                    errno @ (Errno::NOTSUP
                    | Errno::PERM
                    | Errno::ACCESS
                    | Errno::NOSPC
                    | Errno::TOOBIG
                    | Errno::RANGE
                    | Errno::INVAL),
                ) => {
                    left_out(progress, path, xattr, &std::io::Error::from(errno).to_string());
                }
                Err(errno) => return Err(host_failed("set an attribute of", path, errno.into())),
            }
        }
        Ok(())
    }
}

/// Says that an attribute is left out.
pub fn left_out(progress: &mut Progress, path: &[u8], xattr: &Xattr, why: &str) {
    let mut named = path.to_vec();
    named.extend(format!(" (its attribute {})", shown(&xattr.0)).bytes());
    progress.leave_out(&named, why);
}

/// An attribute's name as a record's key: an equals sign would end it.
pub fn to_key(name: &[u8]) -> Vec<u8> {
    let mut key = RECORD_PREFIX.to_vec();
    for &byte in name {
        match byte {
            b'=' => key.extend(b"%3D"),
            b'%' => key.extend(b"%25"),
            _ => key.push(byte),
        }
    }
    key
}

/// The attribute's name of a record's key; none if it is a record of something else.
pub fn from_key(key: &[u8]) -> Option<Vec<u8>> {
    let mut rest = key.strip_prefix(RECORD_PREFIX)?;
    let mut name = Vec::new();
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'%', b'3', b'D', after @ ..] => (b'=', after),
            [b'%', b'2', b'5', after @ ..] => (b'%', after),
            _ => (first, after),
        };
        name.push(byte);
        rest = after;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        for name in [&b"user.a"[..], b"user.a=b", b"user.%3D%", b"user.%=25\xff"] {
            let key = to_key(name);
            assert!(!key.contains(&b'='));
            assert_eq!(from_key(&key).unwrap(), name);
        }
        assert_eq!(from_key(b"path"), None);
    }
}
