//! Inodes: 256 bytes each, 15 in a block of the inode file.
//!
//! Inode `n` is slot `n % 15` of block `n / 15` of the inode file. Slot `s` starts at byte
//! `256 * (s + 1)`; the header and 224 zero bytes come before the first.
//! ```text
//!   0  mode u32        kind and permission bits, as in stat
//!   4  nlink u32       names; 0 for an orphan
//!   8  uid u32, gid u32
//!  16  size u64        bytes; for a directory the number of names; for a symlink the target's length
//!  24  blocks u64      blocks of 4,096 bytes that belong to the inode, tree nodes included
//!  32  atime, mtime, ctime, btime i64     nanoseconds since 1970
//!  64  generation u32  counts the uses of this inode number
//!  68  flags u32       bit 0: a regular file whose bytes are the root; other bits must be 0
//!  72  change u64      counts the changes of data and names
//!  80  root [104]      regular file: extent root, or with flag 0 its bytes; directory: directory root; symlink of up to 104
//!                      bytes: the target; longer: a block as u32, zero u32, the target's first 96
//!                      bytes, the rest in the block; device: rdev as u64
//! 184  xattr_block u32, xattr_len u16, zero u16, xattrs [64]
//! ```

use super::{BLOCK_SIZE, Corrupt, FILE_SIZE_MAX, Geometry, INO_INODE_FILE, RawExtentRoot};
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Size of an inode.
pub const INODE_SIZE_BYTES: usize = 256;
/// Inodes in a block; the header takes the place of one more.
pub const INODES_PER_BLOCK: u32 = (BLOCK_SIZE / INODE_SIZE_BYTES - 1) as u32;
/// Longest symlink target, as on Linux.
pub const SYMLINK_MAX: usize = 4095;
/// Longest symlink target inside the inode.
pub const SYMLINK_INLINE_MAX: usize = 104;
/// How many bytes of a longer target stay in the inode, at byte 8 of the root; the block has the rest.
pub const SYMLINK_HEAD: usize = 96;

/// Longest regular file whose bytes lie in the inode.
pub const INLINE_DATA_MAX: usize = 104;
/// Offset of the root in an inode.
pub const INODE_ROOT_AT: usize = 80;
/// Flag of a regular file whose bytes are the root, zeros behind the file's end.
pub const FLAG_INLINE: u32 = 1;

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Character device.
    Character,
    /// Block device.
    Block,
}

impl FileKind {
    /// The kind in the upper bits of a mode.
    pub fn from_mode(mode: u32) -> Option<Self> {
        match u8::try_from(mode >> 12) {
            Ok(number) => Self::from_dirent(number & 0o17),
            Err(_) => None,
        }
    }

    /// The kind's bits of a mode (`S_IFREG` ...).
    pub fn mode_bits(self) -> u32 {
        u32::from(self.dirent()) << 12
    }

    /// The kind in a directory record (`DT_REG` ...).
    pub fn from_dirent(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Fifo,
            2 => Self::Character,
            4 => Self::Directory,
            6 => Self::Block,
            8 => Self::Regular,
            10 => Self::Symlink,
            12 => Self::Socket,
            _ => return None,
        })
    }

    /// The number in a directory record (`DT_REG` ...).
    pub fn dirent(self) -> u8 {
        match self {
            Self::Fifo => 1,
            Self::Character => 2,
            Self::Directory => 4,
            Self::Block => 6,
            Self::Regular => 8,
            Self::Symlink => 10,
            Self::Socket => 12,
        }
    }
}

/// An inode's bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs)] // the module's table names the fields
pub struct RawInode {
    pub mode: U32,
    pub nlink: U32,
    pub uid: U32,
    pub gid: U32,
    pub size: U64,
    pub blocks: U64,
    pub atime: I64,
    pub mtime: I64,
    pub ctime: I64,
    pub btime: I64,
    pub generation: U32,
    pub flags: U32,
    pub change: U64,
    pub root: [u8; 104],
    pub xattr_block: U32,
    pub xattr_len: U16,
    pub unused: U16,
    pub xattrs: [u8; 64],
}

const _: () = assert!(size_of::<RawInode>() == INODE_SIZE_BYTES);
const _: () = assert!(std::mem::offset_of!(RawInode, root) == INODE_ROOT_AT);
const _: () = assert!(size_of::<RawExtentRoot>() == INLINE_DATA_MAX);

/// Root of a directory, inside its inode.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct RawDirRoot {
    /// Root block; 0 while the directory is empty.
    pub block: U32,
    /// 0: the root block is a leaf. Otherwise it is an inner node of this level.
    pub level: U32,
    /// The directory that holds this one; the root directory holds itself.
    pub parent: U32,
}

const NO_EXTENTS: RawExtentRoot = RawExtentRoot::EMPTY;

/// A checked inode.
#[derive(Clone, Copy, Debug)]
pub struct Inode {
    /// Its number.
    pub number: u32,
    /// What it is.
    pub kind: FileKind,
    /// The bytes, for fields that need no check.
    pub raw: RawInode,
}

impl Inode {
    /// Accepts the bytes of inode `number` only if they make sense in themselves.
    pub fn check(number: u32, raw: &RawInode, geometry: &Geometry) -> Result<Self, Corrupt> {
        let mut inode = Self { number, kind: FileKind::Regular, raw: *raw };
        inode.validate(geometry)?;
        Ok(inode)
    }

    /// Checks `raw`, which was filled from a store, and sets the kind accordingly.
    pub fn validate(&mut self, geometry: &Geometry) -> Result<(), Corrupt> {
        let bad = |field| Err(Corrupt::InodeField { inode: self.number, field });
        let (raw, number) = (&self.raw, self.number);
        let Some(kind) = FileKind::from_mode(raw.mode.get()) else { return bad("mode") };
        let size = raw.size.get();
        if raw.mode.get() & !0o177_777 != 0 {
            return bad("mode");
        }
        let inline = self.is_inline();
        // The table is found through its extents.
        if raw.flags.get() & !FLAG_INLINE != 0
            || inline && (kind != FileKind::Regular || number == INO_INODE_FILE)
        {
            return bad("flags");
        }
        let root_block = match kind {
            FileKind::Directory => self.dir_root().block.get(),
            FileKind::Symlink if size > SYMLINK_INLINE_MAX as u64 => self.symlink_block(),
            _ => 0,
        };
        let size_ok = match kind {
            FileKind::Regular if inline => size <= INLINE_DATA_MAX as u64,
            FileKind::Regular => size <= FILE_SIZE_MAX,
            FileKind::Symlink => size != 0 && size <= SYMLINK_MAX as u64,
            FileKind::Directory => (root_block == 0) == (size == 0),
            _ => size == 0,
        };
        if !size_ok {
            return bad("size");
        }
        for block in [root_block, raw.xattr_block.get()] {
            if block != 0 && !geometry.allocatable(block, 1) {
                return Err(Corrupt::BlockRange { block, inode: number });
            }
        }
        self.kind = kind;
        Ok(())
    }

    /// Whether it is a regular file whose bytes are in the inode.
    #[inline]
    pub fn is_inline(&self) -> bool {
        self.raw.flags.get() & FLAG_INLINE != 0
    }

    /// Makes a regular file's root the place of its bytes, or of its extents; either has none then.
    pub fn set_inline(&mut self, inline: bool) {
        self.raw.root.fill(0);
        self.raw.flags = (self.raw.flags.get() & !FLAG_INLINE | u32::from(inline)).into();
    }

    /// The bytes of a file whose bytes are in the inode.
    pub fn inline_data(&self) -> &[u8] {
        &self.raw.root[..(self.raw.size.get() as usize).min(INLINE_DATA_MAX)]
    }

    /// The extent root of a regular file; one whose bytes are in the inode has no extents.
    pub fn extent_root(&self) -> &RawExtentRoot {
        if self.is_inline() {
            return &NO_EXTENTS;
        }
        RawExtentRoot::ref_from_bytes(&self.raw.root).unwrap_or(&NO_EXTENTS)
    }

    /// Replaces the extent root.
    pub fn set_extent_root(&mut self, root: &RawExtentRoot) {
        debug_assert!(!self.is_inline(), "an inline file has no extents");
        self.raw.root.copy_from_slice(root.as_bytes());
    }

    /// The root of a directory.
    pub fn dir_root(&self) -> RawDirRoot {
        RawDirRoot::read_from_prefix(&self.raw.root).map(|(root, _)| root).unwrap_or_default()
    }

    /// Replaces the root of a directory.
    pub fn set_dir_root(&mut self, root: &RawDirRoot) {
        self.raw.root[..size_of::<RawDirRoot>()].copy_from_slice(root.as_bytes());
    }

    /// The block of a long symlink's target.
    pub fn symlink_block(&self) -> u32 {
        U32::read_from_prefix(&self.raw.root).map_or(0, |(block, _)| block.get())
    }

    /// The device number of a device.
    pub fn rdev(&self) -> u64 {
        match self.kind {
            FileKind::Character | FileKind::Block => {
                U64::read_from_prefix(&self.raw.root).map_or(0, |(rdev, _)| rdev.get())
            }
            _ => 0,
        }
    }
}
