//! Copying bytes from file to file inside a volume, holes included.

use super::allocate::punch;
use super::attr::modified;
use super::data::{CHUNK_MAX, regular, resize};
use super::types::Ino;
use super::{AsCaller, Volume};
use crate::core::Note;
use crate::errno::Errno;
use crate::format::FILE_SIZE_MAX;
use crate::store::Store;

/// Two stretches of the same length.
struct Pair {
    from: Ino,
    from_offset: u64,
    to: Ino,
    to_offset: u64,
    len: u64,
}

impl<S: Store> Volume<S> {
    /// Copies up to `len` bytes; gives how many, less than asked for at the source's end and when
    /// space ran out. What is a hole in the source becomes one in the target, but for parts of blocks.
    ///
    /// Others may change either file meanwhile, as between a read and a write. `EISDIR` for directories,
    /// `EINVAL` for other things that are no regular files and for ranges of one file that overlap,
    /// `EOVERFLOW` when an offset and `len` make no offset, `EFBIG` behind the largest file.
    pub fn copy_range(
        &self,
        from: Ino,
        from_offset: u64,
        to: Ino,
        to_offset: u64,
        len: u64,
    ) -> Result<u64, Errno> {
        let size = |ino| {
            self.stable(ino, |core| {
                let inode = core.read_inode(ino)?;
                regular(&inode)?;
                Ok(inode.raw.size.get())
            })
        };
        let (source_size, _) = (size(from)?, size(to)?);
        let fits = |offset: u64| offset.checked_add(len).is_some_and(|end| i64::try_from(end).is_ok());
        if !fits(from_offset) || !fits(to_offset) {
            return Err(Errno::EOVERFLOW);
        }
        let room = FILE_SIZE_MAX.checked_sub(to_offset).filter(|&room| room > 0).ok_or(Errno::EFBIG)?;
        let count = len.min(source_size.saturating_sub(from_offset)).min(room);
        if from == to && to_offset < from_offset + count && from_offset < to_offset + count {
            return Err(Errno::EINVAL);
        }
        let mut buffer = Vec::new();
        let mut done = 0;
        while done < count {
            let (from_offset, to_offset) = (from_offset + done, to_offset + done);
            let left = Pair { from, from_offset, to, to_offset, len: count - done };
            match self.copy_some(&left, &mut buffer) {
                Ok(0) => break,
                Ok(part) => done += part,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    }

    /// Copies a part that is data throughout, or a hole.
    fn copy_some(&self, pair: &Pair, buffer: &mut Vec<u8>) -> Result<u64, Errno> {
        let &Pair { from, from_offset, to, to_offset, len } = pair;
        let data = match self.seek_data(from, from_offset) {
            Ok(data) => data,
            Err(Errno::ENXIO) => self.getattr(from)?.size_bytes,
            Err(errno) => return Err(errno),
        };
        if data > from_offset {
            let hole = (data - from_offset).min(len);
            self.copy_hole(to, to_offset, to_offset + hole)?;
            return Ok(hole);
        }
        let end = match self.seek_hole(from, from_offset) {
            Ok(end) => end,
            // Somebody cut the file off meanwhile.
            Err(Errno::ENXIO) => return Ok(0),
            Err(errno) => return Err(errno),
        };
        let part = (end - from_offset).min(len).min(CHUNK_MAX as u64) as usize;
        buffer.resize(buffer.len().max(part), 0);
        let count = self.read(from, from_offset, &mut buffer[..part])?;
        Ok(self.write(to, to_offset, &buffer[..count])? as u64)
    }

    /// Makes a stretch zeros without giving it blocks; the file grows to its end.
    fn copy_hole(&self, ino: Ino, offset: u64, end: u64) -> Result<(), Errno> {
        let now = self.now();
        self.mutate(|txn| {
            let mut inode = txn.inode(ino)?;
            regular(&inode)?;
            txn.touch(ino);
            // First, since this may need a block.
            if end > inode.raw.size.get() {
                resize(txn, &mut inode, end, now)?;
            } else {
                modified(&mut inode, now);
            }
            punch(txn, &mut inode, offset, end)?;
            txn.note(Note::Modify(ino));
            txn.put_inode(&inode)
        })
    }
}

impl<S: Store> AsCaller<'_, S> {
    /// As `Volume::copy_range`, which costs the target its set-ID bits as `write` does.
    pub fn copy_range(
        &self,
        from: Ino,
        from_offset: u64,
        to: Ino,
        to_offset: u64,
        len: u64,
    ) -> Result<u64, Errno> {
        self.drop_set_id(to)?;
        self.volume.copy_range(from, from_offset, to, to_offset, len)
    }
}
