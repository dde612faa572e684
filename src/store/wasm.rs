//! The store as a wasm module reaches it: a memory outside of the module, or a part of its own.
//!
//! An outside store is a memory that several programs share. The module reaches it through imports,
//! which JavaScript binds to exports of a helper module where the engine allows that, so that calls
//! go from wasm to wasm (docs/attach.md). A store of its own is a block of the module's linear
//! memory: for programs without a SharedArrayBuffer, and for comparison.

use super::{Store, Wait};

mod imports {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub fn sabfs_store_load32(at: usize) -> u32;
        pub fn sabfs_store_store32(at: usize, value: u32);
        pub fn sabfs_store_cas32(at: usize, expected: u32, new: u32) -> u32;
        pub fn sabfs_store_add32(at: usize, value: u32) -> u32;
        pub fn sabfs_store_or32(at: usize, value: u32) -> u32;
        pub fn sabfs_store_and32(at: usize, value: u32) -> u32;
        /// From the store at `from` to the module's memory at `to`.
        pub fn sabfs_store_copy_out(to: *mut u8, from: usize, count: usize);
        /// From the module's memory at `from` to the store at `to`.
        pub fn sabfs_store_copy_in(to: usize, from: *const u8, count: usize);
        pub fn sabfs_store_zero(at: usize, count: usize);
        /// As `memory.atomic.wait32`: 0 woken, 1 not equal, 2 timed out.
        pub fn sabfs_store_wait32(at: usize, expected: u32, timeout_ms: u32) -> u32;
        pub fn sabfs_store_notify(at: usize, count: u32) -> u32;
        /// How long the calling thread may wait in milliseconds, 0: as long as it takes.
        #[cfg(target_os = "emscripten")]
        pub fn sabfs_store_patience() -> u32;
    }
}

/// A store that is either the one outside memory bound to this module, or a block of its own memory.
#[derive(Clone, Copy, Debug)]
pub struct WasmStore {
    /// Address of the block; 0 for the outside store, as no block lies at address 0.
    base: usize,
    size_bytes: u64,
}

impl WasmStore {
    /// The outside store. `size_bytes` is the size of its memory, at most 4 GiB.
    pub fn outside(size_bytes: u64) -> Self {
        Self { base: 0, size_bytes: size_bytes.min(1 << 32) }
    }

    /// A block of this module's memory.
    ///
    /// # Safety
    /// The block must be aligned to 8 bytes, and nothing may ever use it but stores made of it.
    pub unsafe fn own(block: *mut u8, size_bytes: usize) -> Self {
        assert!(!block.is_null() && block.addr().is_multiple_of(8));
        Self { base: block.expose_provenance(), size_bytes: size_bytes as u64 }
    }

    /// Address of the block; null for the outside store.
    pub fn own_base(&self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.base)
    }

    /// Whether this is the outside store.
    pub fn is_outside(&self) -> bool {
        self.base == 0
    }

    /// Address of `count` bytes in the memory that holds the store. Checked, so that a wrong offset
    /// stops this program and touches nothing else.
    #[inline(always)]
    fn range(&self, offset: u64, count: u64) -> usize {
        let end = offset.checked_add(count);
        assert!(end.is_some_and(|end| end <= self.size_bytes), "access outside the store");
        self.base.wrapping_add(offset as usize)
    }

    #[inline(always)]
    fn word(&self, offset: u64) -> usize {
        assert!(offset.is_multiple_of(4), "word offset is not aligned");
        self.range(offset, 4)
    }
}

/// An atomic word of the module's own memory.
///
/// # Safety
/// `at` is the aligned address of four bytes of a block that `WasmStore::own` was given.
#[inline(always)]
unsafe fn own_word<'a>(at: usize) -> &'a std::sync::atomic::AtomicU32 {
    // SAFETY: by the caller's promise; the block is never freed and is used atomically.
    unsafe { std::sync::atomic::AtomicU32::from_ptr(std::ptr::with_exposed_provenance_mut(at)) }
}

use std::sync::atomic::Ordering::SeqCst;

impl Store for WasmStore {
    #[inline]
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    #[inline]
    fn read(&self, offset: u64, buffer: &mut [u8]) {
        let (from, to, count) =
            (self.range(offset, buffer.len() as u64), buffer.as_mut_ptr(), buffer.len());
        if self.is_outside() {
            // SAFETY: `range` checked the store's side, and the other side is a slice.
            unsafe { imports::sabfs_store_copy_out(to, from, count) }
        } else {
            // SAFETY: as above. The copy may tear against a writer, as the trait says.
            unsafe { std::ptr::copy_nonoverlapping(std::ptr::with_exposed_provenance(from), to, count) }
        }
    }

    #[inline]
    fn write(&self, offset: u64, bytes: &[u8]) {
        let to = self.range(offset, bytes.len() as u64);
        if self.is_outside() {
            // SAFETY: as in `read`.
            unsafe { imports::sabfs_store_copy_in(to, bytes.as_ptr(), bytes.len()) }
        } else {
            let to = std::ptr::with_exposed_provenance_mut(to);
            // SAFETY: as in `read`.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
        }
    }

    #[inline]
    fn zero(&self, offset: u64, count: u64) {
        let at = self.range(offset, count);
        if self.is_outside() {
            // SAFETY: `range` checked the bounds. A store has less than 4 GiB, see `runtime`.
            unsafe { imports::sabfs_store_zero(at, count as usize) }
        } else {
            // SAFETY: as above.
            unsafe { std::ptr::with_exposed_provenance_mut::<u8>(at).write_bytes(0, count as usize) }
        }
    }

    #[inline]
    fn load(&self, offset: u64) -> u32 {
        let at = self.word(offset);
        // SAFETY: `word` checked bounds and alignment; the same holds for all words below.
        unsafe {
            if self.is_outside() { imports::sabfs_store_load32(at) } else { own_word(at).load(SeqCst) }
        }
    }

    #[inline]
    fn store(&self, offset: u64, value: u32) {
        let at = self.word(offset);
        // SAFETY: as in `load`.
        unsafe {
            if self.is_outside() {
                imports::sabfs_store_store32(at, value);
            } else {
                own_word(at).store(value, SeqCst);
            }
        }
    }

    #[inline]
    fn compare_exchange(&self, offset: u64, expected: u32, new: u32) -> u32 {
        let at = self.word(offset);
        // SAFETY: as in `load`.
        unsafe {
            if self.is_outside() {
                return imports::sabfs_store_cas32(at, expected, new);
            }
            match own_word(at).compare_exchange(expected, new, SeqCst, SeqCst) {
                Ok(seen) | Err(seen) => seen,
            }
        }
    }

    #[inline]
    fn fetch_add(&self, offset: u64, value: u32) -> u32 {
        let at = self.word(offset);
        // SAFETY: as in `load`.
        unsafe {
            if self.is_outside() {
                imports::sabfs_store_add32(at, value)
            } else {
                own_word(at).fetch_add(value, SeqCst)
            }
        }
    }

    #[inline]
    fn fetch_or(&self, offset: u64, value: u32) -> u32 {
        let at = self.word(offset);
        // SAFETY: as in `load`.
        unsafe {
            if self.is_outside() {
                imports::sabfs_store_or32(at, value)
            } else {
                own_word(at).fetch_or(value, SeqCst)
            }
        }
    }

    #[inline]
    fn fetch_and(&self, offset: u64, value: u32) -> u32 {
        let at = self.word(offset);
        // SAFETY: as in `load`.
        unsafe {
            if self.is_outside() {
                imports::sabfs_store_and32(at, value)
            } else {
                own_word(at).fetch_and(value, SeqCst)
            }
        }
    }

    fn wait(&self, offset: u64, expected: u32, timeout_ms: u32) -> Wait {
        let at = self.word(offset);
        if !self.is_outside() {
            return own_wait(at, expected, timeout_ms);
        }
        // SAFETY: as in `load`.
        match unsafe { imports::sabfs_store_wait32(at, expected, timeout_ms) } {
            0 => Wait::Woken,
            1 => Wait::NotEqual,
            _ => Wait::TimedOut,
        }
    }

    #[cfg(target_os = "emscripten")]
    fn patience_ms(&self) -> Option<u32> {
        // SAFETY: gives a number.
        match unsafe { imports::sabfs_store_patience() } {
            0 => None,
            patience_ms => Some(patience_ms),
        }
    }

    fn notify(&self, offset: u64, count: u32) -> u32 {
        let at = self.word(offset);
        if !self.is_outside() {
            return own_notify(at, count);
        }
        // SAFETY: as in `load`.
        unsafe { imports::sabfs_store_notify(at, count) }
    }
}

/// Emscripten's own futex: it knows which threads may not sleep.
#[cfg(all(target_os = "emscripten", target_feature = "atomics"))]
mod futex {
    unsafe extern "C" {
        pub fn emscripten_futex_wait(at: usize, expected: u32, timeout_ms: f64) -> i32;
        pub fn emscripten_futex_wake(at: usize, count: i32) -> i32;
    }
}

#[cfg(all(target_os = "emscripten", target_feature = "atomics"))]
fn own_wait(at: usize, expected: u32, timeout_ms: u32) -> Wait {
    // SAFETY: the caller checked the address.
    match unsafe { futex::emscripten_futex_wait(at, expected, f64::from(timeout_ms)) } {
        0 => Wait::Woken,
        error if error == -crate::errno::Errno::EAGAIN.wasi() => Wait::NotEqual,
        _ => Wait::TimedOut,
    }
}

#[cfg(all(target_os = "emscripten", target_feature = "atomics"))]
fn own_notify(at: usize, count: u32) -> u32 {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    // SAFETY: the caller checked the address.
    unsafe { futex::emscripten_futex_wake(at, count) }.max(0).cast_unsigned()
}

/// In a module without threads nobody else can change the word: waiting would be in vain.
#[cfg(not(all(target_os = "emscripten", target_feature = "atomics")))]
fn own_wait(at: usize, expected: u32, _timeout_ms: u32) -> Wait {
    // SAFETY: the caller checked the address.
    if unsafe { own_word(at) }.load(SeqCst) == expected { Wait::TimedOut } else { Wait::NotEqual }
}

#[cfg(not(all(target_os = "emscripten", target_feature = "atomics")))]
fn own_notify(_at: usize, _count: u32) -> u32 {
    0
}
