//! Holding inodes: an inode that lost its last name lives on while somebody holds it.
//!
//! Each process counts its own holds and enters an inode into the store's open table once. The table
//! is open addressing by inode number; it is changed under the gate. Its entries are never moved, and
//! one whose count is 0 keeps its inode number until another inode takes the place.

use super::Volume;
use super::types::Ino;
use crate::core::{Core, Error, Txn};
use crate::errno::Errno;
use crate::store::Store;
use crate::store::runtime as rt;
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

fn entry(index: u64) -> u64 {
    rt::OPEN_TABLE + index % rt::OPEN_TABLE_COUNT * rt::OPEN_ENTRY_SIZE_BYTES
}

/// The table's entry of an inode that somebody holds.
fn find<S: Store>(core: &Core<S>, ino: Ino) -> Option<u64> {
    let store = core.image.store();
    let start = u64::from(ino.wrapping_mul(0x9e37_79b1));
    (0..PROBES)
        .map(|probe| entry(start + probe))
        .take_while(|&at| store.load(at) != 0)
        .find(|&at| store.load(at) == ino && store.load(at + 4) != 0)
}

/// Whether anybody holds the inode; under the gate.
pub(super) fn is_held<S: Store>(core: &Core<S>, ino: Ino) -> bool {
    find(core, ino).is_some()
}

/// Counts this process among those that hold the inode; under the gate. `ENFILE` when the table is full.
pub(super) fn enter<S: Store>(core: &Core<S>, ino: Ino) -> Result<(), Errno> {
    let store = core.image.store();
    if let Some(at) = find(core, ino) {
        store.fetch_add(at + 4, 1);
        return Ok(());
    }
    let start = u64::from(ino.wrapping_mul(0x9e37_79b1));
    let free = (0..PROBES).map(|probe| entry(start + probe)).find(|&at| store.load(at + 4) == 0);
    let at = free.ok_or(Errno::ENFILE)?;
    store.store(at, ino);
    store.store(at + 4, 1);
    Ok(())
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
        // Fails only while a dead client has the guard: who takes that from it finds these locks too.
        let _ = self.release_locks(ino);
        let Ok(_gate) = self.gate() else { return };
        let Some(at) = find(&self.core, ino) else { return };
        let store = self.core.image.store();
        if store.fetch_add(at + 4, u32::MAX) != 1 {
            return;
        }
        let nameless = self.core.read_inode(ino).is_ok_and(|inode| inode.raw.nlink.get() == 0);
        if nameless && store.load(rt::READ_ONLY) == 0 {
            let mut txn = Txn::begin(&self.core);
            // On failure the inode stays an orphan, which the next mount frees.
            if txn.release_inode(ino).is_ok() {
                txn.commit();
            }
        }
    }
}
