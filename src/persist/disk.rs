//! Both files of a volume together: appending with a switch of segments where needed, and checkpoints.
//!
//! The segments take turns, so there is no tail pointer. When the active one is full:
//!
//! ```text
//! 1  the other segment is checkpointed, unless it was in the background
//! 2  the other segment gets a new header, flushed: with that its old records are gone, and everything
//!    in the full segment is durable
//! 3  records go to the other segment; the full one is checkpointed in the background
//! ```
//! A checkpoint reads the segment back through `replay`, writes the newest copy of each block to the
//! image in ascending runs, and flushes the image.

use super::device::{Device, DeviceError};
use super::image_file::ImageFile;
use super::journal::{Journal, NewRecord};
use super::replay::{Copied, copy_bytes, newest, replay};
use super::rules::{Rule, Rules};
use crate::errno::Errno;
use crate::format::journal::record_capacity;

/// A checkpoint that is under way. The segment does not change meanwhile, as records go to the other.
struct Checkpoint {
    segment: usize,
    bytes: Vec<u8>,
    copies: Vec<Copied>,
    next: usize,
}

/// The files of a volume.
pub struct Disk<D> {
    /// The image.
    pub image: ImageFile<D>,
    /// The journal.
    pub journal: Journal<D>,
    checkpoint: Option<Checkpoint>,
    rules: Rules,
    /// Segments that were brought to the image since the volume was opened.
    pub checkpoints: u32,
}

impl<D: Device> Disk<D> {
    /// Both files, opened.
    pub fn new(image: ImageFile<D>, journal: Journal<D>, rules: Rules) -> Self {
        Self { image, journal, checkpoint: None, rules, checkpoints: 0 }
    }

    /// Whether the journal has a copy of the block that mounting would put over the image's.
    pub fn is_live(&self, block: u32) -> bool {
        let active = self.journal.active;
        self.journal.segments.iter().enumerate().any(|(index, segment)| {
            let counts = index == active || segment.pending || self.rules.on(Rule::LiveUntilReplaced);
            counts && segment.live.contains(block)
        })
    }

    /// The most blocks that one record can carry.
    pub fn record_capacity(&self) -> u32 {
        record_capacity(self.journal.room())
    }

    /// Appends a record, in the other segment if this one is full. Not durable until a flush.
    pub fn append(&mut self, mut record: NewRecord<'_>, beat: &dyn Fn()) -> Result<(), DeviceError> {
        let count = record.numbers.len() as u32;
        if !self.journal.fits(count) {
            self.switch(beat)?;
        }
        beat();
        self.journal.append(&mut record)
    }

    /// Goes on in the other segment.
    fn switch(&mut self, beat: &dyn Fn()) -> Result<(), DeviceError> {
        let full = self.journal.active;
        let other = 1 - full;
        while self.journal.segments[other].pending && self.rules.on(Rule::CheckpointBeforeSwitch) {
            self.checkpoint_step(other, usize::MAX, beat)?;
        }
        // A checkpoint of the full segment that began before (only possible after a failed flush made
        // the switch necessary twice) would know less than the segment holds by now.
        self.checkpoint = None;
        beat();
        // What the new header says of the full segment's records is then true.
        if !self.journal.is_flushed() {
            self.journal.flush()?;
            beat();
        }
        self.journal.write_header(other, self.image.durable_blocks())?;
        beat();
        if self.rules.on(Rule::TwoStepSwitch) {
            self.journal.flush()?;
        } else {
            self.journal.segments[full].durable_at = self.journal.segments[full].at;
        }
        self.journal.begin(other);
        Ok(())
    }

    /// Makes the image file durably at least `blocks` long, and with it certain that recovery and the
    /// checkpoint can write all blocks before that. The volume has `volume_blocks`.
    pub fn make_room(
        &mut self,
        blocks: u32,
        volume_blocks: u32,
        beat: &dyn Fn(),
    ) -> Result<(), DeviceError> {
        if blocks <= self.image.durable_blocks() || !self.rules.on(Rule::RoomBeforeRecord) {
            return Ok(());
        }
        self.image.make_room(blocks, volume_blocks, beat)?;
        beat();
        if self.rules.on(Rule::RoomFlush) { self.flush_image() } else { Ok(()) }
    }

    /// Makes what was written to the image durable.
    pub fn flush_image(&mut self) -> Result<(), DeviceError> {
        let result = self.image.flush();
        if result.is_err() && self.rules.on(Rule::CheckpointStartsOver) {
            // What a checkpoint has written so far may be lost with the rest: from the start again.
            self.checkpoint = None;
        }
        result
    }

    /// Vouches for the last commit, if nothing does. What is damaged later is noticed then.
    pub fn note(&mut self, change: u32) -> Result<bool, DeviceError> {
        let wanted = self.rules.on(Rule::NoteWhenIdle) && self.journal.wants_note();
        if wanted {
            self.journal.note(change)?;
        }
        Ok(wanted)
    }

    /// Whether the segment that records do not go to waits for a checkpoint.
    pub fn checkpoint_due(&self) -> bool {
        self.journal.segments[1 - self.journal.active].pending
    }

    /// Does a part of the checkpoint that is due: about `writes` blocks.
    pub fn checkpoint_some(&mut self, writes: usize, beat: &dyn Fn()) -> Result<(), DeviceError> {
        if self.checkpoint_due() {
            self.checkpoint_step(1 - self.journal.active, writes, beat)?;
        }
        Ok(())
    }

    /// Checkpoints everything, so that the image alone holds the volume as of the last commit. There
    /// must be nothing unflushed.
    pub fn checkpoint_all(&mut self, beat: &dyn Fn()) -> Result<(), DeviceError> {
        for segment in [1 - self.journal.active, self.journal.active] {
            while self.journal.segments[segment].pending {
                self.checkpoint_step(segment, usize::MAX, beat)?;
            }
        }
        Ok(())
    }

    fn checkpoint_step(
        &mut self,
        segment: usize,
        writes: usize,
        beat: &dyn Fn(),
    ) -> Result<(), DeviceError> {
        let mut work = match self.checkpoint.take() {
            Some(work) if work.segment == segment => work,
            _ => self.start_checkpoint(segment, beat)?,
        };
        let end = work.next.saturating_add(writes).min(work.copies.len());
        let (bytes, part) = (&work.bytes, &work.copies[work.next..end]);
        let fetch = |copy: Copied, place: &mut _| copy_bytes(bytes, copy.at, place);
        self.image.write_runs(part, |copy| copy.block, fetch, beat)?;
        work.next = end;
        if end < work.copies.len() {
            self.checkpoint = Some(work);
            return Ok(());
        }
        beat();
        if self.rules.on(Rule::CheckpointFlush) {
            self.flush_image()?;
        }
        self.journal.segments[segment].pending = false;
        self.checkpoints = self.checkpoints.wrapping_add(1);
        Ok(())
    }

    fn start_checkpoint(&mut self, segment: usize, beat: &dyn Fn()) -> Result<Checkpoint, DeviceError> {
        beat();
        let state = &self.journal.segments[segment];
        let durable = self.rules.on(Rule::CheckpointDurableOnly);
        let end = if durable { state.durable_at } else { state.at };
        let damaged = DeviceError { errno: Errno::EIO, doing: "read the journal back" };
        let header = state.header.ok_or(damaged)?;
        let bytes = self.journal.read_segment(segment, end)?;
        beat();
        let found = replay(&bytes, &header, self.rules);
        // Flushed records that are gone: the device lost them. Writing a part would mix two states.
        if durable && found.end != end {
            return Err(damaged);
        }
        let mut copies = found.copies;
        newest(&mut copies, |copy| copy.block);
        Ok(Checkpoint { segment, bytes, copies, next: 0 })
    }
}
