//! Transactions: the metadata changes of one operation, private until they are applied together.
//!
//! An operation reads through its transaction, edits copies of blocks in it, and commits. Until then
//! the store shows nothing of it, so an error half way (`ENOSPC`, damage) just drops the transaction.
//! Two things are done at once, because nobody can see them yet: blocks are reserved, and file data
//! are written into reserved blocks or over data that the caller asked to overwrite.
//!
//! A commit writes what is to change into the client's redo slot, then changes it: should the client die in
//! between, whoever gets the gate next completes it (`redo`, `settle`).
//!
//! Invariants
//! - The caller holds the gate from `begin` until the transaction is gone.
//! - The stripe of every inode in `touch` has an odd sequence number until the transaction is gone,
//!   so readers without the gate notice and try again.
//! - Freed blocks stay taken until the commit and are quarantined by it, so a transaction never gets
//!   back what it freed itself.

use super::dir::Place;
use super::edited::Edited;
use super::error::Result;
use super::image::Image;
use super::log::{self, Note};
use super::redo::{self, Record, Tail};
use super::rules::Rule;
use super::{Blocks, Core, bits};
use crate::errno::Errno;
use crate::format::dirent::Found;
use crate::format::{BLOCK_SIZE, Block, BlockKind, Geometry, HEADER_SIZE_BYTES, init_header};
use crate::store::Store;
use crate::store::rules::{Rule as Word, holds};
use crate::store::runtime::{self as rt, Bitmap};
use std::sync::atomic::Ordering;

/// A run of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First block.
    pub block: u32,
    /// Number of blocks, 1 or more.
    pub count: u32,
}

impl Run {
    fn contains(&self, block: u32) -> bool {
        block >= self.block && block - self.block < self.count
    }
}

/// The changes of one operation.
pub struct Txn<'a, S: Store> {
    core: &'a Core<S>,
    lists: Lists,
    used_inodes: i32,
    /// The redo slot says that a file's tail is being written.
    guarded: bool,
}

/// A transaction's lists. They are handed from one transaction to the next, so that most of them need
/// not ask the allocator at all.
#[derive(Default)]
pub(super) struct Lists {
    edited: Vec<Edited>,
    allocated: Vec<Run>,
    freed: Vec<Run>,
    /// Data to clear: block, offset in it, bytes.
    zeros: Vec<(u32, u32, u32)>,
    /// Blocks that hold redo records.
    scratch: Vec<Run>,
    redo: Vec<u8>,
    /// Sequence words that are odd because of this transaction.
    stripes: Vec<u64>,
    /// Records for the change log.
    notes: Vec<u8>,
    /// Where names are, as long as nothing of their leaves and of the nodes above changes.
    places: Vec<Place>,
}

impl<'a, S: Store> Txn<'a, S> {
    /// Starts a transaction. The caller holds the gate.
    pub fn begin(core: &'a Core<S>) -> Self {
        let lists = core.spare_lists.lock().take().unwrap_or_default();
        Self { core, lists, used_inodes: 0, guarded: false }
    }

    /// What the transaction works on.
    pub fn core(&self) -> &'a Core<S> {
        self.core
    }

    /// The image.
    pub fn image(&self) -> &'a Image<S> {
        &self.core.image
    }

    /// Announces that an inode, its tree or its data change.
    pub fn touch(&mut self, ino: u32) {
        let word = stripe_seq(ino);
        if !self.lists.stripes.contains(&word) {
            make_odd(self.core.image.store(), word);
            self.lists.stripes.push(word);
        }
    }

    /// Whether this transaction has announced a change of the inode, or of one in its stripe.
    pub fn touches(&self, ino: u32) -> bool {
        self.lists.stripes.contains(&stripe_seq(ino))
    }

    /// A block as this transaction sees it.
    pub fn load(&mut self, block: u32) -> &Block {
        let index = self.index_of(block);
        self.lists.edited[index].whole(&self.core.image)
    }

    fn index_of(&mut self, block: u32) -> usize {
        if let Some(index) = self.lists.edited.iter().position(|e| e.block == block) {
            return index;
        }
        self.lists.edited.push(Edited::unread(block, self.core.buffers.take()));
        self.lists.edited.len() - 1
    }

    /// A block to change; the caller says which bytes it is going to change, and looks at no others.
    pub fn edit(&mut self, block: u32, from: usize, to: usize) -> &mut Block {
        self.forget_places(block, 1);
        let index = self.index_of(block);
        self.lists.edited[index].edit(&self.core.image, from..to)
    }

    /// Changes bytes of a block, whatever they were.
    pub fn put(&mut self, block: u32, at: usize, bytes: &[u8]) {
        let index = self.index_of(block);
        self.lists.edited[index].put(&self.core.image, at, bytes);
    }

    /// A newly allocated metadata block, with its header and otherwise zero.
    pub fn create_block(&mut self, block: u32, kind: BlockKind, owner: u32) -> &mut Block {
        let mut bytes = self.core.buffers.take();
        init_header(&mut bytes, kind, block, owner);
        self.lists.edited.retain(|e| e.block != block);
        let new = self.lists.allocated.iter().any(|run| run.contains(block));
        self.lists.edited.push(Edited::made(block, bytes, new));
        self.edit(block, 0, BLOCK_SIZE)
    }

    /// Says where a name is, or could be, as found out when the sequence word of its directory's stripe was `seq`: if it
    /// still is, the transaction need not look for itself.
    pub fn hint(&mut self, place: Place, seq: u32) {
        if self.core.image.store().load(stripe_seq(place.dir)) == seq || !holds(Word::PlaceAsSeen) {
            self.give_place(place);
        }
    }

    /// Takes out what is known of a name's place.
    pub(super) fn take_place(&mut self, dir: u32, name: &[u8]) -> Option<Place> {
        let places = &mut self.lists.places;
        let index = places.iter().position(|place| place.dir == dir && place.name == name)?;
        Some(places.swap_remove(index))
    }

    /// Takes out the places of names that are in this leaf, and their records.
    pub(super) fn take_found(&mut self, leaf: u32) -> Vec<(Place, Found)> {
        let taken =
            self.lists.places.extract_if(.., |place| place.leaf == leaf && place.survey.found.is_some());
        taken.filter_map(|place| place.survey.found.map(|found| (place, found))).collect()
    }

    pub(super) fn give_place(&mut self, place: Place) {
        self.lists.places.push(place);
    }

    fn forget_places(&mut self, block: u32, count: u32) {
        let gone = Run { block, count };
        self.lists.places.retain(|place| {
            !gone.contains(place.leaf) && !place.path.iter().any(|step| gone.contains(step.block))
        });
    }

    /// Remembers blocks that were reserved for this transaction.
    pub(super) fn add_allocated(&mut self, run: Run) {
        self.lists.allocated.push(run);
    }

    /// Gives blocks back that were reserved for this transaction and have not been touched.
    pub(super) fn give_back(&mut self, run: Run) {
        self.lists.allocated.retain(|other| *other != run);
        unreserve(&self.core.image, run);
    }

    /// Frees blocks when the transaction commits.
    pub fn free(&mut self, block: u32, count: u32) {
        self.forget_places(block, count);
        self.lists.edited.retain(|e| e.block < block || e.block >= block + count);
        self.lists.freed.push(Run { block, count });
    }

    /// Changes the number of inodes in use.
    pub fn count_inodes(&mut self, delta: i32) {
        self.used_inodes += delta;
    }

    /// Says what the transaction does, for those who watch; they are told when it commits.
    pub fn note(&mut self, note: Note<'_>) {
        if log::watched(&self.core.image) {
            log::collect(&mut self.lists.notes, &note);
        }
    }

    /// Clears data when the transaction commits: `count` bytes from an offset of a block on.
    pub fn zero(&mut self, block: u32, at: u64, count: u64) {
        let (mut at, mut left) = (u64::from(block) * BLOCK_SIZE as u64 + at, count);
        while left > 0 {
            let part = left.min(u64::from(u32::MAX / 2));
            let within = at % BLOCK_SIZE as u64;
            self.lists.zeros.push(((at / BLOCK_SIZE as u64) as u32, within as u32, part as u32));
            (at, left) = (at + part, left - part);
        }
    }

    /// Says that data of a file are about to be written up to `end`, over blocks that it has. Should this client die
    /// before the commit, those behind its end are cleared, and others hear that it may have changed.
    pub fn guard(&mut self, ino: u32, end: u64) {
        redo::guard(&self.core.image, Tail { ino, end });
        self.guarded = true;
    }

    /// Bytes that the redo records of what was edited and is to be cleared take.
    pub fn redo_bytes(&self) -> usize {
        let edited = self.lists.edited.iter().filter(|e| !e.new).flat_map(Edited::changes);
        edited.map(|(from, to)| to - from + 16).sum::<usize>() + self.lists.zeros.len() * 16
    }

    /// Makes everything visible at once.
    ///
    /// `ENOSPC` when so much changes that the redo records need blocks, and there are none: never when no more
    /// than 60 blocks change, whatever is given back.
    pub fn commit(mut self) -> Result<()> {
        let incomplete = self.encode()?;
        let image = &self.core.image;
        let store = image.store();
        for edited in self.lists.edited.iter().filter(|e| e.new && e.is_changed()) {
            image.mark_dirty(edited.block, true);
            image.write(edited.block, 0, &edited.bytes[..]);
        }
        if image.rules().on(Rule::RedoBeforeApply) {
            redo::commit(image, &self.lists.redo, &self.lists.scratch, incomplete);
        }
        redo::apply(image, &self.lists.redo)?;
        self.lists.allocated.clear();
        if incomplete {
            let mut rest = Vec::new();
            self.lists.freed.iter().for_each(|run| Record::Free(*run).encode(&mut rest));
            redo::apply(image, &rest)?;
        }
        store.fetch_add(rt::USED_INODES, self.used_inodes.cast_unsigned());
        store.fetch_add(rt::CHANGE, 1);
        if !self.lists.notes.is_empty() {
            log::append(image, &mut self.lists.notes);
        }
        if image.rules().on(Rule::EmptyBeforeOpening) {
            redo::clear(image);
        }
        self.guarded = false;
        Ok(())
    }

    /// Makes the redo records; true when there was no room for those of the blocks that become free. Then these
    /// are found, if need be, by looking for blocks that nobody uses.
    fn encode(&mut self) -> Result<bool> {
        let Lists { edited, allocated, freed, zeros, redo, .. } = &mut self.lists;
        redo.clear();
        for edited in edited.iter().filter(|e| !e.new) {
            for (from, to) in edited.changes() {
                Record::Bytes(edited.block, from, &edited.bytes[from..to]).encode(redo);
            }
        }
        zeros.iter().for_each(|&(block, at, count)| Record::Zero(block, at, count).encode(redo));
        allocated.iter().for_each(|&run| Record::Use(run).encode(redo));
        let room = self.core.image.redo_room();
        let most = redo.len().max(room.bytes());
        let incomplete = redo.len() + freed.len() * redo::RUN_RECORD_BYTES > most;
        if !incomplete {
            freed.iter().for_each(|&run| Record::Free(run).encode(redo));
        }
        let mut needed = room.blocks_needed(redo.len());
        while needed > 0 {
            let run = self.allocate(0, needed)?;
            // It is not this transaction's to keep.
            self.lists.allocated.pop();
            self.lists.scratch.push(run);
            needed -= run.count;
            if !redo::can_name(self.lists.scratch.len()) {
                return Err(Errno::ENOSPC.into());
            }
        }
        Ok(incomplete)
    }
}

impl<S: Store> Drop for Txn<'_, S> {
    /// Gives back what was reserved but not committed, and lets readers go on.
    fn drop(&mut self) {
        let image = &self.core.image;
        let store = image.store();
        let Lists { allocated, scratch, .. } = &mut self.lists;
        for run in allocated.drain(..).chain(scratch.drain(..)) {
            // Data may have been written into them already.
            forget_dirty(image, run);
            unreserve(image, run);
        }
        if self.guarded {
            redo::clear(image);
        }
        for word in self.lists.stripes.drain(..) {
            make_even(store, word);
        }
        for edited in self.lists.edited.drain(..) {
            self.core.buffers.give(edited.bytes);
        }
        self.lists.freed.clear();
        self.lists.zeros.clear();
        self.lists.notes.clear();
        self.lists.places.clear();
        *self.core.spare_lists.lock() = Some(std::mem::take(&mut self.lists));
    }
}

impl<S: Store> Blocks for Txn<'_, S> {
    fn read(&self, block: u32, at: usize, buffer: &mut [u8]) {
        match self.lists.edited.iter().find(|e| e.block == block) {
            Some(edited) => edited.read(&self.core.image, at, buffer),
            None => self.core.image.read(block, at, buffer),
        }
    }

    fn geometry(&self) -> Geometry {
        self.core.image.geometry()
    }
}

/// Offset of the sequence word of an inode's stripe.
pub fn stripe_seq(ino: u32) -> u64 {
    rt::STRIPES + u64::from(ino) % rt::STRIPES_COUNT * rt::STRIPE_SIZE_BYTES + 4
}

/// Announces a change of what a stripe's sequence word stands for; under the gate.
pub fn make_odd<S: Store>(store: &S, word: u64) {
    if holds(Word::OddBeforeBytes) {
        store.fetch_add(word, 1);
    }
    if holds(Word::FenceBehindOdd) {
        // The plain writes that follow must not be seen before the word is odd.
        store.fence(Ordering::SeqCst);
    }
}

/// Ends what `make_odd` began.
pub fn make_even<S: Store>(store: &S, word: u64) {
    store.fetch_add(word, if holds(Word::OddBeforeBytes) { 1 } else { 2 });
}

/// Offset of the first word of a runtime bitmap.
pub fn map_word<S: Store>(image: &Image<S>, map: Bitmap) -> u64 {
    rt::bit_of(map, image.capacity_blocks(), 0).0
}

/// Marks blocks as used or free in their group's bitmap; gives how many were not so before.
pub(super) fn set_used<S: Store>(image: &Image<S>, geometry: &Geometry, run: Run, used: bool) -> u32 {
    let Some(place) = geometry.place(run.block) else { return 0 };
    let bitmap = geometry.group_start(place.group);
    let word = image.block_offset(bitmap) + HEADER_SIZE_BYTES as u64;
    image.mark_dirty(bitmap, true);
    if used {
        bits::set(image.store(), word, place.bit, run.count)
    } else {
        bits::clear(image.store(), word, place.bit, run.count)
    }
}

/// Reserved blocks are free again.
fn unreserve<S: Store>(image: &Image<S>, run: Run) {
    let store = image.store();
    bits::clear(store, map_word(image, Bitmap::Reserved), run.block, run.count);
    store.fetch_add(rt::FREE_BLOCKS, run.count);
    image.note_free(run.block);
}

/// Freed blocks are nobody's: they need not be written.
pub(super) fn forget_dirty<S: Store>(image: &Image<S>, run: Run) {
    let store = image.store();
    for block in run.block..run.block + run.count {
        let metadata = image.clear_bit(Bitmap::Meta, block);
        if image.clear_bit(Bitmap::Dirty, block) {
            store.fetch_add(rt::DIRTY_COUNT, u32::MAX);
            if metadata {
                store.fetch_add(rt::DIRTY_META_COUNT, u32::MAX);
            }
        }
    }
    bits::clear(store, map_word(image, Bitmap::Fresh), run.block, run.count);
}
