//! The crash explorer: workloads over recording devices, every state that a crash may leave at each point, and
//! a judge that compares what is recovered with the oracle. `docs/testing.md` says how to run it.
//!
//! ```text
//! crash [--long] [FAMILY…]     all families and rules, or some of them; also `rules`
//! crash FAMILY:NUMBER@STATE    one state again, as a failure names it
//! crash SAMPLE@DAMAGE          one damage again
//! ```

#[path = "../model/mod.rs"]
mod model;

mod ace;
mod busy;
mod damage;
mod directed;
mod families;
mod fuzzing;
mod random;
mod report;
mod rules;

use fuzzing::machine;
use report::Report;
use std::cell::RefCell;
use std::process::ExitCode;

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What the last panic of this thread said, and where it was.
fn last_panic() -> String {
    LAST_PANIC.take()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // A test runner that asks which tests are in here: none of its kind.
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let long = std::env::var_os("SABFS_LONG").is_some() || arguments.iter().any(|a| a == "--long");
    let names: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|name| !name.starts_with('-')).collect();
    // What a panic of a workload says is part of its failure.
    std::panic::set_hook(Box::new(|panic| LAST_PANIC.set(format!("a panic: {panic}"))));
    if let [state] = names[..]
        && state.contains('@')
    {
        return report::replay(state, long);
    }
    let wanted = |name: &str| names.is_empty() || names.contains(&name);
    let families = families::all(long);
    let unknown = names.iter().find(|name| {
        **name != "rules"
            && families.iter().all(|family| family.name != **name)
            && rules::ALL.iter().all(|rule| rule.name != **name)
            && damage::ALL.iter().all(|family| family.name != **name)
            && damage::OFF.iter().all(|off| off.name != **name)
    });
    if let Some(name) = unknown {
        eprintln!("there is no family and no rule {name}");
        return ExitCode::FAILURE;
    }
    let mut report = Report::new();
    report.explore(&families, wanted);
    report.damage(long, wanted);
    for rule in rules::ALL.iter().filter(|rule| wanted(rule.name) || names.contains(&"rules")) {
        report.without(rule, &families);
    }
    for off in damage::OFF.iter().filter(|off| wanted(off.name) || names.contains(&"rules")) {
        report.damage_without(off);
    }
    report.finish()
}
