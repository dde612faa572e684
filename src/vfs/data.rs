//! File data: read, write, append, resize.
//!
//! A write that lies within allocated blocks is done in place: no transaction, one patch of the
//! inode's times and size. Everything else reserves blocks, fills them and enters them.

use super::Volume;
use super::attr::modified;
use super::types::Ino;
use super::{inline, recall};
use crate::core::extent::{self, Mapping};
use crate::core::rules::Rule;
use crate::core::{
    self, Core, Error, InPlace, InodeSlot, Note, Txn, log, make_even, make_odd, stripe_seq,
};
use crate::errno::Errno;
use crate::format::{BLOCK_SIZE, Corrupt, Extent, FILE_SIZE_MAX, FileKind, INLINE_EXTENTS, Inode};
use crate::store::Store;
use crate::store::runtime::{self as rt, Durability};

pub(super) const BLOCK: u64 = BLOCK_SIZE as u64;
/// Bytes read or written in one go: bounds how long the gate is held and what a disturbed reader
/// does again.
pub(super) const CHUNK_MAX: usize = 1 << 20;
/// Nodes that entering one run may add to a file's tree: one on each level and a new root.
const NODES_SPARE_BLOCKS: u32 = 4;
/// Offsets in an inode of what a write in place patches.
const SIZE_AT: usize = 16;
const TIMES_AT: usize = 40;
const CHANGE_AT: usize = 72;

pub(super) fn regular(inode: &Inode) -> core::Result<()> {
    match inode.kind {
        FileKind::Regular => Ok(()),
        FileKind::Directory => Err(Errno::EISDIR.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn file_block(offset: u64) -> core::Result<u32> {
    u32::try_from(offset / BLOCK).map_err(|_| Errno::EFBIG.into())
}

impl<S: Store> Volume<S> {
    /// Reads from `offset` on; gives the number of bytes, less than asked for at the end only.
    pub fn read(&self, ino: Ino, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buffer.len() {
            let end = buffer.len().min(done + CHUNK_MAX);
            let part = &mut buffer[done..end];
            let at = offset.checked_add(done as u64).ok_or(Errno::EINVAL)?;
            let got = self.read_part(ino, at, part)?;
            done += got;
            if got < end - (done - got) {
                break;
            }
        }
        Ok(done)
    }

    fn read_part(&self, ino: Ino, offset: u64, part: &mut [u8]) -> Result<usize, Errno> {
        let store = self.core.image.store();
        let word = stripe_seq(ino);
        if let Some(end) = offset.checked_add(part.len() as u64)
            && let Some(run) = recall::run(self.id, ino, offset, end)
            && store.load(word) == run.seq
        {
            store.read(run.at + (offset - run.from), part);
            if self.undisturbed(word, run.seq) {
                return Ok(part.len());
            }
        }
        let mut piece = None;
        let read = |core: &Core<S>| read_part(core, ino, offset, part, &mut piece);
        let (count, seq) = self.stable_at(ino, read)?;
        if let (Some(seq), Some(Piece { from, to, at })) = (seq, piece) {
            recall::keep_run(self.id, ino, seq, from, to, at);
        }
        Ok(count)
    }

    /// Writes at `offset`; gives the number of bytes written, less than asked for when space ran out.
    pub fn write(&self, ino: Ino, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < bytes.len() {
            let end = bytes.len().min(done + CHUNK_MAX);
            let at = offset.checked_add(done as u64).ok_or(Errno::EFBIG)?;
            match self.write_part(ino, Some(at), &bytes[done..end]) {
                Ok((_, count)) => {
                    let short = count < end - done;
                    done += count;
                    if short {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    }

    /// Writes at the end, wherever that is by then; gives where that was and the bytes written.
    ///
    /// Up to 1 MiB is appended in one piece.
    pub fn append(&self, ino: Ino, bytes: &[u8]) -> Result<(u64, usize), Errno> {
        let first = &bytes[..bytes.len().min(CHUNK_MAX)];
        let (offset, mut done) = self.write_part(ino, None, first)?;
        if done == first.len() && done < bytes.len() {
            done += self.write(ino, offset + done as u64, &bytes[done..])?;
        }
        Ok((offset, done))
    }

    fn write_part(&self, ino: Ino, offset: Option<u64>, bytes: &[u8]) -> Result<(u64, usize), Errno> {
        let now = self.now();
        {
            let _gate = self.admitted_gate()?;
            if let Some(done) = self.write_in_place(ino, offset, bytes, now).map_err(Error::errno)? {
                return Ok(done);
            }
        }
        let (mut fits, mut reserved) = (bytes.len(), 0);
        loop {
            let bytes = &bytes[..fits];
            let answer = self.mutate(|txn| {
                let mut inode = txn.inode(ino)?;
                regular(&inode)?;
                let offset = offset.unwrap_or(inode.raw.size.get());
                let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= FILE_SIZE_MAX);
                let end = end.ok_or(Errno::EFBIG)?;
                txn.touch(ino);
                reserved = 0;
                if inline::stays(&inode, end) {
                    inline::patch(&mut inode, offset, bytes);
                } else {
                    let blocks = inode.raw.blocks.get();
                    let old = inline::leave(&mut inode);
                    if offset >= BLOCK {
                        inline::settle(txn, &mut inode, &old)?;
                    }
                    reserve(txn, &mut inode, offset, bytes.len(), &mut reserved)?;
                    if offset < BLOCK {
                        inline::settle(txn, &mut inode, &old)?;
                    }
                    if blocks > 0 {
                        // Some bytes may go to blocks that it has, and these may lie behind its end.
                        txn.guard(ino, end);
                    }
                    copy_in(txn, &inode, offset, bytes)?;
                }
                inode.raw.size = inode.raw.size.get().max(end).into();
                modified(&mut inode, now);
                txn.put_inode(&inode)?;
                txn.note(Note::Modify(ino));
                Ok((offset, bytes.len()))
            });
            match answer {
                // What there was room for counts. A transaction of its own writes that much: the one
                // that failed may have torn a tree half way through a split.
                Err(Errno::ENOSPC | Errno::EDQUOT) if reserved > 0 => fits = reserved,
                answer => return answer,
            }
        }
    }

    /// Writes if all of it lies within one run of allocated blocks. The caller holds the gate.
    fn write_in_place(
        &self,
        ino: Ino,
        offset: Option<u64>,
        bytes: &[u8],
        now_ns: i64,
    ) -> core::Result<Option<(u64, usize)>> {
        let core = &self.core;
        let (image, store) = (&core.image, core.image.store());
        let slot = core.locate(ino)?;
        let stripe = stripe_seq(ino);
        if let Some(offset) = offset
            && let Some(end) = offset.checked_add(bytes.len() as u64)
            && let Some(run) = recall::run(self.id, ino, offset, end)
            && store.load(stripe) == run.seq
            && !bytes.is_empty()
        {
            let at = run.at + (offset - run.from);
            let mut change = [0; 8];
            image.read(slot.block, slot.at + CHANGE_AT, &mut change);
            let change = u64::from_le_bytes(change);
            let patch = Patch { ino, slot, size: None, change, now_ns };
            self.overwrite(stripe, at, bytes, &patch);
            recall::renew_run(self.id, ino, run.seq.wrapping_add(2));
            return Ok(Some((offset, bytes.len())));
        }
        let inode = core.read_inode(ino)?;
        regular(&inode)?;
        let size = inode.raw.size.get();
        let offset = offset.unwrap_or(size);
        let Some(end) = offset.checked_add(bytes.len() as u64).filter(|&end| end <= FILE_SIZE_MAX)
        else {
            return Err(Errno::EFBIG.into());
        };
        if bytes.is_empty() {
            return Ok(Some((offset, 0)));
        }
        let piece = if inode.is_inline() {
            inline::stays(&inode, end).then(|| inline::piece(core, slot, end.max(size)))
        } else {
            let (within, first) = (offset % BLOCK, file_block(offset)?);
            let blocks = (within + bytes.len() as u64).div_ceil(BLOCK) as u32;
            let mapping = extent::map(image, &inode, first)?;
            let fits = matches!(mapping, Mapping::Run { count, .. } if count >= blocks);
            if fits { piece_of(core, first, &mapping, end.max(size)) } else { None }
        };
        let Some(Piece { from, to, at }) = piece else { return Ok(None) };
        let (size, change) = ((end > size).then_some(end), inode.raw.change.get());
        let patch = Patch { ino, slot, size, change, now_ns };
        self.overwrite(stripe, at + (offset - from), bytes, &patch);
        recall::keep_run(self.id, ino, store.load(stripe), from, to, at);
        Ok(Some((offset, bytes.len())))
    }

    /// Copies bytes over allocated blocks and notes it in the inode. The caller holds the gate.
    ///
    /// The redo slot says what is to be done if this client dies meanwhile. Bytes that lie in the inode are among
    /// its records; of others there may be some, but none behind the file's end.
    fn overwrite(&self, stripe: u64, at: u64, bytes: &[u8], patch: &Patch) {
        let core = &self.core;
        let (image, store) = (&core.image, core.image.store());
        let Patch { ino, slot, size, change, now_ns } = *patch;
        make_odd(store, stripe);
        let within = at.wrapping_sub(image.block_offset(slot.block));
        let inline = within < BLOCK;
        let rules = image.rules();
        let mut redo = InPlace::new(size.filter(|_| !inline).map(|end| (ino, end)));
        if let Some(size) = size {
            redo.add(slot.block, slot.at + SIZE_AT, &size.to_le_bytes());
            if !inline {
                redo.hold_back();
            }
        }
        let mut times = [0; 16];
        times[..8].copy_from_slice(&now_ns.to_le_bytes());
        times[8..].copy_from_slice(&now_ns.to_le_bytes());
        let change = change.wrapping_add(1).to_le_bytes();
        redo.add(slot.block, slot.at + TIMES_AT, &times);
        redo.add(slot.block, slot.at + CHANGE_AT, &change);
        if inline {
            redo.add(slot.block, within as usize, bytes);
        }
        redo.begin(image, inline || !rules.on(Rule::DataBeforeSize));
        // First, so that bytes that lie in the inode itself do not make its block one of data.
        image.mark_dirty(slot.block, true);
        let first = at - image.block_offset(0);
        let blocks = (first % BLOCK + bytes.len() as u64).div_ceil(BLOCK) as u32;
        if rules.on(Rule::DirtyBeforeData) {
            mark_data(core, (first / BLOCK) as u32, blocks);
        }
        store.write(at, bytes);
        if !rules.on(Rule::DirtyBeforeData) {
            mark_data(core, (first / BLOCK) as u32, blocks);
        }
        redo.commit(image);
        if let Some(size) = size {
            image.write(slot.block, slot.at + SIZE_AT, &size.to_le_bytes());
        }
        image.write(slot.block, slot.at + TIMES_AT, &times);
        image.write(slot.block, slot.at + CHANGE_AT, &change);
        store.fetch_add(rt::CHANGE, 1);
        log::modified(image, ino);
        if rules.on(Rule::EmptyBeforeOpening) {
            redo.end(image);
        }
        make_even(store, stripe);
    }
}

/// What a write in place changes of an inode.
struct Patch {
    ino: Ino,
    slot: InodeSlot,
    /// The file's new size, if it grew.
    size: Option<u64>,
    /// The change count before.
    change: u64,
    now_ns: i64,
}

/// A stretch of a file that lies in one piece: bytes `from..to`, from `at` in the store on.
pub(super) struct Piece {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) at: u64,
}

/// The whole stretch around `file_block`, as far as the file of `size` bytes goes.
fn piece_of<S: Store>(core: &Core<S>, file_block: u32, mapping: &Mapping, size: u64) -> Option<Piece> {
    let Mapping::Run { block, count, skip } = *mapping else { return None };
    let from = u64::from(file_block - skip) * BLOCK;
    let to = (from + u64::from(skip + count) * BLOCK).min(size);
    Some(Piece { from, to, at: core.image.block_offset(block - skip) })
}

/// Marks data blocks as changed since the last commit.
pub(super) fn mark_data<S: Store>(core: &Core<S>, block: u32, count: u32) {
    if core.image.durability() != Durability::Memory {
        for block in block..block + count {
            core.image.mark_dirty(block, false);
        }
    }
}

/// Reads what one call may; `piece` gets the last stretch that it came across.
fn read_part<S: Store>(
    core: &Core<S>,
    ino: Ino,
    offset: u64,
    buffer: &mut [u8],
    piece: &mut Option<Piece>,
) -> core::Result<usize> {
    let inode = core.read_inode(ino)?;
    regular(&inode)?;
    let left = inode.raw.size.get().saturating_sub(offset);
    let total = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    if inode.is_inline() {
        if total > 0 {
            let from = offset as usize;
            buffer[..total].copy_from_slice(&inode.inline_data()[from..from + total]);
            *piece = Some(inline::piece(core, core.locate(ino)?, inode.raw.size.get()));
        }
        return Ok(total);
    }
    let mut done = 0;
    while done < total {
        let at = offset + done as u64;
        let within = at % BLOCK;
        let first = file_block(at)?;
        let mapping = extent::map(&core.image, &inode, first)?;
        *piece = piece_of(core, first, &mapping, inode.raw.size.get());
        let (from, count) = match mapping {
            Mapping::Run { block, count, .. } => (Some(block), count),
            Mapping::Hole { count } => (None, count),
        };
        let bytes = u64::from(count) * BLOCK - within;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(total - done);
        let part = &mut buffer[done..done + bytes];
        match from {
            Some(block) => core.image.store().read(core.image.block_offset(block) + within, part),
            None => part.fill(0),
        }
        done += bytes;
    }
    Ok(total)
}

/// Gives each block of a write a place. Only when all have one are bytes copied, so a write that fails
/// has changed nothing. `done`: how many bytes have a place when space runs out.
fn reserve<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    offset: u64,
    len: usize,
    done: &mut usize,
) -> core::Result<()> {
    *done = 0;
    let mut goal = 0;
    while *done < len {
        let at = offset + *done as u64;
        let (within, first) = (at % BLOCK, file_block(at)?);
        let left = (len - *done) as u64;
        let want = u32::try_from((within + left).div_ceil(BLOCK)).map_err(|_| Errno::EFBIG)?;
        let count = match extent::map(txn, inode, first)? {
            Mapping::Run { block, count, .. } => {
                goal = block + count.min(want);
                count.min(want)
            }
            Mapping::Hole { count } => {
                if goal == 0 {
                    goal = goal_before(txn, inode, first)?;
                }
                let run = fill_hole(txn, inode, first, count.min(want), goal)?;
                goal = run.0 + run.1;
                zero_edges(txn, run, within, left);
                run.1
            }
        };
        *done += (u64::from(count) * BLOCK - within).min(left) as usize;
    }
    Ok(())
}

/// Copies bytes into blocks that all have a place.
fn copy_in<S: Store>(txn: &Txn<'_, S>, inode: &Inode, offset: u64, bytes: &[u8]) -> core::Result<()> {
    let core = txn.core();
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done as u64;
        let (within, left) = (at % BLOCK, (bytes.len() - done) as u64);
        let Mapping::Run { block, count, .. } = extent::map(txn, inode, file_block(at)?)? else {
            return Err(Corrupt::Tree { inode: inode.number, block: 0 }.into());
        };
        let count = u64::from(count).min((within + left).div_ceil(BLOCK));
        let part = (count * BLOCK - within).min(left) as usize;
        let before = core.image.rules().on(Rule::DirtyBeforeData);
        if before {
            mark_data(core, block, count as u32);
        }
        core.image.store().write(core.image.block_offset(block) + within, &bytes[done..done + part]);
        if !before {
            mark_data(core, block, count as u32);
        }
        done += part;
    }
    Ok(())
}

/// The block behind the one that holds the file's data before `first`; 0 when there is none.
pub(super) fn goal_before<S: Store>(txn: &Txn<'_, S>, inode: &Inode, first: u32) -> core::Result<u32> {
    let Some(before) = first.checked_sub(1) else { return Ok(0) };
    Ok(match extent::map(txn, inode, before)? {
        Mapping::Run { block, .. } => block + 1,
        Mapping::Hole { .. } => 0,
    })
}

pub(super) fn fill_hole<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    first: u32,
    want: u32,
    goal: u32,
) -> core::Result<(u32, u32)> {
    let root = inode.extent_root();
    let mut want = want;
    if root.level.get() > 0 || usize::from(root.count.get()) >= INLINE_EXTENTS {
        // The tree may need nodes: data must not take the last blocks from under them.
        let free = txn.image().store().load(rt::FREE_BLOCKS);
        want = want.min(free.saturating_sub(NODES_SPARE_BLOCKS)).max(1);
    }
    // The tree may need a new root and a node on each level for the extent that is to come.
    let nodes = u32::from(inode.extent_root().level.get()) + 2;
    let free = txn.image().store().load(rt::FREE_BLOCKS);
    let run = txn.allocate(goal, want.min(free.saturating_sub(nodes).max(1)))?;
    let count = u16::try_from(run.count).map_err(|_| Errno::EFBIG)?;
    extent::insert(txn, inode, Extent { file_block: first, block: run.block, count })?;
    inode.raw.blocks = inode.raw.blocks.get().saturating_add(u64::from(run.count)).into();
    Ok((run.block, run.count))
}

/// Clears what a write of `left` bytes at `within` leaves of a new run's first and last block.
fn zero_edges<S: Store>(txn: &Txn<'_, S>, (block, count): (u32, u32), within: u64, left: u64) {
    let image = txn.image();
    let start = image.block_offset(block);
    image.store().zero(start, within);
    let end = (within + left).min(u64::from(count) * BLOCK);
    image.store().zero(start + end, u64::from(count) * BLOCK - end);
}

/// Cuts a file off or lets it grow a hole. The caller puts the inode back.
pub(super) fn resize<S: Store>(
    txn: &mut Txn<'_, S>,
    inode: &mut Inode,
    size: u64,
    now_ns: i64,
) -> core::Result<()> {
    regular(inode)?;
    if size > FILE_SIZE_MAX {
        return Err(Errno::EFBIG.into());
    }
    let old = inode.raw.size.get();
    if inline::stays(inode, size) {
        inline::clear(inode, size, old);
    } else if inode.is_inline() {
        let bytes = inline::leave(inode);
        inline::settle(txn, inode, &bytes)?;
    } else if size <= old {
        // As on Linux, a size that stays as it is still gives back what was reserved behind the end.
        cut(txn, inode, size)?;
    }
    inode.raw.size = size.into();
    modified(inode, now_ns);
    Ok(())
}

/// Takes everything from a file with extents that lies behind its new end.
fn cut<S: Store>(txn: &mut Txn<'_, S>, inode: &mut Inode, size: u64) -> core::Result<()> {
    let within = size % BLOCK;
    // Bytes behind the end are always zero, so that growing need not look at them.
    if within != 0
        && size < inode.raw.size.get()
        && let Mapping::Run { block, .. } = extent::map(txn, inode, file_block(size)?)?
    {
        txn.zero(block, within, BLOCK - within);
    }
    let first = u32::try_from(size.div_ceil(BLOCK)).map_err(|_| Errno::EFBIG)?;
    extent::remove(txn, inode, first, u32::MAX)?;
    if size == 0 {
        inode.set_inline(true);
    }
    Ok(())
}
