//! The volume that this program is attached to, and how it gets there.
//!
//! A program has one volume at a time. All threads share one view of it.

use super::numbers;
use super::open::Host;
use super::own;
use super::prepare::prepare;
use super::vtable::{Options, sabfs_volume};
use crate::errno::Errno;
use crate::persist;
use crate::store::clients::{self, Sign};
use crate::store::runtime::{self as rt, Durability, KeeperState, VolumeState};
use crate::store::{Store, WasmStore};
use crate::vfs::Volume;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// A volume as this program sees it. Never freed: objects of WasmFS may outlive the mount.
pub(super) struct Mounted {
    pub(super) volume: Volume<WasmStore>,
    /// Set when the program has let go of the volume. From then on the store is not touched.
    closed: AtomicBool,
}

impl Mounted {
    /// The volume, unless the program has let go of it.
    pub(super) fn open(&self) -> Result<&Volume<WasmStore>, Errno> {
        if self.closed.load(Ordering::Relaxed) { Err(Errno::ENODEV) } else { Ok(&self.volume) }
    }
}

/// The volume behind a handle of C's.
///
/// # Safety
/// `handle` came from `sabfs_volume_current` and was not null.
pub(super) unsafe fn of_handle<'a>(handle: *const sabfs_volume) -> Result<&'a Volume<WasmStore>, Errno> {
    // SAFETY: such handles are of this type and are never freed.
    unsafe { &*handle.cast::<Mounted>() }.open()
}

static CURRENT: AtomicPtr<Mounted> = AtomicPtr::new(std::ptr::null_mut());

/// How long a sleep lasts before a waiter looks around.
const SLICE_MS: u32 = 50;
/// How long a keeper that loads a volume may show no progress.
const LIMIT_MS: u32 = 60_000;

unsafe extern "C" {
    fn emscripten_date_now() -> f64;
    fn emscripten_get_now() -> f64;
    fn getentropy(buffer: *mut u8, count: usize) -> i32;
    /// JavaScript: starts what has to be started for a mount. Gives 0 when the volume is there, 1
    /// when its keeper is on the way, or a negative errno. Runs on the program's main thread.
    fn sabfs_js_open(options: *const Options) -> i32;
    /// JavaScript: size in bytes of the outside store, 0 when there is none.
    fn sabfs_js_store_size() -> f64;
    /// JavaScript: writes two words, what others need to hear of this program's death.
    fn sabfs_js_sign(sign: *mut u32);
}

fn now_ns() -> i64 {
    // SAFETY: takes and gives a number.
    (unsafe { emscripten_date_now() } * 1e6) as i64
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    // SAFETY: the pointer and the length are those of an array. It cannot fail for so few bytes.
    unsafe { getentropy(bytes.as_mut_ptr(), bytes.len()) };
    bytes
}

fn now_ms() -> u64 {
    // SAFETY: gives a number.
    (unsafe { emscripten_get_now() }) as u64
}

fn now_us() -> u64 {
    // SAFETY: gives a number.
    (unsafe { emscripten_get_now() } * 1e3) as u64
}

pub(super) const HOST: Host = Host { now_ns, now_ms, now_us, random };

fn outside() -> Result<WasmStore, Errno> {
    // SAFETY: gives a number.
    match unsafe { sabfs_js_store_size() } {
        size if size > 0.0 => Ok(WasmStore::outside(size as u64)),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

fn sign() -> Sign {
    let mut sign = [0; 2];
    // SAFETY: the pointer is that of two words.
    unsafe { sabfs_js_sign(sign.as_mut_ptr()) };
    sign
}

pub(super) fn status(result: Result<(), Errno>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(errno) => -errno.wasi(),
    }
}

/// Makes a volume this program's.
pub(super) fn take(mut volume: Volume<WasmStore>) -> Result<(), Errno> {
    volume.set_stopwatch(now_us);
    let mounted = Box::into_raw(Box::new(Mounted { volume, closed: AtomicBool::new(false) }));
    let null = std::ptr::null_mut();
    if CURRENT.compare_exchange(null, mounted, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        // Another thread was faster, with the same volume: one view is enough.
        // SAFETY: it was made by `Box::into_raw` above and nobody else has seen it.
        let second = unsafe { Box::from_raw(mounted) };
        second.volume.detach()?;
    }
    Ok(())
}

/// Makes an empty volume that is not persisted.
pub(super) fn format(store: WasmStore) -> Result<(), Errno> {
    let random = random();
    let [id, ..] = random.as_chunks::<4>().0 else { return Err(Errno::EIO) };
    prepare(&store, Durability::Memory, u32::from_le_bytes(*id))?;
    let client = clients::claim(&store, sign())?;
    let volume = Volume::format(store, client, now_ns, random);
    take(volume.inspect_err(|_| clients::release(&store, client))?)
}

fn attach(store: WasmStore) -> Result<(), Errno> {
    let volume = Volume::join(store, sign(), now_ns)?;
    // All others may be too busy for that, and what is left here somebody recovers later.
    let _: Result<(), Errno> = volume.recover_dead();
    take(volume)
}

/// Waits until the outside store's keeper serves the volume.
fn wait_for_keeper(store: &WasmStore) -> Result<(), Errno> {
    let (mut waited_ms, mut beat) = (0, 0);
    loop {
        let keeper = store.load(rt::KEEPER_STATE);
        if keeper == KeeperState::Failed as u32 {
            let number = store.load(rt::FAILURE).cast_signed();
            return Err(Errno::from_linux(number).unwrap_or(Errno::EIO));
        }
        if keeper == KeeperState::Up as u32 && store.load(rt::STATE) == VolumeState::Ready as u32 {
            return Ok(());
        }
        if waited_ms >= LIMIT_MS {
            return Err(Errno::ETIMEDOUT);
        }
        store.wait(rt::KEEPER_STATE, keeper, SLICE_MS);
        let now = store.load(rt::KEEPER_BEAT);
        waited_ms = if now == beat { waited_ms + SLICE_MS } else { 0 };
        beat = now;
    }
}

/// JavaScript: the outside store holds a mounted volume: attach to it.
#[unsafe(no_mangle)]
extern "C" fn sabfs_attach() -> i32 {
    status(outside().and_then(attach))
}

/// JavaScript: makes a volume that is not persisted in the outside store, of which it uses no more than
/// the first `limit_bytes`.
#[unsafe(no_mangle)]
extern "C" fn sabfs_format(limit_bytes: f64) -> i32 {
    let limited = |store: WasmStore| WasmStore::outside(store.size_bytes().min(limit_bytes as u64));
    status(outside().map(limited).and_then(format))
}

/// The volume that this program has attached to, null while there is none.
#[unsafe(no_mangle)]
extern "C" fn sabfs_volume_current() -> *const sabfs_volume {
    CURRENT.load(Ordering::SeqCst).cast_const().cast()
}

/// Sees to it that a volume is attached; waits for its keeper.
#[unsafe(no_mangle)]
extern "C" fn sabfs_volume_open(options: *const Options) -> i32 {
    // SAFETY: the pointer is handed through.
    match unsafe { sabfs_js_open(options) } {
        1 => status(outside().and_then(|store| {
            wait_for_keeper(&store)?;
            attach(store)
        })),
        status => status,
    }
}

/// JavaScript: lets go of the volume. Every later operation on it gives `ENODEV`.
#[unsafe(no_mangle)]
extern "C" fn sabfs_detach() {
    let mounted = CURRENT.swap(std::ptr::null_mut(), Ordering::SeqCst);
    // SAFETY: volumes are never freed once they were put there.
    let Some(mounted) = (unsafe { mounted.as_ref() }) else { return };
    if !mounted.volume.image().store().is_outside() {
        // The last chance of a program that is its own keeper; there is nobody to tell of an error.
        if mounted.volume.image().durability() != Durability::Memory {
            let _: Result<(), Errno> = own::commit(true);
        }
        own::close();
    }
    mounted.closed.store(true, Ordering::SeqCst);
    // Whoever fails at this is dead to the others, who see to what it leaves. A page's main thread does not try again.
    if mounted.volume.detach() == Err(Errno::EAGAIN) {
        clients::mark_dead(mounted.volume.image().store(), mounted.volume.client());
    }
}

/// JavaScript: this program's name among the clients of its store, as `slot + 64 * serial`; 0 while it is attached
/// to none.
#[unsafe(no_mangle)]
extern "C" fn sabfs_client() -> f64 {
    current().map_or(0.0, |volume| numbers::client_number(volume.client()))
}

/// JavaScript: a client of the store has died, of which `sabfs_client` gave the name; 0 for the keeper. What it
/// owned is recovered. 0, or a negative errno.
#[unsafe(no_mangle)]
extern "C" fn sabfs_bury(name: f64) -> i32 {
    status(current().and_then(|volume| {
        if name <= 0.0 {
            return volume.bury_keeper();
        }
        volume.bury(numbers::client_of(name))
    }))
}

pub(super) fn current() -> Result<&'static Volume<WasmStore>, Errno> {
    // SAFETY: volumes are never freed once they were put there.
    let mounted = unsafe { CURRENT.load(Ordering::SeqCst).as_ref() };
    mounted.ok_or(Errno::ENODEV)?.open()
}

/// JavaScript: asks for a commit of everything changed so far and does not wait; gives the count of
/// changes for `sabfs_sync_state`.
#[unsafe(no_mangle)]
extern "C" fn sabfs_sync_begin() -> u32 {
    let Ok(volume) = current() else { return 0 };
    let image = volume.image();
    let change = image.store().load(rt::CHANGE);
    if !image.store().is_outside() {
        // This program is the keeper; what goes wrong stays in the store for `sabfs_sync_state`.
        if image.durability() != Durability::Memory {
            let _: Result<(), Errno> = own::commit(true);
        }
    } else if image.durability() != Durability::Memory {
        persist::request_flush(image, change);
    }
    change
}

/// JavaScript: 0 when everything up to `change` is durable, 1 when not yet, or a negative errno.
#[unsafe(no_mangle)]
extern "C" fn sabfs_sync_state(change: u32) -> i32 {
    match current().and_then(|volume| numbers::sync_state(volume, change)) {
        Ok(done) => i32::from(!done),
        Err(errno) => -errno.wasi(),
    }
}
