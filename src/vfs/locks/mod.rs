//! Advisory locks: byte ranges as of `fcntl`, whole files as of `flock`.
//!
//! They lie in the store's runtime region, so all programs of a store share them, and nothing of them
//! is ever written to the volume. A byte-range lock belongs to a process, which loses it when it closes
//! any descriptor of the file (the front end says so by [`Volume::release_owner`]), or to an open file
//! (Linux's OFD locks); a whole-file lock belongs to an open file.
//!
//! A lock needs a hold of its inode by the same client: when that is given back the locks go, so an
//! inode that is freed has none.
//!
//! A mutex of their own guards them, not the image's gate: locks change nothing in the image, the search
//! for deadlocks need not hold writers up, and a commit's cut need not hold up locks. Who has the guard
//! takes no other lock.

mod table;
mod wait;

use super::Volume;
use super::types::Ino;
use crate::core::GATE_TIMEOUT_MS;
use crate::errno::Errno;
use crate::store::lock::Taken;
use crate::store::runtime as rt;
use crate::store::{Store, clients, lock};
use std::sync::atomic::Ordering;
use table::{Family, Lock, Table};
pub use wait::{LockRequest, Waiting};

/// What a lock allows others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockMode {
    /// Others may hold shared locks too (`F_RDLCK`, `LOCK_SH`).
    Shared,
    /// Nobody else may hold any (`F_WRLCK`, `LOCK_EX`).
    Exclusive,
}

/// What kind of thing a lock belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerKind {
    /// A process, as with `F_SETLK`.
    Process,
    /// An open file, as with `F_OFD_SETLK` and `flock`.
    OpenFile,
    /// An open file that its client shares with nobody: who waits for itself is told, as a process is.
    Handle,
}

impl OwnerKind {
    /// Whether such an owner is looked for in circles of owners that wait for each other.
    fn may_deadlock(self) -> bool {
        self != Self::OpenFile
    }
}

/// Whom a lock belongs to. Owners are told apart by client, kind and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LockOwner {
    /// Process or open file.
    pub kind: OwnerKind,
    /// The front end's number of that process or open file.
    pub id: u64,
    /// Process number to report.
    pub pid: u32,
}

impl LockOwner {
    /// A process.
    pub fn process(id: u64, pid: u32) -> Self {
        Self { kind: OwnerKind::Process, id, pid }
    }

    /// An open file.
    pub fn open_file(id: u64, pid: u32) -> Self {
        Self { kind: OwnerKind::OpenFile, id, pid }
    }

    /// An open file of one client alone.
    pub fn handle(id: u64, pid: u32) -> Self {
        Self { kind: OwnerKind::Handle, id, pid }
    }
}

/// Bytes of a file, from the first to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LockRange {
    /// First byte.
    pub start: u64,
    /// Last byte, [`LockRange::END`] at most.
    pub end: u64,
}

impl LockRange {
    /// The last byte that a file can have, and so the end of a range that has none.
    pub const END: u64 = i64::MAX as u64;
    /// All bytes.
    pub const WHOLE: Self = Self { start: 0, end: Self::END };

    /// The bytes that `fcntl` means by a start and a length: to the end if that is 0, those before the
    /// start if it is negative. `EINVAL` and `EOVERFLOW` when they cannot be.
    pub fn new(start: i64, len: i64) -> Result<Self, Errno> {
        let first = u64::try_from(start).map_err(|_| Errno::EINVAL)?;
        match len {
            0 => Ok(Self { start: first, end: Self::END }),
            1.. => {
                let end = start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?;
                Ok(Self { start: first, end: end as u64 })
            }
            _ => {
                let from = start.checked_add(len).and_then(|from| u64::try_from(from).ok());
                Ok(Self { start: from.ok_or(Errno::EINVAL)?, end: first - 1 })
            }
        }
    }

    /// The bytes from `start` to `end`, both included; `EINVAL` when there are none or no file has them.
    pub fn between(start: u64, end: u64) -> Result<Self, Errno> {
        if start <= end && end <= Self::END { Ok(Self { start, end }) } else { Err(Errno::EINVAL) }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// Whether both together are one range.
    fn touches(&self, other: &Self) -> bool {
        self.start <= other.end.saturating_add(1) && other.start <= self.end.saturating_add(1)
    }
}

/// A lock that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldLock {
    /// The client whose owner it is.
    pub client: u32,
    /// Whom it belongs to.
    pub owner: LockOwner,
    /// What it allows others.
    pub mode: LockMode,
    /// Which bytes.
    pub range: LockRange,
}

impl HeldLock {
    /// The process as `F_GETLK` reports it: -1 for the lock of an open file, which no process owns.
    pub fn reported_pid(&self) -> i32 {
        match self.owner.kind {
            OwnerKind::Process | OwnerKind::Handle => self.owner.pid.cast_signed(),
            OwnerKind::OpenFile => -1,
        }
    }
}

/// Gives the guard back, also when something panics.
struct Guard<'a, S: Store> {
    store: &'a S,
    client: u32,
}

impl<'a, S: Store> Guard<'a, S> {
    fn table(&self) -> Table<'a, S> {
        Table(self.store)
    }
}

impl<S: Store> Drop for Guard<'_, S> {
    fn drop(&mut self) {
        lock::unlock(self.store, rt::LOCK_GUARD, self.client);
    }
}

impl<S: Store> Volume<S> {
    /// Locks bytes of a file: those that the owner has locked already take on the new mode.
    ///
    /// `EAGAIN` when somebody else's lock is in the way and `wait` says not to wait; otherwise `EDEADLK`
    /// when the owner, a process or a handle, would wait for itself, and `EINTR` when waiting was ended. `ENOLCK`
    /// when there is no room, `EBADF` when this client does not hold the inode, `ENODEV` when it has left.
    /// A brief view gives `EAGAIN` also when it cannot look at this moment; [`Volume::try_lock`] tells these apart.
    pub fn lock(
        &self,
        ino: Ino,
        owner: &LockOwner,
        mode: LockMode,
        range: LockRange,
        wait: Option<&Waiting<'_>>,
    ) -> Result<(), Errno> {
        self.acquire(&self.wanted(ino, Family::Range, owner, mode, range), wait)
    }

    /// Locks bytes of a file, or the whole file as `flock` does (no range), if nobody's lock is in the way: false when one is.
    /// Other errors as of [`Volume::lock`]; `EAGAIN` when the view is brief and cannot look at this moment.
    pub fn try_lock(
        &self,
        ino: Ino,
        owner: &LockOwner,
        mode: LockMode,
        range: Option<LockRange>,
    ) -> Result<bool, Errno> {
        self.try_acquire(&self.wanted_of(ino, owner, mode, range))
    }

    /// The first lock that would be in the way of such a lock, if there is one: `F_GETLK`.
    pub fn test_lock(
        &self,
        ino: Ino,
        owner: &LockOwner,
        mode: LockMode,
        range: LockRange,
    ) -> Result<Option<HeldLock>, Errno> {
        let wanted = self.wanted(ino, Family::Range, owner, mode, range);
        self.with_locks(ino, |table| {
            let locks = table.of_inode(ino)?;
            let in_the_way = locks.iter().map(|(_, lock)| lock).filter(|lock| wanted.conflicts(lock));
            let first = in_the_way.min_by_key(|lock| (lock.range.start, lock.range.end));
            Ok(first.map(|&Lock { client, owner, mode, range, .. }| HeldLock {
                client,
                owner,
                mode,
                range,
            }))
        })
    }

    /// Unlocks bytes, whatever the owner had locked of them. `ENOLCK` when a lock would become two and
    /// there is no room for that.
    pub fn unlock(&self, ino: Ino, owner: &LockOwner, range: LockRange) -> Result<(), Errno> {
        let wanted = self.wanted(ino, Family::Range, owner, LockMode::Shared, range);
        self.with_locks(ino, |table| set(&table, &wanted, false))
    }

    /// Locks a whole file: `flock`. The owner is an open file.
    ///
    /// Changing the mode is giving the old lock up and taking a new one, so the old one is lost when the
    /// new one cannot be had. Errors as of [`Volume::lock`], but nobody looks for deadlocks.
    pub fn flock(
        &self,
        ino: Ino,
        owner: &LockOwner,
        mode: LockMode,
        wait: Option<&Waiting<'_>>,
    ) -> Result<(), Errno> {
        self.acquire(&self.wanted(ino, Family::WholeFile, owner, mode, LockRange::WHOLE), wait)
    }

    /// Gives a whole-file lock back.
    pub fn funlock(&self, ino: Ino, owner: &LockOwner) -> Result<(), Errno> {
        let wanted = self.wanted(ino, Family::WholeFile, owner, LockMode::Shared, LockRange::WHOLE);
        self.with_locks(ino, |table| set(&table, &wanted, false))
    }

    /// Notes that this client maps a file, to share what is written there: `ENODEV` when another one does so too and
    /// either of them writes, as nobody could show one what the other writes.
    pub fn map_shared(&self, ino: Ino, owner: &LockOwner, writes: bool) -> Result<(), Errno> {
        let mode = if writes { LockMode::Exclusive } else { LockMode::Shared };
        self.acquire(&self.wanted(ino, Family::Mapping, owner, mode, LockRange::WHOLE), None)
            .map_err(|errno| if errno == Errno::EAGAIN { Errno::ENODEV } else { errno })
    }

    /// This client maps the file no longer.
    pub fn unmap_shared(&self, ino: Ino, owner: &LockOwner) -> Result<(), Errno> {
        let wanted = self.wanted(ino, Family::Mapping, owner, LockMode::Shared, LockRange::WHOLE);
        self.with_locks(ino, |table| set(&table, &wanted, false))
    }

    /// Takes all of an owner's locks on a file away. The front end calls it when a process closes any
    /// descriptor of the file, and when an open file is closed for good.
    pub fn release_owner(&self, ino: Ino, owner: &LockOwner) -> Result<(), Errno> {
        let wanted = self.wanted(ino, Family::Range, owner, LockMode::Shared, LockRange::WHOLE);
        self.release(ino, |lock| lock.same_owner(&wanted))
    }

    /// Takes all locks of a client away, and whatever it waited for. It is dead, or has left: a guard that it
    /// still has is inherited.
    pub fn release_client(&self, client: u32) -> Result<(), Errno> {
        let store = self.core.image.store();
        // While nobody has the guard counts are right, and this client takes no new lock.
        let words = [rt::LOCK_GUARD, rt::LOCK_COUNT, rt::LOCK_WAITING];
        if words.iter().all(|&word| store.load(word) == 0) {
            return Ok(());
        }
        self.guard_after(|owner| owner == client)?.table().drop_client(client);
        Ok(())
    }

    /// As `release_owner`; when a brief view cannot do it now, it is done by `settle_late`.
    pub(super) fn release_owner_or_later(&self, ino: Ino, owner: &LockOwner) {
        // Other errors: what this client has goes with it at the latest.
        if self.release_owner(ino, owner) == Err(Errno::EAGAIN) {
            self.patience.release_later(ino, *owner);
        }
    }

    /// Takes this client's locks on an inode away that it no longer holds.
    pub(super) fn release_locks(&self, ino: Ino) -> Result<(), Errno> {
        let client = self.core.image.client();
        self.release(ino, |lock| lock.client == client)
    }

    fn release(&self, ino: Ino, whose: impl Fn(&Lock) -> bool) -> Result<(), Errno> {
        // Whoever closes a file comes here: nothing is to be done as a rule, and a look is cheap. It sees
        // what this client has locked itself.
        if self.core.image.store().load(rt::LOCK_COUNT) == 0 {
            return Ok(());
        }
        let guard = self.lock_guard()?;
        let table = guard.table();
        let own = table.of_inode(ino)?.into_iter().filter(|(_, lock)| whose(lock));
        let own: Vec<u32> = own.map(|(index, _)| index).collect();
        for &index in &own {
            table.remove(index, ino)?;
        }
        if !own.is_empty() {
            table.released(ino);
        }
        Ok(())
    }

    fn wanted_of(&self, ino: Ino, owner: &LockOwner, mode: LockMode, range: Option<LockRange>) -> Lock {
        match range {
            Some(range) => self.wanted(ino, Family::Range, owner, mode, range),
            None => self.wanted(ino, Family::WholeFile, owner, mode, LockRange::WHOLE),
        }
    }

    fn wanted(
        &self,
        ino: Ino,
        family: Family,
        owner: &LockOwner,
        mode: LockMode,
        range: LockRange,
    ) -> Lock {
        Lock { ino, family, mode, client: self.core.image.client(), owner: *owner, range }
    }

    fn lock_guard(&self) -> Result<Guard<'_, S>, Errno> {
        self.guard_after(|_| false)
    }

    /// Takes the guard. From an owner who is dead, or has ended as `ended` says, it is inherited: what that one
    /// left torn goes with its locks.
    fn guard_after(&self, ended: impl Fn(u32) -> bool) -> Result<Guard<'_, S>, Errno> {
        let (store, client) = (self.core.image.store(), self.core.image.client());
        let is_dead = |owner| ended(owner) || clients::is_dead(store, owner);
        match self.take_word(rt::LOCK_GUARD, GATE_TIMEOUT_MS, &is_dead)? {
            Taken::Free => Ok(Guard { store, client }),
            Taken::From(owner) => {
                let guard = Guard { store, client };
                guard.table().drop_client(owner);
                Ok(guard)
            }
            Taken::Not => Err(lock::late(store)),
        }
    }

    /// Does something with the tables for an inode that this client holds, and holds on to meanwhile.
    fn with_locks<T>(
        &self,
        ino: Ino,
        work: impl FnOnce(Table<'_, S>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let held = self.held.lock();
        if self.left.load(Ordering::Relaxed) {
            return Err(Errno::ENODEV);
        }
        if !held.contains_key(&ino) {
            return Err(Errno::EBADF);
        }
        let guard = self.lock_guard()?;
        work(guard.table())
    }
}

/// Makes `wanted` what its owner holds of its range, or nothing: merges with what is next to it, cuts
/// off or splits what was there. Nobody else's lock is in the way.
fn set<S: Store>(table: &Table<'_, S>, wanted: &Lock, hold: bool) -> Result<(), Errno> {
    let own = table.of_inode(wanted.ino)?.into_iter();
    let own = own.filter(|(_, lock)| lock.family == wanted.family && lock.same_owner(wanted));
    let (mut old, mut new) = (Vec::new(), Vec::new());
    let (mut merged, mut weaker) = (*wanted, false);
    for (index, lock) in own {
        if hold && lock.mode == wanted.mode && lock.range.touches(&wanted.range) {
            merged.range.start = merged.range.start.min(lock.range.start);
            merged.range.end = merged.range.end.max(lock.range.end);
            old.push(index);
        } else if lock.range.overlaps(&wanted.range) {
            let LockRange { start, end } = lock.range;
            if start < wanted.range.start {
                new.push(Lock { range: LockRange { start, end: wanted.range.start - 1 }, ..lock });
            }
            if wanted.range.end < end {
                new.push(Lock { range: LockRange { start: wanted.range.end + 1, end }, ..lock });
            }
            weaker |= !hold || wanted.mode == LockMode::Shared;
            old.push(index);
        }
    }
    if hold {
        new.push(merged);
    }
    if new.len() > old.len() + table.room() as usize {
        return Err(Errno::ENOLCK);
    }
    let both = old.len().min(new.len());
    for (&index, lock) in old.iter().zip(&new) {
        table.replace(index, lock);
    }
    for &index in &old[both..] {
        table.remove(index, wanted.ino)?;
    }
    for lock in &new[both..] {
        table.insert(lock)?;
    }
    if weaker {
        table.released(wanted.ino);
    }
    Ok(())
}
