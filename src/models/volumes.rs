//! Small volumes, on which clients of a model work.

use super::store::{LoomStore, Snapshot};
use crate::core::Image;
use crate::format::FileKind;
use crate::store::runtime::{self as rt, Durability};
use crate::store::{HeapStore, Store};
use crate::vfs::{Ino, NewInode, Volume};
use std::cell::Cell;
use std::sync::Arc;

pub const ROOT: Ino = 2;
const BLOCKS: u32 = 64;

pub type Heap = Volume<Arc<HeapStore>>;

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(1) };
}

/// A clock that stands still until it is told.
pub fn now() -> i64 {
    NOW.get()
}

pub fn set_now(now_ns: i64) {
    NOW.set(now_ns);
}

pub fn file() -> NewInode {
    NewInode { kind: FileKind::Regular, permissions: 0o640, uid: 1, gid: 2, rdev: 0 }
}

pub fn directory() -> NewInode {
    NewInode { kind: FileKind::Directory, ..file() }
}

/// A new volume of `blocks`, whose founder, client 60, is there.
pub fn found(blocks: u32, durability: Durability) -> Heap {
    set_now(1);
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(blocks)));
    Image::prepare(&store, 1, durability).unwrap();
    Volume::format(store, 60, now, [7; 32]).unwrap()
}

/// A volume in memory with a file of some blocks, another small one, and nobody attached.
pub struct Base {
    pub heap: Arc<HeapStore>,
    pub a: Ino,
    pub b: Ino,
}

impl Base {
    pub fn new() -> Self {
        let founder = found(BLOCKS, Durability::Memory);
        let a = founder.create(ROOT, b"a", &file()).unwrap().ino;
        let b = founder.create(ROOT, b"b", &file()).unwrap().ino;
        founder.write(a, 0, &[1; 4096]).unwrap();
        founder.detach().unwrap();
        Self { heap: founder.image().store().clone(), a, b }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&*self.heap)
    }

    pub fn word(&self, offset: u64) -> u32 {
        self.heap.load(offset)
    }

    /// Words of the image that an operation changes.
    pub fn changed(&self, run: impl FnOnce(&Heap)) -> Vec<u64> {
        let before = self.snapshot();
        let volume = Volume::attach(self.heap.clone(), 1, now).unwrap();
        run(&volume);
        let image = volume.image().block_offset(0);
        let changed = before.changed(&self.snapshot(), image);
        drop(volume);
        before.restore(&*self.heap);
        changed
    }
}

/// A client's view of a model's store.
pub fn attach(store: &Arc<LoomStore>, client: u32) -> Volume<Arc<LoomStore>> {
    Volume::attach(store.clone(), client, now).unwrap()
}
