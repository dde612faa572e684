//! Numbers of the clients attached to a store.
//!
//! A program takes one slot of the runtime region for all of its threads and gives it back when it
//! detaches. The slot's first word says that it is taken.

use crate::errno::Errno;
use crate::store::Store;
use crate::store::runtime as rt;

const TAKEN: u32 = 1;

fn slot(client: u32) -> u64 {
    rt::CLIENTS + u64::from(client - 1) * rt::CLIENT_SIZE_BYTES
}

/// Takes a free slot; its number, counted from 1, is the client's name in lock words.
pub(super) fn claim<S: Store>(store: &S) -> Result<u32, Errno> {
    (1..=rt::CLIENTS_MAX as u32)
        .find(|&client| store.compare_exchange(slot(client), 0, TAKEN) == 0)
        .ok_or(Errno::ENFILE)
}

/// Gives the slot back.
pub(super) fn release<S: Store>(store: &S, client: u32) {
    store.store(slot(client), 0);
}
