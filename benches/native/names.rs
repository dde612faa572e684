//! A directory with very many names beside one with a thousand: accesses of the store and time.

use crate::report::{Report, Unit};
use crate::{ROOT, counting_volume, new, volume};
use sabfs::format::FileKind;
use sabfs::store::Store;
use sabfs::vfs::Volume;
use std::hint::black_box;
use std::time::Instant;

const FEW: u32 = 1_000;
/// Names that come and go in one round.
const BATCH: u32 = 1_000;
const ROUNDS: u32 = 7;
const PEER: &str = "1,000 names";
const OPERATIONS: [&str; 3] = ["create", "lookup", "unlink"];

fn name(kind: char, index: u32) -> [u8; 12] {
    let mut name = [b'0'; 12];
    name[0] = kind as u8;
    let digits = format!("{index:011}");
    name[1..].copy_from_slice(digits.as_bytes());
    name
}

/// Makes a directory of `count` empty files.
fn fill<S: Store>(volume: &Volume<S>, dir: &[u8], count: u32) -> u32 {
    let dir = volume.create(ROOT, dir, &new(FileKind::Directory)).expect("new").ino;
    for index in 0..count {
        volume.create(dir, &name('f', index), &new(FileKind::Regular)).expect("room");
    }
    dir
}

/// Numbers that are spread over `0..count`, always the same.
fn spread(round: u32, count: u32) -> impl Iterator<Item = u32> {
    (0..BATCH).map(move |index| (round * BATCH + index).wrapping_mul(0x9e37_79b1) % count)
}

/// Creates, looks up and unlinks a batch; `meter` is read before and after each of the three.
fn round<S: Store>(
    volume: &Volume<S>,
    dir: u32,
    round: u32,
    count: u32,
    meter: &dyn Fn(&Volume<S>) -> u64,
) -> [u64; 3] {
    let file = new(FileKind::Regular);
    let marks = [
        meter(volume),
        {
            for index in 0..BATCH {
                black_box(volume.create(dir, &name('n', index), &file).expect("room"));
            }
            meter(volume)
        },
        {
            for index in spread(round, count) {
                black_box(volume.lookup(dir, &name('f', index)).expect("there"));
            }
            meter(volume)
        },
        {
            for index in 0..BATCH {
                volume.unlink(dir, &name('n', index)).expect("there");
            }
            meter(volume)
        },
    ];
    [marks[1] - marks[0], marks[2] - marks[1], marks[3] - marks[2]]
}

/// The least of each operation over the rounds, for one: in a small and in a large directory.
fn compare<S: Store>(
    volume: &Volume<S>,
    count: u32,
    meter: &dyn Fn(&Volume<S>) -> u64,
) -> [[f64; 2]; 3] {
    let dirs = [(fill(volume, b"few", FEW), FEW), (fill(volume, b"many", count), count)];
    let mut least = [[f64::MAX; 2]; 3];
    for number in 0..ROUNDS {
        for (side, &(dir, names)) in dirs.iter().enumerate() {
            let spent = round(volume, dir, number, names, meter);
            for (operation, spent) in spent.into_iter().enumerate() {
                let each = spent as f64 / f64::from(BATCH);
                least[operation][side] = least[operation][side].min(each);
            }
        }
    }
    least
}

/// A directory of `count` names.
pub fn measure(report: &mut Report, count: u32) {
    let accesses = compare(&counting_volume(), count, &|volume| volume.image().store().accesses());
    let start = Instant::now();
    let times =
        compare(&volume(), count, &|_| u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    for (unit, target, figures) in [(Unit::Accesses, 1.5, accesses), (Unit::Nanoseconds, 3.0, times)] {
        for (operation, [few, many]) in OPERATIONS.iter().zip(figures) {
            report.add(format!("{operation} among {count}"), None, unit, many, (PEER, few), target);
        }
    }
}
