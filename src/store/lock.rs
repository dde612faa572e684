//! A mutex in the store: one word, three states, the owner's client number inside.
//!
//! ```text
//! 0                      free
//! client << 1            held, nobody waits
//! client << 1 | 1        held, somebody may be waiting
//! ```
//!
//! Client numbers start at 1. Every wait is bounded, so that a waiter can look whether the owner is
//! still alive instead of trusting that a wake-up comes.

use super::{Store, Wait};
use crossbeam_utils::Backoff;

/// How long one sleep on a held lock lasts before the waiter looks around.
pub const SLICE_MS: u32 = 50;

const WAITERS: u32 = 1;

/// Takes the lock at `word` for `client` (1 or more); gives false when `timeout_ms` ran out.
pub fn lock<S: Store + ?Sized>(store: &S, word: u64, client: u32, timeout_ms: u32) -> bool {
    let mine = client << 1;
    if store.compare_exchange(word, 0, mine) == 0 {
        return true;
    }
    let backoff = Backoff::new();
    while !backoff.is_completed() {
        if store.load(word) == 0 && store.compare_exchange(word, 0, mine) == 0 {
            return true;
        }
        backoff.snooze();
    }
    let mut waited_ms = 0;
    loop {
        let seen = store.load(word);
        if seen == 0 {
            // Others may still sleep: keep the mark, so that unlock wakes one of them.
            if store.compare_exchange(word, 0, mine | WAITERS) == 0 {
                return true;
            }
            continue;
        }
        if seen & WAITERS == 0 && store.compare_exchange(word, seen, seen | WAITERS) != seen {
            continue;
        }
        if waited_ms >= timeout_ms {
            return false;
        }
        let slice = SLICE_MS.min(timeout_ms - waited_ms);
        if store.wait(word, seen | WAITERS, slice) == Wait::TimedOut {
            waited_ms += slice;
        }
    }
}

/// Gives the lock at `word` back.
pub fn unlock<S: Store + ?Sized>(store: &S, word: u64, client: u32) {
    let mine = client << 1;
    if store.compare_exchange(word, mine, 0) != mine {
        store.store(word, 0);
        store.notify(word, 1);
    }
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
    fn gives_up_after_the_time() {
        let store = HeapStore::new(4096);
        assert!(lock(&store, 0, 1, 10));
        assert_eq!(owner(&store, 0), 1);
        assert!(!lock(&store, 0, 2, 10));
        unlock(&store, 0, 1);
        assert!(lock(&store, 0, 2, 10));
    }
}
