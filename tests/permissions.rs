//! Who may do what, and what it changes: random callers on random small trees, every answer compared
//! with the host's kernel, and then the whole tree: owners, modes, links, and which times changed.
//!
//! Needs root, to make files of other users and to act as them, and Linux.
#![cfg(target_os = "linux")]

mod calls;
mod host;
mod mine;
mod tree;

use calls::{Call, User, call, user};
use host::Host;
use mine::Mine;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tree::{Tree, tree};

/// How often each answer was given, by call.
type Tally = Arc<Mutex<BTreeMap<(&'static str, i32), u64>>>;

fn config(cases: u32) -> Config {
    let long = std::env::var_os("SABFS_LONG").is_some();
    Config {
        cases: if long { cases * 50 } else { cases },
        failure_persistence: None,
        rng_seed: if long { RngSeed::Random } else { RngSeed::Fixed(11) },
        max_shrink_time: 60_000,
        ..Config::default()
    }
}

/// Does the same on both sides, in a thread that has a root directory and users of its own.
fn compare(tree: &Tree, calls: &[(User, Call)], timed: bool, times: &AtomicU64, tally: &Tally) {
    let folder = host::folder();
    let run = || {
        let mut host = Host::enter(folder.path());
        let mut mine = Mine::new();
        host.build(tree);
        mine.build(tree);
        assert_eq!(host.state(), mine.state(), "the trees at first");
        let rules = host::Rules::read();
        for (user, call) in calls {
            if !mine.comparable(user, call, &rules) {
                continue;
            }
            let (host_before, mine_before) = (host.times(), mine.times());
            if timed {
                host.wait_for_tick(&host_before);
            }
            let theirs = host.act(user, call);
            let ours = mine.act(user, call).map_err(|errno| errno.linux());
            *tally.lock().unwrap().entry((call.name(), ours.err().unwrap_or(0))).or_default() += 1;
            assert_eq!(ours, theirs, "{call:?} by {user:?} on {:#?}", host.state());
            assert_eq!(mine.state(), host.state(), "after {call:?} by {user:?}");
            if timed {
                let ours = tree::changed(&mine_before, &mine.times());
                let theirs = tree::changed(&host_before, &host.times());
                assert_eq!(ours, theirs, "times after {call:?} by {user:?}");
                times.fetch_add(1, Ordering::Relaxed);
            }
        }
        mine.check();
    };
    std::thread::scope(|scope| {
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn permissions_are_the_kernels() {
    if let Some(reason) = host::hindrance() {
        println!("skipped: {reason}");
        return;
    }
    let (times, tally) = (AtomicU64::new(0), Tally::default());
    let calls = prop::collection::vec((user(), call()), 1..24);
    TestRunner::new(config(1_500))
        .run(&(tree(), calls, prop::bool::weighted(0.15)), |(tree, calls, timed)| {
            compare(&tree, &calls, timed, &times, &tally);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    let tally = tally.lock().unwrap();
    for ((name, errno), count) in tally.iter() {
        println!("{name} {errno}: {count}");
    }
    println!("{} calls, times compared after {}", tally.values().sum::<u64>(), times.into_inner());
    for errno in [0, libc::EPERM, libc::EACCES, libc::ENOTDIR, libc::ELOOP, libc::ENOTEMPTY] {
        assert!(tally.keys().any(|(_, found)| *found == errno), "no call gave {errno}");
    }
}
