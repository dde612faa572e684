//! The image inside a store: blocks by number, the gate that guards them, and what is dirty.
//!
//! Blocks are reached through `block_offset` alone, so that a map from blocks to frames can come
//! between later.

use super::redo::Room;
use super::rules::{Rule, Rules};
use super::settle::settle;
use crate::errno::Errno;
use crate::format::{BLOCK_SIZE, Block, Geometry};
use crate::store::lock::Taken;
use crate::store::runtime::{self as rt, Bitmap, Durability};
use crate::store::{Store, clients, lock};

/// How long a mutation waits for the gate before it gives up with `EIO`: far longer than any
/// operation holds it, so running out means that the holder died and nobody has said so.
pub const GATE_TIMEOUT_MS: u32 = if cfg!(test) { 3_000 } else { 20_000 };

/// A view of the image in `store` for one client.
pub struct Image<S> {
    store: S,
    client: u32,
    rules: Rules,
    #[cfg(test)]
    redo_room: Room,
    base: u64,
    capacity_blocks: u32,
}

impl<S: Store> Image<S> {
    /// The image of a store whose runtime region is complete.
    ///
    /// `client` is the number that this view puts into lock words: that of a client slot, or the keeper's.
    /// No two live views of one store may share it.
    pub fn attach(store: S, client: u32) -> Result<Self, Errno> {
        if store.size_bytes() < rt::BITMAPS || store.load(rt::MAGIC) != rt::MAGIC_VALUE {
            return Err(Errno::ENODEV);
        }
        let capacity_blocks = store.load(rt::CAPACITY_BLOCKS);
        let base = u64::from(store.load(rt::IMAGE_BASE_BLOCKS));
        if base != rt::image_base_blocks(capacity_blocks)
            || rt::store_size_bytes(capacity_blocks) > store.size_bytes()
        {
            return Err(Errno::EINVAL);
        }
        let rules = Rules::default();
        Ok(Self {
            store,
            client,
            rules,
            #[cfg(test)]
            redo_room: Room::ALL,
            base: base * BLOCK_SIZE as u64,
            capacity_blocks,
        })
    }

    /// Prepares the runtime region of a zeroed store: no volume in it yet.
    ///
    /// The image gets as many blocks as fit. Fails with `EINVAL` when the store is too small.
    pub fn prepare(store: &S, store_id: u32, durability: Durability) -> Result<u32, Errno> {
        let capacity = rt::capacity_of_store(store.size_bytes());
        if Geometry::new(capacity).is_none() {
            return Err(Errno::EINVAL);
        }
        let base = u32::try_from(rt::image_base_blocks(capacity)).map_err(|_| Errno::EINVAL)?;
        store.store(rt::STORE_ID, store_id);
        store.store(rt::IMAGE_BASE_BLOCKS, base);
        store.store(rt::CAPACITY_BLOCKS, capacity);
        store.store(rt::DURABILITY, durability as u32);
        store.store(rt::MAGIC, rt::MAGIC_VALUE);
        Ok(capacity)
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// This view's number in lock words.
    pub fn client(&self) -> u32 {
        self.client
    }

    /// Which of the rules hold that make deaths harmless.
    #[inline]
    pub(crate) fn rules(&self) -> Rules {
        self.rules
    }

    #[cfg(test)]
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Room for redo records.
    #[inline]
    pub(super) fn redo_room(&self) -> Room {
        #[cfg(test)]
        return self.redo_room;
        #[cfg(not(test))]
        Room::ALL
    }

    #[cfg(test)]
    pub(crate) fn set_redo_room(&mut self, room: Room) {
        self.redo_room = room;
    }

    /// How many blocks the store has room for.
    pub fn capacity_blocks(&self) -> u32 {
        self.capacity_blocks
    }

    /// Publishes the volume's shape, once the superblock is known and whenever it has grown.
    pub fn set_geometry(&self, geometry: Geometry) {
        let blocks = geometry.image_blocks();
        // Who attaches may have read a superblock that has been replaced since: never back.
        if blocks > self.store.load(rt::IMAGE_BLOCKS) {
            self.store.store(rt::IMAGE_BLOCKS, blocks);
        }
    }

    /// The volume's shape; before `set_geometry` as large as the store allows.
    #[inline]
    pub fn geometry(&self) -> Geometry {
        let known = self.store.load(rt::IMAGE_BLOCKS).min(self.capacity_blocks);
        Geometry::new(known)
            .or_else(|| Geometry::new(self.capacity_blocks))
            .expect("attach checked the capacity")
    }

    /// Blocks from this one on cannot be written to the image file; `u32::MAX` while the device takes
    /// what it is given.
    pub fn room(&self) -> u32 {
        match self.store.load(rt::ROOM_SHORT) {
            0 => u32::MAX,
            _ => self.store.load(rt::ROOM_BLOCKS),
        }
    }

    /// When fsync returns.
    pub fn durability(&self) -> Durability {
        Durability::from_word(self.store.load(rt::DURABILITY)).unwrap_or(Durability::Strict)
    }

    /// Offset of a block in the store. The caller has checked `block` against the geometry.
    #[inline]
    pub fn block_offset(&self, block: u32) -> u64 {
        debug_assert!(block < self.capacity_blocks);
        self.base + u64::from(block) * BLOCK_SIZE as u64
    }

    /// Copies bytes of a block out.
    #[inline]
    pub fn read(&self, block: u32, at: usize, buffer: &mut [u8]) {
        debug_assert!(at + buffer.len() <= BLOCK_SIZE);
        self.store.read(self.block_offset(block) + at as u64, buffer);
    }

    /// Copies a whole block out.
    pub fn read_block(&self, block: u32, buffer: &mut Block) {
        self.store.read(self.block_offset(block), buffer);
    }

    /// Copies bytes into a block; under the gate. Does not mark it dirty.
    #[inline]
    pub fn write(&self, block: u32, at: usize, bytes: &[u8]) {
        debug_assert!(at + bytes.len() <= BLOCK_SIZE);
        self.store.write(self.block_offset(block) + at as u64, bytes);
    }

    /// Takes the gate: excludes every other mutation and the keeper's cut. When its owner is known to be dead it
    /// is inherited, and what the dead one left half done is made whole first.
    pub fn lock_gate(&self) -> Result<(), Errno> {
        let taken = self.take_gate(GATE_TIMEOUT_MS, &|owner| clients::is_dead(&self.store, owner))?;
        if taken { Ok(()) } else { Err(lock::late(&self.store)) }
    }

    /// As `lock_gate`, but waits no longer than this; gives whether it has the gate.
    pub fn lock_gate_within(&self, limit_ms: u32) -> Result<bool, Errno> {
        self.take_gate(limit_ms, &|owner| clients::is_dead(&self.store, owner))
    }

    /// As `lock_gate`, for who has slept on the gate's word, and waits no more; gives whether it has the gate.
    pub fn lock_gate_after_sleep(&self) -> Result<bool, Errno> {
        let is_dead = |owner| clients::is_dead(&self.store, owner);
        self.taken(lock::lock_after_sleep(&self.store, rt::GATE, self.client, &is_dead))
    }

    /// As `lock_gate`, for whoever follows a client of the same number, which has ended and may have had the gate.
    pub fn lock_gate_after_own(&self) -> Result<(), Errno> {
        let is_dead = |owner| owner == self.client || clients::is_dead(&self.store, owner);
        if self.take_gate(GATE_TIMEOUT_MS, &is_dead)? { Ok(()) } else { Err(lock::late(&self.store)) }
    }

    /// False when the time ran out.
    fn take_gate(&self, limit_ms: u32, is_dead: &dyn Fn(u32) -> bool) -> Result<bool, Errno> {
        self.taken(lock::lock_or_inherit(&self.store, rt::GATE, self.client, limit_ms, is_dead))
    }

    fn taken(&self, taken: Taken) -> Result<bool, Errno> {
        match taken {
            Taken::Free => Ok(true),
            Taken::From(_) if !self.rules.on(Rule::SettleBeforeOpening) => Ok(true),
            Taken::From(_) => settle(self).map(|()| true).inspect_err(|_| self.unlock_gate()),
            Taken::Not => Ok(false),
        }
    }

    /// Gives the gate back.
    pub fn unlock_gate(&self) {
        lock::unlock(&self.store, rt::GATE, self.client);
    }

    /// Whether the block's bit is set.
    #[inline]
    pub fn bit(&self, map: Bitmap, block: u32) -> bool {
        let (word, mask) = rt::bit_of(map, self.capacity_blocks, block);
        self.store.load(word) & mask != 0
    }

    /// Sets the block's bit; gives whether it was set before.
    #[inline]
    pub fn set_bit(&self, map: Bitmap, block: u32) -> bool {
        let (word, mask) = rt::bit_of(map, self.capacity_blocks, block);
        // A look first: most bits that are set are set already, and a load is cheaper.
        self.store.load(word) & mask != 0 || self.store.fetch_or(word, mask) & mask != 0
    }

    /// Clears the block's bit; gives whether it was set before.
    #[inline]
    pub fn clear_bit(&self, map: Bitmap, block: u32) -> bool {
        let (word, mask) = rt::bit_of(map, self.capacity_blocks, block);
        self.store.load(word) & mask != 0 && self.store.fetch_and(word, !mask) & mask != 0
    }

    /// Marks a block as changed since the last commit; under the gate.
    pub fn mark_dirty(&self, block: u32, metadata: bool) {
        if self.durability() == Durability::Memory {
            return;
        }
        if metadata {
            self.set_bit(Bitmap::Meta, block);
        }
        if !self.set_bit(Bitmap::Dirty, block) {
            self.store.fetch_add(rt::DIRTY_COUNT, 1);
            if metadata {
                self.store.fetch_add(rt::DIRTY_META_COUNT, 1);
            }
        }
    }

    /// Notes that `block` and perhaps later ones have become free; under the gate.
    pub fn note_free(&self, block: u32) {
        if block < self.store.load(rt::FIRST_FREE) {
            self.store.store(rt::FIRST_FREE, block);
        }
    }

    /// Clears a whole bitmap; under the gate.
    pub fn clear_bits(&self, map: Bitmap) {
        let (start, _) = rt::bit_of(map, self.capacity_blocks, 0);
        self.store.zero(start, rt::bitmap_size_bytes(self.capacity_blocks));
    }
}
