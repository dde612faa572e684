//! Growing a volume that is full, up to what its store has room for.

use super::error::Result;
use super::txn::Txn;
use super::{Core, Image};
use crate::errno::Errno;
use crate::format::{BLOCK_SIZE, BlockKind, GROUP_BLOCKS, Geometry, HEADER_SIZE_BYTES, Superblock};
use crate::store::Store;
use crate::store::runtime as rt;

/// The least that a volume grows by: 16 MiB.
const STEP_BLOCKS: u32 = 4096;

/// Usable blocks of a volume of this shape: superblocks and bitmaps are not.
pub fn usable_blocks(geometry: &Geometry) -> u32 {
    geometry.image_blocks() - geometry.group_start(0) - geometry.groups()
}

/// The shape that the store's room allows.
pub fn largest<S: Store>(image: &Image<S>) -> Geometry {
    Geometry::new(image.capacity_blocks()).unwrap_or(image.geometry())
}

impl<S: Store> Core<S> {
    /// The shape that the volume gets next: half as large again, at least by 16 MiB, at most as large as
    /// the store allows, and with one more group at most, because the image file has to reach up to
    /// the last group's bitmap. None when it cannot grow.
    pub fn next_geometry(&self) -> Option<Geometry> {
        let old = self.image.geometry();
        let blocks = old.image_blocks();
        let end = old.group_start(old.groups()).saturating_add(GROUP_BLOCKS);
        let wanted = blocks.saturating_add((blocks / 2).max(STEP_BLOCKS)).min(end);
        let new = Geometry::new(wanted.min(self.image.capacity_blocks()))?;
        (new.image_blocks() > blocks).then_some(new)
    }

    /// Whether the volume can still grow.
    pub fn can_grow(&self) -> bool {
        self.next_geometry().is_some()
    }

    /// Blocks that the image file must have room for before the volume gets this shape; none when it
    /// has. The bitmaps of new groups change at once and nothing can free them again.
    pub fn room_for(&self, new: &Geometry) -> Option<u32> {
        let room = self.image.store().load(rt::ROOM_BLOCKS);
        let needed = new.group_start(new.groups() - 1) + 1;
        (room != 0 && new.groups() > self.image.geometry().groups() && needed > room).then_some(needed)
    }

    /// Makes the volume larger by one step. The caller holds the gate, has no transaction and has asked
    /// `room_for`. `ENOSPC` when the store has no room for more.
    pub fn grow(&self) -> Result<()> {
        let new = self.next_geometry().ok_or(Errno::ENOSPC)?;
        self.grow_to(new)
    }

    /// Gives the volume this shape, which is larger than the one it has and fits the store. The caller
    /// holds the gate, has no transaction and has asked `room_for`.
    pub fn grow_to(&self, new: Geometry) -> Result<()> {
        let image = &self.image;
        let old = image.geometry();
        let blocks = old.image_blocks();
        if new.image_blocks() <= blocks || new.image_blocks() > image.capacity_blocks() {
            return Err(Errno::EINVAL.into());
        }
        let mut superblock = read_superblock(image)?;
        superblock.geometry = new;
        superblock.generation = superblock.generation.saturating_add(1);

        let mut txn = Txn::begin(self);
        // Bits behind the image's end are set; those of blocks that exist from now on are cleared.
        let last = old.groups() - 1;
        let bits = txn.edit(old.group_start(last), HEADER_SIZE_BYTES, BLOCK_SIZE);
        clear_bits(&mut bits[HEADER_SIZE_BYTES..], old.group_len(last), new.group_len(last));
        for group in old.groups()..new.groups() {
            let bits = txn.create_block(new.group_start(group), BlockKind::Bitmap, 0);
            bits[HEADER_SIZE_BYTES..].fill(0xff);
            clear_bits(&mut bits[HEADER_SIZE_BYTES..], 1, new.group_len(group));
        }
        for copy in 0..2 {
            superblock.encode(txn.edit(copy, 0, BLOCK_SIZE), copy);
        }
        txn.commit()?;
        image.set_geometry(new);
        let added = usable_blocks(&new) - usable_blocks(&old);
        image.store().fetch_add(rt::FREE_BLOCKS, added);
        image.note_free(blocks);
        Ok(())
    }
}

fn clear_bits(bits: &mut [u8], from: u32, to: u32) {
    for bit in from..to {
        bits[(bit / 8) as usize] &= !(1 << (bit % 8));
    }
}

/// The volume's superblock as it is in the store.
pub fn read_superblock<S: Store>(image: &Image<S>) -> Result<Superblock> {
    let mut copies = [[0; BLOCK_SIZE]; 2];
    for (block, copy) in (0..).zip(&mut copies) {
        image.read_block(block, copy);
    }
    Superblock::choose([&copies[0], &copies[1]]).map_err(|error| error.errno().into())
}
