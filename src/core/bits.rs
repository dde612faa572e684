//! Runs of bits in the store's words, and searching bits that were copied out.

use crate::store::Store;

/// Word offset and mask of each word that bits `bit..bit + count` touch, counted from `start`.
fn words(start: u64, bit: u32, count: u32) -> impl Iterator<Item = (u64, u32)> {
    let end = u64::from(bit) + u64::from(count);
    let mut at = u64::from(bit);
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let low = at % 32;
        let high = (end - (at - low)).min(32);
        let mask = (u32::MAX << low) & (u32::MAX >> (32 - high));
        let word = start + at / 32 * 4;
        at += high - low;
        Some((word, mask))
    })
}

/// Sets the bits; gives how many were clear before.
pub fn set<S: Store>(store: &S, start: u64, bit: u32, count: u32) -> u32 {
    words(start, bit, count)
        .map(|(word, mask)| {
            if store.load(word) & mask == mask {
                return 0;
            }
            (mask & !store.fetch_or(word, mask)).count_ones()
        })
        .sum()
}

/// Clears the bits; gives how many were set before.
pub fn clear<S: Store>(store: &S, start: u64, bit: u32, count: u32) -> u32 {
    words(start, bit, count)
        .map(|(word, mask)| {
            if store.load(word) & mask == 0 {
                return 0;
            }
            (mask & store.fetch_and(word, !mask)).count_ones()
        })
        .sum()
}

/// Index of the first clear bit of `bytes` in `from..to`.
pub fn first_clear(bytes: &[u8], from: u32, to: u32) -> Option<u32> {
    let mut at = from;
    while at < to {
        let byte = bytes[(at / 8) as usize];
        if byte == 0xff {
            at = (at / 8 + 1) * 8;
        } else if byte >> (at % 8) & 1 == 0 {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}

/// Number of clear bits of `bytes` in `0..to`.
pub fn count_clear(bytes: &[u8], to: u32) -> u32 {
    let whole = (to / 8) as usize;
    let clear: u32 = bytes[..whole].iter().map(|byte| byte.count_zeros()).sum();
    let rest = to % 8;
    if rest == 0 {
        return clear;
    }
    clear + (!bytes[whole] & (0xff >> (8 - rest))).count_ones()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HeapStore;

    #[test]
    fn runs_cross_words() {
        let store = HeapStore::new(64);
        assert_eq!(set(&store, 4, 30, 40), 40);
        assert_eq!(set(&store, 4, 0, 33), 30);
        assert_eq!(store.load(4), u32::MAX);
        assert_eq!(store.load(12), 0x3f);
        assert_eq!(clear(&store, 4, 1, 68), 68);
        assert_eq!(clear(&store, 4, 0, 96), 2);
        assert_eq!((0..16).map(|w| store.load(w * 4)).sum::<u32>(), 0);
    }

    #[test]
    fn searches() {
        let bytes = [0xff, 0xfb, 0x00];
        assert_eq!(first_clear(&bytes, 0, 24), Some(10));
        assert_eq!(first_clear(&bytes, 11, 24), Some(16));
        assert_eq!(first_clear(&bytes, 11, 16), None);
        assert_eq!(count_clear(&bytes, 24), 9);
        assert_eq!(count_clear(&bytes, 11), 1);
    }
}
