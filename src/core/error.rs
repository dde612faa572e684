//! What can go wrong inside the core: a word for the caller, or damage.

use crate::errno::Errno;
use crate::format::Corrupt;
use std::fmt;

/// The two never mix: an `Errno` is an answer, a `Corrupt` is a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The operation cannot be done.
    Os(Errno),
    /// The image is damaged.
    Corrupt(Corrupt),
}

/// Result of the core's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What the caller sees.
    pub fn errno(self) -> Errno {
        match self {
            Self::Os(errno) => errno,
            Self::Corrupt(_) => Errno::EIO,
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

impl From<Corrupt> for Error {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(errno) => errno.fmt(f),
            Self::Corrupt(corrupt) => write!(f, "the volume is damaged: {corrupt}"),
        }
    }
}

impl std::error::Error for Error {}
