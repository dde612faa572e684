//! Who is attached to a store: one slot for each client, taken and given back by compare and exchange.
//!
//! ```text
//!  0 u32 serial << 2 | state: 0 free, 1 claimed, 2 attached, 3 dead
//!  4 u32, 8 u32 sign of life   12 u32 1: somebody of its program can go on with the keeper's work   16.. spare
//! ```
//!
//! The slot's number, counted from 1, stands in lock words and for the bit of masks: whatever a client owns is
//! found by it. The serial number tells a client from an earlier one in the same slot, so that whoever hears late
//! that a client has died does not bury another one.
//!
//! The sign of life is what somebody who can hear of deaths needs to hear of this one: the front end's business
//! (emscripten/watch.js). Zeros: nobody can.
//!
//! A slot is dead from the moment that somebody who knows says so, until what the client owned is recovered.
//! Nobody else may take it in between. The keeper has a number, but no slot: [`rt::KEEPER_CLIENT`].

use super::Store;
use super::rules::{Rule, holds};
use super::runtime as rt;
use crate::errno::Errno;

const FREE: u32 = 0;
const CLAIMED: u32 = 1;
const ATTACHED: u32 = 2;
const DEAD: u32 = 3;
const STATE_BITS: u32 = 2;

/// A client's name: its slot, and which of all that ever had the slot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId {
    /// The slot's number, 1 or more.
    pub slot: u32,
    /// Different for each client (until 2^30 have come).
    pub serial: u32,
}

/// What the front end needs to hear of a client's death; zeros when it cannot.
pub type Sign = [u32; 2];

/// Where the sign of life lies in a slot.
const SIGN_AT: u64 = 4;
/// Where it says whether its program can run a keeper when another one that did so has died: the front end's business, too.
const HEIR_AT: u64 = 12;

fn word(slot: u32) -> u64 {
    debug_assert!(is_slot(slot));
    rt::CLIENTS + u64::from(slot - 1) * rt::CLIENT_SIZE_BYTES
}

/// Whether there is a slot of this number.
pub fn is_slot(number: u32) -> bool {
    (1..=rt::CLIENTS_MAX as u32).contains(&number)
}

/// Numbers of all slots.
pub fn slots() -> std::ops::RangeInclusive<u32> {
    1..=rt::CLIENTS_MAX as u32
}

/// A word of two, and the bit in it, that stand for a client in a mask of 64 bits.
pub fn mask_of(slot: u32) -> (u64, u32) {
    let bit = slot - 1;
    (u64::from(bit / 32) * 4, 1 << (bit % 32))
}

fn new_word<S: Store + ?Sized>(store: &S, state: u32) -> u32 {
    let serial = if holds(Rule::SerialInSlot) { store.fetch_add(rt::CLIENT_SERIAL, 1) } else { 0 };
    serial << STATE_BITS | state
}

/// Takes a free slot; gives its number. `EUSERS` when all are taken: a store has 64 clients at most.
pub fn claim<S: Store + ?Sized>(store: &S, sign: Sign) -> Result<u32, Errno> {
    let claimed = new_word(store, CLAIMED);
    let take = |slot| match store.load(word(slot)) {
        FREE if !holds(Rule::SlotByExchange) => {
            store.store(word(slot), claimed);
            true
        }
        FREE => store.compare_exchange(word(slot), FREE, claimed) == FREE,
        _ => false,
    };
    let slot = slots().find(|&slot| take(slot)).ok_or(Errno::EUSERS)?;
    // Who looked late may have meant the last client of the slot.
    store.store(word(slot) + HEIR_AT, 0);
    set_sign(store, slot, sign);
    Ok(slot)
}

fn set_sign<S: Store + ?Sized>(store: &S, slot: u32, [first, second]: Sign) {
    // Last the one by which a sign is told from none.
    store.store(word(slot) + SIGN_AT + 4, second);
    store.store(word(slot) + SIGN_AT, first);
}

/// Makes a slot that was claimed, or that is free, an attached client's. False when it was anything else: then its
/// last client has left something, which is this one's from now on, and which it has to give back first.
pub fn attach<S: Store + ?Sized>(store: &S, slot: u32) -> bool {
    let seen = store.load(word(slot));
    let clean = matches!(seen & DEAD, FREE | CLAIMED);
    store.store(word(slot), new_word(store, ATTACHED));
    // Whoever watches over clients waits for new ones there.
    store.notify(rt::CLIENT_SERIAL, u32::MAX);
    clean
}

/// The name of who has the slot now; none when it is free.
pub fn id<S: Store + ?Sized>(store: &S, slot: u32) -> Option<ClientId> {
    let seen = store.load(word(slot));
    (seen & DEAD != FREE).then_some(ClientId { slot, serial: seen >> STATE_BITS })
}

/// Gives a slot back. Its client owns nothing any more.
pub fn release<S: Store + ?Sized>(store: &S, slot: u32) {
    set_sign(store, slot, [0; 2]);
    store.store(word(slot) + HEIR_AT, 0);
    store.store(word(slot), FREE);
}

/// Says that a client has died; false when it had given its slot back. Waiters are woken, to see to it.
pub fn mark_dead<S: Store + ?Sized>(store: &S, client: ClientId) -> bool {
    let at = word(client.slot);
    let mut seen = store.load(at);
    while seen & DEAD != FREE && seen >> STATE_BITS == client.serial {
        let now = if holds(Rule::BuryByExchange) {
            store.compare_exchange(at, seen, seen | DEAD)
        } else {
            store.store(at, seen | DEAD);
            seen
        };
        if now == seen {
            wake(store);
            return true;
        }
        seen = now;
    }
    false
}

/// Says that the keeper has died.
pub fn mark_keeper_dead<S: Store + ?Sized>(store: &S) {
    store.store(rt::KEEPER_DEAD, 1);
    wake(store);
}

fn wake<S: Store + ?Sized>(store: &S) {
    for lock in [rt::GATE, rt::LOCK_GUARD] {
        store.notify(lock, u32::MAX);
    }
}

/// Whether the client with this number in lock words is known to be dead, and not recovered yet.
pub fn is_dead<S: Store + ?Sized>(store: &S, number: u32) -> bool {
    match number {
        rt::KEEPER_CLIENT => store.load(rt::KEEPER_DEAD) != 0,
        _ => is_slot(number) && store.load(word(number)) & DEAD == DEAD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HeapStore;

    #[test]
    fn slots_run_out_and_come_back() {
        let store = HeapStore::new(rt::STRIPES);
        let taken: Vec<_> = slots().map(|slot| claim(&store, [slot, !slot]).unwrap()).collect();
        assert_eq!(taken, slots().collect::<Vec<_>>());
        assert_eq!(claim(&store, [0; 2]), Err(Errno::EUSERS));
        let old = id(&store, 7).unwrap();
        store.store(word(7) + HEIR_AT, 1);
        let sign = |slot| [SIGN_AT, SIGN_AT + 4].map(|at| store.load(word(slot) + at));
        assert_eq!((sign(7), sign(64)), ([7, !7], [64, !64]));
        release(&store, 7);
        assert_eq!(sign(7), [0, 0], "nobody hears of the next one by the last one's sign");
        store.store(word(7) + HEIR_AT, 1);
        assert_eq!((id(&store, 7), claim(&store, [0; 2])), (None, Ok(7)));
        assert_eq!(store.load(word(7) + HEIR_AT), 0, "what was said late was said of the last one");
        let new = id(&store, 7).unwrap();
        assert_ne!(old, new);
        assert!(!mark_dead(&store, old) && !is_dead(&store, 7), "that one has gone long ago");
        assert!(mark_dead(&store, new) && is_dead(&store, 7));
        assert_eq!(claim(&store, [0; 2]), Err(Errno::EUSERS), "a dead client's slot is not free");
    }

    #[test]
    fn who_follows_in_a_slot_is_told_of_what_is_left() {
        let store = HeapStore::new(rt::STRIPES);
        assert!(attach(&store, 3), "it was free");
        assert!(!attach(&store, 3), "its last client has not left it");
        let slot = claim(&store, [0; 2]).unwrap();
        assert!(attach(&store, slot));
        assert!(mark_dead(&store, id(&store, slot).unwrap()));
        assert!(!attach(&store, slot) && !is_dead(&store, slot));
    }

    #[test]
    fn each_client_has_a_bit_of_its_own() {
        let bits: std::collections::HashSet<_> = slots().map(mask_of).collect();
        assert_eq!(bits.len(), 64);
        assert!(bits.iter().all(|(at, mask)| [0, 4].contains(at) && mask.is_power_of_two()));
    }
}
