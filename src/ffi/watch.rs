//! Watchers for the C++ side (c-shim/sabfs_inotify.cpp).

use super::mount::status;
use super::vtable::{Handle, header, run, sabfs_change, sabfs_watcher, with};
use crate::core::log::{Record, What};
use crate::errno::Errno;
use crate::store::WasmStore;
use crate::vfs::{Event, Watcher};

// SAFETY of all functions below: C++ calls them with a handle of this program's, with watchers that `watch` gave and
// that `unwatch` has not taken, one thread at a time, and with out-pointers to variables of its own.

pub(super) unsafe extern "C" fn watch(volume: Handle, out: *mut *mut sabfs_watcher) -> i32 {
    status(unsafe { run(volume, |v| v.watch()) }.map(|watcher| unsafe {
        out.write(Box::into_raw(Box::new(watcher)).cast());
    }))
}

pub(super) unsafe extern "C" fn unwatch(watcher: *mut sabfs_watcher) {
    drop(unsafe { Box::from_raw(watcher.cast::<Watcher<WasmStore>>()) });
}

pub(super) unsafe extern "C" fn next(
    volume: Handle,
    watcher: *mut sabfs_watcher,
    out: *mut sabfs_change,
) -> i32 {
    let watcher = unsafe { &mut *watcher.cast::<Watcher<WasmStore>>() };
    // The store is not looked at any more when the program has let go of the volume.
    match unsafe { with(volume, |_| Ok::<_, Errno>(watcher.next())) } {
        Ok(None) => 0,
        Ok(Some(event)) => {
            unsafe { out.write(describe(&event)) };
            1
        }
        Err(errno) => -errno.wasi(),
    }
}

fn describe(event: &Event) -> sabfs_change {
    let mut change = sabfs_change {
        what: header::SABFS_CHANGE_MISSED,
        kind: 0,
        dir: 0,
        ino: 0,
        cookie: 0,
        name_len: 0,
        name: [0; 255],
    };
    let Event::Change(Record { what, kind, dir, ino, cookie, name, .. }) = event else {
        return change;
    };
    change.what = match what {
        What::Create => header::SABFS_CHANGE_CREATE,
        What::Delete => header::SABFS_CHANGE_DELETE,
        What::Modify => header::SABFS_CHANGE_MODIFY,
        What::Attrib => header::SABFS_CHANGE_ATTRIB,
        What::RenameFrom => header::SABFS_CHANGE_FROM,
        What::RenameTo => header::SABFS_CHANGE_TO,
    };
    (change.kind, change.dir, change.ino) = (kind.mode_bits(), *dir, *ino);
    change.cookie = *cookie;
    change.name_len = name.len() as u32;
    change.name[..name.len()].copy_from_slice(name);
    change
}
