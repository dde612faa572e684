//! The change log: a watcher gets what was written or hears that it was overtaken, and sleeps only while nothing is there.

use super::store::{LoomStore, Order, Sleeps};
use super::volumes::{Base, attach};
use super::{explore, must_fail, say, spawn};
use crate::core::log::{RING_UNITS, What};
use crate::store::Store;
use crate::store::rules::Rule;
use crate::store::runtime as rt;
use crate::vfs::{Event, SetAttr};

/// Words of the record at the ring's start that differ between two: its number, the client and the inode.
const RECORD: [u64; 3] = [rt::LOG + 4, rt::LOG + 8, rt::LOG + 16];
/// Units of a record without a name.
const UNITS: u32 = 4;

fn words() -> Vec<u64> {
    RECORD.into_iter().chain([rt::LOG_HEAD, rt::LOG_RESERVED, rt::LOG_SLEEPERS]).collect()
}

fn touch() -> SetAttr {
    SetAttr { uid: Some(5), ..Default::default() }
}

/// A change while a watcher looks, or `sleep`s.
fn telling(sleep: bool) -> u64 {
    let base = Base::new();
    let (snapshot, a) = (base.snapshot(), base.a);
    // Who says that it sleeps looks at the head, who moves the head looks for sleepers.
    let order = if sleep { Order::Fenced } else { Order::AcquireRelease };
    explore(Some(4), move || {
        let snapshot = snapshot.clone();
        let run = move || {
            let store = LoomStore::new(&snapshot, &words(), order, Sleeps::UntilWoken);
            let (writer, other) = (attach(&store, 1), attach(&store, 2));
            let mut watcher = other.watch().unwrap();
            let writing = spawn(move || _ = writer.setattr(a, &touch()).unwrap());
            let watching = spawn(move || {
                let event = if sleep { watcher.poll(u32::MAX) } else { watcher.next() };
                assert!(event.is_some() || !sleep);
                (event.or_else(|| watcher.next()), watcher)
            });
            writing.join().unwrap();
            let (event, mut watcher) = watching.join().unwrap();
            let event = event.or_else(|| watcher.next());
            let Some(Event::Change(record)) = event else { panic!("{event:?}") };
            assert_eq!((record.what, record.client, record.ino), (What::Attrib, 1, a));
            assert_eq!(watcher.next(), None);
        };
        spawn(run).join().unwrap();
    })
}

/// A ring that is full to the last unit: the next record goes where the watcher reads.
fn overtaking() -> u64 {
    let base = Base::new();
    let (snapshot, a, b) = (base.snapshot(), base.a, base.b);
    explore(Some(4), move || {
        let snapshot = snapshot.clone();
        let run = move || {
            let store = LoomStore::new(&snapshot, &words(), Order::AcquireRelease, Sleeps::UntilWoken);
            let (writer, other) = (attach(&store, 1), attach(&store, 2));
            let mut watcher = other.watch().unwrap();
            other.setattr(a, &touch()).unwrap();
            let first = store.load(rt::LOG_HEAD) - UNITS;
            assert_eq!(first % RING_UNITS, 0);
            for word in [rt::LOG_RESERVED, rt::LOG_HEAD] {
                store.store(word, first + RING_UNITS);
            }
            let writing = spawn(move || _ = writer.setattr(b, &touch()).unwrap());
            let watching = spawn(move || match watcher.next() {
                Some(Event::Change(record)) => {
                    assert_eq!((record.what, record.client, record.ino), (What::Attrib, 2, a));
                    assert_eq!(record.sequence, 0);
                }
                event => assert_eq!(event, Some(Event::Overflow)),
            });
            watching.join().unwrap();
            writing.join().unwrap();
        };
        spawn(run).join().unwrap();
    })
}

#[test]
fn watchers_are_told_the_truth() {
    let (looking, sleeping, overtaken) = (telling(false), telling(true), overtaking());
    say(&format!(
        "log: {looking} executions of looking, {sleeping} of sleeping, {overtaken} of overtaking"
    ));
}

#[test]
fn rules() {
    must_fail(Rule::SayWhoSleeps, || telling(true));
    must_fail(Rule::HeadBehindBytes, || telling(false));
    must_fail(Rule::ReserveBeforeBytes, overtaking);
    must_fail(Rule::FenceBehindReserve, overtaking);
    must_fail(Rule::LookAtReserve, overtaking);
    must_fail(Rule::FenceBeforeLook, overtaking);
}
