//! The part of the crash explorer that its fuzz target shares: everything that needs no proptest.

#[path = "judge.rs"]
pub mod judge;
#[path = "machine.rs"]
pub mod machine;
#[path = "tree.rs"]
pub mod tree;

use crate::model::operations::{Operation, decode};
use machine::{Config, Machine};
use sabfs::persist::Limits;
use sabfs::persist::sim::Rng;
use sabfs::sim::{Effort, Explorer};

/// A small volume of a size by chance, whose data go one way or the other.
pub fn config(rng: &mut Rng) -> Config {
    let limits = Limits {
        data_in_record: [0, 2, 256][rng.below(3)],
        overwrites_in_record: usize::MAX,
        passes: 2,
    };
    let blocks = 24 + rng.below(100) as u32;
    // All metadata of such a volume fit a record.
    Config { blocks, segment_blocks: blocks + 8 + rng.below(30) as u32, limits, ..Config::new() }
}

/// Runs operations with a commit after each, after some, or at the end.
pub fn run_operations(config: Config, operations: &[Operation], one_in: usize) -> Machine {
    let mut machine = Machine::new(config);
    for (index, operation) in operations.iter().enumerate() {
        machine.step(operation);
        if index % one_in == one_in - 1 {
            assert!(machine.commit(), "a commit failed");
        }
        if index % 3 == 2 {
            machine.turn();
        }
    }
    assert!(machine.commit(), "the last commit failed");
    machine
}

/// Runs what a fuzzer's bytes say; the first three choose volume and commits.
pub fn run_bytes(bytes: &[u8], change: impl Fn(Config) -> Config) -> Option<Machine> {
    let ([first, second, third], rest) = bytes.split_first_chunk::<3>()?;
    let mut rng = Rng::new(u64::from(*first) << 8 | u64::from(*second));
    let one_in = 1 + usize::from(*third % 8);
    Some(run_operations(change(config(&mut rng)), &decode(rest), one_in))
}

#[allow(dead_code)] // for the fuzz target
/// A fuzzer's bytes; a failing state is a panic that names it.
pub fn fuzz(bytes: &[u8]) {
    let Some(machine) = run_bytes(bytes, |config| config) else { return };
    let mut ran = machine.finish();
    let effort = Effort { tears: 8, subsets: 4, recovery_one_in: 64, seed: 1 };
    let found = Explorer::new(&mut ran.judge, effort).explore(&ran.trace, None);
    assert!(found.failures.is_empty(), "{:?}", found.failures);
}
