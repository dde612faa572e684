//! Growing a volume that is full, up to what its store has room for.

use super::error::Result;
use super::txn::Txn;
use super::{Core, Image};
use crate::errno::Errno;
use crate::format::{BLOCK_SIZE, BlockKind, Geometry, HEADER_SIZE_BYTES, Superblock};
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
    /// Whether the volume can still grow.
    pub fn can_grow(&self) -> bool {
        largest(&self.image).image_blocks() > self.image.geometry().image_blocks()
    }

    /// Makes the volume half as large again, at least by 16 MiB, at most as large as the store allows.
    /// The caller holds the gate and has no transaction.
    pub fn grow(&self) -> Result<()> {
        let image = &self.image;
        let old = image.geometry();
        let blocks = old.image_blocks();
        let wanted = blocks.saturating_add((blocks / 2).max(STEP_BLOCKS)).min(image.capacity_blocks());
        let new = Geometry::new(wanted).ok_or(Errno::ENOSPC)?;
        if new.image_blocks() <= blocks {
            return Err(Errno::ENOSPC.into());
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
        txn.commit();
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
