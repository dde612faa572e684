//! Reading without a lock, against writers under the gate: what is read is of one state.

use super::store::{LoomStore, Order, Sleeps};
use super::volumes::{Base, attach};
use super::{explore, must_fail, say, spawn};
use crate::core::stripe_seq;
use crate::store::rules::Rule;
use crate::store::runtime as rt;
use crate::vfs::SetAttr;

/// What is read: two words.
const COUNT: usize = 8;

/// A write over the bytes that are read, twice: by way of the inode, and from what the thread remembers.
fn overwriting(preemptions: usize) -> u64 {
    let base = Base::new();
    let (snapshot, a) = (base.snapshot(), base.a);
    // The inode's words are left out: their readers are another model's.
    let mut words = base.changed(|volume| _ = volume.write(a, 0, &[2; COUNT]).unwrap());
    words.retain(|&at| base.word(at) == 0x0101_0101);
    assert_eq!(words.len(), 2);
    words.extend([rt::GATE, stripe_seq(a)]);
    explore(Some(preemptions), move || {
        let (snapshot, words) = (snapshot.clone(), words.clone());
        let run = move || {
            let store = LoomStore::new(&snapshot, &words, Order::AcquireRelease, Sleeps::UntilWoken);
            let (writer, reader) = (attach(&store, 1), attach(&store, 2));
            let writing = spawn(move || {
                writer.write(a, 0, &[2; COUNT]).unwrap();
            });
            let mut last = 1;
            for _ in 0..2 {
                let mut bytes = [0; COUNT];
                assert_eq!(reader.read(a, 0, &mut bytes), Ok(COUNT));
                assert!([[1; COUNT], [2; COUNT]].contains(&bytes), "read {bytes:?}");
                assert!(bytes[0] >= last, "a write is undone");
                last = bytes[0];
            }
            writing.join().unwrap();
        };
        spawn(run).join().unwrap();
    })
}

/// A file is emptied, and another client gives its block to another file.
fn reused(preemptions: usize) -> u64 {
    let base = Base::new();
    let (snapshot, a, b) = (base.snapshot(), base.a, base.b);
    let set = SetAttr { size_bytes: Some(0), ..Default::default() };
    let mut words = base.changed(|volume| {
        volume.setattr(a, &set).unwrap();
        volume.write(b, 0, &[9; 4096]).unwrap();
    });
    words.retain(|&at| base.word(at) == 0x0101_0101);
    assert_eq!(words.len(), 1024, "b has got the block of a");
    words.truncate(2);
    words.extend([rt::GATE, stripe_seq(a)]);
    explore(Some(preemptions), move || {
        let (snapshot, words) = (snapshot.clone(), words.clone());
        let run = move || {
            let store = LoomStore::new(&snapshot, &words, Order::AcquireRelease, Sleeps::UntilWoken);
            let (first, second, reader) = (attach(&store, 1), attach(&store, 2), attach(&store, 3));
            let emptying = spawn(move || _ = first.setattr(a, &set).unwrap());
            let filling = spawn(move || _ = second.write(b, 0, &[9; 4096]).unwrap());
            let mut bytes = [7; COUNT];
            match reader.read(a, 0, &mut bytes) {
                Ok(COUNT) => assert_eq!(bytes, [1; COUNT], "another file's"),
                other => assert_eq!(other, Ok(0)),
            }
            emptying.join().unwrap();
            filling.join().unwrap();
        };
        spawn(run).join().unwrap();
    })
}

/// A transaction changes attributes.
fn attributes(preemptions: usize) -> u64 {
    let base = Base::new();
    let (snapshot, a) = (base.snapshot(), base.a);
    let set = SetAttr { uid: Some(77), gid: Some(78), ..Default::default() };
    let mut words = base.changed(|volume| _ = volume.setattr(a, &set).unwrap());
    assert_eq!(words.len(), 2, "owner and group");
    words.extend([rt::GATE, stripe_seq(a)]);
    explore(Some(preemptions), move || {
        let (snapshot, words) = (snapshot.clone(), words.clone());
        let run = move || {
            let store = LoomStore::new(&snapshot, &words, Order::AcquireRelease, Sleeps::UntilWoken);
            let (writer, reader) = (attach(&store, 1), attach(&store, 2));
            let writing = spawn(move || _ = writer.setattr(a, &set).unwrap());
            let seen = reader.getattr(a).unwrap();
            assert!([(1, 2), (77, 78)].contains(&(seen.uid, seen.gid)), "{seen:?}");
            writing.join().unwrap();
            let seen = reader.getattr(a).unwrap();
            assert_eq!((seen.uid, seen.gid), (77, 78));
        };
        spawn(run).join().unwrap();
    })
}

#[test]
fn what_is_read_is_of_one_state() {
    let most = if super::long() { 4 } else { 3 };
    let (data, attrs, reused) = (overwriting(most), attributes(most), reused(most - 1));
    say(&format!(
        "reading: {data} executions of data, {attrs} of attributes, {reused} of a block used again"
    ));
}

#[test]
fn rules() {
    must_fail(Rule::LookAgain, || overwriting(3));
    must_fail(Rule::FenceBeforeLook, || overwriting(3));
    must_fail(Rule::OddBeforeBytes, || overwriting(3));
    must_fail(Rule::FenceBehindOdd, || reused(3));
}
