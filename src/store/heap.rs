//! A store on the native heap: for the native tool, for tests, for Miri and for fuzzing.

use super::{Store, Wait};
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PARKING: usize = 16;

/// Zeroed memory, shared by the threads of this process.
pub struct HeapStore {
    words: Box<[AtomicU32]>,
    parking: [(Mutex<()>, Condvar); PARKING],
    /// As in a page's main thread.
    #[cfg(test)]
    patience_ms: Option<u32>,
}

impl HeapStore {
    /// A store of `size_bytes`, rounded up to whole words, all zero.
    pub fn new(size_bytes: u64) -> Self {
        let count = usize::try_from(size_bytes.div_ceil(4)).expect("size fits the address space");
        // SAFETY: AtomicU32 has the layout of u32 and zero is a valid value of it. Asking the
        // allocator for zeroed memory keeps untouched pages of a large volume uncommitted.
        let words = unsafe { Box::<[AtomicU32]>::new_zeroed_slice(count).assume_init() };
        Self {
            words,
            parking: std::array::from_fn(|_| (Mutex::new(()), Condvar::new())),
            #[cfg(test)]
            patience_ms: None,
        }
    }

    /// A store whose threads wait so long at most.
    #[cfg(test)]
    pub(crate) fn brief(size_bytes: u64, patience_ms: u32) -> Self {
        Self { patience_ms: Some(patience_ms), ..Self::new(size_bytes) }
    }

    fn word(&self, offset: u64) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4), "word offset {offset} is not aligned");
        &self.words[(offset / 4) as usize]
    }

    fn range(&self, offset: u64, count: usize) -> *mut u8 {
        let end = offset.checked_add(count as u64).expect("no overflow");
        assert!(end <= self.size_bytes(), "access to {offset}..{end} outside the store");
        // The pointer comes from the whole slice, so that it may reach all of it.
        self.words.as_ptr().cast::<u8>().cast_mut().wrapping_add(offset as usize)
    }

    fn parking(&self, offset: u64) -> &(Mutex<()>, Condvar) {
        &self.parking[(offset / 4) as usize % PARKING]
    }
}

impl Store for HeapStore {
    #[cfg(test)]
    fn patience_ms(&self) -> Option<u32> {
        self.patience_ms
    }

    fn size_bytes(&self) -> u64 {
        self.words.len() as u64 * 4
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) {
        let from = self.range(offset, buffer.len());
        if cfg!(miri) {
            for (at, byte) in (offset..).zip(buffer.iter_mut()) {
                *byte = self.words[(at / 4) as usize].load(Ordering::Relaxed).to_ne_bytes()
                    [(at % 4) as usize];
            }
            return;
        }
        // SAFETY: `range` checked the bounds, and `buffer` is memory of our own that cannot overlap
        // the store. The copy may tear against a writer, as the trait says; Miri takes the branch
        // above, which goes by words because it knows no accesses of mixed size to one atomic.
        unsafe { std::ptr::copy_nonoverlapping(from.cast_const(), buffer.as_mut_ptr(), buffer.len()) }
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let to = self.range(offset, bytes.len());
        if cfg!(miri) {
            for (at, &byte) in (offset..).zip(bytes) {
                let _ = self.words[(at / 4) as usize].fetch_update(
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                    |word| {
                        let mut word = word.to_ne_bytes();
                        word[(at % 4) as usize] = byte;
                        Some(u32::from_ne_bytes(word))
                    },
                );
            }
            return;
        }
        // SAFETY: as in `read`; the memory lies in atomics, so writing through it is allowed.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }

    fn zero(&self, offset: u64, count: u64) {
        let to = self.range(offset, usize::try_from(count).expect("fits"));
        if cfg!(miri) {
            return self.write(offset, &vec![0; count as usize]);
        }
        // SAFETY: as in `write`.
        unsafe { std::ptr::write_bytes(to, 0, count as usize) }
    }

    fn load(&self, offset: u64) -> u32 {
        self.word(offset).load(Ordering::SeqCst)
    }

    fn store(&self, offset: u64, value: u32) {
        self.word(offset).store(value, Ordering::SeqCst);
    }

    fn compare_exchange(&self, offset: u64, expected: u32, new: u32) -> u32 {
        match self.word(offset).compare_exchange(expected, new, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(seen) | Err(seen) => seen,
        }
    }

    fn fetch_add(&self, offset: u64, value: u32) -> u32 {
        self.word(offset).fetch_add(value, Ordering::SeqCst)
    }

    fn fetch_or(&self, offset: u64, value: u32) -> u32 {
        self.word(offset).fetch_or(value, Ordering::SeqCst)
    }

    fn fetch_and(&self, offset: u64, value: u32) -> u32 {
        self.word(offset).fetch_and(value, Ordering::SeqCst)
    }

    fn wait(&self, offset: u64, expected: u32, timeout_ms: u32) -> Wait {
        let (mutex, condvar) = self.parking(offset);
        let end = Instant::now() + Duration::from_millis(u64::from(timeout_ms));
        let mut guard = mutex.lock();
        if self.load(offset) != expected {
            return Wait::NotEqual;
        }
        // Several words share a place, so a wake-up may be meant for another one.
        while self.load(offset) == expected {
            if condvar.wait_until(&mut guard, end).timed_out() {
                return Wait::TimedOut;
            }
        }
        Wait::Woken
    }

    fn notify(&self, offset: u64, _count: u32) -> u32 {
        let (mutex, condvar) = self.parking(offset);
        let _guard = mutex.lock();
        u32::try_from(condvar.notify_all()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_words_are_the_same_memory() {
        let store = HeapStore::new(64);
        store.write(5, &[1, 2, 3]);
        assert_eq!(store.load(4), u32::from_le_bytes([0, 1, 2, 3]));
        store.store(8, 0x0a0b_0c0d);
        let mut buffer = [0; 4];
        store.read(8, &mut buffer);
        assert_eq!(buffer, [0x0d, 0x0c, 0x0b, 0x0a]);
        store.zero(6, 4);
        assert_eq!(store.load(4), u32::from_le_bytes([0, 1, 0, 0]));
        assert_eq!(store.load(8), 0x0a0b_0000);
    }

    #[test]
    fn atomics_give_the_old_value() {
        let store = HeapStore::new(16);
        assert_eq!(store.fetch_add(0, 7), 0);
        assert_eq!(store.fetch_or(0, 8), 7);
        assert_eq!(store.fetch_and(0, 12), 15);
        assert_eq!(store.compare_exchange(0, 1, 2), 12);
        assert_eq!(store.compare_exchange(0, 12, 2), 12);
        assert_eq!(store.load(0), 2);
    }

    #[test]
    fn waits_end() {
        let store = std::sync::Arc::new(HeapStore::new(16));
        assert_eq!(store.wait(0, 1, 1), Wait::NotEqual);
        assert_eq!(store.wait(0, 0, 1), Wait::TimedOut);
        let waker = store.clone();
        let thread = std::thread::spawn(move || {
            waker.store(0, 1);
            waker.notify(0, 1);
        });
        while store.load(0) == 0 {
            assert_ne!(store.wait(0, 0, 60_000), Wait::TimedOut);
        }
        thread.join().unwrap();
    }

    #[test]
    #[should_panic(expected = "outside the store")]
    fn refuses_bytes_outside() {
        HeapStore::new(16).read(14, &mut [0; 4]);
    }
}
