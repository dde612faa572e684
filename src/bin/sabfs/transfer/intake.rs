//! What goes into a volume, wherever it comes from.
//!
//! Invariants
//! - Every name is looked up from the directory that was given, one by one. A symbolic link on the way is
//!   an obstacle, never followed: so nothing leaves that directory.
//! - A directory is never replaced, and nothing else replaced by one. Other files are replaced when this
//!   very work has made them, as archives may hold a name twice, or when that was asked for.
//! - Modes and times of directories are set at the end, because entering names changes them.

use super::xattrs::{Xattr, is_carried, left_out};
use super::{Budget, CHUNK_BYTES, Meta, Options, Progress};
use crate::session::HostStore;
use crate::text::{failed, shown};
use sabfs::errno::Errno;
use sabfs::format::FileKind;
use sabfs::vfs::{Attr, Ino, NewInode, SetAttr, TimeChange, Volume, XattrFlags};
use std::collections::{HashMap, HashSet};
use std::io::Read;

/// What helps when more comes than the volume could ever hold.
const ROOM: &str = "the volume has no room for it: give a larger --capacity if it is wanted";

/// What goes into a volume.
pub struct Intake<'a> {
    volume: &'a Volume<HostStore>,
    root: Ino,
    options: Options,
    owners: bool,
    /// Bytes that may come.
    pub budget: Budget,
    /// What was done.
    pub progress: Progress,
    /// Directories whose attributes are still to be set; later words about one replace earlier ones.
    directories: HashMap<Ino, Meta>,
    /// What is not a directory and was made here.
    made: HashSet<Ino>,
    chunk: Vec<u8>,
}

impl<'a> Intake<'a> {
    /// Things that go into the directory `root`; `total_bytes` is how many come, if that is known.
    pub fn new(
        volume: &'a Volume<HostStore>,
        root: Ino,
        options: Options,
        total_bytes: Option<u64>,
    ) -> Result<Self, String> {
        let stat = volume.statfs().map_err(|errno| failed("look at", b"", errno))?;
        let room_bytes = stat.blocks.saturating_mul(u64::from(stat.block_size_bytes));
        Ok(Self {
            volume,
            root,
            options,
            owners: options.keeps_owners(),
            budget: Budget::new(&options, room_bytes, ROOM),
            progress: Progress::new(&options, total_bytes),
            directories: HashMap::new(),
            made: HashSet::new(),
            chunk: vec![0; CHUNK_BYTES],
        })
    }

    /// A directory of the given names; those that are missing are made.
    fn directory_at(&mut self, names: &[&[u8]], path: &[u8]) -> Result<Ino, String> {
        let mut at = self.root;
        for name in names {
            at = match self.volume.lookup(at, name) {
                Ok(attr) if attr.kind == FileKind::Directory => attr.ino,
                Ok(attr) if attr.kind == FileKind::Symlink => {
                    return Err(format!(
                        "{} would be written through the symbolic link {}, which is refused",
                        shown(path),
                        shown(name)
                    ));
                }
                Ok(_) => return Err(failed("enter", path, Errno::ENOTDIR)),
                Err(Errno::ENOENT) => {
                    let meta = Meta { kind: FileKind::Directory, permissions: 0o755, ..self.blank() };
                    self.create(at, name, &meta, path)?.ino
                }
                Err(errno) => return Err(failed("find the way to", path, errno)),
            };
        }
        Ok(at)
    }

    fn blank(&self) -> Meta {
        let (kind, now) = (FileKind::Regular, crate::session::now_ns());
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Meta { kind, permissions: 0o600, uid, gid, rdev: 0, size_bytes: 0, atime_ns: now, mtime_ns: now }
    }

    fn owner(&self, meta: &Meta) -> (u32, u32) {
        if self.owners {
            return (meta.uid, meta.gid);
        }
        let own = self.blank();
        (own.uid, own.gid)
    }

    fn create(&self, dir: Ino, name: &[u8], meta: &Meta, path: &[u8]) -> Result<Attr, String> {
        let (uid, gid) = self.owner(meta);
        let Meta { kind, permissions, rdev, .. } = *meta;
        let new = NewInode { kind, permissions: permissions & 0o777, uid, gid, rdev };
        self.volume.create(dir, name, &new).map_err(|errno| failed("make", path, errno))
    }

    /// Where a new name goes: its directory, with nothing of that name in it any more.
    fn place<'n>(&mut self, names: &[&'n [u8]], path: &[u8]) -> Result<(Ino, &'n [u8]), String> {
        let Some((name, above)) = names.split_last() else {
            return Err(format!("{} can only be a directory", shown(path)));
        };
        let dir = self.directory_at(above, path)?;
        match self.volume.lookup(dir, name) {
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(failed("look at", path, errno)),
            Ok(old) if old.kind == FileKind::Directory => {
                return Err(format!("{} is a directory already, which nothing replaces", shown(path)));
            }
            Ok(old) if self.options.replace || self.made.contains(&old.ino) => {
                self.volume.unlink(dir, name).map_err(|errno| failed("replace", path, errno))?;
                // Its number may stand for another file from now on.
                if old.nlink <= 1 {
                    self.made.remove(&old.ino);
                }
            }
            Ok(_) => return Err(format!("{} exists already: give --replace", shown(path))),
        }
        Ok((dir, name))
    }

    /// A directory, which may exist.
    pub fn directory(&mut self, names: &[&[u8]], path: &[u8], meta: &Meta) -> Result<Ino, String> {
        let ino = self.directory_at(names, path)?;
        self.directories.insert(ino, *meta);
        self.progress.entry(path);
        Ok(ino)
    }

    /// An empty regular file, to be filled by `data` and completed by `complete`.
    pub fn file(&mut self, names: &[&[u8]], path: &[u8], meta: &Meta) -> Result<Ino, String> {
        self.budget.admit(path, meta.size_bytes)?;
        let (dir, name) = self.place(names, path)?;
        let attr = self.create(dir, name, meta, path)?;
        self.made.insert(attr.ino);
        self.progress.entry(path);
        Ok(attr.ino)
    }

    /// Writes `count` bytes of `source` at `offset` of a file.
    pub fn data(
        &mut self,
        ino: Ino,
        path: &[u8],
        mut offset: u64,
        count: u64,
        source: &mut dyn Read,
    ) -> Result<(), String> {
        self.budget.spend(path, count)?;
        let mut left = count;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.chunk.len());
            let chunk = &mut self.chunk[..want];
            let got = match source.read(chunk) {
                Ok(0) => return Err(format!("{} ends too early", shown(path))),
                Ok(got) => got,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(crate::text::host_failed("read", path, error)),
            };
            let mut done = 0;
            while done < got {
                // A write falls short only when there is no room for more: the next try says so.
                let at = offset + done as u64;
                done += self
                    .volume
                    .write(ino, at, &chunk[done..got])
                    .map_err(|errno| failed("write", path, errno))?;
            }
            (offset, left) = (offset + got as u64, left - got as u64);
            self.progress.advance(got as u64);
        }
        Ok(())
    }

    /// Gives a file its size, which may end in a hole, and its attributes.
    pub fn complete(&self, ino: Ino, path: &[u8], meta: &Meta) -> Result<(), String> {
        let size_bytes = (meta.kind == FileKind::Regular).then_some(meta.size_bytes);
        // A mode of a symbolic link means nothing and is not set.
        let mode = (meta.kind != FileKind::Symlink).then_some(self.permissions(meta));
        let (uid, gid) = self.owner(meta);
        let set = SetAttr {
            mode,
            uid: Some(uid),
            gid: Some(gid),
            size_bytes,
            atime: Some(TimeChange::At(meta.atime_ns)),
            mtime: Some(TimeChange::At(meta.mtime_ns)),
        };
        let set = self.volume.setattr(ino, &set);
        set.map(drop).map_err(|errno| failed("set the attributes of", path, errno))
    }

    /// A program that runs as its owner must not come to run as another one.
    fn permissions(&self, meta: &Meta) -> u32 {
        meta.permissions & if self.owners { 0o7777 } else { 0o1777 }
    }

    /// A symbolic link, whose target is not looked at.
    pub fn symlink(
        &mut self,
        names: &[&[u8]],
        path: &[u8],
        target: &[u8],
        meta: &Meta,
    ) -> Result<Ino, String> {
        let (dir, name) = self.place(names, path)?;
        let (uid, gid) = self.owner(meta);
        let made = self.volume.symlink(dir, name, target, uid, gid);
        let ino = made.map_err(|errno| failed("make the symbolic link", path, errno))?.ino;
        self.made.insert(ino);
        self.progress.entry(path);
        self.complete(ino, path, meta)?;
        Ok(ino)
    }

    /// A fifo, a socket, or, if that was asked for, a device; none when it is left out.
    pub fn special(&mut self, names: &[&[u8]], path: &[u8], meta: &Meta) -> Result<Option<Ino>, String> {
        let device = matches!(meta.kind, FileKind::Character | FileKind::Block);
        if device && !self.options.devices {
            self.progress.leave_out(path, "it is a device; give --devices to carry it over");
            return Ok(None);
        }
        let (dir, name) = self.place(names, path)?;
        let ino = self.create(dir, name, meta, path)?.ino;
        self.made.insert(ino);
        self.progress.entry(path);
        self.complete(ino, path, meta)?;
        Ok(Some(ino))
    }

    /// One more name for a file that is there already.
    pub fn link(&mut self, names: &[&[u8]], path: &[u8], ino: Ino) -> Result<(), String> {
        let Some((name, above)) = names.split_last() else {
            return Err(format!("{} can only be a directory", shown(path)));
        };
        let dir = self.directory_at(above, path)?;
        // An archive may name a file as a link to itself: replacing it would lose it.
        if self.volume.lookup(dir, name).is_ok_and(|old| old.ino == ino) {
            return Ok(());
        }
        let (dir, name) = self.place(names, path)?;
        self.volume.link(ino, dir, name).map_err(|errno| failed("link", path, errno))?;
        self.progress.entry(path);
        Ok(())
    }

    /// The file that a link's target names: it must be here, and no directory.
    pub fn target(&self, names: &[&[u8]], path: &[u8]) -> Result<Ino, String> {
        let mut at = (self.root, FileKind::Directory);
        for name in names {
            if at.1 != FileKind::Directory {
                let path = shown(path);
                return Err(format!(
                    "the hard link's target {path} leads through something else than directories"
                ));
            }
            let attr = self.volume.lookup(at.0, name);
            let attr = attr.map_err(|errno| failed("find the hard link's target", path, errno))?;
            at = (attr.ino, attr.kind);
        }
        if at.1 == FileKind::Directory {
            return Err(failed("link to", path, Errno::EISDIR));
        }
        Ok(at.0)
    }

    /// Whether attributes that say who may do what are kept.
    pub fn keeps_owners(&self) -> bool {
        self.owners
    }

    /// Sets extended attributes; leaves out, with a message, those that a volume cannot hold.
    pub fn xattrs(&mut self, ino: Ino, path: &[u8], xattrs: &[Xattr]) -> Result<(), String> {
        for xattr in xattrs.iter().filter(|(name, _)| is_carried(name, self.owners)) {
            self.budget.spend(path, xattr.1.len() as u64)?;
            match self.volume.set_xattr(ino, &xattr.0, &xattr.1, XattrFlags::empty()) {
                Ok(()) => {}
                Err(
                    errno @ (Errno::EOPNOTSUPP
                    | Errno::EPERM
                    | Errno::EACCES
                    | Errno::ENOSPC
                    | Errno::E2BIG
                    | Errno::ERANGE
                    | Errno::EINVAL),
                ) => left_out(&mut self.progress, path, xattr, &errno.to_string()),
                Err(errno) => return Err(failed("set an attribute of", path, errno)),
            }
        }
        Ok(())
    }

    /// Sets the directories' attributes.
    pub fn finish(&mut self) -> Result<(), String> {
        for (ino, meta) in std::mem::take(&mut self.directories) {
            self.complete(ino, b"a directory", &meta)?;
        }
        Ok(())
    }
}
