//! Between the volume's words and the kernel's.

use crate::errno::Errno;
use crate::format::{BLOCK_SIZE, FileKind};
use crate::vfs::{Attr, TimeChange};
use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BLOCK_SECTORS: u64 = BLOCK_SIZE as u64 / 512;

pub fn errno(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.linux())
}

fn time(ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(ns.unsigned_abs());
    if ns < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// What lies beyond the years 1677 to 2262 becomes the nearest time that a volume can hold.
pub fn time_change(time: TimeOrNow) -> TimeChange {
    let ns = |distance: Duration| i64::try_from(distance.as_nanos()).unwrap_or(i64::MAX);
    match time {
        TimeOrNow::Now => TimeChange::Now,
        TimeOrNow::SpecificTime(time) => TimeChange::At(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => ns(after),
            Err(before) => {
                // fuser 0.18 takes the kernel's nanoseconds, which count upwards, from the whole seconds.
                let distance = before.duration();
                let (seconds, rest) = (Duration::from_secs(distance.as_secs()), distance.subsec_nanos());
                i64::from(rest) - ns(seconds)
            }
        }),
    }
}

pub fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::Character => FileType::CharDevice,
        FileKind::Block => FileType::BlockDevice,
    }
}

pub fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(u64::from(attr.ino)),
        size: attr.size_bytes,
        blocks: attr.blocks * BLOCK_SECTORS,
        atime: time(attr.atime_ns),
        mtime: time(attr.mtime_ns),
        ctime: time(attr.ctime_ns),
        crtime: time(attr.btime_ns),
        kind: file_type(attr.kind),
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        // The kernel's own encoding, which is the low half of the C library's.
        rdev: attr.rdev as u32,
        blksize: BLOCK_SIZE as u32,
        flags: 0,
    }
}
