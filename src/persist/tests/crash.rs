//! Power losses at random moments, over several lives of a volume, and what happens when a rule is
//! switched off.
//!
//! `SABFS_TRIALS` sets the number of trials of each test; with it the failures without a rule are
//! counted, without it one is enough.

use super::toy::{History, Toy, ToyRules, UUID, fresh_store, judge};
use crate::persist::commit::Committer;
use crate::persist::disk::Disk;
use crate::persist::plan::Limits;
use crate::persist::recovery::{Found, OpenOptions, open_volume};
use crate::persist::rules::{Rule, Rules};
use crate::persist::sim::{Event, IMAGE, Rng, SimDevice, SimDisk};
use crate::persist::{OpenError, Progress};
use crate::store::runtime::{self as rt, Durability};
use crate::store::{HeapStore, Store};
use parking_lot::Mutex;
use std::sync::Arc;

/// How a trial is run.
#[derive(Clone, Copy)]
pub struct Setup {
    pub rules: Rules,
    pub ignore_quarantine: bool,
    pub segment_blocks: u32,
    pub blocks: u32,
    pub limits: Limits,
    pub garbage: bool,
    /// Changes happen while data are copied outside the gate.
    pub meddle: bool,
    pub mixed: bool,
    /// The image's length is limited, now more, now less, and after a power loss to what it has.
    pub quota: bool,
    pub lives: u32,
}

impl Setup {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let overwrites_in_record = usize::MAX;
        Self {
            rules: Rules::default(),
            ignore_quarantine: false,
            segment_blocks: [16, 18, 24][rng.below(3)],
            blocks: [18, 22][rng.below(2)],
            limits: Limits { data_in_record: rng.below(4), overwrites_in_record, passes: 2 },
            garbage: rng.chance(50),
            meddle: rng.chance(50),
            mixed: false,
            quota: false,
            lives: 4,
        }
    }

    pub fn toy_rules(&self) -> ToyRules {
        ToyRules {
            ignore_quarantine: self.ignore_quarantine,
            blocks: self.blocks,
            // A change makes up to five more blocks dirty, the root included.
            admitted: self.segment_blocks as usize - 2 - 5,
        }
    }

    pub fn options(&self, seed: u64) -> OpenOptions {
        let mut rng = Rng::new(seed ^ 0xfeed);
        let mut options = OpenOptions::new(UUID, Box::new(move || rng.next()));
        options.segment_blocks = self.segment_blocks;
        (options.limits, options.rules) = (self.limits, self.rules);
        options
    }
}

/// One opened volume.
pub struct Life {
    pub store: Arc<HeapStore>,
    pub image: super::toy::ToyImage,
    pub disk: Disk<SimDevice>,
    pub found: Found,
}

pub fn open(disk: &SimDisk, setup: &Setup, seed: u64) -> Result<Life, OpenError> {
    let (store, image) = fresh_store(setup.blocks, Durability::Strict);
    let (image_device, journal_device) = disk.devices();
    let progress: &mut dyn FnMut(Progress) = &mut |_| ();
    let options = setup.options(seed);
    let opened = open_volume(image_device, journal_device, &image, options, progress)?;
    Ok(Life { store, image, disk: opened.disk, found: opened.found })
}

/// Looks at what an opened volume holds; gives its change count, none for a new volume.
pub fn look(life: &Life, history: &History, acked: u32, mixed: bool) -> Result<Option<u32>, String> {
    match life.found {
        Found::New if acked == 0 => Ok(None),
        Found::New => Err(format!("the volume is gone; acknowledged {acked}")),
        Found::Volume(_) => judge(&life.image, history, acked, mixed).map(Some),
    }
}

/// Lets a program and the keeper work until the power goes; gives what was acknowledged.
pub fn run(
    disk: &SimDisk,
    setup: &Setup,
    life: Life,
    k: Option<u32>,
    history: Arc<Mutex<History>>,
    rng: &mut Rng,
) -> u32 {
    let Life { store, image, disk: mut files, .. } = life;
    let state = k.map(|k| history.lock().states[&k].clone()).unwrap_or_default();
    let toy_rng = Rng::new(rng.next());
    let toy = Toy::attach(&store, setup.toy_rules(), k.unwrap_or(0), state, toy_rng);
    let mut committer = Committer::new(k.unwrap_or(0), setup.limits, setup.rules);
    store.store(rt::DURABLE, k.unwrap_or(0));
    let toy = Arc::new(Mutex::new(toy));
    if k.is_none() {
        toy.lock().format(&mut history.lock());
    }
    if setup.meddle {
        let (toy, history) = (toy.clone(), history.clone());
        disk.set_hook(Some(Box::new(move |event| {
            if matches!(event, Event::Write { file: IMAGE, .. }) {
                toy.lock().mutate(&mut history.lock());
            }
        })));
    }
    for _ in 0..400 {
        if disk.is_off() {
            break;
        }
        toy.lock().mutate(&mut history.lock());
        if setup.quota && rng.chance(10) {
            disk.set_quota(Some(4 + rng.below(setup.blocks as usize)));
        }
        // 30 % of commits are relaxed.
        let flush = rng.chance(70);
        let result = committer.commit(&image, &mut files, flush, &|| ());
        if result.is_ok() && rng.chance(40) {
            let _ = files.checkpoint_some(1 + rng.below(8), &|| ());
        }
    }
    disk.set_hook(None);
    store.load(rt::DURABLE)
}

/// Several lives of one volume.
fn trial(seed: u64, setup: &Setup) -> Result<(), String> {
    let disk = SimDisk::new(seed);
    let mut rng = Rng::new(seed ^ 0x0123_4567);
    let history = Arc::new(Mutex::new(History::default()));
    let mut acked = 0;
    for number in 0..=setup.lives {
        let seed = seed.wrapping_mul(31).wrapping_add(u64::from(number));
        // Half of the time the power fails during recovery too.
        if rng.chance(50) {
            disk.arm(Some(1 + rng.below(30)));
        }
        let mut life = open(&disk, setup, seed);
        if disk.is_off() {
            disk.power_cycle(setup.garbage);
            if setup.quota {
                disk.take_rest();
            }
            life = open(&disk, setup, seed ^ 0xabc);
        }
        disk.arm(None);
        let life = life.map_err(|error| format!("seed {seed}: {error}"))?;
        let k = look(&life, &history.lock(), acked, setup.mixed)
            .map_err(|what| format!("seed {seed}, life {number}: {what}"))?;
        if number == setup.lives {
            break;
        }
        {
            let mut history = history.lock();
            history.attempted = k.unwrap_or(0);
            history.states.retain(|&change, _| Some(change) == k);
        }
        disk.arm(Some(1 + rng.below(160)));
        acked = run(&disk, setup, life, k, history.clone(), &mut rng);
        disk.power_cycle(setup.garbage);
        if setup.quota {
            disk.take_rest();
        }
    }
    Ok(())
}

const TRIALS: u64 = 1500;

fn trials_wanted() -> Option<u64> {
    std::env::var("SABFS_TRIALS").ok()?.parse().ok()
}

/// Failures among `trials` trials with this change of the setup, as they are found.
fn failures(trials: u64, change: impl Fn(&mut Setup)) -> impl Iterator<Item = String> {
    (0..trials).filter_map(move |seed| {
        let mut setup = Setup::new(seed);
        change(&mut setup);
        trial(seed, &setup).err()
    })
}

pub fn assert_holds(change: impl Fn(&mut Setup)) {
    let found = failures(trials_wanted().unwrap_or(TRIALS), change).next();
    assert_eq!(found, None);
}

pub fn assert_needed(name: &str, change: impl Fn(&mut Setup)) {
    let wanted = trials_wanted();
    let mut found = failures(wanted.unwrap_or(20 * TRIALS), change);
    let first = found.next();
    assert!(first.is_some(), "nothing breaks without {name}");
    if let Some(trials) = wanted {
        println!("without {name}: {} failures of {trials}", 1 + found.count());
    }
}

#[test]
fn exactly_one_state_comes_back() {
    assert_holds(|_| ());
}

#[test]
fn many_overwrites_may_mix_but_metadata_never_do() {
    assert_holds(|setup| {
        setup.mixed = true;
        setup.garbage = false;
        setup.limits.overwrites_in_record = 1;
    });
}

#[test]
fn rule_fresh_since_record() {
    assert_needed("fresh", |setup| setup.rules = Rules::without(&[Rule::FreshSinceRecord]));
}

#[test]
fn rule_quarantine() {
    assert_needed("quarantine", |setup| setup.ignore_quarantine = true);
}

#[test]
fn rule_quarantine_until_durable() {
    let rules = Rules::without(&[Rule::QuarantineUntilDurable]);
    assert_needed("quarantine until durable", |setup| setup.rules = rules);
}

#[test]
fn rule_quarantine_of_the_cut() {
    let rules = Rules::without(&[Rule::QuarantineOfTheCut]);
    assert_needed("quarantine of the cut", |setup| {
        setup.rules = rules;
        setup.meddle = true;
    });
}

#[test]
fn rule_no_bypass_over_live() {
    let rules = Rules::without(&[Rule::NoBypassOverLive]);
    assert_needed("no bypass over live", |setup| setup.rules = rules);
}

#[test]
fn rule_live_until_replaced() {
    let rules = Rules::without(&[Rule::LiveUntilReplaced]);
    assert_needed("live until replaced", |setup| setup.rules = rules);
}

#[test]
fn rule_two_step_switch() {
    let rules = Rules::without(&[Rule::TwoStepSwitch]);
    assert_needed("two-step switch", |setup| setup.rules = rules);
}

#[test]
fn rule_data_flush() {
    assert_needed("data flush", |setup| setup.rules = Rules::without(&[Rule::DataFlush]));
}

#[test]
fn rule_checkpoint_flush() {
    let rules = Rules::without(&[Rule::CheckpointFlush]);
    assert_needed("checkpoint flush", |setup| setup.rules = rules);
}

#[test]
fn rule_older_segment_only() {
    let rules = Rules::without(&[Rule::OlderSegmentOnly]);
    assert_needed("older segment only", |setup| setup.rules = rules);
}

#[test]
fn rule_clean_before_copy() {
    let rules = Rules::without(&[Rule::CleanBeforeCopy]);
    assert_needed("clean before copy", |setup| {
        setup.rules = rules;
        setup.meddle = true;
    });
}
