//! The front end for Linux's FUSE: a volume as a mounted file system of the host.
//!
//! The kernel's inode numbers are ours, but for the root, which it calls 1 and we 2. An inode that the
//! kernel knows is held ([`Volume::hold`]) for as long: so files live on while they are open, and numbers
//! that it has seen stay true. There is no state for open files: the kernel keeps position and mode.
//!
//! The kernel is the only one who changes the volume, so it may remember names and attributes for long;
//! it forgets by itself what an operation of its own changes. It also keeps the advisory locks.

mod convert;
mod operations;

use crate::errno::Errno;
use crate::format::INO_ROOT;
use crate::store::Store;
use crate::vfs::{Attr, Caller, Ino, Volume};
use fuser::{BackgroundSession, Config, INodeNo, MountOption, Request, Session, SessionACL};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Requests that are worked on at the same time.
const THREADS: usize = 4;

/// Who decides what a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permissions {
    /// The kernel, by the modes and owners that it is shown: the usual way.
    Kernel,
    /// The volume's own rules, as for other front ends.
    Volume,
}

/// How a volume is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// Who decides what a caller may do.
    pub permissions: Permissions,
    /// Changes nothing.
    pub read_only: bool,
    /// Other users than the one who mounts may come in, and set-ID programs and devices work: for root.
    pub for_all_users: bool,
}

/// A mounted volume.
pub struct Mount {
    session: BackgroundSession,
}

impl Mount {
    /// Mounts a volume on a directory of the host and serves it in threads of its own.
    pub fn new<S: Store + 'static>(
        volume: Arc<Volume<S>>,
        directory: &Path,
        options: MountOptions,
    ) -> io::Result<Self> {
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("sabfs".to_owned()), MountOption::Subtype("sabfs".to_owned())];
        let mut option = |wanted: bool, option| {
            if wanted {
                config.mount_options.push(option);
            }
        };
        option(options.permissions == Permissions::Kernel, MountOption::DefaultPermissions);
        option(options.read_only, MountOption::RO);
        option(options.for_all_users, MountOption::Suid);
        option(options.for_all_users, MountOption::Dev);
        config.acl = if options.for_all_users { SessionACL::All } else { SessionACL::Owner };
        config.n_threads = Some(THREADS);
        let front = Front { volume, permissions: options.permissions, known: Mutex::default() };
        let session = Session::new(front, directory, &config)?.spawn()?;
        Ok(Self { session })
    }

    /// Whether somebody else has unmounted it.
    pub fn is_over(&self) -> bool {
        self.session.guard.is_finished()
    }

    /// Unmounts and waits until the last request is answered.
    ///
    /// While files are open the host refuses (`EBUSY`) or takes the mount out of sight until they are
    /// closed, as it likes.
    pub fn unmount(self) -> io::Result<()> {
        if self.is_over() {
            return self.session.join();
        }
        self.session.umount_and_join()
    }
}

/// What serves the kernel's requests.
struct Front<S: Store> {
    volume: Arc<Volume<S>>,
    permissions: Permissions,
    /// How often the kernel was told of each inode and has not forgotten it yet.
    known: Mutex<HashMap<Ino, u64>>,
}

/// The inode that the kernel means.
fn ino_of(number: INodeNo) -> Result<Ino, Errno> {
    match number.0 {
        1 => Ok(INO_ROOT),
        number => Ino::try_from(number).map_err(|_| Errno::ENOENT),
    }
}

impl<S: Store> Front<S> {
    /// Notes that the kernel is told of an inode; `ENOENT` when it is gone by now.
    fn know(&self, attr: &Attr) -> Result<(), Errno> {
        let mut known = self.known.lock();
        match known.entry(attr.ino) {
            Entry::Occupied(mut count) => *count.get_mut() += 1,
            Entry::Vacant(place) => {
                self.volume.hold_generation(attr.ino, attr.generation)?;
                place.insert(1);
            }
        }
        Ok(())
    }

    /// The kernel has forgotten an inode that it was told of so many times.
    fn unknow(&self, ino: Ino, times: u64) {
        let mut known = self.known.lock();
        let Entry::Occupied(mut count) = known.entry(ino) else { return };
        *count.get_mut() = count.get().saturating_sub(times);
        if *count.get() == 0 {
            count.remove();
            // Under the lock: nobody may come to know it between.
            self.volume.forget(ino);
        }
    }

    /// The kernel has forgotten everything.
    fn unknow_all(&self) {
        for (ino, _) in self.known.lock().drain() {
            self.volume.forget(ino);
        }
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
