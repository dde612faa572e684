//! The host's side: a thread with a root directory of its own, which acts as any user.
//!
//! Linux keeps users, groups, root and working directory by thread; the C library's wrappers change
//! them for all threads, so the calls are made directly.

use super::calls::{Call, Time, User};
use super::tree::{State, Status, Times, Tree};
use sabfs::format::FileKind;
use std::ffi::{CStr, CString, c_int};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const XATTR: &CStr = c"user.none";
const FCHMODAT2: libc::c_long = 452;

/// Where the kernel hardens more than POSIX asks for.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub protected_hardlinks: bool,
    pub protected_symlinks: bool,
}

pub struct Host {
    /// `/proc/thread-self/fd`, from before the root was changed.
    descriptors: c_int,
}

thread_local! {
    static RULES: std::cell::Cell<Option<Rules>> = const { std::cell::Cell::new(None) };
}

impl Rules {
    /// What `Host::enter` found out.
    pub fn read() -> Self {
        RULES.get().expect("the thread has entered its root")
    }
}

/// Why this process cannot act as other users, if it cannot.
pub fn hindrance() -> Option<&'static str> {
    // To give away, to get past permissions both ways, to own all, to keep set-ID, to change groups and
    // users, to change the root, to make devices.
    const NEEDED: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 18 | 1 << 27;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
    let capabilities = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
    if capabilities & NEEDED != NEEDED {
        return Some("only root can act as other users");
    }
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let all = map.split_whitespace().eq(["0", "0", "4294967295"]);
    (!all).then_some("this is not the host's own root")
}

fn c_path(path: &str) -> CString {
    CString::new(path).expect("paths without zero bytes")
}

fn answer(result: impl Into<i64>) -> Result<(), i32> {
    if result.into() >= 0 { Ok(()) } else { Err(io::Error::last_os_error().raw_os_error().unwrap()) }
}

/// In memory where there is a file system for that, because it is fast and counts links as we do.
pub fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Acts as somebody else until it is dropped.
struct Disguise;

impl Disguise {
    fn new(user: &User) -> Self {
        // SAFETY: the groups are an array of the given length; the rest are numbers. All three
        // change this thread alone: the last two are, in every C library, plain calls.
        unsafe {
            let groups = user.groups.as_ptr();
            assert_eq!(libc::syscall(libc::SYS_setgroups, user.groups.len(), groups), 0);
            libc::setfsgid(user.gid);
            libc::setfsuid(user.uid);
            assert_eq!(libc::setfsuid(u32::MAX), user.uid as c_int, "the kernel has changed the user");
        }
        Self
    }
}

impl Drop for Disguise {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            libc::setfsuid(0);
            libc::setfsgid(0);
            libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>());
        }
    }
}

impl Host {
    /// Makes `folder` this thread's root.
    pub fn enter(folder: &Path) -> Self {
        let hardlinks = fs::read_to_string("/proc/sys/fs/protected_hardlinks");
        let protected_hardlinks = hardlinks.is_ok_and(|text| text.trim() != "0");
        let symlinks = fs::read_to_string("/proc/sys/fs/protected_symlinks");
        let protected_symlinks = symlinks.is_ok_and(|text| text.trim() != "0");
        RULES.set(Some(Rules { protected_hardlinks, protected_symlinks }));
        let (proc, folder) = (c_path("/proc/thread-self/fd"), c_path(folder.to_str().unwrap()));
        // SAFETY: the paths are strings that live until the calls are over. The first call gives this
        // thread a root, a working directory and a mask of its own, so no other one sees the rest.
        unsafe {
            assert_eq!(libc::unshare(libc::CLONE_FS), 0, "{}", io::Error::last_os_error());
            let descriptors = libc::open(proc.as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
            assert!(descriptors >= 0, "{}", io::Error::last_os_error());
            assert_eq!(libc::chroot(folder.as_ptr()), 0, "{}", io::Error::last_os_error());
            assert_eq!(libc::chdir(c"/".as_ptr()), 0);
            libc::umask(0);
            Self { descriptors }
        }
    }

    pub fn build(&mut self, tree: &Tree) {
        for start in tree {
            let path = c_path(start.path);
            // SAFETY: all are strings that live until the calls are over.
            unsafe {
                let made = match start.kind {
                    FileKind::Directory if start.path == "/" => 0,
                    FileKind::Directory => libc::mkdir(path.as_ptr(), 0o700),
                    FileKind::Symlink => libc::symlink(c_path(&start.target).as_ptr(), path.as_ptr()),
                    kind => libc::mknod(path.as_ptr(), kind.mode_bits() | 0o700, 0),
                };
                assert_eq!(made, 0, "{start:?}: {}", io::Error::last_os_error());
            }
        }
        for start in tree {
            let path = c_path(start.path);
            // SAFETY: a string that lives until the calls are over.
            unsafe {
                assert_eq!(libc::lchown(path.as_ptr(), start.uid, start.gid), 0);
                if start.kind != FileKind::Symlink {
                    assert_eq!(libc::chmod(path.as_ptr(), start.mode), 0);
                }
            }
        }
    }

    fn visit(path: &str, found: &mut dyn FnMut(&str, fs::Metadata)) {
        let place = if path.is_empty() { "/" } else { path };
        let status = fs::symlink_metadata(place).unwrap();
        let directory = status.is_dir();
        found(path, status);
        if directory {
            for entry in fs::read_dir(place).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                Self::visit(&format!("{path}/{name}"), found);
            }
        }
    }

    pub fn state(&self) -> State {
        let mut state = State::new();
        Self::visit("", &mut |path, status| {
            let size = if status.is_dir() { 0 } else { status.size() };
            let (mode, nlink) = (format!("{:o}", status.mode()), status.nlink());
            let (uid, gid) = (status.uid(), status.gid());
            state.insert(path.to_owned(), Status { mode, uid, gid, nlink, size });
        });
        state
    }

    pub fn times(&self) -> Times {
        let mut times = Times::new();
        Self::visit("", &mut |path, status| {
            let ns = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
            let atime = ns(status.atime(), status.atime_nsec());
            let all = [
                if status.is_file() { atime } else { 0 },
                ns(status.mtime(), status.mtime_nsec()),
                ns(status.ctime(), status.ctime_nsec()),
            ];
            times.insert(path.to_owned(), (status.ino(), 0, all));
        });
        times
    }

    /// Waits until a change now gives a time that is none of these: the kernel's own clock ticks slowly.
    pub fn wait_for_tick(&self, times: &Times) {
        let last = times.values().map(|(_, _, times)| times[2]).max().unwrap_or(0);
        loop {
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: the pointer is that of a variable.
            unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut now) };
            if i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec) > last {
                return;
            }
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
    }

    pub fn act(&mut self, user: &User, call: &Call) -> Result<(), i32> {
        let _disguise = Disguise::new(user);
        let nofollow = |follow: &bool| if *follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
        let here = libc::AT_FDCWD;
        // SAFETY: all paths and arrays are variables that live until the calls are over, and paths end
        // with a zero byte.
        unsafe {
            match call {
                Call::Access { path, mask, follow } => {
                    let flags = libc::AT_EACCESS | nofollow(follow);
                    let path = c_path(path);
                    answer(libc::syscall(libc::SYS_faccessat2, here, path.as_ptr(), *mask, flags))
                }
                Call::Make { path, kind: FileKind::Directory, mode, .. } => {
                    answer(libc::mkdir(c_path(path).as_ptr(), *mode))
                }
                Call::Make { path, kind, mode, rdev } => {
                    let mode = kind.mode_bits() | mode;
                    answer(libc::mknod(c_path(path).as_ptr(), mode, (*rdev).into()))
                }
                Call::Symlink { path, target } => {
                    answer(libc::symlink(c_path(target).as_ptr(), c_path(path).as_ptr()))
                }
                Call::Unnamed { dir, mode, name } => self.unnamed(dir, *mode, name.as_deref()),
                Call::Link { from, to } => {
                    answer(libc::link(c_path(from).as_ptr(), c_path(to).as_ptr()))
                }
                Call::Unlink { path } => answer(libc::unlink(c_path(path).as_ptr())),
                Call::Rmdir { path } => answer(libc::rmdir(c_path(path).as_ptr())),
                Call::Rename { from, to, flags } => {
                    let (from, to) = (c_path(from), c_path(to));
                    answer(libc::renameat2(here, from.as_ptr(), here, to.as_ptr(), flags.bits()))
                }
                Call::Chmod { path, mode, follow: true } => {
                    answer(libc::chmod(c_path(path).as_ptr(), *mode))
                }
                Call::Chmod { path, mode, follow } => {
                    let path = c_path(path);
                    answer(libc::syscall(FCHMODAT2, here, path.as_ptr(), *mode, nofollow(follow)))
                }
                Call::Chown { path, uid, gid, follow } => {
                    let (uid, gid) = (uid.unwrap_or(u32::MAX), gid.unwrap_or(u32::MAX));
                    answer(libc::fchownat(here, c_path(path).as_ptr(), uid, gid, nofollow(follow)))
                }
                Call::Utimes { path, atime, mtime, follow } => {
                    let times = [atime, mtime].map(|time| match *time {
                        Time::Omit => libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT },
                        Time::Now => libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_NOW },
                        Time::At(seconds) => libc::timespec { tv_sec: seconds.into(), tv_nsec: 0 },
                    });
                    let path = c_path(path);
                    answer(libc::utimensat(here, path.as_ptr(), times.as_ptr(), nofollow(follow)))
                }
                Call::Truncate { path, size } => {
                    answer(libc::truncate(c_path(path).as_ptr(), (*size).into()))
                }
                Call::Xattr { path, write: true, follow } => {
                    let path = c_path(path);
                    let remove = if *follow { libc::removexattr } else { libc::lremovexattr };
                    answer(remove(path.as_ptr(), XATTR.as_ptr()))
                }
                Call::Xattr { path, follow, .. } => {
                    let (path, nothing) = (c_path(path), std::ptr::null_mut());
                    let get = if *follow { libc::getxattr } else { libc::lgetxattr };
                    answer(get(path.as_ptr(), XATTR.as_ptr(), nothing, 0) as i64)
                }
                Call::Write { path } => {
                    let file = libc::open(c_path(path).as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                    answer(file)?;
                    let written = answer(libc::write(file, b"w".as_ptr().cast(), 1) as i64);
                    libc::close(file);
                    written
                }
            }
        }
    }

    fn unnamed(&self, dir: &str, mode: u32, name: Option<&str>) -> Result<(), i32> {
        // SAFETY: the paths are strings that live until the calls are over.
        unsafe {
            let flags = libc::O_TMPFILE | libc::O_RDWR | libc::O_CLOEXEC;
            let file = libc::open(c_path(dir).as_ptr(), flags, mode);
            answer(file)?;
            let named = name.map_or(Ok(()), |name| {
                let (number, name) = (c_path(&file.to_string()), c_path(name));
                let follow = libc::AT_SYMLINK_FOLLOW;
                answer(libc::linkat(
                    self.descriptors,
                    number.as_ptr(),
                    libc::AT_FDCWD,
                    name.as_ptr(),
                    follow,
                ))
            });
            libc::close(file);
            named
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: it was opened by `enter` and nobody else has it.
        unsafe { libc::close(self.descriptors) };
    }
}
