//! Watching a volume: reading the change log.
//!
//! A watcher has a cursor of its own and takes no lock. It copies a record, sees whether a writer may have
//! been at those bytes meanwhile, and only then believes it. Writers wait for nobody: who falls behind by
//! a ring is told so by [`Event::Overflow`] and goes on at the newest record.

use super::Volume;
use crate::core::log::{self, RECORD_MAX, RING_UNITS, Record};
use crate::errno::Errno;
use crate::store::lock::SLICE_MS;
use crate::store::rules::{Rule, holds};
use crate::store::runtime as rt;
use crate::store::{Store, clients};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something changed.
    Change(Record),
    /// Changes were missed: anything may be different.
    Overflow,
}

/// Reads the changes of a volume from when it was made on. Dropping it ends the watch.
pub struct Watcher<S: Store> {
    store: S,
    cursor: u32,
    client: u32,
    /// How many watchers this process has.
    count: Arc<Mutex<u32>>,
}

impl<S: Store + Clone> Volume<S> {
    /// Begins to watch: whatever is changed after this call is told.
    ///
    /// Reads tell of nothing, nor does their time of last access. Changed data and attributes are told by
    /// inode; several writes in a row to one file that nobody has been told of yet are one event.
    pub fn watch(&self) -> Result<Watcher<S>, Errno> {
        // A transaction that began before anybody watched does not tell: none is running under the gate.
        let _gate = self.gate()?;
        let store = self.image().store().clone();
        let (client, count) = (self.image().client(), self.watchers.clone());
        let mut watchers = count.lock();
        *watchers += 1;
        let (word, bit) = clients::mask_of(client);
        store.fetch_or(rt::LOG_WATCHERS + word, bit);
        drop(watchers);
        // This watcher is not told of the newest record, so what it tells of must be told again.
        store.store(rt::LOG_MODIFIED, 0);
        let cursor = store.load(rt::LOG_HEAD);
        Ok(Watcher { store, cursor, client, count })
    }
}

impl<S: Store> Watcher<S> {
    /// The next event, if there is one by now.
    #[expect(clippy::should_implement_trait, reason = "none is not the end: there may be one later")]
    pub fn next(&mut self) -> Option<Event> {
        let head = self.store.load(rt::LOG_HEAD);
        if head == self.cursor {
            return None;
        }
        let Some((record, end)) = self.read(head) else {
            self.cursor = head;
            self.told();
            return Some(Event::Overflow);
        };
        self.cursor = end;
        if end == head {
            self.told();
        }
        Some(Event::Change(record))
    }

    /// The next event; waits for one, about `timeout_ms` at most.
    pub fn poll(&mut self, timeout_ms: u32) -> Option<Event> {
        let mut left_ms = timeout_ms;
        loop {
            let event = self.next();
            if event.is_some() || left_ms == 0 {
                return event;
            }
            let slice_ms = left_ms.min(SLICE_MS);
            if let Some(head) = self.fall_asleep() {
                self.store.wait(rt::LOG_HEAD, head, slice_ms);
                left_ms -= slice_ms;
            }
        }
    }

    /// Says that this watcher is going to sleep. Gives what the log's head is while nothing happens, on which to sleep;
    /// none when something has happened.
    pub fn fall_asleep(&mut self) -> Option<u32> {
        // Said first, then looked again: whoever has written meanwhile has either seen it or is seen.
        self.store.store(rt::LOG_SLEEPERS, u32::from(holds(Rule::SayWhoSleeps)));
        (self.store.load(rt::LOG_HEAD) == self.cursor).then_some(self.cursor)
    }

    /// The record at the cursor and where the next one begins; none when it has been written over.
    fn read(&self, head: u32) -> Option<(Record, u32)> {
        let mut bytes = [0; RECORD_MAX];
        let (first, rest) = bytes.split_first_chunk_mut::<8>()?;
        log::read_ring(&self.store, self.cursor, first);
        let len = log::record_len(*first)?;
        let units = (len / 8) as u32;
        if units > head.wrapping_sub(self.cursor) {
            return None;
        }
        log::read_ring(&self.store, self.cursor.wrapping_add(1), &mut rest[..len - 8]);
        // The reads are plain: they must not be done after the word is looked at.
        if holds(Rule::FenceBeforeLook) {
            self.store.fence(Ordering::Acquire);
        }
        let overtaken = self.store.load(rt::LOG_RESERVED).wrapping_sub(self.cursor) > RING_UNITS;
        if overtaken && holds(Rule::LookAtReserve) {
            return None;
        }
        Some((log::decode(&bytes[..len])?, self.cursor.wrapping_add(units)))
    }

    /// Has the next change of data told, even if it is one of the same inode.
    fn told(&self) {
        if self.store.load(rt::LOG_MODIFIED) != 0 {
            self.store.store(rt::LOG_MODIFIED, 0);
        }
    }
}

impl<S: Store> Drop for Watcher<S> {
    fn drop(&mut self) {
        let mut watchers = self.count.lock();
        *watchers -= 1;
        if *watchers == 0 {
            let (word, bit) = clients::mask_of(self.client);
            self.store.fetch_and(rt::LOG_WATCHERS + word, !bit);
        }
    }
}
