//! Redo slots: what a client is about to do to the image, where others find it if the client dies half way.
//!
//! ```text
//!  0 u32 state: 0 empty, 1 committed, 2 writing, 3 guarded
//!  4 u32 length of the records in bytes
//!  8 u32 where they are: 0 in the slot, 1 in the spill, 2 in blocks whose runs are in the spill
//! 12 u32 bytes of records that count only when the state is committed
//! 16 u32 runs of such blocks
//! 20 u32 1: not all blocks that become free are named
//! 40 u32 inode whose tail is being written, 0 for none        48 u64 end of that tail in the file
//! 64 records
//! ```
//! Records are idempotent, so that they can be applied any number of times, each as a whole or in part:
//!
//! ```text
//! u32 kind | length << 8, u32 block, u32 offset, bytes    Bytes: these, in a block of metadata
//! u32 kind, u32 block, u32 offset, u32 count              Zero: so many bytes of data, from that block on
//! u32 kind, u32 block, u32 count                          Use: these blocks are in use from now on
//! u32 kind, u32 block, u32 count                          Free: these are not
//! ```
//! *Committed* means that the operation counts: who settles applies all records. *Writing* means that bytes are
//! being written over a file's blocks; if that ends half way the file has some of them and keeps its size, and
//! what came to lie behind its end is cleared. *Guarded* means the same of an operation that is not decided yet:
//! it has no records.
//!
//! Invariants
//! - A slot that is not empty belongs to who has the gate, or to a dead client from whom nobody has inherited the
//!   gate yet. So there is one at most, apart from those of heirs who died.
//! - Blocks that nobody can see before the commit are written before it and have no records.

use super::bits;
use super::image::Image;
use super::txn::{Run, forget_dirty, map_word, set_used};
use crate::errno::Errno;
use crate::format::{BLOCK_SIZE, INLINE_DATA_MAX};
use crate::store::rules::{Rule, holds};
use crate::store::runtime::{self as rt, Bitmap, Durability};
use crate::store::{Store, clients};
use std::sync::atomic::Ordering;

const EMPTY: u32 = 0;
const COMMITTED: u32 = 1;
const WRITING: u32 = 2;
const GUARDED: u32 = 3;

/// Size of a slot's head.
const HEAD_SIZE_BYTES: usize = 64;
/// Bytes of records that a slot takes.
const SLOT_RECORDS_BYTES: usize = rt::REDO_SIZE_BYTES as usize - HEAD_SIZE_BYTES;
/// Runs of blocks that the spill can name.
const RUNS_MAX: usize = rt::REDO_SPILL_SIZE_BYTES as usize / 8;

/// Bytes of a record of a run of blocks.
pub(super) const RUN_RECORD_BYTES: usize = 12;

const BYTES: u32 = 1;
const ZERO: u32 = 2;
const USE: u32 = 3;
const FREE: u32 = 4;

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// Bytes of a metadata block.
    Bytes(u32, usize, &'a [u8]),
    /// So many zeros from a block's offset on.
    Zero(u32, u32, u32),
    /// A run of blocks comes into use.
    Use(Run),
    /// A run of blocks is given back.
    Free(Run),
}

impl Record<'_> {
    /// Appends the record.
    pub(super) fn encode(&self, records: &mut Vec<u8>) {
        let mut words = |words: &[u32]| words.iter().for_each(|word| records.extend(word.to_le_bytes()));
        match *self {
            Self::Bytes(block, at, bytes) => {
                words(&[BYTES | (bytes.len() as u32) << 8, block, at as u32]);
                records.extend(bytes);
                records.resize(records.len().next_multiple_of(4), 0);
            }
            Self::Zero(block, at, count) => words(&[ZERO, block, at, count]),
            Self::Use(Run { block, count }) => words(&[USE, block, count]),
            Self::Free(Run { block, count }) => words(&[FREE, block, count]),
        }
    }
}

/// Takes the first record off; none at the end, `EIO` for what is no record of this image.
fn decode<'a>(rest: &mut &'a [u8], capacity_blocks: u32) -> Result<Option<Record<'a>>, Errno> {
    if rest.is_empty() {
        return Ok(None);
    }
    let head = take_word(rest)?;
    let block = take_word(rest)?;
    let fits = |count: u32| u64::from(block) + u64::from(count) <= u64::from(capacity_blocks);
    let record = match head & 0xff {
        BYTES => {
            let (at, len) = (take_word(rest)? as usize, (head >> 8) as usize);
            let bytes = rest.get(..len).ok_or(Errno::EIO)?;
            *rest = rest.get(len.next_multiple_of(4)..).ok_or(Errno::EIO)?;
            if at + len > BLOCK_SIZE || !fits(1) {
                return Err(Errno::EIO);
            }
            Record::Bytes(block, at, bytes)
        }
        ZERO => {
            let (at, count) = (take_word(rest)?, take_word(rest)?);
            let blocks = (u64::from(at) + u64::from(count)).div_ceil(BLOCK_SIZE as u64);
            if !fits(u32::try_from(blocks).map_err(|_| Errno::EIO)?) {
                return Err(Errno::EIO);
            }
            Record::Zero(block, at, count)
        }
        kind @ (USE | FREE) => {
            let count = take_word(rest)?;
            if !fits(count) {
                return Err(Errno::EIO);
            }
            let run = Run { block, count };
            if kind == USE { Record::Use(run) } else { Record::Free(run) }
        }
        _ => return Err(Errno::EIO),
    };
    Ok(Some(record))
}

fn take_word(rest: &mut &[u8]) -> Result<u32, Errno> {
    let (word, tail) = rest.split_first_chunk().ok_or(Errno::EIO)?;
    *rest = tail;
    Ok(u32::from_le_bytes(*word))
}

/// Does what the records say, and keeps the counts of blocks. The caller has the gate.
pub(super) fn apply<S: Store>(image: &Image<S>, mut records: &[u8]) -> Result<(), Errno> {
    let store = image.store();
    let persistent = image.durability() != Durability::Memory;
    let geometry = image.geometry();
    while let Some(record) = decode(&mut records, image.capacity_blocks())? {
        match record {
            Record::Bytes(block, at, bytes) => {
                image.mark_dirty(block, true);
                image.write(block, at, bytes);
            }
            Record::Zero(block, at, count) => {
                let blocks = (u64::from(at) + u64::from(count)).div_ceil(BLOCK_SIZE as u64) as u32;
                (block..block + blocks).for_each(|block| image.mark_dirty(block, false));
                store.zero(image.block_offset(block) + u64::from(at), u64::from(count));
            }
            Record::Use(run) => {
                set_used(image, &geometry, run, true);
                if persistent {
                    bits::set(store, map_word(image, Bitmap::Fresh), run.block, run.count);
                }
                // Last: until then the block cannot be taken for free.
                bits::clear(store, map_word(image, Bitmap::Reserved), run.block, run.count);
            }
            Record::Free(run) => {
                if persistent {
                    // First, so that the block is never free before its commit is durable.
                    let new =
                        bits::set(store, map_word(image, Bitmap::Quarantine), run.block, run.count);
                    store.fetch_add(rt::QUARANTINE_COUNT, new);
                }
                let gone = set_used(image, &geometry, run, false);
                forget_dirty(image, run);
                if !persistent {
                    store.fetch_add(rt::FREE_BLOCKS, gone);
                    image.note_free(run.block);
                }
            }
        }
    }
    Ok(())
}

/// What a slot's head says of the records.
#[derive(Clone, Copy, Default)]
struct Head {
    len: u32,
    place: u32,
    held_back: u32,
    runs: u32,
    incomplete: bool,
}

/// Bytes of a file up to `end` that are being written, perhaps behind the file's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// The file; 0 for none.
    pub ino: u32,
    /// Where the bytes end in the file.
    pub end: u64,
}

const HEAD_AT: u64 = 4;
const TAIL_AT: u64 = 40;

impl Head {
    fn encode(&self) -> [u8; 20] {
        let mut bytes = [0; 20];
        let words = [self.len, self.place, self.held_back, self.runs, u32::from(self.incomplete)];
        for (word, place) in words.iter().zip(bytes.as_chunks_mut::<4>().0) {
            *place = word.to_le_bytes();
        }
        bytes
    }

    fn read<S: Store>(store: &S, slot: u64) -> Self {
        let mut bytes = [0; 20];
        store.read(slot + HEAD_AT, &mut bytes);
        let word = |index: usize| u32::from_le_bytes(bytes.as_chunks::<4>().0[index]);
        let incomplete = word(4) != 0;
        Self { len: word(0), place: word(1), held_back: word(2), runs: word(3), incomplete }
    }
}

impl Tail {
    fn encode(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.ino.to_le_bytes());
        bytes[8..].copy_from_slice(&self.end.to_le_bytes());
        bytes
    }

    fn read<S: Store>(store: &S, slot: u64) -> Self {
        let mut bytes = [0; 16];
        store.read(slot + TAIL_AT, &mut bytes);
        let [ino, _, low, high] = [0, 1, 2, 3].map(|i| u32::from_le_bytes(bytes.as_chunks::<4>().0[i]));
        Self { ino, end: u64::from(low) | u64::from(high) << 32 }
    }
}

fn slot_of(client: u32) -> u64 {
    assert!(clients::is_slot(client), "client {client} has no redo slot: it cannot change the image");
    rt::REDO + u64::from(client - 1) * rt::REDO_SIZE_BYTES
}

fn set_state<S: Store>(store: &S, slot: u64, state: u32) {
    store.store(slot, state);
    // The plain writes that follow must not be done before that.
    store.fence(Ordering::SeqCst);
}

/// How many bytes of records slot and spill take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    slot: usize,
    spill: usize,
}

impl Room {
    /// What there is.
    pub(crate) const ALL: Self =
        Self { slot: SLOT_RECORDS_BYTES, spill: rt::REDO_SPILL_SIZE_BYTES as usize };
    /// For tests of what large operations do.
    #[cfg(test)]
    pub(crate) const NONE: Self = Self { slot: 0, spill: 0 };

    /// Bytes of records that need no blocks.
    pub(super) fn bytes(self) -> usize {
        self.slot.max(self.spill)
    }

    /// Blocks that records of this length need.
    pub(super) fn blocks_needed(self, len: usize) -> u32 {
        if len <= self.bytes() { 0 } else { len.div_ceil(BLOCK_SIZE) as u32 }
    }
}

/// Whether the spill can name so many runs of blocks.
pub(super) fn can_name(runs: usize) -> bool {
    runs <= RUNS_MAX
}

/// Makes an operation count: from here on whoever settles completes it. `scratch` are reserved blocks that take
/// the records when slot and spill do not; `incomplete` says that not all blocks that become free are named.
pub(super) fn commit<S: Store>(image: &Image<S>, records: &[u8], scratch: &[Run], incomplete: bool) {
    let (store, slot) = (image.store(), slot_of(image.client()));
    if !holds(Rule::RecordsBeforeState) {
        set_state(store, slot, COMMITTED);
    }
    let mut head = Head { len: records.len() as u32, incomplete, ..Head::default() };
    if records.len() <= image.redo_room().slot {
        store.write(slot + HEAD_SIZE_BYTES as u64, records);
    } else if scratch.is_empty() {
        head.place = 1;
        store.write(rt::REDO_SPILL, records);
    } else {
        (head.place, head.runs) = (2, scratch.len() as u32);
        let mut rest = records;
        let mut names = Vec::with_capacity(scratch.len() * 8);
        for run in scratch {
            let (part, tail) = rest.split_at(rest.len().min(run.count as usize * BLOCK_SIZE));
            store.write(image.block_offset(run.block), part);
            rest = tail;
            names.extend(run.block.to_le_bytes());
            names.extend(run.count.to_le_bytes());
        }
        debug_assert!(rest.is_empty());
        store.write(rt::REDO_SPILL, &names);
    }
    // A guard that is there stays in force until the next store: it asks for no records.
    store.write(slot + HEAD_AT, &head.encode());
    set_state(store, slot, COMMITTED);
}

/// Announces that bytes are about to be written over a file's blocks, perhaps behind its end; nothing else is to
/// be done if that ends half way.
pub(super) fn guard<S: Store>(image: &Image<S>, tail: Tail) {
    let (store, slot) = (image.store(), slot_of(image.client()));
    store.write(slot + TAIL_AT, &tail.encode());
    set_state(store, slot, GUARDED);
}

/// The operation is done, or given up.
pub(super) fn clear<S: Store>(image: &Image<S>) {
    image.store().store(slot_of(image.client()), EMPTY);
}

/// A write over blocks that a file has, with all that is to be done once its bytes are there.
pub struct InPlace {
    /// What lies in the slot behind the state.
    bytes: [u8; Self::SIZE_BYTES],
    used: usize,
    held_back: u32,
}

impl InPlace {
    const RECORDS_AT: usize = HEAD_SIZE_BYTES - HEAD_AT as usize;
    /// Room for three short records and one of a small file's bytes.
    const SIZE_BYTES: usize = Self::RECORDS_AT + 3 * 28 + 12 + INLINE_DATA_MAX.next_multiple_of(4);

    /// A write. `tail`: the file and where in it the write ends, if that is behind the file's end.
    pub fn new(tail: Option<(u32, u64)>) -> Self {
        let mut bytes = [0; Self::SIZE_BYTES];
        if let Some((ino, end)) = tail {
            let at = (TAIL_AT - HEAD_AT) as usize;
            bytes[at..at + 16].copy_from_slice(&Tail { ino, end }.encode());
        }
        Self { bytes, used: Self::RECORDS_AT, held_back: 0 }
    }

    /// Bytes of a metadata block that change with the write: of its inode, up to 16, or those of a small file.
    pub fn add(&mut self, block: u32, at: usize, bytes: &[u8]) {
        for word in [BYTES | (bytes.len() as u32) << 8, block, at as u32] {
            self.put(&word.to_le_bytes());
        }
        self.put(bytes);
    }

    /// What was added so far counts only when the bytes are there.
    pub fn hold_back(&mut self) {
        self.held_back = (self.used - Self::RECORDS_AT) as u32;
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.used..self.used + bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len().next_multiple_of(4);
    }

    /// Enters it into the client's slot; the caller has the gate. `decided`: the bytes are among the records, so
    /// that the write counts from now on.
    pub fn begin<S: Store>(&mut self, image: &Image<S>, decided: bool) {
        let len = (self.used - Self::RECORDS_AT) as u32;
        let head = Head { len, held_back: self.held_back, ..Head::default() };
        self.bytes[..20].copy_from_slice(&head.encode());
        let slot = slot_of(image.client());
        image.store().write(slot + HEAD_AT, &self.bytes[..self.used]);
        set_state(image.store(), slot, if decided { COMMITTED } else { WRITING });
    }

    /// The bytes are there.
    pub fn commit<S: Store>(&self, image: &Image<S>) {
        if self.held_back > 0 {
            set_state(image.store(), slot_of(image.client()), COMMITTED);
        }
    }

    /// All is done.
    pub fn end<S: Store>(self, image: &Image<S>) {
        clear(image);
    }
}

/// What a dead client's slot asks for.
pub(super) struct Left {
    /// Records to apply.
    pub records: Vec<u8>,
    /// Bytes to clear, if they lie behind the file's end.
    pub tail: Tail,
    /// Not all blocks that become free are named.
    pub incomplete: bool,
}

/// What is in a client's slot; none when that is empty. `EIO` when it is nothing that a client writes.
pub(super) fn left<S: Store>(image: &Image<S>, client: u32) -> Result<Option<Left>, Errno> {
    let (store, slot) = (image.store(), slot_of(client));
    let state = store.load(slot);
    if state == EMPTY {
        return Ok(None);
    }
    let tail = if state == COMMITTED { Tail::default() } else { Tail::read(store, slot) };
    if state == GUARDED {
        return Ok(Some(Left { records: Vec::new(), tail, incomplete: false }));
    }
    let head = Head::read(store, slot);
    let limit = match head.place {
        0 => SLOT_RECORDS_BYTES as u64,
        1 => rt::REDO_SPILL_SIZE_BYTES,
        _ => u64::from(image.capacity_blocks()) * BLOCK_SIZE as u64,
    };
    if u64::from(head.len) > limit || head.held_back > head.len || !can_name(head.runs as usize) {
        return Err(Errno::EIO);
    }
    let mut records = vec![0; head.len as usize];
    match head.place {
        0 => store.read(slot + HEAD_SIZE_BYTES as u64, &mut records),
        1 => store.read(rt::REDO_SPILL, &mut records),
        _ => {
            let mut names = vec![0; head.runs as usize * 8];
            store.read(rt::REDO_SPILL, &mut names);
            let (mut names, mut rest) = (&names[..], &mut records[..]);
            while !names.is_empty() && !rest.is_empty() {
                let (block, count) = (take_word(&mut names)?, take_word(&mut names)?);
                if u64::from(block) + u64::from(count) > u64::from(image.capacity_blocks()) {
                    return Err(Errno::EIO);
                }
                let part = rest.len().min(count as usize * BLOCK_SIZE);
                let (bytes, tail) = std::mem::take(&mut rest).split_at_mut(part);
                store.read(image.block_offset(block), bytes);
                rest = tail;
            }
        }
    }
    if state == WRITING {
        records.drain(..head.held_back as usize);
    }
    Ok(Some(Left { records, tail, incomplete: head.incomplete }))
}

/// Empties a client's slot.
pub(super) fn forget<S: Store>(image: &Image<S>, client: u32) {
    image.store().store(slot_of(client), EMPTY);
}

/// Whether a client's slot is empty.
pub(super) fn is_empty<S: Store>(image: &Image<S>, client: u32) -> bool {
    image.store().load(slot_of(client)) == EMPTY
}
