//! How many bytes reach the files for the bytes that a program writes, compared with the arithmetic in
//! docs/design.md ("What a commit costs").

use crate::model::operations::content;
use crate::model::volumes::{self, HeapVolume, ROOT, directory, file, metadata_blocks};
use parking_lot::Mutex;
use sabfs::core::Image;
use sabfs::format::INODES_PER_BLOCK;
use sabfs::persist::{Device, DeviceError, Keeper, MemDevice, OpenOptions};
use sabfs::store::runtime::{self, Durability};
use sabfs::store::{HeapStore, Store};
use sabfs::vfs::{AllocateMode, Committer, Volume};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BLOCK: u64 = 4096;
/// Blocks of a segment that records can take.
const ROOM: u64 = 2047;

/// A file in memory that counts what is written to it.
struct Counting {
    file: MemDevice,
    bytes: Arc<AtomicU64>,
}

impl Device for Counting {
    fn size_bytes(&mut self) -> Result<u64, DeviceError> {
        self.file.size_bytes()
    }
    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, DeviceError> {
        self.file.read(at, buffer)
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<usize, DeviceError> {
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.file.write(at, bytes)
    }
    fn set_size(&mut self, size_bytes: u64) -> Result<(), DeviceError> {
        self.file.set_size(size_bytes)
    }
    fn flush(&mut self) -> Result<(), DeviceError> {
        self.file.flush()
    }
}

/// A new volume with segments of the usual size.
struct Counted {
    volume: HeapVolume,
    keeper: Arc<Mutex<Keeper<Arc<HeapStore>, Counting>>>,
    bytes: Arc<AtomicU64>,
    commits: Arc<Mutex<Vec<Asked>>>,
}

/// A commit that was asked for.
struct Asked {
    /// Dirty metadata blocks.
    metadata: u32,
    /// The image file was to get longer.
    for_room: bool,
}

impl Counted {
    fn new(blocks: u32) -> Self {
        let store = Arc::new(HeapStore::new(runtime::store_size_bytes(blocks)));
        Image::prepare(&store, 1, Durability::Strict).unwrap();
        let image = Image::attach(store.clone(), 2).unwrap();
        let bytes = Arc::new(AtomicU64::new(0));
        let device = || Counting { file: MemDevice::default(), bytes: bytes.clone() };
        let mut key = 1;
        let random = move || {
            key += 1;
            key
        };
        let options = OpenOptions::new([7; 16], Box::new(random));
        let (keeper, _) =
            Keeper::open(image, device(), device(), options, Box::new(|| 0), &mut |_| ()).unwrap();
        let mut volume = Volume::format(store, 1, volumes::now, [7; 32]).unwrap();
        let keeper = Arc::new(Mutex::new(keeper));
        let own = keeper.clone();
        let commits = Arc::new(Mutex::new(Vec::new()));
        let asked = commits.clone();
        volume.set_committer(Committer::Inline(Box::new(move |_| {
            let mut keeper = own.lock();
            let store = keeper.image().store();
            let metadata = store.load(runtime::DIRTY_META_COUNT);
            asked.lock().push(Asked { metadata, for_room: store.load(runtime::ROOM_WANTED) != 0 });
            keeper.commit_now()
        })));
        Self { volume, keeper, bytes, commits }
    }

    /// Blocks written while `run` runs, those of the checkpoint after it included.
    fn blocks_written(&self, run: impl FnOnce(&HeapVolume)) -> u64 {
        self.keeper.lock().checkpoint_now().unwrap();
        let before = self.bytes.load(Ordering::Relaxed);
        run(&self.volume);
        self.keeper.lock().checkpoint_now().unwrap();
        let bytes = self.bytes.load(Ordering::Relaxed) - before;
        assert!(bytes.is_multiple_of(BLOCK));
        bytes / BLOCK
    }
}

fn assert_close(what: &str, found: u64, expected: u64, payload: u64) {
    let ratio = |blocks: u64| blocks as f64 / payload as f64;
    println!("{what}: {:.3}x, by the arithmetic {:.3}x", ratio(found), ratio(expected));
    assert!(found.abs_diff(expected) * 10 <= expected, "{what}: {found} blocks, not {expected}");
}

/// Each block of a file once, with a commit after each, as often as fills four segments.
#[test]
fn overwriting_a_block_with_a_commit() {
    // Head, data, inode; of such records a segment takes so many.
    let per_segment = ROOM / 3;
    let counted = Counted::new(4096);
    let ino = counted.volume.create(ROOT, b"file", &file()).unwrap().ino;
    for block in 0..per_segment {
        let bytes = content(1, BLOCK as u32);
        assert_eq!(counted.volume.write(ino, block * BLOCK, &bytes), Ok(BLOCK as usize));
    }
    let found = counted.blocks_written(|volume| {
        for number in 0..4 * per_segment {
            volumes::tick();
            let bytes = content(number as u8, BLOCK as u32);
            volume.write(ino, number % per_segment * BLOCK, &bytes).unwrap();
            volume.fsync(ino).unwrap();
        }
    });
    // A segment: its records and its header; its checkpoint: every data block and the inode's block.
    let segment = per_segment * 3 + 1 + per_segment + 1;
    assert_close("4 KiB overwritten, fsync", found, 4 * segment, 4 * per_segment);
}

/// 10,000 files of 8 KiB in 10 commits.
const FILES: u64 = 10_000;
const BLOCKS_OF_A_FILE: u64 = 2;

fn make_files(volume: &HeapVolume, dir: u32) {
    for number in 0..FILES {
        let name = format!("file {number:05}");
        let ino = volume.create(dir, name.as_bytes(), &file()).unwrap().ino;
        let bytes = content(number as u8, (BLOCKS_OF_A_FILE * BLOCK) as u32);
        assert_eq!(volume.write(ino, 0, &bytes), Ok(bytes.len()));
        if (number + 1) % (FILES / 10) == 0 {
            volume.sync().unwrap();
        }
    }
}

#[test]
fn many_new_files_where_the_image_has_room() {
    let counted = Counted::new(30_000);
    let dir = counted.volume.create(ROOT, b"dir", &directory()).unwrap().ino;
    // The image file was that long before.
    let large = counted.volume.create(ROOT, b"large", &file()).unwrap().ino;
    counted.volume.allocate(large, AllocateMode::empty(), 0, 25_000 * BLOCK).unwrap();
    counted.volume.sync().unwrap();
    counted.volume.unlink(ROOT, b"large").unwrap();
    let found = counted.blocks_written(|volume| make_files(volume, dir));
    let commits = counted.commits.lock().split_off(1);
    assert_eq!(commits.len(), 10);
    let metadata = metadata_blocks(counted.volume.core()).len() as u64;
    // Leaves and nodes of the directory; the blocks of new inodes; the bitmap and the directory's own inode.
    let table = FILES / u64::from(INODES_PER_BLOCK);
    let directory = metadata - table - 4;
    let journaled: u64 = (1..=10).map(|tenth| 1 + directory * tenth / 10 + table / 10 + 2).sum();
    let data = FILES * BLOCKS_OF_A_FILE;
    // Fresh data once, in the image; metadata in records, and once more by the checkpoint.
    assert_close("10,000 files in 10 commits", found, data + journaled + metadata, data);
}

/// The same in a volume that is new. The image file gets longer by zeros, 256 blocks at a time, and each time
/// the inode table is to grow behind the file's end everything is committed.
#[test]
fn many_new_files_where_the_image_gets_longer() {
    let counted = Counted::new(30_000);
    let dir = counted.volume.create(ROOT, b"dir", &directory()).unwrap().ino;
    let found = counted.blocks_written(|volume| make_files(volume, dir));
    let commits = std::mem::take(&mut *counted.commits.lock());
    let journaled: u64 = commits.iter().map(|commit| 1 + u64::from(commit.metadata)).sum();
    let zeros = 256 * commits.iter().filter(|commit| commit.for_room).count() as u64;
    let metadata = metadata_blocks(counted.volume.core()).len() as u64;
    let data = FILES * BLOCKS_OF_A_FILE;
    println!("{} commits, {} of them for room", commits.len(), zeros / 256);
    assert_close("10,000 files in a new volume", found, data + zeros + journaled + metadata, data);
}
