//! The header that every metadata block begins with, and the seal.
//!
//! ```text
//!  0        8       12      16      20      24      28      32
//!  +--------+-------+-------+-------+-------+-------+-------+
//!  | hash   | kind  | block | owner | unused| extra | extra |
//!  +--------+-------+-------+-------+-------+-------+-------+
//! ```
//! `hash` is XXH64, seed 0, over bytes 8..4096. It is computed when the block leaves the store
//! (sealing) and compared when the block is loaded; in memory it proves nothing and is stale.
//! `block` catches misdirected writes, `owner` is the inode whose tree the block is part of.

use super::{BLOCK_SIZE, Block, Corrupt};
use xxhash_rust::xxh64::xxh64;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Size of the header.
pub const HEADER_SIZE_BYTES: usize = 32;

/// What a metadata block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum BlockKind {
    /// Superblock copy A or B.
    Superblock = u32::from_le_bytes(*b"SABF"),
    /// Block bitmap of a group.
    Bitmap = u32::from_le_bytes(*b"BMAP"),
    /// 15 inodes. First extra: bits of the slots in use. Second extra: bits of the orphans.
    Inodes = u32::from_le_bytes(*b"INOD"),
    /// Node of an extent tree. First extra: number of records. Second extra: level, 0 for extents.
    Extents = u32::from_le_bytes(*b"EXTN"),
    /// Leaf of a directory. First extra: number of names.
    DirLeaf = u32::from_le_bytes(*b"DLEF"),
    /// Inner node of a directory. First extra: number of entries. Second extra: level, 1 or more.
    DirNode = u32::from_le_bytes(*b"DNOD"),
    /// Target of a symbolic link. First extra: its length.
    Symlink = u32::from_le_bytes(*b"SYML"),
    /// Extended attributes. First extra: bytes used.
    Xattrs = u32::from_le_bytes(*b"XATR"),
}

/// The header's bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct RawHeader {
    /// XXH64 over the rest of the block.
    pub hash: U64,
    /// A [`BlockKind`].
    pub kind: U32,
    /// The block's own number.
    pub block: U32,
    /// Inode that owns the block, 0 for none.
    pub owner: U32,
    /// Zero.
    pub unused: U32,
    /// Meaning depends on the kind.
    pub extra: [U32; 2],
}

const _: () = assert!(size_of::<RawHeader>() == HEADER_SIZE_BYTES);

/// Writes a fresh header into `bytes` and clears the rest.
pub fn init_header(bytes: &mut Block, kind: BlockKind, block: u32, owner: u32) {
    bytes.fill(0);
    let header = RawHeader {
        hash: U64::ZERO,
        kind: U32::new(kind as u32),
        block: U32::new(block),
        owner: U32::new(owner),
        unused: U32::ZERO,
        extra: [U32::ZERO; 2],
    };
    bytes[..HEADER_SIZE_BYTES].copy_from_slice(header.as_bytes());
}

/// The header of `bytes`, if it is that of `block`, of the kind and owner asked for.
///
/// The hash is not looked at: see [`verify`].
pub fn check_header(
    bytes: &[u8],
    kind: BlockKind,
    block: u32,
    owner: u32,
) -> Result<RawHeader, Corrupt> {
    let Ok((header, _)) = RawHeader::read_from_prefix(bytes) else {
        return Err(Corrupt::Kind { block, expected: kind });
    };
    if header.kind.get() != kind as u32 {
        return Err(Corrupt::Kind { block, expected: kind });
    }
    if header.block.get() != block {
        return Err(Corrupt::Misplaced { block, says: header.block.get() });
    }
    if header.owner.get() != owner {
        return Err(Corrupt::Owner { block, inode: owner });
    }
    Ok(header)
}

/// Computes the hash of a metadata block and writes it into the header.
pub fn seal(bytes: &mut Block) {
    let hash = xxh64(&bytes[8..BLOCK_SIZE], 0);
    bytes[..8].copy_from_slice(&hash.to_le_bytes());
}

/// Whether the hash in the header fits the block's bytes.
pub fn verify(bytes: &Block) -> bool {
    bytes[..8] == xxh64(&bytes[8..BLOCK_SIZE], 0).to_le_bytes()
}
