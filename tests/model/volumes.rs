//! Small volumes in memory, with a clock that tests turn, and copies of them as a keeper would write.

use sabfs::core::extent::{self, Visit};
use sabfs::core::inodes::{for_each_table_block, inode_in};
use sabfs::core::{Core, DirView, Image, Txn};
use sabfs::format::{BLOCK_SIZE, FileKind, INODES_PER_BLOCK, SYMLINK_INLINE_MAX, seal};
use sabfs::store::runtime::{self, Durability};
use sabfs::store::{HeapStore, Store};
use sabfs::vfs::{NewInode, Volume};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

pub type HeapVolume = Volume<Arc<HeapStore>>;

pub const ROOT: u32 = 2;

const FIRST_NOW: i64 = 1_700_000_000_000_000_000;

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(FIRST_NOW) };
}

/// The tests' clock stands still until it is told.
pub fn now() -> i64 {
    NOW.get()
}

pub fn tick() {
    NOW.set(NOW.get() + 1_000_001);
}

/// Sets the clock of this thread; none is the beginning.
pub fn set_now(now: Option<i64>) {
    NOW.set(now.unwrap_or(FIRST_NOW));
}

pub fn store(blocks: u32) -> Arc<HeapStore> {
    let store = Arc::new(HeapStore::new(runtime::store_size_bytes(blocks)));
    Image::prepare(&store, 1, Durability::Memory).unwrap();
    store
}

pub fn volume(blocks: u32) -> HeapVolume {
    Volume::format(store(blocks), 1, now, [7; 32]).unwrap()
}

pub fn new(kind: FileKind) -> NewInode {
    NewInode { kind, permissions: 0o640, uid: 1, gid: 2, rdev: 0 }
}

pub fn file() -> NewInode {
    new(FileKind::Regular)
}

pub fn directory() -> NewInode {
    new(FileKind::Directory)
}

/// Reserves all free blocks but for `count`, until what it gives is dropped.
///
/// The volume must not be checked meanwhile: its counters are not those of its bitmaps.
pub fn leave_free(volume: &HeapVolume, count: u32) -> Txn<'_, Arc<HeapStore>> {
    let mut hog = Txn::begin(volume.core());
    let store = volume.image().store();
    while let more @ 1.. = store.load(runtime::FREE_BLOCKS).saturating_sub(count) {
        hog.allocate(0, more).unwrap();
    }
    hog
}

/// The bytes of an image, metadata blocks sealed.
pub fn sealed_image<S: Store>(volume: &Volume<S>) -> Vec<u8> {
    let image = volume.image();
    let metadata = metadata_blocks(volume.core());
    let mut bytes = Vec::new();
    let mut block_bytes = [0; BLOCK_SIZE];
    for block in 0..image.geometry().image_blocks() {
        image.read_block(block, &mut block_bytes);
        if metadata.contains(&block) {
            seal(&mut block_bytes);
        }
        bytes.extend(block_bytes);
    }
    bytes
}

/// A prepared store with this image in it, not mounted yet.
pub fn store_of_image(bytes: &[u8], capacity_blocks: u32) -> Arc<HeapStore> {
    let store = store(capacity_blocks);
    let base = runtime::image_base_blocks(capacity_blocks) * BLOCK_SIZE as u64;
    store.write(base, bytes);
    store
}

pub fn remount(volume: &HeapVolume) -> HeapVolume {
    let store = store_of_image(&sealed_image(volume), volume.image().capacity_blocks());
    Volume::load(store, 1, now).unwrap_or_else(|error| panic!("the copy does not load: {error}"))
}

/// Which blocks hold metadata, found by walking.
pub fn metadata_blocks<S: Store>(core: &Core<S>) -> BTreeSet<u32> {
    let image = &core.image;
    let geometry = image.geometry();
    let mut blocks: BTreeSet<u32> = [0, 1].into();
    blocks.extend((0..geometry.groups()).map(|group| geometry.group_start(group)));
    let mut inodes = Vec::new();
    for_each_table_block(core, &mut |table, bytes| {
        blocks.insert(table.block);
        for slot in (0..INODES_PER_BLOCK).filter(|slot| table.used >> slot & 1 == 1) {
            inodes.push(inode_in(bytes, table.part * INODES_PER_BLOCK + slot, &geometry)?);
        }
        Ok(())
    })
    .unwrap();
    for inode in inodes {
        match inode.kind {
            FileKind::Regular => extent::walk(image, &inode, &mut |visit| {
                if let Visit::Node(block) = visit {
                    blocks.insert(block);
                }
                Ok(())
            }),
            FileKind::Directory => {
                DirView::new(image, &inode, &core.superblock.hash_key).walk(&mut |block, _, _| {
                    blocks.insert(block);
                    Ok(())
                })
            }
            _ => Ok(()),
        }
        .unwrap();
        if inode.kind == FileKind::Symlink && inode.raw.size.get() > SYMLINK_INLINE_MAX as u64 {
            blocks.insert(inode.symlink_block());
        }
        if inode.raw.xattr_block.get() != 0 {
            blocks.insert(inode.raw.xattr_block.get());
        }
    }
    blocks
}
