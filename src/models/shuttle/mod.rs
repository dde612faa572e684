//! Whole operations of several clients on one store, some of whom die at any access.

mod history;
mod keeper;
mod store;
mod world;

use super::{failure, long, say};
use crate::core::rules::{Rule as Core, Rules};
use crate::store::rules::{self, Rule};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Changes of priority in a schedule of PCT, which finds bugs that need so many of them.
const DEPTH: usize = 3;

/// Which schedules there are: `SABFS_SEED`.
fn seed() -> u64 {
    std::env::var("SABFS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

fn config(quiet: bool) -> Config {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.max_steps = MaxSteps::FailAfter(5_000_000);
    config.failure_persistence =
        if quiet { FailurePersistence::None } else { FailurePersistence::Print };
    config
}

/// Runs a program under so many random schedules, and half as many of PCT; gives how many there were.
fn schedules(count: usize, quiet: bool, program: impl Fn() + Send + Sync + 'static) -> u64 {
    let done = Arc::new(AtomicU64::new(0));
    let program = Arc::new(program);
    let counted = || {
        let (done, program) = (done.clone(), program.clone());
        move || {
            done.fetch_add(1, Ordering::Relaxed);
            program();
        }
    };
    Runner::new(RandomScheduler::new_from_seed(seed(), count), config(quiet)).run(counted());
    Runner::new(PctScheduler::new_from_seed(seed(), DEPTH, count / 2), config(quiet)).run(counted());
    done.load(Ordering::Relaxed)
}

/// How many schedules, when a default run has so many.
fn times(count: usize) -> usize {
    if long() { count * 20 } else { count }
}

#[test]
fn operations_are_linearisable() {
    let seen = Arc::new(world::Seen::default());
    let look = seen.clone();
    let count = schedules(times(2_000), false, move || world::play(Rules::default(), true, &look));
    say(&format!("shuttle: {count} schedules (seed {}), {seen}", seed()));
}

#[test]
fn commits_hold_what_they_acknowledge() {
    let seen = Arc::new(keeper::Seen::default());
    let look = seen.clone();
    let count = schedules(times(300), false, move || keeper::play(&look));
    say(&format!("shuttle: {count} schedules with a keeper (seed {}), {seen}", seed()));
}

/// What a program says without a rule of deaths.
fn without_core(rule: Core) {
    let run =
        || schedules(2_000, true, move || world::play(Rules::without(rule), true, &Arc::default()));
    noticed(&format!("{rule:?}"), failure(run));
}

fn without(rule: Rule, program: impl Fn() + Send + Sync + 'static) {
    noticed(&format!("{rule:?}"), failure(|| rules::without(rule, || schedules(2_000, true, program))));
}

fn noticed(rule: &str, found: Option<String>) {
    let first = found.as_deref().and_then(|text| text.lines().next()).unwrap_or("-");
    // A history may be in it, with all bytes of its files.
    say(&format!("{rule} off: {}", first.chars().take(160).collect::<String>()));
    assert!(found.is_some(), "nobody notices that {rule} is off");
}

#[test]
fn rules_of_deaths() {
    for rule in [
        Core::RedoBeforeApply,
        Core::Replay,
        Core::SettleBeforeOpening,
        Core::EmptyBeforeOpening,
        Core::DropReservations,
        Core::EvenStripes,
        Core::CountAnew,
    ] {
        without_core(rule);
    }
}

#[test]
fn rules_of_words() {
    let play = || world::play(Rules::default(), true, &Arc::default());
    let living = || world::play(Rules::default(), false, &Arc::default());
    without(Rule::KeepMark, living);
    without(Rule::MarkBeforeSleep, living);
    without(Rule::HeirByExchange, play);
    without(Rule::RecordsBeforeState, play);
    without(Rule::PlaceAsSeen, living);
}

#[test]
fn rules_of_the_keeper() {
    for rule in [Rule::BellBehindWanted, Rule::CutUnderGate] {
        without(rule, || keeper::play(&Arc::default()));
    }
}
