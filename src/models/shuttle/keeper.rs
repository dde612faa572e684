//! Clients who sync, and a keeper: nobody waits for ever, and what is acknowledged is in the files, as one cut.

use super::super::keeper::options;
use super::super::volumes::{ROOT, file, now};
use super::store::ShuttleStore;
use crate::core::Image;
use crate::core::check::check;
use crate::persist::{Found, Keeper, MemDevice, Turn, stop_keeper};
use crate::store::HeapStore;
use crate::store::runtime::{self as rt, Durability};
use crate::vfs::Volume;
use shuttle::rand::{Rng, thread_rng};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

const BLOCKS: u32 = 96;
const CLIENTS: u32 = 2;
/// Blocks that one write changes, all to the same bytes.
const SIZE_BYTES: usize = 8192;

/// What the schedules had in them.
#[derive(Default)]
pub struct Seen {
    syncs: AtomicU64,
    cuts: AtomicU64,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [syncs, cuts] = [&self.syncs, &self.cuts].map(|count| count.load(Ordering::Relaxed));
        write!(f, "{syncs} syncs, {cuts} copies of the files in between")
    }
}

/// The files as they are recovered: what each client's file has.
fn recovered(image: Vec<u8>, journal: Vec<u8>) -> Vec<u8> {
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(BLOCKS)));
    Image::prepare(&store, 1, Durability::Strict).unwrap();
    let view = Image::attach(store.clone(), rt::KEEPER_CLIENT).unwrap();
    let files = (MemDevice::with_bytes(image), MemDevice::with_bytes(journal));
    let (_keeper, found) =
        Keeper::open(view, files.0, files.1, options(), Box::new(|| 0), &mut |_| ()).unwrap();
    assert!(matches!(found, Found::Volume(_)));
    let volume =
        Volume::load(store, 1, now).unwrap_or_else(|error| panic!("the files do not load: {error}"));
    let report = check(volume.core());
    assert!(report.is_clean(), "{report}");
    (0..CLIENTS)
        .map(|client| {
            let ino = volume.lookup(ROOT, &[b'a' + client as u8]).unwrap().ino;
            let mut bytes = [0; SIZE_BYTES];
            assert_eq!(volume.read(ino, 0, &mut bytes), Ok(SIZE_BYTES));
            assert!(
                bytes.iter().all(|&byte| byte == bytes[0]),
                "half of a write: {} {}",
                bytes[0],
                bytes[4096]
            );
            bytes[0]
        })
        .collect()
}

/// One schedule.
pub fn play(seen: &Seen) {
    let heap = Arc::new(HeapStore::new(rt::store_size_bytes(BLOCKS)));
    Image::prepare(&heap, 1, Durability::Strict).unwrap();
    // No sleep ends by itself, and the keeper's timer is never due: a bell that is not heard is a deadlock.
    let store = ShuttleStore::new(heap, 0);
    let image = Image::attach(store.clone(), rt::KEEPER_CLIENT).unwrap();
    let (image_file, journal_file) = (MemDevice::default(), MemDevice::default());
    let devices = (image_file.clone(), journal_file.clone());
    let (mut keeper, found) =
        Keeper::open(image, devices.0, devices.1, options(), Box::new(|| 0), &mut |_| ()).unwrap();
    assert_eq!(found, Found::New);
    let founder = Volume::format(store.clone(), 60, now, [7; 32]).unwrap();
    let inos: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let ino = founder.create(ROOT, &[b'a' + client as u8], &file()).unwrap().ino;
            founder.write(ino, 0, &[1; SIZE_BYTES]).unwrap();
            ino
        })
        .collect();
    keeper.commit_now().unwrap();
    let serving = shuttle::thread::spawn(move || while keeper.turn(u32::MAX) != Turn::Stopped {});
    // What each client has begun to write, and what it knows to be durable.
    let counts: Arc<Vec<(AtomicU8, AtomicU8)>> =
        Arc::new((0..CLIENTS).map(|_| (AtomicU8::new(1), AtomicU8::new(1))).collect());
    let threads: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let volume = Volume::attach(store.clone(), number + 1, now).unwrap();
            let (ino, counts) = (inos[number as usize], counts.clone());
            shuttle::thread::spawn(move || {
                let (begun, durable) = &counts[number as usize];
                for value in 2..=4_u8 {
                    begun.store(value, Ordering::Relaxed);
                    volume.write(ino, 0, &[value; SIZE_BYTES]).unwrap();
                    if thread_rng().gen_bool(0.7) {
                        volume.fsync(ino).unwrap();
                        durable.store(value, Ordering::Relaxed);
                    }
                }
                volume.detach().unwrap();
            })
        })
        .collect();
    // The files as they are at some moment, when the program is killed.
    let pause = thread_rng().gen_range(0..400);
    for _ in 0..pause {
        shuttle::thread::yield_now();
    }
    let durable: Vec<_> = counts.iter().map(|(_, durable)| durable.load(Ordering::Relaxed)).collect();
    let files = (image_file.bytes(), journal_file.bytes());
    let begun: Vec<_> = counts.iter().map(|(begun, _)| begun.load(Ordering::Relaxed)).collect();
    let found = recovered(files.0, files.1);
    for client in 0..CLIENTS as usize {
        let range = durable[client]..=begun[client];
        assert!(
            range.contains(&found[client]),
            "client {client}: {} is not in {range:?}",
            found[client]
        );
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    stop_keeper(founder.image()).unwrap();
    serving.join().unwrap();
    assert_eq!(recovered(image_file.bytes(), journal_file.bytes()), [4; CLIENTS as usize]);
    seen.cuts.fetch_add(1, Ordering::Relaxed);
    seen.syncs.fetch_add(founder.metrics().fsyncs, Ordering::Relaxed);
}
