//! The client's side of a commit: asking the keeper for one and waiting for it.
//!
//! The protocol is words of the runtime region. A client raises `WANTED` to the change count it wants
//! committed, adds 1 to `KEEPER_BELL` and sleeps on `DURABLE` (`WRITTEN` in relaxed mode). The keeper
//! publishes what it reached in those words, or what went wrong in `FAILURE`.
//!
//! Invariants
//! - Change counts wrap: they are compared by [`reached`], never by `>=`.
//! - Every sleep is bounded. A keeper whose beat stands still for [`KEEPER_SILENT_MS`] is taken for
//!   dead, because a worker may be killed at any instruction.
//! - `FAILURE` tells of the last attempt. Who asks for a new attempt clears it first, so that nobody
//!   is told of an error that has been overcome; whoever still waited for the last attempt then waits
//!   for the new one, which covers its changes too.

use crate::core::Image;
use crate::errno::Errno;
use crate::store::rules::{Rule, holds};
use crate::store::runtime::{self as rt, Durability, KeeperState, VolumeState};
use crate::store::{Store, Wait};

/// How long one sleep lasts before the waiter looks whether the keeper lives.
const SLICE_MS: u32 = 50;
/// How long the keeper's beat may stand still. A single device call may well take seconds.
pub const KEEPER_SILENT_MS: u32 = 30_000;

/// Whether the change count `seen` has come as far as `change`.
pub fn reached(seen: u32, change: u32) -> bool {
    seen.wrapping_sub(change).cast_signed() >= 0
}

/// Asks the keeper to commit everything up to `change`; does not wait.
pub fn request_commit<S: Store>(image: &Image<S>, change: u32) {
    ring_around(image.store(), || want(image, change));
}

/// Asks the keeper to make everything durable up to `change`, whatever the durability mode; does not wait.
pub fn request_flush<S: Store>(image: &Image<S>, change: u32) {
    ring_around(image.store(), || {
        raise(image.store(), rt::FLUSH_WANTED, change);
        want(image, change);
    });
}

/// Says what is wanted, then rings: a keeper that has heard the bell finds it.
fn ring_around<S: Store + ?Sized>(store: &S, say: impl FnOnce()) {
    if !holds(Rule::BellBehindWanted) {
        ring(store);
    }
    say();
    if holds(Rule::BellBehindWanted) {
        ring(store);
    }
}

fn want<S: Store>(image: &Image<S>, change: u32) {
    let store = image.store();
    raise(store, rt::WANTED, change);
    let number = store.load(rt::FAILURE);
    // A failed volume keeps its reason; only the keeper's own complaint is answered by a new attempt.
    if number != 0 && store.load(rt::STATE) != VolumeState::Failed as u32 {
        store.compare_exchange(rt::FAILURE, number, 0);
    }
}

/// Lets a word reach `change`, unless it has come farther.
fn raise<S: Store + ?Sized>(store: &S, word: u64, change: u32) {
    let mut wanted = store.load(word);
    while !reached(wanted, change) {
        let seen = store.compare_exchange(word, wanted, change);
        if seen == wanted {
            break;
        }
        wanted = seen;
    }
}

/// Wakes the keeper.
pub fn ring<S: Store + ?Sized>(store: &S) {
    store.fetch_add(rt::KEEPER_BELL, 1);
    store.notify(rt::KEEPER_BELL, 1);
}

/// What the keeper was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    goal: Goal,
    patience: Patience,
}

#[derive(Clone, Copy, Debug)]
enum Goal {
    /// Nothing: the store has no keeper and needs none.
    None,
    /// Everything up to a change is written.
    Written(u32),
    /// Everything up to a change is durable.
    Durable(u32),
    /// The image file has room for so many blocks.
    Room(u32),
}

impl Asked {
    /// Asks for a commit of everything up to `change`, as the store's durability says or, if `durable`, so that it
    /// survives in any case. Quarantined blocks that a durable commit covers are free then.
    pub fn commit<S: Store>(image: &Image<S>, change: u32, durable: bool) -> Self {
        let goal = match image.durability() {
            Durability::Memory => Goal::None,
            Durability::Relaxed if !durable => Goal::Written(change),
            _ => Goal::Durable(change),
        };
        let asked = Self { goal, patience: Patience::new(image.store(), KEEPER_SILENT_MS) };
        if !asked.is_reached(image.store().load(asked.word())) {
            match goal {
                Goal::Durable(_) => request_flush(image, change),
                _ => request_commit(image, change),
            }
        }
        asked
    }

    /// Asks for room for `blocks` blocks in the image file: what operations do that make blocks which nothing can free
    /// again.
    pub fn room<S: Store>(image: &Image<S>, blocks: u32) -> Self {
        let store = image.store();
        want_room(store, blocks);
        request_commit(image, store.load(rt::WANTED));
        Self { goal: Goal::Room(blocks), patience: Patience::new(store, KEEPER_SILENT_MS) }
    }

    /// Offset of the word that tells how far the keeper is.
    pub fn word(&self) -> u64 {
        match self.goal {
            Goal::Written(_) => rt::WRITTEN,
            Goal::None | Goal::Durable(_) => rt::DURABLE,
            Goal::Room(_) => rt::ROOM_BLOCKS,
        }
    }

    fn is_reached(&self, seen: u32) -> bool {
        match self.goal {
            Goal::None => true,
            Goal::Written(change) | Goal::Durable(change) => reached(seen, change),
            Goal::Room(blocks) => seen >= blocks,
        }
    }

    /// None when it is done, otherwise what the word holds meanwhile.
    ///
    /// `EIO`, `ENOSPC` or `EDQUOT` when the device refused (the changes stay in the store and the keeper goes on
    /// trying), `EIO` when no keeper serves the store.
    pub fn poll<S: Store + ?Sized>(&self, store: &S) -> Result<Option<u32>, Errno> {
        let seen = store.load(self.word());
        if self.is_reached(seen) {
            return Ok(None);
        }
        if store.load(rt::FAILURE) != 0 || store.load(rt::KEEPER_STATE) != KeeperState::Up as u32 {
            // The keeper publishes before it complains or stops: look once more.
            return if self.is_reached(store.load(self.word())) {
                Ok(None)
            } else {
                Err(failure(store))
            };
        }
        Ok(Some(seen))
    }

    /// Accounts for time in which nothing came of it. `ETIMEDOUT` when the keeper is silent.
    pub fn spend<S: Store + ?Sized>(&mut self, store: &S, passed_ms: u32) -> Result<(), Errno> {
        self.patience.spend(store, passed_ms)?;
        // A keeper that took the wish may have died before it served it.
        if let Goal::Room(blocks) = self.goal
            && store.load(rt::ROOM_WANTED) < blocks
            && store.load(rt::ROOM_BLOCKS) < blocks
        {
            want_room(store, blocks);
            ring(store);
        }
        Ok(())
    }

    /// Waits until it is done. Errors as those of `poll` and `spend`.
    pub fn wait<S: Store + ?Sized>(mut self, store: &S) -> Result<(), Errno> {
        while let Some(seen) = self.poll(store)? {
            if store.wait(self.word(), seen, SLICE_MS) == Wait::TimedOut {
                self.spend(store, SLICE_MS)?;
            }
        }
        Ok(())
    }
}

/// Waits until everything up to `change` is committed, as the store's durability says: what `fsync`
/// does.
///
/// `EIO`, `ENOSPC` or `EDQUOT` when the device refused (the changes stay in the store and the keeper
/// goes on trying), `EIO` when no keeper serves the store, `ETIMEDOUT` when the keeper is silent.
pub fn wait_committed<S: Store>(image: &Image<S>, change: u32) -> Result<(), Errno> {
    Asked::commit(image, change, false).wait(image.store())
}

/// Waits until everything up to `change` is durable, whatever the durability mode; quarantined blocks
/// that `change` covers are free by then.
pub fn wait_durable<S: Store>(image: &Image<S>, change: u32) -> Result<(), Errno> {
    Asked::commit(image, change, true).wait(image.store())
}

/// Waits until the image file has room for `blocks` blocks.
///
/// Errors as those of [`wait_committed`].
pub fn wait_room<S: Store>(image: &Image<S>, blocks: u32) -> Result<(), Errno> {
    Asked::room(image, blocks).wait(image.store())
}

/// Notes for the keeper's next attempt that the image file is to have room for `blocks` blocks.
pub fn want_room<S: Store + ?Sized>(store: &S, blocks: u32) {
    let mut wanted = store.load(rt::ROOM_WANTED);
    while wanted < blocks {
        let seen = store.compare_exchange(rt::ROOM_WANTED, wanted, blocks);
        if seen == wanted {
            break;
        }
        wanted = seen;
    }
}

/// Asks the keeper to commit everything and stop, and waits until it has closed its files.
pub fn stop_keeper<S: Store>(image: &Image<S>) -> Result<(), Errno> {
    let store = image.store();
    store.store(rt::KEEPER_STOP, 1);
    ring(store);
    let mut patience = Patience::new(store, KEEPER_SILENT_MS);
    loop {
        let state = store.load(rt::KEEPER_STATE);
        if state == KeeperState::Failed as u32 {
            return Err(failure(store));
        }
        if state != KeeperState::Up as u32 {
            return Ok(());
        }
        if store.wait(rt::KEEPER_STATE, state, SLICE_MS) == Wait::TimedOut {
            patience.spend(store, SLICE_MS)?;
        }
    }
}

/// The errno in `FAILURE`; `EIO` when there is none.
fn failure<S: Store + ?Sized>(store: &S) -> Errno {
    Errno::from_linux(store.load(rt::FAILURE).cast_signed()).unwrap_or(Errno::EIO)
}

/// How long the keeper has been silent, told by sleeps, since there is no clock everywhere.
#[derive(Clone, Copy, Debug)]
struct Patience {
    beat: u32,
    silent_ms: u32,
    limit_ms: u32,
    /// The thread may wait no longer than this, whatever the keeper does.
    brief: bool,
}

impl Patience {
    fn new<S: Store + ?Sized>(store: &S, limit_ms: u32) -> Self {
        let patience_ms = store.patience_ms();
        Self {
            beat: store.load(rt::KEEPER_BEAT),
            silent_ms: 0,
            limit_ms: patience_ms.map_or(limit_ms, |ms| ms.min(limit_ms)),
            brief: patience_ms.is_some(),
        }
    }

    /// Accounts for a sleep that nothing ended.
    fn spend<S: Store + ?Sized>(&mut self, store: &S, passed_ms: u32) -> Result<(), Errno> {
        let beat = store.load(rt::KEEPER_BEAT);
        if beat != self.beat && !self.brief {
            self.beat = beat;
            self.silent_ms = 0;
            return Ok(());
        }
        self.silent_ms = self.silent_ms.saturating_add(passed_ms);
        if self.silent_ms >= self.limit_ms { Err(Errno::ETIMEDOUT) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HeapStore;
    use std::sync::Arc;

    fn image(durability: Durability) -> Image<Arc<HeapStore>> {
        let store = Arc::new(HeapStore::new(rt::store_size_bytes(64)));
        Image::prepare(&store, 1, durability).unwrap();
        Image::attach(store, 1).unwrap()
    }

    #[test]
    fn counts_wrap() {
        assert!(reached(5, 5) && reached(6, 5) && !reached(4, 5));
        assert!(reached(2, u32::MAX) && !reached(u32::MAX, 2));
        let image = image(Durability::Strict);
        image.store().store(rt::WANTED, u32::MAX - 1);
        request_commit(&image, 3);
        assert_eq!(image.store().load(rt::WANTED), 3);
        request_commit(&image, u32::MAX);
        assert_eq!(image.store().load(rt::WANTED), 3);
        assert_eq!(image.store().load(rt::KEEPER_BELL), 2);
    }

    #[test]
    fn each_mode_waits_for_its_word() {
        assert_eq!(wait_committed(&image(Durability::Memory), 9), Ok(()));
        let relaxed = image(Durability::Relaxed);
        relaxed.store().store(rt::WRITTEN, 9);
        assert_eq!(wait_committed(&relaxed, 9), Ok(()));
        assert_eq!(wait_durable(&relaxed, 9), Err(Errno::EIO));
    }

    #[test]
    fn tells_what_is_wrong() {
        let image = image(Durability::Strict);
        assert_eq!(wait_committed(&image, 1), Err(Errno::EIO), "no keeper");
        image.store().store(rt::KEEPER_STATE, KeeperState::Up as u32);
        let mut asked = Asked::commit(&image, 1, true);
        asked.patience.limit_ms = 100;
        assert_eq!(asked.wait(image.store()), Err(Errno::ETIMEDOUT));
        // An old complaint is not repeated, a new one is reported.
        image.store().store(rt::FAILURE, Errno::EDQUOT.linux().cast_unsigned());
        let other = Image::attach(image.store().clone(), 2).unwrap();
        let keeper = std::thread::spawn(move || {
            while other.store().load(rt::FAILURE) != 0 {
                std::thread::yield_now();
            }
            other.store().store(rt::FAILURE, Errno::ENOSPC.linux().cast_unsigned());
        });
        assert_eq!(wait_committed(&image, 1), Err(Errno::ENOSPC));
        keeper.join().unwrap();
    }

    #[test]
    fn who_may_not_sleep_waits_no_longer_for_a_keeper_that_is_busy() {
        let store = Arc::new(HeapStore::brief(rt::store_size_bytes(64), 200));
        Image::prepare(&store, 1, Durability::Strict).unwrap();
        let image = Image::attach(store.clone(), 1).unwrap();
        store.store(rt::KEEPER_STATE, KeeperState::Up as u32);
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (busy, stopped) = (store.clone(), stop.clone());
        let keeper = std::thread::spawn(move || {
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                busy.fetch_add(rt::KEEPER_BEAT, 1);
                std::thread::yield_now();
            }
        });
        assert_eq!(wait_committed(&image, 1), Err(Errno::ETIMEDOUT));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        keeper.join().unwrap();
    }
}
