//! Opening files that are damaged, cut off, or of other volumes: a clear error, never a panic, and nothing
//! is written.

use super::crash::{Setup, look, open, run};
use super::toy::{History, UUID, fresh_store};
use crate::errno::Errno;
use crate::format::journal::{RecordHeader, SegmentHeader};
use crate::format::{BLOCK_SIZE, Geometry, Superblock};
use crate::persist::recovery::{Found, OpenOptions, open_volume};
use crate::persist::sim::{Faults, IMAGE, JOURNAL, Rng, SimDisk};
use crate::persist::{Device, MemDevice, OpenError, Phase};
use crate::store::runtime::Durability;
use parking_lot::Mutex;
use std::sync::Arc;

/// Files of a volume after some work, and what it held.
struct Sample {
    image: Vec<u8>,
    journal: Vec<u8>,
    setup: Setup,
    history: History,
    acked: u32,
}

impl Sample {
    fn new() -> Self {
        let mut setup = Setup::new(7);
        setup.meddle = false;
        let disk = SimDisk::new(7);
        let history = Arc::new(Mutex::new(History::default()));
        let life = open(&disk, &setup, 7).unwrap();
        disk.arm(Some(100));
        let acked = run(&disk, &setup, life, None, history.clone(), &mut Rng::new(7));
        disk.power_cycle(false);
        let history = std::mem::take(&mut *history.lock());
        let image = disk.edit(IMAGE, |bytes| bytes.clone());
        let journal = disk.edit(JOURNAL, |bytes| bytes.clone());
        assert!(acked > 0 && image.len() > 3 * BLOCK_SIZE);
        Self { image, journal, setup, history, acked }
    }

    fn disk(&self, image: &[u8], journal: &[u8]) -> SimDisk {
        let disk = SimDisk::new(1);
        disk.edit(IMAGE, |bytes| *bytes = image.to_vec());
        disk.edit(JOURNAL, |bytes| *bytes = journal.to_vec());
        disk
    }

    /// The error with which these files are refused; checks that they are left alone.
    fn refused(&self, image: &[u8], journal: &[u8]) -> OpenError {
        let disk = self.disk(image, journal);
        let error = open(&disk, &self.setup, 1).err().expect("refused");
        assert_eq!(disk.edit(IMAGE, |bytes| bytes.clone()), image);
        assert_eq!(disk.edit(JOURNAL, |bytes| bytes.clone()), journal);
        error
    }

    fn segment(&self) -> usize {
        self.journal.len() / 2
    }
}

#[test]
fn an_undamaged_volume_opens_again_and_again() {
    let sample = Sample::new();
    let disk = sample.disk(&sample.image, &sample.journal);
    let mut last = None;
    for seed in 0..5 {
        let life = open(&disk, &sample.setup, seed).unwrap();
        let k = look(&life, &sample.history, sample.acked, false).unwrap();
        assert!(k.is_some() && (last.is_none() || last == k));
        last = k;
    }
}

#[test]
fn cut_off_files() {
    let sample = Sample::new();
    for len in (0..sample.journal.len()).step_by(1777).chain([1, 511, 512, 4096]) {
        let error = sample.refused(&sample.image, &sample.journal[..len]);
        assert_eq!(error.errno(), Errno::EIO, "{len}: {error}");
    }
    assert_eq!(sample.refused(&sample.image, &[]), OpenError::NoJournal);
    let text = sample.refused(&sample.image, &sample.journal[..40_000]).to_string();
    assert!(text.contains("cut off: it has 40000 bytes"), "{text}");
    for len in (0..sample.image.len()).step_by(3001) {
        // The journal may hold what is missing; otherwise it must be noticed.
        let disk = sample.disk(&sample.image[..len], &sample.journal);
        match open(&disk, &sample.setup, 1) {
            Ok(life) => assert!(look(&life, &sample.history, sample.acked, false).is_ok(), "{len}"),
            Err(error) => {
                assert_eq!(error.errno(), Errno::EIO, "{len}: {error}");
                assert!(error.to_string().contains("restore") || len < 8192, "{error}");
            }
        }
    }
}

#[test]
fn flipped_bits_are_an_error_or_an_older_state_and_never_a_panic() {
    let sample = Sample::new();
    let mut rng = Rng::new(3);
    for _ in 0..3000 {
        let (mut image, mut journal) = (sample.image.clone(), sample.journal.clone());
        for _ in 0..1 + rng.below(3) {
            let file = if rng.chance(30) { &mut image } else { &mut journal };
            // Headers more often than the rest.
            let within = if rng.chance(50) { 200 } else { BLOCK_SIZE };
            let at = rng.below(file.len() / BLOCK_SIZE) * BLOCK_SIZE + rng.below(within);
            file[at] ^= 1 << rng.below(8);
        }
        let disk = sample.disk(&image, &journal);
        if let Ok(life) = open(&disk, &sample.setup, 1) {
            // What is found is a volume; how good it is the seals of its blocks tell.
            assert!(matches!(life.found, Found::Volume(_)));
        }
    }
}

/// The records of the newest segment, and where they lie in the file.
pub fn records_of_the_newest(journal: &[u8]) -> Vec<(RecordHeader, std::ops::Range<usize>)> {
    let half = journal.len() / 2;
    let header =
        |at: usize| SegmentHeader::check(&journal[at..]).map(|header| (header.epoch, header.key));
    let (at, key) = [0, half]
        .into_iter()
        .filter_map(|at| Some((header(at).ok()?, at)))
        .max()
        .map(|((_, key), at)| (at, key))
        .unwrap();
    let mut next = at + BLOCK_SIZE;
    std::iter::from_fn(|| {
        let (record, _) = RecordHeader::check(journal.get(next..at + half)?, key)?;
        let start = next;
        next += record.blocks() as usize * BLOCK_SIZE;
        Some((record, start..next))
    })
    .collect()
}

#[test]
fn a_record_is_missed_if_a_later_one_vouches_for_it() {
    let sample = Sample::new();
    let records = records_of_the_newest(&sample.journal);
    assert!(records.len() > 1);
    let vouched = records.iter().map(|(record, _)| record.durable_seq).max().unwrap();
    assert!(vouched > records[0].0.seq);
    for (record, place) in records {
        for at in place.step_by(1021) {
            let mut journal = sample.journal.clone();
            journal[at] ^= 1;
            if record.seq < vouched {
                let what = "a durable record is gone";
                assert_eq!(sample.refused(&sample.image, &journal), OpenError::JournalDamaged { what });
            } else {
                // Nobody can tell it from one that was torn, or lost because it was never flushed.
                let life = open(&sample.disk(&sample.image, &journal), &sample.setup, 1).unwrap();
                assert!(matches!(life.found, Found::Volume(_)));
            }
        }
    }
}

#[test]
fn the_newest_header_is_missed_and_one_copy_of_it_is_not() {
    let sample = Sample::new();
    let at = records_of_the_newest(&sample.journal)[0].1.start - BLOCK_SIZE;
    for (gone, both) in [(0..512, false), (2048..2560, false), (0..BLOCK_SIZE, true)] {
        let mut journal = sample.journal.clone();
        journal[at..][gone].fill(0xff);
        if both {
            let what = "the header of the newer segment is gone";
            assert_eq!(sample.refused(&sample.image, &journal), OpenError::JournalDamaged { what });
        } else {
            let life = open(&sample.disk(&sample.image, &journal), &sample.setup, 1).unwrap();
            assert!(look(&life, &sample.history, sample.acked, false).is_ok());
        }
    }
}

#[test]
fn files_of_two_volumes() {
    let sample = Sample::new();
    let mut journal = sample.journal.clone();
    for at in [0, sample.segment()] {
        // No records, as the first one names the header that it follows.
        journal[at + BLOCK_SIZE..at + sample.segment()].fill(0);
        if let Ok(mut header) = SegmentHeader::check(&journal[at..]) {
            header.uuid = [9; 16];
            header.encode(journal[at..].first_chunk_mut().unwrap());
        }
    }
    let error = sample.refused(&sample.image, &journal);
    assert_eq!((error, error.errno()), (OpenError::OtherVolume, Errno::EINVAL));
    let mut mixed = sample.journal.clone();
    if let Ok(mut header) = SegmentHeader::check(&mixed) {
        header.uuid = [9; 16];
        header.encode(mixed.first_chunk_mut().unwrap());
        assert_eq!(sample.refused(&sample.image, &mixed), OpenError::OtherVolume);
    }
}

#[test]
fn a_journal_of_another_version() {
    let sample = Sample::new();
    let mut journal = sample.journal.clone();
    let at = if SegmentHeader::check(&journal).is_ok() { 0 } else { sample.segment() };
    journal[at + 16] = 2;
    let hash = xxhash_rust::xxh64::xxh64(&journal[at + 16..at + 512], 0);
    journal[at + 8..at + 16].copy_from_slice(&hash.to_le_bytes());
    let error = sample.refused(&sample.image, &journal);
    assert_eq!(error, OpenError::JournalVersion { version: 2 });
    assert_eq!(error.errno(), Errno::EPROTONOSUPPORT);
    assert!(error.to_string().contains("version 2, this program reads version 1: use a program"));
}

#[test]
fn damaged_superblocks() {
    // No records: the image alone counts.
    let mut image = vec![0; 32 * BLOCK_SIZE];
    image[2 * BLOCK_SIZE + 5] = 1;
    let sample = Sample::new();
    let error = sample.refused(&image, &[]);
    assert!(matches!(error, OpenError::Superblock(_)), "{error}");
    assert!(error.to_string().contains("the volume is damaged: neither superblock copy is valid"));
}

fn superblock(blocks: u32) -> Vec<u8> {
    let geometry = Geometry::new(blocks).unwrap();
    let superblock = Superblock {
        uuid: UUID,
        generation: 1,
        geometry,
        inode_file_block: 3,
        hash_key: [0; 16],
        created: 0,
        read_only: false,
    };
    let mut image = vec![0; 4 * BLOCK_SIZE];
    for block in 0..2 {
        superblock.encode(image[block * BLOCK_SIZE..].first_chunk_mut().unwrap(), block as u32);
    }
    image
}

fn options(adopt: bool) -> OpenOptions {
    let mut options = OpenOptions::new(UUID, Box::new(|| 4));
    (options.segment_blocks, options.adopt) = (16, adopt);
    options
}

#[test]
fn a_volume_that_is_too_large_says_what_it_needs() {
    let (_, image) = fresh_store(64, Durability::Strict);
    let file = MemDevice::with_bytes(superblock(100));
    let result = open_volume(file, MemDevice::default(), &image, options(true), &mut |_| ());
    let error = result.err().unwrap();
    assert_eq!(error, OpenError::Capacity { capacity_blocks: 64, needed_blocks: 100 });
    assert_eq!(error.errno(), Errno::EFBIG);
    assert!(error.to_string().ends_with("it is 262144 bytes, give 409600 or more"), "{error}");
}

#[test]
fn an_image_alone_can_be_adopted() {
    let (_, image) = fresh_store(64, Durability::Strict);
    let (file, journal) = (MemDevice::with_bytes(superblock(64)), MemDevice::default());
    let open = |adopt| {
        open_volume(file.clone(), journal.clone(), &image, options(adopt), &mut |_| ()).map(|o| o.found)
    };
    assert_eq!(open(false), Err(OpenError::NoJournal));
    assert!(matches!(open(true), Ok(Found::Volume(_))));
    assert!(matches!(open(false), Ok(Found::Volume(_))), "it has a journal now");
}

#[test]
fn nothing_and_remains_of_nothing_are_a_new_volume() {
    let (_, image) = fresh_store(64, Durability::Strict);
    // Bulk data of a first commit that was not completed.
    let mut remains = vec![0; 40 * BLOCK_SIZE];
    remains[30 * BLOCK_SIZE..].fill(7);
    for bytes in [Vec::new(), vec![0; 5000], remains] {
        let (mut file, journal) = (MemDevice::with_bytes(bytes), MemDevice::default());
        for _ in 0..2 {
            let opened =
                open_volume(file.clone(), journal.clone(), &image, options(false), &mut |_| ()).unwrap();
            assert_eq!(opened.found, Found::New);
        }
        assert_eq!(file.size_bytes(), Ok(0));
        assert_eq!(journal.bytes().len(), 2 * 16 * BLOCK_SIZE);
    }
}

#[test]
fn progress_is_told() {
    let sample = Sample::new();
    let (_, image) = fresh_store(sample.setup.blocks, Durability::Strict);
    let (file, journal) =
        (MemDevice::with_bytes(sample.image.clone()), MemDevice::with_bytes(sample.journal.clone()));
    let mut steps = Vec::new();
    open_volume(file, journal, &image, options(false), &mut |step| steps.push(step)).unwrap();
    assert_eq!(steps[0].phase, Phase::Recover);
    let last = steps.last().unwrap();
    assert_eq!((last.phase, last.done_blocks, last.total_blocks), (Phase::Load, 18, 18));
    assert!(steps.iter().all(|step| step.done_blocks <= step.total_blocks));
}

#[test]
fn short_reads_and_failing_calls_while_opening() {
    let sample = Sample::new();
    for nth in 1..30 {
        let disk = sample.disk(&sample.image, &sample.journal);
        let faults = Faults { nth: Some(nth), short_percent: 50, ..Faults::default() };
        disk.set_faults(faults, Errno::EIO);
        if let Err(error) = open(&disk, &sample.setup, 1) {
            assert_eq!(error.errno(), Errno::EIO);
        }
        disk.power_cycle(false);
        let life = open(&disk, &sample.setup, 2).unwrap();
        look(&life, &sample.history, sample.acked, false).unwrap();
    }
}
