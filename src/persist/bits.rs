//! Sets of blocks: those in the runtime region, and private ones.

use crate::core::Image;
use crate::format::BLOCK_SIZE;
use crate::store::Store;
use crate::store::runtime::{self as rt, Bitmap};

/// Calls `each` with the index of every 64-bit word of a runtime bitmap that is not zero, and the word.
fn for_each_word<S: Store>(image: &Image<S>, map: Bitmap, mut each: impl FnMut(u32, u64)) {
    let capacity = image.capacity_blocks();
    let (start, _) = rt::bit_of(map, capacity, 0);
    let mut chunk = [0_u8; BLOCK_SIZE];
    let words = capacity.div_ceil(64);
    let per_chunk = (BLOCK_SIZE / 8) as u32;
    let mut first = 0;
    while first < words {
        let count = per_chunk.min(words - first);
        let bytes = &mut chunk[..count as usize * 8];
        image.store().read(start + u64::from(first) * 8, bytes);
        for (index, word) in (first..).zip(bytes.as_chunks::<8>().0) {
            let word = u64::from_le_bytes(*word);
            if word != 0 {
                each(index, word);
            }
        }
        first += count;
    }
}

/// Appends the numbers of the blocks whose bit is set, ascending. The caller holds the gate.
pub fn collect<S: Store>(image: &Image<S>, map: Bitmap, found: &mut Vec<u32>) {
    for_each_word(image, map, |index, mut word| {
        while word != 0 {
            found.push(index * 64 + word.trailing_zeros());
            word &= word - 1;
        }
    });
}

/// How many bits are set. The caller holds the gate.
pub fn count<S: Store>(image: &Image<S>, map: Bitmap) -> u32 {
    let mut total = 0;
    for_each_word(image, map, |_, word| total += word.count_ones());
    total
}

/// How many blocks have both bits set. The caller holds the gate.
pub fn count_both<S: Store>(image: &Image<S>, one: Bitmap, other: Bitmap) -> u32 {
    let mut total = 0;
    let mut each = |block| total += u32::from(image.bit(other, block));
    for_each_word(image, one, |index, mut word| {
        while word != 0 {
            each(index * 64 + word.trailing_zeros());
            word &= word - 1;
        }
    });
    total
}

/// The numbers of the blocks whose bit is set, ascending.
#[cfg(test)]
pub fn all<S: Store>(image: &Image<S>, map: Bitmap) -> Vec<u32> {
    let mut found = Vec::new();
    collect(image, map, &mut found);
    found
}

/// What is quarantined, so that exactly that can be released later.
#[derive(Default)]
pub struct Quarantined {
    words: Vec<(u32, u64)>,
}

impl Quarantined {
    /// Takes what is quarantined now. The caller holds the gate.
    pub fn take<S: Store>(&mut self, image: &Image<S>) {
        self.words.clear();
        if image.store().load(rt::QUARANTINE_COUNT) != 0 {
            let words = &mut self.words;
            for_each_word(image, Bitmap::Quarantine, |index, word| words.push((index, word)));
        }
    }

    /// Forgets what was taken; it stays quarantined.
    pub fn clear(&mut self) {
        self.words.clear();
    }

    /// Whether there is nothing to release.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Makes what was taken allocatable again and forgets it. The caller holds the gate.
    pub fn release<S: Store>(&mut self, image: &Image<S>) {
        let store = image.store();
        let (start, _) = rt::bit_of(Bitmap::Quarantine, image.capacity_blocks(), 0);
        let mut count = 0;
        if let Some(&(index, word)) = self.words.first() {
            image.note_free(index * 64 + word.trailing_zeros());
        }
        for (index, word) in self.words.drain(..) {
            for (half, mask) in [(0, word as u32), (1, (word >> 32) as u32)] {
                if mask != 0 {
                    let offset = start + u64::from(index) * 8 + half * 4;
                    count += (store.fetch_and(offset, !mask) & mask).count_ones();
                }
            }
        }
        store.fetch_add(rt::FREE_BLOCKS, count);
        store.fetch_add(rt::QUARANTINE_COUNT, count.wrapping_neg());
    }
}

/// A private set of block numbers, as a bitmap.
#[derive(Clone, Default)]
pub struct BlockSet {
    words: Vec<u64>,
}

impl BlockSet {
    /// Adds a block.
    pub fn insert(&mut self, block: u32) {
        let index = (block / 64) as usize;
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        self.words[index] |= 1 << (block % 64);
    }

    /// Whether the block is in the set.
    pub fn contains(&self, block: u32) -> bool {
        self.words.get((block / 64) as usize).is_some_and(|word| word >> (block % 64) & 1 == 1)
    }

    /// Makes the set empty.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HeapStore;
    use crate::store::runtime::Durability;

    fn image() -> Image<HeapStore> {
        let store = HeapStore::new(rt::store_size_bytes(100_000));
        Image::prepare(&store, 1, Durability::Strict).unwrap();
        Image::attach(store, 1).unwrap()
    }

    #[test]
    fn sets() {
        let mut set = BlockSet::default();
        assert!(!set.contains(1000));
        set.insert(1000);
        set.insert(0);
        assert!(set.contains(1000) && set.contains(0) && !set.contains(1001));
        set.clear();
        assert!(!set.contains(1000));
    }

    #[test]
    fn finds_every_bit() {
        let image = image();
        let expected = [0, 31, 32, 63, 64, 32_767, 32_768, 65_535, 99_999];
        for block in expected {
            image.set_bit(Bitmap::Dirty, block);
        }
        let mut found = Vec::new();
        collect(&image, Bitmap::Dirty, &mut found);
        assert_eq!(found, expected);
    }

    #[test]
    fn releases_what_was_taken_and_no_more() {
        let image = image();
        let store = image.store();
        for block in [5, 40, 70_000] {
            image.set_bit(Bitmap::Quarantine, block);
            store.fetch_add(rt::QUARANTINE_COUNT, 1);
        }
        let mut taken = Quarantined::default();
        taken.take(&image);
        image.set_bit(Bitmap::Quarantine, 41);
        store.fetch_add(rt::QUARANTINE_COUNT, 1);
        taken.release(&image);
        assert!(taken.is_empty());
        assert_eq!(all(&image, Bitmap::Quarantine), [41]);
        assert_eq!((store.load(rt::QUARANTINE_COUNT), store.load(rt::FREE_BLOCKS)), (1, 3));
    }
}
