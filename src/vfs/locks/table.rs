//! The locks' records in the store.
//!
//! ```text
//!  0 u32 inode, 0 when free        12 u32 client        24 u64 owner's number
//!  4 u32 next of the chain + 1     16 u32 process       32 u64 first byte
//!  8 u32 flags                     20 u32 0             40 u64 last byte
//! ```
//!
//! A lock is found by its inode: each bucket is the head of a chain. A waiter has a record of the same
//! form, with its ticket in place of the chain, and is found by looking at all of them.
//!
//! Invariants
//! - Everything here is done under the guard.
//! - A client changes records of its own only. One that dies half way leaves chains that may be torn,
//!   and records that go with it: [`Table::drop_client`] takes them out and makes the chains anew.

use super::{LockMode, LockOwner, LockRange, OwnerKind};
use crate::errno::Errno;
use crate::store::Store;
use crate::store::runtime as rt;

const EXCLUSIVE: u32 = 1;
const OPEN_FILE: u32 = 2;
const WHOLE_FILE: u32 = 4;
const MAPPING: u32 = 8;
const HANDLE: u32 = 16;
const FLAGS_AT: u64 = 8;

/// Byte-range locks, whole-file locks and shared mappings do not know of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Range,
    WholeFile,
    Mapping,
}

impl Family {
    fn flags(self) -> u32 {
        match self {
            Self::Range => 0,
            Self::WholeFile => WHOLE_FILE,
            Self::Mapping => MAPPING,
        }
    }

    fn of_flags(flags: u32) -> Self {
        match flags & (WHOLE_FILE | MAPPING) {
            0 => Self::Range,
            WHOLE_FILE => Self::WholeFile,
            _ => Self::Mapping,
        }
    }
}

/// A lock that is held or waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lock {
    pub ino: u32,
    pub family: Family,
    pub mode: LockMode,
    pub client: u32,
    pub owner: LockOwner,
    pub range: LockRange,
}

impl Lock {
    /// Whether both have one owner, whose locks never conflict. The process number says nothing: an
    /// open file may be used by several.
    pub fn same_owner(&self, other: &Self) -> bool {
        (self.client, self.owner.kind, self.owner.id) == (other.client, other.owner.kind, other.owner.id)
    }

    /// Whether not both can be held.
    pub fn conflicts(&self, other: &Self) -> bool {
        self.ino == other.ino
            && self.family == other.family
            && self.range.overlaps(&other.range)
            && (self.mode == LockMode::Exclusive || other.mode == LockMode::Exclusive)
            && !self.same_owner(other)
    }

    fn encode(&self) -> [u8; 40] {
        let kind = match self.owner.kind {
            OwnerKind::Process => 0,
            OwnerKind::OpenFile => OPEN_FILE,
            OwnerKind::Handle => HANDLE,
        };
        let flags =
            if self.mode == LockMode::Exclusive { EXCLUSIVE } else { 0 } | kind | self.family.flags();
        let mut body = [0; 40];
        body[..4].copy_from_slice(&flags.to_le_bytes());
        body[4..8].copy_from_slice(&self.client.to_le_bytes());
        body[8..12].copy_from_slice(&self.owner.pid.to_le_bytes());
        body[16..24].copy_from_slice(&self.owner.id.to_le_bytes());
        body[24..32].copy_from_slice(&self.range.start.to_le_bytes());
        body[32..].copy_from_slice(&self.range.end.to_le_bytes());
        body
    }

    fn decode(ino: u32, body: &[u8; 40]) -> Self {
        let (words, numbers) = (body.as_chunks::<4>().0, body.as_chunks::<8>().0);
        let word = |index: usize| u32::from_le_bytes(words[index]);
        let number = |index: usize| u64::from_le_bytes(numbers[index]);
        let flags = word(0);
        let kind = match flags & (OPEN_FILE | HANDLE) {
            0 => OwnerKind::Process,
            OPEN_FILE => OwnerKind::OpenFile,
            _ => OwnerKind::Handle,
        };
        Self {
            ino,
            family: Family::of_flags(flags),
            mode: if flags & EXCLUSIVE == 0 { LockMode::Shared } else { LockMode::Exclusive },
            client: word(1),
            owner: LockOwner { kind, id: number(2), pid: word(2) },
            range: LockRange { start: number(3), end: number(4) },
        }
    }
}

fn bucket(ino: u32) -> u64 {
    let hash = u64::from(ino.wrapping_mul(0x9e37_79b1) >> 16);
    rt::LOCK_BUCKETS + hash % rt::LOCK_BUCKETS_COUNT * rt::LOCK_BUCKET_SIZE_BYTES
}

/// The word that waiters for locks of an inode sleep on.
pub(super) fn releases(ino: u32) -> u64 {
    bucket(ino) + 4
}

fn place(index: u32) -> u64 {
    rt::LOCKS + u64::from(index) * rt::LOCK_SIZE_BYTES
}

fn waiter_place(index: u32) -> u64 {
    rt::LOCK_WAITERS + u64::from(index) * rt::LOCK_SIZE_BYTES
}

/// The tables, for somebody who holds the guard.
pub(super) struct Table<'a, S: Store>(pub &'a S);

impl<S: Store> Table<'_, S> {
    fn get(&self, at: u64) -> Lock {
        let mut body = [0; 40];
        self.0.read(at + FLAGS_AT, &mut body);
        Lock::decode(self.0.load(at), &body)
    }

    fn put(&self, at: u64, lock: &Lock) {
        self.0.write(at + FLAGS_AT, &lock.encode());
        // Last, so that a record is taken for one only when it is whole.
        self.0.store(at, lock.ino);
    }

    /// Follows a chain from the word that holds its first link; `EIO` when it leads nowhere.
    fn chain(&self, head: u64) -> Result<Vec<u32>, Errno> {
        let mut found = Vec::new();
        let mut link = self.0.load(head);
        while let Some(index) = link.checked_sub(1) {
            if index >= rt::LOCKS_MAX || found.len() >= rt::LOCKS_MAX as usize {
                return Err(Errno::EIO);
            }
            found.push(index);
            link = self.0.load(place(index) + 4);
        }
        Ok(found)
    }

    /// The locks of an inode and where they are.
    pub fn of_inode(&self, ino: u32) -> Result<Vec<(u32, Lock)>, Errno> {
        let chain = self.chain(bucket(ino))?;
        let locks = chain.into_iter().map(|index| (index, self.get(place(index))));
        Ok(locks.filter(|(_, lock)| lock.ino == ino).collect())
    }

    /// How many more locks there can be.
    pub fn room(&self) -> u32 {
        rt::LOCKS_MAX.saturating_sub(self.0.load(rt::LOCK_COUNT))
    }

    /// Enters a lock; the caller has made sure that there is room.
    pub fn insert(&self, lock: &Lock) -> Result<(), Errno> {
        let store = self.0;
        let index = match store.load(rt::LOCK_FREE).checked_sub(1) {
            Some(index) if index < rt::LOCKS_MAX => {
                store.store(rt::LOCK_FREE, store.load(place(index) + 4));
                index
            }
            Some(_) => return Err(Errno::EIO),
            None => {
                let index = store.load(rt::LOCK_UNUSED);
                if index >= rt::LOCKS_MAX {
                    return Err(Errno::ENOLCK);
                }
                store.store(rt::LOCK_UNUSED, index + 1);
                index
            }
        };
        let (at, head) = (place(index), bucket(lock.ino));
        self.put(at, lock);
        store.store(at + 4, store.load(head));
        store.store(head, index + 1);
        store.fetch_add(rt::LOCK_COUNT, 1);
        Ok(())
    }

    /// Changes a lock of the same inode where it is.
    pub fn replace(&self, index: u32, lock: &Lock) {
        self.put(place(index), lock);
    }

    /// Takes a lock out.
    pub fn remove(&self, index: u32, ino: u32) -> Result<(), Errno> {
        let store = self.0;
        let head = bucket(ino);
        let chain = self.chain(head)?;
        let position = chain.iter().position(|&other| other == index).ok_or(Errno::EIO)?;
        let link = position.checked_sub(1).map_or(head, |before| place(chain[before]) + 4);
        let at = place(index);
        store.store(link, store.load(at + 4));
        store.store(at, 0);
        store.store(at + 4, store.load(rt::LOCK_FREE));
        store.store(rt::LOCK_FREE, index + 1);
        store.fetch_add(rt::LOCK_COUNT, u32::MAX);
        Ok(())
    }

    /// Says that locks of an inode were given up or have become weaker.
    pub fn released(&self, ino: u32) {
        self.0.fetch_add(releases(ino), 1);
        if self.0.load(rt::LOCK_WAITING) > 0 {
            self.0.notify(releases(ino), u32::MAX);
        }
    }

    /// Everybody who waits: ticket and what for.
    pub fn waiters(&self) -> Vec<(u32, Lock)> {
        if self.0.load(rt::LOCK_WAITING) == 0 {
            return Vec::new();
        }
        let places = (0..rt::LOCK_WAITERS_MAX).map(waiter_place);
        let taken = places.filter(|&at| self.0.load(at) != 0);
        taken.map(|at| (self.0.load(at + 4), self.get(at))).collect()
    }

    /// Enters a waiter; gives its place and ticket.
    pub fn enter_waiter(&self, lock: &Lock) -> Result<(u32, u32), Errno> {
        let index = (0..rt::LOCK_WAITERS_MAX).find(|&index| self.0.load(waiter_place(index)) == 0);
        let index = index.ok_or(Errno::ENOLCK)?;
        let ticket = self.0.fetch_add(rt::LOCK_TICKET, 1);
        self.0.store(waiter_place(index) + 4, ticket);
        self.put(waiter_place(index), lock);
        self.0.fetch_add(rt::LOCK_WAITING, 1);
        Ok((index, ticket))
    }

    /// Takes a waiter out if it is there; others may have stood back for it.
    pub fn leave_waiter(&self, index: u32, ticket: u32, ino: u32) {
        let at = waiter_place(index);
        if self.0.load(at) == 0 || self.0.load(at + 4) != ticket {
            return;
        }
        self.0.store(at, 0);
        self.0.fetch_add(rt::LOCK_WAITING, u32::MAX);
        self.released(ino);
    }

    /// Takes out everything of a client and makes chains and counts anew, whatever they were.
    pub fn drop_client(&self, client: u32) {
        let store = self.0;
        let mut gone = Vec::new();
        let (mut count, mut waiting) = (0, 0);
        for at in (0..rt::LOCK_WAITERS_MAX).map(waiter_place) {
            let ino = store.load(at);
            if ino != 0 && self.get(at).client == client {
                // Others may have stood back for it.
                gone.push(ino);
                store.store(at, 0);
            }
            waiting += u32::from(store.load(at) != 0);
        }
        store.store(rt::LOCK_WAITING, waiting);
        for head in 0..rt::LOCK_BUCKETS_COUNT {
            store.store(rt::LOCK_BUCKETS + head * rt::LOCK_BUCKET_SIZE_BYTES, 0);
        }
        store.store(rt::LOCK_FREE, 0);
        store.store(rt::LOCK_UNUSED, rt::LOCKS_MAX);
        for index in (0..rt::LOCKS_MAX).rev() {
            let at = place(index);
            let lock = self.get(at);
            let stays = lock.ino != 0 && lock.client != client;
            if lock.ino != 0 && !stays {
                gone.push(lock.ino);
                store.store(at, 0);
            }
            let head = if stays { bucket(lock.ino) } else { rt::LOCK_FREE };
            store.store(at + 4, store.load(head));
            store.store(head, index + 1);
            count += u32::from(stays);
        }
        store.store(rt::LOCK_COUNT, count);
        gone.sort_unstable();
        gone.dedup();
        for ino in gone {
            self.released(ino);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HeapStore;

    fn lock(ino: u32, client: u32, start: u64) -> Lock {
        let owner = LockOwner::open_file(u64::MAX - 1, 77);
        let range = LockRange { start, end: LockRange::END };
        Lock { ino, family: Family::WholeFile, mode: LockMode::Exclusive, client, owner, range }
    }

    #[test]
    fn records_come_back() {
        let whole = lock(3, 4, 5);
        assert_eq!(Lock::decode(3, &whole.encode()), whole);
        let owner = LockOwner::process(1, u32::MAX);
        for owner in [owner, LockOwner::handle(1, 9)] {
            let range = Lock { family: Family::Range, mode: LockMode::Shared, owner, ..whole };
            assert_eq!(Lock::decode(3, &range.encode()), range);
        }
    }

    #[test]
    fn chains_hold_together() {
        let store = HeapStore::new(rt::OPEN_TABLE);
        let table = Table(&store);
        // More inodes than buckets that come together, with several locks each.
        let inodes = 1..40_u32;
        for start in 0..3 {
            for ino in inodes.clone() {
                table.insert(&lock(ino, ino % 3 + 1, start)).unwrap();
            }
        }
        for ino in inodes.clone().step_by(2) {
            let (index, _) = table.of_inode(ino).unwrap()[1];
            table.remove(index, ino).unwrap();
            assert_eq!(table.remove(index, ino), Err(Errno::EIO));
        }
        table.drop_client(2);
        for ino in inodes {
            let left = if ino % 3 + 1 == 2 { 0 } else { 3 - ino as usize % 2 };
            assert_eq!(table.of_inode(ino).unwrap().len(), left, "{ino}");
        }
        // What was given back is used again, all of it.
        let mut count = store.load(rt::LOCK_COUNT);
        while table.insert(&lock(99, 1, u64::from(count))).is_ok() {
            count += 1;
        }
        assert_eq!(count, rt::LOCKS_MAX);
        assert_eq!(table.of_inode(99).unwrap().len() as u32 + 26 * 3 - 13, rt::LOCKS_MAX);
    }

    #[test]
    fn a_chain_without_an_end_is_an_error() {
        let store = HeapStore::new(rt::OPEN_TABLE);
        let table = Table(&store);
        table.insert(&lock(5, 1, 0)).unwrap();
        store.store(place(0) + 4, 1);
        assert_eq!(table.of_inode(5), Err(Errno::EIO));
        store.store(place(0) + 4, rt::LOCKS_MAX + 1);
        assert_eq!(table.of_inode(5), Err(Errno::EIO));
    }
}
