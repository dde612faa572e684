//! Reading a segment back: which records are valid and which copy of a block is the newest.
//!
//! Mounting and checkpointing use the same code, so that a checkpoint writes what a crash would have
//! recovered and nothing else.
//!
//! A record counts when it is whole (its hash), belongs to this use of the segment (epoch and key), and
//! follows the one before it (seq and `prev_hash`). The first that does not ends the segment. What lies behind
//! only tells whether that is the end: a record there that vouches for one that is missing shows that the segment
//! is damaged, not torn.

use super::rules::{Rule, Rules};
use crate::format::journal::{RecordHeader, SegmentHeader};
use crate::format::{BLOCK_SIZE, Block};

/// A block's copy in a segment: the block's number, and where the copy lies, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Number of the block.
    pub block: u32,
    /// Position of the copy in the segment.
    pub at: u32,
}

/// What a segment holds.
pub struct Replay {
    /// Every copy, in the order of writing.
    pub copies: Vec<Copied>,
    /// Blocks of the segment that the header and the valid records take.
    pub end: u32,
    /// Number of the next record.
    pub next_seq: u64,
    /// Whether there is a record that completes a commit.
    pub committed: bool,
}

/// Reads the records of a segment, `bytes` being the segment from its header on, as far as it is to be
/// trusted.
pub fn replay(bytes: &[u8], header: &SegmentHeader, rules: Rules) -> Replay {
    let mut found = Replay { copies: Vec::new(), end: 1, next_seq: header.first_seq, committed: false };
    let mut prev_hash = header.hash();
    loop {
        let rest = bytes.get(found.end as usize * BLOCK_SIZE..).unwrap_or(&[]);
        let record = RecordHeader::check(rest, header.key);
        #[cfg(any(test, feature = "sim"))]
        let record = record.or_else(|| super::sim::unproved(rest, header.key, rules));
        let Some((record, hash)) = record else { break };
        let follows =
            (record.epoch, record.seq, record.prev_hash) == (header.epoch, found.next_seq, prev_hash);
        if !follows && rules.on(Rule::RecordChain) {
            break;
        }
        let first = found.end + record.blocks() - record.count;
        let copies = (first..).zip(record.numbers(rest)).map(|(at, block)| Copied { block, at });
        found.copies.extend(copies);
        found.end += record.blocks();
        found.next_seq = found.next_seq.wrapping_add(1);
        found.committed |= !record.data_only;
        prev_hash = hash;
    }
    found
}

/// How many times over a segment is hashed in search of records behind its end: file data there can look like
/// their beginnings.
const SEARCH_MAX: usize = 16;

/// The whole records of this use of the segment behind its first invalid one, and where they begin, in blocks.
fn behind(bytes: &[u8], header: &SegmentHeader, found: &Replay) -> Vec<(u32, RecordHeader)> {
    let mut records = Vec::new();
    let (mut at, mut left) = (found.end, bytes.len().saturating_mul(SEARCH_MAX));
    while let Some(rest) = bytes.get(at as usize * BLOCK_SIZE..).filter(|rest| !rest.is_empty()) {
        let later = |(epoch, seq): (u64, u64)| epoch == header.epoch && seq > found.next_seq;
        let mut blocks = 1;
        if left >= rest.len() && RecordHeader::claimed(rest).is_some_and(later) {
            left -= rest.len();
            if let Some((record, _)) = RecordHeader::check(rest, header.key) {
                records.push((at, record));
                blocks = record.blocks();
            }
        }
        at += blocks;
    }
    records
}

/// The number before which all records were durable, as records say that lie behind the first invalid one.
pub fn vouched(bytes: &[u8], header: &SegmentHeader, found: &Replay) -> u64 {
    let says = behind(bytes, header, found).into_iter().map(|(_, record)| record.durable_seq);
    says.fold(found.next_seq, u64::max)
}

/// Adds what is whole behind the first invalid record. The blocks of those that are missing stay as old as they were,
/// so that what comes out is no state that the volume ever had.
pub fn salvage(bytes: &[u8], header: &SegmentHeader, found: &mut Replay) {
    for (at, record) in behind(bytes, header, found) {
        let first = at + record.blocks() - record.count;
        let numbers = record.numbers(&bytes[at as usize * BLOCK_SIZE..]);
        found.copies.extend((first..).zip(numbers).map(|(at, block)| Copied { block, at }));
        found.end = at + record.blocks();
        found.next_seq = record.seq.wrapping_add(1);
        found.committed |= !record.data_only;
    }
}

/// Reduces copies, given in the order of writing, to the newest of each block, ascending.
pub fn newest<T: Copy>(copies: &mut Vec<T>, block: impl Fn(T) -> u32) {
    // Stable, so that among equal numbers the last one is the newest.
    copies.sort_by_key(|&copy| block(copy));
    let mut kept = 0;
    for index in 0..copies.len() {
        let next = copies.get(index + 1).map(|&next| block(next));
        if next != Some(block(copies[index])) {
            copies[kept] = copies[index];
            kept += 1;
        }
    }
    copies.truncate(kept);
}

/// The bytes of the copy at block `at` of a segment; zeros when it lies outside, which `replay` excludes.
pub fn copy_bytes(bytes: &[u8], at: u32, to: &mut Block) {
    let blocks = bytes.as_chunks::<BLOCK_SIZE>().0;
    match blocks.get(at as usize) {
        Some(block) => to.copy_from_slice(block),
        None => to.fill(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        segment_blocks: 32,
        uuid: [1; 16],
        epoch: 3,
        key: 77,
        first_seq: 10,
        image_blocks: 0,
    };

    fn segment() -> (Vec<u8>, u64) {
        let mut bytes = vec![0; 32 * BLOCK_SIZE];
        let hash = HEADER.encode(bytes.first_chunk_mut().unwrap());
        (bytes, hash)
    }

    fn put(bytes: &mut [u8], at: usize, seq: u64, prev_hash: u64, numbers: &[u32], epoch: u64) -> u64 {
        let count = numbers.len() as u32;
        let (change, data_only, durable_seq) = (0, count == 0, seq);
        let record = RecordHeader { count, epoch, seq, prev_hash, change, data_only, durable_seq };
        let len = record.blocks() as usize * BLOCK_SIZE;
        record.seal(&mut bytes[at * BLOCK_SIZE..][..len], numbers, HEADER.key)
    }

    #[test]
    fn stops_where_the_chain_breaks() {
        let (mut bytes, hash) = segment();
        let one = put(&mut bytes, 1, 10, hash, &[5, 6], 3);
        put(&mut bytes, 4, 11, one, &[6], 3);
        let found = replay(&bytes, &HEADER, Rules::default());
        assert_eq!((found.end, found.next_seq, found.committed), (6, 12, true));
        let mut copies = found.copies;
        newest(&mut copies, |copy| copy.block);
        assert_eq!(copies, [Copied { block: 5, at: 2 }, Copied { block: 6, at: 5 }]);
        for (seq, prev_hash, epoch) in [(12, one, 3), (11, one + 1, 3), (11, one, 2)] {
            put(&mut bytes, 4, seq, prev_hash, &[6], epoch);
            assert_eq!(replay(&bytes, &HEADER, Rules::default()).end, 4);
        }
        assert_eq!(replay(&bytes[..3 * BLOCK_SIZE], &HEADER, Rules::default()).end, 1);
        assert_eq!(replay(&[], &HEADER, Rules::default()).end, 1);
    }

    #[test]
    fn what_lies_behind_the_end_vouches_for_what_is_missing() {
        let (mut bytes, hash) = segment();
        let one = put(&mut bytes, 1, 10, hash, &[5, 6], 3);
        let two = put(&mut bytes, 4, 11, one, &[6], 3);
        put(&mut bytes, 6, 12, two, &[], 3);
        let told = |bytes: &[u8]| {
            let found = replay(bytes, &HEADER, Rules::default());
            (found.next_seq, vouched(bytes, &HEADER, &found))
        };
        assert_eq!(told(&bytes), (13, 13));
        // The note is not needed by anybody.
        bytes[6 * BLOCK_SIZE + 70] ^= 1;
        assert_eq!(told(&bytes), (12, 12));
        bytes[6 * BLOCK_SIZE + 70] ^= 1;
        for at in [4 * BLOCK_SIZE + 14, 5 * BLOCK_SIZE + 1000] {
            bytes[at] ^= 1;
            assert_eq!(told(&bytes), (11, 12));
            bytes[at] ^= 1;
        }
        bytes[2 * BLOCK_SIZE] ^= 1;
        assert_eq!(told(&bytes), (10, 12));
        let mut found = replay(&bytes, &HEADER, Rules::default());
        salvage(&bytes, &HEADER, &mut found);
        assert_eq!((found.copies, found.end), (vec![Copied { block: 6, at: 5 }], 7));
        assert_eq!((found.next_seq, found.committed), (13, true));
        // Of another use, or not later than what is missing.
        put(&mut bytes, 4, 11, one, &[6], 2);
        put(&mut bytes, 6, 10, two, &[], 3);
        assert_eq!(told(&bytes), (10, 10));
    }
}
