//! Commits: consistent cuts of the store, brought to the disk.
//!
//! ```text
//! 1  while many data blocks are dirty:   under the gate   mark the bulk of them clean
//!                                        without it       copy them to the image file
//! 2  the cut, under the gate:            copy all dirty blocks aside, mark them clean, read CHANGE,
//!                                        take what is quarantined
//! 3  without it:  bulk to the image, room for the record's blocks in it, flush if any; seal the
//!                 metadata; write the record; publish WRITTEN
//! 4  flush; release what was quarantined at the cut; publish DURABLE
//! ```
//! From the moment that it is marked clean until step 4 a block is *in flight*: should the keeper die, whoever
//! follows marks it dirty again (`takeover`).
//!
//! A block that step 1 copied and that is changed before the cut is dirty again and is copied again in
//! step 2: from the cut's private copy, so that it is as consistent as the rest. What step 1 left in
//! the image is either this block's content at the cut, or is overwritten before the record refers to
//! it, by the image write or by the record's copy. A torn copy, made while somebody wrote, is of this
//! second kind, since whoever changes a block marks it dirty before leaving the gate.
//!
//! Invariants
//! - Every block that is dirty, or `owed`, or in an unflushed record will be written again if anything
//!   fails: an error never makes the keeper forget a change.
//! - Fresh bits are never set again after an error. Fewer fresh blocks mean more journaling, never harm;
//!   a block that is taken for fresh although a record that may have landed refers to it does harm.

use super::bits::{Quarantined, collect};
use super::device::{Device, DeviceError};
use super::disk::Disk;
use super::histogram;
use super::journal::NewRecord;
use super::metrics::{Counts, Stopwatch, host_stopwatch};
use super::plan::{Kinds, Limits, Part, Plan, TooLarge};
use super::rules::{Rule, Rules};
use crate::core::Image;
use crate::errno::Errno;
use crate::format::journal::{record_blocks, record_header_blocks};
use crate::format::{BLOCK_SIZE, Block, seal};
use crate::store::Store;
use crate::store::rules::{Rule as Word, holds};
use crate::store::runtime::{self as rt, Bitmap, Durability};
use std::fmt;

/// Up to so many blocks that go to the image are copied at the cut (8 MiB); more are written while the
/// gate is closed, which holds up those who write faster than the device.
const ASIDE_BLOCKS: usize = 2048;
/// Buffers larger than this are given back after a commit.
const BUFFER_KEEP_BYTES: usize = 16 << 20;
/// Where a superblock has the volume's uuid.
const UUID_AT: std::ops::Range<usize> = 64..80;

/// Why a commit failed. The store still has everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// The device refused.
    Device(DeviceError),
    /// The gate could not be had: its holder died.
    Gate(Errno),
    /// More metadata are dirty than a record takes.
    TooLarge {
        /// How many blocks.
        blocks: usize,
    },
    /// The superblock in the store is of another volume than the journal.
    OtherVolume,
}

impl CommitError {
    /// What callers of fsync see.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Device(error) => error.errno,
            Self::Gate(errno) => *errno,
            Self::TooLarge { .. } => Errno::EFBIG,
            Self::OtherVolume => Errno::EINVAL,
        }
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => error.fmt(f),
            Self::Gate(errno) => write!(f, "cannot stop the writers for a commit: {errno}"),
            Self::TooLarge { blocks } => {
                write!(f, "{blocks} metadata blocks have changed, more than one journal record takes")
            }
            Self::OtherVolume => {
                write!(f, "the volume in the store is not the one whose files are open")
            }
        }
    }
}

impl std::error::Error for CommitError {}

impl From<DeviceError> for CommitError {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

/// Holds the gate.
struct Gate<'a, S: Store>(&'a Image<S>);

impl<'a, S: Store> Gate<'a, S> {
    fn close(image: &'a Image<S>) -> Result<Self, CommitError> {
        if holds(Word::CutUnderGate) {
            image.lock_gate().map_err(CommitError::Gate)?;
        }
        Ok(Self(image))
    }
}

impl<S: Store> Drop for Gate<'_, S> {
    fn drop(&mut self) {
        if holds(Word::CutUnderGate) {
            self.0.unlock_gate();
        }
    }
}

/// Takes cuts of one store. Buffers are kept, so that a small commit allocates next to nothing.
#[derive(Default)]
pub struct Committer {
    /// Sizes that decide where blocks go.
    pub limits: Limits,
    rules: Rules,
    dirty: Vec<u32>,
    kinds: Kinds,
    plan: Plan,
    records: Vec<u8>,
    aside: Vec<u8>,
    /// See [`Plan::mixes`], of the last commit.
    mixes: bool,
    /// Blocks whose image writes are not flushed yet.
    bypassed: Vec<u32>,
    /// Blocks that have to be marked dirty again.
    owed: Vec<u32>,
    /// Blocks that are marked as being in flight.
    in_flight: Vec<u32>,
    /// What was quarantined at the cut that is being written.
    at_cut: Quarantined,
    /// What was quarantined at the last cut that is wholly written: the next flush frees it.
    releasable: Quarantined,
    /// Change count of that cut.
    written: u32,
    durable: u32,
    /// Commits that wrote a record.
    pub commits: u32,
    /// Measures how long commits take.
    pub stopwatch: Option<Stopwatch>,
    counts: Counts,
    /// When the commit under way began, in microseconds, and how many there were before it.
    begun_us: u64,
    commits_before: u32,
}

impl Committer {
    /// A committer for a store whose changes up to `change` are durable.
    pub fn new(change: u32, limits: Limits, rules: Rules) -> Self {
        let stopwatch = host_stopwatch();
        Self { written: change, durable: change, limits, rules, stopwatch, ..Self::default() }
    }

    /// Change count up to which everything is written.
    pub fn written(&self) -> u32 {
        self.written
    }

    /// Change count up to which everything is durable.
    pub fn durable(&self) -> u32 {
        self.durable
    }

    /// Whether a crash during the last commit that was tried may leave a mixture of old and new data.
    #[cfg(any(test, feature = "sim"))]
    pub fn mixes(&self) -> bool {
        self.mixes
    }

    /// Whether a flush would make something durable.
    pub fn has_unflushed<D: Device>(&self, disk: &Disk<D>) -> bool {
        disk.journal.has_unflushed() || self.written != self.durable
    }

    /// Whether blocks wait to be marked dirty again after an error.
    pub fn has_owed(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Commits everything that has changed; with `flush` makes it durable.
    ///
    /// After an error the dirty marks are as if the commit had not been tried.
    pub fn commit<S: Store, D: Device>(
        &mut self,
        image: &Image<S>,
        disk: &mut Disk<D>,
        flush: bool,
        beat: &dyn Fn(),
    ) -> Result<(), CommitError> {
        self.begun_us = self.stopwatch.map_or(0, |now| now());
        self.commits_before = self.commits;
        let result = self.pay(image).and_then(|()| {
            self.write(image, disk, beat)?;
            let store = image.store();
            let many = disk.journal.unflushed_meta() > super::UNFLUSHED_META_BLOCKS;
            // Somebody may be about to need what only a flush sets free.
            let short = store.load(rt::QUARANTINE_COUNT) > store.load(rt::FREE_BLOCKS);
            if flush || many || short { self.flush(image, disk, beat) } else { Ok(()) }
        });
        self.recover(image, disk, result)
    }

    /// Puts what was done into the volume's metrics; with it, how long the commit took if clients in this
    /// mode are about to be told of it.
    fn account<S: Store, D: Device>(&mut self, image: &Image<S>, disk: &Disk<D>, told: Durability) {
        self.tell(image, disk);
        if let Some(now) = self.stopwatch
            && self.commits != self.commits_before
            && image.durability() == told
        {
            let us = now().saturating_sub(self.begun_us);
            histogram::record(image.store(), rt::COMMIT_HISTOGRAM, us);
        }
    }

    /// Puts what was done into the volume's metrics.
    pub fn tell<S: Store, D: Device>(&mut self, image: &Image<S>, disk: &Disk<D>) {
        self.counts.tell(image.store(), disk, self.commits);
    }

    /// After an error, remembers what has to be written again.
    fn recover<S: Store, D: Device>(
        &mut self,
        image: &Image<S>,
        disk: &mut Disk<D>,
        result: Result<(), CommitError>,
    ) -> Result<(), CommitError> {
        if result.is_err() {
            let mut doubtful = disk.journal.take_doubtful();
            if !doubtful.is_empty() {
                // Commits that were written since the last flush may be lost.
                self.written = self.durable;
                self.releasable.clear();
                self.owed.append(&mut doubtful);
            }
            self.owed.append(&mut self.bypassed);
            self.owed.append(&mut self.plan.numbers);
            self.owed.append(&mut self.plan.in_place);
            self.plan.clear();
        }
        if !self.owed.is_empty() {
            // Without the gate it stays owed and the next commit tries again.
            let paid = self.pay(image);
            if paid.is_ok() {
                // Those are dirty again, and count as that alone.
                image.store().store(rt::IN_FLIGHT_META_COUNT, disk.journal.unflushed_meta());
            }
            return result.and(paid);
        }
        result
    }

    /// Marks dirty again what is owed, but for blocks that were freed meanwhile.
    fn pay<S: Store>(&mut self, image: &Image<S>) -> Result<(), CommitError> {
        if self.owed.is_empty() {
            return Ok(());
        }
        let _gate = Gate::close(image)?;
        for block in self.owed.drain(..) {
            // Until the commit that frees it is durable, a freed block cannot be anything else.
            if !image.bit(Bitmap::Quarantine, block) {
                image.mark_dirty(block, image.bit(Bitmap::Meta, block));
            }
        }
        Ok(())
    }

    fn write<S: Store, D: Device>(
        &mut self,
        image: &Image<S>,
        disk: &mut Disk<D>,
        beat: &dyn Fn(),
    ) -> Result<(), CommitError> {
        self.mixes = false;
        self.copy_bulk(image, disk, beat)?;
        let change = self.cut(image, disk, beat)?;
        if !self.plan.in_place.is_empty() {
            let aside = self.aside.as_chunks::<BLOCK_SIZE>().0;
            let items: Vec<(u32, &Block)> = self.plan.in_place.iter().copied().zip(aside).collect();
            let fetch = |(_, bytes): (u32, &Block), place: &mut Block| place.copy_from_slice(bytes);
            disk.image.write_runs(&items, |item| item.0, fetch, beat)?;
            self.bypassed.append(&mut self.plan.in_place);
        }
        if !self.bypassed.is_empty() {
            beat();
            if self.rules.on(Rule::DataFlush) {
                disk.flush_image()?;
            }
            self.bypassed.clear();
        }
        // What the record names has room in the image before the record is there.
        if let Some(&last) = self.plan.numbers.iter().max() {
            disk.make_room(last + 1, image.geometry().image_blocks(), beat)?;
        }
        self.append_records(disk, change, beat)?;
        if !self.rules.on(Rule::FailedRecordCounts) {
            image.clear_bits(Bitmap::Fresh);
        }
        self.plan.clear();
        self.written = change;
        std::mem::swap(&mut self.releasable, &mut self.at_cut);
        self.account(image, disk, Durability::Relaxed);
        publish(image, rt::WRITTEN, change);
        if !self.rules.on(Rule::QuarantineUntilDurable) {
            let _gate = Gate::close(image)?;
            self.releasable.release(image);
        }
        Ok(())
    }

    fn flush<S: Store, D: Device>(
        &mut self,
        image: &Image<S>,
        disk: &mut Disk<D>,
        beat: &dyn Fn(),
    ) -> Result<(), CommitError> {
        if disk.journal.has_unflushed() {
            beat();
            disk.journal.flush()?;
        }
        self.arrive(image);
        if !self.rules.on(Rule::FreshSinceRecord) {
            image.clear_bits(Bitmap::Fresh);
        }
        // Before DURABLE is published: who waits for space finds it then.
        if !self.releasable.is_empty() {
            let _gate = Gate::close(image)?;
            if !self.rules.on(Rule::QuarantineOfTheCut) {
                self.releasable.take(image);
            }
            self.releasable.release(image);
        }
        self.durable = self.written;
        self.account(image, disk, Durability::Strict);
        publish(image, rt::DURABLE, self.durable);
        Ok(())
    }

    /// Marks blocks as being in flight, of which `metas` hold metadata. The caller holds the gate.
    fn depart<S: Store>(&mut self, image: &Image<S>, blocks: &[u32], metas: usize) {
        image.store().fetch_add(rt::IN_FLIGHT_META_COUNT, metas as u32);
        for &block in blocks {
            if !image.set_bit(Bitmap::InFlight, block) {
                self.in_flight.push(block);
            }
        }
    }

    /// What was in flight is durable. Nobody else uses these bits, so that this needs no gate.
    fn arrive<S: Store>(&mut self, image: &Image<S>) {
        if self.in_flight.len() < 64 {
            for &block in &self.in_flight {
                image.clear_bit(Bitmap::InFlight, block);
            }
        } else {
            image.clear_bits(Bitmap::InFlight);
        }
        self.in_flight.clear();
        image.store().store(rt::IN_FLIGHT_META_COUNT, 0);
    }

    /// Step 1: writes the bulk of the data to the image while mutations go on.
    fn copy_bulk<S: Store, D: Device>(
        &mut self,
        image: &Image<S>,
        disk: &mut Disk<D>,
        beat: &dyn Fn(),
    ) -> Result<(), CommitError> {
        let store = image.store();
        for _ in 0..self.limits.passes {
            let metas = store.load(rt::DIRTY_META_COUNT);
            if store.load(rt::DIRTY_COUNT).saturating_sub(metas) as usize <= self.limits.data_in_record {
                break;
            }
            let gate = Gate::close(image)?;
            self.sort_dirty(image, disk);
            let bulk = self.kinds.bulk(&self.limits);
            self.depart(image, &bulk, 0);
            if self.rules.on(Rule::CleanBeforeCopy) {
                mark_clean(image, &bulk);
            }
            drop(gate);
            if bulk.is_empty() {
                break;
            }
            self.bypassed.extend(&bulk);
            self.mixes |= self.kinds.overwrites() > self.limits.overwrites_in_record;
            let fetch = |block, place: &mut Block| image.read_block(block, place);
            disk.image.write_runs(&bulk, |block| block, fetch, beat)?;
            if !self.rules.on(Rule::CleanBeforeCopy) {
                mark_clean(image, &bulk);
            }
        }
        Ok(())
    }

    /// Step 2: copies everything that is dirty aside; gives the change count of the cut.
    fn cut<S: Store, D: Device>(
        &mut self,
        image: &Image<S>,
        disk: &mut Disk<D>,
        beat: &dyn Fn(),
    ) -> Result<u32, CommitError> {
        let store = image.store();
        // Growing a buffer touches new memory, which is better done while the gate is open.
        let expected = store.load(rt::DIRTY_COUNT).min(disk.record_capacity());
        grow(&mut self.records, record_blocks(expected) as usize * BLOCK_SIZE);
        let gate = Gate::close(image)?;
        self.sort_dirty(image, disk);
        let capacity = disk.record_capacity() as usize;
        if self.plan.make(&self.kinds, &self.limits, capacity) == Err(TooLarge) {
            return Err(CommitError::TooLarge { blocks: self.kinds.metas.len() });
        }
        self.mixes |= self.plan.mixes;
        #[cfg(any(test, feature = "sim"))]
        super::sim::split_unless(self.rules.on(Rule::OneRecord), &mut self.plan);
        let change = store.load(rt::CHANGE);
        self.at_cut.take(image);
        let dirty = std::mem::take(&mut self.dirty);
        let before = self.rules.on(Rule::InFlightBeforeClean);
        if before {
            self.depart(image, &dirty, self.kinds.metas.len());
        }
        mark_all_clean(image, &dirty);
        if !before {
            self.depart(image, &dirty, self.kinds.metas.len());
        }
        self.dirty = dirty;
        if self.rules.on(Rule::FreshSinceRecord) && self.rules.on(Rule::FailedRecordCounts) {
            image.clear_bits(Bitmap::Fresh);
        }
        let mut start = 0;
        for part in &self.plan.parts {
            let len = record_len(part);
            grow(&mut self.records, start + len);
            let head = record_header_blocks((part.to - part.from) as u32) as usize * BLOCK_SIZE;
            let places = &mut self.records[start + head..start + len];
            let numbers = &self.plan.numbers[part.from..part.to];
            for (&block, place) in numbers.iter().zip(places.as_chunks_mut().0) {
                image.read_block(block, place);
            }
            start += len;
        }
        if self.plan.in_place.len() <= ASIDE_BLOCKS {
            grow(&mut self.aside, self.plan.in_place.len() * BLOCK_SIZE);
            let places = self.aside.as_chunks_mut().0;
            for (&block, place) in self.plan.in_place.iter().zip(places) {
                image.read_block(block, place);
            }
        } else {
            let fetch = |block, place: &mut Block| image.read_block(block, place);
            disk.image.write_runs(&self.plan.in_place, |block| block, fetch, beat)?;
            self.bypassed.append(&mut self.plan.in_place);
        }
        drop(gate);
        Ok(change)
    }

    /// Sorts what is dirty into kinds. The caller holds the gate.
    fn sort_dirty<S: Store, D: Device>(&mut self, image: &Image<S>, disk: &Disk<D>) {
        self.dirty.clear();
        collect(image, Bitmap::Dirty, &mut self.dirty);
        let kinds = &mut self.kinds;
        kinds.clear();
        for &block in &self.dirty {
            let list = if block < 2 || image.bit(Bitmap::Meta, block) {
                &mut kinds.metas
            } else {
                let live = self.rules.on(Rule::NoBypassOverLive) && disk.is_live(block);
                match (live, image.bit(Bitmap::Fresh, block)) {
                    (true, true) => &mut kinds.live_fresh,
                    (true, false) => &mut kinds.live_over,
                    (false, true) => &mut kinds.loose_fresh,
                    (false, false) => &mut kinds.loose_over,
                }
            };
            list.push(block);
        }
    }

    /// Seals and appends the records of the plan, whose blocks are in the buffer.
    fn append_records<D: Device>(
        &mut self,
        disk: &mut Disk<D>,
        change: u32,
        beat: &dyn Fn(),
    ) -> Result<(), CommitError> {
        let mut start = 0;
        for (index, part) in self.plan.parts.iter().enumerate() {
            let bytes = &mut self.records[start..start + record_len(part)];
            start += bytes.len();
            let numbers = &self.plan.numbers[part.from..part.to];
            let head = record_header_blocks(numbers.len() as u32) as usize * BLOCK_SIZE;
            let blocks = bytes[head..].as_chunks_mut::<BLOCK_SIZE>().0;
            for (block, &number) in blocks.iter_mut().zip(numbers).take(part.metas) {
                if number < 2 && block[UUID_AT] != disk.journal.uuid()[..] {
                    return Err(CommitError::OtherVolume);
                }
                seal(block);
            }
            let data_only = index + 1 < self.plan.parts.len();
            let metas = part.metas as u32;
            disk.append(NewRecord { bytes, numbers, metas, change, data_only }, beat)?;
        }
        if !self.plan.parts.is_empty() {
            self.commits = self.commits.wrapping_add(1);
        }
        for buffer in [&mut self.records, &mut self.aside] {
            if buffer.len() > BUFFER_KEEP_BYTES {
                *buffer = Vec::new();
            }
        }
        Ok(())
    }
}

fn record_len(part: &Part) -> usize {
    record_blocks((part.to - part.from) as u32) as usize * BLOCK_SIZE
}

fn grow(buffer: &mut Vec<u8>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
}

/// Publishes how far the keeper has come and wakes who waits for it.
fn publish<S: Store>(image: &Image<S>, word: u64, change: u32) {
    image.store().store(word, change);
    image.store().notify(word, u32::MAX);
}

/// Marks blocks clean that are dirty. The caller holds the gate.
fn mark_clean<S: Store>(image: &Image<S>, blocks: &[u32]) {
    let mut count = 0_u32;
    for &block in blocks {
        count += u32::from(image.clear_bit(Bitmap::Dirty, block));
    }
    image.store().fetch_add(rt::DIRTY_COUNT, count.wrapping_neg());
}

/// Marks everything clean, `dirty` being all that is dirty. The caller holds the gate.
///
/// The counters are set, not lowered: they are hints to others, and here they become exact again.
fn mark_all_clean<S: Store>(image: &Image<S>, dirty: &[u32]) {
    if dirty.len() < 64 {
        for &block in dirty {
            image.clear_bit(Bitmap::Dirty, block);
        }
    } else {
        image.clear_bits(Bitmap::Dirty);
    }
    image.store().store(rt::DIRTY_COUNT, 0);
    image.store().store(rt::DIRTY_META_COUNT, 0);
}
