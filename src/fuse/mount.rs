//! Mounting, and ending a mount so that nothing of it stays behind.
//!
//! The crate that speaks FUSE can unmount, too, but it does not see when somebody else has done so already:
//! then it ends whatever lay below. And it leaves a mount behind that is in use. So it never gets to do it.

use super::Front;
use crate::store::Store;
use crate::vfs::Volume;
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use parking_lot::Mutex;
use rustix::fs::syncfs;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use std::fs::{self, File};
use std::io;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Requests that are worked on at the same time.
const THREADS: usize = 4;
/// How long users of a mount that is to end have to close their files.
const GRACE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// Who decides what a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permissions {
    /// The kernel, by the modes and owners that it is shown: the usual way.
    Kernel,
    /// The volume's own rules, as for other front ends. What the kernel opens without asking is left to
    /// it: pipes and sockets are everyone's who gets there, and devices do not work.
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

/// A mounted volume. Dropping it unmounts, as `unmount` does.
pub struct Mount {
    /// None once it is over.
    session: Option<BackgroundSession>,
    directory: PathBuf,
    /// The mount's device number, by which it is told from others in the same place.
    device: u64,
}

impl Mount {
    /// Mounts a volume on a directory of the host and serves it in threads of its own.
    pub fn new<S: Store + 'static>(
        volume: Arc<Volume<S>>,
        directory: &Path,
        options: MountOptions,
    ) -> io::Result<Self> {
        // The process may have another working directory by the time it unmounts.
        let directory = directory.canonicalize()?;
        let kernel = options.permissions == Permissions::Kernel;
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("sabfs".to_owned()), MountOption::Subtype("sabfs".to_owned())];
        let mut option = |wanted: bool, option| {
            if wanted {
                config.mount_options.push(option);
            }
        };
        option(kernel, MountOption::DefaultPermissions);
        option(options.read_only, MountOption::RO);
        option(options.for_all_users, MountOption::Suid);
        option(options.for_all_users && kernel, MountOption::Dev);
        option(!kernel, MountOption::NoDev);
        config.acl = if options.for_all_users { SessionACL::All } else { SessionACL::Owner };
        config.n_threads = Some(THREADS);
        let front = Front { volume, permissions: options.permissions, known: Mutex::default() };
        let session = Session::new(front, &directory, &config)?.spawn()?;
        let root = fs::metadata(&directory);
        if root.is_err() {
            // Unlike below it is not known by its number, but it was made just now.
            _ = unmount(&directory, UnmountFlags::FORCE | UnmountFlags::DETACH);
        }
        let device = root.as_ref().map_or(0, MetadataExt::dev);
        let mount = Self { session: Some(session), directory, device };
        root.map(|_| mount)
    }

    /// Whether it has ended, because somebody else has unmounted it.
    pub fn is_over(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.guard.is_finished())
    }

    /// Unmounts and waits until the last request is answered.
    ///
    /// Programs that still use the mount have two seconds to end that. Then what they have written is
    /// taken over, and from there on they get errors: nothing of the mount stays behind.
    pub fn unmount(mut self) -> io::Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.session.is_none() {
            return Ok(());
        }
        let ended = self.take_away().and_then(|()| self.wait());
        let Some(mut session) = self.session.take() else { return ended };
        let serving = mem::replace(&mut session.guard, thread::spawn(|| Ok(())));
        // Dropping it would unmount whatever lies there now.
        mem::forget(session);
        ended?;
        let served = serving.join();
        match served.unwrap_or_else(|_| Err(io::Error::other("a thread that served the mount died"))) {
            // Who waits for a request when the kernel hangs up is told so; who asks later finds no device, which
            // the crate takes for an end in order.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::CONNABORTED) => Ok(()),
            served => served,
        }
    }

    /// Takes the mount out of the host's tree.
    fn take_away(&self) -> io::Result<()> {
        let deadline = Instant::now() + GRACE;
        loop {
            let late = Instant::now() >= deadline;
            match fs::metadata(&self.directory) {
                Ok(root) if root.dev() == self.device => {
                    match unmount(&self.directory, UnmountFlags::empty()) {
                        Err(Errno::BUSY) if late => return self.take_away_by_force(),
                        Err(Errno::BUSY) => {}
                        Err(Errno::PERM) => return self.take_away_by_helper(),
                        result => return Ok(result?),
                    }
                }
                // Somebody cut the connection, and left the mount.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOTCONN) => {
                    return Ok(unmount(&self.directory, UnmountFlags::DETACH)?);
                }
                // Somebody took it away; those who use it still may do so meanwhile.
                _ if late || self.is_over() => return Ok(()),
                _ => {}
            }
            thread::sleep(LOOK);
        }
    }

    fn take_away_by_force(&self) -> io::Result<()> {
        if let Ok(root) = File::open(&self.directory) {
            // What is written through a map is only known to the kernel yet.
            _ = syncfs(root);
        }
        // The first flag lets the kernel hang up, the second forgives files that are open.
        Ok(unmount(&self.directory, UnmountFlags::FORCE | UnmountFlags::DETACH)?)
    }

    /// For users who may not unmount themselves.
    fn take_away_by_helper(&self) -> io::Result<()> {
        for helper in ["fusermount3", "fusermount"] {
            let asked = Command::new(helper).args(["-u", "-z", "--"]).arg(&self.directory).status();
            if let Ok(status) = asked {
                let refused = || io::Error::other(format!("{helper} could not do it: {status}"));
                return status.success().then_some(()).ok_or_else(refused);
            }
        }
        Err(io::Error::other("fusermount3 is not there"))
    }

    /// Until the last request is answered.
    fn wait(&self) -> io::Result<()> {
        let deadline = Instant::now() + GRACE;
        while !self.is_over() {
            if Instant::now() >= deadline {
                return Err(io::Error::other("it is out of the tree, but programs still use it"));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Those who want to know call `unmount`.
        _ = self.finish();
    }
}
