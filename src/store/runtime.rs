//! The runtime region: what the attached programs share beside the image.
//!
//! It lies at the start of the store, is rebuilt whenever a volume is attached to a fresh store and
//! is never written to the durable file. All words are `u32` and are used atomically.
//!
//! ```text
//!      0  header words (this file's constants)
//!   4096  client slots            64 x  128 bytes
//!  12288  inode lock stripes    1024 x   16 bytes  { lock word, seq, 0, 0 }
//!  32768  redo slots              64 x  4096 bytes  (core/redo.rs)
//! 294912  redo spill          262144 bytes         for whoever has the gate
//! 557056  change log          262144 bytes         ring of records (core/log.rs)
//! 819200  advisory locks        4096 x   48 bytes  (vfs/locks/table.rs)
//!  then   waiters for locks      256 x   48 bytes
//!  then   lock buckets          1024 x    8 bytes  { first lock + 1, releases }
//!  then   spare, up to 1077248
//! 1077248  histograms              2 x  2048 bytes  (persist/histogram.rs)
//! 1081344  open table            8192 x   16 bytes  { inode, 0, holders }, open addressing
//!  then   six bitmaps, one bit a block each: dirty, fresh, meta, quarantine, reserved, in flight
//!  then   the image, from the next multiple of 4096
//! ```
//!
//! Invariants
//! - `MAGIC` is written last when a store is prepared: who reads it sees a complete region.
//! - `CHANGE` counts mutations and is bumped under the gate, so a value read under the gate names one
//!   consistent cut. `DURABLE` and `WRITTEN` hold such values and never pass `CHANGE`.
//! - A block is allocatable only if its bit in the volume's bitmap, in `quarantine` and in `reserved`
//!   are all clear. While `ROOM_SHORT` is set only blocks below `ROOM_BLOCKS` are.

use crate::format::BLOCK_SIZE;

/// `"SBR2"`: the store holds a complete runtime region.
pub const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"SBR2");

/// Word: [`MAGIC_VALUE`] when the region is complete.
pub const MAGIC: u64 = 0;
/// Word: random name of this store, part of the names of its Web Locks.
pub const STORE_ID: u64 = 4;
/// Word: block number, counted from the store's start, at which the image begins.
pub const IMAGE_BASE_BLOCKS: u64 = 8;
/// Word: how many blocks of image the region has bitmaps for and the store has room for.
pub const CAPACITY_BLOCKS: u64 = 12;
/// Word: a [`VolumeState`].
pub const STATE: u64 = 16;
/// Word: a [`Durability`].
pub const DURABILITY: u64 = 20;
/// Word: 1 when mutations are refused.
pub const READ_ONLY: u64 = 24;
/// Word: errno number (Linux) with which the volume or its keeper failed, 0 when all is well.
pub const FAILURE: u64 = 28;

/// Word: 1 while somebody has or makes a volume in the store, so that of several programs that find it
/// empty one does the work. JavaScript sets it before a mount.
pub const CLAIM: u64 = 32;
/// Word: how many blocks the volume has by now; 0 before its superblock is known.
pub const IMAGE_BLOCKS: u64 = 36;

/// Word: counts the clients that ever were (wrapping), so that two in one slot have different names.
pub const CLIENT_SERIAL: u64 = 40;
/// Word: 1 while the keeper is known to have ended and no other one has followed.
pub const KEEPER_DEAD: u64 = 44;

/// Word: the gate's futex word; who holds it excludes every mutation and every commit's cut.
pub const GATE: u64 = 64;
/// Word: count of mutations, bumped under the gate.
pub const CHANGE: u64 = 128;
/// Word: blocks that are free and not quarantined.
pub const FREE_BLOCKS: u64 = 132;
/// Word: inodes in use.
pub const USED_INODES: u64 = 136;
/// Word: inode-file block at which the search for a free inode starts.
pub const INODE_HINT: u64 = 140;
/// Word: block at which the search for a long run of free blocks starts.
pub const RUN_HINT: u64 = 144;
/// Word: number of dirty blocks.
pub const DIRTY_COUNT: u64 = 148;
/// Word: number of dirty metadata blocks; admission control looks at it.
pub const DIRTY_META_COUNT: u64 = 152;
/// Word: number of quarantined blocks.
pub const QUARANTINE_COUNT: u64 = 156;
/// Word: no block before this one is free; the search for a few blocks starts here.
pub const FIRST_FREE: u64 = 160;
/// Word: number of metadata blocks that are in flight; admission control adds it to the dirty ones, as another
/// keeper may have to write both with one record.
pub const IN_FLIGHT_META_COUNT: u64 = 164;

/// Word: blocks that the image file has room for for certain; 0 while no keeper says.
pub const ROOM_BLOCKS: u64 = 176;
/// Word: blocks that somebody wants the image file to have room for; 0 when nobody waits for that.
pub const ROOM_WANTED: u64 = 180;
/// Word: 1 since the device refused to make the image file longer, until it does so again.
pub const ROOM_SHORT: u64 = 184;

/// Word: the keeper's bell; anyone who wants a commit adds 1 and notifies.
pub const KEEPER_BELL: u64 = 192;
/// Word: the value of `CHANGE` that somebody wants committed.
pub const WANTED: u64 = 196;
/// Word: the value of `CHANGE` up to which everything is durable.
pub const DURABLE: u64 = 200;
/// Word: the value of `CHANGE` up to which everything is written, flushed or not.
pub const WRITTEN: u64 = 204;
/// Word: a [`KeeperState`].
pub const KEEPER_STATE: u64 = 208;
/// Word: counts the keeper's turns, and the tries to follow a keeper that has died, so that a waiter can tell a slow keeper
/// from a dead one that nobody follows.
pub const KEEPER_BEAT: u64 = 212;
/// Word: 1 asks the keeper to commit, close its handles and stop; a keeper's worker sets it to 0 when the files are
/// closed.
pub const KEEPER_STOP: u64 = 216;
/// Word: commits since the volume was mounted (wrapping).
pub const COMMITS: u64 = 220;
/// Word: the value of `CHANGE` that somebody wants durable although the volume's mode does not ask for it.
pub const FLUSH_WANTED: u64 = 224;

/// Word: guards the advisory locks, all words and tables of which are used under it.
pub const LOCK_GUARD: u64 = 256;
/// Word: first free lock record + 1, 0 when none was given back.
pub const LOCK_FREE: u64 = 260;
/// Word: lock records from this one on were never used.
pub const LOCK_UNUSED: u64 = 264;
/// Word: lock records in use; who closes a file looks at it without the guard.
pub const LOCK_COUNT: u64 = 268;
/// Word: waiters for locks.
pub const LOCK_WAITING: u64 = 272;
/// Word: counts the waiters that ever were (wrapping): who came first goes first.
pub const LOCK_TICKET: u64 = 276;

/// Words, two: a bit for each client that watches the change log. Alone in their line of the cache, as every
/// change looks at them.
pub const LOG_WATCHERS: u64 = 320;
/// Word: position up to which the log is or is being written; positions count units of 8 bytes and wrap.
pub const LOG_RESERVED: u64 = 384;
/// Word: position up to which the log is complete; watchers sleep on it.
pub const LOG_HEAD: u64 = 388;
/// Word: sequence number of the log's next record.
pub const LOG_SEQUENCE: u64 = 392;
/// Word: inode of the newest record if that tells of changed data and nobody has read it, otherwise 0.
pub const LOG_MODIFIED: u64 = 396;
/// Word: 1 when a watcher may be sleeping; whoever wakes them clears it.
pub const LOG_SLEEPERS: u64 = 400;

/// Words, four: whose the journal was when the first keeper of this store had opened it (`persist::Mark`).
pub const KEEPER_MARK: u64 = 408;

/// Word: calls since the volume was mounted that asked for durability and got it (wrapping, as all of these).
pub const FSYNCS: u64 = 448;
/// Word: such calls that failed.
pub const FSYNCS_FAILED: u64 = 452;
/// Word: blocks written to the journal.
pub const JOURNAL_BLOCKS: u64 = 456;
/// Word: flushes of the journal.
pub const JOURNAL_FLUSHES: u64 = 460;
/// Word: blocks written to the image file.
pub const IMAGE_BLOCKS_WRITTEN: u64 = 464;
/// Word: flushes of the image file.
pub const IMAGE_FLUSHES: u64 = 468;
/// Word: segments of the journal that were brought to the image file.
pub const CHECKPOINTS: u64 = 472;
/// Word: attempts of the keeper that failed.
pub const COMMITS_FAILED: u64 = 476;
/// Word: errno number (Linux) of the last of them, 0 when there was none.
pub const LAST_FAILURE: u64 = 480;

/// Start of what somebody needs to know who goes on with the volume when the program that runs its keeper has died
/// or left: front ends write and read it (emscripten/heir.js), and it stays when a volume is put into the store.
/// Words: the sign of life of who runs the keeper (two), a number of its program, the sign of life of the keeper (two), 1
/// when it is put aside with its page; from 24 on the volume's name, from 92 on the folder that has its own, a word with the length before each.
pub const HAND_OVER: u64 = 512;
/// End of it.
pub const HAND_OVER_END: u64 = CLIENTS;

/// Clients that may be attached at once. A client is what can die by itself: a program with all its threads, or
/// a worker or page with a view of its own.
pub const CLIENTS_MAX: u64 = 64;
/// Number of keepers in lock words. They have no slot.
pub const KEEPER_CLIENT: u32 = CLIENTS_MAX as u32 + 1;
/// Start of the client slots: see `store::clients`.
pub const CLIENTS: u64 = 4096;
/// Size of a client slot.
pub const CLIENT_SIZE_BYTES: u64 = 128;
/// Start of the inode lock stripes.
pub const STRIPES: u64 = 12288;
/// Number of inode lock stripes; a power of two.
pub const STRIPES_COUNT: u64 = 1024;
/// Size of a stripe: lock word, sequence word, two spare words.
pub const STRIPE_SIZE_BYTES: u64 = 16;
/// Start of the redo slots.
pub const REDO: u64 = 32768;
/// Size of one client's redo slot: what most operations need several times over.
pub const REDO_SIZE_BYTES: u64 = 4096;
/// Start of what takes the redo records of a larger operation; it belongs to whoever has the gate.
pub const REDO_SPILL: u64 = REDO + CLIENTS_MAX * REDO_SIZE_BYTES;
/// Size of it.
pub const REDO_SPILL_SIZE_BYTES: u64 = 262_144;
/// Start of the change log's ring.
pub const LOG: u64 = REDO_SPILL + REDO_SPILL_SIZE_BYTES;
/// Size of the ring; a power of two, so that positions may wrap.
pub const LOG_SIZE_BYTES: u64 = 262_144;
/// Start of the advisory locks' records.
pub const LOCKS: u64 = LOG + LOG_SIZE_BYTES;
/// Advisory locks that there can be at once.
pub const LOCKS_MAX: u32 = 4096;
/// Size of a lock's or waiter's record.
pub const LOCK_SIZE_BYTES: u64 = 48;
/// Start of the records of those who wait for a lock.
pub const LOCK_WAITERS: u64 = LOCKS + LOCKS_MAX as u64 * LOCK_SIZE_BYTES;
/// Threads that can wait for a lock at once.
pub const LOCK_WAITERS_MAX: u32 = 256;
/// Start of the buckets that locks are found by.
pub const LOCK_BUCKETS: u64 = LOCK_WAITERS + LOCK_WAITERS_MAX as u64 * LOCK_SIZE_BYTES;
/// Number of buckets; a power of two.
pub const LOCK_BUCKETS_COUNT: u64 = 1024;
/// Size of a bucket: first lock + 1, count of releases, on which waiters sleep.
pub const LOCK_BUCKET_SIZE_BYTES: u64 = 8;
/// Size of a histogram of durations.
pub const HISTOGRAM_SIZE_BYTES: u64 = 2048;
/// Start of the histogram of commits, as the keeper sees them.
pub const COMMIT_HISTOGRAM: u64 = OPEN_TABLE - 2 * HISTOGRAM_SIZE_BYTES;
/// Start of the histogram of calls that ask for durability, as their callers see them.
pub const FSYNC_HISTOGRAM: u64 = OPEN_TABLE - HISTOGRAM_SIZE_BYTES;
/// Start of the open table: which inodes must outlive their last name, because somebody holds them.
pub const OPEN_TABLE: u64 = 1_081_344;
/// Entries of the open table; a power of two.
pub const OPEN_TABLE_COUNT: u64 = 8192;
/// Size of an entry: inode, a spare word, two words with a bit for each client that holds the inode.
pub const OPEN_ENTRY_SIZE_BYTES: u64 = 16;
/// Start of the bitmaps.
pub const BITMAPS: u64 = OPEN_TABLE + OPEN_TABLE_COUNT * OPEN_ENTRY_SIZE_BYTES;

const _: () = assert!(CLIENTS + CLIENTS_MAX * CLIENT_SIZE_BYTES <= STRIPES);
const _: () = assert!(STRIPES + STRIPES_COUNT * STRIPE_SIZE_BYTES <= REDO);
const _: () = assert!(LOCK_BUCKETS + LOCK_BUCKETS_COUNT * LOCK_BUCKET_SIZE_BYTES <= COMMIT_HISTOGRAM);
const _: () = assert!(LOG_SIZE_BYTES.is_power_of_two() && LOG_SIZE_BYTES < 1 << 32);
const _: () = assert!(BITMAPS.is_multiple_of(BLOCK_SIZE as u64));

/// What the volume in a store is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum VolumeState {
    /// No volume yet, or one that is being loaded.
    Empty = 0,
    /// Mounted: operations are served.
    Ready = 1,
    /// A device error or damage: mutations are refused with the errno in [`FAILURE`].
    Failed = 2,
    /// Unmounted.
    Closed = 3,
}

/// When fsync returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Durability {
    /// fsync waits until the journal is flushed.
    Strict = 0,
    /// fsync waits until the journal is written; a timer flushes it.
    Relaxed = 1,
    /// Nothing is persisted; there is no keeper.
    Memory = 2,
}

impl Durability {
    /// The mode with this number, if there is one.
    pub fn from_word(word: u32) -> Option<Self> {
        match word {
            0 => Some(Self::Strict),
            1 => Some(Self::Relaxed),
            2 => Some(Self::Memory),
            _ => None,
        }
    }
}

/// What the keeper is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum KeeperState {
    /// No keeper serves this store.
    None = 0,
    /// The keeper serves commits.
    Up = 1,
    /// The keeper has committed everything and closed its handles.
    Stopped = 2,
    /// A device error that the keeper could not mend; [`FAILURE`] has the errno.
    Failed = 3,
}

/// One of the runtime bitmaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Bitmap {
    /// The block differs from what was last put into a journal record or the image.
    Dirty = 0,
    /// The block was allocated since the last journal record.
    Fresh = 1,
    /// The block holds metadata, which is sealed when it leaves the store.
    Meta = 2,
    /// The block was freed by a change that is not durable yet: it must not be allocated again.
    Quarantine = 3,
    /// The block is being filled by an operation that has not committed yet.
    Reserved = 4,
    /// The keeper has marked the block clean, and it is not certain yet that it is durable as it was then. Only
    /// keepers use this: the next one writes such blocks once more if this one dies.
    InFlight = 5,
}

/// Number of bitmaps.
pub const BITMAPS_COUNT: u64 = 6;

/// Bytes that one bitmap takes for `capacity_blocks`: a multiple of 4096.
pub fn bitmap_size_bytes(capacity_blocks: u32) -> u64 {
    u64::from(capacity_blocks).div_ceil(8).next_multiple_of(BLOCK_SIZE as u64)
}

/// Store block at which the image begins when it is to have `capacity_blocks`.
pub fn image_base_blocks(capacity_blocks: u32) -> u64 {
    (BITMAPS + BITMAPS_COUNT * bitmap_size_bytes(capacity_blocks)) / BLOCK_SIZE as u64
}

/// Size in bytes of a store that has room for an image of `capacity_blocks`.
pub fn store_size_bytes(capacity_blocks: u32) -> u64 {
    (image_base_blocks(capacity_blocks) + u64::from(capacity_blocks)) * BLOCK_SIZE as u64
}

/// Largest image, in blocks, that fits a store of `size_bytes`; 0 when there is room for none.
pub fn capacity_of_store(size_bytes: u64) -> u32 {
    let mut capacity = u32::try_from(size_bytes / BLOCK_SIZE as u64).unwrap_or(u32::MAX);
    while capacity > 0 && store_size_bytes(capacity) > size_bytes {
        let over = (store_size_bytes(capacity) - size_bytes).div_ceil(BLOCK_SIZE as u64);
        capacity = capacity.saturating_sub(u32::try_from(over).unwrap_or(u32::MAX));
    }
    // Fewer blocks need less bitmap, so the last step may have gone too far.
    while capacity < u32::MAX && store_size_bytes(capacity + 1) <= size_bytes {
        capacity += 1;
    }
    capacity
}

/// Offset of the word that holds the bit of `block`, and the bit's mask.
pub fn bit_of(map: Bitmap, capacity_blocks: u32, block: u32) -> (u64, u32) {
    let start = BITMAPS + map as u64 * bitmap_size_bytes(capacity_blocks);
    (start + u64::from(block / 32) * 4, 1 << (block % 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_and_size_are_inverse() {
        for capacity in [1_u32, 100, 32_768, 32_769, 262_144, 1_000_003] {
            let size = store_size_bytes(capacity);
            assert_eq!(capacity_of_store(size), capacity);
            let less = capacity_of_store(size - 1);
            assert!(less < capacity && store_size_bytes(less) < size);
        }
        assert_eq!(capacity_of_store(0), 0);
        assert_eq!(capacity_of_store(BITMAPS), 0);
    }

    #[test]
    fn bitmaps_do_not_overlap_the_image() {
        let capacity = 262_144;
        let (word, _) = bit_of(Bitmap::Reserved, capacity, capacity - 1);
        assert!(word + 4 <= image_base_blocks(capacity) * BLOCK_SIZE as u64);
    }
}
