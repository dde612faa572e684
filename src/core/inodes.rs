//! The inode table: a file of blocks with 15 inodes each, itself inode 1.
//!
//! The header's first extra word has a bit for each slot in use, the second one for each slot whose
//! inode has lost its last name but is still held: a mount frees those. A free slot is zero but for
//! its generation. The table grows and never shrinks, and its blocks never move, so a block once
//! found is remembered for ever.

use super::error::Result;
use super::extent;
use super::txn::{Txn, stripe_seq};
use super::{Blocks, Core, Error, Image, Mapping};
use crate::errno::Errno;
use crate::format::{
    BLOCK_SIZE, Block, BlockKind, Corrupt, Extent, FileKind, INO_FIRST_FREE, INO_INODE_FILE, INO_ROOT,
    INODE_SIZE_BYTES, INODES_PER_BLOCK, Inode, RawInode, check_header,
};
use crate::store::Store;
use crate::store::runtime as rt;
use std::sync::atomic::Ordering;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Blocks that the table grows by when it is full: as many as it has, then these, then a share of what
/// it has, so that a large table is not made of many small pieces.
const GROW_BLOCKS: u32 = 8;
const GROW_SHARE: u32 = 16;
const GROW_BLOCKS_MAX: u32 = 64;
/// How often a reader looks for an inode's place while the table changes.
const LOCATE_TRIES: u32 = 1000;
const USED_AT: usize = 24;
const ORPHANS_AT: usize = 28;
const ALL_USED: u32 = (1 << INODES_PER_BLOCK) - 1;

/// Where an inode's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InodeSlot {
    /// The table's block.
    pub block: u32,
    /// Offset of the inode in it.
    pub at: usize,
    /// Number of the slot in the block.
    pub slot: u32,
}

fn grow_blocks(parts: u32) -> u32 {
    GROW_BLOCKS.min(parts).max((parts / GROW_SHARE).min(GROW_BLOCKS_MAX))
}

fn slot_in(block: u32, ino: u32) -> InodeSlot {
    let slot = ino % INODES_PER_BLOCK;
    InodeSlot { block, at: (slot as usize + 1) * INODE_SIZE_BYTES, slot }
}

fn parse<B: Blocks>(blocks: &B, ino: u32, slot: InodeSlot) -> Result<Inode> {
    let mut inode = Inode { number: ino, kind: FileKind::Regular, raw: RawInode::new_zeroed() };
    blocks.read(slot.block, slot.at, inode.raw.as_mut_bytes());
    if inode.raw.mode.get() == 0 {
        return Err(Errno::ENOENT.into());
    }
    inode.validate(&blocks.geometry())?;
    Ok(inode)
}

/// The table and "no inode" are nobody's to work on, whatever a damaged directory names.
fn refuse_internal(ino: u32) -> Result<()> {
    if ino < INO_ROOT { Err(Errno::ENOENT.into()) } else { Ok(()) }
}

/// Part of the table to block, through the table's own extents as `blocks` shows them; `first` is the table's
/// first block.
fn find_part<B: Blocks>(blocks: &B, first: u32, part: u32) -> Result<u32> {
    if part == 0 {
        return Ok(first);
    }
    let table = parse(blocks, INO_INODE_FILE, slot_in(first, INO_INODE_FILE))?;
    match extent::map(blocks, &table, part)? {
        Mapping::Run { block, .. } => Ok(block),
        Mapping::Hole { .. } => Err(Errno::ENOENT.into()),
    }
}

/// An inode of a table that begins at block `first`; under the gate.
pub(super) fn read_settled<B: Blocks>(blocks: &B, first: u32, ino: u32) -> Result<Inode> {
    refuse_internal(ino)?;
    parse(blocks, ino, slot_in(find_part(blocks, first, ino / INODES_PER_BLOCK)?, ino))
}

impl<S: Store> Core<S> {
    fn find_part<B: Blocks>(&self, blocks: &B, part: u32) -> Result<u32> {
        find_part(blocks, self.superblock.inode_file_block, part)
    }

    /// Where an inode's bytes are, for readers without the gate. `EAGAIN` when the table is being changed all the
    /// time: with the gate that cannot be.
    pub fn locate(&self, ino: u32) -> Result<InodeSlot> {
        let part = ino / INODES_PER_BLOCK;
        if let Some(block) = self.inode_map.get(part) {
            return Ok(slot_in(block, ino));
        }
        let store = self.image.store();
        let word = stripe_seq(INO_INODE_FILE);
        for _ in 0..LOCATE_TRIES {
            let before = store.load(word);
            let found = self.find_part(&self.image, part);
            store.fence(Ordering::Acquire);
            if before.is_multiple_of(2) && store.load(word) == before {
                let block = found?;
                self.inode_map.put(part, block);
                return Ok(slot_in(block, ino));
            }
            std::hint::spin_loop();
        }
        // Somebody is slow, or died in the middle of a change: who has the gate finds the word even.
        Err(Errno::EAGAIN.into())
    }

    /// An inode as it is now, for readers without the gate; the caller checks the stripe's sequence.
    pub fn read_inode(&self, ino: u32) -> Result<Inode> {
        refuse_internal(ino)?;
        parse(&self.image, ino, self.locate(ino)?)
    }
}

impl<S: Store> Txn<'_, S> {
    /// Where an inode's bytes are, as this transaction sees it.
    pub fn locate(&self, ino: u32) -> Result<InodeSlot> {
        let part = ino / INODES_PER_BLOCK;
        let core = self.core();
        if let Some(block) = core.inode_map.get(part) {
            return Ok(slot_in(block, ino));
        }
        let block = core.find_part(self, part)?;
        // A table that this very transaction has grown may still be given up.
        if !self.touches(INO_INODE_FILE) {
            core.inode_map.put(part, block);
        }
        Ok(slot_in(block, ino))
    }

    /// An inode as this transaction sees it.
    pub fn inode(&self, ino: u32) -> Result<Inode> {
        refuse_internal(ino)?;
        parse(self, ino, self.locate(ino)?)
    }

    /// Writes an inode back.
    pub fn put_inode(&mut self, inode: &Inode) -> Result<()> {
        self.touch(inode.number);
        let slot = self.locate(inode.number)?;
        self.put(slot.block, slot.at, inode.raw.as_bytes());
        Ok(())
    }

    fn word(&self, block: u32, at: usize) -> u32 {
        let mut word = [0; 4];
        self.read(block, at, &mut word);
        u32::from_le_bytes(word)
    }

    fn set_word(&mut self, block: u32, at: usize, word: u32) {
        self.edit(block, at, at + 4)[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }

    /// Takes a free inode; its generation is the number of uses so far, everything else is zero.
    pub fn allocate_inode(&mut self) -> Result<(u32, RawInode)> {
        let store = self.image().store();
        let table = parse(self, INO_INODE_FILE, self.locate(INO_INODE_FILE)?)?;
        let parts = u32::try_from(table.raw.size.get() / BLOCK_SIZE as u64).unwrap_or(u32::MAX);
        let hint = store.load(rt::INODE_HINT);
        let mut part = if hint < parts { hint } else { 0 };
        for _ in 0..parts {
            let slot = self.locate(part * INODES_PER_BLOCK)?;
            let used = self.word(slot.block, USED_AT);
            if used & ALL_USED != ALL_USED {
                return self.take_slot(part, slot.block, used);
            }
            part = if part + 1 == parts { 0 } else { part + 1 };
        }
        let block = self.grow_table(table, parts)?;
        self.take_slot(parts, block, 0)
    }

    fn take_slot(&mut self, part: u32, block: u32, used: u32) -> Result<(u32, RawInode)> {
        self.image().store().store(rt::INODE_HINT, part);
        let slot = (!used).trailing_zeros();
        let ino = part * INODES_PER_BLOCK + slot;
        if ino < INO_FIRST_FREE {
            return Err(Corrupt::InodeField { inode: ino, field: "used" }.into());
        }
        self.touch(ino);
        self.set_word(block, USED_AT, used | 1 << slot);
        self.count_inodes(1);
        let mut old = RawInode::new_zeroed();
        self.read(block, slot_in(block, ino).at, old.as_mut_bytes());
        let mut raw = RawInode::new_zeroed();
        raw.generation = (old.generation.get().wrapping_add(1)).into();
        Ok((ino, raw))
    }

    fn grow_table(&mut self, mut table: Inode, parts: u32) -> Result<u32> {
        if parts >= u32::MAX / INODES_PER_BLOCK - GROW_BLOCKS_MAX {
            return Err(Errno::ENOSPC.into());
        }
        self.touch(INO_INODE_FILE);
        let last = self.locate((parts - 1) * INODES_PER_BLOCK)?;
        let run = self.allocate_for_good(last.block + 1, grow_blocks(parts))?;
        for block in run.block..run.block + run.count {
            self.create_block(block, BlockKind::Inodes, INO_INODE_FILE);
        }
        let count = u16::try_from(run.count).unwrap_or(1);
        extent::insert(self, &mut table, Extent { file_block: parts, block: run.block, count })?;
        let grown = u64::from(parts) + u64::from(run.count);
        table.raw.size = (grown * BLOCK_SIZE as u64).into();
        table.raw.blocks = table.raw.blocks.get().saturating_add(u64::from(run.count)).into();
        self.put_inode(&table)?;
        Ok(run.block)
    }

    /// Gives an inode number back. The inode's blocks have been freed.
    pub fn free_inode(&mut self, ino: u32) -> Result<()> {
        let slot = self.locate(ino)?;
        self.touch(ino);
        let mut old = RawInode::new_zeroed();
        self.read(slot.block, slot.at, old.as_mut_bytes());
        let mut raw = RawInode::new_zeroed();
        raw.generation = old.generation;
        let to = slot.at + INODE_SIZE_BYTES;
        self.edit(slot.block, slot.at, to)[slot.at..to].copy_from_slice(raw.as_bytes());
        let used = self.word(slot.block, USED_AT);
        self.set_word(slot.block, USED_AT, used & !(1 << slot.slot));
        self.set_orphan(ino, false)?;
        self.count_inodes(-1);
        let store = self.image().store();
        let part = ino / INODES_PER_BLOCK;
        if part < store.load(rt::INODE_HINT) {
            store.store(rt::INODE_HINT, part);
        }
        Ok(())
    }

    /// Notes that an inode without a name is still held, or that it no longer is.
    pub fn set_orphan(&mut self, ino: u32, orphan: bool) -> Result<()> {
        let slot = self.locate(ino)?;
        let orphans = self.word(slot.block, ORPHANS_AT);
        let changed = if orphan { orphans | 1 << slot.slot } else { orphans & !(1 << slot.slot) };
        if changed != orphans {
            self.set_word(slot.block, ORPHANS_AT, changed);
        }
        Ok(())
    }
}

/// What one block of the table says about its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableBlock {
    /// The part of the table.
    pub part: u32,
    /// Its block.
    pub block: u32,
    /// A bit for each slot in use.
    pub used: u32,
    /// A bit for each orphan.
    pub orphans: u32,
}

/// Calls `visit` with every block of the inode table and its bytes. The caller holds the gate or
/// mounts.
pub fn for_each_table_block<S: Store>(
    core: &Core<S>,
    visit: &mut dyn FnMut(TableBlock, &Block) -> Result<()>,
) -> Result<()> {
    for_each_block_of_table(&core.image, core.superblock.inode_file_block, visit)
}

/// The same for a table that begins at block `first`.
pub(super) fn for_each_block_of_table<S: Store>(
    image: &Image<S>,
    first: u32,
    visit: &mut dyn FnMut(TableBlock, &Block) -> Result<()>,
) -> Result<()> {
    let table = parse(image, INO_INODE_FILE, slot_in(first, INO_INODE_FILE));
    let table = table.map_err(|error| match error {
        // There is none where the table's own inode has to be.
        Error::Os(_) => Corrupt::InodeField { inode: INO_INODE_FILE, field: "mode" }.into(),
        corrupt => corrupt,
    })?;
    let size = table.raw.size.get();
    let bad = Corrupt::InodeField { inode: INO_INODE_FILE, field: "size" };
    let parts = u32::try_from(size / BLOCK_SIZE as u64).map_err(|_| bad)?;
    if parts == 0 || !size.is_multiple_of(BLOCK_SIZE as u64) || parts > image.capacity_blocks() {
        return Err(bad.into());
    }
    let mut bytes = Box::new([0; BLOCK_SIZE]);
    for part in 0..parts {
        let block = find_part(image, first, part).map_err(|error| match error {
            Error::Os(_) => bad.into(),
            corrupt => corrupt,
        })?;
        image.read_block(block, &mut bytes);
        let header = check_header(&bytes[..], BlockKind::Inodes, block, INO_INODE_FILE)?;
        let [used, orphans] = header.extra.map(|word| word.get());
        if (used | orphans) & !ALL_USED != 0 || orphans & !used != 0 {
            return Err(Corrupt::InodeField { inode: part * INODES_PER_BLOCK, field: "used" }.into());
        }
        visit(TableBlock { part, block, used, orphans }, &bytes)?;
    }
    Ok(())
}

/// The inode in a slot of a table block that was copied out.
pub fn inode_in(bytes: &Block, ino: u32, geometry: &crate::format::Geometry) -> Result<Inode> {
    let slot = slot_in(0, ino);
    let raw = RawInode::read_from_bytes(&bytes[slot.at..slot.at + INODE_SIZE_BYTES])
        .map_err(|_| Corrupt::InodeField { inode: ino, field: "slot" })?;
    Ok(Inode::check(ino, &raw, geometry)?)
}
