//! Advisory locks for the C++ side (c-shim/sabfs_locks.cpp).

use super::mount::status;
use super::numbers::PID;
use super::vtable::{Handle, header, sabfs_lock, with};
use crate::errno::Errno;
use crate::store::WasmStore;
use crate::vfs::{HeldLock, LockMode, LockOwner, LockRange, Volume, Waiting};

/// How long a page's main thread waits.
const MAIN_THREAD_MS: u32 = 2000;
/// How long a program's main thread sleeps before it looks what its other threads want of it, as
/// Emscripten's own locks do.
const MAIN_SLICE_MS: u32 = 1;

unsafe extern "C" {
    fn emscripten_is_main_runtime_thread() -> bool;
    /// Does what other threads have asked the main thread to do; only there.
    fn emscripten_main_thread_process_queued_calls();
    /// JavaScript: 0 on a page's main thread, which must not sleep.
    fn sabfs_js_may_sleep() -> i32;
    /// JavaScript: says, once, that a page's main thread has not got a lock.
    fn sabfs_js_lock_refused();
}

fn has(lock: &sabfs_lock, flag: u32) -> bool {
    lock.flags & flag != 0
}

fn mode_of(lock: &sabfs_lock) -> LockMode {
    if has(lock, header::SABFS_LOCK_EXCLUSIVE) { LockMode::Exclusive } else { LockMode::Shared }
}

/// Programs are told apart by their client numbers; a program is one process.
fn owner_of(volume: &Volume<WasmStore>, lock: &sabfs_lock) -> LockOwner {
    let pid = PID + volume.client().slot;
    if has(lock, header::SABFS_LOCK_OPEN_FILE) {
        LockOwner::open_file(lock.owner, pid)
    } else {
        LockOwner::process(0, pid)
    }
}

fn set(volume: &Volume<WasmStore>, ino: u32, lock: &sabfs_lock) -> Result<(), Errno> {
    let (owner, mode) = (owner_of(volume, lock), mode_of(lock));
    if has(lock, header::SABFS_LOCK_MAPPING) {
        return volume.map_shared(ino, &owner, mode == LockMode::Exclusive);
    }
    let acquire = |wait: Option<&Waiting<'_>>| {
        if has(lock, header::SABFS_LOCK_WHOLE_FILE) {
            volume.flock(ino, &owner, mode, wait)
        } else {
            volume.lock(ino, &owner, mode, LockRange::new(lock.start, lock.length)?, wait)
        }
    };
    if !has(lock, header::SABFS_LOCK_WAIT) {
        return acquire(None);
    }
    if !cfg!(target_feature = "atomics") && !volume.image().store().is_outside() {
        // Nobody but this thread can have the lock that is in the way, or give it back.
        return acquire(None)
            .map_err(|errno| if errno == Errno::EAGAIN { Errno::EDEADLK } else { errno });
    }
    // SAFETY: gives a truth value.
    if !unsafe { emscripten_is_main_runtime_thread() } {
        return acquire(Some(&Waiting::default()));
    }
    // Who has the lock may wait for this thread to do something.
    let serve = || {
        // SAFETY: this is the program's main thread, and it holds no lock here.
        unsafe { emscripten_main_thread_process_queued_calls() };
        false
    };
    // SAFETY: gives a number.
    let may_sleep = unsafe { sabfs_js_may_sleep() } != 0;
    let answer = acquire(Some(&Waiting {
        timeout_ms: (!may_sleep).then_some(MAIN_THREAD_MS),
        cancelled: Some(&serve),
        slice_ms: cfg!(target_feature = "atomics").then_some(MAIN_SLICE_MS),
    }));
    if answer != Err(Errno::EINTR) {
        return answer;
    }
    // SAFETY: takes nothing.
    unsafe { sabfs_js_lock_refused() };
    Err(Errno::EAGAIN)
}

fn unset(volume: &Volume<WasmStore>, ino: u32, lock: &sabfs_lock) -> Result<(), Errno> {
    let owner = owner_of(volume, lock);
    if has(lock, header::SABFS_LOCK_MAPPING) {
        return volume.unmap_shared(ino, &owner);
    }
    if has(lock, header::SABFS_LOCK_WHOLE_FILE) {
        volume.funlock(ino, &owner)
    } else {
        volume.unlock(ino, &owner, LockRange::new(lock.start, lock.length)?)
    }
}

fn describe(held: &HeldLock) -> sabfs_lock {
    let LockRange { start, end } = held.range;
    let length = if end == LockRange::END { 0 } else { end - start + 1 };
    let exclusive = if held.mode == LockMode::Exclusive { header::SABFS_LOCK_EXCLUSIVE } else { 0 };
    sabfs_lock {
        start: start.cast_signed(),
        length: length.cast_signed(),
        owner: 0,
        flags: exclusive,
        pid: held.reported_pid(),
    }
}

// SAFETY of all functions below: C++ calls them with a handle of this program's and a lock of its own.

pub(super) unsafe extern "C" fn lock(volume: Handle, ino: u32, lock: *const sabfs_lock) -> i32 {
    status(unsafe { with(volume, |v| set(v, ino, &*lock)) })
}

pub(super) unsafe extern "C" fn unlock(volume: Handle, ino: u32, lock: *const sabfs_lock) -> i32 {
    status(unsafe { with(volume, |v| unset(v, ino, &*lock)) })
}

pub(super) unsafe extern "C" fn test_lock(volume: Handle, ino: u32, lock: *mut sabfs_lock) -> i32 {
    let found = unsafe {
        with(volume, |v| {
            let wanted = &*lock;
            let range = LockRange::new(wanted.start, wanted.length)?;
            v.test_lock(ino, &owner_of(v, wanted), mode_of(wanted), range)
        })
    };
    match found {
        Ok(None) => 0,
        Ok(Some(held)) => {
            unsafe { lock.write(describe(&held)) };
            1
        }
        Err(errno) => -errno.wasi(),
    }
}

pub(super) unsafe extern "C" fn release_locks(volume: Handle, ino: u32, lock: *const sabfs_lock) {
    // What this client holds is given back with it at the latest.
    let _: Result<(), Errno> = unsafe { with(volume, |v| v.release_owner(ino, &owner_of(v, &*lock))) };
}
