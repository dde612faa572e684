//! Where a file's data and holes are, as `lseek` tells.

use super::Volume;
use super::types::Ino;
use crate::core::extent::{self, Mapping};
use crate::core::{self, Core};
use crate::errno::Errno;
use crate::format::{BLOCK_SIZE, FileKind};
use crate::store::Store;

const BLOCK: u64 = BLOCK_SIZE as u64;

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seek {
    Data,
    Hole,
}

impl<S: Store> Volume<S> {
    /// First byte at or behind `offset` that lies in an allocated block. `ENXIO` when there is none
    /// before the file's end, `EINVAL` for anything but a regular file.
    ///
    /// Blocks that `allocate` has reserved hold zeros and count as data.
    pub fn seek_data(&self, ino: Ino, offset: u64) -> Result<u64, Errno> {
        self.stable(ino, |core| seek(core, ino, offset, Seek::Data))
    }

    /// First byte at or behind `offset` that lies in a hole; the file's end counts as one. `ENXIO` when
    /// `offset` is the end or behind it, `EINVAL` for anything but a regular file.
    pub fn seek_hole(&self, ino: Ino, offset: u64) -> Result<u64, Errno> {
        self.stable(ino, |core| seek(core, ino, offset, Seek::Hole))
    }
}

fn seek<S: Store>(core: &Core<S>, ino: Ino, offset: u64, what: Seek) -> core::Result<u64> {
    let inode = core.read_inode(ino)?;
    if inode.kind != FileKind::Regular {
        return Err(Errno::EINVAL.into());
    }
    let size = inode.raw.size.get();
    if offset >= size {
        return Err(Errno::ENXIO.into());
    }
    if inode.is_inline() {
        return Ok(if what == Seek::Data { offset } else { size });
    }
    let mut at = offset;
    while at < size {
        let block = u32::try_from(at / BLOCK).map_err(|_| Errno::EFBIG)?;
        let (found, count) = match extent::map(&core.image, &inode, block)? {
            Mapping::Run { count, .. } => (Seek::Data, count),
            Mapping::Hole { count } => (Seek::Hole, count),
        };
        if found == what {
            return Ok(at);
        }
        at = (u64::from(block) + u64::from(count)) * BLOCK;
    }
    match what {
        Seek::Data => Err(Errno::ENXIO.into()),
        Seek::Hole => Ok(size),
    }
}
