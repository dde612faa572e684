//! Holding inodes: an inode that lost its last name lives on while somebody holds it.
//!
//! Each process counts its own holds and enters an inode into the store's open table once, by its client's bit. So
//! the holds of a client that died are found and given back. The table is open addressing by inode number; it is
//! changed under the gate. Its entries are never moved, and one that nobody holds keeps its inode number until
//! another inode takes the place.

use super::Volume;
use super::types::Ino;
use crate::core::rules::Rule;
use crate::core::{Core, Error, Txn};
use crate::errno::Errno;
use crate::store::runtime as rt;
use crate::store::{Store, clients};
use std::collections::hash_map::Entry;

/// What this process holds of one inode.
pub(super) struct Hold {
    /// While the inode is held its number cannot come to stand for another.
    generation: u32,
    count: u32,
    /// Whether `link` may give it its first name. An inode that had names gets none again, as on
    /// Linux, and who made this one is the only one to know of it.
    unnamed: bool,
}

impl Hold {
    /// The first hold of a file that was made without a name.
    pub(super) fn unnamed(generation: u32) -> Self {
        Self { generation, count: 1, unnamed: true }
    }
}

/// Entries looked at for one inode before the table counts as full.
const PROBES: u64 = 256;
/// Where an entry has the bits of those who hold its inode.
const HOLDERS_AT: u64 = 8;

fn entry(index: u64) -> u64 {
    rt::OPEN_TABLE + index % rt::OPEN_TABLE_COUNT * rt::OPEN_ENTRY_SIZE_BYTES
}

/// A bit for each client that holds the inode of an entry.
fn holders<S: Store>(store: &S, at: u64) -> u64 {
    let word = |half: u64| u64::from(store.load(at + HOLDERS_AT + half));
    word(0) | word(4) << 32
}

fn set_holder<S: Store>(store: &S, at: u64, client: u32) {
    let (word, bit) = clients::mask_of(client);
    store.fetch_or(at + HOLDERS_AT + word, bit);
}

fn clear_holder<S: Store>(store: &S, at: u64, client: u32) {
    let (word, bit) = clients::mask_of(client);
    store.fetch_and(at + HOLDERS_AT + word, !bit);
}

/// The table's entry of an inode that somebody holds.
fn find<S: Store>(core: &Core<S>, ino: Ino) -> Option<u64> {
    let store = core.image.store();
    let start = u64::from(ino.wrapping_mul(0x9e37_79b1));
    (0..PROBES)
        .map(|probe| entry(start + probe))
        .take_while(|&at| store.load(at) != 0)
        .find(|&at| store.load(at) == ino && holders(store, at) != 0)
}

/// Whether anybody holds the inode; under the gate.
pub(super) fn is_held<S: Store>(core: &Core<S>, ino: Ino) -> bool {
    find(core, ino).is_some()
}

/// Counts this process among those that hold the inode; under the gate. `ENFILE` when the table is full.
pub(super) fn enter<S: Store>(core: &Core<S>, ino: Ino) -> Result<(), Errno> {
    let (store, client) = (core.image.store(), core.image.client());
    let at = match find(core, ino) {
        Some(at) => at,
        None => {
            let start = u64::from(ino.wrapping_mul(0x9e37_79b1));
            let mut entries = (0..PROBES).map(|probe| entry(start + probe));
            let free = entries.find(|&at| holders(store, at) == 0).ok_or(Errno::ENFILE)?;
            store.store(free, ino);
            free
        }
    };
    set_holder(store, at, client);
    Ok(())
}

/// Takes a client's hold of an entry's inode back, and frees the inode if nobody else holds it and it has no name
/// left. The caller has the gate.
fn leave<S: Store>(core: &Core<S>, at: u64, client: u32) {
    let store = core.image.store();
    let before = core.image.rules().on(Rule::FreeBeforeForgetting);
    if !before {
        clear_holder(store, at, client);
    }
    let (word, bit) = clients::mask_of(client);
    let last = holders(store, at) & !(u64::from(bit) << (word * 8)) == 0;
    let ino = store.load(at);
    let nameless = || core.read_inode(ino).is_ok_and(|inode| inode.raw.nlink.get() == 0);
    if last && store.load(rt::READ_ONLY) == 0 && nameless() {
        let mut txn = Txn::begin(core);
        // On failure the inode stays an orphan, which the next mount frees.
        if txn.release_inode(ino).is_ok() {
            let _ = txn.commit();
        }
    }
    // Last: should this client die, whoever recovers it finds the inode by this.
    clear_holder(store, at, client);
}

/// Takes this client's hold of an inode back. The caller has the gate.
pub(super) fn leave_own<S: Store>(core: &Core<S>, ino: Ino) {
    if let Some(at) = find(core, ino) {
        leave(core, at, core.image.client());
    }
}

/// Inodes that one call of `let_go` lets go: the gate is held meanwhile.
const LET_GO_MAX: usize = 64;

/// Lets inodes go that a client holds, some at a time: false when there may be more. The caller has the gate.
pub(super) fn let_go<S: Store>(core: &Core<S>, client: u32) -> bool {
    let store = core.image.store();
    let (word, bit) = clients::mask_of(client);
    let entries = (0..rt::OPEN_TABLE_COUNT).map(entry);
    let held = entries.filter(|&at| store.load(at + HOLDERS_AT + word) & bit != 0);
    let mut count = 0;
    for at in held.take(LET_GO_MAX) {
        leave(core, at, client);
        count += 1;
    }
    count < LET_GO_MAX
}

impl<S: Store> Volume<S> {
    /// Keeps an inode alive until `forget`, even without a name; `ENOENT` when it is gone already.
    pub fn hold(&self, ino: Ino) -> Result<(), Errno> {
        self.hold_if(ino, |_| true)
    }

    /// As `hold`, for an inode that was seen a while ago: `ENOENT` when its number stands for another
    /// one by now.
    pub fn hold_generation(&self, ino: Ino, generation: u32) -> Result<(), Errno> {
        self.hold_if(ino, |now| now == generation)
    }

    fn hold_if(&self, ino: Ino, right: impl Fn(u32) -> bool) -> Result<(), Errno> {
        let mut held = self.held.lock();
        match held.entry(ino) {
            Entry::Occupied(mut hold) if right(hold.get().generation) => hold.get_mut().count += 1,
            Entry::Occupied(_) => return Err(Errno::ENOENT),
            Entry::Vacant(place) => {
                let _gate = self.gate()?;
                let inode = self.core.read_inode(ino).map_err(Error::errno)?;
                let generation = inode.raw.generation.get();
                if !right(generation) {
                    return Err(Errno::ENOENT);
                }
                enter(&self.core, ino)?;
                place.insert(Hold { generation, count: 1, unnamed: false });
            }
        }
        Ok(())
    }

    /// Whether this process made the inode without a name and has not given it one.
    pub(super) fn holds_unnamed(&self, ino: Ino) -> bool {
        self.held.lock().get(&ino).is_some_and(|hold| hold.unnamed)
    }

    /// Notes that an inode that was made without a name has one.
    pub(super) fn named(&self, ino: Ino) {
        if let Some(hold) = self.held.lock().get_mut(&ino) {
            hold.unnamed = false;
        }
    }

    /// Takes one `hold` back; frees the inode if it was the last one and no name is left.
    pub fn forget(&self, ino: Ino) {
        let mut held = self.held.lock();
        let Entry::Occupied(mut hold) = held.entry(ino) else { return };
        hold.get_mut().count -= 1;
        if hold.get().count > 0 {
            return;
        }
        hold.remove();
        let unlocked = match self.release_locks(ino) {
            // A brief view does both later, as the locks need the hold.
            Err(Errno::EAGAIN) => Err(Errno::EAGAIN),
            // Fails only while a client has the guard that nobody has called dead yet: these locks go with this client.
            _ => Ok(()),
        };
        match unlocked.and_then(|()| self.gate()) {
            Ok(_gate) => leave_own(&self.core, ino),
            Err(_) => self.patience.give_back_later(ino),
        }
    }
}
