//! Why a volume cannot be opened, and what to do about it.

use super::device::DeviceError;
use crate::errno::Errno;
use crate::format::{BLOCK_SIZE, SuperblockError};
use std::fmt;

/// Why a volume cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// A device call failed.
    Device(DeviceError),
    /// The superblock is damaged, or of another version.
    Superblock(SuperblockError),
    /// The journal has another format version.
    JournalVersion {
        /// The version found.
        version: u32,
    },
    /// The image has data, but there is no journal.
    NoJournal,
    /// The journal's headers, or numbers in it, cannot be right.
    JournalDamaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The journal is shorter than its header says.
    JournalTruncated {
        /// Bytes found.
        size_bytes: u64,
        /// Bytes that it must have.
        needed_bytes: u64,
    },
    /// Journal and image are of different volumes.
    OtherVolume,
    /// The image is shorter than it was once.
    ImageTruncated {
        /// Blocks found.
        blocks: u32,
        /// Blocks that it had.
        needed_blocks: u32,
    },
    /// Somebody else has opened the volume since it was paused.
    Changed,
    /// The volume needs a larger store.
    Capacity {
        /// Blocks that the store has room for.
        capacity_blocks: u32,
        /// Blocks that the volume has.
        needed_blocks: u32,
    },
}

impl OpenError {
    /// What callers of a mount see.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Device(error) => error.errno,
            Self::Superblock(error) => error.errno(),
            Self::JournalVersion { .. } => Errno::EPROTONOSUPPORT,
            Self::NoJournal
            | Self::JournalDamaged { .. }
            | Self::JournalTruncated { .. }
            | Self::ImageTruncated { .. }
            | Self::Changed => Errno::EIO,
            Self::OtherVolume => Errno::EINVAL,
            Self::Capacity { .. } => Errno::EFBIG,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |blocks: u32| u64::from(blocks) * BLOCK_SIZE as u64;
        match *self {
            Self::Device(error) => write!(f, "cannot open the volume: {error}"),
            Self::Superblock(error) => error.fmt(f),
            Self::JournalVersion { version } => write!(
                f,
                "the volume's journal has format version {version}, this program reads version {}: \
                 use a program built with a matching SABFS",
                crate::format::journal::JOURNAL_VERSION
            ),
            Self::NoJournal => write!(
                f,
                "the volume's journal is missing: restore the file `journal` that belongs to the \
                 image, or open with `adopt` if the image was copied after a checkpoint"
            ),
            Self::JournalDamaged { what } => write!(
                f,
                "the volume's journal is damaged ({what}): restore image and journal from the same \
                 copy, or let `sabfs check --repair` save what is whole"
            ),
            Self::JournalTruncated { size_bytes, needed_bytes } => write!(
                f,
                "the volume's journal is cut off: it has {size_bytes} bytes and must have \
                 {needed_bytes}; restore image and journal from the same copy"
            ),
            Self::OtherVolume => {
                write!(f, "image and journal are of different volumes: restore both from the same copy")
            }
            Self::ImageTruncated { blocks, needed_blocks } => write!(
                f,
                "the volume's image is cut off: it has {} bytes and had {}; restore image and journal \
                 from the same copy",
                bytes(blocks),
                bytes(needed_blocks)
            ),
            Self::Changed => write!(
                f,
                "somebody else has opened the volume meanwhile, so that what is in memory is out of date: \
                 reload the page"
            ),
            Self::Capacity { capacity_blocks, needed_blocks } => write!(
                f,
                "the capacity is too small for this volume: it is {} bytes, give {} or more",
                bytes(capacity_blocks),
                bytes(needed_blocks)
            ),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<DeviceError> for OpenError {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl From<SuperblockError> for OpenError {
    fn from(error: SuperblockError) -> Self {
        Self::Superblock(error)
    }
}
