//! What a check can find: one variant for each way in which an image can disagree with itself.

use crate::format::{Corrupt, FileKind};
use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is lost and nothing will be: wasted space, a stale copy.
    Warning,
    /// Some files are damaged, or will be if the volume is written to.
    Error,
    /// The volume cannot be used.
    Fatal,
}

/// One disagreement, with where it is. Blocks are image blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // the variants' sentences name the fields
pub enum Finding {
    /// Neither superblock copy can be used.
    NoSuperblock,
    /// The inode table cannot be walked.
    Table(Corrupt),
    /// The root directory is not in use or not a directory.
    NoRoot,

    /// One of the two superblock copies is damaged.
    SuperblockCopy { copy: u32 },
    /// The inode table does not begin where the superblock says.
    TableStart { block: u32 },
    /// A metadata block does not match its checksum.
    Seal { block: u32, inode: u32 },
    /// A block or a record is malformed in itself.
    Structure(Corrupt),

    /// A block is used twice.
    BlockTwice { block: u32, inode: u32, other: u32 },
    /// A block is used but free in its group's bitmap: the next write may overwrite it.
    BlockNotMarked { block: u32, inode: u32 },
    /// Blocks are taken in the bitmap but nobody's.
    BlocksLeaked { block: u32, count: u32 },
    /// Bits of a bitmap that must be set, those beyond the group's end, are clear.
    BitmapTail { group: u32 },
    /// The inode's count of its blocks is wrong.
    BlockCount { inode: u32, says: u64, found: u64 },
    /// A file has a block behind its end that holds more than zeros.
    BehindEnd { inode: u32, file_block: u32 },
    /// The bytes between a file's end and the end of its last block are not zero.
    DirtyTail { inode: u32, block: u32 },
    /// The bytes between the end of a file that lies in its inode and the end of their place are not zero.
    DirtyInline { inode: u32 },

    /// A slot of the inode table that is not in use holds an inode.
    FreeSlot { inode: u32 },
    /// An inode has neither a name nor the mark of an orphan.
    Unnamed { inode: u32 },
    /// An inode that still has names is marked as an orphan: the next mount would free it.
    OrphanNamed { inode: u32 },
    /// A directory without a name still holds names.
    OrphanFull { inode: u32 },
    /// The inode's link count is wrong.
    LinkCount { inode: u32, says: u32, found: u32 },
    /// A directory has more than one name.
    DirectoryTwice { inode: u32 },
    /// A directory names another parent than the one that holds it.
    Parent { inode: u32, says: u32, found: u32 },
    /// Directories hold each other in a circle, apart from the root.
    Loop { inode: u32 },

    /// A name leads to an inode that is not in use.
    NameDangling { directory: u32, inode: u32 },
    /// A name leads to an inode that no name may lead to: the table or the root directory.
    NameReserved { directory: u32, inode: u32 },
    /// A directory record says another kind than the inode is of.
    NameKind { directory: u32, inode: u32, says: FileKind, is: FileKind },
    /// A directory record's hash is not that of its name: the name cannot be found.
    NameHash { directory: u32, block: u32, at: u16 },
    /// A name lies in a leaf that does not cover its hash: it cannot be found.
    NamePlace { directory: u32, block: u32, at: u16 },
    /// A directory holds one name twice.
    NameTwice { directory: u32, block: u32, at: u16 },
    /// A leaf's count of its names is wrong.
    LeafCount { directory: u32, block: u32, says: u32, found: u32 },
    /// The directory's count of its names is wrong.
    NameCount { inode: u32, says: u64, found: u64 },

    /// A symbolic link's target is not what its length says, or holds a zero byte.
    Target { inode: u32 },
    /// The extended attributes have a length that does not go with their place.
    Xattrs { inode: u32 },
    /// The bytes behind the extended attributes are not zero.
    XattrRemains { inode: u32 },

    /// A counter of the mounted volume is wrong; the next mount counts anew.
    Counter { name: &'static str, says: u32, found: u32 },
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::NoSuperblock | Self::Table(_) | Self::NoRoot => Severity::Fatal,
            Self::SuperblockCopy { .. }
            | Self::BlocksLeaked { .. }
            | Self::DirtyTail { .. }
            | Self::DirtyInline { .. }
            | Self::XattrRemains { .. }
            | Self::FreeSlot { .. }
            | Self::Counter { .. } => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoSuperblock => write!(f, "neither superblock copy is valid"),
            Self::Table(corrupt) => write!(f, "the inode table cannot be read: {corrupt}"),
            Self::NoRoot => write!(f, "the root directory is missing"),
            Self::SuperblockCopy { copy } => write!(f, "superblock copy {copy} is damaged"),
            Self::TableStart { block } => {
                write!(f, "the inode table does not begin at block {block}, as the superblock says")
            }
            Self::Seal { block, inode } => {
                write!(f, "block {block} of inode {inode} does not match its checksum")
            }
            Self::Structure(corrupt) => corrupt.fmt(f),
            Self::BlockTwice { block, inode, other } => {
                write!(f, "block {block} belongs to inode {inode} and to inode {other}")
            }
            Self::BlockNotMarked { block, inode } => {
                write!(f, "block {block} of inode {inode} is free in the bitmap")
            }
            Self::BlocksLeaked { block, count } => {
                write!(f, "{count} blocks from {block} on are taken in the bitmap but nobody's")
            }
            Self::BitmapTail { group } => {
                write!(f, "the bitmap of group {group} has free bits that stand for no block")
            }
            Self::BlockCount { inode, says, found } => {
                write!(f, "inode {inode} counts {says} blocks but has {found}")
            }
            Self::BehindEnd { inode, file_block } => {
                write!(f, "inode {inode} has bytes behind its end in file block {file_block}")
            }
            Self::DirtyTail { inode, block } => {
                write!(f, "inode {inode} has bytes behind its end in block {block}")
            }
            Self::DirtyInline { inode } => {
                write!(f, "inode {inode} holds its file's bytes and others behind the file's end")
            }
            Self::FreeSlot { inode } => write!(f, "inode {inode} is free but its slot is not empty"),
            Self::Unnamed { inode } => write!(f, "inode {inode} is in use but has no name"),
            Self::OrphanNamed { inode } => {
                write!(f, "inode {inode} is marked as an orphan but has a name or counts one")
            }
            Self::OrphanFull { inode } => {
                write!(f, "directory {inode} has no name but still holds names")
            }
            Self::LinkCount { inode, says, found } => {
                write!(f, "inode {inode} counts {says} links but has {found}")
            }
            Self::DirectoryTwice { inode } => write!(f, "directory {inode} has more than one name"),
            Self::Parent { inode, says, found } => {
                write!(f, "directory {inode} lies in {found} but says that it lies in {says}")
            }
            Self::Loop { inode } => {
                write!(f, "directory {inode} lies in itself and cannot be reached from the root")
            }
            Self::NameDangling { directory, inode } => {
                write!(f, "directory {directory} has a name for inode {inode}, which is free")
            }
            Self::NameReserved { directory, inode } => {
                write!(f, "directory {directory} has a name for inode {inode}, which can have none")
            }
            Self::NameKind { directory, inode, says, is } => write!(
                f,
                "directory {directory} says that inode {inode} is of kind {says:?}, but it is {is:?}"
            ),
            Self::NameHash { directory, block, at } => write!(
                f,
                "directory {directory} has a record in block {block} at {at} whose hash does not \
                 match its name"
            ),
            Self::NamePlace { directory, block, at } => write!(
                f,
                "directory {directory} has a record in block {block} at {at} that belongs into \
                 another block"
            ),
            Self::NameTwice { directory, block, at } => {
                write!(f, "directory {directory} has a name twice, once in block {block} at {at}")
            }
            Self::LeafCount { directory, block, says, found } => {
                write!(f, "block {block} of directory {directory} counts {says} names but has {found}")
            }
            Self::NameCount { inode, says, found } => {
                write!(f, "directory {inode} counts {says} names but has {found}")
            }
            Self::Target { inode } => write!(f, "the target of symbolic link {inode} is damaged"),
            Self::Xattrs { inode } => {
                write!(f, "the extended attributes of inode {inode} have an impossible length")
            }
            Self::XattrRemains { inode } => {
                write!(f, "inode {inode} has bytes behind its extended attributes")
            }
            Self::Counter { name, says, found } => {
                write!(f, "the mounted volume counts {says} {name} but there are {found}")
            }
        }
    }
}
