//! Opening a volume: replaying the journal, checking that the files belong together, loading.
//!
//! Both segments are replayed, the older one first, always and wholly; what is checkpointed already is
//! written once more, so that a checkpoint lost behind a device that lied about a flush is mended.
//!
//! Invariants
//! - A volume that may only be read is never written to.
//! - What was read from the journal is durable before any of it is written to the image. A program that was
//!   killed may have left records that were never flushed; a power loss that took them back after the image
//!   has them would leave older records to be replayed over newer blocks.
//! - Nothing is written before everything was checked: a volume that is refused is left as it was.
//! - Replay is repeatable: the journal is changed only after the image is flushed, and then only the
//!   older segment's header. A crash at any point of it leads to the same image.

use super::device::{Device, DeviceError};
use super::disk::Disk;
use super::error::OpenError;
use super::image_file::ImageFile;
use super::journal::{Journal, Mark, Random, Segment, read_span};
use super::load::load;
use super::plan::Limits;
use super::replay::{Replay, copy_bytes, newest, replay, salvage, vouched};
use super::rules::{Rule, Rules};
use crate::core::Image;
use crate::format::journal::{
    RecordHeader, SEGMENT_BLOCKS_DEFAULT, SEGMENT_BLOCKS_MAX, SEGMENT_BLOCKS_MIN, SEGMENTS,
    SegmentHeader, SegmentHeaderError,
};
use crate::format::{BLOCK_SIZE, Block, Superblock, is_zero};
use crate::store::Store;

const BLOCK: u64 = BLOCK_SIZE as u64;

/// How a volume is to be opened.
pub struct OpenOptions {
    /// Name of the volume if it is a new one; whoever formats it uses the same.
    pub uuid: [u8; 16],
    /// Random numbers that nobody can guess, for the keys of the journal.
    pub random: Random,
    /// Blocks of a journal segment if the volume is new.
    pub segment_blocks: u32,
    /// Take an image without a journal for a whole volume.
    pub adopt: bool,
    /// Load blocks that no bitmap says are in use, too: to look for damage.
    pub all_blocks: bool,
    /// Write nothing at all: what recovery would write goes into the store alone. A volume with features
    /// that allow no more is opened so in any case.
    pub read_only: bool,
    /// Go on with a volume that is in the store already, if its journal is still that of the owner of this
    /// mark: the keeper that served it has paused or died, and its files were closed meanwhile.
    pub resume: Option<Mark>,
    /// Open a volume whose journal is damaged, too, with what is whole in it. Some blocks are older than others then:
    /// whoever does this must look at everything and mend it. The damage is gone from the journal afterwards.
    pub salvage: bool,
    pub(super) limits: Limits,
    pub(super) rules: Rules,
}

impl OpenOptions {
    /// The usual options.
    pub fn new(uuid: [u8; 16], random: Random) -> Self {
        Self {
            uuid,
            random,
            segment_blocks: SEGMENT_BLOCKS_DEFAULT,
            adopt: false,
            all_blocks: false,
            read_only: false,
            resume: None,
            salvage: false,
            limits: Limits::default(),
            rules: Rules::default(),
        }
    }

    /// Other sizes and rules than the usual ones, for an explorer of what goes wrong then.
    #[cfg(any(test, feature = "sim"))]
    pub fn with_rules(self, limits: Limits, rules: Rules) -> Self {
        Self { limits, rules, ..self }
    }
}

/// What opening is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Replaying the journal.
    Recover,
    /// Loading the image into the store.
    Load,
}

/// How far opening has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it is busy with.
    pub phase: Phase,
    /// Blocks done.
    pub done_blocks: u32,
    /// Blocks in all.
    pub total_blocks: u32,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// No volume: the core makes one in the store, with the uuid of the options, and the first commit
    /// persists it. A crash before leaves no volume again.
    New,
    /// A volume, which is in the store now.
    Volume(Superblock),
}

/// An opened volume.
pub struct Opened<D> {
    /// What was found.
    pub found: Found,
    pub(super) disk: Disk<D>,
    /// Nothing was written and nothing may be.
    pub(super) read_only: bool,
    /// Whose the journal was that was found.
    pub(super) mark: Mark,
}

/// Opens a volume's files, recovers them and loads the image into the store, which is fresh.
///
/// A volume that may only be read is recovered in the store: no device is written to.
pub fn open_volume<S: Store, D: Device>(
    image_device: D,
    mut journal_device: D,
    image: &Image<S>,
    options: OpenOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Opened<D>, OpenError> {
    let mut file = ImageFile::open(image_device)?;
    let read = read_journal(&mut journal_device, options.rules, options.salvage)?;
    let mark = Mark::of(read.found.last().map(|valid| &valid.header));
    if options.resume.is_some_and(|left| !left.leads_to(mark)) {
        return Err(OpenError::Changed);
    }
    let merged = Merged::new(&read);
    let mut head = [[0; BLOCK_SIZE]; 3];
    for (block, bytes) in (0..).zip(&mut head) {
        merged.read(&mut file, block, bytes)?;
    }
    let OpenOptions {
        uuid, random, segment_blocks, adopt, all_blocks, read_only, resume, rules, ..
    } = options;
    let segment_blocks = segment_blocks.clamp(SEGMENT_BLOCKS_MIN, SEGMENT_BLOCKS_MAX);

    let lost = OpenError::JournalDamaged { what: "no segment has a valid header" };
    if !merged.committed && is_zero(head.as_flattened()) {
        if read.headless && rules.on(Rule::HeaderGone) {
            return Err(lost);
        }
        if read_only {
            let journal = Journal::new(journal_device, uuid, segment_blocks, random, rules);
            let disk = Disk::new(file, journal, rules);
            return Ok(Opened { found: Found::New, disk, read_only, mark });
        }
        // Fresh data of a first commit that was not completed may be in the image: away with it.
        file.clear()?;
        let mut journal = Journal::new(journal_device, uuid, segment_blocks, random, rules);
        journal.create()?;
        let disk = Disk::new(file, journal, rules);
        return Ok(Opened { found: Found::New, disk, read_only, mark });
    }

    let superblock = Superblock::choose([&head[0], &head[1]])?;
    let geometry = superblock.geometry;
    let read_only = read_only || superblock.read_only;
    if !read.found.is_empty() && (read.uuid != superblock.uuid || is_other(&mut file, &read.uuid)?) {
        return Err(OpenError::OtherVolume);
    }
    if geometry.image_blocks() > image.capacity_blocks() {
        return Err(OpenError::Capacity {
            capacity_blocks: image.capacity_blocks(),
            needed_blocks: geometry.image_blocks(),
        });
    }
    merged.check(&file, &read, geometry.image_blocks(), rules)?;

    if read.found.is_empty() && !adopt {
        return Err(match read.size_bytes {
            0 => OpenError::NoJournal,
            _ => lost,
        });
    }
    if resume.is_none() {
        // What is in the store may have grown since the last commit.
        image.set_geometry(geometry);
    }
    let total_blocks = geometry.image_blocks();
    let loading = |progress: &mut dyn FnMut(Progress), done_blocks| {
        progress(Progress { phase: Phase::Load, done_blocks, total_blocks });
    };
    if read_only {
        if resume.is_none() {
            load(&mut file, image, geometry, all_blocks, &merged, &mut |done| loading(progress, done))?;
        }
        let journal = Journal::new(journal_device, superblock.uuid, segment_blocks, random, rules);
        let disk = Disk::new(file, journal, rules);
        return Ok(Opened { found: Found::Volume(superblock), disk, read_only, mark });
    }

    let journal = if read.found.is_empty() {
        let mut journal = Journal::new(journal_device, superblock.uuid, segment_blocks, random, rules);
        journal.create()?;
        journal
    } else {
        let total_blocks = merged.copies.len() as u32;
        let report = |done_blocks| Progress { phase: Phase::Recover, done_blocks, total_blocks };
        progress(report(0));
        // Records that were found may never have been flushed.
        let mut journal = Journal::new(journal_device, read.uuid, read.segment_blocks, random, rules);
        if rules.on(Rule::JournalFlushBeforeReplay) {
            journal.flush()?;
        }
        merged.apply(&mut file, rules)?;
        if !rules.on(Rule::JournalFlushBeforeReplay) {
            journal.flush()?;
        }
        progress(report(total_blocks));
        switch(journal, read, resume.is_some())?
    };
    if resume.is_none() {
        let nothing = Merged::nothing();
        load(&mut file, image, geometry, all_blocks, &nothing, &mut |done| loading(progress, done))?;
    }
    let disk = Disk::new(file, journal, rules);
    Ok(Opened { found: Found::Volume(superblock), disk, read_only, mark })
}

/// Whether a superblock in the image itself is that of another volume: the journal may have a copy of its own.
fn is_other<D: Device>(file: &mut ImageFile<D>, uuid: &[u8; 16]) -> Result<bool, DeviceError> {
    let mut bytes = [0; BLOCK_SIZE];
    for block in 0..2 {
        file.read(block, &mut bytes)?;
        if Superblock::check(&bytes, block).is_ok_and(|superblock| superblock.uuid != *uuid) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A segment with a valid header.
struct Valid {
    index: usize,
    header: SegmentHeader,
    bytes: Vec<u8>,
    replay: Replay,
}

/// What is in the journal file.
struct Read {
    size_bytes: u64,
    segment_blocks: u32,
    uuid: [u8; 16],
    /// The older one first.
    found: Vec<Valid>,
    /// There is no header, but what looks like a record.
    headless: bool,
    /// What is missing was left out.
    salvaged: bool,
}

impl Read {
    /// Blocks that the image file has durably, as the newest header says.
    fn image_blocks(&self) -> u32 {
        self.found.last().map_or(0, |valid| valid.header.image_blocks)
    }
}

fn read_journal<D: Device>(device: &mut D, rules: Rules, save: bool) -> Result<Read, OpenError> {
    let size_bytes = device.size_bytes()?;
    let mut read = Read {
        size_bytes,
        segment_blocks: 0,
        uuid: [0; 16],
        found: Vec::new(),
        headless: false,
        salvaged: save,
    };
    let mut headers = [None; SEGMENTS];
    headers[0] = read_header(device, 0, rules)?;
    // Without the first header only the file's length tells where the second one is.
    let half = u32::try_from(size_bytes / SEGMENTS as u64 / BLOCK).unwrap_or(u32::MAX);
    let segment_blocks = headers[0].map_or(half, |header| header.segment_blocks);
    if segment_blocks >= SEGMENT_BLOCKS_MIN {
        headers[1] = read_header(device, u64::from(segment_blocks) * BLOCK, rules)?;
    }
    let valid: Vec<SegmentHeader> = headers.into_iter().flatten().collect();
    let Some(first) = valid.first() else {
        // Records are only written behind a header that is durable.
        read.headless = RecordHeader::claimed(&read_span(device, BLOCK, BLOCK_SIZE)?).is_some();
        return Ok(read);
    };
    if valid.iter().any(|header| header.segment_blocks != segment_blocks) {
        return Err(OpenError::JournalDamaged { what: "the segments' sizes differ" });
    }
    if valid.iter().any(|header| header.uuid != first.uuid) {
        return Err(OpenError::OtherVolume);
    }
    let needed_bytes = u64::from(segment_blocks) * SEGMENTS as u64 * BLOCK;
    if size_bytes < needed_bytes {
        return Err(OpenError::JournalTruncated { size_bytes, needed_bytes });
    }
    (read.segment_blocks, read.uuid) = (segment_blocks, first.uuid);
    let damaged = |what| OpenError::JournalDamaged { what };
    for (index, header) in headers.into_iter().enumerate() {
        let len = segment_blocks as usize * BLOCK_SIZE;
        let start = index as u64 * len as u64;
        let Some(header) = header else {
            // A header that is replaced had records of an earlier epoch than the other one's.
            let bytes = read_span(device, start + BLOCK, BLOCK_SIZE)?;
            let newer = RecordHeader::claimed(&bytes).is_some_and(|(epoch, _)| epoch > first.epoch);
            if newer && !save && rules.on(Rule::HeaderGone) {
                return Err(damaged("the header of the newer segment is gone"));
            }
            continue;
        };
        let bytes = read_span(device, start, len)?;
        let mut replay = replay(&bytes, &header, rules);
        if save {
            salvage(&bytes, &header, &mut replay);
        } else if vouched(&bytes, &header, &replay) > replay.next_seq && rules.on(Rule::RecordsVouch) {
            return Err(damaged("a durable record is gone"));
        }
        read.found.push(Valid { index, header, bytes, replay });
    }
    if rules.on(Rule::OlderFirst) {
        read.found.sort_by_key(|segment| segment.header.epoch);
    }
    Ok(read)
}

fn read_header<D: Device>(
    device: &mut D,
    at: u64,
    rules: Rules,
) -> Result<Option<SegmentHeader>, OpenError> {
    let bytes = read_span(device, at, BLOCK_SIZE)?;
    let check =
        if rules.on(Rule::HeaderCopies) { SegmentHeader::check } else { SegmentHeader::check_copy };
    match check(&bytes) {
        Ok(header) => Ok(Some(header)),
        Err(SegmentHeaderError::Invalid) => Ok(None),
        Err(SegmentHeaderError::Version(version)) => Err(OpenError::JournalVersion { version }),
    }
}

/// A block's newest copy: its number, the segment's place in `Read::found`, and where it lies there.
#[derive(Clone, Copy)]
struct Newest {
    block: u32,
    segment: usize,
    at: u32,
}

/// What the journal puts over the image.
pub(super) struct Merged<'a> {
    segments: &'a [Valid],
    /// Ascending, one for each block.
    copies: Vec<Newest>,
    /// There is a record that completes a commit.
    committed: bool,
}

impl<'a> Merged<'a> {
    /// An image that is complete without a journal.
    pub(super) fn nothing() -> Self {
        Self { segments: &[], copies: Vec::new(), committed: false }
    }

    /// Calls `put` with every block that the journal has a copy of, ascending, and the newest copy.
    pub(super) fn each(&self, mut put: impl FnMut(u32, &Block)) {
        let mut bytes = [0; BLOCK_SIZE];
        for &copy in &self.copies {
            self.fetch(copy, &mut bytes);
            put(copy.block, &bytes);
        }
    }

    fn new(read: &'a Read) -> Self {
        let mut copies: Vec<Newest> = Vec::new();
        for (segment, valid) in read.found.iter().enumerate() {
            let found = valid.replay.copies.iter();
            copies.extend(found.map(|copy| Newest { block: copy.block, segment, at: copy.at }));
        }
        newest(&mut copies, |copy| copy.block);
        let committed = read.found.iter().any(|valid| valid.replay.committed);
        Self { segments: &read.found, copies, committed }
    }

    fn fetch(&self, copy: Newest, bytes: &mut Block) {
        match self.segments.get(copy.segment) {
            Some(valid) => copy_bytes(&valid.bytes, copy.at, bytes),
            None => bytes.fill(0),
        }
    }

    /// A block as it will be after recovery.
    pub(super) fn read<D: Device>(
        &self,
        file: &mut ImageFile<D>,
        block: u32,
        bytes: &mut Block,
    ) -> Result<(), DeviceError> {
        match self.copies.binary_search_by_key(&block, |copy| copy.block) {
            Ok(index) => self.fetch(self.copies[index], bytes),
            Err(_) => file.read(block, bytes)?,
        }
        Ok(())
    }

    /// Refuses what cannot be right before anything is written.
    fn check<D: Device>(
        &self,
        file: &ImageFile<D>,
        read: &Read,
        image_blocks: u32,
        rules: Rules,
    ) -> Result<(), OpenError> {
        let last = self.copies.last().map_or(0, |copy| copy.block);
        if last >= image_blocks {
            return Err(OpenError::JournalDamaged { what: "a record has a block outside the image" });
        }
        if let [older, newer] = &read.found[..]
            && older.replay.next_seq < newer.header.first_seq
            && !read.salvaged
            && rules.on(Rule::OlderWhole)
        {
            let what = "durable records of the older segment are gone";
            return Err(OpenError::JournalDamaged { what });
        }
        let found = file.size_blocks();
        let needed_blocks = read.image_blocks();
        if found < needed_blocks {
            return Err(OpenError::ImageTruncated { blocks: found, needed_blocks });
        }
        Ok(())
    }

    fn apply<D: Device>(&self, file: &mut ImageFile<D>, rules: Rules) -> Result<(), DeviceError> {
        let fetch = |copy: Newest, bytes: &mut Block| self.fetch(copy, bytes);
        file.write_runs(&self.copies, |copy| copy.block, fetch, &|| ())?;
        if rules.on(Rule::RecoveryFlush) { file.flush() } else { Ok(()) }
    }
}

/// Switches to the older segment: the newer one keeps vouching for everything until records follow.
///
/// The new header claims no longer image than the last one did: should the flush of the replay have been
/// a lie, the next replay makes the file long again.
fn switch<D: Device>(
    mut journal: Journal<D>,
    read: Read,
    owned: bool,
) -> Result<Journal<D>, DeviceError> {
    let image_blocks = read.image_blocks();
    let newer = read.found.last().map_or(0, |valid| valid.index);
    let last = Mark::of(read.found.last().map(|valid| &valid.header));
    // Not the older one's, which may end with records that a flush that failed has left.
    let next_seq = read.found.last().map_or(1, |valid| valid.replay.next_seq);
    let (rules, salvaged) = (journal.rules(), read.salvaged);
    for valid in read.found {
        let end = valid.replay.end;
        let segment = &mut journal.segments[valid.index];
        *segment =
            Segment { header: Some(valid.header), at: end, durable_at: end, ..Segment::default() };
        valid.replay.copies.iter().for_each(|copy| segment.live.insert(copy.block));
    }
    journal.resume(last, owned, next_seq);
    journal.active = newer;
    if !rules.on(Rule::OlderSegmentOnly) {
        journal.write_header(newer, image_blocks)?;
    }
    journal.write_header(1 - newer, image_blocks)?;
    journal.flush()?;
    if !rules.on(Rule::OlderSegmentOnly) {
        journal.begin(newer);
    }
    journal.begin(1 - newer);
    if salvaged {
        // Everything is in the image; what is missing must not be missed again.
        journal.write_header(newer, image_blocks)?;
        journal.flush()?;
        journal.begin(newer);
    }
    Ok(journal)
}
