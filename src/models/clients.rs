//! The slots of `store::clients`: each has one client, and the news of a death hits nobody else.

use super::store::{LoomStore, Order, Sleeps, Snapshot};
use super::{explore, must_fail, say};
use crate::store::HeapStore;
use crate::store::clients::{self, ClientId};
use crate::store::rules::Rule;
use crate::store::runtime as rt;
use std::sync::Arc;

const SLOTS: u32 = 3;

fn store() -> Arc<LoomStore> {
    let heap = HeapStore::new(rt::STRIPES);
    let slot = |slot: u32| rt::CLIENTS + u64::from(slot - 1) * rt::CLIENT_SIZE_BYTES;
    let words: Vec<_> = (1..=SLOTS).map(slot).chain([rt::CLIENT_SERIAL]).collect();
    LoomStore::new(&Snapshot::of(&heap), &words, Order::Exchanging, Sleeps::UntilWoken)
}

fn come(store: &LoomStore) -> ClientId {
    let slot = clients::claim(store, [0; 2]).unwrap();
    assert!(clients::attach(store, slot), "somebody else has slot {slot}, too");
    clients::id(store, slot).unwrap()
}

/// Clients who come at the same time; one leaves, and another follows.
fn coming() -> u64 {
    explore(Some(3), || {
        let store = store();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let store = store.clone();
                loom::thread::spawn(move || come(&store))
            })
            .collect();
        let first = come(&store);
        clients::release(&*store, first.slot);
        let again = come(&store);
        let mut all: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        all.extend([first, again]);
        for (at, one) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other.serial != one.serial), "{all:?}");
        }
        for one in all.iter().filter(|&&one| one != first) {
            assert_eq!(clients::id(&*store, one.slot), Some(*one), "{all:?}");
        }
    })
}

/// A client leaves, another one comes, and somebody still says that the first one has died.
fn burying() -> u64 {
    explore(Some(5), || {
        let store = store();
        let old = come(&store);
        let next = {
            let store = store.clone();
            loom::thread::spawn(move || come(&store))
        };
        let news = {
            let store = store.clone();
            loom::thread::spawn(move || clients::mark_dead(&*store, old))
        };
        clients::release(&*store, old.slot);
        let next = next.join().unwrap();
        news.join().unwrap();
        assert!(!clients::is_dead(&*store, next.slot), "{next:?} was buried for {old:?}");
        assert_eq!(clients::id(&*store, next.slot), Some(next));
    })
}

/// Several say of one client that it has died: it is dead, and of the others none is.
fn all_say_so() -> u64 {
    explore(Some(5), || {
        let store = store();
        let (victim, other) = (come(&store), come(&store));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let store = store.clone();
                loom::thread::spawn(move || clients::mark_dead(&*store, victim))
            })
            .collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        assert!(clients::is_dead(&*store, victim.slot) && !clients::is_dead(&*store, other.slot));
        assert_eq!(
            clients::id(&*store, victim.slot),
            Some(victim),
            "its name is known until all is recovered"
        );
    })
}

#[test]
fn each_slot_has_one_client() {
    let (coming, burying, said) = (coming(), burying(), all_say_so());
    say(&format!(
        "slots: {coming} executions of coming, {burying} of late news, {said} of the same news"
    ));
}

#[test]
fn rules() {
    must_fail(Rule::SlotByExchange, coming);
    must_fail(Rule::SerialInSlot, burying);
    must_fail(Rule::BuryByExchange, burying);
}
