//! The lock of `store::lock`: who has it excludes others, sleepers are woken, and the dead have one heir.

use super::store::{LoomStore, Order, Sleeps, Snapshot};
use super::{explore, must_fail, say, spawn};
use crate::store::Store;
use crate::store::lock::{Taken, lock, lock_or_inherit, unlock};
use crate::store::rules::Rule;
use std::sync::Arc;

const LOCK: u64 = 0;
/// Changed by who has the lock.
const COUNT: u64 = 4;
/// 1 when it is known that client 9 has died.
const DEAD: u64 = 8;
const FOR_EVER: u32 = u32::MAX;

fn store(sleeps: Sleeps) -> Arc<LoomStore> {
    LoomStore::new(&Snapshot::empty(64), &[LOCK, COUNT, DEAD], Order::AcquireRelease, sleeps)
}

/// Adds 1 in a way that loses what others add meanwhile.
fn add(store: &LoomStore) {
    let mut bytes = [0; 4];
    store.read(COUNT, &mut bytes);
    store.write(COUNT, &(u32::from_le_bytes(bytes) + 1).to_le_bytes());
}

/// Clients who each take the lock some times.
fn excluding(clients: u32, times: u32, sleeps: Sleeps, preemptions: Option<usize>) -> u64 {
    explore(preemptions, move || {
        let store = store(sleeps);
        let work = |client| {
            let store = store.clone();
            move || {
                for _ in 0..times {
                    assert!(lock(&*store, LOCK, client, FOR_EVER));
                    add(&store);
                    unlock(&*store, LOCK, client);
                }
            }
        };
        let threads: Vec<_> = (2..=clients).map(|client| loom::thread::spawn(work(client))).collect();
        work(1)();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((store.newest(COUNT), store.newest(LOCK)), (clients * times, 0));
    })
}

#[test]
fn excludes_and_loses_no_wake_up() {
    let two = excluding(2, 2, Sleeps::UntilWoken, Some(if super::long() { 9 } else { 5 }));
    let three = excluding(3, 1, Sleeps::UntilWoken, Some(if super::long() { 4 } else { 3 }));
    let spinning = excluding(2, 1, Sleeps::NotAtAll, Some(3));
    say(&format!("lock: {two} executions with two, {three} with three, {spinning} without sleep"));
}

/// Who gives up leaves the mark; that must not stop anybody.
fn giving_up() -> u64 {
    explore(Some(3), || {
        let store = store(Sleeps::NotAtAll);
        let other = store.clone();
        let thread = loom::thread::spawn(move || {
            if lock(&*other, LOCK, 2, 50) {
                add(&other);
                unlock(&*other, LOCK, 2);
                return 1;
            }
            0
        });
        assert!(lock(&*store, LOCK, 1, FOR_EVER));
        add(&store);
        unlock(&*store, LOCK, 1);
        let more = thread.join().unwrap();
        assert_eq!((store.newest(COUNT), store.newest(LOCK)), (1 + more, 0));
    })
}

#[test]
fn who_gives_up_stops_nobody() {
    say(&format!("lock: {} executions with one that gives up", giving_up()));
}

/// Client 9 dies with the lock. `tell`: somebody says so while two heirs wait, or the first heir itself.
fn inheriting(tell: bool, preemptions: usize) -> u64 {
    explore(Some(preemptions), move || {
        let store = store(Sleeps::UntilWoken);
        assert!(lock(&*store, LOCK, 9, 0));
        // What the dead one left half done.
        store.write(COUNT, &7_u32.to_le_bytes());
        let news = move |store: &LoomStore| {
            store.store(DEAD, 1);
            store.notify(LOCK, u32::MAX);
            if tell {
                store.end_sleeps();
            }
        };
        let work = |client: u32| {
            let store = store.clone();
            move || {
                if client == 1 && !tell {
                    news(&store);
                }
                let dead = |owner| owner == 9 && store.load(DEAD) == 1;
                let taken = lock_or_inherit(&*store, LOCK, client, FOR_EVER, &dead);
                let mut bytes = [0; 4];
                store.read(COUNT, &mut bytes);
                match (taken, u32::from_le_bytes(bytes)) {
                    (Taken::From(9), 7) => store.write(COUNT, &100_u32.to_le_bytes()),
                    (Taken::Free, 100..) => add(&store),
                    other => panic!("client {client} found {other:?}"),
                }
                unlock(&*store, LOCK, client);
            }
        };
        let other = loom::thread::spawn(work(2));
        let teller = tell.then(|| {
            let store = store.clone();
            loom::thread::spawn(move || news(&store))
        });
        work(1)();
        other.join().unwrap();
        teller.into_iter().for_each(|teller| teller.join().unwrap());
        assert_eq!((store.newest(COUNT), store.newest(LOCK)), (101, 0));
    })
}

#[test]
fn the_dead_have_one_heir() {
    let told = inheriting(true, if super::long() { 4 } else { 3 });
    let itself = inheriting(false, 4);
    say(&format!("lock: {told} executions with heirs, {itself} with sleepers whom the news missed"));
}

#[test]
fn rules() {
    must_fail(Rule::HeirByExchange, || inheriting(true, 3));
    must_fail(Rule::HeirKeepsMark, || inheriting(false, 4));
    must_fail(Rule::KeepMark, || excluding(3, 1, Sleeps::UntilWoken, Some(3)));
    must_fail(Rule::MarkBeforeSleep, || excluding(2, 1, Sleeps::UntilWoken, Some(5)));
}

#[test]
fn stacks_are_large_enough() {
    explore(Some(5), || {
        let deep =
            spawn(|| std::hint::black_box([1_u8; 200_000]).iter().map(|&b| u32::from(b)).sum::<u32>());
        assert_eq!(deep.join().unwrap(), 200_000);
    });
}
