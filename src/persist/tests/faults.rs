//! Devices that fail while the power is on: nothing that was acknowledged is lost, nothing is given up.

use super::crash::{Setup, look, open, run};
use super::toy::{History, Toy};
use crate::errno::Errno;
use crate::persist::bits::all;
use crate::persist::commit::{CommitError, Committer};
use crate::persist::rules::{Rule, Rules};
use crate::persist::sim::{Event, Faults, JOURNAL, Rng, SimDisk};
use crate::store::Store;
use crate::store::runtime::{self as rt, Bitmap};
use parking_lot::Mutex;
use std::sync::Arc;

/// Segments so large that whatever an error leaves dirty fits.
fn setup(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    setup.segment_blocks = 40;
    setup.limits.data_in_record = 1 + setup.limits.data_in_record * 3;
    setup.garbage = false;
    setup
}

/// Two lives with failing calls, and a power loss at the end of each.
fn trial(seed: u64, faults: Faults, change: impl Fn(&mut Setup)) -> Result<(), String> {
    let mut setup = setup(seed);
    change(&mut setup);
    let disk = SimDisk::new(seed);
    let mut rng = Rng::new(seed ^ 0x0bad_cafe);
    let history = Arc::new(Mutex::new(History::default()));
    let mut acked = 0;
    for number in 0..=3 {
        let what = |what: String| format!("seed {seed}, life {number}: {what}");
        let life = open(&disk, &setup, seed + number).map_err(|error| what(error.to_string()))?;
        let k = look(&life, &history.lock(), acked, false).map_err(what)?;
        {
            let mut history = history.lock();
            history.attempted = k.unwrap_or(0);
            history.states.retain(|&change, _| Some(change) == k);
        }
        disk.set_faults(faults, Errno::EIO);
        disk.arm(Some(1 + rng.below(200)));
        acked = run(&disk, &setup, life, k, history.clone(), &mut rng);
        disk.power_cycle(false);
    }
    Ok(())
}

const FAILING: Faults =
    Faults { write_percent: 8, flush_percent: 12, short_percent: 20, nth: None, clean: false };

fn trials_wanted() -> Option<u64> {
    std::env::var("SABFS_TRIALS").ok()?.parse().ok()
}

fn assert_needed(name: &str, faults: Faults, change: impl Fn(&mut Setup) + Copy) {
    let trials = trials_wanted().unwrap_or(30_000);
    let mut found = (0..trials).filter_map(|seed| trial(seed, faults, change).err());
    assert!(found.next().is_some(), "nothing breaks without {name}");
    if trials_wanted().is_some() {
        println!("without {name}: {} failures of {trials}", 1 + found.count());
    }
}

#[test]
fn failing_calls_lose_nothing() {
    let failure =
        (0..trials_wanted().unwrap_or(500)).find_map(|seed| trial(seed, FAILING, |_| ()).err());
    assert_eq!(failure, None);
}

#[test]
fn rule_switch_after_failed_flush() {
    let rules = Rules::without(&[Rule::SwitchAfterFailedFlush]);
    assert_needed("switch after failed flush", FAILING, |setup| setup.rules = rules);
}

#[test]
fn rule_checkpoint_durable_only() {
    let faults = Faults { flush_percent: 30, ..Faults::default() };
    assert_needed("checkpoint durable only", faults, |setup| {
        setup.rules = Rules::without(&[Rule::CheckpointDurableOnly]);
        setup.segment_blocks = 30;
    });
}

/// A volume with something in it, all committed.
struct Fixture {
    disk: SimDisk,
    setup: Setup,
    life: super::crash::Life,
    toy: Toy,
    history: History,
    committer: Committer,
}

impl Fixture {
    fn new() -> Self {
        Self::with(1, Rules::default())
    }

    fn with(seed: u64, rules: Rules) -> Self {
        let mut setup = setup(1);
        setup.limits.data_in_record = 2;
        setup.rules = rules;
        let disk = SimDisk::new(seed);
        let life = open(&disk, &setup, 1).unwrap();
        let toy = Toy::attach(&life.store, setup.toy_rules(), 0, Default::default(), Rng::new(5));
        let committer = Committer::new(0, setup.limits, setup.rules);
        let mut this = Self { disk, setup, life, toy, history: History::default(), committer };
        this.toy.format(&mut this.history);
        this.commit().unwrap();
        this
    }

    fn mutate(&mut self) {
        self.toy.mutate(&mut self.history);
    }

    fn commit(&mut self) -> Result<(), CommitError> {
        self.committer.commit(&self.life.image, &mut self.life.disk, true, &|| ())
    }

    fn word(&self, word: u64) -> u32 {
        self.life.store.load(word)
    }

    /// What comes back after a power loss.
    fn recovered(&self) -> u32 {
        self.judged().unwrap()
    }

    fn judged(&self) -> Result<u32, String> {
        self.disk.power_cycle(false);
        let life = open(&self.disk, &self.setup, 99).unwrap();
        let found = look(&life, &self.history, self.word(rt::DURABLE), false)?;
        Ok(found.unwrap_or(0))
    }
}

/// The write of a record fails although the record lands, and the power goes while the next commit is
/// written: the data that the record refers to must still be in the image.
fn failed_record_lands(seed: u64, rules: Rules) -> Result<u32, String> {
    let mut fixture = Fixture::with(seed, rules);
    fixture.committer.limits.data_in_record = 0;
    fixture.toy.put_data(&mut fixture.history, 10);
    // The calls are: write the image, flush it, write the record.
    fixture.disk.set_faults(Faults { nth: Some(3), ..Faults::default() }, Errno::EIO);
    assert!(fixture.commit().is_err());
    fixture.disk.set_faults(Faults::default(), Errno::EIO);
    fixture.toy.put_data(&mut fixture.history, 10);
    fixture.disk.arm(Some(1 + seed as usize % 3));
    let _ = fixture.commit();
    fixture.judged()
}

#[test]
fn rule_failed_record_counts() {
    let failures = |rules| (0..300).filter(|&seed| failed_record_lands(seed, rules).is_err()).count();
    assert_eq!(failures(Rules::default()), 0);
    let count = failures(Rules::without(&[Rule::FailedRecordCounts]));
    assert!(count > 0);
    println!("without failed record counts: {count} failures of 300");
}

#[test]
fn an_error_at_any_call_leaves_everything_to_the_next_commit() {
    for nth in 1..40 {
        for clean in [false, true] {
            let mut fixture = Fixture::new();
            for _ in 0..12 {
                fixture.mutate();
                let dirty = all(&fixture.life.image, Bitmap::Dirty);
                let quarantined = all(&fixture.life.image, Bitmap::Quarantine);
                let durable = fixture.word(rt::DURABLE);
                let nth = Some(nth);
                fixture.disk.set_faults(Faults { nth, clean, ..Faults::default() }, Errno::ENOSPC);
                let result = fixture.commit();
                fixture.disk.set_faults(Faults::default(), Errno::EIO);
                if let Err(error) = result {
                    assert_eq!(error.errno(), Errno::ENOSPC);
                    let after = all(&fixture.life.image, Bitmap::Dirty);
                    assert!(
                        dirty.iter().all(|block| after.contains(block)),
                        "{nth:?}: {dirty:?} {after:?}"
                    );
                    assert_eq!(all(&fixture.life.image, Bitmap::Quarantine), quarantined);
                    assert_eq!(fixture.word(rt::DURABLE), durable);
                    assert_eq!(fixture.word(rt::DIRTY_COUNT) as usize, after.len());
                    let metas =
                        after.iter().filter(|&&b| fixture.life.image.bit(Bitmap::Meta, b)).count();
                    assert_eq!(fixture.word(rt::DIRTY_META_COUNT) as usize, metas);
                    fixture.commit().unwrap();
                }
                assert_eq!(fixture.word(rt::DURABLE), fixture.word(rt::CHANGE));
                assert_eq!(fixture.word(rt::DIRTY_COUNT), 0);
                assert_eq!(fixture.word(rt::QUARANTINE_COUNT), 0);
            }
            assert_eq!(fixture.recovered(), fixture.word(rt::CHANGE), "{nth}");
        }
    }
}

#[test]
fn no_space_for_a_while() {
    let mut fixture = Fixture::new();
    let full = Faults { write_percent: 100, clean: true, ..Faults::default() };
    fixture.disk.set_faults(full, Errno::EDQUOT);
    for _ in 0..5 {
        fixture.mutate();
        assert_eq!(fixture.commit().unwrap_err().errno(), Errno::EDQUOT);
    }
    fixture.disk.set_faults(Faults::default(), Errno::EIO);
    fixture.commit().unwrap();
    assert_eq!(fixture.recovered(), fixture.word(rt::CHANGE));
}

#[test]
fn a_small_commit_is_one_write_and_one_flush() {
    let mut fixture = Fixture::new();
    fixture.committer.limits.data_in_record = 256;
    for _ in 0..3 {
        fixture.mutate();
        let before = fixture.disk.events().len();
        fixture.commit().unwrap();
        let events = fixture.disk.events().split_off(before);
        let [Event::Write { file: JOURNAL, .. }, Event::Flush { file: JOURNAL }] = events[..] else {
            panic!("{events:?}");
        };
    }
    let before = fixture.disk.events().len();
    fixture.commit().unwrap();
    assert_eq!(fixture.disk.events().len(), before, "nothing is dirty");
}

#[test]
fn what_is_owed_is_paid_at_once() {
    let mut fixture = Fixture::new();
    fixture.mutate();
    fixture.disk.set_faults(Faults { nth: Some(1), ..Faults::default() }, Errno::EIO);
    assert!(fixture.commit().is_err());
    assert!(!fixture.committer.has_owed());
    fixture.commit().unwrap();
}

#[test]
fn a_store_of_another_volume_is_not_committed() {
    let mut fixture = Fixture::new();
    fixture.life.image.write(0, 64, b"somebody else's!");
    fixture.life.image.mark_dirty(0, true);
    assert_eq!(fixture.commit(), Err(CommitError::OtherVolume));
}

#[test]
fn metadata_beyond_a_segment_are_refused_and_kept() {
    let mut fixture = Fixture::new();
    let image = &fixture.life.image;
    let blocks = fixture.setup.blocks;
    for block in 4..blocks {
        image.mark_dirty(block, true);
    }
    // As if the segment were smaller.
    fixture.setup.segment_blocks = 8;
    let disk = SimDisk::new(3);
    let mut small = open(&disk, &fixture.setup, 3).unwrap();
    let result = fixture.committer.commit(&fixture.life.image, &mut small.disk, true, &|| ());
    assert_eq!(result, Err(CommitError::TooLarge { blocks: blocks as usize - 4 }));
    assert_eq!(all(&fixture.life.image, Bitmap::Dirty).len(), blocks as usize - 4);
}

#[test]
fn a_lying_image_flush_is_mended_for_a_segments_time() {
    for seed in 0..60 {
        let mut fixture = Fixture::new();
        fixture.toy.rng = Rng::new(seed);
        // No bulk data: their flush is not a checkpoint's.
        fixture.committer.limits.data_in_record = 1000;
        let first = fixture.life.disk.journal.active;
        while fixture.life.disk.journal.active == first {
            fixture.mutate();
            fixture.commit().unwrap();
        }
        fixture.disk.lie(true);
        while fixture.life.disk.checkpoint_due() {
            fixture.life.disk.checkpoint_some(1, &|| ()).unwrap();
        }
        fixture.disk.lie(false);
        fixture.mutate();
        fixture.commit().unwrap();
        assert_eq!(fixture.recovered(), fixture.word(rt::CHANGE));
    }
}
