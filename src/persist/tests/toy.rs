//! A toy volume that plays the core's part: it changes blocks under the gate by the core's rules, and
//! knows what every block held after each change.
//!
//! Block 3 is the root: it names the change count `k` and is rewritten by every change, as bitmaps and
//! inodes are in the real volume. What a recovered image holds must be exactly the state after one change.

use crate::core::Image;
use crate::format::{BLOCK_SIZE, Block, Geometry, Superblock, verify};
use crate::persist::sim::Rng;
use crate::store::runtime::{self as rt, Bitmap, Durability};
use crate::store::{HeapStore, Store, lock};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub const UUID: [u8; 16] = *b"toy volume's ID!";
const ROOT: u32 = 3;
const FIRST: u32 = 4;

pub type ToyImage = Image<Arc<HeapStore>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub metadata: bool,
    pub version: u32,
}

pub type State = BTreeMap<u32, Held>;

/// How a toy volume behaves.
#[derive(Clone, Copy)]
pub struct ToyRules {
    /// Allocate freed blocks before they leave quarantine.
    pub ignore_quarantine: bool,
    /// Blocks of the volume.
    pub blocks: u32,
    /// Dirty blocks that have to fit one record, at most.
    pub admitted: usize,
}

/// The states that a toy volume went through, over all its lives.
#[derive(Default)]
pub struct History {
    pub states: HashMap<u32, State>,
    /// The last change.
    pub attempted: u32,
    /// The last version of any block.
    pub version: u32,
}

pub struct Toy {
    pub image: ToyImage,
    rules: ToyRules,
    state: State,
    pub rng: Rng,
}

/// A fresh store and a view of it for the keeper.
pub fn fresh_store(blocks: u32, durability: Durability) -> (Arc<HeapStore>, ToyImage) {
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(blocks)));
    Image::prepare(&store, 1, durability).unwrap();
    let image = Image::attach(store.clone(), 1).unwrap();
    (store, image)
}

fn fill(block: u32, version: u32, bytes: &mut Block) {
    for word in bytes.as_chunks_mut::<4>().0 {
        *word = (version << 8 | block).to_le_bytes();
    }
}

impl Toy {
    /// The program's side of a store that holds `state`, the one after change `k`.
    pub fn attach(store: &Arc<HeapStore>, rules: ToyRules, k: u32, state: State, rng: Rng) -> Self {
        let image = Image::attach(store.clone(), 2).unwrap();
        store.store(rt::CHANGE, k);
        Self { image, rules, state, rng }
    }

    /// Makes an empty volume.
    pub fn format(&mut self, history: &mut History) {
        let superblock = Superblock {
            uuid: UUID,
            generation: 1,
            geometry: Geometry::new(self.rules.blocks).unwrap(),
            inode_file_block: 3,
            hash_key: [0; 16],
            created: 0,
            read_only: false,
        };
        let mut bytes = [0; BLOCK_SIZE];
        for block in 0..2 {
            superblock.encode(&mut bytes, block);
            self.image.write(block, 0, &bytes);
            self.image.mark_dirty(block, true);
        }
        self.image.set_bit(Bitmap::Fresh, ROOT);
        self.change(history, 0);
    }

    /// A random change, if the gate is open and admission allows.
    pub fn mutate(&mut self, history: &mut History) {
        if lock::owner(self.image.store(), rt::GATE) == 0 && self.must_fit() < self.rules.admitted {
            let count = 1 + self.rng.below(4);
            self.change(history, count);
        }
    }

    /// A change of one data block, which is allocated if it is free.
    pub fn put_data(&mut self, history: &mut History, block: u32) {
        if !self.state.contains_key(&block) {
            self.image.set_bit(Bitmap::Fresh, block);
        }
        self.put(history, block, false);
        self.change(history, 0);
    }

    /// Dirty blocks that cannot leave the store before the commit's last record.
    fn must_fit(&self) -> usize {
        let stuck =
            |block: &u32| self.image.bit(Bitmap::Meta, *block) || !self.image.bit(Bitmap::Fresh, *block);
        crate::persist::bits::all(&self.image, Bitmap::Dirty).iter().filter(|block| stuck(block)).count()
    }

    fn change(&mut self, history: &mut History, count: usize) {
        self.image.lock_gate().unwrap();
        for _ in 0..count {
            let used: Vec<u32> = self.state.keys().copied().collect();
            let kind = self.rng.below(100);
            if kind < 45 {
                self.allocate(history);
            } else if used.is_empty() {
            } else if kind < 75 {
                let block = used[self.rng.below(used.len())];
                let metadata = self.state[&block].metadata;
                self.put(history, block, metadata);
            } else {
                let block = used[self.rng.below(used.len())];
                self.free(block);
            }
        }
        let k = self.image.store().load(rt::CHANGE) + 1;
        let mut root = [0; BLOCK_SIZE];
        root[8..12].copy_from_slice(&k.to_le_bytes());
        self.image.write(ROOT, 0, &root);
        self.image.mark_dirty(ROOT, true);
        self.image.store().store(rt::CHANGE, k);
        history.states.insert(k, self.state.clone());
        history.attempted = k;
        self.image.unlock_gate();
    }

    fn allocate(&mut self, history: &mut History) {
        let free = |block: &u32| {
            !self.state.contains_key(block)
                && (self.rules.ignore_quarantine || !self.image.bit(Bitmap::Quarantine, *block))
        };
        let free: Vec<u32> = (FIRST..self.rules.blocks).filter(free).collect();
        if !free.is_empty() {
            let block = free[self.rng.below(free.len())];
            self.image.set_bit(Bitmap::Fresh, block);
            let metadata = self.rng.chance(40);
            self.put(history, block, metadata);
        }
    }

    fn put(&mut self, history: &mut History, block: u32, metadata: bool) {
        history.version += 1;
        let mut bytes = [0; BLOCK_SIZE];
        fill(block, history.version, &mut bytes);
        self.image.write(block, 0, &bytes);
        self.image.mark_dirty(block, metadata);
        self.state.insert(block, Held { metadata, version: history.version });
    }

    /// A change that frees a block.
    pub fn drop_block(&mut self, history: &mut History, block: u32) {
        self.free(block);
        self.change(history, 0);
    }

    fn free(&mut self, block: u32) {
        self.state.remove(&block);
        let store = self.image.store();
        let metadata = self.image.clear_bit(Bitmap::Meta, block);
        if self.image.clear_bit(Bitmap::Dirty, block) {
            store.fetch_add(rt::DIRTY_COUNT, u32::MAX);
            if metadata {
                store.fetch_add(rt::DIRTY_META_COUNT, u32::MAX);
            }
        }
        self.image.clear_bit(Bitmap::Fresh, block);
        if !self.image.set_bit(Bitmap::Quarantine, block) {
            store.fetch_add(rt::QUARANTINE_COUNT, 1);
        }
    }
}

/// What a recovered store holds: the change, or what is wrong. With `mixed`, data blocks may be newer.
pub fn judge(image: &ToyImage, history: &History, acked: u32, mixed: bool) -> Result<u32, String> {
    let mut bytes = [0; BLOCK_SIZE];
    image.read_block(ROOT, &mut bytes);
    let k = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
    if !verify(&bytes) {
        return Err(format!("the root is damaged; acknowledged {acked}"));
    }
    if k < acked || k > history.attempted {
        return Err(format!("change {k} is outside {acked}..={}", history.attempted));
    }
    for (&block, held) in &history.states[&k] {
        image.read_block(block, &mut bytes);
        if held.metadata && !verify(&bytes) {
            return Err(format!("block {block} is not sealed in change {k}"));
        }
        let from = if held.metadata { 8 } else { 0 };
        let newest = if mixed && !held.metadata { history.version } else { held.version };
        for word in bytes[from..].as_chunks::<4>().0 {
            let word = u32::from_le_bytes(*word);
            let (tag, version) = (word & 0xff, word >> 8);
            if tag != block || version < held.version || version > newest {
                return Err(format!(
                    "block {block} holds version {version} of {tag}; change {k} has {}",
                    held.version
                ));
            }
        }
    }
    Ok(k)
}
