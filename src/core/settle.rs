//! What the heir of a gate does before anybody else gets in: it makes whole what a dead client left half done.
//!
//! ```text
//! 1  each redo slot that is not empty: apply its records; clear what was written behind a file's end
//! 2  give reserved blocks back: all of them are the dead one's, as blocks are reserved under the gate alone
//! 3  the volume's shape anew from its superblock; blocks that nobody uses, if the dead one could not name them
//! 4  counts anew; all watchers are told that they may have missed something
//! 5  odd sequence numbers even, slots empty
//! ```
//! All of it can be done again: an heir who dies has an heir of its own, who finds the slots as they were until
//! everything is done. Data that were being written are a mixture of old and new bytes, as after the death of a
//! process on any file system; everything else is as before the operation, or as after it.
//!
//! What a client owns beyond an operation (inodes that it holds, advisory locks, watchers) is recovered by
//! `Volume::bury`, which holds the gate, too.

use super::extent::{self, Mapping};
use super::image::Image;
use super::inodes::{for_each_block_of_table, read_settled};
use super::redo::{self, Tail};
use super::rules::Rule;
use super::sweep::sweep;
use super::txn::{Run, forget_dirty, map_word};
use super::{bits, count_free, log, read_superblock};
use crate::errno::Errno;
use crate::format::{BLOCK_SIZE, FileKind};
use crate::store::rules::{Rule as Word, holds};
use crate::store::runtime::{self as rt, Bitmap, VolumeState};
use crate::store::{Store, clients};
use std::sync::atomic::Ordering;

/// Makes whole what a dead owner of the gate left. The caller has the gate.
///
/// `EIO` when a slot holds what no client writes: the volume has failed then.
pub(super) fn settle<S: Store>(image: &Image<S>) -> Result<(), Errno> {
    let done = settle_slots(image);
    if done.is_err() {
        let store = image.store();
        store.store(rt::FAILURE, Errno::EIO.linux().cast_unsigned());
        store.store(rt::STATE, VolumeState::Failed as u32);
    }
    done
}

fn settle_slots<S: Store>(image: &Image<S>) -> Result<(), Errno> {
    let (store, rules) = (image.store(), image.rules());
    if holds(Word::FenceBeforeSettling) {
        // The plain writes that follow must not be seen before the sequence numbers that the dead one made odd are: that
        // one's own fence says nothing of what others write.
        store.fence(Ordering::SeqCst);
    }
    if !rules.on(Rule::ReplayBeforeDropping) {
        drop_reservations(image);
    }
    let (mut changed, mut incomplete, mut tails) = (false, false, Vec::new());
    for client in clients::slots() {
        let Some(left) = redo::left(image, client)? else { continue };
        changed = true;
        if !rules.on(Rule::EmptyWhenSettled) {
            redo::forget(image, client);
        }
        if rules.on(Rule::Replay) {
            redo::apply(image, &left.records)?;
        }
        incomplete |= left.incomplete;
        tails.push(left.tail);
    }
    // A store whose volume is still being loaded has no superblock that could be read.
    let superblock = read_superblock(image).ok();
    if let Some(superblock) = &superblock {
        if rules.on(Rule::ShapeAnew) {
            image.set_geometry(superblock.geometry);
        }
        for tail in tails.into_iter().filter(|tail| tail.ino != 0 && rules.on(Rule::ClearTail)) {
            clear_tail(image, superblock.inode_file_block, tail)?;
        }
    }
    if rules.on(Rule::ReplayBeforeDropping) {
        drop_reservations(image);
    }
    if let (true, Some(superblock)) = (incomplete, &superblock) {
        sweep(image, superblock).map_err(super::Error::errno)?;
    }
    if rules.on(Rule::CountAnew) {
        count_anew(image, superblock.map(|superblock| superblock.inode_file_block));
    }
    if changed {
        store.fetch_add(rt::CHANGE, 1);
    }
    let telling = store.load(rt::LOG_RESERVED) != store.load(rt::LOG_HEAD);
    if (changed || telling) && rules.on(Rule::TellWatchers) {
        log::overtake(store);
    }
    if rules.on(Rule::EvenStripes) {
        for stripe in 0..rt::STRIPES_COUNT {
            let word = rt::STRIPES + stripe * rt::STRIPE_SIZE_BYTES + 4;
            if !store.load(word).is_multiple_of(2) {
                store.fetch_add(word, 1);
            }
        }
    }
    for client in clients::slots() {
        if !redo::is_empty(image, client) {
            redo::forget(image, client);
        }
    }
    Ok(())
}

/// Clears what lies behind a file's end, up to where it was being written.
fn clear_tail<S: Store>(image: &Image<S>, table: u32, tail: Tail) -> Result<(), Errno> {
    const BLOCK: u64 = BLOCK_SIZE as u64;
    let inode = read_settled(image, table, tail.ino).map_err(super::Error::errno)?;
    if inode.kind != FileKind::Regular {
        return Ok(());
    }
    let mut at = inode.raw.size.get();
    if inode.is_inline() {
        // What lies in an inode is written by records alone.
        return Ok(());
    }
    while at < tail.end {
        let first = u32::try_from(at / BLOCK).map_err(|_| Errno::EIO)?;
        let within = at % BLOCK;
        match extent::map(image, &inode, first).map_err(super::Error::errno)? {
            Mapping::Run { block, count, .. } => {
                let part = (u64::from(count) * BLOCK - within).min(tail.end - at);
                let blocks = (within + part).div_ceil(BLOCK) as u32;
                (block..block + blocks).for_each(|block| image.mark_dirty(block, false));
                image.store().zero(image.block_offset(block) + within, part);
                at += part;
            }
            Mapping::Hole { count } => at += u64::from(count) * BLOCK - within,
        }
    }
    Ok(())
}

/// Gives back what was reserved: it holds nothing that anybody needs.
fn drop_reservations<S: Store>(image: &Image<S>) {
    if !image.rules().on(Rule::DropReservations) {
        return;
    }
    let start = map_word(image, Bitmap::Reserved);
    for index in 0..image.capacity_blocks().div_ceil(32) {
        let mut word = image.store().load(start + u64::from(index) * 4);
        while word != 0 {
            let block = index * 32 + word.trailing_zeros();
            forget_dirty(image, Run { block, count: 1 });
            bits::clear(image.store(), start, block, 1);
            word &= word - 1;
        }
    }
}

/// Makes all counts anew from what they count. `table`: the inode table's first block, if there is a volume.
fn count_anew<S: Store>(image: &Image<S>, table: Option<u32>) {
    let store = image.store();
    let words = image.capacity_blocks().div_ceil(32);
    let each = |map: Bitmap, index: u32| store.load(map_word(image, map) + u64::from(index) * 4);
    let (mut dirty, mut metas, mut in_flight, mut quarantined) = (0, 0, 0, 0);
    for index in 0..words {
        let meta = each(Bitmap::Meta, index);
        let word = each(Bitmap::Dirty, index);
        dirty += word.count_ones();
        metas += (word & meta).count_ones();
        in_flight += (each(Bitmap::InFlight, index) & meta).count_ones();
        quarantined += each(Bitmap::Quarantine, index).count_ones();
    }
    for (word, value) in [
        (rt::DIRTY_COUNT, dirty),
        (rt::DIRTY_META_COUNT, metas),
        (rt::IN_FLIGHT_META_COUNT, in_flight),
        (rt::QUARANTINE_COUNT, quarantined),
        // These are searched from the start again: what the dead one had is free wherever it lies.
        (rt::FIRST_FREE, 0),
    ] {
        store.store(word, value);
    }
    let Some(table) = table else { return };
    store.store(rt::FREE_BLOCKS, count_free(image).saturating_sub(quarantined));
    let mut used: u32 = 0;
    let counted = for_each_block_of_table(image, table, &mut |block, _| {
        used += block.used.count_ones();
        Ok(())
    });
    // A damaged table keeps the count that it had. Inode 0 is in use, and nobody's.
    if counted.is_ok() {
        store.store(rt::USED_INODES, used.saturating_sub(1));
    }
}
