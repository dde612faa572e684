//! For tests: a client's view of a store, who dies at one of its accesses.

use super::{HeapStore, Store, Wait};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts the accesses of a client. The one at which it dies, and those that follow, of which only destructors make
/// any, do not happen; or the first half of it does, if it is a write of many bytes.
pub struct Mortal<S = HeapStore> {
    store: Arc<S>,
    /// Accesses left, 0 when it is dead.
    left: Arc<AtomicU64>,
    torn: Arc<AtomicBool>,
}

struct Died;

/// What becomes of an access.
enum Fate {
    Done,
    /// Its first half is done, and the client dies.
    Torn,
    /// The client is dead.
    Nothing,
}

impl<S> Clone for Mortal<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), left: self.left.clone(), torn: self.torn.clone() }
    }
}

/// Runs something of a client's; none when it died of it.
pub fn run<T>(call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(payload) if payload.is::<Died>() => None,
        Err(payload) => resume_unwind(payload),
    }
}

impl<S> Mortal<S> {
    /// A view of a client who lives for ever.
    pub fn new(store: &Arc<S>) -> Self {
        Self { store: store.clone(), left: Arc::new(AtomicU64::new(u64::MAX)), torn: Arc::default() }
    }

    /// Has the client die at its `access`-th access from now on, counted from 1; `torn`: in the middle of it.
    pub fn dies_at(&self, access: u64, torn: bool) {
        self.torn.store(torn, Ordering::Relaxed);
        self.left.store(access, Ordering::Relaxed);
    }

    /// Accesses that are left to it.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    fn die() -> ! {
        resume_unwind(Box::new(Died))
    }

    /// Accounts for an access; false for one by the dead.
    fn lives(&self) -> bool {
        matches!(self.fate(false), Fate::Done)
    }

    fn fate(&self, can_tear: bool) -> Fate {
        match self.left.load(Ordering::Relaxed) {
            0 => Fate::Nothing,
            1 => {
                self.left.store(0, Ordering::Relaxed);
                if can_tear && self.torn.load(Ordering::Relaxed) { Fate::Torn } else { Self::die() }
            }
            left => {
                self.left.store(left - 1, Ordering::Relaxed);
                Fate::Done
            }
        }
    }
}

impl<S: Store> Store for Mortal<S> {
    fn size_bytes(&self) -> u64 {
        self.store.size_bytes()
    }
    fn read(&self, offset: u64, buffer: &mut [u8]) {
        if self.lives() {
            self.store.read(offset, buffer);
        }
    }
    fn write(&self, offset: u64, bytes: &[u8]) {
        match self.fate(bytes.len() > 4) {
            Fate::Done => self.store.write(offset, bytes),
            Fate::Torn => {
                self.store.write(offset, &bytes[..bytes.len() / 2]);
                Self::die()
            }
            Fate::Nothing => {}
        }
    }
    fn zero(&self, offset: u64, count: u64) {
        match self.fate(count > 4) {
            Fate::Done => self.store.zero(offset, count),
            Fate::Torn => {
                self.store.zero(offset, count / 2);
                Self::die()
            }
            Fate::Nothing => {}
        }
    }
    fn load(&self, offset: u64) -> u32 {
        // What destructors look at does not matter any more. In a model no look of theirs may let another thread run.
        if self.lives() { self.store.load(offset) } else { 0 }
    }
    fn store(&self, offset: u64, value: u32) {
        if self.lives() {
            self.store.store(offset, value);
        }
    }
    fn compare_exchange(&self, offset: u64, expected: u32, new: u32) -> u32 {
        if self.lives() { self.store.compare_exchange(offset, expected, new) } else { expected }
    }
    fn fetch_add(&self, offset: u64, value: u32) -> u32 {
        if self.lives() { self.store.fetch_add(offset, value) } else { 0 }
    }
    fn fetch_or(&self, offset: u64, value: u32) -> u32 {
        if self.lives() { self.store.fetch_or(offset, value) } else { 0 }
    }
    fn fetch_and(&self, offset: u64, value: u32) -> u32 {
        if self.lives() { self.store.fetch_and(offset, value) } else { 0 }
    }
    fn wait(&self, offset: u64, expected: u32, timeout_ms: u32) -> Wait {
        if self.lives() { self.store.wait(offset, expected, timeout_ms) } else { Wait::NotEqual }
    }
    fn notify(&self, offset: u64, count: u32) -> u32 {
        if self.lives() { self.store.notify(offset, count) } else { 0 }
    }
    fn fence(&self, order: Ordering) {
        if self.left() > 0 {
            self.store.fence(order);
        }
    }
    fn spins(&self) -> bool {
        self.store.spins()
    }
}
