//! A program that has the store in its own memory is its own keeper: it commits inside of `fsync` and on
//! a timer of JavaScript's.
//!
//! Its files are opened by JavaScript before the mount (emscripten/own.js). They may be the real ones, or
//! go by message to a worker (emscripten/remote.js). Such a remote device takes every call at once and
//! does it later, in order, so that what the journal takes for durable may still be on its way; only
//! `settle` waits for it.

use super::device::JsDevice;
use super::mount::{self, HOST, status, take};
use super::{open, patience};
use crate::errno::Errno;
use crate::persist::{Keeper, Turn};
use crate::store::runtime::{self as rt, Durability};
use crate::store::{Store, WasmStore};
use crate::vfs::{Committer, Ino, Volume};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Page of a WebAssembly memory.
const PAGE_SIZE_BYTES: u64 = 65536;
/// Turns of the keeper that one tick takes at most: the thread has other things to do.
const TICK_TURNS: u32 = 16;

unsafe extern "C" {
    fn emscripten_get_heap_max() -> usize;
    fn sbrk(increment: isize) -> usize;
    /// JavaScript: why the next status is an error, in UTF-8.
    fn sabfs_js_message(text: *const u8, count: usize);
    /// JavaScript: sends a remote device what it was asked for. 0, or a negative errno number (Linux)
    /// when the device has refused something and not done it since.
    fn sabfs_js_hand_over() -> i32;
    /// JavaScript: suspends the program until a remote device has done everything it was sent; result as
    /// above. For programs built so that they can be suspended.
    fn sabfs_js_settle() -> i32;
}

static KEEPER: Mutex<Option<Keeper<WasmStore, JsDevice>>> = Mutex::new(None);
/// The device does later what it is asked for.
static REMOTE: AtomicBool = AtomicBool::new(false);

fn answer(number: i32) -> Result<(), Errno> {
    if number == 0 { Ok(()) } else { Err(Errno::from_linux(-number).unwrap_or(Errno::EIO)) }
}

fn hand_over() -> Result<(), Errno> {
    // SAFETY: gives a number.
    answer(unsafe { sabfs_js_hand_over() })
}

/// Commits everything that has changed; `durable`: in relaxed mode durably too. A remote device has the
/// commit in hand afterwards.
pub(super) fn commit(durable: bool) -> Result<(), Errno> {
    let result = match KEEPER.lock().as_mut() {
        Some(keeper) if durable => keeper.flush_now(),
        Some(keeper) => keeper.commit_now(),
        None => Err(Errno::EIO),
    };
    // What was recorded goes out in any case; an earlier refusal is this caller's to know.
    result.and(hand_over())
}

/// `fsync` of a program: in strict mode it waits for a remote device too. Nothing is locked meanwhile, as
/// other parts of the program may run.
pub(super) fn fsync(volume: &Volume<WasmStore>, ino: Ino) -> Result<(), Errno> {
    if patience::can_suspend(volume) {
        return patience::sync_suspended(volume, Some(ino));
    }
    volume.counted(|| {
        let result = volume.fsync_uncounted(ino);
        if !REMOTE.load(Ordering::Relaxed) || volume.image().durability() != Durability::Strict {
            return result;
        }
        if result.is_err() {
            // The device is asked once more for what it has refused.
            settle()?;
            volume.fsync_uncounted(ino)?;
        }
        settle()
    })
}

/// A synchronous write's commit, durable in relaxed mode too.
pub(super) fn sync_durably(volume: &Volume<WasmStore>) -> Result<(), Errno> {
    if patience::can_suspend(volume) {
        return patience::sync_suspended(volume, None);
    }
    volume.counted(|| {
        let result = volume.commit_durably();
        if !REMOTE.load(Ordering::Relaxed) || volume.image().durability() == Durability::Memory {
            return result;
        }
        if result.is_err() {
            settle()?;
            volume.commit_durably()?;
        }
        settle()
    })
}

fn settle() -> Result<(), Errno> {
    // SAFETY: gives a number.
    answer(unsafe { sabfs_js_settle() })
}

/// The volume was let go of: the files are not used any more.
pub(super) fn close() {
    KEEPER.lock().take();
}

/// JavaScript, once a second while nothing else runs: commits and flushes what is due, tries again what
/// failed, brings the journal home.
#[unsafe(no_mangle)]
extern "C" fn sabfs_own_tick() {
    // A program that is suspended may hold it.
    let Some(mut place) = KEEPER.try_lock() else { return };
    let Some(keeper) = place.as_mut() else { return };
    for _ in 0..TICK_TURNS {
        if keeper.turn(0) != Turn::Busy {
            break;
        }
    }
    drop(place);
    // Who calls fsync next is told of a refusal.
    let _: Result<(), Errno> = hand_over();
}

/// JavaScript: makes a volume that is not persisted, in this program's own memory.
#[unsafe(no_mangle)]
extern "C" fn sabfs_format_own(capacity_bytes: f64) -> i32 {
    status(
        own_store(capacity_bytes)
            .and_then(|store| mount::format(store).inspect_err(|_| free_own(store))),
    )
}

/// JavaScript: opens the volume whose files it has opened, in this program's own memory. `remote`: the
/// files do later what they are asked for.
#[unsafe(no_mangle)]
extern "C" fn sabfs_open_own(capacity_bytes: f64, durability: u32, read_only: u32, remote: u32) -> i32 {
    let store = match own_store(capacity_bytes) {
        Ok(store) => store,
        Err(errno) => return status(Err(errno)),
    };
    let durability = Durability::from_word(durability).unwrap_or(Durability::Strict);
    match open::open(store, durability, read_only != 0, &HOST, &mut |_| {}) {
        Ok((keeper, mut volume)) => {
            volume.set_committer(Committer::Inline(Box::new(commit)));
            *KEEPER.lock() = Some(keeper);
            REMOTE.store(remote != 0, Ordering::Relaxed);
            status(take(volume))
        }
        Err(failure) => {
            let text = failure.to_string();
            // SAFETY: pointer and length are those of a string.
            unsafe { sabfs_js_message(text.as_ptr(), text.len()) };
            free_own(store);
            status(Err(failure.errno()))
        }
    }
}

fn own_layout(store: &WasmStore) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(store.size_bytes() as usize, 8).expect("it was allocated so")
}

fn own_store(capacity_bytes: f64) -> Result<WasmStore, Errno> {
    let blocks = (capacity_bytes / crate::format::BLOCK_SIZE as f64) as u32;
    // Whole pages, as an outside store has: the same capacity gives volumes of the same size.
    let size = rt::store_size_bytes(blocks).next_multiple_of(PAGE_SIZE_BYTES);
    let size = usize::try_from(size).map_err(|_| Errno::ENOMEM)?;
    let layout = std::alloc::Layout::from_size_align(size, 8).map_err(|_| Errno::ENOMEM)?;
    // A program whose memory cannot grow stops at an allocation that does not fit: look first.
    // SAFETY: both give numbers.
    let room = unsafe { emscripten_get_heap_max().saturating_sub(sbrk(0)) };
    if room < size {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: the layout is not empty, as every store has a runtime region.
    let block = unsafe { std::alloc::alloc_zeroed(layout) };
    if block.is_null() {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: the block is new, of this size and aligned.
    Ok(unsafe { WasmStore::own(block, size) })
}

fn free_own(store: WasmStore) {
    // SAFETY: made by `own_store`, and no volume was made in it.
    unsafe { std::alloc::dealloc(store.own_base(), own_layout(&store)) }
}
