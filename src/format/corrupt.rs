//! Damage: what is wrong with the bytes of an image, and where.

use super::BlockKind;
use std::fmt;

/// Bytes of an image that cannot be what a correct program wrote.
///
/// Callers see `EIO`; `check` and the mount's error message show the whole of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corrupt {
    /// Neither superblock copy is valid.
    NoSuperblock,
    /// A field of the superblock is outside its range.
    SuperblockField {
        /// Name of the field.
        field: &'static str,
    },
    /// A block's hash does not fit its bytes.
    Hash {
        /// The block.
        block: u32,
    },
    /// A metadata block is not of the kind that its place asks for.
    Kind {
        /// The block.
        block: u32,
        /// What was expected there.
        expected: BlockKind,
    },
    /// A metadata block says that it is another block.
    Misplaced {
        /// Where it was found.
        block: u32,
        /// Where it says it belongs.
        says: u32,
    },
    /// A metadata block belongs to another inode than the one that refers to it.
    Owner {
        /// The block.
        block: u32,
        /// Inode that refers to it.
        inode: u32,
    },
    /// A block number points outside the image or at a block that cannot be allocated.
    BlockRange {
        /// The number.
        block: u32,
        /// Inode that holds it, 0 for none.
        inode: u32,
    },
    /// An extent's length or flags make no sense.
    Extent {
        /// Inode that holds it.
        inode: u32,
    },
    /// The records of a tree are out of order, too many, or nested too deep.
    Tree {
        /// Inode that owns the tree.
        inode: u32,
        /// Block of the node, 0 for the root inside the inode.
        block: u32,
    },
    /// A directory record overruns its block or has an impossible name.
    Dirent {
        /// Directory.
        inode: u32,
        /// Its block.
        block: u32,
        /// Offset of the record in the block.
        at: u16,
    },
    /// A record of extended attributes overruns the list, has an impossible name, or one that came before.
    Xattr {
        /// The inode.
        inode: u32,
        /// Offset of the record in the list.
        at: u16,
    },
    /// An inode's field is outside its range.
    InodeField {
        /// The inode.
        inode: u32,
        /// Name of the field.
        field: &'static str,
    },
    /// A directory names an inode that is not in use.
    DanglingName {
        /// The inode named.
        inode: u32,
    },
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoSuperblock => write!(f, "neither superblock copy is valid"),
            Self::SuperblockField { field } => write!(f, "superblock field {field} is out of range"),
            Self::Hash { block } => write!(f, "block {block} does not match its checksum"),
            Self::Kind { block, expected } => write!(f, "block {block} is not of kind {expected:?}"),
            Self::Misplaced { block, says } => {
                write!(f, "block {block} says that it is block {says}")
            }
            Self::Owner { block, inode } => {
                write!(f, "block {block} does not belong to inode {inode}, which refers to it")
            }
            Self::BlockRange { block, inode } => {
                write!(f, "inode {inode} refers to block {block}, which it cannot own")
            }
            Self::Extent { inode } => write!(f, "inode {inode} has an impossible extent"),
            Self::Tree { inode, block } => {
                write!(f, "tree of inode {inode} is malformed at block {block}")
            }
            Self::Dirent { inode, block, at } => {
                write!(f, "directory {inode} has a malformed record in block {block} at {at}")
            }
            Self::Xattr { inode, at } => {
                write!(f, "inode {inode} has a malformed extended attribute at {at} of its list")
            }
            Self::InodeField { inode, field } => {
                write!(f, "field {field} of inode {inode} is out of range")
            }
            Self::DanglingName { inode } => write!(f, "a name refers to inode {inode}, which is free"),
        }
    }
}

impl std::error::Error for Corrupt {}
