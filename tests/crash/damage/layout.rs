//! Where in an undamaged journal headers and records lie.

use sabfs::format::BLOCK_SIZE;
use sabfs::format::journal::{RecordHeader, SEGMENTS, SegmentHeader};
use sabfs::sim::FileBytes;
use std::ops::Range;

/// Bytes of a record's header before its block numbers.
const RECORD_HEADER_BYTES: usize = 64;

/// A record that would be replayed.
pub struct Record {
    /// Its first block in the file.
    pub block: usize,
    pub header: RecordHeader,
}

impl Record {
    /// The bytes of the whole record in the file.
    pub fn range(&self) -> Range<usize> {
        let blocks = self.header.blocks() as usize;
        self.block * BLOCK_SIZE..(self.block + blocks) * BLOCK_SIZE
    }

    /// The bytes of its header and of its block numbers.
    pub fn head(&self) -> Range<usize> {
        let start = self.block * BLOCK_SIZE;
        start..start + RECORD_HEADER_BYTES + self.header.count as usize * 4
    }

    /// The bytes of its blocks, and of the rest of the last block of numbers.
    pub fn body(&self) -> Range<usize> {
        self.head().end..self.range().end
    }
}

/// One segment.
pub struct Segment {
    /// Its first block in the file.
    pub block: usize,
    pub header: Option<SegmentHeader>,
    pub records: Vec<Record>,
    /// Number of the record that would come next.
    pub next_seq: u64,
}

/// A journal.
pub struct Layout {
    pub segments: [Segment; SEGMENTS],
    /// The segment with the greatest epoch.
    pub newest: usize,
    pub segment_blocks: usize,
}

impl Layout {
    /// Reads a journal that is whole.
    pub fn of(journal: &FileBytes) -> Self {
        let bytes = journal.to_vec();
        let half = bytes.len() / SEGMENTS;
        let segments = [0, 1].map(|index| {
            Segment::of(&bytes[index * half..(index + 1) * half], index * half / BLOCK_SIZE)
        });
        let epoch = |segment: &Segment| segment.header.map_or(0, |header| header.epoch);
        let newest = usize::from(epoch(&segments[1]) > epoch(&segments[0]));
        Self { segments, newest, segment_blocks: half / BLOCK_SIZE }
    }

    /// The epoch of the newest segment.
    pub fn epoch(&self) -> u64 {
        self.segments[self.newest].header.map_or(0, |header| header.epoch)
    }

    /// Number of the record that would come next.
    pub fn next_seq(&self) -> u64 {
        self.segments[self.newest].next_seq
    }

    /// All records.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.segments.iter().flat_map(|segment| &segment.records)
    }

    /// The record that a byte of the file belongs to.
    pub fn record_at(&self, at: usize) -> Option<&Record> {
        self.records().find(|record| record.range().contains(&at))
    }

    /// The segment whose header's block has a byte of the file.
    pub fn header_at(&self, at: usize) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.block == at / BLOCK_SIZE)
    }

    /// The bytes of a segment behind its records.
    pub fn rest(&self, segment: &Segment) -> Range<usize> {
        let header_end = (segment.block + 1) * BLOCK_SIZE;
        let start = segment.records.last().map_or(header_end, |record| record.range().end);
        start..(segment.block + self.segment_blocks) * BLOCK_SIZE
    }
}

impl Segment {
    fn of(bytes: &[u8], block: usize) -> Self {
        let header = SegmentHeader::check(bytes).ok();
        let mut segment = Self { block, header, records: Vec::new(), next_seq: 0 };
        let Some(header) = header else { return segment };
        segment.next_seq = header.first_seq;
        let mut at = BLOCK_SIZE;
        while let Some((record, _)) = RecordHeader::check(&bytes[at..], header.key)
            && (record.epoch, record.seq) == (header.epoch, segment.next_seq)
        {
            segment.records.push(Record { block: block + at / BLOCK_SIZE, header: record });
            segment.next_seq += 1;
            at += record.blocks() as usize * BLOCK_SIZE;
        }
        segment
    }
}
