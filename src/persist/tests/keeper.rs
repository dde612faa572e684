//! The keeper's turns, and clients that wait for it.

use super::open::records_of_the_newest;
use super::toy::{History, Toy, ToyRules, UUID, fresh_store, judge};
use crate::core::Image;
use crate::errno::Errno;
use crate::persist::recovery::{Found, OpenOptions, open_volume};
use crate::persist::sim::{Event, Faults, Rng, SimDevice, SimDisk};
use crate::persist::{
    Device, Keeper, OpenError, Turn, request_commit, stop_keeper, wait_committed, wait_durable,
};
use crate::store::runtime::{self as rt, Durability, KeeperState};
use crate::store::{HeapStore, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

type ToyKeeper = Keeper<Arc<HeapStore>, SimDevice>;

struct Fixture {
    disk: SimDisk,
    store: Arc<HeapStore>,
    keeper: ToyKeeper,
    now_ms: Arc<AtomicU64>,
    toy: Toy,
    history: History,
}

fn open(disk: &SimDisk, durability: Durability) -> (Arc<HeapStore>, ToyKeeper, Found, Arc<AtomicU64>) {
    let (store, image) = fresh_store(64, durability);
    let now_ms = Arc::new(AtomicU64::new(0));
    let clock = now_ms.clone();
    let mut keys = Rng::new(3);
    let mut options = OpenOptions::new(UUID, Box::new(move || keys.next()));
    options.segment_blocks = 80;
    let (image_device, journal_device) = disk.devices();
    let clock = Box::new(move || clock.load(Ordering::Relaxed));
    let (keeper, found) =
        Keeper::open(image, image_device, journal_device, options, clock, &mut |_| ()).unwrap();
    (store, keeper, found, now_ms)
}

impl Fixture {
    fn new(durability: Durability) -> Self {
        let disk = SimDisk::new(1);
        let (store, keeper, found, now_ms) = open(&disk, durability);
        assert_eq!(found, Found::New);
        let rules = ToyRules { ignore_quarantine: false, blocks: 64, admitted: 60 };
        let toy = Toy::attach(&store, rules, 0, Default::default(), Rng::new(9));
        let mut this = Self { disk, store, keeper, now_ms, toy, history: History::default() };
        this.toy.format(&mut this.history);
        this
    }

    fn mutate(&mut self) -> u32 {
        self.toy.mutate(&mut self.history);
        self.store.load(rt::CHANGE)
    }

    fn word(&self, word: u64) -> u32 {
        self.store.load(word)
    }

    fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Turns until nothing is left to do.
    fn settle(&mut self) {
        while self.keeper.turn(0) == Turn::Busy {}
    }
}

#[test]
fn the_timer_commits_what_nobody_asked_for() {
    let mut fixture = Fixture::new(Durability::Strict);
    fixture.settle();
    assert_eq!(fixture.word(rt::DURABLE), 0);
    fixture.pass(1000);
    fixture.settle();
    assert_eq!(fixture.word(rt::DURABLE), fixture.word(rt::CHANGE));
    assert_eq!(fixture.word(rt::COMMITS), 1);
    assert_eq!(fixture.word(rt::KEEPER_STATE), KeeperState::Up as u32);
    fixture.pass(10_000);
    fixture.settle();
    assert_eq!(fixture.word(rt::COMMITS), 1);
}

#[test]
fn a_request_is_served_at_once() {
    let mut fixture = Fixture::new(Durability::Strict);
    let change = fixture.mutate();
    request_commit(&fixture.toy.image, change);
    fixture.settle();
    assert_eq!(fixture.word(rt::DURABLE), change);
    // A count that was never reached does not keep the keeper busy.
    request_commit(&fixture.toy.image, change + 1000);
    fixture.settle();
}

#[test]
fn relaxed_commits_are_written_at_once_and_flushed_by_the_timer() {
    let mut fixture = Fixture::new(Durability::Relaxed);
    let change = fixture.mutate();
    request_commit(&fixture.toy.image, change);
    fixture.settle();
    assert_eq!((fixture.word(rt::WRITTEN), fixture.word(rt::DURABLE)), (change, 0));
    fixture.pass(1000);
    fixture.settle();
    assert_eq!(fixture.word(rt::DURABLE), change);
}

#[test]
fn errors_are_told_and_overcome() {
    let mut fixture = Fixture::new(Durability::Strict);
    fixture.disk.set_faults(Faults { write_percent: 100, ..Faults::default() }, Errno::ENOSPC);
    let change = fixture.mutate();
    request_commit(&fixture.toy.image, change);
    fixture.settle();
    assert_eq!(fixture.word(rt::FAILURE), Errno::ENOSPC.linux().cast_unsigned());
    assert_eq!(fixture.word(rt::KEEPER_STATE), KeeperState::Up as u32);
    let text = fixture.keeper.last_error().unwrap().to_string();
    assert_eq!(text, "cannot make the image longer: ENOSPC (no space left)");
    // Without a request the next attempts are the timer's, ever more rarely.
    let attempts = fixture.disk.events().len();
    for _ in 0..100 {
        fixture.pass(100);
        fixture.settle();
    }
    let attempts = fixture.disk.events().len() - attempts;
    assert!((2..5).contains(&attempts), "{attempts}");
    // A request is tried at once.
    fixture.disk.set_faults(Faults::default(), Errno::EIO);
    request_commit(&fixture.toy.image, change);
    fixture.settle();
    assert_eq!((fixture.word(rt::DURABLE), fixture.word(rt::FAILURE)), (change, 0));
    assert!(fixture.keeper.last_error().is_none());
}

#[test]
fn an_error_with_nothing_left_to_commit_is_over() {
    let mut fixture = Fixture::new(Durability::Strict);
    fixture.keeper.commit_now().unwrap();
    fixture.disk.set_faults(Faults { write_percent: 100, ..Faults::default() }, Errno::EIO);
    fixture.mutate();
    assert_eq!(fixture.keeper.commit_now(), Err(Errno::EIO));
    fixture.disk.set_faults(Faults::default(), Errno::EIO);
    fixture.pass(1000);
    fixture.settle();
    assert_eq!(fixture.word(rt::FAILURE), 0);
}

#[test]
fn full_segments_are_checkpointed_when_idle() {
    let mut fixture = Fixture::new(Durability::Strict);
    while fixture.disk.events().iter().all(|event| !matches!(event, Event::Write { file: 0, .. })) {
        fixture.mutate();
        fixture.keeper.commit_now().unwrap();
        fixture.settle();
    }
    // The image was written although the journal's other segment is far from full.
    assert!(fixture.word(rt::COMMITS) < 70);
}

#[test]
fn stopping_commits_everything_and_the_image_can_stand_alone() {
    for durability in [Durability::Strict, Durability::Relaxed] {
        let mut fixture = Fixture::new(durability);
        for _ in 0..30 {
            fixture.mutate();
            fixture.keeper.commit_now().unwrap();
        }
        let change = fixture.mutate();
        fixture.keeper.checkpoint_now().unwrap();
        fixture.store.store(rt::KEEPER_STOP, 1);
        assert_eq!(fixture.keeper.turn(1000), Turn::Stopped);
        assert_eq!(fixture.keeper.turn(1000), Turn::Stopped);
        assert_eq!(fixture.keeper.commit_now(), Err(Errno::EIO));
        assert_eq!(fixture.word(rt::KEEPER_STATE), KeeperState::Stopped as u32);
        assert_eq!(wait_committed(&fixture.toy.image, change + 1), Err(Errno::EIO));
        // Without the records the image holds the same.
        fixture.disk.edit(1, |journal| {
            // The older segment's header goes, too: without it nothing says that there were records.
            let half = journal.len() / 2;
            let epoch = |at: usize| journal[at + 40..at + 48].to_vec();
            let older = if epoch(0) < epoch(half) { 0 } else { half };
            journal[4096..half].fill(0);
            journal[half + 4096..].fill(0);
            journal[older..older + 4096].fill(0);
        });
        let (_, keeper, found, _) = open(&fixture.disk, durability);
        assert!(matches!(found, Found::Volume(_)));
        assert_eq!(judge(keeper.image(), &fixture.history, change, false), Ok(change));
    }
}

#[test]
fn the_last_commit_is_vouched_for_when_idle_and_in_the_end() {
    type End = fn(&mut Fixture);
    let idle: End = |fixture| {
        // The timer that the commit has set.
        fixture.pass(1000);
        fixture.settle();
    };
    let stop: End = |fixture| fixture.keeper.stop().unwrap();
    let pause: End = |fixture| {
        fixture.store.store(rt::KEEPER_STOP, 2);
        assert_eq!(fixture.keeper.turn(0), Turn::Stopped);
    };
    let killed: End = |_| ();
    for (end, vouched) in [(idle, true), (stop, true), (pause, true), (killed, false)] {
        for durability in [Durability::Strict, Durability::Relaxed] {
            let mut fixture = Fixture::new(durability);
            fixture.mutate();
            fixture.keeper.flush_now().unwrap();
            let change = fixture.mutate();
            fixture.keeper.flush_now().unwrap();
            let blocks = fixture.word(rt::JOURNAL_BLOCKS);
            end(&mut fixture);
            let noted = fixture.word(rt::JOURNAL_BLOCKS);
            assert_eq!(noted - blocks, u32::from(vouched));
            if !vouched {
                continue;
            }
            // Once is enough, and it is no commit.
            end(&mut fixture);
            assert_eq!(fixture.word(rt::JOURNAL_BLOCKS), noted);
            assert_eq!((fixture.word(rt::COMMITS), fixture.word(rt::DURABLE)), (2, change));
            // The system goes on: what was written gets to the disk.
            let (image_device, mut journal_device) = fixture.disk.devices();
            journal_device.flush().unwrap();
            fixture.disk.edit(1, |journal| {
                let records = records_of_the_newest(journal);
                let [.., (commit, place), (note, _)] = &records[..] else { panic!("two records") };
                assert_eq!((note.count, note.durable_seq), (0, commit.seq + 1));
                journal[place.end - 1] ^= 1;
            });
            let (_, image) = fresh_store(64, durability);
            let options = OpenOptions::new(UUID, Box::new(|| 5));
            let refused = open_volume(image_device, journal_device, &image, options, &mut |_| ());
            let what = "a durable record is gone";
            assert_eq!(refused.err(), Some(OpenError::JournalDamaged { what }));
        }
    }
}

#[test]
fn a_stop_that_fails_says_so() {
    let mut fixture = Fixture::new(Durability::Strict);
    fixture.disk.set_faults(Faults { flush_percent: 100, ..Faults::default() }, Errno::EIO);
    assert_eq!(fixture.keeper.stop(), Err(Errno::EIO));
    assert_eq!(fixture.word(rt::KEEPER_STATE), KeeperState::Failed as u32);
    assert_eq!(fixture.word(rt::FAILURE), Errno::EIO.linux().cast_unsigned());
}

#[test]
fn clients_and_a_keeper_in_threads() {
    let Fixture { disk, store, mut keeper, toy, mut history, .. } = Fixture::new(Durability::Strict);
    let started = std::time::Instant::now();
    let mut toy = toy;
    let stop = Arc::new(AtomicBool::new(false));
    let server = std::thread::spawn(move || while keeper.turn(100) != Turn::Stopped {});
    // Others wait for whatever has been changed.
    let waiters: Vec<_> = (3..6)
        .map(|client| {
            let (image, stop) = (Image::attach(store.clone(), client).unwrap(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    wait_committed(&image, image.store().load(rt::CHANGE)).unwrap();
                    std::thread::yield_now();
                }
            })
        })
        .collect();
    for round in 0..300 {
        toy.mutate(&mut history);
        let change = store.load(rt::CHANGE);
        if round % 7 == 0 {
            wait_durable(&toy.image, change).unwrap();
            assert!(store.load(rt::DURABLE) >= change);
        }
    }
    stop.store(true, Ordering::Relaxed);
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    stop_keeper(&toy.image).unwrap();
    server.join().unwrap();
    assert!(started.elapsed().as_secs() < 60);
    disk.power_cycle(false);
    let (_, keeper, _, _) = open(&disk, Durability::Strict);
    let change = store.load(rt::CHANGE);
    assert_eq!(judge(keeper.image(), &history, change, false), Ok(change));
}
