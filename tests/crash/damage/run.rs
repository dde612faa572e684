//! Judges damages on all processors.

use super::families::{Case, Family};
use super::samples::{Sample, Samples};
use super::verdict::{Court, Outcome, without_numbers};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A case takes less than a millisecond; one that takes this long does not end by itself.
const CASE_TIME_MAX: Duration = Duration::from_secs(60);
/// One case in so many is gone on with.
const GONE_ON_ONE_IN: usize = 32;

/// What came of many damages.
#[derive(Default)]
pub struct Sum {
    pub samples: usize,
    pub cases: usize,
    pub last: usize,
    pub before: usize,
    pub stale: usize,
    /// By what was said.
    pub refused: BTreeMap<String, usize>,
    pub wrong: usize,
    /// Of each sort of these how many, and the first one with its name.
    pub failures: BTreeMap<String, (usize, String)>,
}

impl Sum {
    fn add(&mut self, name: impl FnOnce() -> String, outcome: Result<Outcome, String>) {
        self.cases += 1;
        match outcome {
            Ok(Outcome::Last) => self.last += 1,
            Ok(Outcome::Before) => self.before += 1,
            Ok(Outcome::Stale) => self.stale += 1,
            Ok(Outcome::Refused(error)) => *self.refused.entry(error).or_default() += 1,
            Err(wrong) => {
                self.wrong += 1;
                let sort = without_numbers(&wrong);
                let first = || (0, format!("{}: {wrong}", name()));
                self.failures.entry(sort).or_insert_with(first).0 += 1;
            }
        }
    }
}

/// Does a damage of a sample; a panic is an error.
fn judge(sample: &Sample, case: Case, go_on: bool) -> Result<Outcome, String> {
    let judged = || Court::new(sample).judge(case, go_on);
    catch_unwind(AssertUnwindSafe(judged)).unwrap_or_else(|_| Err(crate::last_panic()))
}

/// A damage's name, with which it is done again.
fn name(sample: &Sample, (first, second): Case) -> String {
    let second = second.map_or_else(String::new, |second| format!("+{second}"));
    format!("{}@{first}{second}", sample.name)
}

/// Does one in so many of a family's damages.
pub fn run(family: &Family, samples: &Samples, long: bool, one_in: usize) -> Sum {
    let mut sum = Sum::default();
    for (phase, (shape, end, settled)) in (family.samples)().into_iter().enumerate() {
        let sample = samples.get(shape, end, settled);
        let cases = (family.cases)(&sample, phase, long);
        sum.samples += 1;
        side_by_side(&sample, &cases, phase % one_in, one_in, &mut sum);
    }
    sum
}

fn side_by_side(sample: &Sample, cases: &[Case], first: usize, one_in: usize, sum: &mut Sum) {
    let next = AtomicUsize::new(0);
    let sum = Mutex::new(sum);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // What each thread is at, and since when.
    let busy: Vec<Mutex<Option<(Case, Instant)>>> = (0..threads).map(|_| Mutex::default()).collect();
    let working = AtomicUsize::new(threads);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while working.load(Ordering::Acquire) > 0 {
                std::thread::park_timeout(Duration::from_secs(1));
                for (case, since) in busy.iter().filter_map(|busy| *busy.lock().unwrap()) {
                    if since.elapsed() > CASE_TIME_MAX {
                        println!("FAIL {} does not end", name(sample, case));
                        std::process::exit(1);
                    }
                }
            }
        });
        for busy in &busy {
            let (next, sum, working, watch) = (&next, &sum, &working, watch.thread().clone());
            scope.spawn(move || {
                loop {
                    let index = first + next.fetch_add(1, Ordering::Relaxed) * one_in;
                    let Some(&case) = cases.get(index) else { break };
                    *busy.lock().unwrap() = Some((case, Instant::now()));
                    let outcome = judge(sample, case, index.is_multiple_of(GONE_ON_ONE_IN));
                    sum.lock().unwrap().add(|| name(sample, case), outcome);
                }
                *busy.lock().unwrap() = None;
                working.fetch_sub(1, Ordering::Release);
                watch.unpark();
            });
        }
    });
}

/// Does one damage again, which a failure named `SAMPLE@DAMAGE`; what came of it in words.
pub fn again(name: &str) -> Option<Result<String, String>> {
    let (of, harms) = name.split_once('@')?;
    let samples = Samples::new(sabfs::persist::Rules::default());
    let mut all = super::families::ALL.iter().flat_map(|family| (family.samples)());
    let sample = all.find_map(|which| {
        (super::samples::name(which) == of).then(|| samples.get(which.0, which.1, which.2))
    })?;
    let mut harms = harms.split('+').map(str::parse);
    let case = (harms.next()?.ok()?, harms.next().transpose().ok()?);
    Some(judge(&sample, case, true).map(|outcome| format!("{outcome:?}")))
}
