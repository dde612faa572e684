//! Reading and writing data beside memcpy of the same bytes.

use crate::report::{Report, Unit};
use crate::{ROOT, new, volume};
use sabfs::format::FileKind;
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 15;
/// Larger than the caches, so that both sides read and write memory.
const FILE_SIZE_BYTES: usize = 64 << 20;
const CHUNK_SIZE_BYTES: usize = 1 << 20;
const SMALL_SIZE_BYTES: usize = 4096;
/// The small file and its copy stay in the cache, where a call's own cost shows most.
const SMALL_FILE_SIZE_BYTES: usize = 256 << 10;
/// Calls in one round: a clock's step must not show.
const SMALL_STEPS: usize = 16_384;
/// Least share of memcpy's speed when much is read or written.
const SEQUENTIAL_MIN: f64 = 0.6;
/// A small call may take this many times as long as the copy in it.
const SMALL_MAX: f64 = 5.0;

/// Least time of one of `steps` over the rounds, each of ours next to one of the peer's.
fn pair(steps: usize, mut ours: impl FnMut(usize), mut theirs: impl FnMut(usize)) -> (f64, f64) {
    let mut best = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        (0..steps).for_each(&mut ours);
        let between = Instant::now();
        (0..steps).for_each(&mut theirs);
        best.0 = best.0.min((between - start).as_nanos() as f64 / steps as f64);
        best.1 = best.1.min(between.elapsed().as_nanos() as f64 / steps as f64);
    }
    best
}

/// Sequential in pieces of 1 MiB, then single calls of 4 KiB.
pub fn measure(report: &mut Report) {
    let chunks = FILE_SIZE_BYTES / CHUNK_SIZE_BYTES;
    compare(report, "sequential ", CHUNK_SIZE_BYTES, FILE_SIZE_BYTES, chunks, 1.0 / SEQUENTIAL_MIN);
    compare(report, "p", SMALL_SIZE_BYTES, SMALL_FILE_SIZE_BYTES, SMALL_STEPS, SMALL_MAX);
}

/// `steps` pieces of `size` bytes, round and round in a file of `file_size` bytes.
fn compare(report: &mut Report, name: &str, size: usize, file_size: usize, steps: usize, target: f64) {
    let volume = volume();
    let file = volume.create(ROOT, b"data", &new(FileKind::Regular)).expect("new").ino;
    let mut memory = vec![1_u8; file_size];
    let mut buffer = vec![2_u8; size];
    let mut copy = vec![0_u8; size];
    for offset in (0..file_size).step_by(size) {
        volume.write(file, offset as u64, &buffer).expect("room");
    }
    let at = |step: usize| step * size % file_size;
    let read = pair(
        steps,
        |step| {
            let done = volume.read(file, at(step) as u64, black_box(&mut buffer));
            assert_eq!(done, Ok(size));
        },
        |step| black_box(&mut copy).copy_from_slice(black_box(&memory[at(step)..at(step) + size])),
    );
    let write = pair(
        steps,
        |step| {
            let done = volume.write(file, at(step) as u64, black_box(&buffer));
            assert_eq!(done, Ok(size));
        },
        |step| black_box(&mut memory[at(step)..at(step) + size]).copy_from_slice(black_box(&copy)),
    );
    for (kind, (ours, theirs)) in [("read", read), ("write", write)] {
        let case = format!("{name}{kind}");
        report.add(case, Some(size), Unit::Nanoseconds, ours, ("memcpy", theirs), target);
    }
}
