//! What goes out of a volume, wherever it goes.
//!
//! The volume need not be sound: mounting it has compared seals, but somebody may have sealed nonsense. So
//! each directory is gone through once, each file that counts one name is taken once, and there can be no
//! more data than the volume has blocks.

use super::xattrs::{Xattr, is_carried};
use super::{Budget, Meta, Options, Progress, join};
use crate::paths;
use crate::session::HostStore;
use crate::text::{failed, shown};
use sabfs::errno::Errno;
use sabfs::format::{BLOCK_SIZE, FileKind};
use sabfs::vfs::{Attr, Ino, Volume};
use std::collections::{HashMap, HashSet};

/// Something that goes out.
pub struct Item<'a> {
    /// Its names from the place that goes out on; none for that place itself.
    pub names: &'a [Vec<u8>],
    /// The same as a path, for messages.
    pub path: &'a [u8],
    /// What is carried over beside the content.
    pub meta: Meta,
    /// Its extended attributes.
    pub xattrs: &'a [Xattr],
}

/// A regular file's content.
pub struct Content<'a> {
    volume: &'a Volume<HostStore>,
    ino: Ino,
    /// Where there are data: offset and length, in bytes, in order; the rest is holes.
    pub pieces: Vec<(u64, u64)>,
}

impl Content<'_> {
    /// Reads from `offset` on; gives the number of bytes, 1 or more.
    pub fn read(&self, path: &[u8], offset: u64, buffer: &mut [u8]) -> Result<usize, String> {
        match self.volume.read(self.ino, offset, buffer) {
            Ok(0) => Err(format!("{} ends too early; run `sabfs check` on the volume", shown(path))),
            Ok(count) => Ok(count),
            Err(errno) => Err(failed("read", path, errno)),
        }
    }
}

/// A place that takes what goes out. Directories come before what is in them.
pub trait Outlet {
    /// Takes a directory.
    fn directory(&mut self, item: &Item<'_>, progress: &mut Progress) -> Result<(), String>;
    /// Takes a regular file.
    fn file(
        &mut self,
        item: &Item<'_>,
        content: &Content<'_>,
        progress: &mut Progress,
    ) -> Result<(), String>;
    /// Takes a symbolic link.
    fn symlink(&mut self, item: &Item<'_>, target: &[u8], progress: &mut Progress)
    -> Result<(), String>;
    /// Takes a fifo, a socket or a device; gives why not, if it cannot.
    fn special(
        &mut self,
        item: &Item<'_>,
        progress: &mut Progress,
    ) -> Result<Option<&'static str>, String>;
    /// Takes one more name for a file that it was given under other names before.
    fn link(&mut self, item: &Item<'_>, first: &[Vec<u8>]) -> Result<(), String>;
    /// Whether attributes that say who may do what are kept.
    fn keeps_owners(&self) -> bool;
    /// Completes everything, durably.
    fn finish(&mut self) -> Result<(), String>;
}

/// Takes what `start` is, and all that is below it, to the outlet; `name` is what it is called there when
/// it is no directory.
pub fn export(
    volume: &Volume<HostStore>,
    start: &Attr,
    name: &[u8],
    options: &Options,
    outlet: &mut dyn Outlet,
    progress: &mut Progress,
) -> Result<(), String> {
    let room_bytes = u64::from(volume.core().superblock.geometry.image_blocks()) * BLOCK_SIZE as u64;
    let help = "the volume has no such room itself: run `sabfs check` on it";
    let budget = Budget::new(options, room_bytes, help);
    let mut walk = Walk {
        volume,
        devices: options.devices,
        outlet,
        progress,
        budget,
        seen: HashSet::new(),
        several: HashMap::new(),
        left: Vec::new(),
    };
    if start.kind == FileKind::Directory {
        walk.left.push((start.ino, Vec::new(), Vec::new()));
    } else {
        walk.entry(start.ino, vec![name.to_vec()], name.to_vec())?;
    }
    while let Some((ino, names, path)) = walk.left.pop() {
        walk.directory(ino, &names, &path)?;
    }
    walk.outlet.finish()
}

struct Walk<'a> {
    volume: &'a Volume<HostStore>,
    devices: bool,
    outlet: &'a mut dyn Outlet,
    progress: &'a mut Progress,
    budget: Budget,
    /// What went out, but for files with several names.
    seen: HashSet<Ino>,
    /// Files with several names, by the first of them.
    several: HashMap<Ino, Vec<Vec<u8>>>,
    /// Directories whose turn is still to come.
    left: Vec<(Ino, Vec<Vec<u8>>, Vec<u8>)>,
}

impl Walk<'_> {
    fn attr(&self, ino: Ino, path: &[u8]) -> Result<Attr, String> {
        self.volume.getattr(ino).map_err(|errno| failed("look at", path, errno))
    }

    fn xattrs(&self, ino: Ino, path: &[u8]) -> Result<Vec<Xattr>, String> {
        let wrong = |errno| failed("read the attributes of", path, errno);
        let mut names = self.volume.list_xattr(ino).map_err(wrong)?;
        names.retain(|name| is_carried(name, self.outlet.keeps_owners()));
        names.sort_unstable();
        let values = names.into_iter().map(|name| {
            let value = self.volume.get_xattr(ino, &name).map_err(wrong)?;
            Ok((name, value))
        });
        values.collect()
    }

    /// Goes on only if this was not met before.
    fn once(&mut self, ino: Ino, path: &[u8]) -> Result<(), String> {
        if self.seen.insert(ino) {
            return Ok(());
        }
        let path = shown(path);
        Err(format!("{path} is met twice: the volume is damaged, run `sabfs check` on it"))
    }

    fn directory(&mut self, ino: Ino, names: &[Vec<u8>], path: &[u8]) -> Result<(), String> {
        self.once(ino, path)?;
        let attr = self.attr(ino, path)?;
        if attr.kind != FileKind::Directory {
            return Err(other_kind(path));
        }
        let xattrs = self.xattrs(ino, path)?;
        let item = Item { names, path, meta: meta(&attr), xattrs: &xattrs };
        self.outlet.directory(&item, self.progress)?;
        self.progress.entry(path);
        let entries = paths::list(self.volume, ino).map_err(|errno| failed("list", path, errno))?;
        let from = self.left.len();
        for (name, ino, kind) in entries {
            let path = join(path, &name);
            let mut names = names.to_vec();
            names.push(name);
            match kind {
                FileKind::Directory => self.left.push((ino, names, path)),
                _ => self.entry(ino, names, path)?,
            }
        }
        // The first one is taken next.
        self.left[from..].reverse();
        Ok(())
    }

    fn entry(&mut self, ino: Ino, names: Vec<Vec<u8>>, path: Vec<u8>) -> Result<(), String> {
        let attr = self.attr(ino, &path)?;
        let xattrs = self.xattrs(ino, &path)?;
        let item = Item { names: &names, path: &path, meta: meta(&attr), xattrs: &xattrs };
        if attr.nlink > 1
            && let Some(first) = self.several.get(&ino)
        {
            self.outlet.link(&item, first)?;
            self.progress.entry(&path);
            return Ok(());
        }
        self.once(ino, &path)?;
        match attr.kind {
            FileKind::Directory => return Err(other_kind(&path)),
            FileKind::Regular => {
                self.budget.admit(&path, attr.size_bytes)?;
                let pieces = pieces(self.volume, ino, attr.size_bytes, &path)?;
                self.budget.spend(&path, pieces.iter().map(|piece| piece.1).sum())?;
                let content = Content { volume: self.volume, ino, pieces };
                self.outlet.file(&item, &content, self.progress)?;
            }
            FileKind::Symlink => {
                let target = self.volume.readlink(ino);
                let target = target.map_err(|errno| failed("read", &path, errno))?;
                self.outlet.symlink(&item, &target, self.progress)?;
            }
            FileKind::Character | FileKind::Block if !self.devices => {
                let why = "it is a device; give --devices to carry it over";
                self.progress.leave_out(&path, why);
                return Ok(());
            }
            _ => {
                if let Some(why) = self.outlet.special(&item, self.progress)? {
                    self.progress.leave_out(&path, why);
                    return Ok(());
                }
            }
        }
        self.progress.entry(&path);
        if attr.nlink > 1 {
            self.several.insert(ino, names);
        }
        Ok(())
    }
}

fn other_kind(path: &[u8]) -> String {
    let path = shown(path);
    format!("{path} is of another kind than its name says; run `sabfs check` on the volume")
}

fn meta(attr: &Attr) -> Meta {
    let Attr { kind, mode, uid, gid, rdev, size_bytes, atime_ns, mtime_ns, .. } = *attr;
    Meta { kind, permissions: mode & 0o7777, uid, gid, rdev, size_bytes, atime_ns, mtime_ns }
}

/// Where a file has data.
fn pieces(
    volume: &Volume<HostStore>,
    ino: Ino,
    size_bytes: u64,
    path: &[u8],
) -> Result<Vec<(u64, u64)>, String> {
    let wrong = |errno| failed("read", path, errno);
    let (mut pieces, mut at) = (Vec::new(), 0);
    while at < size_bytes {
        let from = match volume.seek_data(ino, at) {
            Ok(from) => from,
            // Nothing but a hole is left.
            Err(Errno::ENXIO) => break,
            Err(errno) => return Err(wrong(errno)),
        };
        let to = volume.seek_hole(ino, from).map_err(wrong)?.min(size_bytes);
        if from >= to {
            break;
        }
        pieces.push((from, to - from));
        at = to;
    }
    Ok(pieces)
}
