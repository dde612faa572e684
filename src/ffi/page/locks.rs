//! Advisory locks for JavaScript: of a handle, bytes as by `fcntl` and whole files as by `flock`.
//!
//! Who must not sleep asks by a request, which is polled until it is over.

use super::{Page, count, status, with};
use crate::errno::Errno;
use crate::ffi::numbers::PID;
use crate::store::WasmStore;
use crate::vfs::{
    Handle, LockMode, LockOwner, LockRange, LockRequest, OpenFile, OpenMode, Sleep, Volume, Waiting,
};
use std::sync::Arc;

/// Flags of what is asked for.
const EXCLUSIVE: u32 = 1;
const WHOLE_FILE: u32 = 2;

/// What a call is about.
struct Target {
    volume: Arc<Volume<WasmStore>>,
    file: Arc<OpenFile<WasmStore>>,
    owner: LockOwner,
    mode: LockMode,
    /// None for a whole file.
    range: Option<LockRange>,
}

/// A lock that is waited for.
pub(super) struct Request {
    target: Target,
    handle: Handle,
    lock: LockRequest,
}

impl Page {
    fn lock_target(&self, handle: Handle, flags: u32, start: f64, length: f64) -> Result<Target, Errno> {
        let (volume, file) = (self.volume()?.clone(), self.files()?.get(handle)?);
        let mode = if flags & EXCLUSIVE == 0 { LockMode::Shared } else { LockMode::Exclusive };
        let range = match flags & WHOLE_FILE {
            0 => Some(LockRange::new(start as i64, length as i64)?),
            _ => None,
        };
        let owner = file.lock_owner(PID + volume.client().slot);
        Ok(Target { volume, file, owner, mode, range })
    }
}

impl Target {
    /// As `fcntl`: bytes are locked by who may read or write them; whole files by everybody.
    fn may_lock(self) -> Result<Self, Errno> {
        let needed = match self.mode {
            LockMode::Shared => OpenMode::READ,
            LockMode::Exclusive => OpenMode::WRITE,
        };
        let allowed = self.range.is_none() || self.file.mode().contains(needed);
        if allowed { Ok(self) } else { Err(Errno::EBADF) }
    }
}

fn target_of(handle: Handle, flags: u32, start: f64, length: f64) -> Result<Target, Errno> {
    with(|page| page.lock_target(handle, flags, start, length))
}

/// Locks bytes, or with `WHOLE_FILE` the file: 1, or 0 when somebody's lock is in the way. `length` 0: to the end.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_try_lock(handle: u32, flags: u32, start: f64, length: f64) -> i32 {
    count(target_of(handle, flags, start, length).and_then(Target::may_lock).and_then(|target| {
        let Target { volume, file, owner, mode, range } = &target;
        volume.try_lock(file.ino(), owner, *mode, *range).map(usize::from)
    }))
}

/// The same, but sleeps until it has the lock: `timeout_ms` at most (`ETIMEDOUT`), or as long as it takes if that is negative.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_lock(handle: u32, flags: u32, start: f64, length: f64, timeout_ms: f64) -> i32 {
    status(target_of(handle, flags, start, length).and_then(Target::may_lock).and_then(|target| {
        let Target { volume, file, owner, mode, range } = &target;
        let wait = Waiting {
            timeout_ms: (timeout_ms >= 0.0).then_some(timeout_ms as u32),
            ..Waiting::default()
        };
        let answer = match *range {
            Some(range) => volume.lock(file.ino(), owner, *mode, range, Some(&wait)),
            None => volume.flock(file.ino(), owner, *mode, Some(&wait)),
        };
        answer.map_err(|errno| if errno == Errno::EINTR { Errno::ETIMEDOUT } else { errno })
    }))
}

#[unsafe(no_mangle)]
extern "C" fn sabfs_page_unlock(handle: u32, flags: u32, start: f64, length: f64) -> i32 {
    status(target_of(handle, flags, start, length).and_then(|target| {
        let Target { volume, file, owner, range, .. } = &target;
        match *range {
            Some(range) => volume.unlock(file.ino(), owner, range),
            None => volume.funlock(file.ino(), owner),
        }
    }))
}

/// 1 when a lock on bytes is in the way: the numbers are whether it is exclusive, its start and length, 0 to the end, and the
/// process that it belongs to, -1 for none. Otherwise 0, or a negative errno.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_test_lock(handle: u32, flags: u32, start: f64, length: f64) -> i32 {
    let found = target_of(handle, flags & !WHOLE_FILE, start, length).and_then(|target| {
        let Target { volume, file, owner, mode, range } = &target;
        volume.test_lock(file.ino(), owner, *mode, range.unwrap_or(LockRange::WHOLE))
    });
    count(found.map(|held| {
        let Some(held) = held else { return 0 };
        let LockRange { start, end } = held.range;
        let length = if end == LockRange::END { 0 } else { end - start + 1 };
        let exclusive = f64::from(u8::from(held.mode == LockMode::Exclusive));
        let numbers = [exclusive, start as f64, length as f64, f64::from(held.reported_pid())];
        with(|page| page.numbers[..numbers.len()].copy_from_slice(&numbers));
        1
    }))
}

/// Begins to ask for a lock: the request's number, or a negative errno. It has to be ended when it is over.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_lock_begin(handle: u32, flags: u32, start: f64, length: f64) -> i32 {
    match target_of(handle, flags, start, length).and_then(Target::may_lock) {
        Ok(target) => {
            let Target { volume, file, owner, mode, range } = &target;
            let lock = volume.request_lock(file.ino(), owner, *mode, *range);
            with(|page| page.requests.put(Request { target, handle, lock }))
        }
        Err(errno) => -errno.linux(),
    }
}

/// 0 when the lock is there. 1 when not yet: the first two numbers are the offset of a word of the store on which to sleep for a
/// while and its value. Or a negative errno; `EBADF` when the handle was closed meanwhile. `slept_ms`: how long the last sleep was.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_lock_poll(number: i32, slept_ms: f64) -> i32 {
    with(|page| {
        let sleep = poll(page, number, slept_ms as u32);
        page.sleep(sleep)
    })
}

fn poll(page: &mut Page, number: i32, slept_ms: u32) -> Result<Option<Sleep>, Errno> {
    let files = page.files.as_ref().ok_or(Errno::ENODEV)?;
    let Request { target, handle, lock } = page.requests.get(number).ok_or(Errno::EINVAL)?;
    if !files.get(*handle).is_ok_and(|file| Arc::ptr_eq(&file, &target.file)) {
        return Err(Errno::EBADF);
    }
    if slept_ms > 0 {
        // Who is in the way may have died, and whoever buried it may have died at that. If it cannot be done now it is next time.
        let _ = target.volume.recover_dead();
    }
    target.volume.poll_lock(lock, slept_ms)
}

/// A request is over; a lock that it got stays. 0, or a negative errno; `EAGAIN` when it has to be tried again.
#[unsafe(no_mangle)]
extern "C" fn sabfs_page_lock_end(number: i32) -> i32 {
    status(with(|page| {
        let Request { target, lock, .. } = page.requests.get(number).ok_or(Errno::EINVAL)?;
        target.volume.end_lock_request(lock)?;
        drop(page.requests.take(number));
        Ok(())
    }))
}
