//! Calls that ask for durability, and what a volume's metrics say of them.

use sabfs::core::Image;
use sabfs::errno::Errno;
use sabfs::format::FileKind;
use sabfs::persist::{Found, Keeper, Latency, MemDevice, Metrics, OpenOptions, Turn, stop_keeper};
use sabfs::store::runtime::{self as rt, Durability};
use sabfs::store::{HeapStore, Store};
use sabfs::vfs::{NewInode, OpenFiles, OpenMode, Volume};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

const ROOT: u32 = 2;
const RANDOM: [u8; 32] = *b"sixteen bytes ID and hashing key";
const NOW: fn() -> i64 = || 1_700_000_000_000_000_000;
const BLOCK: u64 = 4096;

type Shared = Arc<HeapStore>;
type Thread = JoinHandle<()>;

/// A new volume of 16 MiB whose keeper has not begun to work.
fn new(durability: Durability) -> (Arc<Volume<Shared>>, Keeper<Shared, MemDevice>) {
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(4096)));
    Image::prepare(&store, 1, durability).unwrap();
    let image = Image::attach(store.clone(), 1).unwrap();
    let start = Instant::now();
    let (keeper, found) = Keeper::open(
        image,
        MemDevice::default(),
        MemDevice::default(),
        OpenOptions::new(RANDOM[..16].try_into().unwrap(), Box::new(|| 7)),
        Box::new(move || start.elapsed().as_millis() as u64),
        &mut |_| (),
    )
    .unwrap();
    assert_eq!(found, Found::New);
    (Arc::new(Volume::format(store, 2, NOW, RANDOM).unwrap()), keeper)
}

fn mount(durability: Durability) -> (Arc<Volume<Shared>>, Thread) {
    let (volume, mut keeper) = new(durability);
    (volume, std::thread::spawn(move || while keeper.turn(100) != Turn::Stopped {}))
}

fn unmount(volume: &Volume<Shared>, keeper: Thread) {
    stop_keeper(volume.image()).unwrap();
    keeper.join().unwrap();
}

fn create(volume: &Volume<Shared>, name: &str) -> u32 {
    let new = NewInode { kind: FileKind::Regular, permissions: 0o644, uid: 0, gid: 0, rdev: 0 };
    volume.create(ROOT, name.as_bytes(), &new).unwrap().ino
}

/// The metrics' counts, without the times and without the room that the keeper makes
/// when it gets to it.
fn timeless(mut metrics: Metrics) -> Metrics {
    metrics.room_blocks = 0;
    for latency in [&mut metrics.commit_latency, &mut metrics.fsync_latency] {
        *latency = Latency { count: latency.count, ..Latency::default() };
    }
    metrics
}

#[test]
fn each_fsync_of_an_overwrite_is_one_commit_and_one_flush() {
    let (volume, keeper) = mount(Durability::Strict);
    let ino = create(&volume, "f");
    assert_eq!(volume.write(ino, 0, &[1; BLOCK as usize]), Ok(4096));
    volume.fsync(ino).unwrap();
    let before = timeless(volume.metrics());
    for round in 0..10 {
        assert_eq!(volume.write(ino, 0, &[round; BLOCK as usize]), Ok(4096));
        volume.fsync(ino).unwrap();
    }
    let after = volume.metrics();
    for latency in [after.commit_latency, after.fsync_latency] {
        assert!(latency.p50_us <= latency.p99_us && latency.p99_us <= latency.max_us, "{latency:?}");
    }
    let change = before.change + 10;
    let expected = Metrics {
        commits: before.commits + 10,
        // Header, data, inode.
        journal_written_bytes: before.journal_written_bytes + 10 * 3 * BLOCK,
        journal_flushes: before.journal_flushes + 10,
        fsyncs: 11,
        commit_latency: Latency { count: before.commits + 10, ..Latency::default() },
        fsync_latency: Latency { count: 11, ..Latency::default() },
        change,
        written: change,
        durable: change,
        ..before
    };
    assert_eq!(timeless(after), expected);
    assert!(expected.keeper_up && expected.failure.is_none() && expected.dirty_blocks == 0);

    // With nothing to commit an fsync costs nothing, and counts.
    volume.sync().unwrap();
    let idle = timeless(volume.metrics());
    assert_eq!(
        (idle.fsyncs, idle.commits, idle.journal_flushes),
        (12, expected.commits, expected.journal_flushes)
    );
    unmount(&volume, keeper);
    assert!(!volume.metrics().keeper_up);
}

#[test]
fn what_is_not_committed_is_dirty_and_a_failed_attempt_is_told() {
    let (volume, mut keeper) = new(Durability::Strict);
    keeper.commit_now().unwrap();
    let clean = volume.metrics();
    assert_eq!((clean.dirty_blocks, clean.dirty_meta_blocks, clean.durable), (0, 0, clean.change));
    let ino = create(&volume, "f");
    volume.write(ino, 0, &[1; 3 * BLOCK as usize]).unwrap();
    let dirty = volume.metrics();
    assert_eq!(dirty.dirty_blocks, dirty.dirty_meta_blocks + 3);
    assert!(
        dirty.dirty_meta_blocks > 0 && dirty.durable == clean.durable && dirty.change > dirty.durable
    );
    assert_eq!((dirty.commits, dirty.fsyncs), (clean.commits, 0));
    keeper.commit_now().unwrap();
    keeper.checkpoint_now().unwrap();
    let done = volume.metrics();
    assert_eq!((done.dirty_blocks, done.durable, done.commits), (0, dirty.change, clean.commits + 1));
    assert_eq!(done.checkpoints, clean.checkpoints + 1);
    assert!(done.image_written_bytes >= clean.image_written_bytes + 3 * BLOCK);

    // A volume of another name in the store cannot be committed.
    let offset = volume.image().block_offset(0);
    volume.image().store().write(offset + 64, b"another volume's");
    volume.image().lock_gate().unwrap();
    volume.image().mark_dirty(0, true);
    volume.image().store().fetch_add(rt::CHANGE, 1);
    volume.image().unlock_gate();
    assert_eq!(keeper.commit_now(), Err(Errno::EINVAL));
    let failed = volume.metrics();
    assert_eq!((failed.commits_failed, failed.commits), (1, done.commits));
    assert_eq!((failed.failure, failed.last_failure), (Some(Errno::EINVAL), Some(Errno::EINVAL)));
    volume.image().store().write(offset + 64, &RANDOM[..16]);
    keeper.commit_now().unwrap();
    let mended = volume.metrics();
    assert_eq!((mended.failure, mended.last_failure), (None, Some(Errno::EINVAL)));
    assert_eq!((mended.commits, mended.commits_failed), (done.commits + 1, 1));
    keeper.stop().unwrap();
    // Nobody serves this one.
    volume.write(ino, 0, b"late").unwrap();
    assert_eq!(volume.fsync(ino), Err(Errno::EIO));
    let late = volume.metrics();
    assert_eq!((late.fsyncs, late.fsyncs_failed, late.fsync_latency.count), (0, 1, 0));
}

#[test]
fn a_synchronous_write_returns_when_it_is_durable() {
    for durability in [Durability::Strict, Durability::Relaxed, Durability::Memory] {
        let (volume, keeper) = match durability {
            Durability::Memory => (new(durability).0, None),
            _ => {
                let (volume, keeper) = mount(durability);
                (volume, Some(keeper))
            }
        };
        let ino = create(&volume, "f");
        let files = OpenFiles::new(volume.clone(), 8);
        let (read, write) = (OpenMode::READ, OpenMode::WRITE);
        for kind in [OpenMode::SYNC, OpenMode::DSYNC] {
            let plain = files.open(ino, read | write).unwrap();
            let synchronous = files.open(ino, write | kind).unwrap();
            let appending = files.open(ino, write | OpenMode::APPEND | kind).unwrap();
            let calls: [&dyn Fn() -> Result<usize, Errno>; 4] = [
                &|| files.write(synchronous, b"position"),
                &|| files.pwrite(synchronous, 10_000, b"far away"),
                &|| files.write(appending, b"at the end"),
                &|| files.pwrite(appending, 3, b"the end too"),
            ];
            for call in calls {
                // What was written by others before is covered, as a commit takes everything.
                assert_eq!(files.pwrite(plain, 5, b"plain"), Ok(5));
                let before = volume.metrics();
                assert!(call().unwrap() > 0);
                let after = volume.metrics();
                assert_eq!(after.fsyncs, before.fsyncs + 1);
                if durability != Durability::Memory {
                    assert_eq!(
                        (after.durable, after.written),
                        (after.change, after.change),
                        "{durability:?}"
                    );
                }
            }
            let before = volume.metrics();
            assert_eq!(files.write(synchronous, b""), Ok(0));
            assert_eq!(files.pwrite(plain, 0, b"plain"), Ok(5));
            assert_eq!(volume.metrics().fsyncs, before.fsyncs);
            let other = files.dup(synchronous).unwrap();
            assert_eq!(files.write(other, b"shared"), Ok(6));
            assert_eq!(volume.metrics().fsyncs, before.fsyncs + 1);
            for handle in [plain, synchronous, appending, other] {
                files.close(handle).unwrap();
            }
        }
        if let Some(keeper) = keeper {
            unmount(&volume, keeper);
            let ino = volume.lookup(ROOT, b"f").unwrap().ino;
            let files = OpenFiles::new(volume.clone(), 8);
            let handle = files.open(ino, write | OpenMode::SYNC).unwrap();
            // It is written, but nobody makes it durable.
            assert_eq!(files.write(handle, b"never"), Err(Errno::EIO));
            let mut bytes = [0; 5];
            assert_eq!((volume.read(ino, 0, &mut bytes), &bytes), (Ok(5), b"never"));
        }
    }
}

#[test]
fn a_relaxed_volume_flushes_when_it_is_asked_to() {
    let (volume, mut keeper) = new(Durability::Relaxed);
    keeper.flush_now().unwrap();
    let before = volume.metrics();
    let turn_until = |keeper: &mut Keeper<_, _>, served: &dyn Fn() -> bool| {
        while !served() {
            keeper.turn(1);
        }
    };
    let ino = create(&volume, "f");
    let caller = |durably: bool| {
        let volume = volume.clone();
        std::thread::spawn(move || if durably { volume.sync_durably() } else { volume.fsync(ino) })
    };
    let thread = caller(true);
    turn_until(&mut keeper, &|| volume.metrics().durable == volume.metrics().change);
    thread.join().unwrap().unwrap();
    let after = volume.metrics();
    assert_eq!(after.journal_flushes, before.journal_flushes + 1);
    assert_eq!((after.fsyncs, after.commits), (1, before.commits + 1));
    keeper.stop().unwrap();
}

#[test]
fn calls_of_many_threads_are_counted_one_by_one() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 25;
    let (volume, keeper) = mount(Durability::Strict);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let volume = &volume;
            scope.spawn(move || {
                let ino = create(volume, &format!("f{thread}"));
                for round in 0..ROUNDS {
                    volume.write(ino, 0, &[round as u8; BLOCK as usize]).unwrap();
                    volume.fsync(ino).unwrap();
                }
            });
        }
    });
    let metrics = volume.metrics();
    assert_eq!((metrics.fsyncs, metrics.fsync_latency.count), (THREADS * ROUNDS, THREADS * ROUNDS));
    assert_eq!(metrics.commits, metrics.commit_latency.count);
    assert!(metrics.commits <= metrics.fsyncs, "{metrics:?}");
    assert_eq!(metrics.durable, metrics.change);
    unmount(&volume, keeper);
}
