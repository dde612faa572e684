//! What the operations take and give.

use crate::format::FileKind;

/// Number of an inode. 2 is the root directory.
pub type Ino = u32;

/// What `stat` shows of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Number of the inode.
    pub ino: Ino,
    /// Counts the uses of this number: number and generation name a file for ever.
    pub generation: u32,
    /// What it is.
    pub kind: FileKind,
    /// Kind and permission bits, as in `st_mode`.
    pub mode: u32,
    /// Number of names; of a directory, 2 and one for each directory in it.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Device number of a device, 0 otherwise.
    pub rdev: u64,
    /// Size in bytes; of a symlink the length of its target; of a directory a multiple of its blocks.
    pub size_bytes: u64,
    /// Blocks of 4,096 bytes that it occupies.
    pub blocks: u64,
    /// Last access, nanoseconds since 1970.
    pub atime_ns: i64,
    /// Last change of the data.
    pub mtime_ns: i64,
    /// Last change of data or attributes.
    pub ctime_ns: i64,
    /// Creation.
    pub btime_ns: i64,
    /// Grows with every change of data or names.
    pub change: u64,
}

/// What to change of an inode's attributes; none leaves as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits (07777).
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Owning group.
    pub gid: Option<u32>,
    /// New size of a regular file.
    pub size_bytes: Option<u64>,
    /// Last access.
    pub atime: Option<TimeChange>,
    /// Last change of the data.
    pub mtime: Option<TimeChange>,
}

/// What to set a time to. Who may write a file may set its times to now; only its owner may set them to
/// anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeChange {
    /// Nanoseconds since 1970.
    At(i64),
    /// The time of the operation.
    Now,
}

impl TimeChange {
    pub(super) fn ns(self, now_ns: i64) -> i64 {
        match self {
            Self::At(time_ns) => time_ns,
            Self::Now => now_ns,
        }
    }
}

/// What a new inode is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewInode {
    /// Any kind but a symlink, which `symlink` makes.
    pub kind: FileKind,
    /// Permission bits (07777).
    pub permissions: u32,
    /// Owner. A checked caller is it himself, whatever is said here.
    pub uid: u32,
    /// Owning group, unless the directory hands on its own. A checked caller gives his own.
    pub gid: u32,
    /// Device number, for devices.
    pub rdev: u64,
}

/// One name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// The inode it stands for.
    pub ino: Ino,
    /// What that is.
    pub kind: FileKind,
    /// Where reading goes on behind this name; stable whatever else changes in the directory.
    pub cookie: u64,
}

/// What `statfs` shows of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFs {
    /// Size of a block.
    pub block_size_bytes: u32,
    /// Blocks of the volume, superblocks and bitmaps not counted.
    pub blocks: u64,
    /// Blocks that are free, those included that become usable with the next commit.
    pub free_blocks: u64,
    /// Inodes in use.
    pub used_inodes: u64,
    /// Inodes that there can be more of.
    pub free_inodes: u64,
    /// Longest name in bytes.
    pub name_max: u32,
}
