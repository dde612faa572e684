//! A volume in a folder under `sabfs mount`: what is there after its process was ended, in order or not.
//!
//! It needs root and /dev/fuse, and says so where they are missing.

#![cfg(all(target_os = "linux", feature = "tool"))]

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SABFS: &str = env!("CARGO_BIN_EXE_sabfs");

/// A volume's folder and a directory to mount it on.
struct Place {
    folder: TempDir,
}

impl Place {
    /// None, with a printed reason, where nothing can be mounted.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: it needs root");
            return None;
        }
        if !Path::new("/dev/fuse").exists() {
            println!("skipped: there is no /dev/fuse");
            return None;
        }
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.mountpoint()).unwrap();
        assert!(Command::new(SABFS).arg("mkfs").arg(place.volume()).status().unwrap().success());
        Some(place)
    }

    fn volume(&self) -> PathBuf {
        self.folder.path().join("volume")
    }

    fn mountpoint(&self) -> PathBuf {
        self.folder.path().join("mountpoint")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mountpoint().join(name)
    }

    fn mount(&self) -> Server {
        let mut command = Command::new(SABFS);
        command.arg("mount").arg(self.volume()).arg(self.mountpoint());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("mounted on"), "{line}");
        Server { child: Some(child), mountpoint: self.mountpoint() }
    }

    fn check(&self) {
        let output = Command::new(SABFS).arg("check").arg(self.volume()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    fn is_mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.lines().any(|line| line.split(' ').nth(1) == self.mountpoint().to_str())
    }
}

/// The process that serves a mount. A test that fails leaves neither of them behind.
struct Server {
    child: Option<Child>,
    mountpoint: PathBuf,
}

impl Server {
    fn end(mut self, signal: Signal) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            _ = child.kill();
            _ = child.wait();
            _ = rustix::mount::unmount(&self.mountpoint, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

#[test]
fn everything_is_there_after_an_end_in_order() {
    let Some(place) = Place::new() else { return };
    for (round, signal) in [Signal::TERM, Signal::INT, Signal::HUP].into_iter().enumerate() {
        let server = place.mount();
        for old in 0..round {
            assert_eq!(fs::read(place.path(&format!("{old}/file"))).unwrap(), vec![old as u8; 100_000]);
        }
        fs::create_dir(place.path(&round.to_string())).unwrap();
        let path = place.path(&format!("{round}/file"));
        fs::write(&path, vec![round as u8; 100_000]).unwrap();
        // Open files do not keep the process from ending.
        let opened = File::open(&path).unwrap();
        assert!(server.end(signal).success());
        assert!(!place.is_mounted());
        drop(opened);
        place.check();
    }
}

#[test]
fn metrics_are_told_in_the_end() {
    let Some(place) = Place::new() else { return };
    let mut command = Command::new(SABFS);
    command.args(["mount", "--metrics"]).arg(place.volume()).arg(place.mountpoint());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let server = Server { child: Some(child), mountpoint: place.mountpoint() };
    let mut text = String::new();
    output.read_line(&mut text).unwrap();
    let file = File::create(place.path("file")).unwrap();
    for round in 0..10 {
        file.write_all_at(&[round; 4096], 0).unwrap();
        file.sync_all().unwrap();
    }
    // Of synchronous writes the kernel makes an fsync each.
    let flags = rustix::fs::OFlags::SYNC.bits().cast_signed();
    let synchronous = File::options().write(true).custom_flags(flags).open(place.path("file")).unwrap();
    synchronous.write_all_at(b"and this", 0).unwrap();
    assert!(server.end(Signal::TERM).success());
    output.read_to_string(&mut text).unwrap();
    assert!(text.contains("; fsyncs 11, failed 0\n"), "{text}");
    let change = text.lines().find_map(|line| line.strip_prefix("change ")).unwrap();
    let (change, durable) = change.split_once(", durable ").unwrap();
    assert_eq!(change, durable, "{text}");
    for name in ["commits 1", "journal ", "commit latency: ", "fsync latency: "] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}: {text}");
    }
    assert!(!text.contains("last failure"), "{text}");
}

#[test]
fn a_second_mount_of_a_volume_is_refused() {
    let Some(place) = Place::new() else { return };
    let server = place.mount();
    let other = place.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let output = Command::new(SABFS).arg("mount").arg(place.volume()).arg(&other).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!output.stderr.is_empty());
    fs::write(place.path("file"), "still served").unwrap();
    assert!(server.end(Signal::TERM).success());
}

#[test]
fn the_process_ends_when_somebody_else_unmounts() {
    let Some(place) = Place::new() else { return };
    let mut server = place.mount();
    fs::write(place.path("file"), "content").unwrap();
    rustix::mount::unmount(place.mountpoint(), rustix::mount::UnmountFlags::empty()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut child = server.child.take().unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it still runs");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success());
    let server = place.mount();
    assert_eq!(fs::read_to_string(place.path("file")).unwrap(), "content");
    assert!(server.end(Signal::TERM).success());
}

/// Writes generations of files, each made durable, until the server is gone; gives the last one that was.
fn write_durably(place: &Place, mut kill: impl FnMut(u32)) -> u32 {
    let mut durable = 0;
    for generation in 1.. {
        kill(generation);
        let written = || -> std::io::Result<()> {
            let path = place.path(&format!("new-{}", generation % 7));
            let mut file = File::create(&path)?;
            let bytes = vec![generation as u8; 3000 * (generation as usize % 9)];
            file.write_all(&bytes)?;
            file.write_all_at(&generation.to_le_bytes(), 30_000)?;
            fs::rename(&path, place.path("current"))?;
            file.sync_all()
        };
        match written() {
            Ok(()) => durable = generation,
            Err(_) => break,
        }
    }
    durable
}

#[test]
fn what_was_made_durable_survives_a_killed_process() {
    let Some(place) = Place::new() else { return };
    for round in 0..4_u32 {
        let server = place.mount();
        if round > 0 {
            fs::remove_file(place.path("current")).unwrap();
        }
        let pid = Pid::from_child(server.child.as_ref().unwrap());
        let mut killer = None;
        let last = write_durably(&place, |generation| {
            // While the next ones are being written, wherever that is by then.
            if generation == 30 + round && killer.is_none() {
                killer = Some(std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(u64::from(round) * 7));
                    kill_process(pid, Signal::KILL).unwrap();
                }));
            }
        });
        killer.unwrap().join().unwrap();
        drop(server);
        assert!(!place.is_mounted());
        assert!(last >= 29, "nothing was made durable before: {last}");
        place.check();
        let server = place.mount();
        let bytes = fs::read(place.path("current")).unwrap();
        let generation = u32::from_le_bytes(bytes[30_000..].try_into().unwrap());
        // The one behind it may have got there, too, without anybody being told.
        assert!(generation == last || generation == last + 1, "{generation} instead of {last}");
        let filled = 3000 * (generation as usize % 9);
        assert!(bytes[..filled].iter().all(|&byte| byte == generation as u8));
        assert!(bytes[filled..30_000].iter().all(|&byte| byte == 0));
        assert!(server.end(Signal::TERM).success());
        place.check();
    }
}
