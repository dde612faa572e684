//! The block allocator, over the groups' bitmaps.
//!
//! A file that grows goes on where it ends. Otherwise a few blocks are taken as low as possible, so that
//! memory and image stay as small as what is in them; a long run is looked for where the last one
//! ended, so that it is not made of the gaps between small files.
//!
//! Once the device has refused to make the image file longer, only blocks are taken that the file has
//! already, because others could never be written; `next_space` says what can be done about that.
//!
//! A block is free when its bit is clear in the volume's bitmap, in `quarantine` and in `reserved`.
//! Allocation reserves; the transaction's commit sets the bitmap's bit and drops the reservation.

use super::error::Result;
use super::txn::{Run, Txn, map_word};
use super::{Core, Image, bits};
use crate::errno::Errno;
use crate::format::{BLOCK_SIZE, BlockKind, HEADER_SIZE_BYTES, INO_INODE_FILE};
use crate::store::Store;
use crate::store::runtime::{self as rt, Bitmap};
use std::sync::atomic::Ordering;

/// A run of this many blocks is a long one.
const LONG_RUN: u32 = 16;
/// Bitmap bytes looked at in one go: 4,096 blocks.
const WINDOW_BYTES: usize = 512;

impl<S: Store> Txn<'_, S> {
    /// Reserves a run of 1 to `want` blocks, from `goal` on if possible; `ENOSPC` when there is none.
    ///
    /// `goal` 0 means anywhere. A run never crosses its group.
    pub fn allocate(&mut self, goal: u32, want: u32) -> Result<Run> {
        let core = self.core();
        let image = &core.image;
        let geometry = image.geometry();
        let low = goal == 0 && want < LONG_RUN;
        let room = image.room();
        // A goal where the device has no room is none.
        let goal = if goal < room { goal } else { 0 };
        if goal == 0 && !low {
            self.rewind();
        }
        let start = match geometry.place(goal) {
            Some(place) => place,
            None => {
                let hint = image.store().load(if low { rt::FIRST_FREE } else { rt::RUN_HINT });
                geometry.place(hint).or_else(|| geometry.place(2)).ok_or(Errno::EIO)?
            }
        };
        let groups = geometry.groups();
        // The start's group is searched twice: from the goal to its end, and at last up to the goal.
        for turn in 0..=groups {
            let group = (start.group + turn) % groups;
            // Blocks of the group that there is room for.
            let len = geometry.group_len(group).min(room.saturating_sub(geometry.group_start(group)));
            let (from, to) = match turn {
                0 => (start.bit, len),
                _ if turn == groups => (1, start.bit.min(len)),
                _ => (1, len),
            };
            if let Some((bit, count)) = find_run(core, geometry.group_start(group), from, to, want) {
                let run = Run { block: geometry.group_start(group) + bit, count };
                let store = image.store();
                bits::set(store, map_word(image, Bitmap::Reserved), run.block, run.count);
                store.fetch_add(rt::FREE_BLOCKS, run.count.wrapping_neg());
                if low {
                    store.store(rt::FIRST_FREE, run.block + run.count);
                } else if goal == 0 {
                    store.store(rt::RUN_HINT, run.block + run.count);
                }
                self.add_allocated(run);
                return Ok(run);
            }
        }
        Err(Errno::ENOSPC.into())
    }

    /// Lets the search for long runs start anew when more is free before its hint than is left behind
    /// it, so that files which come and go do not drive the end of the image file before them.
    fn rewind(&self) {
        let image = self.image();
        let store = image.store();
        let hint = store.load(rt::RUN_HINT);
        let behind = image.geometry().image_blocks().saturating_sub(hint);
        let free_before = store.load(rt::FREE_BLOCKS).saturating_sub(behind);
        if free_before > behind && free_before > hint / 2 {
            store.store(rt::RUN_HINT, 2);
        }
    }

    /// As `allocate`, for blocks that are never freed again: only such as the image file has room for,
    /// or no deletion could help when the device is full.
    pub fn allocate_for_good(&mut self, goal: u32, want: u32) -> Result<Run> {
        let room = self.image().store().load(rt::ROOM_BLOCKS);
        let run = self.allocate(goal, want)?;
        if room == 0 || run.block + run.count <= room {
            return Ok(run);
        }
        let low = self.allocate(0, 1)?;
        if low.block < room {
            // Or it would be this transaction's, and nobody's after that.
            self.give_back(run);
            return Ok(low);
        }
        // The transaction gives both back.
        self.core().room_needed.store(run.block + run.count, Ordering::Relaxed);
        Err(Errno::ENOSPC.into())
    }

    /// Allocates one metadata block and gives it its header.
    pub fn allocate_block(&mut self, goal: u32, kind: BlockKind, owner: u32) -> Result<u32> {
        let run = match owner {
            INO_INODE_FILE => self.allocate_for_good(goal, 1)?,
            _ => self.allocate(goal, 1)?,
        };
        self.create_block(run.block, kind, owner);
        Ok(run.block)
    }
}

/// What an operation that found no space can do before it tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Wait for a commit, which frees what is quarantined.
    Quarantined,
    /// Wait until the image file has room for so many blocks.
    Room(u32),
    /// Let the volume grow.
    Growth,
    /// Nothing.
    None,
}

impl<S: Store> Core<S> {
    /// Where space may come from after `ENOSPC`; `may_wait` when waiting for quarantined blocks has not
    /// been tried too often. The caller holds the gate and has no transaction.
    pub fn next_space(&self, may_wait: bool) -> Space {
        let store = self.image.store();
        let room = store.load(rt::ROOM_BLOCKS);
        let needed = self.room_needed.swap(0, Ordering::Relaxed);
        let quarantined = may_wait && store.load(rt::QUARANTINE_COUNT) > 0;
        if needed > room {
            Space::Room(needed)
        } else if store.load(rt::ROOM_SHORT) != 0 && quarantined {
            Space::Quarantined
        } else if store.load(rt::ROOM_SHORT) != 0 && room < self.image.geometry().image_blocks() {
            Space::Room(room + 1)
        } else if let Some(new) = self.next_geometry() {
            self.room_for(&new).map_or(Space::Growth, Space::Room)
        } else if quarantined {
            Space::Quarantined
        } else {
            Space::None
        }
    }
}

/// First run of free blocks of the group at `group_start` whose bits lie in `from..to`.
fn find_run<S: Store>(
    core: &Core<S>,
    group_start: u32,
    from: u32,
    to: u32,
    want: u32,
) -> Option<(u32, u32)> {
    let image = &core.image;
    let mut window = [0_u8; WINDOW_BYTES];
    let mut at = from.max(1);
    let window_bits = WINDOW_BYTES as u32 * 8;
    let taken = |bit: u32| {
        image.bit(Bitmap::Quarantine, group_start + bit)
            || image.bit(Bitmap::Reserved, group_start + bit)
    };
    while at < to {
        let first = at / 8 * 8;
        let end = (first + window_bits).min(to);
        let bytes = (end - first).div_ceil(8) as usize;
        let offset = HEADER_SIZE_BYTES + (first / 8) as usize;
        debug_assert!(offset + bytes <= BLOCK_SIZE);
        image.read(group_start, offset, &mut window[..bytes]);
        while let Some(found) = bits::first_clear(&window, at - first, end - first) {
            let bit = first + found;
            if taken(bit) {
                at = bit + 1;
                continue;
            }
            let mut count = 1;
            while count < want
                && bit + count < end
                && bits::first_clear(&window, found + count, found + count + 1).is_some()
                && !taken(bit + count)
            {
                count += 1;
            }
            return Some((bit, count));
        }
        at = end;
    }
    None
}

/// Free blocks by the bitmaps, quarantined ones not counted; for attach.
pub fn count_free<S: Store>(image: &Image<S>) -> u32 {
    let geometry = image.geometry();
    let mut bitmap = [0_u8; BLOCK_SIZE];
    (0..geometry.groups())
        .map(|group| {
            image.read_block(geometry.group_start(group), &mut bitmap);
            bits::count_clear(&bitmap[HEADER_SIZE_BYTES..], geometry.group_len(group))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HeapStore;
    use crate::store::runtime::Durability;
    use crate::vfs::Volume;
    use std::sync::Arc;

    #[test]
    fn what_lies_beyond_the_room_is_given_back() {
        let store = Arc::new(HeapStore::new(rt::store_size_bytes(4096)));
        Image::prepare(&store, 1, Durability::Memory).unwrap();
        let volume = Volume::format(store.clone(), 2, || 0, [7; 32]).unwrap();
        let (core, image) = (volume.core(), volume.image());
        let (free, room) = (count_free(image), image.geometry().image_blocks() / 2);
        assert_eq!(store.load(rt::FREE_BLOCKS), free);
        image.lock_gate().unwrap();
        store.store(rt::ROOM_BLOCKS, room);
        let mut txn = Txn::begin(core);
        let run = txn.allocate_for_good(room + 5, 8).unwrap();
        assert!(run.block < room && run.count == 1, "{run:?}");
        txn.commit().unwrap();
        image.unlock_gate();
        // One block has come into use, and no other one.
        assert_eq!((count_free(image), store.load(rt::FREE_BLOCKS)), (free - 1, free - 1));
        assert!(!(0..image.geometry().image_blocks()).any(|block| image.bit(Bitmap::Reserved, block)));
    }
}
