//! Extended attributes in the oracle, and how the world compares them.

use super::operations::{XattrName, content};
use super::oracle::{Node, Oracle};
use super::world::World;
use sabfs::errno::Errno::{self, *};
use sabfs::format::FileKind;
use sabfs::vfs::{Ino, XattrFlags};

type Result<T> = std::result::Result<T, Errno>;

/// Bytes of all attributes of an inode: as many as a block holds.
const BYTES_MAX: usize = 4064;
const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
const LISTS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

/// Bytes that an attribute takes: the namespace is a number.
fn bytes(name: &[u8], value: &[u8]) -> usize {
    let prefix = NAMESPACES.iter().chain(&LISTS).find(|prefix| name.starts_with(prefix)).unwrap();
    4 + name.len() - prefix.len() + value.len()
}

impl Node {
    pub fn xattr_bytes(&self) -> usize {
        self.xattrs.iter().map(|(name, value)| bytes(name, value)).sum()
    }

    /// Blocks that the attributes take: none while they fit into the inode.
    pub fn xattr_blocks(&self) -> u64 {
        u64::from(self.xattr_bytes() > 64)
    }

    /// `reading`, else `EPERM` and the like for what cannot be.
    fn check_xattr(&self, name: &[u8], reading: bool) -> Result<()> {
        let namespace = NAMESPACES.iter().find(|prefix| name.starts_with(prefix));
        if namespace.is_none() && !LISTS.contains(&name) {
            return Err(EOPNOTSUPP);
        }
        if name.starts_with(b"user.") && !matches!(self.kind, FileKind::Regular | FileKind::Directory) {
            return Err(if reading { ENODATA } else { EPERM });
        }
        if LISTS.contains(&name) && self.kind == FileKind::Symlink {
            return Err(EOPNOTSUPP);
        }
        if namespace.is_some_and(|prefix| *prefix == name) || name.contains(&0) {
            return Err(EINVAL);
        }
        Ok(())
    }
}

fn check_length(name: &[u8]) -> Result<()> {
    if name.is_empty() || name.len() > 255 { Err(ERANGE) } else { Ok(()) }
}

impl Oracle {
    pub fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        check_length(name)?;
        let node = self.node(ino)?;
        node.check_xattr(name, true)?;
        node.xattrs.get(name).cloned().ok_or(ENODATA)
    }

    pub fn list_xattr(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        Ok(self.node(ino)?.xattrs.keys().cloned().collect())
    }

    /// Whether it would be too much in any volume.
    pub fn xattr_fits(&self, ino: Ino, name: &[u8], value: &[u8]) -> bool {
        let Ok(node) = self.node(ino) else { return true };
        let others = node.xattrs.iter().filter(|(other, _)| *other != name);
        others.map(|(name, value)| bytes(name, value)).sum::<usize>() + bytes(name, value) <= BYTES_MAX
    }

    pub fn set_xattr(&mut self, ino: Ino, name: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
        check_length(name)?;
        if value.len() > 65_536 {
            return Err(E2BIG);
        }
        let node = self.node(ino)?;
        node.check_xattr(name, false)?;
        if name == LISTS[1] && node.kind != FileKind::Directory {
            return Err(EACCES);
        }
        if !LISTS.contains(&name) {
            match node.xattrs.contains_key(name) {
                true if flags.contains(XattrFlags::CREATE) => return Err(EEXIST),
                false if flags.contains(XattrFlags::REPLACE) => return Err(ENODATA),
                _ => {}
            }
        }
        if !self.xattr_fits(ino, name, value) {
            return Err(ENOSPC);
        }
        if !self.dry {
            let now = self.now;
            let node = self.edit(ino);
            node.xattrs.insert(name.to_vec(), value.to_vec());
            node.times[2] = now;
        }
        Ok(())
    }

    pub fn remove_xattr(&mut self, ino: Ino, name: &[u8]) -> Result<()> {
        check_length(name)?;
        let node = self.node(ino)?;
        node.check_xattr(name, false)?;
        if !node.xattrs.contains_key(name) {
            return if LISTS.contains(&name) { Ok(()) } else { Err(ENODATA) };
        }
        let now = self.now;
        let node = self.edit(ino);
        node.xattrs.remove(name);
        node.times[2] = now;
        Ok(())
    }
}

impl World {
    pub fn set_xattr(&mut self, ino: Ino, name: &XattrName, len: u32, seed: u8, flags: u8) {
        let (name, value) = (name.bytes(), content(seed, len));
        let flags = XattrFlags::from_bits_truncate(u32::from(flags));
        let free = self.free();
        let answer = self.volume.set_xattr(ino, &name, &value, flags);
        // Too much for an inode is an answer like others; everything else is for want of a block.
        let expected = Oracle::set_xattr(&mut self.oracle.clone(), ino, &name, &value, flags);
        let refused = expected != Err(ENOSPC) && self.no_space(&answer, free, 0);
        let expected = self.oracle.set_xattr(ino, &name, &value, flags);
        self.judge(&format!("set {name:?} of {ino} to {len} bytes"), refused, answer, expected);
        self.compare_xattrs(ino);
    }

    pub fn remove_xattr(&mut self, ino: Ino, name: &XattrName) {
        let name = name.bytes();
        let answer = self.volume.remove_xattr(ino, &name);
        let expected = self.oracle.remove_xattr(ino, &name);
        self.judge(&format!("remove {name:?} of {ino}"), false, answer, expected);
        self.compare_xattrs(ino);
    }

    pub(super) fn get_xattr(&self, ino: Ino, name: &XattrName) {
        let name = name.bytes();
        let answer = self.volume.get_xattr(ino, &name);
        assert_eq!(answer, self.oracle.get_xattr(ino, &name), "get {name:?} of {ino}");
    }

    /// Compares all attributes of an inode.
    pub(super) fn compare_xattrs(&self, ino: Ino) {
        let mut answer = self.volume.list_xattr(ino);
        if let Ok(names) = &mut answer {
            names.sort();
            for name in names.iter() {
                let value = self.volume.get_xattr(ino, name);
                assert_eq!(value, self.oracle.get_xattr(ino, name), "{name:?} of {ino}");
            }
        }
        assert_eq!(answer, self.oracle.list_xattr(ino), "attributes of {ino}");
        if let Ok(attr) = self.volume.getattr(ino) {
            self.compare_attr(&attr);
        }
    }
}
