//! The operations for JavaScript, by path and by handle.
//!
//! A path is a stretch of the input. Where a file may be named by a handle too, `AS_HANDLE` stands for the path's length
//! and the handle for its place.

use super::{Page, count, status, with};
use crate::errno::Errno;
use crate::format::{FileKind, INO_ROOT};
use crate::persist;
use crate::vfs::{
    Attr, Handle, Ino, NewInode, OpenFlags, OpenMode, Purpose, RenameFlags, SetAttr, TimeChange,
    WalkOptions,
};

/// Instead of a path's length: its place is a handle.
const AS_HANDLE: usize = u32::MAX as usize;
const NS: f64 = 1e9;

impl Page {
    fn walk(&self, at: usize, len: usize, follow: bool) -> Result<Attr, Errno> {
        let options = WalkOptions { follow_last: follow, ..WalkOptions::default() };
        self.volume()?.walk(INO_ROOT, INO_ROOT, self.input(at, len)?, options)
    }

    /// The inode of a path or a handle.
    pub(super) fn target(&self, at: usize, len: usize, follow: bool) -> Result<Ino, Errno> {
        if len == AS_HANDLE {
            return Ok(self.files()?.get(at as Handle)?.ino());
        }
        self.walk(at, len, follow).map(|attr| attr.ino)
    }

    fn parent(&self, at: usize, len: usize, purpose: Purpose) -> Result<(Ino, Vec<u8>), Errno> {
        self.volume()?.walk_parent(INO_ROOT, INO_ROOT, self.input(at, len)?, purpose)
    }

    fn put_attr(&mut self, attr: &Attr) {
        let time = |ns: i64| [ns.div_euclid(NS as i64) as f64, ns.rem_euclid(NS as i64) as f64];
        let [atime, mtime, ctime, btime] =
            [attr.atime_ns, attr.mtime_ns, attr.ctime_ns, attr.btime_ns].map(time);
        let numbers = [
            f64::from(attr.ino),
            f64::from(attr.generation),
            f64::from(attr.mode),
            f64::from(attr.nlink),
            f64::from(attr.uid),
            f64::from(attr.gid),
            attr.rdev as f64,
            attr.size_bytes as f64,
            attr.blocks as f64,
            atime[0],
            atime[1],
            mtime[0],
            mtime[1],
            ctime[0],
            ctime[1],
            btime[0],
            btime[1],
            attr.change as f64,
        ];
        self.numbers[..numbers.len()].copy_from_slice(&numbers);
    }
}

/// A position or size from JavaScript, which has them as floating-point numbers.
fn position(number: f64) -> Result<u64, Errno> {
    if number >= 0.0 && number <= i64::MAX as f64 { Ok(number as u64) } else { Err(Errno::EINVAL) }
}

/// A time as seconds and nanoseconds; none where the seconds are no number.
fn time(s: f64, ns: f64) -> Option<TimeChange> {
    (!s.is_nan())
        .then_some(TimeChange::At((s as i64).saturating_mul(NS as i64).saturating_add(ns as i64)))
}

/// Opens a path: a handle, or a negative errno. `mode` and `flags` are those of `OpenMode` and `OpenFlags`.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_open(at: usize, len: usize, mode: u32, flags: u32, permissions: u32) -> i32 {
    count(with(|page| {
        let (mode, flags) = (OpenMode::from_bits_truncate(mode), OpenFlags::from_bits_truncate(flags));
        let path = page.input(at, len)?;
        let files = page.files()?;
        files
            .open_path((INO_ROOT, INO_ROOT), path, mode, flags, permissions)
            .map(|handle| handle as usize)
    }))
}

/// Closes a handle. What it held may be given back later: then `sabfs_page_settle_late` has something to do.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_close(handle: u32) -> i32 {
    status(with(|page| page.files()?.close(handle)))
}

/// Reads up to `len` bytes into the input, at an offset, or at the handle's position if that is negative; gives how many.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_read(handle: u32, offset: f64, len: usize) -> i32 {
    count(with(|page| {
        // Out of its place while the table is in use.
        let mut bytes = std::mem::take(&mut page.input);
        let read = |bytes: &mut [u8]| {
            let buffer = bytes.get_mut(..len).ok_or(Errno::EINVAL)?;
            let files = page.files()?;
            if offset < 0.0 {
                files.read(handle, buffer)
            } else {
                files.pread(handle, position(offset)?, buffer)
            }
        };
        let result = read(&mut bytes);
        page.input = bytes;
        result
    }))
}

/// As `sabfs_page_read`, of an inode that `sabfs_page_stat` has shown and that nobody holds: takes no lock. `ESTALE` when it
/// is another file's by now.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_read_inode(ino: u32, generation: u32, offset: f64, len: usize) -> i32 {
    count(with(|page| {
        let (volume, offset) = (page.volume()?.clone(), position(offset)?);
        let count = volume.read(ino, offset, page.input.get_mut(..len).ok_or(Errno::EINVAL)?)?;
        // Generations only grow: what was read is of this one.
        if volume.getattr(ino)?.generation != generation {
            return Err(Errno::ESTALE);
        }
        volume.accessed(ino);
        Ok(count)
    }))
}

/// Writes `len` bytes of the input, at an offset, or at the handle's position if that is negative; gives how many.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_write(handle: u32, offset: f64, len: usize) -> i32 {
    count(with(|page| {
        let (bytes, files) = (page.input(0, len)?, page.files()?);
        if offset < 0.0 {
            files.write(handle, bytes)
        } else {
            files.pwrite(handle, position(offset)?, bytes)
        }
    }))
}

/// Attributes as numbers.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_stat(at: usize, len: usize, follow: u32) -> i32 {
    status(with(|page| {
        let attr = match len {
            AS_HANDLE => page.volume()?.getattr(page.target(at, len, true)?),
            _ => page.walk(at, len, follow != 0),
        }?;
        page.put_attr(&attr);
        Ok(())
    }))
}

/// Names of a directory as output, in no order; gives their length in bytes. Each: u32 inode, u8 type as in `d_type`, u8 0,
/// u16 length, name.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_readdir(at: usize, len: usize) -> i32 {
    count(with(|page| {
        let (ino, volume) = (page.target(at, len, true)?, page.volume()?.clone());
        page.output.clear();
        let output = &mut page.output;
        volume.list(ino, &mut |name, ino, kind| {
            output.extend(ino.to_le_bytes());
            output.extend([kind.dirent(), 0]);
            output.extend((name.len() as u16).to_le_bytes());
            output.extend(name);
            true
        })?;
        volume.accessed(ino);
        Ok(page.output.len())
    }))
}

fn make_directory(page: &Page, path: &[u8], permissions: u32) -> Result<(), Errno> {
    let volume = page.volume()?;
    let (dir, name) = volume.walk_parent(INO_ROOT, INO_ROOT, path, Purpose::MakeDirectory)?;
    let new = NewInode { kind: FileKind::Directory, permissions, uid: 0, gid: 0, rdev: 0 };
    volume.create(dir, &name, &new).map(drop)
}

/// Makes a directory and those on the way to it that are not there. `EEXIST` when something else is there.
fn make_directories(page: &Page, path: &[u8], permissions: u32) -> Result<(), Errno> {
    let ends = (1..=path.len())
        .filter(|&end| path[end - 1] != b'/' && path.get(end).is_none_or(|&b| b == b'/'));
    for end in ends {
        let part = &path[..end];
        match make_directory(page, part, permissions) {
            Err(Errno::EEXIST) => {
                let options = WalkOptions { follow_last: true, ..WalkOptions::default() };
                let attr = page.volume()?.walk(INO_ROOT, INO_ROOT, part, options)?;
                if attr.kind != FileKind::Directory {
                    return Err(if end == path.len() { Errno::EEXIST } else { Errno::ENOTDIR });
                }
            }
            made => made?,
        }
    }
    Ok(())
}

/// Makes a directory; `recursive`: and those on the way to it, and it may be there already.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_mkdir(at: usize, len: usize, permissions: u32, recursive: u32) -> i32 {
    status(with(|page| {
        let path = page.input(at, len)?;
        match recursive {
            0 => make_directory(page, path, permissions),
            _ if path.is_empty() => Err(Errno::ENOENT),
            _ => make_directories(page, path, permissions),
        }
    }))
}

#[unsafe(no_mangle)]
extern "C" fn sabfs_page_rmdir(at: usize, len: usize) -> i32 {
    status(with(|page| {
        let (dir, name) = page.parent(at, len, Purpose::RemoveDirectory)?;
        page.volume()?.rmdir(dir, &name)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn sabfs_page_unlink(at: usize, len: usize) -> i32 {
    status(with(|page| {
        let (dir, name) = page.parent(at, len, Purpose::Unlink)?;
        page.volume()?.unlink(dir, &name)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn sabfs_page_rename(at: usize, len: usize, to_at: usize, to_len: usize) -> i32 {
    status(with(|page| {
        let (from, to) = (page.input(at, len)?, page.input(to_at, to_len)?);
        page.volume()?.rename_paths((INO_ROOT, from), (INO_ROOT, to), INO_ROOT, RenameFlags::empty())
    }))
}

#[unsafe(no_mangle)]
extern "C" fn sabfs_page_link(at: usize, len: usize, to_at: usize, to_len: usize) -> i32 {
    status(with(|page| {
        let ino = page.walk(at, len, false)?.ino;
        let (dir, name) = page.parent(to_at, to_len, Purpose::Make)?;
        page.volume()?.link(ino, dir, &name).map(drop)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn sabfs_page_symlink(at: usize, len: usize, to_at: usize, to_len: usize) -> i32 {
    status(with(|page| {
        let (dir, name) = page.parent(to_at, to_len, Purpose::Make)?;
        page.volume()?.symlink(dir, &name, page.input(at, len)?, 0, 0).map(drop)
    }))
}

/// A symlink's target as output; gives its length.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_readlink(at: usize, len: usize) -> i32 {
    count(with(|page| {
        let attr = page.walk(at, len, false)?;
        page.output = page.volume()?.readlink(attr.ino)?;
        page.volume()?.accessed(attr.ino);
        Ok(page.output.len())
    }))
}

#[unsafe(no_mangle)]
extern "C" fn sabfs_page_truncate(at: usize, len: usize, size_bytes: f64) -> i32 {
    status(with(|page| {
        let size_bytes = Some(position(size_bytes)?);
        let ino = page.target(at, len, true)?;
        if len == AS_HANDLE && !page.files()?.get(at as Handle)?.mode().contains(OpenMode::WRITE) {
            return Err(Errno::EINVAL);
        }
        match page.volume()?.getattr(ino)?.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
        page.volume()?.setattr(ino, &SetAttr { size_bytes, ..SetAttr::default() }).map(drop)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn sabfs_page_chmod(at: usize, len: usize, mode: u32) -> i32 {
    status(with(|page| {
        let set = SetAttr { mode: Some(mode & 0o7777), ..SetAttr::default() };
        page.volume()?.setattr(page.target(at, len, true)?, &set).map(drop)
    }))
}

/// Owner and group; `u32::MAX` leaves as it is.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_chown(at: usize, len: usize, uid: u32, gid: u32, follow: u32) -> i32 {
    status(with(|page| {
        let given = |id: u32| (id != u32::MAX).then_some(id);
        let set = SetAttr { uid: given(uid), gid: given(gid), ..SetAttr::default() };
        page.volume()?.setattr(page.target(at, len, follow != 0)?, &set).map(drop)
    }))
}

/// Times of last access and change, in seconds and nanoseconds; what is no number leaves as it is.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_utimes(
    at: usize,
    len: usize,
    follow: u32,
    atime_s: f64,
    atime_ns: f64,
    mtime_s: f64,
    mtime_ns: f64,
) -> i32 {
    status(with(|page| {
        let (atime, mtime) = (time(atime_s, atime_ns), time(mtime_s, mtime_ns));
        let set = SetAttr { atime, mtime, ..SetAttr::default() };
        page.volume()?.setattr(page.target(at, len, follow != 0)?, &set).map(drop)
    }))
}

/// Makes a file durable as the volume's durability says. `EAGAIN`: it was asked for, and is done when the refusal says so.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_fsync(handle: u32) -> i32 {
    status(with(|page| page.volume()?.fsync_uncounted(page.files()?.get(handle)?.ino())))
}

/// Makes everything durable, in relaxed mode too; `EAGAIN` as above.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_sync() -> i32 {
    status(with(|page| page.volume()?.commit_durably()))
}

/// A call that asked for durability is over: the volume's metrics count it.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_note_sync(done: u32, took_us: f64) {
    with(|page| {
        if let Ok(volume) = page.volume() {
            persist::note_fsync(volume.image().store(), done != 0, Some(took_us as u64));
        }
    });
}

/// What the volume has room for, as numbers.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_statfs() -> i32 {
    status(with(|page| {
        let s = page.volume()?.statfs()?;
        let numbers = [
            f64::from(s.block_size_bytes),
            s.blocks as f64,
            s.free_blocks as f64,
            s.used_inodes as f64,
            s.free_inodes as f64,
            f64::from(s.name_max),
        ];
        page.numbers[..numbers.len()].copy_from_slice(&numbers);
        Ok(())
    }))
}
