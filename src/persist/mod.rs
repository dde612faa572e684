//! Persistence: one keeper per volume takes consistent cuts of the store to two durable files.

mod device;
mod wait;

#[cfg(all(unix, not(target_family = "wasm")))]
pub use device::FileDevice;
pub use device::{Device, DeviceError, MemDevice};
pub use wait::{
    KEEPER_SILENT_MS, reached, request_commit, ring, stop_keeper, wait_committed, wait_durable,
};

/// Mutations wait at the gate while more metadata blocks than this are dirty, because all of them must
/// fit one record.
pub const ADMISSION_META_BLOCKS: u32 = 1536;
