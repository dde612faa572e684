//! What a mount must do that no suite asks for: other users, other mounts, and its end.
//!
//! They need root and /dev/fuse, and say so where they are missing.

#![cfg(all(target_os = "linux", feature = "tool"))]

use rustix::fs::{XattrFlags, lsetxattr};
use rustix::mount::MountFlags;
use sabfs::core::Image;
use sabfs::core::check::check;
use sabfs::fuse::{Mount, MountOptions, Permissions};
use sabfs::store::HeapStore;
use sabfs::store::runtime::{self as rt, Durability};
use sabfs::vfs::Volume;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions as Mode};
use std::io::{Read, Write};
use std::os::unix::fs::{DirEntryExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const STORE_SIZE_BYTES: u64 = 64 << 20;
/// A user and a group without any rights.
const NOBODY: u32 = 65_534;

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

fn memory_store() -> Arc<HeapStore> {
    let store = Arc::new(HeapStore::new(STORE_SIZE_BYTES));
    Image::prepare(&store, 1, Durability::Memory).unwrap();
    store
}

/// A mounted volume in memory; `mount` is none once it has been unmounted.
struct Mounted {
    volume: Arc<Volume<Arc<HeapStore>>>,
    mount: Option<Mount>,
    folder: TempDir,
}

impl Mounted {
    /// None, with a printed reason, where nothing can be mounted.
    fn new(permissions: Permissions) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: it needs root");
            return None;
        }
        if !Path::new("/dev/fuse").exists() {
            println!("skipped: there is no /dev/fuse");
            return None;
        }
        let volume = Arc::new(Volume::format(memory_store(), 1, now_ns, [7; 32]).unwrap());
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Mode::from_mode(0o755)).unwrap();
        let options = MountOptions { permissions, read_only: false, for_all_users: true };
        let mount = Mount::new(volume.clone(), folder.path(), options).unwrap();
        fs::set_permissions(folder.path(), Mode::from_mode(0o755)).unwrap();
        Some(Self { volume, mount: Some(mount), folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, mode: u32, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Mode::from_mode(mode)).unwrap();
        path
    }

    fn unmount(&mut self) {
        self.mount.take().unwrap().unmount().unwrap();
        assert!(!is_mounted(self.folder.path()), "it left its mount");
        let report = check(self.volume.core());
        assert!(report.is_clean(), "{report}");
    }
}

fn is_mounted(directory: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == directory.to_str())
}

/// Runs a shell command as somebody without rights, with the file as `$1`.
fn as_nobody(command: &str, path: &Path) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", command, "sh"]).arg(path).current_dir("/");
    shell.uid(NOBODY).gid(NOBODY).output().unwrap()
}

#[test]
fn a_directory_that_others_may_not_search_hides_its_files_from_them() {
    for permissions in [Permissions::Kernel, Permissions::Volume] {
        let Some(mut mounted) = Mounted::new(permissions) else { return };
        fs::create_dir(mounted.path("private")).unwrap();
        let file = mounted.write("private/file", 0o666, "secret");
        let private = mounted.path("private");
        fs::set_permissions(&private, Mode::from_mode(0o700)).unwrap();
        // Now the kernel knows the way.
        assert_eq!(fs::read_to_string(&file).unwrap(), "secret");
        for command in ["cat \"$1\"", "stat \"$1\"", "echo x >>\"$1\"", "rm -f \"$1\""] {
            let output = as_nobody(command, &file);
            assert!(!output.status.success(), "{permissions:?}: {command}: {output:?}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "secret");
        fs::set_permissions(&private, Mode::from_mode(0o711)).unwrap();
        assert_eq!(as_nobody("cat \"$1\"", &file).stdout, b"secret");
        mounted.unmount();
    }
}

#[test]
fn a_file_that_somebody_writes_to_loses_its_privileges() {
    for permissions in [Permissions::Kernel, Permissions::Volume] {
        let Some(mut mounted) = Mounted::new(permissions) else { return };
        let file = mounted.write("file", 0o6777, "#!/bin/sh\n");
        // Version 2, effective, CAP_NET_RAW permitted.
        let capability: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0];
        let bytes: Vec<u8> = capability.iter().flat_map(|word| word.to_le_bytes()).collect();
        lsetxattr(&file, "security.capability", &bytes, XattrFlags::CREATE).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o6777);
        let output = as_nobody("echo 'exit 0' >>\"$1\"", &file);
        assert!(output.status.success(), "{permissions:?}: {output:?}");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o777, "{permissions:?}");
        let mut buffer = [0; 64];
        let read = rustix::fs::lgetxattr(&file, "security.capability", &mut buffer[..]);
        assert_eq!(read, Err(rustix::io::Errno::NODATA), "{permissions:?}");
        mounted.unmount();
    }
}

#[test]
fn privileged_attributes_are_not_listed_to_others() {
    for permissions in [Permissions::Kernel, Permissions::Volume] {
        let Some(mut mounted) = Mounted::new(permissions) else { return };
        let file = mounted.write("file", 0o644, "");
        for name in ["trusted.hidden", "user.seen", "security.seen"] {
            lsetxattr(&file, name, b"x", XattrFlags::CREATE).unwrap();
        }
        let names = |output: Output| {
            let text = String::from_utf8(output.stdout).unwrap();
            let mut names: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            names.sort();
            names
        };
        let command = "python3 -c 'import os, sys; print(*os.listxattr(sys.argv[1]))' \"$1\"";
        if !Command::new("python3").arg("--version").output().is_ok_and(|done| done.status.success()) {
            println!("skipped: there is no python3 to list attributes as another user");
            return;
        }
        assert_eq!(names(as_nobody(command, &file)), ["security.seen", "user.seen"], "{permissions:?}");
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", command, "sh"]).arg(&file).output().unwrap();
        assert_eq!(names(output), ["security.seen", "trusted.hidden", "user.seen"], "{permissions:?}");
        mounted.unmount();
    }
}

#[test]
fn times_before_1970_are_kept() {
    let Some(mut mounted) = Mounted::new(Permissions::Kernel) else { return };
    let file = File::create(mounted.path("file")).unwrap();
    for before_ns in [0, 1, 499_999_999, 1_000_000_000, 1_000_000_001, 86_400_000_000_001] {
        let time = UNIX_EPOCH - Duration::from_nanos(before_ns);
        let times = FileTimes::new().set_accessed(time).set_modified(time);
        file.set_times(times).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.modified().unwrap(), time, "{before_ns} ns before 1970");
        assert_eq!(metadata.accessed().unwrap(), time, "{before_ns} ns before 1970");
    }
    drop(file);
    mounted.unmount();
}

#[test]
fn directories_show_the_numbers_that_their_inodes_have() {
    let Some(mut mounted) = Mounted::new(Permissions::Kernel) else { return };
    fs::create_dir_all(mounted.path("a/b")).unwrap();
    mounted.write("a/file", 0o644, "");
    for directory in ["", "a", "a/b"] {
        let directory = mounted.path(directory);
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let ino = fs::symlink_metadata(entry.path()).unwrap().ino();
            assert_eq!(entry.ino(), ino, "{}", entry.path().display());
        }
        // The library leaves these two out.
        let opened = File::open(&directory).unwrap();
        let mut buffer = Vec::with_capacity(4096);
        let mut entries = rustix::fs::RawDir::new(&opened, buffer.spare_capacity_mut());
        let mut dots = 0;
        while let Some(entry) = entries.next().map(Result::unwrap) {
            let name = entry.file_name().to_str().unwrap();
            let own = if directory == mounted.folder.path() { "." } else { name };
            if name == "." || name == ".." {
                let ino = fs::metadata(directory.join(own)).unwrap().ino();
                assert_eq!(entry.ino(), ino, "{name} of {}", directory.display());
                dots += 1;
            }
        }
        assert_eq!(dots, 2);
    }
    mounted.unmount();
}

#[test]
fn a_mount_in_use_ends_and_keeps_what_was_written() {
    let Some(mut mounted) = Mounted::new(Permissions::Kernel) else { return };
    let mut file =
        OpenOptions::new().read(true).write(true).create_new(true).open(mounted.path("file")).unwrap();
    file.write_all(b"written").unwrap();
    mounted.unmount();
    let error = file.read(&mut [0; 1]).unwrap_err();
    assert_eq!(rustix::io::Errno::from_io_error(&error), Some(rustix::io::Errno::NOTCONN));
    let attr = mounted.volume.lookup(2, b"file").unwrap();
    let mut bytes = [0; 8];
    assert_eq!(mounted.volume.read(attr.ino, 0, &mut bytes), Ok(7));
    assert_eq!(&bytes[..7], b"written");
}

#[test]
fn only_the_own_mount_ends() {
    let Some(mut below) = Mounted::new(Permissions::Kernel) else { return };
    below.write("below", 0o644, "");
    let inner = below.path("inner");
    fs::create_dir(&inner).unwrap();
    let mount = |volume: &Mounted| {
        let options =
            MountOptions { permissions: Permissions::Kernel, read_only: false, for_all_users: true };
        Mount::new(volume.volume.clone(), &inner, options).unwrap()
    };
    let (Some(first), Some(second)) =
        (Mounted::new(Permissions::Kernel), Mounted::new(Permissions::Kernel))
    else {
        return;
    };
    first.write("first", 0o644, "");
    second.write("second", 0o644, "");
    // Two of them in one place, as `mount` allows.
    let lower = mount(&first);
    let upper = mount(&second);
    assert!(inner.join("second").exists());
    let umount = Command::new("umount").arg(&inner).status().unwrap();
    assert!(umount.success());
    assert!(inner.join("first").exists());
    upper.unmount().unwrap();
    assert!(inner.join("first").exists(), "the mount below has been unmounted, too");
    lower.unmount().unwrap();
    assert!(!is_mounted(&inner));
    for mut mounted in [first, second] {
        mounted.unmount();
    }
    below.unmount();
}

#[test]
fn a_read_only_mount_stays_so_when_it_is_remounted() {
    let Some(mut mounted) = Mounted::new(Permissions::Kernel) else { return };
    mounted.write("file", 0o644, "content");
    mounted.unmount();
    let store = mounted.volume.image().store().clone();
    sabfs::store::Store::store(&store, rt::READ_ONLY, 1);
    let options =
        MountOptions { permissions: Permissions::Kernel, read_only: true, for_all_users: true };
    let mount = Mount::new(mounted.volume.clone(), mounted.folder.path(), options).unwrap();
    assert_eq!(fs::read_to_string(mounted.path("file")).unwrap(), "content");
    let refused = |name: &str| {
        let error = fs::write(mounted.path(name), "new").unwrap_err();
        assert_eq!(rustix::io::Errno::from_io_error(&error), Some(rustix::io::Errno::ROFS), "{name}");
    };
    refused("file");
    refused("new");
    rustix::mount::mount_remount(mounted.folder.path(), MountFlags::empty(), "").unwrap();
    refused("file");
    refused("new");
    mount.unmount().unwrap();
}

/// Numbers that look random (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What others may cause who take names away and give them at the same time.
fn is_expected(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(error.kind(), Kind::NotFound | Kind::AlreadyExists)
}

/// One of several who work on the same few names. Each file holds its own inode number as text, which
/// whoever has it open must find in it, with or without a name.
fn work_on_names(directory: &Path, seed: u64, until: Instant) -> u64 {
    let mut random = Random(seed);
    let name = |random: &mut Random| {
        directory.join(format!("d{}", random.below(2))).join(format!("n{}", random.below(6)))
    };
    let mut opened: Vec<File> = Vec::new();
    let mut count = 0;
    while Instant::now() < until {
        let (one, other) = (name(&mut random), name(&mut random));
        let done = match random.below(7) {
            0 => {
                OpenOptions::new().read(true).write(true).create_new(true).open(&one).and_then(|file| {
                    write!(&file, "{}", file.metadata()?.ino())?;
                    opened.push(file);
                    Ok(())
                })
            }
            1 => fs::remove_file(&one),
            2 => fs::hard_link(&one, &other),
            3 => fs::rename(&one, &other),
            4 => fs::metadata(&one).map(drop),
            5 => File::open(&one).map(|file| opened.push(file)),
            _ => {
                if opened.len() > 16 {
                    opened.swap_remove(random.below(16) as usize);
                }
                for file in &opened {
                    let mut bytes = [0; 32];
                    let len = std::os::unix::fs::FileExt::read_at(file, &mut bytes, 0).unwrap();
                    let expected = file.metadata().unwrap().ino().to_string();
                    // It is empty between being made and being written.
                    assert!(len == 0 || bytes[..len] == *expected.as_bytes());
                }
                Ok(())
            }
        };
        count += u64::from(done.is_ok());
        if let Err(error) = done {
            assert!(is_expected(&error), "{error}");
        }
    }
    count
}

#[test]
fn names_come_and_go_while_the_kernel_forgets() {
    names_come_and_go(Permissions::Kernel);
}

#[test]
fn names_come_and_go_while_nothing_is_remembered() {
    names_come_and_go(Permissions::Volume);
}

fn names_come_and_go(permissions: Permissions) {
    let Some(mut mounted) = Mounted::new(permissions) else { return };
    for directory in ["d0", "d1"] {
        fs::create_dir(mounted.path(directory)).unwrap();
    }
    let until = Instant::now() + Duration::from_secs(2);
    let root = mounted.folder.path();
    let counts: Vec<u64> = thread::scope(|scope| {
        let workers: Vec<_> = (1..=4)
            .map(|seed| scope.spawn(move || work_on_names(root, seed << 40 | 77, until)))
            .collect();
        let mut forgotten = 0;
        while Instant::now() < until {
            // This makes the kernel forget every name that is not in use.
            rustix::mount::mount_remount(root, MountFlags::empty(), "").unwrap();
            forgotten += 1;
            thread::sleep(Duration::from_millis(3));
        }
        assert!(forgotten > 10);
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(counts.iter().all(|&count| count > 100), "{counts:?}");
    for directory in ["d0", "d1"] {
        fs::remove_dir_all(mounted.path(directory)).unwrap();
    }
    mounted.unmount();
    let empty = Volume::format(memory_store(), 1, now_ns, [7; 32]).unwrap().statfs().unwrap();
    assert_eq!(mounted.volume.statfs().unwrap().used_inodes, empty.used_inodes, "inodes are left");
}
