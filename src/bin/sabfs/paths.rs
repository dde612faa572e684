//! Paths in a volume, as arguments name them.
//!
//! They may be longer than 4,095 bytes, where the operations' own walk ends: a tool must reach whatever an
//! archive has brought in.

use crate::session::HostStore;
use crate::text::failed;
use sabfs::errno::Errno;
use sabfs::format::{FileKind, INO_ROOT};
use sabfs::vfs::{Attr, Volume};

/// As on Linux.
const LINKS_MAX: u32 = 40;

/// What a path leads to. It begins at the volume's root, whether or not with a slash, and symbolic links
/// on the way are followed within the volume; a last one only if `follow` says so.
pub fn find(volume: &Volume<HostStore>, path: &[u8], follow: bool) -> Result<Attr, String> {
    walk(volume, path, follow).map_err(|errno| failed("find", path, errno))
}

/// As `find`, for callers that have their own words for what is wrong.
pub fn walk(volume: &Volume<HostStore>, path: &[u8], follow: bool) -> Result<Attr, Errno> {
    let mut at = volume.getattr(INO_ROOT)?;
    let mut links = 0;
    // What is left of the path, the next name last.
    let mut rest: Vec<Vec<u8>> = names(path);
    while let Some(name) = rest.pop() {
        if at.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let next = volume.lookup(at.ino, &name)?;
        if next.kind != FileKind::Symlink || rest.is_empty() && !follow {
            at = next;
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(Errno::ELOOP);
        }
        let target = volume.readlink(next.ino)?;
        if target.first() == Some(&b'/') {
            at = volume.getattr(INO_ROOT)?;
        }
        rest.extend(names(&target));
    }
    if path.last() == Some(&b'/') && at.kind != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    Ok(at)
}

/// A path's names, the first one last.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|&byte| byte == b'/').rev();
    parts.filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec).collect()
}

/// The names of a directory, sorted by their bytes.
pub fn list(volume: &Volume<HostStore>, dir: u32) -> Result<Vec<(Vec<u8>, u32, FileKind)>, Errno> {
    let mut entries = Vec::new();
    volume.list(dir, &mut |name, ino, kind| {
        entries.push((name.to_vec(), ino, kind));
        true
    })?;
    entries.sort_unstable();
    Ok(entries)
}
