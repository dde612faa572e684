//! What a volume has done and how it is: numbers that its keeper and its clients leave in the runtime region.
//!
//! Counts are words that only grow (wrapping at 2^32) and belong to the volume, not to one keeper: they go on
//! when another keeper follows. Each is in the store before a client is told that its commit is done, so that
//! whoever reads them after `fsync` finds that commit among them.

use super::device::Device;
use super::disk::Disk;
use super::histogram::{self, Latency};
use crate::core::Image;
use crate::errno::Errno;
use crate::format::BLOCK_SIZE;
use crate::store::Store;
use crate::store::runtime::{self as rt, Durability, KeeperState};

/// Gives the time in microseconds since some moment; it never goes back.
pub type Stopwatch = fn() -> u64;

/// The host's stopwatch; none where only the surroundings can give one.
pub fn host_stopwatch() -> Option<Stopwatch> {
    #[cfg(target_family = "wasm")]
    return None;
    #[cfg(not(target_family = "wasm"))]
    Some(|| {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_micros() as u64
    })
}

/// What a volume has done since it was mounted, and how it is now.
///
/// The numbers are read one after the other, so those of a busy volume need not be of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Commits that wrote a record to the journal.
    pub commits: u64,
    /// Attempts to commit or to bring the journal home that a device refused.
    pub commits_failed: u64,
    /// Bytes written to the journal.
    pub journal_written_bytes: u64,
    /// Bytes written to the image, zeros that make it longer among them.
    pub image_written_bytes: u64,
    /// Flushes of the journal.
    pub journal_flushes: u64,
    /// Flushes of the image.
    pub image_flushes: u64,
    /// Segments of the journal that were brought to the image.
    pub checkpoints: u64,
    /// Calls that asked for durability and got it: `fsync`, `sync`, writes to files that are opened for it.
    pub fsyncs: u64,
    /// Such calls that ended with an error.
    pub fsyncs_failed: u64,
    /// How long commits took the keeper, from the start of the attempt until it could be told.
    pub commit_latency: Latency,
    /// How long such calls took their callers.
    pub fsync_latency: Latency,
    /// Count of changes (wrapping).
    pub change: u32,
    /// The count up to which everything is in the journal, flushed or not.
    pub written: u32,
    /// The count up to which everything is durable.
    pub durable: u32,
    /// Blocks that differ from what is in the journal or the image.
    pub dirty_blocks: u32,
    /// Those of them that hold metadata.
    pub dirty_meta_blocks: u32,
    /// Freed blocks that wait for a commit before they are used again.
    pub quarantined_blocks: u32,
    /// Blocks that the image file has for certain; 0 while no keeper says.
    pub room_blocks: u32,
    /// Blocks that somebody waits for the image file to have; 0 when nobody does.
    pub room_wanted_blocks: u32,
    /// Whether the device refused to make the image file longer when it was last asked.
    pub room_short: bool,
    /// When `fsync` returns.
    pub durability: Durability,
    /// Whether a keeper serves the volume.
    pub keeper_up: bool,
    /// Why the last attempt failed, until one succeeds or a new one is asked for.
    pub failure: Option<Errno>,
    /// Why the last attempt failed that did, however long ago.
    pub last_failure: Option<Errno>,
}

impl Metrics {
    /// The metrics of a volume.
    pub fn read<S: Store>(image: &Image<S>) -> Self {
        let store = image.store();
        let count = |at| u64::from(store.load(at));
        let bytes = |at| u64::from(store.load(at)) * BLOCK_SIZE as u64;
        let errno = |at| Errno::from_linux(store.load(at).cast_signed());
        Self {
            commits: count(rt::COMMITS),
            commits_failed: count(rt::COMMITS_FAILED),
            journal_written_bytes: bytes(rt::JOURNAL_BLOCKS),
            image_written_bytes: bytes(rt::IMAGE_BLOCKS_WRITTEN),
            journal_flushes: count(rt::JOURNAL_FLUSHES),
            image_flushes: count(rt::IMAGE_FLUSHES),
            checkpoints: count(rt::CHECKPOINTS),
            fsyncs: count(rt::FSYNCS),
            fsyncs_failed: count(rt::FSYNCS_FAILED),
            commit_latency: histogram::latency(store, rt::COMMIT_HISTOGRAM),
            fsync_latency: histogram::latency(store, rt::FSYNC_HISTOGRAM),
            // What never passes another is read before it.
            durable: store.load(rt::DURABLE),
            written: store.load(rt::WRITTEN),
            change: store.load(rt::CHANGE),
            dirty_blocks: store.load(rt::DIRTY_COUNT),
            dirty_meta_blocks: store.load(rt::DIRTY_META_COUNT),
            quarantined_blocks: store.load(rt::QUARANTINE_COUNT),
            room_blocks: store.load(rt::ROOM_BLOCKS),
            room_wanted_blocks: store.load(rt::ROOM_WANTED),
            room_short: store.load(rt::ROOM_SHORT) != 0,
            durability: image.durability(),
            keeper_up: store.load(rt::KEEPER_STATE) == KeeperState::Up as u32,
            failure: errno(rt::FAILURE),
            last_failure: errno(rt::LAST_FAILURE),
        }
    }
}

/// What a keeper counts, and what of that is in the store.
#[derive(Default)]
pub struct Counts {
    told: [u32; 6],
}

impl Counts {
    /// Adds to the store what was done since the last time. Only the volume's keeper does.
    pub fn tell<S: Store, D: Device>(&mut self, store: &S, disk: &Disk<D>, commits: u32) {
        let (journal, image) = (&disk.journal, &disk.image);
        let now = [
            (rt::COMMITS, commits),
            (rt::JOURNAL_BLOCKS, journal.written),
            (rt::JOURNAL_FLUSHES, journal.flushes),
            (rt::IMAGE_BLOCKS_WRITTEN, image.written.wrapping_add(image.filled)),
            (rt::IMAGE_FLUSHES, image.flushes),
            (rt::CHECKPOINTS, disk.checkpoints),
        ];
        for ((word, count), told) in now.into_iter().zip(&mut self.told) {
            if count != *told {
                store.fetch_add(word, count.wrapping_sub(*told));
                *told = count;
            }
        }
    }
}

/// Notes how a call ended that asked for durability, and that it took `us` if there was a stopwatch.
pub fn note_fsync<S: Store + ?Sized>(store: &S, served: bool, us: Option<u64>) {
    store.fetch_add(if served { rt::FSYNCS } else { rt::FSYNCS_FAILED }, 1);
    if let Some(us) = us.filter(|_| served) {
        histogram::record(store, rt::FSYNC_HISTOGRAM, us);
    }
}

/// Notes that an attempt failed.
pub fn note_failure<S: Store + ?Sized>(store: &S, errno: Errno) {
    store.fetch_add(rt::COMMITS_FAILED, 1);
    store.store(rt::LAST_FAILURE, errno.linux().cast_unsigned());
}
