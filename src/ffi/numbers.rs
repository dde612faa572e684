//! What JavaScript is told of a volume, as numbers in the order that emscripten/mount.js names, and how it names clients.

use crate::errno::Errno;
use crate::persist;
use crate::store::clients::ClientId;
use crate::store::runtime::{self as rt, Durability, KeeperState, VolumeState};
use crate::store::{Store, WasmStore};
use crate::vfs::Volume;

/// What `metrics()` shows.
pub(super) const METRICS: usize = 30;
/// What `stats()` shows.
pub(super) const STATS: usize = 9;
/// All programs believe that they have this process number; others are told of it and the client's slot together.
pub(super) const PID: u32 = 42;
/// Slots of a store, in names of clients.
const SLOTS: f64 = rt::CLIENTS_MAX as f64;

pub(super) fn metrics(volume: &Volume<WasmStore>) -> [f64; METRICS] {
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
}

pub(super) fn stats(volume: &Volume<WasmStore>) -> Result<[f64; STATS], Errno> {
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
}

/// Whether everything up to `change` is on the device.
pub(super) fn is_durable(volume: &Volume<WasmStore>, change: u32) -> bool {
    let image = volume.image();
    image.durability() != Durability::Memory && persist::reached(image.store().load(rt::DURABLE), change)
}

/// Whether everything up to `change` is as durable as the volume makes it; an error when it will not be.
pub(super) fn sync_state(volume: &Volume<WasmStore>, change: u32) -> Result<bool, Errno> {
    let store = volume.image().store();
    let failure = store.load(rt::FAILURE);
    let failed = store.load(rt::STATE) == VolumeState::Failed as u32;
    let done = volume.image().durability() == Durability::Memory || is_durable(volume, change);
    if done && !failed {
        return Ok(true);
    }
    if failure == 0 && !failed && store.load(rt::KEEPER_STATE) == KeeperState::Up as u32 {
        return Ok(false);
    }
    Err(Errno::from_linux(failure.cast_signed()).unwrap_or(Errno::EIO))
}

/// A client's name as one number, never 0.
pub(super) fn client_number(ClientId { slot, serial }: ClientId) -> f64 {
    f64::from(slot) + f64::from(serial) * SLOTS
}

/// The client of which `client_number` gave the name.
pub(super) fn client_of(number: f64) -> ClientId {
    // Slots count from 1.
    let serial = ((number - 1.0) / SLOTS).floor();
    ClientId { slot: (number - serial * SLOTS) as u32, serial: serial as u32 }
}
