//! From a volume into a folder of the host.
//!
//! Everything is made anew by handles of its directory: what is in the way, a symbolic link above all, is
//! not written through. Directories are made so that only their owner can enter them; their modes and times
//! are set at the end.

use super::host::{Tree, stat};
use super::outlet::{Content, Item, Outlet};
use super::xattrs::Place;
use super::{CHUNK_BYTES, Meta, Options, Progress};
use crate::text::{host_failed, shown};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use sabfs::format::FileKind;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A folder of the host that takes what goes out.
pub struct ToHost {
    tree: Tree,
    /// The folder was made for this, so it gets the attributes of what goes out.
    is_new: bool,
    owners: bool,
    replace: bool,
    /// Whose attributes are set at the end.
    directories: Vec<(Vec<Vec<u8>>, Meta)>,
    chunk: Vec<u8>,
}

impl ToHost {
    /// Opens the folder, which is made if it does not exist.
    pub fn new(target: &Path, options: &Options) -> Result<Self, String> {
        let path = target.as_os_str().as_bytes();
        let is_new = match std::fs::create_dir(target) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(host_failed("make the folder", path, error)),
        };
        let tree = Tree::open(target).map_err(|error| host_failed("open", path, error))?;
        Ok(Self {
            tree,
            is_new,
            owners: options.keeps_owners(),
            replace: options.replace,
            directories: Vec::new(),
            chunk: vec![0; CHUNK_BYTES],
        })
    }

    /// Makes something in its directory by `make`; what is there already is replaced if it may be.
    fn place<T>(
        &mut self,
        item: &Item<'_>,
        mut make: impl FnMut(&OwnedFd, &[u8]) -> Result<T, Errno>,
    ) -> Result<(OwnedFd, T), String> {
        let Some((name, above)) = item.names.split_last() else {
            return Err(format!("{} has no name", shown(item.path)));
        };
        let dir = self.tree.directory(above, item.path)?;
        let wrong = |errno: Errno| host_failed("make", item.path, errno.into());
        match make(&dir, name) {
            Ok(made) => return Ok((dir, made)),
            Err(Errno::EXIST) if self.replace => {}
            Err(errno) => return Err(wrong(errno)),
        }
        // Fails for a directory, which nothing replaces.
        fs::unlinkat(&dir, name.as_slice(), AtFlags::empty())
            .map_err(|errno| host_failed("replace", item.path, errno.into()))?;
        let made = make(&dir, name).map_err(wrong)?;
        Ok((dir, made))
    }

    /// The owner of what is open. It comes first, since a change of it takes the rights to run as another
    /// user away, and a file's capabilities.
    fn owner(&self, file: impl AsFd, path: &[u8], meta: &Meta) -> Result<(), String> {
        if !self.owners {
            return Ok(());
        }
        let (uid, gid) = owner(meta);
        fs::fchown(&file, uid, gid).map_err(|errno| host_failed("set the owner of", path, errno.into()))
    }

    /// Mode and times of what is open. They come last: a mode may forbid what else is to be done.
    fn attributes(&self, file: impl AsFd, path: &[u8], meta: &Meta) -> Result<(), String> {
        let wrong = |errno: Errno| host_failed("set the attributes of", path, errno.into());
        // A program of another user must not come to run as whoever unpacks it.
        let mask = if self.owners { 0o7777 } else { 0o1777 };
        fs::fchmod(&file, mode(meta.permissions & mask)).map_err(wrong)?;
        fs::futimens(&file, &times(meta)).map_err(wrong)
    }

    /// All of them for what is not opened: symbolic links and special files.
    fn attributes_at(
        &self,
        dir: &OwnedFd,
        item: &Item<'_>,
        progress: &mut Progress,
    ) -> Result<(), String> {
        let wrong = |errno: Errno| host_failed("set the attributes of", item.path, errno.into());
        let Some(name) = item.names.last() else { return Ok(()) };
        if self.owners {
            let (uid, gid) = owner(&item.meta);
            fs::chownat(dir, name.as_slice(), uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(wrong)?;
        }
        Place::Named(dir, name).write(item.path, item.xattrs, progress)?;
        fs::utimensat(dir, name.as_slice(), &times(&item.meta), AtFlags::SYMLINK_NOFOLLOW).map_err(wrong)
    }
}

fn owner(meta: &Meta) -> (Option<fs::Uid>, Option<fs::Gid>) {
    (Some(fs::Uid::from_raw(meta.uid)), Some(fs::Gid::from_raw(meta.gid)))
}

fn mode(permissions: u32) -> Mode {
    Mode::from_raw_mode(permissions as fs::RawMode)
}

#[allow(clippy::unnecessary_cast, clippy::useless_conversion)] // other types on other systems
fn times(meta: &Meta) -> Timestamps {
    let time = |ns: i64| Timespec {
        tv_sec: ns.div_euclid(1_000_000_000) as _,
        tv_nsec: ns.rem_euclid(1_000_000_000) as _,
    };
    Timestamps { last_access: time(meta.atime_ns), last_modification: time(meta.mtime_ns) }
}

impl Outlet for ToHost {
    fn directory(&mut self, item: &Item<'_>, progress: &mut Progress) -> Result<(), String> {
        if let Some((name, above)) = item.names.split_last() {
            let dir = self.tree.directory(above, item.path)?;
            match fs::mkdirat(&dir, name.as_slice(), Mode::RWXU) {
                // Opened again below, and no link is followed then.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(host_failed("make", item.path, errno.into())),
            }
        }
        let dir = self.tree.directory(item.names, item.path)?;
        if !item.names.is_empty() || self.is_new {
            Place::Open(dir.as_fd()).write(item.path, item.xattrs, progress)?;
            self.directories.push((item.names.to_vec(), item.meta));
        }
        Ok(())
    }

    fn file(
        &mut self,
        item: &Item<'_>,
        content: &Content<'_>,
        progress: &mut Progress,
    ) -> Result<(), String> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = |dir: &OwnedFd, name: &[u8]| fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR);
        let (_, handle) = self.place(item, make)?;
        let file = File::from(handle);
        for &(offset, count) in &content.pieces {
            let (mut at, end) = (offset, offset + count);
            while at < end {
                let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.chunk.len());
                let got = content.read(item.path, at, &mut self.chunk[..want])?;
                file.write_all_at(&self.chunk[..got], at)
                    .map_err(|error| host_failed("write", item.path, error))?;
                at += got as u64;
                progress.advance(got as u64);
            }
        }
        fs::ftruncate(&file, item.meta.size_bytes)
            .map_err(|errno| host_failed("set the size of", item.path, errno.into()))?;
        self.owner(&file, item.path, &item.meta)?;
        Place::Open(file.as_fd()).write(item.path, item.xattrs, progress)?;
        self.attributes(&file, item.path, &item.meta)?;
        if cfg!(not(target_os = "linux")) {
            file.sync_all().map_err(|error| host_failed("flush", item.path, error))?;
        }
        Ok(())
    }

    fn symlink(
        &mut self,
        item: &Item<'_>,
        target: &[u8],
        progress: &mut Progress,
    ) -> Result<(), String> {
        let (dir, ()) = self.place(item, |dir, name| fs::symlinkat(target, dir, name))?;
        self.attributes_at(&dir, item, progress)
    }

    fn special(
        &mut self,
        item: &Item<'_>,
        progress: &mut Progress,
    ) -> Result<Option<&'static str>, String> {
        let kind = match item.meta.kind {
            FileKind::Fifo => FileType::Fifo,
            FileKind::Socket => FileType::Socket,
            FileKind::Character => FileType::CharacterDevice,
            _ => FileType::BlockDevice,
        };
        let Meta { permissions, rdev, .. } = item.meta;
        let (dir, ()) = self.place(item, |dir, name| make_node(dir, name, kind, rdev))?;
        let Some(name) = item.names.last() else { return Ok(None) };
        self.attributes_at(&dir, item, progress)?;
        // There is no way to set the mode of a name without following a link that was put there just now,
        // so the name is looked at first; who can still win this race owns the directory anyway.
        let made = stat(&dir, name).map_err(|e| host_failed("look at", item.path, e.into()))?;
        if FileType::from_raw_mode(made.st_mode) == kind {
            fs::chmodat(&dir, name.as_slice(), mode(permissions & 0o777), AtFlags::empty())
                .map_err(|e| host_failed("set the mode of", item.path, e.into()))?;
        }
        Ok(None)
    }

    fn link(&mut self, item: &Item<'_>, first: &[Vec<u8>]) -> Result<(), String> {
        let Some((old, above)) = first.split_last() else { return Ok(()) };
        let from = self.tree.directory(above, item.path)?;
        self.place(item, |dir, name| fs::linkat(&from, old.as_slice(), dir, name, AtFlags::empty()))?;
        Ok(())
    }

    fn keeps_owners(&self) -> bool {
        self.owners
    }

    fn finish(&mut self) -> Result<(), String> {
        // What is below first: a mode may forbid the way to it.
        for (names, meta) in std::mem::take(&mut self.directories).into_iter().rev() {
            let path = names.join(&b'/');
            let dir = self.tree.directory(&names, &path)?;
            self.owner(&dir, &path, &meta)?;
            self.attributes(&dir, &path, &meta)?;
            if cfg!(not(target_os = "linux")) {
                fs::fsync(&dir).map_err(|errno| host_failed("flush", &path, errno.into()))?;
            }
        }
        #[cfg(target_os = "linux")]
        fs::syncfs(self.tree.root()).map_err(|errno| host_failed("flush", b"", errno.into()))?;
        Ok(())
    }
}

#[cfg(not(target_vendor = "apple"))]
fn make_node(dir: &OwnedFd, name: &[u8], kind: FileType, rdev: u64) -> Result<(), Errno> {
    fs::mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, rdev)
}

/// These systems have no `mknodat`.
#[cfg(target_vendor = "apple")]
fn make_node(_: &OwnedFd, _: &[u8], _: FileType, _: u64) -> Result<(), Errno> {
    Err(Errno::NOTSUP)
}
