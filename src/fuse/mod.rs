//! The front end for Linux's FUSE: a volume as a mounted file system of the host.
//!
//! The kernel's inode numbers are ours, but for the root, which it calls 1 and we 2. An inode that the
//! kernel knows when it loses a name is held ([`Volume::hold`]) until the kernel forgets it: so files live
//! on while they are open, and numbers that it has seen stay true. The kernel knows as many inodes as its
//! memory allows, far more than can be held, but most of them keep their names. There is no state for
//! open files: the kernel keeps position and mode.
//!
//! The kernel is the only one who changes the volume, so it may remember names and attributes for long;
//! it forgets by itself what an operation of its own changes. It also keeps the advisory locks.

mod acting;
mod convert;
mod operations;

use crate::errno::Errno;
use crate::format::INO_ROOT;
use crate::store::Store;
use crate::vfs::{Caller, Ino, Volume};
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
