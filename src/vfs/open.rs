//! Opening by path, as open(2) does it, for front ends that get whole paths.

use super::files::{Handle, OpenFiles, OpenMode};
use super::types::{Attr, Ino, NewInode, SetAttr};
use super::{Purpose, WalkOptions};
use crate::errno::Errno;
use crate::format::FileKind;
use crate::store::Store;
use bitflags::bitflags;

/// How often opening begins anew because others took away or made what was just looked at.
const TRIES: u32 = 64;

bitflags! {
    /// What opening does beside giving a handle.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        /// Makes a regular file where there is nothing (`O_CREAT`).
        const CREATE = 1;
        /// With `CREATE`: there must be nothing, not even a symlink (`O_EXCL`).
        const EXCLUSIVE = 2;
        /// Cuts a regular file off (`O_TRUNC`).
        const TRUNCATE = 4;
        /// `ELOOP` for a symlink at the end (`O_NOFOLLOW`).
        const NO_FOLLOW = 8;
        /// `ENOTDIR` for anything but a directory (`O_DIRECTORY`).
        const DIRECTORY = 16;
    }
}

impl<S: Store> OpenFiles<S> {
    /// Opens what a path leads to, from `start` on if it is not absolute; `root` as for a walk. A file that is made gets
    /// these permission bits (07777).
    ///
    /// Errors are those of a walk, of `open` and of what the flags ask for; `EINVAL` for `CREATE` with `DIRECTORY`.
    pub fn open_path(
        &self,
        (start, root): (Ino, Ino),
        path: &[u8],
        mode: OpenMode,
        flags: OpenFlags,
        permissions: u32,
    ) -> Result<Handle, Errno> {
        if flags.contains(OpenFlags::CREATE | OpenFlags::DIRECTORY) {
            return Err(Errno::EINVAL);
        }
        let volume = self.volume();
        for _ in 0..TRIES {
            let found = if flags.contains(OpenFlags::CREATE) {
                self.find_or_make((start, root), path, flags, permissions)
            } else {
                let refuse_link = flags.contains(OpenFlags::NO_FOLLOW);
                let directory = flags.contains(OpenFlags::DIRECTORY);
                let options = WalkOptions { follow_last: true, refuse_link, directory };
                volume.walk(start, root, path, options)
            };
            let attr = match found {
                // Somebody else made it in between.
                Err(Errno::EEXIST) if !flags.contains(OpenFlags::EXCLUSIVE) => continue,
                found => found?,
            };
            if attr.kind == FileKind::Directory && flags.contains(OpenFlags::TRUNCATE) {
                return Err(Errno::EISDIR);
            }
            let handle = match self.open(attr.ino, mode) {
                // Somebody else took it away in between.
                Err(Errno::ENOENT) => continue,
                opened => opened?,
            };
            let checked = volume.getattr(attr.ino).and_then(|now| {
                if now.generation != attr.generation {
                    return Ok(false);
                }
                if flags.contains(OpenFlags::TRUNCATE) && now.size_bytes > 0 {
                    volume.setattr(attr.ino, &SetAttr { size_bytes: Some(0), ..SetAttr::default() })?;
                }
                Ok(true)
            });
            match checked {
                Ok(true) => return Ok(handle),
                Ok(false) => self.close(handle)?,
                Err(errno) => {
                    self.close(handle)?;
                    return Err(errno);
                }
            }
        }
        Err(Errno::ENOENT)
    }

    /// What the path leads to; a new file where that is nothing.
    fn find_or_make(
        &self,
        (start, root): (Ino, Ino),
        path: &[u8],
        flags: OpenFlags,
        permissions: u32,
    ) -> Result<Attr, Errno> {
        let (volume, exclusive) = (self.volume(), flags.contains(OpenFlags::EXCLUSIVE));
        let follow = !exclusive && !flags.contains(OpenFlags::NO_FOLLOW);
        let (dir, name) = match volume.walk_parent(start, root, path, Purpose::Open { follow }) {
            // "/" and ".", which are there in any case; what ends in a slash is no file's name.
            Err(Errno::EISDIR)
                if exclusive && (!path.ends_with(b"/") || path.iter().all(|&byte| byte == b'/')) =>
            {
                volume.walk(start, root, path, WalkOptions::default())?;
                return Err(Errno::EEXIST);
            }
            end => end?,
        };
        match volume.lookup(dir, &name) {
            Ok(_) if exclusive => Err(Errno::EEXIST),
            Ok(attr) if attr.kind == FileKind::Directory => Err(Errno::EISDIR),
            // It came to be in between, or is not to be followed.
            Ok(attr) if attr.kind == FileKind::Symlink && follow => Err(Errno::EEXIST),
            Ok(attr) if attr.kind == FileKind::Symlink => Err(Errno::ELOOP),
            Ok(attr) => Ok(attr),
            Err(Errno::ENOENT) => {
                let new = NewInode { kind: FileKind::Regular, permissions, uid: 0, gid: 0, rdev: 0 };
                volume.create(dir, &name, &new)
            }
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Volume;
    use super::*;
    use crate::core::Image;
    use crate::format::INO_ROOT;
    use crate::store::HeapStore;
    use crate::store::runtime::{Durability, store_size_bytes};
    use std::sync::Arc;

    const ROOT: (Ino, Ino) = (INO_ROOT, INO_ROOT);
    const READ: OpenMode = OpenMode::READ;
    const NONE: OpenFlags = OpenFlags::empty();

    fn files() -> OpenFiles<Arc<HeapStore>> {
        let store = Arc::new(HeapStore::new(store_size_bytes(2000)));
        Image::prepare(&store, 1, Durability::Memory).unwrap();
        OpenFiles::new(Arc::new(Volume::format(store, 1, || 0, [7; 32]).unwrap()), 32)
    }

    #[test]
    fn as_open_does() {
        let files = files();
        let volume = files.volume().clone();
        let open = |path: &str, mode, flags| files.open_path(ROOT, path.as_bytes(), mode, flags, 0o640);
        let directory =
            NewInode { kind: FileKind::Directory, permissions: 0o755, uid: 0, gid: 0, rdev: 0 };
        volume.create(INO_ROOT, b"d", &directory).unwrap();
        volume.symlink(INO_ROOT, b"link", b"d/new", 0, 0).unwrap();
        assert_eq!(open("f", READ, NONE), Err(Errno::ENOENT));
        let made = open("f", OpenMode::WRITE, OpenFlags::CREATE).unwrap();
        files.write(made, b"12345").unwrap();
        assert_eq!(volume.lookup(INO_ROOT, b"f").unwrap().mode, 0o100_640);
        assert_eq!(open("f", READ, OpenFlags::CREATE | OpenFlags::EXCLUSIVE), Err(Errno::EEXIST));
        assert_eq!(open("link", READ, OpenFlags::CREATE | OpenFlags::EXCLUSIVE), Err(Errno::EEXIST));
        assert_eq!(open("link", READ, OpenFlags::CREATE | OpenFlags::NO_FOLLOW), Err(Errno::ELOOP));
        assert_eq!(open("link", READ, OpenFlags::NO_FOLLOW), Err(Errno::ELOOP));
        assert_eq!(open("link", READ, NONE), Err(Errno::ENOENT), "it leads nowhere");
        open("link", READ, OpenFlags::CREATE).unwrap();
        open("d/new", READ, NONE).unwrap();
        assert_eq!(open("d", READ, OpenFlags::CREATE), Err(Errno::EISDIR));
        assert_eq!(open("d", OpenMode::WRITE, NONE), Err(Errno::EISDIR));
        assert_eq!(open("d", READ, OpenFlags::TRUNCATE), Err(Errno::EISDIR));
        assert_eq!(open("/", READ, OpenFlags::CREATE), Err(Errno::EISDIR));
        assert_eq!(open("d/x/", READ, OpenFlags::CREATE), Err(Errno::EISDIR));
        for (path, errno) in [("/", Errno::EEXIST), (".", Errno::EEXIST), ("d/x/", Errno::EISDIR)] {
            assert_eq!(open(path, READ, OpenFlags::CREATE | OpenFlags::EXCLUSIVE), Err(errno), "{path}");
        }
        assert_eq!(open("f", READ, OpenFlags::DIRECTORY), Err(Errno::ENOTDIR));
        assert_eq!(open("f/x", READ, OpenFlags::CREATE), Err(Errno::ENOTDIR));
        assert_eq!(open("f", READ, OpenFlags::CREATE | OpenFlags::DIRECTORY), Err(Errno::EINVAL));
        let whole = open("f", READ, NONE).unwrap();
        assert_eq!(files.pread(whole, 0, &mut [0; 9]), Ok(5));
        let count = files.count();
        open("f", OpenMode::WRITE, OpenFlags::TRUNCATE).unwrap();
        assert_eq!(files.pread(whole, 0, &mut [0; 9]), Ok(0));
        assert_eq!(files.count(), count + 1);
    }
}
