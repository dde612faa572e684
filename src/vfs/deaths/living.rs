//! Clients in threads, some of whom die: nobody waits for ever, and nobody has to be told twice.

use super::ROOT;
use super::world::{directory, file};
use crate::core::Image;
use crate::core::check::check;
use crate::errno::Errno;
use crate::store::clients::{self, ClientId};
use crate::store::mortal::{self, Mortal};
use crate::store::runtime::{self as rt, Durability};
use crate::store::{HeapStore, Store, lock};
use crate::vfs::{LockMode, LockOwner, LockRange, Volume, Waiting};
use std::sync::Arc;
use std::thread;

fn now() -> i64 {
    1
}

fn volume() -> Volume<Arc<HeapStore>> {
    let store = Arc::new(HeapStore::new(rt::store_size_bytes(400)));
    Image::prepare(&store, 1, Durability::Memory).unwrap();
    Volume::format(store, 1, now, [7; 32]).unwrap()
}

/// A second view of a volume's store, which dies when it is told.
fn mortal(volume: &Volume<Arc<HeapStore>>) -> (Volume<Mortal>, Mortal) {
    let mortal = Mortal::new(volume.image().store());
    (Volume::join(mortal.clone(), [0; 2], now).unwrap(), mortal)
}

#[test]
fn who_waits_at_the_gate_inherits_it() {
    let volume = volume();
    let store = volume.image().store().clone();
    let (other, view) = mortal(&volume);
    let id = other.client();
    // It dies with the gate in its hand, and nobody knows yet.
    view.dies_at(2, false);
    assert!(mortal::run(|| other.create(ROOT, b"x", &file())).is_none());
    store.store(rt::GATE, id.slot << 1);
    drop(other);
    let waiting = thread::spawn(move || {
        volume.create(ROOT, b"y", &file()).unwrap();
        volume
    });
    while store.load(rt::GATE) & 1 == 0 {
        thread::yield_now();
    }
    // Whoever says so need not be able to do more.
    assert!(clients::mark_dead(&store, id));
    let volume = waiting.join().unwrap();
    assert!(volume.lookup(ROOT, b"y").is_ok() && volume.lookup(ROOT, b"x").is_err());
    assert!(clients::id(&store, id.slot).is_some(), "the rest is to be recovered");
    volume.bury(id).unwrap();
    volume.bury(id).unwrap();
    assert_eq!(clients::id(&store, id.slot), None);
}

#[test]
fn a_keeper_that_died_with_the_gate_is_inherited_from() {
    let volume = volume();
    let store = volume.image().store().clone();
    assert!(lock::lock(&*store, rt::GATE, rt::KEEPER_CLIENT, 0));
    // It was about to make counts anew.
    store.store(rt::DIRTY_COUNT, 77);
    volume.bury_keeper().unwrap();
    assert_eq!((store.load(rt::GATE), store.load(rt::DIRTY_COUNT)), (0, 0));
    volume.create(ROOT, b"x", &file()).unwrap();
}

#[test]
fn who_waits_for_a_lock_gets_it_when_its_owner_is_buried() {
    let volume = Arc::new(volume());
    let f = volume.create(ROOT, b"f", &file()).unwrap().ino;
    volume.hold(f).unwrap();
    let (other, view) = mortal(&volume);
    other.hold(f).unwrap();
    let (a, b) = (LockOwner::process(1, 1), LockOwner::process(2, 2));
    other.lock(f, &a, LockMode::Exclusive, LockRange::WHOLE, None).unwrap();
    let id = other.client();
    view.dies_at(0, false);
    drop(other);
    let waiter = volume.clone();
    let waiting = thread::spawn(move || {
        waiter.lock(f, &b, LockMode::Exclusive, LockRange::WHOLE, Some(&Waiting::default()))
    });
    let store = volume.image().store();
    while store.load(rt::LOCK_WAITING) == 0 {
        thread::yield_now();
    }
    // The one who was to bury it dies before it has begun: those who wait see to it themselves.
    assert!(clients::mark_dead(store, id));
    assert_eq!(waiting.join().unwrap(), Ok(()));
    assert_eq!(clients::id(store, id.slot), None);
}

#[test]
fn a_store_has_room_for_64_clients() {
    let first = volume();
    let store = first.image().store().clone();
    let others: Vec<_> =
        (1..rt::CLIENTS_MAX).map(|_| Volume::join(store.clone(), [0; 2], now).unwrap()).collect();
    for other in &others {
        let name = format!("of {}", other.client().slot);
        other.create(ROOT, name.as_bytes(), &directory()).unwrap();
    }
    let refused = Volume::join(store.clone(), [0; 2], now).err().unwrap();
    assert_eq!(refused, Errno::EUSERS);
    assert!(refused.to_string().contains("64"), "{refused}");
    let left = others[30].client();
    others[30].detach().unwrap();
    let next = Volume::join(store.clone(), [0; 2], now).unwrap();
    assert_eq!(next.client().slot, left.slot);
    assert_ne!(next.client(), left);
    // News of the death of one who has left in time are no news.
    first.bury(left).unwrap();
    next.create(ROOT, b"next", &file()).unwrap();
    assert_eq!(first.bury(first.client()), Err(Errno::EINVAL));
    assert_eq!(first.bury(ClientId { slot: 65, serial: 0 }), Err(Errno::EINVAL));
    assert_eq!(first.count_names(ROOT), Ok(64));
}

/// Threads change a tree, one client after the other dies at random, and somebody buries it.
#[test]
fn clients_come_and_die_while_others_work() {
    let deaths = if super::long() { 2_000 } else { 100 };
    let volume = Arc::new(volume());
    let store = volume.image().store().clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            let (store, stop) = (store.clone(), stop.clone());
            thread::spawn(move || {
                let volume = Volume::join(store, [0; 2], now).unwrap();
                let dir =
                    volume.create(ROOT, format!("w{worker}").as_bytes(), &directory()).unwrap().ino;
                let mut rounds = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let ino = volume.create(dir, b"a", &file()).unwrap().ino;
                    volume.write(ino, 0, &[worker; 6_000]).unwrap();
                    let mut bytes = [9; 6_000];
                    assert_eq!(volume.read(ino, 0, &mut bytes), Ok(6_000));
                    assert_eq!(bytes, [worker; 6_000]);
                    volume.unlink(dir, b"a").unwrap();
                    rounds += 1;
                }
                volume.detach().unwrap();
                rounds
            })
        })
        .collect();
    let mut dice = super::Dice(5);
    for number in 0..deaths {
        let (other, view) = mortal(&volume);
        let id = other.client();
        view.dies_at(1 + dice.below(900), number % 2 == 0);
        mortal::run(|| {
            let name = format!("v{number}");
            let ino = other.create(ROOT, name.as_bytes(), &file()).unwrap().ino;
            other.hold(ino).unwrap();
            for part in 0..4 {
                other.append(ino, &[7; 3_000]).unwrap();
                let owner = LockOwner::process(part, 1);
                let range = LockRange { start: part, end: part };
                other.lock(ino, &owner, LockMode::Exclusive, range, None).unwrap();
            }
            other.unlink(ROOT, name.as_bytes()).unwrap();
            other.forget(ino);
        });
        view.dies_at(0, false);
        drop(other);
        volume.bury(id).unwrap();
        let name = format!("v{number}");
        let _ = volume.unlink(ROOT, name.as_bytes());
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let rounds: Vec<u32> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    super::say(&format!("{deaths} deaths; the others made {rounds:?} rounds"));
    assert!(rounds.iter().all(|&rounds| rounds > 0));
    let report = check(volume.core());
    assert!(report.is_clean(), "{report}");
    assert_eq!([rt::LOCK_COUNT, rt::GATE, rt::LOCK_GUARD].map(|word| store.load(word)), [0; 3]);
    assert_eq!(clients::slots().filter_map(|slot| clients::id(&store, slot)).count(), 1);
}
