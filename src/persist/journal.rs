//! The journal file: appending records, flushing, and giving a segment a new header.
//!
//! This file knows positions, hashes and what is durable; when to switch segments and what has to be
//! checkpointed before is `disk`'s business.
//!
//! Invariants
//! - `at` moves only when a record's write succeeded. A record whose write failed is overwritten in its
//!   place by the next one, with the same number: until that one is whole, either of the two or none
//!   is valid, and none of them was acknowledged.
//! - Blocks of a record are `live` from before its write is tried until the segment's next header is
//!   durable.
//! - The last block of a segment is kept for a note.
//! - `unflushed` lists the blocks of every record since the last successful flush. If a flush fails they
//!   are `doubtful`: the records may be lost although their writes succeeded.

use super::bits::BlockSet;
use super::device::{Device, DeviceError};
use super::rules::{Rule, Rules};
use crate::format::BLOCK_SIZE;
use crate::format::journal::{RecordHeader, SEGMENTS, SegmentHeader, record_blocks};
use crate::store::Store;
use crate::store::runtime as rt;
use xxhash_rust::xxh64::xxh64;

const BLOCK: u64 = BLOCK_SIZE as u64;
/// Blocks of a note.
const NOTE_BLOCKS: u32 = 1;
/// How much is read or written by one call when a segment is read or made.
const CHUNK_BYTES: usize = 1 << 20;

/// Gives random numbers for the keys of segments.
pub type Random = Box<dyn FnMut() -> u64 + Send>;

/// How many headers an owner may have made since its first one.
const STEPS_MAX: u64 = 1 << 24;

/// Whose a journal is. Whoever opens a volume to write makes a new epoch with a key of its own, so that no
/// two owners leave the same mark; the keys of its later epochs follow from the first one. A keeper that goes on
/// with what is in a store is the same owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Epoch of the newest segment.
    pub epoch: u64,
    /// Its key.
    pub key: u64,
}

impl Mark {
    /// The mark of the newest header; zeros when there is none.
    pub fn of(header: Option<&SegmentHeader>) -> Self {
        header.map_or(Self { epoch: 0, key: 0 }, |header| Self { epoch: header.epoch, key: header.key })
    }

    /// The mark of the next header that the same owner makes: nobody else can know its key.
    pub fn next(self) -> Self {
        let epoch = self.epoch.wrapping_add(1);
        Self { epoch, key: xxh64(&self.key.to_le_bytes(), epoch) }
    }

    /// Whether the owner of this mark made `later`, too.
    pub fn leads_to(self, later: Self) -> bool {
        let steps = later.epoch.wrapping_sub(self.epoch);
        steps <= STEPS_MAX && (0..steps).fold(self, |mark, _| mark.next()) == later
    }

    /// Keeps the mark in a store, for whoever goes on with the volume there.
    pub fn keep<S: Store>(self, store: &S) {
        for (word, value) in (0..).zip([self.epoch, self.epoch >> 32, self.key, self.key >> 32]) {
            store.store(rt::KEEPER_MARK + word * 4, value as u32);
        }
    }

    /// The mark that is kept in a store.
    pub fn kept<S: Store>(store: &S) -> Self {
        let [e0, e1, k0, k1] = [0, 4, 8, 12].map(|at| u64::from(store.load(rt::KEEPER_MARK + at)));
        Self { epoch: e0 | e1 << 32, key: k0 | k1 << 32 }
    }
}

/// One segment.
#[derive(Default)]
pub struct Segment {
    /// Its header; none when it has none that is valid.
    pub header: Option<SegmentHeader>,
    /// Where the next record goes, in blocks.
    pub at: u32,
    /// Where the records end that a successful flush has covered, in blocks.
    pub durable_at: u32,
    /// Hash of the last record, or of the header.
    pub last_hash: u64,
    /// Blocks with a copy in the segment.
    pub live: BlockSet,
    /// The segment has records that were not checkpointed.
    pub pending: bool,
    /// The last record is a note, or there is none.
    pub noted: bool,
}

/// The journal file.
pub struct Journal<D> {
    device: D,
    random: Random,
    uuid: [u8; 16],
    segment_blocks: u32,
    /// Both segments.
    pub segments: [Segment; SEGMENTS],
    /// The one that records go to.
    pub active: usize,
    /// The last mark that was tried.
    last: Mark,
    /// The last mark is this owner's, and the next follows from it.
    owned: bool,
    next_seq: u64,
    /// Number behind the last record that is durable.
    durable_seq: u64,
    unflushed: Vec<u32>,
    unflushed_meta: u32,
    doubtful: Vec<u32>,
    /// A flush failed: nothing may follow the active segment's records.
    broken: bool,
    rules: Rules,
    /// Blocks written since the volume was opened.
    pub written: u32,
    /// Flushes since the volume was opened.
    pub flushes: u32,
}

/// A record to be appended: its bytes, with the blocks in place, and their numbers.
pub struct NewRecord<'a> {
    /// The whole record; header and numbers are filled in.
    pub bytes: &'a mut [u8],
    /// The blocks' numbers.
    pub numbers: &'a [u32],
    /// How many of them are metadata.
    pub metas: u32,
    /// The volume's change count.
    pub change: u32,
    /// The record is followed by another one of the same commit.
    pub data_only: bool,
}

impl<D: Device> Journal<D> {
    /// The journal of a volume whose segments are yet to be set.
    pub fn new(device: D, uuid: [u8; 16], segment_blocks: u32, random: Random, rules: Rules) -> Self {
        Self {
            device,
            random,
            uuid,
            segment_blocks,
            segments: Default::default(),
            active: 0,
            last: Mark { epoch: 0, key: 0 },
            owned: false,
            next_seq: 1,
            durable_seq: 1,
            unflushed: Vec::new(),
            unflushed_meta: 0,
            doubtful: Vec::new(),
            broken: false,
            rules,
            written: 0,
            flushes: 0,
        }
    }

    /// Makes the file: zeros all over, so that it never grows later and its space is certain, then the
    /// first segment's header.
    pub fn create(&mut self) -> Result<(), DeviceError> {
        let doing = |error| DeviceError { doing: "make the journal", ..error };
        let size = self.segment_start(SEGMENTS);
        let zeros = vec![0; CHUNK_BYTES.min(usize::try_from(size).unwrap_or(CHUNK_BYTES))];
        if self.device.size_bytes()? > BLOCK {
            // The record of a first try must never be there without the header that it had: that is damage.
            self.device.write_all(BLOCK, &zeros[..BLOCK_SIZE]).map_err(doing)?;
            self.flush()?;
        }
        let mut at = 0;
        while at < size {
            let count = usize::try_from(size - at).unwrap_or(zeros.len()).min(zeros.len());
            self.device.write_all(at, &zeros[..count]).map_err(doing)?;
            at += count as u64;
        }
        self.device.set_size(size).map_err(doing)?;
        self.flush()?;
        self.write_header(0, 0)?;
        self.flush()?;
        self.begin(0);
        Ok(())
    }

    /// Continues after what recovery found; `owned` when it is the same owner's.
    pub fn resume(&mut self, last: Mark, owned: bool, next_seq: u64) {
        (self.last, self.owned) = (last, owned);
        (self.next_seq, self.durable_seq) = (next_seq, next_seq);
    }

    fn segment_start(&self, segment: usize) -> u64 {
        segment as u64 * u64::from(self.segment_blocks) * BLOCK
    }

    /// Whose the journal is.
    pub fn mark(&self) -> Mark {
        Mark::of(self.segments[self.active].header.as_ref())
    }

    /// Which rules hold.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Blocks that records of one segment can take, apart from a note.
    pub fn room(&self) -> u32 {
        self.segment_blocks - 1 - NOTE_BLOCKS
    }

    /// Volume that the journal belongs to.
    pub fn uuid(&self) -> &[u8; 16] {
        &self.uuid
    }

    /// Metadata blocks in records that were not flushed yet.
    pub fn unflushed_meta(&self) -> u32 {
        self.unflushed_meta
    }

    /// Whether records were written that were not flushed yet.
    pub fn has_unflushed(&self) -> bool {
        !self.unflushed.is_empty()
    }

    /// Whether a flush would change nothing: it has covered all that was written, notes included, or has failed.
    pub fn is_flushed(&self) -> bool {
        self.broken || self.next_seq == self.durable_seq
    }

    /// Whether a record of `count` blocks and a note can follow the active segment's records.
    pub fn fits(&self, count: u32) -> bool {
        let left = self.segment_blocks - self.segments[self.active].at;
        !self.broken && record_blocks(count).saturating_add(NOTE_BLOCKS) <= left
    }

    /// Whether a record is the last one, and durable: a note can vouch for it.
    pub fn wants_note(&self) -> bool {
        let segment = &self.segments[self.active];
        let left = self.segment_blocks - segment.at;
        !segment.noted && !self.broken && self.is_flushed() && NOTE_BLOCKS <= left
    }

    /// Appends a note. It need not be durable: nobody misses it unless something else is damaged.
    pub fn note(&mut self, change: u32) -> Result<(), DeviceError> {
        let mut bytes = vec![0; NOTE_BLOCKS as usize * BLOCK_SIZE];
        self.append(&mut NewRecord {
            bytes: &mut bytes,
            numbers: &[],
            metas: 0,
            change,
            data_only: true,
        })
    }

    /// The blocks whose records may have been lost by a failed flush; they are to be written again.
    pub fn take_doubtful(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.doubtful)
    }

    /// Appends a record that fits. Not durable until the next flush.
    pub fn append(&mut self, record: &mut NewRecord<'_>) -> Result<(), DeviceError> {
        let active = self.active;
        let start = self.segment_start(active);
        let segment = &mut self.segments[active];
        let Some(header) = segment.header else {
            return Err(DeviceError { errno: crate::errno::Errno::EIO, doing: "find the journal" });
        };
        let count = record.numbers.len() as u32;
        let new = RecordHeader {
            count,
            epoch: header.epoch,
            seq: self.next_seq,
            prev_hash: segment.last_hash,
            change: record.change,
            data_only: record.data_only,
            durable_seq: self.durable_seq,
        };
        let hash = new.seal(record.bytes, record.numbers, header.key);
        let counts = self.rules.on(Rule::FailedRecordCounts);
        if counts {
            record.numbers.iter().for_each(|&block| segment.live.insert(block));
        }
        self.device
            .write_all(start + u64::from(segment.at) * BLOCK, record.bytes)
            .map_err(|error| DeviceError { doing: "write the journal", ..error })
            .inspect_err(|_| self.next_seq += u64::from(!self.rules.on(Rule::SameNumberAgain)))?;
        if !counts {
            record.numbers.iter().for_each(|&block| segment.live.insert(block));
        }
        segment.at += new.blocks();
        segment.last_hash = hash;
        segment.noted = count == 0;
        segment.pending |= count != 0;
        self.next_seq += 1;
        self.unflushed.extend_from_slice(record.numbers);
        self.unflushed_meta += record.metas;
        self.written = self.written.wrapping_add(new.blocks());
        Ok(())
    }

    /// Makes every record so far durable.
    pub fn flush(&mut self) -> Result<(), DeviceError> {
        self.flushes = self.flushes.wrapping_add(1);
        let result = self.device.flush();
        self.unflushed_meta = 0;
        if let Err(error) = result {
            // Nothing is known about any record since the last flush, and a host may well report
            // success the next time although it dropped them.
            if self.rules.on(Rule::SwitchAfterFailedFlush) {
                self.broken = true;
            }
            self.doubtful.append(&mut self.unflushed);
            return Err(DeviceError { doing: "flush the journal", ..error });
        }
        self.unflushed.clear();
        let segment = &mut self.segments[self.active];
        // Behind a hole that a failed flush may have torn nothing is durable in the sense of replay.
        if !self.broken {
            segment.durable_at = segment.at;
            self.durable_seq = self.next_seq;
        }
        Ok(())
    }

    /// Writes a new header over a segment's old one; it counts after a flush and `begin`.
    pub fn write_header(&mut self, segment: usize, image_blocks: u32) -> Result<(), DeviceError> {
        // Every attempt has an epoch of its own: the one before may have landed.
        self.last = self.last.next();
        if !self.owned {
            (self.last.key, self.owned) = ((self.random)(), true);
        }
        // The number behind the last durable record tells recovery that the other segment is whole.
        if self.broken {
            self.next_seq = self.durable_seq;
        }
        let header = SegmentHeader {
            segment_blocks: self.segment_blocks,
            uuid: self.uuid,
            epoch: self.last.epoch,
            key: self.last.key,
            first_seq: self.next_seq,
            image_blocks,
        };
        let mut block = [0; BLOCK_SIZE];
        let hash = header.encode(&mut block);
        self.device
            .write_all(self.segment_start(segment), &block)
            .map_err(|error| DeviceError { doing: "write the journal", ..error })?;
        self.written = self.written.wrapping_add(1);
        let segment = &mut self.segments[segment];
        (segment.header, segment.last_hash) = (Some(header), hash);
        Ok(())
    }

    /// Lets records go to a segment whose new header is durable; nothing in it is live any more.
    pub fn begin(&mut self, segment: usize) {
        self.active = segment;
        self.broken = false;
        let segment = &mut self.segments[segment];
        (segment.at, segment.durable_at, segment.pending, segment.noted) = (1, 1, false, true);
        segment.live.clear();
    }

    /// Reads the first `blocks` blocks of a segment.
    pub fn read_segment(&mut self, segment: usize, blocks: u32) -> Result<Vec<u8>, DeviceError> {
        let start = self.segment_start(segment);
        read_span(&mut self.device, start, blocks.min(self.segment_blocks) as usize * BLOCK_SIZE)
    }
}

/// Reads `len` bytes from `start` on; what lies behind the end of the file reads as zeros.
pub fn read_span<D: Device>(device: &mut D, start: u64, len: usize) -> Result<Vec<u8>, DeviceError> {
    let mut bytes = vec![0; len];
    let mut at = start;
    for chunk in bytes.chunks_mut(CHUNK_BYTES) {
        device
            .read_full(at, chunk)
            .map_err(|error| DeviceError { doing: "read the journal", ..error })?;
        at += chunk.len() as u64;
    }
    Ok(bytes)
}
