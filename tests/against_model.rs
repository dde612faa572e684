//! Random operations on small volumes, compared with the oracle answer by answer: 20,000 sequences.

#[cfg(target_os = "linux")]
use crate::model::host::Host;
use crate::model::operations::{Name, Operation, content};
use crate::model::strategies::{on_directories, on_extents, on_xattrs, operation};
use crate::model::volumes::{self, ROOT};
use crate::model::world::World;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::sync::atomic::{AtomicU64, Ordering};

static OPERATIONS: AtomicU64 = AtomicU64::new(0);
static REFUSALS: AtomicU64 = AtomicU64::new(0);

/// `SABFS_LONG` runs many times as many, with another seed each time.
fn config(cases: u32) -> Config {
    let long = std::env::var_os("SABFS_LONG").is_some();
    Config {
        cases: if long { cases * 50 } else { cases },
        failure_persistence: None,
        rng_seed: if long { RngSeed::Random } else { RngSeed::Fixed(7) },
        max_shrink_time: 60_000,
        ..Config::default()
    }
}

fn run(mut world: World, operations: &[Operation]) {
    for operation in operations {
        world.step(operation);
    }
    world.compare_tree();
    OPERATIONS.fetch_add(world.operations, Ordering::Relaxed);
    REFUSALS.fetch_add(world.refusals, Ordering::Relaxed);
    world.compare_remounted();
}

fn random(
    cases: u32,
    blocks: impl Strategy<Value = u32>,
    operation: impl Strategy<Value = Operation>,
    longest: usize,
) {
    random_in(World::new, cases, blocks, operation, longest);
}

fn random_in(
    world: fn(u32) -> World,
    cases: u32,
    blocks: impl Strategy<Value = u32>,
    operation: impl Strategy<Value = Operation>,
    longest: usize,
) {
    let operations = prop::collection::vec(operation, 1..longest);
    TestRunner::new(config(cases))
        .run(&(blocks, operations), |(blocks, operations)| {
            run(world(blocks), &operations);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    let (operations, refusals) = (OPERATIONS.load(Ordering::Relaxed), REFUSALS.load(Ordering::Relaxed));
    println!("{operations} operations, {refusals} refused for want of space");
}

#[test]
fn tiny_volumes() {
    random(14_000, 16..80_u32, operation(), 80);
}

#[test]
fn small_volumes() {
    random(3_000, 80..1_200_u32, operation(), 80);
}

#[test]
fn long_lives() {
    random(30, 200..3_000_u32, operation(), 800);
}

/// Freed blocks come back only after a commit, which operations that find no space ask for.
#[test]
fn durable_volumes() {
    random_in(World::durable, 500, 16..1_000_u32, operation(), 120);
}

#[test]
fn volumes_that_grow() {
    random(12, 4_097..9_000_u32, on_extents(), 40);
}

/// Extents that come in front of a full node share the nodes that this takes.
#[test]
fn descending_writes_share_nodes() {
    let down = |first, count| Operation::Stripe { ino: 255, first, count, down: true };
    let create = Operation::Create { dir: 16, name: Name::Short(0), kind: 0 };
    run(World::new(3_000), &[create, down(0, 337), down(119, 342), down(2_000, 400), down(1_000, 450)]);
}

/// From a part of the first group to a part of the third.
#[test]
fn volumes_grow_by_groups() {
    let mut world = World::new(70_000);
    world.create(ROOT, b"file", &volumes::file());
    let ino = world.volume.lookup(ROOT, b"file").unwrap().ino;
    let bytes = content(5, 1 << 20);
    while world.volume.statfs().unwrap().free_blocks > 1_000 {
        world.write(ino, None, &bytes);
    }
    assert_eq!(world.volume.image().geometry().groups(), 3);
    world.compare_tree();
    world.unlink(ROOT, b"file");
    world.compare_remounted();
}

#[test]
fn growing_and_shrinking_directories() {
    random(240, 60..600_u32, on_directories(), 40);
}

#[test]
fn fragmented_files() {
    random(150, 40..4_000_u32, on_extents(), 40);
}

#[test]
fn extended_attributes() {
    random(1_500, 16..300_u32, on_xattrs(), 120);
}

/// The oracle itself, compared with the host's file system.
#[cfg(target_os = "linux")]
#[test]
fn the_host_agrees_with_the_oracle() {
    let operations = prop::collection::vec(operation(), 1..80);
    TestRunner::new(config(1_000))
        .run(&operations, |operations| {
            let mut host = Host::new();
            for operation in &operations {
                host.step(operation);
            }
            host.compare_tree();
            OPERATIONS.fetch_add(host.compared, Ordering::Relaxed);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    println!("{} operations", OPERATIONS.load(Ordering::Relaxed));
}
