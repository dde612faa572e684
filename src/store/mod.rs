//! The store: the bytes that every program, worker and page shares.
//!
//! A store begins with the runtime region (`runtime`), which is rebuilt at attach and never
//! persisted, followed by the image, whose blocks go to the durable file byte for byte.
//!
//! Rust never holds a reference into a store: other workers write to it at any time. Everything is
//! copied out, checked, used and written back. Plain `read` and `write` may tear against concurrent
//! writers; whoever calls them holds the lock that guards the bytes or checks a sequence word after
//! reading. Words are sequentially consistent, as WebAssembly's atomics are.

pub mod clients;
mod heap;
pub mod lock;
#[cfg(test)]
pub mod mortal;
pub mod rules;
pub mod runtime;
#[cfg(target_family = "wasm")]
mod wasm;

pub use heap::HeapStore;
#[cfg(target_family = "wasm")]
pub use wasm::WasmStore;

use std::sync::atomic::Ordering;

/// How a wait on a word ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Somebody notified the word.
    Woken,
    /// The word did not hold the expected value when the wait began.
    NotEqual,
    /// The time ran out.
    TimedOut,
}

/// Shared bytes with atomic words.
///
/// Offsets and lengths are in bytes from the start of the store. Word offsets are multiples of 4.
/// An access outside the store is a bug of the caller and panics; block numbers that come from an
/// image are checked against the geometry before they become offsets.
pub trait Store: Send + Sync {
    /// Size of the store in bytes.
    fn size_bytes(&self) -> u64;

    /// Copies bytes out of the store.
    fn read(&self, offset: u64, buffer: &mut [u8]);
    /// Copies bytes into the store.
    fn write(&self, offset: u64, bytes: &[u8]);
    /// Sets `count` bytes to zero.
    fn zero(&self, offset: u64, count: u64);

    /// Atomic load of a word.
    fn load(&self, offset: u64) -> u32;
    /// Atomic store of a word.
    fn store(&self, offset: u64, value: u32);
    /// Atomic compare and exchange; gives the value that was there before.
    fn compare_exchange(&self, offset: u64, expected: u32, new: u32) -> u32;
    /// Atomic addition (wrapping); gives the value that was there before.
    fn fetch_add(&self, offset: u64, value: u32) -> u32;
    /// Atomic bitwise or; gives the value that was there before.
    fn fetch_or(&self, offset: u64, value: u32) -> u32;
    /// Atomic bitwise and; gives the value that was there before.
    fn fetch_and(&self, offset: u64, value: u32) -> u32;

    /// Sleeps while the word holds `expected`, at most `timeout_ms`.
    ///
    /// Where the engine forbids sleeping (a browser's main thread) this spins for that long at most.
    fn wait(&self, offset: u64, expected: u32, timeout_ms: u32) -> Wait;
    /// How long this thread may wait for others in all, in milliseconds, where it may not sleep; none: as long as it
    /// takes.
    fn patience_ms(&self) -> Option<u32> {
        None
    }
    /// Wakes at most `count` sleepers of the word; gives how many were woken.
    fn notify(&self, offset: u64, count: u32) -> u32;

    /// Orders plain reads and writes against words, as `std::sync::atomic::fence`.
    #[inline(always)]
    fn fence(&self, order: Ordering) {
        std::sync::atomic::fence(order);
    }

    /// Whether it makes sense to look at a word over and over before one sleeps or takes a lock. Not in a model,
    /// whose scheduler tries each look separately and learns nothing from it.
    #[inline(always)]
    fn spins(&self) -> bool {
        true
    }
}

impl<S: Store + ?Sized> Store for std::sync::Arc<S> {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }
    fn read(&self, offset: u64, buffer: &mut [u8]) {
        (**self).read(offset, buffer);
    }
    fn write(&self, offset: u64, bytes: &[u8]) {
        (**self).write(offset, bytes);
    }
    fn zero(&self, offset: u64, count: u64) {
        (**self).zero(offset, count);
    }
    fn load(&self, offset: u64) -> u32 {
        (**self).load(offset)
    }
    fn store(&self, offset: u64, value: u32) {
        (**self).store(offset, value);
    }
    fn compare_exchange(&self, offset: u64, expected: u32, new: u32) -> u32 {
        (**self).compare_exchange(offset, expected, new)
    }
    fn fetch_add(&self, offset: u64, value: u32) -> u32 {
        (**self).fetch_add(offset, value)
    }
    fn fetch_or(&self, offset: u64, value: u32) -> u32 {
        (**self).fetch_or(offset, value)
    }
    fn fetch_and(&self, offset: u64, value: u32) -> u32 {
        (**self).fetch_and(offset, value)
    }
    fn wait(&self, offset: u64, expected: u32, timeout_ms: u32) -> Wait {
        (**self).wait(offset, expected, timeout_ms)
    }
    fn patience_ms(&self) -> Option<u32> {
        (**self).patience_ms()
    }
    fn notify(&self, offset: u64, count: u32) -> u32 {
        (**self).notify(offset, count)
    }
    fn fence(&self, order: Ordering) {
        (**self).fence(order);
    }
    fn spins(&self) -> bool {
        (**self).spins()
    }
}
