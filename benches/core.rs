//! The file system's core without WebAssembly: what each operation costs on the heap store, one thread.
//!
//! `cargo bench --bench core`, or `cargo bench --bench core -- lookup` for some.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sabfs::core::Image;
use sabfs::format::FileKind;
use sabfs::store::HeapStore;
use sabfs::store::runtime::{self, Durability};
use sabfs::vfs::{NewInode, RenameFlags, Volume};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ROOT: u32 = 2;
/// 256 MiB: room for what the longest run creates.
const BLOCKS: u32 = 65_536;
const NAMES: u32 = 1_000;
const FILE_BLOCKS: u64 = 64;

type Heap = Volume<Arc<HeapStore>>;

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as i64)
}

/// An empty volume. There is no keeper, so nothing may wait for one: `Memory`.
fn volume() -> Heap {
    let store = Arc::new(HeapStore::new(runtime::store_size_bytes(BLOCKS)));
    Image::prepare(&store, 1, Durability::Memory).expect("a store of the right size");
    Volume::format(store, 1, now, [7; 32]).expect("an empty store")
}

fn new(kind: FileKind) -> NewInode {
    NewInode { kind, permissions: 0o755, uid: 0, gid: 0, rdev: 0 }
}

fn name(kind: char, index: u32) -> Vec<u8> {
    format!("{kind}{index:04}").into_bytes()
}

/// Makes a directory with `NAMES` files of 1 KiB; gives its number.
fn fill(volume: &Heap, dir: &[u8]) -> u32 {
    let dir = volume.create(ROOT, dir, &new(FileKind::Directory)).expect("new").ino;
    for index in 0..NAMES {
        create(volume, dir, index);
    }
    dir
}

fn create(volume: &Heap, dir: u32, index: u32) {
    create_with(volume, dir, index, &[1; 1024]);
}

fn create_with(volume: &Heap, dir: u32, index: u32, bytes: &[u8]) {
    let file = volume.create(dir, &name('f', index), &new(FileKind::Regular)).expect("new").ino;
    assert_eq!(volume.write(file, 0, bytes), Ok(bytes.len()));
}

fn data(c: &mut Criterion) {
    let volume = volume();
    let file = volume.create(ROOT, b"data", &new(FileKind::Regular)).expect("new").ino;
    let mut buffer = [3; 4096];
    for block in 0..FILE_BLOCKS {
        volume.write(file, block * 4096, &buffer).expect("room");
    }
    for size in [16, 4096] {
        let mut at = 0;
        let mut next = move || {
            at = (at + 1) % FILE_BLOCKS;
            at * 4096
        };
        let mut group = c.benchmark_group("data");
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("read", size), |b| {
            b.iter(|| volume.read(file, next(), black_box(&mut buffer[..size])));
        });
        group.bench_function(BenchmarkId::new("write", size), |b| {
            b.iter(|| volume.write(file, next(), black_box(&buffer[..size])));
        });
        group.finish();
    }
}

fn reading_names(c: &mut Criterion) {
    let volume = volume();
    let dir = fill(&volume, b"list");
    let names: Vec<_> = (0..NAMES).map(|index| name('f', index)).collect();
    let mut at = 0;
    let mut next = || {
        at = (at + 1) % names.len();
        &names[at]
    };
    let file = volume.lookup(dir, next()).expect("there").ino;
    let mut group = c.benchmark_group("names");
    group.bench_function("getattr", |b| b.iter(|| volume.getattr(black_box(file))));
    group.bench_function("lookup", |b| b.iter(|| volume.lookup(dir, black_box(next()))));
    group.bench_function("lookup of a missing name", |b| {
        b.iter(|| volume.lookup(dir, black_box(b"none")))
    });
    group.bench_function("read_dir of 1,000 names", |b| {
        b.iter(|| {
            let mut count = 0;
            volume.read_dir(dir, 0, &mut |entry| {
                black_box(entry);
                count += 1;
                true
            })?;
            assert_eq!(count, NAMES);
            Ok::<_, sabfs::errno::Errno>(())
        });
    });
    group.finish();
}

/// Operations that change the directory run over all names of a fresh one; the figures are for 1,000 operations.
fn changing_names(c: &mut Criterion) {
    let volume = volume();
    let mut group = c.benchmark_group("1,000 names");
    group.throughput(Throughput::Elements(u64::from(NAMES)));
    let remove = |kind| {
        for index in 0..NAMES {
            volume
                .unlink(volume.lookup(ROOT, b"churn").expect("there").ino, &name(kind, index))
                .expect("there");
        }
        volume.rmdir(ROOT, b"churn").expect("empty");
    };
    let clear = || {
        if let Ok(dir) = volume.lookup(ROOT, b"churn") {
            let kind = if volume.lookup(dir.ino, b"r0000").is_ok() { 'r' } else { 'f' };
            match volume.count_names(dir.ino) {
                Ok(0) => volume.rmdir(ROOT, b"churn").expect("empty"),
                _ => remove(kind),
            }
        }
    };
    let fresh = || {
        clear();
        fill(&volume, b"churn")
    };
    group.bench_function("create, write 1 KiB", |b| {
        b.iter_batched(
            || {
                clear();
                volume.create(ROOT, b"churn", &new(FileKind::Directory)).expect("new").ino
            },
            |dir| (0..NAMES).for_each(|index| create(&volume, dir, index)),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("create, write 100 B", |b| {
        b.iter_batched(
            || {
                clear();
                volume.create(ROOT, b"churn", &new(FileKind::Directory)).expect("new").ino
            },
            |dir| (0..NAMES).for_each(|index| create_with(&volume, dir, index, &[1; 100])),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("rename", |b| {
        b.iter_batched(
            fresh,
            |dir| {
                for index in 0..NAMES {
                    let (from, to) = (name('f', index), name('r', index));
                    volume.rename(dir, &from, dir, &to, RenameFlags::empty()).expect("there");
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("unlink", |b| {
        b.iter_batched(
            fresh,
            |dir| (0..NAMES).for_each(|index| volume.unlink(dir, &name('f', index)).expect("there")),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// A minute for all of it: the figures are for finding what is slow, not for the third digit.
fn quick() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
}

criterion_group! { name = core; config = quick(); targets = data, reading_names, changing_names }
criterion_main!(core);
