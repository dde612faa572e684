//! The oracle's files: where they have blocks, and what moves those.

use super::oracle::{CHUNK, Node, Oracle, Result};
use sabfs::errno::Errno::*;
use sabfs::format::{FILE_SIZE_MAX, FileKind};
use sabfs::vfs::{AllocateMode, Ino};

/// Longest file that lies in its inode.
const INLINE_MAX: u64 = 104;

/// What is done to a range, all of it being checked.
#[derive(Clone, Copy, PartialEq)]
enum Change {
    Reserve { zero: bool, keep_size: bool },
    Punch,
    Collapse,
    Insert,
}

fn change(mode: AllocateMode) -> Result<Change> {
    const KEEP_SIZE: AllocateMode = AllocateMode::KEEP_SIZE;
    let keep_size = mode.contains(KEEP_SIZE);
    if mode.intersects(AllocateMode::COLLAPSE_RANGE | AllocateMode::INSERT_RANGE) {
        return match mode {
            AllocateMode::COLLAPSE_RANGE => Ok(Change::Collapse),
            AllocateMode::INSERT_RANGE => Ok(Change::Insert),
            _ => Err(EINVAL),
        };
    }
    match mode - KEEP_SIZE {
        AllocateMode::PUNCH_HOLE if keep_size => Ok(Change::Punch),
        AllocateMode::ZERO_RANGE => Ok(Change::Reserve { zero: true, keep_size }),
        rest if rest.is_empty() => Ok(Change::Reserve { zero: false, keep_size }),
        _ => Err(EOPNOTSUPP),
    }
}

impl Node {
    /// A file that reaches behind its inode's room gets a block for what it has.
    fn outgrow(&mut self, end: u64) {
        if self.inline && end > INLINE_MAX {
            self.inline = false;
            if self.size > 0 {
                self.chunk(0);
            }
        }
    }

    fn chunk(&mut self, number: u64) -> &mut [u8; 4096] {
        self.chunks.entry(number).or_insert_with(|| Box::new([0; 4096]))
    }

    fn grow(&mut self, end: u64) {
        self.outgrow(end);
        self.size = self.size.max(end);
    }

    pub fn put(&mut self, offset: u64, bytes: &[u8]) {
        self.grow(offset + bytes.len() as u64);
        let (mut at, mut left) = (offset, bytes);
        while !left.is_empty() {
            let within = (at % CHUNK) as usize;
            let (part, rest) = left.split_at(left.len().min(4096 - within));
            self.chunk(at / CHUNK)[within..within + part.len()].copy_from_slice(part);
            at += part.len() as u64;
            left = rest;
        }
    }

    pub fn resize(&mut self, size: u64) {
        self.outgrow(size);
        if size <= self.size {
            self.chunks.retain(|&chunk, _| chunk * CHUNK < size);
            self.clear(size, self.size);
            self.inline |= size == 0;
        }
        self.size = size;
    }

    fn clear(&mut self, from: u64, to: u64) {
        for (&number, chunk) in self.chunks.range_mut(from / CHUNK..to.div_ceil(CHUNK)) {
            let start = number * CHUNK;
            let range = from.max(start) - start..to.min(start + CHUNK).max(start) - start;
            chunk[range.start as usize..range.end as usize].fill(0);
        }
    }

    fn punch(&mut self, from: u64, to: u64) {
        self.clear(from, to);
        if !self.inline {
            self.chunks.retain(|&chunk, _| chunk * CHUNK < from || (chunk + 1) * CHUNK > to);
        }
    }

    fn reserve(&mut self, from: u64, to: u64, zero: bool, keep_size: bool) {
        if zero {
            self.clear(from, to);
        }
        self.outgrow(to);
        if !self.inline {
            (from / CHUNK..to.div_ceil(CHUNK)).for_each(|number| _ = self.chunk(number));
        }
        if !keep_size {
            self.size = self.size.max(to);
        }
    }

    fn renumber(&mut self, number: impl Fn(u64) -> Option<u64>) {
        let chunks = std::mem::take(&mut self.chunks).into_iter();
        self.chunks = chunks.filter_map(|(old, chunk)| Some((number(old)?, chunk))).collect();
    }

    fn seek(&self, offset: u64, data: bool) -> Result<u64> {
        if offset >= self.size {
            return Err(ENXIO);
        }
        if self.inline {
            return Ok(if data { offset } else { self.size });
        }
        let first = offset / CHUNK;
        let found = if data {
            self.chunks.range(first..).next().map(|(&number, _)| number)
        } else {
            (first..).find(|number| !self.chunks.contains_key(number))
        };
        match found.map(|number| (number * CHUNK).max(offset)).filter(|&at| at < self.size) {
            Some(at) => Ok(at),
            None if data => Err(ENXIO),
            None => Ok(self.size),
        }
    }
}

impl Oracle {
    pub fn allocate(&mut self, ino: Ino, mode: AllocateMode, offset: u64, len: u64) -> Result<()> {
        if len == 0 {
            return Err(EINVAL);
        }
        let change = change(mode)?;
        let node = self.node(ino)?;
        match node.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(EISDIR),
            FileKind::Fifo => return Err(ESPIPE),
            _ => return Err(ENODEV),
        }
        let end = offset.checked_add(len).filter(|&end| end <= FILE_SIZE_MAX).ok_or(EFBIG)?;
        if matches!(change, Change::Collapse | Change::Insert) {
            let limit = if change == Change::Collapse { end } else { offset };
            if !offset.is_multiple_of(CHUNK) || !len.is_multiple_of(CHUNK) || limit >= node.size {
                return Err(EINVAL);
            }
        }
        let last = node.chunks.last_key_value().map_or(0, |(&last, _)| last);
        // What is reserved behind the end moves, too.
        let moves = last >= offset / CHUNK && (last + 1) * CHUNK + len > FILE_SIZE_MAX;
        if change == Change::Insert && (node.size + len > FILE_SIZE_MAX || moves) {
            return Err(EFBIG);
        }
        if self.dry {
            return Ok(());
        }
        let now = self.now;
        let node = self.edit(ino);
        node.modified(now);
        let (from, to) = (offset / CHUNK, end / CHUNK);
        match change {
            Change::Reserve { zero, keep_size } => node.reserve(offset, end, zero, keep_size),
            Change::Punch => node.punch(offset, end),
            Change::Collapse => {
                node.size -= len;
                node.renumber(|old| match old {
                    _ if old < from => Some(old),
                    _ if old < to => None,
                    _ => Some(old - (to - from)),
                });
            }
            Change::Insert => {
                node.outgrow(node.size + len);
                node.size += len;
                node.renumber(|old| Some(if old < from { old } else { old + (to - from) }));
            }
        }
        Ok(())
    }

    /// First data and first hole from an offset on.
    pub fn seek(&self, ino: Ino, offset: u64) -> [Result<u64>; 2] {
        match self.node(ino) {
            Ok(node) if node.kind != FileKind::Regular => [Err(EINVAL); 2],
            Ok(node) => [true, false].map(|data| node.seek(offset, data)),
            Err(errno) => [Err(errno); 2],
        }
    }

    /// Gives how many bytes were copied.
    pub fn copy(&mut self, from: (Ino, u64), to: (Ino, u64), len: u64) -> Result<u64> {
        let size = self.regular(from.0)?.size;
        self.regular(to.0)?;
        for (_, offset) in [from, to] {
            offset.checked_add(len).filter(|&end| end <= i64::MAX as u64).ok_or(EOVERFLOW)?;
        }
        if to.1 >= FILE_SIZE_MAX {
            return Err(EFBIG);
        }
        let count = len.min(size.saturating_sub(from.1)).min(FILE_SIZE_MAX - to.1);
        if from.0 == to.0 && to.1 < from.1 + count && from.1 < to.1 + count {
            return Err(EINVAL);
        }
        if self.dry || count == 0 {
            return Ok(count);
        }
        let now = self.now;
        self.edit(to.0).modified(now);
        let (mut at, end) = (from.1, from.1 + count);
        while at < end {
            let source = self.node(from.0)?;
            let data = source.seek(at, true).unwrap_or(source.size).min(end);
            let there = |at: u64| to.1 + (at - from.1);
            if data > at {
                let node = self.edit(to.0);
                node.grow(there(data));
                node.punch(there(at), there(data));
                at = data;
                continue;
            }
            let hole = source.seek(at, false)?.min(end);
            let bytes = source.data(at, (hole - at) as usize);
            self.edit(to.0).put(there(at), &bytes);
            at = hole;
        }
        Ok(count)
    }
}
