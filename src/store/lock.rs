//! A mutex in the store: one word, three states, the owner's client number inside.
//!
//! ```text
//! 0                      free
//! client << 1            held, nobody waits
//! client << 1 | 1        held, somebody may be waiting
//! ```
//!
//! Client numbers start at 1. Every wait is bounded, so that a waiter can look whether the owner is
//! still alive instead of trusting that a wake-up comes. A waiter who learns that it is not inherits the lock: it
//! goes from the dead to one heir without ever being free, and what it guards is as the dead left it.

use super::rules::{Rule, holds};
use super::{Store, Wait};
use crate::errno::Errno;
use crossbeam_utils::Backoff;

/// How long one sleep on a held lock lasts before the waiter looks around.
pub const SLICE_MS: u32 = 50;

const WAITERS: u32 = 1;

/// How an attempt to take a lock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was free.
    Free,
    /// It was in the hands of this client, which is dead.
    From(u32),
    /// The time ran out.
    Not,
}

/// Takes the lock at `word` for `client` (1 or more); gives false when `timeout_ms`, or the thread's patience, ran
/// out.
pub fn lock<S: Store + ?Sized>(store: &S, word: u64, client: u32, timeout_ms: u32) -> bool {
    lock_or_inherit(store, word, client, timeout_ms, &|_| false) == Taken::Free
}

/// As `lock`, but takes the lock from an owner of whom `is_dead` says that it has died. It is asked before each
/// sleep, which lasts [`SLICE_MS`] at most.
pub fn lock_or_inherit<S: Store + ?Sized>(
    store: &S,
    word: u64,
    client: u32,
    timeout_ms: u32,
    is_dead: &dyn Fn(u32) -> bool,
) -> Taken {
    let mine = client << 1;
    if store.compare_exchange(word, 0, mine) == 0 {
        return Taken::Free;
    }
    let backoff = Backoff::new();
    while store.spins() && !backoff.is_completed() {
        if store.load(word) == 0 && store.compare_exchange(word, 0, mine) == 0 {
            return Taken::Free;
        }
        backoff.snooze();
    }
    queue(store, word, client, timeout_ms, is_dead)
}

/// Takes the lock as one of those who sleep, or have slept, does.
fn queue<S: Store + ?Sized>(
    store: &S,
    word: u64,
    client: u32,
    timeout_ms: u32,
    is_dead: &dyn Fn(u32) -> bool,
) -> Taken {
    let timeout_ms = store.patience_ms().map_or(timeout_ms, |patience_ms| patience_ms.min(timeout_ms));
    let (mine, mut waited_ms) = (client << 1, 0);
    loop {
        let seen = store.load(word);
        if seen == 0 {
            // Others may still sleep: keep the mark, so that unlock wakes one of them.
            let marked = if holds(Rule::KeepMark) { mine | WAITERS } else { mine };
            if store.compare_exchange(word, 0, marked) == 0 {
                return Taken::Free;
            }
            continue;
        }
        if is_dead(seen >> 1) {
            let marked = if holds(Rule::HeirKeepsMark) { mine | WAITERS } else { mine };
            if !holds(Rule::HeirByExchange) {
                store.store(word, marked);
                return Taken::From(seen >> 1);
            }
            if store.compare_exchange(word, seen, marked) == seen {
                return Taken::From(seen >> 1);
            }
            continue;
        }
        let mark = if holds(Rule::MarkBeforeSleep) { WAITERS } else { 0 };
        if seen & WAITERS == 0 && store.compare_exchange(word, seen, seen | mark) != seen {
            continue;
        }
        if waited_ms >= timeout_ms {
            return Taken::Not;
        }
        let slice = SLICE_MS.min(timeout_ms - waited_ms);
        if store.wait(word, seen | mark, slice) == Wait::TimedOut {
            waited_ms += slice;
        }
    }
}

/// As `lock_or_inherit`, without a sleep, for who has slept elsewhere on what [`announce`] gave.
pub fn lock_after_sleep<S: Store + ?Sized>(
    store: &S,
    word: u64,
    client: u32,
    is_dead: &dyn Fn(u32) -> bool,
) -> Taken {
    queue(store, word, client, 0, is_dead)
}

/// Says that somebody is going to sleep until the lock at `word` is given back: one sleeper is woken then. Gives what the word
/// holds meanwhile; none when the lock is free.
pub fn announce<S: Store + ?Sized>(store: &S, word: u64) -> Option<u32> {
    let mut seen = store.load(word);
    while seen != 0 && seen & WAITERS == 0 {
        let now = store.compare_exchange(word, seen, seen | WAITERS);
        seen = if now == seen { seen | WAITERS } else { now };
    }
    (seen != 0).then_some(seen)
}

/// Gives the lock at `word` back.
pub fn unlock<S: Store + ?Sized>(store: &S, word: u64, client: u32) {
    let mine = client << 1;
    if store.compare_exchange(word, mine, 0) != mine {
        store.store(word, 0);
        store.notify(word, 1);
    }
}

/// What it means that a lock of the store was not had in time: nothing for who may not sleep and gave up early, so that
/// it can try again (`EAGAIN`); for others something is wrong (`EIO`).
pub fn late<S: Store + ?Sized>(store: &S) -> Errno {
    if store.patience_ms().is_some() { Errno::EAGAIN } else { Errno::EIO }
}

/// The client that holds the lock at `word`; 0 when it is free.
pub fn owner<S: Store + ?Sized>(store: &S, word: u64) -> u32 {
    store.load(word) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::HeapStore;
    use std::sync::Arc;

    #[test]
    fn excludes() {
        let store = Arc::new(HeapStore::new(4096));
        let rounds = if cfg!(miri) { 20 } else { 2_000 };
        let threads: Vec<_> = (1..=4)
            .map(|client| {
                let store = store.clone();
                std::thread::spawn(move || {
                    for _ in 0..rounds {
                        assert!(lock(&store, 0, client, 60_000));
                        let seen = store.load(4);
                        store.store(4, seen + 1);
                        unlock(&store, 0, client);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(store.load(4), 4 * rounds);
        assert_eq!(store.load(0), 0);
    }

    #[test]
    fn one_heir_gets_what_the_dead_had() {
        let store = Arc::new(HeapStore::new(4096));
        assert!(lock(&*store, 0, 9, 10));
        let heirs: Vec<_> = (1..=4)
            .map(|client| {
                let store = store.clone();
                std::thread::spawn(move || {
                    let taken = lock_or_inherit(&*store, 0, client, 60_000, &|owner| {
                        owner == 9 && store.load(8) == 1
                    });
                    unlock(&*store, 0, client);
                    taken
                })
            })
            .collect();
        store.store(8, 1);
        store.notify(0, u32::MAX);
        let mut taken: Vec<_> = heirs.into_iter().map(|heir| heir.join().unwrap()).collect();
        taken.sort_by_key(|taken| *taken == Taken::Free);
        assert_eq!(taken, [Taken::From(9), Taken::Free, Taken::Free, Taken::Free]);
        assert_eq!(store.load(0), 0);
    }

    #[test]
    fn gives_up_after_the_time() {
        let store = HeapStore::new(4096);
        assert!(lock(&store, 0, 1, 10));
        assert_eq!(owner(&store, 0), 1);
        assert!(!lock(&store, 0, 2, 10));
        unlock(&store, 0, 1);
        assert!(lock(&store, 0, 2, 10));
    }

    #[test]
    fn who_may_not_sleep_gives_up_early() {
        let store = HeapStore::brief(4096, 10);
        assert!(lock(&store, 0, 1, 10));
        assert!(!lock(&store, 0, 2, u32::MAX));
        assert_eq!(late(&store), Errno::EAGAIN);
        unlock(&store, 0, 1);
        assert!(lock(&store, 0, 2, 0));
        assert_eq!(late(&HeapStore::new(4096)), Errno::EIO);
    }
}
