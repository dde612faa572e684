//! From a folder of the host into a volume.

use super::host::{Tree, identity, meta, stat};
use super::intake::Intake;
use super::join;
use super::xattrs::Place;
use crate::text::host_failed;
use rustix::fs::{self, Mode, OFlags, SeekFrom};
use sabfs::format::FileKind;
use sabfs::vfs::Ino;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

/// A directory that is still to be read.
struct Pending {
    names: Vec<Vec<u8>>,
    path: Vec<u8>,
}

/// Brings in what is in a folder; `volume` is the volume's own folder, which must not be in it.
pub fn import(intake: &mut Intake<'_>, source: &Path, volume: &Path) -> Result<(), String> {
    let named = |error| {
        use std::os::unix::ffi::OsStrExt;
        host_failed("open", source.as_os_str().as_bytes(), error)
    };
    let mut tree = Tree::open(source).map_err(named)?;
    let own = Tree::open(volume).and_then(|tree| Ok(identity(&fs::fstat(tree.root())?))).ok();
    // Files with several names, by what the host calls them.
    let mut known: HashMap<(u64, u64), Ino> = HashMap::new();
    let mut left = vec![Pending { names: Vec::new(), path: Vec::new() }];
    while let Some(Pending { names, path }) = left.pop() {
        let handle = tree.directory(&names, &path)?;
        let found = fs::fstat(&handle).map_err(|e| host_failed("look at", &path, e.into()))?;
        if own == Some(identity(&found)) {
            return Err(format!(
                "{} is the volume that is written to: it cannot be brought into itself",
                crate::text::shown(&path)
            ));
        }
        let refs: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        if let Some(meta) = meta(&found) {
            let ino = intake.directory(&refs, &path, &meta)?;
            let xattrs = Place::Open(handle.as_fd()).read(&path, intake.keeps_owners())?;
            intake.xattrs(ino, &path, &xattrs)?;
        }
        let entries = fs::Dir::read_from(&handle)
            .and_then(|dir| dir.map(|entry| entry.map(|e| e.file_name().to_bytes().to_vec())).collect());
        let mut entries: Vec<Vec<u8>> =
            entries.map_err(|e: rustix::io::Errno| host_failed("list", &path, e.into()))?;
        entries.sort_unstable();
        let mut below = Vec::new();
        for name in entries {
            if name == b"." || name == b".." {
                continue;
            }
            let path = join(&path, &name);
            let mut all = refs.clone();
            all.push(&name);
            if entry(intake, &handle, &all, &path, &mut known)? {
                let names = all.iter().map(|name| name.to_vec()).collect();
                below.push(Pending { names, path });
            }
        }
        left.extend(below.into_iter().rev());
    }
    Ok(())
}

/// Brings in one name; gives whether it is a directory, which is still to be read.
fn entry(
    intake: &mut Intake<'_>,
    dir: &std::os::fd::OwnedFd,
    names: &[&[u8]],
    path: &[u8],
    known: &mut HashMap<(u64, u64), Ino>,
) -> Result<bool, String> {
    let name = names.last().copied().unwrap_or_default();
    let found = stat(dir, name).map_err(|e| host_failed("look at", path, e.into()))?;
    let Some(mut about) = meta(&found) else {
        intake.progress.leave_out(path, "its kind is not known");
        return Ok(false);
    };
    if about.kind == FileKind::Directory {
        return Ok(true);
    }
    let several = found.st_nlink > 1;
    if several && let Some(&ino) = known.get(&identity(&found)) {
        intake.link(names, path, ino)?;
        return Ok(false);
    }
    let ino = match about.kind {
        FileKind::Symlink => {
            let target = fs::readlinkat(dir, name, Vec::new())
                .map_err(|e| host_failed("read the symbolic link", path, e.into()))?;
            Some(intake.symlink(names, path, target.as_bytes(), &about)?)
        }
        FileKind::Regular => {
            // Not blocking: somebody may have put a fifo in its place.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let handle = fs::openat(dir, name, flags | OFlags::NOCTTY, Mode::empty())
                .map_err(|e| host_failed("open", path, e.into()))?;
            let now = fs::fstat(&handle).map_err(|e| host_failed("look at", path, e.into()))?;
            about = match meta(&now) {
                Some(meta) if meta.kind == FileKind::Regular => meta,
                _ => return Err(format!("{} has just become something else", crate::text::shown(path))),
            };
            let ino = intake.file(names, path, &about)?;
            let xattrs = Place::Open(handle.as_fd()).read(path, intake.keeps_owners())?;
            intake.xattrs(ino, path, &xattrs)?;
            content(intake, ino, path, about.size_bytes, File::from(handle))?;
            intake.complete(ino, path, &about)?;
            Some(ino)
        }
        _ => intake.special(names, path, &about)?,
    };
    if let Some(ino) = ino
        && about.kind != FileKind::Regular
    {
        let xattrs = Place::Named(dir, name).read(path, intake.keeps_owners())?;
        intake.xattrs(ino, path, &xattrs)?;
    }
    if let (true, Some(ino)) = (several, ino) {
        known.insert(identity(&found), ino);
    }
    Ok(false)
}

/// Copies a file's data; its holes stay holes.
fn content(
    intake: &mut Intake<'_>,
    ino: Ino,
    path: &[u8],
    size_bytes: u64,
    mut file: File,
) -> Result<(), String> {
    let mut at = 0;
    while at < size_bytes {
        let (from, to) = match fs::seek(&file, SeekFrom::Data(at)) {
            Ok(from) => {
                let to = fs::seek(&file, SeekFrom::Hole(from)).unwrap_or(size_bytes);
                (from, to.min(size_bytes))
            }
            // Nothing but a hole is left.
            Err(rustix::io::Errno::NXIO) => break,
            // A file system that does not know of holes.
            Err(_) => (at, size_bytes),
        };
        if from >= to {
            break;
        }
        fs::seek(&file, SeekFrom::Start(from)).map_err(|e| host_failed("seek in", path, e.into()))?;
        intake.data(ino, path, from, to - from, &mut file)?;
        at = to;
    }
    Ok(())
}
