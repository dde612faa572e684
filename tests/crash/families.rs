//! The families of workloads, and how many of each are run.

use super::ace;
use super::busy::{self, Kind};
use super::directed;
use super::machine::{Base, Config, Ran};
use super::random;
use sabfs::sim::Effort;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Many workloads of one sort, each with a number.
pub struct Family {
    pub name: &'static str,
    pub count: usize,
    pub effort: Effort,
    run: Box<dyn Fn(usize, Change) -> (String, Ran) + Send + Sync>,
}

/// Changes the configuration of a workload, to switch rules off.
pub type Change = fn(Config) -> Config;

impl Family {
    /// Runs the workload with this number; gives what it was, in words.
    pub fn run(&self, number: usize, change: Change) -> (String, Ran) {
        (self.run)(number, change)
    }
}

/// Volumes to begin with, each made once.
#[derive(Default)]
struct Bases {
    made: Mutex<HashMap<String, Arc<Base>>>,
}

impl Bases {
    fn get(&self, key: String, make: impl FnOnce() -> Base) -> Arc<Base> {
        let made = self.made.lock().unwrap().get(&key).cloned();
        made.unwrap_or_else(|| {
            let base = Arc::new(make());
            self.made.lock().unwrap().insert(key, base.clone());
            base
        })
    }
}

const EFFORT: Effort = Effort { tears: 48, subsets: 24, recovery_one_in: 64, seed: 1 };

/// All families; `long` runs many times as many workloads.
pub fn all(long: bool) -> Vec<Family> {
    let times = if long { 20 } else { 1 };
    let bases = Arc::new(Bases::default());
    let ops = ace::OPS.len();
    let mut families = vec![
        ace_family("ace-1", ops, 1, bases.clone(), |number| number),
        ace_family("ace-2", 2 * ops * ops, 2, bases.clone(), |number| number),
        ace_family("ace-3", if long { 40_000 } else { 500 }, 3, bases.clone(), move |number| {
            // A sample by a stride that has no factor in common with the number of sequences.
            number.wrapping_mul(1_000_003) % (2 * ops.pow(3))
        }),
    ];
    let busy = [
        ("segments", Kind::Segments, 24, 14),
        ("bypass", Kind::Bypass, 24, 12),
        ("relaxed", Kind::Relaxed, 20, 14),
        ("quarantine", Kind::Quarantine, 24, 12),
        ("lying", Kind::Lying, 16, 14),
        ("faults", Kind::Faults, 240, 6),
        ("short", Kind::Short, 4, 5),
        ("meddled", Kind::Meddled, 24, 9),
        ("room", Kind::Room, 3, 8),
        ("same-keys", Kind::SameKeys, 12, 14),
        ("parts", Kind::Parts, 16, 8),
    ];
    for (name, kind, count, commits) in busy {
        families.push(busy_family(name, kind, count * times, commits, bases.clone()));
    }
    families.push(directed::all(EFFORT));
    families.push(random::new_volumes(12 * times, EFFORT));
    families.push(random::sequences(100 * times, EFFORT));
    families.push(random::bytes(60 * times, EFFORT));
    families.push(random::full(24 * times, EFFORT));
    families.push(random::growth(if long { 24 } else { 3 }, EFFORT));
    families
}

/// A family whose workloads `run` makes.
pub fn family(
    name: &'static str,
    count: usize,
    effort: Effort,
    run: impl Fn(usize, Change) -> (String, Ran) + Send + Sync + 'static,
) -> Family {
    Family { name, count, effort, run: Box::new(run) }
}

fn ace_family(
    name: &'static str,
    count: usize,
    len: u32,
    bases: Arc<Bases>,
    sequence: impl Fn(usize) -> usize + Send + Sync + 'static,
) -> Family {
    family(name, count, EFFORT, move |number, change| {
        let number = sequence(number);
        let all = ace::OPS.len().pow(len);
        // A sequence of one has its commit at the end in any case.
        let (each, number) = (number < all, number % all);
        let config = Config::new();
        let base = bases.get("ace".into(), || ace::base(config));
        let ops = ace::sequence(number, len);
        let what = format!("{ops:?}, committed {}", if each { "after each" } else { "at the end" });
        (what, ace::run(change(config), &base, &ops, each).finish())
    })
}

fn busy_family(
    name: &'static str,
    kind: Kind,
    count: usize,
    commits: usize,
    bases: Arc<Bases>,
) -> Family {
    let effort = match kind {
        // Large journals, and more calls than anywhere else.
        Kind::Room => Effort { tears: 6, subsets: 4, recovery_one_in: 16, ..EFFORT },
        Kind::Short => Effort { tears: 12, subsets: 8, ..EFFORT },
        _ => Effort { tears: 24, subsets: 16, ..EFFORT },
    };
    family(name, count, effort, move |number, change| {
        let config = kind.config(number);
        // The image of a volume that is to get longer is as short as it can be.
        let base = (kind != Kind::Room)
            .then(|| bases.get(format!("{name} {}", config.segment_blocks), || busy::base(config)));
        let machine = busy::run(change(config), kind, base.as_deref(), number, commits);
        (format!("{commits} commits with seed {number}"), machine.finish())
    })
}
