//! Getting a lock: waiting for it, in turn, and noticing when that would be for ever.
//!
//! Who waits has a record in the store. An owner waits for all who hold what is in its way; these edges
//! are not stored but found from locks and waiters whenever they are needed, so they are never out of
//! date. A process that is reached from itself would wait for ever. As on Linux, open files take no part:
//! several processes may use one, so that another one can end the wait.
//!
//! A release wakes all who wait in its bucket. A request stands back for those who came before it, so
//! they go in turn and a stream of shared locks lets an exclusive one through. It does so for a bounded
//! time: the one before may be stopped or dead, or be waiting for something that this request's owner has.

use super::set;
use super::table::{Family, Lock, Table, releases};
use super::{Ino, OwnerKind, Volume};
use crate::errno::Errno;
use crate::store::lock::SLICE_MS;
use crate::store::{Store, Wait};
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
#[derive(Clone, Copy)]
struct Place {
    index: u32,
    ticket: u32,
}

impl<S: Store> Volume<S> {
    pub(super) fn acquire(&self, wanted: &Lock, wait: Option<&Waiting<'_>>) -> Result<(), Errno> {
        let mut place = None;
        let answer = self.acquire_from(wanted, wait, &mut place);
        if let Some(place) = place {
            self.leave_waiters(place, wanted.ino)?;
        }
        answer
    }

    fn leave_waiters(&self, place: Place, ino: Ino) -> Result<(), Errno> {
        let held = self.held.lock();
        // Who has left the store waits for nothing there, and the slot may be another client's.
        if !self.left.load(Ordering::Relaxed) {
            self.lock_guard()?.table().leave_waiter(place.index, place.ticket, ino);
        }
        drop(held);
        Ok(())
    }

    fn acquire_from(
        &self,
        wanted: &Lock,
        wait: Option<&Waiting<'_>>,
        place: &mut Option<Place>,
    ) -> Result<(), Errno> {
        let (mut waited_ms, mut courtesy_ms) = (0, COURTESY_MS);
        loop {
            let polite = wait.is_some() && courtesy_ms > 0;
            let attempt = self.with_locks(wanted.ino, |table| {
                attempt(&table, wanted, wait.is_some(), polite, place)
            })?;
            let Attempt::Later { seen, free } = attempt else { return Ok(()) };
            let wait = wait.ok_or(Errno::EAGAIN)?;
            let most_ms = wait.slice_ms.unwrap_or(SLICE_MS).clamp(1, SLICE_MS);
            let left_ms =
                wait.timeout_ms.map_or(most_ms, |timeout_ms| timeout_ms.saturating_sub(waited_ms));
            if left_ms == 0 || wait.cancelled.is_some_and(|cancelled| cancelled()) {
                return Err(Errno::EINTR);
            }
            let slice_ms = left_ms.min(most_ms);
            let ended = self.core.image.store().wait(releases(wanted.ino), seen, slice_ms);
            if ended == Wait::TimedOut {
                // Who is in the way may have died, and whoever buried it may have died at that.
                self.recover_dead()?;
            }
            // A store tells no time: a wake-up counts as a millisecond, so that they come to an end.
            let slept_ms = if ended == Wait::TimedOut { slice_ms } else { 1 };
            waited_ms = waited_ms.saturating_add(slept_ms);
            if free {
                courtesy_ms = courtesy_ms.saturating_sub(slept_ms);
            }
        }
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
        let looks = wanted.family == Family::Range && wanted.owner.kind == OwnerKind::Process;
        if blocked && looks && waits_for_itself(table, wanted)? {
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
            if !request.conflicts(&holder) || holder.owner.kind != OwnerKind::Process {
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
