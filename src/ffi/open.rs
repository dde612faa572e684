//! Opening a volume's files into a store: what a keeper worker does, and a program that is its own
//! keeper.

use super::device::JsDevice;
use super::prepare::prepare;
use crate::core::{Image, LoadError};
use crate::errno::Errno;
use crate::persist::{Found, Keeper, OpenError, OpenOptions, Progress, Random, Stopwatch};
use crate::store::runtime::{self as rt, Durability};
use crate::store::{Store, WasmStore, clients};
use crate::vfs::{Clock, Volume};
use std::fmt;

/// What the edge's surroundings give.
pub(super) struct Host {
    /// Time of day.
    pub now_ns: Clock,
    /// Milliseconds that never go back.
    pub now_ms: fn() -> u64,
    /// Microseconds that never go back.
    pub now_us: Stopwatch,
    /// Random bytes that nobody can guess.
    pub random: fn() -> [u8; 32],
}

/// Why a volume was not opened.
pub(super) enum Failure {
    Os(Errno),
    Open(OpenError),
    Load(LoadError),
    /// A volume is to be read only, and there is none.
    Nothing,
    /// The device took the new volume, but not its first commit.
    FirstCommit(Errno),
}

impl Failure {
    pub(super) fn errno(&self) -> Errno {
        match self {
            Self::Os(errno) | Self::FirstCommit(errno) => *errno,
            Self::Open(error) => error.errno(),
            Self::Load(error) => error.errno(),
            Self::Nothing => Errno::ENOENT,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os(Errno::EINVAL) => write!(f, "the store is too small: set a larger capacity"),
            Self::Os(errno) => errno.fmt(f),
            Self::Open(error) => error.fmt(f),
            Self::Load(error) => error.fmt(f),
            Self::Nothing => write!(f, "there is no such volume, and readOnly forbids to make one"),
            Self::FirstCommit(errno) => write!(f, "the new volume cannot be written: {errno}"),
        }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

/// Goes on with a volume that is in the store, whose keeper has paused or died: opens its files again, if
/// nobody else had them meanwhile.
#[cfg(not(target_os = "emscripten"))] // only the keeper's module has followers
pub(super) fn resume(
    store: WasmStore,
    read_only: bool,
    host: &Host,
) -> Result<Keeper<WasmStore, JsDevice>, Failure> {
    let mut options = OpenOptions::new([0; 16], keys(host));
    (options.read_only, options.resume) = (read_only, Some(crate::persist::Mark::kept(&store)));
    let (image, now_ms) = (Image::attach(store, rt::KEEPER_CLIENT)?, Box::new(host.now_ms));
    Keeper::open(image, JsDevice::Image, JsDevice::Journal, options, now_ms, &mut |_| ())
        .map(|(mut keeper, _)| {
            keeper.set_stopwatch(host.now_us);
            keeper
        })
        .map_err(Failure::Open)
}

/// Random numbers for the keys of the journal.
fn keys(host: &Host) -> Random {
    let random = host.random;
    Box::new(move || {
        let mut number = [0; 8];
        number.copy_from_slice(&random()[..8]);
        u64::from_le_bytes(number)
    })
}

/// Makes the store anew, opens the volume's files, recovers them, loads or makes the volume, of which the caller
/// is a client then.
pub(super) fn open(
    store: WasmStore,
    durability: Durability,
    read_only: bool,
    host: &Host,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Keeper<WasmStore, JsDevice>, Volume<WasmStore>), Failure> {
    let seed = (host.random)();
    let [id @ .., _] = seed.as_chunks::<4>().0 else { return Err(Errno::EIO.into()) };
    prepare(&store, durability, u32::from_le_bytes(id[0]))?;
    let image = Image::attach(store, rt::KEEPER_CLIENT)?;
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&(host.random)()[..16]);
    let mut options = OpenOptions::new(uuid, keys(host));
    options.read_only = read_only;
    let now_ms = host.now_ms;
    let mut beating = |step| {
        store.fetch_add(rt::KEEPER_BEAT, 1);
        progress(step);
    };
    let (mut keeper, found) =
        Keeper::open(image, JsDevice::Image, JsDevice::Journal, options, Box::new(now_ms), &mut beating)
            .map_err(Failure::Open)?;
    keeper.set_stopwatch(host.now_us);
    let client = clients::claim(&store, [0; 2])?;
    let volume = match found {
        Found::New if read_only => return Err(Failure::Nothing),
        Found::New => {
            let mut seed = (host.random)();
            seed[..16].copy_from_slice(&uuid);
            let volume = Volume::format(store, client, host.now_ns, seed)?;
            // A device that is full says so now, not at the program's first fsync.
            keeper.commit_now().map_err(Failure::FirstCommit)?;
            volume
        }
        Found::Volume(_) => Volume::load(store, client, host.now_ns).map_err(Failure::Load)?,
    };
    Ok((keeper, volume))
}
