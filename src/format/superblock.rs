//! The superblock: two copies, blocks 0 and 1; the newest valid one counts.
//!
//! ```text
//!   0  header (32)                        kind "SABF", block 0 or 1, owner 0
//!  32  format_major u32, format_minor u32
//!  40  features: compat u64, ro_compat u64, incompat u64
//!  64  uuid [16]                          names the volume; the journal carries it too
//!  80  generation u64                     the copy with the greater one is the newer
//!  88  image_blocks u32
//!  92  inode_file_block u32               first block of the inode file, which holds inodes 0 to 14
//!  96  hash_key [16]                      SipHash key of the directories
//! 112  created i64                        nanoseconds since 1970
//! 120  zero to the end
//! ```
//! Superblocks are rewritten only when the volume is made or grows, never by an operation.

use super::{Block, BlockKind, Corrupt, Geometry, check_header, init_header, seal, verify};
use crate::errno::Errno;
use std::fmt;
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Another major version cannot be read at all.
pub const FORMAT_MAJOR: u32 = 1;
/// A greater minor version only adds what its feature flags name.
pub const FORMAT_MINOR: u32 = 0;
/// Compatible features this program knows: unknown ones are ignored.
pub const FEATURES_COMPAT: u64 = 0;
/// Features without which a volume may only be read.
pub const FEATURES_RO_COMPAT: u64 = 0;
/// Features without which a volume cannot be read.
pub const FEATURES_INCOMPAT: u64 = 0;

/// The bytes from offset 32 on.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs)] // the module's table names the fields
pub struct RawSuperblock {
    pub format_major: U32,
    pub format_minor: U32,
    pub compat: U64,
    pub ro_compat: U64,
    pub incompat: U64,
    pub uuid: [u8; 16],
    pub generation: U64,
    pub image_blocks: U32,
    pub inode_file_block: U32,
    pub hash_key: [u8; 16],
    pub created: I64,
}

const _: () = assert!(size_of::<RawSuperblock>() == 88);

/// A checked superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Names the volume.
    pub uuid: [u8; 16],
    /// Of two valid copies the one with the greater generation counts.
    pub generation: u64,
    /// The image's shape.
    pub geometry: Geometry,
    /// First block of the inode file.
    pub inode_file_block: u32,
    /// Key of the directories' hash.
    pub hash_key: [u8; 16],
    /// When the volume was made, nanoseconds since 1970.
    pub created: i64,
    /// The volume has read-only compatible features that this program does not know.
    pub read_only: bool,
}

/// Why a superblock cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuperblockError {
    /// It is damaged.
    Corrupt(Corrupt),
    /// It is of another format version.
    Version {
        /// Major version found.
        major: u32,
        /// Minor version found.
        minor: u32,
    },
    /// It has incompatible features that this program does not know.
    Features {
        /// The unknown bits.
        unknown: u64,
    },
}

impl SuperblockError {
    /// The errno that callers see.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Corrupt(_) => Errno::EIO,
            Self::Version { .. } | Self::Features { .. } => Errno::EPROTONOSUPPORT,
        }
    }
}

impl fmt::Display for SuperblockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(corrupt) => write!(f, "the volume is damaged: {corrupt}"),
            Self::Version { major, minor } => write!(
                f,
                "the volume has format version {major}.{minor}, this program reads version \
                 {FORMAT_MAJOR}.{FORMAT_MINOR}: use a program built with a matching SABFS"
            ),
            Self::Features { unknown } => write!(
                f,
                "the volume uses features {unknown:#x} that this program does not know: use a \
                 program built with a newer SABFS"
            ),
        }
    }
}

impl Superblock {
    /// The newest valid one of both copies, `copies` being blocks 0 and 1.
    pub fn choose(copies: [&Block; 2]) -> Result<Self, SuperblockError> {
        let [a, b] = [Self::check(copies[0], 0), Self::check(copies[1], 1)];
        match (a, b) {
            (Ok(a), Ok(b)) => Ok(if b.generation > a.generation { b } else { a }),
            (Ok(one), Err(SuperblockError::Corrupt(_)))
            | (Err(SuperblockError::Corrupt(_)), Ok(one)) => Ok(one),
            // A sealed copy of an unknown version must not be passed over for an older one.
            (Err(e @ (SuperblockError::Version { .. } | SuperblockError::Features { .. })), _)
            | (_, Err(e)) => Err(e),
        }
    }

    /// Reads one copy.
    pub fn check(bytes: &Block, block: u32) -> Result<Self, SuperblockError> {
        let corrupt = |_| SuperblockError::Corrupt(Corrupt::NoSuperblock);
        check_header(bytes, BlockKind::Superblock, block, 0).map_err(corrupt)?;
        if !verify(bytes) {
            return Err(SuperblockError::Corrupt(Corrupt::NoSuperblock));
        }
        let (raw, _) = RawSuperblock::read_from_prefix(&bytes[32..])
            .map_err(|_| SuperblockError::Corrupt(Corrupt::NoSuperblock))?;
        if raw.format_major.get() != FORMAT_MAJOR {
            let (major, minor) = (raw.format_major.get(), raw.format_minor.get());
            return Err(SuperblockError::Version { major, minor });
        }
        let unknown = raw.incompat.get() & !FEATURES_INCOMPAT;
        if unknown != 0 {
            return Err(SuperblockError::Features { unknown });
        }
        let field = |field| SuperblockError::Corrupt(Corrupt::SuperblockField { field });
        let geometry = Geometry::new(raw.image_blocks.get())
            .filter(|geometry| geometry.image_blocks() == raw.image_blocks.get())
            .ok_or(field("image_blocks"))?;
        if !geometry.allocatable(raw.inode_file_block.get(), 1) {
            return Err(field("inode_file_block"));
        }
        Ok(Self {
            uuid: raw.uuid,
            generation: raw.generation.get(),
            geometry,
            inode_file_block: raw.inode_file_block.get(),
            hash_key: raw.hash_key,
            created: raw.created.get(),
            read_only: raw.ro_compat.get() & !FEATURES_RO_COMPAT != 0,
        })
    }

    /// Writes copy `block` (0 or 1) into `bytes`, sealed.
    pub fn encode(&self, bytes: &mut Block, block: u32) {
        init_header(bytes, BlockKind::Superblock, block, 0);
        let raw = RawSuperblock {
            format_major: U32::new(FORMAT_MAJOR),
            format_minor: U32::new(FORMAT_MINOR),
            compat: U64::new(FEATURES_COMPAT),
            ro_compat: U64::new(FEATURES_RO_COMPAT),
            incompat: U64::new(FEATURES_INCOMPAT),
            uuid: self.uuid,
            generation: U64::new(self.generation),
            image_blocks: U32::new(self.geometry.image_blocks()),
            inode_file_block: U32::new(self.inode_file_block),
            hash_key: self.hash_key,
            created: I64::new(self.created),
        };
        bytes[32..120].copy_from_slice(raw.as_bytes());
        seal(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::BLOCK_SIZE;

    fn sample(generation: u64) -> Superblock {
        Superblock {
            uuid: [7; 16],
            generation,
            geometry: Geometry::new(1000).unwrap(),
            inode_file_block: 3,
            hash_key: [9; 16],
            created: -5,
            read_only: false,
        }
    }

    #[test]
    fn newest_valid_copy_counts() {
        let (mut a, mut b) = ([0; BLOCK_SIZE], [0; BLOCK_SIZE]);
        sample(4).encode(&mut a, 0);
        sample(5).encode(&mut b, 1);
        assert_eq!(Superblock::choose([&a, &b]), Ok(sample(5)));
        b[200] ^= 1;
        assert_eq!(Superblock::choose([&a, &b]), Ok(sample(4)));
        a[90] ^= 1;
        let error = Superblock::choose([&a, &b]).unwrap_err();
        assert_eq!(error, SuperblockError::Corrupt(Corrupt::NoSuperblock));
        assert_eq!(Superblock::check(&[0; BLOCK_SIZE], 0).unwrap_err().errno(), Errno::EIO);
    }

    #[test]
    fn other_versions_and_features_are_named() {
        let mut a = [0; BLOCK_SIZE];
        sample(1).encode(&mut a, 0);
        a[32] = 2;
        seal(&mut a);
        let error = Superblock::choose([&a, &[0; BLOCK_SIZE]]).unwrap_err();
        assert_eq!(error, SuperblockError::Version { major: 2, minor: 0 });
        a[32] = 1;
        a[56] = 4;
        seal(&mut a);
        let error = Superblock::choose([&a, &[0; BLOCK_SIZE]]).unwrap_err();
        assert_eq!(error, SuperblockError::Features { unknown: 4 });
        a[56] = 0;
        a[48] = 1;
        seal(&mut a);
        assert!(Superblock::choose([&a, &[0; BLOCK_SIZE]]).unwrap().read_only);
    }
}
