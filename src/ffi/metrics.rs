//! A volume's metrics for C (struct sabfs_metrics of c-shim/sabfs.h) and for JavaScript.

use super::mount::{current, is_durable, of_handle, status};
use super::vtable::{sabfs_latency, sabfs_metrics, sabfs_volume};
use crate::errno::Errno;
use crate::persist::{Latency, Metrics};
use crate::store::Store;
use crate::store::runtime::{self as rt, Durability};

fn latency(latency: Latency) -> sabfs_latency {
    let Latency { count, p50_us, p99_us, max_us } = latency;
    sabfs_latency { count, p50_us, p99_us, max_us }
}

/// As the C library's errno, 0 for none.
fn number(errno: Option<Errno>) -> i32 {
    errno.map_or(0, Errno::wasi)
}

fn of(metrics: &Metrics) -> sabfs_metrics {
    sabfs_metrics {
        commits: metrics.commits,
        commits_failed: metrics.commits_failed,
        journal_written_bytes: metrics.journal_written_bytes,
        image_written_bytes: metrics.image_written_bytes,
        journal_flushes: metrics.journal_flushes,
        image_flushes: metrics.image_flushes,
        checkpoints: metrics.checkpoints,
        fsyncs: metrics.fsyncs,
        fsyncs_failed: metrics.fsyncs_failed,
        commit_latency: latency(metrics.commit_latency),
        fsync_latency: latency(metrics.fsync_latency),
        change: metrics.change,
        written: metrics.written,
        durable: metrics.durable,
        dirty_blocks: metrics.dirty_blocks,
        dirty_meta_blocks: metrics.dirty_meta_blocks,
        quarantined_blocks: metrics.quarantined_blocks,
        room_blocks: metrics.room_blocks,
        room_wanted_blocks: metrics.room_wanted_blocks,
        room_short: metrics.room_short.into(),
        keeper_up: metrics.keeper_up.into(),
        durability: match metrics.durability {
            Durability::Strict => 1,
            Durability::Relaxed => 2,
            Durability::Memory => 3,
        },
        failure: number(metrics.failure),
        last_failure: number(metrics.last_failure),
    }
}

/// C: fills in the metrics of a volume. 0 or a negative errno.
///
/// # Safety
/// `volume` is one of this program's, `out` may be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn sabfs_volume_metrics(volume: *const sabfs_volume, out: *mut sabfs_metrics) -> i32 {
    // SAFETY: by the caller's promise.
    status(unsafe { of_handle(volume) }.map(|volume| unsafe { out.write(of(&volume.metrics())) }))
}

/// What `metrics()` of JavaScript shows, as numbers in the order that emscripten/mount.js names.
const METRICS: usize = 30;

/// JavaScript: fills in the metrics of the attached volume; zeros when there is none.
///
/// # Safety
/// `out` has room for `METRICS` numbers.
#[unsafe(no_mangle)]
unsafe extern "C" fn sabfs_metrics_numbers(out: *mut [f64; METRICS]) {
    let numbers = current().map(|volume| {
        let m = volume.metrics();
        let linux = |errno: Option<Errno>| errno.map_or(0, Errno::linux);
        let (commit, fsync) = (m.commit_latency, m.fsync_latency);
        [
            m.commits as f64,
            m.commits_failed as f64,
            m.journal_written_bytes as f64,
            m.image_written_bytes as f64,
            m.journal_flushes as f64,
            m.image_flushes as f64,
            m.checkpoints as f64,
            m.fsyncs as f64,
            m.fsyncs_failed as f64,
            commit.count as f64,
            commit.p50_us as f64,
            commit.p99_us as f64,
            commit.max_us as f64,
            fsync.count as f64,
            fsync.p50_us as f64,
            fsync.p99_us as f64,
            fsync.max_us as f64,
            f64::from(m.change),
            f64::from(m.written),
            f64::from(m.durable),
            f64::from(m.dirty_blocks),
            f64::from(m.dirty_meta_blocks),
            f64::from(m.quarantined_blocks),
            f64::from(m.room_blocks),
            f64::from(m.room_wanted_blocks),
            f64::from(u8::from(m.room_short)),
            f64::from(u8::from(m.keeper_up)),
            f64::from(m.durability as u32),
            f64::from(linux(m.failure)),
            f64::from(linux(m.last_failure)),
        ]
    });
    // SAFETY: by the caller's promise.
    unsafe { out.write(numbers.unwrap_or([0.0; METRICS])) }
}

/// What `stats()` of JavaScript shows, as numbers in the order that emscripten/mount.js names.
const STATS: usize = 9;

/// JavaScript: fills in the statistics of the attached volume; zeros when there is none.
///
/// # Safety
/// `out` has room for `STATS` numbers.
#[unsafe(no_mangle)]
unsafe extern "C" fn sabfs_stats(out: *mut [f64; STATS]) {
    let stats = current().and_then(|volume| {
        let (shape, image, metrics) = (volume.statfs()?, volume.image(), volume.metrics());
        let block = f64::from(shape.block_size_bytes);
        let durable = is_durable(volume, metrics.change);
        Ok([
            f64::from(image.geometry().image_blocks()) * block,
            shape.free_blocks as f64 * block,
            f64::from(image.capacity_blocks()) * block,
            f64::from(metrics.dirty_blocks),
            f64::from(image.store().load(rt::USED_INODES)),
            metrics.commits as f64,
            (metrics.journal_written_bytes + metrics.image_written_bytes) as f64 / block,
            (metrics.journal_flushes + metrics.image_flushes) as f64,
            f64::from(u8::from(durable)),
        ])
    });
    // SAFETY: by the caller's promise.
    unsafe { out.write(stats.unwrap_or_default()) }
}
