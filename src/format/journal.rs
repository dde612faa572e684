//! The journal file: two segments, each a header and records; `docs/format.md` has the same in prose.
//!
//! ```text
//! file     | segment 0                          | segment 1                          |
//! segment  | header (1 block) | record | record | ... | zeros or remains of an older use
//! record   | header, block numbers, zeros to a block boundary | the blocks themselves |
//!
//! segment header                                    record header
//!   0  magic "SABFSJNL"                               0  hash u64
//!   8  hash u64, XXH64 seed 0 of bytes 16..512        8  magic "SJRC"
//!  16  version u32                                   12  count u32          0 in a note
//!  20  segment_blocks u32                            16  epoch u64          the segment's
//!  24  uuid [16]                the volume's         24  seq u64            one more than the last
//!  40  epoch u64                greater is newer     32  prev_hash u64      the last record's hash
//!  48  key u64                  random               40  change u32
//!  56  first_seq u64            of the first record  44  flags u32          bit 0: data only
//!  64  image_blocks u32         least image length   48  durable_seq u64    records before it are durable
//!  68  zero to 512                                   56  zero [8]
//! 2048 the first 512 bytes again                     64  count block numbers u32
//! ```
//! A record's hash is XXH64, seeded with the segment's key, of its bytes from 8 to its end, the blocks
//! included: the record proves by itself that all of it was written, so a commit needs no second
//! write. The key is random for each use of a segment, so that neither remains of an older use nor
//! file content that looks like a record can pass for one.
//!
//! Invariants
//! - The header's meaning lies in one 512-byte sector: it is replaced whole or not at all. A second copy in
//!   the same block makes up for a damaged one; it is written by the same write, and of two that differ the newer
//!   counts.
//! - What a record says of others, that they are durable, only serves to notice that they are damaged.
//! - Magic and hash of the header stay where they are in every version, so that a header of another
//!   version is told from a damaged one.
//! - The `prev_hash` of a segment's first record is the header's hash: a record belongs to one header.

use super::BLOCK_SIZE;
use xxhash_rust::xxh64::xxh64;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Version of the journal's format.
pub const JOURNAL_VERSION: u32 = 1;
/// Blocks of a segment unless told otherwise: 8 MiB, replayed in some 10 ms.
pub const SEGMENT_BLOCKS_DEFAULT: u32 = 2048;
/// Smallest segment: a header and a record of a few blocks.
pub const SEGMENT_BLOCKS_MIN: u32 = 8;
/// Largest segment (256 MiB): it is read into memory to be replayed.
pub const SEGMENT_BLOCKS_MAX: u32 = 65_536;
/// Segments of a journal.
pub const SEGMENTS: usize = 2;

const SEGMENT_MAGIC: [u8; 8] = *b"SABFSJNL";
const RECORD_MAGIC: u32 = u32::from_le_bytes(*b"SJRC");
/// The part of the segment's header that counts: a sector, which devices write whole or not at all.
const SECTOR: usize = 512;
/// Where the copies of the segment's header begin in its block.
const HEADER_COPIES: [usize; 2] = [0, 2048];
const RECORD_HEADER_SIZE_BYTES: usize = 64;
const FLAG_DATA_ONLY: u32 = 1;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawSegmentHeader {
    magic: [u8; 8],
    hash: U64,
    version: U32,
    segment_blocks: U32,
    uuid: [u8; 16],
    epoch: U64,
    key: U64,
    first_seq: U64,
    image_blocks: U32,
    unused: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct RawRecordHeader {
    hash: U64,
    magic: U32,
    count: U32,
    epoch: U64,
    seq: U64,
    prev_hash: U64,
    change: U32,
    flags: U32,
    durable_seq: U64,
    unused: U64,
}

const _: () = assert!(size_of::<RawSegmentHeader>() == 72);
const _: () = assert!(size_of::<RawRecordHeader>() == RECORD_HEADER_SIZE_BYTES);

/// A checked segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Blocks of each segment, the header's included.
    pub segment_blocks: u32,
    /// The volume that the journal belongs to.
    pub uuid: [u8; 16],
    /// Counts the uses of segments: the header with the greater epoch is the newer.
    pub epoch: u64,
    /// Seed of the records' hashes.
    pub key: u64,
    /// Number of the segment's first record.
    pub first_seq: u64,
    /// Blocks that the image file had, durably, when the header was written.
    pub image_blocks: u32,
}

/// Why a segment header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentHeaderError {
    /// It was never written, or not wholly, or is damaged.
    Invalid,
    /// It is whole, but of another version.
    Version(u32),
}

impl SegmentHeader {
    /// Reads the header of the segment that begins with these bytes: the newest of its copies that are valid.
    ///
    /// One that is whole, but of another version, is told before all others.
    pub fn check(bytes: &[u8]) -> Result<Self, SegmentHeaderError> {
        let copies = HEADER_COPIES.map(|at| Self::check_copy(bytes.get(at..).unwrap_or(&[])));
        let version = |copy: &&_| matches!(copy, Err(SegmentHeaderError::Version(_)));
        if let Some(&version) = copies.iter().find(version) {
            return version;
        }
        let valid = copies.into_iter().flatten();
        // Of equal ones it is all the same.
        valid.max_by_key(|header| header.epoch).ok_or(SegmentHeaderError::Invalid)
    }

    /// Reads one copy of a header, at the start of these bytes.
    pub fn check_copy(bytes: &[u8]) -> Result<Self, SegmentHeaderError> {
        let invalid = SegmentHeaderError::Invalid;
        let sector = bytes.get(..SECTOR).ok_or(invalid)?;
        let (raw, _) = RawSegmentHeader::read_from_prefix(sector).map_err(|_| invalid)?;
        if raw.magic != SEGMENT_MAGIC || raw.hash.get() != xxh64(&sector[16..], 0) {
            return Err(invalid);
        }
        if raw.version.get() != JOURNAL_VERSION {
            return Err(SegmentHeaderError::Version(raw.version.get()));
        }
        if !(SEGMENT_BLOCKS_MIN..=SEGMENT_BLOCKS_MAX).contains(&raw.segment_blocks.get()) {
            return Err(invalid);
        }
        Ok(Self {
            segment_blocks: raw.segment_blocks.get(),
            uuid: raw.uuid,
            epoch: raw.epoch.get(),
            key: raw.key.get(),
            first_seq: raw.first_seq.get(),
            image_blocks: raw.image_blocks.get(),
        })
    }

    /// Writes the header into a block; gives its hash, which the first record names.
    pub fn encode(&self, block: &mut [u8; BLOCK_SIZE]) -> u64 {
        block.fill(0);
        let mut raw = RawSegmentHeader {
            magic: SEGMENT_MAGIC,
            hash: U64::ZERO,
            version: U32::new(JOURNAL_VERSION),
            segment_blocks: U32::new(self.segment_blocks),
            uuid: self.uuid,
            epoch: U64::new(self.epoch),
            key: U64::new(self.key),
            first_seq: U64::new(self.first_seq),
            image_blocks: U32::new(self.image_blocks),
            unused: U32::ZERO,
        };
        block[..size_of::<RawSegmentHeader>()].copy_from_slice(raw.as_bytes());
        let hash = xxh64(&block[16..SECTOR], 0);
        raw.hash = U64::new(hash);
        block[..size_of::<RawSegmentHeader>()].copy_from_slice(raw.as_bytes());
        for at in HEADER_COPIES {
            block.copy_within(..SECTOR, at);
        }
        hash
    }

    /// The hash that the header's bytes have.
    pub fn hash(&self) -> u64 {
        self.encode(&mut [0; BLOCK_SIZE])
    }
}

/// Blocks that the header and the numbers of a record of `count` blocks take.
pub fn record_header_blocks(count: u32) -> u32 {
    let bytes = RECORD_HEADER_SIZE_BYTES as u64 + u64::from(count) * 4;
    // At most 2^20 + 1: fits.
    bytes.div_ceil(BLOCK_SIZE as u64) as u32
}

/// Blocks of a whole record of `count` blocks.
pub fn record_blocks(count: u32) -> u32 {
    record_header_blocks(count).saturating_add(count)
}

/// The most blocks that a record in `room` blocks of journal can carry.
pub fn record_capacity(room: u32) -> u32 {
    let mut count = room;
    while count > 0 && record_blocks(count) > room {
        count = count.saturating_sub(record_blocks(count) - room);
    }
    // A shorter record may need one block of numbers less, so the last step may have gone too far.
    while record_blocks(count + 1) <= room {
        count += 1;
    }
    count
}

/// A checked record header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Number of blocks that the record carries; a note has none.
    pub count: u32,
    /// The segment's epoch.
    pub epoch: u64,
    /// The record's number.
    pub seq: u64,
    /// Hash of the record before it, or of the segment's header.
    pub prev_hash: u64,
    /// The volume's change count at the cut, for diagnosis.
    pub change: u32,
    /// The record completes no commit: it carries new data that only the next record makes part of the volume,
    /// or nothing.
    pub data_only: bool,
    /// All records with smaller numbers were durable when this one was written.
    pub durable_seq: u64,
}

impl RecordHeader {
    /// Blocks of the whole record.
    pub fn blocks(&self) -> u32 {
        record_blocks(self.count)
    }

    /// Offset of the record's `index`th block from the record's start.
    pub fn block_at(&self, index: u32) -> usize {
        (record_header_blocks(self.count) as usize + index as usize) * BLOCK_SIZE
    }

    /// Completes a record whose blocks are already in place: writes header and numbers, computes the
    /// hash and gives it. `bytes` is the whole record.
    pub fn seal(&self, bytes: &mut [u8], numbers: &[u32], key: u64) -> u64 {
        debug_assert_eq!(numbers.len(), self.count as usize);
        debug_assert_eq!(bytes.len(), self.blocks() as usize * BLOCK_SIZE);
        let mut raw = RawRecordHeader {
            hash: U64::ZERO,
            magic: U32::new(RECORD_MAGIC),
            count: U32::new(self.count),
            epoch: U64::new(self.epoch),
            seq: U64::new(self.seq),
            prev_hash: U64::new(self.prev_hash),
            change: U32::new(self.change),
            flags: U32::new(if self.data_only { FLAG_DATA_ONLY } else { 0 }),
            durable_seq: U64::new(self.durable_seq),
            unused: U64::ZERO,
        };
        let (head, _) = bytes.split_at_mut(self.block_at(0));
        let (fixed, places) = head.split_at_mut(RECORD_HEADER_SIZE_BYTES);
        fixed.copy_from_slice(raw.as_bytes());
        places.fill(0);
        for (place, number) in places.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
            *place = number.to_le_bytes();
        }
        let hash = xxh64(&bytes[8..], key);
        raw.hash = U64::new(hash);
        bytes[..RECORD_HEADER_SIZE_BYTES].copy_from_slice(raw.as_bytes());
        hash
    }

    /// The record at the start of `bytes`, which may be longer, and its hash; none when there is no
    /// whole and undamaged one.
    pub fn check(bytes: &[u8], key: u64) -> Option<(Self, u64)> {
        let (raw, _) = RawRecordHeader::read_from_prefix(bytes).ok()?;
        if raw.magic.get() != RECORD_MAGIC || raw.flags.get() & !FLAG_DATA_ONLY != 0 {
            return None;
        }
        let count = raw.count.get();
        let room = u32::try_from(bytes.len() / BLOCK_SIZE).ok()?;
        // The count is not proved yet: it must not lead outside the segment.
        if record_blocks(count) > room {
            return None;
        }
        let len = record_blocks(count) as usize * BLOCK_SIZE;
        let hash = xxh64(bytes.get(8..len)?, key);
        if hash != raw.hash.get() {
            return None;
        }
        let header = Self {
            count,
            epoch: raw.epoch.get(),
            seq: raw.seq.get(),
            prev_hash: raw.prev_hash.get(),
            change: raw.change.get(),
            data_only: raw.flags.get() & FLAG_DATA_ONLY != 0,
            durable_seq: raw.durable_seq.get(),
        };
        Some((header, hash))
    }

    /// The epoch and the number of what looks like a record at the start of these bytes and was not proved.
    pub fn claimed(bytes: &[u8]) -> Option<(u64, u64)> {
        let (raw, _) = RawRecordHeader::read_from_prefix(bytes).ok()?;
        (raw.magic.get() == RECORD_MAGIC).then(|| (raw.epoch.get(), raw.seq.get()))
    }

    /// The block numbers of a checked record, which begins at the start of `bytes`.
    pub fn numbers<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = u32> + use<'a> {
        let numbers = bytes.get(RECORD_HEADER_SIZE_BYTES..).unwrap_or(&[]);
        numbers.as_chunks::<4>().0.iter().map(|n| u32::from_le_bytes(*n)).take(self.count as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            segment_blocks: 64,
            uuid: *b"0123456789abcdef",
            epoch: 7,
            key: 0x1122_3344_5566_7788,
            first_seq: 9,
            image_blocks: 5,
        }
    }

    fn record(numbers: &[u32]) -> (RecordHeader, Vec<u8>, u64) {
        let count = numbers.len() as u32;
        let record = RecordHeader {
            count,
            epoch: 7,
            seq: 9,
            prev_hash: 1,
            change: 3,
            data_only: false,
            durable_seq: 8,
        };
        let mut bytes = vec![0xa5; record.blocks() as usize * BLOCK_SIZE];
        let hash = record.seal(&mut bytes, numbers, 42);
        (record, bytes, hash)
    }

    #[test]
    fn capacity_is_the_inverse_of_size() {
        for room in 0..5000 {
            let count = record_capacity(room);
            assert!(count == 0 || record_blocks(count) <= room, "{room}");
            assert!(record_blocks(count + 1) > room, "{room}");
        }
        assert_eq!(record_capacity(SEGMENT_BLOCKS_DEFAULT - 1), 2044);
        assert_eq!(record_blocks(u32::MAX), u32::MAX);
    }

    #[test]
    fn segment_headers_come_back() {
        let mut block = [9; BLOCK_SIZE];
        let hash = header().encode(&mut block);
        assert_eq!(SegmentHeader::check(&block), Ok(header()));
        assert_eq!(header().hash(), hash);
        assert_eq!(&block[..8], b"SABFSJNL");
        assert_eq!(&block[40..48], 7_u64.to_le_bytes());
        assert_eq!(block[..SECTOR], block[2048..][..SECTOR]);
        for bit in 0..SECTOR * 8 {
            let mut bad = block;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::check_copy(&bad), Err(SegmentHeaderError::Invalid), "bit {bit}");
            assert_eq!(SegmentHeader::check(&bad), Ok(header()), "bit {bit}");
            bad[2048 + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::check(&bad), Err(SegmentHeaderError::Invalid), "bit {bit} twice");
        }
        for len in [0, 8, 71, 511] {
            assert_eq!(SegmentHeader::check(&block[..len]), Err(SegmentHeaderError::Invalid));
        }
    }

    #[test]
    fn the_newer_copy_counts() {
        let newer = SegmentHeader { epoch: 9, first_seq: 12, ..header() };
        let (mut old, mut new) = ([0; BLOCK_SIZE], [0; BLOCK_SIZE]);
        header().encode(&mut old);
        newer.encode(&mut new);
        for [first, second] in [[old, new], [new, old]] {
            let mut torn = first;
            torn[2048..].copy_from_slice(&second[2048..]);
            assert_eq!(SegmentHeader::check(&torn), Ok(newer));
        }
    }

    #[test]
    fn other_versions_are_told_from_damage() {
        let mut block = [0; BLOCK_SIZE];
        header().encode(&mut block);
        block[16] = 2;
        let hash = xxh64(&block[16..SECTOR], 0);
        block[8..16].copy_from_slice(&hash.to_le_bytes());
        assert_eq!(SegmentHeader::check(&block), Err(SegmentHeaderError::Version(2)));
        block.rotate_left(2048);
        assert_eq!(SegmentHeader::check(&block), Err(SegmentHeaderError::Version(2)));
        let impossible = SegmentHeader { segment_blocks: 1, ..header() };
        impossible.encode(&mut block);
        assert_eq!(SegmentHeader::check(&block), Err(SegmentHeaderError::Invalid));
    }

    #[test]
    fn records_come_back() {
        let numbers: Vec<u32> = (0..1500).map(|n| n * 3).collect();
        let (expected, mut bytes, hash) = record(&numbers);
        bytes.extend([1; 100]);
        assert_eq!(RecordHeader::check(&bytes, 42), Some((expected, hash)));
        assert_eq!(expected.numbers(&bytes).collect::<Vec<_>>(), numbers);
        assert_eq!(expected.block_at(0), 2 * BLOCK_SIZE);
        assert_eq!(RecordHeader::check(&bytes, 43), None);
        assert_eq!(RecordHeader::claimed(&bytes), Some((7, 9)));
        assert_eq!(RecordHeader::claimed(&bytes[1..]), None);
        let (note, bytes, hash) = record(&[]);
        assert_eq!(bytes.len(), BLOCK_SIZE);
        assert_eq!(RecordHeader::check(&bytes, 42), Some((note, hash)));
    }

    #[test]
    fn damaged_records_are_refused() {
        let (_, bytes, _) = record(&[4, 5]);
        for bit in (0..bytes.len() * 8).step_by(61).chain(0..1024) {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::check(&bad, 42), None, "bit {bit}");
        }
        for len in (0..bytes.len()).step_by(97) {
            assert_eq!(RecordHeader::check(&bytes[..len], 42), None);
        }
        assert_eq!(RecordHeader::check(&[0; 8192], 42), None);
    }
}
