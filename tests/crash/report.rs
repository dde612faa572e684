//! Runs workloads on all processors, and says what came of it.

use super::damage;
use super::families::{self, Change, Family};
use super::rules::Off;
use sabfs::persist::Rules;
use sabfs::sim::{Effort, Explorer, Found, StateId};
use std::collections::HashSet;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

/// Sums over workloads.
#[derive(Default)]
struct Sum {
    workloads: usize,
    commits: usize,
    partial: usize,
    distinct: HashSet<u64>,
    made: u64,
    of_recoveries: u64,
    failing: u64,
    failures: Vec<String>,
}

impl Sum {
    fn add(&mut self, name: &str, number: usize, ran: Result<Explored, String>) {
        self.workloads += 1;
        let explored = match ran {
            Ok(explored) => explored,
            Err(panic) => {
                self.failing += 1;
                return self.failures.push(format!("{name}:{number}: a panic: {panic}"));
            }
        };
        let Explored { what, commits, partial, found } = explored;
        self.commits += commits;
        self.partial += partial;
        self.distinct.extend(&found.distinct);
        self.made += found.made;
        self.of_recoveries += found.of_recoveries;
        self.failing += found.failing;
        for (id, wrong) in found.failures {
            self.failures.push(format!("{name}:{number}@{id}: {wrong}\n  ({what})"));
        }
    }
}

/// What came of one workload.
struct Explored {
    what: String,
    commits: usize,
    partial: usize,
    found: Found,
}

/// Runs a workload and looks at its states.
fn explore(
    family: &Family,
    number: usize,
    change: Change,
    effort: Effort,
    only: Option<StateId>,
) -> Result<Explored, String> {
    let work = || {
        let (what, mut ran) = family.run(number, change);
        let found = Explorer::new(&mut ran.judge, effort).explore(&ran.trace, only);
        Explored { what, commits: ran.commits, partial: ran.partial, found }
    };
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()));
        text.unwrap_or_default()
    })
}

/// Runs workloads side by side; `each` gets what came of them.
fn side_by_side(
    work: &[(usize, usize)],
    families: &[Family],
    change: Change,
    effort: impl Fn(&Family) -> Effort + Sync,
    each: impl Fn(usize, usize, Result<Explored, String>) + Sync,
) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&(family, number)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let of = &families[family];
                    each(family, number, explore(of, number, change, effort(of), None));
                }
            });
        }
    });
}

/// Cases, and the states of all of them.
pub struct Report {
    started: Instant,
    distinct: HashSet<u64>,
    /// Damages that are flipped bits, and others.
    flips: usize,
    lost: usize,
    failed: usize,
    /// Where the test runner wants a line for each case.
    file: Option<std::fs::File>,
}

impl Report {
    pub fn new() -> Self {
        let file = std::env::var_os("SABFS_REPORT")
            .map(|path| std::fs::File::create(path).expect("the report can be written"));
        Self { started: Instant::now(), distinct: HashSet::new(), flips: 0, lost: 0, failed: 0, file }
    }

    fn case(&mut self, name: &str, passed: bool) {
        self.failed += usize::from(!passed);
        let word = if passed { "pass" } else { "fail" };
        if let Some(file) = &mut self.file {
            writeln!(file, "{word}\tcrash: {name}").expect("the report can be written");
        }
    }

    /// Runs families with all rules on.
    pub fn explore(&mut self, families: &[Family], wanted: impl Fn(&str) -> bool) {
        for (index, family) in families.iter().enumerate().filter(|(_, f)| wanted(f.name)) {
            let started = Instant::now();
            let work: Vec<(usize, usize)> = (0..family.count).map(|number| (index, number)).collect();
            let sum = Mutex::new((Sum::default(), Instant::now()));
            let effort = |family: &Family| family.effort;
            side_by_side(
                &work,
                families,
                |config| config,
                effort,
                |_, number, ran| {
                    let (sum, last) = &mut *sum.lock().unwrap();
                    sum.add(family.name, number, ran);
                    if last.elapsed() >= PROGRESS {
                        *last = Instant::now();
                        let (done, all, states) = (sum.workloads, family.count, sum.distinct.len());
                        println!("     {}: {done} of {all} workloads, {states} states", family.name);
                    }
                },
            );
            let (sum, _) = sum.into_inner().unwrap();
            let word = if sum.failing == 0 { "ok  " } else { "FAIL" };
            print!("{word} {}: {} workloads, {} commits", family.name, sum.workloads, sum.commits);
            if sum.partial > 0 {
                print!(" ({} within an operation)", sum.partial);
            }
            print!(", {} distinct states of {} made", sum.distinct.len(), sum.made);
            print!(", {} of crashes in recoveries", sum.of_recoveries);
            println!(", {} failing, {} s", sum.failing, started.elapsed().as_secs());
            for failure in sum.failures.iter().take(8) {
                println!("  {failure}");
            }
            self.case(family.name, sum.failing == 0);
            self.distinct.extend(sum.distinct);
        }
    }

    /// Runs workloads without a rule, which must be missed.
    pub fn without(&mut self, rule: &Off, families: &[Family]) {
        let work: Vec<(usize, usize)> = rule
            .families
            .iter()
            .flat_map(|(name, count)| {
                let index = families.iter().position(|family| family.name == *name).expect("a family");
                let all = families[index].count;
                // Spread over the family; 7 divides the size of none.
                (0..*count.min(&all)).map(move |number| (index, number * 7 % all))
            })
            .collect();
        let sum = Mutex::new(Sum::default());
        let effort = |family: &Family| Effort { recovery_one_in: 16, ..family.effort };
        side_by_side(&work, families, rule.change, effort, |family, number, ran| {
            let name = families[family].name;
            // A workload that cannot even be run is no state; it does not count.
            if ran.is_ok() {
                sum.lock().unwrap().add(name, number, ran);
            }
        });
        let sum = sum.into_inner().unwrap();
        let word = if sum.failing > 0 { "ok  " } else { "FAIL" };
        let (failing, states) = (sum.failing, sum.made);
        println!(
            "{word} without {}: {failing} failing states of {states} in {} of {} workloads",
            rule.name,
            sum.workloads,
            work.len()
        );
        if let Some(failure) = sum.failures.first() {
            println!("       {}", failure.lines().next().unwrap_or_default());
        }
        self.case(&format!("without {}", rule.name), failing > 0);
    }

    /// Damages volumes with all rules on.
    pub fn damage(&mut self, long: bool, wanted: impl Fn(&str) -> bool) {
        let samples = damage::Samples::new(Rules::default());
        for family in damage::ALL.iter().filter(|family| wanted(family.name)) {
            let started = Instant::now();
            let sum = damage::run(family, &samples, long, 1);
            let word = if sum.wrong == 0 { "ok  " } else { "FAIL" };
            let refused: usize = sum.refused.values().sum();
            let damage::Sum { samples, cases, last, before, stale, wrong, .. } = sum;
            print!("{word} {}: {cases} damages of {samples} volumes: {refused} refused", family.name);
            print!(", {last} with the last commit, {before} with one before, {stale} not noticed");
            println!(", {wrong} failing, {} s", started.elapsed().as_secs());
            for (error, count) in &sum.refused {
                println!("  {count} times: {error}");
            }
            for (count, failure) in sum.failures.values() {
                println!("  {count} failing as {failure}");
            }
            *if family.bits { &mut self.flips } else { &mut self.lost } += cases;
            self.case(family.name, wrong == 0);
        }
    }

    /// Damages volumes without a rule, which must be missed.
    pub fn damage_without(&mut self, off: &damage::Off) {
        let samples = damage::Samples::new(Rules::without(&[off.rule]));
        let family = damage::ALL.iter().find(|family| family.name == off.family).expect("a family");
        let sum = damage::run(family, &samples, false, off.one_in);
        let word = if sum.wrong > 0 { "ok  " } else { "FAIL" };
        println!("{word} without {}: {} failing of {} damages", off.name, sum.wrong, sum.cases);
        if let Some((_, failure)) = sum.failures.values().next() {
            println!("       {}", failure.lines().next().unwrap_or_default());
        }
        self.case(&format!("without {}", off.name), sum.wrong > 0);
    }

    pub fn finish(self) -> ExitCode {
        println!("crash states: {}", self.distinct.len());
        println!("bit flips: {}", self.flips);
        println!("lost sectors and blocks: {}", self.lost);
        println!("{} failed cases, {} s", self.failed, self.started.elapsed().as_secs());
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Looks at one state again, which a failure named `FAMILY:NUMBER@STATE`.
pub fn replay(state: &str, long: bool) -> ExitCode {
    if let Some(outcome) = damage::again(state) {
        println!("{}", outcome.as_ref().unwrap_or_else(|wrong| wrong));
        return if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let families = families::all(long);
    let parsed = state.split_once('@').and_then(|(workload, id)| {
        let (name, number) = workload.split_once(':')?;
        let family = families.iter().find(|family| family.name == name)?;
        Some((family, number.parse().ok()?, id.parse::<StateId>().ok()?))
    });
    let Some((family, number, id)) = parsed else {
        eprintln!("{state} is no state: FAMILY:NUMBER@POINT.STATE[/POINT.STATE]");
        return ExitCode::FAILURE;
    };
    match explore(family, number, |config| config, family.effort, Some(id)) {
        Err(panic) => println!("a panic: {panic}"),
        Ok(explored) => {
            println!("{}: {} states looked at", explored.what, explored.found.made);
            for (id, wrong) in &explored.found.failures {
                println!("{id}: {wrong}");
            }
            if explored.found.failing == 0 && explored.found.made > 0 {
                println!("it is right");
                return ExitCode::SUCCESS;
            }
        }
    }
    ExitCode::FAILURE
}
