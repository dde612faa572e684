//! How long a view waits for others.
//!
//! A thread or a worker waits as long as it takes. The main thread of a page must not: there a view is told to be
//! brief, and an operation that would have to wait gives `EAGAIN`. Then it has done nothing and can be done again.
//! [`Volume::awaited`] says what it would have waited for, and when that is there.
//!
//! An operation may be one step of several that belong together. Who keeps the gate for all of them is not refused half
//! way for the gate's sake.
//!
//! Invariants
//! - A brief view that gives up leaves nothing in the store but the mark that somebody may be waiting, which the lock's
//!   owner clears.
//! - What the view has to give back and cannot, as somebody else has the gate or the guard of the advisory locks, it gives
//!   back when it gets the gate next, or when it is told to settle.

use super::hold;
use super::types::Ino;
use super::volume::Gate;
use super::{LockOwner, Volume};
use crate::core::{GATE_TIMEOUT_MS, Image};
use crate::errno::Errno;
use crate::persist::Asked;
use crate::store::lock::Taken;
use crate::store::runtime as rt;
use crate::store::{Store, Wait, clients, lock};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// No limit.
const AS_LONG_AS_IT_TAKES: u32 = u32::MAX;

/// How long the operations of a view wait, and what the last one was refused for.
pub(super) struct Patience {
    limit_ms: AtomicU32,
    /// The word of the lock that the operation has slept on before; 0: none.
    slept_on: AtomicU64,
    /// The view has the gate, beyond the operation that runs.
    keeps_gate: AtomicBool,
    /// How often the operation has waited for space before it was refused.
    space_tries: AtomicU32,
    /// How long the operation has been waiting for locks, counting from its first refusal.
    lock_waited_ms: AtomicU32,
    awaited: Mutex<Awaited>,
    /// Inodes that are held no more, of which the store still says so.
    late: Mutex<Vec<Ino>>,
    has_late: AtomicBool,
    /// Owners that are no more, of which the store still has advisory locks.
    late_owners: Mutex<Vec<(Ino, LockOwner)>>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            limit_ms: AtomicU32::new(AS_LONG_AS_IT_TAKES),
            slept_on: AtomicU64::new(0),
            keeps_gate: AtomicBool::new(false),
            space_tries: AtomicU32::new(0),
            lock_waited_ms: AtomicU32::new(0),
            awaited: Mutex::new(Awaited::Nothing),
            late: Mutex::default(),
            has_late: AtomicBool::new(false),
            late_owners: Mutex::default(),
        }
    }
}

/// What an operation was refused for.
#[derive(Debug, Default)]
enum Awaited {
    #[default]
    Nothing,
    /// Somebody had the lock at this word: the gate, or the guard of the advisory locks.
    Lock(u64),
    /// The keeper was asked for something.
    Keeper(Asked),
}

/// Why an operation gave `EAGAIN`. Whoever does it again hands this on, so that it does not wait for ever.
#[derive(Debug)]
pub struct Refusal {
    awaited: Awaited,
    space_tries: u32,
    lock_waited_ms: u32,
}

impl Refusal {
    /// None when what the operation has to wait for is there; otherwise what to sleep on. `passed_ms`: time since it was
    /// refused, or since the last time that this was asked.
    ///
    /// `EIO` when a lock stays taken for too long, and what waiting for the keeper gives.
    pub fn poll<S: Store>(
        &mut self,
        volume: &Volume<S>,
        passed_ms: u32,
    ) -> Result<Option<Sleep>, Errno> {
        let store = volume.image().store();
        match &mut self.awaited {
            Awaited::Nothing => Ok(None),
            &mut Awaited::Lock(word) => {
                self.lock_waited_ms = self.lock_waited_ms.saturating_add(passed_ms);
                match lock::announce(store, word) {
                    None => Ok(None),
                    Some(_) if clients::is_dead(store, lock::owner(store, word)) => Ok(None),
                    Some(_) if self.lock_waited_ms >= GATE_TIMEOUT_MS => Err(Errno::EIO),
                    Some(value) => Ok(Some(Sleep { word, value })),
                }
            }
            Awaited::Keeper(asked) => {
                let sleep = asked.poll(store)?.map(|value| Sleep { word: asked.word(), value });
                if sleep.is_some() {
                    asked.spend(store, passed_ms)?;
                }
                Ok(sleep)
            }
        }
    }

    /// Whether the keeper was asked for something, which an operation that asks for nothing else need not do again.
    pub fn is_keepers(&self) -> bool {
        matches!(self.awaited, Awaited::Keeper(_))
    }
}

/// A word of the store to sleep on while it holds this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep {
    /// Offset of the word in the store.
    pub word: u64,
    /// Its value.
    pub value: u32,
}

impl Patience {
    /// How long the view waits in milliseconds; none: as long as it takes.
    #[inline]
    fn limit_ms(&self) -> Option<u32> {
        match self.limit_ms.load(Ordering::Relaxed) {
            AS_LONG_AS_IT_TAKES => None,
            limit_ms => Some(limit_ms),
        }
    }

    /// How often the operation has waited for space already, before it was begun anew.
    pub(super) fn space_tries(&self) -> u32 {
        self.space_tries.load(Ordering::Relaxed)
    }

    /// Notes that the operation is going to wait for space.
    pub(super) fn note_space_tries(&self, tries: u32) {
        if self.limit_ms().is_some() {
            self.space_tries.store(tries, Ordering::Relaxed);
        }
    }

    /// Notes an inode whose hold could not be given back.
    pub(super) fn give_back_later(&self, ino: Ino) {
        self.late.lock().push(ino);
        self.has_late.store(true, Ordering::Relaxed);
    }

    /// Notes an owner whose advisory locks could not be given back.
    pub(super) fn release_later(&self, ino: Ino, owner: LockOwner) {
        self.late_owners.lock().push((ino, owner));
    }
}

impl<S: Store> Volume<S> {
    /// From now on operations of this view wait for the gate no longer than this, and give `EAGAIN` then or when they would
    /// have to wait for the keeper; none: they wait as long as it takes, as a view does that was told nothing.
    ///
    /// `again`: how the operation that follows was refused before.
    pub fn be_brief(&self, limit_ms: Option<u32>, again: Option<&Refusal>) {
        let patience = &self.patience;
        let limit_ms = limit_ms.map_or(AS_LONG_AS_IT_TAKES, |ms| ms.min(GATE_TIMEOUT_MS));
        patience.limit_ms.store(limit_ms, Ordering::Relaxed);
        patience.space_tries.store(again.map_or(0, |refusal| refusal.space_tries), Ordering::Relaxed);
        patience
            .lock_waited_ms
            .store(again.map_or(0, |refusal| refusal.lock_waited_ms), Ordering::Relaxed);
        let slept_on = again.map_or(0, |refusal| match refusal.awaited {
            Awaited::Lock(word) => word,
            _ => 0,
        });
        patience.slept_on.store(slept_on, Ordering::Relaxed);
        *patience.awaited.lock() = Awaited::Nothing;
    }

    /// Why the last operation of this view gave `EAGAIN`.
    pub fn refusal(&self) -> Refusal {
        Refusal {
            awaited: std::mem::take(&mut *self.patience.awaited.lock()),
            space_tries: self.patience.space_tries(),
            lock_waited_ms: self.patience.lock_waited_ms.load(Ordering::Relaxed),
        }
    }

    /// The operation that was refused is done, or nobody does it again.
    pub fn done_with(&self, refusal: Refusal) {
        // It may have been woken and then not have needed the lock: another sleeper would never hear of that.
        if let Awaited::Lock(word) = refusal.awaited {
            self.image().store().notify(word, 1);
        }
    }

    /// Takes the gate for several operations in a row, until `give_gate`. `EAGAIN` as an operation.
    ///
    /// Only for a view that is brief, as nobody else gets anything done meanwhile, the keeper included, and that one
    /// thread uses.
    pub fn keep_gate(&self) -> Result<(), Errno> {
        let gate = self.gate()?;
        // From here on it is not this guard that opens the gate.
        std::mem::forget(gate);
        self.patience.keeps_gate.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Opens the gate that was kept.
    pub fn give_gate(&self) {
        if self.patience.keeps_gate.swap(false, Ordering::Relaxed) {
            self.image().unlock_gate();
        }
    }

    /// Gives back what could not be given back before, if there is anything. `EAGAIN` as an operation.
    pub fn settle_late(&self) -> Result<(), Errno> {
        let owners = std::mem::take(&mut *self.patience.late_owners.lock());
        let mut answer = Ok(());
        for (ino, owner) in owners {
            // With other errors they go with this client at the latest.
            if let Err(Errno::EAGAIN) = answer.and_then(|()| self.release_owner(ino, &owner)) {
                self.patience.release_later(ino, owner);
                answer = Err(Errno::EAGAIN);
            }
        }
        answer?;
        if self.patience.has_late.load(Ordering::Relaxed) { self.gate().map(drop) } else { Ok(()) }
    }

    /// Takes the gate, as patiently as this view is.
    pub(super) fn gate(&self) -> Result<Gate<'_, S>, Errno> {
        let (image, patience) = (&self.core.image, &self.patience);
        if patience.keeps_gate.load(Ordering::Relaxed) {
            return Ok(Gate::kept(image));
        }
        match patience.limit_ms() {
            None => image.lock_gate()?,
            Some(limit_ms) => self.try_gate(image, limit_ms)?,
        }
        let gate = Gate::new(image);
        if patience.has_late.load(Ordering::Relaxed) {
            self.give_late_back()?;
        }
        Ok(gate)
    }

    /// Gives holds back, and the locks on their inodes first; with the gate. `EAGAIN` when the guard of the locks cannot be had.
    fn give_late_back(&self) -> Result<(), Errno> {
        let patience = &self.patience;
        let mut late = patience.late.lock();
        while let Some(&ino) = late.last() {
            match self.release_locks(ino) {
                Err(Errno::EAGAIN) => return Err(Errno::EAGAIN),
                // Other errors: what this client has goes with it at the latest.
                _ => hold::leave_own(&self.core, ino),
            }
            late.pop();
        }
        patience.has_late.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn try_gate(&self, image: &Image<S>, limit_ms: u32) -> Result<(), Errno> {
        let taken = match self.patience.slept_on.load(Ordering::Relaxed) == rt::GATE {
            true => image.lock_gate_after_sleep(),
            false => image.lock_gate_within(limit_ms),
        };
        if taken? { Ok(()) } else { Err(self.refused(rt::GATE)) }
    }

    /// Takes the lock at a word that guards no blocks, as patiently as this view is: `limit_ms` at most. What a dead owner
    /// had is inherited.
    pub(super) fn take_word(
        &self,
        word: u64,
        limit_ms: u32,
        is_dead: &dyn Fn(u32) -> bool,
    ) -> Result<Taken, Errno> {
        let (store, client) = (self.image().store(), self.image().client());
        let Some(brief_ms) = self.patience.limit_ms() else {
            return Ok(lock::lock_or_inherit(store, word, client, limit_ms, is_dead));
        };
        let taken = match self.patience.slept_on.load(Ordering::Relaxed) == word {
            true => lock::lock_after_sleep(store, word, client, is_dead),
            false => lock::lock_or_inherit(store, word, client, brief_ms, is_dead),
        };
        if taken == Taken::Not { Err(self.refused(word)) } else { Ok(taken) }
    }

    fn refused(&self, word: u64) -> Errno {
        *self.patience.awaited.lock() = Awaited::Lock(word);
        Errno::EAGAIN
    }

    /// Waits for what the keeper was asked for, as patiently as this view is.
    pub(super) fn wait_for(&self, asked: Asked) -> Result<(), Errno> {
        let (store, patience) = (self.image().store(), &self.patience);
        let Some(limit_ms) = patience.limit_ms() else { return asked.wait(store) };
        // The keeper needs the gate: while this view keeps it, waiting would be in vain.
        let mut waits = limit_ms > 0 && !patience.keeps_gate.load(Ordering::Relaxed);
        while let Some(value) = asked.poll(store)? {
            if !waits {
                *patience.awaited.lock() = Awaited::Keeper(asked);
                return Err(Errno::EAGAIN);
            }
            waits = store.wait(asked.word(), value, limit_ms) != Wait::TimedOut;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NewInode, OpenFiles, OpenMode, SetAttr};
    use super::*;
    use crate::format::{FileKind, INO_ROOT};
    use crate::store::HeapStore;
    use crate::store::runtime::{Durability, KeeperState};
    use std::sync::Arc;

    type View = Volume<Arc<HeapStore>>;

    fn views(durability: Durability) -> (View, View) {
        let store = Arc::new(HeapStore::new(rt::store_size_bytes(2000)));
        Image::prepare(&store, 1, durability).unwrap();
        let first = Volume::format(store.clone(), 1, || 0, [7; 32]).unwrap();
        let second = Volume::join(store, [0; 2], || 0).unwrap();
        (first, second)
    }

    fn file() -> NewInode {
        NewInode { kind: FileKind::Regular, permissions: 0o644, uid: 0, gid: 0, rdev: 0 }
    }

    #[test]
    fn a_brief_view_gives_up_and_leaves_nothing() {
        let (busy, page) = views(Durability::Memory);
        for limit_ms in [0, 2] {
            page.be_brief(Some(limit_ms), None);
            busy.image().lock_gate().unwrap();
            assert_eq!(page.create(INO_ROOT, b"f", &file()), Err(Errno::EAGAIN));
            let mut refusal = page.refusal();
            let sleep = refusal.poll(&page, GATE_TIMEOUT_MS / 2).unwrap().unwrap();
            assert_eq!((sleep.word, sleep.value >> 1), (rt::GATE, busy.image().client()));
            page.be_brief(Some(limit_ms), Some(&refusal));
            assert_eq!(page.create(INO_ROOT, b"f", &file()), Err(Errno::EAGAIN));
            assert_eq!(
                page.refusal().poll(&page, GATE_TIMEOUT_MS),
                Err(Errno::EIO),
                "nobody waits for ever"
            );
            busy.image().unlock_gate();
            assert_eq!(page.image().store().load(rt::GATE), 0);
            assert_eq!(refusal.poll(&page, 0), Ok(None));
            page.be_brief(Some(limit_ms), Some(&refusal));
            let ino = page.create(INO_ROOT, b"f", &file()).unwrap().ino;
            assert_eq!(page.getattr(ino).unwrap().nlink, 1);
            page.unlink(INO_ROOT, b"f").unwrap();
        }
    }

    #[test]
    fn readers_go_on_while_the_gate_is_closed() {
        let (busy, page) = views(Durability::Memory);
        let ino = busy.create(INO_ROOT, b"f", &file()).unwrap().ino;
        busy.write(ino, 0, b"bytes").unwrap();
        page.be_brief(Some(0), None);
        busy.image().lock_gate().unwrap();
        let mut bytes = [0; 5];
        assert_eq!(page.read(ino, 0, &mut bytes), Ok(5));
        assert_eq!(&bytes, b"bytes");
        assert_eq!(page.lookup(INO_ROOT, b"f").unwrap().ino, ino);
        busy.image().unlock_gate();
    }

    #[test]
    fn what_is_held_is_given_back_late() {
        let (busy, page) = views(Durability::Memory);
        let page = Arc::new(page);
        let files = OpenFiles::new(page.clone(), 8);
        let used = page.statfs().unwrap().used_inodes;
        let ino = page.create(INO_ROOT, b"f", &file()).unwrap().ino;
        let handle = files.open(ino, OpenMode::READ).unwrap();
        busy.unlink(INO_ROOT, b"f").unwrap();
        page.be_brief(Some(0), None);
        busy.image().lock_gate().unwrap();
        files.close(handle).unwrap();
        assert_eq!(page.settle_late(), Err(Errno::EAGAIN));
        busy.image().unlock_gate();
        assert_eq!(
            page.statfs().unwrap().used_inodes,
            used + 1,
            "the file is there as long as the store says so"
        );
        page.settle_late().unwrap();
        assert_eq!(page.statfs().unwrap().used_inodes, used);
        assert_eq!(page.settle_late(), Ok(()));
    }

    #[test]
    fn several_steps_under_one_gate() {
        let (busy, page) = views(Durability::Memory);
        page.be_brief(Some(0), None);
        page.keep_gate().unwrap();
        busy.be_brief(Some(0), None);
        assert_eq!(busy.create(INO_ROOT, b"g", &file()), Err(Errno::EAGAIN));
        let ino = page.create(INO_ROOT, b"f", &file()).unwrap().ino;
        page.hold(ino).unwrap();
        page.write(ino, 0, &[1; 9000]).unwrap();
        page.setattr(ino, &SetAttr { size_bytes: Some(5), ..SetAttr::default() }).unwrap();
        page.forget(ino);
        assert_eq!(busy.create(INO_ROOT, b"g", &file()), Err(Errno::EAGAIN));
        page.give_gate();
        page.give_gate();
        busy.create(INO_ROOT, b"g", &file()).unwrap();
        assert_eq!(page.image().store().load(rt::GATE), 0);
    }

    #[test]
    fn a_sync_is_begun_and_asked_for() {
        let (_, page) = views(Durability::Strict);
        let store = page.image().store().clone();
        store.store(rt::KEEPER_STATE, KeeperState::Up as u32);
        let ino = page.create(INO_ROOT, b"f", &file()).unwrap().ino;
        let mut refusals = [0, 2].map(|limit_ms| {
            page.be_brief(Some(limit_ms), None);
            let bell = store.load(rt::KEEPER_BELL);
            assert_eq!(page.fsync(ino), Err(Errno::EAGAIN));
            let mut refusal = page.refusal();
            assert!(refusal.is_keepers() && store.load(rt::KEEPER_BELL) == bell + 1);
            assert_eq!(store.load(rt::WANTED), store.load(rt::CHANGE));
            assert_eq!(refusal.poll(&page, 10).unwrap().map(|sleep| sleep.word), Some(rt::DURABLE));
            refusal
        });
        store.store(rt::FAILURE, Errno::EDQUOT.linux().cast_unsigned());
        assert_eq!(refusals[0].poll(&page, 10), Err(Errno::EDQUOT));
        store.store(rt::FAILURE, 0);
        store.store(rt::DURABLE, store.load(rt::CHANGE));
        // What comes later does not keep them waiting.
        page.unlink(INO_ROOT, b"f").unwrap();
        assert_eq!(refusals[0].poll(&page, 10), Ok(None));
        assert_eq!(refusals[1].poll(&page, 60_000), Ok(None));
        // A keeper that says nothing for half a minute.
        assert_eq!(page.sync(), Err(Errno::EAGAIN));
        let mut refusal = page.refusal();
        assert!(refusal.poll(&page, 29_000).unwrap().is_some());
        assert_eq!(refusal.poll(&page, 2_000), Err(Errno::ETIMEDOUT));
    }

    #[test]
    fn leaving_can_be_tried_again() {
        let (busy, page) = views(Durability::Memory);
        let ino = page.create(INO_ROOT, b"f", &file()).unwrap().ino;
        page.hold(ino).unwrap();
        page.be_brief(Some(0), None);
        busy.image().lock_gate().unwrap();
        assert_eq!(page.detach(), Err(Errno::EAGAIN));
        assert!(!clients::is_dead(busy.image().store(), page.client().slot));
        busy.image().unlock_gate();
        page.detach().unwrap();
        assert_eq!(clients::id(busy.image().store(), page.image().client()), None);
    }
}
