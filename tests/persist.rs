//! Volumes on the host's disk: the file system, a keeper thread and real files together.

#![cfg(unix)]

use sabfs::core::Image;
use sabfs::errno::Errno;
use sabfs::format::FileKind;
use sabfs::persist::{
    FileDevice, Found, Keeper, MemDevice, OpenOptions, Turn, VolumeFolder, stop_keeper,
};
use sabfs::store::HeapStore;
use sabfs::store::Store;
use sabfs::store::runtime::{self as rt, Durability};
use sabfs::vfs::{Committer, NewInode, Volume};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

const ROOT: u32 = 2;
const RANDOM: [u8; 32] = *b"sixteen bytes ID and hashing key";
const NOW: fn() -> i64 = || 1_700_000_000_000_000_000;

type Shared = Arc<HeapStore>;

fn options() -> OpenOptions {
    let mut key = 0_u64;
    let random = move || {
        key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
        key
    };
    OpenOptions::new(RANDOM[..16].try_into().unwrap(), Box::new(random))
}

fn clock() -> Box<dyn FnMut() -> u64 + Send> {
    let start = Instant::now();
    Box::new(move || start.elapsed().as_millis() as u64)
}

fn file() -> NewInode {
    NewInode { kind: FileKind::Regular, permissions: 0o644, uid: 0, gid: 0, rdev: 0 }
}

/// A mounted volume in a folder, with its keeper in a thread.
struct Mounted {
    volume: Volume<Shared>,
    keeper: JoinHandle<()>,
    _folder: VolumeFolder,
}

fn mount(path: &Path, durability: Durability) -> Mounted {
    let folder = VolumeFolder::open(path).unwrap();
    let (image_device, journal_device) = folder.devices().unwrap();
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(16_384)));
    Image::prepare(&store, 1, durability).unwrap();
    let image = Image::attach(store.clone(), 1).unwrap();
    let (mut keeper, found) = Keeper::<_, FileDevice>::open(
        image,
        image_device,
        journal_device,
        options(),
        clock(),
        &mut |_| (),
    )
    .unwrap();
    let volume = match found {
        Found::New => Volume::format(store.clone(), 2, NOW, RANDOM).unwrap(),
        Found::Volume(_) => Volume::load(store.clone(), 2, NOW).unwrap(),
    };
    let keeper = std::thread::spawn(move || while keeper.turn(100) != Turn::Stopped {});
    Mounted { volume, keeper, _folder: folder }
}

impl Mounted {
    fn unmount(self) {
        stop_keeper(self.volume.image()).unwrap();
        self.keeper.join().unwrap();
    }
}

fn content(number: u32, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u32).wrapping_mul(number | 1) as u8).collect()
}

#[test]
fn files_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for durability in [Durability::Strict, Durability::Relaxed] {
        let path = folder.path().join(format!("{durability:?}"));
        for round in 0..4_u32 {
            let mounted = mount(&path, durability);
            let volume = &mounted.volume;
            for old in 0..round * 20 {
                let attr = volume.lookup(ROOT, format!("file-{old}").as_bytes()).unwrap();
                let expected = content(old, 100 + old as usize * 1000);
                let mut bytes = vec![0; expected.len() + 1];
                assert_eq!(volume.read(attr.ino, 0, &mut bytes), Ok(expected.len()));
                assert!(bytes[..expected.len()] == expected, "file-{old}");
            }
            for new in round * 20..(round + 1) * 20 {
                let attr = volume.create(ROOT, format!("file-{new}").as_bytes(), &file()).unwrap();
                let bytes = content(new, 100 + new as usize * 1000);
                assert_eq!(volume.write(attr.ino, 0, &bytes), Ok(bytes.len()));
                if new % 5 == 0 {
                    volume.fsync(attr.ino).unwrap();
                }
            }
            assert!(VolumeFolder::open(&path).is_err_and(|error| error.errno() == Errno::EBUSY));
            mounted.unmount();
        }
    }
}

#[test]
fn bulk_data_are_written_once_and_freed_space_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = mount(folder.path(), Durability::Strict);
    let volume = &mounted.volume;
    let bytes = content(7, 20 << 20);
    for round in 0..8 {
        // Two of these fill more than half of the volume, so each needs what the last one freed.
        let name = format!("big-{round}");
        let attr = volume.create(ROOT, name.as_bytes(), &file()).unwrap();
        assert_eq!(volume.write(attr.ino, 0, &bytes), Ok(bytes.len()));
        volume.fsync(attr.ino).unwrap();
        volume.unlink(ROOT, name.as_bytes()).unwrap();
    }
    let blocks = 8 * (bytes.len() / 4096) as u64;
    let metrics = volume.metrics();
    let written = (metrics.journal_written_bytes + metrics.image_written_bytes) / 4096;
    assert!(written < blocks + blocks / 10, "{written} blocks written for {blocks}");
    mounted.unmount();
}

#[test]
fn one_thread_is_its_own_keeper() {
    let (image_file, journal_file) = (MemDevice::default(), MemDevice::default());
    for round in 0..3_u32 {
        let store = Arc::new(HeapStore::new(rt::store_size_bytes(4096)));
        Image::prepare(&store, 1, Durability::Strict).unwrap();
        let image = Image::attach(store.clone(), 1).unwrap();
        let (keeper, found) = Keeper::open(
            image,
            image_file.clone(),
            journal_file.clone(),
            options(),
            clock(),
            &mut |_| (),
        )
        .unwrap();
        let mut volume = match found {
            Found::New => Volume::format(store.clone(), 2, NOW, RANDOM).unwrap(),
            Found::Volume(_) => Volume::load(store.clone(), 2, NOW).unwrap(),
        };
        let keeper = Arc::new(Mutex::new(keeper));
        let inline = keeper.clone();
        volume.set_committer(Committer::Inline(Box::new(move |_| {
            inline.lock().map_err(|_| Errno::EIO)?.commit_now()
        })));
        for old in 0..round {
            let attr = volume.lookup(ROOT, format!("{old}").as_bytes()).unwrap();
            let mut bytes = vec![0; 10_000];
            assert_eq!(volume.read(attr.ino, 0, &mut bytes), Ok(5000));
            assert_eq!(bytes[..5000], content(old, 5000));
        }
        let attr = volume.create(ROOT, format!("{round}").as_bytes(), &file()).unwrap();
        volume.write(attr.ino, 0, &content(round, 5000)).unwrap();
        volume.fsync(attr.ino).unwrap();
        // No stop: what fsync said is durable must be there without it.
    }
}

#[test]
fn what_was_not_asked_to_be_durable_may_be_lost_but_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mounted = mount(path, Durability::Strict);
    let attr = mounted.volume.create(ROOT, b"kept", &file()).unwrap();
    mounted.volume.write(attr.ino, 0, b"content").unwrap();
    mounted.volume.fsync(attr.ino).unwrap();
    // A copy of the files at this moment is what a kill of the process leaves.
    let copy = path.join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in ["image", "journal"] {
        std::fs::copy(path.join(name), copy.join(name)).unwrap();
    }
    let other = mount(&copy, Durability::Strict);
    let attr = other.volume.lookup(ROOT, b"kept").unwrap();
    assert_eq!(attr.size_bytes, 7);
    other.unmount();
    mounted.unmount();
}

/// Not a test: `cargo test --release --test persist -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn how_long_commits_take() {
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(262_144)));
    Image::prepare(&store, 1, Durability::Strict).unwrap();
    let image = Image::attach(store.clone(), 1).unwrap();
    let devices = (MemDevice::default(), MemDevice::default());
    let (mut keeper, _) =
        Keeper::open(image, devices.0, devices.1, options(), clock(), &mut |_| ()).unwrap();
    let volume = Volume::format(store.clone(), 2, NOW, RANDOM).unwrap();
    keeper.commit_now().unwrap();
    for blocks in [2_u32, 100, 1000, 1500] {
        let (mut total, mut closed, rounds) = (0.0, 0.0, 20);
        for _ in 0..rounds {
            for block in 0..blocks {
                volume.image().mark_dirty(100 + block * 2, true);
            }
            store.fetch_add(rt::CHANGE, 1);
            let done = Arc::new(AtomicBool::new(false));
            let (watched, end) = (store.clone(), done.clone());
            let watcher = std::thread::spawn(move || {
                let (mut longest, mut since) = (0.0_f64, None);
                while !end.load(Ordering::Relaxed) {
                    match (watched.load(rt::GATE) != 0, since) {
                        (true, None) => since = Some(Instant::now()),
                        (false, Some(start)) => {
                            longest = longest.max(start.elapsed().as_secs_f64());
                            since = None;
                        }
                        _ => {}
                    }
                }
                longest
            });
            std::thread::sleep(std::time::Duration::from_millis(2));
            let start = Instant::now();
            keeper.commit_now().unwrap();
            total += start.elapsed().as_secs_f64();
            done.store(true, Ordering::Relaxed);
            closed += watcher.join().unwrap();
        }
        println!(
            "{blocks} blocks: a commit {:.3} ms, gate closed {:.3} ms",
            total * 1e3 / f64::from(rounds),
            closed * 1e3 / f64::from(rounds)
        );
    }
}
