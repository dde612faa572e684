//! What a keeper does first when it goes on with a volume in a store: the one before may have died at any
//! instruction, with the gate in its hand and with blocks marked clean that it never made durable.
//!
//! The files have been recovered by then, so they hold some commit, at least the last durable one. Whatever may
//! differ from it in the store is dirty already or in flight (see `commit`); the first commit of the new keeper
//! writes both.
//!
//! Under the gate a keeper changes bitmaps and counts of the runtime region and nothing else. Bits are changed
//! in an order that is right at every instruction; counts are made anew here.

use super::bits::{collect, count, count_both};
use super::rules::{Rule, Rules};
use crate::core::{Image, count_free};
use crate::errno::Errno;
use crate::store::Store;
use crate::store::runtime::{self as rt, Bitmap};

/// Takes over what the keeper before left in the store. The caller has its number in lock words, and is sure that
/// it has ended. `EIO` when the gate cannot be had.
pub fn take_over<S: Store>(image: &Image<S>, rules: Rules) -> Result<(), Errno> {
    let store = image.store();
    // From here on a gate in the keeper's name is this one's.
    store.store(rt::KEEPER_DEAD, 0);
    image.lock_gate_after_own()?;
    let mut in_flight = Vec::new();
    collect(image, Bitmap::InFlight, &mut in_flight);
    for block in in_flight {
        // Until the commit that frees it is durable, a freed block cannot be anything else.
        if rules.on(Rule::InFlightIsDirty) && !image.bit(Bitmap::Quarantine, block) {
            image.mark_dirty(block, image.bit(Bitmap::Meta, block));
        }
    }
    image.clear_bits(Bitmap::InFlight);
    let quarantined = count(image, Bitmap::Quarantine);
    for (word, value) in [
        (rt::IN_FLIGHT_META_COUNT, 0),
        (rt::DIRTY_COUNT, count(image, Bitmap::Dirty)),
        (rt::DIRTY_META_COUNT, count_both(image, Bitmap::Dirty, Bitmap::Meta)),
        (rt::QUARANTINE_COUNT, quarantined),
        (rt::FREE_BLOCKS, count_free(image).saturating_sub(quarantined)),
    ] {
        store.store(word, value);
    }
    // What was being released is free, wherever it lies.
    store.store(rt::FIRST_FREE, 0);
    image.unlock_gate();
    Ok(())
}
