//! Failing calls at the very places where a rule about them counts.

use super::busy::{self, Kind};
use super::families::{Family, family};
use super::machine::{Config, Machine};
use crate::model::operations::content;
use crate::model::volumes::{ROOT, file};
use sabfs::persist::Limits;
use sabfs::sim::{Effort, Failure, Left};

const BLOCK: u64 = 4096;

fn write(machine: &Machine, name: &[u8], first_block: u64, blocks: u64, seed: u8) {
    machine.with_world(|world| {
        world.tick();
        if world.oracle.lookup(ROOT, name).is_err() {
            world.create(ROOT, name, &file());
        }
        let ino = world.oracle.lookup(ROOT, name).unwrap();
        world.write(ino, Some(first_block * BLOCK), &content(seed, (blocks * BLOCK) as u32));
    });
}

/// The n-th call from now on fails.
fn fail(machine: &Machine, calls: &[usize], left: Left, hidden: bool) {
    let now = machine.disk.calls();
    let failure = |call: &usize| Failure { call: now + call, left, hidden };
    machine.disk.set_failures(calls.iter().map(failure).collect());
}

/// The record's write fails although it lands, and its fresh data are overwritten.
fn failed_record(change: impl Fn(Config) -> Config) -> Machine {
    let config = Kind::Bypass.config(0);
    let machine = Machine::on(change(config), &busy::base(config));
    write(&machine, b"new", 0, 1, 1);
    // The image's write and flush come before.
    fail(&machine, &[2], Left::All, false);
    assert!(!machine.commit());
    write(&machine, b"new", 0, 1, 2);
    assert!(machine.commit());
    machine
}

/// A flush fails, reading goes on showing the record, and the segment is checkpointed before the commit is
/// durable in the other one.
fn failed_flush(offset: usize, change: impl Fn(Config) -> Config) -> Machine {
    let config = Kind::Segments.config(0);
    let machine = Machine::on(change(config), &busy::base(config));
    write(&machine, b"f1", 0, 1, 1);
    assert!(machine.commit());
    write(&machine, b"new", 0, 3, 2);
    fail(&machine, &[1, 2 + offset], Left::Nothing, true);
    assert!(!machine.commit());
    machine.commit();
    machine.disk.set_failures(Vec::new());
    (0..3).for_each(|_| machine.turn());
    write(&machine, b"f2", 0, 1, 3);
    assert!(machine.commit());
    machine
}

/// A commit's flush of the image fails in the middle of a checkpoint.
fn failed_checkpoint(call: usize, change: impl Fn(Config) -> Config) -> Machine {
    let limits = Limits { data_in_record: 2, overwrites_in_record: usize::MAX, passes: 1 };
    let config = Config { blocks: 160, segment_blocks: 110, limits, ..Config::new() };
    let base = {
        let machine = Machine::new(config);
        write(&machine, b"large", 0, 100, 1);
        machine.into_base()
    };
    let machine = Machine::on(change(config), &base);
    // Two records of 50 blocks fill a segment; the third one is in the other.
    for round in 0..3 {
        write(&machine, b"large", round % 2 * 50, 50, 2 + round as u8);
        assert!(machine.commit());
    }
    machine.turn();
    write(&machine, b"fresh", 0, 4, 9);
    fail(&machine, &[call], Left::Nothing, false);
    machine.commit();
    machine.disk.set_failures(Vec::new());
    machine.turn();
    for round in 0..3 {
        write(&machine, b"large", 90, 3 + round, 10 + round as u8);
        assert!(machine.commit());
        write(&machine, b"large", 0, 40, 20 + round as u8);
        assert!(machine.commit());
    }
    machine
}

/// The family of all of them.
pub fn all(effort: Effort) -> Family {
    let effort = Effort { tears: 12, subsets: 12, ..effort };
    family("directed", 18, effort, |number, change| {
        let machine = match number {
            0..9 => failed_flush(number, change),
            9..17 => failed_checkpoint(number - 9, change),
            _ => failed_record(change),
        };
        (format!("directed {number}"), machine.finish())
    })
}
