//! Workloads that use up a journal: a few files that are written, overwritten, cut, moved and deleted all the
//! time, with a commit every few operations and a checkpoint in the background now and then.

use super::machine::{Base, Config, Machine};
use crate::model::operations::content;
use crate::model::volumes::{ROOT, file};
use crate::model::world::World;
use sabfs::persist::Limits;
use sabfs::persist::sim::Rng;
use sabfs::sim::{Failure, Left};
use sabfs::store::runtime::Durability;
use sabfs::vfs::{AllocateMode, Ino, RenameFlags, SetAttr};

const NAMES: [&[u8]; 6] = [b"f0", b"f1", b"f2", b"f3", b"f4", b"f5"];

/// What is special about a workload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Small segments, all data in records.
    Segments,
    /// Fresh data go to the image before the record.
    Bypass,
    /// As `Bypass`, and most commits are not flushed.
    Relaxed,
    /// Hardly any free block, so that what a commit frees is used by the next one.
    Quarantine,
    /// Flushes of the image at the end of checkpoints lie.
    Lying,
    /// A call fails.
    Faults,
    /// Reads and writes do only a part.
    Short,
    /// Changes are made while commits run.
    Meddled,
    /// The image gets longer, and after the crash others have the room that it does not durably have.
    Room,
    /// Random numbers repeat, so that no key tells one use of a segment from another.
    SameKeys,
    /// Commits that take several records.
    Parts,
}

impl Kind {
    pub fn config(self, seed: usize) -> Config {
        let config = Config::new();
        let atomic = usize::MAX;
        let in_record = Limits { data_in_record: 1000, overwrites_in_record: atomic, passes: 2 };
        let bypass = Limits { data_in_record: seed % 3, overwrites_in_record: atomic, passes: 2 };
        let small = [16, 18, 22][seed % 3];
        match self {
            Self::Segments => Config { segment_blocks: small, limits: in_record, ..config },
            Self::Bypass => Config { segment_blocks: small + 4, limits: bypass, ..config },
            Self::Relaxed => Config {
                segment_blocks: small + 4,
                limits: bypass,
                durability: Durability::Relaxed,
                ..config
            },
            Self::Quarantine => {
                Config { blocks: 20, segment_blocks: small + 4, limits: bypass, ..config }
            }
            Self::Lying => {
                Config { segment_blocks: small, limits: in_record, lying_image_flushes: true, ..config }
            }
            Self::Faults | Self::Short => {
                let limits = if seed.is_multiple_of(2) { bypass } else { in_record };
                Config { segment_blocks: 40, limits, ..config }
            }
            Self::Meddled => Config { segment_blocks: 32, limits: bypass, ..config },
            Self::Room => Config {
                blocks: 700,
                segment_blocks: 140,
                limits: in_record,
                others_take_room: true,
                ..config
            },
            Self::SameKeys => {
                Config { segment_blocks: small, limits: in_record, same_keys: true, ..config }
            }
            Self::Parts => Config {
                segment_blocks: 14,
                limits: Limits { data_in_record: 2, overwrites_in_record: atomic, passes: 1 },
                ..config
            },
        }
    }

    /// Blocks of the longest write.
    fn longest(self) -> usize {
        match self {
            Self::Room => 60,
            Self::Parts => 8,
            Self::Quarantine => 3,
            _ => 4,
        }
    }
}

/// A volume with some of the files in it.
pub fn base(config: Config) -> Base {
    let machine = Machine::new(config);
    machine.with_world(|world| {
        for (number, name) in NAMES.iter().enumerate().take(3) {
            world.tick();
            world.create(ROOT, name, &file());
            let ino = world.oracle.lookup(ROOT, name).unwrap();
            world.write(ino, Some(0), &content(number as u8, 3_000 + 2_000 * number as u32));
        }
    });
    machine.into_base()
}

fn some_file(world: &World, rng: &mut Rng) -> Option<Ino> {
    let names = world.oracle.names(ROOT).unwrap();
    let all: Vec<Ino> = names.values().copied().collect();
    (!all.is_empty()).then(|| all[rng.below(all.len())])
}

/// One change by chance.
pub fn change(world: &mut World, rng: &mut Rng, longest: usize) {
    world.tick();
    let name = NAMES[rng.below(NAMES.len())];
    let Some(ino) = some_file(world, rng) else { return world.create(ROOT, name, &file()) };
    let seed = rng.below(256) as u8;
    let len = 1 + rng.below(longest * 4096) as u32;
    match rng.below(14) {
        0 | 1 => world.create(ROOT, name, &file()),
        2 | 3 => world.unlink(ROOT, name),
        4 => world.rename((ROOT, name), (ROOT, NAMES[rng.below(NAMES.len())]), RenameFlags::empty()),
        5..=7 => world.write(ino, Some(0), &content(seed, 4096)),
        8..=10 => world.write(ino, Some(rng.below(3) as u64 * 4096), &content(seed, len)),
        11 => {
            let size_bytes = Some(rng.below(3 * 4096) as u64);
            world.setattr(ino, &SetAttr { size_bytes, ..SetAttr::default() });
        }
        12 => {
            let punch = AllocateMode::PUNCH_HOLE | AllocateMode::KEEP_SIZE;
            world.allocate(ino, punch, rng.below(2) as u64 * 4096, 4096);
        }
        _ => {
            // What is taken away is made anew at once: its blocks are not to be used for it yet.
            world.unlink(ROOT, name);
            world.create(ROOT, name, &file());
            let ino = world.oracle.lookup(ROOT, name).unwrap();
            world.write(ino, Some(0), &content(seed, len));
        }
    }
}

/// Runs a workload of so many commits.
pub fn run(config: Config, kind: Kind, base: Option<&Base>, seed: usize, commits: usize) -> Machine {
    let machine = match base {
        Some(base) => Machine::on(config, base),
        None => Machine::new(config),
    };
    let mut rng = Rng::new(seed as u64 ^ 0xb057);
    machine.disk.set_short(kind == Kind::Short);
    if kind == Kind::Meddled {
        let meddler = std::sync::Mutex::new(Rng::new(seed as u64));
        machine.meddle(move |world, _| meddle(world, &mut meddler.lock().unwrap()));
    }
    if kind == Kind::Faults {
        machine.disk.set_failures(failures(seed));
    }
    for number in 0..commits {
        if kind == Kind::Room {
            machine.with_world(|world| fill(world, number, kind.longest()));
        }
        for _ in 0..1 + rng.below(3) {
            machine.with_world(|world| change(world, &mut rng, kind.longest()));
        }
        let durable = kind == Kind::Relaxed && rng.chance(25);
        let done = if durable { machine.flush() } else { machine.commit() };
        assert!(done || kind == Kind::Faults, "commit {number} failed");
        if rng.chance(40) && kind != Kind::Meddled {
            machine.turn();
        }
    }
    machine
}

/// A file that makes the image longer.
fn fill(world: &mut World, number: usize, blocks: usize) {
    world.tick();
    let name = format!("long {number}").into_bytes();
    world.create(ROOT, &name, &file());
    let ino = world.oracle.lookup(ROOT, &name).unwrap();
    world.write(ino, Some(0), &content(number as u8, blocks as u32 * 4096));
}

/// A change while a commit runs: of blocks that are there, or one that frees some.
fn meddle(world: &mut World, rng: &mut Rng) {
    world.tick();
    if rng.chance(40) {
        return world.unlink(ROOT, NAMES[rng.below(NAMES.len())]);
    }
    let Some(ino) = some_file(world, rng) else { return };
    let len = world.oracle.node(ino).unwrap().size.min(4096) as u32;
    world.write(ino, Some(0), &content(rng.below(256) as u8, len));
}

/// One or two calls that fail, each of the first 40 in turn and in each way.
fn failures(seed: usize) -> Vec<Failure> {
    let left = [Left::Nothing, Left::Half, Left::All][seed / 40 % 3];
    let hidden = seed / 120 % 2 == 1;
    let first = Failure { call: seed % 40, left, hidden };
    let other = Failure { call: seed % 40 + 1 + seed / 7 % 9, left: Left::Half, hidden };
    if seed.is_multiple_of(3) { vec![first, other] } else { vec![first] }
}
