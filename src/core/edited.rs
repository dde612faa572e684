//! A transaction's copy of a block: as much of it as was looked at, and what of that has changed.

use super::Blocks;
use super::image::Image;
use crate::format::{BLOCK_SIZE, Block};
use crate::store::Store;
use std::ops::Range;

/// Blocks are copied out by units: most transactions change a few bytes of a block and look at little more.
const UNIT: usize = 256;
const ALL: u16 = u16::MAX;
const _: () = assert!(BLOCK_SIZE == UNIT * ALL.count_ones() as usize);

/// A block that was read, and perhaps changed.
pub(super) struct Edited {
    pub(super) block: u32,
    pub(super) bytes: Box<Block>,
    /// A bit for each unit that was copied out or written.
    known: u16,
    ranges: Ranges,
    /// Nobody can see the block before the commit.
    pub(super) new: bool,
}

impl Edited {
    /// A block of which nothing is known yet. What `bytes` holds does not matter.
    pub(super) fn unread(block: u32, mut bytes: Box<Block>) -> Self {
        if cfg!(debug_assertions) {
            // Whoever looks at what it has not asked for shall notice.
            bytes.fill(0xa5);
        }
        Self { block, bytes, known: 0, ranges: Ranges::default(), new: false }
    }

    /// A block that is what the transaction makes it.
    pub(super) fn made(block: u32, bytes: Box<Block>, new: bool) -> Self {
        Self { block, bytes, known: ALL, ranges: Ranges::default(), new }
    }

    /// All of the block.
    pub(super) fn whole<S: Store>(&mut self, image: &Image<S>) -> &Block {
        self.need(image, ALL);
        &self.bytes
    }

    /// The block, of which `range` is about to be changed; other bytes of it may be anything.
    pub(super) fn edit<S: Store>(&mut self, image: &Image<S>, range: Range<usize>) -> &mut Block {
        self.ranges.add(range.start, range.end);
        // Ranges that have become one hold bytes between them, which go into the records too.
        let needed = self.ranges.iter().fold(0, |units, (from, to)| units | units_of(from, to));
        self.need(image, needed);
        &mut self.bytes
    }

    /// Changes bytes, whatever they were.
    pub(super) fn put<S: Store>(&mut self, image: &Image<S>, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if at.is_multiple_of(UNIT) && end.is_multiple_of(UNIT) {
            self.known |= units_of(at, end);
        }
        self.edit(image, at..end)[at..end].copy_from_slice(bytes);
    }

    /// Copies bytes out, as the transaction sees them.
    pub(super) fn read<S: Store>(&self, image: &Image<S>, at: usize, buffer: &mut [u8]) {
        let end = at + buffer.len();
        let units = units_of(at, end);
        if self.known & units == units {
            buffer.copy_from_slice(&self.bytes[at..end]);
            return;
        }
        Blocks::read(image, self.block, at, buffer);
        for unit in (0..BLOCK_SIZE / UNIT).filter(|unit| self.known & units & 1 << unit != 0) {
            let (from, to) = (at.max(unit * UNIT), end.min((unit + 1) * UNIT));
            buffer[from - at..to - at].copy_from_slice(&self.bytes[from..to]);
        }
    }

    /// The changed ranges, in no order.
    pub(super) fn changes(&self) -> impl Iterator<Item = (usize, usize)> {
        self.ranges.iter()
    }

    pub(super) fn is_changed(&self) -> bool {
        self.ranges.count > 0
    }

    /// Copies out what is not known yet of these units.
    fn need<S: Store>(&mut self, image: &Image<S>, units: u16) {
        let mut missing = units & !self.known;
        while missing != 0 {
            let first = missing.trailing_zeros() as usize;
            let count = (!(missing >> first)).trailing_zeros() as usize;
            let (from, to) = (first * UNIT, (first + count) * UNIT);
            Blocks::read(image, self.block, from, &mut self.bytes[from..to]);
            missing &= !units_of(from, to);
        }
        self.known |= units;
    }
}

/// Bits of the units that hold `from..to`.
fn units_of(from: usize, to: usize) -> u16 {
    debug_assert!(from < to && to <= BLOCK_SIZE);
    (ALL << (from / UNIT)) & (ALL >> ((BLOCK_SIZE - to) / UNIT))
}

/// Up to four byte ranges that cover all changes of a block, in no order. Ranges that are near each
/// other become one, and so do all when there are too many.
#[derive(Default)]
struct Ranges {
    count: usize,
    bounds: [(usize, usize); 4],
}

impl Ranges {
    fn add(&mut self, from: usize, to: usize) {
        debug_assert!(from <= to && to <= BLOCK_SIZE);
        let known = &mut self.bounds[..self.count];
        if let Some(near) = known.iter_mut().find(|r| from <= r.1 + 64 && to + 64 >= r.0) {
            *near = (near.0.min(from), near.1.max(to));
        } else if self.count < self.bounds.len() {
            self.bounds[self.count] = (from, to);
            self.count += 1;
        } else {
            let all = self.iter().fold((from, to), |a, r| (a.0.min(r.0), a.1.max(r.1)));
            (self.count, self.bounds[0]) = (1, all);
        }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        self.bounds[..self.count].iter().copied()
    }
}
