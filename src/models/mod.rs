//! Models of what clients share, checked by trying schedules of threads: [loom](https://docs.rs/loom) tries all of a few small
//! ones, [shuttle](https://docs.rs/shuttle) very many of large ones. Both run the code itself, on stores of their own.
//!
//! What loom covers: locks and their heirs, slots of clients, readers without a lock against writers who change or die, redo
//! records against heirs, the change log's ring and its sleepers. A death is at each access of a client's in turn, beside all
//! schedules of the others.
//!
//! What it does not:
//! - Only the words that a model names are atomics of loom; see `store`.
//! - Loom has no total order of sequentially consistent accesses. Models in which two threads each write a word and then
//!   look at the other's say [`store::Order::Fenced`], which is too much; all others say acquire and release, which is
//!   less than the store promises.
//! - A load never gives a value that is written later (load buffering), nor do plain accesses tear below a word.
//! - Where a model has a bound, no schedule with more preemptions than that is tried.
//! - A death comes between two accesses in the order of the program. That a compiler moves plain writes of the dying
//!   one before a word which it writes first (`redo::set_state`'s fence) shows in no model.
//! - Times: a sleep lasts until somebody ends it, or not at all.
//! - Looking at a word several times before sleeping is left out (`Store::spins`), and readers without a lock give up
//!   after two tries: more of the same.
//!
//! Shuttle covers whole operations of three or four clients, some of whom die, and a keeper. Every access to the store is a
//! point where another thread may go on; words and bytes are always as they were written last. What a process keeps to itself
//! is no such point: each client has a view of its own, as if in a process of its own, and nobody else uses that.
//!
//! Each rule (`store::rules`, some of `core::rules`) is off once, and a model has to fail.

mod clients;
mod keeper;
mod lock;
mod log;
mod reading;
mod redo;
mod shuttle;
mod store;
mod volumes;

use crate::store::rules::{self, Rule};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether more is to be tried.
fn long() -> bool {
    std::env::var_os("SABFS_LONG").is_some()
}

/// How much a test looked at, for whoever reads its output.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs a model under all schedules with so many preemptions at most, or with any number; gives how many there were.
fn explore(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) -> u64 {
    let count = Arc::new(AtomicU64::new(0));
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    builder.preemption_bound = preemptions;
    let counter = count.clone();
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    });
    count.load(Ordering::Relaxed)
}

/// A thread of a model with as much stack as an operation may need.
fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> loom::thread::JoinHandle<T> {
    // In words.
    loom::thread::Builder::new().stack_size(64 << 10).spawn(run).expect("loom has room for it")
}

/// What is wrong when a run fails.
fn failure<T>(run: impl FnOnce() -> T) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(run)).err()?;
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Some(text.unwrap_or_else(|| "something panicked".into()))
}

/// Has a model fail without a rule.
fn must_fail(rule: Rule, run: impl FnOnce() -> u64) {
    let found = failure(|| rules::without(rule, run));
    let first = found.as_deref().map(|text| text.lines().next().unwrap_or_default());
    say(&format!("{rule:?} off: {}", first.unwrap_or("-")));
    assert!(found.is_some(), "nobody notices that {rule:?} is off");
}
