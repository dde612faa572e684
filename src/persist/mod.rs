//! Persistence: one keeper per volume takes consistent cuts of the store to two durable files.
//!
//! ```text
//!  store --cut under the gate--> record --one write, one flush--> journal --checkpoint--> image
//!        --bulk of fresh data, before the record----------------------------------------> image
//! ```
//! `image` is the volume byte for byte (offset = block x 4096); `journal` has two segments that take
//! turns (`format::journal`). Mounting replays both and so yields exactly one committed state.
//!
//! | file | holds |
//! |---|---|
//! | `device` | what is asked of a durable file |
//! | `disk`, `journal`, `image_file` | the two files: records, switching segments, checkpoint |
//! | `commit`, `plan`, `bits` | cuts of the store and where their blocks go |
//! | `recovery`, `replay`, `load` | replay, checks, filling the store |
//! | `keeper`, `wait` | the keeper's turns, and the clients' side of them |
//! | `takeover` | going on where another keeper died |
//! | `metrics`, `histogram` | what the volume has done, counted in the runtime region |
//! | `folder` | the volume's folder on a host, and who owns it |
//!
//! The rules that make this right, each of which a test switches off to see volumes break, are listed
//! in `rules`.

mod bits;
mod commit;
mod device;
mod disk;
mod error;
#[cfg(all(unix, not(target_family = "wasm")))]
mod folder;
mod histogram;
mod image_file;
mod journal;
mod keeper;
mod load;
mod metrics;
mod plan;
mod recovery;
mod replay;
mod rules;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod takeover;
#[cfg(test)]
mod tests;
mod wait;

pub use commit::CommitError;
#[cfg(all(unix, not(target_family = "wasm")))]
pub use device::FileDevice;
pub use device::{Device, DeviceError, MemDevice};
pub use error::OpenError;
#[cfg(all(unix, not(target_family = "wasm")))]
pub use folder::{FolderError, VolumeFolder};
pub use histogram::Latency;
pub use journal::{Mark, Random};
pub use keeper::{Clock, Keeper, Turn};
pub use metrics::{Metrics, Stopwatch, host_stopwatch, note_fsync};
#[cfg(any(test, feature = "sim"))]
pub use plan::Limits;
pub use recovery::{Found, OpenOptions, Opened, Phase, Progress, open_volume};
#[cfg(any(test, feature = "sim"))]
pub use rules::{Rule, Rules};
pub use wait::{
    Asked, KEEPER_SILENT_MS, reached, request_commit, request_flush, ring, stop_keeper, wait_committed,
    wait_durable, wait_room, want_room,
};

/// Mutations wait at the gate while more metadata blocks than this are dirty, because all of them must
/// fit one record: see [`METADATA_MAX_BLOCKS`].
pub const ADMISSION_META_BLOCKS: u32 = 1536;

/// In relaxed mode the journal is flushed when more metadata blocks than this are written but not
/// flushed: if that flush fails they have to go into one record together with what is dirty by then.
const UNFLUSHED_META_BLOCKS: u32 = 192;

/// The most metadata blocks that one record of a segment of the usual size takes. The difference to
/// [`ADMISSION_META_BLOCKS`] is left for operations that were admitted at the same time.
pub const METADATA_MAX_BLOCKS: u32 = 2043;

const _: () = assert!(ADMISSION_META_BLOCKS + UNFLUSHED_META_BLOCKS + 256 <= METADATA_MAX_BLOCKS);
