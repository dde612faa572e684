//! Eight threads work in one tree at once: four views of the volume with two threads each.

use crate::model::operations::content;
use crate::model::volumes::{ROOT, directory, store};
use sabfs::core::check::check;
use sabfs::errno::Errno;
use sabfs::format::FileKind;
use sabfs::store::HeapStore;
use sabfs::vfs::{Ino, NewInode, RenameFlags, SetAttr, Volume};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

type SharedVolume = Volume<Arc<HeapStore>>;

const THREADS: u32 = 8;
const BLOCKS: u32 = 6_000;

fn run_time() -> Duration {
    let long = std::env::var_os("SABFS_LONG").is_some();
    Duration::from_secs(if long { 300 } else { 3 })
}

/// What a name must lead to: its file's owner says which name it was made for.
fn file(thread: u32, number: u32) -> NewInode {
    let uid = thread * 1_000_000 + number;
    NewInode { kind: FileKind::Regular, permissions: 0o600, uid, gid: 0, rdev: 0 }
}

fn name(thread: u32, number: u32) -> Vec<u8> {
    format!("{thread}-{number}").into_bytes()
}

fn bytes(thread: u32, number: u32) -> Vec<u8> {
    content((thread * 31 + number) as u8, number % 40 * 900)
}

/// A few thousand numbers, none twice in a row; no need for more.
struct Dice(u32);

impl Dice {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % end
    }
}

struct Worker {
    volume: Arc<SharedVolume>,
    number: u32,
    dirs: [Ino; 2],
    log: Ino,
    /// Which of its files exist, and in which directory.
    files: BTreeMap<u32, usize>,
    next: u32,
    logged: u32,
    dice: Dice,
}

impl Worker {
    fn run(mut self) -> Self {
        let end = Instant::now() + run_time();
        while Instant::now() < end {
            for _ in 0..20 {
                match self.dice.below(10) {
                    0..3 => self.create(),
                    3 => self.remove(),
                    4 => self.rename(),
                    5 => self.append(),
                    6 => self.temporary(),
                    7 => self.list(),
                    _ => self.look_at_others(),
                }
            }
        }
        self
    }

    fn create(&mut self) {
        let (number, dir) = (self.next, self.dice.below(2) as usize);
        self.next += 1;
        let name = name(self.number, number);
        let file = file(self.number, number);
        let attr = match self.volume.create(self.dirs[dir], &name, &file) {
            Err(Errno::ENOSPC) => return,
            attr => attr.unwrap(),
        };
        let bytes = bytes(self.number, number);
        let written = self.volume.write(attr.ino, 0, &bytes).unwrap_or(0);
        if written < bytes.len() {
            // The volume is full for now: others expect whole files only.
            self.volume.unlink(self.dirs[dir], &name).unwrap();
            return;
        }
        self.files.insert(number, dir);
    }

    fn any_file(&mut self) -> Option<(u32, usize)> {
        let index = self.dice.below(self.files.len().max(1) as u32) as usize;
        self.files.iter().nth(index).map(|(&number, &dir)| (number, dir))
    }

    fn remove(&mut self) {
        // As many as it takes to stay at a few dozen.
        while self.files.len() > 30 || self.dice.below(2) == 0 {
            let Some((number, dir)) = self.any_file() else { return };
            self.volume.unlink(self.dirs[dir], &name(self.number, number)).unwrap();
            self.files.remove(&number);
        }
    }

    fn rename(&mut self) {
        let Some((number, dir)) = self.any_file() else { return };
        let name = name(self.number, number);
        let (from, to) = (self.dirs[dir], self.dirs[1 - dir]);
        match self.volume.rename(from, &name, to, &name, RenameFlags::NOREPLACE) {
            Ok(()) => _ = self.files.insert(number, 1 - dir),
            Err(errno) => assert_eq!(errno, Errno::ENOSPC),
        }
    }

    fn append(&mut self) {
        let record = (u64::from(self.number) << 32 | u64::from(self.logged)).to_le_bytes();
        match self.volume.append(self.log, &record) {
            Ok((_, count)) => {
                assert_eq!(count, 8);
                self.logged += 1;
            }
            Err(errno) => assert_eq!(errno, Errno::ENOSPC),
        }
    }

    /// A file that is only used after its name is gone.
    fn temporary(&mut self) {
        let name = format!("{}-temporary", self.number).into_bytes();
        let Ok(attr) = self.volume.create(ROOT, &name, &file(self.number, 0)) else { return };
        self.volume.hold(attr.ino).unwrap();
        self.volume.unlink(ROOT, &name).unwrap();
        let bytes = content(self.number as u8, 20_000);
        if let Ok(written) = self.volume.write(attr.ino, 3, &bytes) {
            let mut buffer = vec![0; written];
            assert_eq!(self.volume.read(attr.ino, 3, &mut buffer), Ok(written));
            assert!(buffer == bytes[..written]);
            let set = SetAttr { size_bytes: Some(5), ..Default::default() };
            assert_eq!(self.volume.setattr(attr.ino, &set).unwrap().size_bytes, 5);
        }
        assert_eq!(self.volume.getattr(attr.ino).map(|now| now.generation), Ok(attr.generation));
        self.volume.forget(attr.ino);
    }

    /// Every file of this thread is in its directory, once, whatever the others do there.
    fn list(&mut self) {
        let mut own = Vec::new();
        let prefix = format!("{}-", self.number).into_bytes();
        let dir = self.dice.below(2) as usize;
        self.volume
            .read_dir(self.dirs[dir], 0, &mut |entry| {
                if let Some(number) = entry.name.strip_prefix(&prefix[..]) {
                    own.push(str::from_utf8(number).unwrap().parse::<u32>().unwrap());
                }
                true
            })
            .unwrap();
        own.sort_unstable();
        let expected =
            self.files.iter().filter(|(_, in_dir)| **in_dir == dir).map(|(&number, _)| number);
        assert_eq!(own, expected.collect::<Vec<_>>());
    }

    fn look_at_others(&mut self) {
        let (thread, dir) = (self.dice.below(THREADS), self.dice.below(2) as usize);
        let number = self.next.saturating_sub(self.dice.below(30));
        match self.volume.lookup(self.dirs[dir], &name(thread, number)) {
            Ok(attr) => {
                assert_eq!(attr.uid, thread * 1_000_000 + number, "a name led to another's file");
                let mut buffer = vec![0; 40_000];
                let Ok(count) = self.volume.read(attr.ino, 0, &mut buffer) else { return };
                // Nothing says that the number still stands for the file; but if it does, it is whole.
                let later = self.volume.getattr(attr.ino);
                if later.is_ok_and(|later| later.generation == attr.generation) && count > 0 {
                    assert!(buffer[..count] == bytes(thread, number)[..], "a file is torn");
                }
            }
            Err(errno) => assert_eq!(errno, Errno::ENOENT),
        }
    }
}

#[test]
fn threads_share_a_tree() {
    let store = store(BLOCKS);
    let clock = || 1;
    let first = Volume::format(store.clone(), 1, clock, [3; 32]).unwrap();
    let dirs = [b"a", b"b"].map(|name| first.create(ROOT, name, &directory()).unwrap().ino);
    let log = first.create(ROOT, b"log", &file(0, 0)).unwrap().ino;
    let views: Vec<Arc<SharedVolume>> = (0..THREADS / 2)
        .map(|view| Arc::new(Volume::attach(store.clone(), view + 2, clock).unwrap()))
        .collect();
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let volume = views[number as usize / 2].clone();
            let (files, dice) = (BTreeMap::new(), Dice(number));
            let worker = Worker { volume, number, dirs, log, files, next: 1, logged: 0, dice };
            std::thread::spawn(move || worker.run())
        })
        .collect();
    let workers: Vec<Worker> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let report = check(first.core());
    assert!(report.is_clean(), "{report}");
    for worker in &workers {
        for (&number, &dir) in &worker.files {
            let attr = first.lookup(dirs[dir], &name(worker.number, number)).unwrap();
            let expected = bytes(worker.number, number);
            let mut buffer = vec![0; expected.len() + 1];
            assert_eq!(first.read(attr.ino, 0, &mut buffer), Ok(expected.len()));
            assert!(buffer[..expected.len()] == expected);
        }
    }
    let total: usize = workers.iter().map(|worker| worker.files.len()).sum();
    let names = dirs.map(|dir| first.count_names(dir).unwrap()).iter().sum::<u64>();
    assert_eq!(names, total as u64);
    assert_eq!(first.statfs().unwrap().used_inodes, total as u64 + 5, "all else is gone");
    check_log(&first, log, &workers);
    let created: u32 = workers.iter().map(|worker| worker.next).sum();
    println!("{created} files created, {total} left");
}

/// Every record is there once, each thread's in their order.
fn check_log(volume: &SharedVolume, log: Ino, workers: &[Worker]) {
    let size = volume.getattr(log).unwrap().size_bytes;
    let mut bytes = vec![0; size as usize];
    assert_eq!(volume.read(log, 0, &mut bytes), Ok(bytes.len()));
    let mut seen = vec![0; workers.len()];
    for record in bytes.as_chunks::<8>().0 {
        let record = u64::from_le_bytes(*record);
        let (thread, sequence) = ((record >> 32) as usize, record as u32);
        assert_eq!(sequence, seen[thread]);
        seen[thread] += 1;
    }
    assert_eq!(seen, workers.iter().map(|worker| worker.logged).collect::<Vec<_>>());
}

/// Two names take turns with one inode number: looking one up never shows the other's file.
#[test]
fn names_lead_to_their_own_files() {
    let store = store(100);
    let clock = || 1;
    let first = Volume::format(store.clone(), 1, clock, [3; 32]).unwrap();
    let second = Volume::attach(store, 2, clock).unwrap();
    let end = Instant::now() + run_time() / 3;
    let churn = std::thread::spawn(move || {
        while Instant::now() < end {
            for (name, number) in [(b"x", 1), (b"y", 2)] {
                first.create(ROOT, name, &file(0, number)).unwrap();
                first.unlink(ROOT, name).unwrap();
            }
        }
    });
    let mut found = 0;
    while Instant::now() < end {
        for (name, uid) in [(b"x", 1), (b"y", 2)] {
            match second.lookup(ROOT, name) {
                Ok(attr) => {
                    assert_eq!(attr.uid, uid);
                    found += 1;
                }
                Err(errno) => assert_eq!(errno, Errno::ENOENT),
            }
        }
    }
    churn.join().unwrap();
    assert!(found > 0, "the threads never met");
}
