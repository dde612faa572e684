//! A heap store that counts how often it is asked for anything.

use sabfs::store::{HeapStore, Store, Wait};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts every call, however many bytes it moves: in a browser each is a call of its own.
pub struct Counting {
    store: HeapStore,
    accesses: AtomicU64,
}

impl Counting {
    /// A zeroed store of `size_bytes`.
    pub fn new(size_bytes: u64) -> Self {
        Self { store: HeapStore::new(size_bytes), accesses: AtomicU64::new(0) }
    }

    /// Calls so far.
    pub fn accesses(&self) -> u64 {
        self.accesses.load(Ordering::Relaxed)
    }

    fn counted(&self) -> &HeapStore {
        self.accesses.fetch_add(1, Ordering::Relaxed);
        &self.store
    }
}

impl Store for Counting {
    fn size_bytes(&self) -> u64 {
        self.store.size_bytes()
    }
    fn read(&self, offset: u64, buffer: &mut [u8]) {
        self.counted().read(offset, buffer);
    }
    fn write(&self, offset: u64, bytes: &[u8]) {
        self.counted().write(offset, bytes);
    }
    fn zero(&self, offset: u64, count: u64) {
        self.counted().zero(offset, count);
    }
    fn load(&self, offset: u64) -> u32 {
        self.counted().load(offset)
    }
    fn store(&self, offset: u64, value: u32) {
        self.counted().store(offset, value);
    }
    fn compare_exchange(&self, offset: u64, expected: u32, new: u32) -> u32 {
        self.counted().compare_exchange(offset, expected, new)
    }
    fn fetch_add(&self, offset: u64, value: u32) -> u32 {
        self.counted().fetch_add(offset, value)
    }
    fn fetch_or(&self, offset: u64, value: u32) -> u32 {
        self.counted().fetch_or(offset, value)
    }
    fn fetch_and(&self, offset: u64, value: u32) -> u32 {
        self.counted().fetch_and(offset, value)
    }
    fn wait(&self, offset: u64, expected: u32, timeout_ms: u32) -> Wait {
        self.counted().wait(offset, expected, timeout_ms)
    }
    fn notify(&self, offset: u64, count: u32) -> u32 {
        self.counted().notify(offset, count)
    }
}
