//! A volume's metrics for C (struct sabfs_metrics of c-shim/sabfs.h) and for JavaScript.

use super::mount::{current, of_handle, status};
use super::numbers::{self, METRICS, STATS};
use super::vtable::{sabfs_latency, sabfs_metrics, sabfs_volume};
use crate::errno::Errno;
use crate::persist::{Latency, Metrics};
use crate::store::runtime::Durability;

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

/// JavaScript: fills in the metrics of the attached volume; zeros when there is none.
///
/// # Safety
/// `out` has room for `METRICS` numbers.
#[unsafe(no_mangle)]
unsafe extern "C" fn sabfs_metrics_numbers(out: *mut [f64; METRICS]) {
    // SAFETY: by the caller's promise.
    unsafe { out.write(current().map_or([0.0; METRICS], numbers::metrics)) }
}

/// JavaScript: fills in the statistics of the attached volume; zeros when there is none.
///
/// # Safety
/// `out` has room for `STATS` numbers.
#[unsafe(no_mangle)]
unsafe extern "C" fn sabfs_stats(out: *mut [f64; STATS]) {
    let stats = current().and_then(numbers::stats);
    // SAFETY: by the caller's promise.
    unsafe { out.write(stats.unwrap_or_default()) }
}
