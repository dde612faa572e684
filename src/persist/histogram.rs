//! Histograms of durations in the runtime region, which any thread adds to without a lock.
//!
//! A bucket is a word that counts (wrapping). Durations below 16 us have a bucket each; above, every power of
//! two has 16 buckets, so that what is read back is at most a sixteenth too large.

use crate::store::Store;
use crate::store::runtime as rt;

/// Buckets for each power of two.
const PER_OCTAVE: u32 = 1 << OCTAVE_BITS;
const OCTAVE_BITS: u32 = 4;
/// Buckets for all durations of 32 bits.
const BUCKETS: u32 = (32 - OCTAVE_BITS + 1) * PER_OCTAVE;

const _: () = assert!(BUCKETS as u64 * 4 <= rt::HISTOGRAM_SIZE_BYTES);

/// How long something took, seen over all times that it was done since the volume was mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How often it was done while there was a clock.
    pub count: u64,
    /// Half of all times took no longer, in microseconds, at most a sixteenth too large.
    pub p50_us: u64,
    /// 99 of 100 times took no longer; likewise.
    pub p99_us: u64,
    /// The longest time; likewise.
    pub max_us: u64,
}

fn bucket_of(us: u32) -> u32 {
    if us < PER_OCTAVE {
        return us;
    }
    let shift = us.ilog2() - OCTAVE_BITS;
    (shift + 1) * PER_OCTAVE + (us >> shift) - PER_OCTAVE
}

/// The longest duration that a bucket counts.
fn upper_us(bucket: u32) -> u64 {
    if bucket < PER_OCTAVE {
        return u64::from(bucket);
    }
    let shift = bucket / PER_OCTAVE - 1;
    (u64::from(PER_OCTAVE + bucket % PER_OCTAVE + 1) << shift) - 1
}

/// Counts a duration in the histogram at `histogram`.
pub fn record<S: Store + ?Sized>(store: &S, histogram: u64, us: u64) {
    let us = u32::try_from(us).unwrap_or(u32::MAX);
    store.fetch_add(histogram + u64::from(bucket_of(us)) * 4, 1);
}

/// What the histogram at `histogram` says.
pub fn latency<S: Store + ?Sized>(store: &S, histogram: u64) -> Latency {
    let counts: Vec<u64> =
        (0..BUCKETS).map(|bucket| u64::from(store.load(histogram + u64::from(bucket) * 4))).collect();
    let count = counts.iter().sum::<u64>();
    // Duration of the `rank`-th shortest, counted from 1.
    let at = |rank: u64| {
        let mut seen = 0;
        let found = counts.iter().position(|&here| {
            seen += here;
            seen >= rank && here > 0
        });
        found.map_or(0, |bucket| upper_us(bucket as u32))
    };
    Latency {
        count,
        p50_us: at(count.div_ceil(2)),
        p99_us: at((count * 99).div_ceil(100)),
        max_us: at(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HeapStore;

    #[test]
    fn buckets_cover_everything_in_order() {
        assert_eq!(bucket_of(u32::MAX), BUCKETS - 1);
        assert_eq!(upper_us(BUCKETS - 1), u64::from(u32::MAX));
        let mut next = 0_u64;
        for bucket in 0..BUCKETS {
            let (low, high) = (next, upper_us(bucket));
            assert_eq!(bucket_of(low as u32), bucket);
            assert_eq!(bucket_of(high as u32), bucket);
            assert!((high - low) * 16 <= low, "{low} to {high}");
            next = high + 1;
        }
        assert_eq!(next, 1 << 32);
    }

    #[test]
    fn percentiles_are_those_of_a_sorted_list() {
        let store = HeapStore::new(rt::store_size_bytes(64));
        let read = || latency(&store, rt::COMMIT_HISTOGRAM);
        assert_eq!(read(), Latency::default());
        record(&store, rt::COMMIT_HISTOGRAM, 7);
        assert_eq!(read(), Latency { count: 1, p50_us: 7, p99_us: 7, max_us: 7 });
        // 1 to 15 three times each, and some that last for ever.
        let store = HeapStore::new(rt::store_size_bytes(64));
        let times = (0..45).map(|i| i % 15 + 1);
        times.for_each(|us| record(&store, rt::FSYNC_HISTOGRAM, us));
        let read = || latency(&store, rt::FSYNC_HISTOGRAM);
        assert_eq!(read(), Latency { count: 45, p50_us: 8, p99_us: 15, max_us: 15 });
        record(&store, rt::FSYNC_HISTOGRAM, u64::MAX);
        assert_eq!(
            read(),
            Latency { count: 46, p50_us: 8, p99_us: u32::MAX.into(), max_us: u32::MAX.into() }
        );
        assert_eq!(latency(&store, rt::COMMIT_HISTOGRAM), Latency::default(), "the neighbour is empty");
    }

    #[test]
    fn threads_lose_no_count() {
        let store = HeapStore::new(rt::store_size_bytes(64));
        std::thread::scope(|scope| {
            for start in 0..4_u64 {
                let store = &store;
                scope.spawn(move || {
                    (0..500).for_each(|i| record(store, rt::FSYNC_HISTOGRAM, start * 1000 + i));
                });
            }
        });
        assert_eq!(latency(&store, rt::FSYNC_HISTOGRAM).count, 2000);
    }
}
