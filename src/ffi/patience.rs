//! A program's thread that may not sleep: a page's main thread.
//!
//! It waits for the store's locks and for the keeper as Emscripten's own locks do there, by looking again and again and
//! doing meanwhile what other threads want of it (`emscripten/store.js`), but for a bounded time. Where the program can
//! be suspended `fsync` lets the page go on instead.

use super::mount;
use crate::errno::Errno;
use crate::persist;
use crate::store::runtime::{self as rt, Durability, KeeperState};
use crate::store::{Store, WasmStore};
use crate::vfs::{Ino, Volume};

/// What was waited for in vain, as JavaScript knows it.
#[derive(Clone, Copy)]
#[repr(u32)]
enum InVain {
    Lock = 0,
    Keeper = 1,
}

unsafe extern "C" {
    /// JavaScript: says, once for each, what a page's main thread has waited for in vain.
    fn sabfs_js_in_vain(what: u32);
    /// JavaScript: 1 when this thread may not sleep but can be suspended.
    fn sabfs_js_can_suspend() -> i32;
    /// JavaScript: suspends the program until `sabfs_commit_state` is not 1, and gives it.
    fn sabfs_js_await_commit(change: u32, durable: u32) -> i32;
}

/// What a program is told of an operation's error. Cheap for errors that have nothing to do with waiting.
pub(super) fn explain(volume: &Volume<WasmStore>, errno: Errno) -> Errno {
    if !matches!(errno, Errno::EAGAIN | Errno::ETIMEDOUT)
        || volume.image().store().patience_ms().is_none()
    {
        return errno;
    }
    let (what, errno) = match errno {
        Errno::EAGAIN => (InVain::Lock, Errno::EAGAIN),
        _ => (InVain::Keeper, Errno::EIO),
    };
    // SAFETY: takes a number.
    unsafe { sabfs_js_in_vain(what as u32) };
    errno
}

/// Whether this thread lets others go on while it waits for the keeper.
pub(super) fn can_suspend(volume: &Volume<WasmStore>) -> bool {
    // SAFETY: gives a number.
    volume.image().store().is_outside() && unsafe { sabfs_js_can_suspend() } != 0
}

/// As `Volume::fsync` (of an inode) or `Volume::sync_durably` (of none), but suspends the program.
pub(super) fn sync_suspended(volume: &Volume<WasmStore>, ino: Option<Ino>) -> Result<(), Errno> {
    volume.counted(|| {
        if let Some(ino) = ino {
            volume.getattr(ino)?;
        }
        let image = volume.image();
        let durable = match image.durability() {
            Durability::Memory => return Ok(()),
            Durability::Relaxed => ino.is_none(),
            Durability::Strict => true,
        };
        let change = image.store().load(rt::CHANGE);
        if durable {
            persist::request_flush(image, change);
        } else {
            persist::request_commit(image, change);
        }
        // SAFETY: takes and gives numbers. Nothing is locked or borrowed that another part of the program could want.
        match unsafe { sabfs_js_await_commit(change, u32::from(durable)) } {
            0 => Ok(()),
            status => Err(Errno::from_linux(-status).unwrap_or(Errno::EIO)),
        }
    })
}

/// JavaScript: 0 when everything up to `change` is durable (or written, if that is enough), 1 when not yet, or a
/// negative errno number (Linux).
#[unsafe(no_mangle)]
extern "C" fn sabfs_commit_state(change: u32, durable: u32) -> i32 {
    let Ok(volume) = mount::current() else { return -Errno::ENODEV.linux() };
    let store = volume.image().store();
    let word = if durable == 0 { rt::WRITTEN } else { rt::DURABLE };
    let is_reached = || persist::reached(store.load(word), change);
    if is_reached() {
        return 0;
    }
    let failure = store.load(rt::FAILURE);
    if failure == 0 && store.load(rt::KEEPER_STATE) == KeeperState::Up as u32 {
        return 1;
    }
    // The keeper publishes before it complains or stops: look once more.
    if is_reached() {
        0
    } else {
        -Errno::from_linux(failure.cast_signed()).unwrap_or(Errno::EIO).linux()
    }
}
