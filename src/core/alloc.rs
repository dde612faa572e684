//! The block allocator, over the groups' bitmaps.
//!
//! A file that grows goes on where it ends. Otherwise a few blocks are taken as low as possible, so that
//! memory and image stay as small as what is in them; a long run is looked for where the last one
//! ended, so that it is not made of the gaps between small files.
//!
//! A block is free when its bit is clear in the volume's bitmap, in `quarantine` and in `reserved`.
//! Allocation reserves; the transaction's commit sets the bitmap's bit and drops the reservation.

use super::error::Result;
use super::txn::{Run, Txn, map_word};
use super::{Core, bits};
use crate::errno::Errno;
use crate::format::{BLOCK_SIZE, BlockKind, HEADER_SIZE_BYTES};
use crate::store::Store;
use crate::store::runtime::{self as rt, Bitmap};

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
            let len = geometry.group_len(group);
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

    /// Allocates one metadata block and gives it its header.
    pub fn allocate_block(&mut self, goal: u32, kind: BlockKind, owner: u32) -> Result<u32> {
        let run = self.allocate(goal, 1)?;
        self.create_block(run.block, kind, owner);
        Ok(run.block)
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
pub fn count_free<S: Store>(core: &Core<S>) -> u32 {
    let geometry = core.image.geometry();
    let mut bitmap = [0_u8; BLOCK_SIZE];
    (0..geometry.groups())
        .map(|group| {
            core.image.read_block(geometry.group_start(group), &mut bitmap);
            bits::count_clear(&bitmap[HEADER_SIZE_BYTES..], geometry.group_len(group))
        })
        .sum()
}
