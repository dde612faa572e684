//! Random advisory locks, compared with a model of single bytes and with the host's kernel.

use crate::model::volumes::{HeapVolume, ROOT, file, now, store};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use sabfs::errno::Errno;
use sabfs::store::{Store, runtime as rt};
use sabfs::vfs::LockMode::{self, Exclusive, Shared};
use sabfs::vfs::{Ino, LockOwner, LockRange, Volume};

/// `SABFS_LONG` runs many times as many, with another seed each time.
fn config(cases: u32) -> Config {
    let long = std::env::var_os("SABFS_LONG").is_some();
    Config {
        cases: if long { cases * 50 } else { cases },
        failure_persistence: None,
        rng_seed: if long { RngSeed::Random } else { RngSeed::Fixed(7) },
        ..Config::default()
    }
}

/// What an owner, by its number, does.
#[derive(Clone, Debug)]
enum Step {
    Lock { owner: usize, mode: LockMode, start: i64, len: i64 },
    Unlock { owner: usize, start: i64, len: i64 },
    Test { owner: usize, mode: LockMode, start: i64, len: i64 },
    Flock { owner: usize, mode: LockMode },
    Funlock { owner: usize },
    Close { owner: usize },
}

fn mode() -> impl Strategy<Value = LockMode> {
    prop_oneof![Just(Shared), Just(Exclusive)]
}

/// Few bytes, so that ranges meet, at the start and at the end of all that there can be.
fn stretch() -> impl Strategy<Value = (i64, i64)> {
    prop_oneof![
        10 => (0..BYTES as i64, 0_i64..10),
        2 => (0..BYTES as i64, -10_i64..0),
        1 => (i64::MAX - 5..=i64::MAX, -8_i64..8),
        1 => (-2_i64..3, Just(i64::MAX)),
        1 => (any::<i64>(), any::<i64>()),
    ]
}

fn step(owners: usize) -> impl Strategy<Value = Step> {
    let owner = 0..owners;
    prop_oneof![
        8 => (owner.clone(), mode(), stretch())
            .prop_map(|(owner, mode, (start, len))| Step::Lock { owner, mode, start, len }),
        4 => (owner.clone(), stretch())
            .prop_map(|(owner, (start, len))| Step::Unlock { owner, start, len }),
        2 => (owner.clone(), mode(), stretch())
            .prop_map(|(owner, mode, (start, len))| Step::Test { owner, mode, start, len }),
        6 => (owner.clone(), mode()).prop_map(|(owner, mode)| Step::Flock { owner, mode }),
        1 => owner.clone().prop_map(|owner| Step::Funlock { owner }),
        1 => owner.prop_map(|owner| Step::Close { owner }),
    ]
}

/// Bytes that the models look at one by one.
const BYTES: usize = 24;

/// Several owners of two clients: processes and open files, some of the same number.
struct Owners {
    volumes: Vec<HeapVolume>,
    ino: Ino,
    owners: Vec<(usize, LockOwner)>,
}

impl Owners {
    fn new() -> Self {
        let first = Volume::format(store(200), 1, now, [7; 32]).unwrap();
        let second = Volume::attach(first.image().store().clone(), 2, now).unwrap();
        let ino = first.create(ROOT, b"f", &file()).unwrap().ino;
        first.hold(ino).unwrap();
        second.hold(ino).unwrap();
        let owners = vec![
            (0, LockOwner::process(1, 11)),
            (0, LockOwner::process(2, 12)),
            (0, LockOwner::open_file(1, 11)),
            (1, LockOwner::process(1, 21)),
            (1, LockOwner::open_file(u64::MAX, 22)),
        ];
        Self { volumes: vec![first, second], ino, owners }
    }

    fn step(&self, step: &Step) -> Result<Option<(usize, LockMode, LockRange)>, Errno> {
        let of = |owner: usize| (&self.volumes[self.owners[owner].0], self.ino, &self.owners[owner].1);
        match *step {
            Step::Lock { owner, mode, start, len } => {
                let (volume, ino, owner) = of(owner);
                volume.lock(ino, owner, mode, LockRange::new(start, len)?, None)?;
            }
            Step::Unlock { owner, start, len } => {
                let (volume, ino, owner) = of(owner);
                volume.unlock(ino, owner, LockRange::new(start, len)?)?;
            }
            Step::Test { owner, mode, start, len } => {
                let (volume, ino, owner) = of(owner);
                let found = volume.test_lock(ino, owner, mode, LockRange::new(start, len)?)?;
                return Ok(found.map(|lock| {
                    let owner = (lock.client as usize - 1, lock.owner);
                    let owner = self.owners.iter().position(|&other| other == owner).unwrap();
                    (owner, lock.mode, lock.range)
                }));
            }
            Step::Flock { owner, mode } => {
                let (volume, ino, owner) = of(owner);
                volume.flock(ino, owner, mode, None)?;
            }
            Step::Funlock { owner } => {
                let (volume, ino, owner) = of(owner);
                volume.funlock(ino, owner)?;
            }
            Step::Close { owner } => {
                let (volume, ino, owner) = of(owner);
                volume.release_owner(ino, owner)?;
            }
        }
        Ok(None)
    }
}

/// What each owner has locked, place by place.
#[derive(Clone, Default)]
struct Naive {
    bytes: Vec<[Option<LockMode>; PLACES]>,
    whole: Vec<Option<LockMode>>,
}

/// The first and the last bytes, and between them one place for all others.
const PLACES: usize = 60 + 1 + 40;

/// The places of a range; none when it ends among those that have none of their own.
fn places(range: LockRange) -> Option<std::ops::RangeInclusive<usize>> {
    const FAR: u64 = LockRange::END - 39;
    let place = |at: u64| match at {
        0..60 => Some(at as usize),
        FAR.. => Some(61 + (at - FAR) as usize),
        _ => None,
    };
    Some(place(range.start)?..=place(range.end)?)
}

fn clash(a: LockMode, b: Option<LockMode>) -> bool {
    b.is_some_and(|b| a == Exclusive || b == Exclusive)
}

impl Naive {
    fn new(owners: usize) -> Self {
        Self { bytes: vec![[None; PLACES]; owners], whole: vec![None; owners] }
    }

    /// Stretches of one mode that an owner has, as places.
    fn runs(&self, owner: usize) -> Vec<(usize, usize, LockMode)> {
        let mut runs: Vec<(usize, usize, LockMode)> = Vec::new();
        for (at, mode) in self.bytes[owner].iter().enumerate() {
            match (mode, runs.last_mut()) {
                (Some(mode), Some(run)) if run.1 + 1 == at && run.2 == *mode => run.1 = at,
                (Some(mode), _) => runs.push((at, at, *mode)),
                (None, _) => {}
            }
        }
        runs
    }

    fn step(&mut self, step: &Step) -> Result<Option<(usize, usize)>, Errno> {
        match *step {
            Step::Lock { owner, mode, start, len } => {
                let places = places(LockRange::new(start, len)?).unwrap();
                for (other, bytes) in self.bytes.iter().enumerate() {
                    if other != owner && places.clone().any(|at| clash(mode, bytes[at])) {
                        return Err(Errno::EAGAIN);
                    }
                }
                self.bytes[owner][places].fill(Some(mode));
            }
            Step::Unlock { owner, start, len } => {
                self.bytes[owner][places(LockRange::new(start, len)?).unwrap()].fill(None);
            }
            Step::Test { owner, mode, start, len } => {
                let places = places(LockRange::new(start, len)?).unwrap();
                let runs = (0..self.bytes.len()).filter(|&other| other != owner).flat_map(|other| {
                    self.runs(other).into_iter().map(move |(from, to, mode)| (from, to, other, mode))
                });
                let clashes = runs.filter(|&(from, to, _, other)| {
                    from <= *places.end() && *places.start() <= to && clash(mode, Some(other))
                });
                let first = clashes.min_by_key(|&(from, to, ..)| (from, to));
                return Ok(first.map(|(from, to, ..)| (from, to)));
            }
            Step::Flock { owner, mode } => {
                if self.whole[owner] != Some(mode) {
                    self.whole[owner] = None;
                    if self.whole.iter().any(|&other| clash(mode, other)) {
                        return Err(Errno::EAGAIN);
                    }
                    self.whole[owner] = Some(mode);
                }
            }
            Step::Funlock { owner } => self.whole[owner] = None,
            Step::Close { owner } => {
                self.bytes[owner].fill(None);
                self.whole[owner] = None;
            }
        }
        Ok(None)
    }

    /// How many locks that makes when neighbours are one.
    fn count(&self) -> usize {
        let ranges: usize = (0..self.bytes.len()).map(|owner| self.runs(owner).len()).sum();
        ranges + self.whole.iter().flatten().count()
    }
}

/// Whether the model has places for all of a step's bytes.
fn in_model(step: &Step) -> bool {
    match *step {
        Step::Lock { start, len, .. }
        | Step::Unlock { start, len, .. }
        | Step::Test { start, len, .. } => {
            LockRange::new(start, len).is_ok_and(|range| places(range).is_some())
        }
        _ => true,
    }
}

#[test]
fn locks_are_those_of_single_bytes() {
    let steps = prop::collection::vec(step(5).prop_filter("too far", in_model), 1..120);
    TestRunner::new(config(400))
        .run(&steps, |steps| {
            let (owners, mut naive) = (Owners::new(), Naive::new(5));
            for step in &steps {
                match (owners.step(step), naive.step(step)) {
                    (Ok(Some((owner, mode, range))), Ok(Some(first))) => {
                        // Several may begin at the first byte: it is one of those that are in the way.
                        let found = places(range).unwrap();
                        prop_assert_eq!(
                            (*found.start(), *found.end()),
                            (first.0, first.1),
                            "{:?}",
                            step
                        );
                        prop_assert!(naive.runs(owner).contains(&(first.0, first.1, mode)));
                    }
                    (mine, expected) => {
                        prop_assert_eq!(
                            mine.map(|found| found.is_some()),
                            expected.map(|e| e.is_some())
                        );
                    }
                }
                let count = owners.volumes[0].image().store().load(rt::LOCK_COUNT);
                prop_assert_eq!(count as usize, naive.count(), "{:?}", step);
            }
            Ok(())
        })
        .unwrap();
}

#[cfg(target_os = "linux")]
mod host {
    use super::*;
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;
    use tempfile::NamedTempFile;

    /// Open files of one temporary file, and this process as one more owner, the last.
    pub struct Host {
        named: NamedTempFile,
        files: Vec<File>,
    }

    fn answer(result: i32) -> Result<(), Errno> {
        match result {
            -1 => {
                let number = io::Error::last_os_error().raw_os_error().unwrap();
                Err(Errno::from_linux(number).unwrap_or_else(|| panic!("errno {number}")))
            }
            _ => Ok(()),
        }
    }

    impl Host {
        pub fn new(files: usize) -> Self {
            let named = NamedTempFile::new().unwrap();
            let files = (0..files).map(|_| named.reopen().unwrap()).collect();
            Self { named, files }
        }

        fn fcntl(
            &self,
            owner: usize,
            test: bool,
            kind: i32,
            start: i64,
            len: i64,
        ) -> Result<libc::flock, Errno> {
            // The last owner is the process: any descriptor will do.
            let process = owner == self.files.len();
            let file = self.files.get(owner).unwrap_or(&self.files[0]);
            let command = match (process, test) {
                (true, true) => libc::F_GETLK,
                (true, false) => libc::F_SETLK,
                (false, true) => libc::F_OFD_GETLK,
                (false, false) => libc::F_OFD_SETLK,
            };
            let mut lock = libc::flock {
                l_type: kind as i16,
                l_whence: libc::SEEK_SET as i16,
                l_start: start,
                l_len: len,
                l_pid: 0,
            };
            // SAFETY: the descriptor is open and the command takes a lock's description.
            answer(unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) })?;
            Ok(lock)
        }

        pub fn step(&mut self, step: &Step) -> Result<bool, Errno> {
            let kind = |mode| if mode == Shared { libc::F_RDLCK } else { libc::F_WRLCK };
            match *step {
                Step::Lock { owner, mode, start, len } => {
                    self.fcntl(owner, false, kind(mode), start, len)?;
                }
                Step::Unlock { owner, start, len } => {
                    self.fcntl(owner, false, libc::F_UNLCK, start, len)?;
                }
                Step::Test { owner, mode, start, len } => {
                    let found = self.fcntl(owner, true, kind(mode), start, len)?;
                    return Ok(found.l_type != libc::F_UNLCK as i16);
                }
                Step::Flock { owner, mode } => {
                    let operation = if mode == Shared { libc::LOCK_SH } else { libc::LOCK_EX };
                    self.flock(owner, operation | libc::LOCK_NB)?;
                }
                Step::Funlock { owner } => self.flock(owner, libc::LOCK_UN)?,
                // Closing takes the process's own locks away too.
                Step::Close { owner } => self.files[owner] = self.named.reopen().unwrap(),
            }
            Ok(false)
        }

        fn flock(&self, owner: usize, operation: i32) -> Result<(), Errno> {
            // SAFETY: the descriptor is open.
            answer(unsafe { libc::flock(self.files[owner].as_raw_fd(), operation) })
        }
    }
}

/// Open files and one process, on the host and here, get the same answers and find the same bytes locked.
#[cfg(target_os = "linux")]
#[test]
fn locks_are_those_of_the_host() {
    const FILES: usize = 4;
    // The process is an owner of byte ranges only: `flock` and closing are of open files.
    let step = step(FILES + 1).prop_map(|mut step| {
        match &mut step {
            Step::Flock { owner, .. } | Step::Funlock { owner } | Step::Close { owner } => {
                *owner %= FILES
            }
            _ => {}
        }
        step
    });
    let found = |mine: &Owners, step: &Step| mine.step(step).map(|found| found.is_some());
    let steps = prop::collection::vec(step, 1..60);
    let refused = std::sync::atomic::AtomicU32::new(0);
    TestRunner::new(config(150))
        .run(&steps, |steps| {
            let mut host = host::Host::new(FILES + 1);
            let volume = Volume::format(store(200), 1, now, [7; 32]).unwrap();
            let ino = volume.create(ROOT, b"f", &file()).unwrap().ino;
            volume.hold(ino).unwrap();
            let process = LockOwner::process(9, 9);
            // The last open file locks nothing: it only looks.
            let mut owners: Vec<_> = (0..=FILES as u64).map(|id| LockOwner::open_file(id, 0)).collect();
            owners.push(process);
            let number = |owner: usize| if owner == FILES { FILES + 1 } else { owner };
            let owners = owners.into_iter().map(|owner| (0, owner)).collect();
            let mine = Owners { volumes: vec![volume], ino, owners };
            for step in &steps {
                let mut step = step.clone();
                match &mut step {
                    Step::Lock { owner, .. } | Step::Unlock { owner, .. } | Step::Test { owner, .. } => {
                        *owner = number(*owner);
                    }
                    _ => {}
                }
                let (here, there) = (found(&mine, &step), host.step(&step));
                prop_assert_eq!(here, there, "{:?}", step);
                if there.is_err() {
                    refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                if let Step::Close { .. } = step {
                    mine.volumes[0].release_owner(ino, &process).unwrap();
                }
                for at in (0..BYTES as i64 + 12).chain(i64::MAX - 14..=i64::MAX) {
                    for mode in [Shared, Exclusive] {
                        let look = Step::Test { owner: FILES, mode, start: at, len: 1 };
                        prop_assert_eq!(found(&mine, &look), host.step(&look), "{:?} {:?}", step, look);
                    }
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(refused.into_inner() > 100, "hardly anything was refused");
}
