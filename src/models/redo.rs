//! Redo slots and heirs of the gate: a client dies at each access of an operation in turn, while others work. What it
//! did is there as a whole or not at all, for everybody, and stays so.

use super::store::{LoomStore, Order, Sleeps};
use super::volumes::{Base, attach, now};
use super::{explore, failure, must_fail, say, spawn};
use crate::core::check::check;
use crate::core::rules::{Rule as Core, Rules};
use crate::core::stripe_seq;
use crate::store::clients;
use crate::store::mortal::{self, Mortal};
use crate::store::rules::Rule;
use crate::store::runtime as rt;
use crate::vfs::{SetAttr, Volume};

const VICTIM: u32 = 1;
const HEIR: u32 = 2;

fn owner(uid: u32) -> SetAttr {
    SetAttr { uid: Some(uid), gid: Some(uid), ..Default::default() }
}

/// The words over which clients race when one dies, beside those that the operation changes.
fn words(changed: Vec<u64>, ino: u32) -> Vec<u64> {
    let slot = rt::REDO + u64::from(VICTIM - 1) * rt::REDO_SIZE_BYTES;
    // State, length, and the bytes of the first record.
    let slot = [slot, slot + 4, slot + 64 + 12];
    let client = rt::CLIENTS + u64::from(VICTIM - 1) * rt::CLIENT_SIZE_BYTES;
    changed.into_iter().chain(slot).chain([rt::GATE, stripe_seq(ino), client]).collect()
}

/// How many accesses an undisturbed operation makes.
fn rehearse(base: &Base, rules: Rules) -> u64 {
    let before = base.snapshot();
    let store = Mortal::new(&base.heap);
    let mut volume = Volume::attach(store.clone(), VICTIM, now).unwrap();
    volume.image_mut().set_rules(rules);
    store.dies_at(u64::MAX, false);
    volume.setattr(base.a, &owner(90)).unwrap();
    let accesses = u64::MAX - store.left();
    drop(volume);
    before.restore(&*base.heap);
    accesses
}

/// All schedules in which the victim dies at one access.
fn dying(access: u64, preemptions: usize, rules: Rules) -> u64 {
    let base = Base::new();
    let (snapshot, a, b) = (base.snapshot(), base.a, base.b);
    let words = words(base.changed(|volume| _ = volume.setattr(a, &owner(90)).unwrap()), a);
    explore(Some(preemptions), move || {
        let (snapshot, words) = (snapshot.clone(), words.clone());
        let run = move || {
            let store = LoomStore::new(&snapshot, &words, Order::AcquireRelease, Sleeps::UntilWoken);
            let life = Mortal::new(&store);
            let mut victim = Volume::attach(life.clone(), VICTIM, now).unwrap();
            let (mut heir, reader) = (attach(&store, HEIR), attach(&store, 3));
            heir.image_mut().set_rules(rules);
            victim.image_mut().set_rules(rules);
            // Somebody else has changed since what the victim changed before.
            victim.setattr(a, &owner(70)).unwrap();
            heir.setattr(a, &owner(80)).unwrap();
            let id = victim.client();
            let dying = {
                let store = store.clone();
                spawn(move || {
                    life.dies_at(access, false);
                    let lives = mortal::run(|| victim.setattr(a, &owner(90)).unwrap()).is_some();
                    life.dies_at(0, false);
                    drop(victim);
                    // The front end hears of it, in whatever way.
                    assert!(clients::mark_dead(&*store, id));
                    store.end_sleeps();
                    lives
                })
            };
            let reading = spawn(move || {
                let seen = reader.getattr(a).unwrap();
                assert!([80, 90].contains(&seen.uid) && seen.uid == seen.gid, "{seen:?}");
                seen.uid
            });
            heir.setattr(b, &owner(5)).unwrap();
            let seen = heir.getattr(a).unwrap();
            assert!([80, 90].contains(&seen.uid) && seen.uid == seen.gid, "{seen:?}");
            let lives = dying.join().unwrap();
            let read = reading.join().unwrap();
            heir.bury(id).unwrap();
            let last = heir.getattr(a).unwrap();
            assert!(
                last.uid == last.gid && last.uid >= read.max(seen.uid),
                "{read}, {}, {last:?}",
                seen.uid
            );
            assert!(!lives || last.uid == 90, "what was acknowledged is gone: {last:?}");
            assert_eq!(heir.getattr(b).unwrap().uid, 5, "what another one did is gone");
            assert_eq!(clients::id(&*store, VICTIM), None);
            assert_eq!((store.newest(rt::GATE), store.newest(stripe_seq(a)) % 2), (0, 0));
            let report = check(heir.core());
            assert!(report.is_clean(), "{report}");
        };
        spawn(run).join().unwrap();
    })
}

/// Deaths at all accesses; gives how many there were, and all executions.
fn everywhere(preemptions: usize, rules: Rules, step: usize) -> (u64, u64) {
    let accesses = rehearse(&Base::new(), rules);
    let executions = (1..=accesses).step_by(step).map(|access| dying(access, preemptions, rules)).sum();
    (accesses.div_ceil(step as u64), executions)
}

#[test]
fn an_operation_is_there_as_a_whole_or_not_at_all() {
    // Two preemptions at each access take minutes.
    let (deaths, once) = everywhere(1, Rules::default(), 1);
    let (some, twice) = everywhere(2, Rules::default(), if super::long() { 1 } else { 4 });
    say(&format!(
        "redo: {once} executions of {deaths} deaths with one preemption, {twice} of {some} with two"
    ));
}

#[test]
fn rules() {
    must_fail(Rule::RecordsBeforeState, || everywhere(2, Rules::default(), 1).1);
    must_fail(Rule::FenceBeforeSettling, || everywhere(2, Rules::default(), 1).1);
    for rule in [Core::SettleBeforeOpening, Core::EvenStripes] {
        let found = failure(|| everywhere(2, Rules::without(rule), 1));
        let first = found.as_deref().map(|text| text.lines().next().unwrap_or_default());
        say(&format!("{rule:?} off: {}", first.unwrap_or("-")));
        assert!(found.is_some(), "nobody notices that {rule:?} is off");
    }
}
