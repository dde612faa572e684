//! Folders of the host, by handles.
//!
//! A path is opened name by name from the handle of the folder that the user named, and no name may be a
//! symbolic link: so whatever others do to the tree meanwhile, nothing outside of it is reached.

use super::Meta;
use crate::text::host_failed;
use rustix::fs::{self, AtFlags, Mode, OFlags, Stat};
use rustix::io::Errno;
use sabfs::format::FileKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::RDONLY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Handles are kept of every so manieth directory on the way to the last one that was opened. A process has
/// about a thousand.
const KEPT_EVERY: usize = 256;

/// A folder of the host and what is below it.
pub struct Tree {
    root: OwnedFd,
    /// Names on the way to the directory that was opened last: the next one is often near it.
    names: Vec<Vec<u8>>,
    /// Handles on that way with how many names lead to them, and of the last one.
    kept: Vec<(usize, OwnedFd)>,
}

impl Tree {
    /// Opens a folder. Here links are followed: the user has named it.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        let root = fs::open(path, flags, Mode::empty())?;
        Ok(Self { root, names: Vec::new(), kept: Vec::new() })
    }

    /// The handle of the folder itself.
    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// A handle of the directory with these names.
    pub fn directory(&mut self, names: &[Vec<u8>], path: &[u8]) -> Result<OwnedFd, String> {
        self.walk(names).map_err(|error| host_failed("open", path, error))
    }

    fn walk(&mut self, names: &[Vec<u8>]) -> std::io::Result<OwnedFd> {
        let same = self.names.iter().zip(names).take_while(|(old, new)| old == new).count();
        self.kept.retain(|&(depth, _)| depth <= same);
        let (mut depth, mut at) = match self.kept.last() {
            Some((depth, handle)) => (*depth, handle.try_clone()?),
            None => (0, self.root.try_clone()?),
        };
        self.names.truncate(depth);
        // The last handle goes, unless it is one of those that are kept.
        self.kept.retain(|&(depth, _)| depth.is_multiple_of(KEPT_EVERY));
        for name in &names[depth..] {
            at = fs::openat(&at, name.as_slice(), DIRECTORY, Mode::empty())?;
            depth += 1;
            self.names.push(name.clone());
            if depth.is_multiple_of(KEPT_EVERY) {
                self.kept.push((depth, at.try_clone()?));
            }
        }
        if !depth.is_multiple_of(KEPT_EVERY) {
            self.kept.push((depth, at.try_clone()?));
        }
        Ok(at)
    }
}

/// What is carried over of a file of the host; none for a kind that is not known.
#[allow(clippy::unnecessary_cast)] // the fields' types are other ones on other systems
pub fn meta(stat: &Stat) -> Option<Meta> {
    let time = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
    let mode = stat.st_mode as u32;
    Some(Meta {
        kind: FileKind::from_mode(mode)?,
        permissions: mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: stat.st_rdev as u64,
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        atime_ns: time(stat.st_atime as i64, stat.st_atime_nsec as i64),
        mtime_ns: time(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
    })
}

/// Device and number of a file of the host, which name it.
#[allow(clippy::unnecessary_cast)]
pub fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// What a name in an open directory stands for; no link is followed.
pub fn stat(dir: impl AsFd, name: &[u8]) -> Result<Stat, Errno> {
    fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}
