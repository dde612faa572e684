//! The front end for Linux's FUSE: a volume as a mounted file system of the host.
//!
//! The kernel's inode numbers are ours, but for the root, which it calls 1 and we 2. An inode that the
//! kernel knows when it loses a name is held ([`Volume::hold`]) until the kernel forgets it: so files live
//! on while they are open, and numbers that it has seen stay true. The kernel knows as many inodes as its
//! memory allows, far more than can be held, but most of them keep their names. There is no state for
//! open files: the kernel keeps position and mode.
//!
//! The kernel is the only one who changes the volume, so it may remember names and attributes for long;
//! it forgets by itself what an operation of its own changes. It also keeps the advisory locks. Where
//! the volume checks permissions nothing may be remembered: it would not be asked then whether a directory
//! on the way may be searched.

mod acting;
mod convert;
mod mount;
mod operations;

pub use mount::{Mount, MountOptions, Permissions};

use crate::errno::Errno;
use crate::format::INO_ROOT;
use crate::store::Store;
use crate::vfs::{Caller, Ino, Volume};
use fuser::{INodeNo, Request};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

/// How long the kernel may remember what cannot change without it.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// What serves the kernel's requests.
struct Front<S: Store> {
    volume: Arc<Volume<S>>,
    permissions: Permissions,
    /// What the kernel was told of and has not forgotten yet.
    known: Mutex<HashMap<Ino, Known>>,
}

/// An inode that the kernel knows.
#[derive(Default)]
struct Known {
    /// How often it was told.
    count: u64,
    /// Whether the inode is held, as it may have no name any more.
    held: bool,
}

/// The inode that the kernel means.
fn ino_of(number: INodeNo) -> Result<Ino, Errno> {
    match number.0 {
        1 => Ok(INO_ROOT),
        number => Ino::try_from(number).map_err(|_| Errno::ENOENT),
    }
}

impl<S: Store> Front<S> {
    /// How long the kernel may remember names and attributes.
    fn remembered(&self) -> Duration {
        match self.permissions {
            Permissions::Kernel => REMEMBERED,
            // Each name on a path has to come here with whoever walks it, and what writing costs a file
            // has to reach the kernel before somebody executes it.
            Permissions::Volume => Duration::ZERO,
        }
    }

    /// Notes that the kernel is told of an inode. Whatever has a name while the kernel asks for it keeps it
    /// until the kernel has the answer, as it locks the directory.
    fn know(&self, ino: Ino) {
        self.known.lock().entry(ino).or_default().count += 1;
    }

    /// The kernel has forgotten an inode that it was told of so many times.
    fn unknow(&self, ino: Ino, times: u64) {
        let mut known = self.known.lock();
        let Entry::Occupied(mut entry) = known.entry(ino) else { return };
        entry.get_mut().count = entry.get().count.saturating_sub(times);
        if entry.get().count == 0 && entry.remove().held {
            // Under the lock: nobody may come to know it between.
            self.volume.forget(ino);
        }
    }

    /// The kernel has forgotten everything.
    fn unknow_all(&self) {
        for (ino, known) in self.known.lock().drain() {
            if known.held {
                self.volume.forget(ino);
            }
        }
    }

    /// Does what may take an inode's last name: what the kernel knows of lives on without one.
    ///
    /// The kernel locks the inode that loses a name, so this never happens to one inode twice at once.
    fn removing<T>(
        &self,
        dir: Ino,
        name: &[u8],
        act: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let Ok(victim) = self.volume.lookup(dir, name).map(|attr| attr.ino) else { return act() };
        if let Some(known) = self.known.lock().get_mut(&victim)
            && !known.held
        {
            self.volume.hold(victim)?;
            known.held = true;
        }
        let done = act();
        if let Some(known) = self.known.lock().get_mut(&victim)
            && known.held
            && self.volume.getattr(victim).is_ok_and(|attr| attr.nlink > 0)
        {
            known.held = false;
            self.volume.forget(victim);
        }
        done
    }

    /// Does something on the behalf of who asks.
    fn with_caller<T>(&self, request: &Request, act: impl FnOnce(&Caller<'_>) -> T) -> T {
        let checked = self.permissions == Permissions::Volume;
        let (uid, gid) = (request.uid(), request.gid());
        let groups = if checked && uid != 0 { groups_of(request.pid()) } else { Vec::new() };
        act(&Caller { uid, gid, groups: &groups, checked })
    }
}

/// The supplementary groups of a process, which requests do not carry. None when it is gone.
fn groups_of(pid: u32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    groups.split_whitespace().filter_map(|group| group.parse().ok()).collect()
}
