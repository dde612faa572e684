//! Getting a lock: waiting for it, in turn, and noticing when that would be for ever.
//!
//! Who waits has a record in the store. An owner waits for all who hold what is in its way; these edges
//! are not stored but found from locks and waiters whenever they are needed, so they are never out of
//! date. A process or handle that is reached from itself would wait for ever. As on Linux, open files take no
//! part: several processes may use one, so that another one can end the wait.
//!
//! A release wakes all who wait in its bucket. A request stands back for those who came before it, so
//! they go in turn and a stream of shared locks lets an exclusive one through. It does so for a bounded
//! time: the one before may be stopped or dead, or be waiting for something that this request's owner has.
//!
//! Who must not sleep in place polls a [`LockRequest`] and sleeps as it can.

use super::set;
use super::table::{Family, Lock, Table, releases};
use super::{Ino, LockMode, LockOwner, LockRange, Volume};
use crate::errno::Errno;
use crate::store::lock::SLICE_MS;
use crate::store::{Store, Wait};
use crate::vfs::Sleep;
use std::sync::atomic::Ordering;

/// How long a request stands back for earlier ones although it could be granted.
const COURTESY_MS: u32 = 2 * SLICE_MS;

/// How long to wait for a lock.
#[derive(Clone, Copy, Default)]
pub struct Waiting<'a> {
    /// About how long at most; none: as long as it takes.
    pub timeout_ms: Option<u32>,
    /// Asked every now and then, at least every `slice_ms`: whether to give up.
    pub cancelled: Option<&'a (dyn Fn() -> bool + Sync)>,
    /// How long one sleep lasts at most; none: 50 ms, which is the limit.
    pub slice_ms: Option<u32>,
}

/// What came of an attempt.
enum Attempt {
    Done,
    /// Somebody's lock is in the way, or, if `free`, only somebody who came before. `seen`: the word to
    /// sleep on.
    Later {
        seen: u32,
        free: bool,
    },
}

/// A request's record among the waiters.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: u32,
    ticket: u32,
}

/// A request for a lock that may have to wait. It has to be ended when it is over, however that is.
#[derive(Debug)]
pub struct LockRequest {
    wanted: Lock,
    place: Option<Place>,
    /// How long it stands back for earlier ones yet.
    courtesy_ms: u32,
    /// Nothing but courtesy was in the way.
    free: bool,
}

impl LockRequest {
    fn new(wanted: Lock) -> Self {
        Self { wanted, place: None, courtesy_ms: COURTESY_MS, free: false }
    }
}

impl<S: Store> Volume<S> {
    /// A request for bytes of a file, or for the whole file as of `flock` (no range), by somebody who must not sleep in
    /// place: nothing is asked for yet.
    pub fn request_lock(
        &self,
        ino: Ino,
        owner: &LockOwner,
        mode: LockMode,
        range: Option<LockRange>,
    ) -> LockRequest {
        LockRequest::new(self.wanted_of(ino, owner, mode, range))
    }

    /// None when the owner has the lock; otherwise what to sleep on before this is called again, for 50 ms at most, as who has
    /// the lock may die. `slept_ms`: how long the last sleep was.
    ///
    /// Errors as of [`Volume::lock`]; `EAGAIN` when the view is brief and cannot look at this moment.
    pub fn poll_lock(&self, request: &mut LockRequest, slept_ms: u32) -> Result<Option<Sleep>, Errno> {
        let LockRequest { wanted, place, courtesy_ms, free } = request;
        if *free {
            *courtesy_ms = courtesy_ms.saturating_sub(slept_ms);
        }
        let polite = *courtesy_ms > 0;
        let attempt =
            self.with_locks(wanted.ino, |table| attempt(&table, wanted, true, polite, place))?;
        Ok(match attempt {
            Attempt::Done => None,
            Attempt::Later { seen, free: now } => {
                *free = now;
                Some(Sleep { word: releases(wanted.ino), value: seen })
            }
        })
    }

    /// The request waits no longer: nobody stands back for it any more. `EAGAIN` as of `poll_lock`.
    pub fn end_lock_request(&self, request: &mut LockRequest) -> Result<(), Errno> {
        let Some(Place { index, ticket }) = request.place else { return Ok(()) };
        let held = self.held.lock();
        // Who has left the store waits for nothing there, and the slot may be another client's.
        if !self.left.load(Ordering::Relaxed) {
            self.lock_guard()?.table().leave_waiter(index, ticket, request.wanted.ino);
        }
        drop(held);
        request.place = None;
        Ok(())
    }

    pub(super) fn try_acquire(&self, wanted: &Lock) -> Result<bool, Errno> {
        let work = |table: Table<'_, S>| attempt(&table, wanted, false, false, &mut None);
        Ok(matches!(self.with_locks(wanted.ino, work)?, Attempt::Done))
    }

    pub(super) fn acquire(&self, wanted: &Lock, wait: Option<&Waiting<'_>>) -> Result<(), Errno> {
        let Some(wait) = wait else {
            return if self.try_acquire(wanted)? { Ok(()) } else { Err(Errno::EAGAIN) };
        };
        let mut request = LockRequest::new(*wanted);
        let answer = self.sleep_for_lock(&mut request, wait);
        self.end_lock_request(&mut request)?;
        answer
    }

    fn sleep_for_lock(&self, request: &mut LockRequest, wait: &Waiting<'_>) -> Result<(), Errno> {
        let (mut waited_ms, mut slept_ms) = (0_u32, 0);
        while let Some(Sleep { word, value }) = self.poll_lock(request, slept_ms)? {
            let most_ms = wait.slice_ms.unwrap_or(SLICE_MS).clamp(1, SLICE_MS);
            let left_ms =
                wait.timeout_ms.map_or(most_ms, |timeout_ms| timeout_ms.saturating_sub(waited_ms));
            if left_ms == 0 || wait.cancelled.is_some_and(|cancelled| cancelled()) {
                return Err(Errno::EINTR);
            }
            let slice_ms = left_ms.min(most_ms);
            let ended = self.core.image.store().wait(word, value, slice_ms);
            if ended == Wait::TimedOut {
                // Who is in the way may have died, and whoever buried it may have died at that.
                self.recover_dead()?;
            }
            // A store tells no time: a wake-up counts as a millisecond, so that they come to an end.
            slept_ms = if ended == Wait::TimedOut { slice_ms } else { 1 };
            waited_ms = waited_ms.saturating_add(slept_ms);
        }
        Ok(())
    }
}

/// Takes the lock if it may be taken; otherwise sees to it that the request is among the waiters, if it
/// is to wait.
fn attempt<S: Store>(
    table: &Table<'_, S>,
    wanted: &Lock,
    waits: bool,
    polite: bool,
    place: &mut Option<Place>,
) -> Result<Attempt, Errno> {
    let locks = table.of_inode(wanted.ino)?;
    if wanted.family == Family::WholeFile {
        // Linux gives the old lock up first, and does not bring it back.
        let old = locks.iter().find(|(_, lock)| {
            lock.family == wanted.family && lock.same_owner(wanted) && lock.mode != wanted.mode
        });
        if let Some(&(index, _)) = old {
            table.remove(index, wanted.ino)?;
            table.released(wanted.ino);
        }
    }
    let blocked = locks.iter().any(|(_, lock)| wanted.conflicts(lock));
    let free = !blocked;
    if free && !(polite && stands_back(table, &locks, wanted, place.as_ref())) {
        set(table, wanted, true)?;
        return Ok(Attempt::Done);
    }
    if waits {
        let looks = wanted.family == Family::Range && wanted.owner.kind.may_deadlock();
        if blocked && looks && waits_for_itself(table, wanted)? {
            // At once, as the others would still find a circle: one of those who wait for each other gives way, not several.
            if let Some(Place { index, ticket }) = place.take() {
                table.leave_waiter(index, ticket, wanted.ino);
            }
            return Err(Errno::EDEADLK);
        }
        if place.is_none() {
            let (index, ticket) = table.enter_waiter(wanted)?;
            *place = Some(Place { index, ticket });
        }
    }
    Ok(Attempt::Later { seen: table.0.load(releases(wanted.ino)), free })
}

/// Whether somebody came before who wants what is wanted, and is not kept from it by the same owner.
fn stands_back<S: Store>(
    table: &Table<'_, S>,
    locks: &[(u32, Lock)],
    wanted: &Lock,
    place: Option<&Place>,
) -> bool {
    let before = |ticket: u32| place.is_none_or(|own| ticket.wrapping_sub(own.ticket).cast_signed() < 0);
    table.waiters().iter().any(|(ticket, waiter)| {
        let mine = |lock: &Lock| lock.same_owner(wanted) && lock.conflicts(waiter);
        before(*ticket) && waiter.conflicts(wanted) && !locks.iter().any(|(_, lock)| mine(lock))
    })
}

/// Whether the owner of `wanted` waits, over however many others, for itself.
fn waits_for_itself<S: Store>(table: &Table<'_, S>, wanted: &Lock) -> Result<bool, Errno> {
    let waiters = table.waiters();
    let mut asked = vec![false; waiters.len()];
    let mut next = vec![*wanted];
    while let Some(request) = next.pop() {
        for (_, holder) in table.of_inode(request.ino)? {
            if !request.conflicts(&holder) || !holder.owner.kind.may_deadlock() {
                continue;
            }
            for ((_, waiter), asked) in waiters.iter().zip(&mut asked) {
                if *asked || waiter.family != Family::Range || !waiter.same_owner(&holder) {
                    continue;
                }
                *asked = true;
                next.push(*waiter);
            }
            if holder.same_owner(wanted) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::super::OwnerKind;
    use super::*;
    use crate::format::{FileKind, INO_ROOT};
    use crate::store::clients::Sign;
    use crate::store::runtime::{self as rt, Durability};
    use crate::store::{HeapStore, lock};
    use crate::vfs::{NewInode, OpenFiles, OpenMode};
    use std::sync::Arc;

    type View = Arc<Volume<Arc<HeapStore>>>;
    const NOBODY: Sign = [0; 2];

    /// Two clients that hold a file.
    fn views() -> (View, View, Ino) {
        let store = Arc::new(HeapStore::new(rt::store_size_bytes(2000)));
        crate::core::Image::prepare(&store, 1, Durability::Memory).unwrap();
        let first = Volume::format(store.clone(), 1, || 0, [7; 32]).unwrap();
        let second = Volume::join(store, NOBODY, || 0).unwrap();
        let new = NewInode { kind: FileKind::Regular, permissions: 0o644, uid: 0, gid: 0, rdev: 0 };
        let ino = first.create(INO_ROOT, b"f", &new).unwrap().ino;
        first.hold(ino).unwrap();
        second.hold(ino).unwrap();
        (Arc::new(first), Arc::new(second), ino)
    }

    fn byte(at: u64) -> LockRange {
        LockRange { start: at, end: at }
    }

    #[test]
    fn requests_that_are_polled_go_in_turn_with_those_that_sleep() {
        let (first, second, ino) = views();
        let store = first.image().store().clone();
        let [a, b, c] = [1, 2, 3].map(|id| LockOwner::handle(id, 0));
        let whole = Some(LockRange::WHOLE);
        assert_eq!(first.try_lock(ino, &a, LockMode::Exclusive, whole), Ok(true));
        assert_eq!(first.try_lock(ino, &b, LockMode::Shared, whole), Ok(false));
        let mut early = first.request_lock(ino, &b, LockMode::Exclusive, whole);
        let mut late = second.request_lock(ino, &c, LockMode::Exclusive, whole);
        let sleep = first.poll_lock(&mut early, 0).unwrap().unwrap();
        assert_eq!(sleep, Sleep { word: releases(ino), value: store.load(releases(ino)) });
        assert!(second.poll_lock(&mut late, 0).unwrap().is_some());
        assert_eq!(store.load(rt::LOCK_WAITING), 2);
        first.unlock(ino, &a, LockRange::WHOLE).unwrap();
        assert_ne!(store.load(sleep.word), sleep.value, "sleepers are woken");
        // It stands back for the earlier one, but not for ever.
        assert!(second.poll_lock(&mut late, COURTESY_MS).unwrap().is_some());
        assert!(second.poll_lock(&mut late, COURTESY_MS - 1).unwrap().is_some());
        assert_eq!(second.poll_lock(&mut late, 1), Ok(None));
        second.end_lock_request(&mut late).unwrap();
        assert!(first.poll_lock(&mut early, 50).unwrap().is_some());
        second.release_owner(ino, &c).unwrap();
        assert_eq!(first.poll_lock(&mut early, 50), Ok(None));
        for _ in 0..2 {
            first.end_lock_request(&mut early).unwrap();
        }
        assert_eq!((store.load(rt::LOCK_WAITING), store.load(rt::LOCK_COUNT)), (0, 1));
    }

    #[test]
    fn handles_that_wait_for_each_other_are_told() {
        let (first, second, ino) = views();
        for (kind, answer) in [
            (OwnerKind::Handle, Err(Errno::EDEADLK)),
            (OwnerKind::Process, Err(Errno::EDEADLK)),
            (OwnerKind::OpenFile, Err(Errno::EINTR)),
        ] {
            let (a, b) = (LockOwner::handle(1, 0), LockOwner { kind, id: 2, pid: 0 });
            first.lock(ino, &a, LockMode::Exclusive, byte(1), None).unwrap();
            second.lock(ino, &b, LockMode::Exclusive, byte(2), None).unwrap();
            let mut request = first.request_lock(ino, &a, LockMode::Exclusive, Some(byte(2)));
            assert!(first.poll_lock(&mut request, 0).unwrap().is_some());
            let wait = Waiting { timeout_ms: Some(1), ..Waiting::default() };
            assert_eq!(second.lock(ino, &b, LockMode::Exclusive, byte(1), Some(&wait)), answer);
            first.end_lock_request(&mut request).unwrap();
            first.release_owner(ino, &a).unwrap();
            second.release_owner(ino, &b).unwrap();
        }
        assert_eq!(first.image().store().load(rt::LOCK_COUNT), 0);
    }

    #[test]
    fn a_brief_view_waits_for_nobody_at_the_locks() {
        let (first, page, ino) = views();
        let store = first.image().store().clone();
        let files = OpenFiles::new(page.clone(), 8);
        let [one, two] = [0, 1].map(|_| files.open(ino, OpenMode::READ).unwrap());
        let owner = files.get(one).unwrap().lock_owner(7);
        let other = files.get(two).unwrap().lock_owner(7);
        page.lock(ino, &owner, LockMode::Shared, byte(1), None).unwrap();
        assert!(lock::lock(&*store, rt::LOCK_GUARD, 1, 0));
        for limit_ms in [0, 2] {
            page.be_brief(Some(limit_ms), None);
            let range = Some(byte(9));
            assert_eq!(page.try_lock(ino, &other, LockMode::Shared, range), Err(Errno::EAGAIN));
            let mut refusal = page.refusal();
            let sleep = refusal.poll(&page, 10).unwrap().unwrap();
            assert_eq!((sleep.word, sleep.value >> 1), (rt::LOCK_GUARD, 1));
            let mut request = page.request_lock(ino, &other, LockMode::Shared, range);
            page.be_brief(Some(limit_ms), Some(&refusal));
            assert_eq!(page.poll_lock(&mut request, 0), Err(Errno::EAGAIN));
        }
        // Closed with a lock: the other handle keeps the inode.
        files.close(one).unwrap();
        assert_eq!(page.settle_late(), Err(Errno::EAGAIN));
        lock::unlock(&*store, rt::LOCK_GUARD, 1);
        assert_eq!(store.load(rt::LOCK_COUNT), 1);
        page.settle_late().unwrap();
        assert_eq!(store.load(rt::LOCK_COUNT), 0);
        // The last one: the inode is let go when its locks are.
        assert_eq!(page.try_lock(ino, &other, LockMode::Shared, None), Ok(true));
        page.forget(ino);
        first.forget(ino);
        first.unlink(INO_ROOT, b"f").unwrap();
        let used = first.statfs().unwrap().used_inodes;
        assert!(lock::lock(&*store, rt::LOCK_GUARD, 1, 0));
        files.close(two).unwrap();
        assert_eq!(page.settle_late(), Err(Errno::EAGAIN));
        lock::unlock(&*store, rt::LOCK_GUARD, 1);
        assert_eq!((first.statfs().unwrap().used_inodes, store.load(rt::LOCK_COUNT)), (used, 1));
        page.settle_late().unwrap();
        assert_eq!((first.statfs().unwrap().used_inodes, store.load(rt::LOCK_COUNT)), (used - 1, 0));
        assert_eq!((store.load(rt::LOCK_GUARD), store.load(rt::GATE)), (0, 0));
    }
}
