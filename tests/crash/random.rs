//! Random operations of the model's strategies, a fuzzer's bytes, full volumes and such that grow.

use super::busy;
use super::families::{Family, family};
use super::fuzzing::{config, run_bytes, run_operations};
use super::machine::{Base, Config, Machine};
use crate::model::operations::{Operation, content};
use crate::model::strategies::operation;
use crate::model::volumes::{ROOT, file};
use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config as Proptest, RngAlgorithm, TestRng, TestRunner};
use sabfs::persist::sim::Rng;
use sabfs::sim::Effort;
use std::sync::OnceLock;

/// Values of a strategy by number, the same each time.
fn sample<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, number: usize) -> T {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Proptest::default(), rng);
    strategy.new_tree(&mut runner).expect("nothing is filtered").current()
}

/// Fewer states where there are many calls.
fn less(effort: Effort) -> Effort {
    Effort { tears: 12, subsets: 8, ..effort }
}

/// Sequences of 1 to 60 operations.
pub fn sequences(count: usize, effort: Effort) -> Family {
    family("random", count, less(effort), |number, change| {
        let operations = sample(vec(operation(), 1..=60), number);
        let mut rng = Rng::new(number as u64);
        let (config, one_in) = (config(&mut rng), [1, 3, 10, 100][rng.below(4)]);
        let machine = run_operations(change(config), &operations, one_in);
        (format!("{operations:?}, a commit after each {one_in}"), machine.finish())
    })
}

/// The stable twin of the fuzz target `crash`.
pub fn bytes(count: usize, effort: Effort) -> Family {
    family("bytes", count, less(effort), |number, change| {
        let mut rng = Rng::new(number as u64 ^ 0xf022);
        let len = 3 + 8 * (1 + rng.below(24));
        let bytes: Vec<u8> = (0..len).map(|_| rng.next() as u8).collect();
        let machine = run_bytes(&bytes, change).expect("long enough");
        (format!("the bytes {bytes:?}"), machine.finish())
    })
}

/// Volumes that do not exist yet.
pub fn new_volumes(count: usize, effort: Effort) -> Family {
    family("new", count, less(effort), |number, change| {
        let kind = [busy::Kind::Segments, busy::Kind::Bypass, busy::Kind::Relaxed][number % 3];
        let machine = busy::run(change(kind.config(number)), kind, None, number, 2 + number % 3);
        (format!("a new volume with seed {number}"), machine.finish())
    })
}

/// Volumes without free blocks: operations find no space, and commit to get some.
pub fn full(count: usize, effort: Effort) -> Family {
    family("full", count, less(effort), |number, change| {
        let mut rng = Rng::new(number as u64 ^ 0xf011);
        let blocks = 18 + rng.below(14) as u32;
        let config = Config { blocks, segment_blocks: blocks + 8, ..config(&mut rng) };
        let mut machine = Machine::new(change(config));
        machine.with_world(|world| {
            world.tick();
            world.create(ROOT, b"a", &file());
        });
        for round in 0..6_u8 {
            machine.step(&Operation::Devour { ino: 255, leave: round % 4 });
            machine.with_world(|world| {
                let ino = world.oracle.lookup(ROOT, b"a").unwrap();
                world.tick();
                let set = sabfs::vfs::SetAttr {
                    size_bytes: Some(u64::from(round) * 4096),
                    ..Default::default()
                };
                world.setattr(ino, &set);
                world.write(ino, None, &content(round, 2 * 4096));
            });
            if rng.chance(60) {
                assert!(machine.commit());
            }
        }
        assert!(machine.commit());
        (format!("a volume of {blocks} blocks"), machine.finish())
    })
}

/// Volumes of 16 MiB that are full and get larger.
pub fn growth(count: usize, effort: Effort) -> Family {
    static BASE: OnceLock<Base> = OnceLock::new();
    let effort = Effort { tears: 8, subsets: 6, recovery_one_in: 128, ..effort };
    family("growth", count, effort, |number, change| {
        let config = Config { blocks: 4600, segment_blocks: 64, ..Config::new() };
        let base = BASE.get_or_init(|| {
            let machine = Machine::new(config);
            machine.with_world(|world| {
                world.tick();
                world.create(ROOT, b"large", &file());
                let ino = world.oracle.lookup(ROOT, b"large").unwrap();
                // Reserved: zeros, which neither take memory here nor time to compare.
                let free = world.volume.statfs().unwrap().free_blocks;
                world.allocate(ino, sabfs::vfs::AllocateMode::empty(), 0, (free - 6) * 4096);
            });
            machine.into_base()
        });
        let machine = Machine::on(change(config), base);
        for round in 0..2 {
            machine.with_world(|world| {
                world.tick();
                let name = format!("more {round}").into_bytes();
                world.create(ROOT, &name, &file());
                let ino = world.oracle.lookup(ROOT, &name).unwrap();
                world.write(ino, Some(0), &content(number as u8, 4096 * (5 + 3 * number as u32)));
            });
            assert!(machine.commit());
        }
        (format!("growth {number}"), machine.finish())
    })
}
