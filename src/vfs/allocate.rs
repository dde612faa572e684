//! What `fallocate` does: reserving space, and giving it back in the middle of a file.
//!
//! There are no extents that are reserved but not written: reserved blocks hold zeros from the start,
//! also those behind the file's end, so that nothing that reads or writes need know of them.
//!
//! Everything that may fail for want of space is done before the first byte of the file changes.

use super::Volume;
use super::attr::modified;
use super::data::{BLOCK, fill_hole, goal_before, mark_data};
use super::inline;
use super::types::Ino;
use crate::core::extent::{self, Mapping, Visit};
use crate::core::{self, Blocks, Note, Txn};
use crate::errno::Errno;
use crate::format::{FILE_SIZE_MAX, FileKind, Inode};
use crate::persist::ADMISSION_META_BLOCKS;
use crate::store::Store;
use crate::store::runtime::{self as rt, Durability};
use bitflags::bitflags;

/// Runs that one transaction reserves at most: each may change a node of the file's tree, and all
/// changed metadata must fit a journal record.
const RUNS_MAX: u32 = 128;
/// Blocks that one transaction reserves at most (64 MiB): clearing them holds the gate.
const BLOCKS_MAX: u32 = 1 << 14;
/// Redo records of one transaction that reserves space: they always have room.
const REDO_MAX_BYTES: usize = rt::REDO_SPILL_SIZE_BYTES as usize / 2;
/// How often moving extents waits for a commit to make room in the journal record.
const SHIFT_TRIES: u32 = 3;

bitflags! {
    /// Linux's modes of `fallocate`; without any, blocks are reserved and the file grows.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct AllocateMode: u32 {
        /// The file's size stays as it is; blocks behind its end may be reserved.
        const KEEP_SIZE = 0x01;
        /// Gives the range's blocks back; it reads as zeros. Needs `KEEP_SIZE`.
        const PUNCH_HOLE = 0x02;
        /// Takes the range out of the file: what is behind it moves down.
        const COLLAPSE_RANGE = 0x08;
        /// Turns the range into zeros and reserves its blocks.
        const ZERO_RANGE = 0x10;
        /// Puts a hole into the file: what is at the offset and behind it moves up.
        const INSERT_RANGE = 0x20;
    }
}

/// What a mode asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Reserve,
    Punch,
    Zero,
    Collapse,
    Insert,
}

impl AllocateMode {
    fn action(self) -> Result<Action, Errno> {
        let alone = self - Self::KEEP_SIZE;
        if self == Self::COLLAPSE_RANGE {
            Ok(Action::Collapse)
        } else if self == Self::INSERT_RANGE {
            Ok(Action::Insert)
        } else if self.intersects(Self::COLLAPSE_RANGE | Self::INSERT_RANGE) {
            Err(Errno::EINVAL)
        } else if alone == Self::empty() {
            Ok(Action::Reserve)
        } else if alone == Self::ZERO_RANGE {
            Ok(Action::Zero)
        } else if self == Self::PUNCH_HOLE | Self::KEEP_SIZE {
            Ok(Action::Punch)
        } else {
            Err(Errno::EOPNOTSUPP)
        }
    }
}

/// The kinds of error that Linux has for what cannot have space reserved.
fn allocatable(inode: &Inode) -> core::Result<()> {
    match inode.kind {
        FileKind::Regular => Ok(()),
        FileKind::Directory => Err(Errno::EISDIR.into()),
        FileKind::Fifo => Err(Errno::ESPIPE.into()),
        _ => Err(Errno::ENODEV.into()),
    }
}

/// A range of a file in blocks: those that it touches.
#[derive(Clone, Copy)]
struct Range {
    from: u32,
    to: u32,
}

impl Range {
    fn touched(offset: u64, end: u64) -> Result<Self, Errno> {
        let block = |n: u64| u32::try_from(n).map_err(|_| Errno::EFBIG);
        Ok(Self { from: block(offset / BLOCK)?, to: block(end.div_ceil(BLOCK))? })
    }

    /// `EINVAL` unless it is made of whole blocks.
    fn whole(offset: u64, end: u64) -> Result<Self, Errno> {
        if !offset.is_multiple_of(BLOCK) || !end.is_multiple_of(BLOCK) {
            return Err(Errno::EINVAL);
        }
        Self::touched(offset, end)
    }
}

impl<S: Store> Volume<S> {
    /// Reserves, clears, gives back or moves `len` bytes from `offset` on, as `mode` says.
    ///
    /// `EINVAL` when `len` is 0, `EFBIG` when the range reaches behind the largest file, `EOPNOTSUPP` for
    /// modes that do not go together, `EISDIR`, `ESPIPE` or `ENODEV` for what is not a regular file.
    /// Ranges are taken out and put in by whole blocks, and only before the file's end: otherwise `EINVAL`.
    /// A file in so many pieces (half a million or more) that the change would not fit a
    /// journal record gives `EFBIG`.
    /// After `ENOSPC` the file has the bytes and the size that it had, and no block more; only a small file
    /// that had to leave its inode may stay outside when the volume was in very many pieces.
    pub fn allocate(&self, ino: Ino, mode: AllocateMode, offset: u64, len: u64) -> Result<(), Errno> {
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let action = mode.action()?;
        self.stable(ino, |core| allocatable(&core.read_inode(ino)?))?;
        let end = offset.checked_add(len).filter(|&end| end <= FILE_SIZE_MAX).ok_or(Errno::EFBIG)?;
        let keep_size = mode.contains(AllocateMode::KEEP_SIZE);
        match action {
            Action::Punch => self.punch(ino, offset, end),
            Action::Collapse => self.collapse(ino, offset, end),
            Action::Insert => self.insert(ino, offset, len),
            Action::Zero | Action::Reserve => {
                let (zero, now_ns) = (action == Action::Zero, self.now());
                self.reserve_range(ino, &Wish { offset, end, keep_size, zero, now_ns })
            }
        }
    }

    fn punch(&self, ino: Ino, offset: u64, end: u64) -> Result<(), Errno> {
        let now = self.now();
        self.mutate(|txn| {
            let mut inode = txn.inode(ino)?;
            allocatable(&inode)?;
            txn.touch(ino);
            punch(txn, &mut inode, offset, end)?;
            modified(&mut inode, now);
            txn.note(Note::Modify(ino));
            txn.put_inode(&inode)
        })
    }

    fn collapse(&self, ino: Ino, offset: u64, end: u64) -> Result<(), Errno> {
        let range = Range::whole(offset, end)?;
        self.shift(ino, |txn, inode| {
            let size = inode.raw.size.get();
            if end >= size {
                return Err(Errno::EINVAL.into());
            }
            inode.raw.size = (size - (end - offset)).into();
            extent::remove(txn, inode, range.from, range.to)?;
            extent::shift(txn, inode, range.to, -i64::from(range.to - range.from))
        })
    }

    fn insert(&self, ino: Ino, offset: u64, len: u64) -> Result<(), Errno> {
        let range = Range::whole(offset, offset + len)?;
        self.shift(ino, |txn, inode| {
            let size = inode.raw.size.get();
            if offset >= size {
                return Err(Errno::EINVAL.into());
            }
            let grown = size.checked_add(len).filter(|&grown| grown <= FILE_SIZE_MAX);
            inode.raw.size = grown.ok_or(Errno::EFBIG)?.into();
            let old = inline::leave(inode);
            inline::settle(txn, inode, &old)?;
            extent::shift(txn, inode, range.from, i64::from(range.to - range.from))
        })
    }

    /// Moves extents. All nodes that `change` writes go into one journal record, so that no crash leaves a
    /// file half moved.
    fn shift(
        &self,
        ino: Ino,
        mut change: impl FnMut(&mut Txn<'_, S>, &mut Inode) -> core::Result<()>,
    ) -> Result<(), Errno> {
        let now = self.now();
        let (mut too_large, mut tries) = (false, 0);
        loop {
            let answer = self.mutate(|txn| {
                let mut inode = txn.inode(ino)?;
                allocatable(&inode)?;
                txn.touch(ino);
                change(txn, &mut inode)?;
                let nodes = nodes(txn, &inode)?;
                let store = txn.image().store();
                let others = store
                    .load(rt::DIRTY_META_COUNT)
                    .saturating_add(store.load(rt::IN_FLIGHT_META_COUNT));
                too_large = others.saturating_add(nodes) > ADMISSION_META_BLOCKS
                    && txn.image().durability() != Durability::Memory;
                if too_large {
                    return Err(Errno::EFBIG.into());
                }
                modified(&mut inode, now);
                txn.note(Note::Modify(ino));
                txn.put_inode(&inode)
            });
            // There may be room when what others have changed is out of the way.
            if answer != Err(Errno::EFBIG) || !too_large || tries == SHIFT_TRIES {
                return answer;
            }
            too_large = false;
            tries += 1;
            self.commit_and_wait()?;
        }
    }

    /// Gives each hole of a range blocks of zeros, and clears the rest of it if that is wanted.
    fn reserve_range(&self, ino: Ino, want: &Wish) -> Result<(), Errno> {
        let range = Range::touched(want.offset, want.end)?;
        // What can never succeed must not make the volume grow as far as it can.
        let needed = self.stable(ino, |core| {
            let inode = core.read_inode(ino)?;
            if inline::stays(&inode, want.end) { Ok(0) } else { holes(&core.image, &inode, range) }
        })?;
        if u64::from(needed) > self.statfs()?.free_blocks {
            return Err(Errno::ENOSPC);
        }
        let mut done = Done::at(range.from);
        while done.at < range.to {
            match self.mutate(|txn| reserve_some(txn, ino, want, range, &done)) {
                Ok(step) => {
                    done.at = step.at;
                    done.change = step.change;
                    done.written.extend(step.written);
                    done.reserved.extend(step.reserved);
                }
                Err(errno) => {
                    self.give_back(ino, &done);
                    return Err(errno);
                }
            }
        }
        Ok(())
    }

    /// Takes back what was reserved before space ran out. When somebody has written to the file
    /// meanwhile, the blocks stay where they are, which changes no byte of it.
    fn give_back(&self, ino: Ino, done: &Done) {
        for part in done.reserved.chunks(RUNS_MAX as usize) {
            let answer = self.mutate(|txn| {
                let mut inode = txn.inode(ino)?;
                if inode.raw.change.get() != done.change {
                    return Err(Errno::EBUSY.into());
                }
                txn.touch(ino);
                for &(from, to) in part {
                    extent::remove(txn, &mut inode, from, to)?;
                }
                txn.put_inode(&inode)
            });
            if answer.is_err() {
                return;
            }
        }
    }
}

/// What a range is to become.
struct Wish {
    offset: u64,
    end: u64,
    keep_size: bool,
    /// Also what has blocks already becomes zeros.
    zero: bool,
    now_ns: i64,
}

impl Wish {
    /// Notes in the inode that the range is as it was wanted.
    fn finish(&self, inode: &mut Inode) {
        if !self.keep_size {
            inode.raw.size = inode.raw.size.get().max(self.end).into();
        }
        modified(inode, self.now_ns);
    }
}

/// How far reserving a range has come, in file blocks.
struct Done {
    /// First block not looked at yet.
    at: u32,
    /// Stretches that had blocks before.
    written: Vec<(u32, u32)>,
    /// Stretches that got some.
    reserved: Vec<(u32, u32)>,
    /// The inode's change count.
    change: u64,
}

impl Done {
    fn at(block: u32) -> Self {
        Self { at: block, written: Vec::new(), reserved: Vec::new(), change: 0 }
    }
}

/// Does as much of a range as one transaction may. Only the last one changes bytes and size.
fn reserve_some<S: Store>(
    txn: &mut Txn<'_, S>,
    ino: Ino,
    want: &Wish,
    range: Range,
    before: &Done,
) -> core::Result<Done> {
    let mut inode = txn.inode(ino)?;
    allocatable(&inode)?;
    txn.touch(ino);
    if inline::stays(&inode, want.end) {
        // Its place is reserved already.
        if want.zero {
            inline::clear(&mut inode, want.offset, want.end);
        }
        want.finish(&mut inode);
        txn.note(Note::Modify(ino));
        txn.put_inode(&inode)?;
        return Ok(Done::at(range.to));
    }
    let rest = Range { from: before.at, to: range.to };
    if holes(txn, &inode, rest)? > txn.image().store().load(rt::FREE_BLOCKS) {
        return Err(Errno::ENOSPC.into());
    }
    let mut step = Done::at(rest.from);
    let old = inline::leave(&mut inode);
    if rest.from > 0 {
        inline::settle(txn, &mut inode, &old)?;
    }
    fill(txn, &mut inode, rest, &mut step)?;
    if rest.from == 0 && !old.is_empty() {
        inline::settle(txn, &mut inode, &old)?;
        // Whatever comes, this block has bytes of the file now.
        step.written.push((0, 1));
        step.reserved[0].0 = 1;
    }
    if step.at >= range.to {
        if want.zero {
            for &(from, to) in before.written.iter().chain(&step.written) {
                let to = (u64::from(to) * BLOCK).min(want.end);
                clear(txn, &inode, (u64::from(from) * BLOCK).max(want.offset), to)?;
            }
        }
        want.finish(&mut inode);
        txn.note(Note::Modify(ino));
    }
    step.change = inode.raw.change.get();
    txn.put_inode(&inode)?;
    Ok(step)
}

/// Number of nodes of a file's tree.
fn nodes<B: Blocks>(blocks: &B, inode: &Inode) -> core::Result<u32> {
    let mut nodes = 0;
    extent::walk(blocks, inode, &mut |visit| {
        nodes += u32::from(matches!(visit, Visit::Node(_)));
        Ok(())
    })?;
    Ok(nodes)
}

/// Number of blocks of a range that are holes.
fn holes<B: Blocks>(blocks: &B, inode: &Inode, range: Range) -> core::Result<u32> {
    let (mut at, mut sum) = (range.from, 0);
    while at < range.to {
        let left = range.to - at;
        let count = match extent::map(blocks, inode, at)? {
            Mapping::Run { count, .. } => count.min(left),
            Mapping::Hole { count } => {
                sum += count.min(left);
                count.min(left)
            }
        };
        at += count;
    }
    Ok(sum)
}

/// Gives the holes of a range blocks of zeros, as many as one transaction may.
fn fill<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    range: Range,
    done: &mut Done,
) -> core::Result<()> {
    let (mut goal, mut blocks) = (0, 0);
    while done.at < range.to && done.reserved.len() < RUNS_MAX as usize && blocks < BLOCKS_MAX {
        if txn.redo_bytes() > REDO_MAX_BYTES {
            break;
        }
        let at = done.at;
        match extent::map(txn, inode, at)? {
            Mapping::Run { block, count, .. } => {
                let count = count.min(range.to - at);
                goal = block + count;
                done.at += count;
                done.written.push((at, done.at));
            }
            Mapping::Hole { count } => {
                if goal == 0 {
                    goal = goal_before(txn, inode, at)?;
                }
                let want = count.min(range.to - at).min(BLOCKS_MAX - blocks);
                let (block, count) = fill_hole(txn, inode, at, want, goal)?;
                let image = txn.image();
                image.store().zero(image.block_offset(block), u64::from(count) * BLOCK);
                mark_data(txn.core(), block, count);
                goal = block + count;
                blocks += count;
                done.at += count;
                done.reserved.push((at, done.at));
            }
        }
    }
    Ok(())
}

/// Gives the blocks back that lie wholly within `offset..end` and clears the rest of it. The caller
/// puts the inode back.
pub(super) fn punch<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    offset: u64,
    end: u64,
) -> core::Result<()> {
    if inode.is_inline() {
        inline::clear(inode, offset, end);
        return Ok(());
    }
    let (first, last) = (offset.div_ceil(BLOCK), end / BLOCK);
    if first > last {
        return clear(txn, inode, offset, end);
    }
    if first < last {
        let block = |n: u64| u32::try_from(n).map_err(|_| Errno::EFBIG);
        // A cut through the middle of an extent makes two, for which there may be no space.
        extent::remove(txn, inode, block(first)?, block(last)?)?;
    }
    clear(txn, inode, offset, first * BLOCK)?;
    clear(txn, inode, last * BLOCK, end)
}

/// Has zeros written over the allocated part of `from..to` by the commit.
pub(super) fn clear<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &Inode,
    from: u64,
    to: u64,
) -> core::Result<()> {
    let mut at = from;
    while at < to {
        let first = u32::try_from(at / BLOCK).map_err(|_| Errno::EFBIG)?;
        let within = at % BLOCK;
        match extent::map(txn, inode, first)? {
            Mapping::Run { block, count, .. } => {
                let part = (u64::from(count) * BLOCK - within).min(to - at);
                txn.zero(block, within, part);
                at += part;
            }
            Mapping::Hole { count } => at += (u64::from(count) * BLOCK - within).min(to - at),
        }
    }
    Ok(())
}
