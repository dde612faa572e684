//! Opening volumes on a host, for all commands.
//!
//! | how | what it does |
//! |---|---|
//! | [`Session::writable`] | recovers and locks a volume's folder; a keeper in a thread of its own commits |
//! | [`Session::read_only`] | writes nothing: recovery goes to memory; also opens an image file alone |
//! | [`load_in_memory`] | as the latter, without the checks that a mount makes |
//! | [`load_to_mend`] | the same of a volume with a damaged journal |

mod memory;
mod overlay;

pub use memory::{load_in_memory, load_to_mend};

use sabfs::core::Image;
use sabfs::errno::Errno;
use sabfs::format::BLOCK_SIZE;
use sabfs::persist::{
    Clock, FileDevice, Found, Keeper, OpenError, OpenOptions, Turn, VolumeFolder, stop_keeper,
};
use sabfs::store::runtime::{self as rt, Durability};
use sabfs::store::{HeapStore, Store};
use sabfs::vfs::Volume;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The store of a volume that is open here.
pub type HostStore = Arc<HeapStore>;

/// How far a volume may grow unless told otherwise, in bytes of store: what a program in a browser can
/// still open. Memory is taken only for what is in use.
pub const CAPACITY_BYTES: u64 = 1 << 32;

/// How long the keeper waits for work before it looks whether there is any.
const TURN_MS: u32 = 1000;
/// Numbers of the two views of the store.
const VOLUME_CLIENT: u32 = 1;
const KEEPER_CLIENT: u32 = rt::KEEPER_CLIENT;

/// How a keeper's thread ended: the first error that a commit had and nobody overcame.
type KeeperThread = JoinHandle<Result<(), String>>;

/// An open volume.
///
/// [`Session::close`] makes everything durable and says whether that worked. A session that is dropped
/// does the same but has nobody to tell.
pub struct Session {
    volume: Arc<Volume<HostStore>>,
    path: PathBuf,
    keeper: Option<KeeperThread>,
    /// Behind the keeper, which must not outlive the lock.
    folder: Option<VolumeFolder>,
    replayed_blocks: Option<u32>,
}

impl Session {
    /// Opens a volume's folder to write to it. It may grow until its store has `capacity_bytes`.
    ///
    /// A thread commits once a second and whenever space or the journal needs it.
    pub fn writable(path: &Path, capacity_bytes: u64) -> Result<Self, String> {
        let (folder, size_bytes) = open_folder(path)?;
        let (image, keeper) = open_keeper(&folder, path, capacity_bytes, size_bytes, None)?;
        let store = image.store().clone();
        drop(image);
        let mut session = Self::loaded(store, path, Some(folder))?;
        if session.volume.core().superblock.read_only {
            return Err(format!(
                "{} has features that this version can only read: use a newer sabfs to write to it",
                path.display()
            ));
        }
        session.keeper = Some(spawn_keeper(keeper)?);
        Ok(session)
    }

    /// Opens a volume's folder or an image file to read it. Nothing is written to the files.
    pub fn read_only(path: &Path) -> Result<Self, String> {
        let loaded = load_in_memory(path, false)?;
        let store = loaded.image.store().clone();
        drop(loaded.image);
        let mut session = Self::loaded(store, path, loaded.folder)?;
        session.replayed_blocks = loaded.replayed_blocks;
        session.volume.image().store().store(rt::READ_ONLY, 1);
        Ok(session)
    }

    /// Makes a volume that lives in memory alone, with room for an image of `size_bytes` less some.
    pub fn in_memory(size_bytes: u64) -> Result<Self, String> {
        let store = store(rt::capacity_of_store(size_bytes), Durability::Memory)
            .map_err(|_| format!("{size_bytes} bytes are too few for a volume: give 128 K or more"))?;
        let volume = Volume::format(store, VOLUME_CLIENT, now_ns, random_bytes()?)
            .map_err(|errno| format!("cannot make a volume: {errno}"))?;
        Ok(Self::of(volume, Path::new("memory"), None))
    }

    fn loaded(store: HostStore, path: &Path, folder: Option<VolumeFolder>) -> Result<Self, String> {
        let volume = Volume::load(store, VOLUME_CLIENT, now_ns).map_err(|error| {
            let path = path.display();
            format!("cannot open {path}: {error}; see what `sabfs check {path}` finds")
        })?;
        Ok(Self::of(volume, path, folder))
    }

    fn of(volume: Volume<HostStore>, path: &Path, folder: Option<VolumeFolder>) -> Self {
        let path = path.to_owned();
        Self { volume: Arc::new(volume), path, keeper: None, folder, replayed_blocks: None }
    }

    /// The volume.
    pub fn volume(&self) -> &Arc<Volume<HostStore>> {
        &self.volume
    }

    /// The volume, to say how it is to behave, before anybody else has it.
    pub fn volume_mut(&mut self) -> &mut Volume<HostStore> {
        Arc::get_mut(&mut self.volume).expect("nobody else has the volume yet")
    }

    /// Blocks that the journal had for the image; none for an image file, or a volume that is written to.
    pub fn replayed_blocks(&self) -> Option<u32> {
        self.replayed_blocks
    }

    /// Commits everything durably, stops the keeper and gives the folder back.
    pub fn close(mut self) -> Result<(), String> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), String> {
        let Some(keeper) = self.keeper.take() else { return Ok(()) };
        let asked = stop_keeper(self.volume.image());
        let told = match keeper.join() {
            Ok(told) => told,
            Err(_) => Err("the keeper's thread died".to_owned()),
        };
        // The thread's own words say more than the number that it left in the store.
        told.and(asked.map_err(|errno: Errno| errno.to_string())).map_err(|error| {
            format!(
                "cannot make the changes durable in {}: {error}; free space or mend the disk and do it \
                 again: the volume is as it was at the last commit",
                self.path.display()
            )
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Err(message) = self.finish() {
            eprintln!("sabfs: {message}");
        }
        self.folder = None;
    }
}

/// Opens the folder of a volume that exists; also gives the size of its image.
pub fn open_folder(path: &Path) -> Result<(VolumeFolder, u64), String> {
    // Opening the folder would make the files that are missing.
    for name in ["image", "journal"] {
        if !path.join(name).is_file() {
            return Err(format!(
                "{} is not a volume: it has no file {name}; `sabfs mkfs` makes one",
                path.display()
            ));
        }
    }
    let folder = VolumeFolder::open(path).map_err(|error| error.to_string())?;
    let image = path.join("image");
    let file = std::fs::metadata(&image).map_err(|e| format!("cannot read {}: {e}", image.display()))?;
    Ok((folder, file.len()))
}

/// What is to be mended of a volume.
#[derive(Clone, Copy)]
pub struct Mend {
    /// Its journal is damaged.
    pub journal: bool,
}

/// Opens a volume with a keeper, which is not running yet; the image lies in the store, unchecked. To be mended it is
/// loaded with all blocks.
pub fn open_keeper(
    folder: &VolumeFolder,
    path: &Path,
    capacity_bytes: u64,
    size_bytes: u64,
    mend: Option<Mend>,
) -> Result<(Image<HostStore>, Keeper<HostStore, FileDevice>), String> {
    let mut blocks = rt::capacity_of_store(capacity_bytes).max(blocks_of(size_bytes));
    loop {
        let store = store(blocks, Durability::Strict)?;
        let attach = |client| Image::attach(store.clone(), client).map_err(|errno| errno.to_string());
        let (image_device, journal_device) = folder.devices().map_err(|error| error.to_string())?;
        let mut options = OpenOptions::new([0; 16], Box::new(random_number));
        options.all_blocks = mend.is_some();
        options.salvage = mend.is_some_and(|mend| mend.journal);
        let (image, journal) = (image_device, journal_device);
        match Keeper::open(attach(KEEPER_CLIENT)?, image, journal, options, clock_ms(), &mut |_| ()) {
            Err(OpenError::Capacity { needed_blocks, .. }) if needed_blocks > blocks => {
                blocks = needed_blocks;
            }
            Err(error) => return Err(error.to_string()),
            Ok((_, Found::New)) => return Err(format!("{} holds no volume yet", path.display())),
            Ok((keeper, Found::Volume(_))) => return Ok((attach(VOLUME_CLIENT)?, keeper)),
        }
    }
}

fn spawn_keeper(mut keeper: Keeper<HostStore, FileDevice>) -> Result<KeeperThread, String> {
    let serve = move || {
        while keeper.turn(TURN_MS) != Turn::Stopped {}
        keeper.last_error().map_or(Ok(()), |error| Err(error.to_string()))
    };
    let spawned = thread::Builder::new().name("keeper".to_owned()).spawn(serve);
    spawned.map_err(|error| format!("cannot start the keeper's thread: {error}"))
}

/// Blocks of an image file of this size; 64 at least.
pub(crate) fn blocks_of(size_bytes: u64) -> u32 {
    u32::try_from(size_bytes.div_ceil(BLOCK_SIZE as u64)).unwrap_or(u32::MAX).max(64)
}

/// A fresh store with room for so many blocks.
pub fn store(blocks: u32, durability: Durability) -> Result<HostStore, String> {
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(blocks)));
    Image::prepare(&store, 1, durability).map_err(|errno| errno.to_string())?;
    Ok(store)
}

/// A clock for a keeper.
pub fn clock_ms() -> Clock {
    let started = Instant::now();
    Box::new(move || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// Nanoseconds since 1970.
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Numbers that nobody can guess.
pub fn random_bytes() -> Result<[u8; 32], String> {
    let mut random = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .map_err(|error| format!("cannot read random numbers: {error}"))?;
    Ok(random)
}

/// A number that nobody can guess.
pub fn random_number() -> u64 {
    let random = random_bytes().expect("the host has random numbers");
    u64::from_le_bytes(std::array::from_fn(|index| random[index]))
}
